//! Search in the log of an attempt.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::AttemptNo;
use carillon_store::accounts::Role;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Access;
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::problem::Result;

/// Bytes read at a time: whole lines are cut out of them.
const PIECE: u64 = 1 << 20;

/// Bytes that one request looks through: some hundred milliseconds; the answer says where to go on.
const MOST_BYTES: u64 = 64 << 20;

/// Characters of a line that are shown around a match.
const SHOWN: usize = 400;

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_search_log, _, _>(search_log, Need::Role(Role::Viewer));
}

/// What to look for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SearchParams {
    /// The text, ignoring the case of ASCII letters.
    #[param(min_length = 1, max_length = 200)]
    text: String,
    /// The attempt; the current one unless given.
    #[param(minimum = 1, maximum = 1_000_000)]
    attempt: Option<u32>,
    /// Byte offset to begin at: 0, or `next_offset` of the answer before.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991u64)]
    from: Option<u64>,
    /// Matches at most (default 100).
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
}

/// The lines that hold a text.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct LogMatches {
    /// The lines, in the log's order.
    matches: Vec<LogMatch>,
    /// Where to go on; absent when the log was looked through to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<u64>,
    /// The log's length in bytes so far.
    total: u64,
}

/// A line that holds the text.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LogMatch {
    /// The byte offset at which the line begins.
    offset: u64,
    /// The line, cut where it is long.
    text: String,
}

/// Search in the log of a run
///
/// Looks through at most 64 MiB a request.
#[utoipa::path(get, path = "/api/v1/runs/{run}/log/search", tag = "runs",
    params(("run" = String, Path, description = "Its id."), SearchParams),
    responses((status = 200, description = "The lines that hold the text.", body = LogMatches)))]
async fn search_log(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<SearchParams>,
) -> Result<Json<LogMatches>> {
    let run = access.run();
    let attempt = params.attempt.map_or(run.attempt, AttemptNo::new);
    let limit = params.limit.unwrap_or(100);
    let needle = params.text.to_ascii_lowercase().into_bytes();
    let begin = params.from.unwrap_or(0);
    let mut found = LogMatches::default();
    let mut at = begin;
    loop {
        let (piece, total) = console.store.read_log(run.key, attempt, at, PIECE).await?;
        found.total = total;
        if piece.is_empty() {
            return Ok(Json(found));
        }
        let ends = at + piece.len() as u64 >= total;
        let looked = look(&piece, at, &needle, ends, limit - found.matches.len(), &mut found.matches);
        at += looked;
        if found.matches.len() >= limit || at - begin >= MOST_BYTES {
            found.next_offset = (at < total).then_some(at);
            return Ok(Json(found));
        }
        if ends {
            return Ok(Json(found));
        }
    }
}

/// Looks through the whole lines of a piece that begins at `offset`; returns how many bytes are done. A line longer than a piece is cut.
fn look(piece: &[u8], offset: u64, needle: &[u8], last: bool, room: usize, found: &mut Vec<LogMatch>) -> u64 {
    let whole = match piece.iter().rposition(|byte| *byte == b'\n') {
        Some(end) if !last => end + 1,
        _ => piece.len(),
    };
    let (mut at, mut left) = (0, room);
    for line in piece[..whole].split_inclusive(|byte| *byte == b'\n') {
        if left == 0 {
            break;
        }
        if let Some(place) = find(line, needle) {
            found.push(LogMatch { offset: offset + at as u64, text: shown(line, place) });
            left -= 1;
        }
        at += line.len();
    }
    at as u64
}

fn find(line: &[u8], needle: &[u8]) -> Option<usize> {
    line.windows(needle.len()).position(|window| window.eq_ignore_ascii_case(needle))
}

/// The line around a match.
fn shown(line: &[u8], place: usize) -> String {
    let begin = place.saturating_sub(SHOWN / 4);
    let begin = if line.len() <= SHOWN { 0 } else { begin };
    let text = String::from_utf8_lossy(&line[begin..]);
    text.trim_end_matches(['\n', '\r']).chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_searched_and_the_rest_is_left_for_the_next_piece() {
        let piece = b"one Error\ntwo\nan ERROR here\nhalf an er";
        let mut found = Vec::new();
        let looked = look(piece, 100, b"error", false, 10, &mut found);
        assert_eq!(looked, 28);
        let expected = [(100, "one Error"), (114, "an ERROR here")];
        assert_eq!(found, expected.map(|(offset, text)| LogMatch { offset, text: text.to_owned() }));
        found.clear();
        assert_eq!(look(piece, 0, b"half", true, 10, &mut found), piece.len() as u64);
        assert_eq!(found.len(), 1);
        found.clear();
        assert_eq!(
            look(piece, 0, b"o", false, 1, &mut found),
            10,
            "goes on behind the line of the last match"
        );
    }
}
