//! The lines of running attempts on their way to a server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use carillon_proto::v1;
use tokio::sync::Notify;

use crate::run_id::AttemptKey;

/// The most log bytes of an attempt, until a server says how many it keeps.
const MAX_LOG_BYTES: u64 = 10 * 1024 * 1024;

/// The most bytes that wait or are not acknowledged, over all runs: minutes of a chatty worker whose servers are away.
const MAX_BUFFERED: usize = 32 * 1024 * 1024;

/// The size at which lines are cut into chunks: a page of a log, and a row of the store.
const CHUNK_BYTES: usize = 64 * 1024;

/// The most bytes of a message, well below the 4 MiB that a gRPC peer takes by default.
const BATCH_BYTES: usize = 1024 * 1024;

/// The most chunks of a message: many runs with a line each.
const BATCH_CHUNKS: usize = 500;

/// What is kept free for the line that tells of a limit: a little more than it takes.
const MARKER_BYTES: u64 = 200;

/// The longest line; a longer one is cut, so that a chunk always holds whole lines.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// How long an answer may take before a chunk is sent again, perhaps to another server.
const RESEND_AFTER: Duration = Duration::from_secs(5);

/// Where the lines of one attempt are gathered.
#[derive(Clone)]
pub(crate) struct RunLog {
    inner: Arc<Inner>,
}

struct Inner {
    key: AttemptKey,
    shard: u32,
    /// Written by many workers: the server gives number and offset.
    shared: bool,
    hub: Arc<LogHub>,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    pending: String,
    /// Whether the hub knows that something is pending.
    listed: bool,
    chunk_no: u32,
    cut: u64,
    written: u64,
    dropped: u64,
    full: bool,
}

impl RunLog {
    pub(crate) fn new(hub: &Arc<LogHub>, key: AttemptKey, shard: u32, shared: bool) -> Self {
        let inner = Inner { key, shard, shared, hub: Arc::clone(hub), lines: Mutex::new(Lines::default()) };
        Self { inner: Arc::new(inner) }
    }

    /// Adds a line that ends with a newline.
    pub(crate) fn write(&self, line: &str) {
        let mut cut = String::new();
        let line = if line.len() > MAX_LINE_BYTES {
            cut.push_str(&line[..line.floor_char_boundary(MAX_LINE_BYTES)]);
            cut.push_str(" ... (line cut)\n");
            &cut
        } else {
            line
        };
        let hub = &self.inner.hub;
        let mut lines = lock(&self.inner.lines);
        let room = hub.buffered.load(Ordering::Relaxed) + line.len() <= MAX_BUFFERED;
        let limit = hub.limit.load(Ordering::Relaxed);
        // The marker has to fit, too.
        if lines.full || lines.written + line.len() as u64 + MARKER_BYTES > limit {
            if !lines.full {
                lines.full = true;
                let megabytes = limit >> 20;
                let marker =
                    format!("... the log's limit of {megabytes} MiB is reached, what follows is dropped\n");
                lines.pending.push_str(&marker);
            }
        } else if !room {
            lines.dropped += 1;
        } else {
            lines.mark_dropped();
            lines.pending.push_str(line);
            lines.written += line.len() as u64;
            hub.buffered.fetch_add(line.len(), Ordering::Relaxed);
        }
        if !lines.listed {
            lines.listed = true;
            drop(lines);
            lock(&hub.listed).push(self.clone());
            hub.wake.notify_one();
        }
    }

    /// Takes the pending lines as chunks, unnumbered over the worker.
    fn cut(&self) -> Vec<v1::LogChunk> {
        let mut lines = lock(&self.inner.lines);
        lines.listed = false;
        lines.mark_dropped();
        let text = std::mem::take(&mut lines.pending);
        let mut rest = text.as_str();
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let window = &rest.as_bytes()[..rest.len().min(CHUNK_BYTES)];
            let end = if rest.len() <= CHUNK_BYTES {
                rest.len()
            } else {
                // Lines are shorter than a chunk, so each window has an end of line.
                window.iter().rposition(|byte| *byte == b'\n').map_or(window.len(), |at| at + 1)
            };
            let (chunk, after) = rest.split_at(rest.floor_char_boundary(end));
            rest = after;
            chunks.push(v1::LogChunk {
                seq: 0,
                run: Some(self.inner.key.run.into()),
                attempt: self.inner.key.attempt,
                chunk_no: lines.chunk_no,
                offset: lines.cut,
                text: Bytes::copy_from_slice(chunk.as_bytes()),
                shared: self.inner.shared,
                shard: self.inner.shard,
            });
            lines.chunk_no += 1;
            lines.cut += chunk.len() as u64;
        }
        chunks
    }

    /// Everything written so far; for the testing kit.
    pub(crate) fn take_text(&self) -> String {
        std::mem::take(&mut lock(&self.inner.lines).pending)
    }
}

