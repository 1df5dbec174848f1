//! The trigger protocol as a Stateright model: every order of events in small worlds, not a sample of them.
//!
//! # What is modelled
//! One shard with one job and one or two fires, each in a slice of its own. Two or three servers hold it, under two names of workers run
//! its handler. The store is one primary whose transactions are conditional; a commit in doubt stays in limbo and takes effect at any later
//! moment, or never. The trigger lock is a hint: its session expires, its holder goes on believing. Messages arrive in any order, late or
//! twice, or are lost. Owners plan, move with proof, give up lost workers by policy, answer an edit; every holder that knows a plan arms.
//! Workers keep tombstones, versions and incarnations, refuse, crash, come back, leave. Faults share a budget, healing is free at any time.
//!
//! Life cycle, reasons, ids, policies and the order of workers are those of `carillon_core`, so the model cannot drift from them. What the
//! store and the worker do is written here once more: `carillon-store` and `carillon-client` have their own tests.
//!
//! # What is not
//! Time beyond "the latest start has passed": lateness (I2's second), leads (I8) and patience are the simulation's. Overlap policies, queues,
//! triggers by API, parallel runs, several jobs and edits, retries after a handler's failure. A killed server that returns is a new one: it
//! remembers nothing, so the third server stands for it. Faults that never heal are judged for safety only.
//!
//! # How to read it
//! `scope` says how large a world is and which deliberate bugs there are; `world` is its state; `store`, `server`, `worker`, `edit` and
//! `faults` are the rules; `protocol` lists the steps; `properties` says what must hold. `holds` explores a world to its end, `breaks` demands
//! the shortest path to the violation that a bug leads to. "In the end" means: in each world in which nobody has anything left to do. No
//! step leads back ([`no_step_leads_back`]), so every path comes to such a world, faults or not.
//!
//! `CARILLON_MODEL_MORE=1` allows one fault more in every world (ten to twenty times the states); `CARILLON_MODEL_TRACE=1` prints the shortest
//! path of each bug.
#![allow(clippy::print_stderr, reason = "the counts of explored states are what a reader wants to see")]

mod edit;
mod faults;
mod properties;
mod protocol;
mod scope;
mod server;
mod store;
mod worker;
mod world;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Instant;

use carillon_core::job::WorkerLost;
use stateright::{Checker, HasDiscoveries, Model};

use protocol::Protocol;
use scope::{EditKind, Kind, Mutant, Routes, Scope};

/// How many faults more than in a test run; each multiplies the states by ten to twenty.
fn more_faults() -> u8 {
    std::env::var("CARILLON_MODEL_MORE").map_or(0, |text| text.parse().expect("a small number"))
}

/// Explores a world to its end and demands every property.
fn holds(name: &str, mut scope: Scope) {
    scope.faults += more_faults();
    let started = Instant::now();
    let checker = Protocol::new(scope).checker().symmetry().spawn_dfs().join();
    eprintln!(
        "{name}: {} states, {} steps, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f32()
    );
    for (property, path) in checker.discoveries() {
        if checker.model().property(property).expectation.discovery_is_failure() {
            eprintln!("{name}: {property}: {:#?}", path.into_actions());
        }
    }
    checker.assert_properties();
}

/// Looks for the shortest way to break `property`.
fn breaks(name: &str, property: &'static str, scope: Scope) {
    let started = Instant::now();
    let wanted = HasDiscoveries::AllOf([property].into());
    let checker = Protocol::new(scope).checker().finish_when(wanted).spawn_bfs().join();
    let found = checker.discovery(property);
    eprintln!(
        "{name}: {} after {} states, {:.1} s",
        if found.is_some() { "broken" } else { "NOT broken" },
        checker.unique_state_count(),
        started.elapsed().as_secs_f32()
    );
    let path = found.unwrap_or_else(|| panic!("{name}: nothing breaks {property:?}"));
    if std::env::var_os("CARILLON_MODEL_TRACE").is_some() {
        eprintln!("{:#?}", path.into_actions());
    }
}

const OUTAGES: &[Kind] = &[
    Kind::Mysql,
    Kind::Zookeeper,
    Kind::Link,
    Kind::Expiry,
    Kind::Suspicion,
    Kind::ServerCrash,
    Kind::Doubt,
    Kind::Message,
    Kind::Refusal,
];

