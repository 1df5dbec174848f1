//! What goes to stdout: tables for people, JSON and YAML for programs.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::failure::Outcome;

/// How data are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// The columns that matter most
    Table,
    /// All columns
    Wide,
    /// As the API gave it
    Json,
    /// The same as YAML
    Yaml,
    /// The ids alone, one a line
    Id,
}

/// A column of a table: its title, where it is shown, and the text of a row.
pub(crate) struct Column {
    title: &'static str,
    wide: bool,
    cell: fn(&Value) -> String,
}

impl Column {
    /// A column of both tables.
    pub(crate) const fn new(title: &'static str, cell: fn(&Value) -> String) -> Self {
        Self { title, wide: false, cell }
    }

    /// A column of the wide table only.
    pub(crate) const fn wide(title: &'static str, cell: fn(&Value) -> String) -> Self {
        Self { title, wide: true, cell }
    }
}

/// Shows a list.
pub(crate) fn show_list(format: Format, columns: &[Column], items: &[Value]) -> Outcome {
    match format {
        Format::Json => show_json(&Value::from(items)),
        Format::Yaml => show_yaml(&Value::from(items)),
        Format::Id => items.iter().try_for_each(|item| put(&text(item, "id"))),
        Format::Table | Format::Wide => {
            let shown: Vec<&Column> =
                columns.iter().filter(|column| format == Format::Wide || !column.wide).collect();
            let mut table = plain_table();
            table.set_header(shown.iter().map(|column| column.title));
            for item in items {
                table.add_row(shown.iter().map(|column| shown_text((column.cell)(item))));
            }
            put(&trimmed(&table))
        }
    }
}

/// Shows one thing: a row of the table, or the whole of it.
pub(crate) fn show_one(format: Format, columns: &[Column], item: &Value) -> Outcome {
    match format {
        Format::Json => show_json(item),
        Format::Yaml => show_yaml(item),
        Format::Table | Format::Wide | Format::Id => show_list(format, columns, std::slice::from_ref(item)),
    }
}

/// Shows everything about one thing, one field a line.
pub(crate) fn describe(format: Format, item: &Value) -> Outcome {
    match format {
        Format::Json => show_json(item),
        Format::Yaml => show_yaml(item),
        Format::Id => put(&text(item, "id")),
        Format::Table | Format::Wide => {
            let mut table = plain_table();
            for (name, value) in fields("", item) {
                table.add_row([format!("{name}:"), shown_text(value)]);
            }
            put(&trimmed(&table))
        }
    }
}

/// Shows rows that are made here, not by the API.
pub(crate) fn show_rows(titles: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Outcome {
    let mut table = plain_table();
    table.set_header(titles);
    for row in rows {
        table.add_row(row.into_iter().map(shown_text));
    }
    put(&trimmed(&table))
}

/// Shows a value as JSON.
pub(crate) fn show_json(value: &Value) -> Outcome {
    put(&format!("{value:#}"))
}

/// Shows a value as YAML.
pub(crate) fn show_yaml(value: &Value) -> Outcome {
    let text = serde_norway::to_string(value).map_err(anyhow::Error::from)?;
    put(text.trim_end())
}

/// Writes a line to stdout. A reader that has gone away, such as `head`, is no failure.
pub(crate) fn put(text: &str) -> Outcome {
    put_raw(format!("{text}\n").as_bytes())
}

/// Writes bytes to stdout as they are.
pub(crate) fn put_raw(bytes: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Says something to the person, on stderr; if nobody listens, nothing is lost.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The text of a field, found by its dotted path; empty when there is none.
pub(crate) fn text(item: &Value, path: &str) -> String {
    let mut value = item;
    for name in path.split('.') {
        match value.get(name) {
            Some(inner) => value = inner,
            None => return String::new(),
        }
    }
    plain(value)
}

/// A value as people read it: texts without quotes, nothing for null.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

fn fields(prefix: &str, item: &Value) -> Vec<(String, String)> {
    let Value::Object(entries) = item else { return vec![(prefix.to_owned(), plain(item))] };
    let mut found = Vec::new();
    for (key, value) in entries {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(inner) if !inner.is_empty() => found.extend(fields(&name, value)),
            _ => found.push((name, plain(value))),
        }
    }
    found
}

/// Control characters in a name or an error must not reach the terminal.
fn shown_text(text: String) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn trimmed(table: &Table) -> String {
    let mut lines = Vec::new();
    for line in table.lines() {
        lines.push(line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()).to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_finds_a_text_or_nothing() {
        let item = json!({"schedule": {"type": "cron", "count": 3}, "labels": ["a", "b"], "none": null});
        assert_eq!(text(&item, "schedule.type"), "cron");
        assert_eq!(text(&item, "schedule.count"), "3");
        assert_eq!(text(&item, "labels"), "a, b");
        assert_eq!(text(&item, "none"), "");
        assert_eq!(text(&item, "schedule.what.else"), "");
    }

    #[test]
    fn a_table_is_plain_columns() {
        let mut table = plain_table();
        table.set_header(["ID", "NAME"]);
        table.add_row(["1", "a long name"]);
        assert_eq!(trimmed(&table), "ID  NAME\n1   a long name");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(shown_text("a\u{1b}[2Jb\n".to_owned()), "a [2Jb ");
    }
}
