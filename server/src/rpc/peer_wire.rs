//! Between a shard's plan and the wire between servers. What a peer says is checked here as what a worker says is.

use bytes::Bytes;
use carillon_core::engine::{JobInForce, PlanNews};
use carillon_core::ids::{Epoch, Incarnation, JobId, JobVersion, JobsVersion, PlanNo, RunKey, ShardId};
use carillon_core::job::{Job, MAX_PARAMS_BYTES};
use carillon_core::run::{Run, RunState, TriggerKind};
use carillon_proto::v1;
use std::sync::Arc;

use super::convert::{self, BadField, run_ref};

/// Runs in one message: some 200 KiB, far below what a message may have.
const RUNS_A_MESSAGE: usize = 2_000;

/// Bytes of jobs and params in one message; a single job with the largest params has a tenth of it.
const BYTES_A_MESSAGE: usize = 1024 * 1024;

/// Longest spec of a job as JSON: the largest params and room for the rest.
const MAX_SPEC_BYTES: usize = MAX_PARAMS_BYTES + 64 * 1024;

type Checked<T> = Result<T, BadField>;

/// News of a plan, in messages of bounded size: what is full says so in the first, and the jobs come before the runs that need them.
pub(crate) fn plan_news(shard: ShardId, news: &PlanNews) -> Vec<v1::PlanNews> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    let mut message = v1::PlanNews {
        shard: shard.to_string(),
        epoch: news.epoch.get(),
        full: news.full,
        jobs_version: news.jobs_version.get(),
        taken_back: news.taken_back.iter().map(|job| job.get()).collect(),
        gone_jobs: news.gone_jobs.iter().map(|job| job.get()).collect(),
        closed: news.closed.iter().copied().map(run_ref).collect(),
        ..v1::PlanNews::default()
    };
    let next = |message: &v1::PlanNews| v1::PlanNews {
        shard: message.shard.clone(),
        epoch: message.epoch,
        jobs_version: message.jobs_version,
        ..v1::PlanNews::default()
    };
    for job in &news.jobs {
        let job = planned_job(&job.job);
        if bytes + job.spec.len() > BYTES_A_MESSAGE && bytes > 0 {
            let following = next(&message);
            messages.push(std::mem::replace(&mut message, following));
            bytes = 0;
        }
        bytes += job.spec.len();
        message.jobs.push(job);
    }
    for run in &news.opened {
        let run = planned_run(run);
        if message.opened.len() >= RUNS_A_MESSAGE || (bytes + run.params.len() > BYTES_A_MESSAGE && bytes > 0)
        {
            let following = next(&message);
            messages.push(std::mem::replace(&mut message, following));
            bytes = 0;
        }
        bytes += run.params.len();
        message.opened.push(run);
    }
    messages.push(message);
    messages
}

fn planned_job(job: &Job) -> v1::PlannedJob {
    // A spec is plain data with text keys, so this cannot fail; an empty one would be refused by the reader.
    let spec = serde_json::to_vec(&job.spec).unwrap_or_default();
    v1::PlannedJob {
        id: job.id.get(),
        version: job.version.get(),
        spec: spec.into(),
        effective_from_ms: job.effective_from.as_millis(),
    }
}

fn planned_run(run: &Run) -> v1::PlannedRun {
    v1::PlannedRun {
        run: Some(run_ref(run.key)),
        epoch: run.epoch.get(),
        job_version: run.job_version.get(),
        trigger: u32::from(run.trigger.code()),
        worker: run.worker.map_or(0, Incarnation::get),
        plan_no: run.plan_no.get(),
        attempt: run.attempt.get(),
        running: run.state == RunState::Running,
        due_ms: run.due_at.as_millis(),
        start_by_ms: run.start_by.as_millis(),
        params: run.params.as_ref().map(|params| Bytes::from(params.to_string())).unwrap_or_default(),
        trace_id: run
            .trace
            .map(|trace| Bytes::copy_from_slice(&trace.get().to_be_bytes()))
            .unwrap_or_default(),
    }
}

