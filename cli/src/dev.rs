//! `carillon dev`: everything in one process on this machine, to try it and to develop against.
//!
//! It is put together from the very parts that the separate processes are made of ([`crate::processes`]); only the store (a SQLite
//! file), the coordinator (in this process) and the addresses (loopback) are its own. What it needs from the console, it asks over
//! REST like anybody else.

mod folder;
mod samples;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use carillon_console::ensure_first_administrator;
use carillon_coordination::{Embedded, EmbeddedRegistry};
use carillon_store::SharedStore;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::folder::{Folder, write_secret};
use crate::api::Api;
use crate::args::DevArgs;
use crate::config::{Config, Layers};
use crate::failure::{Failure, Outcome};
use crate::output::{put, say};
use crate::{clock, configure, logging, parts, processes};

/// The port where the server listens for workers, or the next free one.
const SERVER_PORT: u16 = 7710;

/// How many ports are tried after a taken one: more than anybody runs side by side.
const PORTS_TRIED: u16 = 100;

/// Runs until Ctrl-C or SIGTERM.
pub(crate) fn run(args: DevArgs) -> Outcome {
    let config = config()?;
    logging::start_with_runs(&config.logs);
    let folder = Folder::take(&args)?;
    parts::run(async |shutdown| dev(&args, config, &folder, shutdown).await)
}

/// The configuration of the one process. Only what is logged and where the pages come from can be set: everything else would make it
/// something else than `dev`.
fn config() -> Outcome<Config> {
    let own = [
        ("server.id", "dev"),
        ("server.room", "here"),
        ("server.rooms", "127.0.0.0/8=here"),
        ("server.listen", "127.0.0.1:0"),
        ("console.listen", "127.0.0.1:0"),
        // The samples fail on purpose, which is no news; their lines are in their runs' logs. That there is only one server is none either.
        ("logs.level", "warn,carillon_server::placer=error,carillon_examples=off"),
    ];
    let mut layers = Layers::new();
    for (key, text) in own {
        layers = layers.with_flag("carillon dev", key, Some(text.to_owned()));
    }
    // Others on this machine reach the server's port too, but have no business with its controls.
    let secret = format!("{:032x}", rand::random::<u128>());
    layers = layers.with_flag("carillon dev", "cluster.secret", Some(secret));
    let may_be_set = |name: &str| name.starts_with("CARILLON_LOGS_") || name == "CARILLON_CONSOLE_PAGES";
    layers = layers.with_environment(std::env::vars().filter(|(name, _)| may_be_set(name)));
    configure::read(&layers)
}

async fn dev(args: &DevArgs, config: Config, folder: &Folder, shutdown: CancellationToken) -> Outcome {
    let store = parts::open_sqlite(folder.database()).await?;
    store.migrate().await.context("cannot prepare the database")?;
    let cost = carillon_console::config::PasswordCost::default();
    let password = ensure_first_administrator(&store, cost, clock::now())
        .await
        .context("cannot make the first administrator")?;

    let (console_listener, console_address) = first_free(args.port).await?;
    let (server_listener, _) = first_free(SERVER_PORT).await?;
    let cluster = EmbeddedRegistry::new();
    let handle = Arc::new(Embedded::new(&cluster));
    let console = processes::make_console(&config, Arc::clone(&store), handle, &console_listener)?;
    let administrator = processes::administrator(&store).await?;
    let code = console.one_time_code(administrator).await.context("cannot make a link to sign in by")?;
    let url = format!("http://{console_address}");

    let console = Part::start("console", &shutdown, async |stop| {
        Ok(carillon_console::serve(console, console_listener, stop).await?)
    });
    let server = Part::start("server", &shutdown, {
        let (store, handle) = (Arc::clone(&store), Arc::new(Embedded::new(&cluster)));
        async move |stop| processes::serve_server(&config, store, handle, server_listener, stop).await
    });

    let banner = Banner {
        args,
        folder,
        url: &url,
        port: console_address.port(),
        password: password.as_deref(),
        code: &code,
    };
    let mut worker = None;
    let begun = tokio::select! {
        begun = begin(&banner, &store, &shutdown, &mut worker) => begun,
        () = shutdown.cancelled() => Ok(()),
    };
    if begun.is_ok() {
        shutdown.cancelled().await;
        say("stopping ...");
    }
    let mut outcome = begun;
    // The worker first, so that it can report; then the server, which hands over; the console last, since the worker finds servers by it.
    for part in worker.into_iter().chain([server, console]) {
        outcome = outcome.and(part.end().await);
    }
    store.close().await;
    outcome
}

