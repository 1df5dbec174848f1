//! The gRPC edge: wire messages become the core's values here, or are refused here with the field, the value and what would be right.

mod auth;
mod control;
pub(crate) mod convert;
mod gateway;
mod peer;
mod peer_wire;

pub(crate) use auth::WorkerTokens;
pub(crate) use control::ControlService;
pub(crate) use convert::{BadField, introduction, shard_id};
pub(crate) use gateway::{Gateway, GatewayService, MAX_MESSAGE_BYTES};
pub(crate) use peer::PeerService;
pub(crate) use peer_wire::{plan_news, read_plan_news};
