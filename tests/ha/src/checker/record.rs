//! Everything that was seen of one trial: plain data, kept as JSON when the trial fails, so that it can be judged again without the machine.
//!
//! Times are milliseconds since 1970 by the clock of the machine on which everything runs, also where a server or worker is made to believe
//! another one. Workers append to their ledgers themselves: one machine has one clock, and a collector behind a socket would add its own delay
//! and lose what a killed worker had not sent yet.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::RunRecord;
use crate::ledger::{Armed, Line};

/// The history of a trial.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Record {
    /// The case's name.
    pub case: String,
    /// From which all its chances were drawn.
    pub seed: u64,
    /// Fires later than this are judged ...
    pub from_ms: i64,
    /// ... up to this one.
    pub to_ms: i64,
    /// The latest that a fire may start after its time.
    pub bound_ms: i64,
    /// The same for a fire that a change planned anew, after the change's answer, where the case allows it more time: the way to the stores is
    /// slow, and planning goes that way some ten times.
    #[serde(default)]
    pub change_bound_ms: Option<i64>,
    /// What was to fire when.
    pub jobs: Vec<JobHistory>,
    /// Triggers that were answered.
    pub triggers: Vec<Trigger>,
    /// The table of runs after quiescence, as far as it belongs to the trial.
    pub runs: Vec<RunRecord>,
    /// What handlers wrote.
    pub lines: Vec<Line>,
    /// When workers were told.
    pub arms: Vec<Armed>,
    /// What was done to the installation.
    pub faults: Vec<FaultSpan>,
    /// Where I2 is not promised.
    pub excused: Vec<Excuse>,
    /// Commits that a failover of the database took back.
    #[serde(default)]
    pub lost_commits: Vec<LostCommits>,
    /// From when until when no database took commits.
    #[serde(default)]
    pub database_away: Vec<(i64, i64)>,
    /// What the shards looked like, in order.
    pub samples: Vec<Sample>,
    /// The share of fires that may be late or not started.
    #[serde(default)]
    pub tolerated_share: f64,
    /// How busy the machine was.
    #[serde(default)]
    pub machine: Machine,
    /// What else the case found broken.
    pub broken: Vec<String>,
}

/// How busy the machine was during a trial: figures of lateness mean little without it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The load average of one minute at the end.
    pub load: f64,
    /// The share of the processors' time that was used, by anybody.
    pub busy: f64,
    /// The processors.
    pub processors: usize,
    /// How many installations were tried beside each other.
    #[serde(default)]
    pub lanes: usize,
}

/// One job and all that it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobHistory {
    /// Its number.
    pub job: u32,
    /// Its group.
    pub group: String,
    /// In order; the first is its creation.
    pub versions: Vec<Version>,
}

/// A version of a job, from an acknowledged change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Version {
    /// What its runs have in their params.
    pub mark: u64,
    /// When it fires; never, where it is paused or deleted or only triggered.
    pub schedule: Option<Periodic>,
    /// Only later fires belong to it: the instant, or the bounds of what is known of it.
    pub effective_ms: (i64, i64),
    /// When the request was sent.
    pub sent_ms: i64,
    /// When its answer came; none where it got lost and the change was found later.
    pub acknowledged_ms: Option<i64>,
    /// The runs of earlier versions that may start all the same, as the answer listed them.
    pub may_still_start: BTreeSet<String>,
    /// When a failover of the database took this change back, and what it was made from was in force again.
    #[serde(default)]
    pub lost_ms: Option<i64>,
}

/// Every `period_ms`, counted from `offset_ms` after 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Periodic {
    /// The period.
    pub period_ms: i64,
    /// Less than the period.
    pub offset_ms: i64,
}

impl Periodic {
    /// The fires after `after` and not after `until`.
    pub fn between(self, after: i64, until: i64) -> impl Iterator<Item = i64> {
        // A change that may take effect at any time leaves bounds that cannot be counted from.
        let first = (after.min(until) - self.offset_ms).div_euclid(self.period_ms) + 1;
        (first..)
            .map(move |count| count * self.period_ms + self.offset_ms)
            .take_while(move |fire| *fire <= until)
    }
}

