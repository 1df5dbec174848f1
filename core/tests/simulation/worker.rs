//! A worker as the protocol wants it (trigger-protocol: "Worker"), in small: the real one is the SDK's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use carillon_core::engine::{Arm, HandlerInfo, HeldRun, Refusal, Report, ReportKind, WorkerInfo};
use carillon_core::ids::{AttemptNo, Epoch, Incarnation, JobId, JobVersion, PlanNo, RunKey};
use carillon_core::job::Overlap;
use carillon_core::run::ReasonCode;
use carillon_core::time::{Span, Timestamp};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

type AttemptKey = (RunKey, AttemptNo);

/// What the world is told of a start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) key: RunKey,
    pub(crate) attempt: AttemptNo,
    pub(crate) version: JobVersion,
    pub(crate) due_at: Timestamp,
}

#[derive(Debug, Clone)]
enum State {
    Armed,
    /// Waits behind a run of its job.
    Queued,
    Running {
        started_at: Timestamp,
        ends_at: Timestamp,
        stop: bool,
    },
    /// Ended, refused or withdrawn: the report that says so.
    Over(ReportKind),
}

struct Entry {
    arm: Arm,
    state: State,
}

/// One incarnation of a worker process.
pub(crate) struct Worker {
    pub(crate) incarnation: Incarnation,
    pub(crate) name: String,
    entries: BTreeMap<AttemptKey, Entry>,
    /// Entries that time may change; those that are over leave at the next look.
    lively: BTreeSet<AttemptKey>,
    /// Withdrawn plans of runs that were never armed here.
    tombstones: BTreeMap<AttemptKey, PlanNo>,
    newest_version: BTreeMap<JobId, JobVersion>,
    running: BTreeMap<JobId, AttemptKey>,
    queues: BTreeMap<JobId, VecDeque<AttemptKey>>,
    /// Reports nobody has acknowledged.
    pub(crate) spool: Vec<Report>,
    next_seq: u64,
    rng: SmallRng,
    refuses: bool,
    /// When the world wakes it next.
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) leaving: bool,
    /// How far its clock is off, in milliseconds.
    pub(crate) offset: i64,
}

impl Worker {
    pub(crate) fn new(name: String, incarnation: Incarnation, refuses: bool) -> Self {
        Self {
            incarnation,
            name,
            entries: BTreeMap::new(),
            lively: BTreeSet::new(),
            tombstones: BTreeMap::new(),
            newest_version: BTreeMap::new(),
            running: BTreeMap::new(),
            queues: BTreeMap::new(),
            spool: Vec::new(),
            next_seq: 1,
            rng: SmallRng::seed_from_u64(incarnation.get()),
            refuses,
            wake_at: None,
            leaving: false,
            offset: 0,
        }
    }

    pub(crate) fn info(&self) -> WorkerInfo {
        WorkerInfo {
            incarnation: self.incarnation,
            name: self.name.clone(),
            room: "a".into(),
            labels: BTreeMap::new(),
            handlers: vec![HandlerInfo { name: "h".into(), parallel: false, reduce: false }],
            held: self.held(),
        }
    }

    /// What it has armed or started, and what has ended with it as long as nobody has acknowledged that: a run that is not listed here
    /// never starts at this worker, and never has.
    pub(crate) fn held(&self) -> Vec<HeldRun> {
        let untold = |id: &AttemptKey| {
            self.spool.iter().any(|report| (report.key, report.attempt) == *id && says_of_start(&report.kind))
        };
        self.listed(|id, state| !matches!(state, State::Over(_)) || untold(id))
    }

    /// What it has armed or started and not ended.
    pub(crate) fn at_work(&self) -> Vec<HeldRun> {
        self.listed(|_, state| !matches!(state, State::Over(_)))
    }

    fn lively(&self) -> impl Iterator<Item = (AttemptKey, &Entry)> {
        self.lively.iter().filter_map(|id| Some((*id, self.entries.get(id)?)))
    }

    fn listed(&self, which: impl Fn(&AttemptKey, &State) -> bool) -> Vec<HeldRun> {
        self.entries
            .iter()
            .filter(|(id, entry)| which(id, &entry.state))
            .map(|((key, attempt), entry)| HeldRun {
                key: *key,
                attempt: *attempt,
                plan_no: entry.arm.plan_no,
                started: !matches!(entry.state, State::Armed | State::Queued),
            })
            .collect()
    }

