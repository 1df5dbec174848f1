//! The log of a run's attempt: as text, by ranges, live; or as JSON with the offset to go on at.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body as AnswerBody;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use carillon_core::ids::{AttemptNo, RunKey};
use carillon_core::run::Run;
use carillon_core::time::{Span, Timestamp};
use carillon_store::accounts::Role;
use futures::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Access;
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::problem::{Problem, Result};

/// Bytes of an answer: a page of text, and a quarter of what an answer may weigh.
const PIECE: u64 = 256 * 1024;

/// A live log is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// A log may grow for this long after its attempt's end: its lines and the report of the end take different ways, and are stored by different
/// transactions.
const LINES_ARE_LATE: Span = Span::from_millis(1_000);

/// The same of a log that holds nothing yet: a worker says again after 5 s what was not acknowledged, its first lines among it.
const FIRST_LINES_ARE_LATE: Span = Span::from_millis(6_000);

/// A live log ends after this; the reader asks again from where it is. Longer streams would outlive permissions and deploys.
const LONGEST_FOLLOW: Duration = Duration::from_secs(600);

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_run_log, _, _>(run_log, Need::RoleOrWorker(Role::Viewer));
}

/// Which part of which log.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogParams {
    /// The attempt; the current one unless given.
    #[param(minimum = 1, maximum = 1_000_000)]
    attempt: Option<u32>,
    /// Byte offset to begin at (default 0).
    #[param(minimum = 0, maximum = 9_007_199_254_740_991u64)]
    from: Option<u64>,
    /// Text only: go on with what is written until the attempt is over.
    follow: Option<bool>,
    /// Text only: all of it, as a file to save.
    download: Option<bool>,
    /// `json` for an answer with offsets, whatever the header `Accept` says.
    #[param(inline)]
    format: Option<LogFormat>,
}

/// How to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// Plain text.
    Text,
    /// With offsets.
    Json,
}

/// A piece of a log.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogPiece {
    /// The attempt.
    attempt: u32,
    /// The byte offset of the piece.
    offset: u64,
    /// Where the next piece begins: give it as `from`. Equal to `offset` when there is nothing more yet.
    next_offset: u64,
    /// The log's length in bytes so far.
    total: u64,
    /// Whether nothing more will come.
    complete: bool,
    /// The text.
    text: String,
}

/// The log of a run
///
/// Plain text (`Range: bytes=...` gives 206), at most 256 KiB an answer unless it is followed; with `format=json` or `Accept: application/json` a piece
/// with the offset to go on at.
#[utoipa::path(get, path = "/api/v1/runs/{run}/log", tag = "runs",
    params(("run" = String, Path, description = "Its id."), LogParams, ("Range" = Option<String>, Header, description = "`bytes=from-`, `bytes=from-to` or `bytes=-length` for the end.")),
    responses(
        (status = 200, description = "The log.", content((String = "text/plain"), (LogPiece = "application/json"))),
        (status = 206, description = "The asked-for range.", body = String, content_type = "text/plain"),
        (status = 416, description = "The range begins behind the end.", body = Problem, content_type = "application/problem+json"),
    ))]
async fn run_log(
    State(console): State<Arc<Console>>,
    access: Access,
    headers: HeaderMap,
    Params(params): Params<LogParams>,
) -> Result<Response> {
    let run = access.run();
    let attempt = AttemptNo::new(params.attempt.unwrap_or(run.attempt.get()));
    if attempt > run.attempt {
        return Err(Problem::not_found("attempt", attempt));
    }
    let accepts_json =
        headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
    let as_json = params.format.map_or(accepts_json, |format| format == LogFormat::Json);
    let from = params.from.unwrap_or(0);
    if as_json {
        return json_piece(&console, run, attempt, from).await;
    }
    if params.follow == Some(true) {
        return Ok(followed(console, run.key, attempt, from));
    }
    if params.download == Some(true) {
        return Ok(download(console, run.key, attempt));
    }
    if let Some(length) = tail(&headers) {
        let (_, total) = console.store.read_log(run.key, attempt, 0, 1).await?;
        let from = total.saturating_sub(length.min(PIECE));
        return partial(&console, run.key, attempt, from, None).await;
    }
    if let Some((from, to)) = range(&headers) {
        return partial(&console, run.key, attempt, from, to).await;
    }
    let (piece, _) = console.store.read_log(run.key, attempt, from, PIECE).await?;
    Ok(text(piece))
}

fn text(piece: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::ACCEPT_RANGES, "bytes")], piece)
        .into_response()
}

