//! The calls a console makes, in the core's words; protobuf stays in here.

use std::time::Duration;

use carillon_coordination::Member;
use carillon_core::ids::{JobId, JobsVersion, RunKey, ShardId, TraceId};
use carillon_core::time::{Span, Timestamp};
use carillon_proto::v1;
use carillon_store::shards::ShardRow;
use serde_json::Value;
use tonic::{Code, Response, Status};

use super::{CALL_DEADLINE, Client, Servers};
use crate::metrics::Metrics;
use crate::problem::{Problem, Result};

/// How many servers a request tries: the owner, a standby and one more; if three do not answer, a person should know.
const MOST_TRIED: usize = 3;

/// How long a request follows a shard that changes hands: a killed owner's session lasts 6 s unless configured, and its heir reads the shard.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks for the owner.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(100);

/// Where a server that does not own the shard names the one that does.
const OWNER_KEY: &str = "carillon-owner";

/// Why a round of asking gave no answer.
enum Unanswered {
    /// Every server that answered says that another one owns the shard.
    Elsewhere(Status),
    /// None did, for a reason that asking again will not mend at once.
    Problem(Problem),
}

/// Servers withdraw armed runs within this time, or the edit is answered with what may still start.
pub(crate) const EDIT_DEADLINE: Duration = Duration::from_secs(2);

/// How long a page waits for who armed a run.
const ARMS_DEADLINE: Duration = Duration::from_millis(200);

/// What a server made of a trigger.
#[derive(Debug, Clone)]
pub(crate) struct Triggered {
    pub(crate) run: RunKey,
    pub(crate) created: bool,
    pub(crate) warning: String,
}

/// A trigger request.
#[derive(Debug, Clone)]
pub(crate) struct TriggerCall {
    pub(crate) job: JobId,
    pub(crate) idempotency_key: String,
    pub(crate) params: Option<Value>,
    pub(crate) requested_by: String,
    pub(crate) trace: Option<TraceId>,
}

impl Servers {
    /// Triggers a job: at the owner of its shard if it answers, else at any holder or live server. Safe to repeat by its key.
    pub(crate) async fn trigger(
        &self,
        metrics: &Metrics,
        shard: &ShardRow,
        call: TriggerCall,
    ) -> Result<Triggered> {
        let request = v1::TriggerRequest {
            job: call.job.get(),
            shard: shard.id.to_string(),
            idempotency_key: call.idempotency_key,
            params: call.params.map(|params| params.to_string().into()),
            requested_by: call.requested_by,
            trace_id: call.trace.map(|trace| trace.get().to_be_bytes().to_vec().into()).unwrap_or_default(),
        };
        let answer = self
            .at_any(metrics, "trigger", shard, |mut client| {
                let request = request.clone();
                async move { client.trigger(request).await }
            })
            .await?;
        let run =
            answer.run.as_ref().map(run_of).ok_or_else(|| no_server("a server answered without the run"))?;
        Ok(Triggered { run, created: answer.created, warning: answer.warning })
    }

    /// Cancels a run; returns its state afterwards.
    pub(crate) async fn cancel(
        &self,
        metrics: &Metrics,
        shard: &ShardRow,
        run: RunKey,
        by: &str,
    ) -> Result<String> {
        let request =
            v1::CancelRunRequest { run: Some(run_ref(run)), shard: shard.id.to_string(), by: by.to_owned() };
        let answer = self
            .at_any(metrics, "cancel_run", shard, |mut client| {
                let request = request.clone();
                async move { client.cancel_run(request).await }
            })
            .await?;
        Ok(answer.state)
    }

    /// Makes a dead letter due again; returns the number of its next attempt.
    pub(crate) async fn retry(
        &self,
        metrics: &Metrics,
        shard: &ShardRow,
        run: RunKey,
        by: &str,
        failed_subtasks_only: bool,
    ) -> Result<u32> {
        let request = v1::RetryRunRequest {
            run: Some(run_ref(run)),
            shard: shard.id.to_string(),
            by: by.to_owned(),
            failed_subtasks_only,
        };
        let answer = self
            .at_any(metrics, "retry_run", shard, |mut client| {
                let request = request.clone();
                async move { client.retry_run(request).await }
            })
            .await?;
        Ok(answer.attempt)
    }

    /// Tells one server of an edit; returns the runs that may still start.
    pub(crate) async fn job_changed(
        &self,
        metrics: &Metrics,
        server: &Member,
        shard: ShardId,
        jobs_version: JobsVersion,
        job: JobId,
        touched: &[RunKey],
    ) -> Result<Vec<RunKey>, Status> {
        let request = v1::JobChangedRequest {
            shard: shard.to_string(),
            jobs_version: jobs_version.get(),
            touched: touched.iter().copied().map(run_ref).collect(),
            job: job.get(),
        };
        let mut client = self.client(&server.address)?;
        let answer = within(EDIT_DEADLINE, client.job_changed(request)).await;
        metrics.server_call("job_changed", answer.as_ref().err().map_or(Code::Ok, Status::code));
        Ok(answer?.may_start.iter().map(run_of).collect())
    }

    /// Asks one server to hand its shards over; returns how many it had.
    pub(crate) async fn drain(&self, metrics: &Metrics, server: &Member) -> Result<u32> {
        let mut client = self.client(&server.address).map_err(refusal)?;
        let answer = within(CALL_DEADLINE, client.drain(v1::DrainRequest {})).await;
        metrics.server_call("drain", answer.as_ref().err().map_or(Code::Ok, Status::code));
        Ok(answer.map_err(refusal)?.shards)
    }

