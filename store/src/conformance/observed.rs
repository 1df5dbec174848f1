//! Figures over time, and retention.

use carillon_core::ids::{JobId, RunKey};
use carillon_core::time::{Span, Timestamp};

use super::fixture::Fixture;
use crate::SharedStore;
use crate::observed::{Figures, Rollup, RollupSpan};

/// An hour of this fixture's own, so that the rows for all groups together are its own too.
async fn own_hour(store: &SharedStore) -> (Fixture, Timestamp) {
    let number = super::fixture::draft_group(store, 1).await.id.number();
    let hour = Timestamp::from_millis(2_000_000_000_000).floor(RollupSpan::Hour.length());
    let hour = hour + Span::from_secs(u64::from(number) * 24 * 3_600);
    (Fixture::beginning_at(store.clone(), hour).await, hour)
}

fn figures(starts: &[i64], failed: u64) -> Figures {
    let mut figures = Figures { failed, ..Figures::default() };
    for (index, late) in (0..).zip(starts) {
        let at = Timestamp::from_millis(1_700_000_000_000 + index);
        figures.start(RunKey::scheduled(JobId::new(7), at), *late);
    }
    figures
}

/// A server that writes a minute again replaces what it wrote; another start of it adds up.
pub async fn figures_read_back_and_replace_each_other(store: SharedStore) {
    let (fixture, hour) = own_hour(&store).await;
    let row = |minute: u64, writer, figures| Rollup {
        span: RollupSpan::Minute,
        begins_at: hour + Span::from_secs(minute * 60),
        group: Some(fixture.group),
        writer,
        figures,
    };
    let (early, late) = (row(1, 5, figures(&[3, 700], 0)), row(2, 5, figures(&[], 2)));
    store.write_rollups(&[late.clone(), early.clone()]).await.unwrap();
    let again = row(2, 5, figures(&[12], 3));
    let other = row(2, 6, figures(&[61_000], 0));
    store.write_rollups(&[again.clone(), other.clone()]).await.unwrap();
    let end = hour + RollupSpan::Hour.length();
    let read = store.rollups(RollupSpan::Minute, Some(&[fixture.group]), hour, end).await.unwrap();
    assert_eq!(read, [early, again.clone(), other.clone()]);
    let second = hour + Span::from_secs(120);
    let read = store.rollups(RollupSpan::Minute, Some(&[fixture.group]), second, end).await.unwrap();
    assert_eq!(read, [again, other]);
    assert_eq!(store.rollups(RollupSpan::Minute, Some(&[]), hour, end).await.unwrap(), []);
    assert_eq!(store.rollups(RollupSpan::Hour, Some(&[fixture.group]), hour, end).await.unwrap(), []);
}

/// The hour holds what its minutes held, by group and for all together; summing again changes nothing.
pub async fn minutes_are_summed_into_hours(store: SharedStore) {
    let (fixture, hour) = own_hour(&store).await;
    let end = hour + RollupSpan::Hour.length();
    let row = |minute: u64, group, writer, figures| Rollup {
        span: RollupSpan::Minute,
        begins_at: hour + Span::from_secs(minute * 60),
        group,
        writer,
        figures,
    };
    let own = Some(fixture.group);
    store
        .write_rollups(&[
            row(0, own, 1, figures(&[1, 2], 0)),
            row(59, own, 2, figures(&[900], 1)),
            row(59, None, 2, figures(&[900], 1)),
            row(60, own, 1, figures(&[5], 0)),
        ])
        .await
        .unwrap();
    for _ in 0..2 {
        store.sum_hour(hour).await.unwrap();
        let hours = store.rollups(RollupSpan::Hour, Some(&[fixture.group]), hour, end).await.unwrap();
        let [sum] = hours.as_slice() else { panic!("{hours:?}") };
        assert_eq!((sum.begins_at, sum.writer, sum.group), (hour, 0, own));
        assert_eq!((sum.figures.started, sum.figures.failed), (3, 1));
        assert_eq!((sum.figures.lateness.total(), sum.figures.lateness_max_ms), (3, 900));
    }
    let all = store.rollups(RollupSpan::Hour, None, hour, end).await.unwrap();
    assert_eq!(all.iter().map(|sum| sum.figures.started).sum::<u64>(), 1);
    // What was summed is not summed again; what comes later is next.
    let next = store.first_hour_to_sum(end).await.unwrap();
    assert!(next.is_none_or(|next| next != hour), "{next:?}");
}

/// A bounded number at a call; the later ones stay.
pub async fn old_figures_go_a_few_at_a_time(store: SharedStore) {
    // Before every other promise's figures.
    let number = super::fixture::draft_group(&store, 1).await.id.number();
    let begin = Timestamp::from_millis(1_000_000_000_000) - Span::from_secs(u64::from(number) * 3_600);
    let begin = begin.floor(RollupSpan::Minute.length());
    let fixture = Fixture::beginning_at(store.clone(), begin).await;
    let rows: Vec<Rollup> = (0..5_u64)
        .map(|minute| Rollup {
            span: RollupSpan::Minute,
            begins_at: begin + Span::from_secs(minute * 60),
            group: Some(fixture.group),
            writer: 1,
            figures: figures(&[1], 0),
        })
        .collect();
    store.write_rollups(&rows).await.unwrap();
    let before = begin + Span::from_secs(3 * 60);
    assert_eq!(store.drop_rollups_before(RollupSpan::Minute, before, 2).await.unwrap(), 2);
    assert_eq!(store.drop_rollups_before(RollupSpan::Minute, before, 2).await.unwrap(), 1);
    assert_eq!(store.drop_rollups_before(RollupSpan::Minute, before, 2).await.unwrap(), 0);
    let end = begin + RollupSpan::Hour.length();
    let left = store.rollups(RollupSpan::Minute, Some(&[fixture.group]), begin, end).await.unwrap();
    assert_eq!(left, rows[3..]);
}

/// Set, changed, taken back.
pub async fn a_group_may_keep_its_runs_for_another_time(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let group = fixture.group;
    assert_eq!(store.retention(group).await.unwrap(), None);
    store.set_retention(group, Some(7)).await.unwrap();
    store.set_retention(group, Some(9)).await.unwrap();
    assert_eq!(store.retention(group).await.unwrap(), Some(9));
    assert!(store.retentions().await.unwrap().contains(&(group, 9)));
    store.set_retention(group, None).await.unwrap();
    assert!(store.retentions().await.unwrap().iter().all(|(other, _)| *other != group));
}
