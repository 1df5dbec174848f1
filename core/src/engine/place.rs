//! Placing: which worker a run is to have, and what becomes of a run that no worker takes.

use super::open_run::Phase;
use super::{Effect, Engine};
use crate::change::Move;
use crate::ids::{Incarnation, RunKey};
use crate::routing::Choice;
use crate::run::{Reason, ReasonCode, RunState};
use crate::time::Timestamp;

impl Engine {
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
    pub(super) fn candidate(&self, key: RunKey) -> Option<Incarnation> {
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

    /// Looks at the store if nothing is heard of a change of the run's plan.
    pub(super) fn expect_answer(&mut self, now: Timestamp, key: RunKey) {
        let overdue = now.saturating_add(self.config.answer_after);
        self.owned_mut().wake(key, Some(overdue));
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
    pub(super) fn naming(&self, key: RunKey) -> Option<Move> {
        let open = &self.owned_ref().runs[&key];
        let idle = matches!(open.phase, Phase::Waiting | Phase::Held) && open.cancel.is_none();
        if !idle || open.run.worker.is_some() {
            return None;
        }
        let (to, fence) = (self.candidate(key)?, self.fence());
        Some(Move { key, attempt: open.run.attempt, seen: open.run.plan_no, to, fence })
    }

    pub(super) fn name(&mut self, now: Timestamp, moves: Vec<Move>) {
        if moves.is_empty() {
            return;
        }
        for made in &moves {
            self.begin_move(now, made.key);
        }
        self.effects.push(Effect::Move(moves));
    }

    /// Nobody is there to run it: wait until its latest start, and beyond where the misfire policy still wants it.
    pub(super) fn wait_for_worker(&mut self, now: Timestamp, key: RunKey) {
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
        if reason.code == ReasonCode::Edited {
            // Withdrawn by somebody else, not turned down.
            let open = self.owned_mut().runs.get_mut(&key).expect("looked up above");
            open.refused.retain(|worker| *worker != by);
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
}
