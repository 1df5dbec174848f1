//! Bad input: each refusal says what is wrong and what would be right, and nothing makes the console fail.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use carillon_core::run::RunState;
use carillon_core::time::Span;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::World;
use crate::support::world::id_of;

#[tokio::test]
async fn every_field_at_fault_is_named_at_once_however_deep() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    let body = json!({"group": group, "nmae": "a", "handler": "", "schedule": {"type": "corn"}, "timeout": "10",
        "retry": {"max_atempts": 3, "initial": 5, "max": "1 day"}, "misfire": {"limit": 1000}, "overlap": {"policy": "queue", "limit": "many"}});
    let refused = world.post("/jobs").json(body).send().await;
    let mut fields = refused.fields();
    fields.sort();
    assert_eq!(
        fields,
        [
            "handler",
            "misfire.limit",
            "name",
            "nmae",
            "overlap.limit",
            "retry.initial",
            "retry.max",
            "retry.max_atempts",
            "schedule.type",
            "timeout",
        ]
    );
    let problem = refused.json();
    let says = |field: &str| {
        let errors = problem["errors"].as_array().unwrap();
        errors.iter().find(|error| error["field"] == field).unwrap()["message"].as_str().unwrap().to_owned()
    };
    assert!(says("nmae").contains("did you mean `name`?"));
    assert!(says("retry.max_atempts").contains("did you mean `max_attempts`?"));
    assert!(says("schedule.type").contains("did you mean \"cron\"?"));
    assert!(says("timeout").contains("needs a unit"));
    assert!(says("retry.initial").contains("5 is not a duration"));

    let expression = json!({"group": group, "name": "a", "handler": "a", "schedule": {"type": "cron", "expression": "0 61 * * * ?"}});
    let refused = world.post("/jobs").json(expression).send().await;
    assert_eq!(
        (refused.fields(), &refused.json()["errors"][0]["column"]),
        (vec!["schedule.expression".to_owned()], &json!(3))
    );
    let over = json!({"group": group, "name": "a", "handler": "a", "schedule": {"type": "cron", "expression": "0 0 0 1 1 ? 2020"}});
    assert_eq!(world.post("/jobs").json(over).send().await.fields(), ["schedule.expression"]);
    let large = json!({"group": group, "name": "a", "handler": "a", "schedule": {"type": "api"}, "params": "x".repeat(70_000)});
    assert_eq!(world.post("/jobs").json(large).send().await.fields(), ["params"]);
}

#[tokio::test]
async fn what_is_no_json_is_refused_with_its_place() {
    let world = World::new().await;
    let post = |body: &'static str| {
        world.post("/groups").header("content-type", "application/json").body(body).send()
    };
    let broken = post("{\n  \"name\": oops}").await.must(StatusCode::BAD_REQUEST);
    assert_eq!(
        (broken.code().as_str(), &broken.json()["line"], &broken.json()["column"]),
        ("malformed_json", &json!(2), &json!(11))
    );
    assert_eq!(post("[1").await.must(StatusCode::BAD_REQUEST).code(), "malformed_json");
    assert_eq!(post("[]").await.fields(), [""]);
    assert_eq!(world.post("/groups").send().await.fields(), [""]);
    let deep = "[".repeat(100_000);
    let nested = world.post("/groups").header("content-type", "application/json").body(deep).send().await;
    assert_eq!(nested.must(StatusCode::BAD_REQUEST).code(), "malformed_json");
    let form = world.post("/groups").header("content-type", "text/plain").body("{}").send().await;
    assert_eq!(form.must(StatusCode::UNSUPPORTED_MEDIA_TYPE).code(), "unsupported_media_type");
    let large = world
        .post("/groups")
        .header("content-type", "application/json")
        .body(vec![b' '; (1 << 20) + 1])
        .send()
        .await;
    assert_eq!(large.must(StatusCode::PAYLOAD_TOO_LARGE).code(), "too_large");
}

#[tokio::test]
async fn unknown_pages_and_wrong_methods_are_problems_too() {
    let world = World::new().await;
    assert_eq!(world.get("/jbos").send().await.must(StatusCode::NOT_FOUND).code(), "no_such_page");
    let wrong = world.ask(Method::PUT, "/jobs").send().await.must(StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.code(), "wrong_method");
    let allowed = wrong.header("allow");
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    let refused = world.get("/jobs?limt=3").send().await;
    assert_eq!(refused.fields(), ["limt"]);
    assert!(refused.text("detail").contains("did you mean `limit`?"));
    assert_eq!(world.get("/jobs?limit=3&limit=4").send().await.fields(), ["limit"]);
    assert_eq!(
        world.ask(Method::PATCH, "/jobs/1").send().await.must(StatusCode::NOT_FOUND).code(),
        "not_found"
    );
}

