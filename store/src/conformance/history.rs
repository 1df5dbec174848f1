//! Reading runs, and dropping old ones.

use std::collections::BTreeSet;

use carillon_core::ids::{AttemptNo, Epoch, RunKey};
use carillon_core::parallel::{MapHeader, MapPhase};
use carillon_core::run::{Run, RunState};
use carillon_core::time::{Span, Timestamp};

use super::fixture::{Fixture, ended, retry, started};
use crate::SharedStore;
use crate::logs::LogChunk;
use crate::runs::{Insertion, Outcome, RunFilter};
use crate::subtasks::{MapCheckpoint, SubtaskBatch, SubtaskPayload};

/// Planned and running, of this shard, in the order they fired.
pub async fn open_runs_are_those_that_a_new_owner_takes_over(store: SharedStore) {
    let (fixture, other) = (Fixture::new(store.clone()).await, Fixture::new(store.clone()).await);
    let (job, foreign) = (fixture.job("job").await, other.job("job").await);
    other.plan(foreign.id, 1..=2).await;
    let runs = fixture.plan(job.id, 1..=6).await;
    assert!(fixture.advance(runs[0].key, 1, started(fixture.at(1))).await);
    assert!(fixture.advance(runs[1].key, 1, ended(RunState::Succeeded, fixture.at(2))).await);
    assert!(fixture.advance(runs[2].key, 1, retry(&runs[2], fixture.at(3))).await);
    let open = store.open_runs(fixture.shard, 100).await.unwrap();
    let keys: Vec<RunKey> = open.iter().map(|run| run.key).collect();
    assert_eq!(keys, [0, 2, 3, 4, 5].map(|index| runs[index].key));
    assert_eq!(open[0], fixture.read(runs[0].key).await);
    let few = store.open_runs(fixture.shard, 2).await.unwrap();
    assert_eq!(few, open[..2]);
}

/// Runs of several jobs, many of them at the same instant, read page by page.
pub async fn pages_of_runs_join_without_gap_or_overlap(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let mut runs: Vec<Run> = Vec::new();
    for name in ["a", "b", "c"] {
        let job = fixture.job(name).await;
        for second in [1, 1, 1, 2, 3] {
            let mut run = fixture.run(job.id, second);
            run.key.ordinal = runs.len() as u64 % 5;
            if run.key.ordinal == 3 {
                run.state = RunState::Succeeded;
            }
            runs.push(run);
        }
    }
    assert!(store.insert_runs(&runs).await.unwrap().iter().all(|made| *made == Insertion::New));
    runs.sort_by_key(|run| std::cmp::Reverse(run.key));
    let of_job = runs[0].key.job;
    for filter in [
        RunFilter { groups: Some(vec![fixture.group]), ..RunFilter::default() },
        RunFilter { job: Some(of_job), ..RunFilter::default() },
    ] {
        let expected: Vec<&Run> =
            runs.iter().filter(|run| filter.job.is_none_or(|job| run.key.job == job)).collect();
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = store.list_runs(&filter, before, 4).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.key);
            seen.extend(page);
        }
        assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
    }
}

