//! Edits: what an owner and a standby do until they have seen what came of one, and what they make of it then.

use carillon_core::change::Move;
use carillon_core::engine::{Effect, Input, PlanNews, ReportKind, Snapshot};
use carillon_core::ids::{Epoch, JobId, JobVersion, PlanNo, RunKey};
use carillon_core::job::Job;
use carillon_core::run::{Run, RunState};
use serde_json::json;

use crate::scene::{
    ANN, BOB, DELETED_AT, EPOCH, JOB, Scene, at, change, changed, edited, job, plan, read, replanned, run,
    seconds, succeeded, version,
};

fn looks(effects: &[Effect]) -> Vec<&'static str> {
    let look = |effect: &Effect| match effect {
        Effect::Reload => Some("at all"),
        Effect::ReadJob(_) => Some("at a job"),
        _ => None,
    };
    effects.iter().filter_map(look).collect()
}

fn settled(effects: &[Effect]) -> Vec<(u64, Vec<RunKey>)> {
    let settle = |effect: &Effect| match effect {
        Effect::EditSettled { jobs_version, may_start } => Some((jobs_version.get(), may_start.clone())),
        _ => None,
    };
    effects.iter().filter_map(settle).collect()
}

/// The job's second edit by another person is told before its rows were read.
#[test]
fn an_edit_has_the_store_looked_at_for_its_job_alone_and_once_at_a_time() {
    let planned = run(20.0, ANN);
    let mut owner = Scene::owner(&job(json!({})), vec![planned.clone()]);
    assert_eq!(looks(&owner.feed(changed(2, JOB, &[&planned]))), ["at a job"]);
    assert!(looks(&owner.feed(changed(3, JOB, &[&planned]))).is_empty());
    // What was read may be older than the second edit.
    let again = owner.feed(read(2, Some(edited()), vec![replanned(&planned)]));
    assert_eq!(looks(&again), ["at a job"]);
    let twice = Job { version: JobVersion::new(3), ..edited() };
    assert!(looks(&owner.feed(read(3, Some(twice), vec![replanned(&replanned(&planned))]))).is_empty());
}

#[test]
fn an_edited_job_is_armed_by_what_was_read_and_the_others_all_the_while() {
    let (planned, other) = (run(2.0, ANN), JobId::new(8));
    let mut owner = Scene::owner(&job(json!({})), vec![planned.clone()]);
    // An edit of another job keeps nobody up.
    owner.feed(changed(2, other, &[]));
    assert_eq!(seconds(&owner.armed_until(1.0)), [0.5]);

    let mut owner = Scene::owner(&job(json!({})), vec![planned.clone()]);
    owner.feed(changed(2, JOB, &[&planned]));
    assert!(owner.armed_until(1.0).is_empty(), "nobody knows what came of it");
    let effects = owner.feed(read(2, Some(edited()), vec![replanned(&planned)]));
    let armed: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Arm(arm) => Some((arm.plan_no, arm.job_version.get())),
            _ => None,
        })
        .collect();
    assert_eq!(armed, [(planned.plan_no.next(), 2)]);
}

#[test]
fn nothing_is_planned_between_an_edit_and_the_look_at_it() {
    let plans = |effects: &[(f64, Effect)]| {
        effects.iter().any(|(_, effect)| matches!(effect, Effect::CommitSlice(_)))
    };
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    owner.feed(changed(2, JOB, &[]));
    assert!(!plans(&owner.pass_until(8.0)), "a slice would be refused");
    let read = owner.feed(read(2, Some(edited()), Vec::new()));
    let slice = read.iter().find_map(|effect| match effect {
        Effect::CommitSlice(slice) => Some(slice.jobs_version),
        _ => None,
    });
    assert_eq!(slice, Some(version(2)));
}

