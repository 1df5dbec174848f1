//! Servers that are surely dead: the link broke, and nothing listens at the address any longer. Their sessions last for seconds yet, and their
//! locks with them; what they owned need not wait for that.
//!
//! A machine that vanished, or a network that is cut, answers nothing: then the session's end is what tells.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::Duration;

use carillon_coordination::Member;
use carillon_core::ids::ServerId;
use tokio::net::TcpStream;

use super::Reconciler;

/// A machine whose server died refuses within a round trip.
const PATIENCE: Duration = Duration::from_millis(300);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Dead {
    /// By incarnation: who comes back is another process.
    found: BTreeMap<ServerId, u64>,
    /// Servers whose links broke and whose machines have not answered yet. A machine that is busy answers late.
    suspects: BTreeSet<ServerId>,
}

impl Dead {
    pub(super) fn contains(&self, server: &ServerId) -> bool {
        self.found.contains_key(server)
    }

    /// Takes note of broken links and of who is there; answers whom to ask, each with its incarnation and address.
    fn suspected(
        &mut self,
        lost: BTreeSet<ServerId>,
        members: &BTreeMap<ServerId, (u64, String)>,
        is_linked: impl Fn(&ServerId) -> bool,
    ) -> Vec<(ServerId, u64, String)> {
        let same = |server: &ServerId, incarnation: u64| {
            members.get(server).is_some_and(|(known, _)| *known == incarnation)
        };
        self.found.retain(|server, incarnation| same(server, *incarnation) && !is_linked(server));
        self.suspects.extend(lost);
        self.suspects.retain(|server| {
            members.contains_key(server) && !is_linked(server) && !self.found.contains_key(server)
        });
        let address = |server: &ServerId| {
            let (incarnation, address) = &members[server];
            (server.clone(), *incarnation, address.clone())
        };
        self.suspects.iter().map(address).collect()
    }

    /// Nothing listens at the server's address.
    fn found(&mut self, server: ServerId, incarnation: u64) {
        self.suspects.remove(&server);
        self.found.insert(server, incarnation);
    }
}

impl Reconciler {
    /// Asks at the addresses of peers whose links broke.
    pub(super) async fn look_for_dead(&mut self) {
        let lost = std::mem::take(
            &mut *self.ownership.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        let by_id = |member: &Member| {
            Some((member.id.as_str().parse().ok()?, (member.incarnation, member.address.clone())))
        };
        let members = self.members.iter().filter_map(by_id).collect();
        let peers = self.shell.peers.clone();
        let asked = self.dead.suspected(lost, &members, |server| peers.is_linked(server));
        let answers = asked.into_iter().map(|(server, incarnation, address)| async move {
            (refuses(&address).await, server, incarnation)
        });
        for (dead, server, incarnation) in futures::future::join_all(answers).await {
            if dead && !peers.is_linked(&server) {
                tracing::warn!(%server, "the server is dead: nothing listens at its address");
                self.dead.found(server, incarnation);
            }
        }
    }
}

/// Whether a machine answers that nothing listens there.
async fn refuses(address: &str) -> bool {
    match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Err(error)) => error.kind() == ErrorKind::ConnectionRefused,
        Ok(Ok(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerId {
        "server-1".parse().unwrap()
    }

    fn members(incarnation: u64) -> BTreeMap<ServerId, (u64, String)> {
        BTreeMap::from([(server(), (incarnation, "10.0.0.1:7710".to_owned()))])
    }

    fn asked(dead: &mut Dead, lost: bool, incarnation: u64, linked: bool) -> usize {
        let lost = lost.then(server).into_iter().collect();
        dead.suspected(lost, &members(incarnation), |_| linked).len()
    }

    #[test]
    fn a_server_that_has_not_answered_is_asked_again_until_it_is_linked_or_found_dead() {
        let mut dead = Dead::default();
        assert_eq!(asked(&mut dead, false, 1, false), 0, "its link has not broken");
        assert_eq!(asked(&mut dead, true, 1, false), 1);
        assert_eq!(asked(&mut dead, false, 1, false), 1, "its machine was busy");
        assert_eq!(asked(&mut dead, false, 1, true), 0);
        assert_eq!(asked(&mut dead, false, 1, false), 0, "it was linked again");
        assert_eq!(asked(&mut dead, true, 1, false), 1);
        dead.found(server(), 1);
        assert_eq!((asked(&mut dead, false, 1, false), dead.contains(&server())), (0, true));
    }

    #[test]
    fn who_comes_back_or_leaves_the_members_is_not_dead() {
        let mut dead = Dead::default();
        dead.found(server(), 1);
        assert_eq!((asked(&mut dead, false, 2, false), dead.contains(&server())), (0, false));
        assert_eq!(asked(&mut dead, true, 2, false), 1);
        assert!(dead.suspected(BTreeSet::new(), &BTreeMap::new(), |_| false).is_empty());
        assert_eq!(asked(&mut dead, false, 2, false), 0);
    }
}
