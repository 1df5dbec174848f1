//! Passwords: argon2id, computed on blocking threads, only a few at a time.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use carillon_core::job::FieldError;
use rand::RngExt;
use tokio::sync::Semaphore;

use crate::config::PasswordCost;
use crate::problem::{Problem, Result};

/// Hashes in progress at once: each takes a core and 19 MiB, and signing in must not starve the rest of the console.
const AT_ONCE: usize = 2;

/// The shortest password accepted, as NIST SP 800-63B asks for; no rules about kinds of characters.
const SHORTEST: usize = 8;

/// Longer ones only make hashing slow.
const LONGEST: usize = 256;

/// Hashes and verifies passwords.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    cost: PasswordCost,
    turns: Arc<Semaphore>,
    /// Verified against when a name is unknown, so that the time of the answer does not tell which names exist.
    decoy: Arc<str>,
}

impl Passwords {
    pub(crate) fn new(cost: PasswordCost) -> Self {
        let decoy = hash(cost, "nobody's password").unwrap_or_default().into();
        Self { cost, turns: Arc::new(Semaphore::new(AT_ONCE)), decoy }
    }

    /// The PHC form of a password's hash.
    pub(crate) async fn hash(&self, password: String) -> Result<String> {
        let cost = self.cost;
        self.on_a_thread(move || hash(cost, &password)).await?.ok_or_else(|| {
            Problem::new(
                axum::http::StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "could not hash the password",
            )
        })
    }

    /// Whether the password is right; `hash` is none for a name that does not exist, which costs the same time.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        let exists = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.to_string());
        let right = self.on_a_thread(move || verify(&password, &hash)).await?;
        Ok(right && exists)
    }

    async fn on_a_thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(|error| Problem::internal("hash a password", &error))
    }
}

fn hash(cost: PasswordCost, password: &str) -> Option<String> {
    let params = Params::new(cost.memory_kib, cost.passes, 1, None).ok()?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password(password.as_bytes()).ok().map(|hash| hash.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

/// What is wrong with a new password.
pub(crate) fn weakness(field: &str, password: &str, name: &str) -> Option<FieldError> {
    let length = password.chars().count();
    if length < SHORTEST || password.len() > LONGEST {
        return Some(FieldError::new(field, format!("{length} characters; write {SHORTEST} to {LONGEST}")));
    }
    if password.eq_ignore_ascii_case(name) {
        return Some(FieldError::new(field, "is the name; write something else"));
    }
    None
}

/// A password nobody can guess: 20 characters without look-alikes, about 116 bits.
pub(crate) fn generate() -> String {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut random = rand::rng();
    (0..20).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_an_existing_name_is_accepted() {
        let passwords = Passwords::new(PasswordCost { memory_kib: 64, passes: 1 });
        let hash = passwords.hash("open sesame".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert!(passwords.verify("open sesame".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("open barley".into(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("nobody's password".into(), None).await.unwrap());
    }

    #[test]
    fn generated_passwords_are_long_and_never_the_same() {
        let (one, other) = (generate(), generate());
        assert_eq!(one.len(), 20);
        assert_ne!(one, other);
        assert!(weakness("password", &one, "admin").is_none());
        assert!(weakness("password", "Administrator", "administrator").is_some());
    }
}
