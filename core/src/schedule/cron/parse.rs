//! Reading an expression, and saying exactly where and why it cannot be read.

use super::WrittenExpression;
use super::days::{DayRule, MonthDays, WeekDays};
use super::field::{DAY_OF_MONTH, DAY_OF_WEEK, Element, Field, FieldSpec, SECOND, YEAR, specs};
use crate::schedule::{CronDialect, ScheduleError};

/// The longest expression accepted, in bytes. Seven fields of full lists are rarer than mistakes and attacks.
pub(super) const LONGEST: usize = 256;

/// Names that cron daemons know, and what they stand for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl WrittenExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// `ScheduleError::Cron` with the position of the first mistake.
    pub(in crate::schedule) fn parse(
        expression: &str,
        dialect: CronDialect,
    ) -> Result<WrittenExpression, ScheduleError> {
        parse(expression, dialect).map_err(|Problem { field, part, text }| ScheduleError::Cron {
            expression: expression.chars().take(LONGEST).collect(),
            field,
            column: part.column,
            // What is missing is pointed at where it should stand.
            length: part.text.chars().count().max(1),
            problem: text,
        })
    }
}

/// A piece of the expression. Once the whole is known to be ASCII, columns are bytes.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    /// From 1.
    column: usize,
}

impl<'a> Part<'a> {
    fn slice(self, from: usize, to: usize) -> Part<'a> {
        Part { text: &self.text[from..to], column: self.column + from }
    }

    /// What stands before and after the first `separator`.
    fn split_once(self, separator: char) -> Option<(Part<'a>, Part<'a>)> {
        let at = self.text.find(separator)?;
        Some((self.slice(0, at), self.slice(at + separator.len_utf8(), self.text.len())))
    }

    /// The pieces between separators; a piece may be empty.
    fn split(self, is_separator: impl Fn(char) -> bool) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        let mut start = 0;
        for (at, separator) in self.text.char_indices().filter(|(_, c)| is_separator(*c)) {
            parts.push(self.slice(start, at));
            start = at + separator.len_utf8();
        }
        parts.push(self.slice(start, self.text.len()));
        parts
    }

    fn is(self, text: &str) -> bool {
        self.text.eq_ignore_ascii_case(text)
    }
}

struct Problem<'a> {
    field: Option<&'static str>,
    part: Part<'a>,
    text: String,
}

fn parse(expression: &str, dialect: CronDialect) -> Result<WrittenExpression, Problem<'_>> {
    let whole = Part { text: expression, column: 1 };
    let refuse = |part, text| Problem { field: None, part, text };
    if expression.len() > LONGEST {
        return Err(refuse(
            whole,
            format!("it has {} bytes, at most {LONGEST} are allowed", expression.len()),
        ));
    }
    if let Some((at, strange)) =
        expression.char_indices().find(|(_, c)| !c.is_ascii_graphic() && !matches!(c, ' ' | '\t'))
    {
        let column = 1 + expression[..at].chars().count();
        let part = Part { text: &expression[at..at + strange.len_utf8()], column };
        return Err(refuse(part, format!("{:?} has no place in a cron expression", part.text)));
    }

    let parts: Vec<Part<'_>> =
        whole.split(|c| c.is_ascii_whitespace()).into_iter().filter(|part| !part.text.is_empty()).collect();
    if let [only] = parts[..]
        && only.text.starts_with('@')
    {
        return nickname(only, dialect);
    }
    let specs = specs(dialect);
    let given = match dialect {
        CronDialect::Quartz => SECOND..SECOND + parts.len(),
        CronDialect::Unix => SECOND + 1..SECOND + 1 + parts.len(),
    };
    if !is_right_count(dialect, parts.len()) {
        // The first field too many where there is one, else the whole.
        let part = parts.get(if dialect == CronDialect::Quartz { 7 } else { 5 }).copied().unwrap_or(whole);
        return Err(refuse(part, wrong_count(dialect, parts.len())));
    }

    let mut fields = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let part = match given.contains(&index) {
            true => parts[index - given.start],
            // Not part of this dialect or left out: on the full minute, in every year.
            false => Part { text: if index == SECOND { "0" } else { "*" }, column: 1 },
        };
        let field = Reader { spec, dialect, index }.field(part);
        fields.push(field.map_err(|(part, text)| Problem { field: Some(spec.name), part, text })?);
    }
    let [seconds, minutes, hours, days_of_month, months, days_of_week, years] =
        <[Field; 7]>::try_from(fields).expect("one for each of the seven specs");
    let unspecified = |field: &Field| field.elements == [Element::Unspecified];
    let refuse_weekdays = |text| {
        let part = parts[DAY_OF_WEEK - given.start];
        Problem { field: Some(specs[DAY_OF_WEEK].name), part, text }
    };
    if unspecified(&days_of_month) && unspecified(&days_of_week) {
        let text = "\"?\" may stand for day-of-month or day-of-week, not for both; use \"*\" here";
        return Err(refuse_weekdays(text.to_owned()));
    }
    let days = day_rule(&days_of_month, &days_of_week, dialect).map_err(refuse_weekdays)?;
    Ok(WrittenExpression {
        dialect,
        seconds,
        minutes,
        hours,
        days_of_month,
        months,
        days_of_week,
        years,
        days,
    })
}

