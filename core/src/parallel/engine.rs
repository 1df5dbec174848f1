//! The engine of one attempt of a parallel run: `step(now, input) -> effects`.
//!
//! It keeps numbers, never payloads: bitmaps, the subtasks at workers, the failed ones that wait. So its memory does not grow with what the
//! subtasks carry, and a quarter of a byte with each. The shell stores and sends, and tells it what became of that.

use std::collections::BTreeMap;

use super::completion::Completion;
use super::durability::Durability;
use super::hand_out::InFlight;
use super::progress::{MapView, Meter};
use super::reduce::{Reduce, ReduceNews};
use super::results::Retries;
use super::split::Split;
use super::workers::{MapWorker, Workers};
use super::{MapChunk, MapHeader, MapOutcome, MapPhase};
use crate::ids::{Incarnation, PlanNo, RunKey};
use crate::job::JobSpec;
use crate::time::{Span, Timestamp};

/// A worker without a stream for this long loses its subtasks to others: longer than a reconnect, short against a run.
pub(super) const LOST_AFTER: Span = Span::from_secs(5);

/// A worker that was asked what it holds and does not answer holds nothing: an old SDK, or one that is stuck.
pub(super) const ANSWER_WITHIN: Span = Span::from_secs(2);

/// A job's rules for the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapRules {
    /// How many subtasks may fail while the run still succeeds.
    pub max_failed: u64,
    /// Tries of each subtask, the first included.
    pub max_attempts: u32,
    /// The wait before the second try; it doubles with each.
    pub retry_delay: Span,
    /// The longest wait.
    pub retry_max: Span,
    /// Subtasks at one worker at most; 0 for the worker's own bound.
    pub per_worker: u32,
    /// Whether stragglers are given to a second worker.
    pub reissue_stragglers: bool,
}

impl MapRules {
    /// The rules that a job states.
    pub fn of(spec: &JobSpec) -> Self {
        Self {
            max_failed: spec.parallel.max_failed,
            max_attempts: spec.parallel.max_attempts.max(1),
            retry_delay: spec.parallel.retry_delay,
            retry_max: spec.retry.max.max(spec.parallel.retry_delay),
            per_worker: spec.parallel.per_worker,
            reissue_stragglers: spec.parallel.reissue_stragglers,
        }
    }
}

/// What the store knows of an attempt's map when a server begins or goes on with it.
#[derive(Debug, Clone)]
pub struct MapStart {
    /// The run.
    pub run: RunKey,
    /// The job's rules.
    pub rules: MapRules,
    /// The header; none before the first checkpoint.
    pub header: Option<MapHeader>,
    /// The bitmaps.
    pub chunks: Vec<MapChunk>,
    /// The next batch of the split.
    pub next_batch: u32,
    /// The next index of the split.
    pub next_index: u64,
    /// Subtasks that failed a try and are not settled.
    pub retries: Vec<SubtaskRetry>,
}

/// A subtask that failed a try, as the store remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubtaskRetry {
    /// Which subtask.
    pub index: u64,
    /// Tries so far.
    pub tries: u32,
    /// When the last one ended.
    pub at: Timestamp,
}

/// How a try of a subtask ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubtaskOutcome {
    /// Which subtask.
    pub index: u64,
    /// Which try, from 1.
    pub attempt: u32,
    /// How.
    pub kind: OutcomeKind,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// Well.
    Done,
    /// It failed and may be tried again.
    Failed,
    /// It failed, and the handler said that trying again is useless.
    Fatal,
}

