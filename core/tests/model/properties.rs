//! The invariants of the trigger protocol as properties of the model, and what must be reachable so that they are not empty.

use carillon_core::job::WorkerLost;
use carillon_core::run::{ReasonCode, RunState};
use stateright::Property;

use crate::protocol::Protocol;
use crate::scope::{EditKind, Kind, Scope};
use crate::store::Store;
use crate::worker::attempts;
use crate::world::{Entry, FireNo, Row, World};

pub(crate) const ONE_ROW: &str = "I1: one row for every fire below the watermark, none above";
pub(crate) const NO_START_WITHOUT_ROW: &str = "I1: no start without its committed row";
pub(crate) const ONE_START: &str = "I3: at most one start for each attempt";
pub(crate) const CAUSES: &str = "I3: a further attempt has its recorded cause";
pub(crate) const STRICT: &str =
    "I3: under the strict policy no attempt starts after the next one was decided";
pub(crate) const EDITS_HOLD: &str = "I4: no start of an old version after the answered edit but those listed";
pub(crate) const SETTLES: &str =
    "I2, I5, I7: whatever went wrong and healed, in the end every run is where it should be";
pub(crate) const NEVER_BACK: &str = "I6: epoch, watermark, plan number and attempt never go back";
pub(crate) const PROOF: &str = "M: a run leaves a worker only with proof that it never starts there";

/// The properties that make sense in a scope.
pub(crate) fn of(scope: &Scope) -> Vec<Property<Protocol>> {
    let mut all = vec![
        Property::always(ONE_START, |protocol: &Protocol, world: &World| {
            protocol.fires().all(|fire| attempts().all(|attempt| world.starts(fire, attempt) <= 1))
        }),
        Property::always(CAUSES, |protocol: &Protocol, world: &World| {
            protocol.fires().all(|fire| {
                let attempt = row(world, fire).map_or(1, |row| row.attempt.get());
                world.store.causes[usize::from(fire)] + 1 == attempt
            })
        }),
        Property::always(STRICT, |_, world: &World| !world.breach.strict_overlap),
        Property::always(EDITS_HOLD, |_, world: &World| !world.breach.old_version),
        Property::always(PROOF, |_, world: &World| !world.breach.unproven_move),
        Property::always(SETTLES, |protocol: &Protocol, world: &World| {
            protocol.fires().all(|fire| is_settled(&protocol.scope, world, fire))
                || !protocol.is_at_rest(world)
        }),
    ];
    // A database that forgets acknowledged commits takes these with it; only the single start is left then.
    if !scope.kinds.contains(&Kind::LostCommit) {
        all.extend([
            Property::always(ONE_ROW, |protocol: &Protocol, world: &World| {
                let gone = protocol.scope.edit == Some(EditKind::Delete) && world.edit.made;
                protocol.fires().all(|fire| match row(world, fire) {
                    Some(_) => fire < world.store.planned,
                    None => fire >= world.store.planned || gone,
                })
            }),
            Property::always(NO_START_WITHOUT_ROW, |protocol: &Protocol, world: &World| {
                let committed = |fire| row(world, fire).map_or(0, |row| row.attempt.get());
                let started = |fire, attempt| world.starts(fire, attempt) > 0;
                protocol.fires().all(|fire| {
                    attempts().all(|attempt| !started(fire, attempt) || attempt.get() <= committed(fire))
                })
            }),
            Property::always(NEVER_BACK, |_, world: &World| !world.breach.went_back),
        ]);
    }
    if scope.mutant.is_none() {
        all.extend(reachable(scope));
    }
    all
}

