//! core

pub mod time;
