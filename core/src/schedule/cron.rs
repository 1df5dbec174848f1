//! Cron expressions: what one means, and the next local time that matches it.
//!
//! Nothing here knows about time zones; `compiled.rs` turns local times into instants.

mod days;
mod field;
mod parse;
pub(super) mod sentence;

use jiff::civil::{Date, DateTime, Time};

use days::DayRule;
use field::{Element, Field, FieldSpec, YEARS, specs};

use super::CronDialect;

/// An expression as it was written, for sentences; [`WrittenExpression::compile`] gives the one that answers.
#[derive(Clone, Debug)]
pub(super) struct WrittenExpression {
    dialect: CronDialect,
    seconds: Field,
    minutes: Field,
    hours: Field,
    days_of_month: Field,
    months: Field,
    days_of_week: Field,
    years: Field,
    days: DayRule,
}

/// An expression as sets of values: small, since a server keeps one for each job.
#[derive(Clone, Debug)]
pub(super) struct CronExpression {
    seconds: u64,
    minutes: u64,
    hours: u64,
    months: u64,
    days: DayRule,
    years: YearSet,
    interval: bool,
}

impl CronExpression {
    /// Whether it fires whenever the clock shows a match, rather than once for each matching local time; see the
    /// module documentation of `schedule`.
    pub(super) fn is_interval(&self) -> bool {
        self.interval
    }

    /// The first matching local time that is not earlier than `from`, whose fraction of a second must be zero.
    ///
    /// `None` where there is none before the calendar or the years of the expression end. The search goes by months,
    /// so the rarest expression (a fifth weekday in February: 40 years over the year 2100) takes under 500 steps.
    pub(super) fn first_from(&self, from: DateTime) -> Option<DateTime> {
        if let Some(time) = self.day_matches(from.date()).then(|| self.time_from(from.time())).flatten() {
            return Some(from.date().to_datetime(time));
        }
        let date = self.date_from(from.date().tomorrow().ok()?)?;
        Some(date.to_datetime(self.first_time()))
    }

    /// The first matching date not earlier than `from`.
    fn date_from(&self, from: Date) -> Option<Date> {
        let (mut year, mut month, mut first_day) = (from.year(), from.month(), from.day());
        for _ in 0..SEARCH_MONTHS {
            if !self.years.contains(year) {
                (year, month, first_day) = (self.years.after(year)?, 1, 1);
                continue;
            }
            if self.months >> month & 1 == 1 {
                let days = self.days.in_month(year, month) >> first_day << first_day;
                if days != 0 {
                    return Date::new(year, month, days.trailing_zeros() as i8).ok();
                }
            }
            first_day = 1;
            month += 1;
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
            if year > LAST_YEAR {
                return None;
            }
        }
        None
    }

    fn day_matches(&self, date: Date) -> bool {
        self.years.contains(date.year())
            && self.months >> date.month() & 1 == 1
            && self.days.in_month(date.year(), date.month()) >> date.day() & 1 == 1
    }

    fn first_time(&self) -> Time {
        time(self.hours.trailing_zeros(), self.minutes.trailing_zeros(), self.seconds.trailing_zeros())
    }

    /// The first matching time of a day not earlier than `from`.
    fn time_from(&self, from: Time) -> Option<Time> {
        let (hour, minute, second) = (from.hour() as u32, from.minute() as u32, from.second() as u32);
        let (first_minute, first_second) = (self.minutes.trailing_zeros(), self.seconds.trailing_zeros());
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = bit_from(self.seconds, second)
            {
                return Some(time(hour, minute, second));
            }
            if let Some(minute) = bit_from(self.minutes, minute + 1) {
                return Some(time(hour, minute, first_second));
            }
        }
        bit_from(self.hours, hour + 1).map(|hour| time(hour, first_minute, first_second))
    }
}

/// Enough for every month of every year a year field may name; see [`CronExpression::first_from`].
const SEARCH_MONTHS: usize = 12 * YEARS;

/// The last year of which every local time has an instant at every offset.
const LAST_YEAR: i16 = 9998;

/// The lowest bit set at or above `from`.
fn bit_from(bits: u64, from: u32) -> Option<u32> {
    let rest = bits.checked_shr(from)?;
    (rest != 0).then(|| from + rest.trailing_zeros())
}

fn time(hour: u32, minute: u32, second: u32) -> Time {
    Time::new(hour as i8, minute as i8, second as i8, 0)
        .expect("the fields' bounds are those of a time of day")
}

/// The years of an expression.
#[derive(Clone, Debug)]
enum YearSet {
    Any,
    /// Ascending, without repetition.
    Only(Vec<i16>),
}

impl YearSet {
    fn of(field: &Field, spec: &FieldSpec) -> YearSet {
        if field.is_unrestricted() {
            return YearSet::Any;
        }
        let mut years: Vec<i16> =
            field.elements.iter().flat_map(|element| element.values(spec)).map(|year| year as i16).collect();
        years.sort_unstable();
        years.dedup();
        YearSet::Only(years)
    }

    fn contains(&self, year: i16) -> bool {
        match self {
            YearSet::Any => true,
            YearSet::Only(years) => years.binary_search(&year).is_ok(),
        }
    }

    /// The first year of the set after `year`.
    fn after(&self, year: i16) -> Option<i16> {
        match self {
            YearSet::Any => Some(year + 1),
            YearSet::Only(years) => years.get(years.partition_point(|found| *found <= year)).copied(),
        }
    }
}

impl WrittenExpression {
    /// Turns its fields into sets.
    pub(super) fn compile(&self) -> CronExpression {
        let [seconds, minutes, hours, _, months, _, years] = specs(self.dialect);
        let hours_set = self.hours.bits(hours);
        let stepped = |element: &Element| matches!(element, Element::All | Element::Step { .. });
        CronExpression {
            seconds: self.seconds.bits(seconds),
            minutes: self.minutes.bits(minutes),
            hours: hours_set,
            months: self.months.bits(months),
            years: YearSet::of(&self.years, years),
            days: self.days.clone(),
            interval: hours_set.count_ones() == 24 || self.hours.elements.iter().any(stepped),
        }
    }
}
