//! Servers in this process over SQLite and the embedded coordinator, with workers that speak the bare wire.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed, its support included")]

mod edge;
mod failover;
mod faulty;
mod http;
mod parallel;
mod standby;
mod store_faults;
mod support;
mod triggering;
