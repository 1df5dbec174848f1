//! Edits whose commit is not answered: they are read back, and done once.

#[path = "../../../server/tests/cluster/faulty.rs"]
#[allow(dead_code, reason = "the server's tests use more of it")]
mod faulty;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use carillon_store::SharedStore;
use serde_json::{Value, json};

use crate::support::World;
use crate::support::world::id_of;
use faulty::{Faulty, Lost};

async fn world() -> (World, Arc<Faulty>) {
    let mut faulty = None;
    let world = World::behind(|inner| {
        let store = Arc::new(Faulty::new(inner));
        faulty = Some(Arc::clone(&store));
        store as SharedStore
    })
    .await;
    (world, faulty.unwrap())
}

async fn job(world: &World, id: impl std::fmt::Display) -> Value {
    world.get(&format!("/jobs/{id}")).send().await.must(StatusCode::OK).json()
}

#[tokio::test]
async fn an_edit_is_done_once_whether_its_request_or_its_answer_was_lost() {
    let (world, faulty) = world().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    for lost in [Lost::Answer, Lost::Request] {
        faulty.lose("edit_job", &[lost]);
        let name = format!("job {lost:?}");
        let id = id_of(&world.job(group, &name, json!({})).await);
        assert_eq!(job(&world, id).await["revision"], 1);

        faulty.lose("edit_job", &[lost, lost]);
        let path = format!("/jobs/{id}");
        let patch = world.ask(Method::PATCH, &path).if_match("\"1\"").json(json!({"description": "new"}));
        let changed = patch.send().await.must(StatusCode::OK).json();
        assert_eq!((&changed["revision"], &changed["description"]), (&json!(2), &json!("new")));
        let told = server.script.lock().edits.last().cloned().unwrap();
        assert_eq!(told.job, id.get(), "the servers hear of it");

        faulty.lose("edit_job", &[lost]);
        let deleted = world.ask(Method::DELETE, &path).if_match("\"2\"").send().await;
        deleted.must(StatusCode::OK);
        world.get(&path).send().await.must(StatusCode::NOT_FOUND);
        faulty.clear();
    }
}

#[tokio::test]
async fn an_edit_that_lost_to_another_is_refused_though_its_answer_was_lost() {
    let (world, faulty) = world().await;
    let group = world.group(&[]).await;
    let id = id_of(&world.job(group, "a", json!({})).await);
    let path = format!("/jobs/{id}");
    let change =
        |text: &str| world.ask(Method::PATCH, &path).if_match("\"1\"").json(json!({ "description": text }));
    change("first").send().await.must(StatusCode::OK);
    faulty.lose("edit_job", &[Lost::Request]);
    change("second").send().await.must(StatusCode::PRECONDITION_FAILED);
    assert_eq!(job(&world, id).await["description"], "first");
}

/// The first try may yet be committed, by a database that waits for space on its disk.
#[tokio::test]
async fn an_edit_in_doubt_does_not_say_that_nothing_happened() {
    let (world, faulty) = world().await;
    let group = world.group(&[]).await;
    let id = id_of(&world.job(group, "a", json!({})).await);
    let path = format!("/jobs/{id}");
    let change = || world.ask(Method::PATCH, &path).if_match("\"1\"").json(json!({"description": "new"}));
    faulty.lose("edit_job", &[Lost::Lock]);
    assert_eq!(change().send().await.must(StatusCode::SERVICE_UNAVAILABLE).json()["code"], "store_busy");
    faulty.lose("edit_job", &[Lost::Request, Lost::Lock]);
    assert_eq!(
        change().send().await.must(StatusCode::SERVICE_UNAVAILABLE).json()["code"],
        "store_unavailable"
    );
}
