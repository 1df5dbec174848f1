//! Instants and durations as values, in milliseconds.
//!
//! Nothing here reads a clock: "now" is always an argument that the caller got from the one file of its process that does.

mod span;

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

pub use span::{ParseSpanError, Span};

/// An instant in UTC, in milliseconds since the Unix epoch.
///
/// As text and in JSON it is RFC 3339 with exactly three decimals, `2026-11-20T09:00:00.000Z`; any offset is read, and
/// digits below a millisecond are cut off. It always lies between [`Timestamp::MIN`] and [`Timestamp::MAX`], so that
/// every value has such a text.
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// The earliest instant with a four-digit year: 0000-01-01T00:00:00.000Z.
    pub const MIN: Timestamp = Timestamp(-62_167_219_200_000);
    /// The latest instant that still lies in the year 9999 at every offset: 9999-12-30T22:00:00.000Z.
    pub const MAX: Timestamp = Timestamp(253_402_207_200_000);

    /// The instant that many milliseconds after the Unix epoch, clamped to [`Timestamp::MIN`] and [`Timestamp::MAX`].
    pub const fn from_millis(millis: i64) -> Timestamp {
        if millis < Self::MIN.0 {
            Self::MIN
        } else if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Timestamp(millis)
        }
    }

    /// Milliseconds since the Unix epoch; negative before it.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The instant `span` later, or `None` past [`Timestamp::MAX`].
    pub fn checked_add(self, span: Span) -> Option<Timestamp> {
        self.0.checked_add_unsigned(span.as_millis()).map(Timestamp).filter(|sum| *sum <= Self::MAX)
    }

    /// The instant `span` earlier, or `None` before [`Timestamp::MIN`].
    pub fn checked_sub(self, span: Span) -> Option<Timestamp> {
        self.0.checked_sub_unsigned(span.as_millis()).map(Timestamp).filter(|rest| *rest >= Self::MIN)
    }

    /// The instant `span` later, at most [`Timestamp::MAX`].
    pub fn saturating_add(self, span: Span) -> Timestamp {
        self.checked_add(span).unwrap_or(Self::MAX)
    }

    /// The instant `span` earlier, at least [`Timestamp::MIN`].
    pub fn saturating_sub(self, span: Span) -> Timestamp {
        self.checked_sub(span).unwrap_or(Self::MIN)
    }

    /// How long after `earlier` this instant lies; zero where it does not.
    pub const fn since(self, earlier: Timestamp) -> Span {
        if self.0 <= earlier.0 { Span::ZERO } else { Span::from_millis(self.0.abs_diff(earlier.0)) }
    }

    /// Milliseconds from `other` to this instant; negative where this one is earlier.
    pub const fn millis_since(self, other: Timestamp) -> i64 {
        self.0 - other.0
    }

    /// The latest multiple of `grid`, counted from the Unix epoch, that is not later than this instant; itself for a zero `grid`.
    pub fn floor(self, grid: Span) -> Timestamp {
        match i64::try_from(grid.as_millis()) {
            Ok(0) => self,
            Ok(grid) => Timestamp::from_millis(self.0 - self.0.rem_euclid(grid)),
            Err(_) => Timestamp::from_millis(if self.0 < 0 { i64::MIN } else { 0 }),
        }
    }
}

/// Saturates like [`Timestamp::saturating_add`].
impl Add<Span> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Span) -> Timestamp {
        self.saturating_add(span)
    }
}

