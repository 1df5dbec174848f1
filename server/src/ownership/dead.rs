//! Servers that are surely dead: the link broke, and nothing listens at the address any longer. Their sessions last for seconds yet, and their
//! locks with them; what they owned need not wait for that.
//!
//! A machine that vanished, or a network that is cut, answers nothing: then the session's end is what tells.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::Duration;

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
}

impl Reconciler {
    /// Asks at the addresses of peers whose links broke.
    pub(super) async fn look_for_dead(&mut self) {
        let lost = std::mem::take(
            &mut *self.ownership.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        let peers = self.shell.peers.clone();
        let members: BTreeMap<ServerId, (u64, String)> = self
            .members
            .iter()
            .filter_map(|member| {
                Some((member.id.as_str().parse().ok()?, (member.incarnation, member.address.clone())))
            })
            .collect();
        let same = |server: &ServerId, incarnation: u64| {
            members.get(server).is_some_and(|(known, _)| *known == incarnation)
        };
        self.dead.found.retain(|server, incarnation| same(server, *incarnation) && !peers.is_linked(server));
        self.dead.suspects.extend(lost);
        self.dead.suspects.retain(|server| members.contains_key(server) && !peers.is_linked(server));
        let asked = self.dead.suspects.iter().map(|server| {
            let (incarnation, address) = &members[server];
            async move { (refuses(address).await, server.clone(), *incarnation) }
        });
        for (dead, server, incarnation) in futures::future::join_all(asked).await {
            if dead && !peers.is_linked(&server) {
                tracing::warn!(%server, "the server is dead: nothing listens at its address");
                self.dead.suspects.remove(&server);
                self.dead.found.insert(server, incarnation);
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
