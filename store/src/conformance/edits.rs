//! Changes of a shard's jobs: invariants I1 and I4, and that nothing is half done.

use carillon_core::ids::{AttemptNo, JobId, JobVersion, PlanNo, RunKey};
use carillon_core::run::{Reason, ReasonCode, RunState};

use super::fixture::{Fixture, expect_edited, patiently, retry, started};
use crate::catalog::{EditOutcome, JobChange};
use crate::runs::{RunFilter, SliceOutcome};
use crate::{SharedStore, StoreError};

fn replace(fixture: &Fixture, id: JobId, seen: u32, name: &str) -> JobChange {
    JobChange::Replace { seen: JobVersion::new(seen), job: fixture.job_as(id, seen + 1, name) }
}

/// The job, its first version, the shard's new version and the fires, in one commit.
pub async fn a_created_job_and_its_fires_are_one_commit(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let other = fixture.job("other").await;
    fixture.plan(other.id, 1..=3).await;
    let before = fixture.row().await;
    let job = fixture.draft("job").await;
    let fires = vec![fixture.run(job.id, 2), fixture.run(job.id, 3)];
    let edit = fixture.edit(JobChange::Create(job.clone()), fixture.at(1), fires.clone()).await;
    let outcome = store.edit_job(&edit).await.unwrap();
    let jobs_version = before.jobs_version.next();
    assert_eq!(outcome, EditOutcome::Edited { jobs_version, touched: Vec::new() });
    let after = fixture.row().await;
    assert_eq!((after.jobs_version, after.planned_until), (jobs_version, fixture.at(3)));
    assert_eq!(store.job(job.id).await.unwrap(), Some(job.clone()));
    assert_eq!(store.job_versions(job.id, 10).await.unwrap(), std::slice::from_ref(&job));
    for fire in fires {
        assert_eq!(fixture.read(fire.key).await, fire);
    }
    // The same id again, under another name.
    let twin = fixture.job_as(job.id, 1, "twin");
    let edit = fixture.edit(JobChange::Create(twin), fixture.at(1), Vec::new()).await;
    let refused = store.edit_job(&edit).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    assert_eq!(fixture.row().await, after);
}

/// Rows later than the edit: one that no longer fires is cancelled, one that still fires is re-planned, one that fires anew is inserted.
/// Rows due before it stay, under a new plan that withdraws the old one.
pub async fn an_edit_cancels_replans_and_inserts(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let neighbour = fixture.job("neighbour").await;
    let mut planned = Vec::new();
    for second in 1..=4 {
        planned.push(fixture.insert(fixture.run(job.id, second)).await);
    }
    let beside = fixture.insert(fixture.run(neighbour.id, 3)).await;
    let mut triggered = fixture.run(job.id, 3);
    triggered.key.ordinal = 77;
    let triggered = fixture.insert(triggered).await;

    // Under version 2 the job fires at 4 s, a second later than before, and at 5 s.
    let mut still = fixture.run(job.id, 4);
    still.job_version = JobVersion::new(2);
    still.worker = None;
    still.due_at = fixture.at(5);
    still.start_by = fixture.at(9);
    let mut anew = fixture.run(job.id, 5);
    anew.job_version = JobVersion::new(2);
    let fires = vec![still, anew.clone()];
    let edit = fixture.edit(replace(&fixture, job.id, 1, "renamed"), fixture.at(2), fires).await;
    let touched = expect_edited(store.edit_job(&edit).await);
    let seen: Vec<_> = touched.iter().map(|one| (one.key, one.due_at, one.replanned)).collect();
    let expected = [(1, 0, true), (2, 0, true), (3, 0, false), (3, 77, true), (4, 0, true)];
    let expected = expected.map(|(second, ordinal, stays)| {
        let key = RunKey { ordinal, ..RunKey::scheduled(job.id, fixture.at(second)) };
        (key, fixture.at(second), stays)
    });
    assert_eq!(seen, expected);
    assert!(touched.iter().all(|one| one.worker == planned[2].worker));

    for due_before in planned[..2].iter().chain([&triggered]) {
        let mut replanned = due_before.clone();
        (replanned.job_version, replanned.plan_no) = (JobVersion::new(2), PlanNo::new(2));
        assert_eq!(
            fixture.read(due_before.key).await,
            replanned,
            "it was due before, or asked for, so it stays, under a new plan"
        );
    }
    for unchanged in [&beside, &anew] {
        assert_eq!(fixture.read(unchanged.key).await, *unchanged);
    }
    let cancelled = fixture.read(planned[2].key).await;
    assert_eq!((cancelled.state, cancelled.finished_at), (RunState::Cancelled, Some(fixture.at(2))));
    assert_eq!(cancelled.reason.unwrap().code, ReasonCode::Edited);
    let mut replanned = planned[3].clone();
    replanned.job_version = JobVersion::new(2);
    replanned.plan_no = PlanNo::new(2);
    replanned.due_at = fixture.at(5);
    replanned.start_by = fixture.at(9);
    assert_eq!(fixture.read(planned[3].key).await, replanned, "it keeps its worker and its attempt");

    let edited = store.job(job.id).await.unwrap().unwrap();
    assert_eq!((edited.version.get(), edited.spec.name.as_str()), (2, "renamed"));
    let versions = store.job_versions(job.id, 10).await.unwrap();
    assert_eq!(versions, [edited, job.clone()]);
    assert_eq!(store.job_by_name(fixture.group, "job").await.unwrap(), None);
    assert_eq!(store.job_versions(job.id, 1).await.unwrap().len(), 1);
}

