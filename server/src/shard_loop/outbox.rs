//! Messages to workers, gathered over one round of the loop: many Arms share one message. The order of what one worker is told is kept.

use std::collections::HashMap;

use carillon_core::ids::Incarnation;
use carillon_proto::v1::{
    Arm, ArmBatch, Cancel, Disarm, DisarmBatch, ReportAck, ServerMessage, server_message::Message,
};

use crate::switchboard::Switchboard;

/// Arms in one message: far below the 4 MiB a message may have with ordinary params.
const ARMS_A_MESSAGE: usize = 512;

/// Bytes of params in one message, since params may have 64 KiB each.
const PARAMS_A_MESSAGE: usize = 1024 * 1024;

/// What is to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    workers: HashMap<Incarnation, Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    messages: Vec<Message>,
    /// Bytes of params in the last message.
    params: usize,
    acks: Vec<u64>,
}

impl Outbox {
    pub(super) fn arm(&mut self, to: Incarnation, arm: Arm) {
        let gathered = self.workers.entry(to).or_default();
        let bytes = arm.params.len() + arm.description.len();
        if let Some(Message::Arms(batch)) = gathered.messages.last_mut()
            && batch.arms.len() < ARMS_A_MESSAGE
            && gathered.params + bytes <= PARAMS_A_MESSAGE
        {
            gathered.params += bytes;
            batch.arms.push(arm);
            return;
        }
        gathered.params = bytes;
        gathered.messages.push(Message::Arms(ArmBatch { arms: vec![arm] }));
    }

    pub(super) fn disarm(&mut self, to: Incarnation, disarm: Disarm) {
        let gathered = self.workers.entry(to).or_default();
        match gathered.messages.last_mut() {
            Some(Message::Disarms(batch)) => batch.disarms.push(disarm),
            _ => gathered.messages.push(Message::Disarms(DisarmBatch { disarms: vec![disarm] })),
        }
    }

    pub(super) fn cancel(&mut self, to: Incarnation, cancel: Cancel) {
        self.workers.entry(to).or_default().messages.push(Message::Cancel(cancel));
    }

    pub(super) fn ack(&mut self, to: Incarnation, seq: u64) {
        self.workers.entry(to).or_default().acks.push(seq);
    }

    /// Hands everything to the workers' streams. What cannot be sent is not missed: the engine hears of the lost stream, and a worker
    /// repeats what was not acknowledged.
    pub(super) fn send(&mut self, switchboard: &Switchboard) {
        for (worker, gathered) in self.workers.drain() {
            for message in gathered.messages {
                switchboard.send(worker, ServerMessage { message: Some(message) });
            }
            if !gathered.acks.is_empty() {
                let ack = ReportAck { seqs: gathered.acks };
                switchboard.send(worker, ServerMessage { message: Some(Message::ReportAck(ack)) });
            }
        }
    }
}
