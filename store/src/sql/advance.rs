//! Steps in the lives of runs.

mod blind;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carillon_core::ids::{AttemptNo, Incarnation, PlanNo, RunKey};
use carillon_core::run::{Attempt, MAX_RESULT_BYTES, Reason, ReasonCode, RunState};
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::database::Database;
use crate::runs::{Advance, Move, Step};
use crate::sql::fences::Epochs;
use crate::sql::run_rows::{
    ADVANCED, ATTEMPT, ATTEMPTS, LIFE, Life, REPLANNED, push_attempt, push_life, read_attempt, read_life,
};
use crate::value::{Value, json, values};

/// Leaves out what was decided under an epoch that is over, and applies the rest. Where the database can, first in one statement in the hope that every step is legal, as nearly all are; otherwise, and where one was
/// not, one after the other.
pub(crate) async fn advance<D: Database>(db: &mut D, steps: Arc<[Advance]>) -> Result<Vec<bool>, StoreError> {
    let fences = steps.iter().filter_map(|step| step.fence);
    let epochs = Epochs::lock(db, fences.map(|fence| fence.shard)).await?;
    let admitted: Vec<bool> =
        steps.iter().map(|step| step.fence.is_none_or(|fence| epochs.admit(fence))).collect();
    if admitted.iter().all(|admitted| *admitted) {
        return advance_admitted(db, &steps).await;
    }
    let others = steps.iter().zip(&admitted).filter(|(_, admitted)| **admitted);
    let others: Vec<Advance> = others.map(|(step, _)| step.clone()).collect();
    let mut outcomes = advance_admitted(db, &others).await?.into_iter();
    Ok(admitted.into_iter().map(|admitted| admitted && outcomes.next().unwrap_or(false)).collect())
}

async fn advance_admitted<D: Database>(db: &mut D, steps: &[Advance]) -> Result<Vec<bool>, StoreError> {
    if D::ASSIGNS && blind::is_possible(steps) {
        db.execute("SAVEPOINT blind", Vec::new()).await?;
        if blind::advance_all(db, steps).await? {
            return Ok(vec![true; steps.len()]);
        }
        db.execute("ROLLBACK TO SAVEPOINT blind", Vec::new()).await?;
    }
    advance_each(db, steps).await
}

/// Reads and locks the rows by primary key, applies the steps, writes back those that changed: two statements a thousand runs.
async fn advance_each<D: Database>(db: &mut D, steps: &[Advance]) -> Result<Vec<bool>, StoreError> {
    let mut lives = lock_lives(db, steps.iter().map(|step| step.key)).await?;
    let mut changed_keys: BTreeSet<RunKey> = BTreeSet::new();
    let mut ended: BTreeMap<(RunKey, AttemptNo), Attempt> = BTreeMap::new();
    let mut outcomes = Vec::with_capacity(steps.len());
    for Advance { key, attempt, step, .. } in steps {
        let Some(life) = lives.get_mut(key) else {
            outcomes.push(false);
            continue;
        };
        let changed = match step {
            Step::LateNews { started_at, detail } => {
                life.attempt > *attempt
                    && take_late_news(db, &mut ended, *key, *attempt, *started_at, detail).await?
            }
            step => {
                let changed = life.attempt == *attempt && take_step(life, step)?;
                if changed {
                    changed_keys.insert(*key);
                    if let Step::Retry { ended: attempt, .. } | Step::Reopen { ended: attempt, .. } = step {
                        ended.insert((*key, attempt.attempt), attempt.clone());
                    }
                }
                changed
            }
        };
        outcomes.push(changed);
    }
    let mut rows = Vec::new();
    for key in changed_keys {
        if let Some(life) = lives.remove(&key) {
            push_life(&mut rows, life);
        }
    }
    db.insert(&ADVANCED, rows).await?;
    let mut rows = Vec::new();
    for attempt in ended.values() {
        push_attempt(&mut rows, attempt);
    }
    db.insert(&ATTEMPTS, rows).await?;
    Ok(outcomes)
}

