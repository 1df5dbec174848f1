//! Waiting for a state with a deadline, instead of sleeping.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// How often a state is looked at: often enough for tests that wait hundreds of times, seldom enough to leave two cores to what is tested.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long almost anything may take on a busy machine with two cores. A test that waits this long has failed; a passing one never does.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until `look` finds something, and returns it. Panics with `what` and the last that was seen when the deadline passes.
pub async fn until<T, S, F>(what: &str, patience: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, S>>,
    S: Debug,
{
    let deadline = Instant::now() + patience;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= deadline => {
                panic!("waited {patience:?} until {what}; last seen: {seen:#?}")
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// As [`until`], for a condition that is looked at without waiting.
pub async fn until_so(what: &str, patience: Duration, mut look: impl FnMut() -> bool) {
    until(what, patience, || {
        let so = look();
        async move { if so { Ok(()) } else { Err("not yet") } }
    })
    .await;
}

/// Runs something that blocks its thread, such as another process, without holding up the test's other tasks.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
