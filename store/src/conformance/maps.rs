//! Parallel runs and logs.

use carillon_core::ids::{AttemptNo, Epoch, RunKey};
use carillon_core::parallel::{MAX_OUTPUT_BYTES, MAX_SUBTASK_BYTES, MapChunk, MapHeader, MapPhase};

use super::fixture::Fixture;
use crate::logs::{LONGEST_LOG_BYTES, LogChunk};
use crate::subtasks::{MapCheckpoint, SubtaskBatch, SubtaskFailure, SubtaskPayload};
use crate::{SharedStore, StoreError};

const FIRST: AttemptNo = AttemptNo::FIRST;

async fn parallel_run(store: &SharedStore) -> (Fixture, RunKey) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    (fixture, run.key)
}

fn batch(batch_no: u32, first_index: u64, keys: &[&str]) -> SubtaskBatch {
    let subtask = |(key, index): (&&str, u64)| SubtaskPayload {
        key: (*key).to_owned(),
        payload: format!("{{\"shop\":{index}}}").into_bytes(),
    };
    SubtaskBatch { batch_no, first_index, subtasks: keys.iter().zip(first_index..).map(subtask).collect() }
}

/// Batches come back by index range, and a repeated number is the same batch.
pub async fn batches_read_back_and_repeat_safely(store: SharedStore) {
    let (_, run) = parallel_run(&store).await;
    assert_eq!(store.split_progress(run, FIRST).await.unwrap(), (0, 0));
    assert_eq!(store.batches(run, FIRST, 0, 10).await.unwrap(), []);
    let batches = [batch(0, 0, &["a", "", "\u{949f}"]), batch(1, 3, &["", ""]), batch(2, 5, &["x"])];
    store.store_batches(run, FIRST, &batches[..2]).await.unwrap();
    assert_eq!(store.split_progress(run, FIRST).await.unwrap(), (2, 5));
    let other = batch(1, 3, &["something", "else"]);
    store.store_batches(run, FIRST, &[other, batches[2].clone()]).await.unwrap();
    assert_eq!(store.split_progress(run, FIRST).await.unwrap(), (3, 6));
    for (first, count, expected) in [
        (0, 6, 0..3),
        (0, u64::MAX, 0..3),
        (0, 3, 0..1),
        (2, 1, 0..1),
        (2, 2, 0..2),
        (4, 2, 1..3),
        (5, 1, 2..3),
        (6, 5, 0..0),
        (3, 0, 0..0),
    ] {
        let found = store.batches(run, FIRST, first, count).await.unwrap();
        assert_eq!(found, batches[expected], "{count} from {first}");
    }
    assert_eq!(store.batches(run, AttemptNo::new(2), 0, 10).await.unwrap(), []);
}

fn checkpoint(run: RunKey, epoch: u64) -> MapCheckpoint {
    MapCheckpoint {
        run,
        attempt: FIRST,
        epoch: Epoch::new(epoch),
        data_attempt: FIRST,
        header: MapHeader { phase: MapPhase::Processing, emitted: 3, ..MapHeader::new() },
        chunks: Vec::new(),
        outputs: Vec::new(),
        failures: Vec::new(),
    }
}

fn failure(fixture: &Fixture, index: u64, attempt: u32, last: bool) -> SubtaskFailure {
    let error = "no such shop".to_owned();
    SubtaskFailure { index, attempt, at: fixture.at(5), worker: "worker-1".to_owned(), error, last }
}