/// Group, job, states, time range, scheduled fires only; together too.
pub async fn every_filter_restricts(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let elsewhere = Fixture::new(store.clone()).await;
    let (one, two) = (fixture.job("one").await, fixture.job("two").await);
    let mut runs = Vec::new();
    for (job, second, ordinal, state) in [
        (one.id, 1, 0, RunState::Succeeded),
        (one.id, 2, 0, RunState::Dead),
        (one.id, 2, 5, RunState::Succeeded),
        (one.id, 3, 0, RunState::Planned),
        (two.id, 1, 0, RunState::Dead),
        (two.id, 4, 9, RunState::Running),
    ] {
        let mut run = fixture.run(job, second);
        run.key.ordinal = ordinal;
        run.state = state;
        runs.push(run);
    }
    store.insert_runs(&runs).await.unwrap();
    let mine = || RunFilter { groups: Some(vec![fixture.group]), ..RunFilter::default() };
    let states = |states: &[RunState]| RunFilter { states: states.to_vec(), ..mine() };
    let range = |from: Option<u64>, to: Option<u64>| RunFilter {
        from: from.map(|second| fixture.at(second)),
        to: to.map(|second| fixture.at(second)),
        ..mine()
    };
    for (filter, expected) in [
        (mine(), vec![5, 3, 2, 1, 4, 0]),
        (RunFilter { groups: Some(Vec::new()), ..mine() }, vec![]),
        (RunFilter { job: Some(one.id), groups: None, ..mine() }, vec![3, 2, 1, 0]),
        (RunFilter { job: Some(one.id), groups: Some(Vec::new()), ..mine() }, vec![]),
        (states(&[RunState::Dead]), vec![1, 4]),
        (states(&[RunState::Planned, RunState::Running, RunState::Running]), vec![5, 3]),
        (states(&[RunState::Skipped]), vec![]),
        (range(Some(2), None), vec![5, 3, 2, 1]),
        (range(None, Some(2)), vec![4, 0]),
        (range(Some(2), Some(3)), vec![2, 1]),
        (RunFilter { scheduled_only: true, ..mine() }, vec![3, 1, 4, 0]),
        (RunFilter { job: Some(one.id), scheduled_only: true, ..states(&[RunState::Succeeded]) }, vec![0]),
        (
            RunFilter { jobs: vec![one.id, two.id], ..states(&[RunState::Dead, RunState::Running]) },
            vec![5, 1, 4],
        ),
        (RunFilter { jobs: vec![two.id, one.id, two.id], ..range(Some(2), Some(4)) }, vec![3, 2, 1]),
        (RunFilter { jobs: vec![two.id], groups: Some(vec![elsewhere.group]), ..mine() }, vec![]),
        (
            RunFilter { job: Some(one.id), groups: Some(vec![elsewhere.group, fixture.group]), ..mine() },
            vec![3, 2, 1, 0],
        ),
        (
            RunFilter { job: Some(two.id), groups: Some(vec![elsewhere.group]), ..states(&[RunState::Dead]) },
            vec![],
        ),
    ] {
        let expected: Vec<RunKey> = expected.into_iter().map(|index: usize| runs[index].key).collect();
        let found = store.list_runs(&filter, None, 100).await.unwrap();
        assert_eq!(found.iter().map(|run| run.key).collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(store.count_runs(&filter, 100).await.unwrap(), expected.len(), "{filter:?}");
    }
    // Without a group: the newest dead letters of all, ours among them.
    let filter = RunFilter {
        from: Some(fixture.start),
        to: Some(fixture.at(60)),
        groups: None,
        ..states(&[RunState::Dead])
    };
    let found = store.list_runs(&filter, None, 1_000).await.unwrap();
    assert!(found.iter().all(|run| run.state == RunState::Dead));
    assert!(found.is_sorted_by_key(|run| std::cmp::Reverse(run.key)));
    let keys: BTreeSet<RunKey> = found.iter().map(|run| run.key).collect();
    assert!(found.len() == 1_000 || (keys.contains(&runs[1].key) && keys.contains(&runs[4].key)));
}

/// A page shows "10 000+" instead of counting millions.
pub async fn a_count_stops_at_its_cap(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    fixture.plan(job.id, 1..=9).await;
    for filter in [
        RunFilter { groups: Some(vec![fixture.group]), ..RunFilter::default() },
        RunFilter { job: Some(job.id), ..RunFilter::default() },
    ] {
        for (cap, expected) in [(0, 0), (5, 5), (9, 9), (100, 9)] {
            assert_eq!(store.count_runs(&filter, cap).await.unwrap(), expected);
        }
    }
}

/// Where a fixed delay goes on.
pub async fn the_last_end_is_that_of_the_newest_final_run(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    assert_eq!(store.last_final(job.id).await.unwrap(), None);
    let runs = fixture.plan(job.id, 1..=3).await;
    assert_eq!(store.last_final(job.id).await.unwrap(), None);
    assert!(fixture.advance(runs[0].key, 1, ended(RunState::Succeeded, fixture.at(50))).await);
    assert_eq!(store.last_final(job.id).await.unwrap(), Some(fixture.at(50)));
    assert!(fixture.advance(runs[1].key, 1, ended(RunState::Failed, fixture.at(9))).await);
    assert_eq!(store.last_final(job.id).await.unwrap(), Some(fixture.at(9)), "the newest by fire time");
}

/// The newest runs of each job, no more than asked for, between the instants.
pub async fn outcomes_are_the_newest_of_each_job(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let (one, two, idle) = (fixture.job("one").await, fixture.job("two").await, fixture.job("idle").await);
    let runs = fixture.plan(one.id, 1..=4).await;
    let other = fixture.plan(two.id, 5..=5).await;
    assert!(fixture.advance(runs[2].key, 1, ended(RunState::Succeeded, fixture.at(9))).await);
    let jobs = [one.id, two.id, idle.id];
    let read = |outcomes: Vec<Outcome>| -> Vec<_> {
        outcomes.into_iter().map(|outcome| (outcome.key, outcome.state, outcome.finished_at)).collect()
    };
    let found = read(store.outcomes(&jobs, None, fixture.at(60), 2).await.unwrap());
    let planned = |run: &Run| (run.key, RunState::Planned, None);
    let succeeded = (runs[2].key, RunState::Succeeded, Some(fixture.at(9)));
    assert_eq!(found, [planned(&runs[3]), succeeded, planned(&other[0])]);
    let found = read(store.outcomes(&jobs, Some(fixture.at(2)), fixture.at(4), 10).await.unwrap());
    assert_eq!(found, [succeeded, planned(&runs[1])]);
    assert_eq!(store.outcomes(&[], None, fixture.at(60), 2).await.unwrap(), []);
    let mut names = store.job_names(&[two.id, one.id]).await.unwrap();
    names.sort();
    assert_eq!(names, [(one.id, "one".to_owned()), (two.id, "two".to_owned())]);
}

/// Many ranges are merged: jobs and states by the dozen, page by page.
pub async fn runs_of_many_jobs_in_many_states_are_merged(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let states = [RunState::Planned, RunState::Dead, RunState::Succeeded, RunState::Failed, RunState::Missed];
    let (mut jobs, mut runs) = (Vec::new(), Vec::new());
    for number in 0..14_u64 {
        let job = fixture.job(&format!("job {number}")).await;
        jobs.push(job.id);
        for second in 1..=6 {
            // The first jobs' runs are the oldest, so that what is found first must give way.
            let mut run = fixture.run(job.id, second + number);
            run.state = states[(number + second) as usize % states.len()];
            runs.push(run);
        }
    }
    store.insert_runs(&runs).await.unwrap();
    runs.sort_by_key(|run| std::cmp::Reverse(run.key));
    for states in [&states[..], &states[1..4]] {
        let filter = RunFilter { jobs: jobs.clone(), states: states.to_vec(), ..RunFilter::default() };
        let expected: Vec<RunKey> =
            runs.iter().filter(|run| states.contains(&run.state)).map(|run| run.key).collect();
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = store.list_runs(&filter, before, 9).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.key);
            seen.extend(page.iter().map(|run| run.key));
        }
        assert_eq!(seen, expected);
        assert_eq!(store.count_runs(&filter, 1_000).await.unwrap(), expected.len());
    }
}

