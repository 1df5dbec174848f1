//! The trigger engine of one shard: `step(now, input) -> effects`.
//!
//! The engine decides; the server's shell persists, then acts, and tells the engine what became of it. There is no clock in here and no
//! chance: the same inputs at the same instants give the same effects, which is what the simulation lives on.
//!
//! Begin with [`Input`] and [`Effect`]. The rules stand in one file each: `plan` (slices ahead of time, misfires), `arm` (which run is
//! told to its worker), `place` (which worker that is), `turn` (overlap), `stop` (cancel, timeout), `report` (what workers say), `workers`
//! (join, leave, loss), `outcome` (retry, dead letter, final), `request` (trigger now, cancel, retry by a person), `look` (looking at the
//! store), `edit` (what an edit withdraws), `tell` (what an owner tells the other holders) and `standby` (what they do with it: arm where the
//! owner does not, and take over where it does not plan).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::change::{Advance, Move, Slice, TriggeredRun};
use crate::concern::Concern;
use crate::ids::{
    AttemptNo, Epoch, Incarnation, JobId, JobVersion, JobsVersion, PlanNo, RunKey, ShardId, TraceId,
};
use crate::job::{Job, Overlap};
use crate::run::{Reason, Run};
use crate::schedule::CompiledSchedule;
use crate::time::{Span, Timestamp};

mod arm;
mod edit;
mod jobs;
mod look;
mod open_run;
mod outcome;
mod owned;
mod place;
mod plan;
mod report;
mod request;
mod standby;
mod stop;
mod tell;
mod turn;
mod workers;

pub use report::{Refusal, Report, ReportKind};
pub use standby::StandbyView;
pub use tell::PlanNews;
pub use workers::{HandlerInfo, HeldRun, WorkerInfo};

use owned::Owned;
use standby::Standby;
use workers::Roster;

/// How far ahead and how patient the engine is. The defaults are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// Fires are committed this long before they are due: as long as the database may be away without anyone noticing (30 s).
    pub horizon: Span,
    /// The longest slice planned at once (5 s): the horizon less a slice is what is left when the database goes away.
    pub slice: Span,
    /// The most rows of a slice unless one instant holds more (10,000): bounds a transaction to a few tens of milliseconds.
    pub slice_rows: usize,
    /// Workers are armed this long before the due time (1.5 s): time for two holders to step in.
    pub arm_lead: Span,
    /// An Arm without an answer is sent again after this (1 s).
    pub rearm_after: Span,
    /// A worker without a stream for this long is lost (5 s): longer than a reconnect, shorter than most periods.
    pub lost_after: Span,
    /// How far clocks may differ when it is judged that a start is no longer possible (2 s).
    pub clock_margin: Span,
    /// When nothing is heard of a change of a run's plan for this long, the store is looked at (5 s): well beyond any commit.
    pub answer_after: Span,
    /// How long a cancelled or timed out handler has before it is given up (5 s).
    pub grace: Span,
    /// How many attempts beyond the policy a run may have that was lost before anyone saw it start (3): a fire with an eligible worker
    /// starts even when workers crash one after the other, and still there is a bound.
    pub unseen_attempts: u32,
    /// How long before the due time the second holder arms what the worker has not answered for (900 ms), and the third and every further
    /// one (600 ms): each leaves those before it time for an Arm, its answer, and a second try.
    pub standby_leads: [Span; 2],
    /// A standby tries to take over a shard whose planning lags not more often than this (2 s).
    pub take_over_every: Span,
    /// After a change of owner a standby leaves the new one this long before it takes over for lack of planning (30 s), against flapping; but
    /// not longer than the plan lasts.
    pub minimum_hold: Span,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            horizon: Span::from_secs(30),
            slice: Span::from_secs(5),
            slice_rows: 10_000,
            arm_lead: Span::from_millis(1_500),
            rearm_after: Span::from_secs(1),
            lost_after: Span::from_secs(5),
            clock_margin: Span::from_secs(2),
            answer_after: Span::from_secs(5),
            grace: Span::from_secs(5),
            unseen_attempts: 3,
            standby_leads: [Span::from_millis(900), Span::from_millis(600)],
            take_over_every: Span::from_secs(2),
            minimum_hold: Span::from_secs(30),
        }
    }
}

