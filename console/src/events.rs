//! Live events: what changed, as small invalidations, from all servers and consoles to every browser that listens.
//!
//! Events are hints: a page that misses some asks again for what it shows. Runs change thousands of times a second on a busy cluster, so
//! changes are gathered and sent a few times a second, each run once, and beyond a bound only as "many runs of this group".

pub(crate) mod follow;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carillon_core::ids::{GroupId, RunKey};
use carillon_proto::v1;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::Instant;
use utoipa::ToSchema;

/// Events kept for browsers that reconnect: about a minute of a busy cluster at a few frames a second.
const KEPT: usize = 1_024;

/// Events a slow browser may lag behind before it is told to ask for everything again.
const BUFFER: usize = 256;

/// Single runs told per frame; more are told by group, which costs a page one request instead of many.
const RUNS_PER_FRAME: usize = 100;

/// A server's figures count until this age, then it is as good as gone.
const STATS_AGE: Duration = Duration::from_secs(3);

/// Something may have changed.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Grows by one; 0 for frames that are not worth catching up on.
    pub(crate) number: u64,
    /// The event's name: `run`, `runs`, `changed`, `stats`.
    pub(crate) kind: &'static str,
    /// Whose members may see it; none for everybody who is signed in.
    pub(crate) group: Option<GroupId>,
    pub(crate) data: Value,
}

/// What a browser gets when it begins to listen.
pub(crate) struct Subscription {
    /// What it missed since the event it saw last; none when that is unknown, so that it must ask for everything again.
    pub(crate) missed: Option<Vec<Arc<Event>>>,
    pub(crate) live: broadcast::Receiver<Arc<Event>>,
    /// Marks this process in event ids: numbers of another console mean nothing here.
    pub(crate) boot: u64,
}

/// The figures of the last second: the data of a `stats` event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatsNow {
    /// Servers that gave theirs.
    servers: usize,
    /// Handlers that started.
    fires_per_second: u64,
    /// Runs that succeeded.
    succeeded_per_second: u64,
    /// Runs that failed for good.
    failed_per_second: u64,
    /// Runs in progress.
    running: u64,
    /// Runs planned and not started.
    waiting: u64,
    /// Half of the starts were no later, in microseconds.
    lateness_p50_us: u64,
    /// 99 of 100 were no later, at the worst server.
    lateness_p99_us: u32,
    /// The latest start.
    lateness_max_us: u32,
}

/// Gathers events and hands them out.
#[derive(Debug)]
pub(crate) struct EventHub {
    boot: u64,
    sender: broadcast::Sender<Arc<Event>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    kept: VecDeque<Arc<Event>>,
    runs: BTreeMap<RunKey, RunChange>,
    stats: HashMap<String, (Instant, v1::Stats)>,
}

#[derive(Debug)]
struct RunChange {
    group: GroupId,
    state: String,
    attempt: u32,
}

impl Default for EventHub {
    fn default() -> Self {
        let (sender, _) = broadcast::channel(BUFFER);
        Self { boot: rand::random::<u64>() >> 16, sender, state: Mutex::default() }
    }
}

impl EventHub {
    /// Begins to listen, catching up from the event seen last, as `boot-number`.
    pub(crate) fn subscribe(&self, seen: Option<&str>) -> Subscription {
        let state = self.lock();
        let live = self.sender.subscribe();
        let seen = seen.and_then(|id| {
            let (boot, number) = id.split_once('-')?;
            (u64::from_str_radix(boot, 16).ok()? == self.boot).then_some(number.parse::<u64>().ok()?)
        });
        let oldest = state.kept.front().map_or(state.last + 1, |event| event.number);
        let missed = seen.filter(|seen| seen + 1 >= oldest && *seen <= state.last);
        let missed =
            missed.map(|seen| state.kept.iter().filter(|event| event.number > seen).cloned().collect());
        Subscription { missed, live, boot: self.boot }
    }

    /// Tells at once that something changed.
    pub(crate) fn publish(&self, kind: &'static str, group: Option<GroupId>, data: Value) {
        let mut state = self.lock();
        self.send(&mut state, kind, group, data);
    }

    /// Notes that a run changed; told with the next frame.
    pub(crate) fn run_changed(&self, key: RunKey, group: GroupId, state: String, attempt: u32) {
        self.lock().runs.insert(key, RunChange { group, state, attempt });
    }

    /// Notes the figures of a server's last second.
    pub(crate) fn stats(&self, server: &str, stats: v1::Stats) {
        self.lock().stats.insert(server.to_owned(), (Instant::now(), stats));
    }

