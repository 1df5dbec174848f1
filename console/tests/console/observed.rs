//! What pages show without reading through runs: overview, objective, histogram, hand-overs, outcomes, next fires, counts.

use axum::http::StatusCode;
use carillon_core::ids::{GroupId, RunKey, ShardId};
use carillon_core::run::RunState;
use carillon_core::time::Span;
use carillon_proto::v1;
use carillon_store::accounts::Role;
use carillon_store::logs::LogChunk;
use carillon_store::observed::{Figures, Rollup, RollupSpan};
use carillon_store::shards::{ClaimCause, ClaimNote};
use serde_json::{Value, json};

use crate::runs::insert;
use crate::support::World;
use crate::support::world::id_of;

/// A minute's figures, for the group and for all together.
async fn note(world: &World, group: GroupId, minutes_ago: u64, figures: Figures) {
    let begins_at = world.now().saturating_sub(Span::from_secs(minutes_ago * 60));
    let begins_at = begins_at.floor(RollupSpan::Minute.length());
    let row =
        |group| Rollup { span: RollupSpan::Minute, begins_at, group, writer: 1, figures: figures.clone() };
    world.store.write_rollups(&[row(None), row(Some(group))]).await.unwrap();
}

fn starts(run: RunKey, late: &[i64]) -> Figures {
    let mut figures = Figures::default();
    late.iter().for_each(|late| figures.start(run, *late));
    figures
}

#[tokio::test]
async fn the_overview_tells_figures_objective_worst_fires_and_rooms() {
    let world = World::with(|config| config.objective.share = 0.75).await;
    let server = world.server("server-1").await;
    let (group, other) = (world.group(&[&server]).await, world.group(&[&server]).await);
    let job = id_of(&world.job(group, "nightly", json!({})).await);
    let run = insert(&world, job, group, Span::ZERO, RunState::Dead).await;
    note(&world, group, 3, Figures { missed: 1, ..starts(run, &[2, 4, 1_500]) }).await;
    note(&world, group, 0, Figures { failed: 1, ..Figures::default() }).await;
    note(&world, other, 70, Figures { started: 40, ..Figures::default() }).await;

    let answer = world.get("/overview").send().await.must(StatusCode::OK).json();
    assert_eq!((&answer["step"], answer["points"].as_array().unwrap().len()), (&json!("1m"), 61));
    let point = &answer["points"][57];
    assert_eq!(
        (&point["at"], &point["started"], &point["missed"]),
        (&json!("2026-11-20T08:57:00.000Z"), &json!(3), &json!(1))
    );
    assert_eq!(
        (&point["lateness_max_us"], &answer["points"][56]["lateness_p50_us"]),
        (&json!(1_500_000), &Value::Null)
    );
    assert_eq!((&answer["total"]["started"], &answer["total"]["failed"]), (&json!(3), &json!(1)));
    assert_eq!((&answer["dead_letters"], &answer["dead_letters_capped"]), (&json!(1), &json!(false)));
    let worst = &answer["worst"];
    assert_eq!(
        (&worst[0]["late_ms"], &worst[0]["job_name"], &worst[0]["id"]),
        (&json!(1_500), &json!("nightly"), &json!(run))
    );
    let room = &answer["rooms"][0];
    assert_eq!(
        (&room["room"], &room["servers"], &room["servers_answering"]),
        (&json!("room of server-1"), &json!(1), &json!(1))
    );

    // Of four that were to start two were no later than a second; a quarter might have been late, and a half was.
    let ada = world.person("ada", &[(group, Role::Viewer)]).await;
    let slo = world.get("/overview").by(&ada).send().await.json()["slo"].clone();
    assert_eq!((&slo["total"], &slo["good"], &slo["spent"]), (&json!(4), &json!(2), &json!(2)));
    assert_eq!(
        (&slo["share"], &slo["budget"], &slo["budget_left"]),
        (&json!(0.5), &json!(1.0), &json!(-1.0))
    );

    let day = world.get(&format!("/overview?window=24h&group={other}")).send().await.json();
    assert_eq!((&day["step"], &day["total"]["started"]), (&json!("1h"), &json!(40)));
    assert_eq!(day["points"].as_array().unwrap().len(), 25);
    assert_eq!(world.get("/overview?window=1s").send().await.fields(), ["window"]);
}

