//! The console against a real store (SQLite in memory), the embedded coordinator and servers that speak the real wire but do what a test
//! scripts.
#![allow(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]
#![allow(clippy::print_stdout, reason = "the seed of a random test is told")]

mod accounts;
mod bad_input;
mod bulk;
mod edits;
mod events;
mod housekeeping;
mod jobs;
mod lost_answers;
mod observed;
mod openapi;
mod pages;
mod permissions;
mod runs;
mod serving;
mod sign_in;
mod support;
