//! `carillon user ...`, `token ...`, `grant ...` and `audit ...`

use std::io::{BufRead, IsTerminal};

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::groups::set;
use super::{group_id, group_id_if_any, query};
use crate::api::Api;
use crate::args::{AuditAction, GrantAction, TokenAction, UserAction};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Column, Format, put, say, text};

pub(super) const USER_COLUMNS: &[Column] = &[
    Column::new("ID", |user| text(user, "id")),
    Column::new("NAME", |user| text(user, "name")),
    Column::new("DISPLAY NAME", |user| text(user, "display_name")),
    Column::new("ADMINISTRATOR", |user| yes_or_no(&user["administrator"])),
    Column::new("DISABLED", |user| yes_or_no(&user["disabled"])),
    Column::wide("REVISION", |user| text(user, "revision")),
    Column::wide("CREATED", |user| text(user, "created_at")),
];

const TOKEN_COLUMNS: &[Column] = &[
    Column::new("ID", |token| text(token, "id")),
    Column::new("NAME", |token| text(token, "name")),
    Column::new("PREFIX", |token| text(token, "prefix")),
    Column::new("SCOPE", |token| text(token, "scope")),
    Column::new("EXPIRES", |token| text(token, "expires_at")),
    Column::wide("LAST USED", |token| text(token, "last_used_at")),
    Column::wide("CREATED BY", |token| text(token, "created_by")),
];

const GRANT_COLUMNS: &[Column] = &[
    Column::new("USER", |grant| text(grant, "user")),
    Column::new("GROUP", |grant| text(grant, "group")),
    Column::new("ROLE", |grant| text(grant, "role")),
    Column::wide("BY", |grant| text(grant, "granted_by")),
    Column::wide("SINCE", |grant| text(grant, "granted_at")),
];

const AUDIT_COLUMNS: &[Column] = &[
    Column::new("AT", |entry| text(entry, "at")),
    Column::new("ACTOR", |entry| text(entry, "actor")),
    Column::new("ACTION", |entry| text(entry, "action")),
    Column::new("TARGET", |entry| text(entry, "target")),
    Column::new("OUTCOME", |entry| text(entry, "outcome")),
    Column::wide("GROUP", |entry| text(entry, "group")),
    Column::wide("SOURCE", |entry| text(entry, "source")),
];

pub(super) async fn users(api: Api, format: Format, action: UserAction) -> Outcome {
    match action {
        UserAction::List { limit } => {
            output::show_list(format, USER_COLUMNS, &api.list("/users", &[], limit.limit).await?)
        }
        UserAction::Get { user } => output::show_one(format, USER_COLUMNS, &find(&api, &user).await?),
        UserAction::Create { name, display_name, administrator, password: with_password } => {
            let mut body = json!({"name": name, "administrator": administrator});
            set(&mut body, "display_name", display_name.map(Value::from));
            if with_password {
                set(&mut body, "password", Some(password()?.into()));
            }
            let user = api.post("/users", Some(&body)).await?.body;
            if let Some(password) = user["password"].as_str() {
                say(&format!("the password of {name} is {password}; it is shown only now"));
            }
            output::show_one(format, USER_COLUMNS, &user)
        }
        UserAction::Update { user, display_name, administrator, disabled, password: with_password } => {
            let mut body = Value::Object(Map::new());
            set(&mut body, "display_name", display_name.map(Value::from));
            set(&mut body, "administrator", administrator.map(Value::from));
            set(&mut body, "disabled", disabled.map(Value::from));
            if with_password {
                set(&mut body, "password", Some(password()?.into()));
            }
            if body == json!({}) {
                return Err(Failure::Usage("nothing to change: give at least one flag".to_owned()));
            }
            let path = format!("/users/{}", user_id(&api, &user).await?);
            let etag = api.get(&path, &[]).await?.etag;
            let changed = api.write(Method::PATCH, &path, etag.as_deref(), Some(&body)).await?.body;
            output::show_one(format, USER_COLUMNS, &changed)
        }
        UserAction::Delete { user } => {
            let path = format!("/users/{}", user_id(&api, &user).await?);
            let etag = api.get(&path, &[]).await?.etag;
            api.write(Method::DELETE, &path, etag.as_deref(), None).await?;
            say(&format!("deleted user {user}"));
            Ok(())
        }
    }
}

