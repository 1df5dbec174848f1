//! The thread that writes.

use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::StoreError;
use crate::database::Operation;
use crate::sqlite::connection::{SqliteConnection, closed};
use crate::sqlite::now;

/// How many requests wait for the writer before callers do: a second's worth of small ones.
const QUEUE: usize = 1_024;

/// How many requests share a transaction at most, so that the first of them is not kept waiting for long.
const GROUP: usize = 128;

/// A request on its way through the writer.
trait Request: Send {
    /// Whether somebody still waits for it.
    fn is_wanted(&self) -> bool;
    /// Does it, inside a transaction; says whether it succeeded.
    fn run(&mut self, connection: &mut SqliteConnection) -> bool;
    /// Answers, when the transaction is committed or `failed` to be.
    fn answer(self: Box<Self>, failed: Option<&Failure>);
}

/// Why a whole group was not committed.
enum Failure {
    /// Another process writes; nothing happened.
    Busy(String),
    /// The disk or the file failed.
    Lost(String),
}

struct Write<T, F> {
    action: &'static str,
    operation: F,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Request for Write<T, F>
where
    T: Send,
    F: for<'c> Fn(&'c mut SqliteConnection) -> Operation<'c, T> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, connection: &mut SqliteConnection) -> bool {
        connection.action = self.action;
        let outcome = now(connection, &self.operation);
        let succeeded = outcome.is_ok();
        self.outcome = Some(outcome);
        succeeded
    }

    fn answer(self: Box<Self>, failed: Option<&Failure>) {
        let action = self.action;
        let answer = match (self.outcome, failed) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), None) => Ok(value),
            (_, Some(Failure::Busy(why))) => Err(StoreError::Busy { action, source: why.clone().into() }),
            (_, Some(Failure::Lost(why))) => {
                Err(StoreError::Unavailable { action, source: why.clone().into() })
            }
            (None, None) => Err(closed(action)),
        };
        // Nobody listens when the caller gave up meanwhile.
        let _ = self.reply.send(answer);
    }
}

/// Something that needs the connection for itself, outside any group.
type Alone = Box<dyn FnOnce(&mut SqliteConnection) + Send>;

enum Message {
    Write(Box<dyn Request>),
    Alone(Alone),
    Stop(oneshot::Sender<()>),
}

/// The way to the writer's thread.
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    timeout: Duration,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread; it ends with [`Writer::stop`] or with the last sender.
    pub(super) fn start(connection: SqliteConnection, timeout: Duration) -> Result<Self, StoreError> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let action = "start the writer's thread";
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || write_until_stopped(connection, requests))
            .map_err(|error| StoreError::Unavailable { action, source: error.into() })?;
        Ok(Self { queue, timeout, thread: Mutex::new(Some(thread)) })
    }

    /// Runs an operation in a transaction, perhaps together with others, and waits for the commit.
    pub(super) async fn write<T, F>(&self, action: &'static str, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut SqliteConnection) -> Operation<'c, T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let request = Box::new(Write { action, operation, outcome: None, reply });
        self.send(action, Message::Write(request)).await?;
        answer.await.map_err(|_| closed(action))?
    }

    /// Runs something outside any transaction.
    pub(super) async fn alone<T: Send + 'static>(
        &self,
        action: &'static str,
        operation: fn(&mut SqliteConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let request = move |connection: &mut SqliteConnection| {
            connection.action = action;
            let _ = reply.send(operation(connection));
        };
        self.send(action, Message::Alone(Box::new(request))).await?;
        answer.await.map_err(|_| closed(action))?
    }

    async fn send(&self, action: &'static str, message: Message) -> Result<(), StoreError> {
        match self.queue.send_timeout(message, self.timeout).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(closed(action)),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(StoreError::Busy {
                action,
                source: format!("{QUEUE} requests were waiting for the writer").into(),
            }),
        }
    }

    /// Finishes what is queued and closes the connection.
    pub(super) async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.queue.send(Message::Stop(reply)).await.is_ok() {
            let _ = stopped.await;
        }
        let thread = self.thread.lock().expect("nothing panics while it holds this lock").take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn write_until_stopped(mut connection: SqliteConnection, mut requests: mpsc::Receiver<Message>) {
    let mut next = requests.blocking_recv();
    while let Some(message) = next.take() {
        match message {
            Message::Write(first) => {
                let (group, other) = collect(first, &mut requests);
                write_group(&mut connection, group);
                if other.is_some() {
                    next = other;
                    continue;
                }
            }
            Message::Alone(operation) => operation(&mut connection),
            Message::Stop(reply) => {
                drop(connection);
                let _ = reply.send(());
                return;
            }
        }
        next = requests.blocking_recv();
    }
}

/// The requests that wait already, up to the first that wants something else.
fn collect(
    first: Box<dyn Request>,
    requests: &mut mpsc::Receiver<Message>,
) -> (Vec<Box<dyn Request>>, Option<Message>) {
    let mut group = vec![first];
    while group.len() < GROUP {
        match requests.try_recv() {
            Ok(Message::Write(request)) => group.push(request),
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    group.retain(|request| request.is_wanted());
    (group, None)
}

fn write_group(connection: &mut SqliteConnection, mut group: Vec<Box<dyn Request>>) {
    if group.is_empty() {
        return;
    }
    let committed = commit_group(connection, &mut group);
    let failed = committed.err().map(|error| {
        // What was read inside the lost transaction must not be remembered.
        connection.forget_shard_numbers();
        let _ = connection.batch("ROLLBACK");
        match &error {
            StoreError::Busy { .. } => Failure::Busy(chain(&error)),
            _ => Failure::Lost(chain(&error)),
        }
    });
    for request in group {
        request.answer(failed.as_ref());
    }
}

fn commit_group(connection: &mut SqliteConnection, group: &mut [Box<dyn Request>]) -> Result<(), StoreError> {
    connection.action = "begin a transaction";
    connection.batch("BEGIN IMMEDIATE")?;
    for request in group {
        connection.batch("SAVEPOINT request")?;
        let succeeded = request.run(connection);
        if connection.lost_transaction() {
            return Err(closed_by_itself(connection.action));
        }
        if !succeeded {
            connection.batch("ROLLBACK TO request")?;
        }
        connection.batch("RELEASE request")?;
    }
    connection.action = "commit";
    connection.batch("COMMIT")
}

fn closed_by_itself(action: &'static str) -> StoreError {
    StoreError::Unavailable { action, source: "the database rolled the transaction back".into() }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
