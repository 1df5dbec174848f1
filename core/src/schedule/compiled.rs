//! A schedule ready to answer "when next?".

use std::sync::Arc;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::cron::{CronExpression, WrittenExpression};
use super::zone::{Occurrence, Zone, instant_of};
use super::{CronDialect, Limits, Schedule, ScheduleError, ScheduleKind};
use crate::time::{Span, Timestamp};

/// The longest jitter: more would move fires to another day.
const LONGEST_JITTER: Span = Span::DAY;

/// The longest period and delay: a hundred years, so that sums stay far from the end of the calendar.
const LONGEST_INTERVAL: Span = Span::from_secs(36_500 * 86_400);

/// A checked schedule with everything looked up; a clone shares it.
///
/// All fire times it gives are nominal: multiples of a second for cron, exact for the others. They ascend strictly.
#[derive(Clone, Debug)]
pub struct CompiledSchedule(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spec: Schedule,
    plan: Plan,
}

/// How to find the next fire.
#[derive(Debug)]
pub(super) enum Plan {
    Cron {
        expression: CronExpression,
        zone: Zone,
    },
    FixedRate {
        every: i64,
        anchor: Timestamp,
    },
    Once(Timestamp),
    /// Not by the clock.
    None,
}

impl CompiledSchedule {
    pub(super) fn new(spec: &Schedule, limits: &Limits) -> Result<CompiledSchedule, ScheduleError> {
        if let (Some(starts_at), Some(ends_at)) = (spec.starts_at, spec.ends_at)
            && ends_at < starts_at
        {
            return Err(ScheduleError::EmptyWindow { starts_at, ends_at });
        }
        if let Some(given) = spec.jitter.filter(|given| *given > LONGEST_JITTER) {
            return Err(ScheduleError::TooLong { field: "jitter", given, maximum: LONGEST_JITTER, why: "" });
        }
        let plan = match &spec.kind {
            ScheduleKind::Cron { expression, time_zone, dialect } => {
                cron_plan(expression, time_zone, *dialect)?
            }
            ScheduleKind::FixedRate { every, anchor } => {
                let every_millis = checked_interval("every", *every, limits)?;
                if let Some(given) = spec.jitter.filter(|given| given > every) {
                    let why = ", its period: fires would overtake each other";
                    return Err(ScheduleError::TooLong { field: "jitter", given, maximum: *every, why });
                }
                Plan::FixedRate { every: every_millis, anchor: anchor.unwrap_or(Timestamp::EPOCH) }
            }
            ScheduleKind::FixedDelay { delay } => {
                checked_interval("delay", *delay, limits)?;
                Plan::None
            }
            ScheduleKind::Once { at } => Plan::Once(*at),
            ScheduleKind::Api => Plan::None,
        };
        let compiled = CompiledSchedule(Arc::new(Inner { spec: spec.clone(), plan }));
        compiled.check_fires_in_window()?;
        Ok(compiled)
    }

    /// What it was compiled from.
    pub fn spec(&self) -> &Schedule {
        &self.0.spec
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// The first nominal fire time strictly later than `after`, within `starts_at` and `ends_at`.
    ///
    /// `None` where there is none, and always for `fixed_delay` (see [`CompiledSchedule::successor`]) and `api`. Its work is bounded
    /// whatever the schedule, about a microsecond for most.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let spec = &self.0.spec;
        // `starts_at` itself may fire.
        let after = match spec.starts_at {
            Some(starts_at) if starts_at > after => starts_at.checked_sub(Span::MILLISECOND).unwrap_or(after),
            _ => after,
        };
        let next = match &self.0.plan {
            Plan::Cron { expression, zone } if expression.is_interval() => {
                next_interval(expression, zone, after)
            }
            Plan::Cron { expression, zone } => next_fixed(expression, zone, after),
            Plan::FixedRate { every, anchor } => next_multiple(*every, *anchor, after),
            Plan::Once(at) => Some(*at).filter(|at| *at > after),
            Plan::None => None,
        };
        next.filter(|next| spec.ends_at.is_none_or(|ends_at| *next <= ends_at))
    }

