//! Runs over time, for the brush above their list: from rollups, or for a single job from its own rows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::{GroupId, JobId};
use carillon_core::run::RunState;
use carillon_core::time::{Span, Timestamp};
use carillon_store::observed::RollupSpan;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::overview::figures;
use crate::auth::Access;
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::problem::{Problem, Result};

/// Bars unless the request says: one for a few pixels of a wide page.
const BARS: u32 = 60;

/// Runs of a job that are counted for its histogram, some ten milliseconds of reading an index; beyond it the oldest are left out, and the
/// answer says so.
const MOST_RUNS: usize = 20_000;

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_runs_histogram, _, _>(runs_histogram, Need::Person);
}

/// Which runs.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HistogramParams {
    /// Only this task group's.
    #[param(value_type = Option<String>, format = "group-id")]
    group: Option<GroupId>,
    /// Only this job's.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 4_294_967_295u32)]
    job: Option<JobId>,
    /// From then on (default: 24 h before `to`).
    #[param(value_type = Option<String>, format = "date-time")]
    from: Option<Timestamp>,
    /// Up to then (default: now).
    #[param(value_type = Option<String>, format = "date-time")]
    to: Option<Timestamp>,
    /// About how many bars (default 60); they have a round length, so there may be fewer.
    #[param(minimum = 1, maximum = 500)]
    bars: Option<u32>,
}

/// Runs over time.
#[derive(Serialize, ToSchema)]
pub(crate) struct Histogram {
    /// How much time a bar covers.
    #[schema(value_type = String, example = "30m")]
    step: Span,
    /// The bars, oldest first, without gaps.
    bars: Vec<Bar>,
    /// Whether every run was counted; false where a job has more than 20,000 in that time, of which the newest are.
    complete: bool,
}

/// The runs of one bar.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Bar {
    /// Its first instant.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Succeeded.
    succeeded: u64,
    /// Failed for good, died or timed out.
    failed: u64,
    /// Could not start in time.
    missed: u64,
    /// Left out by a policy.
    skipped: u64,
    /// Planned, running or cancelled: known for a single job only.
    other: u64,
}

/// Lengths of bars.
const STEPS: [Span; 12] = [
    Span::from_secs(60),
    Span::from_secs(120),
    Span::from_secs(300),
    Span::from_secs(600),
    Span::from_secs(900),
    Span::from_secs(1_800),
    Span::from_secs(3_600),
    Span::from_secs(2 * 3_600),
    Span::from_secs(4 * 3_600),
    Span::from_secs(8 * 3_600),
    Span::from_secs(12 * 3_600),
    Span::from_secs(24 * 3_600),
];

/// Runs over time
///
/// By the time at which they ended; for a single job by their fire time. From figures by the minute for the last three days and by the hour before.
#[utoipa::path(get, path = "/api/v1/runs/histogram", tag = "runs", params(HistogramParams), responses(
    (status = 200, description = "The bars.", body = Histogram),
))]
async fn runs_histogram(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<HistogramParams>,
) -> Result<Json<Histogram>> {
    let groups = access.groups(params.group)?;
    let to = params.to.unwrap_or_else(|| console.now());
    let from = params.from.unwrap_or_else(|| to.saturating_sub(Span::from_secs(24 * 3600)));
    if from >= to {
        return Err(Problem::field("from", "is not before `to`"));
    }
    let wanted = to.since(from).as_millis() / u64::from(params.bars.unwrap_or(BARS));
    let step = STEPS.into_iter().find(|step| step.as_millis() >= wanted).unwrap_or(STEPS[STEPS.len() - 1]);
    let first = from.floor(step);
    // Bars longer than a day would not be round anywhere: the number of bars is bounded instead.
    let bars = to.since(first).as_millis() / step.as_millis() + 1;
    if bars > 1_000 {
        return Err(Problem::field("from", "is more than 1,000 days before `to`"));
    }
    let empty = Bar { at: first, succeeded: 0, failed: 0, missed: 0, skipped: 0, other: 0 };
    let mut bars: Vec<Bar> = (0..bars)
        .map(|bar| Bar { at: first + Span::from_millis(bar * step.as_millis()), ..empty.clone() })
        .collect();
    let place =
        |at: Timestamp| usize::try_from(at.since(first).as_millis() / step.as_millis()).unwrap_or(usize::MAX);
    let mut complete = true;
    if let Some(job) = params.job {
        let visible = match console.store.job(job).await? {
            Some(job) => groups.as_ref().is_none_or(|groups| groups.contains(&job.spec.group)),
            None => groups.is_none(),
        };
        if !visible {
            return Err(Problem::not_found("job", job));
        }
        let counts = console.store.histogram(job, first, to, step, MOST_RUNS).await?;
        complete = counts.iter().map(|(.., runs)| runs).sum::<usize>() < MOST_RUNS;
        for (at, state, runs) in counts {
            let (Some(bar), runs) = (bars.get_mut(place(at)), runs as u64) else { continue };
            match state {
                RunState::Succeeded => bar.succeeded += runs,
                state if state.is_dead_letter() => bar.failed += runs,
                RunState::Missed => bar.missed += runs,
                RunState::Skipped => bar.skipped += runs,
                _ => bar.other += runs,
            }
        }
        return Ok(Json(Histogram { step, bars, complete }));
    }
    // Minutes are kept for three days.
    let recent = from > console.now().saturating_sub(Span::from_secs(3 * 24 * 3600 - 3600));
    let fine = step < RollupSpan::Hour.length() && recent;
    let span = if fine { RollupSpan::Minute } else { RollupSpan::Hour };
    for row in figures(&console, groups.as_deref(), span, first, to).await? {
        let Some(bar) = bars.get_mut(place(row.begins_at)) else { continue };
        bar.succeeded += row.figures.succeeded;
        bar.failed += row.figures.failed;
        bar.missed += row.figures.missed;
        bar.skipped += row.figures.skipped;
    }
    Ok(Json(Histogram { step, bars, complete }))
}
