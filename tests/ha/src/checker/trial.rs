//! Judges the record of a trial: I1 to I8 and what the case promises besides, and the figures.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::record::{FaultSpan, JobHistory, Record, Version};
use super::{Fault, Found, History, Lateness, RunRecord, Violation, check_run};
use crate::ledger::{Event, Line, Phase};

/// I8: how soon after healing planning and arming must be back to normal.
const NORMAL_WITHIN_MS: i64 = 10_000;

/// Planned this far ahead is normal: the horizon of 30 s less a slice of at most 5 s, a look each second, and slack.
const NORMAL_PLAN_MS: i64 = 20_000;

/// Armed this long before is normal: 1.5 s less the slack of a busy machine.
const NORMAL_ARM_US: i64 = 1_000_000;

/// A change that takes effect so shortly before a fire leaves no time to arm ahead: such a fire starts on arrival.
const ARMING_MS: i64 = 2_000;

/// The longest that it takes until a shard whose owner is gone has another one: a session of 6 s, and reading, twice for safety.
const TAKEOVER_MS: i64 = 15_000;

/// A run that is triggered is due when its row is made; its fire time is an instant before that.
const DUE_NOW_MS: i64 = 1_000;

/// So long after a version was lost its fires may start: what was armed of it is with its worker already.
const LOST_ARMED_MS: i64 = 3_000;

/// What became of a trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verdict {
    /// Every promise that was broken, each once, in order.
    pub violations: Vec<Violation>,
    /// What was measured.
    pub figures: Figures,
}

/// What was measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Fires that had to be.
    pub fires: u64,
    /// Of them, those that have no row.
    pub lost: u64,
    /// Starts beyond the first of the same attempt.
    pub doubled: u64,
    /// Fires that were not started although they had to be.
    pub not_started: u64,
    /// The share of the fires that were promised to start in time and did.
    pub in_time_share: f64,
    /// Fires at times for which I2 promises nothing, and how many of them were not started.
    pub excused: (u64, u64),
    /// Lateness of what was promised, before the first fault, from then until all was healed, and after that.
    pub lateness: [Distribution; 3],
    /// Lateness of the excused fires that were started.
    pub excused_lateness: Distribution,
    /// How long before their time runs were at their worker, in the same three times: the median and the shortest, in milliseconds.
    pub arming_lead_ms: [(f64, f64); 3],
    /// Arms beyond the first of the same attempt and plan: standbys that armed, and repetitions. None of them may start anything.
    pub repeated_arms: u64,
    /// How often a shard had another owner than at the look before.
    pub takeovers: u64,
    /// Triggers by API that were answered.
    pub triggers: u64,
    /// Changes of jobs that were answered.
    pub edits: u64,
    /// From healing until planning and arming were as before.
    pub to_normal_ms: Option<i64>,
}

/// A distribution of lateness in milliseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the usual ones")]
pub struct Distribution {
    pub count: u64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// The share that was at most 20 ms late.
    pub within_20ms: f64,
}

impl Distribution {
    fn of(late_us: &[i64]) -> Self {
        let lateness = Lateness::of_micros(late_us.iter().copied());
        if lateness.count() == 0 {
            return Self { within_20ms: 1.0, ..Self::default() };
        }
        Self {
            count: lateness.count(),
            p50: lateness.quantile_ms(0.5),
            p99: lateness.quantile_ms(0.99),
            p999: lateness.quantile_ms(0.999),
            max: lateness.max_ms(),
            within_20ms: lateness.share_within_ms(20.0),
        }
    }
}

/// Judges a record.
pub fn judge(record: &Record) -> Verdict {
    let mut judge = Judge::new(record);
    judge.check_rows();
    judge.forgive_early_starts();
    judge.forgive_lost_rows();
    judge.check_fires();
    judge.check_edits();
    judge.check_triggers();
    judge.check_progress();
    judge.check_normal();
    judge.measure_arms();
    for broken in &record.broken {
        judge.found.add(Fault::Promise, &record.case, broken);
    }
    let mut figures = judge.figures;
    figures.lateness = judge.late.each_ref().map(|late| Distribution::of(late));
    figures.excused_lateness = Distribution::of(&judge.excused_late);
    figures.triggers = record.triggers.len() as u64;
    let within = |version: &&Version| {
        version.acknowledged_ms.is_some_and(|at| at > record.from_ms && at <= record.to_ms)
    };
    figures.edits =
        record.jobs.iter().map(|job| job.versions.iter().skip(1).filter(within).count() as u64).sum();
    let mut violations: Vec<Violation> = judge.found.0.into_iter().collect();
    let count = |fault| violations.iter().filter(|violation| violation.fault == fault).count() as u64;
    (figures.lost, figures.doubled, figures.not_started) =
        (count(Fault::Lost), count(Fault::StartedTwice), count(Fault::NotStarted));
    let late = count(Fault::TooLate) + figures.not_started;
    figures.in_time_share = 1.0 - late as f64 / figures.fires.max(1) as f64;
    if 1.0 - figures.in_time_share <= record.tolerated_share {
        violations.retain(|violation| !matches!(violation.fault, Fault::TooLate | Fault::NotStarted));
    }
    Verdict { violations, figures }
}

