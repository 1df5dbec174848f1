//! What an edit of a job does to the plan (trigger-protocol: "Edits"): the rows under the new version, and why the old ones are cancelled.

use crate::ids::{Epoch, RunKey, ShardId};
use crate::job::{Job, MisfirePolicy};
use crate::run::{Reason, ReasonCode, Run, RunState, TriggerKind};
use crate::schedule::{CompiledSchedule, ScheduleError, ScheduleKind};
use crate::time::Timestamp;

/// More rows than a shard's horizon can hold for one job, at ten fires a second; beyond it the watermark is not to be believed.
const MOST_RUNS: usize = 10_000;

/// The shard as the editor read it.
#[derive(Debug, Clone, Copy)]
pub struct SeenShard {
    /// Which shard.
    pub id: ShardId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Every fire up to and including this instant has its row, and must have it after the edit too.
    pub planned_until: Timestamp,
}

/// An edit's effect on the run table.
#[derive(Debug, Clone, PartialEq)]
pub struct EditPlan {
    /// The rows of the new version, in fire order, after those of the old one that nobody had planned by then. They name no
    /// worker: the shard's owner assigns one by a move.
    pub runs: Vec<Run>,
    /// The reason of the old version's planned rows that are not among `runs`.
    pub cancel_reason: Reason,
}

/// Plans an edit at `at`, from `old` (none: the job is new) to `new` (none: it is deleted). `planned` are the old version's planned scheduled
/// rows later than `at`; only those of a fixed delay matter, whose fire times no schedule gives.
///
/// The new version's fires are those strictly later than `at`, up to the watermark. A `once` whose instant lies behind when it is written is
/// a misfire: it runs now or is skipped, as its policy says.
///
/// # Errors
/// When the new job's schedule does not compile, which validation has excluded.
pub fn edit_plan(
    old: Option<&Job>,
    new: Option<&Job>,
    shard: SeenShard,
    planned: &[Run],
    at: Timestamp,
) -> Result<EditPlan, ScheduleError> {
    let cancel_reason = cancel_reason(old, new);
    let unplanned = unplanned_fires(old, shard, at, &cancel_reason)?;
    let Some(job) = new.filter(|job| job.spec.enabled) else {
        return Ok(EditPlan { runs: unplanned, cancel_reason });
    };
    let schedule = job.compile()?;
    let new_schedule = old.is_none_or(|old| old.spec.schedule != job.spec.schedule);
    let mut runs = unplanned;
    match job.spec.schedule.kind {
        ScheduleKind::Once { at: fire } if fire <= at && new_schedule => {
            runs.push(misfired(job, &schedule, shard, fire, at));
        }
        // The row that waits keeps its fire time; with another delay the owner counts anew from the edit.
        ScheduleKind::FixedDelay { .. } if !new_schedule => {
            let waiting =
                planned.iter().filter(|run| run.state == RunState::Planned && run.key.fire_time > at);
            runs.extend(waiting.map(|run| planned_run(job, &schedule, shard, run.key.fire_time)));
        }
        _ => {
            let fires = schedule.fires(at, shard.planned_until, MOST_RUNS);
            runs.extend(fires.into_iter().map(|fire| planned_run(job, &schedule, shard, fire)));
        }
    }
    Ok(EditPlan { runs, cancel_reason })
}

/// Where the planner lags behind the edit: the old version's fires up to it that nobody planned. They end here with the edit's reason, so
/// that each has its row.
fn unplanned_fires(
    old: Option<&Job>,
    shard: SeenShard,
    at: Timestamp,
    reason: &Reason,
) -> Result<Vec<Run>, ScheduleError> {
    let Some(job) = old.filter(|job| job.spec.enabled && shard.planned_until < at) else {
        return Ok(Vec::new());
    };
    let schedule = job.compile()?;
    let from = shard.planned_until.max(job.effective_from);
    let fires = schedule.fires(from, at, MOST_RUNS);
    let ended = |fire| Run {
        state: RunState::Cancelled,
        finished_at: Some(at),
        reason: Some(reason.clone()),
        ..planned_run(job, &schedule, shard, fire)
    };
    Ok(fires.into_iter().map(ended).collect())
}

fn cancel_reason(old: Option<&Job>, new: Option<&Job>) -> Reason {
    let was_enabled = old.is_some_and(|old| old.spec.enabled);
    match new {
        None => Reason::new(ReasonCode::Deleted, "the job was deleted"),
        Some(job) if was_enabled && !job.spec.enabled => {
            Reason::new(ReasonCode::Paused, format!("the job was paused by {}", job.updated_by))
        }
        Some(job) => Reason::new(
            ReasonCode::Edited,
            format!("the job was edited by {}: version {}", job.updated_by, job.version),
        ),
    }
}

/// A row for a scheduled fire of `job`.
fn planned_run(job: &Job, schedule: &CompiledSchedule, shard: SeenShard, fire: Timestamp) -> Run {
    let due_at = schedule.due(u64::from(job.id.get()), fire);
    Run {
        due_at,
        start_by: job.start_by(due_at, schedule.next_after(fire)),
        ..Run::planned(RunKey::scheduled(job.id, fire), shard.id, shard.epoch, job.version)
    }
}

