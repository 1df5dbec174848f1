//! The reduce: one worker is chosen, its place is durable before it starts, and its result before it is acknowledged.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::engine::{LOST_AFTER, MapEffect, MapEngine};
use super::{MapOutcome, ReduceAt};
use crate::ids::{Incarnation, PlanNo};
use crate::run::{Reason, ReasonCode};
use crate::time::{Span, Timestamp};

/// An Arm of the reduce without an answer is sent again after this.
const REARM_AFTER: Span = Span::from_secs(2);
/// When every worker refused, they are asked again after this ...
const ASK_AGAIN_AFTER: Span = Span::from_secs(2);
/// ... and so many times: a minute, enough for a full worker to get free.
const MAX_REFUSALS: u32 = 30;

/// What a worker tells of the reduce.
#[derive(Debug, Clone, PartialEq)]
pub enum ReduceNews {
    /// It has the Arm, or the handler started.
    Taken,
    /// It never started it and never will under this plan number.
    Refused(Reason),
    /// It returned.
    Succeeded(Option<Value>),
    /// It failed, timed out or was cancelled.
    Failed(Reason),
}

/// What the engine knows of the reduce beyond the header.
#[derive(Debug, Clone)]
pub(super) struct Reduce {
    /// Another worker is to be chosen.
    choosing: bool,
    /// Since when the chosen worker has not been seen.
    unseen_since: Timestamp,
    /// When the Arm was sent last.
    armed_at: Option<Timestamp>,
    /// The worker answered the Arm.
    taken: bool,
    refused: BTreeSet<Incarnation>,
    /// How often every worker had refused, and when last.
    refusals: u32,
    refused_at: Option<Timestamp>,
}

impl Reduce {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            choosing: false,
            unseen_since: now,
            armed_at: None,
            taken: false,
            refused: BTreeSet::new(),
            refusals: 0,
            refused_at: None,
        }
    }

    /// A worker came or came back: the Arm may not have reached it.
    pub(super) fn worker_joined(&mut self) {
        self.taken = false;
        self.armed_at = None;
    }
}

impl MapEngine {
    /// Chooses a worker, or sees to it that the chosen one has the Arm.
    pub(super) fn advance_reduce(&mut self) {
        let now = self.now;
        let Some(at) = self.header.reduce.filter(|_| !self.reduce.choosing) else {
            self.choose_reducer();
            return;
        };
        let worker = self.workers.get(at.worker);
        let connected = worker.is_some_and(|worker| worker.silent_since.is_none());
        if connected {
            self.reduce.unseen_since = now;
            let answered =
                self.reduce.taken || self.reduce.armed_at.is_some_and(|armed| now.since(armed) < REARM_AFTER);
            // Its place must be durable before it can start.
            if !answered && self.durability.is_clean() {
                self.reduce.armed_at = Some(now);
                self.effects.push(MapEffect::StartReduce { worker: at.worker, plan_no: at.plan_no });
            }
        } else if now.since(self.reduce.unseen_since) >= LOST_AFTER {
            self.reduce.choosing = true;
            self.choose_reducer();
        }
    }

    /// The first connected worker in rendezvous order of the run that reduces and has not refused.
    fn choose_reducer(&mut self) {
        if let Some(at) = self.reduce.refused_at {
            if self.now.since(at) < ASK_AGAIN_AFTER {
                return;
            }
            self.reduce.refused_at = None;
        }
        let able = |worker: &&super::workers::Worker| {
            worker.info.reduces && worker.silent_since.is_none() && !worker.leaving
        };
        let run = self.run.trace_id().get() as u64;
        let rank = |worker: &Incarnation| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&run.to_le_bytes());
            bytes[8..].copy_from_slice(&worker.get().to_le_bytes());
            xxhash_rust::xxh3::xxh3_64(&bytes)
        };
        let able: Vec<Incarnation> =
            self.workers.iter().filter(able).map(|worker| worker.info.worker).collect();
        let chosen =
            able.iter().copied().filter(|worker| !self.reduce.refused.contains(worker)).max_by_key(rank);
        let Some(worker) = chosen else {
            if !able.is_empty() {
                self.everyone_refused();
            }
            return;
        };
        let plan_no = self.header.reduce.map_or(PlanNo::new(1), |at| at.plan_no.next());
        self.header.reduce = Some(ReduceAt { worker, plan_no });
        self.reduce.choosing = false;
        self.reduce.unseen_since = self.now;
        self.reduce.armed_at = None;
        self.reduce.taken = false;
        self.durability.hurry();
    }

    fn everyone_refused(&mut self) {
        self.reduce.refusals += 1;
        self.reduce.refused.clear();
        self.reduce.refused_at = Some(self.now);
        if self.reduce.refusals > MAX_REFUSALS {
            let detail = format!("every worker refused to reduce, {MAX_REFUSALS} times");
            self.end(Some(MapOutcome::Failed { reason: Reason::new(ReasonCode::Busy, detail) }));
        }
    }

    pub(super) fn reduce_news(&mut self, worker: Incarnation, plan_no: PlanNo, seq: u64, news: ReduceNews) {
        let ack = MapEffect::AckReduce { worker, seq };
        let current = self.header.reduce == Some(ReduceAt { worker, plan_no });
        let reducing = self.header.phase == super::MapPhase::Reducing;
        match news {
            // A superseded worker's result is as good as any.
            ReduceNews::Succeeded(result) if reducing => {
                self.durability.after_next(ack);
                self.end(Some(MapOutcome::Succeeded { result }));
                return;
            }
            ReduceNews::Failed(reason) if reducing && current => {
                self.durability.after_next(ack);
                self.end(Some(MapOutcome::Failed { reason }));
                return;
            }
            ReduceNews::Taken if reducing && current => self.reduce.taken = true,
            ReduceNews::Refused(_) if reducing && current => {
                self.reduce.refused.insert(worker);
                self.reduce.choosing = true;
            }
            _ => {}
        }
        self.when_durable(ack);
    }

    pub(super) fn next_reduce_wake(&self) -> Option<Timestamp> {
        if self.header.phase != super::MapPhase::Reducing {
            return None;
        }
        let rearm = self.reduce.armed_at.filter(|_| !self.reduce.taken).map(|at| at + REARM_AFTER);
        let ask = self.reduce.refused_at.map(|at| at + ASK_AGAIN_AFTER);
        let lost = self.header.reduce.map(|_| self.reduce.unseen_since + LOST_AFTER);
        [rearm, ask, lost].into_iter().flatten().filter(|at| *at > self.now).min()
    }
}

impl MapOutcome {
    /// A map without a reduce results in its counts.
    pub(super) fn counted(done: u64, failed: u64) -> Self {
        Self::Succeeded { result: Some(json!({ "done": done, "failed": failed })) }
    }

    pub(super) fn too_many_failed(failed: u64, total: u64, max_failed: u64) -> Self {
        let detail = format!("{failed} of {total} subtasks failed, and at most {max_failed} may");
        Self::Failed { reason: Reason::new(ReasonCode::SubtasksFailed, detail) }
    }
}
