//! The run table's rows.

use carillon_core::ids::{AttemptNo, Epoch, Incarnation, JobId, JobVersion, PlanNo, RunKey};
use carillon_core::run::{Attempt, Reason, ReasonCode, Run, RunState, TriggerKind};
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::database::{Database, Existing, Insert, shard_of};
use crate::value::{Json, Row, Value, json, values};

/// Up to and without WHERE.
pub(super) const RUN: &str = "SELECT fire_time, job, ordinal, shard, epoch, job_version, trigger_kind, worker, plan_no, attempt, state,
            due_at, start_by, started_at, finished_at, reason_code, reason_detail, result, params, trace
     FROM run";

const COLUMNS: &[&str] = &[
    "fire_time",
    "job",
    "ordinal",
    "shard",
    "epoch",
    "job_version",
    "trigger_kind",
    "worker",
    "plan_no",
    "attempt",
    "state",
    "due_at",
    "start_by",
    "started_at",
    "finished_at",
    "reason_code",
    "reason_detail",
    "result",
    "params",
    "trace",
];

/// How many columns, counted from the first, a run has that is planned and nothing more.
const PLANNED_COLUMNS: usize = 13;

/// As [`NEW_RUNS`], for rows whose other columns are null.
const NEW_PLANNED_RUNS: Insert =
    Insert { table: "run", columns: COLUMNS.split_at(PLANNED_COLUMNS).0, existing: Existing::Keep };

/// Inserts rows of [`push_run`]; those that exist stay. Returns how many are new. A batch of plainly planned runs, as most are, goes without
/// its empty columns.
pub(super) async fn insert_runs<D: Database>(db: &mut D, values: Vec<Value>) -> Result<u64, StoreError> {
    let plain = |row: &[Value]| row[PLANNED_COLUMNS..].iter().all(|value| *value == Value::Null);
    if !values.chunks(COLUMNS.len()).all(plain) {
        return db.insert(&NEW_RUNS, values).await;
    }
    let mut column = 0;
    let planned = values.into_iter().filter(|_| {
        let wanted = column % COLUMNS.len() < PLANNED_COLUMNS;
        column += 1;
        wanted
    });
    let planned = planned.collect();
    db.insert(&NEW_PLANNED_RUNS, planned).await
}

const KEY: &[&str] = &["fire_time", "job", "ordinal"];

/// New rows; those that exist stay.
const NEW_RUNS: Insert = Insert { table: "run", columns: COLUMNS, existing: Existing::Keep };

/// The row's values in the order of [`NEW_RUNS`].
pub(super) fn push_run(values: &mut Vec<Value>, run: &Run, shard: i64) {
    values.extend([
        Value::from(run.key.fire_time),
        Value::from(run.key.job),
        Value::from(run.key.ordinal),
        Value::from(shard),
        Value::from(run.epoch),
        Value::from(run.job_version),
        Value::from(run.trigger),
        Value::from(run.worker),
        Value::from(run.plan_no),
        Value::from(run.attempt),
        Value::from(run.state),
        Value::from(run.due_at),
        Value::from(run.start_by),
        Value::from(run.started_at),
        Value::from(run.finished_at),
        Value::from(run.reason.as_ref().map(|reason| reason.code)),
        Value::from(run.reason.as_ref().map(|reason| reason.detail.as_str())),
        Value::from(run.result.as_ref().map(json)),
        Value::from(run.params.as_ref().map(json)),
        Value::from(run.trace),
    ]);
}

pub(super) fn read_key(row: &mut Row) -> Result<RunKey, StoreError> {
    let fire_time: Timestamp = row.take()?;
    let job: JobId = row.take()?;
    Ok(RunKey { fire_time, job, ordinal: row.take()? })
}

fn read_reason(row: &mut Row) -> Result<Option<Reason>, StoreError> {
    let code: Option<ReasonCode> = row.take()?;
    let detail: Option<String> = row.take()?;
    Ok(code.map(|code| Reason { code, detail: detail.unwrap_or_default() }))
}

/// Reads a row of [`RUN`].
pub(super) async fn read_run<D: Database>(db: &mut D, mut row: Row) -> Result<Run, StoreError> {
    let key = read_key(&mut row)?;
    let shard = row.take()?;
    Ok(Run {
        key,
        shard: shard_of(db, shard).await?,
        epoch: row.take()?,
        job_version: row.take()?,
        trigger: row.take()?,
        worker: row.take()?,
        plan_no: row.take()?,
        attempt: row.take()?,
        state: row.take()?,
        due_at: row.take()?,
        start_by: row.take()?,
        started_at: row.take()?,
        finished_at: row.take()?,
        reason: read_reason(&mut row)?,
        result: row.take::<Option<Json<_>>>()?.map(|json| json.0),
        params: row.take::<Option<Json<_>>>()?.map(|json| json.0),
        trace: row.take()?,
    })
}

pub(super) async fn read_runs<D: Database>(db: &mut D, rows: Vec<Row>) -> Result<Vec<Run>, StoreError> {
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        runs.push(read_run(db, row).await?);
    }
    Ok(runs)
}

