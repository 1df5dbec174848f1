//! Stopping: runs that take too long, that somebody wants stopped, or whose worker has gone silent.

use super::open_run::{CancelWish, OpenRun, Phase};
use super::{Arm, Effect, Engine};
use crate::ids::{AttemptNo, Incarnation, PlanNo, RunKey};
use crate::job::JobKind;
use crate::run::{Reason, ReasonCode, RunState};
use crate::time::Timestamp;

impl Engine {
    /// A started run is overdue: its worker should have ended it long ago.
    pub(super) fn watch_started(&mut self, now: Timestamp, key: RunKey) {
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

    pub(super) fn watch_timeout(&mut self, now: Timestamp, key: RunKey) {
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
    pub(super) fn press_cancel(&mut self, now: Timestamp, key: RunKey, wish: &CancelWish) {
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

    /// From when on no worker starts the run, whatever its clock says.
    pub(super) fn starts_before(&self, open: &OpenRun) -> Timestamp {
        open.run.start_by.saturating_add(self.config.clock_margin)
    }

    pub(super) fn disarm(&mut self, to: Incarnation, key: RunKey, attempt: AttemptNo, plan_no: PlanNo) {
        if self.roster.is_connected(to) {
            let known = self.owned.as_ref().map(|owned| (owned.jobs.version(key.job), owned.epoch));
            let (job_version, epoch) = known.unwrap_or_default();
            self.effects.push(Effect::Disarm { to, key, attempt, plan_no, job_version, epoch });
        }
    }
}
