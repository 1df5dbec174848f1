//! Midnight and the changes of daylight saving time pass: the whole world of these cases, the harness included, lives on another day.

use futures::FutureExt;

use super::Case;
use crate::checker::record::Periodic;
use crate::trial::{Trial, now_ms};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "F20-midnight",
        title: "midnight UTC passes, and with it a day of the run table",
        quick: false,
        run: |trial| midnight(trial).boxed_local(),
    },
    Case {
        name: "F20-spring",
        title: "daylight saving time begins in a job's zone: 02:00 to 03:00 do not exist",
        quick: false,
        run: |trial| spring(trial).boxed_local(),
    },
    Case {
        name: "F20-autumn",
        title: "daylight saving time ends in a job's zone: 02:00 to 03:00 come twice",
        quick: false,
        run: |trial| autumn(trial).boxed_local(),
    },
];

const DAY_MS: i64 = 86_400_000;

/// A year: what is due once in a trial is due once in it.
const ONCE_MS: i64 = 365 * DAY_MS;

const ZONE: &str = "Europe/Berlin";

/// 2027-03-28T01:00:00Z and 2027-10-31T01:00:00Z, when daylight saving time begins and ends in that zone.
const SPRING_MS: i64 = 1_806_195_600_000;
const AUTUMN_MS: i64 = 1_824_944_400_000;

pub(super) fn instant_of(name: &str) -> Option<i64> {
    match name {
        "F20-midnight" => Some((SPRING_MS / DAY_MS - 20) * DAY_MS),
        "F20-spring" => Some(SPRING_MS),
        "F20-autumn" => Some(AUTUMN_MS),
        _ => None,
    }
}

fn once(at_ms: i64) -> Option<Periodic> {
    Some(Periodic { period_ms: ONCE_MS, offset_ms: at_ms.rem_euclid(ONCE_MS) })
}

const EVERY_TWO_SECONDS: (&str, &str, Option<Periodic>) =
    ("every-two-seconds", "0/2 * * * * ?", Some(Periodic { period_ms: 2_000, offset_ms: 0 }));

async fn midnight(trial: &mut Trial<'_>) {
    let at = instant_of("F20-midnight").expect("it has one");
    let jobs = [EVERY_TWO_SECONDS, ("at-midnight", "0 0 0 * * ?", once(at))];
    passes(trial, at, "UTC", &jobs).await;
}

async fn spring(trial: &mut Trial<'_>) {
    // What would be at a time that does not exist is at the first instant after it.
    let jobs = [
        EVERY_TWO_SECONDS,
        ("in-the-gap", "0 30 2 * * ?", once(SPRING_MS)),
        ("after-the-gap", "0 0 3 * * ?", once(SPRING_MS)),
        ("before-the-gap", "58 59 1 * * ?", once(SPRING_MS - 2_000)),
    ];
    passes(trial, SPRING_MS, ZONE, &jobs).await;
}

async fn autumn(trial: &mut Trial<'_>) {
    // What comes twice is meant the first time, which for 02:00:01 was an hour ago; intervals go on through both.
    let jobs = [
        EVERY_TWO_SECONDS,
        ("the-second-time", "1 0 2 * * ?", None),
        ("at-the-end-of-the-first", "59 59 2 * * ?", once(AUTUMN_MS - 1_000)),
    ];
    passes(trial, AUTUMN_MS, ZONE, &jobs).await;
}

/// Waits until the instant has passed under jobs that have to fire so.
async fn passes(trial: &mut Trial<'_>, at_ms: i64, zone: &str, jobs: &[(&str, &str, Option<Periodic>)]) {
    for (name, expression, fires) in jobs {
        if let Err(why) = trial.load.create_by_cron(&trial.lab.api(), name, expression, zone, *fires).await {
            trial.broken(why);
        }
    }
    let ahead = at_ms - 5_000 - now_ms();
    if ahead < 0 {
        return trial.broken("the installation was not there in time");
    }
    trial.lasts(ahead as f64 / 1_000.0).await;
    let broken = trial.fault(format!(
        "the instant {} passes",
        jiff::Timestamp::from_millisecond(at_ms).expect("a time of this century")
    ));
    trial.lasts((at_ms + 5_000 - now_ms()) as f64 / 1_000.0).await;
    trial.healed(broken);
}
