//! A trial: an installation under load, a fault, its healing, and the judgement of everything that fired meanwhile.
//!
//! Several trials may share an installation, one after the other, with the load going on all the time: each is judged by the fires of its own
//! window. After a trial that failed the next one gets a new installation.

pub mod cases;
pub mod cost;
pub mod kept;
pub mod lane;
pub mod lanes;
pub mod load;
pub mod report;
pub mod watch;

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::api::{Api, is_final};
use crate::checker::RunRecord;
use crate::checker::record::{Excuse, FaultSpan, LostCommits, Record};
use crate::checker::trial::{Verdict, judge};
use crate::lab::Lab;
use crate::lab::members::Member;
use crate::ledger::{self, now_us};
use crate::process::Signal;

use load::Load;
use watch::Watch;

/// What is run and how.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Short outages and pauses, for the tests of every change; else those of the case as it is written.
    pub quick: bool,
}

/// One trial as its case sees it.
#[derive(Debug)]
pub struct Trial<'a> {
    /// The installation.
    pub lab: &'a Lab<'a>,
    /// Its load.
    pub load: &'a Load,
    /// How long things take.
    pub pace: Pace,
    /// All chances are drawn from here.
    pub random: StdRng,
    watch: &'a Watch,
    record: Mutex<Record>,
}

/// How much fires before the fault, so that the record shows what is normal here.
const BEFORE: Duration = Duration::from_secs(3);

/// How much fires after all is normal again.
const AFTER: Duration = Duration::from_secs(3);

/// How long a trial waits until all is normal again; I8 allows 10 s, and a trial that is late shall be told how much.
const NORMAL_PATIENCE: Duration = Duration::from_secs(30);

/// How long after the last fire every run may still be open: retries and lost workers included.
const QUIESCENCE: Duration = Duration::from_secs(40);

/// How long the row of a run that was started may be under way.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(3);

/// The lateness that I2 allows.
pub const BOUND_MS: i64 = 1_000;

impl<'a> Trial<'a> {
    /// A trial of a case, with a seed of its own.
    pub fn new(
        lab: &'a Lab<'a>,
        load: &'a Load,
        watch: &'a Watch,
        case: &str,
        pace: Pace,
        seed: u64,
    ) -> Self {
        let record = Record { case: case.to_owned(), seed, bound_ms: BOUND_MS, ..Record::default() };
        Self { lab, load, pace, random: StdRng::seed_from_u64(seed), watch, record: record.into() }
    }

    /// Runs the case between a quiet before and a quiet after, and judges it.
    pub async fn run(mut self, case: &cases::Case) -> (Record, Verdict) {
        self.is_normal().await;
        self.record().from_ms = now_ms();
        tokio::time::sleep(BEFORE).await;
        (case.run)(&mut self).await;
        self.lab.ground.network.heal_all();
        self.is_normal().await;
        tokio::time::sleep(AFTER).await;
        self.record().to_ms = now_ms();
        let record = self.gather().await;
        let verdict = judge(&record);
        (record, verdict)
    }

    /// Notes that something is being broken; what it returns ends it.
    pub fn fault(&self, what: impl Into<String>) -> Broken {
        let what = what.into();
        tracing::info!(fault = what, "breaking");
        let mut record = self.record();
        record.faults.push(FaultSpan { what, from_ms: now_ms(), to_ms: i64::MAX });
        Broken(record.faults.len() - 1)
    }

    /// Notes that what was broken is whole again.
    pub fn healed(&self, broken: Broken) {
        let mut record = self.record();
        let fault = &mut record.faults[broken.0];
        fault.to_ms = now_ms();
        tracing::info!(fault = fault.what, "healed");
    }

    /// Notes that I2 promises nothing for fires between these instants, and why.
    pub fn excuse(&self, from_ms: i64, to_ms: i64, group: Option<&str>, why: &str) {
        let excuse =
            Excuse { from_ms, to_ms, group: group.map(str::to_owned), worker: None, why: why.to_owned() };
        self.record().excused.push(excuse);
    }

