//! The rules, one by one, and then all together under random inputs.

mod properties;

use super::*;
use crate::run_id::RunKey;

pub(super) const ME: u64 = 77;

pub(super) struct Bench {
    pub(super) ledger: Ledger,
    pub(super) now: i64,
}

pub(super) fn unit(handler: &str, concurrency: usize, queue: usize) -> UnitSpec {
    UnitSpec {
        handler: handler.to_owned(),
        parallel: handler.starts_with("map"),
        reduce: handler == "map_reduce",
        blocking: handler == "blocking",
        concurrency,
        queue,
    }
}

pub(super) fn key(fire_time_ms: i64, job: u32) -> AttemptKey {
    AttemptKey { run: RunKey { fire_time_ms, job, ordinal: 0 }, attempt: 1, reduce: false }
}

/// Due at its fire time, start_by a second later.
pub(super) fn arm(fire_time_ms: i64, job: u32) -> Arm {
    Arm {
        key: key(fire_time_ms, job),
        plan_no: 1,
        job_version: 1,
        incarnation: ME,
        due: ClusterTime::from_millis(fire_time_ms),
        start_by: ClusterTime::from_millis(fire_time_ms + 1_000),
        shard: 0,
        overlap: Overlap::Queue(10),
        timeout_ms: 0,
        kind: Kind::Simple,
        handler: "simple".to_owned(),
        payload: Payload::default(),
    }
}

impl Bench {
    fn new() -> Self {
        let units =
            vec![unit("simple", 2, 3), unit("blocking", 1, 3), unit("map", 2, 3), unit("map_reduce", 2, 3)];
        Self { ledger: Ledger::new(ME, units), now: 0 }
    }

    pub(super) fn at(&mut self, now: i64, input: Input) -> Vec<Output> {
        assert!(now >= self.now, "time goes on");
        self.now = now;
        let mut out = Vec::new();
        self.ledger.step(ClusterTime::from_millis(now), input, &mut out);
        out
    }

    fn arm(&mut self, now: i64, arm: Arm) -> Vec<Output> {
        self.at(now, Input::Arms(vec![arm]))
    }

    fn succeed(&mut self, now: i64, key: AttemptKey) -> Vec<Output> {
        let outcome = Outcome::Succeeded { result: Bytes::new() };
        self.at(now, Input::Finished { key, started: ClusterTime::from_millis(now), outcome })
    }
}

fn said(out: &[Output]) -> Vec<(ReportKind, ReportReason)> {
    let report = |output: &Output| match output {
        Output::Report(report) => Some((report.kind, report.reason)),
        _ => None,
    };
    out.iter().filter_map(report).collect()
}

fn plans(out: &[Output]) -> Vec<(ReportKind, u32)> {
    let plan = |output: &Output| match output {
        Output::Report(report) => Some((report.kind, report.plan_no)),
        _ => None,
    };
    out.iter().filter_map(plan).collect()
}

fn kinds(out: &[Output]) -> Vec<ReportKind> {
    said(out).into_iter().map(|(kind, _)| kind).collect()
}

pub(super) fn started(out: &[Output]) -> Vec<AttemptKey> {
    let start = |output: &Output| match output {
        Output::Start { arm, .. } => Some(arm.key),
        _ => None,
    };
    out.iter().filter_map(start).collect()
}

const REFUSED: ReportKind = ReportKind::Refused;
const PLAIN: ReportReason = ReportReason::Unspecified;

#[test]
fn a_run_is_armed_started_at_its_time_and_finished() {
    let mut bench = Bench::new();
    assert_eq!(said(&bench.arm(0, arm(500, 1))), [(ReportKind::Armed, PLAIN)]);
    assert_eq!(bench.ledger.next_wake(), Some(ClusterTime::from_millis(500)));
    assert!(bench.at(499, Input::Tick).is_empty());
    let out = bench.at(500, Input::Tick);
    assert_eq!((kinds(&out), started(&out)), (vec![ReportKind::Started], vec![key(500, 1)]));
    assert_eq!(kinds(&bench.succeed(510, key(500, 1))), [ReportKind::Succeeded]);
    assert_eq!(bench.ledger.open_runs(), 0);
}

