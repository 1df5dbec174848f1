//! The network is cut between some.

use futures::FutureExt;

use super::Case;
use crate::lab::database;
use crate::lab::ensemble::NODES as ZOOKEEPER;
use crate::trial::{Trial, now_ms};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "F5-3s",
        title: "the owner is cut from ZooKeeper for 3 s",
        quick: false,
        run: |trial| from_zookeeper(trial, 3.0, 3.0).boxed_local(),
    },
    Case {
        name: "F5-30s",
        title: "the owner is cut from ZooKeeper for 30 s",
        quick: true,
        run: |trial| from_zookeeper(trial, 9.0, 30.0).boxed_local(),
    },
    Case {
        name: "F6-owner",
        title: "the owner is cut from MySQL",
        quick: true,
        run: |trial| from_mysql(trial, 1).boxed_local(),
    },
    Case {
        name: "F6-all-but-one",
        title: "all servers but one are cut from MySQL",
        quick: false,
        run: |trial| from_mysql(trial, 2).boxed_local(),
    },
    Case {
        name: "F7",
        title: "the servers are cut from each other and reach both stores: nobody takes over",
        quick: false,
        run: |trial| from_each_other(trial).boxed_local(),
    },
    Case {
        name: "F8-owner",
        title: "a worker is cut from the owner",
        quick: false,
        run: |trial| worker_from_servers(trial, 1).boxed_local(),
    },
    Case {
        name: "F8-two",
        title: "a worker is cut from two servers",
        quick: false,
        run: |trial| worker_from_servers(trial, 2).boxed_local(),
    },
    Case {
        name: "F8-all",
        title: "a worker is cut from all servers",
        quick: false,
        run: |trial| worker_from_servers(trial, 3).boxed_local(),
    },
    Case {
        name: "F9",
        title: "a one-way cut, in a random direction, of one of F5 to F8, healed only at the end",
        quick: false,
        run: |trial| one_way(trial).boxed_local(),
    },
    Case {
        name: "F10",
        title: "each server sees only one of the two stores",
        quick: true,
        run: |trial| one_store_each(trial).boxed_local(),
    },
    Case {
        name: "F11",
        title: "two servers are cut off from everything one after the other and healed in another order",
        quick: false,
        run: |trial| one_by_one(trial).boxed_local(),
    },
];

/// How long after a cut from the store fires may still be planned ahead: the horizon less a slice.
const HORIZON_MS: i64 = 25_000;

async fn from_zookeeper(trial: &mut Trial<'_>, quick: f64, full: f64) {
    let owner = trial.lab.servers[trial.owner().await].name.clone();
    let seconds = trial.seconds(quick, full);
    let broken = trial.fault(format!("{owner} cut from ZooKeeper for {seconds} s"));
    ZOOKEEPER.iter().for_each(|node| trial.lab.ground.network.cut(&owner, node));
    trial.lasts(seconds).await;
    ZOOKEEPER.iter().for_each(|node| trial.lab.ground.network.heal(&owner, node));
    trial.healed(broken);
}

/// The owner and as many further servers as make `count`.
async fn owner_first(trial: &mut Trial<'_>, count: usize) -> Vec<usize> {
    let owner = trial.owner().await;
    let mut chosen = vec![owner];
    chosen.extend(trial.pick(3, 3).into_iter().filter(|place| *place != owner));
    chosen.truncate(count);
    chosen
}

async fn from_mysql(trial: &mut Trial<'_>, count: usize) {
    let chosen = owner_first(trial, count).await;
    let network = &trial.lab.ground.network;
    let seconds = trial.seconds(9.0, 45.0);
    let names: Vec<_> = chosen.iter().map(|place| trial.lab.servers[*place].name.as_str()).collect();
    let broken = trial.fault(format!("{} cut from MySQL for {seconds} s", names.join(" and ")));
    let from = now_ms();
    if seconds > 20.0 {
        for group in &trial.load.groups {
            if trial.holders(&group.id).await.iter().all(|holder| chosen.contains(holder)) {
                let until = from + (seconds * 1_000.0) as i64 + 15_000;
                trial.excuse(
                    from + HORIZON_MS,
                    until,
                    Some(&group.id),
                    "no holder of the shard reaches MySQL beyond the horizon",
                );
            }
        }
    }
    names.iter().for_each(|name| network.cut(name, database::NODE));
    trial.lasts(seconds).await;
    names.iter().for_each(|name| network.heal(name, database::NODE));
    trial.healed(broken);
}

