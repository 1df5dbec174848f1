//! The console against a real store (SQLite in memory), the embedded coordinator and servers that speak the real wire but do what a test
//! scripts.

mod accounts;
mod bad_input;
mod edits;
mod events;
mod jobs;
mod openapi;
mod permissions;
mod runs;
mod serving;
mod sign_in;
mod support;
