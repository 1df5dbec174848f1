//! The engine under a seeded heap of events: servers that crash, pause and are replaced, a store that leaves its callers in doubt, workers
//! that die, refuse and leave, a network that delays and repeats, people who edit and trigger. After each start and at the end the
//! invariants of the trigger protocol are judged.
//!
//! A failure prints its seed. `CARILLON_SIM_SEED=n` runs that one with its trace; `CARILLON_SIM_SEEDS=n` sets how many are run (2,000);
//! `CARILLON_SIM_FROM=n` where they begin.
#![allow(clippy::print_stderr, reason = "a failing seed is told with its trace")]

mod checks;
mod jobs;
mod store;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Mode, Mutant, World};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Names the seed of a panic that is not a check's.
struct NameOnPanic(u64, Mutant);

impl Drop for NameOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() && self.1 == Mutant::None {
            eprintln!("this was seed {}", self.0);
        }
    }
}

/// Runs a seed and returns the hash of its trace.
fn run(seed: u64, mode: Mode, mutant: Mutant, traced: bool) -> u64 {
    let _named = NameOnPanic(seed, mutant);
    let mut world = World::new(seed, mode, mutant);
    world.trace = traced.then(Vec::new);
    let hash = world.run();
    world.check_end();
    hash
}

fn run_seeds(mode: Mode, seeds: u64) {
    if let Some(seed) = number("CARILLON_SIM_SEED") {
        run(seed, mode, Mutant::None, true);
        return;
    }
    let from = number("CARILLON_SIM_FROM").unwrap_or(1);
    let seeds = number("CARILLON_SIM_SEEDS").unwrap_or(seeds);
    let started = std::time::Instant::now();
    for seed in from..from + seeds {
        run(seed, mode, Mutant::None, false);
    }
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    eprintln!("{seeds} seeds of mode {mode:?} from {from}, {:.0} a minute", seeds as f64 / minutes);
}

#[test]
fn the_invariants_hold_whatever_fails() {
    run_seeds(Mode::Faults, 2_000);
}

#[test]
fn everything_is_on_time_when_nothing_fails() {
    run_seeds(Mode::Calm, 200);
}

#[test]
fn a_seed_replays_to_the_same_trace() {
    for seed in 1..=20 {
        let once = run(seed, Mode::Faults, Mutant::None, false);
        assert_eq!(once, run(seed, Mode::Faults, Mutant::None, false), "seed {seed}");
    }
}

/// A check that cannot fail proves nothing: each deliberate bug has to be found within some seeds.
#[test]
fn deliberate_bugs_are_found() {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let missed: Vec<Mutant> =
        [Mutant::NoDedup, Mutant::DeliverUncommitted, Mutant::SkipRows, Mutant::MoveWithoutProof]
            .into_iter()
            .filter(|mutant| {
                (1..=200).all(|seed| {
                    catch_unwind(AssertUnwindSafe(|| run(seed, Mode::Faults, *mutant, false))).is_ok()
                })
            })
            .collect();
    std::panic::set_hook(quiet);
    assert!(missed.is_empty(), "not found: {missed:?}");
}
