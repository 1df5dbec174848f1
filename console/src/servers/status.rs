//! What the live servers say of themselves, asked all at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use carillon_coordination::Member;
use carillon_core::ids::GroupId;
use carillon_proto::v1;
use futures::future::join_all;
use tokio::time::Instant;

use super::Servers;
use crate::problem::Result;

/// A page waits no longer for a server that does not answer.
const STATUS_DEADLINE: Duration = Duration::from_millis(1_500);

/// How old answers may be that pages share.
const RECENT: Duration = Duration::from_secs(1);

/// Names of workers that are older are asked for by whoever needs them: nobody refreshes them. A worker that connects meanwhile is shown by its
/// number for a moment.
const NAMES_AGE: Duration = Duration::from_secs(6);

/// Names are refreshed for so long after somebody wanted them: nobody looks at a console that is left alone.
const NAMES_WANTED: Duration = Duration::from_secs(60);

/// Names remembered of workers that were seen: enough for a large fleet with its restarts of a day.
const MOST_NAMES: usize = 20_000;

/// What was learnt of workers' names.
#[derive(Debug, Default)]
pub(super) struct WorkerNames {
    names: HashMap<u64, String>,
    asked_at: Option<Instant>,
    wanted_at: Option<Instant>,
}

/// A live server and what it answered; none when it did not.
#[derive(Debug, Clone)]
pub(crate) struct ServerReport {
    pub(crate) member: Member,
    pub(crate) status: Option<v1::StatusAnswer>,
}

/// Answers of all servers, kept for a moment.
pub(super) type Recent = tokio::sync::Mutex<Option<(Instant, Arc<Vec<ServerReport>>)>>;

impl Servers {
    /// As [`Self::statuses`], at most a second old: for pages that many people keep open.
    pub(crate) async fn recent_statuses(&self) -> Result<Arc<Vec<ServerReport>>> {
        let mut recent = self.recent.lock().await;
        if let Some((at, reports)) = recent.as_ref().filter(|(at, _)| at.elapsed() < RECENT) {
            tracing::trace!(age = ?at.elapsed(), "the servers answered lately");
            return Ok(Arc::clone(reports));
        }
        let reports = Arc::new(self.statuses().await?);
        *recent = Some((Instant::now(), Arc::clone(&reports)));
        Ok(reports)
    }

    /// Asks every live server for its status.
    pub(crate) async fn statuses(&self) -> Result<Vec<ServerReport>> {
        let live = self.live().await?;
        Ok(join_all(live.into_iter().map(|member| self.report(member))).await)
    }

    async fn report(&self, member: Member) -> ServerReport {
        let status = match self.client(&member.address) {
            Err(_) => None,
            Ok(mut client) => {
                let asked = tokio::time::timeout(STATUS_DEADLINE, client.status(v1::StatusRequest {})).await;
                asked.ok().and_then(Result::ok).map(tonic::Response::into_inner)
            }
        };
        ServerReport { member, status }
    }

    /// The handlers that the connected workers of a group have; none when a server did not answer, so that nobody can be sure.
    pub(crate) async fn handlers(&self, group: GroupId) -> Option<BTreeSet<String>> {
        let mut live = self.live().await.ok()?;
        live.retain(|member| member.server_group == group.server_group());
        let reports = join_all(live.into_iter().map(|member| self.report(member))).await;
        let group = group.to_string();
        let mut handlers = BTreeSet::new();
        for report in reports {
            let workers = report.status?.workers;
            let of_group = workers.into_iter().filter(|worker| worker.group == group);
            handlers.extend(of_group.flat_map(|worker| worker.handlers).map(|handler| handler.name));
        }
        Some(handlers)
    }

    /// The names of workers that are connected or were lately, by incarnation. Nobody waits for the servers as long as
    /// [`Self::refresh_names`] is called.
    pub(crate) async fn worker_names(&self) -> HashMap<u64, String> {
        {
            let mut known = self.lock_names();
            known.wanted_at = Some(Instant::now());
            if known.asked_at.is_some_and(|at| at.elapsed() < NAMES_AGE) {
                return known.names.clone();
            }
        }
        self.ask_names().await;
        self.lock_names().names.clone()
    }

    /// Learns the names anew, where somebody wanted them lately.
    pub(crate) async fn refresh_names(&self) {
        let wanted = self.lock_names().wanted_at.is_some_and(|at| at.elapsed() < NAMES_WANTED);
        if wanted {
            self.ask_names().await;
        }
    }

    async fn ask_names(&self) {
        // Whoever comes while the servers are asked is content with the names there are.
        self.lock_names().asked_at = Some(Instant::now());
        let reports = self.statuses().await.unwrap_or_default();
        let mut known = self.lock_names();
        if known.names.len() > MOST_NAMES {
            known.names.clear();
        }
        let workers =
            reports.into_iter().filter_map(|report| report.status).flat_map(|status| status.workers);
        known.names.extend(workers.map(|worker| (worker.incarnation, worker.name)));
    }

    fn lock_names(&self) -> MutexGuard<'_, WorkerNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
