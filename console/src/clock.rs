//! The one place where the console reads the clock; everything else is given the time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use carillon_core::time::Timestamp;

/// Tells the time. Tests give their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The wall clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}
