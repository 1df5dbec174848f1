//! Reading runs, and dropping old ones.

use std::collections::HashMap;
use std::sync::Arc;

use carillon_core::ids::{GroupId, JobId, RunKey, ShardId};
use carillon_core::run::{Attempt, Run, RunState};
use carillon_core::time::{Span, Timestamp};

use crate::StoreError;
use crate::database::{Database, number_of};
use crate::runs::{Outcome, RunFilter};
use crate::sql::run_rows::{ATTEMPT, RUN, read_attempt, read_key, read_runs};
use crate::value::{Value, values};

/// Along `run_in_state`, one range for each open state.
pub(crate) async fn open_runs<D: Database>(
    db: &mut D,
    shard: ShardId,
    limit: usize,
) -> Result<Vec<Run>, StoreError> {
    let Some(number) = number_of(db, shard).await? else { return Ok(Vec::new()) };
    let sql = format!(
        "{} WHERE state = ? AND shard = ? ORDER BY fire_time, job, ordinal LIMIT ?",
        run_in_state::<D>()
    );
    let mut runs = Vec::new();
    for state in open_states() {
        let rows = db.query(&sql, values![state, number, limit]).await?;
        runs.extend(read_runs(db, rows).await?);
    }
    runs.sort_by_key(|run| run.key);
    runs.truncate(limit);
    Ok(runs)
}

/// Those of one job. The recent and later ones, from `recent` on, along `run_of_job`; those that fired before among the few open runs of the
/// shard that are so old, along `run_in_state`.
pub(crate) async fn open_runs_of_job<D: Database>(
    db: &mut D,
    number: i64,
    job: JobId,
    recent: Timestamp,
    limit: usize,
) -> Result<Vec<Run>, StoreError> {
    let later = format!(
        "{} WHERE job = ? AND fire_time >= ? AND shard = ? AND state = ? ORDER BY fire_time, ordinal LIMIT ?",
        RUN.replace("FROM run", &format!("FROM {}", D::indexed("run", "run_of_job")))
    );
    let earlier = format!(
        "{} WHERE state = ? AND shard = ? AND fire_time < ? AND job = ? ORDER BY fire_time, ordinal LIMIT ?",
        run_in_state::<D>()
    );
    let mut runs = Vec::new();
    for state in open_states() {
        let mut rows = db.query(&later, values![job, recent, number, state, limit]).await?;
        rows.extend(db.query(&earlier, values![state, number, recent, job, limit]).await?);
        runs.extend(read_runs(db, rows).await?);
    }
    runs.sort_by_key(|run| run.key);
    runs.truncate(limit);
    Ok(runs)
}

fn run_in_state<D: Database>() -> String {
    RUN.replace("FROM run", &format!("FROM {}", D::indexed("run", "run_in_state")))
}

fn open_states() -> impl Iterator<Item = RunState> {
    RunState::ALL.into_iter().filter(|state| !state.is_final())
}

/// By primary key.
pub(crate) async fn runs_by_key<D: Database>(
    db: &mut D,
    keys: Arc<[RunKey]>,
) -> Result<Vec<Run>, StoreError> {
    let mut keys = keys.to_vec();
    keys.sort();
    keys.dedup();
    let rows = db.query_runs(RUN, &keys, false).await?;
    let mut runs = read_runs(db, rows).await?;
    runs.sort_by_key(|run| run.key);
    Ok(runs)
}

/// By primary key of `run_attempt`.
pub(crate) async fn attempts<D: Database>(db: &mut D, key: RunKey) -> Result<Vec<Attempt>, StoreError> {
    let sql = format!("{ATTEMPT} WHERE fire_time = ? AND job = ? AND ordinal = ? ORDER BY attempt");
    let rows = db.query(&sql, values![key.fire_time, key.job, key.ordinal]).await?;
    rows.into_iter().map(read_attempt).collect()
}

/// The ways through the run table that answer a filter, each in key order; their answers are merged.
enum Path {
    /// Along `run_of_job`, one range for each.
    Jobs(Vec<JobId>),
    /// Along `run_of_job_in_state`, one range for each pair.
    JobsInStates(Vec<(JobId, RunState)>),
    /// Along `run_in_state`, one range for each pair.
    States(Vec<(RunState, i64)>),
    /// Along `run_in_state`, all pairs in one range after the other, sorted afterwards: for states that few runs have, in many shards.
    Rare,
    /// Along the primary key.
    Time,
}

