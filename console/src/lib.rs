//! Carillon's console: the REST API over task groups, jobs and runs, with users, permissions and the audit trail.
//!
//! **What it is.** An HTTP service without state of its own: several stand side by side behind a proxy. What lasts is in the store; what lives is
//! asked of the servers over gRPC. The web pages are embedded here (`pages`).
//!
//! **What it is not.** A scheduler: it decides nothing about when or where a run starts. It asks `core` for previews and for the plan of an
//! edit, and the servers for everything else.
//!
//! **What it must not know.** SQL, znode paths, how servers plan. Only `clock` reads the clock.
//!
//! **Where to begin.** [`serve()`](fn@serve) for the process, `operation` for the table that every endpoint is entered in, then `api`.

mod api;
mod audit;
mod auth;
pub mod clock;
pub mod config;
mod console;
mod docs;
mod edit;
mod events;
mod health;
mod housekeeping;
mod json;
mod metrics;
mod openapi;
mod operation;
mod page;
mod pages;
mod precondition;
mod problem;
mod router;
mod serve;
mod servers;
mod sign_in_link;

pub use auth::first::{FIRST_ADMINISTRATOR, ensure_first_administrator};
pub use auth::token::mint_token;
pub use config::ConsoleConfig;
pub use console::Console;
pub use openapi::openapi;
pub use pages::Pages;
pub use router::router;
pub use serve::serve;