/// Two consoles edit two jobs at once; the owner hears of the second one first.
#[test]
fn edits_of_two_jobs_are_in_force_when_both_were_read() {
    let (mine, other) = (edited(), Job { id: JobId::new(8), ..edited() });
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    owner.feed(changed(2, mine.id, &[]));
    owner.feed(changed(3, other.id, &[]));
    let first = owner.feed(read(3, Some(mine), Vec::new()));
    assert!(looks(&first).is_empty(), "the other one is being looked at: {first:?}");
    let second = owner.feed(read(3, Some(other), Vec::new()));
    assert!(looks(&second).is_empty(), "{second:?}");
    assert_eq!(owner.engine().plan_so_far().unwrap().jobs_version, version(3));
}

#[test]
fn an_edit_that_nobody_told_of_is_found_by_the_next_one() {
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    owner.feed(changed(3, JOB, &[]));
    let effects = owner.feed(read(3, Some(edited()), Vec::new()));
    assert_eq!(looks(&effects), ["at all"], "version 2 was some other job's");
}

/// The database failed over to a replica that had not heard of the edit: the job goes on as it was.
#[test]
fn an_edit_that_the_store_has_lost_keeps_no_job_from_running() {
    let planned = run(2.0, ANN);
    let mut owner = Scene::owner(&job(json!({})), vec![planned.clone()]);
    owner.feed(changed(2, JOB, &[&planned]));
    let effects = owner.feed(read(1, Some(job(json!({}))), vec![planned.clone()]));
    assert_eq!(looks(&effects), ["at all"]);
    assert_eq!(seconds(&owner.armed_until(1.0)), [0.5]);
    owner.own(EPOCH, &job(json!({})), vec![planned]);
    let planned_again = owner.pass_until(9.0);
    assert!(planned_again.iter().any(|(_, effect)| matches!(effect, Effect::CommitSlice(_))));
}

#[test]
fn an_edit_is_answered_when_the_worker_gave_its_word() {
    let planned = run(2.0, ANN);
    let mut owner = Scene::owner(&job(json!({})), vec![planned.clone()]);
    owner.pass_until(1.0);
    assert!(settled(&owner.feed(changed(2, JOB, &[&planned]))).is_empty());
    let gone = owner.feed(read(2, None, Vec::new()));
    assert!(settled(&gone).is_empty());
    assert!(gone.iter().any(|effect| matches!(effect, Effect::Disarm { to, .. } if *to == ANN)), "{gone:?}");
    let word = owner.hear(ANN, &planned, carillon_core::engine::ReportKind::Disarmed);
    assert_eq!(settled(&word), [(2, Vec::new())]);
}

/// A standby may have read the rows between two edits, of which the owner saw only what came of both.
#[test]
fn a_run_that_the_owner_never_saw_may_start_all_the_same() {
    let unseen = run(2.0, ANN);
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    owner.feed(changed(3, JOB, &[&unseen]));
    let effects = owner.feed(read(3, Some(edited()), Vec::new()));
    assert_eq!(settled(&effects), [(3, vec![unseen.key])]);
}

#[test]
fn a_look_at_a_job_that_finds_another_owner_is_followed_by_one_at_all() {
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    owner.feed(changed(2, JOB, &[]));
    let Input::JobRead(mut later) = read(2, Some(edited()), Vec::new()) else { unreachable!() };
    later.epoch = Epoch::new(EPOCH.get() + 1);
    assert!(looks(&owner.feed(Input::JobRead(later))).contains(&"at all"));
}

#[test]
fn a_standby_arms_what_an_edit_made_where_the_owner_does_not() {
    let (planned, new) = (run(3.0, ANN), run(4.0, ANN));
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![planned.clone()]));
    assert_eq!(looks(&standby.feed(changed(2, JOB, &[&planned]))), ["at a job"]);
    standby.pass_until(1.0);
    standby.feed(read(2, Some(edited()), vec![replanned(&planned), new]));
    let armed = standby.armed_until(3.5);
    assert_eq!(seconds(&armed)[0], 2.1);
    assert!(armed.iter().all(|(_, arm)| arm.job_version.get() == 2));
    let plans: Vec<(RunKey, PlanNo)> = armed.iter().map(|(_, arm)| (arm.key, arm.plan_no)).collect();
    assert!(plans.contains(&(planned.key, planned.plan_no.next())), "{plans:?}");
    assert!(plans.iter().any(|(key, _)| key.fire_time == at(4.0)), "{plans:?}");
}