/// By step and state, from the first instant on; the newest where there are too many.
pub async fn a_histogram_counts_the_runs_of_a_job(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let (job, other) = (fixture.job("job").await, fixture.job("other").await);
    let runs = fixture.plan(job.id, 1..=9).await;
    fixture.plan(other.id, 1..=9).await;
    for run in [&runs[0], &runs[3], &runs[4]] {
        assert!(fixture.advance(run.key, 1, ended(RunState::Succeeded, fixture.at(20))).await);
    }
    let step = Span::from_secs(4);
    let count = async |limit| {
        let mut bars = store.histogram(job.id, fixture.at(2), fixture.at(9), step, limit).await.unwrap();
        bars.sort();
        bars
    };
    let (planned, succeeded) = (RunState::Planned, RunState::Succeeded);
    let bar = |second, state, runs| (fixture.at(second), state, runs);
    assert_eq!(count(100).await, [bar(2, planned, 2), bar(2, succeeded, 2), bar(6, planned, 3)]);
    assert_eq!(count(4).await, [bar(2, succeeded, 1), bar(6, planned, 3)], "the newest");
}

/// A job's rare states are found beside another job's, page by page.
pub async fn the_failed_runs_of_a_job_are_found_among_many(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let (one, two) = (fixture.job("one").await, fixture.job("two").await);
    let mut failed = Vec::new();
    for (job, ends) in [(one.id, true), (two.id, false)] {
        for second in 1..=6 {
            let run = fixture.insert(fixture.run(job, second)).await;
            let state = if run.key.fire_time == fixture.at(4) { RunState::Succeeded } else { RunState::Dead };
            assert!(fixture.advance(run.key, 1, ended(state, fixture.at(20))).await);
            failed.extend((ends && state == RunState::Dead).then_some(run.key));
        }
    }
    failed.reverse();
    let dead = vec![RunState::Dead, RunState::Failed];
    let several = RunFilter { jobs: vec![one.id, two.id], ..RunFilter::default() };
    let fires = |runs: Vec<Run>| -> Vec<_> {
        runs.iter().map(|run| (run.key.fire_time.millis_since(fixture.start) / 1_000, run.key.job)).collect()
    };
    let newest = fires(store.list_runs(&several, None, 3).await.unwrap());
    assert_eq!(newest, [(6, two.id), (6, one.id), (5, two.id)]);
    let succeeded = RunFilter { states: vec![RunState::Succeeded], ..several.clone() };
    assert_eq!(fires(store.list_runs(&succeeded, None, 9).await.unwrap()), [(4, two.id), (4, one.id)]);
    let failed_of_two = RunFilter { jobs: vec![two.id], states: dead.clone(), ..RunFilter::default() };
    assert_eq!(store.count_runs(&failed_of_two, 100).await.unwrap(), 5);
    let filter = RunFilter { job: Some(one.id), states: dead, ..RunFilter::default() };
    assert_eq!(store.count_runs(&filter, 100).await.unwrap(), 5);
    let first = store.list_runs(&filter, None, 3).await.unwrap();
    let rest = store.list_runs(&filter, Some(first[2].key), 3).await.unwrap();
    let found: Vec<RunKey> = first.iter().chain(&rest).map(|run| run.key).collect();
    assert_eq!(found, failed);
}