fn nickname(name: Part<'_>, dialect: CronDialect) -> Result<WrittenExpression, Problem<'_>> {
    let refuse = |text| Problem { field: None, part: name, text };
    if dialect == CronDialect::Quartz {
        return Err(refuse("names such as \"@daily\" belong to the dialect \"unix\"".to_owned()));
    }
    let Some((_, expansion)) = NICKNAMES.iter().find(|(known, _)| name.is(known)) else {
        let known = NICKNAMES.map(|(known, _)| known).join(", ");
        return Err(refuse(format!("{:?} is not a known name, use one of {known}", name.text)));
    };
    parse(expansion, dialect)
}

fn is_right_count(dialect: CronDialect, count: usize) -> bool {
    match dialect {
        CronDialect::Quartz => matches!(count, 6 | 7),
        CronDialect::Unix => count == 5,
    }
}

fn wrong_count(dialect: CronDialect, count: usize) -> String {
    let needs = match dialect {
        CronDialect::Quartz => {
            "quartz needs 6 or 7: second minute hour day-of-month month day-of-week [year]"
        }
        CronDialect::Unix => "unix needs 5: minute hour day-of-month month day-of-week",
    };
    let hint = match (dialect, count) {
        (CronDialect::Quartz, 5) => "; put \"0\" for the second in front, or choose the dialect \"unix\"",
        (CronDialect::Unix, 6 | 7) => "; leave the second out, or choose the dialect \"quartz\"",
        _ => "",
    };
    format!("it has {count} field{}, {needs}{hint}", if count == 1 { "" } else { "s" })
}

fn day_rule(days_of_month: &Field, days_of_week: &Field, dialect: CronDialect) -> Result<DayRule, String> {
    let specs = specs(dialect);
    let of_month = || MonthDays::new(days_of_month, &specs[DAY_OF_MONTH]);
    let of_week = || WeekDays::new(days_of_week, &specs[DAY_OF_WEEK]);
    match (days_of_month.is_unrestricted(), days_of_week.is_unrestricted()) {
        (true, true) => Ok(DayRule::Every),
        (false, true) => Ok(DayRule::OfMonth(of_month())),
        (true, false) => Ok(DayRule::OfWeek(of_week())),
        (false, false) if dialect == CronDialect::Unix => Ok(DayRule::Either(of_month(), of_week())),
        (false, false) => Err(format!(
            "{:?} and the day-of-month {:?} cannot both apply; write \"?\" in one of the two",
            days_of_week.text, days_of_month.text
        )),
    }
}

/// Reads one field.
struct Reader {
    spec: &'static FieldSpec,
    dialect: CronDialect,
    index: usize,
}

type Refusal<'a> = (Part<'a>, String);

