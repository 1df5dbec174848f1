//! Where the ensemble is, and how long to wait for it.

use std::time::Duration;

use crate::error::{CoordinationError, Result};
use crate::name::LockKey;

/// Where the ensemble is, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct ZooKeeperSettings {
    /// `host:port,host:port,...` of all nodes, without a path.
    pub servers: String,
    /// The znode that everything is below, e.g. `/carillon/101`; made if it is not there.
    pub root: String,
    /// After this much silence the ensemble ends the session. The ensemble may negotiate another (2 to 20 of its ticks).
    /// A client that cannot reach it stops trusting its locks after two fifths of it.
    pub session_timeout: Duration,
    /// The deadline of each call.
    pub operation_timeout: Duration,
}

impl ZooKeeperSettings {
    /// The settings with the default times: session 6 s, operation 2 s.
    pub fn new(servers: impl Into<String>, root: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            root: root.into(),
            session_timeout: Duration::from_secs(6),
            operation_timeout: Duration::from_secs(2),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let wrong = |reason: String| Err(CoordinationError::BadSettings { reason });
        if self.servers.is_empty() || self.servers.contains('/') {
            return wrong(format!(
                "servers {:?} must be host:port,host:port,... without a path",
                self.servers
            ));
        }
        let segments = self.root.strip_prefix('/').unwrap_or_default();
        if segments.is_empty() || !segments.split('/').all(|segment| LockKey::new(segment).is_ok()) {
            return wrong(format!("root {:?} must be a path like /carillon/101", self.root));
        }
        if self.session_timeout < Duration::from_millis(100) || self.operation_timeout.is_zero() {
            return wrong(
                "the session timeout must be 100 ms or more, the operation timeout above zero".to_owned(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for (servers, root) in [
            ("", "/a"),
            ("h:1/a", "/a"),
            ("h:1", ""),
            ("h:1", "/"),
            ("h:1", "a"),
            ("h:1", "/a/"),
            ("h:1", "/a/../b"),
        ] {
            assert!(ZooKeeperSettings::new(servers, root).check().is_err(), "{servers:?} {root:?}");
        }
        ZooKeeperSettings::new("h:1,i:2", "/carillon/101").check().unwrap();
        let instant =
            ZooKeeperSettings { operation_timeout: Duration::ZERO, ..ZooKeeperSettings::new("h:1", "/a") };
        assert!(instant.check().is_err());
    }
}