#[tokio::test]
async fn a_refused_request_leaves_no_trace_but_its_audit_entry() {
    let world = World::new().await;
    let group = world.group(&[]).await;
    let wrong = json!({"group": group, "name": "a", "handler": "a", "schedule": {"type": "fixed_rate", "every": "1ms"}});
    world.post("/jobs").json(wrong).send().await.must(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.get("/jobs").send().await.json()["items"], json!([]));
    let line = world.get("/audit?action=job.create").send().await.json()["items"][0].clone();
    assert_eq!(line["outcome"], "invalid");
}

/// How many requests the hail throws: enough to meet every operation thousands of times, in well under a minute.
const REQUESTS: usize = 100_000;

/// Requests under way at once.
const LANES: usize = 64;

/// Random and mutated requests against the whole router. The seed is printed; `CARILLON_TEST_SEED` throws the same again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hail_of_random_requests_never_makes_it_fail() {
    let seed = std::env::var("CARILLON_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("CARILLON_TEST_SEED={seed}");
    let world = World::new().await;
    let group = world.group(&[]).await;
    let job =
        id_of(&world.job(group, "a", json!({"schedule": {"type": "fixed_rate", "every": "10s"}})).await);
    let run = crate::runs::insert(&world, job, group, Span::from_secs(1), RunState::Dead).await;
    let good = Material { group: group.to_string(), run: run.to_string(), admin: world.admin.clone() };
    let operations = operations();
    let statuses: [AtomicUsize; 6] = Default::default();
    let lane = async |lane: u64| {
        let mut chance = StdRng::seed_from_u64(seed.wrapping_add(lane));
        for number in 0..REQUESTS / LANES + 1 {
            let request = good.request(&operations, &mut chance);
            let told = format!("{} {}", request.method(), request.uri());
            let response = world.router.clone().oneshot(request).await.unwrap();
            let status = response.status();
            // Streams have no end; what they begin with is enough.
            if !told.contains("/events") && !told.contains("follow=true") {
                let body = to_bytes(response.into_body(), 64 << 20).await.unwrap();
                let fine = status != StatusCode::INTERNAL_SERVER_ERROR;
                assert!(
                    fine,
                    "seed {seed}, lane {lane}, number {number}: {told}: {}",
                    String::from_utf8_lossy(&body)
                );
            }
            statuses[usize::from(status.as_u16() / 100)].fetch_add(1, Ordering::Relaxed);
        }
    };
    futures::future::join_all((0..LANES as u64).map(lane)).await;
    let met: Vec<usize> = statuses.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    println!("answers by hundreds: {met:?}");
    assert!(met[2] > REQUESTS / 100, "too few requests got through for the rest to mean much: {met:?}");
    assert!(met[4] > REQUESTS / 10, "too few requests were refused: {met:?}");
}

/// What fits, to be mutated.
struct Material {
    group: String,
    run: String,
    admin: String,
}

/// Method and path of every operation, and a body that fits where there is one.
fn operations() -> Vec<(Method, String, Option<Value>)> {
    let document = carillon_console::openapi();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let content =
                described["requestBody"]["content"].as_object().and_then(|content| content.values().next());
            let example = content.map(|content| {
                let name = content["schema"]["$ref"]
                    .as_str()
                    .and_then(|name| name.rsplit('/').next())
                    .unwrap_or("JobSpec");
                let example = document["components"]["schemas"][name]["example"].clone();
                if example.is_null() { json!({"name": "x", "failed_subtasks_only": true}) } else { example }
            });
            operations.push((method, path.clone(), example));
        }
    }
    operations
}

impl Material {
    fn request(&self, operations: &[(Method, String, Option<Value>)], chance: &mut StdRng) -> Request<Body> {
        let (method, path, example) = &operations[chance.random_range(0..operations.len())];
        // A password costs time to hash; ending the own rights would end the hail.
        let is_costly = path.ends_with("/sessions") || path.ends_with("/password");
        let mut path: String = path
            .split('/')
            .map(|part| self.segment(part, *method != Method::DELETE, chance))
            .collect::<Vec<_>>()
            .join("/");
        if chance.random_bool(0.4) {
            path.push('?');
            for _ in 0..chance.random_range(0..4) {
                path.push_str(&format!("{}={}&", query_name(chance), self.word(chance)));
            }
        }
        let method = if chance.random_bool(0.05) { Method::PUT } else { method.clone() };
        let mut request = Request::builder().method(method.clone()).uri(&path);
        if chance.random_bool(0.95) && !(method == Method::DELETE && path.contains("/tokens/")) && !is_costly
        {
            request = request.header("authorization", format!("Bearer {}", self.admin));
        }
        if chance.random_bool(0.6) {
            request = request.header(
                "if-match",
                if chance.random_bool(0.7) { "*".to_owned() } else { header_text(chance) },
            );
        }
        for name in [
            "idempotency-key",
            "range",
            "last-event-id",
            "traceparent",
            "x-forwarded-for",
            "cookie",
            "accept",
        ] {
            if chance.random_bool(0.05) {
                request = request.header(name, header_text(chance));
            }
        }
        let Some(example) = example.as_ref().filter(|_| chance.random_bool(0.95)) else {
            return request.body(Body::empty()).unwrap();
        };
        let mut body = example.clone();
        if let Some(group) = body.get_mut("group") {
            *group = json!(self.group);
        }
        for _ in 0..chance.random_range(0..3) {
            self.mutate(&mut body, chance);
        }
        let mut bytes = body.to_string().into_bytes();
        if chance.random_bool(0.1) && !bytes.is_empty() {
            let place = chance.random_range(0..bytes.len());
            bytes[place] = chance.random();
        }
        if chance.random_bool(0.02) {
            bytes.truncate(chance.random_range(0..=bytes.len()));
        }
        request.header("content-type", "application/json").body(Body::from(bytes)).unwrap()
    }

