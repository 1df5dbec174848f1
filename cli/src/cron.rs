//! `carillon cron explain`: what an expression means, told without any server.

use carillon_core::schedule::{CronDialect, Preview, Schedule, ScheduleError, ScheduleKind, preview};
use serde_json::Value;

use crate::args::{CronAction, CronArgs, Dialect};
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, put};

/// Explains an expression, or shows where it is wrong.
pub(crate) fn run(args: CronArgs) -> Outcome {
    let CronAction::Explain { expression, tz, dialect, count, after, output } = args.action;
    let dialect = match dialect {
        Dialect::Quartz => CronDialect::Quartz,
        Dialect::Unix => CronDialect::Unix,
    };
    let schedule =
        Schedule::new(ScheduleKind::Cron { expression: expression.clone(), time_zone: tz, dialect });
    let preview = preview(&schedule, after.unwrap_or_else(clock::now), count.into())
        .map_err(|error| Failure::Usage(pointed_at(&expression, &error)))?;
    match output {
        Format::Json => output::show_json(&data(&preview)?),
        Format::Yaml => output::show_yaml(&data(&preview)?),
        Format::Table | Format::Wide | Format::Id => put(&text(&preview)),
    }
}

fn data(preview: &Preview) -> Outcome<Value> {
    Ok(serde_json::to_value(preview).map_err(anyhow::Error::from)?)
}

fn text(preview: &Preview) -> String {
    let mut lines = vec![preview.sentence.clone()];
    lines.extend(preview.fires.iter().map(|fire| format!("  {}   {}", fire.local, fire.at)));
    lines.extend(preview.clock_changes.iter().map(|note| format!("note: {}", note.text)));
    lines.join("\n")
}

/// The refusal with a mark under the place that is wrong.
fn pointed_at(expression: &str, error: &ScheduleError) -> String {
    match error.position() {
        Some((column, length)) => {
            format!("{error}\n  {expression}\n  {}{}", " ".repeat(column - 1), "^".repeat(length.max(1)))
        }
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_that_is_wrong_is_marked() {
        let expression = "0 61 * * * ?";
        let error = preview(&Schedule::cron(expression, "UTC"), clock::now(), 1).unwrap_err();
        let shown = pointed_at(expression, &error);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(&lines[1..], ["  0 61 * * * ?", "    ^^"]);
    }
}