#[test]
fn a_standby_arms_nothing_of_a_job_before_it_has_seen_what_came_of_its_edit() {
    let planned = run(3.0, ANN);
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![planned]));
    standby.feed(changed(2, JOB, &[]));
    assert!(standby.armed_until(5.0).is_empty());
    standby.feed(read(2, None, Vec::new()));
    assert!(standby.armed_until(6.0).is_empty(), "the job was deleted");
}

#[test]
fn what_the_owner_has_told_since_is_later_than_what_a_standby_has_read() {
    let planned = run(3.0, ANN);
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![planned.clone()]));
    standby.feed(changed(2, JOB, &[]));
    let moved = Run { worker: Some(BOB), plan_no: planned.plan_no.next(), ..planned.clone() };
    standby.feed(Input::News(Box::new(crate::scene::change(vec![moved], Vec::new()))));
    standby.feed(read(2, Some(edited()), vec![planned]));
    let armed = standby.armed_until(2.5);
    assert_eq!(armed[0].1.to, BOB);
}

fn moves(effects: &[(f64, Effect)]) -> Vec<(f64, Move)> {
    let made = |(at, effect): &(f64, Effect)| match effect {
        Effect::Move(moves) => Some((*at, moves[0])),
        _ => None,
    };
    effects.iter().filter_map(made).collect()
}

/// A console names no workers, and the owner, who would, is dead.
fn standby_with_unplaced_runs(due: &[f64]) -> (Scene, Vec<Run>) {
    let unplaced = |due: &f64| Run { worker: None, job_version: JobVersion::new(2), ..run(*due, ANN) };
    let unplaced: Vec<Run> = due.iter().map(unplaced).collect();
    let mut standby = Scene::standby(1, plan(&job(json!({})), Vec::new()));
    standby.feed(changed(2, JOB, &[]));
    standby.feed(read(2, Some(edited()), unplaced.clone()));
    (standby, unplaced)
}

#[test]
fn a_standby_names_a_worker_for_what_an_edit_made_and_arms_it_once_that_is_committed() {
    let (mut standby, unplaced) = standby_with_unplaced_runs(&[3.0]);
    let unplaced = &unplaced[0];
    let named = moves(&standby.pass_until(2.5));
    assert_eq!(named.len(), 1, "{named:?}");
    let (at_second, made) = named[0];
    assert_eq!(
        (at_second, made.key, made.seen, made.fence.epoch),
        (2.1, unplaced.key, unplaced.plan_no, EPOCH)
    );
    let to = made.to;
    let armed = standby.feed(Input::Moved(vec![(made, true)]));
    let plans: Vec<_> = armed
        .iter()
        .filter_map(|effect| match effect {
            Effect::Arm(arm) => Some((arm.to, arm.plan_no)),
            _ => None,
        })
        .collect();
    assert_eq!(plans, [(to, unplaced.plan_no.next())]);
}

/// Each naming is a commit, and the database may be slow.
#[test]
fn a_standby_names_workers_for_all_runs_of_a_job_at_once() {
    let (mut standby, unplaced) = standby_with_unplaced_runs(&[3.0, 8.0]);
    let effects = standby.pass_until(2.5);
    let named = |(at, effect): (f64, Effect)| match effect {
        Effect::Move(moves) => Some((at, moves)),
        _ => None,
    };
    let mut named: Vec<_> = effects.into_iter().filter_map(named).collect();
    assert_eq!(named.len(), 1, "{named:?}");
    let (at_second, moves) = named.remove(0);
    assert_eq!((at_second, moves.len()), (2.1, 2));
    standby.feed(Input::Moved(moves.into_iter().map(|made| (made, true)).collect()));
    let armed = standby.armed_until(7.5).into_iter().find(|(_, arm)| arm.key == unplaced[1].key);
    assert_eq!(armed.map(|(at, _)| at), Some(7.1));
}

