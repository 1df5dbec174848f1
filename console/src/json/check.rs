//! Checks a JSON value against its schema in the API's own description, so that what is documented is what is enforced, and every
//! field at fault is named at once: wrong types, missing and unknown fields (with the nearest known name), texts without the right form.

use carillon_core::ids::{GroupId, Incarnation, RunKey, ServerId, TraceId};
use carillon_core::job::FieldError;
use carillon_core::time::{Span, Timestamp};
use serde_json::{Map, Value};

/// Enough to mend a request; a hostile one must not make a large answer.
const MOST_ERRORS: usize = 50;

/// Deeper than any schema of ours; free-form JSON is not descended into.
const DEEPEST: usize = 32;

/// Checks `value` against `schema`; `components` are the schemas it may refer to.
pub(crate) fn check(components: &Map<String, Value>, schema: &Value, value: &Value) -> Vec<FieldError> {
    let mut check = Check { components, errors: Vec::new() };
    check.value(schema, value, "", 0);
    check.errors
}

struct Check<'a> {
    components: &'a Map<String, Value>,
    errors: Vec<FieldError>,
}

impl<'a> Check<'a> {
    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(FieldError::new(path, message));
        }
    }

    fn resolve(&self, mut schema: &'a Value) -> &'a Value {
        for _ in 0..DEEPEST {
            let Some(name) = schema.get("$ref").and_then(Value::as_str) else { break };
            let name = name.rsplit('/').next().unwrap_or(name);
            let Some(target) = self.components.get(name) else { break };
            schema = target;
        }
        schema
    }

    fn value(&mut self, schema: &'a Value, value: &Value, path: &str, depth: usize) {
        if depth > DEEPEST {
            return self.wrong(path, "nested too deeply");
        }
        let schema = self.resolve(schema);
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            for part in parts {
                self.value(part, value, path, depth + 1);
            }
            return;
        }
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            return self.one_of(choices, value, path, depth);
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            return self.not_allowed(allowed, value, path);
        }
        let types = types_of(schema);
        if !types.is_empty() && !types.iter().any(|kind| is_of(kind, value)) {
            let wanted: Vec<&str> = types.iter().map(|kind| name_of_type(kind, schema)).collect();
            return self.wrong(path, format!("{} is not {}", describe(value), wanted.join(" or ")));
        }
        match value {
            Value::Object(fields) => self.object(schema, fields, path, depth),
            Value::Array(items) => self.array(schema, items, path, depth),
            Value::String(text) => self.text(schema, text, path),
            Value::Number(number) => self.number(schema, number, path),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// A choice between shapes: by null, by the tag that all object shapes share, else by the only shape there is.
    fn one_of(&mut self, choices: &'a [Value], value: &Value, path: &str, depth: usize) {
        let shapes: Vec<&'a Value> = choices
            .iter()
            .map(|choice| self.resolve(choice))
            .filter(|choice| types_of(choice) != ["null"])
            .collect();
        if value.is_null() && shapes.len() < choices.len() {
            return;
        }
        if let [only] = shapes[..] {
            return self.value(only, value, path, depth + 1);
        }
        let Some(tag) = shared_tag(&shapes) else {
            // Without a tag the first shape of the value's own JSON type is meant.
            let fitting = shapes.iter().find(|shape| types_of(shape).iter().any(|kind| is_of(kind, value)));
            match fitting {
                Some(shape) => self.value(shape, value, path, depth + 1),
                None => self.wrong(path, format!("{} does not fit here", describe(value))),
            }
            return;
        };
        let Value::Object(fields) = value else {
            return self.wrong(path, format!("{} is not an object with `{tag}`", describe(value)));
        };
        let allowed: Vec<Value> = shapes.iter().filter_map(|shape| tag_value(shape, tag)).collect();
        let tag_path = join(path, tag);
        let Some(given) = fields.get(tag) else {
            return self.wrong(&tag_path, format!("is missing; one of {}", list(&allowed)));
        };
        match shapes.iter().find(|shape| tag_value(shape, tag).as_ref() == Some(given)) {
            Some(shape) => self.value(shape, value, path, depth + 1),
            None => self.not_allowed(&allowed, given, &tag_path),
        }
    }

    fn not_allowed(&mut self, allowed: &[Value], value: &Value, path: &str) {
        let meant = value.as_str().and_then(|text| nearest(text, allowed.iter().filter_map(Value::as_str)));
        let hint = meant.map(|meant| format!(", did you mean {meant:?}?")).unwrap_or_default();
        self.wrong(path, format!("{} is not one of {}{hint}", describe(value), list(allowed)));
    }

    fn object(&mut self, schema: &'a Value, fields: &Map<String, Value>, path: &str, depth: usize) {
        let empty = Map::new();
        let known = schema.get("properties").and_then(Value::as_object);
        let open = schema.get("additionalProperties").filter(|more| !matches!(more, Value::Bool(false)));
        if known.is_none() && open.is_none() {
            return; // Free-form JSON.
        }
        for name in
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        {
            if !fields.contains_key(name) {
                self.wrong(&join(path, name), "is missing");
            }
        }
        for (name, value) in fields {
            let path = join(path, &shorten(name));
            match (known.unwrap_or(&empty).get(name).is_some(), open) {
                (true, _) => {
                    if let Some(schema) = known.and_then(|known| known.get(name)) {
                        self.value(schema, value, &path, depth + 1);
                    }
                }
                (false, Some(schema)) => self.value(schema, value, &path, depth + 1),
                (false, None) => {
                    let names = known.unwrap_or(&empty).keys().map(String::as_str);
                    let hint = match nearest(name, names.clone()) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!(
                            "known are {}",
                            names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                        ),
                    };
                    self.wrong(&path, format!("is not a known field; {hint}"));
                }
            }
        }
    }

    fn array(&mut self, schema: &'a Value, items: &[Value], path: &str, depth: usize) {
        if let Some(most) = schema.get("maxItems").and_then(Value::as_u64)
            && items.len() as u64 > most
        {
            return self.wrong(path, format!("{} items, at most {most}", items.len()));
        }
        let Some(schema) = schema.get("items") else { return };
        for (index, item) in items.iter().enumerate() {
            self.value(schema, item, &join(path, &index.to_string()), depth + 1);
        }
    }

    fn text(&mut self, schema: &Value, text: &str, path: &str) {
        let length = text.chars().count() as u64;
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
        if let Some(most) = bound("maxLength").filter(|most| length > *most) {
            return self.wrong(path, format!("{length} characters, at most {most}"));
        }
        if let Some(least) = bound("minLength").filter(|least| length < *least) {
            return self.wrong(path, format!("{length} characters, at least {least}"));
        }
        if let Some(refusal) =
            schema.get("format").and_then(Value::as_str).and_then(|format| wrong_form(format, text))
        {
            self.wrong(path, refusal);
        }
    }

    fn number(&mut self, schema: &Value, number: &serde_json::Number, path: &str) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let value = number.as_f64().unwrap_or(f64::NAN);
        let (least, most) = (bound("minimum"), bound("maximum"));
        let fits = least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most);
        if fits && !value.is_nan() {
            return;
        }
        let wanted = match (least, most) {
            (Some(least), Some(most)) => format!("between {least} and {most}"),
            (Some(least), None) => format!("{least} or more"),
            (None, Some(most)) => format!("{most} or less"),
            (None, None) => "a number".to_owned(),
        };
        self.wrong(path, format!("{number} is not {wanted}"));
    }
}

