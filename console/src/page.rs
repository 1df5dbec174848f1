//! Lists in pages: opaque cursors, and totals that are counted no further than anybody reads.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Problem, Result};

/// How many items a page has unless the request says.
pub(crate) const DEFAULT_LIMIT: usize = 50;

/// The most items of a page: an answer of about a megabyte.
pub(crate) const MOST_ITEMS: usize = 500;

/// Totals are counted no further: "10 000+" tells as much, and counting more would scan tables.
pub(crate) const TOTAL_CAP: usize = 10_000;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items, in the order the list is documented to have.
    pub(crate) items: Vec<T>,
    /// Give it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
    /// How many items the whole list has, on the first page of lists that can be counted cheaply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<usize>,
    /// There are more than `total`, which stops counting at 10,000.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) total_capped: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl<T> Page<T> {
    /// A page from one item more than fits: the extra one tells that there is a next page.
    pub(crate) fn of(mut items: Vec<T>, limit: usize, position: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = if more { items.last().map(|last| encode(&position(last))) } else { None };
        Self { items, next_cursor, total: None, total_capped: false }
    }

    /// Adds the total of a count that stopped at [`TOTAL_CAP`] + 1.
    pub(crate) fn with_total(mut self, counted: Option<usize>) -> Self {
        self.total = counted.map(|counted| counted.min(TOTAL_CAP));
        self.total_capped = counted.is_some_and(|counted| counted > TOTAL_CAP);
        self
    }

    /// The same page with other items.
    pub(crate) fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(convert).collect(),
            next_cursor: self.next_cursor,
            total: self.total,
            total_capped: self.total_capped,
        }
    }
}

/// The size of a page as asked for, checked by the schema to be at least 1.
pub(crate) fn limit(asked: Option<usize>) -> usize {
    asked.unwrap_or(DEFAULT_LIMIT).clamp(1, MOST_ITEMS)
}

/// The cursor of a position.
pub(crate) fn encode(position: &str) -> String {
    URL_SAFE_NO_PAD.encode(position)
}

/// Reads back where a page ended.
pub(crate) fn position<T: std::str::FromStr>(cursor: Option<&str>) -> Result<Option<T>> {
    let Some(cursor) = cursor else { return Ok(None) };
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        String::from_utf8(bytes).ok()?.parse().ok()
    };
    read().map(Some).ok_or_else(|| {
        Problem::field("cursor", "is not a cursor of this list; use `next_cursor` of the page before")
    })
}
