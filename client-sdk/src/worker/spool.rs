//! The worker's journal: reports numbered within the incarnation and kept until one holder says that they are durable.
//!
//! Every report goes to every holder once, and is repeated while none has acknowledged it: whoever owned the shard may be gone, and who owns
//! it now did not when the report came. Repeating goes one batch at a time, the next one when the last was acknowledged, so that a database
//! that is away is not met with everything each second, and a new owner gets a long journal as fast as it takes it.

use std::collections::{BTreeMap, HashMap, HashSet};

use carillon_proto::v1::{self, ReportKind, RunKind};

use super::ledger::{Held, Report};
use crate::run_id::AttemptKey;

/// The most reports kept: a minute and a half of a busy worker whose holders are all away; then new Arms are refused.
pub(crate) const MAX_REPORTS: usize = 100_000;

/// The most reports of a batch, and the most bytes of results and errors in it: well below the 4 MiB that a gRPC peer takes by default.
const MAX_BATCH: usize = 2_000;
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// A stream to a server, numbered in the order of connection.
pub(crate) type LinkId = u64;

/// See the module. Pure: it is told what happened and asked what to send.
#[derive(Default)]
pub(crate) struct Spool {
    next_seq: u64,
    kept: BTreeMap<u64, v1::Report>,
    /// Everything below was handed to the link; what it did not acknowledge is still kept.
    sent: HashMap<LinkId, u64>,
    /// The newest report when [`repeat`](Self::repeat) was called last: what is older was said a while ago.
    seen: u64,
    round: Option<Round>,
}

/// A round of repeating: what is unacknowledged of the reports that were there when it began.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// The last report of the batch that was repeated last.
    at: u64,
    /// The round's last report.
    to: u64,
}