/// What a new owner, or one that has to look again, reads in one go.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The epoch that the server holds.
    pub epoch: Epoch,
    /// The job set's version.
    pub jobs_version: JobsVersion,
    /// The watermark.
    pub planned_until: Timestamp,
    /// Every job of the shard.
    pub jobs: Vec<Job>,
    /// Every open run of the shard.
    pub open_runs: Vec<Run>,
    /// For jobs with a fixed delay: when their newest run became final.
    pub last_finals: Vec<(JobId, Timestamp)>,
}

/// The rows of one job, read as of one instant.
#[derive(Debug, Clone)]
pub struct JobSnapshot {
    /// The job.
    pub job: JobId,
    /// The epoch in the shard's row.
    pub epoch: Epoch,
    /// The job set's version.
    pub jobs_version: JobsVersion,
    /// The job as it is in force; none where it is deleted, or of another shard.
    pub in_force: Option<Job>,
    /// Its version, also where it is of another shard; where it is deleted, one beyond its last.
    pub version: JobVersion,
    /// Every open run of the job.
    pub open_runs: Vec<Run>,
    /// With a fixed delay: when its newest run became final.
    pub last_final: Option<Timestamp>,
}

/// What the shell tells the engine.
#[derive(Debug, Clone)]
pub enum Input {
    /// Time has come: call at [`Engine::next_wake`], or at any time.
    Tick,
    /// The server owns the shard under this epoch, and this is what stands in the store: after a claim, or as the answer to
    /// [`Effect::Reload`], never unasked, since what the engine decided meanwhile would be forgotten.
    Own(Box<Snapshot>),
    /// The rows of a job, as the answer to [`Effect::ReadJob`].
    JobRead(Box<JobSnapshot>),
    /// The server does not own the shard any longer: it is a standby, and what it knew of the plan is its copy until the owner tells it.
    Disown,
    /// This holder's place among the holders of the shard that live: 0 for the owner's place, 1 for the second holder, and so on. Before the
    /// first one a standby only listens.
    Rank(u8),
    /// The owner's plan, or what changed in it ([`Effect::Tell`] of another holder). What one owner tells arrives in order and without
    /// gaps; after a gap the shell asks for all of it ([`Engine::plan_so_far`]).
    News(Box<PlanNews>),
    /// The owner's word on how far it has planned and armed, each 100 ms.
    Watermark {
        /// Its epoch.
        epoch: Epoch,
        /// Its watermark.
        planned_until: Timestamp,
        /// Runs due up to here are armed.
        armed_until: Timestamp,
    },
    /// The shard's row, as the answer to [`Effect::ReadShard`].
    ShardRead {
        /// The row's epoch.
        epoch: Epoch,
        /// The row's watermark.
        planned_until: Timestamp,
    },
    /// A worker has a stream at another holder of the shard: an Arm reaches it through that one. Sent again when it introduces itself anew.
    WorkerElsewhere(WorkerInfo),
    /// No other holder has a stream to it any longer.
    WorkerGoneElsewhere(Incarnation),
    /// The slice of [`Effect::CommitSlice`] that ended at this watermark is committed.
    SliceCommitted {
        /// The slice's epoch.
        epoch: Epoch,
        /// The slice's end.
        to: Timestamp,
    },
    /// The slice was fenced, or what became of it could not be found out.
    SliceRefused {
        /// The slice's epoch.
        epoch: Epoch,
        /// The slice's end.
        to: Timestamp,
    },
    /// What became of [`Effect::Move`], one by one: true where the run moved. Send [`Input::Refused`] instead where it is unknown.
    Moved(Vec<(Move, bool)>),
    /// The process stood still (trigger-protocol: "Stall guard"): what the engine knows may be old. It looks at the store before it acts, but
    /// waits for that no longer than this, so that triggers go on without the store.
    Stalled {
        /// How long it waits.
        patience: Span,
    },
    /// Something that the engine decided was not applied: it sees the shard otherwise than the store.
    Refused,
    /// The store may have lost what it had acknowledged: the connections to it broke and work again, perhaps to a replica that missed the
    /// last commits. An owner looks at it again, and asks workers about the runs that it finds there otherwise than it knew them; a standby
    /// reads the row, and believes it also where it shows an earlier epoch. To be said to every engine, after the first success that
    /// followed a failure whose outcome is unknown; once too often costs a reload, once too seldom leaves runs open whose end was lost.
    StoreReplaced,
    /// What became of [`Effect::NextAttempt`].
    NextAttempt {
        /// Which run.
        key: RunKey,
        /// The attempt that is planned now.
        attempt: AttemptNo,
        /// False where the row was not as expected.
        applied: bool,
    },
    /// Runs of [`Effect::InsertRuns`] or [`Effect::InsertTriggered`] that are committed and new.
    Inserted(Vec<Run>),
    /// A worker has opened a stream, or opened it again.
    WorkerJoined(WorkerInfo),
    /// Its stream ended without a word.
    WorkerDisconnected(Incarnation),
    /// It leaves for good; whatever it does not hold it will never start.
    WorkerLeft {
        /// Which worker.
        incarnation: Incarnation,
        /// What it has armed or started.
        held: Vec<HeldRun>,
    },
    /// A worker's report.
    Report(Incarnation, Report),
    /// A person or program wants a run now.
    Trigger(TriggerRequest),
    /// A person wants a run stopped.
    Cancel {
        /// Which run.
        key: RunKey,
        /// Who.
        by: String,
    },
    /// A person wants a dead letter tried again; the shell read it from the store.
    Retry {
        /// The final run.
        run: Box<Run>,
        /// Who.
        by: String,
    },
    /// A console edited a job of the shard. The engine looks at the job's rows, withdraws what was touched, and answers with
    /// [`Effect::EditSettled`]. A standby is told too: it goes by the edited job where the owner that would tell it has failed.
    JobsChanged {
        /// The version after the edit.
        jobs_version: JobsVersion,
        /// Which job.
        job: JobId,
        /// The rows that were cancelled or re-planned.
        touched: Vec<RunKey>,
    },
    /// The split of a parallel run is stored completely: the run no longer hangs on the worker that split.
    MapSplit {
        /// Which run.
        key: RunKey,
        /// Its attempt.
        attempt: AttemptNo,
    },
    /// A parallel run's attempt ended.
    MapEnded {
        /// Which run.
        key: RunKey,
        /// Its attempt.
        attempt: AttemptNo,
        /// How.
        outcome: MapOutcome,
    },
}

