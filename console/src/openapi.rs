//! The API's description, made from the table of operations: what `/api/v1/openapi.json` serves and what requests are checked against.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::path::HttpMethod;

use crate::api;
use crate::operation::{Need, Operation, Operations};
use crate::problem::{FieldProblem, Problem};

const DESCRIPTION: &str = "\
Task groups, jobs and their runs.

JSON in snake_case; unknown fields are refused. Times are RFC 3339 in UTC with milliseconds, durations texts such as `10s` or `1m30s`; 64-bit ids \
are texts. Lists are paged by opaque cursors. Refusals are problem details (RFC 9457) with a stable `code` and one entry for each field at fault. \
Writes of jobs and task groups need `If-Match` with the `ETag` that was read.

Sign in with `POST /api/v1/sessions` (cookie; writes then carry `X-CSRF-Token`), or send `Authorization: Bearer cri_pat_...`. Task groups on which \
you have no role answer 404, as if they did not exist; 403 means that you see them but may not do this.";

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// The whole description.
pub fn openapi() -> &'static Value {
    &DOCUMENT
}

/// The schemas by name.
pub(crate) fn components() -> &'static Map<String, Value> {
    DOCUMENT["components"]["schemas"].as_object().expect("the document has schemas")
}

fn document() -> Value {
    let mut operations = Operations::default();
    api::enter(&mut operations);
    let mut schemas = BTreeMap::new();
    let mut paths = Map::new();
    let mut own = Vec::new();
    for (name, schema) in [
        (Problem::name(), <Problem as utoipa::PartialSchema>::schema()),
        (FieldProblem::name(), <FieldProblem as utoipa::PartialSchema>::schema()),
    ] {
        own.push((name.into_owned(), schema));
    }
    api::schemas::collect(&mut own);
    for operation in operations.0 {
        own.extend(operation.schemas.iter().cloned());
        let (method, described) = describe(&operation);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[method] = described;
    }
    for (name, schema) in own {
        schemas.insert(name, serde_json::to_value(schema).expect("a schema is JSON"));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Carillon",
            "version": "1",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "this console"}],
        "tags": api::TAGS.map(|(name, description)| json!({"name": name, "description": description})),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": refusals(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A personal token `cri_pat_...` or worker token `cri_wkr_...`."},
                "session": {"type": "apiKey", "in": "cookie", "name": "carillon_session",
                    "description": "The cookie of a sign-in; writes also need the header `X-CSRF-Token`."},
            },
        },
    })
}

/// The refusals that many operations share, by status.
const REFUSALS: [(&str, &str); 10] = [
    ("400", "The body is not JSON."),
    ("401", "Nobody is signed in, or the token does not hold."),
    ("403", "Not allowed."),
    ("404", "It does not exist, or you may not see it."),
    ("412", "It was changed since it was read; `changed_by` and `changed_at` tell by whom and when."),
    ("413", "The body is longer than 1 MiB."),
    ("415", "The body's media type is not JSON."),
    ("422", "Fields or parameters are not as they should be; `errors` names each."),
    ("428", "`If-Match` is missing."),
    ("503", "A part that is needed does not answer; try again after `Retry-After`."),
];

fn refusals() -> Map<String, Value> {
    let refusal = |(status, description): (&str, &str)| {
        let schema = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
        let described = json!({"description": description, "content": {"application/problem+json": schema}});
        (format!("Refused{status}"), described)
    };
    REFUSALS.into_iter().map(refusal).collect()
}

/// One operation with what all of them have in common: its need, and the refusals it may answer.
fn describe(operation: &Operation) -> (&'static str, Value) {
    let mut described = serde_json::to_value(&operation.described).expect("an operation is JSON");
    let text = described["description"].as_str().unwrap_or_default().trim().to_owned();
    let sentence = operation.need.sentence();
    described["description"] =
        json!(if text.is_empty() { sentence } else { format!("{text}\n\n{sentence}") });
    described["security"] = match operation.need {
        Need::Nothing => json!([]),
        _ => json!([{"token": []}, {"session": []}]),
    };
    let has_params = described["parameters"].as_array().is_some_and(|params| !params.is_empty());
    let takes_body = described.get("requestBody").is_some_and(|body| !body.is_null());
    let if_match =
        described["parameters"].as_array().into_iter().flatten().any(|param| param["name"] == "If-Match");
    let mut refusals = vec!["503"];
    if operation.need != Need::Nothing {
        refusals.extend(["401", "403"]);
    }
    if operation.path.contains('{') {
        refusals.push("404");
    }
    if has_params || takes_body {
        refusals.push("422");
    }
    if takes_body {
        refusals.extend(["400", "413", "415"]);
    }
    if if_match {
        refusals.extend(["412", "428"]);
    }
    for status in refusals {
        if described["responses"].get(status).is_none() {
            described["responses"][status] =
                json!({"$ref": format!("#/components/responses/Refused{status}")});
        }
    }
    (method_name(&operation.method), described)
}

fn method_name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "get",
        HttpMethod::Post => "post",
        HttpMethod::Put => "put",
        HttpMethod::Delete => "delete",
        HttpMethod::Patch => "patch",
        HttpMethod::Options => "options",
        HttpMethod::Head => "head",
        HttpMethod::Trace => "trace",
    }
}