    /// Whether it has, had, or refused the attempt.
    pub(crate) fn knows(&self, key: RunKey, attempt: AttemptNo) -> bool {
        self.entries.contains_key(&(key, attempt))
    }

    /// The number of the last report.
    pub(crate) fn said(&self) -> u64 {
        self.next_seq - 1
    }

    /// Reports later than the one of that number.
    pub(crate) fn said_after(&self, seq: u64) -> Vec<Report> {
        let first = self.spool.partition_point(|report| report.seq <= seq);
        self.spool[first..].to_vec()
    }

    /// Takes an Arm; what is due starts in [`Self::pass_time`].
    pub(crate) fn arm(&mut self, now: Timestamp, arm: Arm) {
        let id = (arm.key, arm.attempt);
        self.learn_version(now, arm.key.job, arm.job_version);
        let buried = self.tombstones.get(&id).copied().unwrap_or_default();
        let newer = |entry: &Entry| arm.plan_no > entry.arm.plan_no && arm.plan_no > buried;
        // A later plan of a run that was refused or withdrawn is looked at anew.
        let over = |entry: &Entry| {
            matches!(entry.state, State::Over(ReportKind::Disarmed | ReportKind::Refused(..)))
        };
        if self.entries.get(&id).is_some_and(|entry| newer(entry) && over(entry)) {
            self.entries.remove(&id);
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            if newer(entry) && matches!(entry.state, State::Armed) {
                entry.arm = arm;
            } else if entry.arm.plan_no == arm.plan_no {
                entry.arm.epoch = entry.arm.epoch.max(arm.epoch);
            }
            let (kind, plan_no) = (self.present(id), self.entries[&id].arm.plan_no);
            return self.say(now, id, plan_no, kind);
        }
        if !self.entries.contains_key(&id) && arm.plan_no < buried {
            return self.say(now, id, buried, ReportKind::Disarmed);
        }
        let stale = arm.job_version < self.newest_version[&arm.key.job];
        let withdrawn = self.tombstones.get(&id).is_some_and(|plan_no| arm.plan_no <= *plan_no);
        let (plan_no, start_by) = (arm.plan_no, arm.start_by);
        let refusal = if arm.to != self.incarnation {
            Some(Refusal::WrongIncarnation)
        } else if stale {
            Some(Refusal::OldVersion)
        } else if self.leaving {
            Some(Refusal::Draining)
        } else if now > start_by {
            Some(Refusal::TooLate)
        } else if self.refuses && self.rng.random_bool(0.2) {
            Some(Refusal::Busy)
        } else {
            None
        };
        if refusal == Some(Refusal::OldVersion) {
            let kind = ReportKind::Refused(Refusal::OldVersion, String::new());
            return self.say(now, id, plan_no, kind);
        }
        let state = match (withdrawn, refusal) {
            (true, _) => State::Over(ReportKind::Disarmed),
            (false, Some(refusal)) => State::Over(ReportKind::Refused(refusal, "no".into())),
            (false, None) => State::Armed,
        };
        self.entries.insert(id, Entry { arm, state });
        self.lively.insert(id);
        let kind = self.present(id);
        self.say(now, id, plan_no, kind);
    }

    /// Withdraws what it has armed of older versions of the job.
    fn learn_version(&mut self, now: Timestamp, job: JobId, version: JobVersion) {
        let newest = self.newest_version.entry(job).or_default();
        if version <= *newest {
            return;
        }
        *newest = version;
        let older = |(id, entry): (AttemptKey, &Entry)| {
            let pending = matches!(entry.state, State::Armed | State::Queued);
            (pending && id.0.job == job && entry.arm.job_version < version).then_some(id)
        };
        let older: Vec<AttemptKey> =
            self.entries.iter().map(|(id, entry)| (*id, entry)).filter_map(older).collect();
        for id in older {
            self.withdraw(id);
            self.say(now, id, self.entries[&id].arm.plan_no, ReportKind::Disarmed);
        }
    }

    fn withdraw(&mut self, id: AttemptKey) {
        self.entries.get_mut(&id).expect("the caller looked it up").state = State::Over(ReportKind::Disarmed);
        for queue in self.queues.values_mut() {
            queue.retain(|queued| *queued != id);
        }
    }

