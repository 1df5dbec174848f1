//! Figures over time, and retention.

use std::collections::BTreeMap;
use std::sync::Arc;

use carillon_core::ids::GroupId;
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::database::{Database, Existing, Insert, placeholders};
use crate::observed::{Figures, Rollup, RollupSpan};
use crate::value::{Json, Row, Value, json, values};

const ROLLUP: &str =
    "SELECT group_id, begins_at, writer, started, succeeded, failed, missed, skipped, lateness_max,
            lateness, worst
     FROM figures";

const ROLLUPS: Insert = Insert {
    table: "figures",
    columns: &[
        "span",
        "group_id",
        "begins_at",
        "writer",
        "started",
        "succeeded",
        "failed",
        "missed",
        "skipped",
        "lateness_max",
        "lateness",
        "worst",
    ],
    existing: Existing::Replace {
        key: &["span", "group_id", "begins_at", "writer"],
        columns: &[
            "started",
            "succeeded",
            "failed",
            "missed",
            "skipped",
            "lateness_max",
            "lateness",
            "worst",
        ],
    },
};

/// What stands in the place of a group for all groups together.
const ALL_GROUPS: &str = "";

fn length(span: RollupSpan) -> u64 {
    span.length().as_millis()
}

fn read_rollup(span: RollupSpan, mut row: Row) -> Result<Rollup, StoreError> {
    let group = row.take::<Named>()?.0;
    let begins_at = row.take()?;
    let writer = row.take()?;
    let figures = Figures {
        started: row.take()?,
        succeeded: row.take()?,
        failed: row.take()?,
        missed: row.take()?,
        skipped: row.take()?,
        lateness_max_ms: row.take()?,
        lateness: row.take::<Json<_>>()?.0,
        worst: row.take::<Json<_>>()?.0,
    };
    Ok(Rollup { span, begins_at, group, writer, figures })
}

/// A group, or [`ALL_GROUPS`].
struct Named(Option<GroupId>);

impl crate::value::Column for Named {
    fn read(value: Value) -> Result<Self, String> {
        if value == Value::Text(ALL_GROUPS.to_owned()) {
            return Ok(Self(None));
        }
        GroupId::read(value).map(|group| Self(Some(group)))
    }
}

fn push_rollup(into: &mut Vec<Value>, rollup: &Rollup) {
    let figures = &rollup.figures;
    let group = rollup.group.map_or(Value::from(ALL_GROUPS), Value::from);
    into.extend(values![length(rollup.span), group, rollup.begins_at, rollup.writer]);
    into.extend(values![
        figures.started,
        figures.succeeded,
        figures.failed,
        figures.missed,
        figures.skipped,
        figures.lateness_max_ms,
        json(&figures.lateness),
        json(&figures.worst),
    ]);
}

/// By primary key, in its order, so that two writers wait for each other instead of dead-locking.
pub(crate) async fn write_rollups<D: Database>(db: &mut D, rollups: Arc<[Rollup]>) -> Result<(), StoreError> {
    let mut rollups: Vec<&Rollup> = rollups.iter().collect();
    rollups.sort_by_key(|rollup| (rollup.span, rollup.group, rollup.begins_at, rollup.writer));
    let mut rows = Vec::new();
    rollups.iter().for_each(|rollup| push_rollup(&mut rows, rollup));
    db.insert(&ROLLUPS, rows).await.map(drop)
}

/// Groups of one query: a short statement, one range of the index for each.
const GROUPS_A_QUERY: usize = 200;

