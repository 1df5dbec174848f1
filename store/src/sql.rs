//! The SQL of both backends, each statement next to the function that runs it.

mod account_rows;
pub(crate) mod accounts;
pub(crate) mod advance;
pub(crate) mod audit;
mod bugs;
pub(crate) mod edits;
mod fences;
pub(crate) mod groups;
pub(crate) mod hand_overs;
pub(crate) mod history;
pub(crate) mod jobs;
pub(crate) mod load;
pub(crate) mod logs;
pub(crate) mod maps;
pub(crate) mod migrations;
pub(crate) mod observed;
pub(crate) mod plan;
mod run_rows;
pub(crate) mod sequences;
pub(crate) mod shards;
mod subtask_bodies;
pub(crate) mod subtasks;
pub(crate) mod tokens;
