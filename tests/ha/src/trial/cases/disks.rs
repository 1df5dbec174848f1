//! Disks are full or slow.

use std::time::Duration;

use futures::FutureExt;

use super::Case;
use crate::trial::{Trial, now_ms};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "F21-full-mysql",
        title: "MySQL's disk is full for 15 s",
        quick: false,
        run: |trial| mysql_is_full(trial).boxed_local(),
    },
    Case {
        name: "F21-full-zookeeper",
        title: "the disk of ZooKeeper's leader is full for 20 s, and the node is started again and again meanwhile",
        quick: false,
        run: |trial| zookeeper_is_full(trial).boxed_local(),
    },
    Case {
        name: "F21-full-server",
        title: "the disk of the owner's folder and logs is full for 20 s",
        quick: false,
        run: |trial| server_is_full(trial).boxed_local(),
    },
    Case {
        name: "F21-full-worker",
        title: "the disk of a worker's folder and logs is full for 20 s",
        quick: false,
        run: |trial| worker_is_full(trial).boxed_local(),
    },
    Case {
        name: "F21-slow-mysql",
        title: "each flush of MySQL's disk takes 150 ms longer for 20 s; fires that an edit plans anew may take 10 s",
        quick: false,
        run: |trial| mysql_is_slow(trial).boxed_local(),
    },
    Case {
        name: "F21-slow-zookeeper",
        title: "each flush of ZooKeeper's disks takes 500 ms longer for 20 s",
        quick: false,
        run: |trial| zookeeper_is_slow(trial).boxed_local(),
    },
];

/// Triggering goes on so long without MySQL: the horizon less a slice.
const HORIZON_MS: i64 = 25_000;

/// How long a server of MySQL that found its disk full may wait before it looks again: a minute is built into it.
const MYSQL_LOOKS_AGAIN: Duration = Duration::from_secs(70);

/// What an edit takes until its fires are planned where a commit takes half a second: it is read behind what is being written, and a worker that
/// is told too late is followed by another commit or two.
const SLOW_EDITS: Duration = Duration::from_secs(10);

async fn mysql_is_full(trial: &mut Trial<'_>) {
    let database = &trial.lab.ground.database;
    let disk = database.disk();
    let (broken, from) = (trial.fault("MySQL's disk is full"), now_ms());
    disk.fill();
    trial.lasts(trial.seconds(8.0, 15.0)).await;
    disk.free();
    // It may have ended itself, or wait; both are its way, and an operator starts what has ended.
    let until = now_ms() + i64::try_from(MYSQL_LOOKS_AGAIN.as_millis()).expect("a minute fits");
    loop {
        if database.sql("CREATE OR REPLACE TABLE carillon.probe (a INT) ENGINE=InnoDB").is_ok() {
            break;
        }
        if now_ms() > until {
            trial.broken("MySQL does not write again after its disk was freed");
            break;
        }
        database.start_if_ended();
        trial.lasts(0.5).await;
    }
    trial.healed(broken);
    if now_ms() - from > HORIZON_MS {
        trial.excuse(
            from + HORIZON_MS,
            now_ms() + 15_000,
            None,
            "MySQL is away for longer than the horizon less a slice: late by policy",
        );
    }
}

async fn zookeeper_is_full(trial: &mut Trial<'_>) {
    let zookeeper = &trial.lab.ground.zookeeper;
    let node = zookeeper.leader();
    let broken = trial.fault(format!("the disk of ZooKeeper {node}, the leader, is full"));
    zookeeper.disk(node).fill();
    trial.lasts(2.0).await;
    // Preallocated space would hide it for long: so the node also ends, if it has not yet, and what watches over it starts it into its full disk.
    let _ = zookeeper.try_kill(node);
    let until = now_ms() + if trial.pace.quick { 6_000 } else { 18_000 };
    while now_ms() < until {
        zookeeper.revive(node);
        trial.lasts(2.0).await;
    }
    zookeeper.disk(node).free();
    let _ = zookeeper.try_kill(node);
    zookeeper.revive(node);
    zookeeper.wait();
    trial.healed(broken);
}

async fn server_is_full(trial: &mut Trial<'_>) {
    let server = &trial.lab.servers[trial.owner().await];
    let broken = trial.fault(format!("the disk of {} is full", server.name));
    server.disk().fill();
    trial.lasts(trial.seconds(8.0, 20.0)).await;
    if !server.runs() {
        trial.broken(format!("{} ended because it could not write its log", server.name));
    }
    server.disk().free();
    trial.healed(broken);
}

async fn worker_is_full(trial: &mut Trial<'_>) {
    let worker = &trial.load.workers_of_first()[trial.random_place(3)];
    let broken = trial.fault(format!("the disk of {} is full", worker.name));
    worker.disk().fill();
    trial.lasts(trial.seconds(8.0, 20.0)).await;
    if !worker.runs() {
        trial.broken(format!("{} ended because it could not write its log", worker.name));
    }
    worker.disk().free();
    trial.healed(broken);
}

async fn mysql_is_slow(trial: &mut Trial<'_>) {
    let database = &trial.lab.ground.database;
    trial.allow_for_changes(SLOW_EDITS);
    let broken = trial.fault("each flush of MySQL takes 150 ms longer");
    database.fate().delay_flushes(Duration::from_millis(150));
    trial.lasts(trial.seconds(8.0, 20.0)).await;
    database.fate().delay_flushes(Duration::ZERO);
    trial.healed(broken);
}

async fn zookeeper_is_slow(trial: &mut Trial<'_>) {
    let zookeeper = &trial.lab.ground.zookeeper;
    let broken = trial.fault("each flush of ZooKeeper takes 500 ms longer");
    zookeeper.fate().delay_flushes(Duration::from_millis(500));
    // Something has to be written meanwhile: a server goes and comes.
    let holders = trial.holders(&trial.load.groups[0].id).await;
    let other = &trial.lab.servers[holders[1]];
    trial.lasts(2.0).await;
    other.kill();
    trial.lasts(trial.seconds(6.0, 18.0)).await;
    trial.lab.revive(other);
    trial.lasts(3.0).await;
    zookeeper.fate().delay_flushes(Duration::ZERO);
    trial.healed(broken);
}