/// Header and bitmaps take the newest values; outputs and failures stay as they were first written.
pub async fn checkpoints_read_back_and_repeat_safely(store: SharedStore) {
    let (fixture, run) = parallel_run(&store).await;
    assert_eq!(store.map_header(run, FIRST).await.unwrap(), None);
    let mut one = checkpoint(run, 1);
    one.header.done = 1;
    one.header.done_by_worker = [("worker-1".to_owned(), 1)].into();
    one.chunks = vec![
        MapChunk { number: 1, done: vec![0xff; 8_192], failed: Vec::new() },
        MapChunk { number: 0, done: vec![1], failed: vec![2, 0] },
    ];
    one.outputs = vec![(0, b"\"zero\"".to_vec())];
    one.failures = vec![failure(&fixture, 1, 1, false)];
    store.checkpoint(&one).await.unwrap();
    store.checkpoint(&one).await.unwrap();
    let mut two = checkpoint(run, 1);
    two.header.phase = MapPhase::Reducing;
    two.header.done = 3;
    two.chunks = vec![MapChunk { number: 0, done: vec![7], failed: Vec::new() }];
    two.outputs = vec![(0, b"\"changed\"".to_vec()), (2, vec![b'1'; MAX_OUTPUT_BYTES])];
    two.failures = vec![failure(&fixture, 1, 2, true)];
    store.checkpoint(&two).await.unwrap();

    assert_eq!(store.map_header(run, FIRST).await.unwrap(), Some(two.header));
    let chunks = store.map_chunks(run, FIRST).await.unwrap();
    assert_eq!(chunks, [two.chunks[0].clone(), one.chunks[0].clone()]);
    let outputs = store.outputs(run, FIRST, None, 10).await.unwrap();
    assert_eq!(outputs, [(0, b"\"zero\"".to_vec()), (2, vec![b'1'; MAX_OUTPUT_BYTES])]);
    let failures = store.failures_of(run, FIRST, &[2, 1]).await.unwrap();
    assert_eq!(failures, [failure(&fixture, 1, 1, false), failure(&fixture, 1, 2, true)]);
    let reducing = store.map_runs_in(MapPhase::Reducing, 1_000).await.unwrap();
    assert!(reducing.len() == 1_000 || reducing.contains(&(run, FIRST)));
    assert!(!store.map_runs_in(MapPhase::Splitting, 1_000).await.unwrap().contains(&(run, FIRST)));

    // A re-run of the failed ones keeps its outputs with those of the attempt it goes on with.
    let mut again = checkpoint(run, 1);
    again.attempt = AttemptNo::new(2);
    again.outputs = vec![(1, b"\"at last\"".to_vec())];
    store.checkpoint(&again).await.unwrap();
    assert_eq!(store.outputs(run, FIRST, None, 10).await.unwrap().len(), 3);
    assert_eq!(store.outputs(run, AttemptNo::new(2), None, 10).await.unwrap(), []);
}

/// A server that was paused cannot undo what its successor wrote.
pub async fn a_stale_epoch_writes_no_checkpoint(store: SharedStore) {
    let (_, run) = parallel_run(&store).await;
    assert_eq!(store.claim_map(run, FIRST, Epoch::new(3)).await.unwrap(), None);
    assert_eq!(store.map_header(run, FIRST).await.unwrap(), None);
    let mut stale = checkpoint(run, 2);
    stale.outputs = vec![(0, b"1".to_vec())];
    let refused = store.checkpoint(&stale).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    assert_eq!(store.outputs(run, FIRST, None, 10).await.unwrap(), [], "nothing of it was written");
    let own = checkpoint(run, 3);
    store.checkpoint(&own).await.unwrap();
    let header = store.claim_map(run, FIRST, Epoch::new(5)).await.unwrap();
    assert_eq!(header, Some(own.header.clone()));
    for refused in [
        store.checkpoint(&own).await.unwrap_err(),
        store.claim_map(run, FIRST, Epoch::new(4)).await.unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    }
    store.checkpoint(&checkpoint(run, 5)).await.unwrap();
}

/// Pages in index order; a page of failures ends between two subtasks.
pub async fn outputs_and_failures_are_paged(store: SharedStore) {
    let (fixture, run) = parallel_run(&store).await;
    let mut one = checkpoint(run, 1);
    one.outputs = [0_u64, 3, 5, 9].into_iter().map(|index| (index, index.to_string().into_bytes())).collect();
    for (index, tries) in [(1, 1), (2, 3), (4, 2), (7, 5)] {
        for attempt in 1..=tries {
            one.failures.push(failure(&fixture, index, attempt, attempt == tries && index != 4));
        }
    }
    store.checkpoint(&one).await.unwrap();
    let indexes = async |after, limit| {
        let page = store.outputs(run, FIRST, after, limit).await.unwrap();
        page.into_iter().map(|(index, _)| index).collect::<Vec<_>>()
    };
    assert_eq!(indexes(None, 2).await, [0, 3]);
    assert_eq!(indexes(Some(3), 2).await, [5, 9]);
    assert_eq!(indexes(Some(9), 2).await, [0_u64; 0]);
    for (only_last, limit) in [(false, 1), (false, 3), (false, 4), (false, 100), (true, 1), (true, 2)] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.failures(run, FIRST, only_last, after, limit).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.index);
            seen.extend(page);
        }
        let expected: Vec<_> = one.failures.iter().filter(|one| one.last || !only_last).cloned().collect();
        assert_eq!(seen, expected, "only last: {only_last}, {limit} at a time");
    }
}

