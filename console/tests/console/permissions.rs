//! The permission matrix: every operation, by everybody.
//!
//! The list of operations comes from the API's description, so an operation that nobody thought of here fails the test.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use carillon_console::openapi;
use carillon_core::run::RunState;
use carillon_core::time::Span;
use carillon_store::accounts::{Role, TokenScope};
use serde_json::{Value, json};

use crate::support::World;
use crate::support::world::id_of;

/// Who may do an operation on the group of the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Nobody,
    Worker,
    Stranger,
    Viewer,
    Operator,
    Developer,
    Owner,
    Administrator,
}

const EVERYBODY: [Who; 8] = [
    Who::Nobody,
    Who::Worker,
    Who::Stranger,
    Who::Viewer,
    Who::Operator,
    Who::Developer,
    Who::Owner,
    Who::Administrator,
];

/// The operations, with the weakest that may: `(method, path, body, weakest, a worker token may)`.
fn matrix(group: &str, run: &str) -> Vec<(&'static str, String, &'static str, Value, Who, bool)> {
    use Who::*;
    let spec = json!({"group": group, "name": "new", "handler": "a", "schedule": {"type": "api"}});
    let letters = json!({"group": group});
    let preview = json!({"schedule": {"type": "api"}});
    let g = |path: &str| path.replace("{group}", group);
    let r = |path: &str| path.replace("{run}", run);
    vec![
        ("get", "/sessions/current".into(), "/sessions/current", Value::Null, Stranger, false),
        ("get", "/me".into(), "/me", Value::Null, Stranger, true),
        ("get", "/groups".into(), "/groups", Value::Null, Stranger, true),
        ("get", g("/groups/{group}"), "/groups/{group}", Value::Null, Viewer, true),
        ("get", g("/groups/{group}/placement"), "/groups/{group}/placement", Value::Null, Viewer, false),
        ("patch", g("/groups/{group}"), "/groups/{group}", json!({"description": "x"}), Owner, false),
        (
            "post",
            "/groups".into(),
            "/groups",
            json!({"server_group": 1, "backups": 1, "name": "n"}),
            Administrator,
            false,
        ),
        ("get", "/jobs".into(), "/jobs", Value::Null, Stranger, true),
        ("post", "/jobs".into(), "/jobs", spec.clone(), Developer, false),
        ("get", "/jobs/1".into(), "/jobs/{job}", Value::Null, Viewer, true),
        ("get", "/jobs/1/versions".into(), "/jobs/{job}/versions", Value::Null, Viewer, false),
        ("get", "/jobs/1/fires".into(), "/jobs/{job}/fires", Value::Null, Viewer, false),
        ("patch", "/jobs/1".into(), "/jobs/{job}", json!({"description": "x"}), Developer, false),
        (
            "put",
            "/jobs/1".into(),
            "/jobs/{job}",
            json!({"group": group, "name": "a", "handler": "a", "schedule": {"type": "api"}}),
            Developer,
            false,
        ),
        ("post", "/jobs/1/pause".into(), "/jobs/{job}/pause", Value::Null, Operator, false),
        ("post", "/jobs/1/resume".into(), "/jobs/{job}/resume", Value::Null, Operator, false),
        ("post", "/jobs/1/runs".into(), "/jobs/{job}/runs", Value::Null, Operator, true),
        ("get", "/runs".into(), "/runs", Value::Null, Stranger, true),
        ("get", r("/runs/{run}"), "/runs/{run}", Value::Null, Viewer, true),
        ("get", r("/runs/{run}/log"), "/runs/{run}/log", Value::Null, Viewer, true),
        ("get", r("/runs/{run}/subtasks"), "/runs/{run}/subtasks", Value::Null, Viewer, true),
        ("post", r("/runs/{run}/cancel"), "/runs/{run}/cancel", Value::Null, Operator, false),
        ("post", r("/runs/{run}/retry"), "/runs/{run}/retry", Value::Null, Operator, false),
        ("get", r("/runs/{run}/log/search?text=x"), "/runs/{run}/log/search", Value::Null, Viewer, false),
        ("get", "/runs/histogram".into(), "/runs/histogram", Value::Null, Stranger, false),
        ("get", format!("/runs/histogram?group={group}"), "/runs/histogram", Value::Null, Viewer, false),
        // Bulk actions answer for each item whether it was allowed: a test of their own says how.
        (
            "post",
            "/runs/cancel".into(),
            "/runs/cancel",
            json!({"ids": ["1kag90gg00000001"]}),
            Stranger,
            false,
        ),
        ("post", "/runs/retry".into(), "/runs/retry", json!({"ids": ["1kag90gg00000001"]}), Stranger, false),
        (
            "post",
            "/runs/discard".into(),
            "/runs/discard",
            json!({"ids": ["1kag90gg00000001"]}),
            Stranger,
            false,
        ),
        ("get", "/me/sessions".into(), "/me/sessions", Value::Null, Stranger, false),
        ("delete", "/me/sessions/others".into(), "/me/sessions/{session}", Value::Null, Stranger, false),
        ("post", "/jobs/pause".into(), "/jobs/pause", json!({"ids": [77]}), Stranger, false),
        ("post", "/jobs/resume".into(), "/jobs/resume", json!({"ids": [77]}), Stranger, false),
        ("get", "/fires/next".into(), "/fires/next", Value::Null, Stranger, false),
        ("get", "/overview".into(), "/overview", Value::Null, Stranger, false),
        ("get", format!("/overview?group={group}"), "/overview", Value::Null, Viewer, false),
        ("get", "/shards/handovers".into(), "/shards/handovers", Value::Null, Stranger, false),
        ("get", "/dead-letters".into(), "/dead-letters", Value::Null, Stranger, false),
        ("post", r("/dead-letters/{run}/retry"), "/dead-letters/{run}/retry", Value::Null, Operator, false),
        (
            "post",
            r("/dead-letters/{run}/discard"),
            "/dead-letters/{run}/discard",
            Value::Null,
            Operator,
            false,
        ),
        ("post", "/dead-letters/retry".into(), "/dead-letters/retry", letters.clone(), Operator, false),
        ("post", "/dead-letters/discard".into(), "/dead-letters/discard", letters, Operator, false),
        (
            "get",
            "/schedules/preview?expression=0%200%209%20*%20*%20?".into(),
            "/schedules/preview",
            Value::Null,
            Stranger,
            true,
        ),
        ("post", "/schedules/preview".into(), "/schedules/preview", preview, Stranger, true),
        ("get", "/servers".into(), "/servers", Value::Null, Stranger, false),
        (
            "post",
            "/servers/server-9/drain".into(),
            "/servers/{server}/drain",
            Value::Null,
            Administrator,
            false,
        ),
        ("get", "/shards".into(), "/shards", Value::Null, Stranger, false),
        ("get", "/workers".into(), "/workers", Value::Null, Stranger, false),
        ("get", "/users".into(), "/users", Value::Null, Administrator, false),
        ("post", "/users".into(), "/users", json!({"name": "new"}), Administrator, false),
        ("get", "/users/admin".into(), "/users/{user}", Value::Null, Administrator, false),
        (
            "patch",
            "/users/stranger".into(),
            "/users/{user}",
            json!({"display_name": "x"}),
            Administrator,
            false,
        ),
        ("get", "/tokens".into(), "/tokens", Value::Null, Stranger, false),
        ("get", format!("/tokens?group={group}"), "/tokens", Value::Null, Owner, false),
        ("get", "/tokens?all=true".into(), "/tokens", Value::Null, Administrator, false),
        ("post", "/tokens".into(), "/tokens", json!({"name": "t", "worker_of": group}), Owner, false),
        ("post", "/tokens".into(), "/tokens", json!({"name": "t"}), Stranger, false),
        ("delete", "/tokens/1".into(), "/tokens/{token}", Value::Null, Administrator, false),
        ("get", "/grants".into(), "/grants", Value::Null, Stranger, false),
        ("get", format!("/grants?group={group}"), "/grants", Value::Null, Viewer, false),
        (
            "put",
            "/grants".into(),
            "/grants",
            json!({"user": "stranger", "group": "{other}", "role": "viewer"}),
            Administrator,
            false,
        ),
        (
            "put",
            "/grants".into(),
            "/grants",
            json!({"user": "viewer", "group": group, "role": "viewer"}),
            Owner,
            false,
        ),
        ("delete", format!("/grants?group={group}&user=nobody"), "/grants", Value::Null, Owner, false),
        ("get", "/audit".into(), "/audit", Value::Null, Stranger, false),
        ("get", format!("/audit?group={group}"), "/audit", Value::Null, Viewer, false),
        ("get", format!("/sdk/endpoints?group={group}"), "/sdk/endpoints", Value::Null, Viewer, true),
        ("get", "/about".into(), "/about", Value::Null, Stranger, true),
        ("delete", "/users/stranger".into(), "/users/{user}", Value::Null, Administrator, false),
        ("delete", "/jobs/1".into(), "/jobs/{job}", Value::Null, Developer, false),
        ("delete", g("/groups/{group}"), "/groups/{group}", Value::Null, Administrator, false),
    ]
}