/// What may go wrong with the workers and the way to them.
const WORKERS: &[Kind] = &[
    Kind::Link,
    Kind::Doubt,
    Kind::Message,
    Kind::Refusal,
    Kind::WorkerCrash,
    Kind::Leave,
    Kind::Expiry,
    Kind::ServerCrash,
];

fn workers(worker_lost: WorkerLost, faults: u8) -> Scope {
    let deadlines = worker_lost != WorkerLost::Retry;
    Scope { restarts: 1, worker_lost, deadlines, handlers_end: true, ..Scope::new(2, 1, faults, WORKERS) }
}

fn edited(edit: EditKind, faults: u8) -> Scope {
    let kinds = &[
        Kind::Link,
        Kind::Suspicion,
        Kind::Expiry,
        Kind::ServerCrash,
        Kind::Doubt,
        Kind::Message,
        Kind::Refusal,
    ];
    // A run of a deleted job gets no further attempt.
    let worker_lost = if edit == EditKind::Delete { WorkerLost::Skip } else { WorkerLost::Retry };
    Scope { edit: Some(edit), worker_lost, ..Scope::new(2, 1, faults, kinds) }
}

/// What "in the end" stands on: a world that could come back would have paths without an end.
#[test]
fn no_step_leads_back() {
    for scope in [Scope::new(2, 1, 2, OUTAGES), workers(WorkerLost::Retry, 1), edited(EditKind::Replace, 1)] {
        let protocol = Protocol::new(scope);
        let followers = |world: &world::World| {
            let mut actions = Vec::new();
            protocol.actions(world, &mut actions);
            let next: Vec<_> =
                actions.into_iter().filter_map(|action| protocol.next_state(world, action)).collect();
            next
        };
        // Each world that was met, and whether everything behind it has been seen.
        let mut met = BTreeMap::new();
        let mut path: Vec<(u64, Vec<world::World>)> = Vec::new();
        let mut arrived = protocol.init_states().pop();
        loop {
            if let Some(world) = arrived.take() {
                let id = BuildHasherDefault::<DefaultHasher>::default().hash_one(&world);
                match met.get(&id) {
                    Some(true) => {}
                    Some(false) => panic!("a step leads back to {world:?}"),
                    None => {
                        met.insert(id, false);
                        path.push((id, followers(&world)));
                    }
                }
            }
            let Some((id, left)) = path.last_mut() else { break };
            arrived = left.pop();
            if arrived.is_none() {
                met.insert(*id, true);
                path.pop();
            }
        }
        eprintln!("no way back in {} worlds", met.len());
    }
}

#[test]
fn two_servers_and_any_four_outages() {
    holds("two servers, four outages", Scope::new(2, 1, 4, OUTAGES));
}

#[test]
fn three_servers_and_any_three_outages() {
    holds("three servers, three outages", Scope::new(3, 1, 3, OUTAGES));
}

#[test]
fn two_slices_one_after_the_other() {
    holds("two slices", Scope::new(2, 2, 2, OUTAGES));
}

#[test]
fn a_lost_worker_and_a_retry_at_once() {
    holds("worker lost, retry", workers(WorkerLost::Retry, 3));
}

#[test]
fn a_lost_worker_and_a_strict_retry() {
    holds("worker lost, strict retry", workers(WorkerLost::RetryStrict, 2));
}

#[test]
fn a_lost_worker_and_no_retry() {
    holds("worker lost, skip", workers(WorkerLost::Skip, 2));
}

#[test]
fn an_edit_that_keeps_the_fire() {
    holds("edit", edited(EditKind::Replace, 2));
}

#[test]
fn a_deletion() {
    holds("deletion", edited(EditKind::Delete, 2));
}

/// Residual risk 1: with the deterministic order and an unchanged roster even a lost commit starts nothing twice.
#[test]
fn a_lost_commit_and_the_deterministic_order() {
    let kinds =
        &[Kind::LostCommit, Kind::Mysql, Kind::Doubt, Kind::Suspicion, Kind::ServerCrash, Kind::Refusal];
    holds("lost commit, deterministic order", Scope::new(2, 1, 4, kinds));
}

#[test]
fn a_lost_commit_and_a_free_choice_is_caught() {
    let kinds = &[Kind::LostCommit];
    let scope = Scope { routes: Routes::Free, ..Scope::new(2, 1, 1, kinds) };
    breaks("lost commit, free choice", properties::ONE_START, scope);
}

