//! Which subtasks go to which worker, and which are taken from one.
//!
//! Order of what is handed out: failed subtasks whose wait is over, those taken from lost workers, then new ones in the order of the split.
//! At the end, a subtask that takes much longer than the others goes to a second worker as well (the first result counts).

use std::collections::BTreeMap;

use super::engine::{ANSWER_WITHIN, HandedOut, LOST_AFTER, MapEffect, MapEngine};
use super::results::MAX_RETRYING;
use super::workers::Workers;
use super::{MAX_WORKERS_COUNTED, MapPhase};
use crate::ids::Incarnation;
use crate::time::{Span, Timestamp};

/// The most subtasks at all workers together: some 20 MB of bookkeeping, and two seconds of work at the highest rate.
const MAX_IN_FLIGHT: usize = 200_000;

/// The most subtasks of one hand-out.
const MAX_HAND_OUT: u64 = 4_096;

/// A straggler has taken at least this long ...
const STRAGGLER_AFTER: Span = Span::from_secs(30);
/// ... and this many times the mean.
const STRAGGLER_FACTOR: u64 = 10;
/// Stragglers are looked for once this few subtasks are left at workers.
const FEW_LEFT: usize = 1_000;

/// Subtasks at workers.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight {
    at_workers: BTreeMap<u64, Copies>,
    /// Taken from a worker and waiting for another one, with the tries so far.
    returned: BTreeMap<u64, u32>,
    /// Where new ones begin: every subtask below was handed out once, or is settled.
    cursor: u64,
    /// Sum and number of the times from hand-out to result, in milliseconds.
    took: u64,
    took_count: u64,
}

/// A subtask at one worker, or at two.
#[derive(Debug, Clone, Copy)]
struct Copies {
    /// Failed tries before this one.
    tries: u32,
    first: Copy,
    second: Option<Copy>,
}

#[derive(Debug, Clone, Copy)]
struct Copy {
    worker: Incarnation,
    since: Timestamp,
}

impl InFlight {
    /// How many subtasks are at workers.
    pub(super) fn len(&self) -> usize {
        self.at_workers.len()
    }

    fn insert(&mut self, index: u64, tries: u32, worker: Incarnation, since: Timestamp) {
        self.at_workers.insert(index, Copies { tries, first: Copy { worker, since }, second: None });
    }

    /// A subtask is done.
    pub(super) fn settle(&mut self, index: u64, by: Incarnation, now: Timestamp, workers: &mut Workers) {
        self.returned.remove(&index);
        let Some(copies) = self.at_workers.remove(&index) else { return };
        for copy in [Some(copies.first), copies.second].into_iter().flatten() {
            workers.release(copy.worker);
            if copy.worker == by {
                self.took += now.since(copy.since).as_millis();
                self.took_count += 1;
            }
        }
    }

    /// A try of a subtask failed at a worker: `None` where that does not count, `Some(None)` where no worker had it, else the tries before.
    pub(super) fn fail(
        &mut self,
        index: u64,
        attempt: u32,
        at: Incarnation,
        now: Timestamp,
        workers: &mut Workers,
    ) -> Option<Option<u32>> {
        let Some(copies) = self.at_workers.get(&index).copied() else {
            return match self.returned.get(&index) {
                // After a takeover the worker may know of more tries than this server.
                Some(tries) if attempt > *tries => {
                    self.returned.remove(&index);
                    Some(Some(attempt - 1))
                }
                Some(_) => None,
                None => Some(None),
            };
        };
        let second = copies.second.map(|copy| copy.worker);
        if attempt != copies.tries + 1 || (copies.first.worker != at && second != Some(at)) {
            return None;
        }
        // The first result counts, be it a failure: the other copy may hang forever.
        self.at_workers.remove(&index);
        workers.release(copies.first.worker);
        if let Some(second) = second {
            workers.release(second);
        }
        self.took += now.since(copies.first.since).as_millis();
        self.took_count += 1;
        Some(Some(copies.tries))
    }

