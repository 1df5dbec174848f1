//! The invariants (trigger-protocol, section 2), judged from what handlers did, what the store holds and what people were told.

use std::collections::BTreeSet;

use carillon_core::engine::ReportKind;
use carillon_core::ids::{AttemptNo, Incarnation, JobId, RunKey};
use carillon_core::job::{Job, Overlap};
use carillon_core::run::{ReasonCode, Run, RunState};
use carillon_core::time::{Span, Timestamp};

use crate::worker::Start;
use crate::world::{Mode, World};

/// The end of a run frees the next one of its job by a report, and perhaps a commit.
const FREED_WITHIN: Span = Span::from_millis(100);

impl World {
    fn fail(&self, invariant: &str, what: String) -> ! {
        if let Some(trace) = &self.trace {
            for line in trace {
                eprintln!("{line}");
            }
            for run in self.store.runs.values().filter(|run| !run.state.is_final() && run.due_at <= self.now)
            {
                let said: Vec<_> = self.servers.iter().map(|server| server.engine.explain(run.key)).collect();
                eprintln!(
                    "OPEN {} due {} {} attempt {}: {said:?}",
                    run.key, run.due_at, run.state, run.attempt
                );
            }
        }
        panic!("seed {} at {}: {invariant}: {what}", self.seed, self.now)
    }

    /// What can be judged at the very start of a handler: I3, I4, and the bounds of the start.
    pub(crate) fn check_start(&mut self, worker: Incarnation, start: Start) {
        let again = !self.started.insert((start.key, start.attempt));
        if again && !self.moves_lost.contains(&start.key) {
            self.fail(
                "I3",
                format!("run {} attempt {} started twice, now at {worker}", start.key, start.attempt),
            );
        }
        let now = self.now + self.skew();
        if now < start.due_at || now < start.key.fire_time {
            self.fail("I2", format!("run {} started before it was due", start.key));
        }
        if self.was_given_up(start) {
            return;
        }
        for promise in self.promises.iter().filter(|promise| promise.job == start.key.job) {
            if start.version < promise.version
                && !promise.may_start.contains(&start.key)
                && !self.doubtful.contains(&start.key)
            {
                self.fail(
                    "I4",
                    format!(
                        "run {} started as version {} after version {} was acknowledged",
                        start.key, start.version, promise.version
                    ),
                );
            }
        }
    }

    /// Whether the attempt was presumed lost with its worker: such a one may start late (trigger-protocol: residual risks).
    fn was_given_up(&self, start: Start) -> bool {
        let lost = |code| code == ReasonCode::WorkerLost;
        let recorded = |record: &carillon_core::run::Attempt| {
            (record.key, record.attempt) == (start.key, start.attempt) && lost(record.reason.code)
        };
        let run = self.store.runs.get(&start.key);
        let presumed = run.and_then(|run| run.reason.as_ref()).is_some_and(|reason| lost(reason.code));
        presumed || self.store.attempts.iter().any(recorded)
    }

    /// What can be judged when everything has come to rest.
    pub(crate) fn check_end(&self) {
        self.check_fires();
        self.check_attempts();
        self.check_states();
        self.check_punctuality();
        self.check_kill();
        self.check_normal();
    }

    /// I1: every fire of a version in force has one row, and there is no row without a fire or a request.
    fn check_fires(&self) {
        let mut expected: BTreeSet<RunKey> = BTreeSet::new();
        // A fire may start just before the edit that takes it away, or while that is under way, or be over by then; its row says what became of it.
        let mut planned: BTreeSet<RunKey> = BTreeSet::new();
        for (id, versions) in &self.store.history {
            for (place, job) in versions.iter().enumerate() {
                let until =
                    versions.get(place + 1).map_or(self.store.planned_until, |next| next.effective_from);
                expected.extend(fires(*id, job, until));
                planned.extend(fires(*id, job, until + Span::from_secs(31)));
            }
        }
        for key in &expected {
            if !self.store.runs.contains_key(key) {
                self.fail("I1", format!("the fire {key} of job {} at {} has no row", key.job, key.fire_time));
            }
        }
        for run in self.store.runs.values() {
            let requested = run.key.ordinal != 0;
            let versions = &self.store.history[&run.key.job];
            let delayed = versions.iter().any(|job| {
                matches!(job.spec.schedule.kind, carillon_core::schedule::ScheduleKind::FixedDelay { .. })
            });
            let withdrawn = run.state == RunState::Cancelled;
            let attempts = (run.key, AttemptNo::FIRST)..=(run.key, run.attempt);
            let started = self.started.range(attempts).next().is_some() && planned.contains(&run.key);
            let over = self.store.over_before_edit.contains(&run.key) && planned.contains(&run.key);
            if !requested && !delayed && !withdrawn && !started && !over && !expected.contains(&run.key) {
                self.fail(
                    "I1",
                    format!("row {} of job {} at {} has no fire", run.key, run.key.job, run.key.fire_time),
                );
            }
        }
        for ((_, request), key) in &self.store.idempotency {
            if !self.store.runs.contains_key(key) {
                self.fail("I1", format!("request {request} has no row"));
            }
        }
        let requested = self.store.runs.keys().filter(|key| key.ordinal != 0).count();
        if requested != self.store.idempotency.len() {
            self.fail("I1", format!("{requested} rows for {} requests", self.store.idempotency.len()));
        }
    }