/// The most ranges that are worth a look each, at some ten microseconds a look; more of them mean groups, jobs or states so many that
/// reading backwards along the primary key finds matches soon.
const MAX_RANGES: usize = 720;

/// Ranges of one statement: a statement of some 15 kB.
const RANGES_A_QUERY: usize = 50;

/// Ranges of a page's first statement. What they give bounds how far back the others are read.
const FIRST_RANGES: usize = 10;

/// Whether few runs have a state, whatever the jobs: nearly all end well.
fn is_rare(state: RunState) -> bool {
    state != RunState::Succeeded
}

/// How a filter is answered: the path, and what is checked on its way.
struct Search {
    path: Path,
    conditions: String,
}

/// None when nothing can match.
async fn search<D: Database>(db: &mut D, filter: &RunFilter) -> Result<Option<Search>, StoreError> {
    let mut conditions = vec!["1 = 1".to_owned()];
    if let Some(from) = filter.from {
        conditions.push(format!("fire_time >= {}", from.as_millis()));
    }
    if let Some(to) = filter.to {
        conditions.push(format!("fire_time < {}", to.as_millis()));
    }
    if filter.scheduled_only {
        conditions.push("ordinal = 0".to_owned());
    }
    let mut shards = shards_of_filter(db, filter).await?;
    if shards.as_ref().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let mut states = filter.states.clone();
    states.sort();
    states.dedup();
    let mut jobs = filter.job.map_or_else(|| filter.jobs.clone(), |job| vec![job]);
    jobs.sort();
    jobs.dedup();
    let of_jobs = !jobs.is_empty();
    if of_jobs && let Some(some) = &shards {
        // No index of jobs knows the shards: looked up here once, they need not be looked up with every run.
        let known = shards_of_jobs(db, &jobs).await?;
        let deleted = known.len() < jobs.len();
        jobs.retain(|job| known.get(job).is_none_or(|shard| some.contains(shard)));
        if !deleted {
            shards = None;
        }
        if jobs.is_empty() {
            return Ok(None);
        }
    }
    let in_states = (!states.is_empty())
        .then(|| format!("state IN ({})", list(states.iter().map(|state| i64::from(state.code())))));
    let in_shards = shards.as_ref().map(|shards| format!("shard IN ({})", list(shards.iter().copied())));
    let in_jobs = of_jobs.then(|| format!("job IN ({})", list(jobs.iter().map(|job| i64::from(job.get())))));

    let all_rare = !states.is_empty() && states.iter().copied().all(is_rare);
    let path = match (of_jobs, states.is_empty()) {
        (true, true) => Path::Jobs(jobs),
        (true, false) if jobs.len() * states.len() <= MAX_RANGES => Path::JobsInStates(
            jobs.iter().flat_map(|job| states.iter().map(|state| (*job, *state))).collect(),
        ),
        (true, false) if !all_rare => Path::Jobs(jobs),
        _ => match ranges(db, &states, shards).await? {
            Some(ranges) => Path::States(ranges),
            None if all_rare => Path::Rare,
            None => Path::Time,
        },
    };
    let (knows_jobs, knows_states, knows_shards) = match &path {
        Path::Jobs(_) => (true, false, false),
        Path::JobsInStates(_) => (true, true, false),
        Path::States(_) => (false, true, true),
        Path::Rare | Path::Time => (false, false, false),
    };
    conditions.extend(in_jobs.filter(|_| !knows_jobs));
    conditions.extend(in_states.filter(|_| !knows_states));
    conditions.extend(in_shards.filter(|_| !knows_shards));
    Ok(Some(Search { path, conditions: conditions.join(" AND ") }))
}

/// The numbers of the jobs' shards, which never change. By primary key of `job`; none for deleted ones.
async fn shards_of_jobs<D: Database>(db: &mut D, jobs: &[JobId]) -> Result<HashMap<JobId, i64>, StoreError> {
    let jobs = list(jobs.iter().map(|job| i64::from(job.get())));
    let rows = db.query(&format!("SELECT job, shard FROM job WHERE job IN ({jobs})"), Vec::new()).await?;
    rows.into_iter().map(|mut row| Ok((row.take()?, row.take()?))).collect()
}

