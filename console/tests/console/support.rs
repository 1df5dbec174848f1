//! A console with everything around it, and how tests talk to it.

pub(crate) mod server;
pub(crate) mod world;

pub(crate) use server::FakeServer;
pub(crate) use world::{Answer, World};

use std::time::{Duration, Instant};

/// Waits for a state, for at most ten seconds.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
