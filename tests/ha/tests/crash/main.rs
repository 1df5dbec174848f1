//! kill -9 of each kind of process: afterwards nothing is lost and nothing was started twice within an attempt, by the ledger of fires and by
//! what handlers wrote.

mod dev;

mod lone_server;

mod workers;
