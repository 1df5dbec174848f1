//! How a handler says that it failed, and what the worker makes of it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use carillon_proto::v1::ReportReason;

/// What a handler gives back. Any [`std::error::Error`] becomes a [`JobError`] with `?`.
pub type JobResult<T = ()> = Result<T, JobError>;

/// Why a handler did not succeed, and what should follow: by default a retry under the job's policy.
pub struct JobError {
    verdict: Verdict,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Failed,
    Fatal,
    RetryAfter(Duration),
    Skip,
    Cancelled,
    BadParams,
    Panicked,
}

/// The longest error text of a report, in characters: any honest message fits, and a hostile one does not fill the store.
const MAX_ERROR_CHARS: usize = 1_000;

impl JobError {
    pub(crate) fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_ERROR_CHARS) {
            message.truncate(end);
        }
        Self { verdict, message }
    }

    /// The text that the run keeps as its error: the error and its causes, at most 1,000 characters.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the handler said that trying again is useless.
    pub fn is_fatal(&self) -> bool {
        matches!(self.verdict, Verdict::Fatal | Verdict::BadParams)
    }

    /// Whether the handler asked to skip the run.
    pub fn is_skip(&self) -> bool {
        self.verdict == Verdict::Skip
    }

    /// How long the handler wishes to wait before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.verdict {
            Verdict::RetryAfter(wait) => Some(wait),
            _ => None,
        }
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.verdict, self.message)
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::new(Verdict::Failed, chain(&error))
    }
}

/// A failure with a text or an error of one's own; retried under the job's policy.
pub fn failed(why: impl Into<Box<dyn StdError + Send + Sync>>) -> JobError {
    JobError::new(Verdict::Failed, chain(&*why.into()))
}

/// A failure that no retry can mend: the run ends as failed at once.
///
/// ```
/// use carillon_client::prelude::*;
///
/// fn parse(day: &str) -> JobResult<u32> {
///     day.parse().map_err(fatal)
/// }
/// assert!(parse("monday").unwrap_err().is_fatal());
/// ```
pub fn fatal(why: impl Into<Box<dyn StdError + Send + Sync>>) -> JobError {
    JobError::new(Verdict::Fatal, chain(&*why.into()))
}

/// A failure whose next attempt, if the job's policy allows one, should wait that long.
pub fn retry_after(why: impl Into<Box<dyn StdError + Send + Sync>>, wait: Duration) -> JobError {
    JobError::new(Verdict::RetryAfter(wait), chain(&*why.into()))
}

/// There is nothing to do this time: the run ends as skipped, with this reason.
pub fn skip(why: impl Into<Box<dyn StdError + Send + Sync>>) -> JobError {
    JobError::new(Verdict::Skip, chain(&*why.into()))
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    // Sixteen causes are more than any honest chain has, and end a chain that is a circle.
    for _ in 0..16 {
        let Some(error) = cause else { break };
        let more = error.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// How an attempt ended, as the ledger is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded { result: Bytes },
    Failed { reason: ReportReason, error: String, retry_after_ms: u64 },
    Skipped { error: String },
    Cancelled { error: String },
}

impl From<JobError> for Outcome {
    fn from(error: JobError) -> Self {
        let failed = |reason, error, retry_after_ms| Self::Failed { reason, error, retry_after_ms };
        match error.verdict {
            Verdict::Failed => failed(ReportReason::Failed, error.message, 0),
            Verdict::Fatal => failed(ReportReason::Fatal, error.message, 0),
            Verdict::RetryAfter(wait) => {
                // Zero means "no wish" on the wire.
                let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
                failed(ReportReason::Failed, error.message, wait)
            }
            Verdict::BadParams => failed(ReportReason::BadParams, error.message, 0),
            Verdict::Panicked => failed(ReportReason::Panicked, error.message, 0),
            Verdict::Skip => Self::Skipped { error: error.message },
            Verdict::Cancelled => Self::Cancelled { error: error.message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot settle shop {0}")]
    struct Settling(u32, #[source] std::num::ParseIntError);

    fn broken() -> JobResult {
        let cause = "x".parse::<u32>().unwrap_err();
        Err(Settling(7, cause))?
    }

    #[test]
    fn any_error_becomes_a_failure_with_its_whole_chain() {
        let error = broken().unwrap_err();
        assert_eq!(error.message(), "cannot settle shop 7: invalid digit found in string");
        assert!(matches!(Outcome::from(error), Outcome::Failed { reason: ReportReason::Failed, .. }));
    }

    #[test]
    fn the_failure_words_say_what_follows() {
        assert!(matches!(
            Outcome::from(fatal("no such shop")),
            Outcome::Failed { reason: ReportReason::Fatal, .. }
        ));
        assert!(matches!(Outcome::from(skip("holiday")), Outcome::Skipped { .. }));
        assert!(matches!(
            Outcome::from(retry_after("busy", Duration::from_secs(3))),
            Outcome::Failed { retry_after_ms: 3_000, .. }
        ));
    }

    #[test]
    fn an_endless_error_text_is_cut() {
        assert_eq!(failed("ä".repeat(5_000)).message().chars().count(), 1_000);
    }
}
