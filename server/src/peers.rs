//! The other servers of the server group: one stream to each, by which owners tell standbys what they plan, and by which a worker that only
//! one of them reaches is reached by all.
//!
//! Nothing in here decides. A link that breaks is a hint for the reconciler to look at once; with the next one everything is told anew: the
//! shards held, the workers, and each plan as soon as a watermark shows that it is not known.
//!
//! [`Peers`] is the table of links, and what the rest of the server tells by it. `dial` opens links, `link` keeps one, `heartbeat` speaks
//! every 100 ms, `relay` makes a worker's stream out of a peer's.

mod dial;
mod heartbeat;
mod link;
mod relay;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carillon_core::engine::{PlanNews, WorkerInfo};
use carillon_core::ids::{Epoch, GroupId, Incarnation, ServerId, ShardId};
use carillon_core::time::Timestamp;
use carillon_proto::v1::peer_message::Message;
use carillon_proto::v1::{self, PeerMessage};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::ownership::Ownership;
use crate::rpc::plan_news;
use crate::shard_loop::{Request, WorkerEvent};
use crate::switchboard::{Switchboard, WorkerLink};

pub(crate) use dial::{Dialer, PeerLoop};
pub(crate) use link::{MAX_PEER_BYTES, accept};

/// Messages that wait for a peer: a full plan of 300,000 runs is 150 of them. A peer that does not read is cut; it gets everything anew.
const OUTGOING: usize = 1_024;

/// An owner that was heard within this lives, whatever the coordinator says; ten watermarks.
const SPOKE_LATELY: Duration = Duration::from_secs(1);

/// A watermark that brings nothing new is passed on to the shard this often only.
const PASS_ON_AGAIN: Duration = Duration::from_secs(1);

/// A plan that was asked for and did not come is asked for again after this.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Yields to whoever takes it.
pub(crate) const ANYBODY: &str = "*";

/// The table of links.
pub(crate) struct Peers {
    pub(crate) me: ServerId,
    switchboard: Arc<Switchboard>,
    ownership: Ownership,
    metrics: Metrics,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    numbers: u64,
    links: HashMap<ServerId, Link>,
    /// Workers with streams to peers.
    workers: HashMap<Incarnation, Elsewhere>,
    /// Streams of workers by way of a peer.
    relays: HashMap<Incarnation, Relay>,
    /// The last word of each shard's owner.
    spoken: HashMap<ShardId, Spoken>,
    /// Owned shards that this server gives away, and to whom.
    yields: HashMap<ShardId, String>,
}

/// A stream to a peer.
struct Link {
    /// Tells it from an earlier one to the same peer.
    number: u64,
    outgoing: mpsc::Sender<PeerMessage>,
    close: CancellationToken,
    /// The shards that the peer holds.
    holds: HashSet<ShardId>,
    /// The shards that the peer was told are held here.
    told_held: Option<Vec<ShardId>>,
    /// What came of the plans of the shards that the peer owns.
    plans: HashMap<ShardId, Copied>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Copied {
    /// The full plan of this epoch came over this very link.
    epoch: Option<Epoch>,
    asked: Option<Instant>,
}

struct Elsewhere {
    group: GroupId,
    hello: Arc<v1::Hello>,
    info: Arc<WorkerInfo>,
    at: BTreeSet<ServerId>,
    /// Since when it has had no stream of its own to this server.
    missing_since: Option<Instant>,
}

struct Relay {
    number: u64,
    by: ServerId,
    said: mpsc::Sender<Result<v1::WorkerMessage, tonic::Status>>,
}

#[derive(Debug)]
struct Spoken {
    by: ServerId,
    epoch: Epoch,
    planned_until: Timestamp,
    at: Instant,
    passed_on: Instant,
    yields_to: String,
}

/// What an owner's last word says about its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnerSays {
    /// Nothing lately, or it was about another epoch.
    Nothing,
    /// It keeps the shard.
    Keeps,
    /// It gives the shard to this server, or to anybody.
    Take,
    /// It gives the shard to another server.
    Leave,
}

