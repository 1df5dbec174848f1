//! What a story runs on: an installation of Carillon, small or large, with a console to ask and groups for workers to join.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::api::Api;
use crate::binaries;
use crate::folder::Folder;
use crate::ledger::Ledgers;
use crate::process::without_own_variables;
use crate::worker::LedgerWorker;

/// An installation as its users see it.
#[derive(Debug)]
pub struct Site {
    folder: Folder,
    api: Api,
    counter: AtomicU32,
}

impl Site {
    /// The installation behind this console, whose files are in `folder`.
    pub fn new(folder: Folder, administrator: Api) -> Self {
        Self { folder, api: administrator, counter: AtomicU32::new(0) }
    }

    /// The folder of everything that belongs to it.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its console, asked as an administrator.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// A name that nothing else on this installation has.
    pub fn fresh(&self, word: &str) -> String {
        format!("{word}-{}", self.counter.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A task group of one's own, with a token for its workers.
    pub async fn group(&self, word: &str) -> Group<'_> {
        self.group_with(word, json!({"backups": 2})).await
    }

    /// A task group with these fields besides its name.
    pub async fn group_with(&self, word: &str, fields: Value) -> Group<'_> {
        let name = self.fresh(word);
        let mut body = json!({"cluster": 101, "server_group": 1, "name": name});
        let more = fields.as_object().expect("the fields of a group are an object").clone();
        body.as_object_mut().expect("it was made as an object").extend(more);
        let group = self.api.post("/groups", &body).await.expect_status(201);
        let id = group.text("id");
        let token = self.api.worker_token(&id).await;
        Group { site: self, id, name, token }
    }

    /// Runs the command line against this installation, as an administrator.
    pub fn carillon(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binaries::find("carillon"));
        command
            .args(arguments)
            .env("CARILLON_CONSOLE", self.api.console())
            .env("CARILLON_TOKEN", self.api.token());
        without_own_variables(&mut command);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.output().expect("the command line can be started")
    }
}

impl AsRef<Site> for Site {
    fn as_ref(&self) -> &Site {
        self
    }
}

/// A task group of an installation, with all that its workers need.
#[derive(Debug)]
pub struct Group<'a> {
    site: &'a Site,
    /// Its id, such as `101-1-2-6601`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The token of its workers and SDK clients.
    pub token: String,
}

impl<'a> Group<'a> {
    /// The installation it belongs to.
    pub fn site(&self) -> &'a Site {
        self.site
    }

    /// Starts a worker of this group and waits until the console sees it.
    pub async fn worker(&self, word: &str) -> LedgerWorker {
        let worker = self.worker_unseen(word);
        worker.is_seen(self).await;
        worker
    }

    /// Starts several and waits until the console sees them all.
    pub async fn workers(&self, words: &[&str]) -> Vec<LedgerWorker> {
        let workers: Vec<_> = words.iter().map(|word| self.worker_unseen(word)).collect();
        for worker in &workers {
            worker.is_seen(self).await;
        }
        workers
    }

    /// Starts a worker without waiting for anything.
    pub fn worker_unseen(&self, word: &str) -> LedgerWorker {
        let name = self.site.fresh(word);
        LedgerWorker::start(self.site.folder(), &name, self.site.api.console(), &self.id, &self.token)
    }

    /// Creates a job in this group and returns its number. `fields` are added to a simple job of the handler `record`, or replace its fields.
    pub async fn job(&self, word: &str, fields: Value) -> u32 {
        let body = self.job_body(word, fields);
        self.site.api.post("/jobs", &body).await.expect_status(201).number("id")
    }

    /// The body by which [`job`](Self::job) creates one.
    pub fn job_body(&self, word: &str, fields: Value) -> Value {
        let name = self.site.fresh(word);
        let mut body =
            json!({"group": self.id, "name": name, "handler": "record", "schedule": {"type": "api"}});
        let more = fields.as_object().expect("the fields of a job are an object").clone();
        body.as_object_mut().expect("it was made as an object").extend(more);
        body
    }

    /// What the workers of a folder wrote.
    pub fn ledgers(&self, workers: &[LedgerWorker]) -> Ledgers {
        Ledgers::new(workers.iter().map(|worker| worker.ledger().to_owned()))
    }
}

/// All ledgers in a folder, also those of workers that are gone.
pub fn all_ledgers(folder: &Path) -> Ledgers {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    Ledgers::new(entries.filter(|path| path.extension().is_some_and(|ending| ending == "ledger")))
}
