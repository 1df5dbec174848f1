//! The console's REST API as the operators' commands use it: JSON in and out, problems as failures.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{ETAG, IF_MATCH};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use crate::args::Remote;
use crate::failure::{Failure, Outcome};

/// Where `carillon dev` leaves the administrator's token.
const DEV_TOKEN: &str = "carillon-data/admin.token";

/// How long one request may take: an edit waits for its Disarm acknowledgements, everything else is quicker.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// How long a connection may take to come up: a console that needs longer is not there.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// The most items asked for at once; the API's own bound.
const PAGE: usize = 500;

/// A console, asked as somebody.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// An answer that is no refusal.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The body; null where there is none.
    pub(crate) body: Value,
    /// The revision, for If-Match.
    pub(crate) etag: Option<String>,
}

impl Api {
    /// The console that the flags name.
    pub(crate) fn new(remote: &Remote) -> Outcome<Self> {
        Self::at(&remote.console, remote.token.clone().or_else(|| token_of(Path::new(DEV_TOKEN))))
    }

    /// The console at a URL, asked with a token.
    pub(crate) fn at(url: &str, token: Option<String>) -> Outcome<Self> {
        let base = url.trim_end_matches('/').to_owned();
        let url = Url::parse(&base)
            .map_err(|error| Failure::Usage(format!("--console {base:?} is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Failure::Usage(format!(
                "--console {base:?} is not a URL of a console, such as http://127.0.0.1:7700"
            )));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(REQUEST_DEADLINE)
            .user_agent(concat!("carillon/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(anyhow::Error::from)?;
        Ok(Self { http, base, token })
    }

    /// Reads one resource.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Outcome<Answer> {
        self.send(Method::GET, path, query, None, &[]).await
    }

    /// Asks for something to be done.
    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> Outcome<Answer> {
        self.send(Method::POST, path, &[], body, &[]).await
    }

    /// Writes a resource, given the revision that was read.
    pub(crate) async fn write(
        &self,
        method: Method,
        path: &str,
        etag: Option<&str>,
        body: Option<&Value>,
    ) -> Outcome<Answer> {
        let headers: Vec<_> = etag.map(|etag| (IF_MATCH.as_str(), etag.to_owned())).into_iter().collect();
        self.send(method, path, &[], body, &headers).await
    }

    /// Reads a list to its end or to `limit` items, following its cursors.
    pub(crate) async fn list(&self, path: &str, query: &[(&str, &str)], limit: usize) -> Outcome<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        while items.len() < limit {
            let page = (limit - items.len()).min(PAGE).to_string();
            let mut query = query.to_vec();
            query.push(("limit", &page));
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let mut answer = self.get(path, &query).await?.body;
            let Some(page) = answer.get_mut("items").and_then(Value::as_array_mut) else {
                return Err(Failure::Error(anyhow::anyhow!(
                    "{path} gave no list; is the console of another version?"
                )));
            };
            items.append(page);
            cursor = answer.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        items.truncate(limit);
        Ok(items)
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
        headers: &[(&str, String)],
    ) -> Outcome<Answer> {
        let mut url = Url::parse(&format!("{}/api/v1{path}", self.base)).map_err(anyhow::Error::from)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if !status.is_success() {
            return Err(refusal(status, &bytes, self.token.is_some()));
        }
        let body = match bytes.as_ref() {
            [] => Value::Null,
            // Logs may be plain text.
            text => serde_json::from_slice(text)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(text).into_owned())),
        };
        Ok(Answer { body, etag })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Failure::Unreachable(format!("the console at {} does not answer: {cause}", self.base))
    }
}

/// Reads the token that `carillon dev` left, if it did.
fn token_of(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

/// A refusal as people read it, under the exit code that fits its status.
fn refusal(status: StatusCode, body: &[u8], with_token: bool) -> Failure {
    let problem: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let mut text = match problem.get("detail").and_then(Value::as_str) {
        Some(detail) => detail.to_owned(),
        None => format!("the console answered {status}"),
    };
    if let Some(code) = problem.get("code").and_then(Value::as_str) {
        text.push_str(&format!(" ({code})"));
    }
    for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let field = error.get("field").and_then(Value::as_str).unwrap_or("");
        let message = error.get("message").and_then(Value::as_str).unwrap_or("");
        let column = error.get("column").and_then(Value::as_u64);
        let place = column.map(|column| format!(", column {column}")).unwrap_or_default();
        text.push_str(&format!("\n  {}{place}: {message}", if field.is_empty() { "body" } else { field }));
    }
    if status == StatusCode::UNAUTHORIZED && !with_token {
        text.push_str(&format!("\nno token was given: use --token, CARILLON_TOKEN or {DEV_TOKEN}"));
    }
    match status {
        StatusCode::NOT_FOUND => Failure::NotFound(text),
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Failure::Conflict(text),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
            Failure::Usage(text)
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Failure::Unreachable(text)
        }
        _ => Failure::Error(anyhow::anyhow!(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_each_field() {
        let body =
            br#"{"status":422,"code":"invalid","detail":"2 fields are not as they should be","errors":[
            {"field":"schedule.expression","message":"61 is not between 0 and 59","column":3},
            {"field":"handler","message":"\"\" is not a handler"}]}"#;
        let failure = refusal(StatusCode::UNPROCESSABLE_ENTITY, body, true);
        assert_eq!(failure.code(), 2);
        assert_eq!(
            failure.to_string(),
            "2 fields are not as they should be (invalid)\n  schedule.expression, column 3: 61 is not between 0 and 59\n  \
             handler: \"\" is not a handler"
        );
    }

    #[test]
    fn an_answer_without_a_problem_is_still_told() {
        let failure = refusal(StatusCode::BAD_GATEWAY, b"<html>nginx</html>", true);
        assert_eq!(
            (failure.code(), failure.to_string().as_str()),
            (6, "the console answered 502 Bad Gateway")
        );
    }

    #[test]
    fn who_came_without_a_token_is_told_how_to_bring_one() {
        let failure = refusal(StatusCode::UNAUTHORIZED, b"{\"detail\":\"nobody is signed in\"}", false);
        assert_eq!(failure.code(), 1);
        assert!(failure.to_string().contains("CARILLON_TOKEN"));
    }
}
