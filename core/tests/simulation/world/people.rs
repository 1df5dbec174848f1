//! People and their programs: triggers and edits.

use carillon_core::engine::{Input, TriggerRequest};
use carillon_core::ids::{JobsVersion, RunKey};
use carillon_core::time::Span;
use rand::RngExt;

use super::{Event, PendingEdit, Promise, SERVERS, TROUBLE, World};
use crate::jobs;
use crate::store::Edited;

impl World {
    pub(super) fn trigger(&mut self) {
        let wait = self.rng.random_range(300..4_000);
        if self.now < self.start + TROUBLE + Span::from_secs(30) {
            self.after(wait, Event::Trigger);
        }
        let owner = (0..SERVERS).find(|server| {
            let server = &self.servers[*server];
            server.up && !server.paused && server.owns == Some(self.store.epoch)
        });
        let Some(owner) = owner else { return };
        let key = format!("key-{}", self.triggers);
        self.triggers += 1;
        let request = TriggerRequest { job: jobs::API, idempotency_key: key, params: None, trace: None };
        let twice = self.rng.random_bool(0.2);
        self.feed(owner, Input::Trigger(request.clone()));
        if twice {
            self.feed(owner, Input::Trigger(request));
        }
    }

    pub(super) fn edit(&mut self) {
        if self.healed {
            return;
        }
        let wait = self.rng.random_range(500..6_000);
        self.after(wait, Event::Edit);
        // An edit counts plan numbers on from the row; where a move was lost, its number is given twice.
        let moves_lost = self.failed_over_at.is_some_and(|at| self.now.since(at) < Span::from_secs(40));
        if self.store_down || moves_lost {
            return;
        }
        let (job, spec) = jobs::edited(&mut self.rng, &self.store.jobs);
        let edited = self.store.edit(job, spec, self.now);
        self.note(|| format!("EDIT job {} to version {}", edited.job, edited.version));
        self.doubtful.extend(&edited.touched);
        // The console asks the owner; where that does not answer it names every touched fire itself, which promises nothing.
        if let Some(owner) = self.store.owner {
            let hop = if self.chance(0.2) { self.rng.random_range(50..900) } else { self.hop() };
            let at = self.process(owner);
            self.after(hop, Event::EditTold(at, Box::new(edited.clone())));
        }
        // It tells the other holders too, where it reaches them.
        let owner = self.store.owner;
        for standby in (0..SERVERS).filter(|server| owner != Some(*server)) {
            if self.rng.random_bool(0.8) {
                let (hop, at) = (self.hop(), self.process(standby));
                self.after(hop, Event::StandbyTold(at, Box::new(edited.clone())));
            }
        }
    }

    pub(super) fn edit_told(&mut self, server: usize, edited: Edited) {
        let Edited { jobs_version, job, version, touched } = edited;
        let asked = server;
        self.pending_edits.push(PendingEdit { asked, jobs_version, job, version, touched: touched.clone() });
        self.feed(server, Input::JobsChanged { jobs_version, job, touched });
    }

    pub(super) fn standby_told(&mut self, server: usize, edited: Edited) {
        let Edited { jobs_version, job, touched, .. } = edited;
        self.feed(server, Input::JobsChanged { jobs_version, job, touched });
    }

    pub(super) fn settled(&mut self, server: usize, jobs_version: JobsVersion, may_start: &[RunKey]) {
        let asked = |edit: &PendingEdit| edit.jobs_version == jobs_version && edit.asked == server;
        let Some(place) = self.pending_edits.iter().position(asked) else { return };
        let PendingEdit { job, version, touched, .. } = self.pending_edits.remove(place);
        for key in touched.iter().filter(|key| !may_start.contains(key)) {
            self.doubtful.remove(key);
        }
        self.note(|| format!("ACK edit of job {job} to version {version}, may start: {may_start:?}"));
        let may_start = may_start.iter().copied().collect();
        self.promises.push(Promise { job, version, may_start });
    }
}
