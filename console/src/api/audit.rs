//! The audit trail: who did what, and who was refused.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::GroupId;
use carillon_core::time::Timestamp;
use carillon_store::accounts::{AuditEntry, AuditFilter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::auth::Access;
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::page::{self, Page};
use crate::problem::Result;

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_list_audit, _, _>(list_audit, Need::Person);
}

/// One line of the audit trail.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditView {
    /// Its number.
    id: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who.
    actor: String,
    /// From which address.
    source: String,
    /// What, as a stable word.
    #[schema(example = "job.update")]
    action: String,
    /// On what.
    #[schema(example = "job/17")]
    target: String,
    /// The task group concerned.
    #[schema(value_type = Option<String>)]
    group: Option<GroupId>,
    /// `ok`, or the code of the refusal.
    outcome: String,
    /// Before; secrets masked.
    before: Option<Value>,
    /// After; secrets masked.
    after: Option<Value>,
}

impl AuditView {
    fn of(entry: AuditEntry) -> Self {
        let read = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        Self {
            id: entry.id.to_string(),
            at: entry.at,
            actor: entry.actor,
            source: entry.source,
            action: entry.action,
            target: entry.target,
            group: entry.group,
            outcome: entry.outcome,
            before: read(entry.before),
            after: read(entry.after),
        }
    }
}

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditParams {
    /// Only entries about this task group.
    #[param(value_type = Option<String>, format = "group-id")]
    group: Option<GroupId>,
    /// Only entries about this target, such as `job/17`.
    target: Option<String>,
    /// Only this actor's.
    actor: Option<String>,
    /// Only this action, such as `job.update`.
    action: Option<String>,
    /// Only this outcome: `ok`, or the code of a refusal.
    outcome: Option<String>,
    /// Only entries at or later than this.
    #[param(value_type = Option<String>, format = "date-time")]
    from: Option<Timestamp>,
    /// Only entries earlier than this.
    #[param(value_type = Option<String>, format = "date-time")]
    to: Option<Timestamp>,
    /// Items on the page (default 50).
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Read the audit trail
///
/// Newest first. Administrators see all of it, others the entries about task groups that they may see.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditParams), responses(
    (status = 200, description = "Entries.", body = Page<AuditView>),
))]
async fn list_audit(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<AuditParams>,
) -> Result<Json<Page<AuditView>>> {
    let limit = page::limit(params.limit);
    let before: Option<u64> = page::position(params.cursor.as_deref())?;
    let groups = access.groups(params.group)?;
    if groups.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Json(Page::of(Vec::new(), limit, |_: &AuditView| String::new())));
    }
    let filter = AuditFilter {
        groups,
        target: params.target,
        actor: params.actor,
        action: params.action,
        outcome: params.outcome,
        from: params.from,
        to: params.to,
    };
    let entries = console.store.audit(&filter, before, limit + 1).await?;
    Ok(Json(Page::of(entries, limit, |entry: &AuditEntry| entry.id.to_string()).map(AuditView::of)))
}
