//! A holder that does not own the shard: a copy of the owner's committed plan, from which it arms what the owner may not have armed, and a
//! watch over the owner's planning. What a standby arms is committed, and a worker that has an Arm already answers a second one with its
//! state. All that it writes is a worker's name into a row that has none yet, which any holder may: such a row leaves nobody.
//!
//! The copy is kept here; `arm` says when it is armed from, `watch` when the shard is taken over.

mod arm;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Effect, Engine, JobInForce, JobSnapshot, PlanNews, Report, ReportKind};
use crate::ids::{Epoch, Incarnation, JobId, JobVersion, JobsVersion, RunKey};
use crate::run::{Run, RunState};
use crate::time::{Span, Timestamp};
use watch::Watch;

/// What an observer may know about a standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandbyView {
    /// This holder's place, when it was told: 1 is the second holder.
    pub rank: Option<u8>,
    /// The highest epoch that it has heard of.
    pub epoch: Epoch,
    /// The epoch of its copy; none while it has none.
    pub copy_of: Option<Epoch>,
    /// Open runs in its copy.
    pub runs: usize,
    /// The owner's watermark as far as it was heard.
    pub planned_until: Option<Timestamp>,
}

/// What a standby knows.
#[derive(Default)]
pub(super) struct Standby {
    rank: Option<u8>,
    /// Whose plan the copy is.
    copy_of: Option<Epoch>,
    /// The job set as its owner knew it when it last told something.
    jobs_version: JobsVersion,
    jobs: BTreeMap<JobId, CopiedJob>,
    runs: BTreeMap<RunKey, Copied>,
    /// When to look at a run again, one entry a run at most.
    wakes: BTreeSet<(Timestamp, RunKey)>,
    /// The copied runs of each job, in the order they are due.
    by_job: BTreeMap<JobId, BTreeSet<(Timestamp, RunKey)>>,
    /// Edited jobs whose rows are being read: nothing of theirs is armed before the answer.
    edited: BTreeMap<JobId, Reading>,
    /// After a stall nothing is armed before the owner is heard, or this instant.
    held_until: Option<Timestamp>,
    /// When the owner spoke last.
    owner_heard_at: Option<Timestamp>,
    watch: Watch,
}

/// A job of the copy.
#[derive(Clone)]
struct CopiedJob {
    job: Arc<JobInForce>,
    /// The owner has told it so with all its open runs, and each change since; else it was read here, or is edited.
    told: bool,
}

impl CopiedJob {
    fn version(&self) -> JobVersion {
        self.job.job.version
    }
}

/// The rows of an edited job are being read.
#[derive(Default)]
struct Reading {
    /// It was edited again since.
    again: bool,
    /// The runs that an edit touched of which the owner has told nothing since. The answer says whether the owner has told of it before.
    in_doubt: Option<Vec<RunKey>>,
}

/// A run of the owner's plan.
struct Copied {
    run: Run,
    /// When it was told: a run that is due at once is the owner's for a while.
    told_at: Timestamp,
    wake_at: Option<Timestamp>,
    heard: Heard,
    /// Until when the answer is waited for that says whether it has a worker now.
    naming_until: Option<Timestamp>,
}

/// What its worker has said of the copied plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    Nothing,
    /// It has the Arm, or will never start the run: to arm it again says nothing new.
    Answered,
    /// The run is over for certain, whatever the owner's policy.
    Ended,
}

impl Heard {
    /// What follows from a report of `run`'s attempt under the job's policies. In doubt the run is the owner's to end.
    fn from(kind: &ReportKind, run: &Run, job: Option<&JobInForce>) -> Self {
        let retry = job.map(|job| job.job.spec.retry);
        let attempts_left = retry.is_none_or(|retry| run.attempt.get() < retry.max_attempts);
        let retried = match kind {
            ReportKind::Succeeded { .. } | ReportKind::Skipped { .. } => false,
            ReportKind::Failed { fatal, .. } => {
                !fatal && attempts_left && retry.is_none_or(|retry| retry.on.failure)
            }
            // What was cancelled may have been so for taking too long.
            ReportKind::TimedOut { .. } | ReportKind::Cancelled { .. } => {
                attempts_left && retry.is_none_or(|retry| retry.on.timeout)
            }
            ReportKind::Armed
            | ReportKind::Queued
            | ReportKind::Refused(..)
            | ReportKind::Disarmed
            | ReportKind::Started => return Self::Answered,
        };
        if retried { Self::Answered } else { Self::Ended }
    }
}