/// A failover of the database to a replica that had not heard of the last commits.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LostCommits {
    /// From here on commits were not passed on.
    pub cut_ms: i64,
    /// Here the primary ended: nothing was committed after it.
    pub killed_ms: i64,
    /// Here the replica took its place.
    pub back_ms: i64,
}

impl LostCommits {
    /// Whether something that was committed between these instants may have been lost.
    pub fn may_hold(&self, from_ms: i64, to_ms: i64) -> bool {
        from_ms <= self.killed_ms && to_ms >= self.cut_ms
    }
}

/// A trigger by API that was answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trigger {
    /// The run it made.
    pub run: String,
    /// When it was sent.
    #[serde(default)]
    pub sent_ms: i64,
    /// When the answer came.
    pub at_ms: i64,
}

/// What was done, from when to when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FaultSpan {
    /// In words.
    pub what: String,
    /// When it began.
    pub from_ms: i64,
    /// When it was healed: everything that it had broken was started or connected again.
    pub to_ms: i64,
}

/// A time in which a fire need not start in time, because the protocol does not promise it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Excuse {
    /// From this fire time on.
    pub from_ms: i64,
    /// Up to this fire time.
    pub to_ms: i64,
    /// Only in this group; in all where there is none.
    pub group: Option<String>,
    /// Only runs that were at this worker, or whose worker was lost by the recorded cause.
    #[serde(default)]
    pub worker: Option<String>,
    /// The sentence of the protocol.
    pub why: String,
}

/// A shard at an instant, by the API.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// When the answer came.
    pub at_ms: i64,
    /// The shard.
    pub shard: String,
    /// Its epoch.
    pub epoch: u64,
    /// Its owner.
    pub owner: String,
    /// Every fire up to here has its row.
    pub planned_until_ms: i64,
}

impl JobHistory {
    /// The fires in (after, until] that must have a row, and those that may have one because it is not known when a change took effect; each
    /// with the place of its version.
    pub fn fires(&self, after: i64, until: i64) -> (Vec<(i64, usize)>, BTreeSet<i64>) {
        let (mut must, mut may) = (Vec::new(), BTreeSet::new());
        for (place, version) in self.versions.iter().enumerate() {
            let Some(schedule) = version.schedule else { continue };
            let (earliest, latest) = version.effective_ms;
            let end = self.versions.get(place + 1).map_or((i64::MAX, i64::MAX), |next| next.effective_ms);
            must.extend(schedule.between(latest.max(after), end.0.min(until)).map(|fire| (fire, place)));
            may.extend(schedule.between(earliest.max(after), end.1.min(until)));
        }
        must.sort_unstable();
        (must, may)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_are_counted_from_the_offset() {
        let periodic = Periodic { period_ms: 2_000, offset_ms: 300 };
        assert_eq!(periodic.between(2_300, 6_300).collect::<Vec<_>>(), [4_300, 6_300]);
        assert_eq!(periodic.between(2_299, 6_299).collect::<Vec<_>>(), [2_300, 4_300]);
        assert_eq!(periodic.between(i64::MAX, 6_299).count(), 0);
    }

    #[test]
    fn a_change_divides_the_fires_between_the_versions() {
        let version = |mark, period_ms, effective_ms| Version {
            mark,
            schedule: Some(Periodic { period_ms, offset_ms: 0 }),
            effective_ms,
            ..Version::default()
        };
        let versions = vec![version(0, 1_000, (0, 0)), version(1, 2_000, (3_000, 4_500))];
        let job = JobHistory { job: 1, group: String::new(), versions };
        let (must, may) = job.fires(0, 8_000);
        assert_eq!(must, [(1_000, 0), (2_000, 0), (3_000, 0), (6_000, 1), (8_000, 1)]);
        assert_eq!(may.into_iter().collect::<Vec<_>>(), [1_000, 2_000, 3_000, 4_000, 6_000, 8_000]);
    }
}