/// Checks news of a plan.
pub(crate) fn read_plan_news(news: v1::PlanNews) -> Checked<(ShardId, PlanNews)> {
    let shard = convert::shard_id("plan_news.shard", &news.shard)?;
    let jobs = news.jobs.into_iter().map(|job| read_job(shard, job)).collect::<Checked<Vec<_>>>()?;
    let opened = news.opened.into_iter().map(|run| read_run(shard, run)).collect::<Checked<Vec<_>>>()?;
    let closed = news.closed.into_iter().map(|run| convert::run_key("plan_news.closed", Some(run)));
    let news = PlanNews {
        epoch: Epoch::new(news.epoch),
        jobs_version: JobsVersion::new(news.jobs_version),
        full: news.full,
        // A job whose schedule this version cannot read is the owner's alone.
        jobs: jobs.into_iter().flatten().collect(),
        taken_back: news.taken_back.into_iter().map(JobId::new).collect(),
        gone_jobs: news.gone_jobs.into_iter().map(JobId::new).collect(),
        opened,
        closed: closed.collect::<Checked<Vec<RunKey>>>()?,
    };
    Ok((shard, news))
}

fn read_job(shard: ShardId, job: v1::PlannedJob) -> Checked<Option<Arc<JobInForce>>> {
    if job.id == 0 {
        return Err(BadField::new("plan_news.jobs.id", "0 is no job; job ids begin at 1"));
    }
    if job.spec.len() > MAX_SPEC_BYTES {
        let problem = format!("{} bytes; at most {MAX_SPEC_BYTES} are taken", job.spec.len());
        return Err(BadField::new("plan_news.jobs.spec", problem));
    }
    let spec = serde_json::from_slice(&job.spec)
        .map_err(|error| BadField::new("plan_news.jobs.spec", format!("not a job's spec: {error}")))?;
    let at = convert::timestamp("plan_news.jobs.effective_from_ms", job.effective_from_ms)?;
    let job = Job {
        id: JobId::new(job.id),
        version: JobVersion::new(job.version),
        shard_index: shard.index(),
        spec,
        effective_from: at,
        // Who made it when is nothing that arming goes by.
        created_at: at,
        updated_at: at,
        updated_by: String::new(),
    };
    Ok(JobInForce::compile(job).ok().map(Arc::new))
}

fn read_run(shard: ShardId, run: v1::PlannedRun) -> Checked<Run> {
    let trigger = u8::try_from(run.trigger).ok().and_then(TriggerKind::from_code).ok_or_else(|| {
        BadField::new("plan_news.opened.trigger", format!("{} is no kind of trigger", run.trigger))
    })?;
    Ok(Run {
        trigger,
        worker: (run.worker != 0).then(|| Incarnation::new(run.worker)),
        plan_no: PlanNo::new(run.plan_no),
        attempt: convert::attempt("plan_news.opened.attempt", run.attempt)?,
        state: if run.running { RunState::Running } else { RunState::Planned },
        due_at: convert::timestamp("plan_news.opened.due_ms", run.due_ms)?,
        start_by: convert::timestamp("plan_news.opened.start_by_ms", run.start_by_ms)?,
        params: convert::json("plan_news.opened.params", &run.params, MAX_PARAMS_BYTES)?,
        trace: convert::trace_id("plan_news.opened.trace_id", &run.trace_id)?,
        ..Run::planned(
            convert::run_key("plan_news.opened.run", run.run)?,
            shard,
            Epoch::new(run.epoch),
            JobVersion::new(run.job_version),
        )
    })
}

#[cfg(test)]
mod tests {
    use carillon_core::ids::{AttemptNo, GroupId};
    use carillon_core::job::JobSpec;
    use carillon_core::time::Timestamp;
    use serde_json::json;