/// What the shell tells the engine.
#[derive(Debug, Clone)]
pub enum MapInput {
    /// Time has come: call at [`MapEngine::next_wake`], or at any time.
    Tick,
    /// The splitting worker sent a batch; the shell keeps its payloads until [`MapEffect::StoreBatch`] asks for them, or drops them where it
    /// does not.
    Emitted {
        /// Who.
        worker: Incarnation,
        /// From 0 without gaps; repeated until acknowledged.
        batch_no: u32,
        /// The index of its first subtask.
        first_index: u64,
        /// How many it holds.
        count: u64,
        /// The split is complete with it.
        last: bool,
    },
    /// Batches up to this one are stored durably.
    BatchesStored {
        /// The last one.
        up_to: u32,
    },
    /// How many more subtasks workers take; replaces what they said before. All that is known goes in one input, so that little work is
    /// spread over all of them.
    Credit {
        /// By worker.
        free: Vec<(Incarnation, u32)>,
    },
    /// A worker's outcomes.
    Results {
        /// Which worker.
        worker: Incarnation,
        /// The number to acknowledge.
        seq: u64,
        /// The outcomes.
        results: Vec<SubtaskOutcome>,
    },
    /// The answer to [`MapEffect::AskHeld`]: `(index, try)` of what the worker holds.
    Held {
        /// Which worker.
        worker: Incarnation,
        /// What it holds: queued, running, or finished and not acknowledged.
        held: Vec<(u64, u32)>,
    },
    /// The checkpoint of this number is durable.
    CheckpointStored {
        /// Its number.
        id: u64,
    },
    /// The shell holds so many outputs that it wants them stored.
    Flush,
    /// A worker that has the handler opened a stream, or opened it again.
    WorkerJoined(MapWorker),
    /// Its stream ended without a word.
    WorkerDisconnected(Incarnation),
    /// It takes nothing more, and finishes what it holds while its stream lasts.
    WorkerLeft(Incarnation),
    /// News of the reduce.
    Reduce {
        /// Which worker.
        worker: Incarnation,
        /// The plan number it was armed with.
        plan_no: PlanNo,
        /// The report to acknowledge.
        seq: u64,
        /// What happened.
        news: ReduceNews,
    },
    /// The attempt is over for the trigger engine: cancelled, timed out, or followed by another one.
    Abort,
}

/// What the engine wants done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum MapEffect {
    /// Store the batch just emitted, after those before it; then [`MapInput::BatchesStored`].
    StoreBatch {
        /// Its number.
        batch_no: u32,
    },
    /// Tell the splitting worker that batches up to this one are stored, or why the split must stop.
    AckEmit {
        /// Which worker.
        worker: Incarnation,
        /// The last batch.
        batch_no: u32,
        /// Why the split must stop.
        error: Option<String>,
    },
    /// Send subtasks to a worker; all of them are stored.
    HandOut {
        /// Which worker.
        worker: Incarnation,
        /// Which subtasks.
        subtasks: Vec<HandedOut>,
    },
    /// Ask a worker what it holds; answered by [`MapInput::Held`].
    AskHeld {
        /// Which worker.
        worker: Incarnation,
    },
    /// These of the results just given count: keep their outputs and failures for the next checkpoint. Places within the results.
    Count {
        /// Those done.
        done: Vec<usize>,
        /// Those that failed a try.
        failed: Vec<CountedFailure>,
    },
    /// Write a checkpoint with all outputs and failures kept so far; then [`MapInput::CheckpointStored`]. One at a time.
    Checkpoint {
        /// Its number.
        id: u64,
        /// Phase and counts.
        header: Box<MapHeader>,
        /// The chunks that changed.
        chunks: Vec<MapChunk>,
    },
    /// Tell a worker that these results are durable.
    AckResults {
        /// Which worker.
        worker: Incarnation,
        /// Their numbers.
        seqs: Vec<u64>,
    },
    /// The split is stored completely: the run no longer hangs on the worker that split.
    SplitDone,
    /// Arm the reduce at a worker. Safe to repeat.
    StartReduce {
        /// Which worker.
        worker: Incarnation,
        /// Grows with every change of the worker.
        plan_no: PlanNo,
    },
    /// Tell a worker that its report on the reduce is durable.
    AckReduce {
        /// Which worker.
        worker: Incarnation,
        /// The report.
        seq: u64,
    },
    /// Ask a worker to stop what it does for the attempt.
    Cancel {
        /// Which worker.
        worker: Incarnation,
    },
    /// A worker lost its subtasks to others: for the log.
    TakenFrom {
        /// The worker's name.
        name: String,
        /// How many.
        subtasks: u64,
        /// Why.
        why: &'static str,
    },
    /// The attempt ended, durably; none where it was aborted. Nothing follows.
    End(Option<MapOutcome>),
}

/// A subtask on its way to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandedOut {
    /// Which one.
    pub index: u64,
    /// Which try of it, from 1.
    pub attempt: u32,
}

/// A failed try that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedFailure {
    /// Its place within the results.
    pub place: usize,
    /// Which try of the subtask, from 1.
    pub attempt: u32,
    /// Whether it was the last.
    pub last: bool,
}

