//! Arming: which run is told to which worker when, and which one waits for another.

use super::open_run::{CancelWish, OpenRun, Phase};
use super::{Arm, Effect, Engine, Owned};
use crate::change::Move;
use crate::ids::{AttemptNo, Incarnation, JobVersion, PlanNo, RunKey};
use crate::job::{JobKind, Overlap};
use crate::routing::Choice;
use crate::run::{Reason, ReasonCode, RunState};
use crate::time::Timestamp;

/// What the runs of the same job before it mean for a run.
enum Turn {
    /// It may be armed.
    Free,
    /// It waits until an earlier one is final.
    Wait,
    /// It is not to start at all.
    Never(RunState, Reason),
    /// It waits, and the earlier one is asked to stop.
    Replace(RunKey),
}

impl Engine {
    /// Looks at every run whose time has come.
    pub(super) fn wake_runs(&mut self, now: Timestamp) {
        while let Some(owned) = &mut self.owned {
            match owned.wakes.first().copied() {
                Some((at, key)) if at <= now => {
                    owned.wake(key, None);
                    self.wake_run(now, key);
                }
                _ => return,
            }
        }
    }

    fn wake_run(&mut self, now: Timestamp, key: RunKey) {
        let Some(open) = self.owned.as_ref().and_then(|owned| owned.runs.get(&key)) else { return };
        if let Some(cancel) = open.cancel.clone() {
            self.press_cancel(now, key, &cancel);
            return;
        }
        match open.phase {
            Phase::Waiting | Phase::Held | Phase::Unplaced | Phase::Armed { .. } | Phase::Queued => {
                self.arm(now, key)
            }
            Phase::Started => self.watch_started(now, key),
            Phase::Mapping => self.watch_timeout(now, key),
            Phase::Moving => {
                // An answer may be lost between the store and here; the row tells then.
                self.expect_answer(now, key);
                self.reload();
            }
        }
    }

    /// Looks at the store if nothing is heard of a change of the run's plan.
    pub(super) fn expect_answer(&mut self, now: Timestamp, key: RunKey) {
        let overdue = now.saturating_add(self.config.answer_after);
        self.owned_mut().wake(key, Some(overdue));
    }

    /// Arms a planned run, or finds out what it has to wait for.
    fn arm(&mut self, now: Timestamp, key: RunKey) {
        let open = &self.owned_ref().runs[&key];
        let worker = open.run.worker;
        if let Some(worker) = worker {
            let is_wanted = open.job.is_some() && !self.owned_ref().looks.is_frozen(key.job);
            let untouched = open.run.state == RunState::Planned && !open.phase.is_at_worker();
            if is_wanted && untouched && self.roster.has_left_without(worker, key, open.run.attempt) {
                // An edit gave the row back, after the worker had left.
                let reason = Reason::new(ReasonCode::Draining, "the worker left before the run was due");
                return self.refused(now, key, worker, reason);
            }
            if self.is_gone(worker) {
                return self.worker_of_run_lost(now, key, &worker.to_string());
            }
            if !self.roster.is_connected(worker) {
                // Its return or its loss will wake the run; it does not keep the one behind it from a worker that is there.
                if self.owned_ref().runs[&key].phase == Phase::Held {
                    self.owned_mut().wake_held_after(key, now);
                }
                return;
            }
        }
        let open = &self.owned_ref().runs[&key];
        if open.phase.is_at_worker() {
            if open.job.is_none() {
                let reason = Reason::new(ReasonCode::Deleted, "the job was deleted before the run started");
                return self.ask_to_stop(now, key, reason, false);
            }
        } else {
            if self.owned_ref().looks.is_frozen(key.job) {
                // The look at the store that was asked for wakes it.
                return;
            }
            if self.owned_ref().runs[&key].phase == Phase::Unplaced && self.candidate(key).is_none() {
                // Its latest start counts, whatever the others of the job do: nobody would take it in its turn.
                return self.wait_for_worker(now, key);
            }
            let turn = self.turn(now, key);
            if matches!(turn, Turn::Never(..)) {
                // Somebody who does not know yet that he was replaced may arm it: giving it up needs its worker's word.
                self.owned_mut().runs.get_mut(&key).expect("looked up above").perhaps_armed = true;
            }
            let asked = self.owned_ref().runs[&key].asked;
            if (asked || !matches!(turn, Turn::Free)) && self.withdraw_first(now, key) {
                return;
            }
            match turn {
                Turn::Free => {}
                Turn::Wait => {
                    self.hold(now, key);
                    if !self.owned_ref().looks.is_behind() {
                        // With a worker of its own it may follow the one before it there, and need not wait for its end.
                        let naming = self.naming(key);
                        self.name(now, naming.into_iter().collect());
                    }
                    return;
                }
                Turn::Never(state, reason) => return self.finish(now, key, state, Some(reason), None),
                Turn::Replace(earlier) => {
                    let reason =
                        Reason::new(ReasonCode::Replaced, format!("replaced by run {key} of the same job"));
                    self.hold(now, key);
                    return self.ask_to_stop(now, earlier, reason, false);
                }
            }
        }
        let refused = |worker: &Incarnation| self.owned_ref().runs[&key].refused.contains(worker);
        let Some(worker) = worker.filter(|worker| !refused(worker)) else { return self.place(now, key) };
        self.extend_held(now, key);
        self.send_arm(now, key, worker);
    }

