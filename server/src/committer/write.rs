//! Writing: each kind of operation with its retries, and with its reading back where an outcome is unknown.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use carillon_core::change::{Advance, Insertion, Move, Slice, Step, TriggeredRun};
use carillon_core::ids::{AttemptNo, Epoch, Incarnation, JobId, RunKey, ServerId, ShardId};
use carillon_core::run::{Run, RunState};
use carillon_proto::v1::{ReportAck, ServerMessage, server_message::Message};
use carillon_store::runs::SliceOutcome;
use carillon_store::{SharedStore, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::batch::{Batch, Kind, Stage};
use super::{CommitterParts, Done, DoneKind, MAX_OPEN_RUNS, Operation, ReadAnswer, SliceFate, Work};
use crate::metrics::Metrics;
use crate::store_breaks::StoreBreaks;
use crate::switchboard::Switchboard;

/// The first wait after a failure; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// The longest wait: how soon after its return a database is used again.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How often a lasting failure is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Rows of one transaction of steps, moves or inserts.
const TRANSACTION_ROWS: usize = 4_000;

/// Writes the batches of one lane, one after the other.
pub(super) struct Writer {
    me: ServerId,
    store: SharedStore,
    switchboard: Arc<Switchboard>,
    metrics: Metrics,
    breaks: Arc<StoreBreaks>,
}

/// An operation whose steps are being written.
struct Waits {
    rows: usize,
    done: mpsc::UnboundedSender<Done>,
    shard: ShardId,
    /// Under which the operation was decided.
    epoch: Option<Epoch>,
    acks: Vec<(Incarnation, u64)>,
    /// Where its steps are among those of the batch.
    steps: Range<usize>,
    /// Its one step plans a next attempt.
    plans: bool,
}

/// The wait between tries of one write, and whether an earlier one may have taken effect.
struct Tries {
    wait: Duration,
    logged: Option<Instant>,
    /// An earlier try has an unknown outcome.
    doubtful: bool,
}

impl Tries {
    fn new() -> Self {
        Self { wait: FIRST_WAIT, logged: None, doubtful: false }
    }
}

impl Writer {
    pub(super) fn new(parts: &CommitterParts) -> Self {
        Self {
            me: parts.me.clone(),
            store: parts.store.clone(),
            switchboard: parts.switchboard.clone(),
            metrics: parts.metrics.clone(),
            breaks: parts.breaks.clone(),
        }
    }

    pub(super) async fn write(&self, batch: Batch) {
        for wave in batch.into_waves() {
            futures::future::join_all(wave.into_iter().map(|stage| self.write_stage(stage))).await;
        }
    }

    async fn write_stage(&self, Stage { kind, work, .. }: Stage) {
        match kind {
            Kind::Slice => self.slices(work).await,
            Kind::Insert => self.inserts(work).await,
            Kind::Trigger => self.triggers(work).await,
            Kind::Advance => self.advances(work).await,
            Kind::Move => self.moves(work).await,
            Kind::Read => self.reads(work).await,
        }
    }

    /// After a failure that may pass: waits. False for one that will not pass by itself.
    async fn may_pass(&self, tries: &mut Tries, what: &'static str, error: &StoreError) -> bool {
        self.metrics.store_failures.inc();
        if !error.is_retryable() {
            return false;
        }
        tries.doubtful |= error.is_unknown();
        if tries.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            tries.logged = Some(Instant::now());
            tracing::warn!(what, error = %crate::chain(error), "the store does not take what is written; it is tried again until it does");
        }
        tokio::time::sleep(tries.wait).await;
        tries.wait = (tries.wait * 2).min(LONGEST_WAIT);
        true
    }

    fn succeeded(&self, tries: &Tries, what: &'static str, since: Instant, rows: usize) {
        self.metrics.query(what, since.elapsed(), rows);
        tracing::trace!(what, rows, took_ms = since.elapsed().as_millis() as u64, "written");
        if tries.doubtful {
            self.breaks.note();
        }
        if tries.logged.is_some() {
            tracing::info!(what, "the store takes what is written again");
        }
    }

    async fn slices(&self, work: Vec<Work>) {
        let mut waiting = Vec::with_capacity(work.len());
        let mut slices = Vec::with_capacity(work.len());
        for Work { operation, done, .. } in work {
            let rows = operation.rows();
            if let Operation::Slice(slice) = operation {
                slices.push(slice);
                waiting.push((rows, done));
            }
        }
        let fates = self.commit(&slices).await;
        for (((rows, done), slice), fate) in waiting.into_iter().zip(slices).zip(fates) {
            let kind = DoneKind::Slice { epoch: slice.epoch, to: slice.to, fate };
            let _ = done.send(Done { rows, kind });
        }
    }

    /// Commits slices. A slice whose outcome is unknown is committed again until the answer is definite: the compare-and-set lets it take
    /// effect once, and the rows are the same whichever try did it.
    async fn commit(&self, slices: &[Slice]) -> Vec<SliceFate> {
        let mut tries = Tries::new();
        let outcomes = loop {
            let since = Instant::now();
            match self.store.commit_slices(slices).await {
                Ok(outcomes) => {
                    let rows = slices.iter().map(|slice| slice.runs.len()).sum();
                    self.succeeded(&tries, "commit_slices", since, rows);
                    break outcomes;
                }
                Err(error) => {
                    if !self.may_pass(&mut tries, "commit_slices", &error).await {
                        if slices.len() == 1 {
                            tracing::error!(shard = %slices[0].shard, error = %crate::chain(&error), "the store refuses a slice of the plan");
                            tokio::time::sleep(LONGEST_WAIT).await;
                            return vec![SliceFate::Changed];
                        }
                        // One of them is refused: each is tried alone, so that the others are not held up.
                        let mut fates = Vec::with_capacity(slices.len());
                        for slice in slices {
                            fates.extend(Box::pin(self.commit(std::slice::from_ref(slice))).await);
                        }
                        return fates;
                    }
                }
            }
        };
        let mut fates = Vec::with_capacity(slices.len());
        for (slice, outcome) in slices.iter().zip(outcomes) {
            fates.push(match outcome {
                SliceOutcome::Committed => committed(slice),
                SliceOutcome::Fenced => self.read_back(slice, tries.doubtful).await,
            });
        }
        fates
    }

    /// What stands in the way of a slice.
    async fn read_back(&self, slice: &Slice, doubtful: bool) -> SliceFate {
        let mut tries = Tries::new();
        loop {
            match self.store.shard(slice.shard).await {
                Ok(Some(row)) if row.epoch != slice.epoch || row.owner.as_ref() != Some(&self.me) => {
                    return SliceFate::Lost;
                }
                // Under this epoch only this server moves the watermark, and it had but this slice to move it by.
                Ok(Some(row)) if doubtful && row.planned_until == slice.to => return committed(slice),
                Ok(Some(_)) => return SliceFate::Changed,
                Ok(None) => return SliceFate::Lost,
                Err(error) => {
                    if !self.may_pass(&mut tries, "shard", &error).await {
                        return SliceFate::Changed;
                    }
                }
            }
        }
    }

    /// Reads side by side.
    async fn reads(&self, work: Vec<Work>) {
        let reads = work.into_iter().map(|Work { shard, operation, done }| async move {
            let rows = operation.rows();
            let kind = match operation {
                Operation::Read { only, epoch } => {
                    let answer = self.read_plan(shard, only).await;
                    DoneKind::Read { only, epoch, answer }
                }
                Operation::Stray { from, report } => {
                    let of_shard = self.run(report.key).await.is_some_and(|run| run.shard == shard);
                    DoneKind::Stray { from, report, of_shard }
                }
                _ => return,
            };
            let _ = done.send(Done { rows, kind });
        });
        futures::future::join_all(reads).await;
    }

    async fn read_plan(&self, shard: ShardId, only: Option<JobId>) -> ReadAnswer {
        let mut tries = Tries::new();
        loop {
            let since = Instant::now();
            match self.store.load_plan(shard, only, MAX_OPEN_RUNS).await {
                Ok(plan) => {
                    let rows = plan.as_ref().map_or(0, |plan| plan.jobs.len() + plan.open_runs.len());
                    self.succeeded(&tries, "load_plan", since, rows);
                    return plan.map_or(ReadAnswer::Gone, |plan| ReadAnswer::Plan(Box::new(plan)));
                }
                Err(error) => {
                    if !self.may_pass(&mut tries, "load_plan", &error).await {
                        tracing::error!(%shard, error = %crate::chain(&error), "the store does not give the plan of a shard");
                        return ReadAnswer::Failed;
                    }
                }
            }
        }
    }

    async fn inserts(&self, work: Vec<Work>) {
        let mut waiting = Vec::with_capacity(work.len());
        let mut runs = Vec::new();
        for Work { operation, done, .. } in work {
            let rows = operation.rows();
            if let Operation::Insert(mut more) = operation {
                waiting.push((rows, more.len(), done));
                runs.append(&mut more);
            }
        }
        let mut insertions = Vec::with_capacity(runs.len());
        for chunk in runs.chunks(TRANSACTION_ROWS) {
            insertions.extend(self.insert(chunk).await);
        }
        let mut inserted = runs.into_iter().zip(insertions);
        for (rows, count, done) in waiting {
            let (mut news, mut refused) = (Vec::new(), false);
            for (run, insertion) in inserted.by_ref().take(count) {
                refused |= insertion == Insertion::Fenced;
                if insertion == Insertion::New {
                    news.push(run);
                }
            }
            let _ = done.send(Done { rows, kind: DoneKind::Inserted { runs: news, refused } });
        }
    }

    async fn insert(&self, runs: &[Run]) -> Vec<Insertion> {
        let mut tries = Tries::new();
        loop {
            let since = Instant::now();
            match self.store.insert_runs(runs).await {
                Ok(mut insertions) => {
                    self.succeeded(&tries, "insert_runs", since, runs.len());
                    if tries.doubtful {
                        self.read_back_inserts(runs, &mut insertions).await;
                    }
                    return insertions;
                }
                Err(error) => {
                    if !self.may_pass(&mut tries, "insert_runs", &error).await {
                        tracing::error!(runs = runs.len(), error = %crate::chain(&error), "the store refuses runs");
                        return vec![Insertion::Fenced; runs.len()];
                    }
                }
            }
        }
    }

    /// A run that an earlier try inserted reads as old now: one that nothing has happened to yet counts as new, and the engine passes over
    /// runs that it has.
    async fn read_back_inserts(&self, runs: &[Run], insertions: &mut [Insertion]) {
        for (run, insertion) in runs.iter().zip(insertions) {
            if let (Insertion::Existing(_), Some(row)) = (&*insertion, self.run(run.key).await)
                && row.state == RunState::Planned
                && row.attempt == run.attempt
                && row.plan_no == run.plan_no
            {
                *insertion = Insertion::New;
            }
        }
    }

    async fn triggers(&self, work: Vec<Work>) {
        let mut waiting = Vec::with_capacity(work.len());
        let mut runs = Vec::with_capacity(work.len());
        for Work { operation, done, .. } in work {
            if let Operation::Trigger(triggered) = operation {
                waiting.push(done);
                runs.push(*triggered);
            }
        }
        let answers = self.insert_triggered(&runs).await;
        for ((done, triggered), answer) in waiting.into_iter().zip(runs).zip(answers) {
            let TriggeredRun { run, idempotency_key } = triggered;
            let job = run.key.job;
            let fenced = answer == Some(Insertion::Fenced);
            let outcome = match answer {
                Some(Insertion::New) => Some((run.key, Some(Box::new(run)))),
                Some(Insertion::Existing(key)) => Some((key, None)),
                Some(Insertion::Fenced) | None => None,
            };
            let kind = DoneKind::Triggered { job, idempotency_key, outcome, fenced };
            let _ = done.send(Done { rows: 1, kind });
        }
    }

    /// None for a request that the store refuses for good.
    async fn insert_triggered(&self, runs: &[TriggeredRun]) -> Vec<Option<Insertion>> {
        let mut tries = Tries::new();
        loop {
            let since = Instant::now();
            match self.store.insert_triggered(runs).await {
                Ok(answers) => {
                    self.succeeded(&tries, "insert_triggered", since, runs.len());
                    // As for inserts: a key of ours that exists after a doubtful try was made by it.
                    let ours = |(run, insertion): (&TriggeredRun, Insertion)| match insertion {
                        Insertion::Existing(key) if tries.doubtful && key == run.run.key => {
                            Some(Insertion::New)
                        }
                        other => Some(other),
                    };
                    return runs.iter().zip(answers).map(ours).collect();
                }
                Err(error) => {
                    if !self.may_pass(&mut tries, "insert_triggered", &error).await {
                        let [run] = runs else {
                            let (one, two) = runs.split_at(runs.len() / 2);
                            let mut answers = Box::pin(self.insert_triggered(one)).await;
                            answers.extend(Box::pin(self.insert_triggered(two)).await);
                            return answers;
                        };
                        tracing::error!(run = %run.run.key, job = %run.run.key.job, error = %crate::chain(&error), "the store refuses a triggered run");
                        return vec![None];
                    }
                }
            }
        }
    }

    async fn advances(&self, work: Vec<Work>) {
        let mut steps: Vec<Advance> = Vec::new();
        let ended = ended_in(&work);
        let mut waiting = Vec::with_capacity(work.len());
        for Work { shard, operation, done } in work {
            let rows = operation.rows();
            let first = steps.len();
            let waits = match operation {
                Operation::Advance { steps: more, acks, epoch } => {
                    // A start whose end is in the same batch tells the store nothing that the end does not.
                    let needed = |step: &Advance| {
                        !matches!(step.step, Step::Started { .. })
                            || !ended.contains(&(step.key, step.attempt))
                    };
                    steps.extend(more.into_iter().filter(needed));
                    Waits { rows, done, shard, epoch, acks, steps: first..steps.len(), plans: false }
                }
                Operation::NextAttempt { advance, acks } => {
                    steps.push(*advance);
                    Waits { rows, done, shard, epoch: None, acks, steps: first..steps.len(), plans: true }
                }
                _ => continue,
            };
            waiting.push(waits);
        }
        let mut applied = Vec::with_capacity(steps.len());
        for chunk in steps.chunks(TRANSACTION_ROWS) {
            applied.extend(self.advance(chunk).await);
        }
        let owned = self.epochs_now(&waiting).await;
        let mut acks: HashMap<Incarnation, Vec<u64>> = HashMap::new();
        for waits in waiting {
            let outcomes = || steps[waits.steps.clone()].iter().zip(&applied[waits.steps.clone()]);
            let (heard, kind) = if waits.plans {
                let advance = &steps[waits.steps.start];
                let applied = applied[waits.steps.start];
                let (key, attempt) = (advance.key, advance.attempt.next());
                // What was not planned is not durable: the worker says it again, to whoever owns the shard now.
                (applied, DoneKind::NextAttempt { key, attempt, applied })
            } else {
                let owner =
                    waits.acks.is_empty() || owned.get(&waits.shard).copied().flatten() == waits.epoch;
                let decided = outcomes().all(|(step, applied)| *applied || step.fence.is_none());
                (owner, DoneKind::Advanced { refused: !owner || !decided })
            };
            if heard {
                for (worker, seq) in waits.acks {
                    acks.entry(worker).or_default().push(seq);
                }
            }
            let _ = waits.done.send(Done { rows: waits.rows, kind });
        }
        for (worker, seqs) in acks {
            let ack = Message::ReportAck(ReportAck { seqs });
            self.switchboard.send(worker, ServerMessage { message: Some(ack) });
        }
    }

    /// The epochs of the shards whose reports are to be acknowledged, as they stand after the commit: a successor that claims later reads
    /// what was written, one that claimed before has to hear it from the worker.
    async fn epochs_now(&self, waiting: &[Waits]) -> HashMap<ShardId, Option<Epoch>> {
        let mut epochs = HashMap::new();
        for waits in waiting.iter().filter(|waits| !waits.acks.is_empty() && !waits.plans) {
            if epochs.contains_key(&waits.shard) {
                continue;
            }
            let mut tries = Tries::new();
            let epoch = loop {
                match self.store.shard(waits.shard).await {
                    Ok(row) => break row.map(|row| row.epoch),
                    Err(error) => {
                        if !self.may_pass(&mut tries, "shard", &error).await {
                            break None;
                        }
                    }
                }
            };
            epochs.insert(waits.shard, epoch);
        }
        epochs
    }

    async fn advance(&self, steps: &[Advance]) -> Vec<bool> {
        let mut tries = Tries::new();
        loop {
            let since = Instant::now();
            match self.store.advance(steps).await {
                Ok(mut applied) => {
                    self.succeeded(&tries, "advance", since, steps.len());
                    if tries.doubtful {
                        self.read_back_attempts(steps, &mut applied).await;
                    }
                    return applied;
                }
                Err(error) => {
                    if !self.may_pass(&mut tries, "advance", &error).await {
                        let [step] = steps else {
                            // One of them is refused: halves find it, and the others are not held up.
                            let (one, two) = steps.split_at(steps.len() / 2);
                            let mut applied = Box::pin(self.advance(one)).await;
                            applied.extend(Box::pin(self.advance(two)).await);
                            return applied;
                        };
                        tracing::error!(run = %step.key, attempt = %step.attempt, error = %crate::chain(&error), "the store refuses a step of a run");
                        return vec![false];
                    }
                }
            }
        }
    }

    /// A next attempt that an earlier try planned reads as not applied now; the row tells.
    async fn read_back_attempts(&self, steps: &[Advance], applied: &mut [bool]) {
        for (step, applied) in steps.iter().zip(applied) {
            let (Step::Retry { plan_no, worker, .. } | Step::Reopen { plan_no, worker, .. }) = &step.step
            else {
                continue;
            };
            if !*applied && let Some(row) = self.run(step.key).await {
                *applied = row.attempt == step.attempt.next()
                    && row.plan_no == *plan_no
                    && row.worker == *worker
                    && row.state == RunState::Planned;
            }
        }
    }

    async fn moves(&self, work: Vec<Work>) {
        let mut waiting = Vec::with_capacity(work.len());
        let mut moves = Vec::new();
        for Work { operation, done, .. } in work {
            let rows = operation.rows();
            if let Operation::Move(mut more) = operation {
                waiting.push((rows, more.len(), done));
                moves.append(&mut more);
            }
        }
        let mut moved = Vec::with_capacity(moves.len());
        for chunk in moves.chunks(TRANSACTION_ROWS) {
            moved.extend(self.move_runs(chunk).await);
        }
        let mut outcomes = moves.into_iter().zip(moved);
        for (rows, count, done) in waiting {
            let _ = done.send(Done { rows, kind: DoneKind::Moved(outcomes.by_ref().take(count).collect()) });
        }
    }

    async fn move_runs(&self, moves: &[Move]) -> Vec<bool> {
        let mut tries = Tries::new();
        loop {
            let since = Instant::now();
            match self.store.move_runs(moves).await {
                Ok(mut moved) => {
                    self.succeeded(&tries, "move_runs", since, moves.len());
                    if tries.doubtful {
                        self.read_back_moves(moves, &mut moved).await;
                    }
                    return moved;
                }
                Err(error) => {
                    if !self.may_pass(&mut tries, "move_runs", &error).await {
                        tracing::error!(runs = moves.len(), error = %crate::chain(&error), "the store refuses moves of runs");
                        return vec![false; moves.len()];
                    }
                }
            }
        }
    }

    async fn read_back_moves(&self, moves: &[Move], moved: &mut [bool]) {
        for (wanted, moved) in moves.iter().zip(moved) {
            if !*moved && let Some(row) = self.run(wanted.key).await {
                *moved = row.attempt == wanted.attempt
                    && row.plan_no == wanted.seen.next()
                    && row.worker == Some(wanted.to)
                    && row.state == RunState::Planned;
            }
        }
    }

    async fn run(&self, key: RunKey) -> Option<Run> {
        let mut tries = Tries::new();
        loop {
            match self.store.run(key).await {
                Ok(row) => return row,
                Err(error) => {
                    if !self.may_pass(&mut tries, "run", &error).await {
                        tracing::error!(run = %key, error = %crate::chain(&error), "the store cannot read a run");
                        return None;
                    }
                }
            }
        }
    }
}

fn committed(slice: &Slice) -> SliceFate {
    let skipped = slice.runs.iter().filter(|run| run.state == RunState::Skipped).count() as u64;
    SliceFate::Committed { skipped }
}

/// Attempts that end in this batch, with their start told by the end.
fn ended_in(work: &[Work]) -> HashSet<(RunKey, AttemptNo)> {
    let steps = work.iter().flat_map(|work| match &work.operation {
        Operation::Advance { steps, .. } => steps.as_slice(),
        Operation::NextAttempt { advance, .. } => std::slice::from_ref(&**advance),
        _ => &[],
    });
    let tells_start = |step: &Step| match step {
        Step::Final { started_at, .. } => started_at.is_some(),
        Step::Retry { ended, .. } => ended.started_at.is_some(),
        Step::Started { .. } | Step::Reopen { .. } | Step::LateNews { .. } => false,
    };
    steps.filter(|step| tells_start(&step.step)).map(|step| (step.key, step.attempt)).collect()
}