    /// Notes that I2 promises nothing for runs between these instants that were at this worker: it cannot start them, and what becomes of them
    /// is for the policy (rule L).
    pub fn excuse_worker(&self, name: &str, from_ms: i64, to_ms: i64) {
        let why =
            "the worker is no live one; its runs get another attempt when it is known to be lost (rule L)"
                .to_owned();
        self.record().excused.push(Excuse {
            from_ms,
            to_ms,
            group: None,
            worker: Some(name.to_owned()),
            why,
        });
    }

    /// Notes that a failover of the database lost its last commits.
    pub fn lost_commits(&self, lost: LostCommits) {
        self.record().lost_commits.push(lost);
    }

    /// Notes that no database took commits from that instant until now.
    pub fn database_was_away(&self, from_ms: i64) {
        self.record().database_away.push((from_ms, now_ms()));
    }

    /// Notes that this share of the fires may be late or not started.
    pub fn tolerate(&self, share: f64) {
        self.record().tolerated_share = share;
    }

    /// Gives fires that a change plans anew more time, beginning with the change's answer.
    pub fn allow_for_changes(&self, bound: Duration) {
        self.record().change_bound_ms = i64::try_from(bound.as_millis()).ok();
    }

    /// How many takeovers were seen since the trial began.
    pub fn takeovers(&self) -> usize {
        let samples = self.watch.samples(self.record().from_ms, i64::MAX);
        let mut owners = std::collections::HashMap::new();
        samples
            .iter()
            .filter(|sample| {
                owners.insert(&sample.shard, &sample.owner).is_some_and(|before| *before != sample.owner)
            })
            .count()
    }

    /// One of so many.
    pub fn random_place(&mut self, of: usize) -> usize {
        self.random.random_range(0..of)
    }

    /// As [`Self::excuse`] for every group none of whose holders is left when these servers are gone: it is adopted, which takes time.
    pub async fn excuse_orphans(&self, gone: &[usize], from_ms: i64, to_ms: i64) {
        for group in &self.load.groups {
            if self.holders(&group.id).await.iter().all(|holder| gone.contains(holder)) {
                self.excuse(
                    from_ms,
                    to_ms,
                    Some(&group.id),
                    "no holder of the shard lives: another server adopts it",
                );
            }
        }
    }

    /// Notes a promise of the case itself that does not hold.
    pub fn broken(&self, what: impl Into<String>) {
        self.record().broken.push(what.into());
    }

    /// Lets the outage last.
    pub async fn lasts(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    /// The length of an outage: short when in haste.
    pub fn seconds(&self, quick: f64, full: f64) -> f64 {
        if self.pace.quick { quick } else { full }
    }

    /// The server that owns the first group's shard, by the newest look.
    pub async fn owner(&self) -> usize {
        self.owner_of(&self.load.groups[0].id).await
    }

    /// The place of the server that owns a group's shard.
    pub async fn owner_of(&self, group: &str) -> usize {
        self.holders(group).await[0]
    }

    /// The places of the holders of a group's shard, the owner first, then in the order of their turn.
    pub async fn holders(&self, group: &str) -> Vec<usize> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let names = self.watch.holders(group);
            let places: Vec<usize> = names.iter().filter_map(|name| self.lab.server_named(name)).collect();
            if !places.is_empty() {
                return places;
            }
            assert!(Instant::now() < deadline, "the group {group} has no owner");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// So many of the servers, consoles or workers at random, in random order.
    pub fn pick(&mut self, of: usize, count: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..of).collect();
        places.shuffle(&mut self.random);
        places.truncate(count);
        places
    }

    /// A chance of one in two.
    pub fn coin(&mut self) -> bool {
        self.random.random()
    }

    /// A number of milliseconds.
    pub fn millis(&mut self, range: std::ops::Range<i64>) -> i64 {
        self.random.random_range(range)
    }

    /// Kills or stops a member.
    pub async fn end(&self, member: &Member, how: Exit) {
        match how {
            Exit::Killed => member.kill(),
            Exit::Asked => {
                if !member.terminate(Duration::from_secs(15)).await {
                    self.broken(format!("{} did not end within 15 s of SIGTERM", member.name));
                }
            }
        }
    }

