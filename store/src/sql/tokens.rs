//! Tokens.

use std::sync::Arc;

use carillon_core::ids::GroupId;
use carillon_core::time::{Span, Timestamp};

use crate::StoreError;
use crate::accounts::{Token, TokenScope};
use crate::database::{Database, Existing, Insert, placeholders};
use crate::sql::account_rows::{TOKEN, read_token};
use crate::sql::sequences;
use crate::value::{Value, values};

const NEW_TOKEN: Insert = Insert {
    table: "token",
    columns: &[
        "token_id",
        "name",
        "hash",
        "prefix",
        "user_id",
        "at_most",
        "group_id",
        "created_at",
        "created_by",
        "expires_at",
        "last_used_at",
    ],
    existing: Existing::Refuse,
};

pub(crate) async fn create_token<D: Database>(db: &mut D, token: Arc<Token>) -> Result<u64, StoreError> {
    let id = sequences::next(db, "token", 1).await?;
    let (user, at_most, group) = match &token.scope {
        TokenScope::User { user, at_most } => (Some(*user), at_most.map(|role| role.as_str()), None),
        TokenScope::Worker { group } => (None, None, Some(*group)),
    };
    let row = values![
        id,
        &token.name,
        &token.hash,
        &token.prefix,
        user,
        at_most,
        group,
        token.created_at,
        &token.created_by,
        token.expires_at,
        token.last_used_at,
    ];
    db.insert(&NEW_TOKEN, row).await?;
    Ok(id as u64)
}

async fn one<D: Database>(db: &mut D, condition: &str, value: Value) -> Result<Option<Token>, StoreError> {
    let action = db.action();
    let found = db.query_one(&format!("{TOKEN} WHERE {condition}"), vec![value]).await?;
    found.map(|row| read_token(action, row)).transpose()
}

/// By `token_hash`.
pub(crate) async fn token<D: Database>(db: &mut D, hash: [u8; 32]) -> Result<Option<Token>, StoreError> {
    one(db, "hash = ?", Value::from(&hash)).await
}

/// By primary key.
pub(crate) async fn token_by_id<D: Database>(db: &mut D, id: u64) -> Result<Option<Token>, StoreError> {
    one(db, "token_id = ?", Value::from(id)).await
}

/// Along `token_of_user`, `token_of_group` or the primary key.
pub(crate) async fn tokens<D: Database>(
    db: &mut D,
    user: Option<u64>,
    group: Option<GroupId>,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<Token>, StoreError> {
    let mut conditions = vec!["token_id > ?"];
    let mut values = values![after.unwrap_or(0)];
    if let Some(user) = user {
        conditions.push("user_id = ?");
        values.push(Value::from(user));
    }
    if let Some(group) = group {
        conditions.push("group_id = ?");
        values.push(Value::from(group));
    }
    values.push(Value::from(limit));
    let sql = format!("{TOKEN} WHERE {} ORDER BY token_id LIMIT ?", conditions.join(" AND "));
    let action = db.action();
    let rows = db.query(&sql, values).await?;
    rows.into_iter().map(|row| read_token(action, row)).collect()
}

/// By primary key.
pub(crate) async fn delete_token<D: Database>(db: &mut D, id: u64) -> Result<bool, StoreError> {
    Ok(db.execute("DELETE FROM token WHERE token_id = ?", values![id]).await? > 0)
}

/// By primary key; a use within the minute that is stored writes nothing.
pub(crate) async fn touch_tokens<D: Database>(
    db: &mut D,
    ids: Arc<[u64]>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let minute = at.floor(Span::from_secs(60));
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    // 500 a statement keeps it small.
    for some in ids.chunks(500) {
        let sql = format!(
            "UPDATE token SET last_used_at = ?
             WHERE token_id IN ({}) AND (last_used_at IS NULL OR last_used_at < ?)",
            placeholders(some.len())
        );
        let mut values = values![minute];
        values.extend(some.iter().copied().map(Value::from));
        values.push(Value::from(minute));
        db.execute(&sql, values).await?;
    }
    Ok(())
}
