//! Carillon's core: the nouns and the decisions.
//!
//! Everything here is a value or a pure function; time and chance are arguments. It must not know tokio, sockets, SQL, ZooKeeper,
//! protobuf, the wall clock or a global random generator: that is what lets the simulation run years of failures in minutes.
//!
//! Begin with [`ids`] and [`job`], then [`run`] for the life cycle.

pub mod change;
pub mod concern;
pub mod edit;
pub mod engine;
pub mod ids;
pub mod job;
pub mod network;
pub mod parallel;
pub mod placement;
pub mod routing;
pub mod run;
pub mod schedule;
pub mod time;
