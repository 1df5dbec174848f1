//! New runs: slices of a plan, due-now rows, trigger requests.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use carillon_core::ids::{Epoch, JobId, JobVersion, JobsVersion, RunKey};
use carillon_core::run::Run;
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::database::{Database, Existing, Insert, existing_number_of, number_of, placeholders};
use crate::runs::{Insertion, Slice, SliceOutcome, TriggeredRun};
use crate::sql::bugs;
use crate::sql::fences::Epochs;
use crate::sql::jobs;
use crate::sql::run_rows::{self, push_run, read_key};
use crate::value::{Value, values};

/// What planning compares of a shard's row.
struct Fence {
    epoch: Epoch,
    jobs_version: JobsVersion,
    planned_until: Timestamp,
}

/// The compare-and-set of every slice is made on the locked shard rows, which is the same as an `UPDATE ... WHERE` for each, in two
/// statements for all of them. By primary key of `shard`, then an append to `run`.
pub(crate) async fn commit_slices<D: Database>(
    db: &mut D,
    slices: Arc<[Slice]>,
) -> Result<Vec<SliceOutcome>, StoreError> {
    let mut numbers = Vec::with_capacity(slices.len());
    for slice in slices.iter() {
        numbers.push(number_of(db, slice.shard).await?);
    }
    let known: Vec<i64> = numbers.iter().copied().flatten().collect();
    let mut fences = lock_shards(db, &known).await?;

    let mut outcomes = Vec::with_capacity(slices.len());
    let mut moved: BTreeMap<i64, Timestamp> = BTreeMap::new();
    let mut rows = Vec::new();
    for (slice, number) in slices.iter().zip(numbers) {
        let fence = number.and_then(|number| fences.get_mut(&number).map(|fence| (number, fence)));
        let Some((number, fence)) = fence.filter(|(_, fence)| {
            (fence.epoch, fence.jobs_version, fence.planned_until)
                == (slice.epoch, slice.jobs_version, slice.from)
                || bugs::compares_nothing()
        }) else {
            outcomes.push(SliceOutcome::Fenced);
            continue;
        };
        // A watermark never goes back, whatever a planner believes.
        if slice.to < slice.from {
            outcomes.push(SliceOutcome::Fenced);
            continue;
        }
        fence.planned_until = slice.to;
        moved.insert(number, slice.to);
        for run in &slice.runs {
            push_run(&mut rows, run, number);
        }
        outcomes.push(SliceOutcome::Committed);
    }
    move_watermarks(db, &moved).await?;
    run_rows::insert_runs(db, rows).await?;
    Ok(outcomes)
}

async fn lock_shards<D: Database>(db: &mut D, numbers: &[i64]) -> Result<HashMap<i64, Fence>, StoreError> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT shard, epoch, jobs_version, planned_until FROM shard WHERE shard IN ({}) ORDER BY shard {}",
        placeholders(numbers.len()),
        D::FOR_UPDATE
    );
    let rows = db.query(&sql, numbers.iter().copied().map(Value::from).collect()).await?;
    let mut fences = HashMap::with_capacity(rows.len());
    for mut row in rows {
        let number = row.take()?;
        let fence = Fence { epoch: row.take()?, jobs_version: row.take()?, planned_until: row.take()? };
        fences.insert(number, fence);
    }
    Ok(fences)
}

async fn move_watermarks<D: Database>(
    db: &mut D,
    moved: &BTreeMap<i64, Timestamp>,
) -> Result<(), StoreError> {
    // 500 branches keep a statement under 20 kB.
    let moved: Vec<(i64, i64)> = moved.iter().map(|(number, to)| (*number, to.as_millis())).collect();
    for some in moved.chunks(500) {
        let mut sql = "UPDATE shard SET planned_until = CASE shard".to_owned();
        for (number, to) in some {
            let _ = write!(sql, " WHEN {number} THEN {to}");
        }
        let numbers: Vec<String> = some.iter().map(|(number, _)| number.to_string()).collect();
        let _ = write!(sql, " ELSE planned_until END WHERE shard IN ({})", numbers.join(", "));
        db.execute(&sql, Vec::new()).await?;
    }
    Ok(())
}

/// What a new row that is due now has to agree with.
struct InForce {
    epochs: Epochs,
    versions: BTreeMap<JobId, JobVersion>,
}

impl InForce {
    /// With the shards locked, which edits lock before they change a job.
    async fn lock<D: Database>(db: &mut D, runs: &[&Run]) -> Result<Self, StoreError> {
        let epochs = Epochs::lock(db, runs.iter().map(|run| run.shard)).await?;
        let jobs: BTreeSet<JobId> = runs.iter().map(|run| run.key.job).collect();
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        Ok(Self { epochs, versions: jobs::versions_in_force(db, &jobs).await? })
    }

    fn admit(&self, run: &Run) -> bool {
        self.epochs.admit(run.fence()) && self.versions.get(&run.key.job) == Some(&run.job_version)
    }
}

