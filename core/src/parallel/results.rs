//! Level 2's results: what counts, what is tried again.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::{CountedFailure, MapEffect, MapEngine, MapRules, OutcomeKind, SubtaskOutcome};
use super::{MAX_WORKERS_COUNTED, MapPhase};
use crate::ids::Incarnation;
use crate::time::{Span, Timestamp};

/// While this many failed subtasks wait for another try, no new ones are handed out: memory stays bounded when everything fails.
pub(super) const MAX_RETRYING: usize = 100_000;

/// Where subtasks of workers beyond [`MAX_WORKERS_COUNTED`] are counted.
const OTHERS: &str = "(others)";

/// Failed subtasks that wait for another try, each alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Retries {
    /// Tries so far and when the next one is due, by subtask.
    waiting: BTreeMap<u64, (u32, Timestamp)>,
    due: BTreeSet<(Timestamp, u64)>,
}

impl Retries {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn contains(&self, index: u64) -> bool {
        self.waiting.contains_key(&index)
    }

    pub(super) fn insert(&mut self, index: u64, tries: u32, due: Timestamp) {
        self.remove(index);
        self.waiting.insert(index, (tries, due));
        self.due.insert((due, index));
    }

    /// Tries so far of a subtask that waits.
    pub(super) fn tries(&self, index: u64) -> Option<u32> {
        self.waiting.get(&index).map(|(tries, _)| *tries)
    }

    /// Takes a subtask out; answers the tries so far.
    pub(super) fn remove(&mut self, index: u64) -> Option<u32> {
        let (tries, due) = self.waiting.remove(&index)?;
        self.due.remove(&(due, index));
        Some(tries)
    }

    /// Takes the first subtask whose wait is over.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<(u64, u32)> {
        let (_, index) = *self.due.first().filter(|(due, _)| *due <= now)?;
        Some((index, self.remove(index)?))
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }
}

impl MapRules {
    /// The wait after that many tries: the first delay, doubled with each further one, at most the longest.
    pub(super) fn delay(&self, tries: u32) -> Span {
        let doubled = self.retry_delay.saturating_mul(1 << tries.saturating_sub(1).min(32));
        doubled.min(self.retry_max)
    }
}

impl MapEngine {
    pub(super) fn results(&mut self, worker: Incarnation, seq: u64, results: &[SubtaskOutcome]) {
        if self.header.phase == MapPhase::Ended {
            // Nothing changes any more; the worker may forget them.
            self.ack_when_durable(worker, seq);
            return;
        }
        // After a takeover results may come before this server hands anything out.
        self.decide_outputs();
        let mut done = Vec::new();
        let mut failed = Vec::new();
        for (place, result) in results.iter().enumerate() {
            if result.index >= self.header.emitted || self.completion.is_settled(result.index) {
                continue;
            }
            match result.kind {
                OutcomeKind::Done => {
                    self.settle(result.index, worker);
                    done.push(place);
                }
                OutcomeKind::Failed | OutcomeKind::Fatal => {
                    let Some(tries) = self.failed_try(worker, result) else { continue };
                    let last = result.kind == OutcomeKind::Fatal || tries >= self.rules.max_attempts;
                    if last {
                        self.completion.set_failed(result.index);
                        self.header.failed += 1;
                    } else {
                        self.retries.insert(result.index, tries, self.now + self.rules.delay(tries));
                    }
                    failed.push(CountedFailure { place, attempt: tries, last });
                }
            }
        }
        let counted = (done.len() + failed.len()) as u64;
        if !done.is_empty() {
            self.count_done(worker, done.len() as u64);
        }
        if counted > 0 {
            let settled = done.len() + failed.iter().filter(|failure| failure.last).count();
            self.meter.count(self.now, settled as u64);
            if let Some(known) = self.workers.get_mut(worker) {
                known.count_results(self.now, counted);
            }
            self.durability.results_came(self.now, counted);
            self.effects.push(MapEffect::Count { done, failed });
        }
        self.ack_when_durable(worker, seq);
    }

    /// A subtask is done: whoever else has it, and whatever was planned for it, does not matter any more.
    fn settle(&mut self, index: u64, worker: Incarnation) {
        self.completion.set_done(index);
        self.header.done += 1;
        self.in_flight.settle(index, worker, self.now, &mut self.workers);
        self.retries.remove(index);
    }

    /// Whether a failed try counts, and as which one. It does not when it comes late from a worker that lost the subtask to another.
    fn failed_try(&mut self, worker: Incarnation, result: &SubtaskOutcome) -> Option<u32> {
        if let Some(tries) =
            self.in_flight.fail(result.index, result.attempt, worker, self.now, &mut self.workers)?
        {
            return Some(tries + 1);
        }
        // Not at any worker as far as this server knows: it took over, and the worker tells what it did for the predecessor, perhaps of more
        // tries than were durable. What is acknowledged must count, or the worker's answer that it holds it would make a ghost.
        if self.retries.tries(result.index).is_some_and(|tries| tries >= result.attempt) {
            return None;
        }
        self.retries.remove(result.index);
        Some(result.attempt)
    }

    fn count_done(&mut self, worker: Incarnation, done: u64) {
        let name = self.workers.name(worker);
        let counts = &mut self.header.done_by_worker;
        let name = if counts.len() < MAX_WORKERS_COUNTED || counts.contains_key(&name) {
            name
        } else {
            OTHERS.into()
        };
        *counts.entry(name).or_insert(0) += done;
    }
}
