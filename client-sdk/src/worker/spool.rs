//! The worker's journal: reports numbered within the incarnation and kept until one holder says that they are durable.

use std::collections::{BTreeMap, HashMap};

use carillon_proto::v1;

use super::ledger::Report;

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
        let mut bytes = 0;
        let mut reports = Vec::new();
        for (_, report) in self.kept.range(from..).take(MAX_BATCH) {
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

    pub(crate) fn acknowledge(&mut self, seqs: &[u64]) {
        for seq in seqs {
            self.kept.remove(seq);
        }
    }

    /// The number of the newest report, for [`resend_up_to`](Self::resend_up_to).
    pub(crate) fn newest(&self) -> u64 {
        self.next_seq
    }

    /// Sends again what is kept, if something at or below `seq` still is: a holder took it and did not make it durable.
    pub(crate) fn resend_up_to(&mut self, seq: u64) {
        if self.kept.keys().next().is_some_and(|oldest| *oldest <= seq) {
            for sent in self.sent.values_mut() {
                *sent = 0;
            }
        }
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

    #[test]
    fn what_stays_unacknowledged_is_sent_again() {
        let mut spool = Spool::default();
        spool.link_up(1);
        spool.push(report("a"));
        let mark = spool.newest();
        hand_over(&mut spool, 1);
        spool.resend_up_to(mark);
        assert_eq!(hand_over(&mut spool, 1), [1]);
        spool.acknowledge(&[1]);
        spool.push(report("b"));
        hand_over(&mut spool, 1);
        spool.resend_up_to(mark);
        assert_eq!(hand_over(&mut spool, 1), [] as [u64; 0], "newer than the mark");
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
