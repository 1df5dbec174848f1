//! What is refused at the edge, and that a server survives it.

use std::time::Duration;

use carillon_core::ids::{Epoch, GroupId, Incarnation, RunKey};
use carillon_core::run::{Reason, ReasonCode, Run, RunState};
use carillon_core::time::{Span, Timestamp};
use carillon_proto::v1::{
    Emit, Hello, LogBatch, LogChunk, Report, ReportBatch, ReportKind, RunRef, StatusRequest, TimeProbe,
    TriggerRequest, server_message::Message as ToWorker, worker_message::Message as FromWorker,
};
use carillon_server::ServerError;
use carillon_store::accounts::TokenScope;
use carillon_store::catalog::{EditOutcome, JobChange, JobEdit};
use carillon_store::runs::Insertion;
use serde_json::json;
use tonic::Code;

use crate::support::{Cluster, TestWorker, Wire, eventually, hello, now, run_ref};

#[tokio::test]
async fn a_worker_needs_a_token_of_its_group() {
    let cluster = Cluster::new(1, 1).await;
    let other = GroupId::new(101, 1, 1, 9_999).unwrap();
    cluster.token("of another group", TokenScope::Worker { group: other }, None).await;
    cluster.token("of a user", TokenScope::User { user: 1, at_most: None }, None).await;
    let past = Timestamp::from_millis(now().as_millis() - 1_000);
    cluster.token("expired", TokenScope::Worker { group: cluster.group }, Some(past)).await;
    let server = cluster.server("s1", "a").await;
    for (token, code, says) in [
        ("", Code::Unauthenticated, "missing"),
        ("made up", Code::Unauthenticated, "not known"),
        ("expired", Code::Unauthenticated, "has expired"),
        ("of another group", Code::PermissionDenied, "101-1-1-9999"),
        ("of a user", Code::PermissionDenied, "user's token"),
    ] {
        let first = FromWorker::Hello(Hello { token: token.into(), ..hello(cluster.group, 7) });
        let refused =
            Wire::open(server.address, first).await.err().unwrap_or_else(|| panic!("{token:?} lets in"));
        assert_eq!(refused.code(), code, "{token:?}: {refused}");
        assert!(
            refused.message().starts_with("hello.token") && refused.message().contains(says),
            "{refused}"
        );
    }
    let mut wire = Wire::open(server.address, FromWorker::Hello(hello(cluster.group, 7))).await.unwrap();
    assert!(matches!(wire.hear().await, Ok(ToWorker::Welcome(welcome)) if welcome.server == "s1"));
}