#[test]
fn a_standby_whose_naming_is_refused_looks_at_the_job_again() {
    let (mut standby, _) = standby_with_unplaced_runs(&[3.0]);
    let (_, made) = moves(&standby.pass_until(2.5)).remove(0);
    let refused = standby.feed(Input::Moved(vec![(made, false)]));
    assert_eq!(looks(&refused), ["at a job"]);
    assert!(standby.armed_until(5.0).is_empty());
}

/// Withdrawn before its owner had named a worker: a standby may have.
#[test]
fn an_edit_lists_a_run_without_a_worker_that_a_standby_may_have_placed() {
    for (due, listed) in [(2.0, true), (20.0, false)] {
        let unplaced = Run { worker: None, ..run(due, ANN) };
        let mut owner = Scene::new();
        owner.feed(Input::WorkerDisconnected(ANN));
        owner.feed(Input::WorkerDisconnected(BOB));
        owner.own(EPOCH, &job(json!({})), vec![unplaced.clone()]);
        owner.feed(changed(2, JOB, &[&unplaced]));
        let effects = owner.feed(read(2, None, Vec::new()));
        let may_start = if listed { vec![unplaced.key] } else { Vec::new() };
        assert_eq!(settled(&effects), [(2, may_start)]);
    }
}

/// A job is resumed, and its rows name the worker that they had before it was paused.
#[test]
fn a_row_that_an_edit_gives_back_does_not_wait_for_a_worker_that_has_left() {
    // Once it is lost, too, nothing more is awaited.
    for (gone_for, named_at) in [(0.0, 0.5), (20.0, 20.0)] {
        let mut owner = Scene::owner(&job(json!({})), Vec::new());
        owner.feed(Input::WorkerLeft { incarnation: ANN, held: Vec::new() });
        owner.feed(Input::WorkerDisconnected(ANN));
        owner.pass_until(gone_for);
        owner.feed(changed(2, JOB, &[]));
        let at_once = owner.feed(read(2, Some(edited()), vec![run(gone_for + 2.0, ANN)]));
        let mut done: Vec<(f64, Effect)> = at_once.into_iter().map(|effect| (gone_for, effect)).collect();
        done.extend(owner.pass_until(gone_for + 1.0));
        let named = moves(&done);
        assert_eq!(named.len(), 1, "after {gone_for} s: {named:?}");
        assert_eq!((named[0].0, named[0].1.to), (named_at, BOB));
    }
}

/// Its row cannot say so: the owner that would write it is cut from the store.
#[test]
fn a_run_that_ended_under_the_plan_before_an_edit_holds_no_later_one_back() {
    let serial = job(json!({"overlap": {"policy": "queue"}}));
    let (first, second) = (run(1.0, ANN), run(3.0, BOB));
    let mut standby = Scene::standby(1, plan(&serial, vec![first.clone(), second.clone()]));
    standby.feed(changed(2, JOB, &[]));
    let in_force = Job { version: JobVersion::new(2), ..serial };
    standby.feed(read(2, Some(in_force), vec![replanned(&first), replanned(&second)]));
    standby.pass_until(1.1);
    standby.hear(ANN, &first, crate::scene::succeeded(1.0));
    let armed: Vec<_> = standby.armed_until(2.5).into_iter().map(|(at, arm)| (at, arm.key)).collect();
    assert_eq!(armed, [(2.1, second.key)]);
}

