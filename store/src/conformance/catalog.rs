//! Task groups and the reading of jobs.

use std::collections::BTreeSet;

use carillon_core::ids::{GroupId, JobId};
use carillon_core::job::JobKind;
use carillon_core::run::{Run, RunState};
use carillon_core::schedule::ScheduleKind;
use carillon_core::time::{Span, Timestamp};
use serde_json::json;

use super::fixture::{CLUSTER, Fixture, draft_group, ended, expect_edited, patiently, started};
use crate::catalog::{JobChange, JobFilter};
use crate::{SharedStore, StoreError};

/// However many ask at once.
pub async fn group_numbers_and_job_ids_are_never_given_twice(store: SharedStore) {
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut given = Vec::new();
                for _ in 0..5 {
                    let group = patiently(|| store.next_group_number(7)).await;
                    given.push((group, patiently(|| store.next_job_id()).await));
                }
                given
            })
        })
        .collect();
    let (mut groups, mut jobs) = (BTreeSet::new(), BTreeSet::new());
    for asked in asking {
        for (group, job) in asked.await.unwrap() {
            assert!(groups.insert(group), "group number {group} twice");
            assert!(jobs.insert(job), "job id {job} twice");
            assert!(group >= 6601 && job.get() >= 1);
        }
    }
}

/// Name and description change where the revision is the one that was read.
pub async fn a_group_reads_back_and_changes_by_revision(store: SharedStore) {
    let mut group = draft_group(&store, 4).await;
    group.name = format!("\u{949f} '{}'", group.id.number());
    store.create_group(&group, Timestamp::EPOCH).await.unwrap();
    assert_eq!(store.group(group.id).await.unwrap(), Some(group.clone()));
    let mut edited = group.clone();
    edited.description = "\u{1f514}".repeat(100);
    edited.revision = 2;
    edited.updated_at = Timestamp::from_millis(9_000);
    assert!(store.update_group(&edited).await.unwrap());
    assert!(!store.update_group(&edited).await.unwrap(), "the revision is 2 now");
    assert_eq!(store.group(group.id).await.unwrap(), Some(edited));
}

/// Both are conflicts, also when many come at once.
pub async fn ids_and_names_of_groups_are_unique(store: SharedStore) {
    let one = draft_group(&store, 1).await;
    store.create_group(&one, Timestamp::EPOCH).await.unwrap();
    let mut same_name = draft_group(&store, 1).await;
    same_name.name.clone_from(&one.name);
    let mut same_id = draft_group(&store, 1).await;
    same_id.id = one.id;
    for taken in [&same_name, &same_id] {
        let refused = store.create_group(taken, Timestamp::EPOCH).await.unwrap_err();
        assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    }
    assert_eq!(store.shards_of_group(same_name.id).await.unwrap(), [], "a refused group leaves no shard");

    let contested = format!("contested {}", same_name.id.number());
    let mut creating = Vec::new();
    for _ in 0..6 {
        let mut group = draft_group(&store, 1).await;
        group.name.clone_from(&contested);
        let store = store.clone();
        creating.push(tokio::spawn(async move {
            loop {
                match store.create_group(&group, Timestamp::EPOCH).await {
                    Err(StoreError::Busy { .. }) => {}
                    other => return other,
                }
            }
        }));
    }
    let mut made = 0;
    for created in creating {
        match created.await.unwrap() {
            Ok(()) => made += 1,
            Err(error) => assert!(matches!(error, StoreError::Conflict { .. }), "{error}"),
        }
    }
    assert_eq!(made, 1);
}

/// A group goes with its shards when its last job has gone.
pub async fn a_group_with_jobs_is_not_deleted(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let refused = store.delete_group(fixture.group).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    let change = JobChange::Delete { job: job.id, seen: job.version, by: "ada".to_owned() };
    expect_edited(store.edit_job(&fixture.edit(change, fixture.start, Vec::new()).await).await);
    store.delete_group(fixture.group).await.unwrap();
    assert_eq!(store.group(fixture.group).await.unwrap(), None);
    assert_eq!(store.shard(fixture.shard).await.unwrap(), None);
    let refused = store.delete_group(fixture.group).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound { .. }), "{refused}");
}

