//! The roster: which workers have a stream to this server, which are away, which are lost.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::open_run::Phase;
use crate::ids::{AttemptNo, Incarnation, PlanNo, RunKey};
use crate::job::WorkerLost;
use crate::routing::{self, Choice};
use crate::run::{Reason, ReasonCode, Run, RunState};
use crate::time::{Span, Timestamp};

/// A worker as it introduced itself.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerInfo {
    /// New at each start of the process.
    pub incarnation: Incarnation,
    /// For people, and for routing that survives a restart.
    pub name: String,
    /// Its machine room.
    pub room: String,
    /// What selectors go by.
    pub labels: BTreeMap<String, String>,
    /// What it can run.
    pub handlers: Vec<HandlerInfo>,
    /// Runs that it has armed or started.
    pub held: Vec<HeldRun>,
}

/// A handler of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerInfo {
    /// Its name.
    pub name: String,
    /// It is a parallel one: split and process.
    pub parallel: bool,
    /// It has a reduce.
    pub reduce: bool,
}

/// A run that a worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldRun {
    /// Which run.
    pub key: RunKey,
    /// Its attempt.
    pub attempt: AttemptNo,
    /// As armed.
    pub plan_no: PlanNo,
    /// The handler has started.
    pub started: bool,
}

/// How long a lost worker is remembered (5 min): longer than any row of it lies planned, short enough that restarts without end are forgotten.
const REMEMBER_LOST: Span = Span::from_secs(300);

/// Workers by incarnation.
#[derive(Debug, Default)]
pub(super) struct Roster {
    workers: BTreeMap<Incarnation, Worker>,
    /// Workers that were given up, and when: rows that an edit gives back may still name them.
    lost: BTreeMap<Incarnation, Timestamp>,
    /// Workers that said that they leave, when, and what they held then: whatever else may name them they never start.
    left: BTreeMap<Incarnation, (Timestamp, BTreeSet<(RunKey, AttemptNo)>)>,
    /// The store may have lost the ends of runs that were due before this: a worker may have started what it says that it does not hold.
    ends_lost_before: Option<Timestamp>,
}

#[derive(Debug)]
struct Worker {
    /// None for a worker that is only known from rows: it may come, or be gone for good.
    info: Option<WorkerInfo>,
    /// It has a stream to this server.
    here: bool,
    /// It has a stream to another holder.
    elsewhere: bool,
    /// It said that it leaves: it gets nothing new.
    left: bool,
    /// Since when it has no stream at all.
    away_since: Option<Timestamp>,
}

impl Worker {
    /// Known from a row only.
    fn expected(now: Timestamp) -> Self {
        Self { info: None, here: false, elsewhere: false, left: false, away_since: Some(now) }
    }

    fn note_presence(&mut self, now: Timestamp) {
        if self.here || self.elsewhere {
            self.away_since = None;
        } else {
            self.away_since.get_or_insert(now);
        }
    }
}

impl Roster {
    pub(super) fn connected(&self) -> impl Iterator<Item = &WorkerInfo> {
        self.workers
            .values()
            .filter(|worker| worker.away_since.is_none() && !worker.left)
            .filter_map(|worker| worker.info.as_ref())
    }

    pub(super) fn is_connected(&self, incarnation: Incarnation) -> bool {
        self.workers.get(&incarnation).is_some_and(|worker| worker.away_since.is_none())
    }

    /// Notes a worker that is named in a row but has no stream. One that was lost is not waited for again.
    pub(super) fn expect(&mut self, incarnation: Incarnation, now: Timestamp) {
        if !self.lost.contains_key(&incarnation) {
            self.workers.entry(incarnation).or_insert(Worker::expected(now));
        }
    }

    /// Whether the worker has given its word, by a clean leave, that it neither started the attempt of this run nor ever will.
    pub(super) fn has_left_without(&self, incarnation: Incarnation, run: &Run) -> bool {
        self.left.get(&incarnation).is_some_and(|(_, held)| !held.contains(&(run.key, run.attempt)))
            && self.ends_lost_before.is_none_or(|lost| run.due_at > lost)
    }

    /// The store may have lost what was done until now.
    pub(super) fn doubt_ends(&mut self, until: Timestamp) {
        self.ends_lost_before = Some(until);
    }

    /// Whether the worker was given up, and has not come back.
    pub(super) fn is_lost(&self, incarnation: Incarnation) -> bool {
        self.lost.contains_key(&incarnation)
    }

    fn known(&mut self, incarnation: Incarnation, now: Timestamp) -> &mut Worker {
        self.lost.remove(&incarnation);
        self.workers.entry(incarnation).or_insert_with(|| Worker::expected(now))
    }