struct Judge<'a> {
    record: &'a Record,
    rows: BTreeMap<(u32, i64), Vec<&'a RunRecord>>,
    lines: HashMap<&'a str, Vec<&'a Line>>,
    found: Found,
    figures: Figures,
    late: [Vec<i64>; 3],
    excused_late: Vec<i64>,
    /// The first fault and the end of the last one.
    faults: (i64, i64),
}

impl<'a> Judge<'a> {
    fn new(record: &'a Record) -> Self {
        let mut rows: BTreeMap<_, Vec<&RunRecord>> = BTreeMap::new();
        for run in record.runs.iter().filter(|run| run.trigger != "api") {
            rows.entry((run.job, run.fire_time_ms)).or_default().push(run);
        }
        let mut lines: HashMap<&str, Vec<&Line>> = HashMap::new();
        for line in &record.lines {
            lines.entry(&line.run).or_default().push(line);
        }
        let began = record.faults.iter().map(|fault| fault.from_ms).min().unwrap_or(record.to_ms);
        let healed = record.faults.iter().map(|fault| fault.to_ms).max().unwrap_or(record.to_ms);
        Self {
            record,
            rows,
            lines,
            found: Found::default(),
            figures: Figures::default(),
            late: Default::default(),
            excused_late: Vec::new(),
            faults: (began, healed),
        }
    }

    /// I3, I5, I7 and what I1 says of starts: as for any history.
    fn check_rows(&mut self) {
        // A subtask within one checkpoint may be processed again after a fault: its runs promise at least once.
        let lines = self.record.lines.iter().filter(|line| line.phase != Phase::Process).cloned().collect();
        let history = History { expected: Vec::new(), runs: self.record.runs.clone(), lines };
        history.check_starts(&mut self.found);
        let nothing = Vec::new();
        for run in &self.record.runs {
            check_run(run, self.lines.get(run.id.as_str()).unwrap_or(&nothing), &mut self.found);
        }
    }

    /// I1 and I2.
    fn check_fires(&mut self) {
        let (from, to) = (self.record.from_ms, self.record.to_ms);
        for job in &self.record.jobs {
            let (must, may) = job.fires(from, to);
            for (fire, version) in &must {
                let whose = format!("job {} at {fire}", job.job);
                match self.rows.get(&(job.job, *fire)).map_or(&[][..], Vec::as_slice) {
                    [] => self.found.add(Fault::Lost, whose, "no run"),
                    [run] => self.check_start(job, *version, run),
                    rows => self.found.add(Fault::Doubled, whose, format!("{} runs", rows.len())),
                }
            }
            self.figures.fires += must.len() as u64;
            for ((_, time), runs) in self.rows.range((job.job, from + 1)..=(job.job, to)) {
                if runs.len() > 1 {
                    self.found.add(
                        Fault::Doubled,
                        format!("job {} at {time}", job.job),
                        format!("{} runs", runs.len()),
                    );
                }
                if !may.contains(time) && !self.was_withdrawn(job, runs[0]) {
                    self.found.add(
                        Fault::Unexpected,
                        &runs[0].id,
                        format!("job {} has no fire at {time}, and it is {}", job.job, runs[0].state),
                    );
                }
            }
        }
    }

