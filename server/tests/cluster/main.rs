//! Servers in this process over SQLite and the embedded coordinator, with workers that speak the bare wire.

mod edge;
mod failover;
mod support;
mod triggering;
