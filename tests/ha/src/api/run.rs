//! A run as the API shows it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// All of it.
    pub body: Value,
}

/// A try of a run that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// The stable word for its cause; empty for none.
    pub reason: String,
}

/// Whether nothing further happens to a run in this state.
pub fn is_final(state: &str) -> bool {
    !matches!(state, "planned" | "running")
}

/// Milliseconds since 1970 of a time as the API writes it. Panics where it is none.
pub fn millis(time: &str) -> i64 {
    let time: jiff::Timestamp = time.parse().unwrap_or_else(|error| panic!("{time:?}: {error}"));
    time.as_millisecond()
}

impl Run {
    /// A run of the API's answer.
    pub fn new(body: Value) -> Self {
        Self { body }
    }

    fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_default()
    }

    fn time(&self, field: &str) -> Option<i64> {
        self.body[field].as_str().map(millis)
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.text("id")
    }

    /// The number of its job.
    pub fn job(&self) -> u32 {
        let job = &self.body["job"];
        let number = job.as_u64().or_else(|| job.as_str()?.parse().ok());
        number
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or_else(|| panic!("a run without a job: {:#}", self.body))
    }

    /// The word of its state.
    pub fn state(&self) -> &str {
        self.text("state")
    }

    /// What made it.
    pub fn trigger(&self) -> &str {
        self.text("trigger")
    }

    /// The current attempt.
    pub fn attempt(&self) -> u32 {
        u32::try_from(self.body["attempt"].as_u64().unwrap_or(0)).unwrap_or(0)
    }

    /// The stable word for why it is where it is; empty for none.
    pub fn reason(&self) -> &str {
        self.body["reason"]["code"].as_str().unwrap_or_default()
    }

    /// Its nominal time in milliseconds since 1970.
    pub fn fire_time_ms(&self) -> i64 {
        self.time("fire_time").unwrap_or_else(|| panic!("a run without a fire time: {:#}", self.body))
    }

    /// When its handler started, by the worker.
    pub fn started_ms(&self) -> Option<i64> {
        self.time("started_at")
    }

    /// When it was final.
    pub fn finished_ms(&self) -> Option<i64> {
        self.time("finished_at")
    }

    /// The trace id: 32 hexadecimal digits.
    pub fn trace(&self) -> &str {
        self.text("trace_id")
    }

    /// When its current attempt was due, in milliseconds since 1970.
    pub fn due_ms(&self) -> i64 {
        self.time("due_at").unwrap_or_else(|| self.fire_time_ms())
    }

    /// The attempts before the current one, with their causes; only a run that was read by itself has them.
    pub fn past_attempts(&self) -> Vec<Attempt> {
        let attempts = self.body["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let attempt = |body: &Value| Attempt {
            number: u32::try_from(body["attempt"].as_u64().unwrap_or(0)).unwrap_or(0),
            reason: body["reason"].as_str().unwrap_or_default().to_owned(),
        };
        attempts.iter().filter(|body| body["current"] != true).map(attempt).collect()
    }
}