/// The (state, shard) ranges of a filter, when there are few.
async fn ranges<D: Database>(
    db: &mut D,
    states: &[RunState],
    shards: Option<Vec<i64>>,
) -> Result<Option<Vec<(RunState, i64)>>, StoreError> {
    if states.is_empty() && shards.is_none() {
        return Ok(None);
    }
    let shards = match shards {
        Some(shards) => shards,
        // By primary key; one more than would do, to see whether there are too many.
        None => {
            let rows = db
                .query("SELECT shard FROM shard_number ORDER BY shard LIMIT ?", values![MAX_RANGES + 1])
                .await?;
            rows.into_iter().map(|mut row| row.take()).collect::<Result<_, _>>()?
        }
    };
    let states = if states.is_empty() { &RunState::ALL } else { states };
    if shards.len() * states.len() > MAX_RANGES {
        return Ok(None);
    }
    let pairs = states.iter().flat_map(|state| shards.iter().map(|shard| (*state, *shard))).collect();
    Ok(Some(pairs))
}

/// Along `shard_number_of`.
async fn shards_of_filter<D: Database>(
    db: &mut D,
    filter: &RunFilter,
) -> Result<Option<Vec<i64>>, StoreError> {
    let Some(groups) = &filter.groups else { return Ok(None) };
    let mut shards = Vec::new();
    for group in groups {
        let rows = db.query("SELECT shard FROM shard_number WHERE group_id = ?", values![*group]).await?;
        for mut row in rows {
            shards.push(row.take()?);
        }
    }
    shards.sort_unstable();
    shards.dedup();
    Ok(Some(shards))
}

