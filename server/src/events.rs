//! What pages see as it happens: runs that changed (coalesced), and the figures of each second. For observers only: nothing is decided
//! by it, and what nobody reads costs next to nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carillon_core::ids::{AttemptNo, GroupId, RunKey};
use carillon_core::run::RunState;
use carillon_proto::v1::{Changed, RunChanged, Stats, WatchEvent, watch_event::Event};
use hdrhistogram::Histogram;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::rpc::convert::run_ref;
use crate::switchboard::Switchboard;

/// Events that wait for a slow watcher; one that lags is told that everything may have changed.
const WATCH_BUFFER: usize = 4_096;

/// How often changes of runs are passed on. A person sees no difference, and a run that starts and ends within it is one event.
const COALESCE: Duration = Duration::from_millis(200);

/// Runs whose change is passed on in one round; beyond it only "runs" as a whole, since no page shows more.
const RUNS_A_ROUND: usize = 1_000;

/// An event with the group it is about; none concerns everybody.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) group: Option<GroupId>,
    pub(crate) event: WatchEvent,
}

/// Gathers what observers may see.
#[derive(Debug)]
pub(crate) struct Events {
    pending: Mutex<Pending>,
    second: Mutex<Second>,
    sender: broadcast::Sender<Observed>,
}

#[derive(Debug, Default)]
struct Pending {
    runs: BTreeMap<RunKey, (GroupId, AttemptNo, RunState)>,
    too_many: bool,
}

/// The figures of the running second.
#[derive(Debug)]
struct Second {
    fires: u64,
    succeeded: u64,
    failed: u64,
    /// Microseconds, 1 us to 10 min, two digits.
    lateness: Histogram<u32>,
}

/// What one step of a shard adds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Handlers that started, with their lateness in milliseconds.
    pub(crate) started: Vec<(RunKey, i64)>,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) missed: u64,
    pub(crate) skipped: u64,
    pub(crate) changed: Vec<(RunKey, AttemptNo, RunState)>,
}

impl Tally {
    pub(crate) fn is_empty(&self) -> bool {
        self.started.is_empty() && self.changed.is_empty()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Figures for people: a panic while one was counted leaves nothing worth refusing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Events {
    pub(crate) fn new() -> Self {
        let lateness = Histogram::new_with_bounds(1, 600_000_000, 2)
            .expect("the bounds are in order and two digits are allowed");
        let second = Second { fires: 0, succeeded: 0, failed: 0, lateness };
        Self {
            pending: Mutex::default(),
            second: Mutex::new(second),
            sender: broadcast::channel(WATCH_BUFFER).0,
        }
    }

    /// Counts what a shard's step brought.
    pub(crate) fn tally(&self, group: GroupId, tally: &Tally) {
        {
            let mut second = locked(&self.second);
            second.fires += tally.started.len() as u64;
            second.succeeded += tally.succeeded;
            second.failed += tally.failed;
            for (_, lateness) in &tally.started {
                second.lateness.saturating_record(lateness.max(&0).unsigned_abs() * 1_000);
            }
        }
        if self.sender.receiver_count() == 0 {
            return;
        }
        let mut pending = locked(&self.pending);
        for (key, attempt, state) in &tally.changed {
            if pending.runs.len() >= RUNS_A_ROUND && !pending.runs.contains_key(key) {
                pending.too_many = true;
                break;
            }
            pending.runs.insert(*key, (group, *attempt, *state));
        }
    }

    /// Says that something as a whole may have changed: `workers`, `shards`.
    pub(crate) fn changed(&self, what: &str, id: String, group: Option<GroupId>) {
        let event = Event::Changed(Changed { what: what.into(), id });
        // Nobody listening is no failure.
        let _ = self.sender.send(Observed { group, event: WatchEvent { event: Some(event) } });
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Observed> {
        self.sender.subscribe()
    }

    fn pass_on(&self) {
        let Pending { runs, too_many } = std::mem::take(&mut *locked(&self.pending));
        for (key, (group, attempt, state)) in runs {
            let run = RunChanged {
                run: Some(run_ref(key)),
                group: group.to_string(),
                state: state.as_str().into(),
                attempt: attempt.get(),
            };
            let event = WatchEvent { event: Some(Event::Run(run)) };
            let _ = self.sender.send(Observed { group: Some(group), event });
        }
        if too_many {
            self.changed("runs", String::new(), None);
        }
    }

    fn close_second(&self, clock: &Clock, running: u64, waiting: u64) {
        let stats = {
            let mut second = locked(&self.second);
            let quantile =
                |share| u32::try_from(second.lateness.value_at_quantile(share)).unwrap_or(u32::MAX);
            let (p50, p99) = (quantile(0.5), quantile(0.99));
            let max = u32::try_from(second.lateness.max()).unwrap_or(u32::MAX);
            let stats = Stats {
                at_ms: clock.now().as_millis(),
                fires: second.fires,
                succeeded: second.succeeded,
                failed: second.failed,
                running,
                waiting,
                lateness_p50_us: p50,
                lateness_p99_us: p99,
                lateness_max_us: max,
            };
            (second.fires, second.succeeded, second.failed) = (0, 0, 0);
            second.lateness.reset();
            stats
        };
        let _ = self
            .sender
            .send(Observed { group: None, event: WatchEvent { event: Some(Event::Stats(stats)) } });
    }
}

/// The loop "events": passes changes on, and closes each second.
pub(crate) async fn run(
    events: Arc<Events>,
    switchboard: Arc<Switchboard>,
    metrics: Metrics,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut coalesce = tokio::time::interval(COALESCE);
    coalesce.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = coalesce.tick() => events.pass_on(),
            _ = second.tick() => {
                let running: u64 = switchboard.workers().iter().map(|link| locked(&link.progress).running() as u64).sum();
                let now = clock.now();
                let views: Vec<_> = switchboard.shards().iter().map(|shard| shard.view()).collect();
                let owned: Vec<_> = views.iter().filter(|view| view.epoch.is_some()).collect();
                let open: u64 = owned.iter().map(|view| view.open_runs as u64).sum();
                let lead = owned.iter().map(|view| view.planned_until.millis_since(now)).min();
                metrics.shards_owned.set(owned.len() as i64);
                metrics.open_runs.set(open as i64);
                metrics.planning_lead.set(lead.unwrap_or(0) as f64 / 1_000.0);
                events.close_second(&clock, running, open.saturating_sub(running));
            }
        }
    }
}