    /// An owner before this one may have armed the run: before it is held back or given up, its worker has to say that it does not have it.
    /// True while that is being asked.
    fn withdraw_first(&mut self, now: Timestamp, key: RunKey) -> bool {
        let open = &self.owned_ref().runs[&key];
        let (attempt, plan_no) = (open.run.attempt, open.run.plan_no);
        let Some(worker) = open.run.worker.filter(|_| open.perhaps_armed) else { return false };
        self.disarm(worker, key, attempt, plan_no);
        let again = now.saturating_add(self.config.rearm_after);
        let owned = self.owned_mut();
        if let Some(open) = owned.runs.get_mut(&key) {
            open.asked = true;
        }
        owned.wake(key, Some(again));
        true
    }

    /// The worker does not have what an earlier owner may have armed: the run is free to be placed anew.
    pub(super) fn withdrawn(&mut self, now: Timestamp, key: RunKey) {
        let owned = self.owned_mut();
        owned.set_worker(key, None);
        if let Some(open) = owned.runs.get_mut(&key) {
            (open.perhaps_armed, open.asked) = (false, false);
        }
        owned.wake(key, Some(now));
    }

    /// A run that waited its turn is not late for having waited: its latest start counts from now.
    fn extend_held(&mut self, now: Timestamp, key: RunKey) {
        let owned = self.owned_mut();
        let open = owned.runs.get_mut(&key).expect("the caller looked it up");
        if let (Phase::Held, Some(job)) = (open.phase, &open.job) {
            open.run.start_by = open.run.start_by.max(job.job.start_by(now, None));
            owned.telling.changed(key);
        }
    }

    fn send_arm(&mut self, now: Timestamp, key: RunKey, worker: Incarnation) {
        let (rearm_after, margin) = (self.config.rearm_after, self.config.clock_margin);
        let owned = self.owned_mut();
        let epoch = owned.epoch;
        let mut newly_armed = false;
        let open = owned.runs.get_mut(&key).expect("the caller looked it up");
        (open.perhaps_armed, open.asked) = (false, false);
        let again_at = match open.phase {
            // Its word is kept by the worker until we take it: ask again only when it is overdue.
            Phase::Armed { acknowledged: true } | Phase::Queued => {
                open.run.start_by.saturating_add(margin).max(now.saturating_add(margin))
            }
            Phase::Armed { acknowledged: false } => now.saturating_add(rearm_after),
            _ => {
                newly_armed = true;
                now.saturating_add(rearm_after)
            }
        };
        let arm = open.arm_at(worker, epoch).expect("the caller has seen its job");
        owned.wake(key, Some(again_at));
        if newly_armed {
            owned.set_phase(key, Phase::Armed { acknowledged: false });
            // The next run of the job may follow to the same worker.
            owned.wake_held_after(key, now);
        }
        self.effects.push(Effect::Arm(arm));
    }