/// Up to and without WHERE.
pub(super) const ATTEMPT: &str = "SELECT fire_time, job, ordinal, attempt, worker, due_at, started_at, finished_at, reason_code, reason_detail
     FROM run_attempt";

/// Attempts that ended; one that was recorded before takes what is known now.
pub(super) const ATTEMPTS: Insert = Insert {
    table: "run_attempt",
    columns: &[
        "fire_time",
        "job",
        "ordinal",
        "attempt",
        "worker",
        "due_at",
        "started_at",
        "finished_at",
        "reason_code",
        "reason_detail",
    ],
    existing: Existing::Replace {
        key: &["fire_time", "job", "ordinal", "attempt"],
        columns: &["worker", "due_at", "started_at", "finished_at", "reason_code", "reason_detail"],
    },
};

pub(super) fn push_attempt(values: &mut Vec<Value>, attempt: &Attempt) {
    values.extend(values![
        attempt.key.fire_time,
        attempt.key.job,
        attempt.key.ordinal,
        attempt.attempt,
        attempt.worker,
        attempt.due_at,
        attempt.started_at,
        attempt.finished_at,
        attempt.reason.code,
        attempt.reason.detail.as_str(),
    ]);
}

pub(super) fn read_attempt(mut row: Row) -> Result<Attempt, StoreError> {
    let key = read_key(&mut row)?;
    Ok(Attempt {
        key,
        attempt: row.take()?,
        worker: row.take()?,
        due_at: row.take()?,
        started_at: row.take()?,
        finished_at: row.take()?,
        reason: Reason { code: row.take()?, detail: row.take()? },
    })
}

/// What a run's life changes of its row. Texts are not read: whatever changes a life writes them anew.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) key: RunKey,
    pub(super) shard: i64,
    pub(super) epoch: Epoch,
    pub(super) job_version: JobVersion,
    pub(super) trigger: TriggerKind,
    pub(super) worker: Option<Incarnation>,
    pub(super) plan_no: PlanNo,
    pub(super) attempt: AttemptNo,
    pub(super) state: RunState,
    pub(super) due_at: Timestamp,
    pub(super) start_by: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) reason_code: Option<ReasonCode>,
    pub(super) reason_detail: Option<String>,
    pub(super) result: Option<String>,
}

/// Up to and without WHERE.
pub(super) const LIFE: &str = "SELECT fire_time, job, ordinal, shard, epoch, job_version, trigger_kind, worker, plan_no, attempt, state,
            due_at, start_by, started_at, finished_at, reason_code
     FROM run";

pub(super) fn read_life(mut row: Row) -> Result<Life, StoreError> {
    let key = read_key(&mut row)?;
    Ok(Life {
        key,
        shard: row.take()?,
        epoch: row.take()?,
        job_version: row.take()?,
        trigger: row.take()?,
        worker: row.take()?,
        plan_no: row.take()?,
        attempt: row.take()?,
        state: row.take()?,
        due_at: row.take()?,
        start_by: row.take()?,
        started_at: row.take()?,
        finished_at: row.take()?,
        reason_code: row.take()?,
        reason_detail: None,
        result: None,
    })
}

/// All but what a run is given when it is made and keeps: params and trace stand last in [`COLUMNS`].
const LIFE_COLUMNS: &[&str] = COLUMNS.split_at(COLUMNS.len() - 2).0;

pub(super) fn push_life(values: &mut Vec<Value>, life: Life) {
    values.extend(values![
        life.key.fire_time,
        life.key.job,
        life.key.ordinal,
        life.shard,
        life.epoch,
        life.job_version,
        life.trigger,
        life.worker,
        life.plan_no,
        life.attempt,
        life.state,
        life.due_at,
        life.start_by,
        life.started_at,
        life.finished_at,
        life.reason_code,
        life.reason_detail,
        life.result,
    ]);
}

/// Writes back lives that were read under a lock. The upsert never inserts, because the locked row exists: it is the one statement that
/// updates many rows by key with a value each.
pub(super) const ADVANCED: Insert = Insert {
    table: "run",
    columns: LIFE_COLUMNS,
    existing: Existing::Replace {
        key: KEY,
        columns: &[
            "worker",
            "plan_no",
            "attempt",
            "state",
            "due_at",
            "start_by",
            "started_at",
            "finished_at",
            "reason_code",
            "reason_detail",
            "result",
        ],
    },
};

/// As [`ADVANCED`], for rows that an edit cancelled and a later edit plans again.
pub(super) const REVIVED: Insert = Insert {
    table: "run",
    columns: LIFE_COLUMNS,
    existing: Existing::Replace {
        key: KEY,
        columns: &[
            "job_version",
            "plan_no",
            "state",
            "due_at",
            "start_by",
            "finished_at",
            "reason_code",
            "reason_detail",
        ],
    },
};

/// As [`ADVANCED`], for rows that stay planned under another plan number.
pub(super) const REPLANNED: Insert = Insert {
    table: "run",
    columns: LIFE_COLUMNS,
    existing: Existing::Replace {
        key: KEY,
        columns: &["job_version", "worker", "plan_no", "due_at", "start_by"],
    },
};