    /// I3: attempt n + 1 only with a recorded cause for attempt n.
    fn check_attempts(&self) {
        for run in self.store.runs.values() {
            let recorded = self.store.attempts.iter().filter(|record| record.key == run.key);
            let numbers: Vec<u32> = recorded.map(|record| record.attempt.get()).collect();
            let wanted: Vec<u32> = (1..run.attempt.get()).collect();
            if numbers != wanted {
                self.fail(
                    "I3",
                    format!("run {} is at attempt {} with records of {numbers:?}", run.key, run.attempt),
                );
            }
        }
        for (_, worker, start) in &self.starts {
            let attempt = self.store.runs.get(&start.key).map(|run| run.attempt);
            if attempt.is_none_or(|attempt| start.attempt > attempt) {
                self.fail(
                    "I3",
                    format!(
                        "run {} attempt {} started at {worker} without its row",
                        start.key, start.attempt
                    ),
                );
            }
        }
    }

    /// I5 and I7: every due row is final, carries its reason, and agrees with what the workers saw.
    fn check_states(&self) {
        // Long enough for every latest start, retry and loss of a worker that the jobs allow.
        let rest = self.end.saturating_sub(Span::from_secs(60));
        for run in self.store.runs.values() {
            let due = run.due_at < rest && run.started_at.is_none_or(|at| at < rest);
            // Refused by every worker there is, it waits for another one until its latest start, which counts anew after each wait.
            let unplaced = |server: &crate::world::Server| {
                server.engine.explain(run.key).is_some_and(|said| said.starts_with("Unplaced"))
            };
            let waits = || self.waits_for_policy(run) || self.servers.iter().any(unplaced);
            if due && !run.state.is_final() && !waits() {
                let explained: Vec<_> =
                    self.servers.iter().filter_map(|server| server.engine.explain(run.key)).collect();
                self.fail(
                    "I5",
                    format!("run {} due {} is still {}: {explained:?}", run.key, run.due_at, run.state),
                );
            }
            let plain = matches!(run.state, RunState::Planned | RunState::Running | RunState::Succeeded);
            if !plain && run.reason.is_none() {
                self.fail("I7", format!("run {} is {} without a reason", run.key, run.state));
            }
            self.check_agreement(run);
        }
    }

    /// A run may wait long behind others of its job: those that are due before it, and, where only so many may run beside each other,
    /// those that run or are armed.
    fn waits_for_policy(&self, run: &Run) -> bool {
        let others = || {
            let of_job = |other: &&Run| other.key.job == run.key.job && other.key != run.key;
            self.store.runs.values().filter(of_job)
        };
        let ended_just_now =
            |other: &Run| other.finished_at.is_some_and(|at| self.now.since(at) < FREED_WITHIN);
        let open = |other: &Run| !other.state.is_final() || ended_just_now(other);
        let in_force = self.store.jobs.get(&run.key.job);
        let is_full = in_force.is_some_and(|job| match job.spec.overlap {
            Overlap::Parallel { max } => {
                let has = |other: &&Run| {
                    let at = other.worker.and_then(|worker| self.workers.get(&worker));
                    open(other) && at.is_some_and(|at| at.knows(other.key, other.attempt))
                };
                others().filter(has).count() >= max as usize
            }
            _ => false,
        });
        is_full || others().any(|other| other.due_at <= run.due_at && open(other))
    }

