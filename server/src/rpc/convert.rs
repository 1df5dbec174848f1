//! Between the wire and the core. What comes from the wire is checked here and trusted afterwards.

use std::collections::BTreeMap;

use bytes::Bytes;
use carillon_core::engine::{Arm, HandlerInfo, HeldRun, Refusal, Report, ReportKind, WorkerInfo};
use carillon_core::ids::{
    AttemptNo, GroupId, Incarnation, JobId, MAX_ORDINAL, PlanNo, RunKey, ShardId, TraceId,
};
use carillon_core::job::{JobKind, Overlap};
use carillon_core::run::{MAX_RESULT_BYTES, ReasonCode};
use carillon_core::time::{Span, Timestamp};
use carillon_proto::v1;
use serde_json::Value;
use tonic::Status;

/// Longest name of a worker, handler or label.
const MAX_NAME: usize = 128;
/// Most handlers of a worker: one process with more is several services.
const MAX_HANDLERS: usize = 1_000;
/// Most labels of a worker.
const MAX_LABELS: usize = 64;
/// Most runs a worker may hold; its JobPools' queues together are far below.
const MAX_HELD: usize = 1_000_000;
/// Longest error text of a report, in characters, as the wire says.
const MAX_ERROR: usize = 1_000;

/// A field of a message that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub(crate) struct BadField {
    pub(crate) field: String,
    pub(crate) problem: String,
}

impl BadField {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl From<BadField> for Status {
    fn from(bad: BadField) -> Self {
        Status::invalid_argument(bad.to_string())
    }
}

type Checked<T> = Result<T, BadField>;

/// A run as it goes on the wire.
pub(crate) fn run_ref(key: RunKey) -> v1::RunRef {
    v1::RunRef { fire_time_ms: key.fire_time.as_millis(), job: key.job.get(), ordinal: key.ordinal }
}

/// The run that a field names.
pub(crate) fn run_key(field: &str, run: Option<v1::RunRef>) -> Checked<RunKey> {
    let run =
        run.ok_or_else(|| BadField::new(field, "missing; name the run by fire time, job and ordinal"))?;
    if run.job == 0 {
        return Err(BadField::new(format!("{field}.job"), "0 is no job; job ids begin at 1"));
    }
    if run.ordinal > MAX_ORDINAL {
        let problem = format!("{} is too large; ordinals end at 2^53 - 1", run.ordinal);
        return Err(BadField::new(format!("{field}.ordinal"), problem));
    }
    let fire_time = Timestamp::from_millis(run.fire_time_ms);
    if fire_time.as_millis() != run.fire_time_ms || run.fire_time_ms < 0 {
        let problem = format!("{} is not a time between the years 1970 and 9999", run.fire_time_ms);
        return Err(BadField::new(format!("{field}.fire_time_ms"), problem));
    }
    Ok(RunKey { fire_time, job: JobId::new(run.job), ordinal: run.ordinal })
}

/// The attempt that a field names.
pub(crate) fn attempt(field: &str, number: u32) -> Checked<AttemptNo> {
    if number == 0 {
        return Err(BadField::new(field, "0 is no attempt; attempts begin at 1"));
    }
    Ok(AttemptNo::new(number))
}

/// The shard that a request names, of a cluster and server group.
pub(crate) fn shard_id(field: &str, text: &str) -> Checked<ShardId> {
    text.parse().map_err(|error: carillon_core::ids::IdError| BadField::new(field, error.to_string()))
}

/// An instant of the wire.
pub(crate) fn timestamp(field: &str, millis: i64) -> Checked<Timestamp> {
    let at = Timestamp::from_millis(millis);
    if at.as_millis() != millis {
        return Err(BadField::new(field, format!("{millis} is not a time between the years 0 and 9999")));
    }
    Ok(at)
}

/// JSON text of the wire; empty for none.
pub(crate) fn json(field: &str, text: &[u8], limit: usize) -> Checked<Option<Value>> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > limit {
        let problem = format!("{} bytes; at most {limit} are taken", text.len());
        return Err(BadField::new(field, problem));
    }
    serde_json::from_slice(text).map(Some).map_err(|error| BadField::new(field, format!("not JSON: {error}")))
}