    /// The live progress of a parallel run, from the server that drives it; none when nobody does or it does not answer.
    pub(crate) async fn map_progress(&self, shard: &ShardRow, run: RunKey) -> Option<v1::MapProgressAnswer> {
        let servers = self.for_shard(shard).await.ok()?;
        for server in servers.iter().take(MOST_TRIED) {
            let Ok(mut client) = self.client(&server.address) else { continue };
            let request = v1::MapProgressRequest { run: Some(run_ref(run)) };
            // Only decoration beside what the store knows: a second is as long as a page should wait.
            match within(Duration::from_secs(1), client.map_progress(request)).await {
                Ok(answer) if answer.known => return Some(answer),
                _ => {}
            }
        }
        None
    }

    /// Which servers armed the run's attempts when, as far as those of its shard remember.
    pub(crate) async fn arms(&self, shard: &ShardRow, run: RunKey) -> Vec<(String, v1::Armed)> {
        let servers = self.for_shard(shard).await.unwrap_or_default();
        let asked = servers.iter().take(MOST_TRIED).map(|server| async {
            let mut client = self.client(&server.address).ok()?;
            let request = v1::ArmsRequest { run: Some(run_ref(run)) };
            // Only decoration: a server that hangs must not hold up the page.
            let answer = within(ARMS_DEADLINE, client.arms(request)).await.ok()?;
            Some(answer.arms.into_iter().map(|armed| (server.id.to_string(), armed)))
        });
        futures::future::join_all(asked).await.into_iter().flatten().flatten().collect()
    }

    /// Asks the servers of a shard in turn until one gives a definite answer.
    async fn at_any<T, F, A>(
        &self,
        metrics: &Metrics,
        call: &'static str,
        shard: &ShardRow,
        ask: F,
    ) -> Result<T>
    where
        F: Fn(Client) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let mut owner = None;
        let began = tokio::time::Instant::now();
        loop {
            let asked = self.ask_round(metrics, call, shard, &ask, &mut owner).await;
            // While a shard changes hands its servers point at each other: the next look finds the owner.
            match asked {
                Err(Unanswered::Elsewhere(status)) if began.elapsed() > HANDOVER_PATIENCE => {
                    return Err(no_server(status.message()));
                }
                Err(Unanswered::Elsewhere(_)) => tokio::time::sleep(BETWEEN_ROUNDS).await,
                Err(Unanswered::Problem(problem)) => return Err(problem),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// Asks each server of a shard once, the named owner first.
    async fn ask_round<T, F, A>(
        &self,
        metrics: &Metrics,
        call: &'static str,
        shard: &ShardRow,
        ask: &F,
        owner: &mut Option<String>,
    ) -> std::result::Result<T, Unanswered>
    where
        F: Fn(Client) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let mut servers = self.for_shard(shard).await.map_err(Unanswered::Problem)?;
        servers.sort_by_key(|server| Some(server.id.as_str()) != owner.as_deref());
        let (mut last, mut elsewhere) = (None, None);
        for server in servers.iter().take(MOST_TRIED) {
            let answer = match self.client(&server.address) {
                Ok(client) => within(CALL_DEADLINE, ask(client)).await,
                Err(status) => Err(status),
            };
            metrics.server_call(call, answer.as_ref().err().map_or(Code::Ok, Status::code));
            match answer {
                Ok(answer) => return Ok(answer),
                Err(status) if owner_named_by(&status).is_some() => {
                    *owner = owner_named_by(&status).map(str::to_owned);
                    elsewhere = Some(status);
                }
                Err(status) if is_passing(status.code()) => {
                    tracing::warn!(call, server = %server.id, code = ?status.code(), message = status.message(), "a server did not answer");
                    last = Some(status);
                }
                Err(status) => return Err(Unanswered::Problem(refusal(status))),
            }
        }
        if let Some(status) = elsewhere {
            return Err(Unanswered::Elsewhere(status));
        }
        Err(Unanswered::Problem(match last {
            None => {
                no_server(&format!("no server of server group {} is live", shard.id.group().server_group()))
            }
            Some(status) => {
                no_server(&format!("no server answered, the last one said: {}", status.message()))
            }
        }))
    }
}

/// The owner that a server names which does not own the shard itself; a server that refuses for another reason names none.
pub(crate) fn owner_named_by(status: &Status) -> Option<&str> {
    status.metadata().get(OWNER_KEY)?.to_str().ok()
}

/// Whether another server may do what this one did not.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Aborted
            | Code::Unimplemented
    )
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("no answer within {} s", deadline.as_secs()))),
    }
}

fn no_server(detail: &str) -> Problem {
    Problem::unavailable("no_server", detail, Span::from_secs(2))
}

/// A server's definite refusal as a problem.
fn refusal(status: Status) -> Problem {
    use axum::http::StatusCode;
    let said = status.message().to_owned();
    match status.code() {
        Code::NotFound => Problem::new(StatusCode::NOT_FOUND, "not_found", said),
        Code::InvalidArgument | Code::OutOfRange => {
            Problem::invalid(vec![carillon_core::job::FieldError::new("", said)])
        }
        Code::FailedPrecondition | Code::AlreadyExists => Problem::conflict("not_possible_now", said),
        Code::ResourceExhausted => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_much", said).retry_after(Span::SECOND)
        }
        Code::Internal | Code::DataLoss => Problem::internal("get an answer of a server", &status),
        _ => no_server(&said),
    }
}

/// A run's key on the wire.
pub(crate) fn run_ref(key: RunKey) -> v1::RunRef {
    v1::RunRef { fire_time_ms: key.fire_time.as_millis(), job: key.job.get(), ordinal: key.ordinal }
}

/// A run's key from the wire.
pub(crate) fn run_of(run: &v1::RunRef) -> RunKey {
    RunKey {
        fire_time: Timestamp::from_millis(run.fire_time_ms),
        job: JobId::new(run.job),
        ordinal: run.ordinal,
    }
}