    /// Finds a worker for a run that has none, by a compare-and-set that needs no proof since nobody was named.
    pub(super) fn place(&mut self, now: Timestamp, key: RunKey) {
        let open = &self.owned_ref().runs[&key];
        if open.job.is_none() {
            return;
        }
        let (attempt, seen) = (open.run.attempt, open.run.plan_no);
        match self.candidate(key) {
            Some(to) => {
                self.begin_move(now, key);
                let fence = self.fence();
                self.effects.push(Effect::Move(vec![Move { key, attempt, seen, to, fence }]));
            }
            None => self.wait_for_worker(now, key),
        }
    }

    /// The worker that is to have the run, of those that have not refused it.
    fn candidate(&self, key: RunKey) -> Option<Incarnation> {
        let open = &self.owned_ref().runs[&key];
        let spec = &open.job.as_ref()?.job.spec;
        let params = open.run.params.as_ref().unwrap_or(&spec.params);
        self.choose(Choice::of_run(spec, key, params), &open.refused)
    }

    fn begin_move(&mut self, now: Timestamp, key: RunKey) {
        if let Some(open) = self.owned_mut().runs.get_mut(&key) {
            open.next_planned = false;
        }
        self.owned_mut().set_phase(key, Phase::Moving);
        self.expect_answer(now, key);
    }

    /// Names a worker for runs that have none, ahead of their time, so that arming them needs no store.
    pub(super) fn assign(&mut self, now: Timestamp) {
        let Some(owned) = &self.owned else { return };
        if owned.unassigned.is_empty() || owned.looks.is_behind() {
            return;
        }
        let moves: Vec<Move> = owned.unassigned.iter().filter_map(|key| self.naming(*key)).collect();
        self.name(now, moves);
    }

    /// The move that names a worker for a run that has none and is not at one.
    fn naming(&self, key: RunKey) -> Option<Move> {
        let open = &self.owned_ref().runs[&key];
        let idle = matches!(open.phase, Phase::Waiting | Phase::Held) && open.cancel.is_none();
        if !idle || open.run.worker.is_some() {
            return None;
        }
        let (to, fence) = (self.candidate(key)?, self.fence());
        Some(Move { key, attempt: open.run.attempt, seen: open.run.plan_no, to, fence })
    }

    fn name(&mut self, now: Timestamp, moves: Vec<Move>) {
        if moves.is_empty() {
            return;
        }
        for made in &moves {
            self.begin_move(now, made.key);
        }
        self.effects.push(Effect::Move(moves));
    }

    /// Nobody is there to run it: wait until its latest start, and beyond where the misfire policy still wants it.
    fn wait_for_worker(&mut self, now: Timestamp, key: RunKey) {
        self.owned_mut().set_phase(key, Phase::Unplaced);
        self.owned_mut().wake_held_after(key, now);
        let open = &self.owned_ref().runs[&key];
        let job = open.job.as_ref().expect("the caller checked it");
        let (due_at, start_by) = (open.run.due_at, open.run.start_by);
        if now <= start_by {
            let wake_at = start_by.saturating_add(crate::time::Span::from_millis(1));
            return self.owned_mut().wake(key, Some(wake_at));
        }
        let misfire = &job.job.spec.misfire;
        let still_run = misfire.runs() as usize;
        let reason = open.last_refusal.clone().unwrap_or_else(|| {
            let handler = &job.job.spec.handler;
            Reason::new(
                ReasonCode::NoWorker,
                format!("no worker of the group with handler {handler:?} by {start_by}"),
            )
        });
        let give_up_at = due_at.saturating_add(misfire.window);
        // Older misfired runs of the job beyond what the policy runs are given up for this one.
        let misfired: Vec<RunKey> = self
            .owned_ref()
            .by_job
            .get(&key.job)
            .into_iter()
            .flatten()
            .map(|(_, other)| *other)
            .filter(|other| {
                let other = &self.owned_ref().runs[other];
                other.phase == Phase::Unplaced && other.run.start_by < now && !Self::is_by_request(other)
            })
            .collect();
        let refused = open.last_refusal.is_some();
        if still_run == 0 || refused || now >= give_up_at || Self::is_by_request(&self.owned_ref().runs[&key])
        {
            return self.finish(now, key, RunState::Missed, Some(reason), None);
        }
        self.owned_mut().wake(key, Some(give_up_at));
        let too_many = misfired.len().saturating_sub(still_run);
        for older in misfired.into_iter().take(too_many) {
            self.finish(now, older, RunState::Missed, Some(reason.clone()), None);
        }
    }