impl Engine {
    pub(super) fn ranked(&mut self, now: Timestamp, rank: u8) {
        if self.standby.rank.replace(rank) != Some(rank) {
            self.standby.look_at_all(now);
        }
    }

    pub(super) fn news(&mut self, now: Timestamp, news: PlanNews) {
        if let Some(owned) = &self.owned {
            if news.epoch > owned.epoch {
                // Another server owns the shard: see whether it is so.
                self.reload();
            }
            return;
        }
        self.standby.hear_owner(now, news.epoch);
        let (epoch, taken_back) = (news.epoch, news.taken_back.clone());
        self.standby.take(now, news, &self.config);
        if self.standby.copy_of == Some(epoch) {
            // The owner may not live to tell what came of the edit.
            let told = |job: &JobId| self.standby.jobs.get(job).is_some_and(|copied| copied.told);
            for job in taken_back.into_iter().filter(|job| !told(job)).collect::<Vec<_>>() {
                self.look_at_copied_job(job);
            }
        }
    }

    pub(super) fn watermark(&mut self, now: Timestamp, epoch: Epoch, planned_until: Timestamp) {
        match &self.owned {
            Some(owned) if epoch > owned.epoch => self.reload(),
            Some(_) => {}
            None => {
                self.standby.hear_owner(now, epoch);
                self.standby.watch.note_planned(now, epoch, planned_until);
            }
        }
    }

    /// Asks for the rows of an edited job: its owner may not live to tell of it.
    pub(super) fn look_at_copied_job(&mut self, job: JobId) {
        match self.standby.edited.get_mut(&job) {
            Some(reading) => reading.again = true,
            None => {
                self.standby.edited.insert(job, Reading::default());
                self.effects.push(Effect::ReadJob(job));
            }
        }
    }

    /// Asks for the rows of a job whose edit somebody else than its owner tells of.
    pub(super) fn doubt_copied_job(&mut self, job: JobId, touched: Vec<RunKey>) {
        self.look_at_copied_job(job);
        let reading = self.standby.edited.get_mut(&job).expect("its rows are being read");
        reading.in_doubt.get_or_insert_default().extend(touched);
    }

    /// Takes the rows of an edited job over into the copy.
    pub(super) fn copy_job(&mut self, now: Timestamp, read: JobSnapshot) {
        let job = read.job;
        let Some(Reading { again, in_doubt }) = self.standby.edited.remove(&job) else { return };
        let touched_again = in_doubt.clone().filter(|_| again);
        self.standby.take_job(now, read, in_doubt, &self.config);
        if let Some(touched) = touched_again {
            self.doubt_copied_job(job, touched);
        } else if again {
            self.look_at_copied_job(job);
        }
    }

    /// The open runs of the copy, for an observer; none for an owner.
    pub fn copied_runs(&self) -> impl Iterator<Item = &Run> {
        self.standby.runs.values().map(|copied| &copied.run)
    }

    /// What a standby does when time passes.
    pub(super) fn stand_by(&mut self, now: Timestamp) {
        if self.standby.held_until.is_some_and(|until| now < until) {
            return;
        }
        self.standby.held_until = None;
        self.arm_copied(now);
        self.watch_planning(now);
    }

    /// When a standby has something to do next.
    pub(super) fn next_standby_wake(&self) -> Option<Timestamp> {
        let standby = &self.standby;
        let run = standby.rank.and_then(|_| standby.wakes.first().map(|(at, _)| *at));
        let next = [run, self.next_watch()].into_iter().flatten().min()?;
        Some(standby.held_until.map_or(next, |held| next.max(held)))
    }
}

/// An owner that lives has spoken within this time (300 ms): three watermarks.
const SILENCE: Span = Span::from_millis(300);

impl Standby {
    /// Begins with what the server knew as the owner, and the edited jobs whose rows it has asked for.
    pub(super) fn begin_anew(
        &mut self,
        now: Timestamp,
        news: PlanNews,
        edited: Vec<JobId>,
        config: &super::EngineConfig,
    ) {
        self.edited = edited.into_iter().map(|job| (job, Reading::default())).collect();
        self.watch.note_epoch(now, news.epoch);
        self.watch.begin_anew();
        self.take(now, news, config);
    }

    /// The store may know of fewer changes of owner than this server, and of fewer edits than the owner has told of.
    pub(super) fn doubt_epoch(&mut self) {
        self.jobs_version = JobsVersion::default();
        self.watch.doubt_epoch();
    }