/// By primary key of `run`: first which exist, then the others.
pub(crate) async fn insert_runs<D: Database>(
    db: &mut D,
    runs: Arc<[Run]>,
) -> Result<Vec<Insertion>, StoreError> {
    let runs: Vec<&Run> = runs.iter().collect();
    let in_force = InForce::lock(db, &runs).await?;
    insert_new(db, &in_force, &runs).await
}

async fn insert_new<D: Database>(
    db: &mut D,
    in_force: &InForce,
    runs: &[&Run],
) -> Result<Vec<Insertion>, StoreError> {
    let keys: Vec<RunKey> = runs.iter().map(|run| run.key).collect();
    let mut seen: HashSet<RunKey> = HashSet::with_capacity(keys.len());
    for mut row in db.query_runs("SELECT fire_time, job, ordinal FROM run", &keys, false).await? {
        seen.insert(read_key(&mut row)?);
    }
    let mut insertions = Vec::with_capacity(runs.len());
    let mut rows = Vec::new();
    let mut wanted = 0;
    for run in runs {
        insertions.push(if seen.contains(&run.key) {
            Insertion::Existing(run.key)
        } else if !in_force.admit(run) {
            Insertion::Fenced
        } else {
            seen.insert(run.key);
            let number = existing_number_of(db, run.shard).await?;
            push_run(&mut rows, run, number);
            wanted += 1;
            Insertion::New
        });
    }
    let inserted = run_rows::insert_runs(db, rows).await?;
    if inserted == wanted { Ok(insertions) } else { Err(raced(db)) }
}

/// Somebody inserted one of our keys between our look and our insert; another try will see it.
fn raced<D: Database>(db: &D) -> StoreError {
    StoreError::Busy {
        action: db.action(),
        source: "a row was inserted by somebody else at the same moment".into(),
    }
}

const NEW_REQUESTS: Insert = Insert {
    table: "trigger_request",
    columns: &["job", "idempotency_key", "fire_time", "ordinal"],
    existing: Existing::Keep,
};

/// By primary key of `trigger_request`: whoever inserts a request makes its run.
pub(crate) async fn insert_triggered<D: Database>(
    db: &mut D,
    triggered: Arc<[TriggeredRun]>,
) -> Result<Vec<Insertion>, StoreError> {
    if let Some(long) = triggered.iter().find(|one| one.idempotency_key.chars().count() > MAX_KEY_CHARACTERS)
    {
        debug_assert!(!long.idempotency_key.is_empty());
        return Err(StoreError::LimitExceeded {
            what: "an idempotency key's characters",
            limit: MAX_KEY_CHARACTERS as u64,
        });
    }
    let asked: Vec<&Run> = triggered.iter().map(|one| &one.run).collect();
    let in_force = InForce::lock(db, &asked).await?;
    let mut made = requests_made(db, &triggered).await?;
    let mut answers = Vec::with_capacity(triggered.len());
    let mut requests = Vec::new();
    let mut runs: Vec<&Run> = Vec::new();
    for one in triggered.iter() {
        let request = (one.run.key.job.get(), one.idempotency_key.as_str());
        if let Some(key) = made.get(&(request.0, request.1.to_owned())) {
            answers.push(Insertion::Existing(*key));
            continue;
        }
        if !in_force.admit(&one.run) {
            answers.push(Insertion::Fenced);
            continue;
        }
        made.insert((request.0, request.1.to_owned()), one.run.key);
        requests.extend(values![
            one.run.key.job,
            one.idempotency_key.as_bytes(),
            one.run.key.fire_time,
            one.run.key.ordinal,
        ]);
        runs.push(&one.run);
        answers.push(Insertion::New);
    }
    let inserted = db.insert(&NEW_REQUESTS, requests).await?;
    if inserted != runs.len() as u64 {
        return Err(raced(db));
    }
    // A row of that key made by other means is the same run, by its primary key.
    insert_new(db, &in_force, &runs).await?;
    Ok(answers)
}

/// The longest idempotency key, as the API promises.
const MAX_KEY_CHARACTERS: usize = 128;

/// The runs that earlier requests made.
async fn requests_made<D: Database>(
    db: &mut D,
    triggered: &[TriggeredRun],
) -> Result<HashMap<(u32, String), RunKey>, StoreError> {
    let mut made = HashMap::new();
    // 200 pairs a query: a batch of triggers rarely has more, and the statement stays small.
    for some in triggered.chunks(200) {
        let either = vec!["(job = ? AND idempotency_key = ?)"; some.len()].join(" OR ");
        let sql =
            format!("SELECT fire_time, job, ordinal, idempotency_key FROM trigger_request WHERE {either}");
        let pairs =
            some.iter().flat_map(|one| values![one.run.key.job, one.idempotency_key.as_bytes()]).collect();
        for mut row in db.query(&sql, pairs).await? {
            let key = read_key(&mut row)?;
            made.insert((key.job.get(), row.take()?), key);
        }
    }
    Ok(made)
}
