//! People, their grants and their sessions.

use std::sync::Arc;

use carillon_core::ids::GroupId;
use carillon_core::time::{Span, Timestamp};

use crate::StoreError;
use crate::accounts::{Grant, Session, User};
use crate::database::{Database, Existing, Insert};
use crate::sql::account_rows::{GRANT, USER, read_grant, read_user};
use crate::sql::sequences;
use crate::value::{Row, values};

const NEW_USER: Insert = Insert {
    table: "user_account",
    columns: &[
        "user_id",
        "name",
        "folded_name",
        "display_name",
        "password_hash",
        "administrator",
        "disabled",
        "revision",
        "created_at",
    ],
    existing: Existing::Refuse,
};

fn folded(name: &str) -> String {
    name.to_lowercase()
}

fn taken(error: StoreError, user: &User) -> StoreError {
    match error {
        StoreError::Conflict { .. } => StoreError::Conflict {
            what: "user",
            id: user.name.clone(),
            conflict: "has a name that is taken".to_owned(),
        },
        other => other,
    }
}

/// Uniqueness by `user_account_name`.
pub(crate) async fn create_user<D: Database>(db: &mut D, user: Arc<User>) -> Result<u64, StoreError> {
    let id = sequences::next(db, "user", 1).await?;
    insert_user(db, id, &user).await
}

async fn insert_user<D: Database>(db: &mut D, id: i64, user: &User) -> Result<u64, StoreError> {
    let row = values![
        id,
        &user.name,
        folded(&user.name),
        &user.display_name,
        &user.password_hash,
        user.administrator,
        user.disabled,
        user.revision,
        user.created_at,
    ];
    db.insert(&NEW_USER, row).await.map_err(|error| taken(error, user))?;
    Ok(id as u64)
}

/// Whoever takes a number holds the sequence, so of two first users one comes second and sees the other.
pub(crate) async fn create_first_user<D: Database>(
    db: &mut D,
    user: Arc<User>,
) -> Result<Option<u64>, StoreError> {
    let id = sequences::next(db, "user", 1).await?;
    if db.query_one("SELECT user_id FROM user_account LIMIT 1", Vec::new()).await?.is_some() {
        return Ok(None);
    }
    insert_user(db, id, &user).await.map(Some)
}

/// By primary key.
pub(crate) async fn update_user<D: Database>(db: &mut D, user: Arc<User>) -> Result<bool, StoreError> {
    let changed = db
        .execute(
            "UPDATE user_account
             SET name = ?, folded_name = ?, display_name = ?, password_hash = ?, administrator = ?, disabled = ?,
                 revision = ?
             WHERE user_id = ? AND revision = ?",
            values![
                &user.name,
                folded(&user.name),
                &user.display_name,
                &user.password_hash,
                user.administrator,
                user.disabled,
                user.revision,
                user.id,
                i64::from(user.revision) - 1,
            ],
        )
        .await
        .map_err(|error| taken(error, &user))?;
    Ok(changed > 0)
}

/// By primary key, `session_of_user`, `token_of_user`.
pub(crate) async fn delete_user<D: Database>(db: &mut D, user: u64) -> Result<bool, StoreError> {
    let deleted = db.execute("DELETE FROM user_account WHERE user_id = ?", values![user]).await?;
    db.execute("DELETE FROM group_grant WHERE user_id = ?", values![user]).await?;
    db.execute("DELETE FROM session WHERE user_id = ?", values![user]).await?;
    db.execute("DELETE FROM token WHERE user_id = ?", values![user]).await?;
    Ok(deleted > 0)
}

/// By primary key.
pub(crate) async fn user<D: Database>(db: &mut D, user: u64) -> Result<Option<User>, StoreError> {
    let found = db.query_one(&format!("{USER} WHERE user_id = ?"), values![user]).await?;
    found.map(read_user).transpose()
}

/// By `user_account_name`.
pub(crate) async fn user_by_name<D: Database>(
    db: &mut D,
    name: Arc<str>,
) -> Result<Option<User>, StoreError> {
    let found = db.query_one(&format!("{USER} WHERE folded_name = ?"), values![folded(&name)]).await?;
    found.map(read_user).transpose()
}