/// Saturates like [`Timestamp::saturating_sub`].
impl Sub<Span> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Span) -> Timestamp {
        self.saturating_sub(span)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = jiff::Timestamp::from_millisecond(self.0).expect("MIN and MAX lie within jiff's range");
        // Formatted apart, so that a width or fill asked of `f` applies to the whole text.
        f.pad(&format!("{instant:.3}"))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not an instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a time: write RFC 3339 with an offset, for example \"2026-11-20T09:00:00Z\" ({reason})"
)]
pub struct ParseTimestampError {
    text: String,
    reason: String,
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Timestamp, ParseTimestampError> {
        // Longer than any RFC 3339 text with nanoseconds; keeps a hostile text out of logs and error answers.
        const LONGEST: usize = 64;
        let refuse =
            |reason: String| ParseTimestampError { text: text.chars().take(LONGEST).collect(), reason };
        if text.len() > LONGEST {
            return Err(refuse(format!("at most {LONGEST} bytes")));
        }
        let instant: jiff::Timestamp =
            text.parse().map_err(|error: jiff::Error| refuse(error.to_string()))?;
        let millis = i64::try_from(instant.as_nanosecond().div_euclid(1_000_000))
            .expect("jiff's range fits in milliseconds");
        if !(Self::MIN.0..=Self::MAX.0).contains(&millis) {
            return Err(refuse(format!("it must lie between {} and {}", Self::MIN, Self::MAX)));
        }
        Ok(Timestamp(millis))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time such as \"2026-11-20T09:00:00Z\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_is_written_in_utc_with_three_decimals_and_read_at_any_offset() {
        for (text, written) in [
            ("2026-11-20T09:00:00Z", "2026-11-20T09:00:00.000Z"),
            ("2026-11-20T17:00:00.25+08:00", "2026-11-20T09:00:00.250Z"),
            ("2026-11-20T09:00:00.1239Z", "2026-11-20T09:00:00.123Z"),
            ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(at(text).to_string(), written);
            assert_eq!(at(written), at(text));
            let json = serde_json::to_string(&at(text)).unwrap();
            assert_eq!(json, format!("\"{written}\""));
            assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), at(text));
        }
    }

    #[test]
    fn a_text_that_is_no_instant_is_refused_with_what_would_be_right() {
        for text in [
            "",
            "tomorrow",
            "2026-11-20",
            "2026-11-20T09:00:00",
            "2026-02-30T00:00:00Z",
            "-000001-01-01T00:00:00Z",
        ] {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is not a time: write RFC 3339")), "{error}");
        }
        let error = serde_json::from_str::<Timestamp>("12").unwrap_err().to_string();
        assert!(error.contains("expected an RFC 3339 time"), "{error}");
        assert!("9".repeat(100_000).parse::<Timestamp>().unwrap_err().to_string().len() < 250);
    }

    #[test]
    fn every_value_stays_inside_the_range_that_has_a_text() {
        for millis in [i64::MIN, i64::MAX, Timestamp::MIN.as_millis(), Timestamp::MAX.as_millis()] {
            let instant = Timestamp::from_millis(millis);
            assert_eq!(at(&instant.to_string()), instant);
        }
        assert_eq!(Timestamp::MAX.checked_add(Span::from_millis(1)), None);
        assert_eq!(Timestamp::MIN.checked_sub(Span::from_millis(1)), None);
        assert_eq!(Timestamp::EPOCH.checked_add(Span::MAX), None);
        assert_eq!(Timestamp::EPOCH + Span::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH - Span::MAX, Timestamp::MIN);
    }

    #[test]
    fn a_distance_is_never_negative_unless_asked_for() {
        let (early, late) = (at("2026-11-20T09:00:00Z"), at("2026-11-20T09:00:01.5Z"));
        assert_eq!(late.since(early), Span::from_millis(1500));
        assert_eq!(early.since(late), Span::ZERO);
        assert_eq!(early.millis_since(late), -1500);
        assert_eq!(early + Span::from_millis(1500), late);
        assert_eq!(late - Span::from_millis(1500), early);
    }

    #[test]
    fn floor_rounds_down_on_both_sides_of_the_epoch() {
        let minute = Span::from_secs(60);
        assert_eq!(at("2026-11-20T09:00:59.999Z").floor(minute), at("2026-11-20T09:00:00Z"));
        assert_eq!(Timestamp::from_millis(-1).floor(minute), Timestamp::from_millis(-60_000));
        assert_eq!(Timestamp::from_millis(-1).floor(Span::ZERO), Timestamp::from_millis(-1));
        assert_eq!(Timestamp::from_millis(5).floor(Span::MAX), Timestamp::EPOCH);
    }
}
