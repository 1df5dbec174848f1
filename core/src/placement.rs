//! Placement: which servers hold which shards. A pure function of a snapshot and a seed, so that the same question has the same answer.
//!
//! Each shard gets as many holders as its group's id says (`backups`): machine rooms apart first, then the less loaded of two servers
//! picked at random. What need not move stays. Begin with [`place`]. Which holder owns a shard is [`hand_overs`]' part.

mod owners;

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::{ServerId, ShardId};
pub use owners::{HandOver, OwnedShard, hand_overs};

/// The most standbys moved in one round only to even out the load. A round a second moves a thousand shards in about a minute, while a
/// server loads at most a few shards at a time.
pub const MAX_EVENING_MOVES: usize = 16;

/// What the placer saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The servers of the server group; one not listed is gone.
    pub servers: Vec<Server>,
    /// Its shards.
    pub shards: Vec<Shard>,
}

/// A server that may hold shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Which one.
    pub id: ServerId,
    /// Its machine room: what is lost together.
    pub room: String,
    /// What may be given to it.
    pub standing: Standing,
}

/// What may be given to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It takes shards.
    Live,
    /// It was there a moment ago: it keeps what it holds, as it probably restarts, and gets nothing new.
    Away,
    /// It drains: what it holds goes to others, as soon as there are others.
    Leaving,
}

/// A shard and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Which one; its group says how many holders it wants.
    pub id: ShardId,
    /// The servers that hold it now, preferred owner first.
    pub holders: Vec<ServerId>,
}

/// Who is to hold a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Which shard.
    pub shard: ShardId,
    /// Its holders, preferred owner first, never two in one server.
    pub holders: Vec<Holder>,
    /// How many holders are missing because there are not enough servers: a reason to warn.
    pub missing: u32,
    /// Whether this differs from what stands.
    pub changed: bool,
}

/// A holder, and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which server.
    pub server: ServerId,
    /// Why.
    pub why: Why,
}

/// Why a server holds a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// It holds it already and nothing stands against it.
    Kept,
    /// It drains, and there is no other server yet.
    NobodyElse,
    /// The less loaded of two servers picked from the rooms that have no holder of the shard.
    OwnRoom,
    /// Every room has a holder of the shard: the less loaded of two servers picked from all.
    SharedRoom,
    /// Two holders shared a room, and this server stands in another one.
    RoomsApart,
    /// It carries much less than the server that held the shard.
    EvensOut,
}

impl Why {
    /// The reason as words for logs and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::NobodyElse => "nobody_else",
            Self::OwnRoom => "own_room",
            Self::SharedRoom => "shared_room",
            Self::RoomsApart => "rooms_apart",
            Self::EvensOut => "evens_out",
        }
    }
}

/// Places every shard of the snapshot, in shard order.
pub fn place(snapshot: &Snapshot, seed: u64) -> Vec<Placement> {
    let mut round = Round::new(snapshot, seed);
    round.keep();
    round.fill();
    round.part_rooms();
    round.even_out();
    round.finish()
}

/// Which live server takes a shard whose holders are empty or all gone: the first in rendezvous order, the same for everyone who asks.
pub fn adopter<'a>(shard: ShardId, live: impl Iterator<Item = &'a ServerId>) -> Option<&'a ServerId> {
    let shard = shard.to_string();
    live.max_by_key(|server| {
        let weight = xxh3_64_with_seed(server.as_str().as_bytes(), hash(shard.as_bytes(), 0));
        (weight, server.as_str())
    })
}

fn hash(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// One run of the placement.
struct Round<'a> {
    seed: u64,
    servers: BTreeMap<&'a ServerId, &'a Server>,
    live: Vec<&'a Server>,
    /// Positions held, by server.
    load: BTreeMap<&'a ServerId, usize>,
    /// First positions held, by server.
    firsts: BTreeMap<&'a ServerId, usize>,
    shards: Vec<Draft<'a>>,
}

struct Draft<'a> {
    before: &'a Shard,
    wanted: usize,
    holders: Vec<(&'a Server, Why)>,
}

impl<'a> Round<'a> {
    fn new(snapshot: &'a Snapshot, seed: u64) -> Self {
        let servers: BTreeMap<_, _> = snapshot.servers.iter().map(|server| (&server.id, server)).collect();
        let live = servers.values().copied().filter(|server| server.standing == Standing::Live).collect();
        let mut shards: Vec<_> = snapshot.shards.iter().collect();
        shards.sort_by_key(|shard| shard.id);
        let shards = shards
            .into_iter()
            .map(|before| Draft { before, wanted: before.id.group().backups() as usize, holders: Vec::new() })
            .collect();
        Self { seed, servers, live, load: BTreeMap::new(), firsts: BTreeMap::new(), shards }
    }

