//! Hours in minutes: one random fault after the other, judged as a whole.

use std::time::{Duration, Instant};

use futures::FutureExt;

use super::{Case, all};
use crate::trial::Trial;

pub(super) const CASES: &[Case] = &[Case {
    name: "F29",
    title: "a soak of SOAK_MINUTES (default 30) with random faults of the table: 99.99 % of the fires start within 1 s",
    quick: false,
    run: |trial| soak(trial).boxed_local(),
}];

/// The share of fires that may start late, over all faults: the availability that is promised.
const TOLERATED: f64 = 0.000_1;

/// What the last of its faults, and gathering, may take beyond its length.
pub(super) const SLACK: Duration = Duration::from_secs(180);

/// How long it goes on.
pub(super) fn length() -> Duration {
    let minutes = std::env::var("SOAK_MINUTES").ok().and_then(|text| text.parse::<f64>().ok());
    Duration::from_secs_f64(minutes.unwrap_or(30.0).max(0.0) * 60.0)
}

async fn soak(trial: &mut Trial<'_>) {
    trial.tolerate(TOLERATED);
    trial.pace.quick = true;
    let cases: Vec<&Case> = all()
        .into_iter()
        .filter(|case| case.name != "F29" && !case.name.ends_with("-60s"))
        .filter(|case| super::instant_of(case.name).is_none())
        .collect();
    let until = Instant::now() + length();
    while Instant::now() < until {
        let case = cases[trial.random_place(cases.len())];
        tracing::info!(case = case.name, "next");
        (case.run)(trial).await;
        trial.lab.ground.network.heal_all();
        trial.is_normal().await;
        // The next fault finds every holder with its plan and its streams again.
        trial.lasts(5.0).await;
    }
}
