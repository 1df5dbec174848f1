//! Identifiers: newtypes with private fields, parsed at the edge and trusted inside.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// Why a text is not an identifier: what was expected, what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {what}: {expected}")]
pub struct IdError {
    what: &'static str,
    given: String,
    expected: &'static str,
}

impl IdError {
    pub(crate) fn new(what: &'static str, given: &str, expected: &'static str) -> Self {
        // A hostile text must not fill a log line: 80 characters show any honest mistake.
        Self { what, given: given.chars().take(80).collect(), expected }
    }
}

/// Makes a text-shaped id serialise as its text.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The id of a task group, `cluster-servergroup-backups-number`, four positive integers: `101-1-2-6601`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    cluster: u32,
    server_group: u32,
    backups: u32,
    number: u32,
}

/// The most holders a shard can have; more standbys cost memory and buy nothing, since any two may fail at five.
pub const MAX_BACKUPS: u32 = 9;

impl GroupId {
    const EXPECTED: &'static str = "expected cluster-servergroup-backups-number, four positive integers such as 101-1-2-6601 (backups 1 to 9)";

    /// Makes an id from its parts: each at least 1 and at most 2^31 - 1, `backups` at most [`MAX_BACKUPS`].
    pub fn new(cluster: u32, server_group: u32, backups: u32, number: u32) -> Result<Self, IdError> {
        let id = Self { cluster, server_group, backups, number };
        let parts = [cluster, server_group, backups, number];
        if parts.iter().any(|part| *part == 0 || *part > i32::MAX as u32) || backups > MAX_BACKUPS {
            return Err(IdError::new("task group id", &id.to_string(), Self::EXPECTED));
        }
        Ok(id)
    }

    /// The cluster the group lives in.
    pub fn cluster(self) -> u32 {
        self.cluster
    }

    /// The pool of servers that holds the group.
    pub fn server_group(self) -> u32 {
        self.server_group
    }

    /// How many servers hold each shard of the group (2 = one owner, one hot standby).
    pub fn backups(self) -> u32 {
        self.backups
    }

    /// The group's number, allocated by the console, unique in the cluster.
    pub fn number(self) -> u32 {
        self.number
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.cluster, self.server_group, self.backups, self.number)
    }
}

impl FromStr for GroupId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::new("task group id", text, Self::EXPECTED);
        let parts: Vec<u32> = text
            .split('-')
            .map(|part| {
                let plain = !part.is_empty() && part.len() <= 10 && part.bytes().all(|b| b.is_ascii_digit());
                if plain && !part.starts_with('0') { part.parse().ok() } else { None }
            })
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let [cluster, server_group, backups, number] = parts[..] else { return Err(wrong()) };
        Self::new(cluster, server_group, backups, number).map_err(|_| wrong())
    }
}

serde_as_text!(GroupId);

/// The unit of placement and ownership: one of a task group's shards. Shown as `101-1-2-6601.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    group: GroupId,
    index: u16,
}

/// The most shards a group can have: enough to spread one group over every server of a large server group.
pub const MAX_SHARDS: u16 = 256;

impl ShardId {
    /// The `index`-th shard of `group`, counted from 0.
    pub fn new(group: GroupId, index: u16) -> Self {
        Self { group, index }
    }

    /// The group the shard belongs to.
    pub fn group(self) -> GroupId {
        self.group
    }

    /// The shard's place in its group, from 0.
    pub fn index(self) -> u16 {
        self.index
    }

    /// The shard of `group` that owns `job`, when the group has `shards` shards.
    pub fn of_job(group: GroupId, job: JobId, shards: u16) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_64(&job.get().to_le_bytes());
        Self { group, index: (hash % u64::from(shards.max(1))) as u16 }
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.group, self.index)
    }
}

impl FromStr for ShardId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || {
            IdError::new("shard id", text, "expected a group id, a dot and an index, such as 101-1-2-6601.0")
        };
        let (group, index) = text.split_once('.').ok_or_else(wrong)?;
        let group = group.parse().map_err(|_| wrong())?;
        let index: u16 = index.parse().map_err(|_| wrong())?;
        if index >= MAX_SHARDS {
            return Err(wrong());
        }
        Ok(Self { group, index })
    }
}

serde_as_text!(ShardId);