/// The refusal of a text that has not the form its schema names.
fn wrong_form(format: &str, text: &str) -> Option<String> {
    fn refusal<T: std::str::FromStr<Err = E>, E: std::fmt::Display>(text: &str) -> Option<String> {
        text.parse::<T>().err().map(|error| error.to_string())
    }
    match format {
        "date-time" => refusal::<Timestamp, _>(text),
        "duration-text" => refusal::<Span, _>(text),
        "group-id" => refusal::<GroupId, _>(text),
        "run-id" => refusal::<RunKey, _>(text),
        "server-id" => refusal::<ServerId, _>(text),
        "incarnation" => refusal::<Incarnation, _>(text),
        "trace-id" => refusal::<TraceId, _>(text),
        "id" => text.parse::<u64>().is_err().then(|| format!("{:?} is not a number as text", shorten(text))),
        _ => None,
    }
}

/// The property that every shape requires and fixes to one word.
fn shared_tag<'a>(shapes: &[&'a Value]) -> Option<&'a str> {
    let first = shapes.first()?.get("properties")?.as_object()?;
    first.keys().map(String::as_str).find(|name| shapes.iter().all(|shape| tag_value(shape, name).is_some()))
}

fn tag_value(shape: &Value, tag: &str) -> Option<Value> {
    let property = shape.get("properties")?.get(tag)?;
    match property.get("enum").and_then(Value::as_array).map(Vec::as_slice) {
        Some([only]) => Some(only.clone()),
        _ => property.get("const").cloned(),
    }
}