    /// Takes from a worker what it does not hold; answers how many.
    fn take_from(
        &mut self,
        worker: Incarnation,
        holds: impl Fn(u64, u32) -> bool,
        workers: &mut Workers,
    ) -> u64 {
        let mut taken = 0;
        let returned = &mut self.returned;
        self.at_workers.retain(|index, copies| {
            let has =
                copies.first.worker == worker || copies.second.is_some_and(|copy| copy.worker == worker);
            if !has || holds(*index, copies.tries + 1) {
                return true;
            }
            taken += 1;
            workers.release(worker);
            match copies.second.take() {
                Some(second) if copies.first.worker == worker => copies.first = second,
                Some(_) => {}
                None => {
                    returned.insert(*index, copies.tries);
                    return false;
                }
            }
            true
        });
        taken
    }

    /// How long a subtask must have been at a worker to be a straggler.
    fn straggles_after(&self) -> Span {
        let mean = self.took.checked_div(self.took_count).unwrap_or(0);
        STRAGGLER_AFTER.max(Span::from_millis(mean * STRAGGLER_FACTOR))
    }
}

impl MapEngine {
    /// Gives work to every worker that has room, the emptiest first, in turn, so that little work is spread over all.
    pub(super) fn hand_out(&mut self) {
        if !matches!(self.header.phase, MapPhase::Splitting | MapPhase::Processing)
            || self.adopting_until.is_some()
        {
            return;
        }
        let mut rooms: Vec<(u64, Incarnation, u64)> = self
            .workers
            .iter()
            .map(|worker| (worker.in_flight, worker.info.worker, worker.room(self.rules.per_worker)))
            .filter(|(_, _, room)| *room > 0)
            .collect();
        if rooms.is_empty() {
            return;
        }
        rooms.sort_unstable();
        self.decide_outputs();
        let waiting =
            self.header.emitted - self.header.done - self.header.failed - self.in_flight.len() as u64;
        let share = waiting.div_ceil(rooms.len() as u64).max(1);
        for (_, worker, room) in rooms {
            let subtasks = self.take_work(worker, room.min(share).min(MAX_HAND_OUT));
            if subtasks.is_empty() {
                continue;
            }
            if let Some(known) = self.workers.get_mut(worker) {
                known.in_flight += subtasks.len() as u64;
                known.credit = known.credit.saturating_sub(subtasks.len() as u32);
            }
            self.effects.push(MapEffect::HandOut { worker, subtasks });
        }
    }

    /// Outputs are kept where somebody can reduce them. Every worker of a handler is expected to have the same code.
    pub(super) fn decide_outputs(&mut self) {
        if !self.outputs_decided {
            self.outputs_decided = true;
            self.header.keep_outputs = self.workers.iter().any(|worker| worker.info.reduces);
        }
    }

    fn take_work(&mut self, worker: Incarnation, most: u64) -> Vec<HandedOut> {
        let mut subtasks = Vec::new();
        while (subtasks.len() as u64) < most && self.in_flight.len() < MAX_IN_FLIGHT {
            let Some((index, tries)) = self.next_waiting() else { break };
            self.in_flight.insert(index, tries, worker, self.now);
            subtasks.push(HandedOut { index, attempt: tries + 1 });
        }
        if subtasks.is_empty() && most > 0 {
            subtasks.extend(self.next_straggler_for(worker));
        }
        subtasks
    }

    fn next_waiting(&mut self) -> Option<(u64, u32)> {
        if let Some(retry) = self.retries.take_due(self.now) {
            return Some(retry);
        }
        if let Some(returned) = self.in_flight.returned.pop_first() {
            return Some(returned);
        }
        if self.retries.len() >= MAX_RETRYING {
            return None;
        }
        // Subtasks above the cursor may be at workers or waiting all the same, after a takeover.
        while let Some(index) = self.completion.next_open(self.in_flight.cursor, self.header.emitted) {
            self.in_flight.cursor = index + 1;
            if !self.in_flight.at_workers.contains_key(&index) && !self.retries.contains(index) {
                return Some((index, 0));
            }
        }
        None
    }

