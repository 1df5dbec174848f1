//! Steps applied in one statement, without reading the rows first.
//!
//! An upsert assigns to each row under the condition that the step is legal, and the database counts what changed. If every step changed
//! its row, that is the answer. If one did not (a repeated report, a correction) or its row did not exist and was made, the caller undoes
//! it all and looks.

use std::fmt::Write as _;

use carillon_core::ids::PlanNo;
use carillon_core::run::RunState;

use crate::StoreError;
use crate::database::{Database, Existing, Insert};
use crate::runs::{Advance, Step};
use crate::sql::advance::result_text;
use crate::value::values;

/// Whether all steps are starts and ends, which need to know nothing of the row but its attempt, state and plan number.
pub(super) fn is_possible(steps: &[Advance]) -> bool {
    let plain = |step: &Step| match step {
        Step::Started { .. } => true,
        Step::Final { state, .. } => state.is_final(),
        Step::Retry { .. } | Step::Reopen { .. } | Step::LateNews { .. } => false,
    };
    !steps.is_empty() && steps.iter().all(|one| plain(&one.step))
}

const COLUMNS: &[&str] = &[
    "fire_time",
    "job",
    "ordinal",
    "attempt",
    "state",
    "worker",
    "started_at",
    "finished_at",
    "reason_code",
    "reason_detail",
    "result",
    "shard",
    "epoch",
    "job_version",
    "trigger_kind",
    "plan_no",
    "due_at",
    "start_by",
];

/// Applies all steps; false when one of them did not change its row. In key order, so that two batches with common runs wait for each
/// other instead of dead-locking, and in the given order for each run. By primary key.
pub(super) async fn advance_all<D: Database>(db: &mut D, steps: &[Advance]) -> Result<bool, StoreError> {
    let mut ordered: Vec<&Advance> = steps.iter().collect();
    ordered.sort_by_key(|step| step.key);
    let mut rows = Vec::with_capacity(steps.len() * COLUMNS.len());
    for Advance { key, attempt, step, .. } in ordered {
        rows.extend(values![key.fire_time, key.job, key.ordinal, *attempt]);
        // What a worker says is true of any plan.
        let mut seen = PlanNo::new(u32::MAX);
        match step {
            Step::Started { at, worker } => {
                rows.extend(values![RunState::Running, *worker, *at]);
                rows.extend(values![None::<i64>, None::<i64>, None::<i64>, None::<i64>]);
            }
            Step::Final { state, started_at, at, reason, result, seen: decided } => {
                seen = decided.unwrap_or(seen);
                rows.extend(values![*state, None::<i64>, *started_at, *at]);
                rows.extend(values![
                    reason.as_ref().map(|reason| reason.code),
                    reason.as_ref().map(|reason| reason.detail.as_str()),
                    result_text(result.as_ref())?,
                ]);
            }
            Step::Retry { .. } | Step::Reopen { .. } | Step::LateNews { .. } => return Ok(false),
        }
        // The rest has a value only because a row must, and the plan number for the condition; none is ever kept.
        rows.extend(values![0, 0, 0, 0, seen, 0, 0]);
    }
    let insert =
        Insert { table: "run", columns: COLUMNS, existing: Existing::Assign { assignments: assignments() } };
    let counted = db.insert(&insert, rows).await?;
    Ok(counted == 2 * steps.len() as u64)
}

/// Assignments are made from left to right and see those before them, so the state, which the condition reads, comes last.
fn assignments() -> String {
    let legal = legal();
    let mut assignments = format!(
        "worker = IF({legal}, COALESCE(VALUES(worker), worker), worker),
         started_at = IF({legal}, COALESCE(VALUES(started_at), started_at), started_at)"
    );
    for column in ["finished_at", "reason_code", "reason_detail", "result", "state"] {
        let _ = write!(assignments, ", {column} = IF({legal}, VALUES({column}), {column})");
    }
    assignments
}

/// The core's table of transitions as a condition, for the plan that was seen or an earlier one.
fn legal() -> String {
    let mut pairs = Vec::new();
    for before in RunState::ALL {
        let after: Vec<String> = RunState::ALL
            .into_iter()
            .filter(|after| before.can_become(*after))
            .map(|after| after.code().to_string())
            .collect();
        if !after.is_empty() {
            pairs.push(format!("(state = {} AND VALUES(state) IN ({}))", before.code(), after.join(", ")));
        }
    }
    format!("attempt = VALUES(attempt) AND plan_no <= VALUES(plan_no) AND ({})", pairs.join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_assigned_last() {
        let assignments = assignments();
        let last = assignments.rfind(" = IF(").unwrap();
        assert!(assignments[..last].ends_with(", state"), "{assignments}");
    }

    #[test]
    fn the_condition_is_the_table_of_the_core() {
        assert_eq!(
            legal(),
            "attempt = VALUES(attempt) AND plan_no <= VALUES(plan_no) AND ((state = 1 AND VALUES(state) IN (2, 3, 4, 5, 6, 7, 8, 9)) OR \
             (state = 2 AND VALUES(state) IN (1, 3, 4, 5, 6, 7)))"
        );
    }
}
