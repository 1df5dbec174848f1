//! The newest progress of each run, waiting to be sent.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use carillon_proto::v1;

use crate::run_id::AttemptKey;

/// The longest progress message, in characters: one line of a page.
const MAX_MESSAGE_CHARS: usize = 200;

/// Holds one entry a run, so it is bounded by the runs in progress however often handlers report.
#[derive(Default)]
pub(crate) struct ProgressBoard {
    newest: Mutex<HashMap<AttemptKey, (u32, String)>>,
}

impl ProgressBoard {
    pub(crate) fn set(&self, key: AttemptKey, permille: u32, mut message: String) {
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_CHARS) {
            message.truncate(end);
        }
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (permille, message));
    }

    pub(crate) fn take(&self) -> Vec<v1::Progress> {
        let newest = std::mem::take(&mut *self.newest.lock().unwrap_or_else(PoisonError::into_inner));
        newest
            .into_iter()
            .map(|(key, (permille, message))| v1::Progress {
                run: Some(key.run.into()),
                attempt: key.attempt,
                permille,
                message,
            })
            .collect()
    }
}
