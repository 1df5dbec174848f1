//! Spreading the owners over the holders. After a server was away, others own what it owned; little by little it gets a fair part back.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ServerId, ShardId};

/// A shard that has an owner.
#[derive(Debug, Clone, Copy)]
pub struct OwnedShard<'a> {
    /// Which one.
    pub id: ShardId,
    /// Who owns it.
    pub owner: &'a ServerId,
    /// Who holds it, preferred owner first.
    pub holders: &'a [ServerId],
}

/// A shard that goes from its owner to another of its holders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// Which one.
    pub shard: ShardId,
    /// Its owner.
    pub from: ServerId,
    /// The holder that owns at least two shards less.
    pub to: ServerId,
}

/// The next hand-overs that spread the owners, at most `most`, those that help most first. Only to live holders, which have the plan already,
/// and only where the owner owns at least two shards more than the holder: so it ends, and moves no more than it has to.
pub fn hand_overs(shards: &[OwnedShard<'_>], live: &BTreeSet<ServerId>, most: usize) -> Vec<HandOver> {
    let mut owned: BTreeMap<&ServerId, usize> = live.iter().map(|server| (server, 0)).collect();
    for shard in shards {
        if let Some(count) = owned.get_mut(shard.owner) {
            *count += 1;
        }
    }
    let mut moved = BTreeSet::new();
    let mut hand_overs = Vec::new();
    while hand_overs.len() < most {
        let mut best: Option<(usize, &OwnedShard<'_>, &ServerId)> = None;
        for shard in shards.iter().filter(|shard| !moved.contains(&shard.id)) {
            let Some(has) = owned.get(shard.owner).copied() else { continue };
            for holder in shard.holders.iter().filter(|holder| *holder != shard.owner) {
                let Some(gain) = owned.get(holder).and_then(|count| has.checked_sub(*count)) else {
                    continue;
                };
                if gain >= 2 && best.is_none_or(|(known, ..)| gain > known) {
                    best = Some((gain, shard, holder));
                }
            }
        }
        let Some((_, shard, to)) = best else { break };
        for (server, change) in [(shard.owner, -1), (to, 1)] {
            if let Some(count) = owned.get_mut(server) {
                *count = count.saturating_add_signed(change);
            }
        }
        moved.insert(shard.id);
        hand_overs.push(HandOver { shard: shard.id, from: shard.owner.clone(), to: to.clone() });
    }
    hand_overs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::GroupId;

    fn id(index: usize) -> ServerId {
        format!("s{index}").parse().unwrap()
    }

    fn shard(index: u16) -> ShardId {
        ShardId::new(GroupId::new(101, 1, 3, 6601).unwrap(), index)
    }

    #[test]
    fn a_server_that_is_back_gets_its_part_and_no_more() {
        let servers: BTreeSet<ServerId> = (0..3).map(id).collect();
        let holders: Vec<ServerId> = servers.iter().cloned().collect();
        let mut owners: Vec<ServerId> = (0..12).map(|index| id(index % 2)).collect();
        let mut moves = 0;
        loop {
            let shards: Vec<_> = (0..12u16)
                .map(|index| OwnedShard {
                    id: shard(index),
                    owner: &owners[usize::from(index)],
                    holders: &holders,
                })
                .collect();
            let next = hand_overs(&shards, &servers, 2);
            if next.is_empty() {
                break;
            }
            for made in next {
                assert_eq!(made.to, id(2));
                owners[usize::from(made.shard.index())] = made.to;
                moves += 1;
            }
        }
        assert_eq!(moves, 4);
    }

    proptest! {
        #[test]
        fn it_ends_and_never_makes_it_worse(
            held in proptest::collection::vec((0usize..5, proptest::collection::vec(0usize..5, 1..4)), 0..30),
            live in proptest::collection::btree_set(0usize..5, 0..5),
        ) {
            let live: BTreeSet<ServerId> = live.into_iter().map(id).collect();
            let mut owners: Vec<ServerId> = held.iter().map(|(owner, _)| id(*owner)).collect();
            let holders: Vec<Vec<ServerId>> =
                held.iter().map(|(_, holders)| holders.iter().map(|index| id(*index)).collect()).collect();
            for _ in 0..200 {
                let shards: Vec<_> = owners.iter().zip(&holders).enumerate()
                    .map(|(index, (owner, holders))| OwnedShard { id: shard(index as u16), owner, holders })
                    .collect();
                let next = hand_overs(&shards, &live, 2);
                if next.is_empty() {
                    return Ok(());
                }
                let spread = |owners: &[ServerId]| {
                    let count = |server| owners.iter().filter(|owner| *owner == server).count();
                    live.iter().map(|server| count(server).pow(2)).sum::<usize>()
                };
                let before = spread(&owners);
                for made in next {
                    let index = usize::from(made.shard.index());
                    prop_assert!(live.contains(&made.to) && holders[index].contains(&made.to));
                    prop_assert_eq!(&owners[index], &made.from);
                    owners[index] = made.to;
                }
                prop_assert!(spread(&owners) < before);
            }
            prop_assert!(false, "it never ends");
        }
    }
}
