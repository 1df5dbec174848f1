//! What one console does for all: sums figures, drops what is older than it is kept.

use axum::http::{Method, StatusCode};
use carillon_core::ids::{GroupId, JobId, RunKey};
use carillon_core::run::RunState;
use carillon_core::time::Span;
use carillon_store::observed::{Figures, Rollup, RollupSpan};
use serde_json::json;

use crate::runs::insert;
use crate::support::World;
use crate::support::world::id_of;

const DAY: Span = Span::from_secs(24 * 3600);

async fn left(world: &World, runs: &[RunKey]) -> Vec<bool> {
    let found = world.store.runs_by_key(runs).await.unwrap();
    runs.iter().map(|key| found.iter().any(|run| run.key == *key)).collect()
}

async fn change(world: &World, group: GroupId, days: u32) {
    let path = format!("/groups/{group}");
    let ask = world.ask(Method::PATCH, &path).if_match("*").json(json!({ "keep_days": days }));
    ask.send().await.must(StatusCode::OK);
}

#[tokio::test]
async fn runs_go_when_their_group_does_not_keep_them_any_longer() {
    let world = World::with(|config| config.keep_days = 5).await;
    let server = world.server("server-1").await;
    let mut runs = Vec::new();
    let groups =
        [world.group(&[&server]).await, world.group(&[&server]).await, world.group(&[&server]).await];
    let mut jobs: Vec<JobId> = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        jobs.push(id_of(&world.job(*group, &format!("job {number}"), json!({})).await));
    }
    for (group, job) in groups.iter().zip(&jobs) {
        runs.push(insert(&world, *job, *group, Span::ZERO, RunState::Succeeded).await);
        runs.push(insert(&world, *job, *group, Span::from_secs(60), RunState::Running).await);
    }
    change(&world, groups[0], 2).await;
    change(&world, groups[2], 9).await;
    assert_eq!(world.get(&format!("/groups/{}", groups[0])).send().await.json()["keep_days"], 2);

    for (days, expected) in [
        (1, [true, true, true, true, true, true]),
        (3, [false, true, true, true, true, true]),
        (6, [false, true, false, true, true, true]),
        (10, [false, true, false, true, false, true]),
    ] {
        let passed = world.now().since("2026-11-20T09:00:00Z".parse().unwrap());
        world.advance(Span::from_millis(DAY.as_millis() * days - passed.as_millis()));
        world.console.keep_house().await.unwrap();
        assert_eq!(left(&world, &runs).await, expected, "after {days} days");
    }
    // Back to the setting.
    change(&world, groups[0], 0).await;
    assert!(world.get(&format!("/groups/{}", groups[0])).send().await.json().get("keep_days").is_none());
}

#[tokio::test]
async fn hours_are_summed_also_those_that_nobody_summed_in_time() {
    let world = World::new().await;
    let hour = world.now().floor(RollupSpan::Hour.length());
    let started = |count| Figures { started: count, ..Figures::default() };
    let minute = |ago: u64, count| Rollup {
        span: RollupSpan::Minute,
        begins_at: hour.saturating_sub(Span::from_secs(ago * 60)),
        group: None,
        writer: 1,
        figures: started(count),
    };
    let rows = [minute(20 * 60, 3), minute(59, 4), minute(1, 5), minute(0, 100)];
    world.store.write_rollups(&rows).await.unwrap();
    // A round sums one stretch; whatever lay before it is summed from its beginning on.
    world.console.keep_house().await.unwrap();
    let from = hour.saturating_sub(DAY);
    let hours = world.store.rollups(RollupSpan::Hour, None, from, hour + DAY).await.unwrap();
    let told: Vec<_> = hours.iter().map(|row| (row.begins_at, row.figures.started)).collect();
    let ago = |hours: u64| hour.saturating_sub(Span::from_secs(hours * 3600));
    assert_eq!(told, [(ago(20), 3), (ago(1), 9)], "the hour that is not over is not summed");
    // What came late is summed again.
    world.store.write_rollups(&[minute(2, 7)]).await.unwrap();
    world.console.keep_house().await.unwrap();
    let hours = world.store.rollups(RollupSpan::Hour, None, ago(1), hour).await.unwrap();
    assert_eq!(hours[0].figures.started, 16);
}
