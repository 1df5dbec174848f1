//! A batch in stages: operations of one kind, of any number of shards, that share a transaction; and which stages have to wait for which.
//!
//! Of one shard only what concerns the same keeps its order ([`Concern`]). The rest goes side by side: where a commit takes long, a
//! transaction for every few steps, one after the other, would leave no time for what waits behind them.

use std::collections::{BTreeSet, HashMap};

use carillon_core::concern::Concern;
use carillon_core::ids::ShardId;

use super::{Operation, Work};

/// What can share a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Slice,
    Insert,
    Trigger,
    Advance,
    Move,
    Read,
}

impl Kind {
    fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Slice(_) => Self::Slice,
            Operation::Insert(_) => Self::Insert,
            Operation::Trigger(_) => Self::Trigger,
            Operation::Advance { .. } | Operation::NextAttempt { .. } => Self::Advance,
            Operation::Move(_) => Self::Move,
            Operation::Read { .. } | Operation::Stray { .. } => Self::Read,
        }
    }
}

fn concern_of(operation: &Operation) -> Concern {
    match operation {
        Operation::Slice(slice) => Concern::slice(slice),
        Operation::Insert(runs) => Concern::runs(runs.iter().map(|run| run.key)),
        Operation::Trigger(triggered) => Concern::runs([triggered.run.key]),
        Operation::Advance { steps, .. } => Concern::runs(steps.iter().map(|step| step.key)),
        Operation::NextAttempt { advance, .. } => Concern::runs([advance.key]),
        Operation::Move(moves) => Concern::runs(moves.iter().map(|one| one.key)),
        Operation::Read { only, .. } => Concern::look(*only),
        Operation::Stray { report, .. } => Concern::runs([report.key]),
    }
}

/// Operations in the order in which they are written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    stages: Vec<Stage>,
    rows: usize,
}

/// Operations of one kind.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) kind: Kind,
    pub(super) work: Vec<Work>,
    concerns: HashMap<ShardId, Vec<Concern>>,
    /// Earlier stages that concern what this one does.
    after: BTreeSet<usize>,
}

impl Stage {
    fn meets(&self, shard: ShardId, concern: &Concern) -> bool {
        self.concerns.get(&shard).is_some_and(|others| others.iter().any(|other| other.meets(concern)))
    }
}

impl Batch {
    /// Puts an operation into the first stage of its kind that is not before what concerns the same.
    pub(super) fn add(&mut self, work: Work) {
        self.rows += work.operation.rows();
        let kind = Kind::of(&work.operation);
        let concern = concern_of(&work.operation);
        let of_kind = self.stages.iter().filter(|stage| stage.kind == kind).count();
        let met: Vec<usize> = (0..self.stages.len())
            .filter(|place| {
                let stage = &self.stages[*place];
                // Within a stage the order stays: where there is one of the kind, it is that or a new one.
                !(of_kind == 1 && stage.kind == kind) && stage.meets(work.shard, &concern)
            })
            .collect();
        let from =
            met.last().map_or(0, |place| if self.stages[*place].kind == kind { *place } else { place + 1 });
        let place = (from..self.stages.len()).find(|place| self.stages[*place].kind == kind);
        let place = place.unwrap_or_else(|| {
            self.stages.push(Stage {
                kind,
                work: Vec::new(),
                concerns: HashMap::new(),
                after: BTreeSet::new(),
            });
            self.stages.len() - 1
        });
        let stage = &mut self.stages[place];
        stage.after.extend(met.into_iter().filter(|met| *met != place));
        stage.concerns.entry(work.shard).or_default().push(concern);
        stage.work.push(work);
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The stages in waves: those of a wave may go side by side, each wave after the one before it.
    pub(super) fn into_waves(self) -> Vec<Vec<Stage>> {
        let mut waves: Vec<Vec<Stage>> = Vec::new();
        let mut wave_of: Vec<usize> = Vec::with_capacity(self.stages.len());
        for stage in self.stages {
            let wave = stage.after.iter().map(|place| wave_of[*place] + 1).max().unwrap_or(0);
            wave_of.push(wave);
            waves.resize_with(waves.len().max(wave + 1), Vec::new);
            waves[wave].push(stage);
        }
        waves
    }
}

#[cfg(test)]
mod tests {
    use carillon_core::change::{Advance, Fence, Move, Slice, Step};
    use carillon_core::ids::{AttemptNo, Epoch, GroupId, Incarnation, JobId, JobsVersion, PlanNo, RunKey};
    use carillon_core::time::Timestamp;
    use tokio::sync::mpsc;

    use super::*;

    fn shard(index: u16) -> ShardId {
        ShardId::new(GroupId::new(1, 1, 1, 1).unwrap(), index)
    }

    /// The fire of a job at a second.
    fn fire(job: u32, second: i64) -> RunKey {
        RunKey::scheduled(JobId::new(job), Timestamp::from_millis(second * 1_000))
    }