/// Pages join without gap or overlap, in the order of ids.
pub async fn groups_are_paged_in_id_order(store: SharedStore) {
    let mut mine = BTreeSet::new();
    for _ in 0..5 {
        let group = draft_group(&store, 1).await;
        store.create_group(&group, Timestamp::EPOCH).await.unwrap();
        mine.insert(group.id);
    }
    let first = *mine.first().unwrap();
    let mut after = Some(GroupId::new(CLUSTER, 1, 2, first.number() - 1).unwrap());
    let mut seen = Vec::new();
    loop {
        let page = store.groups(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.into_iter().map(|group| group.id));
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.iter().filter(|id| mine.contains(id)).count(), 5);
    assert!(store.groups(None, 1).await.unwrap().len() == 1);
}

/// Group, text in name or handler whatever the case, enabled, kind, label; in pages.
pub async fn jobs_are_found_by_every_filter(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let mut ids = Vec::new();
    for (name, enabled, kind, team) in [
        ("Alpha_%", true, "simple", "billing"),
        ("beta", false, "simple", "billing"),
        ("\u{c4}gypten \u{949f}", true, "parallel", "o'neill"),
    ] {
        let mut job = fixture.draft(name).await;
        job.spec.enabled = enabled;
        job.spec.kind = serde_json::from_value(json!(kind)).unwrap();
        job.spec.labels = [("team".to_owned(), team.to_owned())].into();
        let edit = fixture.edit(JobChange::Create(job.clone()), fixture.start, Vec::new()).await;
        expect_edited(store.edit_job(&edit).await);
        assert_eq!(store.job(job.id).await.unwrap(), Some(job.clone()));
        assert_eq!(store.job_by_name(fixture.group, name).await.unwrap(), Some(job.clone()));
        ids.push(job.id);
    }
    let mine = || JobFilter { groups: Some(vec![fixture.group]), ..JobFilter::default() };
    let text = |text: &str| JobFilter { text: Some(text.to_owned()), ..mine() };
    let label = |value: &str| JobFilter { label: Some(("team".to_owned(), value.to_owned())), ..mine() };
    for (filter, expected) in [
        (mine(), vec![0, 1, 2]),
        (JobFilter { groups: Some(Vec::new()), ..mine() }, vec![]),
        (text("ALPHA_%"), vec![0]),
        (text("hANDLER"), vec![0, 1, 2]),
        (text("\u{e4}g"), vec![2]),
        (text("%"), vec![0]),
        (JobFilter { enabled: Some(false), ..mine() }, vec![1]),
        (JobFilter { kind: Some(JobKind::Parallel), ..mine() }, vec![2]),
        (label("billing"), vec![0, 1]),
        (label("o'neill"), vec![2]),
        (label("nobody"), vec![]),
    ] {
        let expected: Vec<JobId> = expected.into_iter().map(|index: usize| ids[index]).collect();
        let found: Vec<JobId> =
            store.jobs(&filter, None, 10).await.unwrap().iter().map(|job| job.id).collect();
        assert_eq!(found, expected, "{filter:?}");
        assert_eq!(store.count_jobs(&filter, 10).await.unwrap(), expected.len(), "{filter:?}");
    }
    let page = store.jobs(&mine(), Some(ids[0]), 1).await.unwrap();
    assert_eq!(page.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[1]]);
    assert_eq!(store.count_jobs(&mine(), 2).await.unwrap(), 2, "counted no further than the cap");
    assert_eq!(store.job_by_name(fixture.group, "alpha_%").await.unwrap(), None, "names compare by case");
}

/// While jobs are created one after the other, each with a run that is planned already, every load sees as many jobs and runs as its
/// version says.
pub async fn a_loaded_plan_is_one_snapshot(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let planner = fixture.job("planner").await;
    fixture.plan(planner.id, 1..=20).await;
    let creating = async {
        for number in 1..=20 {
            let job = fixture.draft(&format!("job {number}")).await;
            let run = fixture.run(job.id, number);
            let edit = fixture.edit(JobChange::Create(job), fixture.start, vec![run]).await;
            expect_edited(store.edit_job(&edit).await);
        }
    };
    let loading = async {
        for _ in 0..40 {
            let plan = patiently(|| store.load_plan(fixture.shard, None, 100)).await.unwrap();
            let jobs = plan.jobs.len();
            assert_eq!(plan.shard.jobs_version.get(), jobs as u64, "each creation bumped the version once");
            assert!(plan.jobs.is_sorted_by_key(|job| job.id));
            assert_eq!(plan.open_runs.len(), 20 + jobs - 1, "each creation planned a run");
        }
    };
    tokio::join!(creating, loading);
    let plan = store.load_plan(fixture.shard, None, 100).await.unwrap().unwrap();
    assert_eq!((plan.shard, plan.jobs.len()), (fixture.row().await, 21));
    assert_eq!(plan.jobs[3], store.job(plan.jobs[3].id).await.unwrap().unwrap());
}

