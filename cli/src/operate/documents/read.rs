//! Reads documents: YAML or JSON, many in a file, each `kind: group` or `kind: job` with a `spec`.

use std::io::Read;
use std::path::{Path, PathBuf};

use carillon_core::job::JobSpec;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};

/// One document.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", content = "spec", rename_all = "snake_case")]
pub(super) enum Document {
    Group(GroupDocument),
    Job(Value),
}

/// A task group that should be; found again by its name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupDocument {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    cluster: Option<u32>,
    #[serde(default = "one")]
    server_group: u32,
    #[serde(default = "two")]
    backups: u32,
    #[serde(default = "one")]
    shards: u32,
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

/// A job that should be; found again by its group and name.
#[derive(Debug)]
pub(super) struct JobDocument {
    /// The group's id or its name.
    pub(super) group: String,
    pub(super) name: String,
    place: String,
    spec: Value,
}

/// Reads all files: groups, then jobs, each in the order they are written.
pub(super) fn files(paths: &[PathBuf]) -> Outcome<(Vec<GroupDocument>, Vec<JobDocument>)> {
    let (mut groups, mut jobs) = (Vec::new(), Vec::new());
    for path in paths {
        let found = text(&path.display().to_string(), &text_of(path)?)?;
        groups.extend(found.0);
        jobs.extend(found.1);
    }
    if groups.is_empty() && jobs.is_empty() {
        return Err(Failure::Usage("the files hold no documents".to_owned()));
    }
    Ok((groups, jobs))
}

/// Reads the documents of one text.
pub(super) fn text(name: &str, text: &str) -> Outcome<(Vec<GroupDocument>, Vec<JobDocument>)> {
    let (mut groups, mut jobs) = (Vec::new(), Vec::new());
    for (place, document) in documents(name, text)? {
        match document {
            Document::Group(group) => groups.push(group),
            Document::Job(spec) => jobs.push(JobDocument::new(place, spec)?),
        }
    }
    Ok((groups, jobs))
}

fn text_of(path: &Path) -> Outcome<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", path.display())))
}

fn documents(file: &str, text: &str) -> Outcome<Vec<(String, Document)>> {
    let mut found = Vec::new();
    for (index, document) in serde_norway::Deserializer::from_str(text).enumerate() {
        let place = format!("{file}, document {}", index + 1);
        let value = Value::deserialize(document)
            .map_err(|error| Failure::Usage(format!("{place} is neither YAML nor JSON: {error}")))?;
        // Nothing between two separators, or after the last one.
        if value.is_null() {
            continue;
        }
        refuse_other_keys(&place, &value)?;
        let document = serde_json::from_value(value).map_err(|error| wrong(&place, &error))?;
        found.push((place, document));
    }
    Ok(found)
}

/// Serde's adjacent tagging does not look at other keys, so a misplaced `name` would be lost silently.
fn refuse_other_keys(place: &str, value: &Value) -> Outcome {
    let Some(fields) = value.as_object() else {
        return Err(Failure::Usage(format!("{place}: a document has the fields `kind` and `spec`")));
    };
    match fields.keys().find(|key| !matches!(key.as_str(), "kind" | "spec")) {
        Some(other) => Err(Failure::Usage(format!(
            "{place}: `{other}` is not a field of a document; it has `kind` and `spec`, and everything else goes under `spec`"
        ))),
        None => Ok(()),
    }
}

impl JobDocument {
    fn new(place: String, spec: Value) -> Outcome<Self> {
        let field = |name: &str| {
            spec.get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .ok_or_else(|| Failure::Usage(format!("{place}: `{name}` is missing or not a text")))
        };
        Ok(Self { group: field("group")?, name: field("name")?, place, spec })
    }

    /// The request that makes it so: what is written, with the group's id.
    pub(super) fn body(&self, group_id: &str) -> Value {
        let mut body = self.spec.clone();
        body["group"] = group_id.into();
        body
    }

    /// The whole spec with the group's id, every default filled in and every bound checked.
    pub(super) fn spec(&self, group_id: &str) -> Outcome<JobSpec> {
        let spec: JobSpec =
            serde_json::from_value(self.body(group_id)).map_err(|error| wrong(&self.place, &error))?;
        match spec.validate() {
            Ok(_) => Ok(spec),
            Err(errors) => {
                let lines: Vec<String> = errors
                    .iter()
                    .map(|error| {
                        let column =
                            error.column.map(|column| format!(", column {column}")).unwrap_or_default();
                        format!("\n  {}{column}: {}", error.field, error.message)
                    })
                    .collect();
                Err(Failure::Usage(format!(
                    "{}: job {:?} is not valid{}",
                    self.place,
                    self.name,
                    lines.concat()
                )))
            }
        }
    }
}