async fn from_each_other(trial: &mut Trial<'_>) {
    let (network, servers) = (&trial.lab.ground.network, &trial.lab.servers);
    let before: Vec<usize> =
        [trial.owner_of(&trial.load.groups[0].id).await, trial.owner_of(&trial.load.groups[1].id).await]
            .into();
    let broken = trial.fault("all servers cut from each other");
    for (place, one) in servers.iter().enumerate() {
        servers[place + 1..].iter().for_each(|other| network.cut(&one.name, &other.name));
    }
    trial.lasts(trial.seconds(8.0, 25.0)).await;
    let after: Vec<usize> =
        [trial.owner_of(&trial.load.groups[0].id).await, trial.owner_of(&trial.load.groups[1].id).await]
            .into();
    if before != after {
        trial.broken(format!(
            "somebody took over although the watermark moved: the owners were {before:?} and are {after:?}"
        ));
    }
    network.heal_all();
    trial.healed(broken);
}

async fn worker_from_servers(trial: &mut Trial<'_>, count: usize) {
    let chosen = owner_first(trial, count).await;
    let (network, servers) = (&trial.lab.ground.network, &trial.lab.servers);
    let worker = &trial.load.workers_of_first()[trial.random_place(3)];
    let seconds = trial.seconds(8.0, 15.0);
    let names: Vec<_> = chosen.iter().map(|place| servers[*place].name.as_str()).collect();
    let from = now_ms();
    let broken = trial.fault(format!("{} cut from {} for {seconds} s", worker.name, names.join(", ")));
    names.iter().for_each(|name| network.cut(&worker.name, name));
    trial.lasts(seconds).await;
    names.iter().for_each(|name| network.heal(&worker.name, name));
    trial.healed(broken);
    if count == 3 {
        // Told of nothing, the worker starts what was armed; the rest waits until it is there again or known to be lost.
        trial.excuse(
            from,
            now_ms() + 5_000,
            Some(&trial.load.groups[0].id),
            "a worker that no server reaches cannot be told of its runs",
        );
    }
}

async fn one_way(trial: &mut Trial<'_>) {
    let owner = trial.owner().await;
    let (network, servers) = (&trial.lab.ground.network, &trial.lab.servers);
    let name = servers[owner].name.clone();
    let (what, others): (&str, Vec<String>) = match trial.random_place(4) {
        0 => ("ZooKeeper", ZOOKEEPER.iter().map(|node| (*node).to_owned()).collect()),
        1 => ("MySQL", vec![database::NODE.to_owned()]),
        2 => (
            "the other servers",
            servers.iter().filter(|server| server.name != name).map(|server| server.name.clone()).collect(),
        ),
        _ => ("a worker", vec![trial.load.workers_of_first()[trial.random_place(3)].name.clone()]),
    };
    let from_owner = trial.coin();
    let direction = if from_owner { "from" } else { "to" };
    let broken = trial.fault(format!("what goes {direction} {name} is cut ({what})"));
    for other in &others {
        if from_owner { network.cut_one_way(&name, other) } else { network.cut_one_way(other, &name) }
    }
    trial.lasts(trial.seconds(8.0, 22.0)).await;
    network.heal_all();
    trial.healed(broken);
}

async fn one_store_each(trial: &mut Trial<'_>) {
    let order = owner_first(trial, 3).await;
    let (network, servers) = (&trial.lab.ground.network, &trial.lab.servers);
    let name = |place: usize| servers[order[place]].name.as_str();
    let broken =
        trial.fault(format!("{} sees only ZooKeeper, {} and {} only MySQL", name(0), name(1), name(2)));
    network.cut(name(0), database::NODE);
    for node in ZOOKEEPER {
        network.cut(name(1), node);
        network.cut(name(2), node);
    }
    trial.lasts(trial.seconds(9.0, 30.0)).await;
    network.heal_all();
    trial.healed(broken);
}

async fn one_by_one(trial: &mut Trial<'_>) {
    let chosen = trial.pick(3, 2);
    let (lab, network) = (trial.lab, &trial.lab.ground.network);
    let everybody = || {
        let members = lab
            .servers
            .iter()
            .chain(&lab.consoles)
            .chain(&trial.load.workers)
            .map(|member| member.name.clone());
        members.chain(ZOOKEEPER.iter().map(|node| (*node).to_owned())).chain([database::NODE.to_owned()])
    };
    let pause = trial.seconds(3.0, 8.0);
    let mut broken = Vec::new();
    trial.excuse_orphans(&chosen, now_ms(), now_ms() + 20_000 + (4_000.0 * pause) as i64).await;
    for place in &chosen {
        let name = &lab.servers[*place].name;
        broken.push(trial.fault(format!("{name} cut off from everything")));
        everybody().filter(|other| other != name).for_each(|other| network.cut(name, &other));
        trial.lasts(pause).await;
    }
    // The first that was cut is healed last.
    for place in chosen.iter().rev() {
        let name = &lab.servers[*place].name;
        everybody().filter(|other| other != name).for_each(|other| network.heal(name, &other));
        trial.lasts(pause).await;
    }
    broken.into_iter().for_each(|broken| trial.healed(broken));
}
