//! What this console is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
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
    /// Its clock.
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
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
        now: console.now(),
    })
}