/// A fire that an edit took away and a later edit gives back is planned again, at its worker, under a plan number that its old Arms do not
/// reach; one that ended otherwise stays as it is.
pub async fn a_fire_that_comes_back_is_planned_again(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let planned = fixture.insert(fixture.run(job.id, 10)).await;
    let mut by_hand = fixture.run(job.id, 11);
    by_hand.state = RunState::Cancelled;
    by_hand.reason = Some(Reason::new(ReasonCode::CancelledByUser, "a person cancelled it"));
    let by_hand = fixture.insert(by_hand).await;

    let away = fixture.edit(replace(&fixture, job.id, 1, "job"), fixture.at(2), Vec::new()).await;
    assert_eq!(expect_edited(store.edit_job(&away).await).len(), 1);
    assert_eq!(fixture.read(planned.key).await.state, RunState::Cancelled);

    let mut back = fixture.run(job.id, 10);
    (back.job_version, back.worker) = (JobVersion::new(3), None);
    let fires = vec![back, fixture.run(job.id, 11)];
    let edit = fixture.edit(replace(&fixture, job.id, 2, "job"), fixture.at(3), fires).await;
    let touched = expect_edited(store.edit_job(&edit).await);
    let seen: Vec<_> = touched.iter().map(|one| (one.key, one.worker, one.replanned)).collect();
    assert_eq!(seen, [(planned.key, planned.worker, true)], "its worker may still have the old plan");
    let mut again = planned.clone();
    (again.job_version, again.plan_no) = (JobVersion::new(3), planned.plan_no.next());
    assert_eq!(fixture.read(planned.key).await, again);
    assert_eq!(fixture.read(by_hand.key).await, by_hand);
}

/// What has started goes on under the version it started with.
pub async fn an_edit_leaves_started_and_final_rows_alone(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let running = fixture.insert(fixture.run(job.id, 10)).await;
    assert!(fixture.advance(running.key, 1, started(fixture.at(1))).await);
    let mut missed = fixture.run(job.id, 11);
    missed.state = RunState::Missed;
    let missed = fixture.insert(missed).await;
    let running = fixture.read(running.key).await;
    // The edit brings rows for both of them, which must not replace what happened.
    let fires = vec![fixture.run(job.id, 10), fixture.run(job.id, 11)];
    let edit = fixture.edit(replace(&fixture, job.id, 1, "job"), fixture.at(2), fires).await;
    assert_eq!(expect_edited(store.edit_job(&edit).await), []);
    assert_eq!(fixture.read(running.key).await, running);
    assert_eq!(fixture.read(missed.key).await, missed);
}

/// Somebody edited or planned in between: nothing happens, the caller computes again.
pub async fn an_edit_of_a_changed_shard_is_refused(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let early = fixture.edit(replace(&fixture, job.id, 1, "early"), fixture.start, Vec::new()).await;
    fixture.plan(job.id, 1..=2).await;
    assert_eq!(store.edit_job(&early).await.unwrap(), EditOutcome::ShardChanged);
    let early = fixture.edit(replace(&fixture, job.id, 1, "early"), fixture.start, Vec::new()).await;
    fixture.job("another").await;
    assert_eq!(store.edit_job(&early).await.unwrap(), EditOutcome::ShardChanged);
    assert_eq!(store.job(job.id).await.unwrap(), Some(job));
}

