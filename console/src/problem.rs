//! Refusals as problem details (RFC 9457): a stable `code`, a readable `detail`, one entry per field.

use std::error::Error;
use std::fmt;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_core::job::FieldError;
use carillon_core::time::Span;
use carillon_store::StoreError;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The result of everything that answers a request.
pub(crate) type Result<T, E = Problem> = std::result::Result<T, E>;

/// Why a request was refused, or could not be served. Boxed, because answers are rarely refusals and results are passed around a lot.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Content>);

/// Why a request was refused, or could not be served (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "urn:carillon:problem:invalid", "title": "Unprocessable Entity", "status": 422, "code": "invalid",
    "detail": "1 field is not as it should be",
    "errors": [{"field": "schedule.expression", "message": "minute field at column 3: 61 is not between 0 and 59", "column": 3}]
}))]
struct Content {
    /// `urn:carillon:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The words of the HTTP status.
    title: String,
    /// The HTTP status.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// A stable word for programs.
    code: &'static str,
    /// What is wrong and what would be right, for people.
    detail: String,
    /// One entry for each field at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<FieldProblem>)]
    errors: Vec<FieldError>,
    #[serde(flatten)]
    #[schema(ignore)]
    more: Map<String, Value>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Content::schema()
    }
}

impl ToSchema for Problem {}

/// What is wrong with one field.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of carillon_core::job::FieldError, which serialises itself")]
pub(crate) struct FieldProblem {
    /// The field as a dotted path, such as `schedule.expression`; empty for the body as a whole.
    field: String,
    /// What was given and what would be right.
    message: String,
    /// For texts with a syntax: the 1-based column of the error.
    column: Option<u64>,
}

/// The code of a refused request, left in the response for the audit trail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProblemCode(pub(crate) &'static str);

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A refusal with a stable code.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Content {
            kind: format!("urn:carillon:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Refused").to_owned(),
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            more: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// 422: fields are not as they should be.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] if one.field.is_empty() => one.message.clone(),
            [one] => format!("{}: {}", one.field, one.message),
            many => format!("{} fields are not as they should be", many.len()),
        };
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail);
        problem.0.errors = errors;
        problem
    }

    /// 422 about a single field.
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(field, message)])
    }

    /// 404: it does not exist, or may not be seen.
    pub(crate) fn not_found(what: &str, id: impl fmt::Display) -> Self {
        let id: String = id.to_string().chars().take(80).collect();
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no {what} {id}, or you may not see it"),
        )
    }

    /// 401: nobody is signed in.
    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .header(header::WWW_AUTHENTICATE, "Bearer realm=\"carillon\"")
    }

    /// 403: the signed-in one may not.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 409: something stands against it.
    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 503: a part that is needed does not answer; try again after `wait`.
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>, wait: Span) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(wait)
    }

    /// 500: our fault. Logs the cause with its chain; the answer says no more than that.
    pub(crate) fn internal(doing: &str, cause: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = %chain(cause), "could not {doing}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            format!("could not {doing}; the log of the console says why"),
        )
    }

    /// Adds a member of its own to the answer.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// Says when to try again: whole seconds, at least one.
    #[must_use]
    pub(crate) fn retry_after(self, wait: Span) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        self.header(header::RETRY_AFTER, &seconds.to_string())
    }

    /// The stable word.
    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    /// The sentence for people.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0).expect("a problem holds only texts, numbers and JSON");
        let mut response =
            (self.0.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        response.headers_mut().extend(self.0.headers);
        response.extensions_mut().insert(ProblemCode(self.0.code));
        response
    }
}

impl Problem {
    fn no_word_from_the_store() -> Self {
        Self::unavailable(
            "store_unavailable",
            "the database does not answer; what was asked may or may not have happened",
            Span::SECOND,
        )
    }

    /// The answer where an earlier try of the same change may have been, or may yet be, committed: "nothing happened" is not known then.
    pub(crate) fn of_one_in_doubt(self) -> Self {
        if self.0.status == StatusCode::SERVICE_UNAVAILABLE { Self::no_word_from_the_store() } else { self }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable { .. } => {
                tracing::warn!(error = %chain(&error), "the store did not answer");
                Self::no_word_from_the_store()
            }
            StoreError::Busy { .. } => {
                tracing::warn!(error = %chain(&error), "the store was busy");
                Self::unavailable(
                    "store_busy",
                    "the database was busy; nothing happened, try again",
                    Span::SECOND,
                )
            }
            StoreError::NotFound { what, id } => Self::not_found(what, id),
            StoreError::Conflict { .. } => Self::conflict("conflict", error.to_string()),
            StoreError::LimitExceeded { .. } => Self::conflict("limit_exceeded", error.to_string()),
            StoreError::Corrupt { .. } => Self::internal("read the database", &error),
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
