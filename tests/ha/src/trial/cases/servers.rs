//! Servers end or stand still.

use futures::FutureExt;

use super::Case;
use crate::trial::{Exit, Trial, now_ms};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "T4",
        title: "three servers, two of them stopped at random, by SIGTERM or kill -9: tasks still trigger (backups 3 and 2)",
        quick: true,
        run: |trial| {
            async {
                let how = if trial.coin() { Exit::Killed } else { Exit::Asked };
                let chosen = trial.pick(3, 2);
                end_and_start_again(trial, &chosen, how, 10.0, 20.0).await;
            }
            .boxed_local()
        },
    },
    Case {
        name: "F1-owner",
        title: "kill -9 of the owner",
        quick: true,
        run: |trial| {
            async {
                let owner = trial.owner().await;
                end_and_start_again(trial, &[owner], Exit::Killed, 9.0, 20.0).await;
            }
            .boxed_local()
        },
    },
    Case {
        name: "F1-second",
        title: "kill -9 of the second holder",
        quick: false,
        run: |trial| {
            async {
                let holders = trial.holders(&trial.load.groups[0].id).await;
                end_and_start_again(trial, &holders[1..2], Exit::Killed, 9.0, 20.0).await;
            }
            .boxed_local()
        },
    },
    Case {
        name: "F1-two",
        title: "kill -9 of the owner and one more of three servers, at the same moment",
        quick: false,
        run: |trial| {
            async {
                let holders = trial.holders(&trial.load.groups[0].id).await;
                let other = 1 + usize::from(trial.coin());
                end_and_start_again(
                    trial,
                    &[holders[0], holders[other.min(holders.len() - 1)]],
                    Exit::Killed,
                    9.0,
                    20.0,
                )
                .await;
            }
            .boxed_local()
        },
    },
    Case {
        name: "F1-random",
        title: "kill -9 of a server at random every 10 s, started again after 4 s",
        quick: false,
        run: |trial| random_kills(trial).boxed_local(),
    },
    Case {
        name: "F2-short",
        title: "kill -9 of all servers, started again after 5 s",
        quick: false,
        run: |trial| all_end(trial, 5.0, 5.0).boxed_local(),
    },
    Case {
        name: "F2-long",
        title: "kill -9 of all servers, started again after 40 s, when the plan has run out",
        quick: false,
        run: |trial| all_end(trial, 10.0, 40.0).boxed_local(),
    },
    Case {
        name: "F3-1s",
        title: "SIGSTOP of the owner for 1 s",
        quick: false,
        run: |trial| owner_stands_still(trial, 1.0, 1.0).boxed_local(),
    },
    Case {
        name: "F3-5s",
        title: "SIGSTOP of the owner for 5 s",
        quick: true,
        run: |trial| owner_stands_still(trial, 5.0, 5.0).boxed_local(),
    },
    Case {
        name: "F3-30s",
        title: "SIGSTOP of the owner for 30 s",
        quick: false,
        run: |trial| owner_stands_still(trial, 10.0, 30.0).boxed_local(),
    },
    Case {
        name: "F4",
        title: "SIGSTOP of the owner and, 1 s later, of the second holder, 5 s each",
        quick: false,
        run: |trial| two_stand_still(trial).boxed_local(),
    },
    Case {
        name: "F26",
        title: "rolling restart of all servers by SIGTERM (both versions are the same: there is only one yet)",
        quick: false,
        run: |trial| rolling_restart(trial).boxed_local(),
    },
];

/// How long it may take until a shard without a holder has one: session, placement and loading.
const ADOPTION_MS: i64 = 20_000;

/// How long after the start of a server the shards that nobody held may need to be owned and planned.
const COLD_START_MS: i64 = 12_000;

async fn end_and_start_again(trial: &Trial<'_>, places: &[usize], how: Exit, quick: f64, full: f64) {
    let words =
        places.iter().map(|place| trial.lab.servers[*place].name.clone()).collect::<Vec<_>>().join(" and ");
    let verb = if how == Exit::Killed { "kill -9" } else { "SIGTERM" };
    trial.excuse_orphans(places, now_ms(), now_ms() + ADOPTION_MS).await;
    let broken = trial.fault(format!("{verb} of {words}"));
    if how == Exit::Killed {
        // One after the other, a few milliseconds apart.
        places.iter().for_each(|place| trial.lab.servers[*place].kill());
    } else {
        futures::future::join_all(places.iter().map(|place| trial.end(&trial.lab.servers[*place], how)))
            .await;
    }
    trial.lasts(trial.seconds(quick, full)).await;
    for place in places {
        trial.lab.revive(&trial.lab.servers[*place]);
    }
    trial.healed(broken);
}

async fn random_kills(trial: &mut Trial<'_>) {
    let kills = if trial.pace.quick { 2 } else { 6 };
    for _ in 0..kills {
        let place = trial.pick(3, 1)[0];
        let server = &trial.lab.servers[place];
        let broken = trial.fault(format!("kill -9 of {}", server.name));
        trial.excuse_orphans(&[place], now_ms(), now_ms() + ADOPTION_MS).await;
        server.kill();
        trial.lasts(4.0).await;
        trial.lab.revive(server);
        trial.healed(broken);
        trial.lasts(6.0).await;
    }
}

async fn all_end(trial: &mut Trial<'_>, quick: f64, full: f64) {
    let broken = trial.fault("kill -9 of all servers");
    let from = now_ms();
    trial.lab.servers.iter().for_each(|server| server.kill());
    trial.lasts(trial.seconds(quick, full)).await;
    trial.lab.servers.iter().for_each(|server| trial.lab.revive(server));
    trial.excuse(
        from,
        now_ms() + COLD_START_MS,
        None,
        "no server lives: what is not armed waits and is late by policy",
    );
    trial.healed(broken);
}

async fn owner_stands_still(trial: &mut Trial<'_>, quick: f64, full: f64) {
    let server = &trial.lab.servers[trial.owner().await];
    let seconds = trial.seconds(quick, full);
    let broken = trial.fault(format!("SIGSTOP of {} for {seconds} s", server.name));
    trial.stands_still(server, seconds).await;
    trial.healed(broken);
}

async fn two_stand_still(trial: &mut Trial<'_>) {
    let holders = trial.holders(&trial.load.groups[0].id).await;
    let (first, second) = (&trial.lab.servers[holders[0]], &trial.lab.servers[holders[1]]);
    let broken = trial.fault(format!("SIGSTOP of {} and {}", first.name, second.name));
    trial.excuse_orphans(&holders[..2], now_ms(), now_ms() + ADOPTION_MS).await;
    let later = async {
        trial.lasts(1.0).await;
        trial.stands_still(second, 5.0).await;
    };
    tokio::join!(trial.stands_still(first, 5.0), later);
    trial.healed(broken);
}

async fn rolling_restart(trial: &mut Trial<'_>) {
    for place in trial.pick(3, 3) {
        let server = &trial.lab.servers[place];
        let broken = trial.fault(format!("SIGTERM and start of {}", server.name));
        trial.end(server, Exit::Asked).await;
        trial.lab.revive(server);
        trial.healed(broken);
        trial.lasts(trial.seconds(6.0, 12.0)).await;
    }
}
