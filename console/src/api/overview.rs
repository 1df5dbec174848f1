//! The overview: what happened lately, against the objective, and where things stand. From rollups and the servers' word; it never reads
//! through runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::GroupId;
use carillon_core::run::RunState;
use carillon_core::time::{Span, Timestamp};
use carillon_store::observed::{Figures, LateStart, Rollup, RollupSpan};
use carillon_store::runs::RunFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::run_views::{Names, RunView};
use crate::auth::Access;
use crate::console::Console;
use crate::events::StatsNow;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::page::TOTAL_CAP;
use crate::problem::{Problem, Result};

/// Windows up to this are shown by the minute, longer ones by the hour: 360 points at most.
const LONGEST_BY_MINUTE: Span = Span::from_secs(6 * 3600);

/// The hours that may still change: minutes are asked for them.
const UNSUMMED: Span = Span::from_secs(2 * 3600);

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_overview, _, _>(overview, Need::Person);
}

/// Which overview.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct OverviewParams {
    /// Only this task group's; all that you may see unless given.
    #[param(value_type = Option<String>, format = "group-id")]
    group: Option<GroupId>,
    /// How far back, such as `15m`, `1h` (the default), `24h`, at most `90d`.
    #[param(value_type = Option<String>)]
    window: Option<Span>,
}

/// What happened lately, and where things stand.
#[derive(Serialize, ToSchema)]
pub(crate) struct Overview {
    /// The figures of the last second, of all task groups, as this console heard them from the servers.
    now: StatsNow,
    /// The first instant of the window.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Its end: now.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// How much time a point covers.
    #[schema(value_type = String, example = "1m")]
    step: Span,
    /// The window by steps, oldest first, without gaps; the last one is not over.
    points: Vec<PointView>,
    /// The whole window.
    total: FiguresView,
    /// The objective for lateness and how much of its budget is left.
    slo: SloView,
    /// Runs that failed for good and are neither retried nor discarded; counted to 10,000.
    dead_letters: usize,
    /// There are more.
    dead_letters_capped: bool,
    /// The starts of the window that were latest, worst first, as far as their runs are kept.
    worst: Vec<WorstView>,
    /// The machine rooms of the live servers, by name.
    rooms: Vec<RoomView>,
}

/// Figures of one step.
#[derive(Serialize, ToSchema)]
pub(crate) struct PointView {
    /// Its first instant.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    figures: FiguresView,
}

/// What happened in some span of time.
#[derive(Serialize, ToSchema)]
pub(crate) struct FiguresView {
    /// Handlers that started.
    started: u64,
    /// Runs that succeeded.
    succeeded: u64,
    /// Runs that failed for good.
    failed: u64,
    /// Fires that could not start in time.
    missed: u64,
    /// Fires that a policy left out.
    skipped: u64,
    /// Half of the starts were no later, in microseconds; absent without starts.
    lateness_p50_us: Option<u64>,
    /// 99 of 100 starts were no later.
    lateness_p99_us: Option<u64>,
    /// The latest start.
    lateness_max_us: Option<u64>,
}

impl FiguresView {
    pub(super) fn of(figures: &Figures) -> Self {
        let quantile = |share| {
            let millis = figures.lateness.quantile(share, figures.lateness_max_ms)?;
            Some((millis * 1_000.0).round() as u64)
        };
        Self {
            started: figures.started,
            succeeded: figures.succeeded,
            failed: figures.failed,
            missed: figures.missed,
            skipped: figures.skipped,
            lateness_p50_us: quantile(0.5),
            lateness_p99_us: quantile(0.99),
            lateness_max_us: (figures.started > 0).then(|| figures.lateness_max_ms.saturating_mul(1_000)),
        }
    }
}

/// The objective: a share of all starts is no later than a target.
#[derive(Serialize, ToSchema)]
pub(crate) struct SloView {
    /// The largest lateness that is good.
    #[schema(value_type = String, example = "1s")]
    target: Span,
    /// The share of good starts that is wanted, between 0 and 1.
    objective: f64,
    /// Over how much time.
    #[schema(value_type = String, example = "30d")]
    window: Span,
    /// Starts and missed fires in that time.
    total: u64,
    /// Starts that were no later than the target.
    good: u64,
    /// The share that was good; absent without starts.
    share: Option<f64>,
    /// How many late or missed fires the objective allows for so many starts.
    budget: f64,
    /// How many there were.
    spent: u64,
    /// The share of the budget that is left, from 1 down; below 0 when it is overspent.
    budget_left: f64,
}

/// A late start.
#[derive(Serialize, ToSchema)]
pub(crate) struct WorstView {
    /// The run as it is now.
    #[serde(flatten)]
    run: RunView,
    /// How late the handler started then, in milliseconds.
    late_ms: u64,
}

/// A machine room with its live servers.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct RoomView {
    /// Its name; empty where servers have none.
    room: String,
    /// Live servers.
    servers: usize,
    /// Those of them that answered just now.
    servers_answering: usize,
    /// Those of them that hand their shards over.
    servers_draining: usize,
    /// Shards owned there.
    shards_owned: usize,
    /// Shards held there, as owner or standby.
    shards_held: usize,
    /// Workers that stand there, each counted once.
    workers: usize,
}