/// The engine of one attempt of a parallel run.
#[derive(Debug)]
pub struct MapEngine {
    pub(super) run: RunKey,
    pub(super) rules: MapRules,
    pub(super) header: MapHeader,
    pub(super) completion: Completion,
    pub(super) split: Split,
    pub(super) in_flight: InFlight,
    pub(super) retries: Retries,
    pub(super) workers: Workers,
    pub(super) durability: Durability,
    pub(super) reduce: Reduce,
    pub(super) meter: Meter,
    /// Whether `header.keep_outputs` is settled.
    pub(super) outputs_decided: bool,
    /// Until when a server that took over waits for workers to say what they hold.
    pub(super) adopting_until: Option<Timestamp>,
    /// What the first step owes to the shell.
    pub(super) announced: bool,
    pub(super) now: Timestamp,
    pub(super) effects: Vec<MapEffect>,
}

impl MapEngine {
    /// Begins, or goes on with, what the store knows. Tell it all connected workers next, then tick.
    pub fn new(now: Timestamp, start: MapStart) -> Self {
        let mut header = start.header.unwrap_or_default();
        let completion = Completion::read(&start.chunks);
        if header.phase == MapPhase::Splitting {
            header.emitted = start.next_index;
        }
        header.done = completion.done();
        header.failed = completion.failed();
        let split = Split::new(start.next_batch, start.next_index, header.phase != MapPhase::Splitting);
        let may_be_at_workers = matches!(header.phase, MapPhase::Splitting | MapPhase::Processing)
            && completion.done() + completion.failed() < header.emitted;
        let mut retries = Retries::default();
        for retry in start.retries {
            if !completion.is_settled(retry.index) && retry.index < header.emitted {
                retries.insert(retry.index, retry.tries, retry.at + start.rules.delay(retry.tries));
            }
        }
        Self {
            run: start.run,
            rules: start.rules,
            split,
            in_flight: InFlight::default(),
            retries,
            workers: Workers::default(),
            durability: Durability::new(now),
            reduce: Reduce::new(now),
            meter: Meter::default(),
            outputs_decided: completion.done() > 0,
            adopting_until: may_be_at_workers.then(|| now + ANSWER_WITHIN),
            announced: false,
            now,
            effects: Vec::new(),
            header,
            completion,
        }
    }

    /// Takes one input at `now` and appends what is to be done to `effects`.
    pub fn step(&mut self, now: Timestamp, input: MapInput, effects: &mut Vec<MapEffect>) {
        self.now = now;
        match input {
            MapInput::Tick => {}
            MapInput::Emitted { worker, batch_no, first_index, count, last } => {
                self.emitted(worker, batch_no, first_index, count, last);
            }
            MapInput::BatchesStored { up_to } => self.batches_stored(up_to),
            MapInput::Credit { free } => {
                for (worker, free) in free {
                    if let Some(known) = self.workers.get_mut(worker) {
                        known.credit = free;
                    }
                }
            }
            MapInput::Results { worker, seq, results } => self.results(worker, seq, &results),
            MapInput::Held { worker, held } => self.held(worker, &held),
            MapInput::CheckpointStored { id } => self.checkpoint_stored(id),
            MapInput::Flush => self.durability.hurry(),
            MapInput::WorkerJoined(info) => self.worker_joined(info),
            MapInput::WorkerDisconnected(worker) => {
                if let Some(known) = self.workers.get_mut(worker) {
                    known.silent_since.get_or_insert(now);
                }
            }
            MapInput::WorkerLeft(worker) => {
                if let Some(known) = self.workers.get_mut(worker) {
                    known.leaving = true;
                }
            }
            MapInput::Reduce { worker, plan_no, seq, news } => self.reduce_news(worker, plan_no, seq, news),
            MapInput::Abort => self.abort(),
        }
        // Workers are told first, all of them; the tick that follows announces what was resumed and gives them work.
        self.take_from_lost_workers();
        self.stop_waiting_for_answers();
        self.advance_phase();
        self.hand_out();
        self.checkpoint_if_due();
        effects.append(&mut self.effects);
    }

