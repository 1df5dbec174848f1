//! The rows of users, grants and tokens.

use carillon_core::ids::GroupId;

use crate::StoreError;
use crate::accounts::{Grant, Role, Token, TokenScope, User};
use crate::value::Row;

/// Up to and without WHERE.
pub(super) const USER: &str =
    "SELECT user_id, name, display_name, password_hash, administrator, disabled, revision, created_at
     FROM user_account";

pub(super) fn read_user(mut row: Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.take()?,
        name: row.take()?,
        display_name: row.take()?,
        password_hash: row.take()?,
        administrator: row.take()?,
        disabled: row.take()?,
        revision: row.take()?,
        created_at: row.take()?,
    })
}

/// Up to and without WHERE.
pub(super) const GRANT: &str = "SELECT user_id, group_id, role, granted_at, granted_by FROM group_grant";

pub(super) fn read_grant(mut row: Row) -> Result<Grant, StoreError> {
    Ok(Grant {
        user: row.take()?,
        group: row.take()?,
        role: row.take()?,
        granted_at: row.take()?,
        granted_by: row.take()?,
    })
}

/// Up to and without WHERE.
pub(super) const TOKEN: &str =
    "SELECT token_id, name, hash, prefix, user_id, at_most, group_id, created_at, created_by, expires_at,
            last_used_at
     FROM token";

pub(super) fn read_token(action: &'static str, mut row: Row) -> Result<Token, StoreError> {
    let id = row.take()?;
    let name = row.take()?;
    let hash = row.take()?;
    let prefix = row.take()?;
    let user: Option<u64> = row.take()?;
    let at_most: Option<Role> = row.take()?;
    let group: Option<GroupId> = row.take()?;
    let scope = match (user, group) {
        (Some(user), None) => TokenScope::User { user, at_most },
        (None, Some(group)) => TokenScope::Worker { group },
        _ => {
            let detail = format!("token {id} is neither a user's nor a group's");
            return Err(StoreError::Corrupt { action, detail });
        }
    };
    Ok(Token {
        id,
        name,
        hash,
        prefix,
        scope,
        created_at: row.take()?,
        created_by: row.take()?,
        expires_at: row.take()?,
        last_used_at: row.take()?,
    })
}
