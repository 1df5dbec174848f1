//! `ETag` and `If-Match`: a write names the revision that its writer read.

use axum::http::{HeaderMap, StatusCode, header};

use crate::problem::{Problem, Result};

/// The `ETag` of a revision.
pub(crate) fn etag(revision: u32) -> String {
    format!("\"{revision}\"")
}

/// The revision that a write demands; none for `*`, which takes whichever is in force.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<u32>> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_missing",
            "send If-Match with the ETag that you read, so that nobody's change is lost; or `*` to overwrite whatever is there",
        ));
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let revision =
        text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
    revision
        .map(Some)
        .ok_or_else(|| Problem::field("If-Match", "is not an ETag of ours, such as \"3\" with its quotes"))
}
