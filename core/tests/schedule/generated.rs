//! Random valid Quartz expressions, each with its meaning written down a second time: as a plain condition on a local time.

use jiff::civil::{Date, DateTime};
use proptest::prelude::*;
use proptest::strategy::Union;

/// One part of a field between commas.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    All,
    Value(u32),
    Range(u32, u32),
    AllStep(u32),
    FromStep(u32, u32),
    RangeStep(u32, u32, u32),
}

/// A field of plain values with its bounds.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    min: u32,
    max: u32,
    pieces: Vec<Piece>,
}

/// What restricts the days, in Quartz numbers (Sunday is 1).
#[derive(Clone, Debug)]
pub(crate) enum Days {
    Every,
    OfMonth(Numbers),
    OfWeek(Numbers),
    Last { before: u32 },
    LastWorkday,
    NearestWorkday(u32),
    LastWeekday(u32),
    NthWeekday(u32, u32),
}

#[derive(Clone, Debug)]
pub(crate) struct Expression {
    pub(crate) seconds: Numbers,
    pub(crate) minutes: Numbers,
    pub(crate) hours: Numbers,
    pub(crate) days: Days,
    pub(crate) months: Numbers,
    pub(crate) years: Option<(u32, u32)>,
}

impl Piece {
    fn text(self) -> String {
        match self {
            Piece::All => "*".to_owned(),
            Piece::Value(value) => value.to_string(),
            Piece::Range(from, to) => format!("{from}-{to}"),
            Piece::AllStep(step) => format!("*/{step}"),
            Piece::FromStep(from, step) => format!("{from}/{step}"),
            Piece::RangeStep(from, to, step) => format!("{from}-{to}/{step}"),
        }
    }

    fn contains(self, value: u32, min: u32, max: u32) -> bool {
        // How far the value lies after the start, going round the end of the field.
        let size = max - min + 1;
        let after = |from: u32| (value + size - from) % size;
        match self {
            Piece::All => true,
            Piece::Value(only) => value == only,
            Piece::Range(from, to) => after(from) <= (to + size - from) % size,
            Piece::AllStep(step) => (value - min).is_multiple_of(step),
            Piece::FromStep(from, step) => value >= from && (value - from).is_multiple_of(step),
            Piece::RangeStep(from, to, step) => {
                after(from) <= (to + size - from) % size && after(from).is_multiple_of(step)
            }
        }
    }
}

impl Numbers {
    pub(crate) fn text(&self) -> String {
        self.pieces.iter().map(|piece| piece.text()).collect::<Vec<_>>().join(",")
    }

    fn contains(&self, value: u32) -> bool {
        self.pieces.iter().any(|piece| piece.contains(value, self.min, self.max))
    }

    /// The documented rule for hours: a wildcard, a step, or all of them.
    fn is_interval(&self) -> bool {
        let stepped = |piece: &Piece| !matches!(piece, Piece::Value(_) | Piece::Range(..));
        self.pieces.iter().any(stepped) || (self.min..=self.max).all(|value| self.contains(value))
    }

    fn wraps(&self) -> bool {
        let wraps = |piece: &Piece| matches!(piece, Piece::Range(from, to) | Piece::RangeStep(from, to, _) if to < from);
        self.pieces.iter().any(wraps)
    }
}

impl Expression {
    pub(crate) fn text(&self) -> String {
        let Expression { seconds, minutes, hours, days, months, years } = self;
        let (of_month, of_week) = match days {
            Days::Every => ("*".to_owned(), "?".to_owned()),
            Days::OfMonth(days) => (days.text(), "?".to_owned()),
            Days::OfWeek(days) => ("?".to_owned(), days.text()),
            Days::Last { before: 0 } => ("L".to_owned(), "?".to_owned()),
            Days::Last { before } => (format!("L-{before}"), "?".to_owned()),
            Days::LastWorkday => ("LW".to_owned(), "?".to_owned()),
            Days::NearestWorkday(day) => (format!("{day}W"), "?".to_owned()),
            Days::LastWeekday(weekday) => ("?".to_owned(), format!("{weekday}L")),
            Days::NthWeekday(weekday, n) => ("?".to_owned(), format!("{weekday}#{n}")),
        };
        let years = years.map(|(from, to)| format!(" {from}-{to}")).unwrap_or_default();
        let (seconds, minutes, hours, months) = (seconds.text(), minutes.text(), hours.text(), months.text());
        format!("{seconds} {minutes} {hours} {of_month} {months} {of_week}{years}")
    }

    pub(crate) fn is_interval(&self) -> bool {
        self.hours.is_interval()
    }

    /// Whether a range goes over the end of its field, which most other libraries do not know.
    pub(crate) fn wraps(&self) -> bool {
        let days = match &self.days {
            Days::OfMonth(days) | Days::OfWeek(days) => days.wraps(),
            _ => false,
        };
        days || [&self.seconds, &self.minutes, &self.hours, &self.months]
            .iter()
            .any(|numbers| numbers.wraps())
    }

    pub(crate) fn matches(&self, time: DateTime) -> bool {
        self.matches_time(time) && self.matches_date(time.date())
    }

