//! A member: one server or console that is present in the cluster.

use serde::{Deserialize, Serialize};

use crate::name::MemberId;

/// One server or console, as it describes itself to all others.
///
/// It is stored as JSON in an ephemeral node. Fields added by later versions must be optional there (`serde(default)`),
/// because during a rolling upgrade old and new members read each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The id, unique in the cluster; two processes with the same id are refused.
    pub id: MemberId,
    /// What it serves.
    pub kind: MemberKind,
    /// The machine room it stands in.
    pub room: String,
    /// `host:port` of its gRPC (server) or HTTP (console) listener, as peers and workers reach it.
    pub address: String,
    /// The server group it belongs to.
    pub server_group: u32,
    /// The cluster it belongs to.
    pub cluster: u32,
    /// The version of its binary.
    pub version: String,
    /// New at every start of the process: tells a restart from the process before it.
    pub incarnation: u64,
    /// How much it carries, for placement and for pages.
    #[serde(default)]
    pub load: Load,
    /// It is on its way out and wants no new shards.
    #[serde(default)]
    pub draining: bool,
    /// When it joined, in milliseconds since the Unix epoch by its own clock; for pages only.
    #[serde(default)]
    pub joined_at_ms: i64,
}

/// What a member serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    /// Holds shards and triggers.
    Server,
    /// Serves pages, the REST API and discovery.
    Console,
}

/// How much a member carries. Roughly right is enough: it is written at intervals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Shards whose trigger lock it holds.
    pub shards_owned: u32,
    /// Shards it holds as owner or standby.
    pub shards_held: u32,
    /// Workers with a stream to it.
    pub workers: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_another_version_is_read() {
        let older_and_newer = r#"{"id":"server-1","kind":"server","room":"a","address":"h:1","server_group":1,"cluster":101,
            "version":"0.0.9","incarnation":7,"a_field_of_the_future":[1,2],"load":{"shards_owned":3}}"#;
        let member: Member = serde_json::from_str(older_and_newer).expect("readable");
        assert_eq!(member.load, Load { shards_owned: 3, ..Load::default() });
        assert!(!member.draining);
    }
}
