//! One edit of the job while its fires are planned or armed (`carillon_core::edit` and `engine::edit`).

use carillon_core::run::{ReasonCode, RunState};

use crate::protocol::Protocol;
use crate::scope::{EditKind, Mutant};
use crate::store::version_in;
use crate::world::{FireNo, Message, OldPlan, Order, Row, Server, ServerNo, World};

impl Protocol {
    /// The console's transaction: the job set's version, and every planned row of the job cancelled or planned anew at its worker.
    pub(crate) fn edit(&self, world: &World) -> Option<World> {
        let kind = self.scope.edit.filter(|_| !world.edit.made)?;
        let mut next = world.clone();
        next.edit.made = true;
        next.store.jobs_version = world.store.jobs_version.next();
        let version = version_in(next.store.jobs_version);
        for (row, pending) in next.store.rows.iter_mut().zip(&mut next.edit.pending) {
            let Some(row) = row.as_mut().filter(|row| row.state == RunState::Planned) else { continue };
            let Row { attempt, plan_no, .. } = *row;
            *pending = row.worker.map(|worker| OldPlan { worker, attempt, plan_no });
            match kind {
                EditKind::Replace => (row.plan_no, row.version) = (plan_no.next(), version),
                EditKind::Delete => {
                    (row.state, row.reason) = (RunState::Cancelled, Some(ReasonCode::Deleted));
                }
            }
        }
        next.store.undo = None;
        Some(next)
    }

    pub(crate) fn knows_edit(&self, server: &Server) -> bool {
        server.jobs_version.get() > 0
    }

    pub(crate) fn withdraw(&self, world: &World, server: ServerNo, fire: FireNo) -> Option<World> {
        let OldPlan { worker: to, attempt, plan_no } = self.old_plan(world, server, fire)?;
        let message = Message { to, fire, attempt, plan_no, order: Order::Disarm };
        if !world.linked(server, to) || world.wire.contains(&message) {
            return None;
        }
        let mut next = world.clone();
        next.wire.insert(message);
        Some(next)
    }

    /// The worker's word: it never starts the old plan, or it has started; a worker that cannot be asked may start it yet.
    pub(crate) fn settle(&self, world: &World, server: ServerNo, fire: FireNo) -> Option<World> {
        let OldPlan { worker, attempt, plan_no } = self.old_plan(world, server, fire)?;
        let may_start =
            !world.linked(server, worker) || world.worker(worker).entry(fire, attempt).has_started();
        if !may_start && !world.proves(worker, fire, attempt, plan_no) {
            return None;
        }
        let mut next = world.clone();
        next.edit.pending[usize::from(fire)] = None;
        next.edit.listed[usize::from(fire)] = may_start;
        Some(next)
    }

    pub(crate) fn answer(&self, world: &World, server: ServerNo) -> Option<World> {
        let it = world.server(server);
        let waits =
            world.edit.pending.iter().any(Option::is_some) && !self.scope.has(Mutant::EditWithoutDisarm);
        if it.owns.is_none() || !self.knows_edit(it) || waits || world.edit.answered {
            return None;
        }
        let mut next = world.clone();
        next.edit.answered = true;
        Some(next)
    }

    /// What an owner that knows of the edit still has to withdraw.
    fn old_plan(&self, world: &World, server: ServerNo, fire: FireNo) -> Option<OldPlan> {
        let it = world.server(server);
        let pending = world.edit.pending[usize::from(fire)];
        pending.filter(|_| it.owns.is_some() && self.knows_edit(it))
    }
}
