//! Task groups and jobs: from creation to deletion, lists, versions, the ledger, schedules explained.

use axum::http::{Method, StatusCode};
use carillon_core::ids::JobId;
use carillon_core::run::RunState;
use carillon_core::time::Span;
use serde_json::json;

use crate::support::World;
use crate::support::world::id_of;

#[tokio::test]
async fn a_group_is_created_read_changed_and_deleted() {
    let world = World::new().await;
    let body = json!({"server_group": 1, "backups": 2, "name": "billing", "shards": 4});
    let created = world.post("/groups").json(body.clone()).send().await.must(StatusCode::CREATED);
    assert_eq!(created.text("id"), "101-1-2-6601");
    assert_eq!(created.header("location"), "/api/v1/groups/101-1-2-6601");
    assert!(created.json()["warnings"][0].as_str().unwrap().contains("no server of server group 1 is live"));
    assert_eq!(world.post("/groups").json(body).send().await.must(StatusCode::CONFLICT).code(), "name_taken");

    let path = "/groups/101-1-2-6601";
    let read = world.get(path).send().await.must(StatusCode::OK);
    assert_eq!((read.header("etag").as_str(), read.json()["shards"].as_u64()), ("\"1\"", Some(4)));
    let patch = json!({"description": "money"});
    let change =
        |etag: &'static str| world.ask(Method::PATCH, path).if_match(etag).json(patch.clone()).send();
    let changed = change("\"1\"").await.must(StatusCode::OK);
    assert_eq!((changed.header("etag").as_str(), changed.text("name").as_str()), ("\"2\"", "billing"));
    assert_eq!(change("\"1\"").await.must(StatusCode::PRECONDITION_FAILED).code(), "changed_meanwhile");
    let careless = world.ask(Method::PATCH, path).json(patch.clone()).send().await;
    assert_eq!(careless.must(StatusCode::PRECONDITION_REQUIRED).code(), "if_match_missing");

    let group = created.text("id").parse().unwrap();
    world.job(group, "one", json!({})).await;
    let refused = world.ask(Method::DELETE, path).send().await.must(StatusCode::CONFLICT);
    assert_eq!(refused.code(), "group_has_jobs");
    world.ask(Method::DELETE, "/jobs/1").if_match("*").send().await.must(StatusCode::OK);
    world.ask(Method::DELETE, path).send().await.must(StatusCode::NO_CONTENT);
    world.get(path).send().await.must(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_group_of_another_cluster_is_refused() {
    let world = World::new().await;
    let body = json!({"cluster": 102, "server_group": 1, "backups": 2, "name": "elsewhere"});
    assert_eq!(world.post("/groups").json(body).send().await.fields(), ["cluster"]);
}

#[tokio::test]
async fn a_job_is_created_with_its_defaults_and_next_fires() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    server.connect_worker(&group.to_string(), "w", &["simple"]);
    let body = json!({"group": group, "name": "simple", "kind": "simple", "handler": "simple",
        "schedule": {"type": "cron", "expression": "0 0/1 * * * ?", "time_zone": "Asia/Shanghai"},
        "params": "TestParam", "overlap": {"policy": "queue"}, "misfire": {"policy": "fire_once"},
        "retry": {"max_attempts": 3, "backoff": "exponential", "initial": "1s", "max": "5m"}, "timeout": "30s", "enabled": true});
    let created = world.post("/jobs").json(body).send().await.must(StatusCode::CREATED);
    let job = created.json();
    assert_eq!(created.header("etag"), "\"1\"");
    assert_eq!(
        (job["id"].as_u64(), job["revision"].as_u64(), &job["params"]),
        (Some(1), Some(1), &json!("TestParam"))
    );
    assert_eq!(job["next_fires"][0], "2026-11-20T09:01:00.000Z");
    assert_eq!(job["misfire"], json!({"policy": "fire_once", "limit": 10, "window": "1h"}));
    assert_eq!((&job["may_still_start"], &job["warnings"]), (&json!([]), &json!([])));

    let read = world.get("/jobs/1").send().await.must(StatusCode::OK);
    assert_eq!(read.json()["handler"], "simple");
    let again = world
        .post("/jobs")
        .json(json!({"group": group, "name": "simple", "handler": "x", "schedule": {"type": "api"}}));
    assert_eq!(again.send().await.must(StatusCode::CONFLICT).code(), "name_taken");
}

#[tokio::test]
async fn a_handler_that_no_worker_has_is_accepted_with_a_warning() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    let job = world.job(group, "lonely", json!({})).await;
    let warning = job["warnings"][0].as_str().unwrap();
    assert!(warning.contains("no connected worker") && warning.contains("lonely"), "{warning}");
}

