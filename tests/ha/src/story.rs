//! How a test runs: one at a time, on one runtime, on an installation that the tests of its binary may share.
//!
//! Tests here measure milliseconds on machines with two cores and start a dozen processes each, so they take turns whatever `--test-threads`
//! says. An installation that is kept in a static ends with the process: its [`Folder`](crate::folder::Folder) sees to that.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::folder::say;
use crate::site::Site;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime can be made"));
static TURN: Mutex<()> = Mutex::new(());

/// The longest that one story may take. Stories have deadlines of their own; this one is for what hangs without any.
const LONGEST: Duration = Duration::from_secs(240);

/// Runs a story on its own: it makes what it needs.
pub fn alone<F: Future<Output = ()>>(story: impl FnOnce() -> F) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    RUNTIME.block_on(async {
        tokio::time::timeout(LONGEST, story())
            .await
            .unwrap_or_else(|_| panic!("the story hangs: not over after {LONGEST:?}"));
    });
}

/// An installation that the tests of a binary share, made when the first of them needs it. None: what it needs is not there, and the tests are
/// skipped aloud.
#[derive(Debug)]
pub struct Shared<S> {
    site: OnceCell<Option<S>>,
}

impl<S> Shared<S> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { site: OnceCell::const_new() }
    }
}

impl<S> Default for Shared<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: AsRef<Site>> Shared<S> {
    /// Runs a story on the shared installation. If it fails, the installation's folder is kept and the ends of its logs are printed.
    pub fn on<F, G>(&'static self, make: impl FnOnce() -> G, story: impl FnOnce(&'static S) -> F)
    where
        F: Future<Output = ()>,
        G: Future<Output = Option<S>>,
    {
        alone(async || {
            let Some(site) = self.site.get_or_init(make).await else { return };
            if let Err(panic) = AssertUnwindSafe(story(site)).catch_unwind().await {
                site.as_ref().folder().report_failure();
                std::panic::resume_unwind(panic);
            }
        });
    }
}

/// The words of a panic.
pub fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}

/// Reports a figure: printed always, judged only where the test says so.
pub fn figure(what: &str, value: impl std::fmt::Display) {
    say(&format!("FIGURE {what}: {value}"));
}

/// Says aloud that a test did not run, and why; panics where services are required.
pub fn skipped(why: &str) {
    let required = std::env::var("CARILLON_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
    assert!(!required, "{why}, and CARILLON_REQUIRE_SERVICES=1");
    say(&format!("SKIPPED: {why}"));
}
