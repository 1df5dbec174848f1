//! Level 2 at one worker: subtasks wait in a queue and are processed by as many loops as the unit has places.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use carillon_proto::v1;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::super::Shared;
use super::super::engine::panicked;
use super::super::ledger::DEFAULT_GRACE_MS;
use super::lock;
use super::results::{Results, result};
use crate::context::{RunContext, RunInfo, SubtaskInfo};
use crate::job::{ErasedParallel, JobError, JobResult, Verdict};
use crate::logs::{RunLog, run_span};
use crate::run_id::{AttemptKey, RunKey};

/// Subtasks held ahead are about a tenth of a second of work: enough to hide the way there and back, few enough that other workers get theirs.
const AHEAD: f64 = 0.1;

/// The most subtasks held ahead, however quick they are.
const MAX_AHEAD: usize = 10_000;

/// Subtasks that one loop processes before it hands its results over.
const TURN: usize = 64;

/// See the module.
pub(crate) struct Pool {
    handler: String,
    concurrency: usize,
    job: Arc<dyn ErasedParallel>,
    results: Arc<Results>,
    stop: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    /// Queued or in work, so that a subtask handed out twice is processed once.
    in_hand: HashSet<(AttemptKey, u64, u32)>,
    runs: HashMap<AttemptKey, Arc<Run>>,
    loops: usize,
    /// Places of the unit that runs of level 1 hold.
    taken: usize,
    draining: bool,
    finished: u64,
    rate: Rate,
    told: u32,
}

struct Item {
    run: Arc<Run>,
    subtask: v1::Subtask,
}

/// What the subtasks of an attempt have in common.
struct Run {
    key: AttemptKey,
    shard: u32,
    timeout: Duration,
    keep_outputs: bool,
    info: Arc<RunInfo>,
    cancelled: CancellationToken,
}

/// Subtasks a second, smoothed.
#[derive(Default)]
struct Rate {
    since: Option<Instant>,
    finished: u64,
    per_second: f64,
    /// What was finished when the credit was told last.
    told_at: u64,
}

impl Pool {
    pub(crate) fn new(
        handler: String,
        concurrency: usize,
        job: Arc<dyn ErasedParallel>,
        results: Arc<Results>,
    ) -> Self {
        let state = Mutex::default();
        Self { handler, concurrency, job, results, stop: CancellationToken::new(), state }
    }

    pub(crate) fn handler(&self) -> &str {
        &self.handler
    }

    pub(crate) fn set_taken(&self, taken: usize) {
        lock(&self.state).taken = taken;
    }

