//! What can happen, and what is on its way.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use carillon_core::engine::{Arm, HeldRun, PlanNews, Report, WorkerInfo};
use carillon_core::ids::{AttemptNo, Epoch, Incarnation, JobVersion, PlanNo, RunKey};
use carillon_core::time::Timestamp;

use crate::store::Edited;

/// A process of a server: what was meant for an earlier one does not reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) server: usize,
    pub(crate) life: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A server's engine has something due.
    Wake(Process),
    /// The store answers the operation at the head of a server's queue.
    StoreAnswers(Process),
    /// The store answers a look at the shard's row.
    RowRead(Process),
    /// A server tells the coordinator that it lives.
    Ping(Process),
    /// The coordinator looks whether a session is over.
    Expire(usize),
    /// A server looks whether it should own the shard.
    Contend(Process),
    /// Its request for the lock reaches the coordinator.
    LockAsked(Process),
    /// It hears that it holds the lock.
    Locked(Process),
    /// A claim reaches the store.
    Claim(Process, Epoch, Claim),
    /// A server speaks to its peers, and looks at what it heard of them.
    Speak(Process),
    /// What a server says arrives at a peer.
    ToPeer(Process, usize, Rc<Speech>),
    /// A server begins to listen to another one's plan.
    Listen(Process, usize),
    ToWorker(Incarnation, usize, Message),
    ToServer(Process, Incarnation, Rc<Vec<Report>>),
    /// A worker's word that it leaves reaches a server.
    Left(Process, Incarnation, Vec<HeldRun>),
    WorkerWake(Incarnation),
    /// A worker repeats what nobody acknowledged.
    Repeat(Incarnation),
    Connect(Incarnation, usize),
    Start(usize),
    StartWorker(usize),
    Resume(Process),
    Edit,
    /// A console tells the owner of an edit.
    EditTold(Process, Box<Edited>),
    /// A console tells a holder of an edit that did not own the shard when it was made.
    StandbyTold(Process, Box<Edited>),
    Trigger,
    Trouble,
    /// The trouble of the mode that kills the owner.
    KillOwner,
    StoreBack,
    /// The store fails over to a replica that missed the last commits.
    Failover,
    /// A server's connections to the store broke and work again.
    StoreReplaced(Process),
    /// A server reaches the store, or the coordinator, again.
    Mend(Cut),
    Heal,
    /// The planning lead is judged.
    Judge,
}

/// How a server came to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    /// It holds the lock.
    ByLock,
    /// The shard is not planned.
    ForLackOfPlanning,
}

/// A connection that does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Cut {
    /// The store's answers do not arrive; its requests do where the flag is set.
    Store(usize, bool),
    Coordinator(usize),
    /// What the first says does not reach the second.
    Peer(usize, usize),
    Worker(Incarnation, usize),
}

/// What a server says to a worker.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Arm(Box<Arm>),
    Disarm(RunKey, AttemptNo, PlanNo, JobVersion, Epoch),
    Cancel(RunKey, AttemptNo),
    Ack(u64),
}

/// What a server says to another one.
#[derive(Debug)]
pub(crate) enum Speech {
    /// The owner's watermark, and the workers with a stream here.
    Round {
        watermark: Option<(Epoch, Timestamp, Timestamp)>,
        workers: Rc<BTreeMap<Incarnation, Rc<WorkerInfo>>>,
    },
    News(PlanNews),
}

impl Event {
    /// The process that has to be running for the event to happen.
    pub(crate) fn process(&self) -> Option<Process> {
        match self {
            Self::Wake(at)
            | Self::StoreAnswers(at)
            | Self::RowRead(at)
            | Self::Ping(at)
            | Self::Contend(at)
            | Self::Locked(at)
            | Self::Speak(at)
            | Self::ToPeer(at, ..)
            | Self::Listen(at, _)
            | Self::ToServer(at, ..)
            | Self::Left(at, ..)
            | Self::EditTold(at, _)
            | Self::StandbyTold(at, _)
            | Self::StoreReplaced(at)
            | Self::Resume(at) => Some(*at),
            _ => None,
        }
    }

    /// What of the event goes into the hash of a trace.
    pub(crate) fn digest(&self, hash: &mut impl Hasher) {
        std::mem::discriminant(self).hash(hash);
        self.process().hash(hash);
        match self {
            Self::LockAsked(by) => by.hash(hash),
            Self::Claim(by, epoch, how) => (by, epoch, how).hash(hash),
            Self::ToPeer(_, from, speech) => {
                from.hash(hash);
                if let Speech::News(news) = &**speech {
                    (news.epoch, &news.taken_back, news.opened.len(), &news.closed).hash(hash);
                }
            }
            Self::ToWorker(worker, server, message) => {
                (worker, server).hash(hash);
                match message {
                    Message::Arm(arm) => (arm.key, arm.attempt, arm.plan_no, arm.job_version).hash(hash),
                    Message::Disarm(key, attempt, plan_no, version, epoch) => {
                        (key, attempt, plan_no, version, epoch).hash(hash)
                    }
                    Message::Cancel(key, attempt) => (key, attempt).hash(hash),
                    Message::Ack(seq) => seq.hash(hash),
                }
            }
            Self::ToServer(_, worker, reports) => {
                worker.hash(hash);
                for report in reports.iter() {
                    (report.seq, report.key, report.attempt, report.plan_no, report.at).hash(hash);
                    std::mem::discriminant(&report.kind).hash(hash);
                }
            }
            Self::WorkerWake(worker) | Self::Repeat(worker) => worker.hash(hash),
            Self::Connect(worker, server) => (worker, server).hash(hash),
            Self::Start(place) | Self::StartWorker(place) | Self::Expire(place) => place.hash(hash),
            Self::Mend(cut) => cut.hash(hash),
            _ => {}
        }
    }
}
