//! End-to-end tests of Carillon with real processes: the harness.
//!
//! **What it is.** Starts the real binary (`carillon dev`, or servers and consoles on a real ZooKeeper ensemble and MariaDB behind nginx)
//! and real workers in a folder of their own, talks to them as users do (REST, command line, SDK), stops them as fate does (signals), and
//! checks from outside what became of every run.
//!
//! **What it is not.** It builds nothing, and it mocks nothing: what it cannot find, it names. Rules of scheduling are tested where they are
//! written; here is tested that the whole keeps its promises.
//!
//! **What it must not know.** Anything inside the servers: no SQL, no znode paths, no core types. It judges by the API's answers and by what
//! handlers wrote into their [`ledger`], which nobody else writes.
//!
//! **The fault table.** [`trial`] breaks an installation under load and judges what became of every fire; [`lab`] is that installation, each part in a
//! network of its own. The program `ha` runs it.
//!
//! **Where to begin.** [`story`] for how a test runs, [`site`] for what it runs on, [`worker`] for the handlers it can use, then the stories in
//! `tests/`.

pub mod story;

pub mod site;

pub mod cluster;
pub mod dev;

pub mod worker;

pub mod fires;
pub mod ledger;

pub mod checker;

pub mod lab;
pub mod trial;

pub mod api;
pub mod wait;

pub mod nginx;
pub mod services;

pub mod binaries;
pub mod folder;
pub mod ports;
pub mod process;