#[tokio::test]
async fn the_histogram_comes_from_figures_and_for_a_job_from_its_runs() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    let job = id_of(&world.job(group, "a", json!({})).await);
    insert(&world, job, group, Span::ZERO, RunState::Succeeded).await;
    insert(&world, job, group, Span::from_secs(61), RunState::Missed).await;
    note(&world, group, 2, Figures { succeeded: 5, skipped: 2, ..Figures::default() }).await;
    let of = |path: String| {
        let world = &world;
        async move { world.get(&path).send().await.must(StatusCode::OK).json() }
    };
    let all = of("/runs/histogram?from=2026-11-20T08:00:00Z&to=2026-11-20T09:00:00Z".into()).await;
    assert_eq!((&all["step"], all["bars"].as_array().unwrap().len()), (&json!("1m"), 61));
    assert_eq!((&all["bars"][58]["succeeded"], &all["bars"][58]["skipped"]), (&json!(5), &json!(2)));
    let one =
        of(format!("/runs/histogram?job={job}&from=2026-11-20T09:00:00Z&to=2026-11-20T09:05:00Z&bars=5"))
            .await;
    let bars = one["bars"].as_array().unwrap();
    assert_eq!(
        (&bars[0]["succeeded"], &bars[1]["missed"], &one["complete"]),
        (&json!(1), &json!(1), &json!(true))
    );
    let stranger = world.person("stranger", &[]).await;
    world.get(&format!("/runs/histogram?job={job}")).by(&stranger).send().await.must(StatusCode::NOT_FOUND);
    let wrong = world.get("/runs/histogram?from=2026-11-20T09:00:00Z&to=2026-11-20T08:00:00Z").send().await;
    assert_eq!(wrong.fields(), ["from"]);
}

#[tokio::test]
async fn hand_overs_tell_who_followed_whom_where_and_why() {
    let world = World::new().await;
    let (one, two) = (world.server("server-1").await, world.server("server-2").await);
    let group = world.group(&[&one, &two]).await;
    let shard = ShardId::new(group, 0);
    let row = world.store.shard(shard).await.unwrap().unwrap();
    let at = world.now() + Span::MILLISECOND;
    let gone = ClaimNote { at, room: "room of server-2".into(), cause: ClaimCause::OwnerGone };
    world.store.claim(shard, row.epoch, &two.id(), &gone).await.unwrap().unwrap();
    let answer = world.get(&format!("/shards/handovers?group={group}")).send().await.must(StatusCode::OK);
    let items = answer.json()["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 2);
    assert_eq!(
        items[0],
        json!({
            "at": at.to_string(), "shard": shard, "group": group, "epoch": "2", "cause": "owner_gone",
            "from_server": "server-1", "from_room": "room of server-1",
            "to_server": "server-2", "to_room": "room of server-2",
        })
    );
    assert_eq!((&items[1]["cause"], &items[1]["from_server"]), (&json!("first"), &Value::Null));
    let stranger = world.person("stranger", &[]).await;
    let hidden = world.get("/shards/handovers").by(&stranger).send().await.must(StatusCode::OK);
    assert_eq!(hidden.json()["items"], json!([]));
}

#[tokio::test]
async fn a_list_of_jobs_tells_the_last_outcomes_of_each() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    let one = id_of(&world.job(group, "one", json!({})).await);
    world.job(group, "two", json!({})).await;
    let mut runs = Vec::new();
    for second in 0..25 {
        let state = if second == 24 { RunState::Dead } else { RunState::Succeeded };
        runs.push(insert(&world, one, group, Span::from_secs(second), state).await);
    }
    // Not due yet.
    insert(&world, one, group, Span::from_secs(3600), RunState::Planned).await;
    world.advance(Span::from_secs(60));
    let items = world.get("/jobs?include=outcomes").send().await.must(StatusCode::OK).json()["items"].clone();
    let outcomes = items[0]["outcomes"].as_array().unwrap();
    assert_eq!((outcomes.len(), &outcomes[0]["run"]), (20, &json!(runs[5])));
    assert_eq!((&outcomes[19]["state"], &outcomes[19]["lateness"]), (&json!("dead"), &json!("2ms")));
    assert_eq!(items[1]["outcomes"], json!([]));
    assert!(world.get("/jobs").send().await.json()["items"][0].get("outcomes").is_none());
    // What was read can be sent back.
    let read = items[0].clone();
    let path = format!("/jobs/{one}");
    let put = world.ask(axum::http::Method::PUT, &path).if_match("\"1\"").json(read);
    put.send().await.must(StatusCode::OK);
}

