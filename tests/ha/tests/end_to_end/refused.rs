//! Bad input over REST and the command line: each refusal names what is wrong and what would be right, and leaves nothing behind.

use carillon_ha::api::Api;
use carillon_ha::site::Site;
use carillon_ha::wait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::sites::on_both;

on_both!(
    a_cron_error_has_its_position,
    an_unknown_field_has_a_suggestion,
    a_malformed_group_id_is_told_what_one_looks_like,
    params_too_large_are_refused,
    a_wrong_token_is_401_and_no_right_is_403,
    a_stale_if_match_is_412,
    a_handler_nobody_has_is_accepted_and_its_run_missed,
    the_command_line_refuses_with_its_exit_codes,
);

/// How many jobs a group has: a refused request leaves none behind.
async fn jobs_of(api: &Api, group: &str) -> usize {
    api.items(&format!("/jobs?group={group}")).await.len()
}

async fn a_cron_error_has_its_position(site: &'static Site) {
    let group = site.group("cron-error").await;
    let schedule = json!({"type": "cron", "expression": "0 61 * * * ?"});
    let body = group.job_body("wrong", json!({"schedule": schedule}));

    let refused = site.api().post("/jobs", &body).await.expect_status(422);

    assert_eq!(refused.problem(), "invalid");
    let field = refused.refused_field("schedule.expression");
    assert_eq!(field["column"], 3, "{field:#}");
    let message = field["message"].as_str().unwrap();
    assert!(message.contains("61") && message.contains("59"), "{message}");
    assert_eq!(jobs_of(site.api(), &group.id).await, 0);

    let preview =
        site.api().get("/schedules/preview?expression=0%2061%20*%20*%20*%20%3F").await.expect_status(422);
    assert_eq!(preview.body["errors"][0]["column"], 3, "{:#}", preview.body);
}

async fn an_unknown_field_has_a_suggestion(site: &'static Site) {
    let group = site.group("unknown-field").await;
    let body = group.job_body("wrong", json!({"handlr": "record", "retry": {"max_attemts": 3}}));

    let refused = site.api().post("/jobs", &body).await.expect_status(422);

    let says = |field: &str, part: &str| {
        let message = refused.refused_field(field)["message"].as_str().unwrap().to_owned();
        assert!(message.contains(part), "{field}: {message}");
    };
    says("handlr", "`handler`");
    says("retry.max_attemts", "`max_attempts`");
    assert_eq!(jobs_of(site.api(), &group.id).await, 0);
}

async fn a_malformed_group_id_is_told_what_one_looks_like(site: &'static Site) {
    let group = site.group("malformed").await;
    for wrong in ["101-1-2", "101-1-2-x", "0-1-2-3", "", "101-1-2-99999999999"] {
        let mut body = group.job_body("wrong", json!({}));
        body["group"] = json!(wrong);
        let refused = site.api().post("/jobs", &body).await.expect_status(422);
        assert!(!refused.refused_field("group")["message"].as_str().unwrap().is_empty());
    }
    let mut body = group.job_body("wrong", json!({}));
    body["group"] = json!("101-1-2-999999999");
    site.api().post("/jobs", &body).await.expect_status(404).problem();
    site.api().get("/groups/nonsense").await.expect_status(404).problem();
    site.api().get("/sdk/endpoints?group=nonsense").await.expect_status(422).problem();
}

async fn params_too_large_are_refused(site: &'static Site) {
    let group = site.group("large").await;
    let large = "x".repeat(64 * 1024 + 1);
    let body = group.job_body("wrong", json!({"params": large}));

    let refused = site.api().post("/jobs", &body).await.expect_status(422);
    refused.refused_field("params");
    let job = group.job("fine", json!({"params": "x".repeat(60 * 1024)})).await;
    let refused =
        site.api().post(&format!("/jobs/{job}/runs"), &json!({"params": large})).await.expect_status(422);
    refused.refused_field("params");

    assert_eq!(site.api().runs_of(job).await.len(), 0);
    // Longer than any body may be, so that it is not even read as JSON.
    let beyond = json!({"params": "x".repeat(3 << 19)});
    site.api().post(&format!("/jobs/{job}/runs"), &beyond).await.expect_status(413).problem();
}

