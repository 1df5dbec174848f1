//! The database: one primary, transactions that are conditional and safe to repeat (`carillon_core::change` in small).

use carillon_core::ids::{AttemptNo, Epoch, JobVersion, JobsVersion, PlanNo};
use carillon_core::run::{ReasonCode, RunState};

use crate::scope::{MOST_FIRES, Mutant, Scope};
use crate::world::{FireNo, Row, ServerNo, WorkerNo};

/// The shard's row, the run table, the attempts' causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Store {
    pub(crate) epoch: Epoch,
    pub(crate) owner: Option<ServerNo>,
    pub(crate) jobs_version: JobsVersion,
    /// The watermark: so many fires are planned.
    pub(crate) planned: FireNo,
    pub(crate) rows: [Option<Row>; MOST_FIRES],
    /// How many ended attempts of each run are recorded with their cause.
    pub(crate) causes: [u32; MOST_FIRES],
    /// For a failover that loses the last commit: what it would take away.
    pub(crate) undo: Option<(FireNo, Option<Row>)>,
}

/// What servers ask of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Transaction {
    /// `UPDATE shard SET epoch = epoch + 1, owner = me WHERE epoch = ?`.
    Claim { server: ServerNo, seen: Epoch },
    /// The compare-and-set of epoch, job set and watermark, with the slice's row (none: the job has no such fire any longer).
    Slice { epoch: Epoch, jobs_version: JobsVersion, from: FireNo, row: Option<Row> },
    /// Another worker for a planned run.
    Move { fire: FireNo, attempt: AttemptNo, seen: PlanNo, to: WorkerNo, epoch: Epoch },
    /// The attempt ended with its cause; the next one. The job set is part of its compare-and-set as it is of a slice's: an owner that has not
    /// read an edit yet would plan the old version after the edit's transaction looked for planned rows.
    NextAttempt {
        fire: FireNo,
        ended: AttemptNo,
        plan_no: PlanNo,
        to: Option<WorkerNo>,
        jobs_version: JobsVersion,
        epoch: Epoch,
    },
    /// The owner ends a run by itself. What it knows of the worker it knows of one plan: it ends that one.
    End { fire: FireNo, attempt: AttemptNo, seen: PlanNo, state: RunState, reason: ReasonCode, epoch: Epoch },
    /// A worker's word; true whoever brings it.
    Report { fire: FireNo, attempt: AttemptNo, worker: WorkerNo, state: RunState },
}

/// The first plan of a run.
const FIRST_PLAN: PlanNo = PlanNo::new(1);

impl Row {
    /// A row as a slice inserts it.
    pub(crate) fn planned(worker: Option<WorkerNo>, jobs_version: JobsVersion) -> Self {
        Self {
            worker,
            plan_no: FIRST_PLAN,
            attempt: AttemptNo::FIRST,
            state: RunState::Planned,
            version: version_in(jobs_version),
            reason: None,
        }
    }

    /// Whether the run is where `seen` says: what a decision about it hangs on.
    fn is_at(&self, attempt: AttemptNo, seen: PlanNo) -> bool {
        self.state == RunState::Planned && (self.attempt, self.plan_no) == (attempt, seen)
    }
}

/// The job's version in a job set: there is only this job.
pub(crate) fn version_in(jobs_version: JobsVersion) -> JobVersion {
    JobVersion::new(jobs_version.get() as u32 + 1)
}

