//! What the store makes of an engine's wishes, and what a server hears of it.

use carillon_core::change::Insertion;
use carillon_core::concern::Concern;
use carillon_core::engine::{Effect, Input};
use carillon_core::ids::{JobId, RunKey};
use carillon_core::run::{Run, RunState};
use rand::RngExt;

use super::super::store::Store;
use super::servers::Server;
use super::{Cut, Event, Mutant, SERVERS, World};

impl World {
    /// Whether the server's requests reach the store.
    pub(super) fn store_hears(&self, server: usize) -> bool {
        !self.store_down && !self.cuts.contains(&Cut::Store(server, false))
    }

    /// Whether the store's answers reach the server, too.
    pub(super) fn store_answers_to(&self, server: usize) -> bool {
        self.store_hears(server) && !self.cuts.contains(&Cut::Store(server, true))
    }

    pub(super) fn work_queue(&mut self, server: usize) {
        if self.servers[server].busy || self.servers[server].queue.is_empty() {
            return;
        }
        self.servers[server].busy = true;
        let wait = if self.servers[server].retried { 200 } else { 1 + self.hop() };
        self.after(wait, Event::StoreAnswers(self.process(server)));
    }

    pub(super) fn store_answers(&mut self, server: usize) {
        self.servers[server].busy = false;
        let Some(effect) = self.next_on_store(server) else { return };
        let lost = self.chance(0.03);
        if lost || !self.store_answers_to(server) {
            // The answer is lost; what was asked may have happened.
            if self.store_hears(server) && self.rng.random_bool(0.5) {
                self.apply_unheard(server, &effect);
            }
            self.servers[server].queue.push_front(effect);
            self.servers[server].retried = true;
            return self.work_queue(server);
        }
        let retried = std::mem::take(&mut self.servers[server].retried);
        self.apply(server, effect, retried);
        self.work_queue(server);
    }

    /// The next operation: the first one, as often as not another one that concerns nothing that those before it do.
    fn next_on_store(&mut self, server: usize) -> Option<Effect> {
        let Server { queue, retried, .. } = &self.servers[server];
        let mut place = 0;
        if queue.len() > 1 && !retried && self.rng.random_bool(0.5) {
            let concerns: Vec<_> = queue.iter().take(8).map(Effect::concern).collect();
            let meets = |one: &Option<Concern>, other: &Option<Concern>| {
                one.as_ref().zip(other.as_ref()).is_none_or(|(one, other)| one.meets(other))
            };
            let free =
                |place: &usize| !concerns[..*place].iter().any(|earlier| meets(earlier, &concerns[*place]));
            let free: Vec<usize> = (0..concerns.len()).filter(free).collect();
            place = free[self.rng.random_range(0..free.len())];
        }
        self.servers[server].queue.remove(place)
    }

    fn apply_unheard(&mut self, server: usize, effect: &Effect) {
        self.note(|| format!("APPLY unheard at {server}: {effect:?}"));
        match effect {
            Effect::CommitSlice(slice) => _ = self.store.commit_slice(slice),
            Effect::InsertRuns(runs) => _ = self.store.insert_fenced(runs),
            Effect::InsertTriggered(triggered) => _ = self.store.insert_triggered(triggered),
            Effect::Advance { steps, .. } => steps.iter().for_each(|step| _ = self.store.advance(step)),
            Effect::NextAttempt { advance, .. } => _ = self.store.advance(advance),
            Effect::Move(moves) => moves.iter().for_each(|made| _ = self.store.move_run(made)),
            _ => {}
        }
    }

