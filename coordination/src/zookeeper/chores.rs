//! What the session's task does besides listening: one reconciling pass, the same after connecting, after a doubt, and
//! after a hint.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::error::{CoordinationError, Result};
use crate::zookeeper::failure::answer;
use crate::zookeeper::shared::{Session, Shared};
use crate::zookeeper::{locks, members};

/// When a pass failed, the next one comes this much later, if nothing wakes it before. An id taken by another live session is
/// looked at in the same rhythm.
const RETRY: Duration = Duration::from_millis(500);

/// Makes a pass whenever there is a reason, for as long as the session lives.
pub(super) async fn keep_order(shared: &Shared, session: &Session) {
    let mut retry: Option<Instant> = None;
    loop {
        match retry {
            Some(time) => tokio::select! {
                () = shared.chores.notified() => {}
                () = sleep_until(time) => {}
            },
            None => shared.chores.notified().await,
        }
        retry = None;
        if !shared.is_connected() {
            continue; // connecting again is a reason for a pass
        }
        if let Err(error) = make_pass(shared, session).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "coordination chores are not done yet");
            retry = Some(Instant::now() + RETRY);
        }
    }
}

async fn make_pass(shared: &Shared, session: &Session) -> Result<()> {
    let recovering = shared.recovering();
    if recovering.is_some() {
        // The leader checks the session, and what is read after this is not older than it. A node may serve a connection for
        // a while whose session has just been ended.
        answer(shared.deadline(), session.client.sync("/"))
            .await
            .map_err(|failure| failure.into_read("check the session"))?;
    }
    let suspects: BTreeMap<_, _> = {
        let mut view = shared.view();
        let suspect = std::mem::take(&mut view.suspect);
        let all = recovering.is_some();
        let held = view.held.iter().filter(|(key, _)| all || suspect.contains(*key));
        held.map(|(key, version)| (key.clone(), *version)).collect()
    };
    if let Err(error) = locks::verify(shared, session, &suspects).await {
        shared.view().suspect.extend(suspects.into_keys());
        return Err(error);
    }

    let membership = keep_membership(shared, session, recovering.is_some()).await;
    if let Some(mark) = recovering {
        match &membership {
            Ok(()) | Err(CoordinationError::IdTaken { .. }) => shared.ready(mark),
            Err(_) => return membership,
        }
    }

    for (key, doubt) in shared.doubts() {
        locks::settle(shared, session, &key, &doubt).await?;
        shared.settle(session.number, &key, &doubt);
    }
    membership
}

/// Writes the member if it is not there as wished, or, after the connection was away, may be not.
async fn keep_membership(shared: &Shared, session: &Session, was_away: bool) -> Result<()> {
    let wish = {
        let view = shared.view();
        match &view.wish {
            Some(wish) if was_away || view.unwritten || !view.present => wish.clone(),
            _ => return Ok(()),
        }
    };
    members::write(shared, session, &wish, "be a member again").await?;
    shared.joined(session.number, &wish);
    Ok(())
}
