//! Several jobs or runs at once.

use axum::http::StatusCode;
use carillon_core::run::RunState;
use carillon_core::time::Span;
use carillon_store::accounts::Role;
use serde_json::{Value, json};

use crate::runs::insert;
use crate::support::World;
use crate::support::world::id_of;

fn refused(answer: &Value) -> Vec<(String, String)> {
    let text = |item: &Value, field: &str| item[field].as_str().unwrap().to_owned();
    let mut refused: Vec<_> = answer["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (text(item, "id"), text(item, "code")))
        .collect();
    refused.sort();
    refused
}

#[tokio::test]
async fn runs_are_treated_each_by_what_one_may_and_what_it_is() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let (mine, seen, hidden) =
        (world.group(&[&server]).await, world.group(&[&server]).await, world.group(&[&server]).await);
    let mut runs = Vec::new();
    for (group, state) in [
        (mine, RunState::Running),
        (mine, RunState::Succeeded),
        (mine, RunState::Dead),
        (seen, RunState::Dead),
        (hidden, RunState::Dead),
    ] {
        let job = id_of(&world.job(group, &format!("job {}", runs.len()), json!({})).await);
        runs.push(insert(&world, job, group, Span::from_secs(1), state).await.to_string());
    }
    let ada = world.person("ada", &[(mine, Role::Operator), (seen, Role::Viewer)]).await;
    let body = json!({ "ids": runs });
    let answer = world.post("/runs/cancel").by(&ada).json(body.clone()).send().await.must(StatusCode::OK);
    let mut expected = vec![
        (runs[1].clone(), "run_is_final".to_owned()),
        (runs[2].clone(), "run_is_final".to_owned()),
        (runs[3].clone(), "forbidden".to_owned()),
        (runs[4].clone(), "not_found".to_owned()),
    ];
    expected.sort();
    assert_eq!((&answer.json()["treated"], refused(&answer.json())), (&json!(1), expected));
    assert_eq!(server.script.lock().cancels.len(), 1);

    let answer = world.post("/runs/retry").by(&ada).json(body).send().await.must(StatusCode::OK).json();
    assert_eq!(answer["treated"], 1, "{answer}");
    assert_eq!(server.script.lock().retries.len(), 1);
    let line = world.get("/audit?action=run.retry").send().await.json()["items"][0].clone();
    assert_eq!(line["actor"], "ada (token test)");
    let none = world.post("/runs/retry").by(&ada).json(json!({"ids": []})).send().await;
    assert_eq!(none.fields(), ["ids"]);
}

#[tokio::test]
async fn jobs_are_paused_and_resumed_together_but_not_into_silence() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    let one = id_of(&world.job(group, "one", json!({})).await);
    let ends = world.now() + Span::from_secs(60);
    let soon_over = json!({"schedule": {"type": "fixed_rate", "every": "10s", "ends_at": ends.to_string()}});
    let two = id_of(&world.job(group, "two", soon_over).await);
    let body = json!({"ids": [one, two, 77]});
    let answer = world.post("/jobs/pause").json(body.clone()).send().await.must(StatusCode::OK).json();
    assert_eq!((&answer["treated"], refused(&answer)), (&json!(2), vec![("77".into(), "not_found".into())]));
    assert_eq!(world.get(&format!("/jobs/{one}")).send().await.json()["enabled"], false);

    // Its last fire passes during the pause: resumed, it would wait forever without a word.
    world.advance(Span::from_secs(120));
    let answer = world.post("/jobs/resume").json(body).send().await.must(StatusCode::OK).json();
    let expected = vec![(two.to_string(), "invalid".to_owned()), ("77".to_owned(), "not_found".to_owned())];
    assert_eq!((&answer["treated"], refused(&answer)), (&json!(1), expected));
    let alone = world.post(&format!("/jobs/{two}/resume")).send().await;
    assert_eq!(alone.fields(), ["schedule.ends_at"]);
}
