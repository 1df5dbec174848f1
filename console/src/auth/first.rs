//! The first start: an administrator with a generated password, so that there is no fixed secret anywhere.

use carillon_core::time::Timestamp;
use carillon_store::accounts::User;
use carillon_store::{SharedStore, StoreError};

use super::password::{self, Passwords};
use crate::config::PasswordCost;
use crate::problem::Problem;

/// The sign-in name of the first administrator.
pub const FIRST_ADMINISTRATOR: &str = "admin";

/// Makes the administrator `admin` where there are no users yet, and returns the generated password to be shown once; none when there
/// are users.
///
/// # Errors
/// Those of the store.
pub async fn ensure_first_administrator(
    store: &SharedStore,
    cost: PasswordCost,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    if !store.users(None, 1).await?.is_empty() {
        return Ok(None);
    }
    let password = password::generate();
    let failed = |problem: Problem| StoreError::Corrupt {
        action: "make the first administrator",
        detail: problem.detail().to_owned(),
    };
    let password_hash = Passwords::new(cost).hash(password.clone()).await.map_err(failed)?;
    let user = User {
        id: 0,
        name: FIRST_ADMINISTRATOR.to_owned(),
        display_name: "Administrator".to_owned(),
        password_hash,
        administrator: true,
        disabled: false,
        revision: 1,
        created_at: now,
    };
    // Of several consoles that start at once one makes the user; the others have no password to show.
    Ok(store.create_first_user(&user).await?.map(|_| password))
}
