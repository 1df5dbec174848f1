//! Bugs on purpose, which show that the fault tests would see real ones. Without the feature `deliberate-bugs` there are none.

/// What a worker does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// It starts a run again when it is told again to arm it.
    NoDedup,
    /// It gives its word that a run is withdrawn, and starts it all the same.
    NoTombstone,
}

/// Whether this build has this bug, and the variable `CARILLON_TEST_BUG` asks for it.
#[cfg(feature = "deliberate-bugs")]
pub(super) fn has(bug: Bug) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| match std::env::var("CARILLON_TEST_BUG").as_deref() {
        Ok("no-dedup") => Some(Bug::NoDedup),
        Ok("no-tombstone") => Some(Bug::NoTombstone),
        _ => None,
    });
    *chosen == Some(bug)
}

/// No.
#[cfg(not(feature = "deliberate-bugs"))]
pub(super) const fn has(_: Bug) -> bool {
    false
}