/// Makes a numeric id with a private field.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a number read from the store or the wire.
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The bare number, for the store and the wire.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A job's number, from 1, within a signed 32-bit integer (XXL-JOB executors carry it so).
    JobId(u32)
}
number! {
    /// The version of a job, which is also its revision for `If-Match`; an edit makes the next one.
    JobVersion(u32)
}

impl JobVersion {
    /// More edits of one job than a failover of the database loses.
    const LOST_AT_MOST: u32 = 1_000;

    /// A version that no edit had which came after this one and was lost. Workers and holders may know what came of a lost edit, and would
    /// take another edit of the same version for it.
    #[must_use]
    pub const fn beyond_lost(self) -> Self {
        Self(self.0.saturating_add(Self::LOST_AT_MOST))
    }
}
number! {
    /// Grows with every change of a shard's job set; part of the compare-and-set that plans.
    JobsVersion(u64)
}
number! {
    /// Grows with every change of a shard's owner and fences stale ones.
    Epoch(u64)
}
number! {
    /// Grows with every change of the worker a run is planned at.
    PlanNo(u32)
}
number! {
    /// One try of a run, counted from 1.
    AttemptNo(u32)
}

impl AttemptNo {
    /// The first attempt.
    pub const FIRST: Self = Self(1);
}

/// One start of a worker process. Never used twice: 63 random bits, drawn by the worker at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u64);

impl Incarnation {
    /// Wraps a number drawn by a worker; the top bit is cleared so that it fits a signed column.
    pub const fn new(number: u64) -> Self {
        Self(number & (u64::MAX >> 1))
    }

    /// The bare number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Incarnation {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        u64::from_str_radix(text, 16)
            .ok()
            .filter(|number| *number <= u64::MAX >> 1 && text.len() == 16)
            .map(Self)
            .ok_or_else(|| IdError::new("worker incarnation", text, "expected 16 hexadecimal digits"))
    }
}

serde_as_text!(Incarnation);

/// A server's configured name, such as `server-1`: 1 to 64 letters, digits, dots, dashes or underscores.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(String);

impl ServerId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ServerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
            return Err(IdError::new("server id", text, "expected 1 to 64 letters, digits, '.', '-' or '_'"));
        }
        Ok(Self(text.to_owned()))
    }
}

serde_as_text!(ServerId);

/// What identifies a run: the nominal instant, the job, and an ordinal that is 0 for the scheduled fire and derived from the
/// idempotency key for a trigger by API. Ordered by time, so that rows and ids sort as they happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// The nominal instant the job was due, or the instant of the trigger request.
    pub fire_time: Timestamp,
    /// The job that fired.
    pub job: JobId,
    /// 0 for the scheduled fire; 1 to 2^53 - 1 for the others.
    pub ordinal: u64,
}

/// Ordinals stay below 2^53, so that any JSON reader keeps them exact.
pub const MAX_ORDINAL: u64 = (1 << 53) - 1;

impl RunKey {
    /// The key of the scheduled fire of `job` at `fire_time`.
    pub fn scheduled(job: JobId, fire_time: Timestamp) -> Self {
        Self { fire_time, job, ordinal: 0 }
    }

    /// The key of a trigger request at `fire_time`, told apart from others by its idempotency key.
    pub fn triggered(job: JobId, fire_time: Timestamp, idempotency_key: &str) -> Self {
        let ordinal = xxhash_rust::xxh3::xxh3_64(idempotency_key.as_bytes()) % MAX_ORDINAL + 1;
        Self { fire_time, job, ordinal: ordinal.min(MAX_ORDINAL) }
    }

    /// The run's trace id, 16 bytes, derived from the key: the same for whoever computes it, with no store in between.
    pub fn trace_id(self) -> TraceId {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.fire_time.as_millis().to_le_bytes());
        bytes[8..16].copy_from_slice(&u64::from(self.job.get()).to_le_bytes());
        bytes[16..].copy_from_slice(&self.ordinal.to_le_bytes());
        TraceId(xxhash_rust::xxh3::xxh3_128(&bytes).max(1))
    }
}

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TIME_DIGITS: usize = 9;
const JOB_DIGITS: usize = 7;

/// The textual run id: Crockford's base 32 in lower case, nine digits of fire time, seven of job, then the ordinal unless it is 0.
/// Short, URL-safe, and sorts as the runs fired.
impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(TIME_DIGITS + JOB_DIGITS + 11);
        push_digits(&mut text, self.fire_time.as_millis().max(0) as u64, TIME_DIGITS);
        push_digits(&mut text, u64::from(self.job.get()), JOB_DIGITS);
        if self.ordinal > 0 {
            push_digits(&mut text, self.ordinal, 11);
        }
        f.write_str(&text)
    }
}

