//! The parts that every process is put together from: store, coordinator, certificates, signals.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use carillon_coordination::Coordination;
use carillon_coordination::zookeeper::{ZooKeeper, ZooKeeperSettings};
use carillon_store::mysql::{MysqlConfig, MysqlStore};
use carillon_store::sqlite::{SqliteConfig, SqliteStore};
use carillon_store::{SharedStore, StoreError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{Address, Config, StoreUrl};
use crate::failure::{Failure, Outcome};
use crate::output::say;

/// How long a process waits for a store that is not there yet, before it gives up: a database that restarts is back by then.
const STORE_PATIENCE: Duration = Duration::from_secs(60);

/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Runs a process to its end, on as many threads as there are cores.
pub(crate) fn run<F: Future<Output = Outcome>>(process: impl FnOnce(CancellationToken) -> F) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        listen_for_signals(shutdown.clone())?;
        process(shutdown).await
    });
    // Whatever still blocks a thread must not hold the process back for long.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Cancels `shutdown` at the first SIGTERM or SIGINT; a second one ends the process at once.
fn listen_for_signals(shutdown: CancellationToken) -> Outcome {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for round in 0.. {
            let code = tokio::select! {
                _ = terminate.recv() => 143,
                _ = interrupt.recv() => 130,
            };
            if round > 0 {
                say("told to stop a second time: stopping at once");
                std::process::exit(code);
            }
            shutdown.cancel();
        }
    });
    Ok(())
}

/// The store of the configuration. A MySQL need not answer yet.
pub(crate) async fn open_store(config: &Config) -> Outcome<SharedStore> {
    match config.store.url.as_ref() {
        Some(StoreUrl::Mysql(url)) => {
            let store = MysqlStore::connect(MysqlConfig::new(url)).context("store.url cannot be used")?;
            Ok(Arc::new(store))
        }
        Some(StoreUrl::Sqlite(path)) => open_sqlite(path.clone()).await,
        None => Err(Failure::Usage("store.url is missing".to_owned())),
    }
}

/// The store in a file.
pub(crate) async fn open_sqlite(path: PathBuf) -> Outcome<SharedStore> {
    let doing = format!("cannot open the database {}", path.display());
    Ok(Arc::new(SqliteStore::open(SqliteConfig::file(path)).await.context(doing)?))
}

/// Waits until the store answers with the tables that this binary needs.
pub(crate) async fn wait_for_store(store: &SharedStore, shutdown: &CancellationToken) -> Outcome {
    let ready = async {
        loop {
            match store.ready().await {
                Err(error) if error.is_retryable() => {
                    tracing::warn!(error = %chain(&error), "the store is not there yet");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                other => return other,
            }
        }
    };
    tokio::select! {
        answer = tokio::time::timeout(STORE_PATIENCE, ready) => match answer {
            Ok(answer) => Ok(answer.map_err(not_ready)?),
            Err(_) => Err(Failure::Unreachable(format!("the store did not answer within {} s", STORE_PATIENCE.as_secs()))),
        },
        () = shutdown.cancelled() => Err(Failure::Error(anyhow::anyhow!("told to stop before the store answered"))),
    }
}

fn not_ready(error: StoreError) -> Failure {
    Failure::Error(
        anyhow::Error::new(error).context("the store is not as this binary needs it; run `carillon migrate`"),
    )
}

/// A handle on the ensemble, which need not answer yet.
pub(crate) fn coordinate(config: &Config) -> Outcome<Arc<dyn Coordination>> {
    let nodes: Vec<String> = config.zookeeper.connect.iter().map(ToString::to_string).collect();
    let root = format!("{}/{}", config.zookeeper.root, config.cluster.id);
    let mut settings = ZooKeeperSettings::new(nodes.join(","), root);
    settings.session_timeout = config.zookeeper.session_timeout.into();
    Ok(Arc::new(ZooKeeper::start(settings).context("zookeeper.connect cannot be used")?))
}

/// A listener on the address of a key.
pub(crate) async fn listen(key: &str, address: Address) -> Outcome<TcpListener> {
    TcpListener::bind(address.get()).await.map_err(|error| {
        let text = format!("{key} {address}: {error}");
        match error.kind() {
            std::io::ErrorKind::AddrInUse => Failure::Conflict(text),
            _ => Failure::Error(anyhow::anyhow!(text)),
        }
    })
}

/// Reads a file of certificates or keys.
pub(crate) fn pem(key: &str, path: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|error| Failure::Usage(format!("{key} {}: {error}", path.display())))
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