/// Somebody edited the job in between: the caller gets what it is now, or hears that it is gone.
pub async fn an_edit_of_another_version_is_refused(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let first = fixture.edit(replace(&fixture, job.id, 1, "first"), fixture.start, Vec::new()).await;
    let late = fixture.edit(replace(&fixture, job.id, 1, "late"), fixture.start, Vec::new()).await;
    expect_edited(store.edit_job(&first).await);
    let now = store.job(job.id).await.unwrap();
    assert_eq!(now.as_ref().unwrap().spec.name, "first");
    assert_eq!(store.edit_job(&late).await.unwrap(), EditOutcome::VersionChanged(now));

    let delete =
        |seen: u32| JobChange::Delete { job: job.id, seen: JobVersion::new(seen), by: "ada".to_owned() };
    let edit = fixture.edit(delete(1), fixture.start, Vec::new()).await;
    assert!(matches!(store.edit_job(&edit).await.unwrap(), EditOutcome::VersionChanged(Some(_))));
    let edit = fixture.edit(delete(2), fixture.start, Vec::new()).await;
    expect_edited(store.edit_job(&edit).await);
    let edit = fixture.edit(delete(2), fixture.start, Vec::new()).await;
    assert_eq!(store.edit_job(&edit).await.unwrap(), EditOutcome::VersionChanged(None));
}

/// A refused edit changes neither job nor shard nor runs.
pub async fn a_taken_name_is_refused_and_leaves_no_trace(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let (one, two) = (fixture.job("one").await, fixture.job("two").await);
    fixture.plan(two.id, 1..=2).await;
    let before = (fixture.row().await, store.open_runs(fixture.shard, 10).await.unwrap());
    let draft = fixture.draft("one").await;
    for change in [replace(&fixture, two.id, 1, "one"), JobChange::Create(draft.clone())] {
        let edit = fixture.edit(change, fixture.start, Vec::new()).await;
        let refused = store.edit_job(&edit).await.unwrap_err();
        assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
        assert!(refused.to_string().contains("one"), "{refused}");
    }
    assert_eq!((fixture.row().await, store.open_runs(fixture.shard, 10).await.unwrap()), before);
    assert_eq!(store.job(two.id).await.unwrap(), Some(two));
    assert_eq!(store.job(draft.id).await.unwrap(), None);
    assert_eq!(store.job_versions(draft.id, 10).await.unwrap(), []);
    // The same name in another group is another name, and a job may be edited under its own.
    let elsewhere = Fixture::new(store.clone()).await;
    elsewhere.job("one").await;
    let edit = fixture.edit(replace(&fixture, one.id, 1, "one"), fixture.start, Vec::new()).await;
    expect_edited(store.edit_job(&edit).await);
}