/// Locks in key order, so that two batches with common runs wait for each other instead of dead-locking.
async fn lock_lives<D: Database>(
    db: &mut D,
    keys: impl Iterator<Item = RunKey>,
) -> Result<BTreeMap<RunKey, Life>, StoreError> {
    let keys: BTreeSet<RunKey> = keys.collect();
    let keys: Vec<RunKey> = keys.into_iter().collect();
    let mut lives = BTreeMap::new();
    for row in db.query_runs(LIFE, &keys, true).await? {
        let life = read_life(row)?;
        lives.insert(life.key, life);
    }
    Ok(lives)
}

/// Applies a step of the current attempt where it is legal; says whether it was.
fn take_step(life: &mut Life, step: &Step) -> Result<bool, StoreError> {
    match step {
        Step::Started { at, worker } => {
            if !may_become(life, RunState::Running) {
                return Ok(false);
            }
            life.state = RunState::Running;
            life.started_at = Some(*at);
            life.finished_at = None;
            life.worker = Some(*worker);
            set_texts(life, None, None);
        }
        Step::Final { state, started_at, at, reason, result, seen } => {
            let replanned = seen.is_some_and(|seen| seen < life.plan_no);
            if !state.is_final() || replanned || !may_become(life, *state) {
                return Ok(false);
            }
            let result = result_text(result.as_ref())?;
            life.state = *state;
            life.started_at = started_at.or(life.started_at);
            life.finished_at = Some(*at);
            set_texts(life, reason.as_ref(), result);
        }
        Step::Retry { ended, due_at, start_by, worker, plan_no } => {
            let open = !life.state.is_final();
            if !open || ended.attempt != life.attempt || *plan_no <= life.plan_no {
                return Ok(false);
            }
            begin_attempt(life, *due_at, *start_by, *worker, *plan_no);
        }
        Step::Reopen { ended, due_at, start_by, worker, plan_no } => {
            let dead = life.state.is_dead_letter();
            if !dead || ended.attempt != life.attempt || *plan_no <= life.plan_no {
                return Ok(false);
            }
            begin_attempt(life, *due_at, *start_by, *worker, *plan_no);
        }
        Step::LateNews { .. } => return Ok(false),
    }
    Ok(true)
}

/// A result as it is stored, within its limit.
fn result_text(result: Option<&serde_json::Value>) -> Result<Option<String>, StoreError> {
    let text = result.map(json);
    if text.as_ref().is_some_and(|text| text.len() > MAX_RESULT_BYTES) {
        return Err(StoreError::LimitExceeded {
            what: "a run's result in bytes",
            limit: MAX_RESULT_BYTES as u64,
        });
    }
    Ok(text)
}

/// Plans the run again, for its next attempt.
fn begin_attempt(
    life: &mut Life,
    due_at: Timestamp,
    start_by: Timestamp,
    worker: Option<Incarnation>,
    plan_no: PlanNo,
) {
    life.state = RunState::Planned;
    life.attempt = life.attempt.next();
    life.due_at = due_at;
    life.start_by = start_by;
    life.worker = worker;
    life.plan_no = plan_no;
    life.started_at = None;
    life.finished_at = None;
    set_texts(life, None, None);
}

fn may_become(life: &Life, next: RunState) -> bool {
    life.state.can_become(next) || life.state.can_be_corrected_to(next, life.reason_code)
}

fn set_texts(life: &mut Life, reason: Option<&Reason>, result: Option<String>) {
    life.reason_code = reason.map(|reason| reason.code);
    life.reason_detail = reason.map(|reason| reason.detail.clone());
    life.result = result;
}

