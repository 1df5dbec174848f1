//! Parallel runs: the two-level map, driven by the owner of the run's shard.
//!
//! [`MapHub`] is the one handle the rest of the server has on it. The shard loop forwards the engine's `MapOpen` and `MapAbort`; the
//! worker gateway forwards what workers say about subtasks, and when they come and go. None of these calls waits: what takes time is
//! queued inside. News for the engine go back through [`ShardHandle::request`](crate::shard_loop::ShardHandle::request) as
//! [`Request::Tell`](crate::shard_loop::Request::Tell) of an `Input::MapSplit` or `Input::MapEnded`; messages to workers go through
//! [`Switchboard::send`](crate::switchboard::Switchboard::send).

use std::sync::Arc;

use carillon_core::engine::JobInForce;
use carillon_core::ids::{AttemptNo, Epoch, GroupId, Incarnation, RunKey, ShardId};
use carillon_core::run::Run;
use carillon_proto::v1;
use carillon_store::SharedStore;

use crate::clock::Clock;
use crate::rpc::convert::BadField;
use crate::switchboard::{Switchboard, WorkerLink};

/// The maps of the parallel runs whose shards are owned here.
pub(crate) struct MapHub {
    _store: SharedStore,
    _clock: Clock,
    _switchboard: Arc<Switchboard>,
}

/// Which worker says something.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "the driver of maps is not merged yet")]
pub(crate) struct From {
    pub(crate) incarnation: Incarnation,
    pub(crate) group: GroupId,
}

#[expect(
    clippy::unused_self,
    clippy::unused_async,
    clippy::unnecessary_wraps,
    reason = "the driver of maps is not merged yet"
)]
impl MapHub {
    pub(crate) fn new(store: SharedStore, clock: Clock, switchboard: Arc<Switchboard>) -> Arc<Self> {
        Arc::new(Self { _store: store, _clock: clock, _switchboard: switchboard })
    }

    /// Drives the map of a run from what the store knows; again for one that is driven already changes nothing.
    pub(crate) fn open(&self, shard: ShardId, epoch: Epoch, run: Run, job: Arc<JobInForce>) {
        tracing::error!(run = %run.key, job = %job.job.id, %shard, %epoch, "parallel runs cannot be driven by this build");
    }

    /// Stops driving it.
    pub(crate) fn abort(&self, _shard: ShardId, _key: RunKey, _attempt: AttemptNo) {}

    /// Stops driving every map of a shard that this server owns no longer; nothing more is written for them.
    pub(crate) fn disown(&self, _shard: ShardId) {}

    pub(crate) fn worker_joined(&self, _link: &WorkerLink) {}

    pub(crate) fn worker_parted(&self, _incarnation: Incarnation) {}

    pub(crate) fn emit(&self, _from: From, _emit: v1::Emit) -> Result<(), BadField> {
        Ok(())
    }

    pub(crate) fn credit(&self, _from: From, _credit: v1::SubtaskCredit) -> Result<(), BadField> {
        Ok(())
    }

    pub(crate) fn results(&self, _from: From, _results: v1::SubtaskResults) -> Result<(), BadField> {
        Ok(())
    }

    pub(crate) fn held(&self, _from: From, _held: v1::SubtasksHeld) -> Result<(), BadField> {
        Ok(())
    }

    pub(crate) fn reduce_credit(&self, _from: From, _credit: v1::ReduceCredit) -> Result<(), BadField> {
        Ok(())
    }

    /// A report whose `run_kind` is `REDUCE`; the hub acknowledges it.
    pub(crate) fn reduce_report(&self, _from: From, _report: v1::Report) -> Result<(), BadField> {
        Ok(())
    }

    /// The next attempt of a run is to process only the subtasks that failed in `attempt`.
    pub(crate) async fn retry_failed_only(
        &self,
        _key: RunKey,
        _attempt: AttemptNo,
    ) -> Result<(), tonic::Status> {
        Err(tonic::Status::unimplemented("parallel runs cannot be driven by this build"))
    }

    /// Progress of a map driven here.
    pub(crate) fn progress(&self, _key: RunKey) -> Option<v1::MapProgressAnswer> {
        None
    }
}