impl Store {
    /// Carries a transaction out where its conditions hold; says whether they did.
    pub(crate) fn apply(&mut self, scope: &Scope, transaction: &Transaction) -> bool {
        let before = *self;
        let applied = match *transaction {
            Transaction::Claim { server, seen } => self.claim(server, seen),
            Transaction::Slice { epoch, jobs_version, from, row } => {
                self.insert_slice(scope, epoch, jobs_version, from, row)
            }
            Transaction::Move { fire, attempt, seen, to, epoch } => {
                epoch == self.epoch && self.move_run(fire, attempt, seen, to)
            }
            Transaction::NextAttempt { fire, ended, plan_no, to, jobs_version, epoch } => {
                let stands = self.has_jobs(scope, jobs_version) && epoch == self.epoch;
                stands && self.next_attempt(fire, ended, plan_no, to, version_in(jobs_version))
            }
            Transaction::End { fire, attempt, seen, state, reason, epoch } => {
                let plan_no = self.rows[usize::from(fire)].map(|row| row.plan_no);
                let plan_stands = plan_no == Some(seen) || scope.has(Mutant::EndAnyPlan);
                epoch == self.epoch && plan_stands && self.advance(fire, attempt, state, Some(reason))
            }
            Transaction::Report { fire, attempt, worker, state } => {
                let advanced = self.advance(fire, attempt, state, None);
                if let (true, Some(row)) = (advanced, &mut self.rows[usize::from(fire)]) {
                    row.worker = Some(worker);
                }
                advanced
            }
        };
        if scope.kinds.contains(&crate::scope::Kind::LostCommit) && applied {
            self.undo = match *transaction {
                Transaction::Slice { from, .. } => Some((from, None)),
                Transaction::Move { fire, .. } => Some((fire, before.rows[usize::from(fire)])),
                _ => None,
            };
        }
        applied
    }

    fn claim(&mut self, server: ServerNo, seen: Epoch) -> bool {
        let stands = self.epoch == seen;
        if stands {
            (self.epoch, self.owner) = (seen.next(), Some(server));
        }
        stands
    }

    fn insert_slice(
        &mut self,
        scope: &Scope,
        epoch: Epoch,
        jobs_version: JobsVersion,
        from: FireNo,
        row: Option<Row>,
    ) -> bool {
        let jobs_stand = self.has_jobs(scope, jobs_version);
        let watermark_stands = self.planned == from || scope.has(Mutant::NoWatermarkCheck);
        // Without the watermark's check there is none of the epoch either: they are one statement.
        let epoch_stands = self.epoch == epoch || scope.has(Mutant::NoWatermarkCheck);
        if !(jobs_stand && watermark_stands && epoch_stands) {
            return false;
        }
        self.planned = from + 1;
        if !scope.has(Mutant::WatermarkFirst) {
            // The same key is the same row: inserting it again changes nothing.
            let there = &mut self.rows[usize::from(from)];
            *there = there.or(row);
        }
        true
    }

    fn has_jobs(&self, scope: &Scope, seen: JobsVersion) -> bool {
        self.jobs_version == seen || scope.has(Mutant::NoJobsVersionCheck)
    }

    fn move_run(&mut self, fire: FireNo, attempt: AttemptNo, seen: PlanNo, to: WorkerNo) -> bool {
        let Some(row) = &mut self.rows[usize::from(fire)] else { return false };
        let stands = row.is_at(attempt, seen);
        if stands {
            (row.worker, row.plan_no) = (Some(to), seen.next());
        }
        stands
    }

    fn next_attempt(
        &mut self,
        fire: FireNo,
        ended: AttemptNo,
        plan_no: PlanNo,
        worker: Option<WorkerNo>,
        version: JobVersion,
    ) -> bool {
        let Some(row) = &mut self.rows[usize::from(fire)] else { return false };
        if row.state.is_final() || row.attempt != ended || plan_no <= row.plan_no {
            return false;
        }
        let attempt = ended.next();
        *row = Row { worker, plan_no, attempt, state: RunState::Planned, version, reason: None };
        self.causes[usize::from(fire)] += 1;
        true
    }

    /// A step of the life cycle, by its table.
    fn advance(
        &mut self,
        fire: FireNo,
        attempt: AttemptNo,
        state: RunState,
        reason: Option<ReasonCode>,
    ) -> bool {
        let Some(row) = &mut self.rows[usize::from(fire)] else { return false };
        let corrects = reason.is_none() && row.state.can_be_corrected_to(state, row.reason);
        let steps = row.attempt == attempt && (row.state.can_become(state) || corrects);
        if steps {
            (row.state, row.reason) = (state, reason);
        }
        steps
    }
}
