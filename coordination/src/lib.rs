//! Who is there, and who should act: membership, long-held locks and change hints.
//!
//! **What it is.** One trait, [`Coordination`], and two backends that keep the same promises: [`embedded`] (in this
//! process, with scripted faults) and [`zookeeper`] (an ensemble). [`conformance`] holds one public function per promise.
//!
//! **What it is not.** A source of safety. A lock says who should plan and arm first; the store's epoch says who may.
//! Losing a lock costs repeated work, never a doubled or a lost run.
//!
//! **What it must not know.** Jobs, runs, SQL, gRPC. A shard is an opaque [`LockKey`] here.
//!
//! **Where to begin.** [`coordination`] has the trait and its contract; [`hint`] says what wakes a reader.

pub mod coordination;
pub mod error;
pub mod hint;
pub mod lock;
pub mod member;
pub mod name;
pub mod patience;

pub mod embedded;
pub mod zookeeper;

pub mod conformance;

pub use coordination::Coordination;
pub use embedded::{Embedded, EmbeddedRegistry};
pub use error::{CoordinationError, Result};
pub use hint::{Hint, Hints, SessionState, SessionStates};
pub use lock::{LockData, LockHolder, LockOutcome, LockVersion};
pub use member::{Load, Member, MemberKind};
pub use name::{InvalidName, LockKey, MemberId, Topic};
pub use patience::join_with_patience;
pub use zookeeper::{ZooKeeper, ZooKeeperSettings};