impl Reader {
    fn field<'a>(&self, part: Part<'a>) -> Result<Field, Refusal<'a>> {
        let elements = part
            .split(|c| c == ',')
            .into_iter()
            .map(|element| self.element(element, part))
            .collect::<Result<_, _>>()?;
        Ok(Field { text: part.text.to_owned(), elements })
    }

    fn element<'a>(&self, part: Part<'a>, field: Part<'a>) -> Result<Element, Refusal<'a>> {
        if part.text.is_empty() {
            return Err((field, format!("{:?} has nothing between two commas or beside one", field.text)));
        }
        if part.text.contains('?') {
            return self.unspecified(part, field);
        }
        if let Some((range, step)) = part.split_once('/') {
            return self.stepped(range, step);
        }
        if part.text == "*" {
            return Ok(Element::All);
        }
        // Only digits and letters beside `L`, `W` and `#` are left; names such as JUL and WED hold these letters too.
        if self.index == DAY_OF_MONTH && part.text.to_ascii_uppercase().contains(['L', 'W']) {
            return self.moving_day(part);
        }
        if self.index == DAY_OF_WEEK
            && let Some(element) = self.moving_weekday(part)?
        {
            return Ok(element);
        }
        match part.split_once('-') {
            Some((from, to)) => self.range(part, from, to).map(|(from, to)| Element::Range { from, to }),
            None => Ok(Element::Value(self.held(self.value(part)?))),
        }
    }

    fn unspecified<'a>(&self, part: Part<'a>, field: Part<'a>) -> Result<Element, Refusal<'a>> {
        if self.dialect == CronDialect::Unix {
            return Err((part, "\"?\" belongs to the dialect \"quartz\", use \"*\"".to_owned()));
        }
        if !matches!(self.index, DAY_OF_MONTH | DAY_OF_WEEK) {
            return Err((part, "\"?\" is only for day-of-month and day-of-week, use \"*\"".to_owned()));
        }
        if field.text != "?" {
            return Err((field, "\"?\" must be the whole field".to_owned()));
        }
        Ok(Element::Unspecified)
    }

    /// `*/5`, `/5`, `3/5`, `3-30/5`; without an end it goes on to the highest value.
    fn stepped<'a>(&self, range: Part<'a>, step: Part<'a>) -> Result<Element, Refusal<'a>> {
        let number = digits(step.text).filter(|number| (1..=self.spec.longest_step).contains(number));
        let Some(number) = number else {
            let text = format!(
                "{:?} is not a step of the {} field, use 1-{}",
                step.text, self.spec.name, self.spec.longest_step
            );
            // An empty step has no text to point at: point at the range before it.
            return Err((if step.text.is_empty() { range } else { step }, text));
        };
        let (min, max) = self.spec.value_bounds();
        let (from, to) = match range.text {
            "*" | "" if number == 1 => return Ok(Element::All),
            "*" | "" => (min, max),
            _ => match range.split_once('-') {
                Some((from, to)) => self.range(range, from, to)?,
                None => (self.held(self.value(range)?), max),
            },
        };
        Ok(Element::Step { from, to, step: number })
    }

    fn range<'a>(&self, whole: Part<'a>, from: Part<'a>, to: Part<'a>) -> Result<(u16, u16), Refusal<'a>> {
        if from.text.is_empty() || to.text.is_empty() {
            return Err((
                whole,
                format!("{:?} is not a range, use for example {}", whole.text, self.spec.usage),
            ));
        }
        let (written_from, written_to) = (self.value(from)?, self.value(to)?);
        if self.index == YEAR && written_from > written_to {
            return Err((
                whole,
                format!("years do not start over: {written_from} is later than {written_to}"),
            ));
        }
        let (from, to) = (self.held(written_from), self.held(written_to));
        // Both 0 and 7 are Sunday to crontab: 0-7 is the whole week, not one day.
        if from == to && written_from != written_to { Ok(self.spec.value_bounds()) } else { Ok((from, to)) }
    }

    /// `L`, `L-3`, `LW`, `L-3W`, `15W`.
    fn moving_day<'a>(&self, part: Part<'a>) -> Result<Element, Refusal<'a>> {
        self.quartz_only(part)?;
        let text = part.text.to_ascii_uppercase();
        let refuse = || {
            let hint = "use a day 1-31, \"L\" (last day), \"L-3\" (three days before it), \"LW\" (last working day) or \"15W\" (working day nearest the 15th)";
            (part, format!("{:?} is not a day of the month, {hint}", part.text))
        };
        let (rest, workday) = match text.strip_suffix('W') {
            Some(rest) => (rest, true),
            None => (text.as_str(), false),
        };
        let Some(before) = rest.strip_prefix('L') else {
            let day = digits(rest).filter(|day| workday && (1..=31).contains(day)).ok_or_else(refuse)?;
            return Ok(Element::NearestWorkday(day));
        };
        let before = match before.strip_prefix('-') {
            None if before.is_empty() => 0,
            // Thirty days before the last is the first of the longest month.
            Some(days) => digits(days).filter(|days| *days <= 30).ok_or_else(|| {
                (part, format!("{:?} is not a day of the month, use \"L-1\" to \"L-30\"", part.text))
            })?,
            None => return Err(refuse()),
        };
        Ok(if workday { Element::LastWorkday { before } } else { Element::LastDay { before } })
    }

    /// `L`, `6L`, `FRIL`, `6#3`, `FRI#3`; `None` where it is none of these.
    fn moving_weekday<'a>(&self, part: Part<'a>) -> Result<Option<Element>, Refusal<'a>> {
        if let Some((weekday, n)) = part.split_once('#') {
            self.quartz_only(part)?;
            let weekday = self.held(self.value(weekday)?);
            return match digits(n.text).filter(|n| (1..=5).contains(n)) {
                Some(n) => Ok(Some(Element::NthWeekday { weekday, n })),
                None => Err((
                    part,
                    format!("{:?} asks for week {:?} of a month, use 1-5 after \"#\"", part.text, n.text),
                )),
            };
        }
        if part.is("L") {
            self.quartz_only(part)?;
            // Quartz: the last day of the week, which is Saturday.
            return Ok(Some(Element::Value(6)));
        }
        if part.text.ends_with(['L', 'l']) {
            self.quartz_only(part)?;
            let weekday = self.value(part.slice(0, part.text.len() - 1))?;
            return Ok(Some(Element::LastWeekday(self.held(weekday))));
        }
        Ok(None)
    }

    fn quartz_only<'a>(&self, part: Part<'a>) -> Result<(), Refusal<'a>> {
        match self.dialect {
            CronDialect::Quartz => Ok(()),
            CronDialect::Unix => Err((
                part,
                format!(
                    "{:?} is not {}, use {} (\"L\", \"W\" and \"#\" belong to the dialect \"quartz\")",
                    part.text, self.spec.one, self.spec.usage
                ),
            )),
        }
    }

    /// A number or name as it is written in this dialect.
    fn value<'a>(&self, part: Part<'a>) -> Result<u16, Refusal<'a>> {
        let named = self.spec.names.iter().position(|name| part.is(name));
        let number = named.map(|index| index as u16 + self.spec.first_named).or_else(|| digits(part.text));
        number.filter(|number| (self.spec.min..=self.spec.max).contains(number)).ok_or_else(|| {
            (part, format!("{:?} is not {}, use {}", part.text, self.spec.one, self.spec.usage))
        })
    }

    /// The value that elements hold for a number as written: weekdays count from 0 for Sunday.
    fn held(&self, written: u16) -> u16 {
        match (self.index, self.dialect) {
            (DAY_OF_WEEK, CronDialect::Quartz) => written - 1,
            (DAY_OF_WEEK, CronDialect::Unix) => written % 7,
            _ => written,
        }
    }
}

/// A number of at most four digits; more are beyond every field.
fn digits(text: &str) -> Option<u16> {
    let valid = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.parse().ok()).flatten()
}
