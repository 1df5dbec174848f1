//! Runs: triggered, listed, looked at, followed, cancelled, retried; dead letters; subtasks.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use carillon_core::ids::{AttemptNo, Epoch, GroupId, JobId, JobVersion, PlanNo, RunKey, ShardId};
use carillon_core::parallel::{MapChunk, MapHeader, MapPhase};
use carillon_core::run::{Reason, ReasonCode, Run, RunState, TriggerKind};
use carillon_core::time::{Span, Timestamp};
use carillon_proto::v1;
use carillon_store::logs::LogChunk;
use carillon_store::subtasks::{MapCheckpoint, SubtaskBatch, SubtaskFailure, SubtaskPayload};
use serde_json::{Value, json};

use crate::support::server::owned_by;
use crate::support::world::id_of;
use crate::support::{FakeServer, World, eventually};

/// A scheduled run of a job, `after` the world's start, already in `state`.
pub(crate) async fn insert(
    world: &World,
    job: JobId,
    group: GroupId,
    after: Span,
    state: RunState,
) -> RunKey {
    let fire = world.now() + after;
    let started =
        matches!(state, RunState::Running | RunState::Succeeded | RunState::Failed | RunState::Dead);
    let reason = match state {
        RunState::Missed => Some(Reason::new(ReasonCode::NoWorker, "nobody was there")),
        RunState::Dead => Some(Reason::new(ReasonCode::HandlerFailed, "it did not work")),
        _ => None,
    };
    let shard = ShardId::new(group, 0);
    let row = world.store.shard(shard).await.unwrap().expect("the group's shard");
    let run = Run {
        key: RunKey::scheduled(job, fire),
        shard,
        epoch: row.epoch,
        job_version: JobVersion::new(1),
        trigger: TriggerKind::Schedule,
        worker: None,
        plan_no: PlanNo::default(),
        attempt: AttemptNo::FIRST,
        state,
        due_at: fire,
        start_by: fire + Span::from_secs(5),
        started_at: started.then_some(fire + Span::from_millis(2)),
        finished_at: (state.is_final()).then_some(fire + Span::from_secs(1)),
        reason,
        result: (state == RunState::Succeeded).then(|| json!({"rows": 7})),
        params: None,
        trace: None,
    };
    let new = world.store.insert_runs(std::slice::from_ref(&run)).await.unwrap();
    assert_eq!(new, [carillon_store::runs::Insertion::New]);
    run.key
}

