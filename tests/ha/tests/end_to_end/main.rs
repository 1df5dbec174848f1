//! What Carillon must show, told as stories. Each runs on `carillon dev` with outside workers, and on a cluster of three servers and three consoles
//! behind nginx, on three ZooKeepers and MariaDB.

#![expect(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]

mod sites;

mod simple;

mod triggered;

mod parallel;

mod edited;

mod refused;

mod malformed;
mod raw_bytes;

mod traced;
