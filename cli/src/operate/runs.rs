//! `carillon run ...` and `carillon dead-letter ...`

use std::time::{Duration, Instant};

use carillon_core::run::RunState;
use carillon_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::jobs::{job_id, warn};
use super::{group_id_if_any, query, segment};
use crate::api::Api;
use crate::args::{DeadLetterAction, RunAction};
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Column, Format, put_raw, say, text};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("ID", |run| text(run, "id")),
    Column::new("JOB", |run| first(run, &["job_name", "job"])),
    Column::new("STATE", |run| text(run, "state")),
    Column::new("FIRE TIME", |run| text(run, "fire_time")),
    Column::new("LATENESS", |run| text(run, "lateness")),
    Column::new("ATTEMPT", |run| text(run, "attempt")),
    Column::new("REASON", |run| first(run, &["reason.detail", "reason.code"])),
    Column::wide("WORKER", |run| first(run, &["worker.name", "worker.incarnation"])),
    Column::wide("TRIGGER", |run| text(run, "trigger")),
    Column::wide("STARTED", |run| text(run, "started_at")),
    Column::wide("FINISHED", |run| text(run, "finished_at")),
    Column::wide("GROUP", |run| text(run, "group")),
    Column::wide("TRACE", |run| text(run, "trace_id")),
];

const SUBTASK_COLUMNS: &[Column] = &[
    Column::new("INDEX", |subtask| text(subtask, "index")),
    Column::new("KEY", |subtask| text(subtask, "key")),
    Column::new("STATE", |subtask| text(subtask, "state")),
    Column::new("ATTEMPT", |subtask| text(subtask, "attempt")),
    Column::new("ERROR", |subtask| text(subtask, "error")),
    Column::wide("WORKER", |subtask| text(subtask, "worker")),
    Column::wide("OUTPUT", |subtask| text(subtask, "output")),
];

/// How often a run that is waited for is looked at: quick enough for a person, slow enough for a console with many of them.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn run(api: Api, format: Format, action: RunAction) -> Outcome {
    match action {
        RunAction::List { group, job, state, from, to, limit } => {
            let group = group_id_if_any(&api, group).await?;
            let job = match job {
                Some(job) => Some(job_id(&api, &job).await?),
                None => None,
            };
            let planned = state.iter().any(|state| state == "planned");
            let state = (!state.is_empty()).then(|| state.join(","));
            let (from, to) = (instant("--from", from)?, instant("--to", to)?);
            // Fires are planned ahead; who asks what happened does not mean those.
            let to = to.or_else(|| (!planned).then(|| (clock::now() + Span::SECOND).to_string()));
            let query =
                query(&[("group", &group), ("job", &job), ("state", &state), ("from", &from), ("to", &to)]);
            output::show_list(format, COLUMNS, &api.list("/runs", &query, limit.limit).await?)
        }
        RunAction::Get { run } => {
            let run = api.get(&format!("/runs/{}", segment(&run)?), &[]).await?.body;
            output::show_one(format, COLUMNS, &run)
        }
        RunAction::Logs { run, attempt, follow } => logs(&api, segment(&run)?, attempt, follow).await,
        RunAction::Cancel { run } => {
            let answer = api.post(&format!("/runs/{}/cancel", segment(&run)?), None).await?.body;
            warn(&answer);
            output::show_one(format, COLUMNS, &answer)
        }
        RunAction::Retry { run, failed_subtasks } => {
            let body = failed_subtasks.then(|| json!({"failed_subtasks_only": true}));
            let answer = api.post(&format!("/runs/{}/retry", segment(&run)?), body.as_ref()).await?.body;
            warn(&answer);
            output::show_one(format, COLUMNS, &answer)
        }
        RunAction::Subtasks { run, state, key, limit } => {
            let query = query(&[("state", &state), ("key", &key)]);
            let subtasks =
                api.list(&format!("/runs/{}/subtasks", segment(&run)?), &query, limit.limit).await?;
            output::show_list(format, SUBTASK_COLUMNS, &subtasks)
        }
    }
}

/// `carillon dead-letter ...`
pub(super) async fn dead_letters(api: Api, format: Format, action: DeadLetterAction) -> Outcome {
    match action {
        DeadLetterAction::List { group, job, limit } => {
            let group = group_id_if_any(&api, group).await?;
            let job = match job {
                Some(job) => Some(job_id(&api, &job).await?),
                None => None,
            };
            let query = query(&[("group", &group), ("job", &job)]);
            output::show_list(format, COLUMNS, &api.list("/dead-letters", &query, limit.limit).await?)
        }
        DeadLetterAction::Retry { runs } => act_on_dead(&api, &runs, "retry").await,
        DeadLetterAction::Discard { runs } => act_on_dead(&api, &runs, "discard").await,
    }
}

async fn act_on_dead(api: &Api, runs: &[String], verb: &str) -> Outcome {
    for run in runs {
        api.post(&format!("/dead-letters/{}/{verb}", segment(run)?), None).await?;
        say(&format!("{verb}: {run}"));
    }
    Ok(())
}

/// Waits for a run's end and shows it; a bad end is exit code 5.
pub(super) async fn wait(api: &Api, format: Format, run: &str, patience: Duration) -> Outcome {
    let deadline = Instant::now() + patience;
    let path = format!("/runs/{}", segment(run)?);
    loop {
        let now = api.get(&path, &[]).await?.body;
        let state = text(&now, "state");
        if is_final(&state) {
            output::show_one(format, COLUMNS, &now)?;
            if state == "succeeded" {
                return Ok(());
            }
            let why = first(&now, &["reason.detail", "reason.code"]);
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            return Err(Failure::RunFailed(format!("run {run} ended {state}{why}")));
        }
        if Instant::now() >= deadline {
            return Err(Failure::RunFailed(format!(
                "run {run} is still {state} after {}",
                Span::from_duration(patience)
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Prints a log from its beginning; with `follow`, until the attempt is over.
async fn logs(api: &Api, run: &str, attempt: Option<u32>, follow: bool) -> Outcome {
    let attempt = attempt.map(|attempt| attempt.to_string());
    let format = Some("json".to_owned());
    let mut offset: u64 = 0;
    loop {
        let from = Some(offset.to_string());
        let query = query(&[("attempt", &attempt), ("from", &from), ("format", &format)]);
        let piece = api.get(&format!("/runs/{run}/log"), &query).await?.body;
        put_raw(text(&piece, "text").as_bytes())?;
        let next = piece["next_offset"].as_u64().unwrap_or(offset);
        let more = next > offset;
        offset = next;
        if more {
            continue;
        }
        if !follow || piece["complete"] == true {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn is_final(state: &str) -> bool {
    state.parse::<RunState>().is_ok_and(RunState::is_final)
}

/// A time of a filter: an instant, or how long ago.
fn instant(flag: &str, given: Option<String>) -> Outcome<Option<String>> {
    let Some(given) = given else { return Ok(None) };
    if let Ok(ago) = given.parse::<Span>() {
        return Ok(Some((clock::now() - ago).to_string()));
    }
    let at: Timestamp = given.parse().map_err(|_| {
        Failure::Usage(format!(
            "{flag} {given:?} is neither a time such as 2026-11-20T09:00:00Z nor how long ago, such as 1h30m"
        ))
    })?;
    Ok(Some(at.to_string()))
}

fn first(item: &Value, paths: &[&str]) -> String {
    paths.iter().map(|path| text(item, path)).find(|text| !text.is_empty()).unwrap_or_default()
}