/// A trace id of the wire: 16 bytes, or none.
pub(crate) fn trace_id(field: &str, bytes: &[u8]) -> Checked<Option<TraceId>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let wrong = || BadField::new(field, "expected 16 bytes that are not all zero, or none");
    let bits: [u8; 16] = bytes.try_into().map_err(|_| wrong())?;
    TraceId::new(u128::from_be_bytes(bits)).map(Some).ok_or_else(wrong)
}

fn name(field: &str, text: &str, may_be_empty: bool) -> Checked<()> {
    if text.is_empty() && !may_be_empty {
        return Err(BadField::new(field, "empty; expected 1 to 128 characters"));
    }
    if text.chars().count() > MAX_NAME {
        let problem =
            format!("{:?}... is longer than 128 characters", text.chars().take(40).collect::<String>());
        return Err(BadField::new(field, problem));
    }
    Ok(())
}

/// A worker's introduction, checked.
#[derive(Debug)]
pub(crate) struct Introduction {
    pub(crate) group: GroupId,
    pub(crate) info: WorkerInfo,
}

/// Checks a Hello.
pub(crate) fn introduction(hello: &v1::Hello) -> Checked<Introduction> {
    let group = hello
        .group
        .parse()
        .map_err(|error: carillon_core::ids::IdError| BadField::new("hello.group", error.to_string()))?;
    if hello.incarnation == 0 || hello.incarnation > u64::MAX >> 1 {
        let problem =
            format!("{} is not between 1 and 2^63 - 1; draw it at random at each start", hello.incarnation);
        return Err(BadField::new("hello.incarnation", problem));
    }
    name("hello.name", &hello.name, false)?;
    name("hello.room", &hello.room, true)?;
    name("hello.sdk_version", &hello.sdk_version, true)?;
    if hello.handlers.len() > MAX_HANDLERS {
        let problem = format!("{} handlers; at most {MAX_HANDLERS} are taken", hello.handlers.len());
        return Err(BadField::new("hello.handlers", problem));
    }
    if hello.labels.len() > MAX_LABELS {
        let problem = format!("{} labels; at most {MAX_LABELS} are taken", hello.labels.len());
        return Err(BadField::new("hello.labels", problem));
    }
    for (key, value) in &hello.labels {
        name("hello.labels", key, false)?;
        name("hello.labels", value, true)?;
    }
    let mut handlers = Vec::with_capacity(hello.handlers.len());
    for (index, handler) in hello.handlers.iter().enumerate() {
        name(&format!("hello.handlers[{index}].name"), &handler.name, false)?;
        handlers.push(HandlerInfo {
            name: handler.name.clone(),
            parallel: handler.parallel,
            reduce: handler.reduce,
        });
    }
    let info = WorkerInfo {
        incarnation: Incarnation::new(hello.incarnation),
        name: hello.name.clone(),
        room: hello.room.clone(),
        labels: hello
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<BTreeMap<_, _>>(),
        handlers,
        held: held_runs("hello.held", &hello.held)?,
    };
    Ok(Introduction { group, info })
}

/// Checks the runs that a worker says it holds.
pub(crate) fn held_runs(field: &str, held: &[v1::HeldRun]) -> Checked<Vec<HeldRun>> {
    if held.len() > MAX_HELD {
        return Err(BadField::new(field, format!("{} runs; at most {MAX_HELD} are taken", held.len())));
    }
    held.iter()
        .map(|run| {
            Ok(HeldRun {
                key: run_key(&format!("{field}.run"), run.run)?,
                attempt: attempt(&format!("{field}.attempt"), run.attempt)?,
                plan_no: PlanNo::new(run.plan_no),
                started: run.started,
            })
        })
        .collect()
}