    /// Whether the misfire policy runs a fire that could not start by its latest start: the newest ones that may.
    fn misfire_still_runs(&self, now: Timestamp, key: RunKey) -> bool {
        let owned = self.owned_ref();
        let open = &owned.runs[&key];
        let Some(job) = open.job.as_ref().filter(|_| !Self::is_by_request(open)) else { return false };
        let misfire = &job.job.spec.misfire;
        let missed = |(_, other): &&(Timestamp, RunKey)| {
            let other = &owned.runs[other].run;
            other.state == RunState::Planned && other.start_by < now
        };
        let after = (std::ops::Bound::Excluded(open.order()), std::ops::Bound::Unbounded);
        let newer = owned.by_job[&key.job].range(after).filter(missed).count();
        newer < misfire.runs() as usize && now.since(key.fire_time) <= misfire.window
    }

    fn is_by_request(open: &OpenRun) -> bool {
        open.run.trigger.is_by_request()
    }

    /// A worker will never start the run: the next one in the order gets it.
    pub(super) fn refused(&mut self, now: Timestamp, key: RunKey, by: Incarnation, reason: Reason) {
        let open = self.owned_mut().runs.get_mut(&key).expect("the caller looked it up");
        if !open.refused.contains(&by) {
            open.refused.push(by);
        }
        open.last_refusal = Some(reason.clone());
        if let Some(cancel) = open.cancel.clone() {
            return self.finish(now, key, RunState::Cancelled, Some(cancel.reason), None);
        }
        let named = open.run.worker == Some(by);
        if reason.code == ReasonCode::TooLate && now > open.run.start_by {
            if !self.misfire_still_runs(now, key) {
                return self.finish(now, key, RunState::Missed, Some(reason), None);
            }
            // It was told too late, not turned down: the same worker may take it under the next plan number, with a new latest start.
            let open = self.owned_mut().runs.get_mut(&key).expect("looked up above");
            open.refused.retain(|worker| *worker != by);
            open.last_refusal = None;
        }
        if named {
            // Its tombstone is the proof that a move needs.
            self.place(now, key);
        }
    }

    pub(super) fn moved(&mut self, now: Timestamp, moves: Vec<(Move, bool)>) {
        if self.owned.is_none() {
            return self.copied_moved(now, moves);
        }
        for (made, moved) in moves {
            let Some(owned) = &mut self.owned else { return };
            let Some(open) = owned.runs.get_mut(&made.key) else { continue };
            if open.run.attempt != made.attempt
                || open.run.plan_no != made.seen
                || open.phase != Phase::Moving
            {
                continue;
            }
            if !moved {
                self.reload_for_refusal();
                continue;
            }
            open.run.plan_no = made.seen.next();
            // A run that waited for a worker beyond its latest start runs late by policy.
            if open.run.start_by < now {
                open.run.start_by = open.job.as_ref().map_or(now, |job| job.job.start_by(now, None));
            }
            owned.set_worker(made.key, Some(made.to));
            owned.set_phase(made.key, Phase::Waiting);
            let wake_at = owned.runs[&made.key].run.due_at.saturating_sub(self.config.arm_lead).max(now);
            owned.wake(made.key, Some(wake_at));
        }
    }

