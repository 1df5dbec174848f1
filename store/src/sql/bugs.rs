//! A bug on purpose, which shows that the fault tests would see a real one. Without the feature `deliberate-bugs` there is none.

/// Whether slices are committed without comparing anything: this build has the bug, and the variable `CARILLON_TEST_BUG` asks for it.
#[cfg(feature = "deliberate-bugs")]
pub(super) fn compares_nothing() -> bool {
    static CHOSEN: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| std::env::var("CARILLON_TEST_BUG").is_ok_and(|bug| bug == "no-compare"))
}

/// No.
#[cfg(not(feature = "deliberate-bugs"))]
pub(super) const fn compares_nothing() -> bool {
    false
}