    /// Stops a member for so long.
    pub async fn stands_still(&self, member: &Member, seconds: f64) {
        member.signal(Signal::Stop);
        self.lasts(seconds).await;
        member.signal(Signal::Cont);
    }

    /// Waits until planning is as usual, everybody lives and every worker is connected; goes on after its patience, for the checker to judge.
    async fn is_normal(&self) {
        let deadline = Instant::now() + NORMAL_PATIENCE;
        while Instant::now() < deadline {
            if self.watch.is_normal()
                && self.load.workers_are_seen(&self.lab.api(), |group| self.watch.holders(group)).await
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tracing::warn!("not back to normal in time");
    }

    /// Waits until the runs of the window are final and gathers everything about it.
    async fn gather(&self) -> Record {
        let mut record = self.record().clone();
        let (from, to) = (record.from_ms, record.to_ms);
        let deadline = Instant::now() + QUIESCENCE;
        let mut settled = None;
        (record.runs, record.lines) = loop {
            if let Ok(runs) = self.runs(from, to).await {
                let late = Instant::now() > deadline;
                if late || runs.iter().all(|run| is_final(&run.state)) {
                    // Read after the rows, so that it may tell of a run whose row was just being written: then once more.
                    let lines = self.lines(from, to);
                    let known: HashSet<&str> = runs.iter().map(|run| run.id.as_str()).collect();
                    let complete = lines.iter().all(|line| known.contains(line.run.as_str()));
                    let since = *settled.get_or_insert_with(Instant::now);
                    if late || complete || since.elapsed() > UNKNOWN_PATIENCE {
                        break (runs, lines);
                    }
                }
            } else if Instant::now() > deadline {
                record.broken.push("the runs could not be read".into());
                break Default::default();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        record.jobs = self.load.jobs();
        record.triggers = self.load.triggers(from, to);
        let known: HashSet<&str> = record.runs.iter().map(|run| run.id.as_str()).collect();
        for path in self.lab.ledgers() {
            let worker = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let arms = ledger::read::<ledger::Armed>(&path.with_extension("arms")).into_iter();
            let arms = arms.filter(|armed| known.contains(armed.run.as_str()));
            record.arms.extend(arms.map(|armed| ledger::Armed { worker: worker.to_owned(), ..armed }));
        }
        record.lines.sort_by_key(|line| line.at_us);
        record.samples = self.watch.samples(from, to);
        for fault in &mut record.faults {
            fault.to_ms = fault.to_ms.min(to);
        }
        record
    }

    /// What workers wrote of runs whose fire times lie in (from, to].
    fn lines(&self, from: i64, to: i64) -> Vec<ledger::Line> {
        let within = |line: &ledger::Line| line.fire_time_ms > from && line.fire_time_ms <= to;
        let ledgers = self.lab.ledgers().into_iter();
        ledgers.flat_map(|path| ledger::read::<ledger::Line>(&path)).filter(within).collect()
    }

    /// The rows of all groups whose fire times lie in (from, to].
    async fn runs(&self, from: i64, to: i64) -> Result<Vec<RunRecord>, String> {
        let api: Api = self.lab.api();
        let mut runs = Vec::new();
        for group in &self.load.groups {
            let (from, to) = (text_of(from + 1), text_of(to + 1));
            let path = format!("/runs?group={}&from={from}&to={to}", group.id);
            for run in api.try_items(&path, 500).await? {
                let run = crate::api::Run::new(run);
                // A list does not show attempts.
                let run = if run.attempt() > 1 { api.try_run(run.id()).await? } else { run };
                runs.push(RunRecord::from(&run));
            }
        }
        Ok(runs)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that is broken until [`Trial::healed`].
#[derive(Debug)]
#[must_use = "a fault ends"]
pub struct Broken(usize);

/// How a process goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// SIGTERM.
    Asked,
    /// kill -9.
    Killed,
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    now_us() / 1_000
}

/// An instant as the API reads it.
fn text_of(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).expect("a time of this century").to_string()
}
