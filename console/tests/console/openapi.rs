//! The API's description: a guarded snapshot, complete, and served.

use axum::http::{Method, StatusCode};
use serde_json::Value;

use crate::support::World;

/// The snapshot, which clients' types are generated from. `CARILLON_UPDATE_OPENAPI=1 cargo test -p carillon-console openapi` writes it anew; the
/// difference then belongs into the same commit, for a reviewer to see what changes for users.
#[test]
fn the_description_is_the_one_in_the_repository() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let now = serde_json::to_string_pretty(carillon_console::openapi()).unwrap() + "\n";
    if std::env::var_os("CARILLON_UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let first = now.lines().zip(kept.lines()).position(|(now, kept)| now != kept);
    assert!(
        now == kept,
        "the API's description changed (first at line {first:?}): run CARILLON_UPDATE_OPENAPI=1 cargo test -p carillon-console openapi"
    );
}

#[test]
fn every_reference_leads_somewhere_and_everything_is_described() {
    let document = carillon_console::openapi();
    assert_eq!(document["openapi"], "3.1.0");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut references = Vec::new();
    collect_references(document, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut operation_ids = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = format!("{method} {path}");
            operation_ids.push(operation["operationId"].as_str().unwrap().to_owned());
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}: no summary");
            assert!(
                operation["description"].as_str().unwrap().contains("Needs "),
                "{name}: says not what it needs"
            );
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response = match response["$ref"].as_str() {
                    Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
                    None => response,
                };
                assert!(
                    response["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{name} {status}"
                );
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(
                    parameter["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{name} {parameter}"
                );
            }
            let placeholders = path.matches('{').count();
            let params = operation["parameters"].as_array().into_iter().flatten();
            assert_eq!(params.filter(|param| param["in"] == "path").count(), placeholders, "{name}");
        }
    }
    let count = operation_ids.len();
    operation_ids.sort();
    operation_ids.dedup();
    assert_eq!(operation_ids.len(), count, "operation ids are unique");
    for (name, schema) in schemas {
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let described = property.get("description").is_some()
                || property.get("$ref").is_some()
                || property.get("oneOf").is_some();
            assert!(
                described || ["type", "policy"].contains(&field.as_str()),
                "{name}.{field} has no description"
            );
        }
    }
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.push(reference.clone());
            }
            fields.values().for_each(|value| collect_references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_page_is_whole_without_any_other_server() {
    let world = World::new().await;
    let served = world.plain(Method::GET, "/api/v1/openapi.json").send().await.must(StatusCode::OK);
    assert_eq!(&served.json(), carillon_console::openapi());
    for (path, kind) in [
        ("/", "text/html"),
        ("/docs", "text/html"),
        ("/docs/docs.js", "text/javascript"),
        ("/docs/docs.css", "text/css"),
    ] {
        let page = world.plain(Method::GET, path).send().await.must(StatusCode::OK);
        assert!(page.header("content-type").starts_with(kind), "{path}");
        assert!(page.header("content-security-policy").starts_with("default-src 'self'"));
        let text = String::from_utf8(page.body).unwrap();
        let foreign = text
            .match_indices("://")
            .filter(|(at, _)| !text[..*at].ends_with("http") || !text[*at..].starts_with("://www.w3.org"))
            .count();
        assert_eq!(foreign, 0, "{path} fetches from elsewhere");
        assert!(
            !text.contains("<script>") && !text.contains("onclick=") && !text.contains("style=\""),
            "{path}: inline code is refused by the policy"
        );
    }
}