impl Lines {
    fn mark_dropped(&mut self) {
        if self.dropped > 0 {
            let marker =
                format!("... {} lines dropped here, the worker's log buffer was full\n", self.dropped);
            self.pending.push_str(&marker);
            self.dropped = 0;
        }
    }
}

/// All logs of a worker: what is pending, and what no server has acknowledged.
pub(crate) struct LogHub {
    /// The most bytes of an attempt.
    limit: AtomicU64,
    listed: Mutex<Vec<RunLog>>,
    buffered: AtomicUsize,
    next_seq: AtomicU64,
    unacknowledged: Mutex<BTreeMap<u64, Sent>>,
    pub(crate) wake: Notify,
}

struct Sent {
    chunk: v1::LogChunk,
    at: Option<Instant>,
}

impl Default for LogHub {
    fn default() -> Self {
        Self {
            limit: AtomicU64::new(MAX_LOG_BYTES),
            listed: Mutex::default(),
            buffered: AtomicUsize::default(),
            next_seq: AtomicU64::default(),
            unacknowledged: Mutex::default(),
            wake: Notify::default(),
        }
    }
}

impl LogHub {
    /// Takes a server's word on how many bytes of an attempt are kept; 0 where it does not say.
    pub(crate) fn keep(&self, limit: u64) {
        self.limit.store(if limit == 0 { MAX_LOG_BYTES } else { limit }, Ordering::Relaxed);
    }

    /// Cuts what is pending and gives everything that wants to be sent now: new chunks and those whose acknowledgement is overdue.
    pub(crate) fn to_send(&self, now: Instant) -> Vec<v1::LogBatch> {
        let listed = std::mem::take(&mut *lock(&self.listed));
        let mut unacknowledged = lock(&self.unacknowledged);
        for mut chunk in listed.iter().flat_map(RunLog::cut) {
            let seq = self.next_seq.fetch_add(1, Ordering::Relaxed) + 1;
            chunk.seq = seq;
            if chunk.shared {
                // One worker may write a shared log by several handles (split, subtasks, reduce).
                chunk.chunk_no = seq as u32;
            }
            unacknowledged.insert(seq, Sent { chunk, at: None });
        }
        let mut batches = Vec::new();
        let mut batch = Vec::new();
        let mut bytes = 0;
        for sent in unacknowledged.values_mut() {
            if sent.at.is_some_and(|at| now.saturating_duration_since(at) < RESEND_AFTER) {
                continue;
            }
            sent.at = Some(now);
            if bytes + sent.chunk.text.len() > BATCH_BYTES || batch.len() >= BATCH_CHUNKS {
                batches.push(v1::LogBatch { chunks: std::mem::take(&mut batch) });
                bytes = 0;
            }
            bytes += sent.chunk.text.len();
            batch.push(sent.chunk.clone());
        }
        if !batch.is_empty() {
            batches.push(v1::LogBatch { chunks: batch });
        }
        batches
    }

    /// Nobody took the batch: its chunks are sent again at the next turn.
    pub(crate) fn not_sent(&self, batch: &v1::LogBatch) {
        let mut unacknowledged = lock(&self.unacknowledged);
        for chunk in &batch.chunks {
            if let Some(sent) = unacknowledged.get_mut(&chunk.seq) {
                sent.at = None;
            }
        }
    }

    /// A stream ended: what it may have swallowed is sent again.
    pub(crate) fn resend_all(&self) {
        for sent in lock(&self.unacknowledged).values_mut() {
            sent.at = None;
        }
        self.wake.notify_one();
    }

