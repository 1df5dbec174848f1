//! What can go wrong between us and the database.

/// A refusal or failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be reached or did not answer in time. What was asked may or may not have happened.
    #[error("could not {action}: the database is unavailable")]
    Unavailable {
        /// What we were doing.
        action: &'static str,
        /// The driver's word.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database refused for a passing reason (deadlock, lock wait); nothing happened.
    #[error("could not {action}: the database was busy")]
    Busy {
        /// What we were doing.
        action: &'static str,
        /// The driver's word.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The thing does not exist.
    #[error("there is no {what} {id}")]
    NotFound {
        /// Its kind.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A uniqueness or a revision stands against it.
    #[error("{what} {id} {conflict}")]
    Conflict {
        /// Its kind.
        what: &'static str,
        /// Its id.
        id: String,
        /// What stands against it, as the end of the sentence.
        conflict: String,
    },
    /// A limit stands against it.
    #[error("{what} would exceed {limit}")]
    LimitExceeded {
        /// What was to be stored.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The database holds something that this binary cannot read, or lacks the schema it needs.
    #[error("could not {action}: {detail}")]
    Corrupt {
        /// What we were doing.
        action: &'static str,
        /// What was found.
        detail: String,
    },
}

impl StoreError {
    /// Whether asking again may help. The outcome of what was asked may be unknown: see [`Self::is_unknown`].
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Busy { .. })
    }

    /// Whether what was asked may have happened all the same: read back before acting on either outcome.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
