//! A job that is edited all the time, and what is known of its versions.
//!
//! Each version carries a number in its params, its mark, so that a handler's line tells which version was started. Every request names the
//! revision it was made from, so that one whose answer was lost either took effect before the next one or never does.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex as TurnMutex;

use super::schedule_of;
use crate::api::{Answer, Api, millis};
use crate::checker::record::{JobHistory, LostCommits, Periodic, Version};
use crate::trial::now_ms;

/// A change of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Other params.
    Params,
    /// Other times, by so many milliseconds later in each period.
    Shift(i64),
    /// It fires no more.
    Pause,
    /// It fires again.
    Resume,
    /// It is deleted, and a new one of the same name is created.
    Replace,
}

/// The job. Clones share it.
#[derive(Debug, Clone)]
pub struct Edited {
    api: Api,
    /// One change at a time.
    turn: Arc<TurnMutex<()>>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug)]
struct Known {
    /// Those before it under the same name, and it.
    jobs: Vec<JobHistory>,
    etag: String,
    /// Where its fires lie, also while it is paused.
    schedule: Periodic,
    /// The newest mark given to anybody.
    mark: u64,
    /// A change whose answer was lost.
    lost: Option<Version>,
    /// Changes whose answers were lost and that were not in force when that was looked up; they may have been on their way still.
    ghosts: Vec<Version>,
    /// The newest job was deleted already, by a request whose answer was lost.
    deleted: bool,
    busy: bool,
}

impl Edited {
    pub(super) fn new(api: Api, job: JobHistory, etag: String) -> Self {
        let schedule = job.versions[0].schedule.expect("it was created with one");
        let known = Known {
            jobs: vec![job],
            etag,
            schedule,
            mark: 0,
            lost: None,
            ghosts: Vec::new(),
            deleted: false,
            busy: false,
        };
        Self { api, turn: Arc::default(), known: Arc::new(Mutex::new(known)) }
    }

    /// Its number.
    pub fn job(&self) -> u32 {
        self.known().current().job
    }

    /// Its next fire time at or after an instant, if it fires.
    pub fn next_fire(&self, after_ms: i64) -> Option<i64> {
        let schedule = self.known().newest().schedule?;
        schedule.between(after_ms, after_ms + schedule.period_ms).next()
    }

    pub(super) fn histories(&self) -> Vec<JobHistory> {
        let known = self.known();
        let mut jobs = known.jobs.clone();
        if let Some(lost) = &known.lost {
            // It may take effect at any time after it was sent, and perhaps it never does.
            let mut version = lost.clone();
            version.effective_ms = (version.sent_ms, i64::MAX);
            jobs.last_mut().expect("there is always one").versions.push(version);
        }
        jobs
    }

    /// Keeps the job from being edited by anybody else while a case edits it itself.
    pub fn reserve(&self, busy: bool) {
        self.known().busy = busy;
    }

