//! The processes of a cluster: `carillon server`, `carillon console`, `carillon migrate`, `carillon admin-token`.
//!
//! [`serve_server`] and [`make_console`] are what `carillon dev` runs as well, in one process and with embedded parts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use carillon_console::config::Objective;
use carillon_console::{Console, Pages, ensure_first_administrator, mint_token};
use carillon_coordination::{Coordination, Load, Member, MemberId, MemberKind};
use carillon_core::ids::ServerId;
use carillon_server::{Clock, Metrics, Server, ServerConfig, TlsConfig};
use carillon_store::SharedStore;
use carillon_store::accounts::TokenScope;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::args::{AdminTokenArgs, ConsoleArgs, MigrateArgs, ServerArgs};
use crate::clock;
use crate::config::{Config, Role};
use crate::configure::config_for;
use crate::failure::{Failure, Outcome};
use crate::output::{put, say};
use crate::{logging, parts};

/// `carillon server`
pub(crate) fn server(args: ServerArgs) -> Outcome {
    let layers = args
        .source
        .layers()
        .with_flag("--id", "server.id", args.id)
        .with_flag("--room", "server.room", args.room)
        .with_flag("--listen", "server.listen", args.listen)
        .with_flag("--advertise", "server.advertise", args.advertise);
    let config = config_for(Role::Server, &layers)?;
    logging::start(&config.logs);
    parts::run(async |shutdown| {
        let listener = parts::listen("server.listen", config.server.listen).await?;
        let store = parts::open_store(&config).await?;
        parts::wait_for_store(&store, &shutdown).await?;
        let coordination = parts::coordinate(&config)?;
        let served = serve_server(&config, Arc::clone(&store), coordination, listener, shutdown).await;
        store.close().await;
        served
    })
}

/// `carillon console`
pub(crate) fn console(args: ConsoleArgs) -> Outcome {
    let layers = args.source.layers().with_flag("--listen", "console.listen", args.listen);
    let config = config_for(Role::Console, &layers)?;
    logging::start(&config.logs);
    parts::run(async |shutdown| {
        let listener = parts::listen("console.listen", config.console.listen).await?;
        let store = parts::open_store(&config).await?;
        parts::wait_for_store(&store, &shutdown).await?;
        first_administrator(&store).await?;
        let coordination = parts::coordinate(&config)?;
        let console = make_console(&config, Arc::clone(&store), coordination, &listener)?;
        let served = carillon_console::serve(console, listener, shutdown).await;
        store.close().await;
        Ok(served.context("the console's listener failed")?)
    })
}

/// `carillon migrate`
pub(crate) fn migrate(args: MigrateArgs) -> Outcome {
    let config = config_for(Role::Migrate, &args.source.layers())?;
    logging::start(&config.logs);
    parts::run(async |_| {
        let store = parts::open_store(&config).await?;
        let report = store.migrate().await.context("cannot migrate the store")?;
        store.close().await;
        match report.applied.as_slice() {
            [] => say(&format!("the store is at version {}; nothing to do", report.version)),
            applied => {
                say(&format!("applied {}; the store is at version {}", applied.join(", "), report.version))
            }
        }
        Ok(())
    })
}

/// `carillon admin-token`
pub(crate) fn admin_token(args: AdminTokenArgs) -> Outcome {
    let config = config_for(Role::Migrate, &args.source.layers())?;
    logging::start(&config.logs);
    parts::run(async |shutdown| {
        let store = parts::open_store(&config).await?;
        parts::wait_for_store(&store, &shutdown).await?;
        first_administrator(&store).await?;
        let token = mint_admin_token(&store, "carillon admin-token", Some(args.expires_in)).await?;
        store.close().await;
        put(&token)
    })
}

/// Makes the first administrator where there are no users, and shows the password, once.
async fn first_administrator(store: &SharedStore) -> Outcome {
    let cost = carillon_console::config::PasswordCost::default();
    let password = ensure_first_administrator(store, cost, clock::now())
        .await
        .context("cannot make the first administrator")?;
    if let Some(password) = password {
        let name = carillon_console::FIRST_ADMINISTRATOR;
        say(&format!("made the administrator {name:?} with the password {password}; it is shown only now"));
    }
    Ok(())
}

/// Makes an API token of an administrator who may sign in.
pub(crate) async fn mint_admin_token(
    store: &SharedStore,
    name: &str,
    expires_in: Option<carillon_core::time::Span>,
) -> Outcome<String> {
    let now = clock::now();
    let user = administrator(store).await?;
    let scope = TokenScope::User { user, at_most: None };
    let expires_at = expires_in.map(|span| now + span);
    let (token, _) =
        mint_token(store, name, scope, name, now, expires_at).await.context("cannot make a token")?;
    Ok(token)
}

/// The number of an administrator who may sign in: `admin` where there is one, else the first.
pub(crate) async fn administrator(store: &SharedStore) -> Outcome<u64> {
    // A page of people is enough: administrators are among the first.
    let users = store.users(None, 1_000).await.context("cannot read the users")?;
    let may = || users.iter().filter(|user| user.administrator && !user.disabled);
    let found =
        may().find(|user| user.name == carillon_console::FIRST_ADMINISTRATOR).or_else(|| may().next());
    found
        .map(|user| user.id)
        .ok_or_else(|| Failure::NotFound("no user is an administrator and not disabled".to_owned()))
}