#[tokio::test]
async fn a_job_that_was_read_can_be_sent_back_with_changes() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    world.job(group, "a", json!({"timeout": "10s", "labels": {"team": "x"}})).await;
    let read = world.get("/jobs/1").send().await;
    let mut job = read.json();
    job["handler"] = json!("b");
    let put = world
        .ask(Method::PUT, "/jobs/1")
        .if_match(&read.header("etag"))
        .json(job)
        .send()
        .await
        .must(StatusCode::OK);
    assert_eq!((put.header("etag").as_str(), put.text("handler").as_str()), ("\"2\"", "b"));
    assert_eq!(put.json()["timeout"], "10s");

    let patch =
        json!({"timeout": null, "labels": {"tier": "1"}, "schedule": {"type": "fixed_rate", "every": "10s"}});
    let patched = world
        .ask(Method::PATCH, "/jobs/1")
        .if_match("\"2\"")
        .json(patch)
        .send()
        .await
        .must(StatusCode::OK)
        .json();
    assert_eq!((&patched["timeout"], &patched["labels"]), (&json!(null), &json!({"team": "x", "tier": "1"})));
    assert_eq!(patched["schedule"]["every"], "10s");

    let versions = world.get("/jobs/1/versions?limit=2").send().await.must(StatusCode::OK).json();
    let numbers = |page: &serde_json::Value| {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["revision"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(&versions), [3, 2]);
    let next = format!("/jobs/1/versions?limit=2&cursor={}", versions["next_cursor"].as_str().unwrap());
    assert_eq!(numbers(&world.get(&next).send().await.json()), [1]);

    let moved =
        world.ask(Method::PATCH, "/jobs/1").if_match("*").json(json!({"group": "101-1-2-9999"})).send().await;
    assert_eq!(moved.fields(), ["group"]);
}

#[tokio::test]
async fn of_two_editors_who_read_the_same_revision_one_is_told_who_was_faster() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    world.job(group, "a", json!({})).await;
    let edit = |handler: &str| {
        world.ask(Method::PATCH, "/jobs/1").if_match("\"1\"").json(json!({"handler": handler})).send()
    };
    let (one, other) = tokio::join!(edit("left"), edit("right"));
    let (won, lost) = if one.status == StatusCode::OK { (one, other) } else { (other, one) };
    won.must(StatusCode::OK);
    let lost = lost.must(StatusCode::PRECONDITION_FAILED);
    assert_eq!(
        (lost.code().as_str(), lost.text("changed_by").as_str()),
        ("changed_meanwhile", "admin (token test)")
    );
    assert_eq!(
        (lost.text("changed_at").as_str(), lost.json()["revision"].as_u64()),
        ("2026-11-20T09:00:00.000Z", Some(2))
    );
    let careless = world.ask(Method::PUT, "/jobs/1").json(json!({})).send().await;
    assert_eq!(careless.must(StatusCode::PRECONDITION_REQUIRED).code(), "if_match_missing");
}

#[tokio::test]
async fn a_paused_job_is_not_due_and_a_resumed_one_is_again() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    world.job(group, "a", json!({"schedule": {"type": "fixed_rate", "every": "10s"}})).await;
    let paused = world.post("/jobs/1/pause").send().await.must(StatusCode::OK).json();
    assert_eq!(
        (&paused["enabled"], &paused["next_fires"], &paused["revision"]),
        (&json!(false), &json!([]), &json!(2))
    );
    let again = world.post("/jobs/1/pause").send().await.must(StatusCode::OK).json();
    assert_eq!(again["revision"], 2, "nothing changed, so no version came");
    let resumed = world.post("/jobs/1/resume").send().await.must(StatusCode::OK).json();
    assert_eq!(
        (&resumed["enabled"], resumed["next_fires"][0].as_str()),
        (&json!(true), Some("2026-11-20T09:00:10.000Z"))
    );
}