/// Along the primary key.
pub(crate) async fn users<D: Database>(
    db: &mut D,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<User>, StoreError> {
    let sql = format!("{USER} WHERE user_id > ? ORDER BY user_id LIMIT ?");
    let rows = db.query(&sql, values![after.unwrap_or(0), limit]).await?;
    rows.into_iter().map(read_user).collect()
}

const GRANTS: Insert = Insert {
    table: "group_grant",
    columns: &["user_id", "group_id", "role", "granted_at", "granted_by"],
    existing: Existing::Replace {
        key: &["user_id", "group_id"],
        columns: &["role", "granted_at", "granted_by"],
    },
};

/// By primary key.
pub(crate) async fn grant<D: Database>(db: &mut D, grant: Arc<Grant>) -> Result<(), StoreError> {
    let row = values![grant.user, grant.group, grant.role.as_str(), grant.granted_at, &grant.granted_by];
    db.insert(&GRANTS, row).await?;
    Ok(())
}

/// By primary key.
pub(crate) async fn revoke<D: Database>(db: &mut D, user: u64, group: GroupId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM group_grant WHERE user_id = ? AND group_id = ?";
    Ok(db.execute(sql, values![user, group]).await? > 0)
}

/// Along the primary key.
pub(crate) async fn grants_of_user<D: Database>(db: &mut D, user: u64) -> Result<Vec<Grant>, StoreError> {
    let rows = db.query(&format!("{GRANT} WHERE user_id = ? ORDER BY group_id"), values![user]).await?;
    rows.into_iter().map(read_grant).collect()
}

/// Along `group_grant_of_group`.
pub(crate) async fn grants_of_group<D: Database>(
    db: &mut D,
    group: GroupId,
) -> Result<Vec<Grant>, StoreError> {
    let rows = db.query(&format!("{GRANT} WHERE group_id = ? ORDER BY user_id"), values![group]).await?;
    rows.into_iter().map(read_grant).collect()
}

const NEW_SESSION: Insert = Insert {
    table: "session",
    columns: &["hash", "user_id", "user_revision", "csrf", "created_at", "expires_at"],
    existing: Existing::Keep,
};

pub(crate) async fn create_session<D: Database>(db: &mut D, session: Arc<Session>) -> Result<(), StoreError> {
    let row = values![
        &session.hash,
        session.user,
        session.user_revision,
        &session.csrf,
        session.created_at,
        session.expires_at,
    ];
    db.insert(&NEW_SESSION, row).await?;
    Ok(())
}

/// By primary key.
pub(crate) async fn session<D: Database>(db: &mut D, hash: [u8; 32]) -> Result<Option<Session>, StoreError> {
    let found = db
        .query_one(
            "SELECT hash, user_id, user_revision, csrf, created_at, expires_at FROM session WHERE hash = ?",
            values![&hash],
        )
        .await?;
    found.map(read_session).transpose()
}

fn read_session(mut row: Row) -> Result<Session, StoreError> {
    Ok(Session {
        hash: row.take()?,
        user: row.take()?,
        user_revision: row.take()?,
        csrf: row.take()?,
        created_at: row.take()?,
        expires_at: row.take()?,
    })
}

/// Along `session_of_user`: a person has a handful.
pub(crate) async fn sessions_of<D: Database>(
    db: &mut D,
    user: u64,
    now: Timestamp,
) -> Result<Vec<Session>, StoreError> {
    let rows = db
        .query(
            "SELECT hash, user_id, user_revision, csrf, created_at, expires_at FROM session
             WHERE user_id = ? AND expires_at > ? ORDER BY created_at DESC",
            values![user, now],
        )
        .await?;
    rows.into_iter().map(read_session).collect()
}

/// By primary key.
pub(crate) async fn delete_session<D: Database>(db: &mut D, hash: [u8; 32]) -> Result<bool, StoreError> {
    let deleted = db.execute("DELETE FROM session WHERE hash = ?", values![&hash]).await?;
    Ok(deleted > 0)
}

/// How long sign-in counts are kept: longer than any window they are counted in.
const SIGN_IN_COUNTS_KEPT: Span = Span::from_secs(24 * 60 * 60);

/// Along `session_age`, `token_age`, `sign_in_failure_age`.
pub(crate) async fn expire_accounts<D: Database>(db: &mut D, now: Timestamp) -> Result<usize, StoreError> {
    let sessions = db.execute("DELETE FROM session WHERE expires_at <= ?", values![now]).await?;
    let tokens = db.execute("DELETE FROM token WHERE expires_at <= ?", values![now]).await?;
    let counts = db
        .execute(
            "DELETE FROM sign_in_failure WHERE window_start < ?",
            values![now.saturating_sub(SIGN_IN_COUNTS_KEPT)],
        )
        .await?;
    Ok((sessions + tokens + counts) as usize)
}

const NEW_COUNT: Insert = Insert {
    table: "sign_in_failure",
    columns: &["failure_key", "window_start", "failures"],
    existing: Existing::Keep,
};

/// By primary key.
pub(crate) async fn count_sign_in_failure<D: Database>(
    db: &mut D,
    key: Arc<str>,
    window: Timestamp,
) -> Result<u32, StoreError> {
    db.insert(&NEW_COUNT, values![failure_key(&key), window, 0]).await?;
    db.execute(
        "UPDATE sign_in_failure SET failures = failures + 1 WHERE failure_key = ? AND window_start = ?",
        values![failure_key(&key), window],
    )
    .await?;
    sign_in_failures(db, key, window).await
}

/// By primary key.
pub(crate) async fn sign_in_failures<D: Database>(
    db: &mut D,
    key: Arc<str>,
    window: Timestamp,
) -> Result<u32, StoreError> {
    let found = db
        .query_one(
            "SELECT failures FROM sign_in_failure WHERE failure_key = ? AND window_start = ?",
            values![failure_key(&key), window],
        )
        .await?;
    match found {
        Some(mut row) => row.take(),
        None => Ok(0),
    }
}

/// What a stranger typed may be longer than any name; its first 512 bytes tell it apart well enough.
fn failure_key(key: &str) -> &[u8] {
    &key.as_bytes()[..key.len().min(512)]
}