    /// Holders that are there or were a moment ago stay; those that drain stay only where nobody else can come.
    fn keep(&mut self) {
        for draft in &mut self.shards {
            let mut seen = BTreeSet::new();
            let known = draft.before.holders.iter().filter_map(|id| self.servers.get(id).copied());
            let mut holders: Vec<_> = known.filter(|server| seen.insert(&server.id)).collect();
            let others = self.live.iter().any(|live| !seen.contains(&live.id));
            let stays = |server: &&Server| match server.standing {
                Standing::Live | Standing::Away => true,
                Standing::Leaving => false,
            };
            let some_stay = holders.iter().any(stays);
            if some_stay || others {
                holders.retain(stays);
            }
            for server in holders.into_iter().take(draft.wanted) {
                let why = if server.standing == Standing::Leaving { Why::NobodyElse } else { Why::Kept };
                draft.holders.push((server, why));
                *self.load.entry(&server.id).or_default() += 1;
            }
            if let Some((first, _)) = draft.holders.first() {
                *self.firsts.entry(&first.id).or_default() += 1;
            }
        }
    }

    /// Missing holders are chosen.
    fn fill(&mut self) {
        for index in 0..self.shards.len() {
            let fresh = self.shards[index].holders.is_empty();
            while self.shards[index].holders.len() < self.shards[index].wanted {
                let draft = &self.shards[index];
                let apart = self.candidates(draft, true);
                let (candidates, why) = if apart.is_empty() {
                    (self.candidates(draft, false), Why::SharedRoom)
                } else {
                    (apart, Why::OwnRoom)
                };
                let Some(chosen) = self.less_loaded_of_two(draft, &candidates) else { break };
                *self.load.entry(&chosen.id).or_default() += 1;
                self.shards[index].holders.push((chosen, why));
            }
            if fresh {
                // A shard that nobody holds yet: the holder that is preferred least often becomes its owner.
                let firsts = &self.firsts;
                let holders = &mut self.shards[index].holders;
                let rank = |server: &Server| firsts.get(&server.id).copied().unwrap_or(0);
                if let Some(least) = (0..holders.len()).min_by_key(|place| (rank(holders[*place].0), *place))
                {
                    holders.swap(0, least);
                    let first = &holders[0].0.id;
                    *self.firsts.entry(first).or_default() += 1;
                }
            }
        }
    }

    /// Where two holders share a room and a room without one has a server, the later of the two gives way. One a shard and round, and
    /// never the preferred owner, so that a shard always keeps somebody who knows it.
    fn part_rooms(&mut self) {
        for index in 0..self.shards.len() {
            let draft = &self.shards[index];
            if draft.holders.len() < draft.wanted {
                continue;
            }
            let mut rooms = BTreeSet::new();
            let Some(shared) = draft.holders.iter().position(|(server, _)| !rooms.insert(&server.room))
            else {
                continue;
            };
            let candidates = self.candidates(draft, true);
            let Some(chosen) = self.less_loaded_of_two(draft, &candidates) else { continue };
            self.replace(index, shared, chosen, Why::RoomsApart);
        }
    }

    /// A server that carries less than half of the average takes standbys from the one that carries the most.
    fn even_out(&mut self) {
        if self.live.len() < 2 {
            return;
        }
        for _ in 0..MAX_EVENING_MOVES {
            let load = |server: &Server| self.load.get(&server.id).copied().unwrap_or(0);
            let total: usize = self.live.iter().map(|server| load(server)).sum();
            let (Some(least), Some(most)) = (
                self.live.iter().copied().min_by_key(|server| (load(server), &server.id)),
                self.live.iter().copied().max_by_key(|server| (load(server), &server.id)),
            ) else {
                return;
            };
            let much_less = load(least) * 2 * self.live.len() < total;
            if !much_less || load(most) < load(least) + 2 {
                return;
            }
            let Some((index, place)) = self.movable(most, least) else { return };
            self.replace(index, place, least, Why::EvensOut);
        }
    }

    /// A standby position of `from` that `to` may take without bringing rooms together.
    fn movable(&self, from: &Server, to: &Server) -> Option<(usize, usize)> {
        self.shards.iter().enumerate().find_map(|(index, draft)| {
            let place = draft
                .holders
                .iter()
                .position(|(server, _)| server.id == from.id)
                .filter(|place| *place > 0)?;
            let apart = draft.holders.iter().enumerate().all(|(other, (server, _))| {
                other == place || (server.id != to.id && (server.room != to.room || from.room == to.room))
            });
            (apart && draft.holders.len() == draft.wanted).then_some((index, place))
        })
    }