    pub(crate) fn disarm(
        &mut self,
        now: Timestamp,
        key: RunKey,
        attempt: AttemptNo,
        plan_no: PlanNo,
        version: JobVersion,
        epoch: Epoch,
    ) {
        self.learn_version(now, key.job, version);
        let id = (key, attempt);
        let tomb = self.tombstones.entry(id).or_insert(plan_no);
        *tomb = (*tomb).max(plan_no);
        let Some(entry) = self.entries.get_mut(&id) else {
            return self.say(now, id, plan_no, ReportKind::Disarmed);
        };
        let pending = matches!(entry.state, State::Armed | State::Queued);
        if pending && entry.arm.epoch > epoch {
            // By an owner that was replaced without knowing it.
            let (kind, plan_no) = (self.present(id), self.entries[&id].arm.plan_no);
            return self.say(now, id, plan_no, kind);
        }
        if pending && entry.arm.plan_no <= plan_no {
            entry.arm.plan_no = plan_no;
            self.withdraw(id);
        }
        let entry = self.entries.get_mut(&id).expect("looked up above");
        if matches!(entry.state, State::Over(ReportKind::Disarmed | ReportKind::Refused(..))) {
            entry.arm.plan_no = entry.arm.plan_no.max(plan_no);
        }
        let (kind, plan_no) = (self.present(id), self.entries[&id].arm.plan_no);
        self.say(now, id, plan_no, kind);
    }

    pub(crate) fn cancel(&mut self, now: Timestamp, key: RunKey, attempt: AttemptNo) {
        if let Some(Entry { state: State::Running { ends_at, stop, .. }, .. }) =
            self.entries.get_mut(&(key, attempt))
        {
            *stop = true;
            *ends_at = (*ends_at).min(now.saturating_add(Span::from_millis(50)));
        }
    }

    /// Starts and ends what is due; returns the starts.
    pub(crate) fn pass_time(&mut self, now: Timestamp) -> Vec<Start> {
        let mut starts = Vec::new();
        let mut due: Vec<(Timestamp, AttemptKey)> = self
            .lively()
            .filter(|(_, entry)| matches!(entry.state, State::Armed) && entry.arm.due_at <= now)
            .map(|(id, entry)| (entry.arm.due_at, id))
            .collect();
        due.sort_unstable();
        self.end_due(now, &mut starts);
        for (_, id) in due {
            self.come_due(now, id, &mut starts);
        }
        starts
    }

    fn end_due(&mut self, now: Timestamp, starts: &mut Vec<Start>) {
        loop {
            let ended = self.lively().find_map(|(id, entry)| match entry.state {
                State::Running { started_at, ends_at, stop } if ends_at <= now => {
                    Some((id, started_at, stop))
                }
                _ => None,
            });
            let Some((id, started_at, stop)) = ended else { return };
            let kind = if stop {
                ReportKind::Cancelled { started_at: Some(started_at) }
            } else {
                self.outcome(started_at)
            };
            self.entries.get_mut(&id).expect("found").state = State::Over(kind.clone());
            let plan_no = self.entries[&id].arm.plan_no;
            self.say(now, id, plan_no, kind);
            let job = id.0.job;
            if self.running.get(&job) == Some(&id) {
                self.running.remove(&job);
                if let Some(next) = self.queues.get_mut(&job).and_then(VecDeque::pop_front) {
                    self.start(now, next, starts);
                }
            }
        }
    }

    fn outcome(&mut self, started_at: Timestamp) -> ReportKind {
        match self.rng.random_range(0..20) {
            0..3 => ReportKind::Failed {
                started_at,
                code: ReasonCode::HandlerFailed,
                error: "no".into(),
                fatal: self.rng.random_bool(0.1),
                retry_after: None,
            },
            3 => ReportKind::TimedOut { started_at },
            _ => ReportKind::Succeeded { started_at, result: None },
        }
    }

    fn come_due(&mut self, now: Timestamp, id: AttemptKey, starts: &mut Vec<Start>) {
        let arm = &self.entries[&id].arm;
        let (job, plan_no) = (id.0.job, arm.plan_no);
        if now > arm.start_by {
            let kind = ReportKind::Refused(Refusal::TooLate, "late".into());
            self.entries.get_mut(&id).expect("due").state = State::Over(kind.clone());
            return self.say(now, id, plan_no, kind);
        }
        let overlap = arm.job.job.spec.overlap;
        match (overlap, self.running.get(&job).copied()) {
            (Overlap::Parallel { .. }, _) | (_, None) => self.start(now, id, starts),
            (Overlap::Skip, Some(_)) => {
                let kind = ReportKind::Skipped {
                    started_at: None,
                    code: ReasonCode::Overlap,
                    detail: "busy".into(),
                };
                self.entries.get_mut(&id).expect("due").state = State::Over(kind.clone());
                self.say(now, id, plan_no, kind);
            }
            (Overlap::Queue { .. } | Overlap::Replace, Some(earlier)) => {
                if overlap == Overlap::Replace {
                    self.cancel(now, earlier.0, earlier.1);
                }
                self.entries.get_mut(&id).expect("due").state = State::Queued;
                self.queues.entry(job).or_default().push_back(id);
                self.say(now, id, plan_no, ReportKind::Queued);
            }
        }
    }

