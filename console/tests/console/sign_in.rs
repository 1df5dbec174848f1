//! Signing in: sessions, CSRF, the rate limit, one-time codes, tokens' ends.

use axum::http::{Method, StatusCode};
use carillon_core::ids::GroupId;
use carillon_core::time::Span;
use carillon_store::accounts::{Role, TokenScope};
use serde_json::{Value, json};

use crate::support::{Answer, World};

async fn sign_in(world: &World, name: &str, password: &str) -> Answer {
    let body = json!({"name": name, "password": password});
    world.plain(Method::POST, "/api/v1/sessions").json(body).send().await
}

/// The cookie as a browser sends it back.
fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_browser_signs_in_works_with_its_csrf_token_and_signs_out() {
    let world = World::new().await;
    let signed_in = sign_in(&world, "Admin", &world.password).await.must(StatusCode::CREATED);
    let attributes = signed_in.header("set-cookie");
    assert!(
        attributes.contains("HttpOnly; SameSite=Lax; Max-Age=43200") && !attributes.contains("Secure"),
        "{attributes}"
    );
    let (cookie, csrf) = (cookie(&signed_in), signed_in.text("csrf_token"));
    let ask = |method, path: &str| world.ask(method, path).by_nobody().header("cookie", &cookie);

    let current = ask(Method::GET, "/sessions/current").send().await.must(StatusCode::OK);
    assert_eq!(
        (current.text("csrf_token"), &current.json()["user"]["name"]),
        (csrf.clone(), &json!("admin"))
    );
    let group = json!({"server_group": 1, "backups": 1, "name": "g"});
    for foreign in ["", "wrong", &csrf[1..]] {
        let refused =
            ask(Method::POST, "/groups").header("x-csrf-token", foreign).json(group.clone()).send().await;
        assert_eq!(refused.must(StatusCode::FORBIDDEN).code(), "csrf");
    }
    ask(Method::POST, "/groups")
        .header("x-csrf-token", &csrf)
        .json(group)
        .send()
        .await
        .must(StatusCode::CREATED);
    let out = ask(Method::DELETE, "/sessions/current")
        .header("x-csrf-token", &csrf)
        .send()
        .await
        .must(StatusCode::NO_CONTENT);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    ask(Method::GET, "/me").send().await.must(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn behind_a_trusted_proxy_with_tls_the_cookie_is_secure() {
    let world = World::with(|config| config.tls = true).await;
    assert!(sign_in(&world, "admin", &world.password).await.header("set-cookie").ends_with("; Secure"));
}

#[tokio::test]
async fn a_session_ends_with_its_time_a_new_password_or_its_user() {
    let world = World::new().await;
    let cookie = cookie(&sign_in(&world, "admin", &world.password).await);
    let me = || world.ask(Method::GET, "/me").by_nobody().header("cookie", &cookie).send();
    me().await.must(StatusCode::OK);
    world.advance(Span::from_secs(12 * 3600));
    me().await.must(StatusCode::UNAUTHORIZED);

    let signed_in = sign_in(&world, "admin", &world.password).await;
    let (second, csrf) = (self::cookie(&signed_in), signed_in.text("csrf_token"));
    let change = |current: &str| {
        world
            .ask(Method::POST, "/me/password")
            .by_nobody()
            .header("cookie", &second)
            .header("x-csrf-token", &csrf)
            .json(json!({"current": current, "new": "a new password"}))
            .send()
    };
    assert_eq!(change("wrong").await.fields(), ["current"]);
    change(&world.password).await.must(StatusCode::NO_CONTENT);
    world
        .ask(Method::GET, "/me")
        .by_nobody()
        .header("cookie", &second)
        .send()
        .await
        .must(StatusCode::UNAUTHORIZED);
    sign_in(&world, "admin", &world.password).await.must(StatusCode::UNAUTHORIZED);
    sign_in(&world, "admin", "a new password").await.must(StatusCode::CREATED);
}

#[tokio::test]
async fn too_many_failures_for_a_name_are_refused_until_the_window_ends() {
    let world = World::with(|config| config.sign_in_limits.per_name = 3).await;
    for _ in 0..3 {
        assert_eq!(
            sign_in(&world, "admin", "wrong").await.must(StatusCode::UNAUTHORIZED).code(),
            "wrong_password"
        );
    }
    let refused = sign_in(&world, "ADMIN", &world.password).await.must(StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        (refused.code().as_str(), refused.header("retry-after").as_str()),
        ("too_many_sign_ins", "900")
    );
    world.advance(Span::from_secs(900));
    sign_in(&world, "admin", &world.password).await.must(StatusCode::CREATED);
}

#[tokio::test]
async fn too_many_failures_from_an_address_are_refused_whatever_the_names() {
    let world = World::with(|config| config.sign_in_limits.per_address = 4).await;
    for number in 0..4 {
        sign_in(&world, &format!("guess-{number}"), "wrong").await.must(StatusCode::UNAUTHORIZED);
    }
    sign_in(&world, "admin", &world.password).await.must(StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_one_time_code_signs_in_once() {
    let world = World::new().await;
    let code = world.console.one_time_code(1).await.unwrap();
    let path = format!("/sign-in?code={code}");
    let signed_in = world.plain(Method::GET, &path).send().await.must(StatusCode::SEE_OTHER);
    assert_eq!(signed_in.header("location"), "./");
    let me = world.ask(Method::GET, "/me").by_nobody().header("cookie", &cookie(&signed_in)).send().await;
    assert_eq!(me.must(StatusCode::OK).json()["administrator"], true);
    for used_up in [path.as_str(), "/sign-in?code=guess", "/sign-in"] {
        assert_eq!(
            world.plain(Method::GET, used_up).send().await.must(StatusCode::UNAUTHORIZED).code(),
            "code_used_up"
        );
    }
    let old = world.console.one_time_code(1).await.unwrap();
    world.advance(Span::from_secs(601));
    world.plain(Method::GET, &format!("/sign-in?code={old}")).send().await.must(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_is_shown_once_bounded_and_ends() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    let body = json!({"name": "ci", "at_most": "viewer", "expires_in": "1h"});
    let made = world.post("/tokens").json(body).send().await.must(StatusCode::CREATED);
    let token = made.text("token");
    assert!(
        token.starts_with("cri_pat_")
            && made.text("prefix").len() == 12
            && token.starts_with(&made.text("prefix"))
    );
    let listed = world.get("/tokens").send().await.must(StatusCode::OK);
    assert!(!String::from_utf8_lossy(&listed.body).contains(&token), "never again");

    world.get(&format!("/groups/{group}")).by(&token).send().await.must(StatusCode::OK);
    let job = json!({"group": group, "name": "a", "handler": "a", "schedule": {"type": "api"}});
    world.post("/jobs").by(&token).json(job).send().await.must(StatusCode::FORBIDDEN);
    world.get("/users").by(&token).send().await.must(StatusCode::FORBIDDEN);
    let stronger =
        world.post("/tokens").by(&token).json(json!({"name": "x", "at_most": "owner"})).send().await;
    stronger.must(StatusCode::FORBIDDEN);
    let child =
        world.post("/tokens").by(&token).json(json!({"name": "x"})).send().await.must(StatusCode::CREATED);
    assert_eq!(child.text("at_most"), "viewer", "a token makes no stronger one");

    world.advance(Span::from_secs(3600));
    world.get("/me").by(&token).send().await.must(StatusCode::UNAUTHORIZED);
    for nonsense in ["", "cri_pat_", "cri_pat_guess", "Basic abc", "cri_xyz_1"] {
        world.get("/me").by(nonsense).send().await.must(StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_deleted_token_and_a_disabled_user_are_out_at_once() {
    let world = World::new().await;
    let token = world.person("ann", &[]).await;
    world.get("/me").by(&token).send().await.must(StatusCode::OK);
    let disable = json!({"disabled": true});
    world.ask(Method::PATCH, "/users/ann").if_match("*").json(disable).send().await.must(StatusCode::OK);
    world.get("/me").by(&token).send().await.must(StatusCode::UNAUTHORIZED);

    let made = world.post("/tokens").json(json!({"name": "x"})).send().await.must(StatusCode::CREATED);
    world
        .ask(Method::DELETE, &format!("/tokens/{}", made.text("id")))
        .send()
        .await
        .must(StatusCode::NO_CONTENT);
    world.get("/me").by(&made.text("token")).send().await.must(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_worker_token_finds_sees_and_triggers_in_its_group_only() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let (group, other): (GroupId, GroupId) = (world.group(&[&server]).await, world.group(&[&server]).await);
    world.job(group, "a", json!({})).await;
    world.job(other, "b", json!({})).await;
    let token = world
        .post("/tokens")
        .json(json!({"name": "w", "worker_of": group}))
        .send()
        .await
        .must(StatusCode::CREATED)
        .text("token");
    assert!(token.starts_with("cri_wkr_"));
    let ask = |method, path: &str| world.ask(method, path).by(&token);
    let jobs: Value = ask(Method::GET, "/jobs").send().await.must(StatusCode::OK).json();
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1);
    let run = ask(Method::POST, "/jobs/1/runs").send().await.must(StatusCode::ACCEPTED).text("run_id");
    ask(Method::GET, &format!("/runs/{run}")).send().await.must(StatusCode::OK);
    ask(Method::POST, "/jobs/2/runs").send().await.must(StatusCode::NOT_FOUND);
    ask(Method::POST, "/jobs/1/pause").send().await.must(StatusCode::FORBIDDEN);
    ask(Method::POST, &format!("/runs/{run}/cancel")).send().await.must(StatusCode::FORBIDDEN);
    ask(Method::GET, "/users").send().await.must(StatusCode::FORBIDDEN);
    ask(Method::GET, "/audit").send().await.must(StatusCode::FORBIDDEN);
    assert_eq!(ask(Method::GET, "/me").send().await.json()["kind"], "worker");

    let owner = world.person("olga", &[(group, Role::Owner)]).await;
    let developer = world.person("dora", &[(group, Role::Developer)]).await;
    let make =
        |who: &str| world.post("/tokens").by(who).json(json!({"name": "w", "worker_of": group})).send();
    make(&owner).await.must(StatusCode::CREATED);
    make(&developer).await.must(StatusCode::FORBIDDEN);
    let bounded = world.token(TokenScope::User { user: 1, at_most: Some(Role::Developer) }).await;
    make(&bounded).await.must(StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn one_sees_and_ends_the_sessions_of_ones_other_browsers() {
    let world = World::new().await;
    let mut browsers = Vec::new();
    for _ in 0..3 {
        world.advance(Span::SECOND);
        browsers.push(sign_in(&world, "admin", &world.password).await.must(StatusCode::CREATED));
    }
    // A link that nobody has followed is no session.
    world.console.one_time_code(1).await.unwrap();
    let by = |browser: &Answer, method: Method, path: &str| {
        let csrf = browser.text("csrf_token");
        world.ask(method, path).by_nobody().header("cookie", &cookie(browser)).header("x-csrf-token", &csrf)
    };
    let listed = by(&browsers[1], Method::GET, "/me/sessions").send().await.must(StatusCode::OK).json();
    let current: Vec<bool> =
        listed["items"].as_array().unwrap().iter().map(|item| item["current"] == true).collect();
    assert_eq!(current, [false, true, false], "newest first");
    let newest = listed["items"][0]["id"].as_str().unwrap();
    let path = format!("/me/sessions/{newest}");
    by(&browsers[1], Method::DELETE, &path).send().await.must(StatusCode::NO_CONTENT);
    by(&browsers[1], Method::DELETE, &path).send().await.must(StatusCode::NOT_FOUND);
    by(&browsers[2], Method::GET, "/me").send().await.must(StatusCode::UNAUTHORIZED);
    by(&browsers[1], Method::DELETE, "/me/sessions/others").send().await.must(StatusCode::NO_CONTENT);
    by(&browsers[0], Method::GET, "/me").send().await.must(StatusCode::UNAUTHORIZED);
    by(&browsers[1], Method::GET, "/me").send().await.must(StatusCode::OK);
    let trail = world.get("/audit?action=session.end&outcome=ok&from=2026-11-20T09:00:00Z").send().await;
    assert_eq!(trail.json()["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn any_console_honours_sessions_links_and_counts_of_another() {
    let one = World::new().await;
    let two = one.beside();
    let signed_in = sign_in(&one, "admin", &one.password).await.must(StatusCode::CREATED);
    let me = |world: &'_ World| {
        world.ask(Method::GET, "/me").by_nobody().header("cookie", &cookie(&signed_in)).request()
    };
    for world in [&one, &two] {
        let answer = tower::ServiceExt::oneshot(world.router.clone(), me(world)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let code = one.console.one_time_code(1).await.unwrap();
    let path = format!("/sign-in?code={code}");
    two.plain(Method::GET, &path).send().await.must(StatusCode::SEE_OTHER);
    one.plain(Method::GET, &path).send().await.must(StatusCode::UNAUTHORIZED);
    for world in [&one, &two].into_iter().cycle().take(10) {
        sign_in(world, "admin", "wrong").await.must(StatusCode::UNAUTHORIZED);
    }
    for world in [&one, &two] {
        sign_in(world, "admin", &one.password).await.must(StatusCode::TOO_MANY_REQUESTS);
    }
}