    /// Whether a run was planned ahead for a version that a change ended before the fire. Its row stays; either it was cancelled in time, or it
    /// was started before the change was answered, or the answer has it among those that may still start.
    fn was_withdrawn(&self, job: &JobHistory, run: &RunRecord) -> bool {
        let fire = run.fire_time_ms;
        let begun =
            self.lines.get(run.id.as_str()).and_then(|lines| lines.iter().map(|line| line.at_us).min());
        let before_the_answer = job.versions.windows(2).any(|pair| {
            let planned =
                pair[0].schedule.is_some_and(|schedule| schedule.between(fire - 1, fire).next().is_some());
            let answered = pair[1].acknowledged_ms.unwrap_or(pair[1].effective_ms.1);
            planned
                && fire > pair[1].effective_ms.0
                && begun.is_some_and(|at| at <= answered.saturating_mul(1_000))
        });
        if before_the_answer || (begun.is_some() && is_of_lost_version(job, fire)) {
            return true;
        }
        let mut planned = job.versions.iter().filter_map(|version| version.schedule);
        let listed = job.versions.iter().any(|version| version.may_still_start.contains(&run.id));
        let unstarted = run.state == "cancelled" && !self.lines.contains_key(run.id.as_str());
        (unstarted || listed) && planned.any(|schedule| schedule.between(fire - 1, fire).next().is_some())
    }

    fn check_start(&mut self, job: &JobHistory, version: usize, run: &RunRecord) {
        let fire = run.fire_time_ms;
        let started = self
            .lines
            .get(run.id.as_str())
            .and_then(|lines| lines.iter().filter(|line| is_start(line)).map(|line| line.at_us).min());
        let excused = self.is_excused(job, run)
            || self.changed_unanswered(job, version, fire)
            || self.changed_as_the_database_died(job, version, fire);
        if excused {
            self.figures.excused.0 += 1;
            match started {
                Some(at) => self.excused_late.push(at - fire * 1_000),
                None => self.figures.excused.1 += 1,
            }
            return;
        }
        let promise = self.promise(job, version, fire);
        let Some(at) = started else {
            if !(run.state == "cancelled" && promise.taken) {
                self.found.add(
                    Fault::NotStarted,
                    &run.id,
                    format!("job {} at {fire}: {} ({})", job.job, run.state, run.reason),
                );
            }
            return;
        };
        let late_us = at - fire * 1_000;
        if at > promise.by_ms * 1_000 {
            self.found.add(
                Fault::TooLate,
                &run.id,
                format!("job {} at {fire}: {:.1} ms", job.job, late_us as f64 / 1_000.0),
            );
        }
        if !promise.changed {
            self.late[self.phase(fire)].push(late_us);
        }
    }

    /// By when a fire of a version has to start. Near a change, whichever way, it is planned anew and starts on arrival, soon after the answer;
    /// and what may still wait when the next change comes is planned anew by that, or taken along where it is a pause or a deletion.
    fn promise(&self, job: &JobHistory, version: usize, fire: i64) -> Promise {
        let patience = self.record.change_bound_ms.unwrap_or(self.record.bound_ms);
        let soon = self.record.change_bound_ms.map_or(ARMING_MS, |bound| bound.max(ARMING_MS));
        let mut promise = Promise { by_ms: fire + self.record.bound_ms, changed: false, taken: false };
        for (place, change) in job.versions[version..].iter().enumerate() {
            let until = change.acknowledged_ms.unwrap_or(change.effective_ms.1).saturating_add(soon);
            let near = place < 2 && (change.sent_ms - ARMING_MS..=until).contains(&fire);
            let finds_it_waiting = place > 0 && change.sent_ms <= promise.by_ms;
            if near || finds_it_waiting {
                promise.changed |= near;
                promise.taken |= place > 0 && change.schedule.is_none();
                let answered = change.acknowledged_ms.map(|answered| answered + patience);
                promise.by_ms = promise.by_ms.max(answered.unwrap_or(0));
            } else if place > 0 {
                break;
            }
        }
        promise
    }

    /// Whether a fire lies soon after a change that was made while something was broken, and that was not answered: whoever was to tell the holders
    /// may have been what was broken, and then the owner, or the next one, finds it when it looks.
    fn changed_unanswered(&self, job: &JobHistory, version: usize, fire: i64) -> bool {
        let changes = job.versions[version..].iter().take(2);
        let mut unanswered =
            changes.filter(|change| change.sent_ms > self.record.from_ms && change.acknowledged_ms.is_none());
        unanswered.any(|change| {
            let until = change.sent_ms + TAKEOVER_MS;
            let broken =
                |fault: &FaultSpan| (fault.from_ms - ARMING_MS..=fault.to_ms).contains(&change.sent_ms);
            (change.sent_ms - ARMING_MS..=until).contains(&fire) && self.record.faults.iter().any(broken)
        })
    }

