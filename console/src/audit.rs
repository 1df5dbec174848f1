//! The audit trail: one entry for each write that was asked for, granted or refused.

use std::mem;
use std::sync::{Mutex, PoisonError};

use carillon_store::SharedStore;
use carillon_store::accounts::AuditEntry;
use serde_json::Value;

use crate::problem::chain;

/// The longest before or after of an entry: a job with the largest params and everything else. Longer ones are left out.
const LONGEST: usize = 100_000;

/// Writes entries; those that wait together share a transaction.
#[derive(Debug, Default)]
pub(crate) struct AuditTrail {
    waiting: Mutex<Vec<AuditEntry>>,
    turn: tokio::sync::Mutex<()>,
}

impl AuditTrail {
    /// Appends an entry; returns when it is stored. A failure is logged with the entry's words: what was done is done.
    pub(crate) async fn append(&self, store: &SharedStore, entry: AuditEntry) {
        self.lock().push(entry);
        let _turn = self.turn.lock().await;
        // Whoever has the turn writes for all; whoever comes next may find nothing left to do.
        let entries = mem::take(&mut *self.lock());
        if entries.is_empty() {
            return;
        }
        if let Err(error) = store.append_audit(&entries).await {
            for entry in &entries {
                tracing::error!(
                    actor = entry.actor, action = entry.action, target = entry.target, outcome = entry.outcome,
                    error = %chain(&error), "could not write to the audit trail"
                );
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<AuditEntry>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value as the audit trail keeps it: secrets masked, not longer than fits.
pub(crate) fn as_kept(mut value: Value) -> String {
    mask(&mut value);
    let text = value.to_string();
    if text.len() > LONGEST { format!("{{\"left_out\":\"{} bytes\"}}", text.len()) } else { text }
}

/// Masks the values of fields whose name says that they are secret.
fn mask(value: &mut Value) {
    const SECRET: [&str; 8] =
        ["password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "credential"];
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.to_lowercase();
                if SECRET.iter().any(|word| name.contains(word)) && !value.is_null() {
                    *value = Value::from("***");
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let kept = as_kept(json!({"params": {"db": [{"Password": "x", "user": "y"}], "api_key": 7}}));
        assert_eq!(kept, r#"{"params":{"api_key":"***","db":[{"Password":"***","user":"y"}]}}"#);
    }
}