    /// Forgets the plan of others: the server owns the shard. Answers the edited jobs whose rows are being read.
    pub(super) fn forget_copy(&mut self) -> Vec<JobId> {
        self.copy_of = None;
        self.jobs.clear();
        self.forget_runs();
        std::mem::take(&mut self.edited).into_keys().collect()
    }

    fn forget_runs(&mut self) {
        self.runs.clear();
        self.wakes.clear();
        self.by_job.clear();
    }

    /// Takes over what an owner tells. What an owner says that was replaced is nothing to go by, nor what one that is behind says of a job
    /// whose later version was read here and that it has not told yet.
    fn take(&mut self, now: Timestamp, news: PlanNews, config: &super::EngineConfig) {
        if self.copy_of.is_some_and(|known| news.epoch < known) {
            return;
        }
        let read_later: BTreeMap<JobId, CopiedJob> = news
            .jobs
            .iter()
            .filter(|_| self.copy_of == Some(news.epoch))
            .filter_map(|told| {
                let known = self.jobs.get(&told.job.id)?;
                (!known.told && known.version() > told.job.version).then(|| (told.job.id, known.clone()))
            })
            .collect();
        let mut known = BTreeMap::new();
        if news.full {
            let void = |job: &&JobId| !read_later.contains_key(job);
            let void: Vec<JobId> = self.by_job.keys().filter(void).copied().collect();
            known = void.into_iter().flat_map(|job| self.remove_runs_of(job)).collect();
            self.jobs.clear();
        } else if self.copy_of != Some(news.epoch) {
            // A change of a plan that is not known: all of it is on its way.
            return;
        }
        self.copy_of = Some(news.epoch);
        self.jobs_version = news.jobs_version;
        for id in &news.gone_jobs {
            self.jobs.remove(id);
            self.remove_runs_of(*id);
        }
        for id in &news.taken_back {
            self.doubt_job(*id, &[]);
        }
        for job in news.jobs.into_iter().filter(|job| !read_later.contains_key(&job.job.id)) {
            if let Some(reading) = self.edited.get_mut(&job.job.id) {
                reading.in_doubt = None;
            }
            known.extend(self.remove_runs_of(job.job.id));
            self.jobs.insert(job.job.id, CopiedJob { job, told: true });
        }
        self.close(&news.closed);
        for run in news.opened.into_iter().filter(|run| !read_later.contains_key(&run.key.job)) {
            let before = known.remove(&run.key).or_else(|| self.remove(run.key));
            self.insert(now, run, before, config);
        }
        self.jobs.extend(read_later);
    }

    /// Whether the owner has told what came of the edit.
    pub(super) fn knows_of(&self, edit: JobsVersion) -> bool {
        self.copy_of.is_some() && edit <= self.jobs_version
    }

    /// What was told of the job is outdated by an edit, and so are these runs of it.
    fn doubt_job(&mut self, job: JobId, touched: &[RunKey]) {
        if let Some(copied) = self.jobs.get_mut(&job) {
            copied.told = false;
        }
        self.close(touched);
    }

    /// Takes over the committed rows of an edited job, which anybody may arm. Where the owner has told of a later plan, that one stays.
    fn take_job(
        &mut self,
        now: Timestamp,
        read: JobSnapshot,
        in_doubt: Option<Vec<RunKey>>,
        config: &super::EngineConfig,
    ) {
        let in_force = read.in_force.and_then(|job| JobInForce::compile(job).ok());
        let rows = if in_force.is_some() { read.open_runs } else { Vec::new() };
        let version = in_force.as_ref().map(|job| job.job.version);
        let known = self.jobs.get(&read.job);
        // The owner tells of an end before it stands in the store: what it has told of the very version is kept up by it, and a row that it
        // has closed since would never be closed again.
        let kept_up = self.copy_of == Some(read.epoch)
            && known.is_some_and(|known| known.told && version == Some(known.version()));
        let is_earlier = known.zip(version).is_some_and(|(known, version)| version < known.version());
        if let Some(touched) = in_doubt.filter(|_| !kept_up) {
            self.doubt_job(read.job, &touched);
        }
        // All of the plan of another owner is on its way; or its owner has told of a version that was not in force yet when this was read.
        if self.copy_of != Some(read.epoch) || is_earlier {
            return;
        }
        match in_force {
            _ if kept_up => {}
            Some(job) => _ = self.jobs.insert(read.job, CopiedJob { job: Arc::new(job), told: false }),
            None => _ = self.jobs.remove(&read.job),
        }
        let mut copied = self.remove_runs_of(read.job);
        let plan = |run: &Run| (run.attempt, run.plan_no);
        for run in rows {
            let before = copied.remove(&run.key);
            let run = match &before {
                Some(before) if plan(&before.run) > plan(&run) => before.run.clone(),
                None if kept_up => continue,
                _ => run,
            };
            self.insert(now, run, before, config);
        }
        if kept_up {
            for before in copied.into_values() {
                self.insert(now, before.run.clone(), Some(before), config);
            }
        }
    }