    fn replace(&mut self, index: usize, place: usize, by: &'a Server, why: Why) {
        let before = std::mem::replace(&mut self.shards[index].holders[place], (by, why)).0;
        if let Some(load) = self.load.get_mut(&before.id) {
            *load -= 1;
        }
        *self.load.entry(&by.id).or_default() += 1;
    }

    /// Live servers that do not hold the shard, of all rooms or only of those without a holder.
    fn candidates(&self, draft: &Draft<'a>, rooms_apart: bool) -> Vec<&'a Server> {
        let free = |server: &&&'a Server| {
            draft
                .holders
                .iter()
                .all(|(holder, _)| holder.id != server.id && (!rooms_apart || holder.room != server.room))
        };
        self.live.iter().filter(free).copied().collect()
    }

    fn less_loaded_of_two(&self, draft: &Draft<'a>, candidates: &[&'a Server]) -> Option<&'a Server> {
        let place = draft.holders.len() as u64;
        let pick = |nth: u64, count: usize| {
            let drawn = hash(draft.before.id.to_string().as_bytes(), self.seed ^ (place << 8 | nth));
            (drawn % count as u64) as usize
        };
        let first = match candidates {
            [] => return None,
            [only] => return Some(only),
            many => pick(0, many.len()),
        };
        // The second is drawn from the others, so that two are compared indeed.
        let second = (first + 1 + pick(1, candidates.len() - 1)) % candidates.len();
        let load = |server: &Server| self.load.get(&server.id).copied().unwrap_or(0);
        let (one, two) = (candidates[first], candidates[second]);
        Some(if load(two) < load(one) { two } else { one })
    }

    fn finish(self) -> Vec<Placement> {
        let place = |draft: Draft<'_>| {
            let holders: Vec<_> = draft
                .holders
                .iter()
                .map(|(server, why)| Holder { server: server.id.clone(), why: *why })
                .collect();
            Placement {
                shard: draft.before.id,
                missing: draft.wanted.saturating_sub(holders.len()) as u32,
                changed: !holders.iter().map(|holder| &holder.server).eq(draft.before.holders.iter()),
                holders,
            }
        };
        self.shards.into_iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::GroupId;

    fn server(name: &str, room: &str) -> Server {
        Server { id: name.parse().unwrap(), room: room.into(), standing: Standing::Live }
    }

    fn shards(backups: u32, count: u16) -> Vec<Shard> {
        let group = GroupId::new(101, 1, backups, 6601).unwrap();
        (0..count).map(|index| Shard { id: ShardId::new(group, index), holders: Vec::new() }).collect()
    }

    fn apply(snapshot: &mut Snapshot, placements: &[Placement]) {
        snapshot.shards = placements
            .iter()
            .map(|placement| Shard {
                id: placement.shard,
                holders: placement.holders.iter().map(|holder| holder.server.clone()).collect(),
            })
            .collect();
    }

    #[test]
    fn holders_stand_in_different_rooms_and_the_load_is_even() {
        let servers = vec![
            server("a1", "a"),
            server("a2", "a"),
            server("b1", "b"),
            server("b2", "b"),
            server("c1", "c"),
        ];
        let snapshot = Snapshot { servers, shards: shards(2, 200) };
        let placements = place(&snapshot, 7);
        let mut load: BTreeMap<&str, usize> = BTreeMap::new();
        let mut firsts: BTreeMap<&str, usize> = BTreeMap::new();
        for placement in &placements {
            assert_eq!((placement.holders.len(), placement.missing, placement.changed), (2, 0, true));
            let rooms: BTreeSet<_> =
                placement.holders.iter().map(|holder| &holder.server.as_str()[..1]).collect();
            assert_eq!(rooms.len(), 2, "{placement:?}");
            *firsts.entry(placement.holders[0].server.as_str()).or_default() += 1;
            for holder in &placement.holders {
                *load.entry(holder.server.as_str()).or_default() += 1;
            }
        }
        assert!(load.values().all(|load| (60..=100).contains(load)), "{load:?}");
        assert!(firsts.values().all(|firsts| (30..=50).contains(firsts)), "{firsts:?}");
    }

    #[test]
    fn too_few_servers_hold_what_they_can_and_the_rest_is_reported_missing() {
        let snapshot = Snapshot { servers: vec![server("a1", "a")], shards: shards(3, 1) };
        let placements = place(&snapshot, 1);
        assert_eq!((placements[0].holders.len(), placements[0].missing), (1, 2));
        assert!(place(&Snapshot { servers: vec![], shards: shards(1, 1) }, 1)[0].holders.is_empty());
    }

    #[test]
    fn a_server_that_is_away_for_a_moment_keeps_its_shards() {
        let mut snapshot = Snapshot {
            servers: vec![server("a1", "a"), server("b1", "b"), server("c1", "c")],
            shards: shards(2, 30),
        };
        let placements = place(&snapshot, 1);
        apply(&mut snapshot, &placements);
        snapshot.servers[1].standing = Standing::Away;
        assert!(place(&snapshot, 2).iter().all(|placement| !placement.changed));
    }

    #[test]
    fn a_server_that_leaves_is_replaced_and_one_that_joins_takes_its_part() {
        let mut snapshot = Snapshot {
            servers: vec![server("a1", "a"), server("b1", "b"), server("c1", "c")],
            shards: shards(2, 60),
        };
        let placements = place(&snapshot, 1);
        apply(&mut snapshot, &placements);
        snapshot.servers[0].standing = Standing::Leaving;
        snapshot.servers.push(server("d1", "d"));
        for seed in 0..20 {
            let placements = place(&snapshot, seed);
            apply(&mut snapshot, &placements);
        }
        let held = |name: &str| {
            snapshot.shards.iter().filter(|shard| shard.holders.iter().any(|id| id.as_str() == name)).count()
        };
        assert_eq!(held("a1"), 0);
        assert!(held("d1") >= 20, "{}", held("d1"));
    }

    #[test]
    fn the_last_server_keeps_its_shards_while_it_drains() {
        let mut snapshot = Snapshot { servers: vec![server("a1", "a")], shards: shards(2, 3) };
        let placements = place(&snapshot, 1);
        apply(&mut snapshot, &placements);
        snapshot.servers[0].standing = Standing::Leaving;
        for placement in place(&snapshot, 1) {
            assert_eq!(placement.holders[0].why, Why::NobodyElse);
            assert!(!placement.changed);
        }
    }

    #[test]
    fn rooms_come_apart_again_when_a_room_returns() {
        let group = GroupId::new(101, 1, 2, 6601).unwrap();
        let holders = vec!["a1".parse().unwrap(), "a2".parse().unwrap()];
        let shards = vec![Shard { id: ShardId::new(group, 0), holders }];
        let servers = vec![server("a1", "a"), server("a2", "a"), server("b1", "b")];
        let placement = &place(&Snapshot { servers, shards }, 1)[0];
        assert_eq!(placement.holders[0].why, Why::Kept);
        assert_eq!((placement.holders[1].server.as_str(), placement.holders[1].why), ("b1", Why::RoomsApart));
    }

    #[test]
    fn everyone_agrees_on_who_adopts() {
        let servers: Vec<ServerId> = ["a", "b", "c"].iter().map(|id| id.parse().unwrap()).collect();
        let shard = shards(1, 1)[0].id;
        let chosen = adopter(shard, servers.iter());
        assert_eq!(chosen, adopter(shard, servers.iter().rev()));
        assert_eq!(adopter(shard, std::iter::empty()), None);
    }

    proptest! {
        #[test]
        fn no_server_holds_a_shard_twice_and_as_many_hold_it_as_can(
            rooms in proptest::collection::vec((0u8..4, 0u8..3), 0..8),
            backups in 1u32..4,
            count in 0u16..40,
            held in proptest::collection::vec(proptest::collection::vec(0usize..10, 0..4), 40),
            seed: u64,
        ) {
            let servers: Vec<Server> = rooms.iter().enumerate().map(|(index, (room, standing))| Server {
                id: format!("s{index}").parse().unwrap(),
                room: room.to_string(),
                standing: [Standing::Live, Standing::Away, Standing::Leaving][*standing as usize],
            }).collect();
            let mut shards = shards(backups, count);
            for (shard, held) in shards.iter_mut().zip(held) {
                shard.holders = held.iter().map(|index| format!("s{index}").parse().unwrap()).collect();
            }
            let live = servers.iter().filter(|server| server.standing == Standing::Live).count();
            let mut snapshot = Snapshot { servers, shards };
            let placements = place(&snapshot, seed);
            prop_assert_eq!(&placements, &place(&snapshot, seed));
            for placement in &placements {
                let distinct: BTreeSet<_> = placement.holders.iter().map(|holder| &holder.server).collect();
                prop_assert_eq!(distinct.len(), placement.holders.len());
                prop_assert!(placement.holders.len() <= backups as usize);
                prop_assert!(placement.holders.len() >= live.min(backups as usize));
                prop_assert_eq!(placement.missing as usize + placement.holders.len(), backups as usize);
            }
            // It settles: what was placed is kept, but for moves that even the load out, and those end.
            let mut rounds = 0;
            loop {
                let placements = place(&snapshot, seed);
                if placements.iter().all(|placement| !placement.changed) {
                    break;
                }
                apply(&mut snapshot, &placements);
                rounds += 1;
                prop_assert!(rounds < 50, "it never settles");
            }
        }
    }
}