/// Checks a report.
pub(crate) fn report(report: v1::Report) -> Checked<Report> {
    let key = run_key("report.run", report.run)?;
    let attempt = attempt("report.attempt", report.attempt)?;
    let at = timestamp("report.at_ms", report.at_ms)?;
    let started =
        (report.started_ms != 0).then(|| timestamp("report.started_ms", report.started_ms)).transpose()?;
    let error = if report.error.len() > MAX_ERROR {
        report.error.chars().take(MAX_ERROR).collect()
    } else {
        report.error
    };
    let reason = v1::ReportReason::try_from(report.reason).unwrap_or(v1::ReportReason::Unspecified);
    let wire_kind = v1::ReportKind::try_from(report.kind).unwrap_or(v1::ReportKind::Unspecified);
    let kind = match wire_kind {
        v1::ReportKind::Unspecified => {
            return Err(BadField::new("report.kind", format!("{} is no kind of report", report.kind)));
        }
        v1::ReportKind::Armed => ReportKind::Armed,
        v1::ReportKind::Queued => ReportKind::Queued,
        v1::ReportKind::Refused => ReportKind::Refused(refusal(reason)?, error),
        v1::ReportKind::Disarmed => ReportKind::Disarmed,
        v1::ReportKind::Started => ReportKind::Started,
        v1::ReportKind::Succeeded => ReportKind::Succeeded {
            started_at: started.unwrap_or(at),
            result: json("report.result", &report.result, MAX_RESULT_BYTES)?,
        },
        v1::ReportKind::Failed => ReportKind::Failed {
            started_at: started.unwrap_or(at),
            code: match reason {
                v1::ReportReason::Panicked => ReasonCode::HandlerPanicked,
                v1::ReportReason::BadParams => ReasonCode::BadParams,
                _ => ReasonCode::HandlerFailed,
            },
            error,
            fatal: matches!(reason, v1::ReportReason::Fatal | v1::ReportReason::BadParams),
            retry_after: (report.retry_after_ms > 0).then(|| Span::from_millis(report.retry_after_ms)),
        },
        v1::ReportKind::TimedOut => ReportKind::TimedOut { started_at: started.unwrap_or(at) },
        v1::ReportKind::Cancelled => ReportKind::Cancelled { started_at: started },
        v1::ReportKind::Skipped => ReportKind::Skipped {
            started_at: started,
            code: match reason {
                v1::ReportReason::HandlerSkipped => ReasonCode::HandlerSkipped,
                v1::ReportReason::QueueFull => ReasonCode::QueueFull,
                v1::ReportReason::Replaced => ReasonCode::Replaced,
                _ => ReasonCode::Overlap,
            },
            detail: error,
        },
    };
    Ok(Report { seq: report.seq, key, attempt, plan_no: PlanNo::new(report.plan_no), at, kind })
}

fn refusal(reason: v1::ReportReason) -> Checked<Refusal> {
    Ok(match reason {
        v1::ReportReason::Busy | v1::ReportReason::QueueFull => Refusal::Busy,
        v1::ReportReason::Draining => Refusal::Draining,
        v1::ReportReason::UnknownHandler => Refusal::UnknownHandler,
        v1::ReportReason::WrongIncarnation => Refusal::WrongIncarnation,
        v1::ReportReason::TooLate => Refusal::TooLate,
        v1::ReportReason::OldVersion => Refusal::OldVersion,
        other => {
            let problem = format!("{} does not say why a run is refused", other.as_str_name());
            return Err(BadField::new("report.reason", problem));
        }
    })
}