/// The overview
///
/// Figures by minutes (windows up to six hours) or hours, the objective for lateness with its budget, the latest starts, machine rooms. Figures
/// come from what the servers wrote every few seconds.
#[utoipa::path(get, path = "/api/v1/overview", tag = "cluster", params(OverviewParams), responses(
    (status = 200, description = "What happened lately.", body = Overview),
))]
async fn overview(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<OverviewParams>,
) -> Result<Json<Overview>> {
    let groups = access.groups(params.group)?;
    let window = params.window.unwrap_or(Span::from_secs(3600));
    let (least, most) = (Span::from_secs(60), Span::from_secs(90 * 24 * 3600));
    if !(least..=most).contains(&window) {
        return Err(Problem::field("window", "is not between 1m and 90d"));
    }
    let now = console.now();
    let step = if window <= LONGEST_BY_MINUTE { RollupSpan::Minute } else { RollupSpan::Hour };
    let from = now.saturating_sub(window).floor(step.length());
    let rows = figures(&console, groups.as_deref(), step, from, now).await?;
    let mut total = Figures::default();
    let mut steps = BTreeMap::<Timestamp, Figures>::new();
    let mut at = from;
    while at <= now {
        steps.insert(at, Figures::default());
        at = at + step.length();
    }
    for row in &rows {
        total.add(&row.figures);
        if let Some(sum) = steps.get_mut(&row.begins_at.floor(step.length())) {
            sum.add(&row.figures);
        }
    }
    let points = steps.iter().map(|(at, figures)| PointView { at: *at, figures: FiguresView::of(figures) });
    let points = points.collect();
    let dead = RunFilter {
        groups: groups.clone(),
        states: RunState::ALL.into_iter().filter(|state| state.is_dead_letter()).collect(),
        ..RunFilter::default()
    };
    let (slo, dead_letters, worst, rooms) = tokio::join!(
        slo(&console, groups.as_deref(), now),
        console.store.count_runs(&dead, TOTAL_CAP + 1),
        worst(&console, &total.worst),
        rooms(&console),
    );
    let dead_letters = dead_letters?;
    Ok(Json(Overview {
        now: console.events.stats_now(),
        from,
        to: now,
        step: step.length(),
        points,
        total: FiguresView::of(&total),
        slo: slo?,
        dead_letters: dead_letters.min(TOTAL_CAP),
        dead_letters_capped: dead_letters > TOTAL_CAP,
        worst: worst?,
        rooms: rooms.unwrap_or_default(),
    }))
}

/// The figures of `[from, to]`: by the step, where hours are not summed yet by their minutes.
pub(super) async fn figures(
    console: &Console,
    groups: Option<&[GroupId]>,
    step: RollupSpan,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Rollup>> {
    let end = to + Span::MILLISECOND;
    if step == RollupSpan::Minute {
        return Ok(console.store.rollups(step, groups, from, end).await?);
    }
    let summed_until = to.saturating_sub(UNSUMMED).floor(step.length()).max(from);
    let mut rows = console.store.rollups(RollupSpan::Hour, groups, from, summed_until).await?;
    rows.extend(console.store.rollups(RollupSpan::Minute, groups, summed_until, end).await?);
    Ok(rows)
}

async fn slo(console: &Console, groups: Option<&[GroupId]>, now: Timestamp) -> Result<SloView> {
    let objective = console.config.objective;
    let from = now.saturating_sub(objective.window).floor(RollupSpan::Hour.length());
    let (mut total, mut good) = (0, 0);
    for row in figures(console, groups, RollupSpan::Hour, from, now).await? {
        total += row.figures.started + row.figures.missed;
        good += row.figures.lateness.within(objective.target);
    }
    let spent = total - good.min(total);
    let budget = total as f64 * (1.0 - objective.share);
    let budget_left = match (spent, budget > 0.0) {
        (0, _) => 1.0,
        (_, true) => 1.0 - spent as f64 / budget,
        (_, false) => -1.0,
    };
    Ok(SloView {
        target: objective.target,
        objective: objective.share,
        window: objective.window,
        total,
        good,
        share: (total > 0).then(|| good as f64 / total as f64),
        budget,
        spent,
        budget_left,
    })
}

async fn worst(console: &Console, starts: &[LateStart]) -> Result<Vec<WorstView>> {
    let keys: Vec<_> = starts.iter().filter(|start| start.late_ms > 0).map(|start| start.run).collect();
    let runs = console.store.runs_by_key(&keys).await?;
    let names = Names::of(console, &runs).await?;
    let view = |start: &LateStart| {
        let run = runs.iter().find(|run| run.key == start.run)?;
        (start.late_ms > 0).then(|| WorstView { run: names.view(run), late_ms: start.late_ms })
    };
    Ok(starts.iter().filter_map(view).collect())
}

async fn rooms(console: &Console) -> Result<Vec<RoomView>> {
    let mut rooms = BTreeMap::<String, RoomView>::new();
    let mut workers = BTreeSet::new();
    for report in console.servers.recent_statuses().await?.iter() {
        let member = &report.member;
        let room = rooms.entry(member.room.clone()).or_default();
        room.servers += 1;
        let Some(status) = &report.status else { continue };
        room.servers_answering += 1;
        room.servers_draining += usize::from(status.draining || member.draining);
        room.shards_held += status.shards.len();
        room.shards_owned += status.shards.iter().filter(|shard| shard.owner).count();
        workers.extend(status.workers.iter().map(|worker| (worker.incarnation, worker.room.clone())));
    }
    for (_, room) in workers {
        rooms.entry(room).or_default().workers += 1;
    }
    Ok(rooms.into_iter().map(|(name, room)| RoomView { room: name, ..room }).collect())
}