    fn start(&mut self, now: Timestamp, id: AttemptKey, starts: &mut Vec<Start>) {
        // Mostly shorter than the shortest period, now and then longer than several.
        let most = if self.rng.random_bool(0.1) { 5_000 } else { 500 };
        let ends_at = now.saturating_add(Span::from_millis(self.rng.random_range(1..most)));
        let entry = self.entries.get_mut(&id).expect("due or queued");
        entry.state = State::Running { started_at: now, ends_at, stop: false };
        let arm = &entry.arm;
        starts.push(Start { key: id.0, attempt: id.1, version: arm.job_version, due_at: arm.due_at });
        let (plan_no, overlap) = (arm.plan_no, arm.job.job.spec.overlap);
        if overlap.is_serial() {
            self.running.insert(id.0.job, id);
        }
        self.say(now, id, plan_no, ReportKind::Started);
    }

    /// The present state as a report.
    fn present(&self, id: AttemptKey) -> ReportKind {
        match &self.entries[&id].state {
            State::Armed => ReportKind::Armed,
            State::Queued => ReportKind::Queued,
            State::Running { .. } => ReportKind::Started,
            State::Over(kind) => kind.clone(),
        }
    }

    fn say(&mut self, now: Timestamp, id: AttemptKey, plan_no: PlanNo, kind: ReportKind) {
        let at = match (&kind, self.entries.get(&id).map(|entry| &entry.state)) {
            (ReportKind::Started, Some(State::Running { started_at, .. })) => *started_at,
            _ => now,
        };
        let report = Report { seq: self.next_seq, key: id.0, attempt: id.1, plan_no, at, kind };
        self.next_seq += 1;
        self.spool.push(report);
    }

    /// When something is due next.
    pub(crate) fn next_wake(&mut self) -> Option<Timestamp> {
        let entries = &self.entries;
        self.lively.retain(|id| entries.get(id).is_some_and(|entry| !matches!(entry.state, State::Over(_))));
        self.lively()
            .filter_map(|(_, entry)| match entry.state {
                State::Armed => Some(entry.arm.due_at),
                State::Running { ends_at, .. } => Some(ends_at),
                State::Queued | State::Over(_) => None,
            })
            .min()
    }

    /// For a mutant: an Arm of a run that is known counts as new.
    pub(crate) fn forget(&mut self, key: RunKey, attempt: AttemptNo) {
        if let Some(entry) = self.entries.get(&(key, attempt))
            && !matches!(entry.state, State::Running { .. } | State::Queued)
        {
            self.entries.remove(&(key, attempt));
        }
    }

    /// For a mutant: what was withdrawn may be armed again.
    pub(crate) fn unbury(&mut self, key: RunKey, attempt: AttemptNo) {
        self.tombstones.remove(&(key, attempt));
        if let Some(Entry { state: State::Over(ReportKind::Disarmed | ReportKind::Refused(..)), .. }) =
            self.entries.get(&(key, attempt))
        {
            self.entries.remove(&(key, attempt));
        }
    }

    /// What the worker itself knows of an attempt that ended here.
    pub(crate) fn ended(&self, key: RunKey, attempt: AttemptNo) -> Option<&ReportKind> {
        match &self.entries.get(&(key, attempt))?.state {
            State::Over(kind) => Some(kind),
            _ => None,
        }
    }
}

/// Whether a report tells that the handler has started; then the run must not move.
fn says_of_start(kind: &ReportKind) -> bool {
    match kind {
        ReportKind::Started
        | ReportKind::Succeeded { .. }
        | ReportKind::Failed { .. }
        | ReportKind::TimedOut { .. }
        | ReportKind::Cancelled { .. }
        | ReportKind::Skipped { .. } => true,
        ReportKind::Armed | ReportKind::Queued | ReportKind::Refused(..) | ReportKind::Disarmed => false,
    }
}