#[test]
fn a_repeated_arm_is_answered_with_the_state_and_starts_nothing() {
    let mut bench = Bench::new();
    bench.arm(0, arm(500, 1));
    assert_eq!(kinds(&bench.arm(10, arm(500, 1))), [ReportKind::Armed]);
    assert_eq!(started(&bench.at(500, Input::Tick)).len(), 1);
    let out = bench.arm(501, arm(500, 1));
    assert_eq!((kinds(&out), started(&out).len()), (vec![ReportKind::Started], 0));
    bench.succeed(502, key(500, 1));
    let out = bench.arm(503, arm(500, 1));
    assert_eq!((kinds(&out), started(&out).len()), (vec![ReportKind::Succeeded], 0));
}

#[test]
fn another_incarnations_arm_is_refused_and_not_remembered() {
    let mut bench = Bench::new();
    let strange = Arm { incarnation: ME + 1, ..arm(500, 1) };
    assert_eq!(said(&bench.arm(0, strange)), [(REFUSED, ReportReason::WrongIncarnation)]);
    assert_eq!(kinds(&bench.arm(1, arm(500, 1))), [ReportKind::Armed]);
}

#[test]
fn a_lower_plan_is_answered_with_what_became_of_the_higher_one_and_a_still_higher_one_arms_again() {
    let mut bench = Bench::new();
    bench.arm(0, Arm { plan_no: 2, ..arm(500, 1) });
    assert_eq!(plans(&bench.arm(1, arm(500, 1))), [(ReportKind::Armed, 2)]);
    let later = Arm { plan_no: 3, due: ClusterTime::from_millis(700), ..arm(500, 1) };
    assert_eq!(kinds(&bench.arm(2, later)), [ReportKind::Armed]);
    assert!(started(&bench.at(699, Input::Tick)).is_empty(), "the first plan's timer is void");
    assert_eq!(started(&bench.at(700, Input::Tick)), [key(500, 1)]);
    let out = bench.arm(701, Arm { plan_no: 9, ..arm(500, 1) });
    assert_eq!((kinds(&out), started(&out).len()), (vec![ReportKind::Started], 0), "it has started");
}

#[test]
fn a_disarmed_plan_never_starts_but_the_edits_new_plan_does() {
    let mut bench = Bench::new();
    let disarm = |plan_no| Input::Disarm {
        run: key(500, 1).run,
        attempt: 1,
        plan_no,
        shard: 0,
        job_version: 0,
        epoch: 0,
    };
    bench.arm(0, arm(500, 1));
    assert_eq!(kinds(&bench.at(1, disarm(1))), [ReportKind::Disarmed]);
    assert_eq!(kinds(&bench.arm(2, arm(500, 1))), [ReportKind::Disarmed], "a late copy of the Arm");
    assert_eq!(kinds(&bench.arm(3, Arm { plan_no: 2, job_version: 2, ..arm(500, 1) })), [ReportKind::Armed]);
    assert_eq!(kinds(&bench.at(4, disarm(1))), [ReportKind::Armed], "a late copy of the Disarm");
    assert_eq!(started(&bench.at(500, Input::Tick)).len(), 1);
    assert_eq!(kinds(&bench.at(501, disarm(2))), [ReportKind::Started], "too late");
}

#[test]
fn a_job_version_that_a_disarm_names_withdraws_whatever_is_armed_of_older_ones() {
    let mut bench = Bench::new();
    bench.arm(0, arm(500, 1));
    bench.arm(0, arm(600, 1));
    bench.arm(0, Arm { job_version: 2, ..arm(700, 1) });
    bench.arm(0, arm(500, 2));
    let disarm =
        Input::Disarm { run: key(800, 1).run, attempt: 1, plan_no: 1, shard: 0, job_version: 2, epoch: 0 };
    assert_eq!(
        kinds(&bench.at(1, disarm)),
        [ReportKind::Disarmed],
        "the others were withdrawn by the Arm of version 2"
    );
    let disarm =
        Input::Disarm { run: key(800, 1).run, attempt: 1, plan_no: 1, shard: 0, job_version: 3, epoch: 0 };
    let out = bench.at(2, disarm);
    assert_eq!(
        plans(&out),
        [(ReportKind::Disarmed, 1), (ReportKind::Disarmed, 1)],
        "the run of version 2 and the one named"
    );
    assert_eq!(said(&bench.arm(3, arm(900, 1))), [(REFUSED, ReportReason::OldVersion)], "whoever sends it");
    assert_eq!(started(&bench.at(1_000, Input::Tick)), [key(500, 2)], "another job's");
    let again = Arm { plan_no: 2, job_version: 3, due: ClusterTime::from_millis(1_200), ..arm(500, 1) };
    assert_eq!(kinds(&bench.arm(1_001, again)), [ReportKind::Armed], "planned anew it may start");
}