    /// When [`MapInput::Tick`] is due at the latest; none when only an input can change anything. Always later than the last step.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let silent = self.workers.iter().filter_map(|worker| Some(worker.silent_since? + LOST_AFTER));
        let asked = self.workers.iter().filter_map(|worker| Some(worker.asked_at? + ANSWER_WITHIN));
        let single = [
            self.durability.next_wake(),
            self.retries.next_due(),
            self.adopting_until,
            self.next_straggler(),
            self.next_reduce_wake(),
        ];
        silent.chain(asked).chain(single.into_iter().flatten()).filter(|at| *at > self.now).min()
    }

    /// Phase and counts as they are now.
    pub fn header(&self) -> &MapHeader {
        &self.header
    }

    /// What an observer may know.
    pub fn view(&self, now: Timestamp) -> MapView {
        let running = self.in_flight.len() as u64;
        let open = self.header.emitted - self.header.done - self.header.failed;
        let mut running_by_worker = BTreeMap::new();
        for worker in self.workers.iter().filter(|worker| worker.in_flight > 0) {
            *running_by_worker.entry(worker.info.name.clone()).or_insert(0) += worker.in_flight;
        }
        MapView {
            phase: self.header.phase,
            total: self.header.emitted,
            done: self.header.done,
            failed: self.header.failed,
            running,
            waiting: open.saturating_sub(running),
            per_second: self.meter.per_second(now),
            done_by_worker: self.header.done_by_worker.clone(),
            running_by_worker,
        }
    }

    fn worker_joined(&mut self, info: MapWorker) {
        let now = self.now;
        let adopting = self.adopting_until.is_some();
        let worker = self.workers.join(now, info);
        // What was on its way when the old stream broke may never have arrived; and after a takeover nobody here knows what it has.
        if adopting || worker.in_flight > 0 {
            worker.asked_at = Some(now);
            let worker = worker.info.worker;
            self.effects.push(MapEffect::AskHeld { worker });
        }
        self.reduce.worker_joined();
    }

    /// Moves on where a phase is complete.
    fn advance_phase(&mut self) {
        match self.header.phase {
            MapPhase::Splitting if self.split.is_complete() => {
                self.header.phase = MapPhase::Processing;
                self.header.split_complete = true;
                self.durability.hurry();
                if let Some((worker, batch_no)) = self.split.take_last_ack() {
                    self.durability.after_next(MapEffect::AckEmit { worker, batch_no, error: None });
                }
                self.durability.after_next(MapEffect::SplitDone);
                self.announced = true;
                self.advance_phase();
            }
            MapPhase::Processing => {
                self.announce(MapEffect::SplitDone);
                if self.header.done + self.header.failed == self.header.emitted {
                    self.all_settled();
                }
            }
            MapPhase::Reducing => {
                self.announce(MapEffect::SplitDone);
                self.advance_reduce();
            }
            MapPhase::Ended if self.durability.is_clean() => {
                let end = MapEffect::End(self.header.outcome.clone());
                self.announce(end);
            }
            MapPhase::Splitting | MapPhase::Ended => {}
        }
    }

    /// Tells the shell of a resumed map, once.
    fn announce(&mut self, effect: MapEffect) {
        if !self.announced {
            self.announced = true;
            self.effects.push(effect);
        }
    }

    /// Every subtask is done or failed for good.
    fn all_settled(&mut self) {
        let MapHeader { done, failed, .. } = self.header;
        if failed > self.rules.max_failed {
            self.end(Some(MapOutcome::too_many_failed(failed, self.header.emitted, self.rules.max_failed)));
        } else if self.header.keep_outputs && done > 0 {
            self.header.phase = MapPhase::Reducing;
            self.advance_reduce();
        } else {
            self.end(Some(MapOutcome::counted(done, failed)));
        }
    }

    /// Ends the attempt with the next checkpoint.
    pub(super) fn end(&mut self, outcome: Option<MapOutcome>) {
        self.header.phase = MapPhase::Ended;
        self.header.outcome = outcome.clone();
        self.announced = true;
        self.durability.hurry();
        self.durability.after_next(MapEffect::End(outcome));
    }

    fn abort(&mut self) {
        if self.header.phase == MapPhase::Ended {
            return;
        }
        let reducer = self.header.reduce.map(|at| at.worker);
        for worker in self.workers.iter() {
            if worker.in_flight > 0 || Some(worker.info.worker) == reducer {
                self.effects.push(MapEffect::Cancel { worker: worker.info.worker });
            }
        }
        self.end(None);
    }
}
