//! The edit protocol: what is planned changes with the job, and the answer tells what may start all the same.

use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use carillon_core::change::Slice;
use carillon_core::ids::{GroupId, JobVersion, RunKey, ShardId};
use carillon_core::run::{ReasonCode, Run, RunState};
use carillon_core::time::{Span, Timestamp};
use carillon_store::runs::RunFilter;
use serde_json::{Value, json};

use crate::support::server::owned_by;
use crate::support::world::id_of;
use crate::support::{FakeServer, World};

/// A job every ten seconds whose next three fires are planned.
struct Planned {
    world: World,
    group: GroupId,
    servers: Vec<FakeServer>,
}

impl Planned {
    async fn new() -> Self {
        let world = World::new().await;
        let servers = vec![world.server("server-1").await, world.server("server-2").await];
        let group = world.group(&servers.iter().collect::<Vec<_>>()).await;
        world.job(group, "a", json!({"schedule": {"type": "fixed_rate", "every": "10s"}})).await;
        let planned = Self { world, group, servers };
        planned.plan(Span::from_secs(30)).await;
        for server in &planned.servers {
            server.script.lock().edits.clear();
        }
        planned
    }

    fn shard(&self) -> ShardId {
        ShardId::new(self.group, 0)
    }

    /// Plans as the owner does: the watermark with every fire up to it, in one transaction.
    async fn plan(&self, ahead: Span) {
        let plan = self.world.store.load_plan(self.shard(), None, 0).await.unwrap().unwrap();
        let (row, jobs) = (plan.shard, plan.jobs);
        let to = self.world.now() + ahead;
        let mut runs = Vec::new();
        for job in &jobs {
            for fire in job.compile().unwrap().fires(row.planned_until.max(job.effective_from), to, 1_000) {
                runs.push(run_of(job.id, job.version, self.shard(), row.epoch, fire));
            }
        }
        let slice = Slice {
            shard: row.id,
            epoch: row.epoch,
            jobs_version: row.jobs_version,
            from: row.planned_until,
            to,
            runs,
        };
        let outcome = self.world.store.commit_slices(&[slice]).await.unwrap();
        assert_eq!(outcome, [carillon_store::runs::SliceOutcome::Committed]);
    }

    async fn rows(&self) -> Vec<Run> {
        let mut rows = self.world.store.list_runs(&RunFilter::default(), None, 100).await.unwrap();
        rows.sort_by_key(|run| run.key);
        rows
    }

    async fn patch(&self, change: Value) -> Value {
        self.world
            .ask(Method::PATCH, "/jobs/1")
            .if_match("*")
            .json(change)
            .send()
            .await
            .must(StatusCode::OK)
            .json()
    }

    fn key(&self, second: u64) -> RunKey {
        RunKey::scheduled(carillon_core::ids::JobId::new(1), self.world.now() + Span::from_secs(second))
    }
}

fn run_of(
    job: carillon_core::ids::JobId,
    version: JobVersion,
    shard: ShardId,
    epoch: carillon_core::ids::Epoch,
    fire: Timestamp,
) -> Run {
    Run {
        worker: Some(carillon_core::ids::Incarnation::new(7)),
        due_at: fire,
        start_by: fire + Span::from_secs(5),
        ..Run::planned(RunKey::scheduled(job, fire), shard, epoch, version)
    }
}

#[tokio::test]
async fn an_edit_replans_the_rows_that_stay_and_tells_every_holder() {
    let planned = Planned::new().await;
    let answer = planned.patch(json!({"handler": "b"})).await;
    assert_eq!(answer["may_still_start"], json!([]));
    let rows = planned.rows().await;
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert_eq!(
            (row.state, row.job_version.get(), row.plan_no.get()),
            (RunState::Planned, 2, 1),
            "{}",
            row.key
        );
        assert!(row.worker.is_some(), "it keeps its worker");
    }
    for server in &planned.servers {
        let edits = server.script.lock().edits.clone();
        let [edit] = edits.as_slice() else { panic!("told once, not {}", edits.len()) };
        assert_eq!(
            (edit.shard.as_str(), edit.job, edit.touched.len()),
            (planned.shard().to_string().as_str(), 1, 3)
        );
        let row = planned.world.store.shard(planned.shard()).await.unwrap().unwrap();
        assert_eq!(edit.jobs_version, row.jobs_version.get());
    }
}

