//! The operations, one file for each family.

pub(crate) mod about;
pub(crate) mod audit;
pub(crate) mod bulk;
pub(crate) mod dead_letters;
pub(crate) mod events;
pub(crate) mod grants;
pub(crate) mod groups;
pub(crate) mod hand_overs;
pub(crate) mod histogram;
pub(crate) mod job_body;
pub(crate) mod jobs;
pub(crate) mod jobs_change;
pub(crate) mod log_search;
pub(crate) mod logs;
pub(crate) mod next_fires;
pub(crate) mod overview;
pub(crate) mod run_views;
pub(crate) mod runs;
pub(crate) mod runs_change;
pub(crate) mod schedules;
pub(crate) mod schemas;
pub(crate) mod sdk;
pub(crate) mod servers;
pub(crate) mod sessions;
pub(crate) mod subtasks;
pub(crate) mod tokens;
pub(crate) mod trigger;
pub(crate) mod users;
pub(crate) mod views;

use crate::operation::Operations;

/// The families of operations, in the order of a first visit.
pub(crate) const TAGS: [(&str, &str); 13] = [
    ("sessions", "Signing in and out, and who one is."),
    ("groups", "Task groups: owners of jobs, workers and permissions."),
    ("jobs", "What to run and when."),
    ("runs", "One fire of a job each, with its attempts, log and subtasks."),
    ("dead letters", "Runs that failed for good."),
    ("schedules", "What a schedule means."),
    ("cluster", "Servers, shards and workers as they are now."),
    ("events", "Live updates."),
    ("users", "People."),
    ("tokens", "Access for programs and workers."),
    ("grants", "Roles of people on task groups."),
    ("audit", "Who did what."),
    ("sdk", "What workers and SDK clients ask."),
];

/// Enters every operation into the table.
pub(crate) fn enter(operations: &mut Operations) {
    sessions::enter(operations);
    groups::enter(operations);
    jobs::enter(operations);
    jobs_change::enter(operations);
    trigger::enter(operations);
    runs::enter(operations);
    runs_change::enter(operations);
    bulk::enter(operations);
    histogram::enter(operations);
    logs::enter(operations);
    log_search::enter(operations);
    subtasks::enter(operations);
    dead_letters::enter(operations);
    schedules::enter(operations);
    overview::enter(operations);
    next_fires::enter(operations);
    servers::enter(operations);
    hand_overs::enter(operations);
    events::enter(operations);
    users::enter(operations);
    tokens::enter(operations);
    grants::enter(operations);
    audit::enter(operations);
    sdk::enter(operations);
    about::enter(operations);
}