/// What has to happen somewhere, or the world is too small to show anything.
fn reachable(scope: &Scope) -> Vec<Property<Protocol>> {
    let mut all = vec![Property::sometimes("every run started", |protocol: &Protocol, world: &World| {
        protocol.fires().all(|fire| attempts().any(|attempt| world.starts(fire, attempt) == 1))
    })];
    let has = |kind| scope.kinds.contains(&kind);
    if has(Kind::Mysql) && has(Kind::ServerCrash) {
        all.push(Property::sometimes("started with MySQL away and the owner dead", |_, world: &World| {
            let owner_dead = world.store.owner.is_some_and(|owner| !world.server(owner).up);
            let away = world.servers.iter().all(|server| !server.mysql);
            let reported = row(world, 0).is_some_and(|row| row.state != RunState::Planned);
            owner_dead && away && !reported && attempts().any(|attempt| world.starts(0, attempt) == 1)
        }));
    }
    if has(Kind::Refusal) || has(Kind::Leave) {
        all.push(Property::sometimes("moved with proof, and started there", |_, world: &World| {
            let moved = row(world, 0).filter(|row| row.plan_no.get() > 1 && row.attempt.get() == 1);
            moved.and_then(|row| Some((row.worker?, row.attempt))).is_some_and(|(worker, attempt)| {
                let gave_up = |entry| matches!(entry, Entry::Tombstone { .. });
                world.worker(worker).entry(0, attempt).has_started()
                    && world.workers.iter().any(|worker| gave_up(worker.entry(0, attempt)))
            })
        }));
    }
    if scope.worker_lost != WorkerLost::Skip && (has(Kind::WorkerCrash) || has(Kind::Link)) {
        all.push(Property::sometimes("the second attempt started", |_, world: &World| {
            attempts().nth(1).is_some_and(|second| world.starts(0, second) == 1)
        }));
    }
    if has(Kind::Expiry) {
        all.push(Property::sometimes("two servers believe to own the shard", |_, world: &World| {
            world.servers.iter().filter(|server| server.owns.is_some()).count() > 1
        }));
    }
    if scope.edit.is_some() {
        all.push(Property::sometimes(
            "an edit of an armed run answered with nothing listed",
            |_, world: &World| {
                let disarmed = |message: &crate::world::Message| message.order == crate::world::Order::Disarm;
                world.edit.answered && !world.edit.listed[0] && world.wire.iter().any(disarmed)
            },
        ));
    }
    all
}

fn row(world: &World, fire: FireNo) -> Option<Row> {
    world.store.rows[usize::from(fire)]
}

/// Whether a fire needs nothing any longer: its row is final, with the truth or a reason.
fn is_settled(scope: &Scope, world: &World, fire: FireNo) -> bool {
    if world.store.planned <= fire || world.edit.made && !world.edit.answered {
        return false;
    }
    let deleted = scope.edit == Some(EditKind::Delete) && world.edit.made;
    let Some(row) = row(world, fire) else { return deleted };
    let lives = |entry: fn(Entry) -> bool| {
        world.workers.iter().any(|worker| worker.alive && entry(worker.entry(fire, row.attempt)))
    };
    let ever =
        |entry: fn(Entry) -> bool| world.workers.iter().any(|worker| entry(worker.entry(fire, row.attempt)));
    let lost = row.reason == Some(ReasonCode::WorkerLost);
    match row.state {
        RunState::Running => !scope.handlers_end && lives(Entry::has_started),
        RunState::Succeeded => ever(|entry| entry == Entry::Ended),
        // A presumption, which the truth corrects as soon as someone can tell it.
        RunState::Missed | RunState::Dead if lost => !lives(|entry| entry == Entry::Ended),
        RunState::Missed => scope.deadlines && row.reason.is_some() && !ever(Entry::has_started),
        RunState::Cancelled => deleted && row.reason.is_some(),
        RunState::Planned | RunState::Failed | RunState::Dead | RunState::TimedOut | RunState::Skipped => {
            false
        }
    }
}

impl Store {
    /// Whether anything that only grows is larger here than in `later`.
    pub(crate) fn is_ahead_of(&self, later: &Self) -> bool {
        let row_is_ahead = |(here, there): (&Option<Row>, &Option<Row>)| match (here, there) {
            (Some(here), Some(there)) => (here.attempt, here.plan_no) > (there.attempt, there.plan_no),
            (here, there) => here.is_some() && there.is_none(),
        };
        self.epoch > later.epoch
            || self.planned > later.planned
            || self.jobs_version > later.jobs_version
            || self.rows.iter().zip(&later.rows).any(row_is_ahead)
    }
}