/// Serves a server until `shutdown`, then hands over and closes.
pub(crate) async fn serve_server(
    config: &Config,
    store: SharedStore,
    coordination: Arc<dyn Coordination>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Outcome {
    let metrics = Metrics::default();
    let http = match config.server.http {
        Some(address) => {
            let mut registry = Registry::default();
            metrics.register(&mut registry);
            Some((parts::listen("server.http", address).await?, Arc::new(registry)))
        }
        None => None,
    };
    let config = server_config(config)?;
    let clock = Clock::system();
    let follower = clock_of_a_test(&clock);
    let server = Server { config, store, coordination, listener, clock, metrics, http };
    let ended = server.serve(shutdown).await;
    if let Some(follower) = follower {
        follower.abort();
    }
    Ok(ended.context("the server ended")?)
}

/// The variable by which a fault test names a file with an offset in milliseconds that this server's clock is to have. Nobody else sets it.
const TEST_CLOCK: &str = "CARILLON_TEST_CLOCK_OFFSET_FILE";

/// How often the file is looked at: a jump of the clock shall come at once.
const TEST_CLOCK_EVERY: Duration = Duration::from_millis(10);

/// Follows the file of [`TEST_CLOCK`], where it is named; the file need not be there yet.
fn clock_of_a_test(clock: &Clock) -> Option<tokio::task::JoinHandle<()>> {
    let path = std::env::var_os(TEST_CLOCK)?;
    let clock = clock.clone();
    tracing::warn!("the clock follows the file of {TEST_CLOCK}, which is for tests only");
    Some(tokio::spawn(async move {
        let mut applied = 0;
        loop {
            let text = tokio::fs::read_to_string(&path).await.unwrap_or_default();
            let wanted: i64 = text.trim().parse().unwrap_or(applied);
            if wanted != applied {
                clock.shift(wanted - applied);
                applied = wanted;
            }
            tokio::time::sleep(TEST_CLOCK_EVERY).await;
        }
    }))
}

fn server_config(config: &Config) -> Outcome<ServerConfig> {
    let id: ServerId = config
        .server
        .id
        .as_deref()
        .unwrap_or_default()
        .parse()
        .map_err(|error: carillon_core::ids::IdError| Failure::Usage(format!("server.id: {error}")))?;
    let room = config.room().unwrap_or_default();
    let mut told = ServerConfig::new(id, config.cluster.id, config.server.server_group, room);
    told.advertise = config.advertised().filter(|address| !address.ends_with(":0")).unwrap_or_default();
    told.cluster_secret = config.cluster.secret.clone();
    told.engine.horizon = config.limits.horizon;
    told.engine.lost_after = config.limits.worker_lost_after;
    told.engine.grace = config.limits.cancel_grace;
    told.rooms.clone_from(&config.server.rooms);
    told.log_limit = u64::from(config.limits.log_megabytes) << 20;
    told.away_grace = config.limits.server_away_after.into();
    // Its predecessor's session has to end first: twice that, and a little.
    told.join_patience = Duration::from(config.zookeeper.session_timeout) * 2 + Duration::from_secs(3);
    told.shutdown_patience = config.server.shutdown_patience.into();
    if let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) {
        let authority = config.tls.authority.as_ref().filter(|_| config.tls.mutual);
        told.tls = Some(TlsConfig {
            certificate: parts::pem("tls.certificate", certificate)?,
            key: parts::pem("tls.key", key)?,
            client_authority: authority.map(|path| parts::pem("tls.authority", path)).transpose()?,
        });
    }
    Ok(told)
}

/// A console on its listener, ready to serve.
pub(crate) fn make_console(
    config: &Config,
    store: SharedStore,
    coordination: Arc<dyn Coordination>,
    listener: &TcpListener,
) -> Outcome<Arc<Console>> {
    let mut told = carillon_console::ConsoleConfig::new(config.cluster.id);
    let address = listener.local_addr().context("the listener has no address")?;
    // Consoles come and go behind a proxy; their names only have to differ.
    let id = MemberId::new(format!("console-{:08x}", rand::random::<u32>())).context("a console's name")?;
    told.member = Some(Member {
        id,
        kind: MemberKind::Console,
        room: config.room().unwrap_or_default(),
        address: address.to_string(),
        server_group: config.server.server_group,
        cluster: config.cluster.id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        incarnation: rand::random::<u64>() >> 1,
        load: Load::default(),
        draining: false,
        joined_at_ms: clock::now().as_millis(),
    });
    told.horizon = config.limits.horizon;
    told.cluster_secret = config.cluster.secret.clone();
    told.server_tls = client_tls(config)?;
    if let Some(folder) = &config.console.pages {
        told.pages = Pages::Folder(folder.clone());
    }
    told.keep_days = config.console.keep_days.max(1);
    told.log_limit = u64::from(config.limits.log_megabytes) << 20;
    told.objective = Objective {
        target: config.console.slo_target,
        share: 1.0 - f64::from(config.console.slo_budget_ppm.min(1_000_000)) / 1_000_000.0,
        window: config.console.slo_window,
    };
    told.trusted_proxies.clone_from(&config.console.trusted_proxies);
    Ok(Console::new(told, store, coordination, carillon_console::clock::system_clock()))
}

/// How a console reaches the servers: over TLS as soon as it knows who signed their certificates.
fn client_tls(config: &Config) -> Outcome<Option<ClientTlsConfig>> {
    let Some(authority) = &config.tls.authority else { return Ok(None) };
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(parts::pem("tls.authority", authority)?));
    if let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) {
        let certificate = parts::pem("tls.certificate", certificate)?;
        tls = tls.identity(Identity::from_pem(certificate, parts::pem("tls.key", key)?));
    }
    Ok(Some(tls))
}
