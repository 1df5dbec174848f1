//! Checkpoints: what happened since the last one becomes durable together, and only then is it acknowledged.
//!
//! A checkpoint is due when 500 results wait for one or the oldest has waited 150 ms, but no more often than every 50 ms: at 100,000 results a
//! second one write then carries 5,000 of them instead of 500, and still no result waits longer than 200 ms plus the write. Ends of phases do
//! not wait.

use std::collections::BTreeMap;

use super::engine::{MapEffect, MapEngine};
use crate::ids::Incarnation;
use crate::time::{Span, Timestamp};

/// This many results make a checkpoint due.
const RESULTS: u64 = 500;
/// The oldest result waits this long at most before its checkpoint is written.
const LONGEST_WAIT: Span = Span::from_millis(150);
/// Checkpoints are at least this far apart.
const SHORTEST_PAUSE: Span = Span::from_millis(50);

/// What is not durable yet.
#[derive(Debug)]
pub(super) struct Durability {
    /// Results that the next checkpoint will hold.
    results: u64,
    /// When the first of them came.
    oldest: Option<Timestamp>,
    /// The next checkpoint is wanted at once.
    hurry: bool,
    /// To be acknowledged once the next checkpoint is durable.
    acks: BTreeMap<Incarnation, Vec<u64>>,
    /// To be done once the next checkpoint is durable.
    next: Vec<MapEffect>,
    /// The checkpoint being written.
    writing: Option<Writing>,
    last_began: Timestamp,
    last_id: u64,
}

/// A checkpoint being written, and what follows it.
#[derive(Debug)]
struct Writing {
    id: u64,
    acks: BTreeMap<Incarnation, Vec<u64>>,
    next: Vec<MapEffect>,
}

impl Durability {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            results: 0,
            oldest: None,
            hurry: false,
            acks: BTreeMap::new(),
            next: Vec::new(),
            writing: None,
            last_began: now - SHORTEST_PAUSE,
            last_id: 0,
        }
    }

    /// Something that counts is not durable yet.
    pub(super) fn results_came(&mut self, now: Timestamp, results: u64) {
        self.results += results;
        self.oldest.get_or_insert(now);
    }

    /// The next checkpoint is wanted at once.
    pub(super) fn hurry(&mut self) {
        self.hurry = true;
    }

    /// Does something once the next checkpoint is durable.
    pub(super) fn after_next(&mut self, effect: MapEffect) {
        self.next.push(effect);
    }

    /// Whether everything is durable.
    pub(super) fn is_clean(&self) -> bool {
        self.writing.is_none() && !self.hurry && self.results == 0
    }

    /// When the next checkpoint is due by time.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        if self.writing.is_some() {
            return None;
        }
        let by_wait = self.oldest? + LONGEST_WAIT;
        let by_count = self.last_began + SHORTEST_PAUSE;
        Some(if self.results >= RESULTS { by_count.min(by_wait) } else { by_wait })
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.writing.is_none() && (self.hurry || self.next_wake().is_some_and(|at| at <= now))
    }
}

impl MapEngine {
    /// Does something once everything known now is durable.
    pub(super) fn when_durable(&mut self, effect: MapEffect) {
        let durability = &mut self.durability;
        if durability.results > 0 || durability.hurry {
            durability.next.push(effect);
        } else if let Some(Writing { next, .. }) = &mut durability.writing {
            next.push(effect);
        } else {
            self.effects.push(effect);
        }
    }

    /// Acknowledges results of a worker once what they changed is durable; at once where they changed nothing that is not.
    pub(super) fn ack_when_durable(&mut self, worker: Incarnation, seq: u64) {
        let durability = &mut self.durability;
        if durability.results > 0 || durability.hurry {
            durability.acks.entry(worker).or_default().push(seq);
        } else if let Some(Writing { acks, .. }) = &mut durability.writing {
            acks.entry(worker).or_default().push(seq);
        } else {
            self.effects.push(MapEffect::AckResults { worker, seqs: vec![seq] });
        }
    }

    pub(super) fn checkpoint_if_due(&mut self) {
        let now = self.now;
        let durability = &mut self.durability;
        // A clock that jumped back must not hold checkpoints up.
        durability.last_began = durability.last_began.min(now);
        durability.oldest = durability.oldest.map(|oldest| oldest.min(now));
        if !durability.is_due(now) {
            return;
        }
        durability.last_id += 1;
        durability.last_began = now;
        durability.results = 0;
        durability.oldest = None;
        durability.hurry = false;
        let id = durability.last_id;
        durability.writing = Some(Writing {
            id,
            acks: std::mem::take(&mut durability.acks),
            next: std::mem::take(&mut durability.next),
        });
        let chunks = self.completion.take_changed();
        self.effects.push(MapEffect::Checkpoint { id, header: Box::new(self.header.clone()), chunks });
    }

    pub(super) fn checkpoint_stored(&mut self, id: u64) {
        let Some(Writing { acks, next, .. }) = self.durability.writing.take_if(|writing| writing.id == id)
        else {
            return;
        };
        self.effects.extend(acks.into_iter().map(|(worker, seqs)| MapEffect::AckResults { worker, seqs }));
        self.effects.extend(next);
    }
}
