//! Attempts on locks whose outcome may stay unknown, one at a time per lock.
//!
//! Giving up on a request does not withdraw it: an abandoned create may take effect seconds later. So an attempt that ended
//! without a definite answer (or whose caller went away) stays on the books as a doubt, the lock is out of reach for
//! other attempts of this handle, and the session's task settles it before anything else happens to the lock.

use tokio::time::{Instant, timeout_at};

use crate::error::{CoordinationError, Result};
use crate::name::LockKey;
use crate::zookeeper::shared::Shared;

/// The attempt on a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempt {
    /// A call is at it.
    InFlight,
    /// Its outcome is to be found out.
    Doubtful(Doubt),
}

/// What may have taken effect, or may yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Taking the lock, on condition that the generation is still this one (`None`: no generation yet).
    Taking { expected: Option<i32> },
    /// Releasing the holding of this generation; it is to be released in any case.
    Releasing { generation: u64 },
}

/// A call's hold on a lock's place in the books, given back when dropped.
pub(super) struct AttemptGuard<'a> {
    shared: &'a Shared,
    key: &'a LockKey,
    session: u64,
    doubt: Option<Doubt>,
}

impl<'a> AttemptGuard<'a> {
    /// Waits until no other attempt on the lock is open.
    pub(super) async fn begin(
        shared: &'a Shared,
        key: &'a LockKey,
        session: u64,
        deadline: Instant,
        doing: &'static str,
    ) -> Result<Self> {
        let mut settled = shared.settled.subscribe();
        loop {
            {
                let mut view = shared.view();
                if view.session != session {
                    return Err(CoordinationError::SessionLost { doing });
                }
                if !view.attempts.contains_key(key) {
                    view.attempts.insert(key.clone(), Attempt::InFlight);
                    return Ok(Self { shared, key, session, doubt: None });
                }
            }
            if timeout_at(deadline, settled.changed()).await.is_err() {
                return Err(CoordinationError::Unavailable { doing, source: None });
            }
        }
    }

    /// To be called before sending what cannot be withdrawn.
    pub(super) fn sending(&mut self, doubt: Doubt) {
        self.doubt = Some(doubt);
    }

    /// To be called after a definite answer.
    pub(super) fn answered(&mut self) {
        self.doubt = None;
    }
}

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        let mut view = self.shared.view();
        // A lost session has taken its attempts along, and a doubt noted meanwhile weighs more than this attempt.
        if view.attempts.get(self.key) == Some(&Attempt::InFlight) {
            match self.doubt.take().filter(|_| view.session == self.session) {
                Some(doubt) => {
                    view.attempts.insert(self.key.clone(), Attempt::Doubtful(doubt));
                    self.shared.chores.notify_one();
                }
                None => {
                    view.attempts.remove(self.key);
                }
            }
        }
        drop(view);
        self.shared.settled.send_replace(());
    }
}

impl Shared {
    /// Notes that a holding must be released as soon as possible.
    pub(super) fn doubt_release(&self, session: u64, key: &LockKey, generation: u64) {
        let mut view = self.view();
        if view.session == session {
            view.attempts.insert(key.clone(), Attempt::Doubtful(Doubt::Releasing { generation }));
            self.chores.notify_one();
        }
    }

    /// All doubts to be settled.
    pub(super) fn doubts(&self) -> Vec<(LockKey, Doubt)> {
        let view = self.view();
        let doubtful = view.attempts.iter().filter_map(|(key, attempt)| match attempt {
            Attempt::Doubtful(doubt) => Some((key.clone(), doubt.clone())),
            Attempt::InFlight => None,
        });
        doubtful.collect()
    }

    /// A doubt is settled, if it is still the one on the books.
    pub(super) fn settle(&self, session: u64, key: &LockKey, doubt: &Doubt) {
        let mut view = self.view();
        if view.session == session && view.attempts.get(key) == Some(&Attempt::Doubtful(doubt.clone())) {
            view.attempts.remove(key);
        }
        drop(view);
        self.settled.send_replace(());
    }
}