/// The owner, which cannot read the edit, has taken the job's runs back; its word comes after what the standby has read.
#[test]
fn a_standby_reads_again_what_an_owner_takes_back_on_account_of_an_edit() {
    let planned = run(3.0, ANN);
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![planned.clone()]));
    standby.feed(changed(2, JOB, &[]));
    let after_edit = || read(2, Some(edited()), vec![replanned(&planned)]);
    standby.feed(after_edit());
    let taken_back = PlanNews { taken_back: vec![JOB], ..change(Vec::new(), Vec::new()) };
    assert_eq!(looks(&standby.feed(Input::News(Box::new(taken_back)))), ["at a job"]);
    standby.feed(after_edit());
    assert_eq!(seconds(&standby.armed_until(2.5)), [2.1]);
}

/// A serial job is created shortly before it fires: its first run is over before the standby has read its rows, but its end is not yet
/// stored when they are read.
#[test]
fn a_run_that_the_owner_has_closed_does_not_come_back_by_what_was_read_before_its_end_was_stored() {
    let serial = Job { version: JobVersion::new(2), ..job(json!({"overlap": {"policy": "queue"}})) };
    let (first, second) = (run(0.1, ANN), run(3.0, BOB));
    let rows = vec![first.clone(), second.clone()];
    for read_first in [false, true] {
        let mut standby = Scene::standby(1, PlanNews { jobs: Vec::new(), ..plan(&serial, Vec::new()) });
        standby.feed(changed(2, JOB, &[]));
        let answer = read(2, Some(serial.clone()), rows.clone());
        if read_first {
            standby.feed(answer.clone());
        }
        let told = PlanNews { full: false, ..plan(&serial, vec![second.clone()]) };
        standby.feed(Input::News(Box::new(told)));
        standby.feed(Input::News(Box::new(change(Vec::new(), vec![first.key]))));
        if !read_first {
            standby.feed(answer);
        }
        let armed: Vec<_> = standby.armed_until(2.5).into_iter().map(|(at, arm)| (at, arm.key)).collect();
        assert_eq!(armed, [(2.1, second.key)], "what was read came first: {read_first}");
    }
}

/// The console's word on an edit is late, and the database fails over before it comes, so that the standby no longer knows how far the owner
/// has told it. What it reads then is what the owner has told of before, but for an end that is not stored yet.
#[test]
fn a_late_word_on_an_edit_after_a_failover_outdates_nothing_that_the_owner_keeps_up() {
    let serial = Job { version: JobVersion::new(2), ..job(json!({"overlap": {"policy": "queue"}})) };
    let (first, second) = (run(0.1, ANN), run(3.0, BOB));
    let rows = vec![first.clone(), second.clone()];
    let mut standby = Scene::standby(1, plan(&serial, rows.clone()));
    standby.feed(Input::News(Box::new(change(Vec::new(), vec![first.key]))));
    standby.feed(Input::StoreReplaced);
    assert_eq!(looks(&standby.feed(changed(2, JOB, &[&first, &second]))), ["at a job"]);
    standby.feed(read(2, Some(serial), rows));
    let armed: Vec<_> = standby.armed_until(2.5).into_iter().map(|(at, arm)| (at, arm.key)).collect();
    assert_eq!(armed, [(2.1, second.key)]);
}

/// A run ended while its job was being edited: its owner knows, what the standby has read does not, and no word on that run will follow.
#[test]
fn what_an_owner_tells_of_an_edited_job_takes_the_place_of_what_a_standby_has_read() {
    let serial = job(json!({"overlap": {"policy": "queue"}}));
    let (first, second) = (run(0.1, ANN), run(3.0, BOB));
    let mut standby = Scene::standby(1, plan(&serial, vec![first.clone(), second.clone()]));
    standby.feed(changed(2, JOB, &[]));
    let in_force = Job { version: JobVersion::new(2), ..serial };
    standby.feed(read(2, Some(in_force.clone()), vec![first, replanned(&second)]));
    let told = PlanNews { full: false, ..plan(&in_force, vec![replanned(&second)]) };
    standby.feed(Input::News(Box::new(told)));
    assert_eq!(seconds(&standby.armed_until(2.5)), [2.1]);
}

