//! `carillon dev`: everything in one process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::binaries;
use crate::folder::Folder;
use crate::ports;
use crate::process::{Process, Signal};
use crate::site::Site;
use crate::wait::{self, PATIENCE};

/// A running `carillon dev` with a data folder that survives its process.
#[derive(Debug)]
pub struct Dev {
    site: Site,
    process: std::sync::Mutex<Process>,
    address: SocketAddr,
    /// From the start of the process to the line with its URL.
    pub to_banner: Duration,
}

impl Dev {
    /// Starts one, without the sample jobs.
    pub async fn start(word: &str) -> Self {
        Self::start_with(word, ports::free(), &["--no-samples"]).await
    }

    /// Starts one that is asked to take this port, which may be taken.
    pub async fn start_at(word: &str, port: u16) -> Self {
        Self::start_with(word, SocketAddr::from(([127, 0, 0, 1], port)), &["--no-samples"]).await
    }

    /// Starts one as a newcomer does, sample jobs and all.
    pub async fn start_with_samples(word: &str) -> Self {
        Self::start_with(word, ports::free(), &[]).await
    }

    async fn start_with(word: &str, address: SocketAddr, flags: &[&str]) -> Self {
        let folder = Folder::new(word);
        let began = Instant::now();
        let process = spawn(&folder, address, flags);
        let url = is_up(&process).await;
        let to_banner = began.elapsed();
        let token = administrators_token(&folder).await;
        let api = Api::new(url, token);
        Self { site: Site::new(folder, api), process: process.into(), address, to_banner }
    }

    /// kill -9, as it is.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Ends as by Ctrl-C; panics unless it ends well and in time.
    pub async fn stop(&self) {
        self.process().signal(Signal::Int);
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            let ended = self.process().has_ended();
            if let Some(status) = ended {
                break status;
            }
            assert!(Instant::now() < deadline, "carillon dev does not end on Ctrl-C");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(status.success(), "carillon dev ended with {status} on Ctrl-C");
    }

    /// Starts it again on its data, at its old address. Returns the time to its URL.
    pub async fn start_again(&self, flags: &[&str]) -> Duration {
        let began = Instant::now();
        let process = spawn(self.site.folder(), self.address, flags);
        *self.process() = process;
        wait::until("carillon dev answers again", PATIENCE, async || {
            match self.site.api().try_send(reqwest::Method::GET, "/readyz", None, &[]).await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        began.elapsed()
    }

    /// Its process.
    pub fn process(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The folder of its database and tokens.
    pub fn data(&self) -> PathBuf {
        self.site.folder().join("data")
    }
}

impl AsRef<Site> for Dev {
    fn as_ref(&self) -> &Site {
        &self.site
    }
}

impl std::ops::Deref for Dev {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

fn spawn(folder: &Folder, address: SocketAddr, flags: &[&str]) -> Process {
    let mut command = Command::new(binaries::find("carillon"));
    command
        .arg("dev")
        .arg("--data")
        .arg(folder.join("data"))
        .args(["--port", &address.port().to_string()])
        .args(flags);
    command.current_dir(folder.path());
    // A newcomer's console stays quiet; everybody else wants to know what happened.
    if !flags.is_empty() {
        command.env("CARILLON_LOGS_LEVEL", "info");
    }
    Process::spawn(folder, "dev", command)
}

/// Waits for the last line of the banner, the URL, and returns its root.
async fn is_up(process: &Process) -> String {
    wait::until("carillon dev has printed its URL", PATIENCE, async || {
        let said = process.out();
        let whole = said.rfind('\n').map_or("", |end| &said[..end]);
        let mut lines = whole.lines().rev();
        let url = lines.find_map(|line| line.split_whitespace().find(|word| word.starts_with("http://")));
        // http://127.0.0.1:7700/sign-in?code=... -> http://127.0.0.1:7700
        url.map(|url| url.split('/').take(3).collect::<Vec<_>>().join("/")).ok_or(said)
    })
    .await
}

async fn administrators_token(folder: &Folder) -> String {
    let path = folder.join("data").join("admin.token");
    wait::until("carillon dev has written the administrator's token", PATIENCE, async || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let token = text.trim().to_owned();
        if token.is_empty() { Err(path.display().to_string()) } else { Ok(token) }
    })
    .await
}
