//! What a schedule means, before it is saved.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::job::FieldError;
use carillon_core::schedule::{self, MAX_PREVIEW_FIRES, Preview, Schedule};
use carillon_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schemas;
use crate::console::Console;
use crate::json::{Body, Params};
use crate::operation::{Need, Operations};
use crate::problem::{Problem, Result};

/// Fires shown unless the request says.
const FIRES: usize = 10;

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_preview_expression, _, _>(preview_expression, Need::AnyToken);
    operations.read::<__path_preview_schedule, _, _>(preview_schedule, Need::AnyToken);
}

/// A cron expression to be explained.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PreviewParams {
    /// The expression.
    #[param(max_length = 256)]
    expression: String,
    /// IANA name (default `UTC`).
    time_zone: Option<String>,
    /// How to read the expression (default `quartz`).
    #[param(inline)]
    dialect: Option<Dialect>,
    /// How many fires (default 10).
    #[param(minimum = 1, maximum = 100)]
    count: Option<usize>,
    /// Only fires later than this (default now).
    #[param(value_type = Option<String>, format = "date-time")]
    after: Option<Timestamp>,
}

/// How a cron expression is read.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dialect {
    /// Seconds first, Sunday = 1.
    Quartz,
    /// The five fields of crontab.
    Unix,
}

/// A schedule explained.
#[derive(Serialize, ToSchema)]
pub(crate) struct PreviewView {
    /// What it means, in English.
    sentence: String,
    /// The next nominal fire times; empty where no clock drives it.
    fires: Vec<PreviewFireView>,
    /// What the changes of the clock in the coming year do to it.
    clock_changes: Vec<ClockChangeView>,
}

/// A fire in a preview.
#[derive(Serialize, ToSchema)]
pub(crate) struct PreviewFireView {
    /// The instant.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The same on the schedule's clock.
    #[schema(example = "2026-11-20T17:00:00+08:00")]
    local: String,
}

/// What a change of the clock does to a schedule.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClockChangeView {
    /// The first instant after the change.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `forward` or `back`.
    #[schema(value_type = String)]
    change: schedule::ClockChange,
    /// What it means for the fires.
    text: String,
}

impl PreviewView {
    fn of(preview: Preview) -> Self {
        let fires = preview.fires.into_iter().map(|fire| PreviewFireView { at: fire.at, local: fire.local });
        let changes = preview.clock_changes.into_iter();
        Self {
            sentence: preview.sentence,
            fires: fires.collect(),
            clock_changes: changes
                .map(|note| ClockChangeView { at: note.at, change: note.change, text: note.text })
                .collect(),
        }
    }
}

/// Explain a cron expression
///
/// Its next fires, a sentence, what daylight saving does to it; or 422 with the column of the error.
#[utoipa::path(get, path = "/api/v1/schedules/preview", tag = "schedules", params(PreviewParams), responses(
    (status = 200, description = "What it means.", body = PreviewView),
))]
async fn preview_expression(
    State(console): State<Arc<Console>>,
    Params(params): Params<PreviewParams>,
) -> Result<Json<PreviewView>> {
    let mut schedule =
        Schedule::cron(params.expression, params.time_zone.unwrap_or_else(|| "UTC".to_owned()));
    if let (Some(Dialect::Unix), schedule::ScheduleKind::Cron { dialect, .. }) =
        (params.dialect, &mut schedule.kind)
    {
        *dialect = schedule::CronDialect::Unix;
    }
    explain(&schedule, "", params.after.unwrap_or_else(|| console.now()), params.count)
}

/// A schedule to be explained.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewRequest {
    /// Of any kind.
    #[schema(value_type = schemas::Schedule)]
    schedule: Schedule,
    /// How many fires (default 10).
    #[schema(minimum = 1, maximum = 100)]
    count: Option<usize>,
    /// Only fires later than this (default now).
    #[schema(value_type = Option<String>, format = "date-time")]
    after: Option<Timestamp>,
}

/// Explain a schedule
///
/// As for an expression, for every kind of schedule. Changes nothing.
#[utoipa::path(post, path = "/api/v1/schedules/preview", tag = "schedules", request_body = PreviewRequest, responses(
    (status = 200, description = "What it means.", body = PreviewView),
))]
async fn preview_schedule(
    State(console): State<Arc<Console>>,
    Body(request): Body<PreviewRequest>,
) -> Result<Json<PreviewView>> {
    explain(&request.schedule, "schedule.", request.after.unwrap_or_else(|| console.now()), request.count)
}

fn explain(
    schedule: &Schedule,
    prefix: &str,
    after: Timestamp,
    count: Option<usize>,
) -> Result<Json<PreviewView>> {
    let count = count.unwrap_or(FIRES).min(MAX_PREVIEW_FIRES);
    let preview = schedule::preview(schedule, after, count).map_err(|error| {
        let position = error.position();
        let mut field = FieldError::new(format!("{prefix}{}", error.field()), error.to_string());
        field.column = position.map(|(column, _)| column);
        let problem = Problem::invalid(vec![field]);
        match position {
            Some((column, length)) => problem.with("column", column).with("length", length),
            None => problem,
        }
    })?;
    Ok(Json(PreviewView::of(preview)))
}
