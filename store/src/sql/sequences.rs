//! Numbers that are never given twice.

use crate::StoreError;
use crate::database::{Database, Existing, Insert};
use crate::value::values;

const NEW_SEQUENCE: Insert =
    Insert { table: "sequence", columns: &["name", "next_value"], existing: Existing::Keep };

/// Takes the next number of a sequence that begins at `first`, and holds the sequence until the transaction ends: whoever takes
/// another number of it waits. By primary key.
pub(crate) async fn next<D: Database>(db: &mut D, name: &str, first: u32) -> Result<i64, StoreError> {
    let taken =
        db.execute("UPDATE sequence SET next_value = next_value + 1 WHERE name = ?", values![name]).await?;
    if taken == 0 {
        db.insert(&NEW_SEQUENCE, values![name, first]).await?;
        db.execute("UPDATE sequence SET next_value = next_value + 1 WHERE name = ?", values![name]).await?;
    }
    let found = db.query_one("SELECT next_value FROM sequence WHERE name = ?", values![name]).await?;
    let mut row = found.ok_or_else(|| StoreError::NotFound { what: "sequence", id: name.to_owned() })?;
    Ok(row.take::<i64>()? - 1)
}