    /// The fires in `(from, to]`, ascending, at most `limit`.
    ///
    /// Splitting an interval anywhere gives the same fires, so planning in slices neither repeats nor skips one.
    pub fn fires(&self, from: Timestamp, to: Timestamp, limit: usize) -> Vec<Timestamp> {
        self.fires_after(from).take_while(|fire| *fire <= to).take(limit).collect()
    }

    /// All fires later than `after`, ascending, one by one.
    pub fn fires_after(&self, after: Timestamp) -> Fires<'_> {
        Fires { schedule: self, after: Some(after) }
    }

    /// The fire time that follows a run of a `fixed_delay` schedule that became final at `previous_final`; for the first run give the
    /// instant at which the job came into force.
    ///
    /// `None` past `ends_at`, and for every other type.
    pub fn successor(&self, previous_final: Timestamp) -> Option<Timestamp> {
        let spec = &self.0.spec;
        let ScheduleKind::FixedDelay { delay } = spec.kind else { return None };
        let next = previous_final.checked_add(delay)?.max(spec.starts_at.unwrap_or(Timestamp::MIN));
        Some(next).filter(|next| spec.ends_at.is_none_or(|ends_at| *next <= ends_at))
    }

    /// How much later than its nominal time a fire is due: less than the schedule's `jitter`, spread evenly over jobs and
    /// fires, and the same whoever asks.
    ///
    /// `job_seed` tells jobs apart and must never change for a job; its numeric id does well.
    pub fn jitter(&self, job_seed: u64, fire: Timestamp) -> Span {
        match self.0.spec.jitter {
            None => Span::ZERO,
            Some(jitter) if jitter.is_zero() => Span::ZERO,
            Some(jitter) => {
                let hash = xxh3_64_with_seed(&fire.as_millis().to_le_bytes(), job_seed);
                Span::from_millis(hash % jitter.as_millis())
            }
        }
    }

    /// When a fire is due: its nominal time and its jitter.
    pub fn due(&self, job_seed: u64, fire: Timestamp) -> Timestamp {
        fire + self.jitter(job_seed, fire)
    }

    /// Checks that something is left to happen after `now`, for a schedule that is being saved.
    ///
    /// `once` passes although its instant lies behind: there the misfire policy decides.
    ///
    /// # Errors
    /// `ScheduleError::NeverFires` where the last fire lies behind.
    pub fn check_fires_after(&self, now: Timestamp) -> Result<(), ScheduleError> {
        let spec = &self.0.spec;
        match (&self.0.plan, spec.ends_at) {
            (Plan::Cron { .. } | Plan::FixedRate { .. }, ends_at) if self.next_after(now).is_none() => {
                let field = if ends_at.is_some() { "ends_at" } else { window_field(spec) };
                Err(ScheduleError::NeverFires { field, reason: format!("its last fire lies before {now}") })
            }
            (Plan::None, Some(ends_at)) if ends_at < now => {
                Err(ScheduleError::NeverFires { field: "ends_at", reason: format!("it ended at {ends_at}") })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a window that holds no fire.
    fn check_fires_in_window(&self) -> Result<(), ScheduleError> {
        let spec = &self.0.spec;
        if matches!(self.0.plan, Plan::None) || self.next_after(Timestamp::MIN).is_some() {
            return Ok(());
        }
        let window = match (spec.starts_at, spec.ends_at) {
            (Some(starts_at), Some(ends_at)) => format!("between {starts_at} and {ends_at}"),
            (Some(starts_at), None) => format!("from {starts_at} on"),
            (None, Some(ends_at)) => format!("until {ends_at}"),
            (None, None) => "within the calendar".to_owned(),
        };
        let field = if spec.ends_at.is_some() { "ends_at" } else { window_field(spec) };
        Err(ScheduleError::NeverFires { field, reason: format!("no fire time lies {window}") })
    }
}

/// The field that decides about the fire times.
fn window_field(spec: &Schedule) -> &'static str {
    match spec.kind {
        ScheduleKind::Cron { .. } => "expression",
        ScheduleKind::FixedRate { .. } => "anchor",
        ScheduleKind::Once { .. } => "at",
        ScheduleKind::FixedDelay { .. } | ScheduleKind::Api => "type",
    }
}

fn cron_plan(expression: &str, time_zone: &str, dialect: CronDialect) -> Result<Plan, ScheduleError> {
    let written = WrittenExpression::parse(expression, dialect)?;
    let zone = Zone::find(time_zone)?;
    let expression = written.compile();
    // The search forward meets every year a field may name and every kind of month.
    if expression.first_from(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).is_none() {
        return Err(ScheduleError::NeverFires { field: "expression", reason: written.why_never() });
    }
    Ok(Plan::Cron { expression, zone })
}

/// The interval in milliseconds, within the limits.
fn checked_interval(field: &'static str, given: Span, limits: &Limits) -> Result<i64, ScheduleError> {
    let minimum = limits.min_interval.max(Limits::FLOOR);
    if given < minimum {
        return Err(ScheduleError::TooShort { field, given, minimum });
    }
    if given > LONGEST_INTERVAL {
        return Err(ScheduleError::TooLong { field, given, maximum: LONGEST_INTERVAL, why: "" });
    }
    Ok(i64::try_from(given.as_millis()).expect("LONGEST_INTERVAL fits"))
}

/// The first `anchor + k * every` later than `after`, for k from 0.
fn next_multiple(every: i64, anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
    if after < anchor {
        return Some(anchor);
    }
    let passed = after.millis_since(anchor) / every;
    let next = anchor.as_millis().checked_add((passed + 1).checked_mul(every)?)?;
    (next <= Timestamp::MAX.as_millis()).then(|| Timestamp::from_millis(next))
}

/// The next fire of a fixed expression: each matching local time has one instant, and these ascend with the local times.
fn next_fixed(expression: &CronExpression, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
    let mut from = next_second(zone.local(after))?;
    loop {
        let local = expression.first_from(from)?;
        let (Occurrence::Once(fire) | Occurrence::Twice(fire) | Occurrence::Never(fire)) =
            zone.occurrence(local)?;
        if fire > after {
            return Some(fire);
        }
        // Asked in the second pass of a repeated hour, the rest of which had its instants in the first: that is at most one
        // step for each of its seconds, once a year.
        from = next_second(local)?;
    }
}

/// The next fire of an interval expression: an instant at which the clock shows a match. Between two changes of the clock
/// local time and instants run in step, so each such stretch is searched by itself.
fn next_interval(expression: &CronExpression, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
    // Two clocks never differ by more than 26 hours, so farther apart the order of local times is that of instants.
    const APART: Span = Span::from_secs(2 * 86_400);

    let mut start = after;
    let mut from = next_second(zone.local(after))?;
    for _ in 0..MOST_STRETCHES {
        let offset = zone.offset(start);
        let found = instant_of(expression.first_from(from)?, offset)?;
        // No zone changes its clock twice within a day, so the same offset means the same stretch. The usual way out.
        if found.since(start) <= Span::DAY && zone.offset(found) == offset {
            return Some(found);
        }
        let Some(change) = zone.next_transition(start).filter(|change| change.at <= found) else {
            return Some(found);
        };
        // Nothing matches before the change. After it the clock may repeat what it showed shortly before `start`; later
        // than that nothing matches until close to `found`, and the stretches in between need no search.
        start = if change.at.since(start) > APART { change.at.max(found - APART) } else { change.at };
        from = zone.local(start);
    }
    None
}

/// How often a search may meet a change of the clock before it gives up: an expression that matches only skipped times
/// meets one a year, so this is a matter of centuries and of about a millisecond.
const MOST_STRETCHES: usize = 500;

fn next_second(local: DateTime) -> Option<DateTime> {
    local.checked_add(SignedDuration::from_secs(1)).ok()
}

/// The fires of a schedule, ascending; see [`CompiledSchedule::fires_after`].
#[derive(Clone, Debug)]
pub struct Fires<'a> {
    schedule: &'a CompiledSchedule,
    after: Option<Timestamp>,
}

impl Iterator for Fires<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        self.after = self.schedule.next_after(self.after?);
        self.after
    }
}
