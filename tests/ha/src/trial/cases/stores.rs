//! ZooKeeper and MySQL are away.

use futures::FutureExt;

use super::Case;
use crate::trial::{Trial, now_ms};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "F12-leader",
        title: "ZooKeeper's leader killed, started again after 8 s",
        quick: true,
        run: |trial| zookeeper_node(trial, Node::LeaderKilled).boxed_local(),
    },
    Case {
        name: "F12-follower",
        title: "a follower of ZooKeeper killed, started again after 8 s",
        quick: false,
        run: |trial| zookeeper_node(trial, Node::FollowerKilled).boxed_local(),
    },
    Case {
        name: "F12-stopped",
        title: "ZooKeeper's leader stopped for 5 s",
        quick: false,
        run: |trial| zookeeper_node(trial, Node::LeaderStopped).boxed_local(),
    },
    Case {
        name: "F13-quorum",
        title: "ZooKeeper's quorum lost for 60 s",
        quick: true,
        run: |trial| zookeeper_quorum(trial).boxed_local(),
    },
    Case {
        name: "F13-expired",
        title: "all of ZooKeeper stopped for 20 s: every session has expired",
        quick: false,
        run: |trial| zookeeper_stops(trial).boxed_local(),
    },
    Case {
        name: "F13-wiped",
        title: "all of ZooKeeper killed and its data wiped",
        quick: false,
        run: |trial| zookeeper_wiped(trial).boxed_local(),
    },
    Case {
        name: "F14-killed",
        title: "MySQL killed and started again",
        quick: true,
        run: |trial| mysql_away(trial, 4.0, 4.0).boxed_local(),
    },
    Case {
        name: "F14-stopped",
        title: "MySQL stopped for 10 s",
        quick: false,
        run: |trial| mysql_stops(trial, 10.0).boxed_local(),
    },
    Case {
        name: "F14-20s",
        title: "MySQL away for 20 s",
        quick: false,
        run: |trial| mysql_away(trial, 12.0, 20.0).boxed_local(),
    },
    Case {
        name: "F14-60s",
        title: "MySQL away for 60 s: longer than the plan reaches",
        quick: false,
        run: |trial| mysql_away(trial, 35.0, 60.0).boxed_local(),
    },
    Case {
        name: "F16-locked",
        title: "every write to MySQL waits for a lock for 8 s",
        quick: false,
        run: |trial| mysql_locked(trial).boxed_local(),
    },
    Case {
        name: "F16-connections",
        title: "connections to MySQL are killed at random, commits among them, for 10 s",
        quick: false,
        run: |trial| connections_killed(trial).boxed_local(),
    },
    Case {
        name: "F17-10s",
        title: "ZooKeeper and MySQL away for 10 s",
        quick: false,
        run: |trial| both_away(trial, 6.0, 10.0).boxed_local(),
    },
    Case {
        name: "F17-60s",
        title: "ZooKeeper and MySQL away for 60 s: longer than the plan reaches",
        quick: false,
        run: |trial| both_away(trial, 35.0, 60.0).boxed_local(),
    },
];

/// Triggering goes on so long without MySQL: the horizon less a slice.
const HORIZON_MS: i64 = 25_000;

/// How long planning may need to catch up when MySQL is back.
const CATCH_UP_MS: i64 = 15_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    LeaderKilled,
    FollowerKilled,
    LeaderStopped,
}

async fn zookeeper_node(trial: &mut Trial<'_>, what: Node) {
    let zookeeper = &trial.lab.ground.zookeeper;
    let leader = zookeeper.leader();
    let node = if what == Node::FollowerKilled { leader % 3 + 1 } else { leader };
    if what == Node::LeaderStopped {
        let broken = trial.fault(format!("SIGSTOP of ZooKeeper {node}, the leader"));
        zookeeper.pause(node);
        trial.lasts(5.0).await;
        zookeeper.resume(node);
        zookeeper.wait();
        return trial.healed(broken);
    }
    let broken = trial.fault(format!("kill -9 of ZooKeeper {node} (the leader is {leader})"));
    zookeeper.kill(node);
    trial.lasts(8.0).await;
    zookeeper.revive(node);
    zookeeper.wait();
    trial.healed(broken);
}

