//! When a standby arms a run of its copy: late enough for the owner to have done it, early enough to start on time all the same.

use super::{CopiedJob, Heard, SILENCE, Standby};
use crate::change::{Fence, Move};
use crate::engine::{Arm, Effect, Engine, EngineConfig};
use crate::ids::RunKey;
use crate::job::{JobKind, Overlap};
use crate::routing::Choice;
use crate::time::{Span, Timestamp};

/// How soon a run that cannot be armed yet is looked at again (250 ms): its worker may come, or an earlier run of its job end.
const LOOK_AGAIN: Span = Span::from_millis(250);

impl Engine {
    /// Arms what is due to be armed by this holder.
    pub(super) fn arm_copied(&mut self, now: Timestamp) {
        if self.standby.rank.is_none() {
            return;
        }
        while let Some((at, key)) = self.standby.wakes.first().copied().filter(|(at, _)| *at <= now) {
            debug_assert!(at <= now, "the set is ordered by time");
            let next = self.arm_copy(now, key);
            self.standby.wake(key, next);
        }
    }

    /// Arms a run if it is to be armed here and now; says when to look at it again.
    fn arm_copy(&mut self, now: Timestamp, key: RunKey) -> Option<Timestamp> {
        let standby = &self.standby;
        let copied = &standby.runs[&key];
        let run = &copied.run;
        if copied.heard > Heard::Nothing || now > run.start_by {
            return None;
        }
        let arm_at = standby.arm_at(key, &self.config)?;
        if now < arm_at {
            return Some(arm_at);
        }
        let job = standby.jobs.get(&key.job)?.job.clone();
        // It is the owner who says what becomes of what is paused.
        if !job.job.spec.enabled && !run.trigger.is_by_request() {
            return None;
        }
        let Some(worker) = run.worker else { return self.name_workers(now, key) };
        if standby.edited.contains_key(&key.job)
            || !self.roster.is_connected(worker)
            || !standby.is_its_turn(key)
        {
            return Some(now.saturating_add(LOOK_AGAIN));
        }
        let arm = Arm {
            to: worker,
            key,
            attempt: run.attempt,
            plan_no: run.plan_no,
            job_version: job.job.version,
            due_at: run.due_at,
            start_by: run.start_by,
            params: run.params.clone(),
            trace: run.trace_id(),
            epoch: standby.copy_of.expect("a copy has its epoch"),
            job,
        };
        self.effects.push(Effect::Arm(arm));
        Some(now.saturating_add(self.config.rearm_after))
    }
}

impl Engine {
    /// Names workers for a run that an edit made, and for the others of its job, where the owner, who does that at once, has not; says when to
    /// look again. All of them together: each naming is a commit, and what keeps the owner may be a database whose commits take long.
    fn name_workers(&mut self, now: Timestamp, key: RunKey) -> Option<Timestamp> {
        let standby = &self.standby;
        if let Some(until) = standby.runs[&key].naming_until.filter(|until| now < *until) {
            return Some(until);
        }
        let again = Some(now.saturating_add(LOOK_AGAIN));
        if standby.edited.contains_key(&key.job) {
            return again;
        }
        let spec = &standby.jobs.get(&key.job)?.job.job.spec;
        let epoch = standby.copy_of.expect("a copy has its epoch");
        let fence = Fence { shard: self.shard, epoch, jobs_version: None };
        let name = |key: RunKey| {
            let copied = &standby.runs[&key];
            let run = &copied.run;
            let is_open = run.worker.is_none() && copied.heard == Heard::Nothing && now <= run.start_by;
            if !is_open || copied.naming_until.is_some_and(|until| now < until) {
                return None;
            }
            let params = run.params.as_ref().unwrap_or(&spec.params);
            let to = self.choose(Choice::of_run(spec, key, params), &[])?;
            Some(Move { key, attempt: run.attempt, seen: run.plan_no, to, fence })
        };
        let of_job = standby.by_job.get(&key.job).into_iter().flatten();
        let made: Vec<Move> = of_job.filter_map(|(_, key)| name(*key)).collect();
        if made.iter().all(|made| made.key != key) {
            return again;
        }
        let until = now.saturating_add(self.config.answer_after);
        for made in &made {
            self.standby.runs.get_mut(&made.key).expect("looked up above").naming_until = Some(until);
        }
        self.effects.push(Effect::Move(made));
        Some(until)
    }

    /// Takes what became of the naming of workers.
    pub(in crate::engine) fn copied_moved(&mut self, now: Timestamp, moves: Vec<(Move, bool)>) {
        for (made, moved) in moves {
            let Some(copied) = self.standby.runs.get_mut(&made.key) else { continue };
            let run = &mut copied.run;
            if run.worker.is_some() || (run.attempt, run.plan_no) != (made.attempt, made.seen) {
                continue;
            }
            copied.naming_until = None;
            if moved {
                (run.worker, run.plan_no) = (Some(made.to), made.seen.next());
                self.standby.wake(made.key, Some(now));
            } else {
                // Somebody else did, or the shard has another owner, whose plan is on its way.
                self.look_at_copied_job(made.key.job);
            }
        }
    }
}

impl Standby {
    /// When this holder arms the run; none while it does not know its place. A run that was told late is the owner's for a while, as long as
    /// the owner speaks.
    pub(super) fn arm_at(&self, key: RunKey, config: &EngineConfig) -> Option<Timestamp> {
        let lead = match self.rank? {
            0 => config.arm_lead,
            1 => config.standby_leads[0],
            _ => config.standby_leads[1],
        };
        let copied = &self.runs[&key];
        let patience = Span::from_millis(config.arm_lead.as_millis().saturating_sub(lead.as_millis()));
        let due = copied.run.due_at.saturating_sub(lead);
        let told = copied.told_at.saturating_add(patience);
        let silent_at = self.owner_heard_at.map_or(Timestamp::EPOCH, |at| at.saturating_add(SILENCE));
        Some(due.max(told.min(silent_at)))
    }

    /// Whether no earlier run of the job holds this one up, as far as the copy tells. In doubt it is the owner's to say.
    fn is_its_turn(&self, key: RunKey) -> bool {
        let run = &self.runs[&key].run;
        let Some(CopiedJob { job, .. }) = self.jobs.get(&key.job) else { return false };
        let siblings = || {
            let keys = self.by_job.get(&key.job).into_iter().flatten();
            keys.map(|(due_at, key)| ((*due_at, *key), &self.runs[key]))
        };
        if let Overlap::Parallel { max } = job.job.spec.overlap {
            let at_workers = siblings().filter(|(_, other)| other.heard == Heard::Answered);
            return at_workers.count() < max as usize;
        }
        siblings().take_while(|(order, _)| *order < (run.due_at, key)).all(|(_, earlier)| {
            // One worker has both: its JobPool enforces the policy. A parallel run does not stay with its worker.
            let met = earlier.run.worker == run.worker && job.job.spec.kind == JobKind::Simple;
            earlier.heard == Heard::Ended || met
        })
    }
}
