//! The map engine against a modelled store, modelled workers and every fault we could think of. A failing seed is printed and replays:
//! `SEED=17 cargo test -p carillon-core --test parallel`. `SEEDS=20000` runs more of them.

#![expect(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]

mod world;

use carillon_core::parallel::{MapOutcome, MapPhase};
use world::{Faults, Plan, Random, World};

/// Runs one seed to its end and checks every promise on the way (see `World`).
fn run(seed: u64, faults: Faults) -> World {
    let mut random = Random::new(seed);
    let plan = Plan::draw(&mut random);
    let mut world = World::new(seed, plan, faults, random);
    world.run();
    world.check_end();
    world
}

fn seeds(count: u64) -> Box<dyn Iterator<Item = u64>> {
    match std::env::var("SEED") {
        Ok(seed) => Box::new(std::iter::once(seed.parse().expect("SEED is a number"))),
        // Longer than a commit should wait: `SEEDS=20000`.
        Err(_) => {
            Box::new(0..std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(count))
        }
    }
}

#[test]
fn without_faults_each_try_runs_exactly_once() {
    for seed in seeds(300) {
        let world = run(seed, Faults::None);
        for ((index, attempt), times) in &world.executions {
            assert_eq!(*times, 1, "seed {seed}: subtask {index}, try {attempt}");
            assert!(
                *attempt <= world.plan.tries_expected(*index),
                "seed {seed}: subtask {index} was tried again"
            );
        }
        let tries: u64 =
            (0..world.plan.subtasks).map(|index| u64::from(world.plan.tries_expected(index))).sum();
        assert_eq!(
            world.executions.len() as u64,
            tries,
            "seed {seed}: a failed subtask is tried again alone"
        );
    }
}

#[test]
fn whatever_workers_and_streams_do_every_subtask_is_settled_once() {
    seeds(500).for_each(|seed| drop(run(seed, Faults::Workers)));
}

#[test]
fn whatever_servers_do_the_next_one_goes_on_from_the_store() {
    seeds(500).for_each(|seed| drop(run(seed, Faults::Servers)));
}

#[test]
fn everything_at_once() {
    seeds(700).for_each(|seed| drop(run(seed, Faults::All)));
}

#[test]
fn a_server_that_takes_over_adopts_what_workers_hold_instead_of_running_it_again() {
    for seed in seeds(200) {
        // Only the server fails, and workers keep their streams to the standby: nothing may run twice.
        let world = run(seed, Faults::ServerOnly);
        for ((index, attempt), times) in &world.executions {
            assert_eq!(*times, 1, "seed {seed}: subtask {index}, try {attempt}");
        }
    }
}

#[test]
fn a_subtask_that_hangs_at_one_worker_is_given_to_another_at_the_end() {
    let mut plan = Plan::plain(40, 2);
    plan.hangs = Some(7);
    let mut world = World::new(1, plan, Faults::None, Random::new(1));
    world.run();
    world.check_end();
    assert_eq!(world.executions[&(7, 1)], 2);
    assert_eq!(world.store.header.as_ref().map(|header| header.done), Some(40));

    let mut plan = Plan::plain(40, 2);
    plan.hangs = Some(7);
    plan.rules.reissue_stragglers = false;
    let mut world = World::new(1, plan, Faults::None, Random::new(1));
    world.run_until(600_000);
    assert_eq!(world.executions[&(7, 1)], 1, "the job may opt out");
}

#[test]
fn an_aborted_map_stops_everywhere_and_says_so_to_the_splitting_worker() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random);
        let mut world = World::new(seed, plan, Faults::None, random);
        world.run_until(seed as i64 * 7);
        world.abort();
        world.run();
        let header = world.store.header.as_ref().unwrap();
        assert_eq!(header.phase, MapPhase::Ended);
        assert!(
            world.ended == Some(None)
                || matches!(
                    world.ended,
                    Some(Some(MapOutcome::Succeeded { .. } | MapOutcome::Failed { .. }))
                )
        );
    }
}