/// Open runs however old, and none of another job or another shard; a deleted job has the runs that are left.
pub async fn the_plan_of_one_job_is_its_part_of_the_whole(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let (job, other) = (fixture.job("job").await, fixture.job("other").await);
    let runs = fixture.plan(job.id, 1..=300).await;
    fixture.insert(fixture.run(other.id, 299)).await;
    let old = [&runs[0], &runs[1], &runs[2]];
    assert!(fixture.advance(old[0].key, 1, started(fixture.at(1))).await);
    assert!(fixture.advance(old[1].key, 1, ended(RunState::Succeeded, fixture.at(2))).await);
    let whole = store.load_plan(fixture.shard, None, 1_000).await.unwrap().unwrap();
    for (id, open) in [(job.id, 299), (other.id, 1)] {
        let part = store.load_plan(fixture.shard, Some(id), 1_000).await.unwrap().unwrap();
        assert_eq!(part.shard, whole.shard);
        assert_eq!(part.jobs, [store.job(id).await.unwrap().unwrap()]);
        assert_eq!(part.version, part.jobs[0].version);
        let of_job: Vec<Run> = whole.open_runs.iter().filter(|run| run.key.job == id).cloned().collect();
        assert_eq!((part.open_runs.len(), part.open_runs), (open, of_job));
    }
    let limited = store.load_plan(fixture.shard, Some(job.id), 2).await.unwrap().unwrap();
    assert_eq!(limited.open_runs, whole.open_runs[..2]);

    let delete = JobChange::Delete { job: job.id, seen: job.version, by: "ada".to_owned() };
    let edit = fixture.edit(delete, fixture.at(5), Vec::new()).await;
    expect_edited(store.edit_job(&edit).await);
    let part = store.load_plan(fixture.shard, Some(job.id), 1_000).await.unwrap().unwrap();
    assert_eq!(
        (part.jobs, part.version),
        (Vec::new(), job.version.beyond_lost()),
        "whatever is known of it is old"
    );
    assert_eq!(part.open_runs[0].state, RunState::Running);
    assert!(part.open_runs.iter().all(|run| run.key.fire_time <= fixture.at(5)));

    let elsewhere = Fixture::new(store.clone()).await;
    let part = store.load_plan(elsewhere.shard, Some(other.id), 1_000).await.unwrap().unwrap();
    assert_eq!((part.jobs, part.open_runs.len()), (Vec::new(), 0), "a job of another shard is none here");
    assert_eq!(part.version, other.version, "but its version counts");
}

/// For a job with a fixed delay the end of its newest run is told where no run of its own is open.
pub async fn the_plan_tells_when_a_job_with_a_delay_ended_last(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let mut job = fixture.draft("delayed").await;
    job.spec.schedule.kind = ScheduleKind::FixedDelay { delay: Span::from_secs(5) };
    let edit = fixture.edit(JobChange::Create(job.clone()), fixture.start, Vec::new()).await;
    expect_edited(store.edit_job(&edit).await);
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    for only in [None, Some(job.id)] {
        let plan = store.load_plan(fixture.shard, only, 10).await.unwrap().unwrap();
        assert_eq!((plan.open_runs.len(), plan.last_finals), (1, Vec::new()));
    }
    assert!(fixture.advance(run.key, 1, ended(RunState::Succeeded, fixture.at(3))).await);
    for only in [None, Some(job.id)] {
        let plan = store.load_plan(fixture.shard, only, 10).await.unwrap().unwrap();
        assert_eq!((plan.open_runs.len(), plan.last_finals), (0, vec![(job.id, fixture.at(3))]));
    }
}