/// Operations that other tests are about: signing in, a stream without end, what only makes sense with a cookie.
const ELSEWHERE: [(&str, &str); 4] =
    [("post", "/sessions"), ("delete", "/sessions/current"), ("post", "/me/password"), ("get", "/events")];

#[tokio::test]
async fn every_operation_lets_through_who_may_and_nobody_else() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    let other = world.group(&[]).await;
    let job = id_of(&world.job(group, "a", json!({})).await);
    let run = crate::runs::insert(&world, job, group, Span::from_secs(1), RunState::Running).await;
    let mut tokens =
        BTreeMap::from([(Who::Administrator, world.admin.clone()), (Who::Nobody, String::new())]);
    for (who, name, role) in [
        (Who::Viewer, "viewer", Role::Viewer),
        (Who::Operator, "operator", Role::Operator),
        (Who::Developer, "developer", Role::Developer),
        (Who::Owner, "owner", Role::Owner),
    ] {
        tokens.insert(who, world.person(name, &[(group, role)]).await);
    }
    tokens.insert(Who::Stranger, world.person("stranger", &[(other, Role::Viewer)]).await);
    tokens.insert(Who::Worker, world.token(TokenScope::Worker { group }).await);

    let matrix = matrix(&group.to_string(), &run.to_string());
    let mut wrong = Vec::new();
    for (method, path, _, body, weakest, worker_may) in &matrix {
        // From the weakest on, so that a destructive operation is done last, by one who may.
        for who in EVERYBODY {
            let may = if who == Who::Worker { *worker_may } else { who >= *weakest };
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let mut ask = world.ask(method.clone(), path).by_nobody().if_match("*");
            if who != Who::Nobody {
                ask = ask.by(&tokens[&who]);
            }
            if !body.is_null() {
                let text = body.to_string().replace("{other}", &other.to_string());
                ask = ask.json(serde_json::from_str(&text).unwrap());
            }
            let answer = ask.send().await;
            // What is refused for other reasons (no dead letter, name taken, gone meanwhile) was let through.
            let refused = match answer.status {
                StatusCode::UNAUTHORIZED => who == Who::Nobody,
                StatusCode::FORBIDDEN => true,
                StatusCode::NOT_FOUND => {
                    !may && matches!(
                        who,
                        Who::Stranger | Who::Viewer | Who::Operator | Who::Developer | Who::Owner
                    )
                }
                _ => false,
            };
            assert!(!answer.status.is_server_error(), "{method} {path} by {who:?}: {}", answer.status);
            if refused == may {
                wrong.push(format!("{method} {path} by {who:?}: {}", answer.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_operation_of_the_description_is_in_the_matrix() {
    let matrix = matrix("101-1-2-6601", "x");
    for (path, operations) in openapi()["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1").unwrap();
        for method in operations.as_object().unwrap().keys() {
            let listed = matrix.iter().any(|(other, _, template, ..)| other == method && *template == path);
            assert!(
                listed || ELSEWHERE.contains(&(method.as_str(), path)),
                "{method} {path} is in no test of permissions"
            );
        }
    }
}

#[tokio::test]
async fn a_group_without_a_role_does_not_exist_and_its_jobs_and_runs_neither() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    let job = id_of(&world.job(group, "a", json!({})).await);
    let run = crate::runs::insert(&world, job, group, Span::from_secs(1), RunState::Succeeded).await;
    let stranger = world.person("stranger", &[]).await;
    for path in [
        format!("/groups/{group}"),
        "/jobs/1".into(),
        format!("/runs/{run}"),
        format!("/runs?group={group}"),
        format!("/jobs?group={group}"),
    ] {
        let seen = world.get(&path).by(&stranger).send().await.must(StatusCode::NOT_FOUND);
        let absent = path.replace("/jobs/1", "/jobs/77").replace(&group.to_string(), "101-1-2-9999");
        let unknown = world.get(&absent).by(&stranger).send().await.must(StatusCode::NOT_FOUND);
        assert_eq!(seen.code(), unknown.code(), "{path}");
    }
    for path in ["/groups", "/jobs", "/runs", "/dead-letters", "/workers", "/shards", "/audit"] {
        let page = world.get(path).by(&stranger).send().await;
        if page.status == StatusCode::OK {
            assert_eq!(page.json()["items"], json!([]), "{path}");
        }
    }
}
