//! Trigger requests and their idempotency keys.

use carillon_core::ids::RunKey;
use carillon_core::run::{Run, TriggerKind};

use super::fixture::{Fixture, patiently};
use crate::runs::{Insertion, RunFilter, TriggeredRun};
use crate::{SharedStore, StoreError};

fn request(fixture: &Fixture, job: carillon_core::ids::JobId, second: u64, key: &str) -> TriggeredRun {
    let mut run: Run = fixture.run(job, second);
    run.key = RunKey::triggered(job, run.key.fire_time, key);
    run.trigger = TriggerKind::Api;
    TriggeredRun { run, idempotency_key: key.to_owned() }
}

/// A repeated request gives the run of the first one, whatever instant it names.
pub async fn one_key_makes_one_run(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let (job, other) = (fixture.job("job").await, fixture.job("other").await);
    let first = request(&fixture, job.id, 1, "order-7");
    let later = request(&fixture, job.id, 2, "order-7");
    let elsewhere = request(&fixture, other.id, 2, "order-7");
    assert_eq!(store.insert_triggered(std::slice::from_ref(&first)).await.unwrap(), [Insertion::New]);
    assert_eq!(
        store.insert_triggered(std::slice::from_ref(&later)).await.unwrap(),
        [Insertion::Existing(first.run.key)]
    );
    let made = store.insert_triggered(std::slice::from_ref(&elsewhere)).await.unwrap();
    assert_eq!(made, [Insertion::New], "another job's key is another key");
    assert_eq!(store.run(later.run.key).await.unwrap(), None);
    assert_eq!(fixture.read(first.run.key).await, first.run);
}

/// Sixteen at once.
pub async fn one_key_makes_one_run_however_many_ask_at_once(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let asking: Vec<_> = (1..=16)
        .map(|second| {
            let (store, request) = (store.clone(), request(&fixture, job.id, second, "order-8"));
            tokio::spawn(async move {
                patiently(|| store.insert_triggered(std::slice::from_ref(&request))).await[0]
            })
        })
        .collect();
    let mut answers = Vec::new();
    for asked in asking {
        answers.push(asked.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|made| **made == Insertion::New).count(), 1, "{answers:?}");
    let others: Vec<_> = answers.iter().filter(|made| **made != Insertion::New).collect();
    assert!(others.iter().all(|made| *made == others[0]), "{answers:?}");
    let filter = RunFilter { job: Some(job.id), ..RunFilter::default() };
    assert_eq!(store.count_runs(&filter, 100).await.unwrap(), 1);
}

/// Case, trailing blanks and accents tell keys apart; a key beyond 128 characters is refused.
pub async fn keys_compare_by_every_byte(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let long = "\u{949f}".repeat(128);
    for (second, key) in (1..).zip(["a", "A", "a ", "\u{e1}", "'", long.as_str()]) {
        let one = request(&fixture, job.id, second, key);
        assert_eq!(store.insert_triggered(std::slice::from_ref(&one)).await.unwrap(), [Insertion::New]);
        let again = store.insert_triggered(std::slice::from_ref(&one)).await.unwrap();
        assert_eq!(again, [Insertion::Existing(one.run.key)], "{key:?}");
    }
    let too_long = request(&fixture, job.id, 50, &"a".repeat(129));
    let refused = store.insert_triggered(&[too_long]).await.unwrap_err();
    assert!(matches!(refused, StoreError::LimitExceeded { limit: 128, .. }), "{refused}");
}

/// Requests that arrive together share a commit.
pub async fn a_batch_mixes_new_and_known_keys(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let known = request(&fixture, job.id, 1, "known");
    store.insert_triggered(std::slice::from_ref(&known)).await.unwrap();
    let new = request(&fixture, job.id, 2, "new");
    let twice = request(&fixture, job.id, 3, "new");
    let repeated = request(&fixture, job.id, 4, "known");
    let answers = store.insert_triggered(&[new.clone(), repeated, twice]).await.unwrap();
    assert_eq!(
        answers,
        [Insertion::New, Insertion::Existing(known.run.key), Insertion::Existing(new.run.key)]
    );
}
