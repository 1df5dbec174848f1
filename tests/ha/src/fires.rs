//! When a job must have fired, worked out by the test itself and not by what is tested.

use serde_json::{Value, json};

use crate::api::{Api, millis};
use crate::checker::Expected;
use crate::ledger::now_us;
use crate::site::Group;

/// A periodic schedule as the test knows it: every multiple of this many milliseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every(i64);

/// A period in milliseconds.
pub fn every(period_ms: i64) -> Every {
    Every(period_ms)
}

impl Every {
    /// The fires after `after` and not after `until`, both in milliseconds since 1970.
    pub fn between(self, after: i64, until: i64) -> Vec<i64> {
        let first = (after.div_euclid(self.0) + 1) * self.0;
        (0..).map(|count| first + count * self.0).take_while(|fire| *fire <= until).collect()
    }
}

/// A job whose every fire is accounted for, from its creation to its pause.
#[derive(Debug)]
pub struct Watched {
    /// The job.
    pub job: u32,
    every: Every,
    since: i64,
}

impl Watched {
    /// Creates a job with these fields, whose schedule fires as `every` says.
    pub async fn create(group: &Group<'_>, word: &str, fields: Value, every: Every) -> Self {
        let body = group.job_body(word, fields);
        let created = group.site().api().post("/jobs", &body).await.expect_status(201);
        Self { job: created.number("id"), every, since: millis(&created.text("effective_from")) }
    }

    /// Pauses the job, waits until all its runs are final, and returns the fires that must have been.
    pub async fn pause(&self, api: &Api) -> Expected {
        // What falls between this instant and the answer may still fire, or may not.
        let until = now_us() / 1_000;
        api.post(&format!("/jobs/{}/pause", self.job), &json!({})).await.expect_status(200);
        api.is_quiet(self.job).await;
        Expected { job: self.job, fires: self.every.between(self.since, until) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_lie_after_the_first_bound_and_up_to_the_second() {
        assert_eq!(every(2_000).between(2_000, 8_000), [4_000, 6_000, 8_000]);
        assert_eq!(every(2_000).between(1_999, 3_999), [2_000]);
        assert_eq!(every(2_000).between(2_001, 3_999), Vec::<i64>::new());
    }
}
