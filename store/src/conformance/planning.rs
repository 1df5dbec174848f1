//! Slices and due-now rows: invariant I1, every fire has exactly one row.

use std::collections::BTreeSet;

use carillon_core::ids::{Epoch, Incarnation, JobsVersion, RunKey, TraceId};
use carillon_core::run::{Reason, ReasonCode, Run, RunState, TriggerKind};
use carillon_core::time::Span;
use serde_json::json;

use super::fixture::{Fixture, patiently};
use crate::SharedStore;
use crate::runs::{Insertion, RunFilter, SliceOutcome};

/// A slice moves the watermark and brings its rows, or neither.
pub async fn a_slice_commits_watermark_and_rows_together(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let runs = fixture.plan(job.id, 1..=5).await;
    assert_eq!(fixture.row().await.planned_until, fixture.at(5));
    let keys: Vec<RunKey> = runs.iter().map(|run| run.key).collect();
    assert_eq!(fixture.store.runs_by_key(&keys).await.unwrap(), runs);
    // A second without fires moves the watermark all the same.
    let version = fixture.row().await.jobs_version;
    let empty = fixture.slice(version, 5, 6, Vec::new());
    assert_eq!(fixture.store.commit_slices(&[empty]).await.unwrap(), [SliceOutcome::Committed]);
    assert_eq!(fixture.row().await.planned_until, fixture.at(6));
}

/// Each part of the compare-and-set fences by itself, and a fenced slice leaves nothing.
pub async fn a_slice_is_fenced_by_epoch_jobs_version_and_watermark(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let row = fixture.row().await;
    let good = fixture.slice(row.jobs_version, 0, 1, vec![fixture.run(job.id, 1)]);
    let mut stale = [good.clone(), good.clone(), good.clone(), good.clone(), good.clone(), good.clone()];
    stale[0].epoch = Epoch::new(0);
    stale[1].epoch = Epoch::new(2);
    stale[2].jobs_version = JobsVersion::new(row.jobs_version.get() - 1);
    stale[3].jobs_version = row.jobs_version.next();
    stale[4].from = fixture.start - Span::from_millis(1);
    stale[5].from = fixture.start + Span::from_millis(1);
    for slice in stale {
        let outcomes = fixture.store.commit_slices(std::slice::from_ref(&slice)).await.unwrap();
        assert_eq!(outcomes, [SliceOutcome::Fenced], "{slice:?}");
    }
    assert_eq!(fixture.row().await, row);
    assert_eq!(fixture.store.run(good.runs[0].key).await.unwrap(), None);
    assert_eq!(fixture.store.commit_slices(&[good]).await.unwrap(), [SliceOutcome::Committed]);
}

/// After an unknown outcome the slice may be sent again: it is fenced, and the rows are those of the first time.
pub async fn a_repeated_slice_changes_nothing(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let version = fixture.row().await.jobs_version;
    let slice = fixture.slice(version, 0, 1, vec![fixture.run(job.id, 1)]);
    let store = &fixture.store;
    assert_eq!(store.commit_slices(std::slice::from_ref(&slice)).await.unwrap(), [SliceOutcome::Committed]);
    let mut again = slice.clone();
    again.runs[0].worker = Some(Incarnation::new(99));
    assert_eq!(store.commit_slices(std::slice::from_ref(&again)).await.unwrap(), [SliceOutcome::Fenced]);
    // A key that exists stays as it is, even in a slice that commits.
    again.from = fixture.at(1);
    again.to = fixture.at(2);
    assert_eq!(store.commit_slices(&[again]).await.unwrap(), [SliceOutcome::Committed]);
    assert_eq!(fixture.read(slice.runs[0].key).await, slice.runs[0]);
}

/// One transaction holds slices of many shards, and one that is fenced does not harm the others.
pub async fn slices_of_many_shards_succeed_or_are_fenced_each_by_itself(store: SharedStore) {
    let (one, two) = (Fixture::new(store.clone()).await, Fixture::new(store.clone()).await);
    let (first, second) = (one.job("job").await, two.job("job").await);
    let version = one.row().await.jobs_version;
    let mut fenced = two.slice(version, 0, 2, vec![two.run(second.id, 1)]);
    fenced.epoch = Epoch::new(7);
    let slices = [
        one.slice(version, 0, 1, vec![one.run(first.id, 1)]),
        fenced.clone(),
        one.slice(version, 1, 2, vec![one.run(first.id, 2)]),
    ];
    let outcomes = store.commit_slices(&slices).await.unwrap();
    assert_eq!(outcomes, [SliceOutcome::Committed, SliceOutcome::Fenced, SliceOutcome::Committed]);
    assert_eq!(one.row().await.planned_until, one.at(2));
    assert_eq!(two.row().await.planned_until, two.start);
    assert_eq!(store.run(fenced.runs[0].key).await.unwrap(), None);
}