    /// What the earlier runs of the job mean for this one.
    fn turn(&self, now: Timestamp, key: RunKey) -> Turn {
        let owned = self.owned_ref();
        let open = &owned.runs[&key];
        let Some(job) = open.job.as_ref().map(|job| &job.job) else {
            let reason = Reason::new(ReasonCode::Deleted, "the job was deleted before the run started");
            return Turn::Never(RunState::Cancelled, reason);
        };
        if !job.spec.enabled && !Self::is_by_request(open) {
            let reason = Reason::new(ReasonCode::Paused, "the job was paused before the run started");
            return Turn::Never(RunState::Cancelled, reason);
        }
        let siblings = &owned.by_job[&key.job];
        let overlap = job.spec.overlap;
        if let Overlap::Parallel { max } = overlap {
            let busy = owned.occupied.get(&key.job).copied().unwrap_or(0);
            return if busy < max as usize { Turn::Free } else { Turn::Wait };
        }
        // A run that no worker can take holds nobody up: the misfire policy decides between them.
        let placed = |(_, other): &&(Timestamp, RunKey)| owned.runs[other].phase != Phase::Unplaced;
        let Some((_, earlier)) = siblings.range(..open.order()).rev().find(placed) else { return Turn::Free };
        let previous = &owned.runs[earlier];
        // One worker has both: its JobPool enforces the policy exactly. A parallel run has left its worker, so the owner does.
        let met = previous.phase.is_at_worker()
            && previous.run.worker == open.run.worker
            && job.spec.kind == JobKind::Simple;
        if met {
            return Turn::Free;
        }
        if now < open.run.due_at {
            return Turn::Wait;
        }
        let since = previous.run.due_at;
        match overlap {
            Overlap::Skip if previous.phase.occupies() => Turn::Never(
                RunState::Skipped,
                Reason::new(
                    ReasonCode::Overlap,
                    format!("run {earlier} of the job, due at {since}, was still running"),
                ),
            ),
            Overlap::Replace if previous.cancel.is_none() => Turn::Replace(*earlier),
            Overlap::Queue { .. } => {
                let limit = Self::queue_limit(overlap);
                let waiting = siblings
                    .range(..open.order())
                    .filter(|(_, other)| !owned.runs[other].phase.occupies())
                    .count();
                if waiting >= limit && open.phase != Phase::Held {
                    return Turn::Never(
                        RunState::Skipped,
                        Reason::new(
                            ReasonCode::QueueFull,
                            format!("{waiting} runs of the job were waiting, the limit is {limit}"),
                        ),
                    );
                }
                Turn::Wait
            }
            _ => Turn::Wait,
        }
    }

    /// Waits for an earlier run of the job; its end wakes this one, and so does its own due time for the policies that look then.
    fn hold(&mut self, now: Timestamp, key: RunKey) {
        let owned = self.owned_mut();
        owned.set_phase(key, Phase::Held);
        let due_at = owned.runs[&key].run.due_at;
        owned.wake(key, (due_at > now).then_some(due_at));
    }

    /// A started run is overdue: its worker should have ended it long ago.
    fn watch_started(&mut self, now: Timestamp, key: RunKey) {
        let open = &self.owned_ref().runs[&key];
        let Some(worker) = open.run.worker else { return };
        if self.is_gone(worker) {
            return self.worker_of_run_lost(now, key, &worker.to_string());
        }
        self.ask_about(key, worker);
        self.watch_timeout(now, key);
    }

    /// A started run that was found in the store: its end may have been told to somebody whose word was lost. An Arm is answered with what
    /// became of it.
    fn ask_about(&mut self, key: RunKey, worker: Incarnation) {
        if !self.roster.is_connected(worker) {
            // Its return wakes the run.
            return;
        }
        let owned = self.owned_mut();
        let epoch = owned.epoch;
        let open = owned.runs.get_mut(&key).expect("the caller looked it up");
        if !std::mem::take(&mut open.perhaps_armed) {
            return;
        }
        if open.job.is_none() {
            // There is nothing to arm of a deleted job, and a withdrawal is answered, too.
            let (attempt, plan_no) = (open.run.attempt, open.run.plan_no);
            return self.disarm(worker, key, attempt, plan_no);
        }
        let simple = |arm: &Arm| arm.job.job.spec.kind == JobKind::Simple;
        let question = open.arm_at(worker, epoch).filter(simple);
        self.effects.extend(question.map(Effect::Arm));
    }