fn list(numbers: impl Iterator<Item = i64>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

/// The FROM and WHERE of each range of a path.
fn ranges_of<D: Database>(search: &Search) -> Vec<String> {
    let conditions = &search.conditions;
    match &search.path {
        Path::Jobs(jobs) => {
            let table = D::indexed("run", "run_of_job");
            jobs.iter().map(|job| format!("FROM {table} WHERE job = {job} AND {conditions}")).collect()
        }
        Path::JobsInStates(pairs) => {
            let table = D::indexed("run", "run_of_job_in_state");
            let range = |(job, state): &(JobId, RunState)| {
                format!("FROM {table} WHERE job = {job} AND state = {} AND {conditions}", state.code())
            };
            pairs.iter().map(range).collect()
        }
        Path::States(pairs) => {
            let table = D::indexed("run", "run_in_state");
            let code = |state: &RunState| state.code();
            pairs
                .iter()
                .map(|(state, shard)| {
                    format!("FROM {table} WHERE state = {} AND shard = {shard} AND {conditions}", code(state))
                })
                .collect()
        }
        Path::Rare => vec![format!("FROM {} WHERE {conditions}", D::indexed("run", "run_in_state"))],
        Path::Time => vec![format!("FROM run WHERE {conditions}")],
    }
}

pub(crate) async fn list_runs<D: Database>(
    db: &mut D,
    filter: Arc<RunFilter>,
    before: Option<RunKey>,
    limit: usize,
) -> Result<Vec<Run>, StoreError> {
    let Some(search) = search(db, &filter).await? else { return Ok(Vec::new()) };
    // The first comparison bounds the range; the others only break ties.
    let earlier = before.map_or(String::new(), |key| {
        let (fire_time, job, ordinal) = (key.fire_time.as_millis(), key.job, key.ordinal);
        format!(
            "AND fire_time <= {fire_time}
             AND (fire_time < {fire_time} OR job < {job} OR (job = {job} AND ordinal < {ordinal}))"
        )
    });
    let limit = limit.min(MAX_PAGE);
    const NEWEST_FIRST: &str = "ORDER BY fire_time DESC, job DESC, ordinal DESC";
    let ranges = ranges_of::<D>(&search);
    if let [range] = ranges.as_slice()
        && !matches!(search.path, Path::Rare)
    {
        let select = RUN.replace("FROM run", "");
        let rows =
            db.query(&format!("{select} {range} {earlier} {NEWEST_FIRST} LIMIT {limit}"), Vec::new()).await?;
        return read_runs(db, rows).await;
    }
    // First the keys, which stand in the index; then the rows of those that the page shows.
    let mut keys: Vec<RunKey> = Vec::new();
    let (mut rest, mut together) = (ranges.as_slice(), FIRST_RANGES);
    while !rest.is_empty() && limit > 0 {
        let (some, others) = rest.split_at(rest.len().min(together));
        (rest, together) = (others, RANGES_A_QUERY);
        // Once the page is full, only what is newer than its last run can come into it.
        let later = match keys.last() {
            Some(last) if keys.len() == limit => format!("AND fire_time >= {}", last.fire_time.as_millis()),
            _ => String::new(),
        };
        let parts: Vec<String> = some
            .iter()
            .enumerate()
            .map(|(part, range)| {
                format!(
                    "SELECT * FROM (SELECT fire_time, job, ordinal {range} {earlier} {later} {NEWEST_FIRST} LIMIT {limit}) AS part_{part}"
                )
            })
            .collect();
        let parts = parts.join(" UNION ALL ");
        let newest = format!("SELECT * FROM ({parts}) AS parts {NEWEST_FIRST} LIMIT {limit}");
        for mut row in db.query(&newest, Vec::new()).await? {
            keys.push(read_key(&mut row)?);
        }
        keys.sort_by_key(|key| std::cmp::Reverse(*key));
        keys.truncate(limit);
    }
    let rows = db.query_runs(RUN, &keys, false).await?;
    let mut runs = read_runs(db, rows).await?;
    runs.sort_by_key(|run| std::cmp::Reverse(run.key));
    Ok(runs)
}

/// The largest page, as the trait promises.
const MAX_PAGE: usize = 1_000;

/// Reads some more than `cap` index entries: ranges that hold much are counted one by one, until there are enough; those that hold little
/// together, since each question is a round trip.
pub(crate) async fn count_runs<D: Database>(
    db: &mut D,
    filter: Arc<RunFilter>,
    cap: usize,
) -> Result<usize, StoreError> {
    let Some(search) = search(db, &filter).await? else { return Ok(0) };
    let ranges = ranges_of::<D>(&search);
    let (mut count, mut done, mut together) = (0, 0, 1);
    while done < ranges.len() && count < cap {
        let room = cap - count;
        let some = &ranges[done..ranges.len().min(done + together)];
        let parts: Vec<String> = some
            .iter()
            .enumerate()
            .map(|(part, range)| {
                format!("SELECT * FROM (SELECT 1 AS one {range} LIMIT {room}) AS part_{part}")
            })
            .collect();
        // The bound around them all ends the reading in the middle of a part, where the database does not gather the parts first.
        let sql = format!(
            "SELECT COUNT(*) FROM (SELECT * FROM ({}) AS parts LIMIT {room}) AS matching",
            parts.join(" UNION ALL ")
        );
        let found: usize = match db.query_one(&sql, Vec::new()).await? {
            Some(mut row) => row.take()?,
            None => 0,
        };
        count += found;
        done += some.len();
        together = if found * 10 < room { (together * 2).min(RANGES_A_QUERY) } else { 1 };
    }
    Ok(count.min(cap))
}

/// Jobs of one statement of [`outcomes`].
const JOBS_A_QUERY: usize = 50;

/// Along `run_of_job`, one range for each job.
pub(crate) async fn outcomes<D: Database>(
    db: &mut D,
    jobs: Arc<[JobId]>,
    from: Option<Timestamp>,
    to: Timestamp,
    limit: usize,
) -> Result<Vec<Outcome>, StoreError> {
    let table = D::indexed("run", "run_of_job");
    let from = from.map_or(String::new(), |from| format!("AND fire_time >= {}", from.as_millis()));
    let mut outcomes = Vec::new();
    for some in jobs.chunks(JOBS_A_QUERY) {
        let parts: Vec<String> = some
            .iter()
            .map(|job| {
                format!(
                    "SELECT * FROM (
                         SELECT fire_time, job, ordinal, state, due_at, started_at, finished_at FROM {table}
                         WHERE job = {job} {from} AND fire_time < {}
                         ORDER BY fire_time DESC, ordinal DESC LIMIT {limit}
                     ) AS of_{job}",
                    to.as_millis()
                )
            })
            .collect();
        for mut row in db.query(&parts.join(" UNION ALL "), Vec::new()).await? {
            outcomes.push(Outcome {
                key: read_key(&mut row)?,
                state: row.take()?,
                due_at: row.take()?,
                started_at: row.take()?,
                finished_at: row.take()?,
            });
        }
    }
    // The parts of a UNION come in any order.
    outcomes.sort_by_key(|outcome| (outcome.key.job, std::cmp::Reverse(outcome.key)));
    Ok(outcomes)
}

