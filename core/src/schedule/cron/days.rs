//! Which days of a month match: `L`, `W` and `#` depend on the month, so the answer is a set of days for each.

use jiff::civil::Date;

use super::field::{Element, Field, FieldSpec};

/// The days of an expression. Sets of days have bit 1 for the first day of a month.
#[derive(Clone, Debug)]
pub(super) enum DayRule {
    Every,
    OfMonth(MonthDays),
    OfWeek(WeekDays),
    /// A day that matches one or the other.
    Either(MonthDays, WeekDays),
}

/// What a day-of-month field asks for.
#[derive(Clone, Debug)]
pub(super) struct MonthDays {
    plain: u32,
    moving: Vec<Element>,
}

/// What a day-of-week field asks for.
#[derive(Clone, Debug)]
pub(super) struct WeekDays {
    /// Bit 0 for Sunday.
    plain: u32,
    moving: Vec<Element>,
}

impl DayRule {
    /// The days of a month that match.
    pub(super) fn in_month(&self, year: i16, month: i8) -> u32 {
        let length = days_in_month(year, month);
        let matching = match self {
            DayRule::Every => u32::MAX,
            DayRule::OfMonth(days) => days.in_month(length, first_weekday(year, month)),
            DayRule::OfWeek(days) => days.in_month(length, first_weekday(year, month)),
            DayRule::Either(month_days, week_days) => {
                let first = first_weekday(year, month);
                month_days.in_month(length, first) | week_days.in_month(length, first)
            }
        };
        // Bits 1 to `length`.
        matching & ((u32::MAX >> (31 - length)) & !1)
    }
}

impl MonthDays {
    pub(super) fn new(field: &Field, spec: &FieldSpec) -> MonthDays {
        MonthDays { plain: field.bits(spec) as u32, moving: moving(field) }
    }

    fn in_month(&self, length: u16, first_weekday: u16) -> u32 {
        let mut days = self.plain;
        for element in &self.moving {
            // A day the month does not have, such as `30W` or `L-30` in February, is no day at all.
            let day = match *element {
                Element::LastDay { before } if before < length => length - before,
                Element::LastWorkday { before } if before < length => {
                    nearest_workday(length - before, length, first_weekday)
                }
                Element::NearestWorkday(day) if day <= length => nearest_workday(day, length, first_weekday),
                _ => continue,
            };
            days |= 1 << day;
        }
        days
    }
}

impl WeekDays {
    pub(super) fn new(field: &Field, spec: &FieldSpec) -> WeekDays {
        WeekDays { plain: field.bits(spec) as u32, moving: moving(field) }
    }

    fn in_month(&self, length: u16, first_weekday: u16) -> u32 {
        let mut days = 0;
        for day in 1..=length {
            days |= (self.plain >> ((first_weekday + day - 1) % 7) & 1) << day;
        }
        for element in &self.moving {
            let first = |weekday: u16| 1 + (weekday + 7 - first_weekday) % 7;
            let day = match *element {
                Element::NthWeekday { weekday, n } => first(weekday) + 7 * (n - 1),
                Element::LastWeekday(weekday) => first(weekday) + (length - first(weekday)) / 7 * 7,
                _ => continue,
            };
            if day <= length {
                days |= 1 << day;
            }
        }
        days
    }
}

fn moving(field: &Field) -> Vec<Element> {
    let moves = |element: &Element| {
        matches!(
            element,
            Element::LastDay { .. }
                | Element::LastWorkday { .. }
                | Element::NearestWorkday(_)
                | Element::LastWeekday(_)
                | Element::NthWeekday { .. }
        )
    };
    field.elements.iter().copied().filter(moves).collect()
}

/// The Monday to Friday nearest to a day without leaving its month, as Quartz defines `W`.
fn nearest_workday(day: u16, length: u16, first_weekday: u16) -> u16 {
    match (first_weekday + day - 1) % 7 {
        6 if day == 1 => 3,
        6 => day - 1,
        0 if day == length => day - 2,
        0 => day + 1,
        _ => day,
    }
}

pub(super) fn days_in_month(year: i16, month: i8) -> u16 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// 0 for a Sunday.
fn first_weekday(year: i16, month: i8) -> u16 {
    let first = Date::new(year, month, 1).expect("the search keeps within the calendar");
    first.weekday().to_sunday_zero_offset() as u16
}
