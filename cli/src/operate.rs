//! The operators' commands: each asks the console over REST and shows the answer.

mod accounts;
mod documents;
mod groups;
mod jobs;
mod runs;
mod servers;

use std::future::Future;

use carillon_core::ids::GroupId;
use serde_json::Value;

use crate::api::Api;
use crate::args::{Command, DescribeArgs, GetArgs, Kind, Remote, ServerAction};
use crate::failure::{Failure, Outcome};
use crate::output;

/// Runs an operators' command to its end.
pub(crate) fn run(command: Command) -> Outcome {
    match command {
        Command::Group(args) => ask(&args.remote, |api| groups::run(api, args.remote.output, args.action)),
        Command::Job(args) => ask(&args.remote, |api| jobs::run(api, args.remote.output, args.action)),
        Command::Run(args) => ask(&args.remote, |api| runs::run(api, args.remote.output, args.action)),
        Command::Shard(args) => {
            ask(&args.remote, |api| servers::shards(api, args.remote.output, args.action))
        }
        Command::Worker(args) => {
            ask(&args.remote, |api| servers::workers(api, args.remote.output, args.action))
        }
        Command::DeadLetter(args) => {
            ask(&args.remote, |api| runs::dead_letters(api, args.remote.output, args.action))
        }
        Command::User(args) => ask(&args.remote, |api| accounts::users(api, args.remote.output, args.action)),
        Command::Token(args) => {
            ask(&args.remote, |api| accounts::tokens(api, args.remote.output, args.action))
        }
        Command::Grant(args) => {
            ask(&args.remote, |api| accounts::grants(api, args.remote.output, args.action))
        }
        Command::Audit(args) => {
            ask(&args.remote, |api| accounts::audit(api, args.remote.output, args.action))
        }
        Command::Get(args) => ask(&args.remote.clone(), |api| get(api, args)),
        Command::Describe(args) => ask(&args.remote.clone(), |api| describe(api, args)),
        Command::Apply(args) => ask(&args.remote.clone(), |api| documents::apply(api, args)),
        Command::Diff(args) => ask(&args.remote.clone(), |api| documents::diff(api, args)),
        Command::Delete(args) => ask(&args.remote.clone(), |api| documents::delete(api, args)),
        other => unreachable!("{other:?} is not an operators' command"),
    }
}

pub(crate) use documents::apply_quietly;
pub(crate) use jobs::job_id;

/// `carillon server list|get|drain`.
pub(crate) fn server(action: ServerAction) -> Outcome {
    let remote = action.remote().clone();
    ask(&remote, |api| servers::run(api, remote.output, action))
}

impl ServerAction {
    fn remote(&self) -> &Remote {
        match self {
            Self::List { remote } | Self::Get { remote, .. } | Self::Drain { remote, .. } => remote,
        }
    }
}

fn ask<F: Future<Output = Outcome>>(remote: &Remote, doing: impl FnOnce(Api) -> F) -> Outcome {
    let api = Api::new(remote)?;
    // One thread is plenty for one conversation.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(doing(api))
}

async fn get(api: Api, args: GetArgs) -> Outcome {
    let format = args.remote.output;
    let (columns, path) = match args.kind {
        Kind::Group => (groups::COLUMNS, "/groups"),
        Kind::Job => (jobs::COLUMNS, "/jobs"),
        Kind::Run => (runs::COLUMNS, "/runs"),
        Kind::Server => (servers::COLUMNS, "/servers"),
        Kind::User => (accounts::USER_COLUMNS, "/users"),
    };
    match args.name {
        Some(name) => output::show_one(format, columns, &find(&api, args.kind, &name).await?),
        None => output::show_list(format, columns, &api.list(path, &[], args.limit.limit).await?),
    }
}

async fn describe(api: Api, args: DescribeArgs) -> Outcome {
    let found = find(&api, args.kind, &args.name).await?;
    output::describe(args.remote.output, &found)
}

async fn find(api: &Api, kind: Kind, name: &str) -> Outcome<Value> {
    match kind {
        Kind::Group => groups::find(api, name).await,
        Kind::Job => Ok(jobs::find(api, name).await?.body),
        Kind::Run => Ok(api.get(&format!("/runs/{}", segment(name)?), &[]).await?.body),
        Kind::Server => servers::find(api, name).await,
        Kind::User => accounts::find(api, name).await,
    }
}

/// A name as one segment of a path. What our ids cannot hold is refused here, so that no path is built from it.
fn segment(name: &str) -> Outcome<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !name.is_empty() && name.bytes().all(plain) && name != "." && name != ".." {
        return Ok(name);
    }
    Err(Failure::Usage(format!("{name:?} is not an id: letters, digits, '-', '_' and '.'")))
}

/// The query of a list: what was given, in the names of the API.
fn query<'a>(given: &[(&'a str, &'a Option<String>)]) -> Vec<(&'a str, &'a str)> {
    given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect()
}

/// The id of a group that was given by id or by name.
pub(crate) async fn group_id(api: &Api, group: &str) -> Outcome<String> {
    if group.parse::<GroupId>().is_ok() {
        return Ok(group.to_owned());
    }
    Ok(output::text(&groups::find(api, group).await?, "id"))
}

/// The same where a group may be given.
async fn group_id_if_any(api: &Api, group: Option<String>) -> Outcome<Option<String>> {
    match group {
        Some(group) => Ok(Some(group_id(api, &group).await?)),
        None => Ok(None),
    }
}
