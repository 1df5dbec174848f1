//! Who owned which shard when, and why: the hand-over timeline.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::{GroupId, ShardId};
use carillon_core::time::{Span, Timestamp};
use carillon_store::shards::{ClaimCause, HandOver};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Access;
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::page::{self, Page};
use crate::problem::Result;

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_list_hand_overs, _, _>(list_hand_overs, Need::Person);
}

/// Which changes of owner.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HandOverParams {
    /// Only of this task group's shards.
    #[param(value_type = Option<String>, format = "group-id")]
    group: Option<GroupId>,
    /// Only those at or later than this (default: a day ago).
    #[param(value_type = Option<String>, format = "date-time")]
    from: Option<Timestamp>,
    /// Only those earlier than this.
    #[param(value_type = Option<String>, format = "date-time")]
    to: Option<Timestamp>,
    /// Items on the page (default 50).
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// A change of a shard's owner.
#[derive(Serialize, ToSchema)]
pub(crate) struct HandOverView {
    /// When the new owner claimed the shard.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The shard.
    #[schema(value_type = String, example = "101-1-2-6601.0")]
    shard: ShardId,
    /// Its task group.
    #[schema(value_type = String)]
    group: GroupId,
    /// The epoch that began.
    #[schema(value_type = String)]
    epoch: String,
    /// Who owned it before; absent for the first owner.
    from_server: Option<String>,
    /// Where that one stands, as far as it is known.
    from_room: Option<String>,
    /// Who owns it since.
    to_server: String,
    /// Where that one stands.
    to_room: String,
    /// Why.
    #[schema(value_type = Cause)]
    cause: &'static str,
}

/// Why a shard changed its owner: `first` (nobody owned it), `handed_over` (a drain or a better placement), `owner_gone` (its owner does not live any
/// longer), `lock_lost` (its owner lives but lost the trigger lock), `owner_lags` (its owner's planning lagged), `again` (the same server after a
/// restart or a doubt).
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "the schema of carillon_store::shards::ClaimCause")]
enum Cause {
    First,
    HandedOver,
    OwnerGone,
    LockLost,
    OwnerLags,
    Again,
}

/// The hand-over timeline
///
/// Every change of a shard's owner, newest first; kept for 90 days.
#[utoipa::path(get, path = "/api/v1/shards/handovers", tag = "cluster", params(HandOverParams), responses(
    (status = 200, description = "Those of the task groups that you may see. Without a cursor: ask with `to` for older ones.", body = Page<HandOverView>),
))]
async fn list_hand_overs(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<HandOverParams>,
) -> Result<Json<Page<HandOverView>>> {
    let groups = access.groups(params.group)?;
    let limit = page::limit(params.limit);
    let now = console.now();
    let to = params.to.unwrap_or(now + Span::SECOND);
    let from = params.from.unwrap_or(now.saturating_sub(Span::from_secs(24 * 3600)));
    let found = console.store.hand_overs(groups.as_deref(), from, to, limit).await?;
    // Where servers stand now, or stood when they claimed something.
    let mut rooms: HashMap<String, String> =
        found.iter().map(|one| (one.owner.to_string(), one.note.room.clone())).collect();
    if let Ok(live) = console.servers.live().await {
        rooms.extend(live.into_iter().map(|member| (member.id.to_string(), member.room)));
    }
    let view = |one: HandOver| {
        let from_server = one.previous.map(|server| server.to_string());
        HandOverView {
            at: one.note.at,
            shard: one.shard,
            group: one.shard.group(),
            epoch: one.epoch.to_string(),
            from_room: from_server.as_ref().and_then(|server| rooms.get(server).cloned()),
            from_server,
            to_server: one.owner.to_string(),
            to_room: one.note.room,
            cause: ClaimCause::as_str(one.note.cause),
        }
    };
    let items = found.into_iter().map(view).collect();
    Ok(Json(Page { items, next_cursor: None, total: None, total_capped: false }))
}