impl Peers {
    pub(crate) fn new(
        me: ServerId,
        switchboard: Arc<Switchboard>,
        ownership: Ownership,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self { me, switchboard, ownership, metrics, inner: Mutex::default() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change under the lock is complete in itself, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // What the rest of the server says and asks.

    /// Tells a shard's other holders what changed in its plan.
    pub(crate) fn tell(&self, shard: ShardId, news: &PlanNews) {
        let holders: Vec<ServerId> = {
            let inner = self.inner();
            let holds = |(_, link): &(&ServerId, &Link)| link.holds.contains(&shard);
            inner.links.iter().filter(holds).map(|(peer, _)| peer.clone()).collect()
        };
        if holders.is_empty() {
            return;
        }
        let messages = plan_news(shard, news);
        for peer in holders {
            for message in &messages {
                self.send(&peer, Message::PlanNews(message.clone()));
            }
        }
    }

    /// Tells one of them all of it.
    pub(crate) fn tell_all(&self, to: &ServerId, shard: ShardId, plan: &PlanNews) {
        for message in plan_news(shard, plan) {
            self.send(to, Message::PlanNews(message));
        }
    }

    /// Tells every peer that a worker has a stream here.
    pub(crate) fn worker_here(&self, link: &WorkerLink) {
        self.send_all(&Message::WorkerHere(v1::WorkerHere { hello: Some(hello_of(link)) }));
    }

    /// Tells every peer that it has not any longer.
    pub(crate) fn worker_gone(&self, incarnation: Incarnation) {
        self.send_all(&Message::WorkerGone(v1::WorkerGone { incarnation: incarnation.get() }));
    }

    /// The workers of a group that peers reach.
    pub(crate) fn workers_elsewhere(&self, group: GroupId) -> Vec<Arc<WorkerInfo>> {
        let inner = self.inner();
        inner
            .workers
            .values()
            .filter(|worker| worker.group == group)
            .map(|worker| worker.info.clone())
            .collect()
    }

    /// Passes a worker's word on to a peer; false where the peer does not want it any longer.
    pub(crate) fn relay_up(
        &self,
        to: &ServerId,
        incarnation: Incarnation,
        message: v1::WorkerMessage,
    ) -> bool {
        let incarnation = incarnation.get();
        self.send(to, Message::RelayUp(v1::RelayUp { incarnation, message: Some(message) }))
    }

    /// A shard's loop began anew here: what was told to the one before is forgotten.
    pub(crate) fn forget_plan(&self, shard: ShardId) {
        for link in self.inner().links.values_mut() {
            link.plans.remove(&shard);
        }
    }

    /// Says with the next watermark that this server gives an owned shard away; none takes that back.
    pub(crate) fn yields(&self, shard: ShardId, to: Option<&str>) {
        match to {
            Some(to) => _ = self.inner().yields.insert(shard, to.to_owned()),
            None => _ = self.inner().yields.remove(&shard),
        }
    }

    /// What the owner of this epoch said lately.
    pub(crate) fn owner_says(&self, shard: ShardId, epoch: Epoch) -> OwnerSays {
        let inner = self.inner();
        let Some(spoken) = inner.spoken.get(&shard) else { return OwnerSays::Nothing };
        if spoken.epoch != epoch
            || spoken.at.elapsed() > SPOKE_LATELY
            || !inner.links.contains_key(&spoken.by)
        {
            return OwnerSays::Nothing;
        }
        match spoken.yields_to.as_str() {
            "" => OwnerSays::Keeps,
            ANYBODY => OwnerSays::Take,
            to if to == self.me.as_str() => OwnerSays::Take,
            _ => OwnerSays::Leave,
        }
    }

    /// Whether there is a link to a peer: it lives.
    pub(crate) fn is_linked(&self, peer: &ServerId) -> bool {
        self.inner().links.contains_key(peer)
    }

    /// Whether a peer is linked and holds the shard with its plan, as far as it said so.
    pub(crate) fn stands_by(&self, peer: &ServerId, shard: ShardId) -> bool {
        self.inner().links.get(peer).is_some_and(|link| link.holds.contains(&shard))
    }

    // Sending.

    /// Queues a message for a peer; false without a link. A peer whose queue is full is cut.
    fn send(&self, to: &ServerId, message: Message) -> bool {
        let inner = self.inner();
        inner.links.get(to).is_some_and(|link| link.send(to, message))
    }

    fn send_all(&self, message: &Message) {
        for (peer, link) in &self.inner().links {
            link.send(peer, message.clone());
        }
    }

    // What a link does at its begin and end.

    /// Takes a link in, in place of an earlier one to the peer, which is closed. Returns its number.
    fn join(&self, peer: &ServerId, outgoing: mpsc::Sender<PeerMessage>, close: CancellationToken) -> u64 {
        let mut inner = self.inner();
        inner.numbers += 1;
        let number = inner.numbers;
        let link =
            Link { number, outgoing, close, holds: HashSet::new(), told_held: None, plans: HashMap::new() };
        if let Some(earlier) = inner.links.insert(peer.clone(), link) {
            earlier.close.cancel();
        }
        self.metrics.peer_links.set(inner.links.len() as i64);
        number
    }

    /// Forgets a link and what was known by it; nothing where a newer one has replaced it.
    async fn part(&self, peer: &ServerId, number: u64) {
        let gone = {
            let mut inner = self.inner();
            if inner.links.get(peer).is_none_or(|link| link.number != number) {
                return;
            }
            inner.links.remove(peer);
            self.metrics.peer_links.set(inner.links.len() as i64);
            inner.relays.retain(|_, relay| relay.by != *peer);
            inner.spoken.retain(|_, spoken| spoken.by != *peer);
            let known: Vec<Incarnation> = inner.workers.keys().copied().collect();
            known
                .into_iter()
                .filter_map(|worker| inner.gone_at(worker, peer).map(|group| (worker, group)))
                .collect::<Vec<_>>()
        };
        for (worker, group) in gone {
            self.tell_shards(group, || WorkerEvent::GoneElsewhere(worker)).await;
        }
        // A server that cannot be reached may be dead: its shards are looked at now.
        self.ownership.lost(peer);
    }

    async fn tell_shards(&self, group: GroupId, event: impl Fn() -> WorkerEvent) {
        for shard in self.switchboard.shards_of(group) {
            shard.worker(event()).await;
        }
    }

    // What peers say.

    async fn worker_elsewhere(&self, peer: &ServerId, group: GroupId, hello: v1::Hello, info: WorkerInfo) {
        let info = Arc::new(info);
        {
            let mut inner = self.inner();
            let known = inner.workers.entry(info.incarnation).or_insert_with(|| Elsewhere {
                group,
                hello: Arc::default(),
                info: info.clone(),
                at: BTreeSet::new(),
                missing_since: None,
            });
            known.at.insert(peer.clone());
            (known.hello, known.info) = (Arc::new(hello), info.clone());
        }
        self.tell_shards(group, || WorkerEvent::Elsewhere(info.clone())).await;
    }

    async fn worker_gone_elsewhere(&self, peer: &ServerId, worker: Incarnation) {
        let gone = {
            let mut inner = self.inner();
            if inner.relays.get(&worker).is_some_and(|relay| relay.by == *peer) {
                inner.relays.remove(&worker);
            }
            inner.gone_at(worker, peer)
        };
        if let Some(group) = gone {
            self.tell_shards(group, || WorkerEvent::GoneElsewhere(worker)).await;
        }
    }

    fn held_by(&self, peer: &ServerId, number: u64, shards: HashSet<ShardId>) {
        if let Some(link) = self.inner().links.get_mut(peer).filter(|link| link.number == number) {
            link.holds = shards;
        }
    }

    /// Takes an owner's word on one shard. Says whether the shard is to hear it, and whether its plan is to be asked for.
    fn spoke(&self, peer: &ServerId, number: u64, shard: ShardId, said: &v1::Watermark) -> (bool, bool) {
        let now = Instant::now();
        let mut inner = self.inner();
        let epoch = Epoch::new(said.epoch);
        let planned_until = Timestamp::from_millis(said.planned_until_ms);
        let before = inner.spoken.get(&shard).filter(|before| before.at.elapsed() <= SPOKE_LATELY);
        if before.is_some_and(|before| before.epoch > epoch) {
            // One that does not know yet that it was replaced.
            return (true, false);
        }
        let fresh = before.is_none_or(|before| {
            before.epoch != epoch
                || before.planned_until != planned_until
                || now - before.passed_on >= PASS_ON_AGAIN
        });
        let passed_on = before.filter(|_| !fresh).map_or(now, |before| before.passed_on);
        let kick = !said.yields_to.is_empty()
            && before.is_none_or(|before| before.yields_to != said.yields_to || before.epoch != epoch);
        let spoken = Spoken {
            by: peer.clone(),
            epoch,
            planned_until,
            at: now,
            passed_on,
            yields_to: said.yields_to.clone(),
        };
        inner.spoken.insert(shard, spoken);
        let wanted = inner.links.get_mut(peer).filter(|link| link.number == number).is_some_and(|link| {
            let copied = link.plans.entry(shard).or_default();
            let ask = copied.epoch != Some(epoch) && copied.asked.is_none_or(|at| now - at >= ASK_AGAIN);
            if ask {
                copied.asked = Some(now);
            }
            ask
        });
        if kick {
            self.ownership.kick();
        }
        (fresh, wanted)
    }

    /// Whether news of a plan follow on what this link brought before.
    fn follows(&self, peer: &ServerId, number: u64, shard: ShardId, news: &PlanNews) -> bool {
        let mut inner = self.inner();
        let Some(link) = inner.links.get_mut(peer).filter(|link| link.number == number) else { return false };
        let copied = link.plans.entry(shard).or_default();
        if news.full {
            copied.epoch = Some(news.epoch);
        }
        copied.epoch == Some(news.epoch)
    }

    /// What came of other owners' plans of a shard while this server believed to own it was not taken: they are asked for again.
    pub(crate) fn forget_plans_of(&self, shard: ShardId) {
        for link in self.inner().links.values_mut() {
            link.plans.remove(&shard);
        }
    }

    async fn plan_wanted(&self, peer: &ServerId, shard: ShardId) {
        if let Some(handle) = self.switchboard.shard(shard) {
            handle.request(Request::TellPlan { to: peer.clone() }).await;
        }
    }
}

impl Link {
    fn send(&self, to: &ServerId, message: Message) -> bool {
        match self.outgoing.try_send(PeerMessage { message: Some(message) }) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                if !self.close.is_cancelled() {
                    tracing::warn!(peer = %to, "the server does not read what it is told, so the link is closed and opened again");
                    self.close.cancel();
                }
                false
            }
        }
    }
}

impl Inner {
    /// Notes that a peer has a worker no longer; gives its group where nobody else has it.
    fn gone_at(&mut self, worker: Incarnation, peer: &ServerId) -> Option<GroupId> {
        let known = self.workers.get_mut(&worker)?;
        if !known.at.remove(peer) || !known.at.is_empty() {
            return None;
        }
        self.workers.remove(&worker).map(|known| known.group)
    }
}

/// What a worker said of itself, without its token and without what it held then.
fn hello_of(link: &WorkerLink) -> v1::Hello {
    v1::Hello {
        group: link.group.to_string(),
        token: String::new(),
        incarnation: link.info.incarnation.get(),
        name: link.info.name.clone(),
        handlers: link.handlers.to_vec(),
        labels: link.info.labels.clone().into_iter().collect(),
        room: link.info.room.clone(),
        sdk_version: link.sdk_version.clone(),
        held: Vec::new(),
    }
}