#[tokio::test]
async fn next_fires_follow_the_clock_and_edits() {
    let world = World::new().await;
    let (group, other) = (world.group(&[]).await, world.group(&[]).await);
    let cron = |expression: &str| json!({"schedule": {"type": "cron", "expression": expression, "time_zone": "UTC"}});
    world.job(group, "hourly", cron("0 0 * * * ?")).await;
    world.job(group, "often", cron("0/20 * * * * ?")).await;
    world.job(other, "noon", cron("0 0 12 * * ?")).await;
    world.job(other, "by request", json!({})).await;
    let next = async |by: &str| -> Vec<(String, String)> {
        let answer = world.get("/fires/next").by(by).send().await.must(StatusCode::OK).json();
        let text = |item: &Value, field: &str| item[field].as_str().unwrap().to_owned();
        let items = answer["items"].as_array().unwrap().iter();
        items.map(|item| (text(item, "job_name"), text(item, "fire_time"))).collect()
    };
    let fire = |name: &str, at: &str| (name.to_owned(), format!("2026-11-20T{at}.000Z"));
    let expected = [fire("often", "09:00:20"), fire("hourly", "10:00:00"), fire("noon", "12:00:00")];
    assert_eq!(next(&world.admin).await, expected);
    world.advance(Span::from_secs(30));
    assert_eq!(next(&world.admin).await[0], fire("often", "09:00:40"));
    let often = world.get("/jobs?text=often").send().await.json()["items"][0]["id"].clone();
    world.post(&format!("/jobs/{often}/pause")).send().await.must(StatusCode::OK);
    assert_eq!(next(&world.admin).await[0], fire("hourly", "10:00:00"), "an edit shows at once");
    let ada = world.person("ada", &[(other, Role::Viewer)]).await;
    assert_eq!(next(&ada).await, [fire("noon", "12:00:00")]);
}

#[tokio::test]
async fn groups_tell_what_lives_in_them() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    server.connect_worker(&group.to_string(), "worker-1", &["a"]);
    server.script.lock().shards.push(v1::ShardStatus {
        shard: ShardId::new(group, 0).to_string(),
        owner: true,
        jobs: 3,
        open_runs: 2,
        ..v1::ShardStatus::default()
    });
    let counted = world.get("/groups?include=counts").send().await.must(StatusCode::OK).json();
    let expected = json!({"jobs": 3, "open_runs": 2, "workers": 1, "shards_owned": 1, "owner_rooms": ["room of server-1"]});
    assert_eq!(counted["items"][0]["counts"], expected);
    assert!(world.get("/groups").send().await.json()["items"][0].get("counts").is_none());
}

#[tokio::test]
async fn a_log_is_searched_read_from_its_end_and_saved() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    let job = id_of(&world.job(group, "a", json!({})).await);
    let run = insert(&world, job, group, Span::ZERO, RunState::Succeeded).await;
    let text: String = (0..1_000)
        .map(|line| format!("line {line:04}{}\n", if line % 100 == 7 { " Failed" } else { "" }))
        .collect();
    let attempt = carillon_core::ids::AttemptNo::FIRST;
    let chunk = LogChunk { run, attempt, chunk_no: 0, offset: 0, text: text.clone() };
    world.store.append_logs(&[chunk]).await.unwrap();

    let search = |more: &str| {
        let path = format!("/runs/{run}/log/search?text=failed{more}");
        let world = &world;
        async move { world.get(&path).send().await.must(StatusCode::OK).json() }
    };
    let all = search("").await;
    assert_eq!((all["matches"].as_array().unwrap().len(), &all["total"]), (10, &json!(text.len())));
    assert_eq!(all["matches"][1]["text"], "line 0107 Failed");
    assert!(all.get("next_offset").is_none());
    let first = search("&limit=4").await;
    let rest = search(&format!("&from={}", first["next_offset"])).await;
    assert_eq!(rest["matches"][0]["text"], "line 0407 Failed");
    assert_eq!(rest["matches"].as_array().unwrap().len(), 6);

    let path = format!("/runs/{run}/log");
    let end = world.get(&path).header("range", "bytes=-20").send().await.must(StatusCode::PARTIAL_CONTENT);
    assert_eq!(end.body, text.as_bytes()[text.len() - 20..]);
    let saved = world.get(&format!("{path}?download=true")).send().await.must(StatusCode::OK);
    assert_eq!(saved.body, text.as_bytes());
    assert_eq!(saved.header("content-disposition"), format!("attachment; filename=\"run-{run}-1.log\""));
}

