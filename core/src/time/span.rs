//! Durations and their text.

use std::fmt;
use std::ops::Add;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A duration of zero or more milliseconds.
///
/// As text and in JSON it is numbers with units, largest unit first: `250ms`, `10s`, `1m30s`, `2h`, `1d`. A day is
/// exactly 24 hours.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// The units of the text, largest first, with their milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// No time at all, written `0s`.
    pub const ZERO: Span = Span(0);
    /// One millisecond.
    pub const MILLISECOND: Span = Span(1);
    /// One second.
    pub const SECOND: Span = Span(1_000);
    /// One minute.
    pub const MINUTE: Span = Span(60_000);
    /// One hour.
    pub const HOUR: Span = Span(3_600_000);
    /// 24 hours.
    pub const DAY: Span = Span(86_400_000);
    /// The longest span that can be held; added to any [`Timestamp`](super::Timestamp) it saturates.
    pub const MAX: Span = Span(u64::MAX);

    /// A span of that many milliseconds.
    pub const fn from_millis(millis: u64) -> Span {
        Span(millis)
    }

    /// A span of that many seconds, at most [`Span::MAX`].
    pub const fn from_secs(seconds: u64) -> Span {
        Span(seconds.saturating_mul(1_000))
    }

    /// The whole milliseconds of a standard duration, at most [`Span::MAX`]; the rest is cut off.
    pub fn from_duration(duration: Duration) -> Span {
        Span(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// Its length in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Its length in seconds, with the milliseconds behind the point.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Both together, at most [`Span::MAX`].
    pub const fn saturating_add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }

    /// What is left after taking `other` away; zero where that is longer.
    pub const fn saturating_sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }

    /// `factor` times as long, at most [`Span::MAX`].
    pub const fn saturating_mul(self, factor: u64) -> Span {
        Span(self.0.saturating_mul(factor))
    }
}

/// Saturates like [`Span::saturating_add`].
impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        self.saturating_add(other)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Duration {
        Duration::from_millis(span.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        let mut rest = self.0;
        for (unit, millis) in UNITS {
            if rest >= millis {
                text.push_str(&format!("{}{unit}", rest / millis));
                rest %= millis;
            }
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: {reason}")]
pub struct ParseSpanError {
    text: String,
    reason: String,
}

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Span, ParseSpanError> {
        // Longer than the text of Span::MAX; keeps a hostile text out of logs and error answers.
        const LONGEST: usize = 64;
        let refuse = |reason: String| ParseSpanError { text: text.chars().take(LONGEST).collect(), reason };
        if text.len() > LONGEST {
            return Err(refuse(format!("it is longer than {LONGEST} bytes")));
        }
        if text.is_empty() {
            return Err(refuse("write a number with a unit, for example \"10s\"".to_owned()));
        }

        let mut total: u64 = 0;
        let mut smallest_so_far: Option<(&str, u64)> = None;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            if number.is_empty() {
                return Err(refuse(format!(
                    "expected a whole number at {rest:?}, for example \"10s\", \"1m30s\" or \"250ms\""
                )));
            }
            let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let (unit, tail) = tail.split_at(letters);
            let Some(&(unit, millis)) = UNITS.iter().find(|(name, _)| *name == unit) else {
                let complaint = if unit.is_empty() {
                    "needs a unit".to_owned()
                } else {
                    format!("has the unknown unit {unit:?}")
                };
                return Err(refuse(format!(
                    "{number} {complaint}; the units are ms, s, m, h and d, for example \"10s\""
                )));
            };
            if let Some((earlier, _)) = smallest_so_far.filter(|(_, smallest)| millis >= *smallest) {
                return Err(refuse(format!(
                    "{unit:?} stands after {earlier:?}; write each unit once, the largest first"
                )));
            }
            total = number
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(millis))
                .and_then(|part| total.checked_add(part))
                .ok_or_else(|| refuse("it is longer than can be counted in milliseconds".to_owned()))?;
            smallest_so_far = Some((unit, millis));
            rest = tail;
        }
        Ok(Span(total))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit such as \"10s\", \"1m30s\" or \"250ms\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_largest_unit_first_and_read_back() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (10_000, "10s"),
            (90_000, "1m30s"),
            (7_200_000, "2h"),
            (86_400_000, "1d"),
            (129_600_001, "1d12h1ms"),
            (u64::MAX, "213503982334d14h25m51s615ms"),
        ] {
            let span = Span::from_millis(millis);
            assert_eq!(span.to_string(), text);
            assert_eq!(text.parse::<Span>().unwrap(), span);
            assert_eq!(serde_json::from_str::<Span>(&serde_json::to_string(&span).unwrap()).unwrap(), span);
        }
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "1m30s");
        assert_eq!("0ms".parse::<Span>().unwrap(), Span::ZERO);
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_would_be_right() {
        for (text, says) in [
            ("", "write a number with a unit"),
            ("10", "10 needs a unit; the units are ms, s, m, h and d"),
            ("10 s", "10 needs a unit"),
            ("1.5h", "1 needs a unit"),
            ("-5s", "expected a whole number at \"-5s\""),
            ("5w", "5 has the unknown unit \"w\""),
            ("30s1m", "\"m\" stands after \"s\""),
            ("1s2s", "write each unit once"),
            ("999999999999999d", "longer than can be counted"),
            ("99999999999999999999s", "longer than can be counted"),
            ("１０s", "expected a whole number"),
        ] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{text:?} is not a duration: ")) && error.contains(says),
                "{error}"
            );
        }
        assert!("9".repeat(100_000).parse::<Span>().unwrap_err().to_string().len() < 200);
        assert!(serde_json::from_str::<Span>("10").unwrap_err().to_string().contains("such as \"10s\""));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Span::SECOND + Span::MAX, Span::MAX);
        assert_eq!(Span::SECOND.saturating_sub(Span::MINUTE), Span::ZERO);
        assert_eq!(Span::DAY.saturating_mul(u64::MAX), Span::MAX);
        assert_eq!(Span::from_secs(u64::MAX), Span::MAX);
        assert_eq!(Span::from_duration(Duration::MAX), Span::MAX);
        assert_eq!(Duration::from(Span::from_millis(1_500)), Duration::from_secs_f64(1.5));
        assert_eq!(Span::from_millis(1_500).as_secs_f64(), 1.5);
    }
}