/// Completes the record of an attempt that was given up. False when there is no such record or it says so already. By primary key of
/// `run_attempt`.
async fn take_late_news<D: Database>(
    db: &mut D,
    ended: &mut BTreeMap<(RunKey, AttemptNo), Attempt>,
    key: RunKey,
    attempt: AttemptNo,
    started_at: Option<Timestamp>,
    detail: &str,
) -> Result<bool, StoreError> {
    let mut record = match ended.get(&(key, attempt)) {
        Some(record) => record.clone(),
        None => {
            let found = db
                .query_one(
                    &format!(
                        "{ATTEMPT} WHERE fire_time = ? AND job = ? AND ordinal = ? AND attempt = ? {}",
                        D::FOR_UPDATE
                    ),
                    values![key.fire_time, key.job, key.ordinal, attempt],
                )
                .await?;
            let Some(row) = found else { return Ok(false) };
            read_attempt(row)?
        }
    };
    let told = record.reason.detail.ends_with(detail);
    if told && (started_at.is_none() || record.started_at.is_some()) {
        return Ok(false);
    }
    record.started_at = record.started_at.or(started_at);
    if !told {
        record.reason = with_news(&record.reason, detail);
    }
    ended.insert((key, attempt), record);
    Ok(true)
}

/// The reason with the news at its end, where repeated news recognises itself; what stood before is cut where both are too long.
fn with_news(reason: &Reason, news: &str) -> Reason {
    let news: String = news.chars().take(500).collect();
    let room = 1_000 - 2 - news.chars().count();
    let before: String = reason.detail.chars().take(room).collect();
    if before.is_empty() {
        return Reason::new(reason.code, news);
    }
    Reason::new(reason.code, format!("{before}; {news}"))
}

/// Reads and locks by primary key, compares, writes back.
pub(crate) async fn move_runs<D: Database>(db: &mut D, moves: Arc<[Move]>) -> Result<Vec<bool>, StoreError> {
    let epochs = Epochs::lock(db, moves.iter().map(|one| one.fence.shard)).await?;
    let mut lives = lock_lives(db, moves.iter().map(|one| one.key)).await?;
    let mut moved: BTreeSet<RunKey> = BTreeSet::new();
    let mut outcomes = Vec::with_capacity(moves.len());
    for one in moves.iter() {
        let as_seen = |life: &&mut Life| {
            let seen = life.attempt == one.attempt && life.plan_no == one.seen;
            life.state == RunState::Planned && seen && epochs.admit(one.fence)
        };
        let Some(life) = lives.get_mut(&one.key).filter(as_seen) else {
            outcomes.push(false);
            continue;
        };
        life.worker = Some(one.to);
        life.plan_no = one.seen.next();
        moved.insert(one.key);
        outcomes.push(true);
    }
    let mut rows: Vec<Value> = Vec::new();
    for key in moved {
        if let Some(life) = lives.remove(&key) {
            push_life(&mut rows, life);
        }
    }
    db.insert(&REPLANNED, rows).await?;
    Ok(outcomes)
}

/// By primary key. The end that the run had stays its end.
pub(crate) async fn discard_dead_letter<D: Database>(
    db: &mut D,
    key: RunKey,
    by: Arc<str>,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let reason = Reason::new(ReasonCode::Discarded, format!("discarded by {by} at {at}"));
    let dead: Vec<String> = RunState::ALL
        .into_iter()
        .filter(|state| state.is_dead_letter())
        .map(|state| state.code().to_string())
        .collect();
    let sql = format!(
        "UPDATE run SET state = ?, reason_code = ?, reason_detail = ?
         WHERE fire_time = ? AND job = ? AND ordinal = ? AND state IN ({})",
        dead.join(", ")
    );
    let discarded = db
        .execute(
            &sql,
            values![RunState::Cancelled, reason.code, reason.detail, key.fire_time, key.job, key.ordinal],
        )
        .await?;
    Ok(discarded > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_news_is_cut_so_that_it_still_stands_at_the_end() {
        let before = Reason::new(ReasonCode::WorkerLost, "x".repeat(1_000));
        let after = with_news(&before, "it succeeded");
        assert!(after.detail.ends_with("; it succeeded"));
        assert_eq!(after.detail.chars().count(), 1_000);
    }
}
