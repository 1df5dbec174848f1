//! Names that may become path segments of a backend: checked where they enter, trusted afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name in bytes. A listing of all locks must fit into one ZooKeeper answer (1 MiB), so names stay short.
pub const MAX_NAME_BYTES: usize = 96;

/// A name that is empty, too long or holds a character outside `A-Z a-z 0-9 . _ : -`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} must be 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 . _ : - and not only dots")]
pub struct InvalidName {
    kind: &'static str,
    name: String,
}

fn check(kind: &'static str, name: &str) -> Result<(), InvalidName> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let ok = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(allowed)
        && name.bytes().any(|byte| byte != b'.');
    if ok { Ok(()) } else { Err(InvalidName { kind, name: name.chars().take(MAX_NAME_BYTES).collect() }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`InvalidName`] if it is empty, longer than [`MAX_NAME_BYTES`] or holds other characters than
            /// `A-Z a-z 0-9 . _ : -`.
            pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
                let name = name.into();
                check($kind, &name)?;
                Ok(Self(name))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
    };
}

name!(
    /// The id of a server or console, unique in its cluster and the same after a restart, e.g. `server-1`.
    MemberId,
    "member id"
);
name!(
    /// What a lock is about, e.g. a shard `101-1-2-6601.0` or the elected `placer`. Opaque to this crate.
    LockKey,
    "lock key"
);
name!(
    /// What a change hint is about, e.g. `groups` or `shard:101-1-2-6601.0`. Opaque to this crate.
    Topic,
    "topic"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards_and_servers_are_accepted() {
        for name in ["101-1-2-6601.0", "server-1", "shard:101-1-2-6601.0", "placer", ".a", "x"] {
            assert_eq!(LockKey::new(name).expect("a good name").as_str(), name);
        }
    }

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        let too_long = "x".repeat(MAX_NAME_BYTES + 1);
        for name in ["", ".", "..", "...", "a/b", "/a", "a b", "a\0", "schlüssel", "分组", too_long.as_str()]
        {
            assert!(LockKey::new(name).is_err(), "{name:?} must be refused");
        }
    }

    #[test]
    fn a_name_from_json_is_checked_too() {
        assert!(serde_json::from_str::<MemberId>("\"a/b\"").is_err());
        assert_eq!(
            serde_json::to_string(&MemberId::new("server-1").expect("good")).expect("json"),
            "\"server-1\""
        );
    }
}