    pub(crate) fn acknowledge(&self, seqs: &[u64]) {
        let mut unacknowledged = lock(&self.unacknowledged);
        for seq in seqs {
            if let Some(sent) = unacknowledged.remove(seq) {
                // Markers are not counted when written; the counter must not run below zero for them.
                let bytes = sent.chunk.text.len();
                let _ = self.buffered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |buffered| {
                    Some(buffered.saturating_sub(bytes))
                });
            }
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.listed).is_empty() && lock(&self.unacknowledged).is_empty()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_id::RunKey;

    fn log(hub: &Arc<LogHub>) -> RunLog {
        let run = RunKey { fire_time_ms: 1, job: 1, ordinal: 0 };
        RunLog::new(hub, AttemptKey { run, attempt: 1, reduce: false }, 0, false)
    }

    fn chunks(batches: Vec<v1::LogBatch>) -> Vec<v1::LogChunk> {
        batches.into_iter().flat_map(|batch| batch.chunks).collect()
    }

    #[test]
    fn chunks_are_numbered_and_their_offsets_leave_no_gap() {
        let hub = Arc::new(LogHub::default());
        let log = log(&hub);
        let line = format!("{}\n", "x".repeat(1_000));
        for _ in 0..200 {
            log.write(&line);
        }
        let chunks = chunks(hub.to_send(Instant::now()));
        assert!(chunks.len() > 3);
        let mut offset = 0;
        for (number, chunk) in chunks.iter().enumerate() {
            assert_eq!((chunk.chunk_no as usize, chunk.offset), (number, offset));
            assert!(chunk.text.ends_with(b"\n") && chunk.text.len() <= CHUNK_BYTES);
            offset += chunk.text.len() as u64;
        }
        assert_eq!(offset, 200 * 1_001);
    }

    #[test]
    fn a_chunk_is_sent_again_until_it_is_acknowledged() {
        let hub = Arc::new(LogHub::default());
        log(&hub).write("hello\n");
        let now = Instant::now();
        let first = chunks(hub.to_send(now));
        assert_eq!(first.len(), 1);
        assert_eq!(chunks(hub.to_send(now)).len(), 0);
        assert_eq!(chunks(hub.to_send(now + RESEND_AFTER)), first);
        hub.acknowledge(&[first[0].seq]);
        assert!(hub.is_idle());
        assert_eq!(chunks(hub.to_send(now + 3 * RESEND_AFTER)).len(), 0);
    }

    #[test]
    fn an_attempt_beyond_ten_mebibytes_ends_with_a_marker() {
        let hub = Arc::new(LogHub::default());
        let log = log(&hub);
        let line = format!("{}\n", "x".repeat(8_000));
        let mut text = Vec::new();
        for _ in 0..1_500 {
            log.write(&line);
            for chunk in chunks(hub.to_send(Instant::now())) {
                text.extend_from_slice(&chunk.text);
                hub.acknowledge(&[chunk.seq]);
            }
        }
        assert!(text.len() as u64 <= MAX_LOG_BYTES);
        assert!(String::from_utf8(text).unwrap().ends_with("what follows is dropped\n"));
    }

    #[test]
    fn a_server_says_how_long_a_log_may_be() {
        let hub = Arc::new(LogHub::default());
        let text = |limit: u64| {
            hub.keep(limit);
            let log = log(&hub);
            for _ in 0..2_000 {
                log.write(&format!("{}\n", "x".repeat(8_000)));
            }
            let chunks = chunks(hub.to_send(Instant::now()));
            hub.acknowledge(&chunks.iter().map(|chunk| chunk.seq).collect::<Vec<_>>());
            chunks.iter().map(|chunk| chunk.text.len()).sum::<usize>()
        };
        assert_eq!(text(20 << 20), 2_000 * 8_001);
        assert!((900_000..1 << 20).contains(&text(1 << 20)));
        assert!((10_000_000..10 << 20).contains(&text(0)), "a server that does not say");
    }

    #[test]
    fn lines_that_find_no_room_leave_a_marker() {
        let hub = Arc::new(LogHub::default());
        let log = log(&hub);
        log.write("first\n");
        hub.buffered.store(MAX_BUFFERED, Ordering::Relaxed);
        log.write("lost\n");
        log.write("lost\n");
        hub.buffered.store(0, Ordering::Relaxed);
        log.write("last\n");
        let text = chunks(hub.to_send(Instant::now()));
        let text = String::from_utf8(text[0].text.to_vec()).unwrap();
        assert_eq!(text, "first\n... 2 lines dropped here, the worker's log buffer was full\nlast\n");
    }
}
