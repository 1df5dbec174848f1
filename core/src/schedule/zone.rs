//! Time zones: names, suggestions, and the way between local times and instants.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

use super::ScheduleError;
use crate::time::{Span, Timestamp};

/// The zone data built into the binary, so that all servers of a release agree whatever their systems have installed.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone, looked up once.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    rules: TimeZone,
    /// The offset of a zone that has only one; saves the search through its transitions.
    fixed: Option<Offset>,
}

/// A change of a zone's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    /// The first instant with the new offset.
    pub(super) at: Timestamp,
    /// What the clock would have shown at that instant without the change.
    pub(super) from: DateTime,
    /// What it shows.
    pub(super) to: DateTime,
}

/// How often a local time happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occurrence {
    Once(Timestamp),
    /// The clock is set back over it; the instant of its first pass.
    Twice(Timestamp),
    /// The clock is set forward over it; the first instant afterwards.
    Never(Timestamp),
}

impl Zone {
    /// Looks an IANA name up in the data built into the binary; upper and lower case are the same.
    pub(super) fn find(name: &str) -> Result<Zone, ScheduleError> {
        // The longest IANA name has 32 letters; no need to search for more than that.
        let found = (name.len() <= 64).then(|| ZONES.get(name).ok()).flatten();
        match found {
            Some(rules) if !rules.is_unknown() => {
                let fixed = rules.to_fixed_offset().ok();
                Ok(Zone { rules, fixed })
            }
            _ => Err(unknown(name)),
        }
    }

    /// The zone in which nothing changes.
    pub(super) fn utc() -> Zone {
        Zone { rules: TimeZone::UTC, fixed: Some(Offset::UTC) }
    }

    /// Its name as the data spell it.
    pub(super) fn name(&self) -> &str {
        self.rules.iana_name().unwrap_or("UTC")
    }

    /// Its distance from UTC at an instant.
    pub(super) fn offset(&self, at: Timestamp) -> Offset {
        self.fixed.unwrap_or_else(|| self.rules.to_offset(instant(at)))
    }

    /// The second that its clock shows at an instant.
    pub(super) fn local(&self, at: Timestamp) -> DateTime {
        local_at(at, self.offset(at))
    }

    /// What its clock shows at an instant, with its offset and, where there are any, milliseconds.
    pub(super) fn text(&self, at: Timestamp) -> String {
        let shown = instant(at).to_zoned(self.rules.clone());
        let format =
            if shown.subsec_nanosecond() == 0 { "%Y-%m-%dT%H:%M:%S%:z" } else { "%Y-%m-%dT%H:%M:%S%.3f%:z" };
        shown.strftime(format).to_string()
    }

    /// The instants of a local time; `None` where it lies beyond the calendar.
    pub(super) fn occurrence(&self, local: DateTime) -> Option<Occurrence> {
        if let Some(offset) = self.fixed {
            return Some(Occurrence::Once(instant_of(local, offset)?));
        }
        Some(match self.rules.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => Occurrence::Once(instant_of(local, offset)?),
            AmbiguousOffset::Fold { before, .. } => Occurrence::Twice(instant_of(local, before)?),
            AmbiguousOffset::Gap { before, .. } => {
                // Counted on with the old offset, a skipped time lies after the change.
                let beyond = instant_of(local, before)?.checked_add(Span::MILLISECOND)?;
                let change = self.rules.preceding(instant(beyond)).next()?;
                Occurrence::Never(timestamp(change.timestamp()))
            }
        })
    }

    /// The first change later than an instant.
    pub(super) fn next_transition(&self, at: Timestamp) -> Option<Transition> {
        if self.fixed.is_some() {
            return None;
        }
        let found = self.rules.following(instant(at)).next()?;
        Some(self.transition(timestamp(found.timestamp())))
    }

    fn transition(&self, at: Timestamp) -> Transition {
        Transition { at, from: local_at(at, self.offset(at - Span::MILLISECOND)), to: self.local(at) }
    }
}

/// The instant at which a clock with that offset shows `local`; `None` beyond the range of timestamps.
pub(super) fn instant_of(local: DateTime, offset: Offset) -> Option<Timestamp> {
    offset.to_timestamp(local).ok().map(timestamp)
}

fn local_at(at: Timestamp, offset: Offset) -> DateTime {
    // Only whole seconds matter to a cron expression; what is within a second counts as its start.
    offset.to_datetime(instant(at.floor(Span::SECOND)))
}

fn instant(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(at.as_millis()).expect("every Timestamp lies within jiff's range")
}

fn timestamp(at: jiff::Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millisecond())
}

fn unknown(name: &str) -> ScheduleError {
    let name: String = name.chars().take(64).collect();
    let suggestion = suggest(&name);
    let hint = match &suggestion {
        Some(found) => format!("did you mean {found:?}?"),
        None => "use an IANA name such as \"Asia/Shanghai\" or \"UTC\"".to_owned(),
    };
    ScheduleError::UnknownTimeZone { name, suggestion, hint }
}

/// The zone that was probably meant by a name that is none.
fn suggest(name: &str) -> Option<String> {
    let wanted = name.trim().to_lowercase().replace(' ', "_");
    if wanted.rsplit('/').next() == Some("beijing") {
        // China's one zone is named after its largest city, which many do not expect.
        return Some("Asia/Shanghai".to_owned());
    }
    if let Some(fixed) = fixed_offset_name(&wanted) {
        return Some(fixed);
    }
    let names = ZONES.available().map(|found| found.to_string()).collect::<Vec<_>>();
    let by_city = names.iter().find(|found| {
        found.to_lowercase() == wanted
            || found.rsplit('/').next().is_some_and(|city| city.to_lowercase() == wanted)
    });
    if let Some(found) = by_city {
        return Some(found.clone());
    }
    names
        .iter()
        .map(|found| (strsim::damerau_levenshtein(&wanted, &found.to_lowercase()), found))
        // A third of the letters may differ, no more: a far-fetched guess helps nobody.
        .filter(|(distance, _)| *distance <= 3.min(wanted.len() / 3))
        .min()
        .map(|(_, found)| found.clone())
}

/// `UTC+8`, `GMT+08:00` or `+8`: the IANA names of fixed offsets turn the sign round.
fn fixed_offset_name(wanted: &str) -> Option<String> {
    let offset = wanted.trim_start_matches("utc").trim_start_matches("gmt");
    let (sign, digits) = if let Some(digits) = offset.strip_prefix('+') {
        ('-', digits)
    } else {
        ('+', offset.strip_prefix('-')?)
    };
    let hours: u8 = digits.trim_end_matches(":00").parse().ok()?;
    let name = format!("Etc/GMT{sign}{hours}");
    ZONES.get(&name).is_ok().then_some(name)
}