    fn watch_timeout(&mut self, now: Timestamp, key: RunKey) {
        let open = &self.owned_ref().runs[&key];
        let Some(at) = self.overdue_at(open) else { return };
        if now < at {
            return self.owned_mut().wake(key, Some(at));
        }
        let timeout = open.job.as_ref().and_then(|job| job.job.spec.timeout).unwrap_or_default();
        let reason = Reason::new(ReasonCode::Timeout, format!("not ended within its timeout of {timeout}"));
        self.ask_to_stop(now, key, reason, true);
    }

    /// When the server itself ends a started run: the worker has had its timeout and its grace.
    pub(super) fn overdue_at(&self, open: &OpenRun) -> Option<Timestamp> {
        let timeout = open.job.as_ref()?.job.spec.timeout?;
        let started_at = open.run.started_at?;
        let patience =
            if open.phase == Phase::Mapping { crate::time::Span::from_millis(0) } else { self.config.grace };
        Some(started_at.saturating_add(timeout).saturating_add(patience))
    }

    /// Asks whoever has the run to stop it; what never reached a worker ends at once.
    pub(super) fn ask_to_stop(&mut self, now: Timestamp, key: RunKey, reason: Reason, timeout: bool) {
        let Some(open) = self.owned_mut().runs.get_mut(&key) else { return };
        if open.cancel.is_some() {
            return;
        }
        let wish = CancelWish { reason, asked_at: now, timeout };
        open.cancel = Some(wish.clone());
        self.press_cancel(now, key, &wish);
    }

    /// Repeats a wish to stop until the grace is over, then gives the run up; one that its worker may still start not before it cannot any
    /// longer, since whoever was told of it may arm it.
    fn press_cancel(&mut self, now: Timestamp, key: RunKey, wish: &CancelWish) {
        let open = &self.owned_ref().runs[&key];
        let (phase, attempt, plan_no) = (open.phase, open.run.attempt, open.run.plan_no);
        let may_start = now < self.starts_before(open);
        let patience = self.config.grace.saturating_add(self.config.clock_margin);
        let over = now >= wish.asked_at.saturating_add(patience);
        let gone = open.run.worker.is_none_or(|worker| self.is_gone(worker));
        match (phase, open.run.worker) {
            // Its subtasks are cancelled with the end of the attempt; nobody else holds it.
            (Phase::Mapping, _) => self.end_stopped(now, key, wish),
            (Phase::Waiting | Phase::Held | Phase::Armed { .. }, Some(to)) if !over || may_start => {
                self.owned_mut().runs.get_mut(&key).expect("looked up above").perhaps_armed = true;
                self.disarm(to, key, attempt, plan_no);
                self.press_again(now, key);
            }
            (Phase::Queued, Some(to)) if !over && !gone => {
                self.disarm(to, key, attempt, plan_no);
                self.press_again(now, key);
            }
            (Phase::Started, Some(to)) if !over && !gone => {
                let (grace, why) = (self.config.grace, wish.reason.to_string());
                self.effects.push(Effect::CancelAttempt { to, key, attempt, grace, why });
                self.press_again(now, key);
            }
            (Phase::Moving, _) => self.press_again(now, key),
            _ => self.end_stopped(now, key, wish),
        }
    }

    /// From when on no worker starts the run, whatever its clock says.
    pub(super) fn starts_before(&self, open: &OpenRun) -> Timestamp {
        open.run.start_by.saturating_add(self.config.clock_margin)
    }

    fn press_again(&mut self, now: Timestamp, key: RunKey) {
        let at = now.saturating_add(self.config.rearm_after);
        self.owned_mut().wake(key, Some(at));
    }

    pub(super) fn end_stopped(&mut self, now: Timestamp, key: RunKey, wish: &CancelWish) {
        if wish.timeout {
            self.attempt_timed_out(now, key, wish.reason.clone(), None);
        } else {
            self.finish(now, key, RunState::Cancelled, Some(wish.reason.clone()), None);
        }
    }