impl Spool {
    pub(crate) fn push(&mut self, report: Report) {
        self.next_seq += 1;
        let seq = self.next_seq;
        self.kept.insert(seq, to_wire(seq, report));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= MAX_REPORTS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(crate) fn link_up(&mut self, link: LinkId) {
        self.sent.insert(link, 0);
    }

    pub(crate) fn link_down(&mut self, link: LinkId) {
        self.sent.remove(&link);
    }

    /// The links that have not been sent everything.
    pub(crate) fn behind(&self) -> Vec<LinkId> {
        let Some(last) = self.kept.keys().next_back() else { return Vec::new() };
        self.sent.iter().filter(|(_, sent)| *sent < last).map(|(link, _)| *link).collect()
    }

    /// The next batch for a link, and the number to give to [`sent`](Self::sent) once it was handed over.
    pub(crate) fn batch(&self, link: LinkId) -> Option<(v1::ReportBatch, u64)> {
        let from = self.sent.get(&link)? + 1;
        self.gather(from, u64::MAX)
    }

    fn gather(&self, from: u64, to: u64) -> Option<(v1::ReportBatch, u64)> {
        if from > to {
            return None;
        }
        let mut bytes = 0;
        let mut reports = Vec::new();
        for (_, report) in self.kept.range(from..=to).take(MAX_BATCH) {
            bytes += report.result.len() + report.error.len();
            if bytes > MAX_BATCH_BYTES && !reports.is_empty() {
                break;
            }
            reports.push(report.clone());
        }
        let up_to = reports.last()?.seq;
        Some((v1::ReportBatch { reports }, up_to))
    }

    pub(crate) fn sent(&mut self, link: LinkId, up_to: u64) {
        if let Some(sent) = self.sent.get_mut(&link) {
            *sent = up_to.max(*sent);
        }
    }

    /// Forgets what is durable. Returns what to say to every link again, where a holder has begun to take what was repeated.
    pub(crate) fn acknowledge(&mut self, seqs: &[u64]) -> Option<v1::ReportBatch> {
        for seq in seqs {
            self.kept.remove(seq);
        }
        let round = self.round?;
        let taken = self.kept.range(..=round.at).next().is_none();
        if taken { self.go_on(round) } else { None }
    }

    /// To be called at intervals: what to say to every link again, if something that was there at the last call is still unacknowledged.
    pub(crate) fn repeat(&mut self) -> Option<v1::ReportBatch> {
        let to = std::mem::replace(&mut self.seen, self.next_seq);
        self.go_on(Round { at: 0, to })
    }

    fn go_on(&mut self, Round { at, to }: Round) -> Option<v1::ReportBatch> {
        self.round = None;
        let (batch, at) = self.gather(at + 1, to)?;
        self.round = Some(Round { at, to });
        Some(batch)
    }

    /// Attempts that started or ended here and of which no holder has that as durable, beside those in `held`.
    pub(crate) fn untold(&self, held: &[Held]) -> Vec<Held> {
        let mut seen: HashSet<AttemptKey> = held.iter().map(|held| held.key).collect();
        let mut untold = Vec::new();
        for report in self.kept.values() {
            let told_nothing = match report.kind() {
                ReportKind::Unspecified
                | ReportKind::Armed
                | ReportKind::Queued
                | ReportKind::Refused
                | ReportKind::Disarmed => true,
                ReportKind::Started
                | ReportKind::Succeeded
                | ReportKind::Failed
                | ReportKind::TimedOut
                | ReportKind::Cancelled
                | ReportKind::Skipped => false,
            };
            let Some(run) = report.run.filter(|_| !told_nothing) else { continue };
            let reduce = report.run_kind() == RunKind::Reduce;
            let key = AttemptKey { run: run.into(), attempt: report.attempt, reduce };
            if seen.insert(key) {
                let started = report.kind() == ReportKind::Started || report.started_ms != 0;
                untold.push(Held { key, plan_no: report.plan_no, started });
            }
        }
        untold
    }
}

fn to_wire(seq: u64, report: Report) -> v1::Report {
    v1::Report {
        seq,
        run: Some(report.key.run.into()),
        attempt: report.key.attempt,
        plan_no: report.plan_no,
        shard: report.shard,
        kind: report.kind.into(),
        at_ms: report.at.as_millis(),
        started_ms: report.started.map_or(0, |started| started.as_millis()),
        result: report.result,
        error: report.error,
        reason: report.reason.into(),
        retry_after_ms: report.retry_after_ms,
        run_kind: report.run_kind.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{ClusterTime, Report};
    use super::*;
    use crate::run_id::{AttemptKey, RunKey};

    fn report(error: &str) -> Report {
        Report {
            key: AttemptKey {
                run: RunKey { fire_time_ms: 1, job: 1, ordinal: 0 },
                attempt: 1,
                reduce: false,
            },
            plan_no: 1,
            shard: 0,
            kind: v1::ReportKind::Failed,
            reason: v1::ReportReason::Failed,
            run_kind: v1::RunKind::Simple,
            at: ClusterTime::from_millis(1),
            started: None,
            result: bytes::Bytes::new(),
            error: error.to_owned(),
            retry_after_ms: 0,
        }
    }

    fn hand_over(spool: &mut Spool, link: LinkId) -> Vec<u64> {
        let mut seqs = Vec::new();
        while let Some((batch, up_to)) = spool.batch(link) {
            seqs.extend(batch.reports.iter().map(|report| report.seq));
            spool.sent(link, up_to);
        }
        seqs
    }

    #[test]
    fn every_holder_is_sent_everything_until_one_acknowledges() {
        let mut spool = Spool::default();
        spool.link_up(1);
        spool.link_up(2);
        spool.push(report("a"));
        spool.push(report("b"));
        assert_eq!(hand_over(&mut spool, 1), [1, 2]);
        assert_eq!(hand_over(&mut spool, 1), [] as [u64; 0], "handed over once");
        spool.acknowledge(&[1]);
        assert_eq!(hand_over(&mut spool, 2), [2]);
        spool.acknowledge(&[2]);
        assert!(spool.is_empty());
    }

    #[test]
    fn a_new_or_returning_holder_is_sent_what_is_unacknowledged() {
        let mut spool = Spool::default();
        spool.link_up(1);
        spool.push(report("a"));
        assert_eq!(hand_over(&mut spool, 1), [1]);
        spool.link_down(1);
        spool.link_up(1);
        assert_eq!(hand_over(&mut spool, 1), [1]);
    }

    fn seqs(batch: Option<v1::ReportBatch>) -> Vec<u64> {
        batch.into_iter().flat_map(|batch| batch.reports).map(|report| report.seq).collect()
    }

    #[test]
    fn what_stays_unacknowledged_is_said_again_from_one_interval_to_the_next() {
        let mut spool = Spool::default();
        spool.link_up(1);
        spool.push(report("a"));
        hand_over(&mut spool, 1);
        assert_eq!(seqs(spool.repeat()), [] as [u64; 0], "it was said just now");
        spool.push(report("b"));
        hand_over(&mut spool, 1);
        assert_eq!(seqs(spool.repeat()), [1], "the other one is young");
        assert_eq!(seqs(spool.repeat()), [1, 2]);
        spool.acknowledge(&[1]);
        assert_eq!(seqs(spool.repeat()), [2]);
        spool.acknowledge(&[2]);
        assert_eq!(seqs(spool.repeat()), [] as [u64; 0]);
    }

    #[test]
    fn a_long_journal_is_repeated_batch_by_batch_as_a_holder_takes_it() {
        let mut spool = Spool::default();
        spool.link_up(1);
        let count = MAX_BATCH as u64 * 2 + 1;
        for _ in 0..count {
            spool.push(report("a"));
        }
        spool.repeat();
        let first = seqs(spool.repeat());
        assert_eq!(first.len(), MAX_BATCH, "nobody takes it: one batch, however long the journal is");
        assert_eq!(seqs(spool.acknowledge(&first[1..])), [] as [u64; 0], "not all of it is taken");
        let second = seqs(spool.acknowledge(&first[..1]));
        assert_eq!(second.first(), Some(&(MAX_BATCH as u64 + 1)));
        spool.push(report("young"));
        assert_eq!(seqs(spool.acknowledge(&second)), [count]);
        assert_eq!(seqs(spool.acknowledge(&[count])), [] as [u64; 0], "what came later is not repeated");
    }

    #[test]
    fn what_started_or_ended_and_is_not_durable_is_untold_unless_it_is_held() {
        let mut spool = Spool::default();
        let at = |job, kind| {
            let key =
                AttemptKey { run: RunKey { fire_time_ms: 1, job, ordinal: 0 }, attempt: 1, reduce: false };
            Report { key, kind, started: Some(ClusterTime::from_millis(1)), ..report("") }
        };
        spool.push(at(1, ReportKind::Started));
        spool.push(at(2, ReportKind::Started));
        spool.push(at(2, ReportKind::Succeeded));
        spool.push(at(3, ReportKind::Refused));
        spool.push(at(4, ReportKind::Armed));
        spool.push(at(5, ReportKind::Succeeded));
        spool.acknowledge(&[6]);
        let held = [Held { key: at(1, ReportKind::Started).key, plan_no: 1, started: true }];
        let untold = spool.untold(&held);
        assert_eq!(untold, [Held { key: at(2, ReportKind::Started).key, plan_no: 1, started: true }]);
    }

    #[test]
    fn batches_stay_below_what_a_peer_takes() {
        let mut spool = Spool::default();
        spool.link_up(1);
        for _ in 0..3 {
            spool.push(report(&"x".repeat(600_000)));
        }
        assert_eq!(spool.batch(1).unwrap().0.reports.len(), 1);
        assert_eq!(hand_over(&mut spool, 1), [1, 2, 3]);
    }
}