    fn steps(keys: &[RunKey]) -> Operation {
        let (attempt, worker) = (AttemptNo::FIRST, Incarnation::new(1));
        let started = |key: &RunKey| Advance {
            key: *key,
            attempt,
            step: Step::Started { at: key.fire_time, worker },
            fence: None,
        };
        Operation::Advance { steps: keys.iter().map(started).collect(), acks: Vec::new(), epoch: None }
    }

    fn moves(key: RunKey) -> Operation {
        let fence = Fence { shard: shard(1), epoch: Epoch::new(1), jobs_version: None };
        let (attempt, seen, to) = (AttemptNo::FIRST, PlanNo::new(0), Incarnation::new(2));
        Operation::Move(vec![Move { key, attempt, seen, to, fence }])
    }

    /// A slice of the plan between two seconds.
    fn slice(from: i64, to: i64) -> Operation {
        Operation::Slice(Slice {
            shard: shard(1),
            epoch: Epoch::new(1),
            jobs_version: JobsVersion::default(),
            from: Timestamp::from_millis(from * 1_000),
            to: Timestamp::from_millis(to * 1_000),
            runs: Vec::new(),
        })
    }

    fn read(only: Option<JobId>) -> Operation {
        Operation::Read { only, epoch: None }
    }

    /// The waves of these operations, each with its stages: of what kind, and of which shards.
    fn waves(operations: Vec<(u16, Operation)>) -> Vec<Vec<(Kind, Vec<u16>)>> {
        let mut batch = Batch::default();
        let (done, _) = mpsc::unbounded_channel();
        for (index, operation) in operations {
            batch.add(Work { shard: shard(index), operation, done: done.clone() });
        }
        let stage = |stage: &Stage| (stage.kind, stage.work.iter().map(|work| work.shard.index()).collect());
        batch.into_waves().iter().map(|wave| wave.iter().map(stage).collect()).collect()
    }

    #[test]
    fn shards_share_a_stage_and_each_keeps_its_order() {
        let run = fire(1, 1);
        let waves = waves(vec![
            (1, steps(&[run])),
            (2, moves(run)),
            (2, steps(&[run])),
            (3, steps(&[run])),
            (1, moves(run)),
        ]);
        assert_eq!(
            waves,
            vec![
                vec![(Kind::Advance, vec![1, 3])],
                vec![(Kind::Move, vec![2, 1])],
                // Shard 2 moves the run before it steps, so its step cannot join the first stage; the others' can.
                vec![(Kind::Advance, vec![2])],
            ]
        );
    }

    #[test]
    fn what_concerns_other_runs_goes_side_by_side() {
        let waves = waves(vec![
            (1, steps(&[fire(1, 1)])),
            (1, moves(fire(2, 1))),
            (1, steps(&[fire(3, 1)])),
            (1, slice(10, 15)),
            (1, steps(&[fire(3, 10), fire(3, 16)])),
            (1, moves(fire(4, 1))),
            // The same run again: behind its step before, in the same stage.
            (1, steps(&[fire(3, 1)])),
        ]);
        let first = vec![(Kind::Advance, vec![1; 4]), (Kind::Move, vec![1; 2]), (Kind::Slice, vec![1])];
        assert_eq!(waves, vec![first]);
    }

    #[test]
    fn what_concerns_the_same_keeps_its_order() {
        let pairs: [[fn() -> Operation; 2]; 6] = [
            [|| moves(fire(7, 12)), || steps(&[fire(1, 2), fire(7, 12)])],
            [|| slice(10, 15), || steps(&[fire(1, 2), fire(7, 12)])],
            [|| steps(&[fire(7, 12)]), || read(Some(JobId::new(7)))],
            [|| read(Some(JobId::new(7))), || moves(fire(7, 12))],
            [|| read(None), || steps(&[fire(7, 12)])],
            [|| slice(10, 15), || read(Some(JobId::new(7)))],
        ];
        for [first, second] in pairs {
            let (one, other) = (Kind::of(&first()), Kind::of(&second()));
            let in_order = |one, other| vec![vec![(one, vec![1])], vec![(other, vec![1])]];
            assert_eq!(waves(vec![(1, first()), (1, second())]), in_order(one, other));
            assert_eq!(waves(vec![(1, second()), (1, first())]), in_order(other, one));
        }
    }

    #[test]
    fn reads_of_several_jobs_share_a_stage_whatever_is_done_about_each_in_between() {
        let job = |number| read(Some(JobId::new(number)));
        let waves = waves(vec![(1, job(1)), (1, moves(fire(1, 1))), (1, job(2)), (1, moves(fire(2, 1)))]);
        assert_eq!(waves, vec![vec![(Kind::Read, vec![1, 1])], vec![(Kind::Move, vec![1, 1])]]);
    }

    #[test]
    fn a_stage_waits_for_all_that_concerns_it() {
        let waves = waves(vec![
            (1, moves(fire(1, 1))),
            (1, steps(&[fire(1, 1)])),
            (1, read(Some(JobId::new(1)))),
            (1, slice(0, 1)),
            (1, steps(&[fire(1, 1)])),
        ]);
        let kinds: Vec<Kind> = waves.iter().flatten().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Move, Kind::Advance, Kind::Read, Kind::Slice, Kind::Advance]);
        assert_eq!(waves.len(), 5);
    }
}