    pub(crate) fn drain(&self) {
        lock(&self.state).draining = true;
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.state).in_hand.is_empty()
    }

    /// Queues a batch and sees that enough loops are at work.
    pub(crate) fn take(self: &Arc<Self>, shared: &Arc<Shared>, batch: v1::Subtasks) {
        let Some(run) = batch.run else { return };
        let key = AttemptKey { run: run.into(), attempt: batch.attempt, reduce: false };
        let mut state = lock(&self.state);
        let run = match state.runs.get(&key) {
            Some(run) => Arc::clone(run),
            None => {
                let run = Arc::new(Run::new(shared, key, &batch));
                state.runs.insert(key, Arc::clone(&run));
                run
            }
        };
        for subtask in batch.subtasks {
            if state.in_hand.insert((key, subtask.index, subtask.attempt)) {
                state.queue.push_back(Item { run: Arc::clone(&run), subtask });
            }
        }
        let wanted = self.places(&state).min(state.queue.len() + state.loops);
        for _ in state.loops..wanted {
            state.loops += 1;
            let pool = Arc::clone(self);
            tokio::spawn(async move {
                tokio::select! {
                    () = pool.work() => {}
                    () = pool.stop.cancelled() => {}
                }
            });
        }
    }

    /// One place is always left to level 2, or a split in a unit of one place would wait for subtasks that wait for it.
    fn places(&self, state: &State) -> usize {
        self.concurrency.saturating_sub(state.taken).max(1)
    }

    async fn work(&self) {
        let mut done = Vec::with_capacity(TURN);
        let mut of: Option<Arc<Run>> = None;
        loop {
            let next = self.next(&mut of, &mut done);
            let Some(item) = next else { return };
            let begun = Instant::now();
            let outcome = self.process(&item).await;
            let keep = item.run.keep_outputs;
            let outcome =
                result(item.subtask.index, item.subtask.attempt, outcome.as_ref().map(Clone::clone), keep);
            done.push(outcome);
            // Slow subtasks are reported one by one, quick ones in turns.
            if done.len() >= TURN || begun.elapsed() >= Duration::from_millis(1) {
                self.hand_over(&item.run, &mut done);
            }
            of = Some(item.run);
        }
    }

    /// The next subtask for a loop; hands over what the loop has done when it changes the run or ends.
    fn next(&self, of: &mut Option<Arc<Run>>, done: &mut Vec<v1::SubtaskResult>) -> Option<Item> {
        let mut state = lock(&self.state);
        let item = if state.loops > self.places(&state) { None } else { state.queue.pop_front() };
        if item.is_none() {
            state.loops -= 1;
        }
        drop(state);
        let changes = item.as_ref().zip(of.as_ref()).is_none_or(|(item, of)| item.run.key != of.key);
        if changes && let Some(of) = of.take() {
            self.hand_over(&of, done);
        }
        item
    }

    fn hand_over(&self, run: &Run, done: &mut Vec<v1::SubtaskResult>) {
        if done.is_empty() {
            return;
        }
        let finished: Vec<_> = done.iter().map(|result| (run.key, result.index, result.attempt)).collect();
        self.results.add(run.key, run.shard, done.drain(..));
        // Only now: a subtask is always in one of the two, for `held`.
        let mut state = lock(&self.state);
        state.finished += finished.len() as u64;
        for subtask in &finished {
            state.in_hand.remove(subtask);
        }
    }

    async fn process(&self, item: &Item) -> JobResult<bytes::Bytes> {
        let (run, subtask) = (&item.run, &item.subtask);
        if run.cancelled.is_cancelled() {
            return Err(JobError::new(Verdict::Cancelled, "cancelled"));
        }
        let cancel = run.cancelled.child_token();
        let info = SubtaskInfo { index: subtask.index, attempt: subtask.attempt, key: subtask.key.clone() };
        let span = run_span(&run.info, Some((&info.key, info.index)));
        let ctx = RunContext::new(Arc::clone(&run.info), Some(info), cancel.clone());
        let job = Arc::clone(&self.job);
        let payload = subtask.payload.clone();
        let handler = async move { job.process(ctx, payload).await };
        let handler = AssertUnwindSafe(handler.instrument(span)).catch_unwind();
        let handler = handler.map(|outcome| outcome.unwrap_or_else(|panic| Err(panicked(&*panic))));
        tokio::pin!(handler);
        let grace = Duration::from_millis(DEFAULT_GRACE_MS);
        let timed_out = async {
            if run.timeout.is_zero() {
                futures::future::pending().await
            } else {
                tokio::time::sleep(run.timeout).await
            }
        };
        let why = tokio::select! {
            biased;
            outcome = &mut handler => return outcome,
            () = cancel.cancelled() => "cancelled",
            () = timed_out => "took longer than its timeout",
        };
        cancel.cancel();
        let error = JobError::new(Verdict::Failed, why);
        match tokio::time::timeout(grace, handler).await {
            Ok(_) => Err(error),
            Err(_) => Err(JobError::new(Verdict::Failed, format!("{why}; abandoned after the grace"))),
        }
    }

    /// Subtasks of an attempt that are queued or in work: index and try.
    pub(crate) fn held(&self, key: AttemptKey) -> Vec<(u64, u32)> {
        let state = lock(&self.state);
        state
            .in_hand
            .iter()
            .filter(|held| held.0 == key)
            .map(|(_, index, attempt)| (*index, *attempt))
            .collect()
    }

    /// Stops a run's subtasks and drops those that wait.
    pub(crate) fn cancel(&self, run: RunKey, attempt: u32) {
        let mut state = lock(&self.state);
        let key = AttemptKey { run, attempt, reduce: false };
        let Some(run) = state.runs.remove(&key) else { return };
        run.cancelled.cancel();
        let State { queue, in_hand, .. } = &mut *state;
        queue.retain(|item| {
            let other = item.run.key != key;
            if !other {
                in_hand.remove(&(key, item.subtask.index, item.subtask.attempt));
            }
            other
        });
    }

    /// The credit to tell, if it is to be told: when it must be, or when it has changed enough to matter.
    pub(crate) fn credit(&self, now: Instant, must: bool, held_back: bool) -> Option<u32> {
        let mut state = lock(&self.state);
        let finished = state.finished;
        let per_second = state.rate.measure(now, finished);
        let least = 2 * self.concurrency;
        let ahead = ((per_second * AHEAD) as usize).clamp(least, MAX_AHEAD.max(least));
        let free = if state.draining || held_back { 0 } else { ahead.saturating_sub(state.in_hand.len()) };
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        if state.in_hand.is_empty() {
            // Runs without subtasks here are forgotten; the next batch brings them back.
            state.runs.clear();
        }
        let told = state.told;
        let matters = free.abs_diff(told) as usize * 4 >= ahead || (free == 0) != (told == 0);
        // What was granted and used is gone at the server: as long as work comes, the grant is renewed.
        let used = finished != state.rate.told_at;
        if !(must || matters || used) {
            return None;
        }
        state.rate.told_at = finished;
        state.told = free;
        Some(free)
    }
}

impl Rate {
    fn measure(&mut self, now: Instant, finished: u64) -> f64 {
        let Some(since) = self.since else {
            self.since = Some(now);
            self.finished = finished;
            return self.per_second;
        };
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        if seconds >= 0.02 {
            let newest = (finished - self.finished) as f64 / seconds;
            // Half old, half new: follows within a few measurements and does not jump with one.
            self.per_second = f64::midpoint(self.per_second, newest);
            self.since = Some(now);
            self.finished = finished;
        }
        self.per_second
    }
}

impl Run {
    fn new(shared: &Shared, key: AttemptKey, batch: &v1::Subtasks) -> Self {
        let info = RunInfo {
            key,
            max_attempts: 0,
            job_name: batch.job_name.clone(),
            description: String::new(),
            trace_id: batch.trace_id.to_vec(),
            epoch: batch.epoch,
            log: Some(RunLog::new(&shared.logs, key, batch.shard, true)),
            progress: Arc::clone(&shared.progress),
            text: OnceLock::new(),
        };
        Self {
            key,
            shard: batch.shard,
            timeout: Duration::from_millis(batch.timeout_ms),
            keep_outputs: batch.keep_outputs,
            info: Arc::new(info),
            cancelled: CancellationToken::new(),
        }
    }
}
