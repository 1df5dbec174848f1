//! The table of operations: each handler is entered once, with what it needs and what the audit trail calls it. From the table come the
//! router, the guards and the API's description, so that none of them can forget one.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use carillon_core::ids::{GroupId, JobId, RunKey};
use carillon_store::accounts::{AuditEntry, Role};
use futures::FutureExt;
use utoipa::__dev::SchemaReferences;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{self, RefOr};

use crate::audit;
use crate::auth::session::authenticate;
use crate::auth::{Access, Named, Note, Principal, require};
use crate::console::Console;
use crate::problem::{Problem, ProblemCode, Result};

/// What a request must bring to be let through. The path's `{group}`, `{job}` or `{run}` says which task group a role is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: anybody may.
    Nothing,
    /// A signed-in person or any token; the handler shows only what is visible to it.
    AnyToken,
    /// A signed-in person, or a token that acts as one.
    Person,
    /// A role on the group that the path names.
    Role(Role),
    /// The same, or a worker token of that group.
    RoleOrWorker(Role),
    /// A role on a group that the body or the query names: the handler checks it.
    RoleInRequest(Role),
    /// An administrator.
    Administrator,
}

impl Need {
    /// The sentence for the API's description.
    pub(crate) fn sentence(self) -> String {
        match self {
            Self::Nothing => "Needs no sign-in.".into(),
            Self::AnyToken => "Needs a sign-in or any token; shows what is visible to it.".into(),
            Self::Person => "Needs a sign-in or a personal token.".into(),
            Self::Role(role) | Self::RoleInRequest(role) => {
                format!("Needs the role `{role}` on the task group.")
            }
            Self::RoleOrWorker(role) => {
                format!("Needs the role `{role}` on the task group, or a worker token of it.")
            }
            Self::Administrator => "Needs an administrator.".into(),
        }
    }
}

/// One operation of the API.
pub(crate) struct Operation {
    pub(crate) method: HttpMethod,
    pub(crate) path: String,
    pub(crate) need: Need,
    /// The word for the audit trail; none for what changes nothing.
    pub(crate) audited: Option<&'static str>,
    pub(crate) described: openapi::path::Operation,
    pub(crate) schemas: Vec<(String, RefOr<Schema>)>,
    router: MethodRouter<Arc<Console>>,
}

/// The table.
#[derive(Default)]
pub(crate) struct Operations(pub(crate) Vec<Operation>);

impl Operations {
    /// Enters a handler that changes nothing. `P` is what `#[utoipa::path]` made beside it.
    pub(crate) fn read<P, H, T>(&mut self, handler: H, need: Need)
    where
        P: utoipa::Path + SchemaReferences,
        H: Handler<T, Arc<Console>>,
        T: 'static,
    {
        self.enter::<P, H, T>(handler, need, None);
    }

    /// Enters a handler that changes something, with its word for the audit trail.
    pub(crate) fn write<P, H, T>(&mut self, handler: H, need: Need, audited: &'static str)
    where
        P: utoipa::Path + SchemaReferences,
        H: Handler<T, Arc<Console>>,
        T: 'static,
    {
        self.enter::<P, H, T>(handler, need, Some(audited));
    }

    fn enter<P, H, T>(&mut self, handler: H, need: Need, audited: Option<&'static str>)
    where
        P: utoipa::Path + SchemaReferences,
        H: Handler<T, Arc<Console>>,
        T: 'static,
    {
        let mut schemas = Vec::new();
        P::schemas(&mut schemas);
        let method = P::methods().into_iter().next().expect("a described operation has a method");
        let router = on(filter(&method), handler);
        let (path, described) = (P::path(), P::operation());
        self.0.push(Operation { method, path, need, audited, described, schemas, router });
    }

    /// The router with a guard before each handler.
    pub(crate) fn router(self, console: &Arc<Console>) -> Router<Arc<Console>> {
        self.0.into_iter().fold(Router::new(), |router, operation| {
            let guard =
                Guard { console: Arc::clone(console), need: operation.need, audited: operation.audited };
            router.route(
                &operation.path,
                operation.router.layer(middleware::from_fn_with_state(guard, stand_guard)),
            )
        })
    }
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Options => MethodFilter::OPTIONS,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Trace => MethodFilter::TRACE,
    }
}

#[derive(Clone)]
struct Guard {
    console: Arc<Console>,
    need: Need,
    audited: Option<&'static str>,
}

/// Lets a request through or refuses it, and sees to its audit entry.
async fn stand_guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let note = Note::default();
    let source = guard.console.source_of(&request);
    let work = serve(guard.clone(), request, next, note.clone(), source.clone());
    let Some(action) = guard.audited else { return work.await };
    // A write goes on to its end, audit entry included, even when the requester hangs up.
    let write = async move {
        let response = work.await;
        let content = note.content();
        // Requests without any identity are answered 401 and not recorded: they would let anybody fill the trail.
        if let Some(actor) = content.actor {
            let outcome = response.extensions().get::<ProblemCode>().map_or("ok", |code| code.0);
            let entry = AuditEntry {
                id: 0,
                at: guard.console.now(),
                actor,
                source,
                action: action.to_owned(),
                target: content.target.unwrap_or_default(),
                group: content.group,
                outcome: outcome.to_owned(),
                before: content.before.map(audit::as_kept),
                after: content.after.map(audit::as_kept),
            };
            guard.console.audit.append(&guard.console.store, entry).await;
        }
        response
    };
    match tokio::spawn(write).await {
        Ok(response) => response,
        Err(error) => Problem::internal("finish the request", &error).into_response(),
    }
}