    pub(crate) fn matches_time(&self, time: DateTime) -> bool {
        self.seconds.contains(time.second() as u32)
            && self.minutes.contains(time.minute() as u32)
            && self.hours.contains(time.hour() as u32)
    }

    pub(crate) fn matches_date(&self, date: Date) -> bool {
        let (year, day) = (date.year() as u32, date.day() as u32);
        let weekday = |date: Date| date.weekday().to_sunday_zero_offset() as u32 + 1;
        let is_workday = |date: Date| (2..=6).contains(&weekday(date));
        let same_month = |days: i64| {
            let other = date.checked_add(jiff::Span::new().days(days)).unwrap();
            (other.month() == date.month()).then_some(other)
        };
        let days = match &self.days {
            Days::Every => true,
            Days::OfMonth(days) => days.contains(day),
            Days::OfWeek(days) => days.contains(weekday(date)),
            Days::Last { before } => day + before == date.days_in_month() as u32,
            // A working day with no working day of its month after it.
            Days::LastWorkday => is_workday(date) && !(1..7).filter_map(same_month).any(is_workday),
            Days::NearestWorkday(wanted) => {
                // Nearer days first, and of two equally near ones never both are working days.
                let nearest = date.with().day(*wanted as i8).build().ok().and_then(|wanted| {
                    [0_i64, -1, 1, -2, 2]
                        .iter()
                        .map(|days| wanted.checked_add(jiff::Span::new().days(*days)).unwrap())
                        .find(|day| day.month() == wanted.month() && is_workday(*day))
                });
                nearest == Some(date)
            }
            Days::LastWeekday(wanted) => weekday(date) == *wanted && same_month(7).is_none(),
            Days::NthWeekday(wanted, n) => weekday(date) == *wanted && (day - 1) / 7 + 1 == *n,
        };
        days && self.months.contains(date.month() as u32)
            && self.years.is_none_or(|(from, to)| (from..=to).contains(&year))
    }
}

fn piece(min: u32, max: u32) -> impl Strategy<Value = Piece> {
    let value = min..=max;
    // The longest step every field takes is its highest value, and for weekdays the whole week.
    let step = 1..=max;
    Union::new_weighted(vec![
        (4, value.clone().prop_map(Piece::Value).boxed()),
        (2, (value.clone(), value.clone()).prop_map(|(from, to)| Piece::Range(from, to)).boxed()),
        (2, step.clone().prop_map(Piece::AllStep).boxed()),
        (2, (value.clone(), step.clone()).prop_map(|(from, step)| Piece::FromStep(from, step)).boxed()),
        (
            1,
            (value.clone(), value, step)
                .prop_map(|(from, to, step)| Piece::RangeStep(from, to, step))
                .boxed(),
        ),
    ])
}

fn numbers(min: u32, max: u32) -> impl Strategy<Value = Numbers> {
    let all = Just(vec![Piece::All]);
    let some = prop::collection::vec(piece(min, max), 1..4);
    prop_oneof![1 => all, 3 => some].prop_map(move |pieces| Numbers { min, max, pieces })
}

fn restricted(min: u32, max: u32) -> impl Strategy<Value = Numbers> {
    prop::collection::vec(piece(min, max), 1..4).prop_map(move |pieces| Numbers { min, max, pieces })
}

fn every_month() -> Numbers {
    Numbers { min: 1, max: 12, pieces: vec![Piece::All] }
}

/// Any expression; some of them never fire.
pub(crate) fn expression() -> impl Strategy<Value = Expression> {
    let days = prop_oneof![
        3 => Just(Days::Every),
        2 => restricted(1, 31).prop_map(Days::OfMonth),
        2 => restricted(1, 7).prop_map(Days::OfWeek),
        1 => (0_u32..=30).prop_map(|before| Days::Last { before }),
        1 => Just(Days::LastWorkday),
        1 => (1_u32..=31).prop_map(Days::NearestWorkday),
        1 => (1_u32..=7).prop_map(Days::LastWeekday),
        1 => (1_u32..=7, 1_u32..=5).prop_map(|(weekday, n)| Days::NthWeekday(weekday, n)),
    ];
    let months = prop_oneof![2 => Just(every_month()), 1 => numbers(1, 12)];
    let years = prop_oneof![4 => Just(None), 1 => (2020_u32..2030, 0_u32..5).prop_map(|(from, more)| Some((from, from + more)))];
    (numbers(0, 59), numbers(0, 59), numbers(0, 23), days, months, years).prop_map(
        |(seconds, minutes, hours, days, months, years)| Expression {
            seconds,
            minutes,
            hours,
            days,
            months,
            years,
        },
    )
}

/// Any times of day, on every day.
pub(crate) fn daily() -> impl Strategy<Value = Expression> {
    (numbers(0, 59), numbers(0, 59), numbers(0, 23)).prop_map(|(seconds, minutes, hours)| Expression {
        seconds,
        minutes,
        hours,
        days: Days::Every,
        months: every_month(),
        years: None,
    })
}