    /// Everything stored is at workers, and the split is over.
    fn only_stragglers_left(&self) -> bool {
        self.rules.reissue_stragglers
            && self.header.phase == MapPhase::Processing
            && self.in_flight.returned.is_empty()
            && self.in_flight.len() <= FEW_LEFT
            && self.retries.len() == 0
            && self.completion.next_open(self.in_flight.cursor, self.header.emitted).is_none()
    }

    fn next_straggler_for(&mut self, worker: Incarnation) -> Option<HandedOut> {
        if !self.only_stragglers_left() {
            return None;
        }
        let since = self.now - self.in_flight.straggles_after();
        let (index, copies) = self.in_flight.at_workers.iter_mut().find(|(_, copies)| {
            copies.second.is_none() && copies.first.since <= since && copies.first.worker != worker
        })?;
        copies.second = Some(Copy { worker, since: self.now });
        Some(HandedOut { index: *index, attempt: copies.tries + 1 })
    }

    /// When a subtask becomes a straggler.
    pub(super) fn next_straggler(&self) -> Option<Timestamp> {
        if !self.only_stragglers_left() {
            return None;
        }
        let after = self.in_flight.straggles_after();
        let single = self.in_flight.at_workers.values().filter(|copies| copies.second.is_none());
        single.map(|copies| copies.first.since + after).filter(|at| *at > self.now).min()
    }

    /// The answer of a worker that was asked what it holds.
    pub(super) fn held(&mut self, worker: Incarnation, held: &[(u64, u32)]) {
        let Some(known) = self.workers.get_mut(worker) else { return };
        if known.asked_at.take().is_none() {
            return;
        }
        let mut adopted = 0;
        let mut holds = std::collections::BTreeSet::new();
        for (index, attempt) in held.iter().copied() {
            holds.insert((index, attempt));
            let open = index < self.header.emitted && !self.completion.is_settled(index);
            // It may hold a failed try whose result it still repeats; the next try is then not its own.
            let tries = self.retries.tries(index).or_else(|| self.in_flight.returned.get(&index).copied());
            let is_next = tries.is_none_or(|tries| tries + 1 == attempt);
            if open && is_next && !self.in_flight.at_workers.contains_key(&index) {
                self.in_flight.returned.remove(&index);
                self.retries.remove(index);
                self.in_flight.insert(index, attempt.saturating_sub(1), worker, self.now);
                adopted += 1;
            }
        }
        if let Some(known) = self.workers.get_mut(worker) {
            known.in_flight += adopted;
        }
        self.take(
            worker,
            |index, attempt| holds.contains(&(index, attempt)),
            "a stream broke before they arrived",
        );
    }

    pub(super) fn take_from_lost_workers(&mut self) {
        for worker in self.workers.lost(self.now, LOST_AFTER) {
            self.take(worker, |_, _| false, "the worker was lost");
            self.workers.remove(worker);
        }
    }

    /// Ends the waits for answers of workers that do not answer.
    pub(super) fn stop_waiting_for_answers(&mut self) {
        let late = |worker: &&super::workers::Worker| {
            worker.asked_at.is_some_and(|at| self.now.since(at) >= ANSWER_WITHIN)
        };
        let late: Vec<_> = self.workers.iter().filter(late).map(|worker| worker.info.worker).collect();
        for worker in late {
            self.held(worker, &[]);
        }
        if let Some(until) = self.adopting_until {
            let answered = self.workers.iter().all(|worker| worker.asked_at.is_none());
            let somebody = self.workers.iter().next().is_some();
            if self.now >= until || (somebody && answered) {
                self.adopting_until = None;
            }
        }
    }

    fn take(&mut self, worker: Incarnation, holds: impl Fn(u64, u32) -> bool, why: &'static str) {
        let taken = self.in_flight.take_from(worker, holds, &mut self.workers);
        if taken > 0 {
            let name = self.workers.name(worker);
            let counts = &mut self.header.taken_from;
            if counts.len() < MAX_WORKERS_COUNTED || counts.contains_key(&name) {
                *counts.entry(name.clone()).or_insert(0) += taken;
            }
            self.effects.push(MapEffect::TakenFrom { name, subtasks: taken, why });
        }
    }
}
