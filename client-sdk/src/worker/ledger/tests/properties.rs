//! Random orders in any sequence: what must hold whatever the holders, the handlers and the clock do.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Move {
    Arm {
        run: i64,
        job: u32,
        attempt: u32,
        plan_no: u32,
        version: u32,
        delay: i64,
        timeout: u64,
        mine: bool,
    },
    Disarm {
        run: i64,
        job: u32,
        attempt: u32,
        plan_no: u32,
    },
    Cancel {
        run: i64,
        job: u32,
        attempt: u32,
        grace: u64,
    },
    /// The handler started longest ago, or one after it, ends.
    Finish {
        place: usize,
        ok: bool,
    },
    Pass {
        millis: i64,
    },
    Spool {
        full: bool,
    },
    Drain,
}

fn moves() -> impl Strategy<Value = Move> {
    let run = || (0i64..4, 1u32..3, 1u32..3);
    prop_oneof![
        8 => (run(), (1u32..4, 1u32..3), (-50i64..300), prop_oneof![Just(0u64), 1u64..300], prop::bool::weighted(0.95))
            .prop_map(|((run, job, attempt), (plan_no, version), delay, timeout, mine)|
                Move::Arm { run, job, attempt, plan_no, version, delay, timeout, mine }),
        2 => (run(), 1u32..4).prop_map(|((run, job, attempt), plan_no)| Move::Disarm { run, job, attempt, plan_no }),
        1 => (run(), 0u64..400).prop_map(|((run, job, attempt), grace)| Move::Cancel { run, job, attempt, grace }),
        6 => (0usize..3, any::<bool>()).prop_map(|(place, ok)| Move::Finish { place, ok }),
        6 => (0i64..400).prop_map(|millis| Move::Pass { millis }),
        1 => any::<bool>().prop_map(|full| Move::Spool { full }),
        1 => Just(Move::Drain),
    ]
}

#[derive(Default)]
struct Checker {
    starts: HashMap<AttemptKey, u32>,
    running: Vec<(AttemptKey, Overlap)>,
    finals: HashSet<AttemptKey>,
    /// The highest plan for which proof was given that it will never start.
    tombstones: HashMap<AttemptKey, u32>,
    open: HashSet<AttemptKey>,
    armed_plan: HashMap<AttemptKey, u32>,
}

impl Checker {
    fn check(&mut self, now: ClusterTime, out: &[Output]) -> Result<(), TestCaseError> {
        for output in out {
            match output {
                Output::Start { unit, arm } => {
                    let key = arm.key;
                    prop_assert!(self.starts.insert(key, arm.plan_no).is_none(), "I3: {key:?} started twice");
                    prop_assert!(now >= arm.due, "started before its time");
                    prop_assert_eq!(arm.incarnation, ME);
                    let proof = self.tombstones.get(&key).copied().unwrap_or(0);
                    prop_assert!(arm.plan_no > proof, "started plan {} after proof for {proof}", arm.plan_no);
                    let others: Vec<_> =
                        self.running.iter().filter(|(other, _)| other.run.job == key.run.job).collect();
                    if matches!(arm.overlap, Overlap::Skip | Overlap::Queue(_) | Overlap::Replace) {
                        let gated =
                            others.iter().filter(|(_, overlap)| *overlap != Overlap::Parallel(0)).count();
                        prop_assert_eq!(gated, 0, "a serial run met another");
                    }
                    self.running.push((key, arm.overlap));
                    prop_assert!(self.running.len() <= 2, "unit {unit} over its concurrency");
                }
                Output::Report(report) => self.report(report)?,
                Output::Cancel { key } => {
                    prop_assert!(
                        self.running.iter().any(|(running, _)| running == key),
                        "cancelled what does not run"
                    );
                }
                Output::Abandon { key } => self.running.retain(|(running, _)| running != key),
            }
        }
        Ok(())
    }