#[test]
fn an_owner_that_was_replaced_withdraws_nothing_that_its_successor_armed() {
    let mut bench = Bench::new();
    let by = |epoch| {
        let armed = arm(500, 1);
        Arm { payload: Payload { epoch, ..armed.payload.clone() }, ..armed }
    };
    let disarm = |epoch| Input::Disarm {
        run: key(500, 1).run,
        attempt: 1,
        plan_no: 1,
        shard: 0,
        job_version: 0,
        epoch,
    };
    bench.arm(0, by(2));
    // The successor says the same, and is answered with what is armed already.
    assert_eq!(kinds(&bench.arm(1, by(3))), [ReportKind::Armed]);
    assert_eq!(kinds(&bench.at(2, disarm(2))), [ReportKind::Armed]);
    assert_eq!(kinds(&bench.at(3, disarm(3))), [ReportKind::Disarmed]);
}

#[test]
fn a_disarm_that_overtakes_its_arm_holds() {
    let mut bench = Bench::new();
    let disarm =
        Input::Disarm { run: key(500, 1).run, attempt: 1, plan_no: 1, shard: 0, job_version: 0, epoch: 0 };
    assert_eq!(kinds(&bench.at(0, disarm)), [ReportKind::Disarmed]);
    assert_eq!(kinds(&bench.arm(1, arm(500, 1))), [ReportKind::Disarmed]);
    assert!(started(&bench.at(5_000, Input::Tick)).is_empty());
}

#[test]
fn an_older_job_version_is_refused_until_planned_anew() {
    let mut bench = Bench::new();
    bench.arm(0, Arm { job_version: 2, ..arm(600, 1) });
    assert_eq!(said(&bench.arm(1, arm(500, 1))), [(REFUSED, ReportReason::OldVersion)]);
    let new = Arm { plan_no: 2, job_version: 2, ..arm(500, 1) };
    assert_eq!(kinds(&bench.arm(2, new)), [ReportKind::Armed]);
}

#[test]
fn what_comes_too_late_is_a_tombstone() {
    let mut bench = Bench::new();
    assert_eq!(said(&bench.arm(1_501, arm(500, 1))), [(REFUSED, ReportReason::TooLate)]);
    bench.arm(1_501, arm(2_000, 1));
    let out = bench.at(3_001, Input::Tick);
    assert_eq!(said(&out), [(REFUSED, ReportReason::TooLate)], "the process slept over its time");
    assert!(started(&out).is_empty());
}

#[test]
fn a_handler_that_is_not_here_or_of_another_kind_is_unknown() {
    let mut bench = Bench::new();
    for (job, handler, kind) in [
        (1, "nobody", Kind::Simple),
        (2, "simple", Kind::Split),
        (3, "map", Kind::Simple),
        (4, "map", Kind::Reduce),
    ] {
        let order = Arm { handler: handler.to_owned(), kind, ..arm(500, job) };
        assert_eq!(said(&bench.arm(0, order)), [(REFUSED, ReportReason::UnknownHandler)], "{handler}");
    }
}

#[test]
fn a_full_spool_refuses() {
    let mut bench = Bench::new();
    bench.ledger.set_spool_full(true);
    assert_eq!(said(&bench.arm(0, arm(500, 1))), [(REFUSED, ReportReason::Busy)]);
}

#[test]
fn a_unit_runs_and_queues_what_it_may_and_refuses_the_rest() {
    let mut bench = Bench::new();
    let out = bench.at(500, Input::Arms((1..=7).map(|job| arm(500, job)).collect()));
    assert_eq!(started(&out), [key(500, 1), key(500, 2)]);
    let refused = said(&out).into_iter().filter(|said| *said == (REFUSED, ReportReason::Busy)).count();
    assert_eq!(refused, 2, "two run, three wait");
    assert_eq!(said(&bench.arm(501, arm(900, 8))), [(REFUSED, ReportReason::Busy)], "full now");
    assert_eq!(started(&bench.succeed(510, key(500, 2))), [key(500, 3)]);
    let out = bench.at(1_501, Input::Tick);
    assert_eq!(
        said(&out),
        [(REFUSED, ReportReason::TooLate); 2],
        "waiting for a place does not extend start_by"
    );
}

