//! Arming: which run is told to which worker when.

use super::open_run::Phase;
use super::turn::Turn;
use super::{Effect, Engine};
use crate::ids::{Incarnation, RunKey};
use crate::run::{Reason, ReasonCode, RunState};
use crate::time::Timestamp;

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

    /// Arms a planned run, or finds out what it has to wait for.
    fn arm(&mut self, now: Timestamp, key: RunKey) {
        let open = &self.owned_ref().runs[&key];
        let worker = open.run.worker;
        if let Some(worker) = worker {
            let is_wanted = open.job.is_some() && !self.owned_ref().looks.is_frozen(key.job);
            let untouched = open.run.state == RunState::Planned && !open.phase.is_at_worker();
            if is_wanted && untouched && self.roster.has_left_without(worker, &open.run) {
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
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use crate::engine::{Effect, Engine, EngineConfig, HandlerInfo, Input, Snapshot, WorkerInfo};
    use crate::ids::{Epoch, GroupId, Incarnation, JobId, JobVersion, JobsVersion, PlanNo, RunKey, ShardId};
    use crate::job::Job;
    use crate::run::Run;
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
            plan_no: PlanNo::new(1),
            due_at,
            start_by: due_at.saturating_add(crate::time::Span::from_secs(1)),
            ..Run::planned(
                RunKey { fire_time: due_at, job: JobId::new(1), ordinal: 0 },
                shard(),
                Epoch::new(1),
                JobVersion::new(1),
            )
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
