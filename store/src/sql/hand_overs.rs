//! Who owned which shard when, and why.

use std::sync::Arc;

use carillon_core::ids::{Epoch, GroupId, ServerId};
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::database::{Database, Existing, Insert, placeholders, shard_of};
use crate::shards::{ClaimCause, ClaimNote, HandOver};
use crate::value::{Column, Value, values};

const NEW_HAND_OVER: Insert = Insert {
    table: "shard_hand_over",
    columns: &["shard", "epoch", "owner", "room", "previous_owner", "happened_at", "cause"],
    existing: Existing::Keep,
};

/// By primary key, in the transaction of the claim.
pub(super) async fn record<D: Database>(
    db: &mut D,
    shard: i64,
    epoch: Epoch,
    owner: &ServerId,
    previous: Option<&ServerId>,
    note: &ClaimNote,
) -> Result<(), StoreError> {
    let room: String = note.room.chars().take(128).collect();
    let row = values![shard, epoch, owner, room, previous, note.at, note.cause.as_str()];
    db.insert(&NEW_HAND_OVER, row).await.map(drop)
}

impl Column for ClaimCause {
    fn read(value: Value) -> Result<Self, String> {
        let word = String::read(value)?;
        let cause = Self::ALL.into_iter().find(|cause| cause.as_str() == word);
        cause.ok_or_else(|| format!("{word:?}, which is no cause this version knows"))
    }
}

/// Along `shard_hand_over_time`, backwards. Changes of owner are rare, so groups are filtered on the way.
pub(crate) async fn hand_overs<D: Database>(
    db: &mut D,
    groups: Option<Arc<[GroupId]>>,
    from: Timestamp,
    to: Timestamp,
    limit: usize,
) -> Result<Vec<HandOver>, StoreError> {
    let mut conditions = values![from, to];
    let of_groups = match &groups {
        None => String::new(),
        Some(groups) if groups.is_empty() => return Ok(Vec::new()),
        Some(groups) => {
            conditions.extend(groups.iter().copied().map(Value::from));
            format!(
                "AND shard IN (SELECT shard FROM shard_number WHERE group_id IN ({}))",
                placeholders(groups.len())
            )
        }
    };
    conditions.push(Value::from(limit));
    let sql = format!(
        "SELECT shard, epoch, owner, room, previous_owner, happened_at, cause FROM shard_hand_over
         WHERE happened_at >= ? AND happened_at < ? {of_groups}
         ORDER BY happened_at DESC, shard DESC, epoch DESC LIMIT ?"
    );
    let mut found = Vec::new();
    for mut row in db.query(&sql, conditions).await? {
        let shard = shard_of(db, row.take()?).await?;
        let (epoch, owner, room, previous) = (row.take()?, row.take()?, row.take()?, row.take()?);
        let note = ClaimNote { room, at: row.take()?, cause: row.take()? };
        found.push(HandOver { shard, epoch, owner, previous, note });
    }
    Ok(found)
}

/// Along `shard_hand_over_time`: all of whole instants, until the bound is passed.
pub(crate) async fn drop_hand_overs_before<D: Database>(
    db: &mut D,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let oldest = db
        .query(
            "SELECT happened_at FROM shard_hand_over WHERE happened_at < ? ORDER BY happened_at LIMIT ?",
            values![before, limit],
        )
        .await?;
    let Some(mut last) = oldest.into_iter().next_back() else { return Ok(0) };
    let last: Timestamp = last.take()?;
    let dropped = db.execute("DELETE FROM shard_hand_over WHERE happened_at <= ?", values![last]).await?;
    Ok(usize::try_from(dropped).unwrap_or(usize::MAX))
}
