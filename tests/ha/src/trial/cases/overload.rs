//! More than the usual load, and less processor than usual.

use futures::FutureExt;

use super::Case;
use crate::process::Signal;
use crate::trial::{Trial, now_ms};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "F27-burst",
        title: "five times as many runs on one second as usual",
        quick: false,
        run: |trial| burst(trial).boxed_local(),
    },
    Case {
        name: "F27-throttled",
        title: "every server gets half of its processor time: no takeover storm",
        quick: false,
        run: |trial| throttled(trial).boxed_local(),
    },
];

/// Runs on the one second: about five times what the usual load has on its busiest one.
const AT_ONCE: usize = 200;

async fn burst(trial: &mut Trial<'_>) {
    // Planned, armed and then due: all of it is part of the fault.
    let broken = trial.fault(format!("{AT_ONCE} more runs on one second"));
    let at = (now_ms() / 1_000 + 12) * 1_000;
    match trial.load.create_once_due(&trial.lab.api(), AT_ONCE, at).await {
        Ok(()) if now_ms() < at - 2_000 => {}
        Ok(()) => trial.broken("the jobs were not created in time"),
        Err(why) => trial.broken(why),
    }
    trial.lasts((at + 2_000 - now_ms()).max(0) as f64 / 1_000.0).await;
    trial.healed(broken);
}

async fn throttled(trial: &mut Trial<'_>) {
    let group = trial.load.groups[0].id.clone();
    let before = trial.takeovers();
    let broken = trial.fault("all servers stand still for 50 ms of every 100 ms");
    let until = now_ms() + if trial.pace.quick { 8_000 } else { 15_000 };
    while now_ms() < until {
        trial.lab.servers.iter().for_each(|server| server.signal(Signal::Stop));
        trial.lasts(0.05).await;
        trial.lab.servers.iter().for_each(|server| server.signal(Signal::Cont));
        trial.lasts(0.05).await;
    }
    trial.healed(broken);
    trial.holders(&group).await;
    let takeovers = trial.takeovers() - before;
    if takeovers > 2 {
        trial.broken(format!("{takeovers} takeovers in a few seconds are a storm"));
    }
}