/// How a parallel run's attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum MapOutcome {
    /// Enough subtasks succeeded, and the reduce if there is one.
    Succeeded {
        /// The reduce's result, or the counts.
        result: Option<Value>,
    },
    /// Too many subtasks failed, or the reduce did.
    Failed(Reason),
}

/// A request for a run now.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerRequest {
    /// Which job.
    pub job: JobId,
    /// Repeated requests with the same key are one run.
    pub idempotency_key: String,
    /// Params in place of the job's.
    pub params: Option<Value>,
    /// The requester's trace.
    pub trace: Option<TraceId>,
}

/// What the engine wants done. Effects on the store must be carried out in order as far as they concern the same ([`Effect::concern`]); each is
/// safe to repeat, so a failure is met by doing it again (after reading back where the docs of the store say so).
#[derive(Debug, Clone)]
pub enum Effect {
    /// Commit, then send [`Input::SliceCommitted`]. After an unknown outcome read the shard back: where epoch, job set and watermark are as
    /// wanted it is committed. Fenced: send [`Input::SliceRefused`].
    CommitSlice(Slice),
    /// Insert; then send those that are open as [`Input::Inserted`] (after a repeated try also those that were there), or
    /// [`Input::Refused`] where one was fenced.
    InsertRuns(Vec<Run>),
    /// Insert a trigger request's run, answer the requester, and send [`Input::Inserted`] as above. Fenced: tell the requester to ask the
    /// owner, and send [`Input::Refused`].
    InsertTriggered(TriggeredRun),
    /// The trigger was refused.
    TriggerRefused {
        /// The request's key.
        idempotency_key: String,
        /// Which job.
        job: JobId,
    },
    /// Advance the rows. Then, if a look at the shard *after* the commit shows the epoch of this ownership, acknowledge the reports that said
    /// so: a successor that claims later reads what was written, one that claimed before has to hear it from the worker. Where it shows
    /// another epoch, or a step with a fence was not applied, send [`Input::Refused`].
    Advance {
        /// The steps, in order.
        steps: Vec<Advance>,
        /// Reports that are durable once the steps are.
        acks: Vec<(Incarnation, u64)>,
    },
    /// Record the ended attempt and plan the next one (a step `Retry` or `Reopen`), and send
    /// [`Input::NextAttempt`]: nobody is armed before that is committed. Only where it was applied acknowledge the reports: else the worker
    /// repeats them to whoever owns the shard now.
    NextAttempt {
        /// The step.
        advance: Box<Advance>,
        /// Reports that are durable once the step is.
        acks: Vec<(Incarnation, u64)>,
    },
    /// Acknowledge reports that need no store.
    Ack(Vec<(Incarnation, u64)>),
    /// Compare-and-set the workers of planned runs; answer with [`Input::Moved`].
    Move(Vec<Move>),
    /// Tell a worker to start a run at its time.
    Arm(Arm),
    /// Tell a worker never to start it.
    Disarm {
        /// Which worker.
        to: Incarnation,
        /// Which run.
        key: RunKey,
        /// Its attempt.
        attempt: AttemptNo,
        /// Arms up to this plan number.
        plan_no: PlanNo,
        /// The job's version in force, as far as the engine knows it: the worker withdraws whatever it has armed of older ones, of other
        /// runs too, and refuses older Arms from now on, whoever sends them. Zero where it is not known.
        job_version: JobVersion,
        /// The epoch of the owner that asks: one that was replaced without knowing it withdraws nothing that its successor armed.
        epoch: Epoch,
    },
    /// Ask a running handler to stop.
    CancelAttempt {
        /// Which worker.
        to: Incarnation,
        /// Which run.
        key: RunKey,
        /// Its attempt.
        attempt: AttemptNo,
        /// How long it may take.
        grace: Span,
        /// Why, for the handler's log.
        why: String,
    },
    /// Read the shard again, after all earlier effects on the store; answer with [`Input::Own`] or [`Input::Disown`].
    Reload,
    /// Read the rows of a job again, after all earlier effects that concern it; answer with [`Input::JobRead`]. Where an owner is found to be
    /// replaced [`Input::Disown`] comes first.
    ReadJob(JobId),
    /// Tell the other holders what changed in the committed plan, in this order; they feed it as [`Input::News`].
    Tell(Box<PlanNews>),
    /// A standby doubts that the shard is planned: read its row, and answer with [`Input::ShardRead`]. No answer where it cannot be read.
    ReadShard,
    /// A standby sees that the shard is not planned: claim it without waiting for the trigger lock, and displace the lock where there is
    /// one. A lost claim needs no answer.
    TakeOver {
        /// The epoch to claim from.
        seen: Epoch,
        /// For the log.
        why: String,
    },
    /// Drive the map of a parallel run from what the store knows (its split may just begin, or be complete).
    MapOpen {
        /// The run, with its current attempt.
        run: Box<Run>,
        /// The job in force.
        job: Arc<JobInForce>,
    },
    /// Stop driving it; its subtasks are cancelled.
    MapAbort {
        /// Which run.
        key: RunKey,
        /// Its attempt.
        attempt: AttemptNo,
    },
    /// Every touched run of an edit is withdrawn, or has started, or its worker cannot be asked.
    EditSettled {
        /// The edit.
        jobs_version: JobsVersion,
        /// Runs of the old version that have started or still may.
        may_start: Vec<RunKey>,
    },
    /// For observers: a handler started.
    Started {
        /// Which run.
        key: RunKey,
        /// When it was due.
        due_at: Timestamp,
        /// When it started.
        started_at: Timestamp,
    },
    /// For observers: a run changed.
    Changed {
        /// Which run.
        key: RunKey,
        /// Its attempt.
        attempt: AttemptNo,
        /// Where it is now.
        state: crate::run::RunState,
    },
}

