//! What this console is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::{MAX_BACKUPS, MAX_SHARDS};
use carillon_core::job::MAX_PARAMS_BYTES;
use carillon_core::run::MAX_RESULT_BYTES;
use carillon_core::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::console::Console;
use crate::operation::{Need, Operations};

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_about, _, _>(about, Need::AnyToken);
}

/// This console.
#[derive(Serialize, ToSchema)]
pub(crate) struct About {
    /// `Carillon`.
    product: &'static str,
    /// The version of this binary.
    version: &'static str,
    /// The cluster it serves.
    cluster: u32,
    /// This console's id in the cluster, if it has one.
    console: Option<String>,
    /// `mysql` or `sqlite`.
    store: &'static str,
    /// The licence of Carillon.
    licence: &'static str,
    /// When this console started.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// What it allows and keeps.
    limits: LimitsView,
    /// Its clock.
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
}

/// What is allowed and kept.
#[derive(Serialize, ToSchema)]
pub(crate) struct LimitsView {
    /// The longest params of a job or run, as JSON text.
    params_bytes: usize,
    /// The longest result of a run, as JSON text.
    result_bytes: usize,
    /// The longest log of an attempt.
    log_bytes: u64,
    /// The most shards of a task group.
    shards: u16,
    /// The most holders of a shard.
    backups: u32,
    /// How many days final runs are kept with their logs, unless their task group says otherwise.
    keep_days: u32,
}

/// About this console
#[utoipa::path(get, path = "/api/v1/about", tag = "cluster", responses((status = 200, description = "This console.", body = About)))]
async fn about(State(console): State<Arc<Console>>) -> Json<About> {
    Json(About {
        product: "Carillon",
        version: env!("CARGO_PKG_VERSION"),
        cluster: console.config.cluster,
        console: console.config.member.as_ref().map(|member| member.id.to_string()),
        store: console.store.backend(),
        licence: "Apache-2.0",
        started_at: console.started_at,
        limits: LimitsView {
            params_bytes: MAX_PARAMS_BYTES,
            result_bytes: MAX_RESULT_BYTES,
            log_bytes: console.config.log_limit,
            shards: MAX_SHARDS,
            backups: MAX_BACKUPS,
            keep_days: console.config.keep_days,
        },
        now: console.now(),
    })
}
