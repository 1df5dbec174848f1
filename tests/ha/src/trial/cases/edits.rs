//! Jobs are changed at the moments that are hardest for the plan.

use futures::FutureExt;

use super::Case;
use crate::trial::load::edits::Change;
use crate::trial::{Trial, now_ms};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "F25",
        title: "edit, pause, resume, delete around the instants of arming and of firing",
        quick: true,
        run: |trial| edits(trial, false).boxed_local(),
    },
    Case {
        name: "F25-killed",
        title: "the same, the owner killed at the moment of an edit",
        quick: false,
        run: |trial| edits(trial, true).boxed_local(),
    },
];

/// Around which instants before a fire, in milliseconds, something happens to its run: planned, armed by the owner, by the second, by the third,
/// and started.
const INSTANTS_MS: [i64; 6] = [31_000, 1_500, 900, 600, 100, 0];

async fn edits(trial: &mut Trial<'_>, kill: bool) {
    let rounds = if trial.pace.quick { 6 } else { 14 };
    let jobs = &trial.load.edited;
    jobs.iter().for_each(|job| job.reserve(true));
    let broken = trial.fault(format!(
        "{rounds} edits around the instants of arming{}",
        if kill { ", the owner killed at one" } else { "" }
    ));
    let fatal = rounds / 2;
    for round in 0..rounds {
        let job = &jobs[trial.random_place(jobs.len())];
        let before = INSTANTS_MS[trial.random_place(INSTANTS_MS.len())] + trial.millis(-150..150);
        let change = match (job.next_fire(now_ms()), trial.random_place(4)) {
            (None, _) => Change::Resume,
            (_, 0) => Change::Pause,
            (_, 1) => Change::Shift(trial.millis(1..2_000)),
            (_, 2) => Change::Replace,
            _ => Change::Params,
        };
        // Fires come every two seconds, so there is one that lies as far ahead as is wanted.
        if let Some(fire) = job.next_fire(now_ms() + before.max(0) + 50) {
            trial.lasts(((fire - before - now_ms()).max(0)) as f64 / 1_000.0).await;
        }
        if kill && round == fatal {
            let owner = &trial.lab.servers[trial.owner().await];
            let killing = async { owner.kill() };
            tokio::join!(job.apply(change), killing);
            trial.lasts(3.0).await;
            trial.lab.revive(owner);
        } else {
            job.apply(change).await;
        }
    }
    jobs.iter().for_each(|job| job.reserve(false));
    trial.healed(broken);
}