/// By prefix, in index order, over many batches.
pub async fn subtasks_are_found_by_the_beginning_of_their_key(store: SharedStore) {
    let (_, run) = parallel_run(&store).await;
    let mut batches = Vec::new();
    for number in 0..120 {
        let index = u64::from(number) * 2;
        let keys =
            [format!("shop-{number:03}"), if number % 2 == 0 { String::new() } else { "100%'".to_owned() }];
        batches.push(batch(number, index, &[&keys[0], &keys[1]]));
    }
    store.store_batches(run, FIRST, &batches).await.unwrap();
    let find =
        async |prefix: &str, after, limit| store.find_by_key(run, FIRST, prefix, after, limit).await.unwrap();
    assert_eq!(find("shop-007", None, 10).await, [14]);
    assert_eq!(find("shop-11", None, 3).await, [220, 222, 224]);
    assert_eq!(find("shop-11", Some(224), 3).await, [226, 228, 230]);
    assert_eq!(find("shop-11", Some(236), 3).await, [238]);
    assert_eq!(find("100%'", None, 2).await, [3, 7]);
    assert_eq!(find("SHOP", None, 2).await, [0_u64; 0]);
    assert_eq!(find("shop_", None, 2).await, [0_u64; 0]);
    assert_eq!(find("", None, 1_000).await.len(), 180, "every subtask that has a key");
    assert_eq!(find("\u{949f}", None, 2).await, [0_u64; 0]);
}

/// What is too large is refused, and nothing of its batch is stored.
pub async fn limits_of_subtasks_are_enforced(store: SharedStore) {
    let (_, run) = parallel_run(&store).await;
    // Noise does not compress: the largest batch must fit a packet all the same.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let payload: Vec<u8> = (0..MAX_SUBTASK_BYTES).map(|_| noise()).collect();
    let largest = SubtaskPayload { key: "\u{949f}".repeat(128), payload };
    let full = SubtaskBatch { batch_no: 0, first_index: 0, subtasks: vec![largest.clone(); 64] };
    store.store_batches(run, FIRST, std::slice::from_ref(&full)).await.unwrap();
    assert_eq!(store.batches(run, FIRST, 0, 1).await.unwrap(), [full]);
    let with = |subtask: SubtaskPayload, count: usize| SubtaskBatch {
        batch_no: 2,
        first_index: 65,
        subtasks: vec![subtask; count],
    };
    let mut long = largest.clone();
    long.payload.push(b' ');
    let mut keyed = largest.clone();
    keyed.key.push('a');
    for refused in [with(long, 1), with(keyed, 1), with(largest.clone(), 65)] {
        let batches = [with(SubtaskPayload { key: String::new(), payload: b"1".to_vec() }, 1), refused];
        let error = store.store_batches(run, FIRST, &batches).await.unwrap_err();
        assert!(matches!(error, StoreError::LimitExceeded { .. }), "{error}");
    }
    assert_eq!(store.split_progress(run, FIRST).await.unwrap(), (1, 64));
    let mut output = checkpoint(run, 1);
    output.outputs = vec![(0, vec![b'1'; MAX_OUTPUT_BYTES + 1])];
    let error = store.checkpoint(&output).await.unwrap_err();
    assert!(matches!(error, StoreError::LimitExceeded { .. }), "{error}");
    assert_eq!(store.map_header(run, FIRST).await.unwrap(), None);
}

/// Any range of bytes, over chunks that came twice and out of order; up to a gap; not beyond the limit.
pub async fn logs_are_read_by_bytes(store: SharedStore) {
    let (_, run) = parallel_run(&store).await;
    let texts = ["first \u{949f}\n", "second\n", "third'; --\n"];
    let mut offset = 0;
    let mut chunks = Vec::new();
    for (chunk_no, text) in (0..).zip(texts) {
        chunks.push(LogChunk { run, attempt: FIRST, chunk_no, offset, text: text.to_owned() });
        offset += text.len() as u64;
    }
    let whole = texts.concat().into_bytes();
    assert_eq!(store.read_log(run, FIRST, 0, 100).await.unwrap(), (Vec::new(), 0));
    store.append_logs(&[chunks[2].clone(), chunks[0].clone()]).await.unwrap();
    let (text, total) = store.read_log(run, FIRST, 0, 100).await.unwrap();
    assert_eq!((text.as_slice(), total), (texts[0].as_bytes(), offset), "up to the gap");
    let mut forged = chunks[0].clone();
    forged.text = "forged !!!\n".to_owned();
    store.append_logs(&[forged, chunks[1].clone()]).await.unwrap();
    for from in 0..=whole.len() {
        for limit in [0, 1, 7, 1_000] {
            let (text, total) = store.read_log(run, FIRST, from as u64, limit as u64).await.unwrap();
            assert_eq!(text, whole[from..(from + limit).min(whole.len())], "{limit} from {from}");
            assert_eq!(total, offset);
        }
    }
    let beyond =
        LogChunk { run, attempt: FIRST, chunk_no: 9, offset: LONGEST_LOG_BYTES - 3, text: "four".to_owned() };
    store.append_logs(&[beyond]).await.unwrap();
    assert_eq!(store.read_log(run, FIRST, 0, u64::MAX).await.unwrap(), (whole, offset));
    assert_eq!(store.read_log(run, AttemptNo::new(2), 0, 9).await.unwrap(), (Vec::new(), 0));
}
