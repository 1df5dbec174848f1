//! Task groups.

use std::sync::Arc;

use carillon_core::ids::GroupId;
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::catalog::Group;
use crate::database::{Database, Existing, Insert};
use crate::sql::sequences;
use crate::value::{Row, Value, values};

/// The number of a cluster's first group, as in the examples of the documentation.
const FIRST_GROUP_NUMBER: u32 = 6601;

const GROUP: &str = "SELECT group_id, name, description, shards, revision, created_at, updated_at
                     FROM task_group";

fn read_group(mut row: Row) -> Result<Group, StoreError> {
    Ok(Group {
        id: row.take()?,
        name: row.take()?,
        description: row.take()?,
        shards: row.take()?,
        revision: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
    })
}

pub(crate) async fn next_group_number<D: Database>(db: &mut D, cluster: u32) -> Result<u32, StoreError> {
    let number = sequences::next(db, &format!("group_number.{cluster}"), FIRST_GROUP_NUMBER).await?;
    u32::try_from(number)
        .map_err(|_| StoreError::LimitExceeded { what: "the number of task groups", limit: u32::MAX.into() })
}

const NEW_GROUP: Insert = Insert {
    table: "task_group",
    columns: &[
        "group_id",
        "cluster",
        "server_group",
        "backups",
        "number",
        "name",
        "description",
        "shards",
        "revision",
        "created_at",
        "updated_at",
    ],
    existing: Existing::Refuse,
};

const NEW_SHARD_NUMBERS: Insert =
    Insert { table: "shard_number", columns: &["group_id", "shard_index"], existing: Existing::Keep };

pub(crate) async fn create_group<D: Database>(
    db: &mut D,
    group: Arc<Group>,
    planned_from: Timestamp,
) -> Result<(), StoreError> {
    let id = group.id;
    if let Some(taken) = group_in_the_way(db, &group).await? {
        return Err(taken);
    }
    let row = values![
        id,
        id.cluster(),
        id.server_group(),
        id.backups(),
        id.number(),
        &group.name,
        &group.description,
        group.shards,
        group.revision,
        group.created_at,
        group.updated_at,
    ];
    db.insert(&NEW_GROUP, row).await.map_err(|error| taken(error, &group))?;

    let numbers: Vec<Value> = (0..group.shards).flat_map(|index| values![id, index]).collect();
    db.insert(&NEW_SHARD_NUMBERS, numbers).await?;
    db.execute(
        "INSERT INTO shard (shard, epoch, owner, jobs_version, planned_until, holders)
         SELECT shard, 0, NULL, 0, ?, '[]' FROM shard_number WHERE group_id = ? AND shard_index < ?",
        values![planned_from, id, group.shards],
    )
    .await?;
    Ok(())
}

/// The conflict with a group that has the id or, in the cluster, the name of `group`, and is another one. Uses the primary key and
/// `task_group_name`.
async fn group_in_the_way<D: Database>(db: &mut D, group: &Group) -> Result<Option<StoreError>, StoreError> {
    let same_id =
        db.query_one("SELECT group_id FROM task_group WHERE group_id = ?", values![group.id]).await?;
    if same_id.is_some() {
        let id = group.id.to_string();
        return Ok(Some(StoreError::Conflict {
            what: "task group",
            id,
            conflict: "exists already".to_owned(),
        }));
    }
    name_in_the_way(db, group).await
}

async fn name_in_the_way<D: Database>(db: &mut D, group: &Group) -> Result<Option<StoreError>, StoreError> {
    let same_name = db
        .query_one(
            "SELECT group_id FROM task_group WHERE cluster = ? AND name = ? AND group_id <> ?",
            values![group.id.cluster(), &group.name, group.id],
        )
        .await?;
    let Some(mut row) = same_name else { return Ok(None) };
    let other: GroupId = row.take()?;
    Ok(Some(StoreError::Conflict {
        what: "task group",
        id: group.name.clone(),
        conflict: format!("has the name of {other}"),
    }))
}

/// Words a unique index's refusal, for the one of two racing creations that came second.
fn taken(error: StoreError, group: &Group) -> StoreError {
    match error {
        StoreError::Conflict { .. } => StoreError::Conflict {
            what: "task group",
            id: format!("{} ({})", group.id, group.name),
            conflict: "has an id or a name that was taken just now".to_owned(),
        },
        other => other,
    }
}

/// By primary key.
pub(crate) async fn update_group<D: Database>(db: &mut D, group: Arc<Group>) -> Result<bool, StoreError> {
    if let Some(taken) = name_in_the_way(db, &group).await? {
        return Err(taken);
    }
    let changed = db
        .execute(
            "UPDATE task_group SET name = ?, description = ?, revision = ?, updated_at = ?
             WHERE group_id = ? AND revision = ?",
            values![
                &group.name,
                &group.description,
                group.revision,
                group.updated_at,
                group.id,
                i64::from(group.revision) - 1,
            ],
        )
        .await
        .map_err(|error| taken(error, &group))?;
    Ok(changed > 0)
}

/// The shards' locks come first, so that no job is created in between; then by `group_id` in each table. Shard numbers stay, because
/// the runs name them.
pub(crate) async fn delete_group<D: Database>(db: &mut D, group: GroupId) -> Result<(), StoreError> {
    let lock = format!(
        "SELECT shard FROM shard
         WHERE shard IN (SELECT shard FROM shard_number WHERE group_id = ?) ORDER BY shard {}",
        D::FOR_UPDATE
    );
    db.query(&lock, values![group]).await?;
    if db.query_one("SELECT job FROM job WHERE group_id = ? LIMIT 1", values![group]).await?.is_some() {
        return Err(StoreError::Conflict {
            what: "task group",
            id: group.to_string(),
            conflict: "still has jobs".to_owned(),
        });
    }
    if db.execute("DELETE FROM task_group WHERE group_id = ?", values![group]).await? == 0 {
        return Err(StoreError::NotFound { what: "task group", id: group.to_string() });
    }
    db.execute(
        "DELETE FROM shard WHERE shard IN (SELECT shard FROM shard_number WHERE group_id = ?)",
        values![group],
    )
    .await?;
    db.execute("DELETE FROM group_grant WHERE group_id = ?", values![group]).await?;
    db.execute("DELETE FROM token WHERE group_id = ?", values![group]).await?;
    db.execute("DELETE FROM group_retention WHERE group_id = ?", values![group]).await?;
    Ok(())
}

/// By primary key.
pub(crate) async fn group<D: Database>(db: &mut D, group: GroupId) -> Result<Option<Group>, StoreError> {
    let found = db.query_one(&format!("{GROUP} WHERE group_id = ?"), values![group]).await?;
    found.map(read_group).transpose()
}

/// In the order of `task_group_in_order`. Groups are few enough (thousands) to be sorted where the index does not serve.
pub(crate) async fn groups<D: Database>(
    db: &mut D,
    after: Option<GroupId>,
    limit: usize,
) -> Result<Vec<Group>, StoreError> {
    const IN_ORDER: &str = "ORDER BY cluster, server_group, backups, number LIMIT ?";
    let rows = match after {
        None => db.query(&format!("{GROUP} {IN_ORDER}"), values![limit]).await?,
        Some(after) => {
            let sql =
                format!("{GROUP} WHERE (cluster, server_group, backups, number) > (?, ?, ?, ?) {IN_ORDER}");
            let key = values![after.cluster(), after.server_group(), after.backups(), after.number(), limit];
            db.query(&sql, key).await?
        }
    };
    rows.into_iter().map(read_group).collect()
}
