//! A batch in stages: operations of one kind, of any number of shards, that may share a transaction without changing the order in which
//! one shard's operations take effect.

use std::collections::HashMap;

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

/// Operations in the order in which they are written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    stages: Vec<Stage>,
    /// The latest stage that holds something of a shard.
    latest: HashMap<ShardId, usize>,
    rows: usize,
}

/// Operations of one kind.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) kind: Kind,
    pub(super) work: Vec<Work>,
}

impl Batch {
    /// Puts an operation into the first stage of its kind that is not before the shard's latest one.
    pub(super) fn add(&mut self, work: Work) {
        self.rows += work.operation.rows();
        let kind = Kind::of(&work.operation);
        let from = self.latest.get(&work.shard).copied().unwrap_or(0);
        let place = (from..self.stages.len()).find(|place| self.stages[*place].kind == kind);
        let place = place.unwrap_or_else(|| {
            self.stages.push(Stage { kind, work: Vec::new() });
            self.stages.len() - 1
        });
        self.latest.insert(work.shard, place);
        self.stages[place].work.push(work);
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn into_stages(self) -> Vec<Stage> {
        self.stages
    }
}

#[cfg(test)]
mod tests {
    use carillon_core::ids::GroupId;
    use tokio::sync::mpsc;

    use super::*;

    fn shard(index: u16) -> ShardId {
        ShardId::new(GroupId::new(1, 1, 1, 1).unwrap(), index)
    }

    fn advance() -> Operation {
        Operation::Advance { steps: Vec::new(), acks: Vec::new(), epoch: None }
    }

    fn kinds(operations: Vec<(u16, Operation)>) -> Vec<(Kind, Vec<u16>)> {
        let mut batch = Batch::default();
        let (done, _) = mpsc::unbounded_channel();
        for (index, operation) in operations {
            batch.add(Work { shard: shard(index), operation, done: done.clone() });
        }
        let stage = |stage: Stage| (stage.kind, stage.work.iter().map(|work| work.shard.index()).collect());
        batch.into_stages().into_iter().map(stage).collect()
    }

    #[test]
    fn shards_share_a_stage_and_each_keeps_its_order() {
        let moves = || Operation::Move(Vec::new());
        let stages = kinds(vec![(1, advance()), (2, moves()), (2, advance()), (3, advance()), (1, moves())]);
        assert_eq!(
            stages,
            vec![
                // Shard 2 moves before it advances, so its advance cannot join the first stage; the others' can.
                (Kind::Advance, vec![1, 3]),
                (Kind::Move, vec![2, 1]),
                (Kind::Advance, vec![2]),
            ]
        );
    }
}
