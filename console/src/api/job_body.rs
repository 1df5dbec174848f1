//! Bodies that say what a job is to be: read with every field at fault named, merged, checked.

use carillon_core::job::JobSpec;
use carillon_core::time::Timestamp;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::schemas;
use super::views::READ_ONLY;
use crate::json::check::check;
use crate::openapi;
use crate::problem::{Problem, Result};

/// Reads a spec, every field at fault named.
pub(super) fn read_spec(mut body: Value) -> Result<JobSpec> {
    let errors =
        check(openapi::components(), &openapi::components()[schemas::JobSpec::name().as_ref()], &body);
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    if let Value::Object(fields) = &mut body {
        // Null means the default; in the params it is a value like any other.
        let params = fields.remove("params");
        without_nulls(&mut body);
        if let (Value::Object(fields), Some(params)) = (&mut body, params) {
            fields.insert("params".into(), params);
        }
    }
    serde_path_to_error::deserialize(body)
        .map_err(|error| Problem::field(error.path().to_string(), error.into_inner().to_string()))
}

pub(super) fn validate(spec: &JobSpec, now: Timestamp) -> Result<()> {
    let schedule = spec.validate().map_err(Problem::invalid)?;
    if !spec.enabled {
        return Ok(());
    }
    schedule
        .check_fires_after(now)
        .map_err(|error| Problem::field(format!("schedule.{}", error.field()), error.to_string()))
}

fn without_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(without_nulls);
    }
}

pub(super) fn without_read_only(body: &mut Value) {
    if let Value::Object(fields) = body {
        for name in READ_ONLY {
            fields.remove(name);
        }
    }
}

/// RFC 7396, section 2. What a tag chooses is replaced as a whole when the tag changes: the fields of another kind of schedule would not fit.
pub(super) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().expect("it was made one");
    let other_kind = ["type", "policy"]
        .iter()
        .any(|tag| patch.get(*tag).is_some_and(|tag_value| fields.get(*tag) != Some(tag_value)));
    if other_kind {
        fields.clear();
    }
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_changes_fields_and_replaces_what_gets_another_kind() {
        let mut job = json!({"timeout": "1s", "retry": {"max_attempts": 2, "initial": "1s"},
            "schedule": {"type": "cron", "expression": "0 0 9 * * ?", "time_zone": "UTC"}});
        merge(
            &mut job,
            json!({"timeout": null, "retry": {"max_attempts": 3}, "schedule": {"expression": "0 0 8 * * ?"}}),
        );
        assert_eq!(
            job,
            json!({"retry": {"max_attempts": 3, "initial": "1s"},
            "schedule": {"type": "cron", "expression": "0 0 8 * * ?", "time_zone": "UTC"}})
        );
        merge(&mut job, json!({"schedule": {"type": "fixed_rate", "every": "10s"}}));
        assert_eq!(job["schedule"], json!({"type": "fixed_rate", "every": "10s"}));
    }
}