fn types_of(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn name_of_type(kind: &str, schema: &Value) -> &'static str {
    match (kind, schema.get("format").and_then(Value::as_str)) {
        ("string", Some("date-time")) => "a time such as \"2026-11-20T09:00:00Z\"",
        ("string", Some("duration-text")) => {
            "a duration with its unit such as \"10s\", \"1m30s\" or \"250ms\""
        }
        ("null", _) => "null",
        ("boolean", _) => "true or false",
        ("object", _) => "an object",
        ("array", _) => "a list",
        ("string", _) => "a text",
        ("integer", _) => "a whole number",
        _ => "a number",
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => format!("{:?}", shorten(text)),
        other => shorten(&other.to_string()),
    }
}

fn list(allowed: &[Value]) -> String {
    allowed.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// At most 60 characters: enough to recognise, short enough for an answer.
fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The candidate that was probably meant: a third of its letters may differ, at least two.
pub(crate) fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = shorten(given).to_lowercase();
    candidates
        .map(|name| (strsim::damerau_levenshtein(&given, name), name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3) && *distance < name.len())
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(value: Value) -> Vec<(String, String)> {
        let components = json!({"Overlap": {"oneOf": [
            {"type": "object", "required": ["policy"], "properties": {"policy": {"type": "string", "enum": ["skip"]}}},
            {"type": "object", "required": ["policy"], "properties": {
                "policy": {"type": "string", "enum": ["queue"]}, "limit": {"type": "integer", "minimum": 1, "maximum": 9}}},
        ]}});
        let schema = json!({
            "type": "object", "required": ["name"], "properties": {
                "name": {"type": "string", "maxLength": 5},
                "timeout": {"type": ["string", "null"], "format": "duration-text"},
                "overlap": {"$ref": "#/components/schemas/Overlap"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "params": {},
            }
        });
        check(components.as_object().unwrap(), &schema, &value)
            .into_iter()
            .map(|error| (error.field, error.message))
            .collect()
    }

    #[test]
    fn a_value_that_fits_passes() {
        let fits = json!({"name": "a", "timeout": "10s", "overlap": {"policy": "queue", "limit": 3}, "tags": ["x"],
            "labels": {"any": "thing"}, "params": {"free": [1, null]}});
        assert_eq!(errors(fits), []);
        assert_eq!(errors(json!({"name": "a", "timeout": null})), []);
    }

    #[test]
    fn every_fault_is_named_with_its_path_and_what_would_be_right() {
        let faulty = json!({"nmae": 1, "timeout": "10", "overlap": {"policy": "queue", "limit": 10}, "tags": ["x", 1],
            "labels": {"a": 1}});
        let found = errors(faulty);
        let says = |field: &str, part: &str| {
            assert!(
                found.iter().any(|(path, message)| path == field && message.contains(part)),
                "{field}: {found:?}"
            );
        };
        says("name", "is missing");
        says("nmae", "did you mean `name`?");
        says("timeout", "needs a unit");
        says("overlap.limit", "10 is not between 1 and 9");
        says("tags.1", "1 is not a text");
        says("labels.a", "1 is not a text");
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn a_tag_says_which_shape_is_meant() {
        let (field, message) = &errors(json!({"name": "a", "overlap": {"policy": "skpi"}}))[0];
        assert_eq!((field.as_str(), message.contains("did you mean \"skip\"?")), ("overlap.policy", true));
        let (field, message) = &errors(json!({"name": "a", "overlap": {"policy": "skip", "limit": 1}}))[0];
        assert_eq!((field.as_str(), message.contains("not a known field")), ("overlap.limit", true));
        assert_eq!(errors(json!({"name": "a", "overlap": {}}))[0].0, "overlap.policy");
        assert_eq!(errors(json!({"name": "a", "overlap": 3}))[0].0, "overlap");
    }
}