    use super::*;

    fn shard() -> ShardId {
        ShardId::new(GroupId::new(101, 1, 2, 6601).unwrap(), 3)
    }

    fn job(id: u32, params: &str) -> Arc<JobInForce> {
        let spec = json!({ "group": "101-1-2-6601", "name": format!("job-{id}"), "handler": "h",
            "schedule": {"type": "cron", "expression": "* * * * * ?"}, "params": params });
        let spec: JobSpec = serde_json::from_value(spec).unwrap();
        let at = Timestamp::from_millis(5_000);
        let (id, version) = (JobId::new(id), JobVersion::new(4));
        let job = Job {
            id,
            version,
            shard_index: 3,
            spec,
            effective_from: at,
            created_at: at,
            updated_at: at,
            updated_by: String::new(),
        };
        Arc::new(JobInForce::compile(job).unwrap())
    }

    fn run(fire_time: i64) -> Run {
        let at = Timestamp::from_millis(fire_time);
        Run {
            trigger: TriggerKind::Misfire,
            worker: Some(Incarnation::new(9)),
            plan_no: PlanNo::new(2),
            attempt: AttemptNo::new(3),
            due_at: at,
            start_by: Timestamp::from_millis(fire_time + 500),
            params: Some(json!({"a": 1})),
            ..Run::planned(
                RunKey { fire_time: at, job: JobId::new(1), ordinal: 0 },
                shard(),
                Epoch::new(7),
                JobVersion::new(4),
            )
        }
    }

    #[test]
    fn a_plan_arrives_as_it_was_told() {
        let mut running = run(2_000);
        (running.state, running.worker, running.params) = (RunState::Running, None, None);
        let told = PlanNews {
            epoch: Epoch::new(7),
            jobs_version: JobsVersion::new(11),
            full: true,
            jobs: vec![job(1, "x")],
            taken_back: vec![JobId::new(9)],
            gone_jobs: vec![JobId::new(8)],
            opened: vec![run(1_000), running],
            closed: vec![run(500).key],
        };
        let mut messages = plan_news(shard(), &told);
        let (of, read) = read_plan_news(messages.remove(0)).unwrap();
        assert!(messages.is_empty());
        assert_eq!(
            (of, read.epoch, read.jobs_version, read.full),
            (shard(), told.epoch, told.jobs_version, true)
        );
        assert_eq!((read.taken_back, read.gone_jobs), (told.taken_back, told.gone_jobs));
        assert_eq!((read.opened, read.closed), (told.opened, told.closed));
        let (one, two) = (&read.jobs[0], &told.jobs[0]);
        assert_eq!(
            (&one.job.spec, one.job.id, one.job.version),
            (&two.job.spec, two.job.id, two.job.version)
        );
    }

    #[test]
    fn a_large_plan_comes_in_parts_jobs_first() {
        let large = "x".repeat(60_000);
        let told = PlanNews {
            epoch: Epoch::new(7),
            jobs_version: JobsVersion::new(11),
            full: true,
            jobs: (1..=40).map(|id| job(id, &large)).collect(),
            taken_back: Vec::new(),
            gone_jobs: Vec::new(),
            opened: (0..5_000).map(|at| Run { params: None, ..run(at) }).collect(),
            closed: Vec::new(),
        };
        let messages = plan_news(shard(), &told);
        assert!(messages.len() > 4, "{}", messages.len());
        assert_eq!(messages.iter().filter(|message| message.full).count(), 1);
        assert!(messages[0].full);
        let (mut jobs, mut runs) = (0, 0);
        for message in messages {
            let (_, part) = read_plan_news(message).unwrap();
            assert!(part.jobs.is_empty() || runs == 0, "jobs come before runs");
            jobs += part.jobs.len();
            runs += part.opened.len();
        }
        assert_eq!((jobs, runs), (40, 5_000));
    }
}