    pub(super) fn disarm(&mut self, to: Incarnation, key: RunKey, attempt: AttemptNo, plan_no: PlanNo) {
        if self.roster.is_connected(to) {
            let job_version =
                self.owned.as_ref().map_or(JobVersion::default(), |owned| owned.jobs.version(key.job));
            self.effects.push(Effect::Disarm { to, key, attempt, plan_no, job_version });
        }
    }

    pub(super) fn owned_ref(&self) -> &Owned {
        self.owned.as_ref().expect("only an owner has runs")
    }

    pub(super) fn owned_mut(&mut self) -> &mut Owned {
        self.owned.as_mut().expect("only an owner has runs")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use crate::engine::{Effect, Engine, EngineConfig, HandlerInfo, Input, Snapshot, WorkerInfo};
    use crate::ids::{
        AttemptNo, Epoch, GroupId, Incarnation, JobId, JobVersion, JobsVersion, PlanNo, RunKey, ShardId,
    };
    use crate::job::Job;
    use crate::run::{Run, RunState, TriggerKind};
    use crate::time::Timestamp;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    fn shard() -> ShardId {
        ShardId::new(GroupId::new(101, 1, 2, 6601).unwrap(), 0)
    }

    /// A job whose runs follow each other.
    fn job() -> Job {
        let spec = json!({"group": "101-1-2-6601", "name": "a", "handler": "h", "schedule": {"type": "api"},
            "overlap": {"policy": "queue"}});
        Job {
            id: JobId::new(1),
            version: JobVersion::new(1),
            shard_index: 0,
            spec: serde_json::from_value(spec).unwrap(),
            effective_from: at(0),
            created_at: at(0),
            updated_at: at(0),
            updated_by: String::new(),
        }
    }

    /// A planned run that names no worker.
    fn run(due_at: Timestamp) -> Run {
        Run {
            key: RunKey { fire_time: due_at, job: JobId::new(1), ordinal: 0 },
            shard: shard(),
            epoch: Epoch::new(1),
            job_version: JobVersion::new(1),
            trigger: TriggerKind::Schedule,
            worker: None,
            plan_no: PlanNo::new(1),
            attempt: AttemptNo::new(1),
            state: RunState::Planned,
            due_at,
            start_by: due_at.saturating_add(crate::time::Span::from_secs(1)),
            started_at: None,
            finished_at: None,
            reason: None,
            result: None,
            params: None,
            trace: None,
        }
    }

    #[test]
    fn runs_that_found_their_worker_late_follow_each_other_to_it_without_waiting_for_each_others_end() {
        let mut engine = Engine::new(shard(), EngineConfig::default());
        let snapshot = Snapshot {
            epoch: Epoch::new(1),
            jobs_version: JobsVersion::new(1),
            planned_until: at(60_000),
            jobs: vec![job()],
            open_runs: vec![run(at(1_000)), run(at(1_200))],
            last_finals: Vec::new(),
        };
        // Both are to be armed by now, and there is nobody.
        let mut effects = Vec::new();
        engine.step(at(500), Input::Own(Box::new(snapshot)), &mut effects);
        let worker = WorkerInfo {
            incarnation: Incarnation::new(7),
            name: "w".into(),
            room: "a".into(),
            labels: BTreeMap::new(),
            handlers: vec![HandlerInfo { name: "h".into(), parallel: false, reduce: false }],
            held: Vec::new(),
        };
        engine.step(at(600), Input::WorkerJoined(worker), &mut effects);
        let mut armed = Vec::new();
        for _ in 0..5 {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Move(moves) => {
                        let moved = moves.into_iter().map(|made| (made, true)).collect();
                        engine.step(at(601), Input::Moved(moved), &mut effects);
                    }
                    Effect::Arm(arm) => armed.push(arm.due_at),
                    _ => {}
                }
            }
        }
        assert_eq!(armed, [at(1_000), at(1_200)]);
    }
}