async fn world_with_job() -> (World, FakeServer, GroupId, JobId) {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    let job = world.job(group, "a", json!({"params": {"day": "today"}})).await;
    (world, server, group, id_of(&job))
}

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_trigger_makes_a_run_and_its_key_makes_it_once() {
    let (world, server, _, _) = world_with_job().await;
    let ask = |key: &'static str| {
        world
            .post("/jobs/1/runs")
            .header("idempotency-key", key)
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .json(json!({"params": {"day": "tomorrow"}}))
            .send()
    };
    let first = ask("k1").await.must(StatusCode::ACCEPTED);
    let run = first.text("run_id");
    assert_eq!(
        (&first.json()["created"], first.header("location")),
        (&json!(true), format!("/api/v1/runs/{run}"))
    );
    let (again, at_once) = tokio::join!(ask("k1"), ask("k1"));
    for answer in [again, at_once] {
        let answer = answer.must(StatusCode::ACCEPTED);
        assert_eq!((answer.text("run_id"), &answer.json()["created"]), (run.clone(), &json!(false)));
    }
    assert_ne!(ask("k2").await.text("run_id"), run);

    let read = world.get(&format!("/runs/{run}")).send().await.must(StatusCode::OK).json();
    assert_eq!(
        (read["state"].as_str(), read["trigger"].as_str(), &read["own_params"]),
        (Some("planned"), Some("api"), &json!(true))
    );
    assert_eq!((&read["params"], read["job_name"].as_str()), (&json!({"day": "tomorrow"}), Some("a")));
    assert_eq!(read["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let asked = server.script.lock().triggers[0].clone();
    assert_eq!((asked.requested_by.as_str(), asked.idempotency_key.as_str()), ("admin (token test)", "k1"));
}

#[tokio::test]
async fn a_trigger_without_body_or_key_takes_the_jobs_params_and_a_key_of_its_own() {
    let (world, server, _, _) = world_with_job().await;
    let one = world.post("/jobs/1/runs").send().await.must(StatusCode::ACCEPTED);
    let other = world.post("/jobs/1/runs").json(json!({})).send().await.must(StatusCode::ACCEPTED);
    assert_ne!(one.text("run_id"), other.text("run_id"));
    assert!(server.script.lock().triggers.iter().all(|trigger| trigger.params.is_none()));
    let null =
        world.post("/jobs/1/runs").json(json!({"params": null})).send().await.must(StatusCode::ACCEPTED);
    let read = world.get(&format!("/runs/{}", null.text("run_id"))).send().await.json();
    assert_eq!(
        (&read["params"], &read["own_params"]),
        (&json!(null), &json!(true)),
        "null is a value like any other"
    );
    let key = "x".repeat(129);
    assert_eq!(
        world.post("/jobs/1/runs").header("idempotency-key", &key).send().await.fields(),
        ["Idempotency-Key"]
    );
}

#[tokio::test]
async fn a_trigger_goes_to_another_server_when_the_owner_does_not_answer() {
    let world = World::new().await;
    let mut owner = world.server("server-1").await;
    let standby = world.server("server-2").await;
    let group = world.group(&[&owner, &standby]).await;
    world.job(group, "a", json!({})).await;
    world.post("/jobs/1/runs").send().await.must(StatusCode::ACCEPTED);
    assert_eq!(
        (owner.script.lock().triggers.len(), standby.script.lock().triggers.len()),
        (1, 0),
        "the owner is the quickest"
    );
    owner.move_to_nowhere().await;
    world.post("/jobs/1/runs").send().await.must(StatusCode::ACCEPTED);
    assert_eq!(standby.script.lock().triggers.len(), 1);
    standby.script.lock().refuse = Some(tonic::Status::failed_precondition("the job is too new"));
    let refused = world.post("/jobs/1/runs").send().await.must(StatusCode::CONFLICT);
    assert_eq!(
        (refused.code().as_str(), refused.text("detail").as_str()),
        ("not_possible_now", "the job is too new")
    );
}

#[tokio::test]
async fn a_trigger_waits_while_the_shard_changes_hands() {
    let world = World::new().await;
    let old = world.server("server-1").await;
    let heir = world.server("server-2").await;
    let group = world.group(&[&old, &heir]).await;
    world.job(group, "a", json!({})).await;
    // The row still names the old owner, who has let the shard go; the heir does not have it yet.
    old.script.lock().refuse = Some(owned_by(&heir.id()));
    heir.script.lock().refuse = Some(owned_by(&old.id()));
    let asking = world.post("/jobs/1/runs").send();
    let taking = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        heir.script.lock().refuse = None;
    };
    let (answer, ()) = tokio::join!(asking, taking);
    answer.must(StatusCode::ACCEPTED);
    let asked = heir.script.lock().triggers.clone();
    assert!(asked.len() > 1, "it was asked again");
    assert!(asked.iter().all(|trigger| trigger.idempotency_key == asked[0].idempotency_key), "by one key");
}

