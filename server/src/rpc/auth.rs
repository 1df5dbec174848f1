//! Worker tokens: who may connect for which group.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use carillon_core::ids::GroupId;
use carillon_store::SharedStore;
use carillon_store::accounts::{Token, TokenScope};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tonic::Status;

use crate::clock::Clock;

/// How long an answer of the store is used: a withdrawn token stops opening streams this much later.
const REMEMBER: Duration = Duration::from_secs(30);

/// Answers remembered; a flood of wrong tokens must not fill the memory.
const REMEMBERED: usize = 10_000;

/// What the store said of a token's hash, and when.
type Known = HashMap<[u8; 32], (Option<Token>, Instant)>;

/// Checks worker tokens against the store, and remembers the answers for a while.
pub(crate) struct WorkerTokens {
    store: SharedStore,
    clock: Clock,
    known: Mutex<Known>,
}

impl WorkerTokens {
    pub(crate) fn new(store: SharedStore, clock: Clock) -> Self {
        Self { store, clock, known: Mutex::default() }
    }

    /// Whether `token` lets a worker of `group` in.
    pub(crate) async fn check(&self, token: &str, group: GroupId) -> Result<(), Status> {
        if token.is_empty() {
            return Err(Status::unauthenticated(
                "hello.token: missing; a worker connects with a worker token of its task group (cri_wkr_...)",
            ));
        }
        let unknown = || {
            Status::unauthenticated(
                "hello.token: not known, or withdrawn; make one for the task group in the console",
            )
        };
        if token.len() > 256 {
            return Err(unknown());
        }
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let found = self.find(hash).await?.ok_or_else(unknown)?;
        if found.expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Err(Status::unauthenticated(format!("hello.token: {:?} has expired", found.name)));
        }
        match found.scope {
            TokenScope::Worker { group: of } if of == group => Ok(()),
            TokenScope::Worker { group: of } => Err(Status::permission_denied(format!(
                "hello.token: it is a token of task group {of}, not of {group}"
            ))),
            TokenScope::User { .. } => Err(Status::permission_denied(
                "hello.token: it is a user's token; a worker connects with a worker token (cri_wkr_...)",
            )),
        }
    }

    async fn find(&self, hash: [u8; 32]) -> Result<Option<Token>, Status> {
        let now = Instant::now();
        let remembered = self.known().get(&hash).filter(|(_, at)| now - *at < REMEMBER).cloned();
        if let Some((token, _)) = remembered {
            return Ok(token);
        }
        match self.store.token(&hash).await {
            Ok(token) => {
                if let Some(token) = &token
                    && let Err(error) = self.store.touch_tokens(&[token.id], self.clock.now()).await
                {
                    // For people who look for tokens nobody uses; a missing minute does no harm.
                    tracing::debug!(error = %crate::chain(&error), "could not note that a worker's token was used");
                }
                let mut known = self.known();
                if known.len() >= REMEMBERED {
                    known.retain(|_, (_, at)| now - *at < REMEMBER);
                    if known.len() >= REMEMBERED {
                        known.clear();
                    }
                }
                known.insert(hash, (token.clone(), now));
                Ok(token)
            }
            // An old answer is better than none: workers reconnect while the database is away.
            Err(error) => match self.known().get(&hash).cloned() {
                Some((Some(token), _)) => Ok(Some(token)),
                _ => {
                    tracing::warn!(error = %crate::chain(&error), "could not check a worker's token");
                    Err(Status::unavailable(
                        "hello.token: cannot be checked, because the store does not answer",
                    ))
                }
            },
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
