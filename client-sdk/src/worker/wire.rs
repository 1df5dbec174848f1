//! Conversions between the wire and the ledger.

use carillon_proto::v1;

use super::ledger::{Arm, ClusterTime, Held, Kind, Overlap, Payload};
use crate::run_id::AttemptKey;

/// The limit of a `queue` policy that names none.
const DEFAULT_QUEUE: usize = 1_000;

/// An Arm of the wire; `None` where it names no run or a kind that this version does not know.
pub(crate) fn arm(arm: v1::Arm) -> Option<Arm> {
    let kind = match arm.kind() {
        v1::RunKind::Simple => Kind::Simple,
        v1::RunKind::Split => Kind::Split,
        v1::RunKind::Reduce => Kind::Reduce,
        v1::RunKind::Unspecified => return None,
    };
    let limit = arm.overlap_limit as usize;
    let overlap = match arm.overlap() {
        v1::Overlap::Parallel => Overlap::Parallel(limit),
        v1::Overlap::Skip => Overlap::Skip,
        v1::Overlap::Replace => Overlap::Replace,
        v1::Overlap::Queue | v1::Overlap::Unspecified => {
            Overlap::Queue(if limit == 0 { DEFAULT_QUEUE } else { limit })
        }
    };
    Some(Arm {
        key: AttemptKey { run: arm.run?.into(), attempt: arm.attempt, reduce: kind == Kind::Reduce },
        plan_no: arm.plan_no,
        job_version: arm.job_version,
        incarnation: arm.incarnation,
        due: ClusterTime::from_millis(arm.due_ms),
        start_by: ClusterTime::from_millis(arm.start_by_ms),
        shard: arm.shard,
        overlap,
        timeout_ms: arm.timeout_ms,
        kind,
        handler: arm.handler,
        payload: Payload {
            params: arm.params,
            trace_id: arm.trace_id.to_vec(),
            epoch: arm.epoch,
            max_attempts: arm.max_attempts,
            job_name: arm.job_name,
            description: arm.description,
        },
    })
}

pub(crate) fn held(held: Vec<Held>) -> Vec<v1::HeldRun> {
    held.into_iter()
        .map(|held| v1::HeldRun {
            run: Some(held.key.run.into()),
            attempt: held.key.attempt,
            plan_no: held.plan_no,
            started: held.started,
        })
        .collect()
}
