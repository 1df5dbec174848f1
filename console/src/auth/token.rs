//! Secrets that are shown once and kept as hashes: API tokens, worker tokens, session cookies.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carillon_core::time::Timestamp;
use carillon_store::accounts::{Token, TokenScope};
use carillon_store::{SharedStore, StoreError};
use sha2::{Digest, Sha256};

/// How a personal token begins.
const PERSONAL: &str = "cri_pat_";

/// How a worker token begins.
const WORKER: &str = "cri_wkr_";

/// Shown of a token to recognise it by: its kind and four of its characters.
const PREFIX: usize = 12;

/// 32 random bytes as text: no two are ever the same, and none can be guessed.
pub(crate) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is kept of a secret. It has 256 random bits, so one fast hash is enough.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Whether a text can be a token at all.
pub(crate) fn is_token(text: &str) -> bool {
    (text.starts_with(PERSONAL) || text.starts_with(WORKER)) && text.len() < 128
}

/// Makes a token, keeps its hash, and returns the text, which nobody can read again.
///
/// # Errors
/// Those of the store.
pub async fn mint_token(
    store: &SharedStore,
    name: &str,
    scope: TokenScope,
    created_by: &str,
    now: Timestamp,
    expires_at: Option<Timestamp>,
) -> Result<(String, Token), StoreError> {
    let kind = match scope {
        TokenScope::User { .. } => PERSONAL,
        TokenScope::Worker { .. } => WORKER,
    };
    let text = format!("{kind}{}", random_text());
    let mut token = Token {
        id: 0,
        name: name.to_owned(),
        hash: hash(&text),
        prefix: text.chars().take(PREFIX).collect(),
        scope,
        created_at: now,
        created_by: created_by.to_owned(),
        expires_at,
        last_used_at: None,
    };
    token.id = store.create_token(&token).await?;
    Ok((text, token))
}