impl Effect {
    /// What of the shard an effect on the store concerns; none of the others, which need not wait for the store.
    pub fn concern(&self) -> Option<Concern> {
        Some(match self {
            Self::CommitSlice(slice) => Concern::slice(slice),
            Self::InsertRuns(runs) => Concern::runs(runs.iter().map(|run| run.key)),
            Self::InsertTriggered(triggered) => Concern::runs([triggered.run.key]),
            Self::Advance { steps, .. } => Concern::runs(steps.iter().map(|step| step.key)),
            Self::NextAttempt { advance, .. } => Concern::runs([advance.key]),
            Self::Move(moves) => Concern::runs(moves.iter().map(|made| made.key)),
            Self::Reload => Concern::look(None),
            Self::ReadJob(job) => Concern::look(Some(*job)),
            Self::TriggerRefused { .. }
            | Self::Ack(_)
            | Self::Arm(_)
            | Self::Disarm { .. }
            | Self::CancelAttempt { .. }
            | Self::Tell(_)
            | Self::ReadShard
            | Self::TakeOver { .. }
            | Self::MapOpen { .. }
            | Self::MapAbort { .. }
            | Self::EditSettled { .. }
            | Self::Started { .. }
            | Self::Changed { .. } => return None,
        })
    }
}

/// What a worker is told about a run ahead of time.
#[derive(Debug, Clone)]
pub struct Arm {
    /// The worker; any other one refuses it.
    pub to: Incarnation,
    /// Which run.
    pub key: RunKey,
    /// Its attempt.
    pub attempt: AttemptNo,
    /// Grows with every change of the worker.
    pub plan_no: PlanNo,
    /// Older versions of the job are refused by a worker that has seen a newer one.
    pub job_version: JobVersion,
    /// Start at this instant; at once when it is past.
    pub due_at: Timestamp,
    /// Never start later.
    pub start_by: Timestamp,
    /// The run's params where they differ from the job's.
    pub params: Option<Value>,
    /// For logs and calls of the handler.
    pub trace: TraceId,
    /// Fencing token for the handler's side effects.
    pub epoch: Epoch,
    /// Handler, params, overlap, timeout, kind.
    pub job: Arc<JobInForce>,
}

