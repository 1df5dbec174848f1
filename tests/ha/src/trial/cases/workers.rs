//! Workers end, stand still and leave; parallel runs outlive it.

use std::time::Duration;

use futures::FutureExt;
use serde_json::json;

use super::Case;
use crate::api::is_final;
use crate::trial::{Exit, Trial, now_ms};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "F23-killed",
        title: "kill -9 of a worker that has runs armed and running",
        quick: true,
        run: |trial| killed(trial).boxed_local(),
    },
    Case {
        name: "F23-stopped",
        title: "a worker stopped over the fire times of its runs",
        quick: false,
        run: |trial| stopped(trial).boxed_local(),
    },
    Case {
        name: "F23-drains",
        title: "a worker drains on SIGTERM: its armed runs go to others",
        quick: false,
        run: |trial| drains(trial, 1).boxed_local(),
    },
    Case {
        name: "F24",
        title: "rolling restart of all workers of a group",
        quick: false,
        run: |trial| drains(trial, 3).boxed_local(),
    },
    Case {
        name: "F28-worker",
        title: "a worker killed during a parallel run",
        quick: false,
        run: |trial| parallel(trial, Gone::Worker).boxed_local(),
    },
    Case {
        name: "F28-server",
        title: "the owner killed during a parallel run",
        quick: true,
        run: |trial| parallel(trial, Gone::Owner).boxed_local(),
    },
    Case {
        name: "F28-hand-over",
        title: "the owner asked to end during a parallel run",
        quick: false,
        run: |trial| parallel(trial, Gone::Asked).boxed_local(),
    },
    Case {
        name: "F28-same-id",
        title: "a second server with the id of a running one: it is refused",
        quick: false,
        run: |trial| same_id(trial).boxed_local(),
    },
];

/// How long after the loss of a worker its runs may be affected: found lost after 5 s, planned anew.
const LOST_MS: i64 = 8_000;

async fn killed(trial: &mut Trial<'_>) {
    let worker = &trial.load.workers_of_first()[trial.random_place(3)];
    let (broken, from) = (trial.fault(format!("kill -9 of {}", worker.name)), now_ms());
    worker.kill();
    trial.lasts(trial.seconds(3.0, 8.0)).await;
    trial.lab.revive(worker);
    trial.healed(broken);
    trial.excuse_worker(&worker.name, from - 2_000, from + LOST_MS);
}

async fn stopped(trial: &mut Trial<'_>) {
    let worker = &trial.load.workers_of_first()[trial.random_place(3)];
    let seconds = if trial.coin() { 3.0 } else { 12.0 };
    let (broken, from) = (trial.fault(format!("SIGSTOP of {} for {seconds} s", worker.name)), now_ms());
    trial.stands_still(worker, seconds).await;
    trial.healed(broken);
    trial.excuse_worker(&worker.name, from, now_ms() + 2_000);
}

async fn drains(trial: &mut Trial<'_>, count: usize) {
    for place in trial.pick(3, count) {
        let worker = &trial.load.workers_of_first()[place];
        let broken = trial.fault(format!("SIGTERM and start of {}", worker.name));
        trial.end(worker, Exit::Asked).await;
        trial.lab.revive(worker);
        trial.healed(broken);
        trial.lasts(trial.seconds(3.0, 6.0)).await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    Worker,
    Owner,
    Asked,
}

/// Subtasks of the parallel run: more than a checkpoint's 500, and long enough to be in the middle when the fault comes.
const SUBTASKS: u64 = 600;

async fn parallel(trial: &mut Trial<'_>, gone: Gone) {
    let body = json!({"params": {"subtasks": SUBTASKS, "sleep_ms": 250}});
    let path = format!("/jobs/{}/runs", trial.load.parallel);
    let started = trial.lab.api().try_send(reqwest::Method::POST, &path, Some(&body), &[]).await;
    let Some(run) = started.ok().and_then(|answer| answer.body["id"].as_str().map(str::to_owned)) else {
        return trial.broken("the parallel run was not taken");
    };
    trial.lasts(1.5).await;
    let owner = &trial.lab.servers[trial.owner().await];
    let worker = &trial.load.workers_of_first()[trial.random_place(3)];
    let (member, verb) = match gone {
        Gone::Worker => (worker, "kill -9"),
        Gone::Owner => (owner, "kill -9"),
        Gone::Asked => (owner, "SIGTERM"),
    };
    let (broken, from) =
        (trial.fault(format!("{verb} of {} during the parallel run {run}", member.name)), now_ms());
    trial.end(member, if gone == Gone::Asked { Exit::Asked } else { Exit::Killed }).await;
    trial.lasts(trial.seconds(7.0, 9.0)).await;
    trial.lab.revive(member);
    trial.healed(broken);
    if gone == Gone::Worker {
        trial.excuse_worker(&worker.name, from - 2_000, from + LOST_MS);
    }
    let until = now_ms() + 60_000;
    loop {
        let seen = trial.lab.api().try_run(&run).await;
        match seen {
            Ok(seen) if is_final(seen.state()) => {
                let sum = SUBTASKS * (SUBTASKS - 1) / 2;
                // The worker that split may have been the one that was killed in doing so: then another attempt splits again.
                if seen.state() != "succeeded" || seen.body["result"] != sum {
                    trial.broken(format!(
                        "the parallel run {run} is {} ({}) with {}",
                        seen.state(),
                        seen.reason(),
                        seen.body["result"]
                    ));
                }
                return;
            }
            _ if now_ms() > until => {
                return trial.broken(format!("the parallel run {run} does not end: {seen:?}"));
            }
            _ => trial.lasts(0.2).await,
        }
    }
}

async fn same_id(trial: &mut Trial<'_>) {
    let (lab, first) = (trial.lab, &trial.lab.servers[0]);
    let broken = trial.fault(format!("a second server says that it is {}", first.name));
    let mut second = lab.impostor(0, 1);
    // Longer than a server waits for its own predecessor's session to end.
    let refused = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            if let Some(status) = second.has_ended() {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    match refused.await {
        Ok(status) if !status.success() => {}
        Ok(status) => trial.broken(format!("the second server ended with {status}, as if all were well")),
        Err(_) => trial.broken("the second server was not refused within 30 s"),
    }
    if !first.runs() {
        trial.broken("the first server ended");
    }
    trial.healed(broken);
}