    fn lose(&mut self, incarnation: Incarnation, now: Timestamp) {
        self.workers.remove(&incarnation);
        self.lost.retain(|_, since| now.since(*since) < REMEMBER_LOST);
        self.lost.insert(incarnation, now);
    }

    pub(super) fn next_loss(&self, lost_after: Span) -> Option<Timestamp> {
        self.workers
            .values()
            .filter_map(|worker| worker.away_since)
            .min()
            .map(|since| since.saturating_add(lost_after))
    }

    fn name(&self, incarnation: Incarnation) -> String {
        let known = self.workers.get(&incarnation).and_then(|worker| worker.info.as_ref());
        known.map_or_else(|| incarnation.to_string(), |info| format!("{} ({incarnation})", info.name))
    }
}

impl Engine {
    pub(super) fn worker_joined(&mut self, now: Timestamp, worker: WorkerInfo) {
        let incarnation = worker.incarnation;
        let held = worker.held.clone();
        let known = self.roster.known(incarnation, now);
        (known.info, known.here) = (Some(worker), true);
        known.note_presence(now);
        self.look_at_runs_of(now, incarnation);
        // What it had and has no longer is ended: another holder took the report, so the store knows.
        let Some(owned) = &self.owned else { return };
        let missing = owned.by_worker.get(&incarnation).into_iter().flatten().any(|key| {
            let open = &owned.runs[key];
            let had =
                matches!(open.phase, Phase::Started | Phase::Queued | Phase::Armed { acknowledged: true });
            had && !held.iter().any(|run| run.key == *key && run.attempt == open.run.attempt)
        });
        if missing {
            self.reload();
        }
        for run in held {
            let open = self.owned_ref().runs.get(&run.key);
            let wanted = open
                .is_some_and(|open| open.run.attempt == run.attempt && open.run.worker == Some(incarnation));
            if !wanted {
                self.disarm(incarnation, run.key, run.attempt, run.plan_no);
            }
        }
    }

    /// A worker that another holder reaches is not lost, and can be armed through it.
    pub(super) fn worker_elsewhere(&mut self, now: Timestamp, worker: WorkerInfo) {
        let incarnation = worker.incarnation;
        let known = self.roster.known(incarnation, now);
        let was_away = known.away_since.is_some();
        known.elsewhere = true;
        if !known.here {
            known.info = Some(worker);
        }
        known.note_presence(now);
        if was_away {
            self.look_at_runs_of(now, incarnation);
        }
    }

    pub(super) fn worker_gone_elsewhere(&mut self, now: Timestamp, incarnation: Incarnation) {
        if let Some(worker) = self.roster.workers.get_mut(&incarnation) {
            worker.elsewhere = false;
            worker.note_presence(now);
        }
    }

    /// Looks at what waits for a worker that can be reached now.
    fn look_at_runs_of(&mut self, now: Timestamp, incarnation: Incarnation) {
        let Some(owned) = &mut self.owned else { return };
        let at_worker = owned.by_worker.get(&incarnation).into_iter().flatten();
        // What the worker has it answers with its present state; what it lost on the way it gets again.
        let waiting: Vec<(RunKey, Timestamp)> = owned
            .unplaced
            .iter()
            .map(|key| (*key, now))
            .chain(at_worker.map(|key| (*key, owned.runs[key].look_at(now, self.config.arm_lead))))
            .filter(|(key, _)| owned.runs[key].phase != Phase::Moving)
            .collect();
        for (key, at) in waiting {
            owned.wake(key, Some(at));
        }
        self.assign(now);
    }

    pub(super) fn worker_disconnected(&mut self, now: Timestamp, incarnation: Incarnation) {
        if let Some(worker) = self.roster.workers.get_mut(&incarnation) {
            worker.here = false;
            worker.note_presence(now);
        }
    }

    /// A clean leave is proof: what the worker does not hold it will never start, so it may move.
    pub(super) fn worker_left(&mut self, now: Timestamp, incarnation: Incarnation, held: &[HeldRun]) {
        // It stays in the roster, away, until what it still holds is reported or lost.
        match self.roster.workers.get_mut(&incarnation) {
            Some(worker) => worker.left = true,
            None => return,
        }
        self.roster.left.retain(|_, (since, _)| now.since(*since) < REMEMBER_LOST);
        let of_runs = held.iter().map(|run| (run.key, run.attempt)).collect();
        self.roster.left.insert(incarnation, (now, of_runs));
        let Some(owned) = &self.owned else { return };
        let at_worker: Vec<RunKey> =
            owned.by_worker.get(&incarnation).into_iter().flatten().copied().collect();
        for key in at_worker {
            let open = &self.owned_ref().runs[&key];
            let free = self.roster.has_left_without(incarnation, &open.run);
            if free && open.run.state == RunState::Planned && open.phase != Phase::Moving {
                let reason = Reason::new(ReasonCode::Draining, "the worker left before the run was due");
                self.refused(now, key, incarnation, reason);
            }
        }
    }