async fn zookeeper_quorum(trial: &mut Trial<'_>) {
    let zookeeper = &trial.lab.ground.zookeeper;
    let nodes: Vec<usize> = trial.pick(3, 2).into_iter().map(|place| place + 1).collect();
    let broken = trial.fault(format!("kill -9 of ZooKeeper {nodes:?}: no quorum"));
    nodes.iter().for_each(|node| zookeeper.kill(*node));
    trial.lasts(trial.seconds(12.0, 60.0)).await;
    nodes.iter().for_each(|node| zookeeper.revive(*node));
    zookeeper.wait();
    trial.healed(broken);
}

async fn zookeeper_stops(trial: &mut Trial<'_>) {
    let zookeeper = &trial.lab.ground.zookeeper;
    let broken = trial.fault("SIGSTOP of all of ZooKeeper");
    (1..=3).for_each(|node| zookeeper.pause(node));
    trial.lasts(trial.seconds(10.0, 20.0)).await;
    (1..=3).for_each(|node| zookeeper.resume(node));
    zookeeper.wait();
    trial.healed(broken);
}

async fn zookeeper_wiped(trial: &mut Trial<'_>) {
    let zookeeper = &trial.lab.ground.zookeeper;
    let broken = trial.fault("ZooKeeper killed and its data wiped");
    (1..=3).for_each(|node| zookeeper.kill(node));
    zookeeper.wipe();
    trial.lasts(trial.seconds(3.0, 10.0)).await;
    (1..=3).for_each(|node| zookeeper.revive(node));
    zookeeper.wait();
    trial.healed(broken);
}

async fn mysql_away(trial: &mut Trial<'_>, quick: f64, full: f64) {
    let database = &trial.lab.ground.database;
    let seconds = trial.seconds(quick, full);
    let (broken, from) = (trial.fault(format!("kill -9 of MySQL, away for {seconds} s")), now_ms());
    database.kill();
    trial.lasts(seconds).await;
    database.revive();
    database.wait();
    trial.healed(broken);
    trial.database_was_away(from);
    excuse_beyond_horizon(trial, from);
}

async fn mysql_stops(trial: &mut Trial<'_>, seconds: f64) {
    let database = &trial.lab.ground.database;
    let broken = trial.fault(format!("SIGSTOP of MySQL for {seconds} s"));
    database.pause();
    trial.lasts(seconds).await;
    database.resume();
    trial.healed(broken);
}

async fn mysql_locked(trial: &mut Trial<'_>) {
    let database = &trial.lab.ground.database;
    let broken = trial.fault("FLUSH TABLES WITH READ LOCK for 8 s");
    let mut lock = database.hold(
        trial.lab.folder(),
        "lock",
        "FLUSH TABLES WITH READ LOCK; SELECT SLEEP(8); UNLOCK TABLES",
    );
    lock.ends(std::time::Duration::from_secs(30)).await;
    trial.healed(broken);
}

async fn connections_killed(trial: &mut Trial<'_>) {
    let database = &trial.lab.ground.database;
    let broken = trial.fault("connections to MySQL killed at random");
    let until = now_ms() + 10_000;
    let mut killed = 0;
    while now_ms() < until {
        let busy = database
            .sql("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'carillon'")
            .unwrap_or_default();
        let ids: Vec<&str> = busy.lines().collect();
        if !ids.is_empty() {
            let chosen = ids[trial.random_place(ids.len())];
            // One that has just ended by itself is no loss.
            killed += u32::from(database.sql(&format!("KILL CONNECTION {chosen}")).is_ok());
        }
        trial.lasts(0.1).await;
    }
    tracing::info!(killed, "connections killed");
    trial.healed(broken);
}

async fn both_away(trial: &mut Trial<'_>, quick: f64, full: f64) {
    let (zookeeper, database) = (&trial.lab.ground.zookeeper, &trial.lab.ground.database);
    let seconds = trial.seconds(quick, full);
    let (broken, from) = (trial.fault(format!("ZooKeeper and MySQL killed, away for {seconds} s")), now_ms());
    database.kill();
    (1..=3).for_each(|node| zookeeper.kill(node));
    trial.lasts(seconds).await;
    (1..=3).for_each(|node| zookeeper.revive(node));
    database.revive();
    database.wait();
    zookeeper.wait();
    trial.healed(broken);
    trial.database_was_away(from);
    excuse_beyond_horizon(trial, from);
}

fn excuse_beyond_horizon(trial: &Trial<'_>, from: i64) {
    if now_ms() - from > HORIZON_MS {
        trial.excuse(
            from + HORIZON_MS,
            now_ms() + CATCH_UP_MS,
            None,
            "MySQL is away for longer than the horizon less a slice: late by policy",
        );
    }
}