    /// Whether a fire is of a change that was committed just before the database died, while it is away: nobody could read its rows and name
    /// workers in them. Its answer, if it has one, says so: it names runs that may start all the same.
    fn changed_as_the_database_died(&self, job: &JobHistory, version: usize, fire: i64) -> bool {
        let change = &job.versions[version];
        let in_doubt = change.acknowledged_ms.is_none() || !change.may_still_start.is_empty();
        in_doubt
            && self.record.database_away.iter().any(|(from, to)| {
                (from - ARMING_MS..=*to).contains(&change.sent_ms)
                    && (change.sent_ms..=to + TAKEOVER_MS).contains(&fire)
            })
    }

    /// Whether I2 promises nothing for a run.
    fn is_excused(&self, job: &JobHistory, run: &RunRecord) -> bool {
        self.record.excused.iter().any(|excuse| {
            (excuse.from_ms..=excuse.to_ms).contains(&run.fire_time_ms)
                && excuse.group.as_ref().is_none_or(|group| *group == job.group)
                && excuse.worker.as_ref().is_none_or(|worker| self.was_at(run, worker))
        }) || self.waits_for_excused(run)
    }

    /// Whether an earlier run of the job was at a worker that is excused, and ended only after this fire: a serial job waits for it.
    fn waits_for_excused(&self, run: &RunRecord) -> bool {
        let over = |earlier: &RunRecord| {
            let last = self
                .lines
                .get(earlier.id.as_str())
                .and_then(|lines| lines.iter().map(|line| line.at_us).max());
            last.is_some_and(|at| at <= run.fire_time_ms.saturating_mul(1_000))
        };
        self.record.excused.iter().any(|excuse| {
            let Some(worker) = &excuse.worker else { return false };
            let (from, to) = (excuse.from_ms, excuse.to_ms.min(run.fire_time_ms - 1));
            let mut before = self.rows.range((run.job, from)..(run.job, to.max(from - 1) + 1));
            before.any(|(_, rows)| rows.iter().any(|earlier| !over(earlier) && self.was_at(earlier, worker)))
        })
    }

    /// An early start breaks I2 as a late one does, and is excused where that is.
    fn forgive_early_starts(&mut self) {
        let jobs: HashMap<u32, &JobHistory> = self.record.jobs.iter().map(|job| (job.job, job)).collect();
        let excused: BTreeSet<&str> = self
            .record
            .runs
            .iter()
            .filter(|run| jobs.get(&run.job).is_some_and(|job| self.is_excused(job, run)))
            .map(|run| run.id.as_str())
            .collect();
        self.found.0.retain(|violation| {
            violation.fault != Fault::TooEarly || !excused.contains(violation.whose.as_str())
        });
    }

    /// A row whose insertion was lost with the database's last commits may have been started. Only a row that was made in those moments can be:
    /// one that was due when it was made, or one of a version that was lost as well. Every other fire is planned again under the same id.
    fn forgive_lost_rows(&mut self) {
        if self.record.lost_commits.is_empty() {
            return;
        }
        let known: BTreeSet<u32> = self.record.jobs.iter().map(|job| job.job).collect();
        let (lines, record) = (&self.lines, self.record);
        self.found.0.retain(|violation| {
            let line = lines.get(violation.whose.as_str()).and_then(|lines| lines.first());
            let (Fault::UnknownRun, Some(line)) = (violation.fault, line) else { return true };
            let fire = line.fire_time_ms;
            let made_then = !known.contains(&line.job)
                && record.lost_commits.iter().any(|lost| lost.may_hold(fire, fire + DUE_NOW_MS));
            let mut jobs = record.jobs.iter().filter(|job| job.job == line.job);
            !made_then && !jobs.any(|job| is_of_lost_version(job, fire))
        });
        // Nor does a row that was cancelled before the lost edit brought its fire back know of the start that this edit allowed: its end was told,
        // acknowledged and lost with the edit.
        let runs: HashMap<&str, &RunRecord> = record.runs.iter().map(|run| (run.id.as_str(), run)).collect();
        self.found.0.retain(|violation| {
            let run = runs.get(violation.whose.as_str());
            let (Fault::Disagrees, Some(run)) = (violation.fault, run) else { return true };
            let mut jobs = record.jobs.iter().filter(|job| job.job == run.job);
            let told_and_lost = lines.get(run.id.as_str()).is_some_and(|lines| {
                let ends = |line: &&&Line| line.event == Event::Succeeded;
                lines.iter().find(ends).is_some_and(|line| {
                    record.lost_commits.iter().any(|lost| {
                        lost.may_hold(line.at_us / 1_000, lost.killed_ms)
                            && line.at_us / 1_000 <= lost.killed_ms
                    })
                })
            });
            !(run.state == "cancelled"
                && told_and_lost
                && jobs.any(|job| is_of_lost_version(job, run.fire_time_ms)))
        });
    }

