//! Paths and contents of znodes: the only file that knows them.

use serde::{Deserialize, Serialize};
use zookeeper_client as zk;

use crate::error::{CoordinationError, Result};
use crate::lock::{LockData, LockHolder, LockVersion};
use crate::member::Member;
use crate::name::{LockKey, MemberId, Topic};

pub(super) const MEMBERS: &str = "/members";
pub(super) const LOCKS: &str = "/locks";
pub(super) const GENERATIONS: &str = "/generations";
pub(super) const TOPICS: &str = "/topics";

pub(super) const PERSISTENT: zk::CreateOptions<'static> =
    zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
pub(super) const EPHEMERAL: zk::CreateOptions<'static> =
    zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());

pub(super) fn member(id: &MemberId) -> String {
    format!("{MEMBERS}/{id}")
}

pub(super) fn lock(key: &LockKey) -> String {
    format!("{LOCKS}/{key}")
}

pub(super) fn generation(key: &LockKey) -> String {
    format!("{GENERATIONS}/{key}")
}

pub(super) fn topic(topic: &Topic) -> String {
    format!("{TOPICS}/{topic}")
}

/// The name of a folder's child, from its path.
pub(super) fn child<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// What a lock's znode holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LockNode {
    pub(super) member: MemberId,
    pub(super) generation: u64,
    #[serde(flatten)]
    pub(super) data: LockData,
}

/// A lock as it was read.
#[derive(Debug)]
pub(super) struct LockSeen {
    pub(super) node: LockNode,
    /// The session that created it.
    pub(super) owner: i64,
    /// The version of its data.
    pub(super) revision: i32,
}

impl LockSeen {
    pub(super) fn decode(key: &LockKey, data: &[u8], stat: &zk::Stat) -> Result<Self> {
        let node = serde_json::from_slice(data)
            .map_err(|error| CoordinationError::Corrupt { place: lock(key), source: Box::new(error) })?;
        Ok(Self { node, owner: stat.ephemeral_owner, revision: stat.version })
    }

    pub(super) fn version(&self) -> LockVersion {
        LockVersion { generation: self.node.generation, revision: self.revision.cast_unsigned() }
    }

    pub(super) fn holder(self, session: i64) -> LockHolder {
        let version = self.version();
        LockHolder { member: self.node.member, data: self.node.data, version, mine: self.owner == session }
    }
}

pub(super) fn encode_lock(node: &LockNode) -> Vec<u8> {
    serde_json::to_vec(node).expect("names and numbers are always valid JSON")
}

pub(super) fn encode_member(member: &Member) -> Vec<u8> {
    serde_json::to_vec(member).expect("strings and numbers are always valid JSON")
}

pub(super) fn decode_member(id: &str, data: &[u8]) -> Result<Member> {
    serde_json::from_slice(data).map_err(|error| CoordinationError::Corrupt {
        place: format!("{MEMBERS}/{id}"),
        source: Box::new(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_node_reads_as_flat_json() {
        let node = LockNode {
            member: MemberId::new("server-1").unwrap(),
            generation: 7,
            data: LockData::with_epoch(3),
        };
        let text = r#"{"member":"server-1","generation":7,"epoch":3}"#;
        assert_eq!(String::from_utf8(encode_lock(&node)).unwrap(), text);
        assert_eq!(serde_json::from_str::<LockNode>(text).unwrap(), node);
    }

    #[test]
    fn only_children_have_a_name() {
        assert_eq!(child("/locks/a.0", LOCKS), Some("a.0"));
        assert_eq!(child("/locks", LOCKS), None);
        assert_eq!(child("/locksmith/a", LOCKS), None);
    }
}
