//! Who asks, and what they may.
//!
//! A request is made by a [`Principal`]: a person (by session cookie or personal token) or a worker token. What it may do on a task group is
//! one [`Role`]; each includes those before it. Groups on which one has no role do not exist for one: they answer 404, not 403, so that their
//! ids and names cannot be probed. 403 means: seen, but not allowed to do that.

pub(crate) mod first;
pub(crate) mod password;
pub(crate) mod session;
pub(crate) mod sign_in;
pub(crate) mod token;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use carillon_core::ids::GroupId;
use carillon_core::job::Job;
use carillon_core::run::Run;
use carillon_store::accounts::{Role, Session, User};
use serde_json::Value;

use crate::problem::{Problem, Result};

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Principal {
    /// A person, or a program with a personal token.
    Person(Box<Person>),
    /// A worker, or an SDK client with a worker token: it may find its group's servers, and see and trigger its jobs.
    Worker {
        /// The group of the token.
        group: GroupId,
        /// The token's name.
        name: String,
    },
}

/// A signed-in person.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) user: User,
    pub(crate) grants: BTreeMap<GroupId, Role>,
    /// The token's bound; none for all that the person may.
    pub(crate) at_most: Option<Role>,
    pub(crate) via: Via,
}

/// How a person proved who they are.
#[derive(Debug, Clone)]
pub(crate) enum Via {
    Session(Session),
    Token(String),
}

impl Principal {
    /// The role on a group; none when the group does not exist for this principal.
    pub(crate) fn role_on(&self, group: GroupId) -> Option<Role> {
        match self {
            Self::Person(person) => {
                let role =
                    if person.user.administrator { Role::Owner } else { *person.grants.get(&group)? };
                Some(person.at_most.map_or(role, |most| role.min(most)))
            }
            // A worker token sees its group; what else it may, each operation says.
            Self::Worker { group: own, .. } => (*own == group).then_some(Role::Viewer),
        }
    }

    /// Whether everything is allowed.
    pub(crate) fn is_administrator(&self) -> bool {
        matches!(self, Self::Person(person) if person.user.administrator && person.at_most.is_none())
    }

    /// The groups that exist for this principal; none for all.
    pub(crate) fn visible_groups(&self) -> Option<Vec<GroupId>> {
        match self {
            Self::Person(person) if person.user.administrator => None,
            Self::Person(person) => Some(person.grants.keys().copied().collect()),
            Self::Worker { group, .. } => Some(vec![*group]),
        }
    }

    /// What the audit trail calls it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Person(person) => match &person.via {
                Via::Session(_) => person.user.name.clone(),
                Via::Token(token) => format!("{} (token {token})", person.user.name),
            },
            Self::Worker { name, .. } => format!("worker token {name}"),
        }
    }
}

/// What a handler is given: who asks, what the path named, and where to note what was done.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) principal: Principal,
    pub(crate) named: Named,
    pub(crate) note: Note,
    /// The address of the requester.
    pub(crate) source: String,
}

/// What the path named, read by the guard.
#[derive(Debug, Clone)]
pub(crate) enum Named {
    Nothing,
    Group(GroupId),
    Job(Box<Job>),
    Run(Box<Run>),
}

impl Named {
    /// The group that it is or belongs to.
    pub(crate) fn group(&self) -> Option<GroupId> {
        match self {
            Self::Nothing => None,
            Self::Group(group) => Some(*group),
            Self::Job(job) => Some(job.spec.group),
            Self::Run(run) => Some(run.shard.group()),
        }
    }
}

impl Access {
    /// The person who asks.
    pub(crate) fn person(&self) -> Result<&Person> {
        match &self.principal {
            Principal::Person(person) => Ok(person),
            Principal::Worker { .. } => Err(Problem::forbidden("a worker token is not a person")),
        }
    }

    /// Refuses unless the principal has `role` on a group that the path does not name.
    pub(crate) fn require(&self, role: Role, group: GroupId) -> Result<()> {
        require(&self.principal, role, group, false)?;
        self.note.group(group);
        Ok(())
    }

    /// The groups to list: all visible ones, or the one asked for. An invisible one is as if it did not exist.
    pub(crate) fn groups(&self, asked: Option<GroupId>) -> Result<Option<Vec<GroupId>>> {
        match asked {
            None => Ok(self.principal.visible_groups()),
            Some(group) => {
                require(&self.principal, Role::Viewer, group, true)?;
                Ok(Some(vec![group]))
            }
        }
    }

    /// The group named by the path.
    pub(crate) fn group(&self) -> GroupId {
        self.named.group().expect("only operations whose path names a group ask for it")
    }

    /// The job named by the path.
    pub(crate) fn job(&self) -> &Job {
        match &self.named {
            Named::Job(job) => job,
            _ => unreachable!("only operations whose path names a job ask for it"),
        }
    }

    /// The run named by the path.
    pub(crate) fn run(&self) -> &Run {
        match &self.named {
            Named::Run(run) => run,
            _ => unreachable!("only operations whose path names a run ask for it"),
        }
    }
}

/// Refuses unless `principal` has `role` on `group`; a worker token passes for its own group where `worker` says so.
pub(crate) fn require(principal: &Principal, role: Role, group: GroupId, worker: bool) -> Result<()> {
    let Some(has) = principal.role_on(group) else {
        return Err(Problem::not_found("task group", group));
    };
    if has >= role || (worker && matches!(principal, Principal::Worker { .. })) {
        return Ok(());
    }
    Err(Problem::forbidden(format!("this needs the role {role} on task group {group}; yours is {has}"))
        .with("needed_role", role.as_str()))
}

/// Where a handler notes what it did, for the audit trail.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note(Arc<Mutex<NoteContent>>);

/// What was noted.
#[derive(Debug, Clone, Default)]
pub(crate) struct NoteContent {
    pub(crate) actor: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) group: Option<GroupId>,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

impl Note {
    fn with(&self, write: impl FnOnce(&mut NoteContent)) {
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn actor(&self, name: impl Into<String>) {
        self.with(|note| note.actor = Some(name.into()));
    }

    pub(crate) fn target(&self, target: impl Into<String>) {
        self.with(|note| note.target = Some(target.into()));
    }

    pub(crate) fn group(&self, group: GroupId) {
        self.with(|note| note.group = Some(group));
    }

    pub(crate) fn before(&self, value: Value) {
        self.with(|note| note.before = Some(value));
    }

    pub(crate) fn after(&self, value: Value) {
        self.with(|note| note.after = Some(value));
    }

    pub(crate) fn content(&self) -> NoteContent {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
