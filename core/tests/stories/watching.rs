//! When a standby takes over for lack of planning.

use carillon_core::engine::{Effect, Input};
use carillon_core::ids::Epoch;
use serde_json::json;

use crate::scene::{EPOCH, Scene, at, job, plan};

/// A standby to which the owner said at second 0 that everything up to second 30 is planned.
fn standby(rank: u8) -> Scene {
    let mut standby = Scene::standby(rank, plan(&job(json!({})), Vec::new()));
    standby.feed(Input::ShardRead { epoch: EPOCH, planned_until: at(30.0) });
    standby
}

fn reads(done: &[(f64, Effect)]) -> Vec<f64> {
    let reads = done.iter().filter(|(_, effect)| matches!(effect, Effect::ReadShard));
    reads.map(|(at, _)| *at).collect()
}

fn takes_over(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::TakeOver { .. }))
}

#[test]
fn it_reads_the_row_when_it_begins_and_then_while_the_watermark_stands_still() {
    let mut fresh = Scene::new();
    let first = fresh.feed(Input::Rank(1));
    assert!(first.iter().any(|effect| matches!(effect, Effect::ReadShard)), "{first:?}");
    let mut standby = standby(1);
    assert_eq!(reads(&standby.pass_until(17.5)), [15.0, 16.0, 17.0]);
}

#[test]
fn a_watermark_that_moves_leaves_the_owner_alone() {
    let mut standby = standby(1);
    for second in 1..120 {
        let done = standby.pass_until(f64::from(second));
        assert!(reads(&done).is_empty(), "{done:?}");
        standby.watermark(f64::from(second) + 27.0);
    }
}

#[test]
fn a_peer_that_is_not_heard_but_plans_keeps_the_shard() {
    let mut standby = standby(1);
    let mut second = 0.0;
    while second < 100.0 {
        second += 0.5;
        if !reads(&standby.pass_until(second)).is_empty() {
            let answer = Input::ShardRead { epoch: EPOCH, planned_until: at(second + 27.0) };
            assert!(!takes_over(&standby.feed(answer)));
        }
    }
}

#[test]
fn when_the_row_lags_too_it_takes_over_once_in_a_while() {
    let mut standby = standby(1);
    let row = || Input::ShardRead { epoch: EPOCH, planned_until: at(30.0) };
    let mut tried = Vec::new();
    for tenth in 0..400 {
        let second = f64::from(tenth) / 10.0;
        if !reads(&standby.pass_until(second)).is_empty() && takes_over(&standby.feed(row())) {
            tried.push(second);
        }
    }
    // A new owner is left alone until its plan is about to end; then each two seconds.
    assert!(tried[0] >= 25.0 && tried[0] < 26.5, "{tried:?}");
    assert!(tried.windows(2).all(|two| two[1] - two[0] >= 1.9), "{tried:?}");
    assert!(tried.len() >= 3, "{tried:?}");
}

#[test]
fn a_new_owner_is_left_alone_for_half_a_minute_while_its_plan_lasts_and_for_ten_seconds_at_least() {
    // Which holder, since when there is a new owner, up to where is planned, and when the holder takes over.
    for (rank, since, planned_until, taken_at) in
        [(1, 0.0, 44.0, 30.0), (1, 0.0, 32.0, 27.0), (2, 0.0, 32.0, 29.0), (1, 28.0, 32.0, 38.0)]
    {
        let mut standby = standby(rank);
        standby.pass_until(since);
        let row = || Input::ShardRead { epoch: EPOCH.next(), planned_until: at(planned_until) };
        standby.feed(row());
        let mut tenths = (0..450).map(|tenth| since + f64::from(tenth) / 10.0);
        let taken = tenths.find(|second| {
            !reads(&standby.pass_until(*second)).is_empty() && takes_over(&standby.feed(row()))
        });
        assert!(taken.is_some_and(|at| (taken_at..taken_at + 1.5).contains(&at)), "{taken_at}: {taken:?}");
    }
}

#[test]
fn it_claims_from_the_epoch_that_the_row_shows() {
    let mut standby = standby(1);
    standby.pass_until(40.0);
    let other = standby.feed(Input::ShardRead { epoch: Epoch::new(5), planned_until: at(30.0) });
    assert!(!takes_over(&other), "somebody has just taken it over");
    standby.pass_until(71.0);
    let effects = standby.feed(Input::ShardRead { epoch: Epoch::new(5), planned_until: at(30.0) });
    let seen = effects.iter().find_map(|effect| match effect {
        Effect::TakeOver { seen, .. } => Some(*seen),
        _ => None,
    });
    assert_eq!(seen, Some(Epoch::new(5)));
}

#[test]
fn the_third_holder_waits_longer_than_the_second() {
    assert_eq!(reads(&standby(1).pass_until(15.5)), [15.0]);
    assert_eq!(reads(&standby(2).pass_until(17.5)), [17.0]);
}
