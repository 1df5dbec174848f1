//! Waiting out one's own predecessor.

use std::time::Duration;

use tokio::time::Instant;

use crate::coordination::Coordination;
use crate::error::{CoordinationError, Result};
use crate::hint::{Hint, Hints};
use crate::member::Member;

/// How often a refused join is tried again when no hint comes. A refused join costs the coordinator one read.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// Joins, waiting up to `patience` for the id to become free and for the coordinator to answer.
///
/// A process that was killed and started again finds its predecessor's session alive for up to the session timeout;
/// somewhat more than that is the right patience. A second server with the same id is still refused, only later.
///
/// # Errors
/// The last error of [`join`](Coordination::join) when the patience is used up, and every error that is neither
/// [`IdTaken`](CoordinationError::IdTaken) nor retryable at once.
pub async fn join_with_patience(
    coordination: &dyn Coordination,
    member: Member,
    patience: Duration,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    let mut hints = coordination.hints();
    loop {
        let error = match coordination.join(member.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let may_pass = error.is_retryable() || matches!(error, CoordinationError::IdTaken { .. });
        if !may_pass || Instant::now() >= deadline {
            return Err(error);
        }
        tracing::debug!(member = %member.id, %error, "cannot join yet");
        let pause = RETRY_EVERY.min(deadline.saturating_duration_since(Instant::now()));
        let _ = tokio::time::timeout(pause, membership_may_have_changed(&mut hints)).await;
    }
}

/// Hints about locks and topics are passed over, so that a busy cluster does not make a waiting server ask all the time.
async fn membership_may_have_changed(hints: &mut Hints) {
    while let Some(hint) = hints.next().await {
        if matches!(hint, Hint::MembersChanged | Hint::Session(_)) {
            return;
        }
    }
    std::future::pending().await
}
