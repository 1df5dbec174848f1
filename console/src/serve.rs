//! Puts a console behind a listener and runs its loops until shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use carillon_coordination::{Coordination, Member};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::console::Console;
use crate::events::follow::follow;
use crate::housekeeping;
use crate::problem::chain;
use crate::router::router;

/// Requests in progress get this long at shutdown; event streams end at once.
const DRAIN: Duration = Duration::from_secs(10);

/// Expired sessions, tokens and sign-in counts are deleted this often; they stop counting by themselves.
const TIDY_EVERY: Duration = Duration::from_secs(3600);

/// Pause before joining the cluster is tried again.
const JOIN_AGAIN: Duration = Duration::from_secs(2);

/// Serves a console on a listener until `shutdown`, then lets requests in progress finish, for at most ten seconds.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    console: Arc<Console>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    console.tasks.spawn(follow(Arc::clone(&console), shutdown.clone()));
    console.tasks.spawn(tidy(Arc::clone(&console), shutdown.clone()));
    console.tasks.spawn(housekeeping::run(Arc::clone(&console), shutdown.clone()));
    if let Some(member) = console.config.member.clone() {
        console.tasks.spawn(join(Arc::clone(&console.coordination), member, shutdown.clone()));
    }
    let (stopping, begun) = (console.stopping.clone(), shutdown.clone());
    console.tasks.spawn(async move {
        begun.cancelled().await;
        stopping.cancel();
    });
    let service = router(&console).into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    let result = tokio::select! {
        result = served => result,
        () = late => {
            tracing::warn!("requests were still in progress {} s after shutdown began and are dropped", DRAIN.as_secs());
            Ok(())
        }
    };
    shutdown.cancel();
    console.tasks.close();
    console.tasks.wait().await;
    result
}

/// Becomes a member of the cluster, so that pages can list the consoles; a console works without it.
async fn join(coordination: Arc<dyn Coordination>, member: Member, shutdown: CancellationToken) {
    let joined = async {
        while let Err(error) = coordination.join(member.clone()).await {
            tracing::warn!(error = %chain(&error), "could not join the cluster yet");
            tokio::time::sleep(JOIN_AGAIN).await;
        }
    };
    tokio::select! {
        () = joined => shutdown.cancelled().await,
        () = shutdown.cancelled() => {}
    }
    if let Err(error) = coordination.leave().await {
        tracing::warn!(error = %chain(&error), "could not leave the cluster; its session will expire");
    }
}

async fn tidy(console: Arc<Console>, shutdown: CancellationToken) {
    loop {
        match console.store.expire_accounts(console.now()).await {
            Ok(count) => tracing::debug!(count, "deleted expired sessions and tokens"),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "could not delete expired sessions and tokens")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TIDY_EVERY) => {}
            () = shutdown.cancelled() => return,
        }
    }
}