    fn check_agreement(&self, run: &Run) {
        // A failover lost that it had moved: it may have run at both workers (trigger-protocol: residual risks), and its row knows of one.
        if self.moves_lost.contains(&run.key) {
            return;
        }
        let started: Vec<&(Timestamp, Incarnation, Start)> = self
            .starts
            .iter()
            .filter(|(_, _, start)| start.key == run.key && start.attempt == run.attempt)
            .collect();
        let presumed = run.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::WorkerLost);
        // Nobody had planned it, as far as the store knew after a failover; its worker's word on its end corrects that.
        let unplanned = run.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::Misfire)
            && started.iter().all(|(_, at, _)| self.workers[at].ended(run.key, run.attempt).is_none());
        match run.state {
            RunState::Skipped | RunState::Missed if !started.is_empty() && !presumed && !unplanned => {
                self.fail("I5", format!("run {} is {} but started", run.key, run.state));
            }
            RunState::Succeeded => {
                let Some((_, worker, _)) = started.first() else {
                    self.fail("I5", format!("run {} succeeded without a start", run.key));
                };
                let saw = self.workers[worker].ended(run.key, run.attempt);
                if !matches!(saw, Some(ReportKind::Succeeded { .. })) {
                    self.fail("I5", format!("run {} succeeded, its worker saw {saw:?}", run.key));
                }
            }
            // An edit that came too late is corrected by the worker's word.
            RunState::Cancelled => {
                let taken_away =
                    |code| matches!(code, ReasonCode::Edited | ReasonCode::Paused | ReasonCode::Deleted);
                let by_edit = run.reason.as_ref().is_some_and(|reason| taken_away(reason.code));
                // A worker that died may have taken its word with it.
                let lives = |(_, worker, _): &&&(Timestamp, Incarnation, Start)| self.alive.contains(worker);
                let saw = started
                    .first()
                    .filter(lives)
                    .and_then(|(_, worker, _)| self.workers[worker].ended(run.key, run.attempt));
                let lost = self.corrections_lost.contains(&run.key);
                if by_edit && !lost && matches!(saw, Some(ReportKind::Succeeded { .. })) {
                    self.fail(
                        "I5",
                        format!("run {} is cancelled by an edit, its worker saw {saw:?}", run.key),
                    );
                }
            }
            RunState::Failed | RunState::Dead if !presumed => {
                let saw = started
                    .first()
                    .and_then(|(_, worker, _)| self.workers[worker].ended(run.key, run.attempt));
                if !matches!(saw, Some(ReportKind::Failed { .. })) {
                    self.fail("I5", format!("run {} is {}, its worker saw {saw:?}", run.key, run.state));
                }
            }
            _ => {}
        }
    }

    /// I2: when nothing goes wrong every start is on time; after the trouble, again.
    fn check_punctuality(&self) {
        // Rows that name workers which are gone are behind by then, and a holder's patience with a new owner is over.
        let rest = if self.mode == Mode::Liveness { 55 } else { 40 };
        let from = self.healed_at() + Span::from_secs(rest);
        let until = self.end.saturating_sub(Span::from_secs(10));
        let most = Span::from_secs(1) + self.skew();
        for run in self.store.runs.values() {
            let fire = run.key.fire_time;
            let counts = run.key.ordinal == 0 && fire > from && fire < until && run.attempt.get() == 1;
            if !counts || matches!(run.state, RunState::Cancelled | RunState::Skipped) {
                continue;
            }
            let refusal = run.reason.as_ref().map(|reason| reason.code);
            let refused = matches!(refusal, Some(ReasonCode::Busy | ReasonCode::Draining));
            let start =
                self.starts.iter().find(|(_, _, start)| start.key == run.key && start.attempt.get() == 1);
            match start {
                Some((at, ..)) if at.since(run.due_at) > most && !self.was_behind(run.key, run.due_at) => {
                    self.fail(
                        "I2",
                        format!("run {} of job {} due {} started {at}", run.key, run.key.job, run.due_at),
                    );
                }
                None if run.due_at < until && run.state == RunState::Missed && !refused => {
                    self.fail(
                        "I2",
                        format!(
                            "run {} of job {} due {} was missed: {:?}",
                            run.key, run.key.job, run.due_at, run.reason
                        ),
                    );
                }
                _ => {}
            }
        }
    }

    /// Whether another run of the job was in progress when this one was due, or queued before it.
    fn was_behind(&self, key: RunKey, due_at: Timestamp) -> bool {
        self.store.runs.values().any(|other| {
            let ended = other.finished_at.unwrap_or(self.end);
            let earlier = other.key.fire_time <= key.fire_time;
            let freed = ended + FREED_WITHIN;
            other.key != key && other.key.job == key.job && earlier && freed >= due_at
        })
    }

    /// I8: the planning lead is back, and whatever is due is with its worker.
    pub(crate) fn check_lead(&mut self) {
        let lead = self.store.planned_until.millis_since(self.now);
        if lead < 20_000 {
            self.fail("I8", format!("the planning lead is {lead} ms"));
        }
        let Some(owner) = self.store.owner.filter(|owner| self.servers[*owner].is_at_work()) else { return };
        let due = self.now.saturating_sub(Span::from_secs(3));
        let before = std::mem::take(&mut self.unarmed);
        for run in self.store.runs.values() {
            let Some(worker) = run.worker.filter(|_| run.state == RunState::Planned && run.due_at < due)
            else {
                continue;
            };
            let reached = self.alive.contains(&worker) && self.links.contains(&(worker, owner));
            let said = self.servers[owner].engine.explain(run.key);
            let unplaced = said.as_ref().is_some_and(|said| said.starts_with("Unplaced"));
            let behind = self.waits_for_policy(run);
            if reached && !unplaced && !behind && !self.workers[&worker].knows(run.key, run.attempt) {
                // One that has found its worker this very moment is being armed.
                if !before.contains(&(run.key, run.plan_no)) {
                    self.unarmed.insert((run.key, run.plan_no));
                    continue;
                }
                self.fail("I8", format!("run {} due {} is not armed: {said:?}", run.key, run.due_at));
            }
        }
    }

    /// What a standby has of the owner's plan is what the owner would tell: a run too many may hold a later one back, one too few is late
    /// when the owner dies. News are under way for a moment, so what differs has to differ at two looks.
    pub(crate) fn check_copies(&mut self) {
        let before = std::mem::take(&mut self.unlike);
        let Some(owner) = self.store.owner else { return };
        let Some(plan) = self.servers[owner].engine.plan_so_far() else { return };
        let id = |run: &Run| (run.key, run.attempt, run.plan_no);
        let told: BTreeSet<_> = plan.opened.iter().map(id).collect();
        for (place, server) in self.servers.iter().enumerate() {
            let copy_of = server.engine.view(self.now).standby.and_then(|standby| standby.copy_of);
            let listens = server.is_at_work() && self.listening.contains(&(owner, place));
            if !listens || copy_of != Some(plan.epoch) {
                continue;
            }
            let copied: BTreeSet<_> = server.engine.copied_runs().map(id).collect();
            for (key, attempt, plan_no) in copied.symmetric_difference(&told) {
                self.unlike.insert((place, *key, *attempt, *plan_no));
            }
        }
        if let Some((place, key, attempt, plan_no)) = self.unlike.intersection(&before).next() {
            let told = told.contains(&(*key, *attempt, *plan_no));
            let knows = if told { "does not know what" } else { "knows what" };
            let tells = if told { "tells" } else { "does not tell" };
            let what = format!("attempt {attempt} under plan {plan_no} of run {key}");
            self.fail("I2", format!("server {place} {knows} the owner {tells}: {what}"));
        }
    }

    /// How late the latest start was after the owner was killed, in milliseconds, and whose: of runs that waited for nothing else.
    pub(crate) fn most_lateness(&self) -> (i64, Option<RunKey>) {
        let killed_at = self.killed_at.unwrap_or(self.end);
        let counts = |start: &Start| {
            let scheduled = start.key.ordinal == 0 && start.attempt.get() == 1 && start.due_at >= killed_at;
            // The successor of a run that ended while nobody owned the shard is due when somebody does.
            let made_late = start.key.job == crate::jobs::DELAYED && start.due_at > start.key.fire_time;
            scheduled && !made_late && !self.was_behind(start.key, start.due_at)
        };
        let late = self.starts.iter().filter(|(_, _, start)| counts(start));
        late.map(|(at, _, start)| (at.millis_since(start.due_at), Some(start.key))).max().unwrap_or_default()
    }

    /// A killed owner costs no lateness: another holder has armed what was planned.
    fn check_kill(&self) {
        const MOST: i64 = 20;
        let (late, key) = self.most_lateness();
        if let Some(key) = key.filter(|_| self.mode == Mode::Kill && late > MOST) {
            self.fail("I2", format!("run {key} started {late} ms late after the owner was killed"));
        }
    }

    /// I8 at the end.
    fn check_normal(&self) {
        let lead = self.store.planned_until.since(self.end);
        if lead < Span::from_secs(20) {
            self.fail("I8", format!("the planning lead is {lead} at the end"));
        }
    }
}

/// The fires of a version in force up to `until`.
fn fires(id: JobId, job: &Job, until: Timestamp) -> Vec<RunKey> {
    if !job.spec.enabled {
        return Vec::new();
    }
    let schedule = job.compile().expect("a valid schedule");
    let fires = schedule.fires(job.effective_from, until, 100_000);
    fires.into_iter().map(|fire| RunKey::scheduled(id, fire)).collect()
}