    /// The runs of the job, which are in the copy no longer.
    fn remove_runs_of(&mut self, job: JobId) -> BTreeMap<RunKey, Copied> {
        let keys = self.by_job.get(&job).into_iter().flatten().map(|(_, key)| *key);
        let keys: Vec<RunKey> = keys.collect();
        keys.into_iter().filter_map(|key| Some((key, self.remove(key)?))).collect()
    }

    fn insert(&mut self, now: Timestamp, run: Run, before: Option<Copied>, config: &super::EngineConfig) {
        let same = |before: &Copied| {
            (before.run.attempt, before.run.plan_no, before.run.worker)
                == (run.attempt, run.plan_no, run.worker)
        };
        let before = before.filter(same);
        let told_at = before.as_ref().map_or(now, |before| before.told_at);
        let mut heard = before.map_or(Heard::Nothing, |before| before.heard);
        if run.state == RunState::Running {
            heard = heard.max(Heard::Answered);
        }
        let key = run.key;
        self.by_job.entry(key.job).or_default().insert((run.due_at, key));
        self.runs.insert(key, Copied { run, told_at, wake_at: None, heard, naming_until: None });
        let arm_at = self.arm_at(key, config);
        self.wake(key, arm_at);
    }

    fn remove(&mut self, key: RunKey) -> Option<Copied> {
        self.wake(key, None);
        let copied = self.runs.remove(&key)?;
        if let Some(siblings) = self.by_job.get_mut(&key.job) {
            siblings.remove(&(copied.run.due_at, key));
            if siblings.is_empty() {
                self.by_job.remove(&key.job);
            }
        }
        Some(copied)
    }

    /// Drops runs that nobody is to arm any longer.
    fn close(&mut self, keys: &[RunKey]) {
        for key in keys {
            self.remove(*key);
        }
    }

    /// Takes note of what a worker says to all holders.
    pub(super) fn heard(&mut self, from: Incarnation, report: &Report) {
        let Some(copied) = self.runs.get_mut(&report.key) else { return };
        let of_this_plan = copied.run.worker == Some(from) && report.plan_no >= copied.run.plan_no;
        // An attempt starts once: where it began under the plan before an edit, it will not under the one after it.
        if copied.run.attempt == report.attempt && (of_this_plan || report.kind.has_begun()) {
            let job = self.jobs.get(&report.key.job).map(|copied| &*copied.job);
            copied.heard = copied.heard.max(Heard::from(&report.kind, &copied.run, job));
            self.wake(report.key, None);
        }
    }

    /// After a stall: what is known is old, so the owner is heard first if it speaks soon.
    pub(super) fn hold(&mut self, now: Timestamp, patience: Span) {
        self.held_until = Some(now.saturating_add(patience.min(SILENCE)));
    }

    /// Somebody who may be the owner speaks; one that is known to be replaced says nothing of the owner.
    fn hear_owner(&mut self, now: Timestamp, epoch: Epoch) {
        self.held_until = None;
        self.watch.note_epoch(now, epoch);
        if epoch == self.watch.epoch() {
            self.owner_heard_at = Some(now);
        }
    }

    /// Sets when to look at a run again.
    fn wake(&mut self, key: RunKey, at: Option<Timestamp>) {
        let Some(copied) = self.runs.get_mut(&key) else { return };
        if let Some(before) = copied.wake_at {
            self.wakes.remove(&(before, key));
        }
        copied.wake_at = at;
        if let Some(at) = at {
            self.wakes.insert((at, key));
        }
    }

    fn look_at_all(&mut self, now: Timestamp) {
        let keys: Vec<RunKey> = self.runs.keys().copied().collect();
        for key in keys {
            self.wake(key, Some(now));
        }
    }

    pub(super) fn view(&self) -> StandbyView {
        StandbyView {
            rank: self.rank,
            epoch: self.watch.epoch(),
            copy_of: self.copy_of,
            runs: self.runs.len(),
            planned_until: self.watch.planned_until(),
        }
    }
}
