//! Shards: epoch, owner, watermark and placement.

use std::sync::Arc;

use carillon_core::ids::{Epoch, GroupId, ServerId, ShardId};

use crate::StoreError;
use crate::database::{Database, existing_number_of, number_of};
use crate::shards::{ClaimNote, ShardRow};
use crate::sql::hand_overs;
use crate::value::{Json, Row, json, values};

const SHARD: &str =
    "SELECT n.group_id, n.shard_index, s.epoch, s.owner, s.jobs_version, s.planned_until, s.holders
                     FROM shard s JOIN shard_number n ON n.shard = s.shard";

fn read_shard(mut row: Row) -> Result<ShardRow, StoreError> {
    let group: GroupId = row.take()?;
    Ok(ShardRow {
        id: ShardId::new(group, row.take()?),
        epoch: row.take()?,
        owner: row.take()?,
        jobs_version: row.take()?,
        planned_until: row.take()?,
        holders: row.take::<Json<Vec<ServerId>>>()?.0,
    })
}

/// Along `task_group_in_order`, then `shard_number_of` and the primary key of `shard`.
pub(crate) async fn shards_of<D: Database>(
    db: &mut D,
    cluster: u32,
    server_group: u32,
) -> Result<Vec<ShardRow>, StoreError> {
    let sql = format!(
        "{SHARD} JOIN task_group g ON g.group_id = n.group_id
         WHERE g.cluster = ? AND g.server_group = ?
         ORDER BY g.cluster, g.server_group, g.backups, g.number, n.shard_index"
    );
    let rows = db.query(&sql, values![cluster, server_group]).await?;
    rows.into_iter().map(read_shard).collect()
}

/// By primary key.
pub(crate) async fn shard<D: Database>(db: &mut D, shard: ShardId) -> Result<Option<ShardRow>, StoreError> {
    let Some(number) = number_of(db, shard).await? else { return Ok(None) };
    let found = db.query_one(&format!("{SHARD} WHERE s.shard = ?"), values![number]).await?;
    found.map(read_shard).transpose()
}

/// By `shard_number_of`.
pub(crate) async fn shards_of_group<D: Database>(
    db: &mut D,
    group: GroupId,
) -> Result<Vec<ShardRow>, StoreError> {
    let sql = format!("{SHARD} WHERE n.group_id = ? ORDER BY n.shard_index");
    let rows = db.query(&sql, values![group]).await?;
    rows.into_iter().map(read_shard).collect()
}

/// By primary key.
pub(crate) async fn claim<D: Database>(
    db: &mut D,
    shard: ShardId,
    seen: Epoch,
    claim: Arc<(ServerId, ClaimNote)>,
) -> Result<Option<Epoch>, StoreError> {
    let (owner, note) = &*claim;
    let Some(number) = number_of(db, shard).await? else { return Ok(None) };
    let before = db
        .query_one(
            &format!("SELECT owner FROM shard WHERE shard = ? AND epoch = ? {}", D::FOR_UPDATE),
            values![number, seen],
        )
        .await?;
    let Some(mut before) = before else { return Ok(None) };
    let previous: Option<ServerId> = before.take()?;
    let claimed = db
        .execute(
            "UPDATE shard SET epoch = epoch + 1, owner = ? WHERE shard = ? AND epoch = ?",
            values![owner, number, seen],
        )
        .await?;
    if claimed == 0 {
        return Ok(None);
    }
    hand_overs::record(db, number, seen.next(), owner, previous.as_ref(), note).await?;
    Ok(Some(seen.next()))
}

/// By primary key.
pub(crate) async fn place<D: Database>(
    db: &mut D,
    placements: Arc<[(ShardId, Vec<ServerId>)]>,
) -> Result<(), StoreError> {
    let mut numbered = Vec::with_capacity(placements.len());
    for (shard, holders) in placements.iter() {
        numbered.push((existing_number_of(db, *shard).await?, holders));
    }
    // In one order for everybody, so that two placers wait for each other instead of dead-locking.
    numbered.sort_by_key(|(number, _)| *number);
    for (number, holders) in numbered {
        db.execute("UPDATE shard SET holders = ? WHERE shard = ?", values![json(holders), number]).await?;
    }
    Ok(())
}