#[test]
fn serial_runs_start_one_after_the_other_in_the_order_of_their_fire_times() {
    let mut bench = Bench::new();
    let out = bench.at(500, Input::Arms(vec![arm(500, 1), arm(300, 1), arm(400, 1)]));
    assert_eq!(started(&out), [key(300, 1)]);
    assert_eq!(kinds(&out).iter().filter(|kind| **kind == ReportKind::Queued).count(), 2);
    assert_eq!(started(&bench.succeed(5_000, key(300, 1))), [key(400, 1)], "queued: start_by binds no more");
    assert_eq!(started(&bench.succeed(5_001, key(400, 1))), [key(500, 1)]);
}

#[test]
fn a_queue_has_its_limit() {
    let mut bench = Bench::new();
    let serial = |fire_time| Arm { overlap: Overlap::Queue(1), ..arm(fire_time, 1) };
    let out = bench.at(500, Input::Arms(vec![serial(300), serial(400), serial(500)]));
    assert_eq!(started(&out), [key(300, 1)]);
    assert!(said(&out).contains(&(ReportKind::Skipped, ReportReason::QueueFull)));
}

#[test]
fn skip_gives_way_to_the_running_one() {
    let mut bench = Bench::new();
    let order = |fire_time| Arm { overlap: Overlap::Skip, ..arm(fire_time, 1) };
    bench.arm(500, order(500));
    assert_eq!(said(&bench.arm(600, order(600))), [(ReportKind::Skipped, ReportReason::Overlap)]);
    bench.succeed(700, key(500, 1));
    assert_eq!(started(&bench.arm(800, order(800))), [key(800, 1)]);
}

#[test]
fn replace_cancels_the_running_one_and_starts_when_it_is_final() {
    let mut bench = Bench::new();
    let order = |fire_time| Arm { overlap: Overlap::Replace, ..arm(fire_time, 1) };
    bench.arm(500, order(500));
    let out = bench.arm(600, order(600));
    assert!(out.iter().any(|output| matches!(output, Output::Cancel { key: old } if *old == key(500, 1))));
    assert_eq!(kinds(&out), [ReportKind::Queued]);
    let out = bench.arm(650, order(650));
    assert_eq!(said(&out), [(ReportKind::Skipped, ReportReason::Replaced), (ReportKind::Queued, PLAIN)]);
    let out = bench.succeed(700, key(500, 1));
    assert_eq!(said(&out)[0], (ReportKind::Cancelled, ReportReason::Replaced));
    assert_eq!(started(&out), [key(650, 1)]);
}

#[test]
fn parallel_runs_stay_below_their_maximum() {
    let mut bench = Bench::new();
    let order = |fire_time| Arm { overlap: Overlap::Parallel(1), ..arm(fire_time, 1) };
    bench.arm(500, order(500));
    assert_eq!(kinds(&bench.arm(600, order(600))), [ReportKind::Queued]);
    assert_eq!(started(&bench.succeed(700, key(500, 1))), [key(600, 1)]);
}

#[test]
fn a_timeout_cancels_then_abandons() {
    let mut bench = Bench::new();
    let out = bench.arm(500, Arm { timeout_ms: 100, ..arm(500, 1) });
    assert_eq!(started(&out).len(), 1);
    assert!(matches!(bench.at(600, Input::Tick)[..], [Output::Cancel { .. }]));
    let out = bench.at(600 + DEFAULT_GRACE_MS as i64, Input::Tick);
    assert!(matches!(out[0], Output::Abandon { .. }));
    assert_eq!(kinds(&out), [ReportKind::TimedOut]);
    assert_eq!(bench.ledger.running_in(0), 0);
}

