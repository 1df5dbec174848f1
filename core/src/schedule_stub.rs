//! Stands in until the schedule module is merged; replaced by it, never used.
#![allow(missing_docs, clippy::all)]
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schedule(serde_json::Value);
#[derive(Clone, Debug)]
pub struct CompiledSchedule;
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct ScheduleError;
impl ScheduleError {
    pub fn position(&self) -> Option<(usize, usize)> {
        None
    }
    pub fn field(&self) -> &'static str {
        "type"
    }
}
impl Schedule {
    pub fn compile(&self) -> Result<CompiledSchedule, ScheduleError> {
        Ok(CompiledSchedule)
    }
}
impl CompiledSchedule {
    pub fn next_after(&self, _: Timestamp) -> Option<Timestamp> {
        None
    }
    pub fn due(&self, _: u64, fire: Timestamp) -> Timestamp {
        fire
    }
    pub fn successor(&self, _: Timestamp) -> Option<Timestamp> {
        None
    }
    pub fn span(&self) -> Span {
        Span::from_millis(0)
    }
}