/// A job at a version, compiled once and shared by its runs.
#[derive(Debug)]
pub struct JobInForce {
    /// The job.
    pub job: Job,
    /// Its schedule.
    pub schedule: CompiledSchedule,
    /// Its params as JSON text, as they go on the wire.
    pub params_json: Arc<[u8]>,
}

/// The trigger engine of one shard.
pub struct Engine {
    shard: ShardId,
    config: EngineConfig,
    owned: Option<Owned>,
    standby: Standby,
    roster: Roster,
    /// Every job that the shard was seen to have, also those that are deleted by now: their last runs are still reported.
    jobs_seen: BTreeSet<JobId>,
    effects: Vec<Effect>,
}

/// What an observer may know about an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineView {
    /// The epoch, when the server owns the shard.
    pub epoch: Option<Epoch>,
    /// The watermark.
    pub planned_until: Timestamp,
    /// Runs due up to here are armed, as far as they have a worker.
    pub armed_until: Timestamp,
    /// Runs planned or running.
    pub open_runs: usize,
    /// Jobs of the shard.
    pub jobs: usize,
    /// What a standby knows; none where the server owns the shard.
    pub standby: Option<StandbyView>,
}

impl Engine {
    /// An engine that owns nothing yet.
    pub fn new(shard: ShardId, config: EngineConfig) -> Self {
        Self {
            shard,
            config,
            owned: None,
            standby: Standby::default(),
            roster: Roster::default(),
            jobs_seen: BTreeSet::new(),
            effects: Vec::new(),
        }
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Takes one input at `now` and appends what is to be done to `effects`. `now` may stand still or jump; fire times never follow it.
    pub fn step(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Tick => {}
            Input::Own(snapshot) => self.own(now, *snapshot),
            Input::JobRead(read) => self.job_read(now, *read),
            Input::Disown => self.disown(now),
            Input::Rank(rank) => self.ranked(now, rank),
            Input::News(news) => {
                self.jobs_seen.extend(news.jobs.iter().map(|job| job.job.id));
                self.news(now, *news);
            }
            Input::Watermark { epoch, planned_until, .. } => self.watermark(now, epoch, planned_until),
            Input::ShardRead { epoch, planned_until } => self.shard_read(now, epoch, planned_until),
            Input::Refused => self.reload_for_refusal(),
            Input::StoreReplaced => self.store_replaced(now),
            Input::Stalled { patience } => self.stalled(now, patience),
            Input::SliceCommitted { epoch, to } => self.slice_committed(now, epoch, to),
            Input::SliceRefused { epoch, to } => self.slice_refused(epoch, to),
            Input::Moved(moves) => self.moved(now, moves),
            Input::NextAttempt { key, attempt, applied } => {
                self.next_attempt_planned(now, key, attempt, applied)
            }
            Input::Inserted(runs) => self.inserted(now, runs),
            Input::WorkerJoined(worker) => self.worker_joined(now, worker),
            Input::WorkerDisconnected(incarnation) => self.worker_disconnected(now, incarnation),
            Input::WorkerElsewhere(worker) => self.worker_elsewhere(now, worker),
            Input::WorkerGoneElsewhere(incarnation) => self.worker_gone_elsewhere(now, incarnation),
            Input::WorkerLeft { incarnation, held } => self.worker_left(now, incarnation, &held),
            Input::Report(from, report) => self.report(now, from, report),
            Input::Trigger(request) => self.trigger(now, request),
            Input::Cancel { key, by } => self.cancel(now, key, &by),
            Input::Retry { run, by } => self.retry_dead_letter(now, *run, &by),
            Input::JobsChanged { jobs_version, job, touched } => {
                self.jobs_changed(now, jobs_version, job, touched)
            }
            Input::MapSplit { key, attempt } => self.map_split(now, key, attempt),
            Input::MapEnded { key, attempt, outcome } => self.map_ended(now, key, attempt, outcome),
        }
        if !self.is_held(now) {
            self.lose_silent_workers(now);
            self.wake_runs(now);
            self.plan(now);
        }
        if self.owned.is_none() {
            self.stand_by(now);
        }
        self.settle_edits(now);
        self.note_ahead();
        self.tell();
        effects.append(&mut self.effects);
    }