/// A creation that finds the shard changed computes again, until the name is taken.
pub async fn of_many_creators_of_a_name_one_wins(store: SharedStore) {
    let fixture = std::sync::Arc::new(Fixture::new(store.clone()).await);
    let creating: Vec<_> = (0..6)
        .map(|_| {
            let fixture = fixture.clone();
            tokio::spawn(async move {
                let job = fixture.draft("contested").await;
                loop {
                    let edit = fixture.edit(JobChange::Create(job.clone()), fixture.start, Vec::new()).await;
                    match fixture.store.edit_job(&edit).await {
                        Err(StoreError::Busy { .. }) | Ok(EditOutcome::ShardChanged) => {}
                        other => return other,
                    }
                }
            })
        })
        .collect();
    let mut made = 0;
    for created in creating {
        match created.await.unwrap() {
            Ok(EditOutcome::Edited { .. }) => made += 1,
            Err(StoreError::Conflict { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((made, fixture.row().await.jobs_version.get()), (1, 1));
}

/// The job goes, with its planned rows; its versions and its past stay.
pub async fn a_deleted_job_leaves_its_history(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    fixture.plan(job.id, 1..=3).await;
    let change = JobChange::Delete { job: job.id, seen: job.version, by: "ada".to_owned() };
    let edit = fixture.edit(change, fixture.at(1), Vec::new()).await;
    assert_eq!(expect_edited(store.edit_job(&edit).await).len(), 3);
    assert_eq!(store.job(job.id).await.unwrap(), None);
    assert_eq!(store.job_by_name(fixture.group, "job").await.unwrap(), None);
    assert_eq!(store.load_plan(fixture.shard, None, 0).await.unwrap().unwrap().jobs, []);
    assert_eq!(store.job_versions(job.id, 10).await.unwrap(), std::slice::from_ref(&job));
    let filter = RunFilter { job: Some(job.id), ..RunFilter::default() };
    assert_eq!(store.list_runs(&filter, None, 10).await.unwrap().len(), 3);
    assert_eq!(store.open_runs(fixture.shard, 10).await.unwrap().len(), 1, "the one due at the edit");
    fixture.job("job").await;
}

/// A run that fired before the edit and waits for its next attempt gets it, under the new version.
pub async fn a_retry_in_backoff_goes_on_under_the_new_version(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    assert!(fixture.advance(run.key, 1, retry(&run, fixture.at(2))).await);
    let edit = fixture.edit(replace(&fixture, job.id, 1, "job"), fixture.at(5), Vec::new()).await;
    let touched = expect_edited(store.edit_job(&edit).await);
    assert_eq!(touched.iter().map(|one| one.key).collect::<Vec<_>>(), [run.key]);
    let after = fixture.read(run.key).await;
    assert_eq!((after.state, after.attempt), (RunState::Planned, AttemptNo::new(2)));
    assert_eq!((after.job_version, after.plan_no), (JobVersion::new(2), PlanNo::new(3)));
}

/// A planner and an editor on the same shard: at the end every second has one row, and those after the last edit are its version's.
pub async fn edits_and_planning_race_and_no_fire_is_lost_or_doubled(store: SharedStore) {
    const SECONDS: u64 = 30;
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let run_of = |version: JobVersion, second: u64| {
        let mut run = fixture.run(job.id, second);
        run.job_version = version;
        run
    };
    let planning = async {
        loop {
            let plan = patiently(|| store.load_plan(fixture.shard, None, 0)).await.unwrap();
            let (row, jobs) = (plan.shard, plan.jobs);
            let done = row.planned_until.since(fixture.start).as_millis() / 1_000;
            if done == SECONDS {
                return;
            }
            let runs = vec![run_of(jobs[0].version, done + 1)];
            let slice = fixture.slice(row.jobs_version, done, done + 1, runs);
            // Fenced by an edit: load and plan again.
            let outcome = patiently(|| store.commit_slices(std::slice::from_ref(&slice))).await;
            assert!(matches!(outcome[..], [SliceOutcome::Committed | SliceOutcome::Fenced]));
        }
    };
    let editing = async {
        for version in 1..=8 {
            loop {
                let row = fixture.row().await;
                let planned = row.planned_until.since(fixture.start).as_millis() / 1_000;
                let fires =
                    (1..=planned).map(|second| run_of(JobVersion::new(version + 1), second)).collect();
                let mut edit =
                    fixture.edit(replace(&fixture, job.id, version, "job"), fixture.start, fires).await;
                edit.seen_jobs_version = row.jobs_version;
                edit.seen_planned_until = row.planned_until;
                match patiently(|| store.edit_job(&edit)).await {
                    EditOutcome::Edited { .. } => break,
                    EditOutcome::ShardChanged => tokio::task::yield_now().await,
                    other => panic!("{other:?}"),
                }
            }
        }
    };
    tokio::join!(planning, editing);
    let runs = store.open_runs(fixture.shard, 1_000).await.unwrap();
    let seconds: Vec<u64> =
        runs.iter().map(|run| run.key.fire_time.since(fixture.start).as_millis() / 1_000).collect();
    assert_eq!(seconds, (1..=SECONDS).collect::<Vec<_>>());
    assert!(runs.iter().all(|run| run.job_version.get() == 9), "every row is the last version's");
    assert_eq!(store.job_versions(job.id, 100).await.unwrap().len(), 9);
}

/// What a lost edit had planned and said must not be taken for what the next one does. Not among the promises that a store keeps by itself:
/// `fail_over` has it answer as another database, or look as if it did.
pub async fn an_edit_after_a_failover_has_a_version_that_no_lost_edit_had(
    store: SharedStore,
    fail_over: impl AsyncFnOnce(),
) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    assert_eq!(store.next_job_version(job.id).await.unwrap(), Some(job.version.next()));
    fail_over().await;
    let beyond = job.version.beyond_lost();
    assert_eq!(store.next_job_version(job.id).await.unwrap(), Some(beyond));
    // Decided before the failover, committed after it.
    let edit = fixture.edit(replace(&fixture, job.id, 1, "stale"), fixture.at(1), Vec::new()).await;
    assert_eq!(store.edit_job(&edit).await.unwrap(), EditOutcome::VersionChanged(Some(job.clone())));
    let next = fixture.job_as(job.id, beyond.get(), "next");
    let change = JobChange::Replace { seen: job.version, job: next.clone() };
    let edit = fixture.edit(change, fixture.at(1), Vec::new()).await;
    expect_edited(store.edit_job(&edit).await);
    assert_eq!(store.job(job.id).await.unwrap(), Some(next));
    assert_eq!(store.next_job_version(job.id).await.unwrap(), Some(beyond.next()));
    assert_eq!(store.next_job_version(JobId::new(999_999)).await.unwrap(), None);
}
