//! Reading requests: JSON bodies and query strings, checked against the API's own description before anything looks at them.

pub(crate) mod check;

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use carillon_core::job::FieldError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::openapi::path::ParameterIn;
use utoipa::{IntoParams, ToSchema};

use crate::openapi;
use crate::problem::{Problem, Result};

/// A JSON body that fits the schema of `T`.
pub(crate) struct Body<T>(pub(crate) T);

/// As [`Body`], where no body at all means the default.
pub(crate) struct OptionalBody<T>(pub(crate) T);

/// A body that is any JSON, with its media type checked: for patches.
pub(crate) struct RawBody(pub(crate) Value);

/// A query string that fits the parameters of `T`.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + ToSchema> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let value = read_json(request, state).await?;
        Ok(Self(fit(value.unwrap_or(Value::Null))?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + ToSchema + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        match read_json(request, state).await? {
            Some(value) => Ok(Self(fit(value)?)),
            None => Ok(Self(T::default())),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        Ok(Self(read_json(request, state).await?.unwrap_or(Value::Null)))
    }
}

/// Reads a JSON value; none where there is no body.
async fn read_json<S: Send + Sync>(request: Request, state: &S) -> Result<Option<Value>> {
    let media_type =
        request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("").to_owned());
    let bytes = Bytes::from_request(request, state).await.map_err(|refusal| {
        if refusal.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let most = crate::router::LARGEST_BODY;
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("the body is longer than {most} bytes (1 MiB)"),
            )
        } else {
            Problem::new(StatusCode::BAD_REQUEST, "unreadable", "the body could not be read to its end")
        }
    })?;
    if bytes.is_empty() && media_type.is_none() {
        return Ok(None);
    }
    if !media_type.as_deref().is_some_and(is_json) {
        let given = media_type.unwrap_or_else(|| "none".to_owned());
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("the media type is {given:?}; send application/json"),
        ));
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("the body is not JSON: {error}"))
            .with("line", error.line())
            .with("column", error.column())
    })
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "application/merge-patch+json")
}

/// Checks a value against the schema of `T` and reads it.
pub(crate) fn fit<T: DeserializeOwned + ToSchema>(value: Value) -> Result<T> {
    let components = openapi::components();
    if let Some(schema) = components.get(T::name().as_ref()) {
        let errors = check::check(components, schema, &value);
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
    }
    read(value)
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T> {
    // What the schema cannot say, the type itself refuses.
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        Problem::field(field, error.into_inner().to_string())
    })
}

impl<S: Send + Sync, T: DeserializeOwned + IntoParams> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| {
                Problem::new(StatusCode::BAD_REQUEST, "malformed_query", "the query string cannot be read")
            })?
            .0;
        let mut known = Map::new();
        let mut required = Vec::new();
        for parameter in T::into_params(|| Some(ParameterIn::Query)) {
            if parameter.required == utoipa::openapi::Required::True {
                required.push(Value::from(parameter.name.clone()));
            }
            let schema = serde_json::to_value(&parameter.schema).unwrap_or(Value::Null);
            known.insert(parameter.name, schema);
        }
        let value = typed(&known, pairs)?;
        let schema = serde_json::json!({"type": "object", "properties": known, "required": required});
        let errors = check::check(openapi::components(), &schema, &value);
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        Ok(Self(read(value)?))
    }
}

/// Gives each text of a query string the JSON type of its parameter. Lists are separated by commas or given several times.
fn typed(known: &Map<String, Value>, pairs: Vec<(String, String)>) -> Result<Value> {
    let mut fields = Map::new();
    for (name, text) in pairs {
        let schema = known.get(&name).unwrap_or(&Value::Null);
        let kinds = kinds_of(schema);
        if kinds.contains(&"array") {
            let list = fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.extend(text.split(',').filter(|item| !item.is_empty()).map(Value::from));
            }
            continue;
        }
        // An empty text is what a form leaves of an unused filter.
        if text.is_empty() && known.contains_key(&name) {
            continue;
        }
        let value = if kinds.contains(&"integer") {
            text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
        } else if kinds.contains(&"boolean") {
            text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from)
        } else {
            Value::from(text)
        };
        if fields.contains_key(&name) {
            return Err(Problem::invalid(vec![FieldError::new(name, "is given twice")]));
        }
        fields.insert(name, value);
    }
    Ok(Value::Object(fields))
}

/// The JSON types a parameter may have, its references followed.
fn kinds_of(schema: &Value) -> Vec<&str> {
    let schema = match schema.get("$ref").and_then(Value::as_str) {
        Some(name) => openapi::components().get(name.rsplit('/').next().unwrap_or(name)).unwrap_or(schema),
        None => schema,
    };
    let mut kinds = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind.as_str()],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    for choice in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        kinds.extend(kinds_of(choice));
    }
    kinds
}