/// A group's old final runs go, those of other groups and open ones stay.
pub async fn old_runs_of_a_group_go(store: SharedStore) {
    let (fixture, other) = (Fixture::new(store.clone()).await, Fixture::new(store.clone()).await);
    let (job, others) = (fixture.job("job").await, other.job("job").await);
    let runs = fixture.plan(job.id, 1..=4).await;
    let theirs = other.plan(others.id, 1..=1).await;
    for run in [&runs[0], &runs[1], &runs[3]] {
        assert!(fixture.advance(run.key, 1, ended(RunState::Failed, fixture.at(9))).await);
    }
    assert!(other.advance(theirs[0].key, 1, ended(RunState::Succeeded, fixture.at(9))).await);
    let before = fixture.at(4);
    assert_eq!(store.drop_runs_of(fixture.group, before, 1).await.unwrap(), 1);
    assert_eq!(store.drop_runs_of(fixture.group, before, 9).await.unwrap(), 1);
    assert_eq!(store.drop_runs_of(fixture.group, before, 9).await.unwrap(), 0);
    let left = store.outcomes(&[job.id, others.id], None, fixture.at(60), 10).await.unwrap();
    let left: Vec<RunKey> = left.iter().map(|outcome| outcome.key).collect();
    assert_eq!(left, [runs[3].key, runs[2].key, theirs[0].key]);
}

/// Final runs before the instant go with attempts, logs and subtasks, a few at a call; open ones and later ones stay.
pub async fn old_runs_go_with_all_that_belongs_to_them(store: SharedStore) {
    // Long before every other promise's runs, and each time a little earlier than the last.
    let probe = super::fixture::draft_group(&store, 1).await.id.number();
    let long_ago = Timestamp::from_millis(1_000_000_000) - Span::from_secs(u64::from(probe) * 60);
    let fixture = Fixture::beginning_at(store.clone(), long_ago).await;
    let job = fixture.job("job").await;
    let runs = fixture.plan(job.id, 1..=6).await;
    assert!(fixture.advance(runs[0].key, 1, retry(&runs[0], fixture.at(1))).await);
    assert!(fixture.advance(runs[0].key, 2, ended(RunState::Dead, fixture.at(2))).await);
    for run in [&runs[1], &runs[3], &runs[4]] {
        assert!(fixture.advance(run.key, 1, ended(RunState::Succeeded, fixture.at(3))).await);
    }
    let (old, attempt) = (runs[0].key, AttemptNo::FIRST);
    let chunk = |run| LogChunk { run, attempt, chunk_no: 0, offset: 0, text: "a line\n".to_owned() };
    store.append_logs(&[chunk(old), chunk(runs[2].key)]).await.unwrap();
    let subtasks = vec![SubtaskPayload { key: "k".to_owned(), payload: b"1".to_vec() }];
    store
        .store_batches(old, attempt, &[SubtaskBatch { batch_no: 0, first_index: 0, subtasks }])
        .await
        .unwrap();
    let checkpoint = MapCheckpoint {
        run: old,
        attempt,
        epoch: Epoch::new(1),
        data_attempt: attempt,
        header: MapHeader { phase: MapPhase::Ended, ..MapHeader::new() },
        chunks: Vec::new(),
        outputs: vec![(0, b"1".to_vec())],
        failures: Vec::new(),
    };
    store.checkpoint(&checkpoint).await.unwrap();

    let before = fixture.at(5);
    assert_eq!(store.drop_runs_before(before, 2).await.unwrap(), 2);
    assert_eq!(store.drop_runs_before(before, 2).await.unwrap(), 1);
    assert_eq!(store.drop_runs_before(before, 2).await.unwrap(), 0);
    let filter = RunFilter { job: Some(job.id), ..RunFilter::default() };
    let left: Vec<RunKey> =
        store.list_runs(&filter, None, 10).await.unwrap().iter().map(|run| run.key).collect();
    assert_eq!(left, [5, 4, 2].map(|index| runs[index].key), "open, later, open");
    assert_eq!(store.attempts(old).await.unwrap(), []);
    assert_eq!(store.read_log(old, attempt, 0, 100).await.unwrap(), (Vec::new(), 0));
    assert_eq!(store.split_progress(old, attempt).await.unwrap(), (0, 0));
    assert_eq!(store.map_header(old, attempt).await.unwrap(), None);
    assert_eq!(store.outputs(old, attempt, None, 10).await.unwrap(), []);
    assert_eq!(store.read_log(runs[2].key, attempt, 0, 100).await.unwrap().1, 7);
}