async fn a_wrong_token_is_401_and_no_right_is_403(site: &'static Site) {
    let (mine, other) = (site.group("mine").await, site.group("other").await);
    let job = mine.job("job", json!({})).await;
    let api = site.api();
    for wrong in ["", "nonsense", "cri_pat_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "cri_wkr_x"] {
        let refused = api.with_token(wrong).get("/jobs").await.expect_status(401);
        assert_eq!(refused.problem(), "unauthenticated");
    }

    // A person who may look at one group and edit in another.
    let name = site.fresh("viewer");
    let password = "correct horse battery";
    api.post("/users", &json!({"name": name, "password": password})).await.expect_status(201);
    for (group, role) in [(&mine.id, "viewer"), (&other.id, "developer")] {
        let grant = json!({"user": name, "group": group, "role": role});
        api.send(Method::PUT, "/grants", Some(&grant), &[]).await.expect_status(200);
    }
    let signed_in = api.with_token("").sign_in(&name, password).await;
    let token = signed_in.create_token(json!({"name": "mine"})).await;
    let person = api.with_token(token["token"].as_str().unwrap());

    assert_eq!(person.get(&format!("/jobs/{job}")).await.status, 200);
    assert_eq!(
        person.post(&format!("/jobs/{job}/runs"), &json!({})).await.expect_status(403).problem(),
        "forbidden"
    );
    person.post("/jobs", &mine.job_body("no", json!({}))).await.expect_status(403).problem();
    person.post("/jobs", &other.job_body("yes", json!({}))).await.expect_status(201);
    person
        .post("/groups", &json!({"server_group": 1, "backups": 1, "name": "no"}))
        .await
        .expect_status(403)
        .problem();

    // A worker's token is good for its own group only, and for no edits.
    let worker = api.with_token(&other.token);
    assert!(matches!(worker.post(&format!("/jobs/{job}/runs"), &json!({})).await.status, 403 | 404));
    worker.post("/jobs", &other.job_body("no", json!({}))).await.expect_status(403).problem();
    assert_eq!(api.runs_of(job).await.len(), 0);
}

async fn a_stale_if_match_is_412(site: &'static Site) {
    let group = site.group("stale").await;
    let job = group.job("edited", json!({})).await;
    let path = format!("/jobs/{job}");
    let patch = async |text: &str, headers: &[(&str, &str)]| {
        site.api().send(Method::PATCH, &path, Some(&json!({"description": text})), headers).await
    };
    let etag = site.api().get(&path).await.expect_status(200).etag.unwrap();

    patch("without", &[]).await.expect_status(428).problem();
    let first = patch("first", &[("if-match", &etag)]).await.expect_status(200);
    let second = patch("second", &[("if-match", &etag)]).await.expect_status(412);

    assert_eq!(first.text("description"), "first");
    assert!(second.problem().contains("changed"), "{:#}", second.body);
    assert!(second.body.to_string().contains("admin"), "it says who changed it: {:#}", second.body);
    assert_eq!(site.api().get(&path).await.text("description"), "first");
}

async fn a_handler_nobody_has_is_accepted_and_its_run_missed(site: &'static Site) {
    let group = site.group("nobody").await;
    let _worker = group.worker("worker").await;
    let fields = json!({"handler": "nobody-has-this", "misfire": {"policy": "skip"}, "start_window": "2s"});
    let body = group.job_body("nobody", fields);

    let created = site.api().post("/jobs", &body).await.expect_status(201);
    let run = site.api().trigger(created.number("id"), None).await;

    let warnings = created.body["warnings"].to_string();
    assert!(warnings.contains("nobody-has-this"), "{warnings}");
    let run = site.api().finished(&run).await;
    assert_eq!(run.state(), "missed", "{:#}", run.body);
    assert!(matches!(run.reason(), "no_worker" | "unknown_handler"), "{:#}", run.body);
}

async fn the_command_line_refuses_with_its_exit_codes(site: &'static Site) {
    let group = site.group("command-line").await;
    let said = |arguments: &[&str]| {
        let output = wait::blocking(|| site.carillon(arguments));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.stdout.is_empty(), "a refusal is no data: {arguments:?}");
        (output.status.code().unwrap(), text)
    };
    let create = ["job", "create", "--group", &group.id, "--name", "wrong", "--cron"];

    let (code, text) = said(&[&create[..], &["0 61 * * * ?"]].concat());
    assert!(code == 2 && text.contains("column 3"), "{code}: {text}");
    let (code, text) = said(&["job", "get", "4000000000"]);
    assert!(code == 3, "{code}: {text}");
    let (code, text) = said(&["job", "list", "--colour"]);
    assert!(code == 2 && text.contains("--colour"), "{code}: {text}");
    let (code, text) = said(&["job", "list", "--console", "http://127.0.0.1:1"]);
    assert!(code == 6, "{code}: {text}");
    let (code, text) = said(&["job", "list", "--token", "cri_pat_wrong"]);
    assert!(code == 1 && text.contains("oken"), "{code}: {text}");
    assert_eq!(jobs_of(site.api(), &group.id).await, 0);
    let job = group.job("fails", json!({"params": {"fail_first": 9}})).await;
    let _worker = group.worker("worker").await;
    let output =
        wait::blocking(|| site.carillon(&["job", "trigger", &job.to_string(), "--wait", "-o", "json"]));
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &run["state"]), (Some(5), &json!("dead")), "{run:#}");
}
