//! MySQL fails over to a replica that has not heard of the last commits.

use futures::FutureExt;

use super::Case;
use crate::checker::record::LostCommits;
use crate::trial::load::edits::Change;
use crate::trial::{Trial, now_ms};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "F15-whole",
        title: "MySQL killed; its replica, which has heard of every commit, takes its place",
        quick: false,
        run: |trial| fails_over(trial, false).boxed_local(),
    },
    Case {
        name: "F15-lossy",
        title: "MySQL killed; its replica, which has not heard of the last 0.5 to 2 s of commits, takes its place",
        quick: false,
        run: |trial| fails_over(trial, true).boxed_local(),
    },
];

/// Edits in the moments that are lost.
const EDITS: usize = 3;

/// How long consoles may take to find the new place of the database.
const RECONNECT_SECONDS: usize = 20;

async fn fails_over(trial: &mut Trial<'_>, lossy: bool) {
    let ground = trial.lab.ground;
    let (database, network) = (&ground.database, &ground.network);
    if let Err(why) = database.replicate(network) {
        return trial.broken(format!("the replica does not follow: {why}"));
    }
    // What is created or deleted in the lost moments would take its number along; changes do not.
    let jobs = &trial.load.edited;
    jobs.iter().for_each(|job| job.reserve(true));
    // An edit that was under way when they were reserved.
    trial.lasts(1.0).await;
    let window_ms = if lossy { trial.millis(500..2_000) } else { 0 };
    let chosen = trial.pick(jobs.len(), EDITS);
    let mut edits = Vec::new();
    for place in chosen {
        let change = match (jobs[place].next_fire(now_ms()), trial.random_place(3)) {
            (None, _) => Change::Resume,
            (_, 0) => Change::Pause,
            (_, 1) => Change::Shift(trial.millis(1..2_000)),
            _ => Change::Params,
        };
        let after = if lossy { trial.millis(0..window_ms) } else { trial.millis(-1_000..0).abs() };
        edits.push((place, change, after));
    }
    let (primary, replica) = database.pair();
    let broken = trial.fault(format!("{primary} killed {window_ms} ms after {replica} was cut from it"));
    let cut_ms = now_ms();
    if lossy {
        network.cut(primary, replica);
    }
    let editing = edits.iter().map(|(place, change, after)| async move {
        tokio::time::sleep(std::time::Duration::from_millis(after.unsigned_abs())).await;
        jobs[*place].apply(*change).await;
    });
    let killing = async {
        trial.lasts(window_ms as f64 / 1_000.0).await;
        database.kill();
        let killed_ms = now_ms();
        let replaced = database.fail_over(network);
        (killed_ms, now_ms(), replaced)
    };
    let (_, (killed_ms, back_ms, replaced)) = tokio::join!(futures::future::join_all(editing), killing);
    network.heal_all();
    if let Err(why) = replaced {
        return trial.broken(format!("the replica was not promoted: {why}"));
    }
    trial.healed(broken);
    // Without a cut, an asynchronous replica has at most not heard of what was committed in the last moment.
    let cut_ms = if lossy { cut_ms } else { killed_ms - 200 };
    let lost = LostCommits { cut_ms, killed_ms, back_ms };
    trial.lost_commits(lost);
    for job in jobs {
        let mut known = false;
        for _ in 0..RECONNECT_SECONDS * 5 {
            known = job.finds_what_was_taken_back(lost).await;
            if known {
                break;
            }
            trial.lasts(0.2).await;
        }
        if !known {
            trial.broken(format!("nobody says what is in force of job {}", job.job()));
        }
        job.reserve(false);
    }
    trial.lasts(trial.seconds(4.0, 35.0)).await;
}
