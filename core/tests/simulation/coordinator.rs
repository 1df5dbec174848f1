//! ZooKeeper in small: sessions whose expiry it alone decides, and one ephemeral lock.

use std::collections::BTreeMap;

use carillon_core::time::{Span, Timestamp};

/// How long a session lives without a word from its server.
pub(crate) const SESSION: Span = Span::from_secs(6);

#[derive(Debug, Clone, Copy)]
struct Session {
    id: u64,
    expires_at: Timestamp,
}

/// What it holds.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    sessions: BTreeMap<usize, Session>,
    next_session: u64,
    /// The server and session that hold the trigger lock.
    lock: Option<(usize, u64)>,
}

impl Coordinator {
    /// A server is heard; true where its session is a new one, whose expiry is to be watched.
    pub(crate) fn hears(&mut self, server: usize, now: Timestamp) -> bool {
        let expires_at = now + SESSION;
        if let Some(session) = self.sessions.get_mut(&server) {
            session.expires_at = expires_at;
            return false;
        }
        self.next_session += 1;
        self.sessions.insert(server, Session { id: self.next_session, expires_at });
        true
    }

    /// A server that was started anew opens a session of its own; the one before runs out by itself.
    pub(crate) fn forgets_client(&mut self, server: usize) {
        if let Some(session) = self.sessions.remove(&server)
            && self.lock == Some((server, session.id))
        {
            // Nobody renews it: kept under a number that no server has until it would have expired.
            self.sessions.insert(server + ORPHANS, session);
            self.lock = Some((server + ORPHANS, session.id));
        }
    }

    /// Ends what was not heard of for too long; says when to look again.
    pub(crate) fn expire(&mut self, server: usize, now: Timestamp) -> Option<Timestamp> {
        let session = *self.sessions.get(&server)?;
        if session.expires_at > now {
            return Some(session.expires_at);
        }
        self.sessions.remove(&server);
        if self.lock == Some((server, session.id)) {
            self.lock = None;
        }
        None
    }

    /// Creates the lock if nobody has it; true where the server has it then.
    pub(crate) fn lock(&mut self, server: usize) -> bool {
        let Some(session) = self.sessions.get(&server) else { return false };
        *self.lock.get_or_insert((server, session.id)) == (server, session.id)
    }

    /// Takes the lock from whoever has it.
    pub(crate) fn displace(&mut self, server: usize) {
        if let Some(session) = self.sessions.get(&server) {
            self.lock = Some((server, session.id));
        }
    }

    /// Takes the lock away for no reason that a server could see.
    pub(crate) fn lose_lock(&mut self) {
        self.lock = None;
    }

    pub(crate) fn has_session(&self, server: usize) -> bool {
        self.sessions.contains_key(&server)
    }
}

/// Where sessions of processes that are gone are kept.
pub(crate) const ORPHANS: usize = 1_000;
