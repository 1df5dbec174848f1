//! The audit trail.

use std::sync::Arc;

use crate::StoreError;
use crate::accounts::{AuditEntry, AuditFilter};
use crate::database::{Database, Existing, Insert, placeholders};
use crate::value::{Row, Value, values};

const NEW_ENTRIES: Insert = Insert {
    table: "audit_entry",
    columns: &[
        "happened_at",
        "actor",
        "source",
        "action",
        "target",
        "group_id",
        "outcome",
        "state_before",
        "state_after",
    ],
    existing: Existing::Refuse,
};

pub(crate) async fn append_audit<D: Database>(
    db: &mut D,
    entries: Arc<[AuditEntry]>,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for entry in entries.iter() {
        rows.extend(values![
            entry.at,
            cut(&entry.actor, 256),
            cut(&entry.source, 256),
            cut(&entry.action, 64),
            cut(&entry.target, 256),
            entry.group,
            cut(&entry.outcome, 64),
            entry.before.as_deref(),
            entry.after.as_deref(),
        ]);
    }
    db.insert(&NEW_ENTRIES, rows).await?;
    Ok(())
}

/// A trail that refuses an entry for its length would hide what happened; a cut word still tells it.
fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// Along `audit_entry_of_target`, `audit_entry_of_actor`, `audit_entry_of_group` or the primary key, backwards.
pub(crate) async fn audit<D: Database>(
    db: &mut D,
    filter: Arc<AuditFilter>,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    let mut conditions = vec!["entry < ?".to_owned()];
    let mut values = values![before.unwrap_or(i64::MAX as u64)];
    if let Some(groups) = &filter.groups {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        conditions.push(format!("group_id IN ({})", placeholders(groups.len())));
        values.extend(groups.iter().copied().map(Value::from));
    }
    for (bound, at) in [("happened_at >= ?", filter.from), ("happened_at < ?", filter.to)] {
        if let Some(at) = at {
            conditions.push(bound.to_owned());
            values.push(Value::from(at));
        }
    }
    for (column, wanted) in [
        ("target", &filter.target),
        ("actor", &filter.actor),
        ("action", &filter.action),
        ("outcome", &filter.outcome),
    ] {
        if let Some(wanted) = wanted {
            conditions.push(format!("{column} = ?"));
            values.push(Value::from(wanted));
        }
    }
    values.push(Value::from(limit));
    let sql = format!(
        "SELECT entry, happened_at, actor, source, action, target, group_id, outcome, state_before, state_after
         FROM audit_entry WHERE {} ORDER BY entry DESC LIMIT ?",
        conditions.join(" AND ")
    );
    let rows = db.query(&sql, values).await?;
    rows.into_iter().map(read_entry).collect()
}

fn read_entry(mut row: Row) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        id: row.take()?,
        at: row.take()?,
        actor: row.take()?,
        source: row.take()?,
        action: row.take()?,
        target: row.take()?,
        group: row.take()?,
        outcome: row.take()?,
        before: row.take()?,
        after: row.take()?,
    })
}