#[test]
fn a_move_without_proof_is_caught() {
    let scope = Scope::new(2, 1, 1, &[Kind::Link]).with(Mutant::MoveWithoutProof);
    breaks("move without proof", properties::ONE_START, scope.clone());
    breaks("move without proof", properties::PROOF, scope);
}

#[test]
fn delivering_what_is_not_committed_is_caught() {
    let scope = Scope::new(2, 1, 2, &[Kind::Mysql, Kind::Suspicion]).with(Mutant::DeliverUncommitted);
    let scope = Scope { routes: Routes::Free, ..scope };
    breaks("deliver uncommitted", properties::NO_START_WITHOUT_ROW, scope.clone());
    breaks("deliver uncommitted", properties::ONE_START, scope);
}

/// Each server sees one of the two stores: the obvious design starts twice.
#[test]
fn the_lock_alone_is_caught() {
    let scope = Scope::new(2, 1, 2, &[Kind::Mysql, Kind::Zookeeper]).with(Mutant::LockAlone);
    breaks("lock alone", properties::ONE_START, Scope { routes: Routes::Free, ..scope });
}

#[test]
fn a_missing_tombstone_is_caught() {
    let scope = Scope::new(2, 1, 1, &[Kind::Refusal]).with(Mutant::NoTombstone);
    breaks("no tombstone", properties::ONE_START, scope);
}

/// Between "sent" and "marked as sent": nothing has to go wrong at all.
#[test]
fn taking_over_after_due_is_caught_without_any_fault() {
    let scope = Scope::new(2, 1, 0, &[]).with(Mutant::TakeOverAfterDue);
    breaks("take over after due", properties::ONE_START, scope);
}

#[test]
fn a_leaving_worker_that_forgets_what_ended_is_caught() {
    let scope = Scope::new(2, 1, 1, &[Kind::Leave]).with(Mutant::LeaveForgetsEnded);
    breaks("leave forgets ended", properties::ONE_START, Scope { handlers_end: true, ..scope });
}

/// An owner that was not told of its own move ends the run for the plan before, while another holder delivers the new one.
#[test]
fn ending_a_plan_unseen_is_caught() {
    let kinds = &[Kind::Refusal, Kind::Doubt];
    let scope = Scope { deadlines: true, handlers_end: true, ..Scope::new(2, 1, 2, kinds) };
    breaks("end any plan", properties::SETTLES, scope.with(Mutant::EndAnyPlan));
}

#[test]
fn planning_without_the_watermark_check_is_caught() {
    let scope = Scope::new(2, 2, 1, &[Kind::Suspicion, Kind::Expiry]).with(Mutant::NoWatermarkCheck);
    breaks("no watermark check", properties::NEVER_BACK, scope);
}

#[test]
fn moving_the_watermark_before_the_rows_is_caught() {
    let scope = Scope::new(2, 1, 0, &[]).with(Mutant::WatermarkFirst);
    breaks("watermark first", properties::ONE_ROW, scope);
}

#[test]
fn planning_without_the_job_sets_version_is_caught() {
    let kinds = &[Kind::Doubt];
    let scope = Scope { edit: Some(EditKind::Replace), ..Scope::new(2, 1, 1, kinds) };
    breaks("slice, no version check", properties::EDITS_HOLD, scope.with(Mutant::NoJobsVersionCheck));
}

/// The owner has not read the edit when it plans the second attempt of a run that the edit did not touch, since it ran.
#[test]
fn a_retry_without_the_job_sets_version_is_caught() {
    let scope = Scope { edit: Some(EditKind::Replace), ..Scope::new(2, 1, 1, &[Kind::Link]) };
    breaks("retry, no version check", properties::EDITS_HOLD, scope.with(Mutant::NoJobsVersionCheck));
}

#[test]
fn an_edit_without_disarm_is_caught() {
    let scope = Scope { edit: Some(EditKind::Replace), ..Scope::new(2, 1, 0, &[]) };
    breaks("edit without disarm", properties::EDITS_HOLD, scope.with(Mutant::EditWithoutDisarm));
}

#[test]
fn a_hasty_strict_retry_is_caught() {
    let scope = workers(WorkerLost::RetryStrict, 1).with(Mutant::HastyStrictRetry);
    breaks("hasty strict retry", properties::STRICT, scope);
}