    /// When [`Input::Tick`] is due at the latest; none when only an input can change anything.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let Some(owned) = &self.owned else { return self.next_standby_wake() };
        let run = owned.wakes.first().map(|(at, _)| *at);
        let plan = (owned.committing.is_none() && !owned.looks.is_behind()).then(|| self.next_plan(owned));
        let worker = self.roster.next_loss(self.config.lost_after);
        let edit = owned.edits.iter().map(|edit| edit.give_up_at).min();
        let next = [run, plan, worker, edit].into_iter().flatten().min()?;
        Some(owned.held_until.map_or(next, |held| next.max(held)))
    }

    /// What an observer may know.
    pub fn view(&self, now: Timestamp) -> EngineView {
        let owned = self.owned.as_ref();
        EngineView {
            epoch: owned.map(|owned| owned.epoch),
            planned_until: owned.map_or(Timestamp::from_millis(0), |owned| owned.planned_until),
            armed_until: owned.map_or(Timestamp::from_millis(0), |owned| {
                now.saturating_add(self.config.arm_lead).min(owned.planned_until)
            }),
            open_runs: owned.map_or(0, |owned| owned.runs.len()),
            jobs: owned.map_or(0, |owned| owned.jobs.len()),
            standby: owned.is_none().then(|| self.standby.view()),
        }
    }

    /// A job of the shard as the engine knows it.
    pub fn job(&self, job: JobId) -> Option<&Arc<JobInForce>> {
        self.owned.as_ref()?.jobs.get(job)
    }

    /// Whether the job is or was one of the shard's, as far as this engine has seen.
    pub fn has_seen(&self, job: JobId) -> bool {
        self.jobs_seen.contains(&job)
    }

    /// The workers with a stream to this server.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerInfo> {
        self.roster.connected()
    }

    /// The most open runs that serial jobs may have waiting, by the job's overlap policy.
    fn queue_limit(overlap: Overlap) -> usize {
        match overlap {
            Overlap::Queue { limit } => limit as usize,
            Overlap::Parallel { .. } | Overlap::Skip | Overlap::Replace => usize::MAX,
        }
    }
}
