//! The thread pool of a blocking unit.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Work = Box<dyn FnOnce() + Send>;

/// An idle thread ends after a minute: a unit that rests costs nothing.
const IDLE: Duration = Duration::from_secs(60);

/// Threads are made as they are needed; the ledger never hands over more work than the unit's concurrency, so there are never more threads.
pub(super) struct Threads {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    work: VecDeque<Work>,
    idle: usize,
    closed: bool,
}

impl Threads {
    pub(super) fn new(handler: &str) -> Self {
        let name = format!("carillon-{handler}");
        Self { inner: Arc::new(Inner { name, queue: Mutex::default(), wake: Condvar::new() }) }
    }

    /// Runs the work on a thread of the pool; fails where the system gives no thread.
    pub(super) fn run(&self, work: Work) -> std::io::Result<()> {
        let mut queue = self.inner.lock();
        queue.work.push_back(work);
        if queue.idle >= queue.work.len() {
            self.inner.wake.notify_one();
            return Ok(());
        }
        drop(queue);
        let inner = Arc::clone(&self.inner);
        let spawned = std::thread::Builder::new().name(self.inner.name.clone()).spawn(move || inner.serve());
        if let Err(error) = spawned {
            self.inner.lock().work.pop_back();
            return Err(error);
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.inner.lock().closed = true;
        self.inner.wake.notify_all();
    }
}

impl Inner {
    fn serve(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(work) = queue.work.pop_front() {
                drop(queue);
                work();
                queue = self.lock();
                continue;
            }
            if queue.closed {
                return;
            }
            queue.idle += 1;
            let (woken, waited) = self.wake.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if waited.timed_out() && queue.work.is_empty() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn work_runs_side_by_side_and_threads_are_used_again() {
        let threads = Threads::new("t");
        let (meet, met) = mpsc::channel();
        let barrier = Arc::new(std::sync::Barrier::new(3));
        for _ in 0..3 {
            let (meet, barrier) = (meet.clone(), Arc::clone(&barrier));
            threads
                .run(Box::new(move || {
                    barrier.wait();
                    meet.send(std::thread::current().id()).unwrap();
                }))
                .unwrap();
        }
        let first: Vec<_> = (0..3).map(|_| met.recv_timeout(Duration::from_secs(5)).unwrap()).collect();
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while threads.inner.lock().idle < 3 {
            assert!(std::time::Instant::now() < deadline, "threads did not become idle");
            std::thread::yield_now();
        }
        threads.run(Box::new(move || meet.send(std::thread::current().id()).unwrap())).unwrap();
        assert!(first.contains(&met.recv_timeout(Duration::from_secs(5)).unwrap()));
    }
}