#[test]
fn a_handler_that_ends_within_the_grace_has_still_timed_out() {
    let mut bench = Bench::new();
    bench.arm(500, Arm { timeout_ms: 100, ..arm(500, 1) });
    bench.at(600, Input::Tick);
    assert_eq!(kinds(&bench.succeed(700, key(500, 1))), [ReportKind::TimedOut]);
}

#[test]
fn an_abandoned_thread_keeps_its_place_until_it_returns() {
    let mut bench = Bench::new();
    let order =
        |fire_time, job| Arm { handler: "blocking".to_owned(), timeout_ms: 100, ..arm(fire_time, job) };
    bench.arm(500, order(500, 1));
    bench.at(600, Input::Tick);
    assert_eq!(kinds(&bench.at(5_600, Input::Tick)), [ReportKind::TimedOut]);
    assert!(started(&bench.arm(5_700, order(5_700, 2))).is_empty(), "the only thread is still busy");
    let out = bench.succeed(5_800, key(500, 1));
    assert_eq!((said(&out), started(&out)), (vec![(ReportKind::Started, PLAIN)], vec![key(5_700, 2)]));
}

#[test]
fn cancel_ends_what_waits_and_stops_what_runs() {
    let mut bench = Bench::new();
    let cancel = |fire_time| Input::Cancel {
        run: key(fire_time, 1).run,
        attempt: 1,
        grace_ms: 50,
        why: "by hand".to_owned(),
    };
    bench.at(500, Input::Arms(vec![arm(400, 1), arm(500, 1)]));
    assert_eq!(kinds(&bench.at(501, cancel(500))), [ReportKind::Cancelled]);
    assert!(matches!(bench.at(502, cancel(400))[..], [Output::Cancel { .. }]));
    assert_eq!(kinds(&bench.at(552, Input::Tick)), [ReportKind::Cancelled]);
    let out = bench.arm(553, arm(500, 1));
    assert_eq!((kinds(&out), started(&out).len()), (vec![ReportKind::Cancelled], 0));
}

#[test]
fn a_drain_gives_back_what_is_not_due_soon_and_takes_nothing() {
    let mut bench = Bench::new();
    bench.at(0, Input::Arms(vec![arm(0, 1), arm(0, 2), arm(0, 3), arm(900, 4), arm(1_100, 5)]));
    assert_eq!(
        said(&bench.at(0, Input::Drain)),
        [(REFUSED, ReportReason::Draining); 2],
        "waiting, or due later"
    );
    assert_eq!(said(&bench.arm(1, arm(500, 9))), [(REFUSED, ReportReason::Draining)]);
    let mut held = bench.ledger.held();
    held.sort_by_key(|held| held.key);
    assert_eq!(held.iter().map(|held| held.started).collect::<Vec<_>>(), [true, true, false]);
    bench.succeed(10, key(0, 1));
    assert_eq!(started(&bench.at(900, Input::Tick)), [key(900, 4)], "moving it could have made it late");
}

#[test]
fn a_reduce_of_a_run_is_another_phase_and_passes_the_jobs_gate() {
    let mut bench = Bench::new();
    let split = Arm { handler: "map_reduce".to_owned(), kind: Kind::Split, ..arm(500, 1) };
    let mut reduce = Arm { kind: Kind::Reduce, ..split.clone() };
    reduce.key.reduce = true;
    bench.arm(500, split);
    bench.succeed(510, key(500, 1));
    let edited = 2;
    let next =
        Arm { handler: "map_reduce".to_owned(), kind: Kind::Split, job_version: edited, ..arm(520, 1) };
    bench.arm(520, next);
    let out = bench.arm(530, reduce);
    assert_eq!(started(&out).len(), 1, "though the next run of the job is running, of a newer version");
    let Some(Output::Report(report)) = out.first() else { panic!("a report") };
    assert_eq!(report.run_kind, RunKind::Reduce);
}

#[test]
fn ids_are_forgotten_two_minutes_after_start_by() {
    let mut bench = Bench::new();
    bench.arm(500, arm(500, 1));
    bench.succeed(510, key(500, 1));
    bench.at(1_500 + 119_999, Input::Tick);
    assert_eq!(bench.ledger.entries.len(), 1);
    bench.at(1_500 + 120_000, Input::Tick);
    assert_eq!(bench.ledger.entries.len(), 0);
    assert_eq!(bench.ledger.next_wake(), None);
}