/// Two servers that both believe to be the owner plan the same seconds: each second is planned once.
pub async fn two_planners_race_and_no_fire_is_lost_or_doubled(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let version = fixture.row().await.jobs_version;
    let planner = async |name: u64| {
        let mut won = 0;
        for second in 0..20 {
            let mut run = fixture.run(job.id, second + 1);
            run.worker = Some(Incarnation::new(name));
            let slice = fixture.slice(version, second, second + 1, vec![run]);
            let outcome = patiently(|| fixture.store.commit_slices(std::slice::from_ref(&slice))).await;
            won += u32::from(outcome[0] == SliceOutcome::Committed);
        }
        won
    };
    let (one, two) = tokio::join!(planner(1), planner(2));
    assert_eq!(one + two, 20, "each slice was committed once");
    assert_eq!(fixture.row().await.planned_until, fixture.at(20));
    let runs = fixture.store.open_runs(fixture.shard, 100).await.unwrap();
    let seconds: BTreeSet<_> = runs.iter().map(|run| run.key.fire_time).collect();
    assert_eq!((runs.len(), seconds.len()), (20, 20));
}

/// Every field survives, the rare ones too.
pub async fn a_row_reads_back_as_it_was_inserted(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let mut full = fixture.run(job.id, 1);
    full.key.ordinal = carillon_core::ids::MAX_ORDINAL;
    full.trigger = TriggerKind::Api;
    full.worker = Some(Incarnation::new(u64::MAX >> 1));
    full.state = RunState::Failed;
    full.started_at = Some(fixture.at(2));
    full.finished_at = Some(fixture.at(3));
    full.reason = Some(Reason::new(ReasonCode::HandlerFailed, "no such file"));
    full.result = Some(json!({"a": [1, 2.5, null, "b"]}));
    full.params = Some(json!("TestParam"));
    full.trace = TraceId::new(u128::MAX - 1);
    let mut bare = fixture.run(job.id, 2);
    bare.worker = None;
    bare.result = None;
    for run in [full, bare] {
        fixture.insert(run.clone()).await;
        assert_eq!(fixture.read(run.key).await, run);
    }
}

/// A row that exists stays, and the caller hears which.
pub async fn due_now_rows_say_whether_they_are_new(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let first = fixture.insert(fixture.run(job.id, 1)).await;
    let mut other = fixture.run(job.id, 1);
    other.worker = Some(Incarnation::new(9));
    let new = fixture.run(job.id, 2);
    let asked = [other, new.clone(), new.clone()];
    assert_eq!(
        fixture.store.insert_runs(&asked).await.unwrap(),
        [Insertion::Existing(first.key), Insertion::New, Insertion::Existing(new.key)]
    );
    assert_eq!(fixture.read(first.key).await, first);

    // However many insert it at once, one of them makes it.
    let run = fixture.run(job.id, 3);
    let inserts = (0..8).map(|_| {
        let (store, run) = (fixture.store.clone(), run.clone());
        tokio::spawn(async move { patiently(|| store.insert_runs(std::slice::from_ref(&run))).await[0] })
    });
    let mut made = 0;
    for insert in inserts.collect::<Vec<_>>() {
        made += u32::from(insert.await.unwrap() == Insertion::New);
    }
    assert_eq!(made, 1);
    assert_eq!(fixture.store.insert_runs(&[]).await.unwrap(), [Insertion::New; 0]);
}

/// 64 KiB of params, every plane of Unicode, and texts that would be SQL if they were let.
pub async fn large_and_strange_texts_survive(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let strange = [
        "x".repeat(64 * 1024 - 2),
        "\u{94a7}\u{949f}".repeat(10_000),
        "\u{1f514}\u{10ffff}\u{0}\u{7f}\u{301}".to_owned(),
        "'; DROP TABLE run; -- ? ?1 :a @b \\' \" ` %s {} \r\n".to_owned(),
        String::new(),
    ];
    for (second, text) in (1..).zip(strange) {
        let mut run: Run = fixture.run(job.id, second);
        run.state = RunState::Cancelled;
        run.params = Some(json!(text));
        run.reason = Some(Reason::new(ReasonCode::CancelledByUser, text.clone()));
        fixture.insert(run.clone()).await;
        assert_eq!(fixture.read(run.key).await, run);
    }
    let filter = RunFilter { job: Some(job.id), ..RunFilter::default() };
    assert_eq!(fixture.store.count_runs(&filter, 100).await.unwrap(), 5);
}