    fn apply(&mut self, server: usize, effect: Effect, retried: bool) {
        self.note(|| format!("APPLY at {server} retried {retried}: {effect:?}"));
        match effect {
            Effect::CommitSlice(mut slice) => {
                let (epoch, to) = (slice.epoch, slice.to);
                if self.mutant == Mutant::SkipRows && slice.runs.len() > 1 {
                    slice.runs.pop();
                }
                let committed = (retried && self.store.has_slice(&slice)) || self.store.commit_slice(&slice);
                if committed || self.mutant == Mutant::DeliverUncommitted {
                    self.feed(server, Input::SliceCommitted { epoch, to });
                } else {
                    self.feed(server, Input::SliceRefused { epoch, to });
                }
            }
            Effect::InsertRuns(runs) => {
                if !self.store.insert_fenced(&runs) {
                    return self.feed(server, Input::Refused);
                }
                let open = self.still_open(runs.iter().map(|run| run.key));
                self.feed(server, Input::Inserted(open));
            }
            Effect::InsertTriggered(triggered) => {
                let own = triggered.run.key;
                let ours = match self.store.insert_triggered(&triggered) {
                    Insertion::New => true,
                    Insertion::Existing(key) => retried && key == own,
                    Insertion::Fenced => return self.feed(server, Input::Refused),
                };
                let open = if ours { self.still_open([own].into_iter()) } else { Vec::new() };
                self.feed(server, Input::Inserted(open));
            }
            Effect::Advance { steps, acks } => {
                let mut refused = false;
                for step in &steps {
                    refused |= !self.store.advance(step) && step.fence.is_some();
                }
                // Looked at after the commit: a successor that claims later reads what was written.
                let still_owns = self.servers[server].owns == Some(self.store.epoch);
                if still_owns {
                    self.acknowledge(server, &acks);
                }
                // What was done at an unheard first try is refused at the second: looking again is right then too.
                if refused || !still_owns {
                    self.feed(server, Input::Refused);
                }
            }
            Effect::NextAttempt { advance, acks } => {
                let applied = self.store.advance(&advance);
                if applied {
                    self.acknowledge(server, &acks);
                }
                let attempt = advance.attempt.next();
                self.feed(server, Input::NextAttempt { key: advance.key, attempt, applied });
            }
            Effect::Move(_) if retried => self.feed(server, Input::Refused),
            Effect::Move(moves) => {
                let made = moves.into_iter().map(|made| (made, self.store.move_run(&made))).collect();
                self.feed(server, Input::Moved(made));
            }
            Effect::Reload => self.read_back(server),
            Effect::ReadJob(job) => self.read_job(server, job),
            _ => unreachable!("not an effect on the store"),
        }
    }

    fn still_open(&self, keys: impl Iterator<Item = RunKey>) -> Vec<Run> {
        keys.filter_map(|key| self.store.runs.get(&key))
            .filter(|run| !run.state.is_final())
            .cloned()
            .collect()
    }

    fn read_back(&mut self, server: usize) {
        if self.finds_itself_replaced(server) {
            return;
        }
        let snapshot = self.store.snapshot();
        self.feed(server, Input::Own(Box::new(snapshot)));
    }

    fn read_job(&mut self, server: usize, job: JobId) {
        let is_owner = self.servers[server].owns.is_some();
        if is_owner {
            self.finds_itself_replaced(server);
        }
        let snapshot = self.store.job_snapshot(job);
        self.feed(server, Input::JobRead(Box::new(snapshot)));
    }

    fn finds_itself_replaced(&mut self, server: usize) -> bool {
        let owns = self.store.owner == Some(server) && self.servers[server].owns == Some(self.store.epoch);
        if !owns {
            self.servers[server].owns = None;
            self.feed(server, Input::Disown);
            // What others told of their plans before was not taken: it listens anew.
            self.listening.retain(|(_, to)| *to != server);
        }
        !owns
    }

    /// A standby's look at the row.
    pub(super) fn row_read(&mut self, server: usize) {
        if self.store_answers_to(server) && !self.chance(0.03) {
            let (epoch, planned_until) = (self.store.epoch, self.store.planned_until);
            self.feed(server, Input::ShardRead { epoch, planned_until });
        }
    }

    /// The store goes on from a replica that missed the last commits: plans, moves, starts, ends. Not those of people, of further attempts
    /// and of runs that follow another one's end (which no watermark brings back), nor plan numbers that an edit gives once more: their loss is the residual risk that the protocol names.
    pub(super) fn fail_over(&mut self) {
        let Some(replica) = self.replica.take() else { return };
        let same_decisions = replica.jobs_version == self.store.jobs_version
            && replica.idempotency.len() == self.store.idempotency.len()
            && replica.attempts.len() == self.store.attempts.len()
            && replica.delayed_runs() == self.store.delayed_runs();
        if same_decisions && replica.epoch == self.store.epoch {
            self.note(|| "FAILOVER".to_owned());
            self.failed_over_at = Some(self.now);
            let lost = |run: &&Run| {
                let before = replica.runs.get(&run.key);
                before.is_some_and(|before| before.attempt == run.attempt && before.plan_no < run.plan_no)
            };
            self.moves_lost.extend(self.store.runs.values().filter(lost).map(|run| run.key));
            let corrected = |run: &&Run| {
                let before = replica.runs.get(&run.key);
                before.is_some_and(|before| before.state == RunState::Cancelled && run.state != before.state)
            };
            self.corrections_lost.extend(self.store.runs.values().filter(corrected).map(|run| run.key));
            let failovers = self.store.failovers + 1;
            self.store = Store { failovers, ..*replica };
            // Connections break; a server that stands still sees it when it goes on.
            for server in 0..SERVERS {
                self.after(0, Event::StoreReplaced(self.process(server)));
            }
        }
    }
}