#[tokio::test]
async fn jobs_are_listed_in_pages_and_filtered() {
    let world = World::new().await;
    let (group, other) = (world.group(&[]).await, world.group(&[]).await);
    for number in 0..5 {
        let labels = json!({"labels": {"parity": if number % 2 == 0 { "even" } else { "odd" }}});
        world.job(group, &format!("job-{number}"), labels).await;
    }
    world.job(other, "elsewhere", json!({"kind": "parallel"})).await;
    let mut seen = Vec::new();
    let mut path = format!("/jobs?group={group}&limit=2");
    loop {
        let page = world.get(&path).send().await.must(StatusCode::OK).json();
        if seen.is_empty() {
            assert_eq!(page["total"], 5);
        }
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/jobs?group={group}&limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["job-0", "job-1", "job-2", "job-3", "job-4"]);
    for (query, count) in [
        ("text=JOB-3", 1),
        ("kind=parallel", 1),
        ("label=parity%3Dodd", 2),
        ("enabled=false", 0),
        ("", 6),
        ("text=", 6),
    ] {
        let page = world.get(&format!("/jobs?{query}")).send().await.must(StatusCode::OK).json();
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}");
    }
    let one = world.get(&format!("/jobs?group={group}&name=job-2")).send().await.json();
    assert_eq!((one["items"].as_array().unwrap().len(), &one["items"][0]["id"]), (1, &json!(3)));
    assert_eq!(world.get("/jobs?cursor=nonsense").send().await.fields(), ["cursor"]);
}

#[tokio::test]
async fn the_ledger_shows_past_fires_with_their_outcome_and_the_ones_to_come() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    let job = world.job(group, "a", json!({"schedule": {"type": "fixed_rate", "every": "10s"}})).await;
    let id: JobId = id_of(&job);
    for (fire, state) in
        [(10, RunState::Succeeded), (20, RunState::Missed), (30, RunState::Planned), (40, RunState::Planned)]
    {
        crate::runs::insert(&world, id, group, Span::from_secs(fire), state).await;
    }
    world.advance(Span::from_secs(35));
    let ledger = world.get("/jobs/1/fires?upcoming=3").send().await.must(StatusCode::OK).json();
    let of = |list: &str| {
        ledger[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|fire| {
                (
                    fire["fire_time"].as_str().unwrap()[17..19].to_owned(),
                    fire["state"].as_str().unwrap().to_owned(),
                )
            })
            .collect::<Vec<_>>()
    };
    let pairs = |list: &[(&str, &str)]| {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(of("items"), pairs(&[("30", "planned"), ("20", "missed"), ("10", "succeeded")]));
    assert_eq!(of("upcoming"), pairs(&[("40", "planned"), ("50", "upcoming"), ("00", "upcoming")]));
    assert_eq!(ledger["items"][1]["reason"]["code"], "no_worker");
    assert_eq!(ledger["items"][2]["lateness"], "2ms");
    let did_not_run = world.get("/jobs/1/fires?state=missed,skipped").send().await.json();
    assert_eq!(
        (
            did_not_run["items"].as_array().unwrap().len(),
            &did_not_run["items"][0]["state"],
            &did_not_run["upcoming"]
        ),
        (1, &json!("missed"), &json!([]))
    );
    let paged = world.get("/jobs/1/fires?limit=2").send().await.json();
    let next = format!("/jobs/1/fires?limit=2&cursor={}", paged["next_cursor"].as_str().unwrap());
    let rest = world.get(&next).send().await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["upcoming"]), (1, &json!([])));
}

#[tokio::test]
async fn a_schedule_is_explained_or_refused_with_the_place_of_the_error() {
    let world = World::new().await;
    let path = "/schedules/preview?expression=0%200%209%20?%20*%20MON-FRI&time_zone=Asia/Shanghai&count=3";
    let preview = world.get(path).send().await.must(StatusCode::OK).json();
    assert_eq!(preview["fires"].as_array().unwrap().len(), 3);
    assert_eq!(preview["fires"][0]["at"], "2026-11-23T01:00:00.000Z");
    assert!(preview["sentence"].as_str().unwrap().contains("Asia/Shanghai"));
    let wrong = world.get("/schedules/preview?expression=0%2061%20*%20*%20*%20?").send().await;
    assert_eq!(wrong.fields(), ["expression"]);
    assert_eq!((&wrong.json()["column"], &wrong.json()["errors"][0]["column"]), (&json!(3), &json!(3)));
    assert_eq!(world.get("/schedules/preview").send().await.fields(), ["expression"]);
    let rate = json!({"schedule": {"type": "fixed_rate", "every": "90s"}, "count": 1});
    let preview = world.post("/schedules/preview").json(rate).send().await.must(StatusCode::OK).json();
    assert_eq!(preview["sentence"], "every 1m30s");
    let berlin = "/schedules/preview?expression=0%2030%202%20*%20*%20?&time_zone=Europe/Berlin";
    let notes = world.get(berlin).send().await.json()["clock_changes"].clone();
    assert_eq!(notes[0]["change"], "forward");
}