#[tokio::test]
async fn without_a_live_server_a_trigger_is_refused_for_now() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    world.job(group, "a", json!({})).await;
    let refused = world.post("/jobs/1/runs").send().await.must(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((refused.code().as_str(), refused.header("retry-after").as_str()), ("no_server", "2"));
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages_and_by_every_filter() {
    let (world, _server, group, job) = world_with_job().await;
    let mut keys = Vec::new();
    for (second, state) in
        [(1, RunState::Succeeded), (2, RunState::Dead), (3, RunState::Succeeded), (4, RunState::Running)]
    {
        keys.push(insert(&world, job, group, Span::from_secs(second), state).await.to_string());
    }
    keys.reverse();
    let first = world.get("/runs?limit=3").send().await.must(StatusCode::OK).json();
    assert_eq!((ids(&first), &first["total"]), (keys[..3].to_vec(), &json!(4)));
    let next = format!("/runs?limit=3&cursor={}", first["next_cursor"].as_str().unwrap());
    let last = world.get(&next).send().await.json();
    assert_eq!((ids(&last), last.get("next_cursor"), last.get("total")), (keys[3..].to_vec(), None, None));
    for (query, count) in [
        ("state=succeeded", 2),
        ("state=succeeded,dead", 3),
        ("state=dead&state=running", 2),
        ("job=1", 4),
        ("job=2", 0),
        ("from=2026-11-20T09:00:02Z&to=2026-11-20T09:00:04Z", 2),
        ("state=", 4),
    ] {
        let page = world.get(&format!("/runs?{query}")).send().await.must(StatusCode::OK).json();
        assert_eq!(ids(&page).len(), count, "{query}");
    }
    assert_eq!(world.get("/runs?state=succeded").send().await.fields(), ["state.0"]);
    assert_eq!(
        world.get("/runs?from=yesterday&limit=0&stat=x").send().await.fields(),
        ["from", "limit", "stat"]
    );
    let one = &world.get("/runs?state=succeeded&limit=1").send().await.json()["items"][0];
    assert_eq!(
        (one["lateness"].as_str(), one["duration"].as_str(), one["job_name"].as_str()),
        (Some("2ms"), Some("998ms"), Some("a"))
    );
}

#[tokio::test]
async fn a_run_shows_its_timeline_result_and_worker() {
    let (world, server, group, job) = world_with_job().await;
    let key = insert(&world, job, group, Span::from_secs(1), RunState::Succeeded).await;
    let run = world.get(&format!("/runs/{key}")).send().await.must(StatusCode::OK).json();
    assert_eq!((&run["result"], &run["params"]), (&json!({"rows": 7}), &json!({"day": "today"})));
    let events: Vec<_> =
        run["timeline"].as_array().unwrap().iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["due", "started", "ended"]);
    assert_eq!(
        (run["attempts"].as_array().unwrap().len(), &run["attempts"][0]["current"]),
        (1, &json!(true))
    );
    // Who armed it, as long as that server remembers.
    let at_ms = key.fire_time.as_millis() - 1_500;
    let armed = v1::Armed { attempt: 1, incarnation: 7, at_ms, taken_ms: at_ms + 2 };
    server.script.lock().arms.insert(key, vec![armed]);
    let run = world.get(&format!("/runs/{key}")).send().await.json();
    assert_eq!(
        run["timeline"][0],
        json!({"at": Timestamp::from_millis(at_ms).to_string(), "event": "armed", "attempt": 1, "detail": "server-1"})
    );
    assert_eq!(run["timeline"][1]["event"], "due");
    world.get("/runs/nonsense").send().await.must(StatusCode::NOT_FOUND);
    let unknown = RunKey::scheduled(job, world.now());
    world.get(&format!("/runs/{unknown}")).send().await.must(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_log_is_read_as_text_by_range_as_json_and_live() {
    let (world, _server, group, job) = world_with_job().await;
    let run = insert(&world, job, group, Span::from_secs(1), RunState::Running).await;
    let append = async |chunk_no: u32, offset: u64, text: &str| {
        let chunk = LogChunk { run, attempt: AttemptNo::FIRST, chunk_no, offset, text: text.to_owned() };
        world.store.append_logs(&[chunk]).await.unwrap();
    };
    append(0, 0, "one\n").await;
    append(1, 4, "two\n").await;
    let path = format!("/runs/{run}/log");
    let text = world.get(&path).send().await.must(StatusCode::OK);
    assert_eq!(
        (text.body.as_slice(), text.header("content-type").as_str()),
        (b"one\ntwo\n".as_slice(), "text/plain; charset=utf-8")
    );
    let part = world.get(&path).header("range", "bytes=4-5").send().await.must(StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        (part.body.as_slice(), part.header("content-range").as_str()),
        (b"tw".as_slice(), "bytes 4-5/8")
    );
    let behind =
        world.get(&path).header("range", "bytes=8-").send().await.must(StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(
        (behind.code().as_str(), behind.header("content-range").as_str()),
        ("no_such_range", "bytes */8")
    );
    let piece = world.get(&format!("{path}?format=json&from=4")).send().await.must(StatusCode::OK).json();
    assert_eq!(
        piece,
        json!({"attempt": 1, "offset": 4, "next_offset": 8, "total": 8, "complete": false, "text": "two\n"})
    );
    world.get(&format!("{path}?attempt=2")).send().await.must(StatusCode::NOT_FOUND);

    let followed = world.get(&format!("{path}?follow=true")).send();
    let write = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        append(2, 8, "three\n").await;
        let step = carillon_core::change::Step::Final {
            state: RunState::Succeeded,
            started_at: None,
            at: world.now(),
            reason: None,
            result: None,
            seen: None,
        };
        let advance =
            carillon_core::change::Advance { key: run, attempt: AttemptNo::FIRST, step, fence: None };
        assert_eq!(world.store.advance(&[advance]).await.unwrap(), [true]);
        // Lines take another way than the report of the end, and may be stored after it.
        let piece = world.get(&path).header("accept", "application/json").send().await.json();
        assert_eq!(piece["complete"], json!(false));
        append(3, 14, "four\n").await;
        world.advance(Span::from_secs(1));
    };
    let (followed, ()) = tokio::join!(followed, write);
    assert_eq!(followed.must(StatusCode::OK).body, b"one\ntwo\nthree\nfour\n");
    let piece = world.get(&path).header("accept", "application/json").send().await.json();
    assert_eq!(piece["complete"], json!(true));
}

#[tokio::test]
async fn runs_are_cancelled_and_retried_at_the_server_of_their_shard() {
    let (world, server, group, job) = world_with_job().await;
    let running = insert(&world, job, group, Span::from_secs(1), RunState::Running).await;
    let dead = insert(&world, job, group, Span::from_secs(2), RunState::Dead).await;
    let done = insert(&world, job, group, Span::from_secs(3), RunState::Succeeded).await;
    world.post(&format!("/runs/{running}/cancel")).send().await.must(StatusCode::OK);
    assert_eq!(server.script.lock().cancels[0].by, "admin (token test)");
    let over = world.post(&format!("/runs/{done}/cancel")).send().await.must(StatusCode::CONFLICT);
    assert_eq!(over.code(), "run_is_final");
    let retried =
        world.post(&format!("/runs/{dead}/retry")).json(json!({"failed_subtasks_only": true})).send().await;
    assert_eq!(retried.must(StatusCode::OK).json()["next_attempt"], 2);
    assert!(server.script.lock().retries[0].failed_subtasks_only);
    let no = world.post(&format!("/runs/{done}/retry")).send().await.must(StatusCode::CONFLICT);
    assert_eq!(no.code(), "no_dead_letter");
}

#[tokio::test]
async fn dead_letters_are_listed_retried_and_discarded_one_by_one_and_together() {
    let (world, server, group, job) = world_with_job().await;
    let mut dead = Vec::new();
    for second in 1..=4 {
        dead.push(insert(&world, job, group, Span::from_secs(second), RunState::Dead).await);
    }
    insert(&world, job, group, Span::from_secs(9), RunState::Succeeded).await;
    let listed = world.get("/dead-letters").send().await.must(StatusCode::OK).json();
    assert_eq!(
        (ids(&listed).len(), listed["items"][0]["reason"]["code"].as_str()),
        (4, Some("handler_failed"))
    );
    world.post(&format!("/dead-letters/{}/discard", dead[0])).send().await.must(StatusCode::OK);
    let run = world.get(&format!("/runs/{}", dead[0])).send().await.json();
    assert_eq!(
        (run["state"].as_str(), run["reason"]["code"].as_str()),
        (Some("cancelled"), Some("discarded"))
    );
    let again =
        world.post(&format!("/dead-letters/{}/discard", dead[0])).send().await.must(StatusCode::CONFLICT);
    assert_eq!(again.code(), "no_dead_letter");
    world.post(&format!("/dead-letters/{}/retry", dead[1])).send().await.must(StatusCode::OK);
    let filter = json!({"group": group, "job": 1, "from": "2026-11-20T09:00:03Z"});
    let retried =
        world.post("/dead-letters/retry").json(filter.clone()).send().await.must(StatusCode::OK).json();
    assert_eq!(retried, json!({"treated": 2, "refused": [], "more": false}));
    assert_eq!(server.script.lock().retries.len(), 3);
    let discarded = world.post("/dead-letters/discard").json(filter).send().await.must(StatusCode::OK).json();
    assert_eq!(discarded["treated"], 2);
    assert_eq!(ids(&world.get("/dead-letters").send().await.json()).len(), 1);
}

#[tokio::test]
async fn a_parallel_run_shows_progress_failures_and_finds_subtasks_by_key() {
    let (world, server, group, job) = world_with_job().await;
    let run = insert(&world, job, group, Span::from_secs(1), RunState::Running).await;
    let path = format!("/runs/{run}/subtasks");
    assert_eq!(world.get(&path).send().await.must(StatusCode::NOT_FOUND).code(), "no_subtasks");
    let attempt = AttemptNo::FIRST;
    let subtask = |number: u64| SubtaskPayload {
        key: format!("shop-{number}"),
        payload: number.to_string().into_bytes(),
    };
    let batch = SubtaskBatch { batch_no: 0, first_index: 0, subtasks: (0..20).map(subtask).collect() };
    world.store.store_batches(run, attempt, &[batch]).await.unwrap();
    let mut header = MapHeader { phase: MapPhase::Processing, ..MapHeader::default() };
    (header.emitted, header.done, header.failed) = (20, 2, 1);
    header.done_by_worker.insert("w1".into(), 2);
    let failure = SubtaskFailure {
        index: 3,
        attempt: 2,
        at: world.now(),
        worker: "w2".into(),
        error: "no such shop".into(),
        last: true,
    };
    let checkpoint = MapCheckpoint {
        run,
        attempt,
        epoch: Epoch::new(1),
        data_attempt: attempt,
        header,
        chunks: vec![MapChunk { number: 0, done: vec![0b11], failed: vec![0b1000] }],
        outputs: Vec::new(),
        failures: vec![failure],
    };
    world.store.checkpoint(&checkpoint).await.unwrap();

    let page = world.get(&format!("{path}?limit=4")).send().await.must(StatusCode::OK).json();
    assert_eq!(
        (&page["progress"]["done"], &page["progress"]["waiting"], &page["progress"]["running"]),
        (&json!(2), &json!(17), &json!(null))
    );
    let states: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|item| item["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "done", "open", "failed"]);
    let next = format!("{path}?limit=4&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(world.get(&next).send().await.json()["items"][0]["index"], "4");
    let failed = world.get(&format!("{path}?state=failed")).send().await.json()["items"].clone();
    assert_eq!(
        (failed.as_array().unwrap().len(), failed[0]["error"].as_str(), &failed[0]["attempt"]),
        (1, Some("no such shop"), &json!(2))
    );
    let found = world.get(&format!("{path}?key=shop-1")).send().await.json()["items"].clone();
    assert_eq!(
        (found.as_array().unwrap().len(), found[1]["key"].as_str(), &found[1]["payload"]),
        (11, Some("shop-10"), &json!(10))
    );

    let live = v1::MapProgressAnswer {
        known: true,
        attempt: 1,
        phase: "processing".into(),
        total: 20,
        done: 9,
        failed: 1,
        running: 4,
        waiting: 6,
        per_second: 2.0,
        done_by_worker: [("w1".to_owned(), 9)].into(),
        running_by_worker: [("w2".to_owned(), 4)].into(),
    };
    server.script.lock().progress.insert(run, live);
    let progress = world.get(&path).send().await.json()["progress"].clone();
    assert_eq!(
        (&progress["done"], &progress["running"], &progress["remaining"]),
        (&json!(9), &json!(4), &json!("5s"))
    );
    assert_eq!(
        progress["workers"],
        json!([{"name": "w1", "done": 9, "running": 0}, {"name": "w2", "done": 0, "running": 4}])
    );
}

#[tokio::test]
async fn servers_shards_and_workers_are_shown_as_they_are_now() {
    let world = World::new().await;
    let (one, two) = (world.server("server-1").await, world.server("server-2").await);
    let group = world.group(&[&one, &two]).await;
    let shard = ShardId::new(group, 0).to_string();
    one.script.lock().shards.push(v1::ShardStatus {
        shard: shard.clone(),
        owner: true,
        epoch: 1,
        jobs: 3,
        ..Default::default()
    });
    two.script.lock().shards.push(v1::ShardStatus { shard: shard.clone(), ..Default::default() });
    one.connect_worker(&group.to_string(), "worker-a", &["a", "b"]);
    let worker = one.script.lock().workers[0].clone();
    two.script.lock().workers.push(worker.clone());
    two.script.lock().mute = false;
    // It has no stream of its own to the third.
    let three = world.server("server-3").await;
    three.script.lock().workers.push(v1::WorkerStatus { via: "server-1".into(), ..worker });

    let servers = world.get("/servers").send().await.must(StatusCode::OK).json();
    assert_eq!(
        (servers["items"].as_array().unwrap().len(), &servers["items"][0]["shards_owned"]),
        (3, &json!(1))
    );
    let shards = world.get("/shards").send().await.must(StatusCode::OK).json()["items"].clone();
    assert_eq!(
        (shards[0]["owner"].as_str(), &shards[0]["standbys"], &shards[0]["jobs"]),
        (Some("server-1"), &json!(["server-2"]), &json!(3))
    );
    let workers =
        world.get(&format!("/workers?group={group}")).send().await.must(StatusCode::OK).json()["items"]
            .clone();
    assert_eq!(
        (workers.as_array().unwrap().len(), &workers[0]["servers"]),
        (1, &json!(["server-1", "server-2"]))
    );
    assert_eq!(workers[0]["handlers"][1]["name"], "b");
    let placement = world.get(&format!("/groups/{group}/placement")).send().await.must(StatusCode::OK).json();
    assert_eq!(placement["shards"][0]["id"], shard.as_str());

    two.script.lock().mute = true;
    let servers = world.get("/servers").send().await.must(StatusCode::OK).json()["items"].clone();
    assert_eq!((&servers[0]["answers"], &servers[1]["answers"]), (&json!(true), &json!(false)));
    let drained = world.post("/servers/server-1/drain").send().await.must(StatusCode::OK).json();
    assert_eq!((&drained["shards"], one.script.lock().drained), (&json!(1), true));
    world.post("/servers/server-9/drain").send().await.must(StatusCode::NOT_FOUND);
    world.ask(Method::GET, "/about").send().await.must(StatusCode::OK);
}

#[tokio::test]
async fn workers_are_told_the_servers_that_hold_their_group() {
    let world = World::new().await;
    let (one, _two) = (world.server("server-1").await, world.server("server-2").await);
    let unplaced = world.group(&[]).await;
    let placed = world.group(&[&one]).await;
    let token = world.token(carillon_store::accounts::TokenScope::Worker { group: placed }).await;
    let ask = |group: GroupId| world.get(&format!("/sdk/endpoints?group={group}")).by(&token).send();
    let answer = ask(placed).await.must(StatusCode::OK).json();
    let held =
        json!([{"id": "server-1", "address": one.address(), "room": "room of server-1", "shards": [0]}]);
    assert_eq!((&answer["servers"], &answer["ttl_seconds"]), (&held, &json!(10)));
    ask(unplaced).await.must(StatusCode::NOT_FOUND);
    let all = world.get(&format!("/sdk/endpoints?group={unplaced}")).send().await.json();
    assert_eq!(all["servers"].as_array().unwrap().len(), 2, "any of them may take it");
    drop(one);
    let after = eventually("the server is gone", || async {
        let servers = ask(placed).await.json()["servers"].clone();
        (servers[0]["id"] == "server-2").then_some(servers)
    });
    let after = after.await;
    let ids: Vec<_> = after.as_array().unwrap().iter().map(|server| &server["id"]).collect();
    assert_eq!(
        ids,
        ["server-2", "server-1"],
        "one of the others adopts what nobody holds; the holder may live on"
    );
}