/// Along `run_of_job` to the last run that counts, and along `run_of_job_in_state`, one range for each state, from there on. An instant less
/// what is left of it by the step is the same in every database, which a division is not.
pub(crate) async fn histogram<D: Database>(
    db: &mut D,
    job: JobId,
    between: (Timestamp, Timestamp),
    step: Span,
    limit: usize,
) -> Result<Vec<(Timestamp, RunState, usize)>, StoreError> {
    let (from, to, step) = (between.0.as_millis(), between.1.as_millis(), step.as_millis());
    let last = format!(
        "SELECT fire_time FROM {} WHERE job = {job} AND fire_time >= {from} AND fire_time < {to}
         ORDER BY fire_time DESC LIMIT 1 OFFSET {}",
        D::indexed("run", "run_of_job"),
        limit.saturating_sub(1)
    );
    let last = db.query_one(&last, Vec::new()).await?.map(|mut row| row.take::<Timestamp>()).transpose()?;
    let least = last.map_or(from, |last| last.as_millis());
    let states = list(RunState::ALL.into_iter().map(|state| i64::from(state.code())));
    let sql = format!(
        "SELECT fire_time - (fire_time - {from}) % {step} AS bar, state, COUNT(*) FROM {}
         WHERE job = {job} AND state IN ({states}) AND fire_time >= {least} AND fire_time < {to} GROUP BY bar, state",
        D::indexed("run", "run_of_job_in_state"),
    );
    let rows = db.query(&sql, Vec::new()).await?;
    rows.into_iter().map(|mut row| Ok((row.take()?, row.take()?, row.take()?))).collect()
}

/// Along `run_of_job`, backwards past the open runs.
pub(crate) async fn last_final<D: Database>(db: &mut D, job: JobId) -> Result<Option<Timestamp>, StoreError> {
    let sql = format!(
        "SELECT COALESCE(finished_at, due_at) FROM {}
         WHERE job = ? AND state NOT IN (?, ?) ORDER BY fire_time DESC, ordinal DESC LIMIT 1",
        D::indexed("run", "run_of_job")
    );
    match db.query_one(&sql, values![job, RunState::Planned, RunState::Running]).await? {
        Some(mut row) => row.take().map(Some),
        None => Ok(None),
    }
}

/// What belongs to a run and goes with it.
const PARTS_OF_RUNS: [&str; 7] = [
    "run_attempt",
    "map_run",
    "subtask_batch",
    "subtask_chunk",
    "subtask_output",
    "subtask_failure",
    "log_chunk",
];

/// From the beginning of the primary key. Trigger requests go a day after their runs could, so that a key is honoured for 24 hours at
/// least; along `trigger_request_age`.
pub(crate) async fn drop_runs_before<D: Database>(
    db: &mut D,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let rows = db
        .query(
            "SELECT fire_time, job, ordinal FROM run
             WHERE fire_time < ? AND state NOT IN (?, ?)
             ORDER BY fire_time, job, ordinal LIMIT ?",
            values![before, RunState::Planned, RunState::Running, limit],
        )
        .await?;
    let mut keys = Vec::with_capacity(rows.len());
    for mut row in rows {
        keys.push(read_key(&mut row)?);
    }
    let dropped = delete_with_parts(db, &keys).await?;
    if let Some(last) = keys.last() {
        let a_day = Span::from_millis(24 * 60 * 60 * 1_000);
        let until = last.fire_time.min(before.saturating_sub(a_day));
        let values: Vec<Value> = values![until];
        db.execute("DELETE FROM trigger_request WHERE fire_time < ?", values).await?;
    }
    Ok(dropped)
}

/// Along `run_in_state`, one range for each final state of each shard. Trigger requests stay until every group's runs of their time go.
pub(crate) async fn drop_runs_of<D: Database>(
    db: &mut D,
    group: GroupId,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let filter = RunFilter { groups: Some(vec![group]), ..RunFilter::default() };
    let shards = shards_of_filter(db, &filter).await?.unwrap_or_default();
    let table = D::indexed("run", "run_in_state");
    let mut keys = Vec::new();
    for shard in shards {
        for state in RunState::ALL.into_iter().filter(|state| state.is_final()) {
            let room = limit - keys.len();
            if room == 0 {
                break;
            }
            let sql = format!(
                "SELECT fire_time, job, ordinal FROM {table}
                 WHERE state = ? AND shard = ? AND fire_time < ? ORDER BY fire_time, job, ordinal LIMIT ?"
            );
            for mut row in db.query(&sql, values![state, shard, before, room]).await? {
                keys.push(read_key(&mut row)?);
            }
        }
    }
    // In one order for everybody, so that deletions wait for each other instead of dead-locking.
    keys.sort_unstable();
    delete_with_parts(db, &keys).await
}

async fn delete_with_parts<D: Database>(db: &mut D, keys: &[RunKey]) -> Result<usize, StoreError> {
    let dropped = db.delete_runs("run", keys).await?;
    for table in PARTS_OF_RUNS {
        db.delete_runs(table, keys).await?;
    }
    Ok(usize::try_from(dropped).unwrap_or(keys.len()))
}