/// Shows where everything is, then makes the sample jobs at the first start and works for them.
async fn begin(
    banner: &Banner<'_>,
    store: &SharedStore,
    shutdown: &CancellationToken,
    worker: &mut Option<Part>,
) -> Outcome {
    let api = sign_in(banner.url, store, banner.folder).await?;
    put(&banner.text())?;
    if banner.args.no_samples {
        return Ok(());
    }
    let first = !banner.folder.samples_done();
    if first {
        samples::create(&api).await?;
    }
    // Whoever deleted the group has seen enough.
    let Some(group) = samples::group(&api).await? else { return Ok(()) };
    let token = samples::worker_token(&api, &group, banner.url, banner.folder).await?;
    let url = banner.url.to_owned();
    *worker =
        Some(Part::start("worker", shutdown, async move |stop| samples::work(group, token, url, stop).await));
    if first {
        samples::ring_once(&api).await?;
        banner.folder.note_samples_done()?;
    }
    Ok(())
}

/// A part of the process: it ends when it is told to, and when it ends by itself the whole process does.
struct Part {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<Outcome>,
}

impl Part {
    fn start<F>(
        name: &'static str,
        shutdown: &CancellationToken,
        serve: impl FnOnce(CancellationToken) -> F,
    ) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let served = serve(stop.clone());
        let all = shutdown.clone().drop_guard();
        let task = tokio::spawn(async move {
            let _all = all;
            served.await
        });
        Self { name, stop, task }
    }

    async fn end(self) -> Outcome {
        self.stop.cancel();
        match self.task.await {
            Ok(outcome) => outcome,
            Err(error) => {
                Err(Failure::Error(anyhow::Error::new(error).context(format!("the {} failed", self.name))))
            }
        }
    }
}

/// The API as the administrator: with the token of the last start while it works, else with a new one.
async fn sign_in(url: &str, store: &SharedStore, folder: &Folder) -> Outcome<Api> {
    let path = folder.admin_token();
    if let Ok(token) = std::fs::read_to_string(&path) {
        let api = Api::at(url, Some(token.trim().to_owned()))?;
        if api.get("/groups", &[("limit", "1")]).await.is_ok() {
            return Ok(api);
        }
    }
    let token = processes::mint_admin_token(store, "carillon dev", None).await?;
    write_secret(&path, &token)?;
    Api::at(url, Some(token))
}

/// Listens on a port of the loopback interface, or on the next free one above it.
async fn first_free(port: u16) -> Outcome<(TcpListener, SocketAddr)> {
    for candidate in port..=port.saturating_add(PORTS_TRIED) {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, candidate)).await {
            Ok(listener) => {
                let address = listener.local_addr()?;
                return Ok((listener, address));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => {
                return Err(Failure::Error(anyhow::anyhow!("cannot listen on port {candidate}: {error}")));
            }
        }
    }
    Err(Failure::Conflict(format!(
        "port {port} and the {PORTS_TRIED} above it are taken; choose another with --port"
    )))
}

/// What is shown at the start: at most ten lines, the last one the URL that signs in.
struct Banner<'a> {
    args: &'a DevArgs,
    folder: &'a Folder,
    url: &'a str,
    port: u16,
    password: Option<&'a str>,
    code: &'a str,
}

impl Banner<'_> {
    fn text(&self) -> String {
        let samples = if self.args.no_samples { "" } else { ", a worker with sample jobs" };
        let folder = self.folder.path().display();
        let kept = if self.args.ephemeral { "deleted at the end" } else { "kept; --reset starts afresh" };
        let mut lines = vec![
            format!("Carillon {} runs on this machine: server, console{samples}", env!("CARGO_PKG_VERSION")),
            format!("  data      {folder} ({kept})"),
            format!("  commands  carillon job list (the administrator's token is in {folder}/admin.token)"),
        ];
        if !self.args.no_samples {
            lines.push(format!("  workers   yours find their settings in {folder}/worker.env"));
        }
        if let Some(password) = self.password {
            lines.push(format!("  sign in   as admin with the password {password}, shown only now"));
        }
        lines.push("  stop      Ctrl-C".to_owned());
        if self.args.port != 0 && self.port != self.args.port {
            lines.push(format!(
                "Port {} is taken, so the console has {}: export CARILLON_CONSOLE={}",
                self.args.port, self.port, self.url
            ));
        }
        lines.push(format!("{}/sign-in?code={}", self.url, self.code));
        lines.join("\n")
    }
}