#[tokio::test]
async fn an_edit_of_the_schedule_cancels_old_fires_and_inserts_new_ones_up_to_the_watermark() {
    let planned = Planned::new().await;
    planned.patch(json!({"schedule": {"type": "fixed_rate", "every": "15s"}})).await;
    let rows = planned.rows().await;
    let states: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.key.fire_time.since(planned.world.now()).as_millis() / 1000,
                row.state,
                row.reason.as_ref().map(|reason| reason.code),
            )
        })
        .collect();
    let edited = Some(ReasonCode::Edited);
    assert_eq!(
        states,
        [
            (10, RunState::Cancelled, edited),
            (15, RunState::Planned, None),
            (20, RunState::Cancelled, edited),
            (30, RunState::Planned, None),
        ]
    );
    assert_eq!(rows[1].worker, None, "the owner assigns the worker of a new row");
}

#[tokio::test]
async fn pausing_and_deleting_cancel_what_is_planned_with_their_reason() {
    let planned = Planned::new().await;
    planned.world.post("/jobs/1/pause").send().await.must(StatusCode::OK);
    for row in planned.rows().await {
        assert_eq!((row.state, row.reason.unwrap().code), (RunState::Cancelled, ReasonCode::Paused));
    }
    let planned = Planned::new().await;
    let deleted =
        planned.world.ask(Method::DELETE, "/jobs/1").if_match("\"1\"").send().await.must(StatusCode::OK);
    assert_eq!(deleted.json(), json!({"id": 1, "may_still_start": []}));
    for row in planned.rows().await {
        assert_eq!((row.state, row.reason.unwrap().code), (RunState::Cancelled, ReasonCode::Deleted));
    }
    planned.world.get("/jobs/1").send().await.must(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_job_resumed_within_the_horizon_has_its_fires_back_under_a_later_plan() {
    let planned = Planned::new().await;
    planned.world.post("/jobs/1/pause").send().await.must(StatusCode::OK);
    for server in &planned.servers {
        server.script.lock().edits.clear();
    }
    planned.world.post("/jobs/1/resume").send().await.must(StatusCode::OK);
    let rows = planned.rows().await;
    assert_eq!(rows.len(), 3);
    for row in rows {
        let is = (row.state, row.job_version.get(), row.plan_no.get(), row.reason, row.finished_at);
        assert_eq!(is, (RunState::Planned, 3, 1, None, None), "{}", row.key);
        assert!(row.worker.is_some(), "only its worker can prove that the old plan never starts");
    }
    assert_eq!(
        planned.servers[0].script.lock().edits[0].touched.len(),
        3,
        "the workers are told of the new plan"
    );
}

#[tokio::test]
async fn the_answer_waits_for_the_owner_and_names_what_it_could_not_withdraw() {
    let planned = Planned::new().await;
    {
        let mut owner = planned.servers[0].script.lock();
        owner.edit_delay = Duration::from_millis(300);
        owner.may_start = vec![planned.key(10)];
    }
    let began = Instant::now();
    let answer = planned.patch(json!({"handler": "b"})).await;
    assert!(began.elapsed() >= Duration::from_millis(300), "it answered before the owner did");
    assert_eq!(
        answer["may_still_start"],
        json!([{"run_id": planned.key(10), "fire_time": planned.key(10).fire_time}])
    );
}

#[tokio::test]
async fn an_owner_that_acknowledges_too_late_leaves_all_touched_fires_within_the_horizon_open() {
    let planned = Planned::new().await;
    planned.servers[0].script.lock().edit_delay = Duration::from_secs(30);
    let began = Instant::now();
    let answer = planned.patch(json!({"handler": "b"})).await;
    assert!(began.elapsed() < Duration::from_secs(5), "the answer has a deadline");
    let named: Vec<_> =
        answer["may_still_start"].as_array().unwrap().iter().map(|run| run["run_id"].clone()).collect();
    assert_eq!(named, [json!(planned.key(10)), json!(planned.key(20)), json!(planned.key(30))]);
}

#[tokio::test]
async fn a_holder_that_cannot_be_reached_may_still_arm_what_it_has() {
    let mut planned = Planned::new().await;
    planned.servers[1].move_to_nowhere().await;
    let answer = planned.patch(json!({"handler": "b"})).await;
    assert_eq!(answer["may_still_start"].as_array().unwrap().len(), 3);
    drop(planned.servers.remove(1));
    let answer = planned.patch(json!({"handler": "c"})).await;
    assert_eq!(
        answer["may_still_start"].as_array().unwrap().len(),
        3,
        "a holder that left the cluster may live on"
    );
}

#[tokio::test]
async fn a_holder_that_the_coordinator_has_lost_is_told_all_the_same() {
    let mut planned = Planned::new().await;
    planned.patch(json!({"handler": "b"})).await;
    let lost = planned.servers.remove(1);
    let script = lost.script.clone();
    drop(lost);
    let before = script.lock().edits.len();
    let answer = planned.patch(json!({"handler": "c"})).await;
    assert_eq!((script.lock().edits.len(), &answer["may_still_start"]), (before + 1, &json!([])));
}

#[tokio::test]
async fn a_standby_that_arms_nothing_keeps_nothing_open() {
    let planned = Planned::new().await;
    let owner = planned.servers[0].id();
    planned.servers[1].script.lock().refuse_edits = Some(owned_by(&owner));
    let answer = planned.patch(json!({"handler": "b"})).await;
    assert_eq!(answer["may_still_start"], json!([]));
    // Who names another owner knows something that the console does not.
    planned.servers[1].script.lock().refuse_edits = Some(owned_by(&"server-9".parse().unwrap()));
    let answer = planned.patch(json!({"handler": "c"})).await;
    assert_eq!(answer["may_still_start"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_edit_that_meets_the_planner_is_computed_again() {
    let planned = Planned::new().await;
    // Planning and editing at the same time, over and over: each edit must leave exactly the fires of its version up to the watermark.
    for round in 0..10u64 {
        planned.world.advance(Span::from_secs(1));
        let every = format!("{}s", 2 + round % 3);
        let edit = planned.patch(json!({"schedule": {"type": "fixed_rate", "every": every}}));
        let plan = async {
            let plan = planned.world.store.load_plan(planned.shard(), None, 0).await.unwrap().unwrap();
            let (row, jobs) = (plan.shard, plan.jobs);
            let to = row.planned_until + Span::from_secs(3);
            let job = &jobs[0];
            let fires = job.compile().unwrap().fires(row.planned_until.max(job.effective_from), to, 1_000);
            let runs =
                fires.into_iter().map(|fire| run_of(job.id, job.version, row.id, row.epoch, fire)).collect();
            let slice = Slice {
                shard: row.id,
                epoch: row.epoch,
                jobs_version: row.jobs_version,
                from: row.planned_until,
                to,
                runs,
            };
            planned.world.store.commit_slices(&[slice]).await.unwrap();
        };
        tokio::join!(edit, plan);
        let plan = planned.world.store.load_plan(planned.shard(), None, 0).await.unwrap().unwrap();
        let (row, jobs) = (plan.shard, plan.jobs);
        let wanted = jobs[0].compile().unwrap().fires(jobs[0].effective_from, row.planned_until, 1_000);
        let open = |run: &Run| run.state == RunState::Planned && run.key.fire_time > jobs[0].effective_from;
        let rows: Vec<_> = planned.rows().await.into_iter().filter(open).collect();
        assert_eq!(rows.iter().map(|run| run.key.fire_time).collect::<Vec<_>>(), wanted, "round {round}");
        assert!(rows.iter().all(|run| run.job_version == jobs[0].version), "round {round}");
    }
}

#[tokio::test]
async fn a_job_created_behind_the_watermark_gets_the_fires_that_were_planned_over() {
    let planned = Planned::new().await;
    let job = planned
        .world
        .job(planned.group, "late", json!({"schedule": {"type": "fixed_rate", "every": "7s"}}))
        .await;
    let rows = planned.rows().await;
    let of_job: Vec<_> = rows.iter().filter(|row| row.key.job == id_of(&job)).collect();
    let wanted = planned.world.store.job(id_of(&job)).await.unwrap().unwrap().compile().unwrap().fires(
        planned.world.now(),
        planned.world.now() + Span::from_secs(30),
        100,
    );
    assert_eq!(of_job.iter().map(|row| row.key.fire_time).collect::<Vec<_>>(), wanted);
    assert!(!of_job.is_empty() && of_job.iter().all(|row| row.worker.is_none()));
}

/// They change one shard, and each has to see it as it is.
#[tokio::test]
async fn many_jobs_that_are_created_at_once_are_all_created() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    let created = (0..200).map(|number| {
        let body = json!({
            "group": group, "name": format!("job {number}"), "handler": "h", "schedule": {"type": "api"},
        });
        world.post("/jobs").json(body).send()
    });
    for answer in futures::future::join_all(created).await {
        answer.must(StatusCode::CREATED);
    }
}