/// The row of a `once` whose instant lay behind when it was written.
fn misfired(job: &Job, schedule: &CompiledSchedule, shard: SeenShard, fire: Timestamp, at: Timestamp) -> Run {
    let run = planned_run(job, schedule, shard, fire);
    let misfire = job.spec.misfire;
    let refusal = if misfire.policy == MisfirePolicy::Skip {
        Some("the misfire policy says skip")
    } else if at.since(fire) > misfire.window {
        Some("that is longer ago than the misfire window")
    } else {
        None
    };
    match refusal {
        None => Run { trigger: TriggerKind::Misfire, due_at: at, start_by: job.start_by(at, None), ..run },
        Some(why) => Run {
            state: RunState::Skipped,
            finished_at: Some(at),
            reason: Some(Reason::new(ReasonCode::Misfire, format!("due at {fire}, written at {at}: {why}"))),
            ..run
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::JobId;
    use crate::job::JobSpec;
    use crate::time::Span;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-20T{text}Z").parse().unwrap()
    }

    fn job(version: u32, change: serde_json::Value) -> Job {
        let mut spec = json!({"group": "101-1-2-6601", "name": "a", "handler": "a",
            "schedule": {"type": "cron", "expression": "0/10 * * * * ?"}});
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let spec: JobSpec = serde_json::from_value(spec).unwrap();
        Job {
            id: JobId::new(7),
            version: crate::ids::JobVersion::new(version),
            shard_index: 0,
            spec,
            effective_from: Timestamp::EPOCH,
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            updated_by: "ann".into(),
        }
    }

    fn shard() -> SeenShard {
        let id = ShardId::new("101-1-2-6601".parse().unwrap(), 0);
        SeenShard { id, epoch: Epoch::new(3), planned_until: at("09:00:40") }
    }

    fn plan(old: Option<&Job>, new: Option<&Job>, planned: &[Run]) -> EditPlan {
        edit_plan(old, new, shard(), planned, at("09:00:10")).unwrap()
    }

    fn fires(plan: &EditPlan) -> Vec<Timestamp> {
        plan.runs.iter().map(|run| run.key.fire_time).collect()
    }

    #[test]
    fn a_new_job_gets_every_fire_after_now_up_to_the_watermark() {
        let plan = plan(None, Some(&job(1, json!({}))), &[]);
        assert_eq!(fires(&plan), [at("09:00:20"), at("09:00:30"), at("09:00:40")]);
        let run = &plan.runs[0];
        assert_eq!((run.worker, run.state, run.job_version.get()), (None, RunState::Planned, 1));
        assert_eq!(run.start_by, at("09:00:25"), "half the period");
    }

    #[test]
    fn nothing_is_planned_beyond_the_watermark_or_for_a_paused_or_deleted_job() {
        let old = job(1, json!({}));
        let behind = SeenShard { planned_until: at("09:00:05"), ..shard() };
        assert!(edit_plan(None, Some(&old), behind, &[], at("09:00:10")).unwrap().runs.is_empty());
        let paused = plan(Some(&old), Some(&job(2, json!({"enabled": false}))), &[]);
        assert_eq!((paused.runs.len(), paused.cancel_reason.code), (0, ReasonCode::Paused));
        let deleted = plan(Some(&old), None, &[]);
        assert_eq!((deleted.runs.len(), deleted.cancel_reason.code), (0, ReasonCode::Deleted));
        let edited = plan(Some(&old), Some(&job(2, json!({"handler": "b"}))), &[]);
        assert_eq!((edited.runs.len(), edited.cancel_reason.code), (3, ReasonCode::Edited));
    }

    #[test]
    fn the_row_of_a_fixed_delay_stays_only_while_its_delay_stays() {
        let delay = |text: &str| json!({"schedule": {"type": "fixed_delay", "delay": text}});
        let old = job(1, delay("1m"));
        let compiled = old.compile().unwrap();
        let waiting = planned_run(&old, &compiled, shard(), at("09:00:55"));
        let kept = plan(Some(&old), Some(&job(2, delay("1m"))), std::slice::from_ref(&waiting));
        assert_eq!(fires(&kept), [at("09:00:55")]);
        assert_eq!(kept.runs[0].job_version.get(), 2);
        assert!(plan(Some(&old), Some(&job(2, delay("2m"))), &[waiting]).runs.is_empty());
    }

    #[test]
    fn a_once_that_lies_behind_runs_now_or_is_skipped_by_its_policy() {
        let once = |policy: &str, time: &str| json!({"schedule": {"type": "once", "at": at(time)}, "misfire": {"policy": policy}});
        let run = |new: &Job| plan(None, Some(new), &[]).runs.remove(0);
        let now = run(&job(1, once("fire_once", "09:00:00")));
        assert_eq!(
            (now.state, now.trigger, now.due_at),
            (RunState::Planned, TriggerKind::Misfire, at("09:00:10"))
        );
        assert_eq!(now.start_by, at("09:00:10") + Span::from_secs(60));
        assert_eq!(run(&job(1, once("skip", "09:00:00"))).state, RunState::Skipped);
        let long_ago = run(&job(1, once("fire_once", "07:00:00")));
        assert_eq!((long_ago.state, long_ago.reason.unwrap().code), (RunState::Skipped, ReasonCode::Misfire));
        let old = job(1, once("fire_once", "09:00:00"));
        assert!(
            plan(Some(&old), Some(&job(2, once("fire_once", "09:00:00"))), &[]).runs.is_empty(),
            "it has its row"
        );
    }
}
