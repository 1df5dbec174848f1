//! What of a shard an operation on the store writes or reads: operations that concern nothing in common may take effect in any order, or
//! side by side; the others keep theirs.

use std::collections::HashSet;

use crate::change::Slice;
use crate::ids::{JobId, RunKey};
use crate::time::Timestamp;

/// What an operation concerns, within its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// These runs.
    Runs(HashSet<RunKey>),
    /// All fires in `(from, to]`, and the watermark.
    Fires {
        /// The watermark before.
        from: Timestamp,
        /// The watermark after.
        to: Timestamp,
    },
    /// All of a job, and the watermark.
    Job(JobId),
    /// All of the shard.
    All,
}

impl Concern {
    /// Of what writes rows of these runs.
    pub fn runs(keys: impl IntoIterator<Item = RunKey>) -> Self {
        Self::Runs(keys.into_iter().collect())
    }

    /// Of a slice of the plan.
    pub fn slice(slice: &Slice) -> Self {
        Self::Fires { from: slice.from, to: slice.to }
    }

    /// Of a look at all of the shard, or at one job.
    pub fn look(only: Option<JobId>) -> Self {
        only.map_or(Self::All, Self::Job)
    }

    /// Whether both concern something in common.
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => true,
            (Self::Fires { .. }, Self::Fires { .. } | Self::Job(_)) | (Self::Job(_), Self::Fires { .. }) => {
                true
            }
            (Self::Fires { from, to }, Self::Runs(keys)) | (Self::Runs(keys), Self::Fires { from, to }) => {
                keys.iter().any(|key| *from < key.fire_time && key.fire_time <= *to)
            }
            (Self::Job(one), Self::Job(other)) => one == other,
            (Self::Job(job), Self::Runs(keys)) | (Self::Runs(keys), Self::Job(job)) => {
                keys.iter().any(|key| key.job == *job)
            }
            (Self::Runs(one), Self::Runs(other)) => !one.is_disjoint(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fire(job: u32, second: i64) -> RunKey {
        RunKey::scheduled(JobId::new(job), Timestamp::from_millis(second * 1_000))
    }

    fn fires(from: i64, to: i64) -> Concern {
        Concern::Fires { from: Timestamp::from_millis(from * 1_000), to: Timestamp::from_millis(to * 1_000) }
    }

    #[test]
    fn what_has_something_in_common_meets_whichever_is_asked() {
        let runs = |keys: &[RunKey]| Concern::runs(keys.iter().copied());
        let look = |job: u32| Concern::look(Some(JobId::new(job)));
        let cases = [
            (runs(&[fire(1, 1), fire(2, 1)]), runs(&[fire(2, 1), fire(3, 1)]), true),
            (runs(&[fire(1, 1)]), runs(&[fire(1, 2)]), false),
            (runs(&[fire(1, 15)]), fires(10, 15), true),
            (runs(&[fire(1, 10), fire(1, 16)]), fires(10, 15), false),
            (runs(&[fire(1, 1)]), look(1), true),
            (runs(&[fire(1, 1)]), look(2), false),
            (look(1), look(1), true),
            (look(1), look(2), false),
            (look(1), fires(10, 15), true),
            (fires(10, 15), fires(15, 20), true),
            (Concern::look(None), runs(&[fire(1, 1)]), true),
            (Concern::look(None), look(1), true),
            (Concern::look(None), fires(10, 15), true),
        ];
        for (one, other, meet) in cases {
            assert_eq!(one.meets(&other), meet, "{one:?} and {other:?}");
            assert_eq!(other.meets(&one), meet, "{other:?} and {one:?}");
        }
    }
}