/// A request's row was inserted under the version before an edit that nobody has told of yet, and the edit planned it again.
#[test]
fn a_new_row_that_shows_an_edit_not_known_yet_is_armed_as_the_edited_job() {
    let asked = run(1.0, ANN);
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    let effects = owner.feed(Input::Inserted(vec![replanned(&asked)]));
    assert_eq!(looks(&effects), ["at a job"]);
    assert!(owner.armed_until(0.5).is_empty());
    let effects = owner.feed(read(2, Some(edited()), vec![replanned(&asked)]));
    let armed = effects.iter().find_map(|effect| match effect {
        Effect::Arm(arm) => Some(arm.job_version.get()),
        _ => None,
    });
    assert_eq!(armed, Some(2), "{effects:?}");
}

/// Whoever else armed what this engine has never seen armed an older version.
#[test]
fn a_withdrawal_names_the_version_in_force() {
    let versions = |effects: &[Effect]| -> Vec<u32> {
        let version = |effect: &Effect| match effect {
            Effect::Disarm { job_version, .. } => Some(job_version.get()),
            _ => None,
        };
        effects.iter().filter_map(version).collect()
    };
    let planned = run(2.0, ANN);
    for (in_force, rows, named) in
        [(Some(edited()), vec![replanned(&planned)], 2), (None, Vec::new(), DELETED_AT.get())]
    {
        let mut owner = Scene::owner(&job(json!({})), vec![planned.clone()]);
        owner.feed(changed(2, JOB, &[&planned]));
        assert_eq!(versions(&owner.feed(read(2, in_force, rows))), [named]);
    }
}

/// While the rows are read a worker says once more how an earlier attempt ended, of which nothing is known here.
#[test]
fn a_late_word_of_an_earlier_attempt_does_not_hide_the_row() {
    let first = run(2.0, ANN);
    let mut second = Run { attempt: first.attempt.next(), plan_no: first.plan_no.next(), ..first.clone() };
    second.job_version = JobVersion::new(2);
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    owner.feed(changed(2, JOB, &[]));
    owner.hear(ANN, &first, succeeded(-3.0));
    owner.feed(read(2, Some(edited()), vec![second]));
    assert_eq!(seconds(&owner.armed_until(1.0)), [0.5]);
}

/// The end of a run was lost with a database, and its job is gone: its worker is asked all the same.
#[test]
fn a_worker_is_asked_what_became_of_a_run_of_a_deleted_job() {
    let running = Run { state: RunState::Running, started_at: Some(at(-1.0)), ..run(-1.0, ANN) };
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    owner.feed(changed(2, JOB, &[]));
    let effects = owner.feed(read(2, None, vec![running.clone()]));
    let mut asked: Vec<Effect> = owner.pass_until(0.1).into_iter().map(|(_, effect)| effect).collect();
    asked.extend(effects);
    let asks = |effect: &Effect| matches!(effect, Effect::Disarm { to, key, .. } if (*to, *key) == (ANN, running.key));
    assert!(asked.iter().any(asks), "{asked:?}");
    let ended = owner.hear(ANN, &running, succeeded(-1.0));
    assert!(ended.iter().any(|effect| matches!(effect, Effect::Advance { .. })), "{ended:?}");
}

/// A standby may have armed it already: what its worker reports is about a job of the shard.
#[test]
fn a_new_job_is_known_of_before_its_rows_are_read() {
    let new = JobId::new(8);
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    assert!(!owner.engine().has_seen(new));
    owner.feed(changed(2, new, &[]));
    assert!(owner.engine().has_seen(new));
}

