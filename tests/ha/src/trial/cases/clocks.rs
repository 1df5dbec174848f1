//! Clocks of servers and workers jump and drift; true time is the machine's, by which handlers write their lines.

use futures::FutureExt;

use super::Case;
use crate::trial::{Broken, Trial, now_ms};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "F19-owner",
        title: "the owner's clock jumps by up to 2 s, forwards or backwards, and back after a while",
        quick: false,
        run: |trial| one_jumps(trial, true).boxed_local(),
    },
    Case {
        name: "F19-other",
        title: "the clock of a server that is not the owner jumps",
        quick: false,
        run: |trial| one_jumps(trial, false).boxed_local(),
    },
    Case {
        name: "F19-drift",
        title: "the owner's clock runs 1 % too fast for 20 s",
        quick: false,
        run: |trial| drift(trial).boxed_local(),
    },
    Case {
        name: "F19-worker",
        title: "a worker's time of day jumps by up to an hour, forwards or backwards",
        quick: false,
        run: |trial| worker_jumps(trial).boxed_local(),
    },
    Case {
        name: "F19-worker-drift",
        title: "both clocks of a worker run 0.1 % too fast for 20 s",
        quick: false,
        run: |trial| worker_drifts(trial).boxed_local(),
    },
    Case {
        name: "F20",
        title: "the clocks of two servers of three jump by different amounts",
        quick: false,
        run: |trial| two_jump(trial).boxed_local(),
    },
];

/// How long workers may remember what a server's clock said: the window of their estimate, ten probes a second apart.
const REMEMBERED_SECONDS: f64 = 11.0;

async fn one_jumps(trial: &mut Trial<'_>, owner: bool) {
    let holders = trial.holders(&trial.load.groups[0].id).await;
    let server = &trial.lab.servers[if owner { holders[0] } else { holders[1] }];
    let sign = if trial.coin() { 1 } else { -1 };
    let by = sign * trial.millis(300..2_000);
    let (broken, from) = (trial.fault(format!("the clock of {} jumps by {by} ms", server.name)), now_ms());
    server.shift_clock(trial.lab.folder(), by);
    trial.lasts(trial.seconds(8.0, 15.0)).await;
    is_right_again(trial, broken, from, by).await;
}

async fn drift(trial: &mut Trial<'_>) {
    let server = &trial.lab.servers[trial.owner().await];
    let (broken, from) =
        (trial.fault(format!("the clock of {} gains 10 ms a second", server.name)), now_ms());
    for step in 1..=200 {
        server.shift_clock(trial.lab.folder(), step);
        trial.lasts(0.1).await;
    }
    is_right_again(trial, broken, from, 200).await;
}

async fn worker_jumps(trial: &mut Trial<'_>) {
    let worker = &trial.load.workers_of_first()[trial.random_place(3)];
    let sign = if trial.coin() { 1 } else { -1 };
    let by = sign * trial.millis(300..3_600_000);
    let broken = trial.fault(format!("the time of day of {} jumps by {by} ms", worker.name));
    worker.fate().shift_time_of_day(by);
    trial.lasts(trial.seconds(8.0, 15.0)).await;
    worker.fate().shift_time_of_day(0);
    trial.lasts(2.0).await;
    trial.healed(broken);
}

async fn worker_drifts(trial: &mut Trial<'_>) {
    let worker = &trial.load.workers_of_first()[trial.random_place(3)];
    let broken = trial.fault(format!("the clocks of {} gain 1 ms a second", worker.name));
    let steps = if trial.pace.quick { 800 } else { 2_000 };
    for step in 1..=steps {
        worker.fate().gain_monotonic(10);
        worker.fate().shift_time_of_day(step / 100);
        trial.lasts(0.01).await;
    }
    // A monotonic clock that gained stays where it is.
    worker.fate().shift_time_of_day(0);
    trial.healed(broken);
}

async fn two_jump(trial: &mut Trial<'_>) {
    let chosen = trial.pick(3, 2);
    let jumps = [trial.millis(300..900), -trial.millis(300..900)];
    let names: Vec<_> = chosen.iter().map(|place| trial.lab.servers[*place].name.as_str()).collect();
    let (broken, from) =
        (trial.fault(format!("the clocks of {} jump by {jumps:?} ms", names.join(" and "))), now_ms());
    for (place, by) in chosen.iter().zip(jumps) {
        trial.lab.servers[*place].shift_clock(trial.lab.folder(), by);
    }
    // One is ahead, one behind: the one that is right is the median of three.
    trial.lasts(trial.seconds(8.0, 15.0)).await;
    is_right_again(trial, broken, from, jumps[0].max(-jumps[1])).await;
}

/// Sets all clocks right that were wrong by at most so many milliseconds, and lets the workers forget the wrong ones and follow the right ones,
/// so that the next trial does not begin with two liars.
async fn is_right_again(trial: &Trial<'_>, broken: Broken, from: i64, by: i64) {
    trial.lab.servers.iter().for_each(|server| server.shift_clock(trial.lab.folder(), 0));
    // The middle of two clocks is wrong by half of what one is, and a worker follows by a tenth of the time that passes.
    let followed = by.unsigned_abs() as f64 / 2.0 * 10.0 / 1_000.0;
    trial.lasts(REMEMBERED_SECONDS + followed).await;
    trial.healed(broken);
    let why =
        "of the two servers of this group one is no majority: their workers take the middle of both clocks";
    trial.excuse(from, now_ms() + 1_000, Some(&trial.load.groups[1].id), why);
}
