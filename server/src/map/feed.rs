//! The outputs of all subtasks, streamed to the worker that reduces them as it asks for them.

use std::sync::Arc;

use bytes::Bytes;
use carillon_core::ids::{AttemptNo, Incarnation};
use carillon_proto::v1::{self, server_message::Message as ToWorker};
use tokio::sync::mpsc;

use super::Shared;
use super::driver::MapJob;
use super::writer::persist;

/// Outputs read in one go.
const PAGE: usize = 500;

/// Bytes of outputs in one message.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// The most messages sent for one question, whatever it asks for.
const MESSAGES: u32 = 64;

/// Answers questions until the driver ends. A question tells after which index to go on, so nothing is remembered between two.
pub(super) async fn run(
    job: Arc<MapJob>,
    data_attempt: AttemptNo,
    shared: Shared,
    mut questions: mpsc::Receiver<(Incarnation, v1::ReduceCredit)>,
) {
    while let Some((worker, question)) = questions.recv().await {
        let mut after = u64::try_from(question.after_index).ok();
        for _ in 0..question.free.min(MESSAGES) {
            let (outputs, last) = page(&job, data_attempt, &shared, after).await;
            after = outputs.last().map_or(after, |output| Some(output.index));
            let input =
                v1::ReduceInput { run: Some(job.run_ref()), attempt: job.attempt.get(), outputs, last };
            if !shared.wire.send(worker, ToWorker::ReduceInput(input)) || last {
                break;
            }
        }
    }
}

/// The outputs after an index, as many as fit into a message, and whether they are the last.
async fn page(
    job: &MapJob,
    data_attempt: AttemptNo,
    shared: &Shared,
    after: Option<u64>,
) -> (Vec<v1::SubtaskOutput>, bool) {
    let read = || shared.store.outputs(job.run, data_attempt, after, PAGE);
    let Ok(read) = persist(job, "read outputs", read).await else { return (Vec::new(), true) };
    let mut last = read.len() < PAGE;
    let mut bytes = 0;
    let mut outputs = Vec::with_capacity(read.len());
    for (index, output) in read {
        if bytes >= MESSAGE_BYTES {
            last = false;
            break;
        }
        bytes += output.len();
        outputs.push(v1::SubtaskOutput { index, output: Bytes::from(output) });
    }
    (outputs, last)
}
