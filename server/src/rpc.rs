//! The gRPC edge: wire messages become the core's values here, or are refused here with the field, the value and what would be right.

mod auth;
mod control;
pub(crate) mod convert;
mod gateway;

pub(crate) use auth::WorkerTokens;
pub(crate) use control::ControlService;
pub(crate) use gateway::{Gateway, GatewayService, MAX_MESSAGE_BYTES};
