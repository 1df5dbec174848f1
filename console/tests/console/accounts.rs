//! People, grants and the audit trail.

use axum::http::{Method, StatusCode};
use carillon_console::ensure_first_administrator;
use carillon_store::accounts::Role;
use serde_json::{Value, json};

use crate::support::World;
use crate::support::world::CHEAP;

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    let world = World::new().await;
    let again = ensure_first_administrator(&world.store, CHEAP, world.now()).await.unwrap();
    assert_eq!(again, None);
    let users = world.get("/users").send().await.must(StatusCode::OK).json();
    assert_eq!((users["items"].as_array().unwrap().len(), &users["items"][0]["name"]), (1, &json!("admin")));
}

#[tokio::test]
async fn a_person_is_added_changed_and_deleted() {
    let world = World::new().await;
    let made = world.post("/users").json(json!({"name": "ann"})).send().await.must(StatusCode::CREATED);
    let password = made.text("password");
    let sign_in = |password: &str| {
        world
            .plain(Method::POST, "/api/v1/sessions")
            .json(json!({"name": "ann", "password": password}))
            .send()
    };
    sign_in(&password).await.must(StatusCode::CREATED);
    let taken = world.post("/users").json(json!({"name": "ANN"})).send().await.must(StatusCode::CONFLICT);
    assert_eq!(taken.code(), "name_taken");
    for (body, fields) in [
        (json!({"name": "1234"}), vec!["name"]),
        (json!({"name": "a b", "password": "ab"}), vec!["password"]),
        (json!({"name": "a b"}), vec!["name"]),
        (json!({"name": "bernadette", "password": "Bernadette"}), vec!["password"]),
        (json!({}), vec!["name"]),
    ] {
        assert_eq!(world.post("/users").json(body.clone()).send().await.fields(), fields, "{body}");
    }
    let read = world.get("/users/ann").send().await.must(StatusCode::OK);
    let change = json!({"display_name": "Ann", "password": "another password"});
    let changed = world
        .ask(Method::PATCH, "/users/ann")
        .if_match(&read.header("etag"))
        .json(change.clone())
        .send()
        .await;
    assert_eq!(changed.must(StatusCode::OK).text("display_name"), "Ann");
    let stale =
        world.ask(Method::PATCH, "/users/ann").if_match(&read.header("etag")).json(change).send().await;
    stale.must(StatusCode::PRECONDITION_FAILED);
    sign_in(&password).await.must(StatusCode::UNAUTHORIZED);
    sign_in("another password").await.must(StatusCode::CREATED);
    world
        .ask(Method::DELETE, &format!("/users/{}", read.text("id")))
        .send()
        .await
        .must(StatusCode::NO_CONTENT);
    world.get("/users/ann").send().await.must(StatusCode::NOT_FOUND);
    let oneself = world.ask(Method::DELETE, "/users/admin").send().await.must(StatusCode::CONFLICT);
    assert_eq!(oneself.code(), "yourself");
}

#[tokio::test]
async fn an_owner_grants_and_withdraws_on_her_group() {
    let world = World::new().await;
    let (group, other) = (world.group(&[]).await, world.group(&[]).await);
    let olga = world.person("olga", &[(group, Role::Owner)]).await;
    let ann = world.person("ann", &[]).await;
    let path = format!("/groups/{group}");
    world.get(&path).by(&ann).send().await.must(StatusCode::NOT_FOUND);
    let grant = |group: Value| {
        world
            .ask(Method::PUT, "/grants")
            .by(&olga)
            .json(json!({"user": "ann", "group": group, "role": "viewer"}))
            .send()
    };
    assert_eq!(grant(json!(group)).await.must(StatusCode::OK).text("role"), "viewer");
    grant(json!(other)).await.must(StatusCode::NOT_FOUND);
    world.get(&path).by(&ann).send().await.must(StatusCode::OK);
    let listed =
        world.get(&format!("/grants?group={group}")).by(&ann).send().await.must(StatusCode::OK).json();
    let names: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|grant| grant["user"].as_str().unwrap()).collect();
    assert_eq!(names, ["olga", "ann"]);
    let withdraw = || world.ask(Method::DELETE, &format!("/grants?user=ann&group={group}")).by(&olga).send();
    withdraw().await.must(StatusCode::NO_CONTENT);
    withdraw().await.must(StatusCode::NOT_FOUND);
    world.get(&path).by(&ann).send().await.must(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_write_leaves_its_line_granted_or_refused_and_secrets_are_masked() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    let viewer = world.person("vera", &[(group, Role::Viewer)]).await;
    world.job(group, "a", json!({"params": {"password": "hunter2", "day": "today"}})).await;
    world.post("/jobs/1/pause").by(&viewer).send().await.must(StatusCode::FORBIDDEN);
    world
        .ask(Method::PATCH, "/jobs/1")
        .if_match("\"9\"")
        .json(json!({"handler": "b"}))
        .send()
        .await
        .must(StatusCode::PRECONDITION_FAILED);
    world
        .post("/users")
        .json(json!({"name": "ann", "password": "hunter2hunter2"}))
        .send()
        .await
        .must(StatusCode::CREATED);
    world
        .plain(Method::POST, "/api/v1/sessions")
        .json(json!({"name": "eve", "password": "guess"}))
        .send()
        .await
        .must(StatusCode::UNAUTHORIZED);

    let trail = world.get("/audit").send().await.must(StatusCode::OK);
    assert!(!String::from_utf8_lossy(&trail.body).contains("hunter2"));
    let trail = trail.json();
    let line = |action: &str, outcome: &str| {
        let items = trail["items"].as_array().unwrap();
        items
            .iter()
            .find(|line| line["action"] == action && line["outcome"] == outcome)
            .unwrap_or_else(|| panic!("{action} {outcome}: {trail}"))
            .clone()
    };
    let created = line("job.create", "ok");
    assert_eq!(
        (&created["target"], &created["group"], &created["before"]),
        (&json!("job/1"), &json!(group), &Value::Null)
    );
    assert_eq!(created["after"]["job"]["params"], json!({"password": "***", "day": "today"}));
    let refused = line("job.pause", "forbidden");
    assert_eq!(
        (refused["actor"].as_str(), refused["target"].as_str()),
        (Some("vera (token test)"), Some("job/1"))
    );
    line("job.update", "changed_meanwhile");
    line("user.create", "ok");
    assert_eq!(line("session.create", "wrong_password")["actor"], "eve");
    let numbers: Vec<u64> = trail["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {numbers:?}");

    let seen = world.get("/audit").by(&viewer).send().await.must(StatusCode::OK).json();
    assert!(
        seen["items"].as_array().unwrap().iter().all(|line| line["group"] == json!(group)),
        "only what is about her group"
    );
    let filtered = world.get("/audit?action=job.create&target=job/1").send().await.json();
    assert_eq!(filtered["items"].as_array().unwrap().len(), 1);
    let of_the_job = world.get("/audit?target=job/1").send().await.json();
    let actions: Vec<&str> =
        of_the_job["items"].as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap()).collect();
    for action in ["job.create", "job.pause", "job.update"] {
        assert!(actions.contains(&action), "all that was done to the job has it as its target: {actions:?}");
    }
}