async fn json_piece(console: &Console, run: &Run, attempt: AttemptNo, from: u64) -> Result<Response> {
    let (mut piece, total) = console.store.read_log(run.key, attempt, from, PIECE).await?;
    // A piece that ends within a character gives its bytes to the next one.
    if let Err(error) = std::str::from_utf8(&piece)
        && error.error_len().is_none()
        && error.valid_up_to() > 0
    {
        piece.truncate(error.valid_up_to());
    }
    let next_offset = from + piece.len() as u64;
    let text = String::from_utf8_lossy(&piece).into_owned();
    let complete = next_offset >= total && is_whole(run, attempt, total, console.now());
    Ok(Json(LogPiece { attempt: attempt.get(), offset: from, next_offset, total, complete, text })
        .into_response())
}

/// Whether nothing more is to be expected in the log of an attempt that holds `length` bytes.
fn is_whole(run: &Run, attempt: AttemptNo, length: u64, now: Timestamp) -> bool {
    if attempt < run.attempt {
        return true;
    }
    let late = if length == 0 { FIRST_LINES_ARE_LATE } else { LINES_ARE_LATE };
    run.state.is_final() && run.finished_at.is_none_or(|finished| now >= finished.saturating_add(late))
}

async fn partial(
    console: &Console,
    run: RunKey,
    attempt: AttemptNo,
    from: u64,
    to: Option<u64>,
) -> Result<Response> {
    let most = to.map_or(PIECE, |to| to.saturating_sub(from).saturating_add(1).min(PIECE));
    let (mut piece, total) = console.store.read_log(run, attempt, from, most).await?;
    // The store may round up to whole chunks.
    piece.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    if piece.is_empty() {
        return Err(Problem::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "no_such_range",
            format!("the log has {total} bytes so far"),
        )
        .header(header::CONTENT_RANGE, &format!("bytes */{total}")));
    }
    let last = from + piece.len() as u64 - 1;
    let content_range = format!("bytes {from}-{last}/{total}");
    Ok((StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, content_range)], text(piece)).into_response())
}

/// The length of a range that means the end.
fn tail(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::RANGE)?
        .to_str()
        .ok()?
        .strip_prefix("bytes=-")?
        .parse()
        .ok()
        .filter(|length| *length > 0)
}

/// All that was written so far, piece by piece, as a file.
fn download(console: Arc<Console>, run: RunKey, attempt: AttemptNo) -> Response {
    let pieces = stream::try_unfold((console, 0), move |(console, offset)| async move {
        let (piece, _) =
            console.store.read_log(run, attempt, offset, PIECE).await.map_err(std::io::Error::other)?;
        let next = offset + piece.len() as u64;
        Ok::<_, std::io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), (console, next))))
    });
    let disposition = format!("attachment; filename=\"run-{run}-{attempt}.log\"");
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, AnswerBody::from_stream(pieces)).into_response()
}

/// One range of bytes; other forms are answered with the whole, as HTTP allows.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::RANGE)?.to_str().ok()?;
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse().ok()?;
    if to.is_empty() {
        return Some((from, None));
    }
    let to = to.parse().ok().filter(|to| *to >= from)?;
    Some((from, Some(to)))
}

/// The log from an offset on, as it grows.
fn followed(console: Arc<Console>, run: RunKey, attempt: AttemptNo, from: u64) -> Response {
    let end = tokio::time::Instant::now() + LONGEST_FOLLOW;
    let pieces = stream::unfold((console, from, false), move |(console, offset, ended)| async move {
        if ended {
            return None;
        }
        loop {
            // Asked before the log, so that nothing that was stored before the end is missed.
            let now = console.now();
            let found = match console.store.run(run).await {
                Ok(found) => found,
                Err(error) => return Some((Err(std::io::Error::other(error)), (console, offset, true))),
            };
            match console.store.read_log(run, attempt, offset, PIECE).await {
                Err(error) => return Some((Err(std::io::Error::other(error)), (console, offset, true))),
                Ok((piece, _)) if !piece.is_empty() => {
                    let offset = offset + piece.len() as u64;
                    return Some((Ok(Bytes::from(piece)), (console, offset, false)));
                }
                Ok((_, length)) => {
                    let whole = found.is_none_or(|run| is_whole(&run, attempt, length, now));
                    if whole || tokio::time::Instant::now() >= end {
                        return None;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = console.stopping.cancelled() => return None,
            }
        }
    });
    // `no` keeps a proxy from holding lines back.
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, AnswerBody::from_stream(pieces)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_where_it_has_one_part() {
        let of = |text: &str| range(&HeaderMap::from_iter([(header::RANGE, text.parse().unwrap())]));
        assert_eq!(of("bytes=0-9"), Some((0, Some(9))));
        assert_eq!(of("bytes=5-"), Some((5, None)));
        for other in ["bytes=-5", "bytes=9-5", "bytes=0-1,3-4", "lines=1-2", "bytes=99999999999999999999-"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