/// Along the primary key, one range for each group.
pub(crate) async fn rollups<D: Database>(
    db: &mut D,
    span: RollupSpan,
    groups: Option<Arc<[GroupId]>>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Rollup>, StoreError> {
    let named: Vec<Value> = match groups {
        None => values![ALL_GROUPS],
        Some(groups) => groups.iter().copied().map(Value::from).collect(),
    };
    let mut found = Vec::new();
    for some in named.chunks(GROUPS_A_QUERY) {
        let sql = format!(
            "{ROLLUP} WHERE span = ? AND group_id IN ({}) AND begins_at >= ? AND begins_at < ?
             ORDER BY begins_at, group_id, writer",
            placeholders(some.len())
        );
        let mut conditions = values![length(span)];
        conditions.extend_from_slice(some);
        conditions.extend(values![from, to]);
        for row in db.query(&sql, conditions).await? {
            found.push(read_rollup(span, row)?);
        }
    }
    found.sort_by_key(|rollup| rollup.begins_at);
    Ok(found)
}

/// Along `figures_age`.
pub(crate) async fn sum_hour<D: Database>(db: &mut D, hour: Timestamp) -> Result<(), StoreError> {
    let (minute, whole) = (RollupSpan::Minute, RollupSpan::Hour);
    let sql = format!("{ROLLUP} WHERE span = ? AND begins_at >= ? AND begins_at < ?");
    let rows = db.query(&sql, values![length(minute), hour, hour + whole.length()]).await?;
    let mut sums = BTreeMap::<Option<GroupId>, Figures>::new();
    for row in rows {
        let rollup = read_rollup(minute, row)?;
        sums.entry(rollup.group).or_default().add(&rollup.figures);
    }
    let mut rows = Vec::new();
    for (group, figures) in sums {
        push_rollup(&mut rows, &Rollup { span: whole, begins_at: hour, group, writer: 0, figures });
    }
    db.insert(&ROLLUPS, rows).await.map(drop)
}

/// Along the primary key, for all groups together: every minute with figures has such a row.
pub(crate) async fn first_hour_to_sum<D: Database>(
    db: &mut D,
    before: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let whole = RollupSpan::Hour;
    let last = db
        .query_one(
            "SELECT begins_at FROM figures WHERE span = ? AND group_id = ? ORDER BY begins_at DESC LIMIT 1",
            values![length(whole), ALL_GROUPS],
        )
        .await?;
    let summed_until = match last {
        Some(mut row) => row.take::<Timestamp>()? + whole.length(),
        None => Timestamp::EPOCH,
    };
    let first = db
        .query_one(
            "SELECT begins_at FROM figures WHERE span = ? AND group_id = ? AND begins_at >= ? AND begins_at < ?
             ORDER BY begins_at LIMIT 1",
            values![length(RollupSpan::Minute), ALL_GROUPS, summed_until, before],
        )
        .await?;
    match first {
        Some(mut row) => Ok(Some(row.take::<Timestamp>()?.floor(whole.length()))),
        None => Ok(None),
    }
}

/// Along `figures_age`: the rows of whole spans, until the bound is passed.
pub(crate) async fn drop_rollups_before<D: Database>(
    db: &mut D,
    span: RollupSpan,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let oldest = db
        .query(
            "SELECT begins_at FROM figures WHERE span = ? AND begins_at < ? ORDER BY begins_at LIMIT ?",
            values![length(span), before, limit],
        )
        .await?;
    let Some(mut last) = oldest.into_iter().next_back() else { return Ok(0) };
    let last: Timestamp = last.take()?;
    let dropped = db
        .execute("DELETE FROM figures WHERE span = ? AND begins_at <= ?", values![length(span), last])
        .await?;
    Ok(usize::try_from(dropped).unwrap_or(usize::MAX))
}

/// The whole table: only groups that differ are in it.
pub(crate) async fn retentions<D: Database>(db: &mut D) -> Result<Vec<(GroupId, u32)>, StoreError> {
    let rows = db.query("SELECT group_id, keep_days FROM group_retention", Vec::new()).await?;
    rows.into_iter().map(|mut row| Ok((row.take()?, row.take()?))).collect()
}

/// By primary key.
pub(crate) async fn retention<D: Database>(db: &mut D, group: GroupId) -> Result<Option<u32>, StoreError> {
    let sql = "SELECT keep_days FROM group_retention WHERE group_id = ?";
    let found = db.query_one(sql, values![group]).await?;
    found.map(|mut row| row.take()).transpose()
}

const RETENTIONS: Insert = Insert {
    table: "group_retention",
    columns: &["group_id", "keep_days"],
    existing: Existing::Replace { key: &["group_id"], columns: &["keep_days"] },
};

/// By primary key.
pub(crate) async fn set_retention<D: Database>(
    db: &mut D,
    group: GroupId,
    days: Option<u32>,
) -> Result<(), StoreError> {
    match days {
        Some(days) => db.insert(&RETENTIONS, values![group, days]).await.map(drop),
        None => db.execute("DELETE FROM group_retention WHERE group_id = ?", values![group]).await.map(drop),
    }
}