    /// Whether a run was at a worker, or at one that was lost as its row says.
    fn was_at(&self, run: &RunRecord, worker: &str) -> bool {
        let started = self
            .lines
            .get(run.id.as_str())
            .is_some_and(|lines| lines.iter().any(|line| line.worker == worker));
        let armed = self.record.arms.iter().any(|arm| arm.run == run.id && arm.worker == worker);
        let lost = run.reason == "worker_lost" || run.past.iter().any(|past| past.reason == "worker_lost");
        started || armed || lost || run.worker == worker
    }

    fn phase(&self, fire: i64) -> usize {
        if fire < self.faults.0 { 0 } else { 1 + usize::from(fire >= self.faults.1) }
    }

    /// I4.
    fn check_edits(&mut self) {
        // A version that a failover brought back has the mark that it had.
        let mut versions: HashMap<(u32, u64), (&JobHistory, Vec<usize>)> = HashMap::new();
        for job in &self.record.jobs {
            for (place, version) in job.versions.iter().enumerate() {
                let known = versions.entry((job.job, version.mark)).or_insert((job, Vec::new()));
                known.1.push(place);
            }
        }
        for line in self.record.lines.iter().filter(|line| is_start(line)) {
            let Some(mark) = line.mark else { continue };
            // A job whose creation is not answered yet is nobody's.
            if !self.record.jobs.iter().any(|job| job.job == line.job) {
                continue;
            }
            let Some((job, places)) = versions.get(&(line.job, mark)) else {
                self.found.add(
                    Fault::Disagrees,
                    &line.run,
                    format!("started with the mark {mark}, which nobody gave job {}", line.job),
                );
                continue;
            };
            let so_far =
                places.iter().rev().find(|place| job.versions[**place].sent_ms * 1_000 <= line.at_us);
            let place = so_far.copied().unwrap_or(places[0]);
            let later = &job.versions[place + 1..];
            let listed = later.iter().any(|version| version.may_still_start.contains(&line.run));
            let in_force = |version: &&Version| version.lost_ms.is_none_or(|lost| line.at_us <= lost * 1_000);
            let acknowledged =
                later.iter().filter(in_force).filter_map(|version| version.acknowledged_ms).min();
            if let Some(at) = acknowledged.filter(|at| !listed && line.at_us > *at * 1_000) {
                let after = line.at_us / 1_000 - at;
                self.found.add(
                    Fault::StartedAfterEdit,
                    &line.run,
                    format!("job {} mark {mark}: {after} ms after the answer", line.job),
                );
            }
        }
    }

    fn check_triggers(&mut self) {
        let runs: BTreeSet<&str> = self.record.runs.iter().map(|run| run.id.as_str()).collect();
        for trigger in &self.record.triggers {
            let mut losses = self.record.lost_commits.iter();
            let lost = losses.any(|lost| lost.may_hold(trigger.sent_ms, trigger.at_ms));
            if !lost && !runs.contains(trigger.run.as_str()) {
                self.found.add(Fault::LostTrigger, &trigger.run, format!("answered at {}", trigger.at_ms));
            }
        }
    }

    /// I6. A failover that loses commits takes a shard back to where it was when the replica last heard of it, and no further.
    fn check_progress(&mut self) {
        let mut last: HashMap<&str, (u64, i64, &str)> = HashMap::new();
        // What every replica had heard of before each failover.
        let mut floors: Vec<HashMap<&str, (u64, i64)>> = vec![HashMap::new(); self.record.lost_commits.len()];
        for sample in &self.record.samples {
            let seen = (sample.epoch, sample.planned_until_ms, sample.owner.as_str());
            for (lost, floor) in self.record.lost_commits.iter().zip(&mut floors) {
                if sample.at_ms <= lost.cut_ms {
                    floor.insert(&sample.shard, (seen.0, seen.1));
                }
            }
            if let Some(before) = last.insert(&sample.shard, seen) {
                let went_back = seen.0 < before.0 || seen.1 < before.1;
                let taken_back = self.record.lost_commits.iter().zip(&mut floors).any(|(lost, floor)| {
                    // Once for each failover: the floor is used up.
                    let after = sample.at_ms >= lost.killed_ms;
                    went_back
                        && after
                        && floor
                            .get(sample.shard.as_str())
                            .is_some_and(|floor| seen.0 >= floor.0 && seen.1 >= floor.1)
                        && floor.remove(sample.shard.as_str()).is_some()
                });
                if went_back && !taken_back {
                    self.found.add(Fault::WentBack, &sample.shard, format!("{before:?}, then {seen:?}"));
                }
                self.figures.takeovers += u64::from(seen.0 != before.0 && seen.2 != before.2);
            }
        }
    }