    /// A part of a path, filled in. Deletions never hit the group, job and run, without which the rest would only meet 404.
    fn segment(&self, part: &str, honest: bool, chance: &mut StdRng) -> String {
        if part.is_empty() {
            return String::new();
        }
        if part.starts_with('{') && honest && chance.random_bool(0.6) {
            return match part {
                "{group}" => self.group.clone(),
                "{run}" => self.run.clone(),
                _ => "1".to_owned(),
            };
        }
        if part.starts_with('{') && !honest {
            return "77".to_owned();
        }
        if part.starts_with('{') || chance.random_bool(0.01) { self.word(chance) } else { part.to_owned() }
    }

    /// A word that fits in a path or a query, honest or not.
    fn word(&self, chance: &mut StdRng) -> String {
        const WORDS: [&str; 24] = [
            "",
            "0",
            "1",
            "-1",
            "4294967296",
            "18446744073709551616",
            "NaN",
            "null",
            "true",
            "%00",
            "%FF%FE",
            "%2e%2e",
            "a%2Fb",
            "*",
            "2026-11-20T09:00:00Z",
            "9999-12-31T23:59:59Z",
            "0 0/1 * * * ?",
            "succeeded,dead",
            "101-1-2-6601",
            "999-9-9-9",
            "json",
            "%F0%9F%94%94",
            "zzzzzzzzzzzzzzzz",
            "0000000000000000",
        ];
        match chance.random_range(0..4) {
            0 => self.group.clone(),
            1 => self.run.clone(),
            2 => (0..chance.random_range(0..40))
                .map(|_| char::from(chance.random_range(b'a'..=b'z')))
                .collect(),
            _ => WORDS[chance.random_range(0..WORDS.len())].replace(' ', "%20"),
        }
    }

    /// Changes one thing somewhere in a value.
    fn mutate(&self, value: &mut Value, chance: &mut StdRng) {
        match value {
            Value::Object(fields) if !fields.is_empty() && chance.random_bool(0.8) => {
                let names: Vec<String> = fields.keys().cloned().collect();
                let name = &names[chance.random_range(0..names.len())];
                match chance.random_range(0..5) {
                    0 => drop(fields.remove(name)),
                    1 => drop(fields.insert(format!("{name}x"), scalar(chance))),
                    2 => drop(fields.insert(name.clone(), scalar(chance))),
                    _ => self.mutate(&mut fields[name], chance),
                }
            }
            Value::Array(items) if !items.is_empty() && chance.random_bool(0.8) => {
                let place = chance.random_range(0..items.len());
                self.mutate(&mut items[place], chance);
            }
            _ => *value = scalar(chance),
        }
    }
}

fn query_name(chance: &mut StdRng) -> &'static str {
    const NAMES: [&str; 20] = [
        "limit",
        "cursor",
        "group",
        "job",
        "state",
        "from",
        "to",
        "text",
        "name",
        "label",
        "enabled",
        "kind",
        "expression",
        "time_zone",
        "count",
        "attempt",
        "follow",
        "format",
        "key",
        "nonsense",
    ];
    NAMES[chance.random_range(0..NAMES.len())]
}

fn header_text(chance: &mut StdRng) -> String {
    const TEXTS: [&str; 8] =
        ["\"1\"", "\"0\"", "1", "W/\"1\"", "bytes=0-1", "bytes=9-", "carillon_session=x", "application/json"];
    if chance.random_bool(0.5) {
        return TEXTS[chance.random_range(0..TEXTS.len())].to_owned();
    }
    (0..chance.random_range(0..200)).map(|_| char::from(chance.random_range(b' '..=b'~'))).collect()
}

fn scalar(chance: &mut StdRng) -> Value {
    match chance.random_range(0..12) {
        0 => Value::Null,
        1 => json!(chance.random::<bool>()),
        2 => json!(chance.random::<i64>()),
        3 => json!(u64::MAX),
        4 => json!(1e308),
        5 => json!(""),
        6 => json!("99999999999999999999d"),
        7 => json!("\u{0}\u{1f514}".repeat(chance.random_range(0..50))),
        8 => json!([[[]]]),
        9 => json!({"a": {"b": null}}),
        10 => json!("0 0 0 31 2 ?"),
        _ => json!("x".repeat(chance.random_range(0..300))),
    }
}