fn push_digits(text: &mut String, number: u64, digits: usize) {
    for place in (0..digits).rev() {
        text.push(char::from(DIGITS[(number >> (5 * place) & 31) as usize]));
    }
}

fn read_digits(text: &str) -> Option<u64> {
    text.bytes().try_fold(0u64, |number, byte| {
        let digit = DIGITS.iter().position(|d| *d == byte)? as u64;
        number.checked_mul(32).map(|shifted| shifted | digit)
    })
}

impl FromStr for RunKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let read = || {
            let whole = text.len() == TIME_DIGITS + JOB_DIGITS || text.len() == TIME_DIGITS + JOB_DIGITS + 11;
            if !whole || !text.is_ascii() {
                return None;
            }
            let (time, rest) = text.split_at(TIME_DIGITS);
            let (job, ordinal) = rest.split_at(JOB_DIGITS);
            Some(Self {
                fire_time: Timestamp::from_millis(i64::try_from(read_digits(time)?).ok()?),
                job: JobId::new(u32::try_from(read_digits(job)?).ok()?),
                ordinal: read_digits(ordinal).filter(|ordinal| *ordinal <= MAX_ORDINAL)?,
            })
        };
        read().ok_or_else(|| {
            IdError::new("run id", text, "expected 16 or 27 characters of 0-9 and a-z without i, l, o, u")
        })
    }
}

serde_as_text!(RunKey);

/// A W3C trace id: 16 bytes, shown as 32 hexadecimal digits, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// Wraps 128 bits read from a `traceparent`; `None` for zero, which W3C forbids.
    pub const fn new(bits: u128) -> Option<Self> {
        if bits == 0 { None } else { Some(Self(bits)) }
    }

    /// The bare bits.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for TraceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        u128::from_str_radix(text, 16)
            .ok()
            .filter(|_| text.len() == 32)
            .and_then(Self::new)
            .ok_or_else(|| IdError::new("trace id", text, "expected 32 hexadecimal digits, not all zero"))
    }
}

serde_as_text!(TraceId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_id_reads_back_as_it_is_shown() {
        let id: GroupId = "101-1-2-6601".parse().expect("well-formed");
        assert_eq!((id.cluster(), id.server_group(), id.backups(), id.number()), (101, 1, 2, 6601));
        assert_eq!(id.to_string(), "101-1-2-6601");
    }

    #[test]
    fn a_malformed_group_id_is_refused_with_the_right_form() {
        for text in [
            "",
            "101",
            "101-1-2",
            "101-1-2-3-4",
            "0-1-2-3",
            "101-1-02-3",
            "a-1-2-3",
            "101-1-10-3",
            "-1-1-2-3",
        ] {
            let error = text.parse::<GroupId>().expect_err(text).to_string();
            assert!(error.contains("101-1-2-6601") && error.contains(text), "{error}");
        }
    }

    #[test]
    fn run_ids_read_back_and_sort_as_the_runs_fired() {
        let at = |millis, job, ordinal| RunKey {
            fire_time: Timestamp::from_millis(millis),
            job: JobId::new(job),
            ordinal,
        };
        let keys = [
            at(0, 1, 0),
            at(1_763_630_400_000, 1, 0),
            at(1_763_630_400_000, 1, MAX_ORDINAL),
            at(1_763_630_400_001, 0, 7),
        ];
        for key in keys {
            assert_eq!(key.to_string().parse::<RunKey>().expect("own text"), key);
        }
        assert!(keys.map(|key| key.to_string()).is_sorted());
        assert!("not a run id".parse::<RunKey>().is_err());
        assert!("zzzzzzzzzzzzzzzz".parse::<RunKey>().is_err(), "a job beyond 32 bits");
    }

    #[test]
    fn the_same_idempotency_key_gives_the_same_ordinal_and_never_the_scheduled_one() {
        let key = |text| RunKey::triggered(JobId::new(1), Timestamp::from_millis(5), text);
        assert_eq!(key("a"), key("a"));
        assert_ne!(key("a"), key("b"));
        assert_ne!(key("").ordinal, 0);
    }
}