/// An Arm as it goes on the wire.
pub(crate) fn arm(shard: ShardId, arm: &Arm) -> v1::Arm {
    let job = &arm.job.job;
    let spec = &job.spec;
    let params = match &arm.params {
        Some(params) => Bytes::from(params.to_string()),
        None => Bytes::copy_from_slice(&arm.job.params_json),
    };
    let (overlap, overlap_limit) = match spec.overlap {
        Overlap::Parallel { max } => (v1::Overlap::Parallel, max),
        Overlap::Skip => (v1::Overlap::Skip, 0),
        Overlap::Queue { limit } => (v1::Overlap::Queue, limit),
        Overlap::Replace => (v1::Overlap::Replace, 0),
    };
    let kind = match spec.kind {
        JobKind::Simple => v1::RunKind::Simple,
        JobKind::Parallel => v1::RunKind::Split,
    };
    v1::Arm {
        run: Some(run_ref(arm.key)),
        attempt: arm.attempt.get(),
        plan_no: arm.plan_no.get(),
        job_version: arm.job_version.get(),
        incarnation: arm.to.get(),
        due_ms: arm.due_at.as_millis(),
        start_by_ms: arm.start_by.as_millis(),
        handler: spec.handler.clone(),
        params,
        trace_id: Bytes::copy_from_slice(&arm.trace.get().to_be_bytes()),
        epoch: arm.epoch.get(),
        timeout_ms: spec.timeout.map_or(0, Span::as_millis),
        shard: u32::from(shard.index()),
        overlap: overlap.into(),
        overlap_limit,
        kind: kind.into(),
        job_name: spec.name.clone(),
        max_attempts: spec.retry.max_attempts,
        description: spec.description.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> v1::Hello {
        v1::Hello { group: "101-1-2-6601".into(), incarnation: 7, name: "w".into(), ..v1::Hello::default() }
    }

    #[test]
    fn a_hello_is_refused_by_field_and_value() {
        let refused = |hello: v1::Hello| introduction(&hello).unwrap_err().to_string();
        assert!(refused(v1::Hello { group: "x".into(), ..hello() }).starts_with("hello.group: \"x\""));
        assert!(refused(v1::Hello { incarnation: 0, ..hello() }).starts_with("hello.incarnation: 0 "));
        assert!(refused(v1::Hello { name: String::new(), ..hello() }).starts_with("hello.name: empty"));
        assert!(refused(v1::Hello { name: "x".repeat(129), ..hello() }).contains("longer than 128"));
        let held = vec![v1::HeldRun { run: None, attempt: 1, plan_no: 0, started: false }];
        assert!(refused(v1::Hello { held, ..hello() }).starts_with("hello.held.run: missing"));
        assert_eq!(introduction(&hello()).unwrap().group.number(), 6601);
    }

    #[test]
    fn a_report_is_refused_by_field_and_value() {
        let run = Some(v1::RunRef { fire_time_ms: 1_000, job: 3, ordinal: 0 });
        let good =
            v1::Report { run, attempt: 1, kind: v1::ReportKind::Succeeded.into(), ..v1::Report::default() };
        let refused = |bad: v1::Report| report(bad).unwrap_err().field;
        assert!(report(good.clone()).is_ok());
        assert_eq!(refused(v1::Report { run: None, ..good.clone() }), "report.run");
        assert_eq!(refused(v1::Report { attempt: 0, ..good.clone() }), "report.attempt");
        assert_eq!(refused(v1::Report { kind: 99, ..good.clone() }), "report.kind");
        assert_eq!(refused(v1::Report { at_ms: i64::MAX, ..good.clone() }), "report.at_ms");
        assert_eq!(refused(v1::Report { result: Bytes::from_static(b"{"), ..good.clone() }), "report.result");
        let huge = Bytes::from(vec![b'1'; MAX_RESULT_BYTES + 1]);
        assert_eq!(refused(v1::Report { result: huge, ..good.clone() }), "report.result");
        let negative = Some(v1::RunRef { fire_time_ms: -5, job: 3, ordinal: 0 });
        assert_eq!(refused(v1::Report { run: negative, ..good }), "report.run.fire_time_ms");
    }

    #[test]
    fn a_trace_id_reads_as_it_is_shown() {
        let id = trace_id("trace_id", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]).unwrap().unwrap();
        assert_eq!(id.to_string(), "00000000000000000000000000000102");
        assert!(trace_id("trace_id", &[0; 16]).is_err());
        assert!(trace_id("trace_id", &[1; 3]).is_err());
        assert_eq!(trace_id("trace_id", &[]), Ok(None));
    }
}