#[tokio::test]
async fn a_retry_with_other_params_is_a_new_run() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    let job = id_of(&world.job(group, "a", json!({"retry": {"max_attempts": 4}})).await);
    let run = insert(&world, job, group, Span::ZERO, RunState::Dead).await;
    assert_eq!(world.get(&format!("/runs/{run}")).send().await.json()["max_attempts"], 4);
    let body = json!({"params": {"day": "yesterday"}});
    let answer =
        world.post(&format!("/runs/{run}/retry")).json(body).send().await.must(StatusCode::OK).json();
    let new = answer["new_run"].as_str().unwrap();
    assert_ne!(new, run.to_string());
    assert_eq!(answer["state"], "dead", "the dead letter stays");
    let triggered = world.get(&format!("/runs/{new}")).send().await.must(StatusCode::OK).json();
    assert_eq!((&triggered["params"], &triggered["job"]), (&json!({"day": "yesterday"}), &json!(job)));
}

#[tokio::test]
async fn runs_are_filtered_by_what_no_index_knows_and_by_the_names_of_jobs() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    let nightly = id_of(&world.job(group, "nightly", json!({})).await);
    let weekly = id_of(&world.job(group, "weekly", json!({})).await);
    let mut runs = Vec::new();
    for second in 0..6 {
        let job = if second % 2 == 0 { nightly } else { weekly };
        runs.push(insert(&world, job, group, Span::from_secs(second), RunState::Succeeded).await);
    }
    let late = insert(&world, nightly, group, Span::from_secs(9), RunState::Missed).await;
    let list = async |query: &str| {
        let answer = world.get(&format!("/runs?{query}")).send().await.must(StatusCode::OK).json();
        let ids: Vec<String> = answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["id"].as_str().unwrap().to_owned())
            .collect();
        (ids, answer["next_cursor"].as_str().map(str::to_owned))
    };
    let of =
        |wanted: &[usize]| -> Vec<String> { wanted.iter().map(|index| runs[*index].to_string()).collect() };
    let mut all = vec![late.to_string()];
    all.extend(of(&[4, 2, 0]));
    assert_eq!(list("text=NIGHT").await, (all, None));
    assert_eq!(list("text=nobody").await, (Vec::new(), None));
    // Two milliseconds late each, the missed one not at all.
    assert_eq!(list("min_lateness=2ms&text=weekly").await.0, of(&[5, 3, 1]));
    assert_eq!(list("min_lateness=3ms").await, (Vec::new(), None));
    assert_eq!(list("trigger=api").await.0, Vec::<String>::new());
    let (first, cursor) = list("trigger=schedule&limit=3").await;
    let (rest, end) = list(&format!("trigger=schedule&limit=9&cursor={}", cursor.unwrap())).await;
    assert_eq!((first.len(), rest, end), (3, of(&[3, 2, 1, 0]), None));
    let letters = world.get("/dead-letters?state=succeeded").send().await;
    assert_eq!(letters.fields(), ["state"]);
}

#[tokio::test]
async fn a_parallel_run_that_has_not_begun_to_split_waits() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    let simple = id_of(&world.job(group, "simple", json!({})).await);
    let parallel = id_of(&world.job(group, "parallel", json!({"kind": "parallel"})).await);
    let one = insert(&world, simple, group, Span::ZERO, RunState::Planned).await;
    let two = insert(&world, parallel, group, Span::ZERO, RunState::Planned).await;
    world.get(&format!("/runs/{one}/subtasks")).send().await.must(StatusCode::NOT_FOUND);
    let waits = world.get(&format!("/runs/{two}/subtasks")).send().await.must(StatusCode::OK).json();
    assert_eq!((&waits["progress"]["phase"], &waits["items"]), (&json!("waiting"), &json!([])));
    assert_eq!(world.get(&format!("/runs/{two}")).send().await.json()["kind"], "parallel");
}
