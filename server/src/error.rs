//! Why a server could not start or go on.

use carillon_coordination::CoordinationError;
use carillon_store::StoreError;

/// Why [`crate::serve()`](fn@crate::serve) ended with a failure.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration cannot work.
    #[error("the server's configuration is wrong: {0}")]
    BadConfig(String),
    /// Another server of the cluster goes by the same id.
    #[error(
        "server id {id} is in use by a server at {address}: give each server its own id, or stop the other one"
    )]
    IdTaken {
        /// The id.
        id: String,
        /// Where the other one is.
        address: String,
    },
    /// The cluster could not be joined.
    #[error("could not join the cluster")]
    Join(#[source] CoordinationError),
    /// The store is not usable.
    #[error("the store is not ready")]
    Store(#[source] StoreError),
    /// A loop ended by itself.
    #[error("a loop of the server ended by itself: {0}")]
    Loop(String),
    /// The listener failed.
    #[error("could not serve gRPC")]
    Listen(#[source] Box<dyn std::error::Error + Send + Sync>),
}
