//! One field of an expression: its bounds, names and elements.

use crate::schedule::CronDialect;

/// How many years a year field may name, from [`FIRST_YEAR`]: Quartz documents 1970 to 2099; a century more does no harm.
pub(super) const YEARS: usize = 230;
/// The first year a year field may name.
pub(super) const FIRST_YEAR: u16 = 1970;

const MONTH_NAMES: &[&str] =
    &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAY_NAMES: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// What a field may hold, as it is written.
#[derive(Debug)]
pub(super) struct FieldSpec {
    /// Its name in messages.
    pub(super) name: &'static str,
    /// One of its values in messages: `"13" is not a month`.
    pub(super) one: &'static str,
    /// Lowest number.
    pub(super) min: u16,
    /// Highest number.
    pub(super) max: u16,
    /// Names of the numbers from `first_named` on.
    pub(super) names: &'static [&'static str],
    pub(super) first_named: u16,
    /// What to use, in messages.
    pub(super) usage: &'static str,
    /// The longest step: a longer one would never be taken.
    pub(super) longest_step: u16,
}

const fn numbers(
    name: &'static str,
    one: &'static str,
    min: u16,
    max: u16,
    usage: &'static str,
    longest_step: u16,
) -> FieldSpec {
    FieldSpec { name, one, min, max, names: &[], first_named: 0, usage, longest_step }
}

pub(super) const SECOND: usize = 0;
pub(super) const DAY_OF_MONTH: usize = 3;
pub(super) const DAY_OF_WEEK: usize = 5;
pub(super) const YEAR: usize = 6;

const fn fields(day_of_week: FieldSpec) -> [FieldSpec; 7] {
    [
        numbers("second", "a second", 0, 59, "0-59", 59),
        numbers("minute", "a minute", 0, 59, "0-59", 59),
        numbers("hour", "an hour", 0, 23, "0-23", 23),
        numbers("day-of-month", "a day of the month", 1, 31, "1-31", 31),
        FieldSpec {
            names: MONTH_NAMES,
            first_named: 1,
            ..numbers("month", "a month", 1, 12, "1-12 or JAN-DEC", 12)
        },
        day_of_week,
        numbers("year", "a year", FIRST_YEAR, FIRST_YEAR + YEARS as u16 - 1, "1970-2199", YEARS as u16),
    ]
}

static QUARTZ: [FieldSpec; 7] = fields(FieldSpec {
    names: WEEKDAY_NAMES,
    first_named: 1,
    ..numbers("day-of-week", "a day of the week", 1, 7, "1-7 (1 is Sunday) or SUN-SAT", 7)
});
static UNIX: [FieldSpec; 7] = fields(FieldSpec {
    names: WEEKDAY_NAMES,
    first_named: 0,
    ..numbers("day-of-week", "a day of the week", 0, 7, "0-7 (0 and 7 are Sunday) or SUN-SAT", 7)
});

/// The seven fields of a dialect, seconds first.
pub(super) fn specs(dialect: CronDialect) -> &'static [FieldSpec; 7] {
    match dialect {
        CronDialect::Quartz => &QUARTZ,
        CronDialect::Unix => &UNIX,
    }
}

impl FieldSpec {
    /// Whether its values are weekdays, which elements hold as 0 for Sunday to 6 whatever the dialect writes.
    fn holds_weekdays(&self) -> bool {
        self.names.len() == 7
    }

    /// The lowest and highest value that an element can hold.
    pub(super) fn value_bounds(&self) -> (u16, u16) {
        if self.holds_weekdays() { (0, 6) } else { (self.min, self.max) }
    }
}

/// A field as it was written.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) text: String,
    /// At least one.
    pub(super) elements: Vec<Element>,
}

/// One of the parts of a field that stand between commas. Weekdays count from 0 for Sunday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// `*`, or a step of one over everything.
    All,
    /// `?`
    Unspecified,
    Value(u16),
    /// `from` to `to`, over the end where `to` is the lesser.
    Range {
        from: u16,
        to: u16,
    },
    /// Every `step`-th value of a range.
    Step {
        from: u16,
        to: u16,
        step: u16,
    },
    /// `L`, `L-3`: that many days before the last day of the month.
    LastDay {
        before: u16,
    },
    /// `LW`, `L-3W`: the working day nearest to that.
    LastWorkday {
        before: u16,
    },
    /// `15W`: the working day nearest to that day.
    NearestWorkday(u16),
    /// `6L`: the last such weekday of the month.
    LastWeekday(u16),
    /// `6#3`: the n-th such weekday of the month.
    NthWeekday {
        weekday: u16,
        n: u16,
    },
}

impl Field {
    pub(super) fn is_unrestricted(&self) -> bool {
        self.elements.iter().any(|element| matches!(element, Element::All | Element::Unspecified))
    }

    /// Its plain values as a set of bits. Not for years, which need more than 64.
    pub(super) fn bits(&self, spec: &FieldSpec) -> u64 {
        self.elements.iter().flat_map(|element| element.values(spec)).fold(0, |bits, value| bits | 1 << value)
    }
}

impl Element {
    /// Its plain values; none where they depend on the month.
    pub(super) fn values(self, spec: &FieldSpec) -> impl Iterator<Item = u16> + use<> {
        let (min, max) = spec.value_bounds();
        let plain = match self {
            Element::All | Element::Unspecified => Some((min, max, 1)),
            Element::Value(value) => Some((value, value, 1)),
            Element::Range { from, to } => Some((from, to, 1)),
            Element::Step { from, to, step } => Some((from, to, step)),
            Element::LastDay { .. }
            | Element::LastWorkday { .. }
            | Element::NearestWorkday(_)
            | Element::LastWeekday(_)
            | Element::NthWeekday { .. } => None,
        };
        let size = max - min + 1;
        plain.into_iter().flat_map(move |(from, to, step)| {
            // A range that ends before it begins goes over the end of the field.
            let last = if to < from { to + size } else { to };
            (from..=last)
                .step_by(usize::from(step))
                .map(move |value| if value > max { value - size } else { value })
        })
    }
}