    /// Edits it at random each `every` seconds, forever.
    pub(super) async fn goes_on(self, seed: u64, first: u64, every: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        tokio::time::sleep(Duration::from_secs(first)).await;
        let mut pause = tokio::time::interval(Duration::from_secs(every));
        pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pause.tick().await;
            let paused = self.known().newest().schedule.is_none();
            let change = match random.random_range(0..100) {
                0..8 => Change::Replace,
                _ if paused => Change::Resume,
                8..45 => Change::Params,
                45..75 => Change::Shift(random.random_range(1..2_000)),
                _ => Change::Pause,
            };
            if !self.known().busy {
                self.apply(change).await;
            }
        }
    }

    /// Makes a change and remembers what is known of it. True if it was acknowledged.
    pub async fn apply(&self, change: Change) -> bool {
        let _turn = self.turn.lock().await;
        if !self.finds_what_was_lost().await {
            return false;
        }
        if change == Change::Replace {
            return self.replace().await;
        }
        let (job, etag, version, schedule, patch) = {
            let mut known = self.known();
            known.mark += 1;
            let mut schedule = known.schedule;
            if let Change::Shift(by_ms) = change {
                schedule.offset_ms = (schedule.offset_ms + by_ms) % schedule.period_ms;
            }
            let fires = match change {
                Change::Pause => false,
                Change::Resume => true,
                _ => known.newest().schedule.is_some(),
            };
            let version = Version {
                mark: known.mark,
                schedule: fires.then_some(schedule),
                sent_ms: now_ms(),
                ..Version::default()
            };
            let patch =
                json!({"params": {"mark": known.mark}, "schedule": schedule_of(schedule), "enabled": fires});
            (known.current().job, known.etag.clone(), version, schedule, patch)
        };
        let path = format!("/jobs/{job}");
        let answer = self.api.try_send(Method::PATCH, &path, Some(&patch), &[("if-match", &etag)]).await;
        let mut known = self.known();
        match answer {
            Ok(answer) if answer.status == 200 => {
                known.schedule = schedule;
                known.takes(&answer, version, Some(now_ms()));
                true
            }
            // Also a refusal: a proxy that repeats a request whose first answer was lost gets one for what was done.
            _ => {
                known.schedule = schedule;
                known.lost = Some(version);
                false
            }
        }
    }

    /// Reads what became of a change whose answer was lost. False if nobody says.
    async fn finds_what_was_lost(&self) -> bool {
        let (job, lost) = {
            let known = self.known();
            (known.current().job, known.lost.clone())
        };
        let Some(lost) = lost else { return true };
        let Ok(answer) = self.api.try_send(Method::GET, &format!("/jobs/{job}"), None, &[]).await else {
            return false;
        };
        let mut known = self.known();
        match answer.status {
            200 => {
                known.lost = None;
                known.ghosts.push(lost);
                let mark = &answer.body["params"]["mark"];
                if let Some(place) = known.ghosts.iter().position(|ghost| *mark == ghost.mark) {
                    let found = known.ghosts.swap_remove(place);
                    known.schedule = found.schedule.unwrap_or(known.schedule);
                    known.takes(&answer, found, None);
                } else {
                    // What it was made from may have been outdated, so the times are those in force.
                    known.etag = answer.etag.unwrap_or_default();
                    if let Some(schedule) = known.newest().schedule {
                        known.schedule = schedule;
                    }
                }
                true
            }
            404 => {
                // A deletion whose answer was lost: this one, or an earlier one that was not seen to be done when it was looked up.
                let earlier = known.ghosts.iter().rposition(|ghost| ghost.schedule.is_none());
                let found = match (lost.schedule, earlier) {
                    (None, _) => lost,
                    (Some(_), Some(place)) => known.ghosts.swap_remove(place),
                    (Some(_), None) => return false,
                };
                known.lost = None;
                known.deleted = true;
                let version = Version { effective_ms: (found.sent_ms, now_ms()), ..found };
                known.jobs.last_mut().expect("there is always one").versions.push(version);
                true
            }
            _ => false,
        }
    }

    /// Reads what is in force after a failover of the database that lost its last commits, and remembers which changes it took back. False if
    /// nobody says.
    pub async fn finds_what_was_taken_back(&self, lost: LostCommits) -> bool {
        let _turn = self.turn.lock().await;
        if !self.finds_what_was_lost().await {
            return false;
        }
        let job = self.known().current().job;
        let Ok(answer) = self.api.try_send(Method::GET, &format!("/jobs/{job}"), None, &[]).await else {
            return false;
        };
        if answer.status != 200 {
            return false;
        }
        let mark = answer.body["params"]["mark"].as_u64();
        let mut known = self.known();
        known.etag = answer.etag.unwrap_or_default();
        let versions = &mut known.jobs.last_mut().expect("there is always one").versions;
        let Some(place) = versions.iter().rposition(|version| Some(version.mark) == mark) else {
            return true;
        };
        if place + 1 == versions.len() {
            return true;
        }
        for version in &mut versions[place + 1..] {
            // Nothing says that an edit which no loss explains was lost: the checker shall see that it is not in force.
            if lost.may_hold(version.sent_ms, version.acknowledged_ms.unwrap_or(i64::MAX)) {
                version.lost_ms = Some(lost.killed_ms);
                version.effective_ms.1 = lost.back_ms;
            }
        }
        let again = Version {
            effective_ms: (lost.killed_ms, lost.back_ms),
            sent_ms: lost.killed_ms,
            acknowledged_ms: None,
            may_still_start: BTreeSet::new(),
            ..versions[place].clone()
        };
        let schedule = again.schedule;
        versions.push(again);
        known.schedule = schedule.unwrap_or(known.schedule);
        true
    }

    /// Deletes it and creates a new one.
    async fn replace(&self) -> bool {
        let (job, etag, group, schedule, mark) = {
            let mut known = self.known();
            known.mark += 1;
            (
                known.current().job,
                known.etag.clone(),
                known.current().group.clone(),
                known.schedule,
                known.mark,
            )
        };
        let deleted = self.known().deleted;
        if !deleted {
            let sent_ms = now_ms();
            let version = Version { mark, sent_ms, ..Version::default() };
            let answer = self
                .api
                .try_send(Method::DELETE, &format!("/jobs/{job}"), None, &[("if-match", &etag)])
                .await;
            let mut known = self.known();
            match answer {
                Ok(answer) if answer.status == 200 => {
                    let at = now_ms();
                    let version = Version {
                        effective_ms: (sent_ms, at),
                        acknowledged_ms: Some(at),
                        may_still_start: listed(&answer),
                        ..version
                    };
                    known.jobs.last_mut().expect("there is always one").versions.push(version);
                }
                _ => {
                    known.lost = Some(version);
                    return false;
                }
            }
        }
        let body = json!({
            "group": group,
            "name": format!("again-{job}"),
            "handler": "record",
            "params": {"mark": mark},
            "schedule": schedule_of(schedule),
            "overlap": {"policy": "parallel", "max": 10},
            "misfire": {"policy": "fire_all", "limit": 100},
        });
        // A name is taken once, so that the creation whose answer was lost is not repeated under another number.
        loop {
            let sent_ms = now_ms();
            match self.api.try_send(Method::POST, "/jobs", Some(&body), &[]).await {
                Ok(answer) if answer.status == 201 => {
                    let effective = millis(&answer.text("effective_from"));
                    let version = Version {
                        mark,
                        schedule: Some(schedule),
                        effective_ms: (effective, effective),
                        sent_ms,
                        acknowledged_ms: Some(now_ms()),
                        ..Version::default()
                    };
                    let history = JobHistory {
                        job: answer.number("id"),
                        group: group.clone(),
                        versions: vec![version],
                    };
                    let mut known = self.known();
                    known.etag = answer.etag.unwrap_or_default();
                    known.jobs.push(history);
                    known.deleted = false;
                    return true;
                }
                Ok(answer) if answer.status == 409 => {
                    if let Some((history, etag)) =
                        self.created_unseen(&group, &format!("again-{job}"), schedule, mark, sent_ms).await
                    {
                        let mut known = self.known();
                        known.etag = etag;
                        known.jobs.push(history);
                        known.deleted = false;
                        return true;
                    }
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The job that an earlier try created without our hearing of it.
    async fn created_unseen(
        &self,
        group: &str,
        name: &str,
        schedule: Periodic,
        mark: u64,
        sent_ms: i64,
    ) -> Option<(JobHistory, String)> {
        let jobs = self.api.try_items(&format!("/jobs?group={group}"), 200).await.ok()?;
        let found = jobs.iter().find(|job| job["name"] == name)?;
        let effective = millis(found["effective_from"].as_str()?);
        let version = Version {
            mark,
            schedule: Some(schedule),
            effective_ms: (effective, effective),
            sent_ms,
            ..Version::default()
        };
        let number = found["id"].as_u64().or_else(|| found["id"].as_str()?.parse().ok())?;
        let answer = self.api.try_send(Method::GET, &format!("/jobs/{number}"), None, &[]).await.ok()?;
        let job =
            JobHistory { job: u32::try_from(number).ok()?, group: group.to_owned(), versions: vec![version] };
        Some((job, answer.etag?))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn current(&self) -> &JobHistory {
        self.jobs.last().expect("there is always one")
    }

    fn newest(&self) -> &Version {
        self.current().versions.last().expect("a job has a version")
    }

    /// A change is in force as an answer shows it.
    fn takes(&mut self, answer: &Answer, version: Version, acknowledged_ms: Option<i64>) {
        let effective = millis(&answer.text("effective_from"));
        let may_still_start = listed(answer);
        self.etag = answer.etag.clone().unwrap_or_default();
        // One that was not answered may have waited long for its commit, and was in force only then.
        let latest = if acknowledged_ms.is_some() { effective } else { now_ms() };
        let version =
            Version { effective_ms: (effective, latest), acknowledged_ms, may_still_start, ..version };
        self.jobs.last_mut().expect("there is always one").versions.push(version);
    }
}

/// The runs that an answer lists as such that may still start.
fn listed(answer: &Answer) -> BTreeSet<String> {
    let list = answer.body["may_still_start"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|run: &Value| run["run_id"].as_str().map(str::to_owned)).collect()
}
