//! The JSON of a schedule: one flat object whose `type` decides which fields it may have.
//!
//! Written by hand because serde cannot refuse unknown fields beside a flattened enum, and because its messages would not say
//! which field holds a wrong value.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::{CronDialect, Schedule, ScheduleKind};

const TYPES: [&str; 5] = ["cron", "fixed_rate", "fixed_delay", "once", "api"];
const DIALECTS: [&str; 2] = ["quartz", "unix"];

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.kind.name())?;
        match &self.kind {
            ScheduleKind::Cron { expression, time_zone, dialect } => {
                map.serialize_entry("expression", expression)?;
                map.serialize_entry("time_zone", time_zone)?;
                map.serialize_entry("dialect", dialect.name())?;
            }
            ScheduleKind::FixedRate { every, anchor } => {
                map.serialize_entry("every", every)?;
                if let Some(anchor) = anchor {
                    map.serialize_entry("anchor", anchor)?;
                }
            }
            ScheduleKind::FixedDelay { delay } => map.serialize_entry("delay", delay)?,
            ScheduleKind::Once { at } => map.serialize_entry("at", at)?,
            ScheduleKind::Api => {}
        }
        if let Some(starts_at) = &self.starts_at {
            map.serialize_entry("starts_at", starts_at)?;
        }
        if let Some(ends_at) = &self.ends_at {
            map.serialize_entry("ends_at", ends_at)?;
        }
        if let Some(jitter) = &self.jitter {
            map.serialize_entry("jitter", jitter)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Schedule, D::Error> {
        let mut fields = deserializer.deserialize_map(FieldsVisitor)?;
        let kind = match choice(&fields.required::<String, D::Error>("type")?, "type", &TYPES)? {
            "cron" => ScheduleKind::Cron {
                expression: fields.required("expression")?,
                time_zone: fields.optional("time_zone")?.unwrap_or_else(|| "UTC".to_owned()),
                dialect: match fields.optional::<String, D::Error>("dialect")? {
                    None => CronDialect::default(),
                    Some(name) => match choice(&name, "dialect", &DIALECTS)? {
                        "unix" => CronDialect::Unix,
                        _ => CronDialect::Quartz,
                    },
                },
            },
            "fixed_rate" => ScheduleKind::FixedRate {
                every: fields.required("every")?,
                anchor: fields.optional("anchor")?,
            },
            "fixed_delay" => ScheduleKind::FixedDelay { delay: fields.required("delay")? },
            "once" => ScheduleKind::Once { at: fields.required("at")? },
            _ => ScheduleKind::Api,
        };
        let schedule = Schedule {
            starts_at: fields.optional("starts_at")?,
            ends_at: fields.optional("ends_at")?,
            jitter: fields.optional("jitter")?,
            kind,
        };
        fields.finish(schedule.kind.name())?;
        Ok(schedule)
    }
}

/// The fields not yet taken, and the names asked for so far.
struct Fields {
    given: BTreeMap<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    fn optional<T: DeserializeOwned, E: de::Error>(&mut self, name: &'static str) -> Result<Option<T>, E> {
        self.known.push(name);
        match self.given.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|error| E::custom(format_args!("field `{name}` of the schedule: {error}"))),
        }
    }

    fn required<T: DeserializeOwned, E: de::Error>(&mut self, name: &'static str) -> Result<T, E> {
        self.optional(name)?.ok_or_else(|| E::custom(format_args!("the schedule lacks its field `{name}`")))
    }

    fn finish<E: de::Error>(self, kind: &str) -> Result<(), E> {
        let Some(unknown) = self.given.keys().next() else { return Ok(()) };
        let nearest =
            nearest(unknown, &self.known).map(|name| format!(", did you mean `{name}`?")).unwrap_or_default();
        let allowed = self.known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Err(E::custom(format_args!(
            "unknown field `{}` of a schedule of type \"{kind}\"{nearest} (allowed: {allowed})",
            shortened(unknown)
        )))
    }
}

/// The one of `choices` that `given` names.
fn choice<E: de::Error>(given: &str, field: &str, choices: &[&'static str]) -> Result<&'static str, E> {
    if let Some(found) = choices.iter().find(|choice| **choice == given) {
        return Ok(found);
    }
    let nearest =
        nearest(given, choices).map(|name| format!(", did you mean \"{name}\"?")).unwrap_or_default();
    let allowed = choices.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    Err(E::custom(format_args!(
        "field `{field}` of the schedule: unknown value {:?}{nearest} (allowed: {allowed})",
        shortened(given)
    )))
}

/// The candidate that was probably meant.
fn nearest<'a>(given: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let given = shortened(given).to_lowercase();
    candidates
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&given, name), *name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3))
        .min()
        .map(|(_, name)| name)
}

/// At most 40 characters of it: enough to recognise, short enough for an error answer.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a schedule object such as {\"type\":\"cron\",\"expression\":\"0 0/1 * * * ?\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut given = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if given.contains_key(&name) {
                return Err(de::Error::custom(format_args!(
                    "field `{}` of the schedule is given twice",
                    shortened(&name)
                )));
            }
            given.insert(name, value);
        }
        Ok(Fields { given, known: Vec::new() })
    }
}