    /// Sends the frame of runs that changed since the last one.
    pub(crate) fn flush_runs(&self) {
        let mut state = self.lock();
        let runs = std::mem::take(&mut state.runs);
        if runs.len() > RUNS_PER_FRAME {
            let mut counts = BTreeMap::<GroupId, usize>::new();
            for run in runs.values() {
                *counts.entry(run.group).or_default() += 1;
            }
            for (group, count) in counts {
                self.send(&mut state, "runs", Some(group), json!({"group": group, "count": count}));
            }
            return;
        }
        for (key, run) in runs {
            let data = json!({"run_id": key, "job_id": key.job, "group": run.group, "state": run.state, "attempt": run.attempt});
            self.send(&mut state, "run", Some(run.group), data);
        }
    }

    /// Sends the figures of the last second, summed over the servers that gave theirs.
    pub(crate) fn flush_stats(&self) {
        let data = json!(self.stats_now());
        // A frame that nobody needs to catch up on has no number.
        let _ = self.sender.send(Arc::new(Event { number: 0, kind: "stats", group: None, data }));
    }

    /// The figures of the last second, summed over the servers that gave theirs.
    pub(crate) fn stats_now(&self) -> StatsNow {
        let mut state = self.lock();
        state.stats.retain(|_, (at, _)| at.elapsed() < STATS_AGE);
        let sum =
            |pick: fn(&v1::Stats) -> u64| state.stats.values().map(|(_, stats)| pick(stats)).sum::<u64>();
        let fires = sum(|stats| stats.fires);
        // Percentiles of several servers cannot be merged: the median is weighted by fires, the others are the worst server's.
        let weighted = sum(|stats| u64::from(stats.lateness_p50_us) * stats.fires);
        let worst = |pick: fn(&v1::Stats) -> u32| {
            state.stats.values().map(|(_, stats)| pick(stats)).max().unwrap_or(0)
        };
        StatsNow {
            servers: state.stats.len(),
            fires_per_second: fires,
            succeeded_per_second: sum(|stats| stats.succeeded),
            failed_per_second: sum(|stats| stats.failed),
            running: sum(|stats| stats.running),
            waiting: sum(|stats| stats.waiting),
            lateness_p50_us: weighted.checked_div(fires).unwrap_or(0),
            lateness_p99_us: worst(|stats| stats.lateness_p99_us),
            lateness_max_us: worst(|stats| stats.lateness_max_us),
        }
    }

    fn send(&self, state: &mut State, kind: &'static str, group: Option<GroupId>, data: Value) {
        state.last += 1;
        let event = Arc::new(Event { number: state.last, kind, group, data });
        if state.kept.len() == KEPT {
            state.kept.pop_front();
        }
        state.kept.push_back(Arc::clone(&event));
        // Nobody may be listening.
        let _ = self.sender.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use carillon_core::ids::JobId;
    use carillon_core::time::Timestamp;

    use super::*;

    fn group() -> GroupId {
        "101-1-2-6601".parse().unwrap()
    }

    fn key(millis: i64) -> RunKey {
        RunKey::scheduled(JobId::new(1), Timestamp::from_millis(millis))
    }

    #[tokio::test]
    async fn a_browser_that_reconnects_gets_what_it_missed() {
        let hub = EventHub::default();
        hub.publish("changed", None, json!(1));
        let boot = hub.boot;
        hub.publish("changed", None, json!(2));
        let missed = hub.subscribe(Some(&format!("{boot:x}-1"))).missed.unwrap();
        assert_eq!(missed.iter().map(|event| event.data.clone()).collect::<Vec<_>>(), [json!(2)]);
        assert!(hub.subscribe(Some(&format!("{boot:x}-2"))).missed.unwrap().is_empty());
        for unknown in [None, Some("0-1"), Some("nonsense"), Some("")] {
            assert!(hub.subscribe(unknown).missed.is_none(), "{unknown:?}");
        }
        for number in 0..2 * KEPT {
            hub.publish("changed", None, json!(number));
        }
        assert!(hub.subscribe(Some(&format!("{boot:x}-2"))).missed.is_none(), "too long ago to catch up");
    }

    #[tokio::test]
    async fn a_run_is_told_once_a_frame_and_many_runs_by_their_group() {
        let hub = EventHub::default();
        let mut live = hub.subscribe(None).live;
        for state in ["planned", "running", "succeeded"] {
            hub.run_changed(key(1), group(), state.into(), 1);
        }
        hub.flush_runs();
        assert_eq!(live.recv().await.unwrap().data["state"], "succeeded");
        for millis in 0..=RUNS_PER_FRAME as i64 {
            hub.run_changed(key(millis), group(), "running".into(), 1);
        }
        hub.flush_runs();
        let event = live.recv().await.unwrap();
        assert_eq!((event.kind, &event.data["count"]), ("runs", &json!(RUNS_PER_FRAME + 1)));
        assert!(live.try_recv().is_err());
    }
}