impl GroupDocument {
    /// The request that creates it.
    pub(super) fn body(&self) -> Value {
        let mut body = json!({
            "name": self.name, "description": self.description, "server_group": self.server_group,
            "backups": self.backups, "shards": self.shards,
        });
        if let Some(cluster) = self.cluster {
            body["cluster"] = cluster.into();
        }
        body
    }

    /// Refuses a document that wants to change what is fixed at creation.
    pub(super) fn must_fit(&self, id: &str, known: &Value) -> Outcome {
        let parts: Vec<u32> = id.split('-').filter_map(|part| part.parse().ok()).collect();
        let shards = known["shards"].as_u64().unwrap_or_default();
        let fixed = [
            ("cluster", self.cluster.map(u64::from), parts.first().copied().map(u64::from)),
            ("server_group", Some(self.server_group.into()), parts.get(1).copied().map(u64::from)),
            ("backups", Some(self.backups.into()), parts.get(2).copied().map(u64::from)),
            ("shards", Some(self.shards.into()), Some(shards)),
        ];
        for (field, wanted, known) in fixed {
            if let (Some(wanted), Some(known)) = (wanted, known)
                && wanted != known
            {
                return Err(Failure::Conflict(format!(
                    "group {:?} ({id}) has {field} {known}, the file says {wanted}; it is fixed when a group is created",
                    self.name
                )));
            }
        }
        Ok(())
    }
}

/// Serde's refusal, with the field that was probably meant.
fn wrong(place: &str, error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let quoted: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let hint = match quoted.split_first() {
        Some((given, known)) if text.starts_with("unknown") => {
            crate::suggest::nearest(given, known.iter().copied())
        }
        _ => None,
    };
    let hint = hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Failure::Usage(format!("{place}: {text}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let read = || {
            for (place, document) in documents("jobs.yaml", text)? {
                if let Document::Job(spec) = document {
                    JobDocument::new(place, spec)?.spec("101-1-2-6601")?;
                }
            }
            Ok(())
        };
        let failure: Failure = Outcome::<()>::expect_err(read(), "it should be refused");
        assert_eq!(failure.code(), 2);
        failure.to_string()
    }

    #[test]
    fn a_file_holds_many_documents() {
        let text = "kind: group\nspec: {name: billing}\n---\n---\nkind: job\nspec: {group: billing, name: a, handler: h, schedule: {type: api}}\n";
        let found = documents("jobs.yaml", text).unwrap();
        assert_eq!(found.len(), 2);
        assert!(matches!(&found[0].1, Document::Group(group) if group.backups == 2));
    }

    #[test]
    fn the_sample_jobs_are_valid() {
        let (groups, jobs) = super::text("samples.yaml", carillon_examples::samples::DOCUMENTS).unwrap();
        assert_eq!((groups.len(), jobs.len()), (1, 7));
        for job in jobs {
            job.spec("101-1-2-6601").unwrap();
        }
    }

    #[test]
    fn json_is_read_as_well() {
        let text = r#"{"kind":"group","spec":{"name":"billing"}}"#;
        assert_eq!(documents("groups.json", text).unwrap().len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, expected) in [
            ("kind: jobb\nspec: {}\n", "did you mean `job`?"),
            ("kind: group\nspec: {nam: x}\n", "did you mean `name`?"),
            ("kind: group\nname: x\nspec: {}\n", "`name` is not a field of a document"),
            ("kind: job\nspec: {name: a}\n", "document 1: `group` is missing"),
            (
                "kind: job\nspec: {group: g, name: a, handlr: h, schedule: {type: api}}\n",
                "did you mean `handler`?",
            ),
            (
                "kind: job\nspec: {group: g, name: a, handler: h, timeout: 1ms, schedule: {type: api}}\n",
                "timeout: 1ms is not between 10ms",
            ),
            (
                "kind: job\nspec: {group: g, name: a, handler: h, schedule: {type: cron, expression: 0 61 * * * ?}}\n",
                "schedule.expression, column 3",
            ),
            ("kind: [", "is neither YAML nor JSON"),
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains(expected), "{expected}\nnot in\n{refusal}");
        }
    }
}
