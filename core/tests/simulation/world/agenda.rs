//! What is going to happen, in order: by time, and at one instant in the order in which it was put down.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use carillon_core::time::Timestamp;

use super::Event;

/// Events by time. The heap holds places, so that ordering them moves no events.
#[derive(Default)]
pub(super) struct Agenda {
    order: BinaryHeap<Reverse<(Timestamp, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    next: u64,
}

impl Agenda {
    pub(super) fn put(&mut self, at: Timestamp, event: Event) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(event);
        self.next += 1;
        self.order.push(Reverse((at, self.next, place)));
    }

    pub(super) fn take(&mut self) -> Option<(Timestamp, Event)> {
        loop {
            let Reverse((at, _, place)) = self.order.pop()?;
            self.free.push(place);
            if let Some(event) = self.events[place].take() {
                return Some((at, event));
            }
        }
    }

    /// Takes off what is not to happen any longer.
    pub(super) fn drop_those(&mut self, which: impl Fn(&Event) -> bool) {
        for event in &mut self.events {
            _ = event.take_if(|event| which(event));
        }
    }
}