/// A user by sign-in name or number.
pub(super) async fn find(api: &Api, user: &str) -> Outcome<Value> {
    if user.parse::<u64>().is_ok() {
        return Ok(api.get(&format!("/users/{user}"), &[]).await?.body);
    }
    // More people than that do not run one scheduler.
    const ALL: usize = 10_000;
    let users = api.list("/users", &[], ALL).await?;
    users
        .into_iter()
        .find(|known| text(known, "name").eq_ignore_ascii_case(user))
        .ok_or_else(|| Failure::NotFound(format!("there is no user {user:?}")))
}

async fn user_id(api: &Api, user: &str) -> Outcome<String> {
    Ok(text(&find(api, user).await?, "id"))
}

pub(super) async fn tokens(api: Api, format: Format, action: TokenAction) -> Outcome {
    match action {
        TokenAction::List { group, limit } => {
            let group = group_id_if_any(&api, group).await?;
            let tokens = api.list("/tokens", &query(&[("group", &group)]), limit.limit).await?;
            output::show_list(format, TOKEN_COLUMNS, &tokens)
        }
        TokenAction::Create { name, worker_of, at_most, expires_in } => {
            let mut body = json!({ "name": name });
            if let Some(group) = worker_of {
                set(&mut body, "worker_of", Some(group_id(&api, &group).await?.into()));
            }
            set(&mut body, "at_most", at_most.map(Value::from));
            set(&mut body, "expires_in", expires_in.map(|span| span.to_string().into()));
            let made = api.post("/tokens", Some(&body)).await?.body;
            match format {
                Format::Json | Format::Yaml => output::show_one(format, TOKEN_COLUMNS, &made),
                // Only the token on stdout, so that it can go straight into a file.
                Format::Table | Format::Wide | Format::Id => {
                    say(&format!("token {} ({name}); it is shown only now", text(&made, "id")));
                    put(&text(&made, "token"))
                }
            }
        }
        TokenAction::Delete { token } => {
            api.write(Method::DELETE, &format!("/tokens/{token}"), None, None).await?;
            say(&format!("deleted token {token}"));
            Ok(())
        }
    }
}

pub(super) async fn grants(api: Api, format: Format, action: GrantAction) -> Outcome {
    match action {
        GrantAction::List { group, user } => {
            let group = group_id_if_any(&api, group).await?;
            let user = match user {
                Some(user) => Some(user_id(&api, &user).await?),
                None => None,
            };
            const ALL: usize = 10_000;
            let grants = api.list("/grants", &query(&[("group", &group), ("user", &user)]), ALL).await?;
            output::show_list(format, GRANT_COLUMNS, &grants)
        }
        GrantAction::Create { user, group, role } => {
            let body = json!({
                "user": user_id(&api, &user).await?, "group": group_id(&api, &group).await?, "role": role,
            });
            let grant = api.write(Method::PUT, "/grants", None, Some(&body)).await?.body;
            output::show_one(format, GRANT_COLUMNS, &grant)
        }
        GrantAction::Delete { user, group } => {
            let (user_id, group_id) = (user_id(&api, &user).await?, group_id(&api, &group).await?);
            let query = [("user", user_id.as_str()), ("group", group_id.as_str())];
            api.send(Method::DELETE, "/grants", &query, None, &[]).await?;
            say(&format!("{user} has no role of its own on {group_id} any more"));
            Ok(())
        }
    }
}

pub(super) async fn audit(api: Api, format: Format, action: AuditAction) -> Outcome {
    let AuditAction::List { group, target, actor, action, limit } = action;
    let group = group_id_if_any(&api, group).await?;
    let query = query(&[("group", &group), ("target", &target), ("actor", &actor), ("action", &action)]);
    output::show_list(format, AUDIT_COLUMNS, &api.list("/audit", &query, limit.limit).await?)
}

/// A password from stdin: never from the command line, where every process can read it.
fn password() -> Outcome<String> {
    let mut stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        say("password (shown as you type; pipe it in to avoid that):");
    }
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::Usage("no password came on stdin".to_owned()));
    }
    Ok(password.to_owned())
}

fn yes_or_no(value: &Value) -> String {
    if value == &Value::Bool(true) { "yes" } else { "no" }.to_owned()
}