async fn serve(guard: Guard, request: Request, next: Next, note: Note, source: String) -> Response {
    let (mut parts, body) = request.into_parts();
    let access = match guard.let_through(&mut parts, note, source).await {
        Ok(access) => access,
        Err(problem) => return problem.into_response(),
    };
    parts.extensions.insert(access);
    let answer = AssertUnwindSafe(next.run(Request::from_parts(parts, body))).catch_unwind().await;
    answer.unwrap_or_else(|panic| panicked(&*panic))
}

/// The answer of a handler that panicked, which is always a bug of ours.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Response {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("without words"), "a handler panicked");
    let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
    Problem::new(status, "internal", "the request met a bug; the log of the console says which")
        .into_response()
}

impl Guard {
    async fn let_through(&self, parts: &mut Parts, note: Note, source: String) -> Result<Access> {
        let console = &self.console;
        if self.need == Need::Nothing {
            let principal = Principal::Worker { group: nowhere(), name: String::new() };
            return Ok(Access { principal, named: Named::Nothing, note, source });
        }
        let principal = authenticate(console, parts).await?.ok_or_else(|| {
            Problem::unauthenticated("sign in, or send an API token as `Authorization: Bearer cri_pat_...`")
        })?;
        note.actor(principal.name());
        note.target(target_of(parts).await);
        let is_worker = matches!(principal, Principal::Worker { .. });
        let worker_may = matches!(self.need, Need::AnyToken | Need::RoleOrWorker(_));
        if is_worker && !worker_may {
            return Err(Problem::forbidden("a worker token may not do this"));
        }
        if self.need == Need::Administrator && !principal.is_administrator() {
            return Err(Problem::forbidden("this needs an administrator"));
        }
        let named = self.named(parts, &principal).await?;
        if let Some(group) = named.group() {
            note.group(group);
        }
        if let Need::Role(role) | Need::RoleOrWorker(role) = self.need {
            let group = named.group().expect("an operation that needs a role on the path's group names one");
            require(&principal, role, group, worker_may)?;
        }
        Ok(Access { principal, named, note, source })
    }

    /// Reads what the path names. What is not visible to the principal is as if it did not exist.
    async fn named(&self, parts: &mut Parts, principal: &Principal) -> Result<Named> {
        let params = RawPathParams::from_request_parts(parts, &())
            .await
            .map_err(|_| Problem::not_found("page at", parts.uri.path()))?;
        for (name, text) in &params {
            let named = match name {
                "group" => match text.parse::<GroupId>() {
                    Ok(group) => Some(Named::Group(group)),
                    Err(_) => return Err(Problem::not_found("task group", text)),
                },
                "job" => {
                    let id = text.parse().ok().map(JobId::new);
                    let job = match id {
                        Some(id) => self.console.store.job(id).await?,
                        None => None,
                    };
                    let job = job.filter(|job| principal.role_on(job.spec.group).is_some());
                    Some(Named::Job(Box::new(job.ok_or_else(|| Problem::not_found("job", text))?)))
                }
                "run" => {
                    let run = match text.parse::<RunKey>() {
                        Ok(key) => self.console.store.run(key).await?,
                        Err(_) => None,
                    };
                    let run = run.filter(|run| principal.role_on(run.shard.group()).is_some());
                    Some(Named::Run(Box::new(run.ok_or_else(|| Problem::not_found("run", text))?)))
                }
                _ => None,
            };
            if let Some(named) = named {
                return Ok(named);
            }
        }
        Ok(Named::Nothing)
    }
}

/// What an audit entry says was concerned, unless the handler says it better: what the path names, such as `job/17`, whatever is done to
/// it, so that one filter finds all of its entries; else the path below the API's root.
async fn target_of(parts: &mut Parts) -> String {
    let params = RawPathParams::from_request_parts(parts, &()).await.ok();
    let named = params.as_ref().and_then(|params| params.iter().next());
    let path = parts.uri.path();
    let target = match named {
        Some((kind, name)) => format!("{kind}/{name}"),
        None => path.strip_prefix(crate::router::API).unwrap_or(path).trim_start_matches('/').to_owned(),
    };
    target.chars().take(200).collect()
}

/// A group that cannot exist in a store: for the principal of requests that need none.
fn nowhere() -> GroupId {
    GroupId::new(u32::MAX >> 1, u32::MAX >> 1, 1, u32::MAX >> 1).expect("within the bounds of its parts")
}

impl<S: Send + Sync> FromRequestParts<S> for Access {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        Ok(parts
            .extensions
            .get::<Access>()
            .cloned()
            .expect("the guard stands before every handler of the table"))
    }
}
