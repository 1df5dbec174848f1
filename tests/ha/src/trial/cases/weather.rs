//! The network is slow and loses packets between some.

use std::time::Duration;

use futures::FutureExt;

use super::Case;
use crate::lab::database;
use crate::lab::ensemble::NODES as ZOOKEEPER;
use crate::lab::weather::Weather;
use crate::trial::Trial;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "F22-stores",
        title: "packets between servers and both stores take 20 to 60 ms each way and 2 % are lost; fires that an edit plans anew may take 10 s",
        quick: false,
        run: |trial| stores(trial).boxed_local(),
    },
    Case {
        name: "F22-servers",
        title: "packets between the servers take 20 to 60 ms each way and 2 % are lost",
        quick: false,
        run: |trial| servers(trial).boxed_local(),
    },
    Case {
        name: "F22-workers",
        title: "packets between servers and workers take 10 to 25 ms each way and 2 % are lost",
        quick: false,
        run: |trial| workers(trial).boxed_local(),
    },
    Case {
        name: "F22-lossy",
        title: "everybody loses 5 % of the packets to and from everybody; fires that an edit plans anew may take 10 s",
        quick: false,
        run: |trial| lossy(trial).boxed_local(),
    },
];

const SLOW: Weather =
    Weather { delay: Duration::from_millis(20), jitter: Duration::from_millis(40), loss: 0.02 };

/// A worker knows the time by the quickest of its probes, and errs by up to half of what the ways there and back differ: more jitter than this could
/// not keep to 20 ms.
const UNEVEN: Weather =
    Weather { delay: Duration::from_millis(10), jitter: Duration::from_millis(15), loss: 0.02 };

const LOSSY: Weather = Weather { delay: Duration::ZERO, jitter: Duration::from_millis(1), loss: 0.05 };

/// What an edit takes through [`SLOW`] or [`LOSSY`] until its fires are planned: it is read behind what is being written, each with some five ways to the
/// database and back, and a lost packet stops the connection for as long as its repetition takes.
const SLOW_EDITS: Duration = Duration::from_secs(10);

async fn stores(trial: &mut Trial<'_>) {
    trial.allow_for_changes(SLOW_EDITS);
    let names: Vec<String> = trial.lab.servers.iter().map(|server| server.name.clone()).collect();
    let pairs = names.iter().flat_map(|server| {
        ZOOKEEPER.into_iter().chain([database::NODE]).map(move |store| (server.as_str(), store))
    });
    last(trial, "slow between servers and stores", &pairs.collect::<Vec<_>>(), SLOW).await;
}

async fn servers(trial: &mut Trial<'_>) {
    let names: Vec<String> = trial.lab.servers.iter().map(|server| server.name.clone()).collect();
    let pairs = [(0, 1), (0, 2), (1, 2)].map(|(one, other)| (names[one].as_str(), names[other].as_str()));
    last(trial, "slow between servers", &pairs, SLOW).await;
}

async fn workers(trial: &mut Trial<'_>) {
    let servers: Vec<String> = trial.lab.servers.iter().map(|server| server.name.clone()).collect();
    let workers: Vec<String> = trial.load.workers.iter().map(|worker| worker.name.clone()).collect();
    let pairs = servers
        .iter()
        .flat_map(|server| workers.iter().map(move |worker| (server.as_str(), worker.as_str())));
    last(trial, "slow between servers and workers", &pairs.collect::<Vec<_>>(), UNEVEN).await;
}

async fn lossy(trial: &mut Trial<'_>) {
    trial.allow_for_changes(SLOW_EDITS);
    let members = trial.lab.servers.iter().chain(&trial.lab.consoles).chain(&trial.load.workers);
    let mut names: Vec<String> = members.map(|member| member.name.clone()).collect();
    names.extend(ZOOKEEPER.map(str::to_owned));
    names.push(database::NODE.to_owned());
    let pairs = names
        .iter()
        .enumerate()
        .flat_map(|(place, one)| names[place + 1..].iter().map(move |other| (one.as_str(), other.as_str())));
    last(trial, "packets lost between all", &pairs.collect::<Vec<_>>(), LOSSY).await;
}

async fn last(trial: &mut Trial<'_>, what: &str, pairs: &[(&str, &str)], weather: Weather) {
    let seed = trial.millis(0..i64::MAX).unsigned_abs();
    let broken = trial.fault(what);
    if let Err(why) = trial.lab.ground.network.worsen(pairs, weather, seed) {
        trial.broken(why);
    }
    trial.lasts(trial.seconds(8.0, 20.0)).await;
    let (delayed, lost) = trial.lab.ground.network.weathered();
    tracing::info!(delayed, lost, "packets in the weather");
    if delayed == 0 || lost == 0 {
        trial.broken(format!("{delayed} packets were delayed and {lost} lost: that is no weather"));
    }
    trial.lab.ground.network.heal_all();
    trial.healed(broken);
}
