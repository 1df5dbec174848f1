//! Overlap: what the earlier runs of a job mean for the next one.

use super::Engine;
use super::open_run::{OpenRun, Phase};
use crate::ids::RunKey;
use crate::job::{JobKind, Overlap};
use crate::run::{Reason, ReasonCode, RunState};
use crate::time::Timestamp;

/// What the runs of the same job before it mean for a run.
pub(super) enum Turn {
    /// It may be armed.
    Free,
    /// It waits until an earlier one is final.
    Wait,
    /// It is not to start at all.
    Never(RunState, Reason),
    /// It waits, and the earlier one is asked to stop.
    Replace(RunKey),
}

impl Engine {
    /// What the earlier runs of the job mean for this one.
    pub(super) fn turn(&self, now: Timestamp, key: RunKey) -> Turn {
        let owned = self.owned_ref();
        let open = &owned.runs[&key];
        let Some(job) = open.job.as_ref().map(|job| &job.job) else {
            let reason = Reason::new(ReasonCode::Deleted, "the job was deleted before the run started");
            return Turn::Never(RunState::Cancelled, reason);
        };
        if !job.spec.enabled && !Self::is_by_request(open) {
            let reason = Reason::new(ReasonCode::Paused, "the job was paused before the run started");
            return Turn::Never(RunState::Cancelled, reason);
        }
        let siblings = &owned.by_job[&key.job];
        let overlap = job.spec.overlap;
        if let Overlap::Parallel { max } = overlap {
            let busy = owned.occupied.get(&key.job).copied().unwrap_or(0);
            return if busy < max as usize { Turn::Free } else { Turn::Wait };
        }
        // A run that no worker can take holds nobody up: the misfire policy decides between them.
        let placed = |(_, other): &&(Timestamp, RunKey)| owned.runs[other].phase != Phase::Unplaced;
        let Some((_, earlier)) = siblings.range(..open.order()).rev().find(placed) else { return Turn::Free };
        let previous = &owned.runs[earlier];
        // One worker has both: its JobPool enforces the policy exactly. A parallel run has left its worker, so the owner does.
        let met = previous.phase.is_at_worker()
            && previous.run.worker == open.run.worker
            && job.spec.kind == JobKind::Simple;
        if met {
            return Turn::Free;
        }
        if now < open.run.due_at {
            return Turn::Wait;
        }
        let since = previous.run.due_at;
        match overlap {
            Overlap::Skip if previous.phase.occupies() => Turn::Never(
                RunState::Skipped,
                Reason::new(
                    ReasonCode::Overlap,
                    format!("run {earlier} of the job, due at {since}, was still running"),
                ),
            ),
            Overlap::Replace if previous.cancel.is_none() => Turn::Replace(*earlier),
            Overlap::Queue { .. } => {
                let limit = Self::queue_limit(overlap);
                let waiting = siblings
                    .range(..open.order())
                    .filter(|(_, other)| !owned.runs[other].phase.occupies())
                    .count();
                if waiting >= limit && open.phase != Phase::Held {
                    return Turn::Never(
                        RunState::Skipped,
                        Reason::new(
                            ReasonCode::QueueFull,
                            format!("{waiting} runs of the job were waiting, the limit is {limit}"),
                        ),
                    );
                }
                Turn::Wait
            }
            _ => Turn::Wait,
        }
    }

    /// Waits for an earlier run of the job; its end wakes this one, and so does its own due time for the policies that look then.
    pub(super) fn hold(&mut self, now: Timestamp, key: RunKey) {
        let owned = self.owned_mut();
        owned.set_phase(key, Phase::Held);
        let due_at = owned.runs[&key].run.due_at;
        owned.wake(key, (due_at > now).then_some(due_at));
    }

    pub(super) fn is_by_request(open: &OpenRun) -> bool {
        open.run.trigger.is_by_request()
    }
}
