//! Carillon's wire: the `.proto` files of `proto/carillon/v1` and the code generated from them, nothing else.
//!
//! It must not know what the messages mean; conversions to the core's types live in the `rpc` modules of those who speak them.

/// Version 1 of the wire.
pub mod v1 {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]
    tonic::include_proto!("carillon.v1");
}