/// The database was put back to what it was before an edit, and gave its version to the next one.
#[test]
fn an_edit_is_in_force_though_one_that_was_lost_had_its_version() {
    let planned = Run { job_version: JobVersion::new(2), ..run(1.0, ANN) };
    let lost = Job { version: JobVersion::new(2), ..job(json!({"params": "lost"})) };
    let next = Job { version: JobVersion::new(2), ..job(json!({"params": "next"})) };
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    owner.feed(changed(2, JOB, &[]));
    owner.feed(read(2, Some(lost), Vec::new()));
    owner.feed(changed(2, JOB, &[]));
    let effects = owner.feed(read(2, Some(next), vec![planned]));
    let armed = effects.iter().find_map(|effect| match effect {
        Effect::Arm(arm) => Some(arm.job.job.spec.params.clone()),
        _ => None,
    });
    assert_eq!(armed, Some(json!("next")), "{effects:?}");
}

/// Its owner stands still, so nobody else arms what an edit has just planned.
#[test]
fn what_an_edit_plans_for_soon_is_armed_at_once_while_the_owner_is_silent() {
    let mut standby = Scene::standby(2, plan(&job(json!({})), Vec::new()));
    standby.pass_until(5.0);
    standby.feed(changed(2, JOB, &[]));
    let soon = Run { job_version: edited().version, ..run(5.1, ANN) };
    let effects = standby.feed(read(2, Some(edited()), vec![soon.clone()]));
    assert!(matches!(&effects[..], [Effect::Arm(arm)] if arm.key == soon.key), "{effects:?}");
}

/// It is told of an edit by the console and reads its rows; the owner's word on an edit before that one comes only then.
#[test]
fn what_a_standby_has_read_of_a_job_stays_though_an_owner_that_is_behind_tells_of_an_older_version() {
    let newest = Job { version: JobVersion::new(3), ..job(json!({"params": "newest"})) };
    let row = Run { job_version: newest.version, ..run(10.0, ANN) };
    let older = Run { job_version: edited().version, ..run(10.0, BOB) };
    for full in [false, true] {
        let mut standby = Scene::standby(1, plan(&job(json!({})), Vec::new()));
        standby.feed(changed(3, JOB, &[]));
        standby.feed(read(3, Some(newest.clone()), vec![row.clone()]));
        let behind = PlanNews { full, ..plan(&edited(), vec![older.clone()]) };
        standby.feed(Input::News(Box::new(behind)));
        let armed = standby.armed_until(9.5);
        let arms: Vec<_> = armed.iter().map(|(_, arm)| (arm.to, arm.job_version)).collect();
        assert_eq!(arms, [(ANN, newest.version)], "full: {full}");
    }
}

/// A standby that has not heard of anything may arm it under the last version.
#[test]
fn a_look_at_all_jobs_withdraws_a_deleted_ones_runs_under_a_version_beyond_its_last() {
    let armed = run(10.0, ANN);
    let mut owner = Scene::owner(&job(json!({})), vec![armed.clone()]);
    owner.pass_until(9.0);
    let effects = owner.feed(Input::Own(Box::new(Snapshot {
        epoch: EPOCH,
        jobs_version: version(2),
        planned_until: at(28.0),
        jobs: Vec::new(),
        open_runs: Vec::new(),
        last_finals: Vec::new(),
    })));
    let withdrawn = effects.iter().find_map(|effect| match effect {
        Effect::Disarm { key, job_version, .. } if *key == armed.key => Some(*job_version),
        _ => None,
    });
    assert!(withdrawn > Some(edited().version), "{effects:?}");
}

/// Its row is hidden from no look: that is how the owner hears of a run that a standby has placed and armed.
#[test]
fn a_start_of_a_run_that_is_not_known_yet_does_not_hide_its_row() {
    let newest = edited();
    let row = Run { job_version: newest.version, ..run(10.0, ANN) };
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    owner.feed(changed(2, JOB, &[]));
    owner.hear(ANN, &row, ReportKind::Started);
    owner.feed(read(
        2,
        Some(newest),
        vec![Run { state: RunState::Running, started_at: Some(at(0.0)), ..row.clone() }],
    ));
    assert!(owner.engine().plan_so_far().unwrap().opened.iter().any(|open| open.key == row.key));
}