    fn report(&mut self, report: &Report) -> Result<(), TestCaseError> {
        use ReportKind::*;
        let key = report.key;
        match report.kind {
            Refused | Disarmed => {
                // Proof is only what speaks of the plan that this worker was given.
                if report.reason != ReportReason::WrongIncarnation {
                    let plan = self.tombstones.entry(key).or_default();
                    *plan = report.plan_no.max(*plan);
                    if self.armed_plan.get(&key).is_none_or(|armed| *armed <= report.plan_no) {
                        prop_assert!(
                            self.starts.get(&key).is_none_or(|started| *started > report.plan_no),
                            "proof for a plan that was started"
                        );
                        self.open.remove(&key);
                    }
                }
            }
            Armed | Queued => {
                self.armed_plan.insert(key, report.plan_no);
                self.open.insert(key);
            }
            Started => {
                self.open.insert(key);
            }
            Succeeded | Failed | TimedOut | Cancelled | Skipped => {
                self.finals.insert(key);
                self.open.remove(&key);
            }
            Unspecified => prop_assert!(false, "a report without a kind"),
        }
        Ok(())
    }
}

fn policy(number: usize) -> Overlap {
    [Overlap::Parallel(0), Overlap::Parallel(2), Overlap::Skip, Overlap::Queue(2), Overlap::Replace][number]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_rules_hold_in_every_history(policies in prop::collection::vec(0usize..5, 3), history in prop::collection::vec(moves(), 1..120)) {
        let mut ledger = Ledger::new(ME, vec![unit("simple", 2, 2)]);
        let mut checker = Checker::default();
        let mut now = ClusterTime::from_millis(1_000);
        for step in history {
            let input = match step {
                Move::Arm { run, job, attempt, plan_no, version, delay, timeout, mine } => {
                    let mut order = arm(1_000 + run * 100, job);
                    order.key.attempt = attempt;
                    order.plan_no = plan_no;
                    order.job_version = version;
                    order.due = ClusterTime::from_micros(now.as_micros() + delay * 1_000);
                    order.start_by = order.due.plus_millis(200);
                    order.overlap = policy(policies[job as usize]);
                    order.timeout_ms = timeout;
                    order.incarnation = if mine { ME } else { ME + 1 };
                    Input::Arms(vec![order])
                }
                Move::Disarm { run, job, attempt, plan_no } => {
                    Input::Disarm { run: key(1_000 + run * 100, job).run, attempt, plan_no, shard: 0, job_version: 0, epoch: 0 }
                }
                Move::Cancel { run, job, attempt, grace } => {
                    let run = key(1_000 + run * 100, job).run;
                    Input::Cancel { run, attempt, grace_ms: grace, why: String::new() }
                }
                Move::Finish { place, ok } => {
                    if place >= checker.running.len() { continue }
                    let (key, _) = checker.running.remove(place);
                    let outcome = if ok {
                        Outcome::Succeeded { result: Bytes::new() }
                    } else {
                        Outcome::Failed { reason: ReportReason::Failed, error: "no".to_owned(), retry_after_ms: 0 }
                    };
                    Input::Finished { key, started: now, outcome }
                }
                Move::Pass { millis } => {
                    now = now.plus_millis(millis.unsigned_abs());
                    Input::Tick
                }
                Move::Spool { full } => {
                    ledger.set_spool_full(full);
                    Input::Tick
                }
                Move::Drain => Input::Drain,
            };
            let mut out = Vec::new();
            ledger.step(now, input, &mut out);
            checker.check(now, &out)?;
        }

        // Liveness: when handlers end and time passes, nothing stays open and nothing is remembered for ever.
        for _ in 0..400 {
            now = now.plus_millis(100);
            let mut out = Vec::new();
            let input = if checker.running.is_empty() {
                Input::Tick
            } else {
                let (key, _) = checker.running.remove(0);
                Input::Finished { key, started: now, outcome: Outcome::Succeeded { result: Bytes::new() } }
            };
            ledger.step(now, input, &mut out);
            checker.check(now, &out)?;
        }
        prop_assert_eq!(ledger.open_runs(), 0);
        prop_assert!(checker.open.is_empty(), "left open: {:?}", checker.open);
        prop_assert!(checker.starts.keys().all(|key| checker.finals.contains(key)));
        let mut out = Vec::new();
        ledger.step(now.plus_millis(REMEMBER_UNKNOWN_MS + 2 * REMEMBER_MS), Input::Tick, &mut out);
        prop_assert!(ledger.entries.is_empty(), "{:?}", ledger.entries);
        prop_assert_eq!(ledger.pending_bytes, 0);
        prop_assert_eq!(ledger.running_in(0), 0);
    }
}