#[tokio::test]
async fn what_is_malformed_ends_its_stream_and_nothing_else() {
    let cluster = Cluster::new(1, 1).await;
    cluster.job("tick", json!({"schedule": {"type": "cron", "expression": "* * * * * ?"}})).await;
    let server = cluster.server("s1", "a").await;
    let worker = TestWorker::start(cluster.group, 1, &[server.address], Duration::ZERO);

    for (first, field) in [
        (FromWorker::TimeProbe(TimeProbe { id: 1 }), "message"),
        (FromWorker::Hello(Hello { group: "101-1".into(), ..hello(cluster.group, 7) }), "hello.group"),
        (FromWorker::Hello(hello(cluster.group, 0)), "hello.incarnation"),
        (FromWorker::Hello(Hello { name: String::new(), ..hello(cluster.group, 7) }), "hello.name"),
    ] {
        let refused = Wire::open(server.address, first).await.err().expect("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().starts_with(field), "{refused}");
    }

    let named = RunRef { fire_time_ms: now().as_millis(), job: 1, ordinal: 0 };
    let run = Some(named);
    let report = Report { seq: 1, run, attempt: 1, kind: ReportKind::Armed.into(), ..Report::default() };
    let reports = |report| FromWorker::Reports(ReportBatch { reports: vec![report] });
    let chunk = LogChunk { seq: 1, run, attempt: 1, ..LogChunk::default() };
    let logs = |chunk| FromWorker::Logs(LogBatch { chunks: vec![chunk] });
    for (bad, field) in [
        (reports(Report { run: None, ..report.clone() }), "report.run"),
        (reports(Report { attempt: 0, ..report.clone() }), "report.attempt"),
        (reports(Report { shard: 256, ..report.clone() }), "report.shard"),
        (reports(Report { kind: 77, ..report.clone() }), "report.kind"),
        (reports(Report { run: Some(RunRef { job: 0, ..named }), ..report.clone() }), "report.run.job"),
        (logs(LogChunk { run: None, ..chunk.clone() }), "logs.run"),
        (logs(LogChunk { text: vec![b'x'; 300_000].into(), ..chunk.clone() }), "logs.text"),
        (FromWorker::Hello(hello(cluster.group, 7)), "message"),
    ] {
        let wire = Wire::open(server.address, FromWorker::Hello(hello(cluster.group, 7))).await.unwrap();
        wire.say(bad).await;
        let ended = wire.end().await;
        assert_eq!(ended.code(), Code::InvalidArgument, "{field}: {ended}");
        assert!(ended.message().starts_with(field), "{field}: {ended}");
    }
    // Larger than any message may be.
    let wire = Wire::open(server.address, FromWorker::Hello(hello(cluster.group, 7))).await.unwrap();
    wire.say(FromWorker::Emit(Emit { subtasks: vec![], run, ..Emit::default() })).await;
    wire.say(logs(LogChunk { text: vec![b'x'; 20_000_000].into(), ..chunk })).await;
    let ended = wire.end().await;
    assert_eq!(ended.code(), Code::InvalidArgument, "{ended}");

    // A report about a run of nobody's job is neither an error nor news.
    let mut wire = Wire::open(server.address, FromWorker::Hello(hello(cluster.group, 8))).await.unwrap();
    let foreign = Some(RunRef { fire_time_ms: 1_000, job: 4_000_000, ordinal: 0 });
    wire.say(reports(Report { run: foreign, kind: ReportKind::Succeeded.into(), ..report })).await;
    loop {
        if let ToWorker::ReportAck(ack) = wire.hear().await.unwrap() {
            assert_eq!(ack.seqs, [1]);
            break;
        }
    }
    let before = worker.seen(|seen| seen.starts.len());
    eventually("the others' work goes on", || async {
        worker.seen(|seen| (seen.starts.len() > before).then_some(()))
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_request_is_refused_by_field_and_value() {
    let cluster = Cluster::new(1, 1).await;
    let job = cluster.job("now", json!({"schedule": {"type": "api"}})).await;
    let server = cluster.server("s1", "a").await;
    let mut control = server.control().await;
    let good = TriggerRequest {
        job: job.id.get(),
        shard: cluster.shard(0).to_string(),
        idempotency_key: "k".into(),
        params: None,
        requested_by: "test".into(),
        trace_id: Default::default(),
    };
    for (bad, field) in [
        (TriggerRequest { job: 0, ..good.clone() }, "job"),
        (TriggerRequest { shard: "101-1-1".into(), ..good.clone() }, "shard"),
        (TriggerRequest { idempotency_key: String::new(), ..good.clone() }, "idempotency_key"),
        (TriggerRequest { idempotency_key: "x".repeat(129), ..good.clone() }, "idempotency_key"),
        (TriggerRequest { params: Some("{".into()), ..good.clone() }, "params"),
        (TriggerRequest { params: Some(vec![b'1'; 70_000].into()), ..good.clone() }, "params"),
        (TriggerRequest { trace_id: vec![1, 2].into(), ..good.clone() }, "trace_id"),
    ] {
        let refused = control.trigger(bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().starts_with(field), "{field}: {refused}");
    }
}

#[tokio::test]
async fn consoles_need_the_clusters_secret_where_there_is_one() {
    let cluster = Cluster::new(1, 1).await;
    let server = cluster.server_with("s1", "a", |config| config.cluster_secret = Some("s3cret".into())).await;
    let mut control = server.control().await;
    let refused = control.status(StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut wrong = tonic::Request::new(StatusRequest {});
    wrong.metadata_mut().insert("carillon-cluster-secret", "guess".parse().unwrap());
    assert_eq!(control.status(wrong).await.unwrap_err().code(), Code::Unauthenticated);
    let mut right = tonic::Request::new(StatusRequest {});
    right.metadata_mut().insert("carillon-cluster-secret", "s3cret".parse().unwrap());
    assert_eq!(control.status(right).await.unwrap().into_inner().server, "s1");
    // Workers have tokens instead.
    assert!(Wire::open(server.address, FromWorker::Hello(hello(cluster.group, 7))).await.is_ok());
}

#[tokio::test]
async fn a_newer_stream_of_an_incarnation_replaces_the_older_one() {
    let cluster = Cluster::new(1, 1).await;
    let server = cluster.server("s1", "a").await;
    let older = Wire::open(server.address, FromWorker::Hello(hello(cluster.group, 7))).await.unwrap();
    let mut newer = Wire::open(server.address, FromWorker::Hello(hello(cluster.group, 7))).await.unwrap();
    assert_eq!(older.end().await.code(), Code::Aborted);
    assert!(matches!(newer.hear().await, Ok(ToWorker::Welcome(_))));
    newer.say(FromWorker::TimeProbe(TimeProbe { id: 5 })).await;
    let answer = newer.hear().await.unwrap();
    let ToWorker::TimeAnswer(answer) = answer else { panic!("{answer:?}") };
    assert!(
        answer.id == 5
            && answer.server_time_us < 1_000
            && (now().as_millis() - answer.server_time_ms).abs() < 5_000
    );
    let status = server.control().await.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.workers.len(), 1);
}

#[tokio::test]
async fn log_lines_are_acknowledged_when_they_are_stored_and_bounded() {
    let cluster = Cluster::new(1, 1).await;
    let job = cluster.job("now", json!({"schedule": {"type": "api"}})).await;
    let server = cluster.server("s1", "a").await;
    let mut wire = Wire::open(server.address, FromWorker::Hello(hello(cluster.group, 7))).await.unwrap();
    let key = carillon_core::ids::RunKey::scheduled(job.id, Timestamp::from_millis(1_000));
    let chunk = |seq, chunk_no, offset, text: &'static str| LogChunk {
        seq,
        run: Some(run_ref(key)),
        attempt: 1,
        chunk_no,
        offset,
        text: text.into(),
        ..LogChunk::default()
    };
    let foreign = LogChunk {
        run: Some(RunRef { job: 4_000, fire_time_ms: 1_000, ordinal: 0 }),
        ..chunk(4, 0, 0, "not ours\n")
    };
    let chunks = vec![
        chunk(1, 0, 0, "one\n"),
        chunk(2, 1, 4, "two\n"),
        chunk(3, 2, 11 * 1024 * 1024, "too far\n"),
        foreign,
    ];
    wire.say(FromWorker::Logs(LogBatch { chunks })).await;
    let mut acked = Vec::new();
    while acked.len() < 4 {
        if let ToWorker::LogAck(ack) = wire.hear().await.unwrap() {
            acked.extend(ack.seqs);
        }
    }
    let (text, length) =
        cluster.store.read_log(key, carillon_core::ids::AttemptNo::FIRST, 0, 1_000).await.unwrap();
    assert_eq!((String::from_utf8(text).unwrap().as_str(), length), ("one\ntwo\n", 8));
}

/// The room table counts for workers as it does for servers; what a worker says itself wins.
#[tokio::test]
async fn a_worker_that_names_no_room_stands_where_its_address_says() {
    let cluster = Cluster::new(1, 1).await;
    let rooms = |config: &mut carillon_server::ServerConfig| {
        config.rooms = vec![("127.0.0.0/8".parse().unwrap(), "near".into())];
    };
    let server = cluster.server_with("s1", "a", rooms).await;
    let mut wires = Vec::new();
    for (incarnation, room) in [(7, ""), (8, "own")] {
        let hello = Hello { room: room.into(), ..hello(cluster.group, incarnation) };
        wires.push(Wire::open(server.address, FromWorker::Hello(hello)).await.unwrap());
    }
    let control = server.control().await;
    let seen = eventually("both workers are there", || async {
        let status = control.clone().status(StatusRequest {}).await.unwrap().into_inner();
        let mut seen: Vec<_> =
            status.workers.into_iter().map(|worker| (worker.incarnation, worker.room)).collect();
        seen.sort_unstable();
        (seen.len() == 2).then_some(seen)
    })
    .await;
    assert_eq!(seen, [(7, "near".to_owned()), (8, "own".to_owned())]);
    server.stop().await;
}

/// Until they look by themselves, the new holder would reach them by way of the others alone, which may be what fails next.
#[tokio::test]
async fn workers_are_told_to_look_when_another_server_holds_their_group() {
    let cluster = Cluster::new(2, 1).await;
    let first = cluster.server("s1", "a").await;
    eventually("the first server owns the shard", || async { cluster.owner(0).await }).await;
    let hello = FromWorker::Hello(hello(cluster.group, 7));
    let mut wire = Wire::open(first.address, hello).await.unwrap();
    assert!(matches!(wire.hear().await.unwrap(), ToWorker::Welcome(_)));
    let second = cluster.server("s2", "b").await;
    let told = wire.hear().await.unwrap();
    assert!(matches!(&told, ToWorker::GoAway(look) if look.why.contains("other servers")), "{told:?}");
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_second_server_with_the_same_id_is_refused() {
    let cluster = Cluster::new(1, 1).await;
    let first = cluster.server("s1", "a").await;
    eventually("the first owns", || async { cluster.owner(0).await }).await;
    let second =
        cluster.server_with("s1", "a", |config| config.join_patience = Duration::from_millis(300)).await;
    let refused = second.ended().await;
    assert!(matches!(&refused, ServerError::IdTaken { id, .. } if id == "s1"), "{refused:?}");
    first.stop().await;
}

/// Its job was deleted before the server had the shard, just when the run started: the row tells whose run it is.
#[tokio::test]
async fn what_a_worker_says_of_a_run_of_an_unknown_job_is_for_the_shard_of_its_row() {
    let cluster = Cluster::new(1, 2).await;
    let job = cluster.job("gone", json!({"schedule": {"type": "api"}})).await;
    let (shard, stranger) = (cluster.shard(job.shard_index), 1 - job.shard_index);
    let at = now();
    let run = Run {
        worker: Some(Incarnation::new(7)),
        due_at: at,
        start_by: at + Span::from_secs(60),
        ..Run::planned(
            RunKey::scheduled(job.id, at + Span::from_secs(60)),
            shard,
            Epoch::default(),
            job.version,
        )
    };
    let store = &cluster.store;
    assert_eq!(store.insert_runs(std::slice::from_ref(&run)).await.unwrap(), [Insertion::New]);
    let row = store.shard(shard).await.unwrap().unwrap();
    let delete = JobEdit {
        shard,
        seen_jobs_version: row.jobs_version,
        seen_planned_until: row.planned_until,
        change: JobChange::Delete { job: job.id, seen: job.version, by: "test".into() },
        at,
        cancel_reason: Reason::new(ReasonCode::Deleted, "deleted"),
        runs: Vec::new(),
    };
    assert!(matches!(store.edit_job(&delete).await.unwrap(), EditOutcome::Edited { .. }));
    let state = || async { store.run(run.key).await.unwrap().unwrap().state };
    assert_eq!(state().await, RunState::Cancelled);

    let server = cluster.server("s1", "a").await;
    let control = server.control().await;
    eventually("both shards are owned", || async {
        let status = control.clone().status(StatusRequest {}).await.unwrap().into_inner();
        (status.shards.iter().filter(|shard| shard.owner).count() == 2).then_some(())
    })
    .await;
    let mut wire = Wire::open(server.address, FromWorker::Hello(hello(cluster.group, 7))).await.unwrap();
    for (seq, shard, becomes) in
        [(1, stranger, RunState::Cancelled), (2, job.shard_index, RunState::Succeeded)]
    {
        let report = Report {
            seq,
            run: Some(run_ref(run.key)),
            attempt: 1,
            shard: u32::from(shard),
            kind: ReportKind::Succeeded.into(),
            at_ms: at.as_millis() + 5,
            started_ms: at.as_millis(),
            ..Report::default()
        };
        wire.say(FromWorker::Reports(ReportBatch { reports: vec![report] })).await;
        loop {
            if let ToWorker::ReportAck(ack) = wire.hear().await.unwrap()
                && ack.seqs.contains(&seq)
            {
                break;
            }
        }
        assert_eq!(state().await, becomes, "reported to shard {shard}");
    }
    server.stop().await;
}