    /// Gives up on workers that had no stream for too long (trigger-protocol: "Worker lost").
    pub(super) fn lose_silent_workers(&mut self, now: Timestamp) {
        if self.roster.next_loss(self.config.lost_after).is_none_or(|at| at > now) {
            return;
        }
        let lost_after = self.config.lost_after;
        let lost: Vec<Incarnation> = self
            .roster
            .workers
            .iter()
            .filter(|(_, worker)| worker.away_since.is_some_and(|since| now.since(since) >= lost_after))
            .map(|(incarnation, _)| *incarnation)
            .collect();
        for incarnation in lost {
            let name = self.roster.name(incarnation);
            self.roster.lose(incarnation, now);
            let Some(owned) = &self.owned else { continue };
            let keys: Vec<RunKey> =
                owned.by_worker.get(&incarnation).into_iter().flatten().copied().collect();
            for key in keys {
                self.worker_of_run_lost(now, key, &name);
            }
        }
    }

    /// The worker of an open run is lost.
    pub(super) fn worker_of_run_lost(&mut self, now: Timestamp, key: RunKey, worker: &str) {
        let why = format!("no stream to worker {worker} for {}", self.config.lost_after);
        self.run_lost(now, key, &why);
    }

    /// What became of an open run at its worker cannot be found out: attempt n + 1 under the job's policy, never a silent move.
    pub(super) fn run_lost(&mut self, now: Timestamp, key: RunKey, why: &str) {
        let Some(open) = self.owned.as_ref().and_then(|owned| owned.runs.get(&key)) else { return };
        if open.phase == Phase::Mapping || open.phase == Phase::Moving {
            return;
        }
        let seen_started = open.run.state == RunState::Running;
        let seen = if seen_started { "after it started" } else { "before it was seen to start" };
        let reason = Reason::new(ReasonCode::WorkerLost, format!("{why}, {seen}"));
        let safe = self.starts_before(open);
        if let Some(cancel) = open.cancel.clone().filter(|cancel| !cancel.timeout) {
            if !seen_started && open.phase != Phase::Queued && now < safe {
                return self.owned_mut().wake(key, Some(safe));
            }
            self.finish(now, key, RunState::Cancelled, Some(cancel.reason), None);
            return;
        }
        let policy = open.job.as_ref().map_or(WorkerLost::Skip, |job| job.job.spec.worker_lost);
        let most = open.job.as_ref().map_or(1, |job| job.job.spec.retry.max_attempts);
        let most = if seen_started { most } else { most + self.config.unseen_attempts };
        let due_at = open.run.due_at;
        let spent = open.run.attempt.get() >= most;
        match (policy, seen_started) {
            // It may yet come back and start in time; `arm` gives the run up after its latest start.
            (WorkerLost::Skip, false) if now < safe => self.owned_mut().wake(key, Some(safe)),
            (WorkerLost::Skip, false) => self.finish(now, key, RunState::Missed, Some(reason), None),
            (WorkerLost::Skip, true) | (WorkerLost::RetryStrict, true) => {
                self.finish(now, key, RunState::Dead, Some(reason), None);
            }
            _ if spent => self.finish(now, key, RunState::Dead, Some(reason), None),
            (WorkerLost::Retry, _) => self.next_attempt(now, key, reason, now.max(due_at)),
            (WorkerLost::RetryStrict, false) => {
                self.next_attempt(now, key, reason, safe.max(now));
            }
        }
    }

    /// The worker for a run by the job's routing, leaving out those that refused it.
    pub(super) fn choose(&self, choice: Choice<'_>, refused: &[Incarnation]) -> Option<Incarnation> {
        let eligible = self.roster.connected().filter(|worker| {
            !refused.contains(&worker.incarnation) && routing::is_eligible(choice.job, worker)
        });
        let load = |incarnation| {
            self.owned
                .as_ref()
                .and_then(|owned| owned.by_worker.get(&incarnation))
                .map_or(0, |runs| runs.len())
        };
        routing::choose(choice, eligible, load)
    }

    /// Whether the worker of a run will never be heard of: not connected, and no longer waited for.
    pub(super) fn is_gone(&self, incarnation: Incarnation) -> bool {
        !self.roster.workers.contains_key(&incarnation)
    }
}