    /// I8.
    fn check_normal(&mut self) {
        let healed = self.faults.1;
        if self.record.faults.is_empty() {
            return;
        }
        let mut behind = healed;
        for sample in self.record.samples.iter().filter(|sample| sample.at_ms > healed) {
            if sample.planned_until_ms - sample.at_ms < NORMAL_PLAN_MS {
                behind = behind.max(sample.at_ms);
            }
        }
        // Never changed, and since when: what is due just after a job is made cannot have been armed long before.
        let steady: BTreeMap<u32, i64> = self
            .record
            .jobs
            .iter()
            .filter_map(|job| match job.versions.as_slice() {
                [only] => Some((job.job, only.acknowledged_ms.unwrap_or(only.effective_ms.1))),
                _ => None,
            })
            .collect();
        let jobs: HashMap<&str, u32> =
            self.record.runs.iter().map(|run| (run.id.as_str(), run.job)).collect();
        for ((run, attempt), (due, lead)) in self.leads() {
            let since = jobs.get(run).and_then(|job| steady.get(job));
            let is_steady = since.is_some_and(|since| due > since + ARMING_MS);
            if attempt == 1 && is_steady && due > healed && due <= self.record.to_ms && lead < NORMAL_ARM_US {
                behind = behind.max(due);
            }
        }
        self.figures.to_normal_ms = Some(behind - healed);
        if behind - healed > NORMAL_WITHIN_MS {
            self.found.add(
                Fault::NotNormal,
                &self.record.case,
                format!("still behind {} ms after healing", behind - healed),
            );
        }
    }

    /// For each attempt of a run, when it was due in milliseconds and how long before that its worker was first told, in microseconds.
    fn leads(&self) -> BTreeMap<(&'a str, u64), (i64, i64)> {
        let mut leads: BTreeMap<(&str, u64), (i64, i64)> = BTreeMap::new();
        for arm in &self.record.arms {
            let lead = arm.due_us - arm.at_us;
            let known = leads.entry((&arm.run, arm.attempt)).or_insert((arm.due_us / 1_000, lead));
            known.1 = known.1.max(lead);
        }
        leads
    }

    fn measure_arms(&mut self) {
        let scheduled: BTreeSet<&str> =
            self.record.runs.iter().filter(|run| run.trigger != "api").map(|run| run.id.as_str()).collect();
        let mut leads: [Vec<i64>; 3] = Default::default();
        for ((run, attempt), (due, lead)) in self.leads() {
            if attempt == 1 && scheduled.contains(run) {
                leads[self.phase(due)].push(lead);
            }
        }
        self.figures.arming_lead_ms = leads.map(|mut leads| {
            leads.sort_unstable();
            let ms = |lead: Option<&i64>| lead.map_or(0.0, |lead| *lead as f64 / 1_000.0);
            (ms(leads.get(leads.len() / 2)), ms(leads.first()))
        });
        let distinct: BTreeSet<_> =
            self.record.arms.iter().map(|arm| (&arm.run, arm.attempt, arm.plan_no)).collect();
        self.figures.repeated_arms = (self.record.arms.len() - distinct.len()) as u64;
    }
}

/// By when a fire has to start.
struct Promise {
    by_ms: i64,
    /// A change near it has it planned anew.
    changed: bool,
    /// A pause or a deletion took it along.
    taken: bool,
}

/// Whether a fire is one of a version that was lost, and so soon after that it may have been armed.
fn is_of_lost_version(job: &JobHistory, fire: i64) -> bool {
    job.versions.iter().any(|version| {
        let fires =
            version.schedule.is_some_and(|schedule| schedule.between(fire - 1, fire).next().is_some());
        fires && version.lost_ms.is_some_and(|at| fire <= at + LOST_ARMED_MS && fire > version.effective_ms.0)
    })
}

/// Whether a line is the start of an attempt as a whole.
fn is_start(line: &Line) -> bool {
    line.event == Event::Started && matches!(line.phase, Phase::Run | Phase::Split)
}
