//! The workers of a map: who is there, how quick each is, and what it may have.

use std::collections::BTreeMap;

use crate::ids::Incarnation;
use crate::time::{Span, Timestamp};

/// A worker that processes subtasks of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapWorker {
    /// Its incarnation.
    pub worker: Incarnation,
    /// Its name, for counts and people.
    pub name: String,
    /// How many subtasks it runs at a time.
    pub concurrency: u32,
    /// Whether its handler reduces.
    pub reduces: bool,
}

/// A worker may have this much of its own work waiting: two hand-outs of 100 ms each. It must exceed the way there and back, or a quick worker
/// would stand idle; and the longer it is, the later the last worker of a run ends.
const WINDOW: Span = Span::from_millis(200);

/// A worker is told no more often than its work of this long takes, so that a quick one costs few messages.
const SMALLEST_HAND_OUT: Span = Span::from_millis(20);

/// The most subtasks at one worker: bounds what a lost worker gives back, and is 200 ms of work at 80,000 a second.
const MAX_WINDOW: u64 = 16_384;

/// Rates are measured over at least this long.
const RATE_SAMPLE: Span = Span::from_millis(20);

/// What the engine knows of a worker.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) info: MapWorker,
    /// Since when it has no stream; none while it has one.
    pub(super) silent_since: Option<Timestamp>,
    /// It takes nothing more.
    pub(super) leaving: bool,
    /// When it was asked what it holds; none once it has answered.
    pub(super) asked_at: Option<Timestamp>,
    /// What it will still take, by its own word.
    pub(super) credit: u32,
    /// Subtasks at it.
    pub(super) in_flight: u64,
    /// Results a second, smoothed.
    rate: f64,
    sample_since: Timestamp,
    sample: u64,
}

impl Worker {
    fn new(now: Timestamp, info: MapWorker) -> Self {
        Self {
            info,
            silent_since: None,
            leaving: false,
            asked_at: None,
            credit: 0,
            in_flight: 0,
            rate: 0.0,
            sample_since: now,
            sample: 0,
        }
    }

    /// Whether it can be given anything.
    pub(super) fn takes_work(&self) -> bool {
        self.silent_since.is_none() && !self.leaving && self.asked_at.is_none()
    }

    /// How many subtasks it may have at a time: what it runs at once, or as many as it gets through in [`WINDOW`].
    fn window(&self) -> u64 {
        let by_rate = self.rate * WINDOW.as_secs_f64();
        (by_rate as u64).max(u64::from(self.info.concurrency)).clamp(1, MAX_WINDOW)
    }

    /// How many subtasks to give it now; 0 where it is not worth a message yet.
    pub(super) fn room(&self, per_worker: u32) -> u64 {
        if !self.takes_work() {
            return 0;
        }
        let window = if per_worker == 0 { self.window() } else { self.window().min(u64::from(per_worker)) };
        let room = window.saturating_sub(self.in_flight).min(u64::from(self.credit));
        let worth = ((self.rate * SMALLEST_HAND_OUT.as_secs_f64()) as u64).min(window / 4).max(1);
        if room >= worth || self.in_flight == 0 { room } else { 0 }
    }

    /// Measures its speed.
    pub(super) fn count_results(&mut self, now: Timestamp, results: u64) {
        self.sample += results;
        let elapsed = now.since(self.sample_since);
        if elapsed >= RATE_SAMPLE {
            let sample = self.sample as f64 / elapsed.as_secs_f64();
            // Quick to rise, so that a worker reaches its speed within a few hand-outs; slow to fall, so that a pause does not cost it.
            let weight = if sample > self.rate { 0.7 } else { 0.2 };
            self.rate += (sample - self.rate) * weight;
            self.sample = 0;
            self.sample_since = now;
        }
    }
}

/// All workers of a map. Small: the connected ones, and lost ones for the few seconds until their subtasks are taken away.
#[derive(Debug, Clone, Default)]
pub(super) struct Workers(BTreeMap<Incarnation, Worker>);

impl Workers {
    /// A worker opened a stream, or opened it again.
    pub(super) fn join(&mut self, now: Timestamp, info: MapWorker) -> &mut Worker {
        let worker = self.0.entry(info.worker).or_insert_with(|| Worker::new(now, info.clone()));
        worker.info = info;
        worker.silent_since = None;
        worker.leaving = false;
        worker.credit = 0;
        worker
    }

    /// A worker's record.
    pub(super) fn get(&self, worker: Incarnation) -> Option<&Worker> {
        self.0.get(&worker)
    }

    /// A worker's record.
    pub(super) fn get_mut(&mut self, worker: Incarnation) -> Option<&mut Worker> {
        self.0.get_mut(&worker)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.0.values()
    }

    /// Forgets a worker.
    pub(super) fn remove(&mut self, worker: Incarnation) {
        self.0.remove(&worker);
    }

    /// The name of a worker, for counts.
    pub(super) fn name(&self, worker: Incarnation) -> String {
        self.get(worker).map_or_else(|| worker.to_string(), |known| known.info.name.clone())
    }

    /// One subtask fewer is at a worker.
    pub(super) fn release(&mut self, worker: Incarnation) {
        if let Some(known) = self.0.get_mut(&worker) {
            known.in_flight = known.in_flight.saturating_sub(1);
        }
    }

    /// Those that have been without a stream for `patience`, or that left and closed it.
    pub(super) fn lost(&self, now: Timestamp, patience: Span) -> Vec<Incarnation> {
        let gone = |worker: &&Worker| {
            worker.silent_since.is_some_and(|since| worker.leaving || now.since(since) >= patience)
        };
        self.iter().filter(gone).map(|worker| worker.info.worker).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(concurrency: u32, credit: u32) -> Worker {
        let info = MapWorker { worker: Incarnation::new(1), name: "w".into(), concurrency, reduces: false };
        let mut worker = Worker::new(Timestamp::EPOCH, info);
        worker.credit = credit;
        worker
    }

    #[test]
    fn a_slow_worker_has_what_it_runs_at_once_and_each_free_place_is_filled() {
        let mut slow = worker(16, 1_000);
        assert_eq!(slow.room(0), 16);
        slow.in_flight = 16;
        slow.count_results(Timestamp::from_millis(10_000), 1);
        assert_eq!(slow.room(0), 0);
        slow.in_flight = 15;
        assert_eq!(slow.room(0), 1);
        assert_eq!(slow.room(10), 0, "the job's own bound");
    }

    #[test]
    fn a_quick_worker_has_two_hundred_milliseconds_of_work_in_few_messages() {
        let mut quick = worker(16, 100_000);
        (1..=20).for_each(|step| quick.count_results(Timestamp::from_millis(step * 20), 400));
        let window = quick.room(0);
        assert!((3_500..=4_000).contains(&window), "{window} at 20,000 a second");
        quick.in_flight = window - 10;
        assert_eq!(quick.room(0), 0, "ten are not worth a message");
        quick.in_flight = window / 2;
        assert!(quick.room(0) > 1_000);
        quick.credit = 7;
        quick.in_flight = 0;
        assert_eq!(quick.room(0), 7, "never more than it said it takes");
    }
}
