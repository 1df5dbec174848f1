//! A proxy before one ZooKeeper node that can hold a request back and deliver it late, even after its client is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Operation codes of requests, from ZooKeeper's `ZooDefs.OpCode`.
pub(crate) const MULTI: i32 = 14;
pub(crate) const CREATE: i32 = 15;

/// What connections do; each is told by its number, counted from 1.
#[derive(Debug, Clone, Default)]
struct Orders {
    /// Connections up to this number hold back the first request of this code, and all that follow it.
    hold: Option<(u64, i32)>,
    /// Connections up to this number hold all answers back.
    hold_answers_to: u64,
    /// Connections up to this number have lost their client.
    cut_to: u64,
    /// New connections are refused.
    closed: bool,
}

pub(crate) struct Proxy {
    pub(crate) address: String,
    orders: watch::Sender<Orders>,
    accepted: watch::Receiver<u64>,
    held: watch::Receiver<u64>,
    late_answer: watch::Receiver<Option<LateAnswer>>,
}

/// What became of a request that was delivered late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LateAnswer {
    Code(i32),
    ConnectionClosed,
}

struct Reports {
    held: watch::Sender<u64>,
    late_answer: watch::Sender<Option<LateAnswer>>,
}

impl Proxy {
    pub(crate) async fn before(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (orders, orders_seen) = watch::channel(Orders::default());
        let (count, accepted) = watch::channel(0);
        let (held_sender, held) = watch::channel(0);
        let (late_sender, late_answer) = watch::channel(None);
        let reports = Arc::new(Reports { held: held_sender, late_answer: late_sender });
        let node = node.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if orders_seen.borrow().closed {
                    continue;
                }
                let server = TcpStream::connect(&node).await.unwrap();
                count.send_modify(|count| *count += 1);
                let number = *count.borrow();
                serve(number, client, server, orders_seen.clone(), Arc::clone(&reports));
            }
        });
        Self { address, orders, accepted, held, late_answer }
    }

    /// Present connections hold back the next request of this code, and whatever comes after it.
    pub(crate) fn hold(&self, code: i32) {
        let present = *self.accepted.borrow();
        self.orders.send_modify(|orders| orders.hold = Some((present, code)));
    }

    /// Waits until a request is held back.
    pub(crate) async fn wait_for_held(&mut self) {
        timeout(Duration::from_secs(10), self.held.wait_for(|held| *held > 0)).await.unwrap().unwrap();
    }

    /// Delivers what is held back.
    pub(crate) fn deliver(&self) {
        self.orders.send_modify(|orders| orders.hold = None);
    }

    /// What the node answered to the request that was held back.
    pub(crate) async fn late_answer(&mut self) -> LateAnswer {
        let answered = self.late_answer.wait_for(Option::is_some);
        timeout(Duration::from_secs(10), answered).await.unwrap().unwrap().unwrap()
    }

    /// Present connections hold back all answers.
    pub(crate) fn hold_answers(&self) {
        let present = *self.accepted.borrow();
        self.orders.send_modify(|orders| orders.hold_answers_to = present);
    }

    /// Cuts present connections off from their client and lets no new ones through: to the node it looks as if the client's
    /// machine had lost its power.
    pub(crate) fn close(&self) {
        self.cut();
        self.orders.send_modify(|orders| orders.closed = true);
    }

    /// Cuts present connections off from their client; their requests still reach the node.
    pub(crate) fn cut(&self) {
        let present = *self.accepted.borrow();
        self.orders.send_modify(|orders| orders.cut_to = present);
    }
}

fn serve(
    number: u64,
    client: TcpStream,
    server: TcpStream,
    orders: watch::Receiver<Orders>,
    reports: Arc<Reports>,
) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (requests, queue) = mpsc::unbounded_channel();
    let (late, late_seen) = watch::channel(None);
    tokio::spawn(read_requests(number, from_client, requests, orders.clone()));
    tokio::spawn(write_requests(number, to_server, queue, orders.clone(), Arc::clone(&reports), late));
    tokio::spawn(pass_answers(number, from_server, to_client, orders, reports, late_seen));
}

async fn read_frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).await.ok()?;
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

fn number_at(frame: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(frame.get(at..at + 4)?.try_into().unwrap()))
}

async fn read_requests(
    number: u64,
    mut from: OwnedReadHalf,
    requests: mpsc::UnboundedSender<Vec<u8>>,
    mut orders: watch::Receiver<Orders>,
) {
    loop {
        tokio::select! {
            frame = read_frame(&mut from) => match frame {
                Some(frame) => requests.send(frame).unwrap_or(()),
                None => return,
            },
            _ = orders.wait_for(|orders| orders.cut_to >= number) => return,
        }
    }
}

async fn write_requests(
    number: u64,
    mut to: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    mut orders: watch::Receiver<Orders>,
    reports: Arc<Reports>,
    late: watch::Sender<Option<i32>>,
) {
    let mut first = true; // the request to connect has no code
    while let Some(frame) = queue.recv().await {
        let code = number_at(&frame, 8).filter(|_| !first);
        first = false;
        let holds =
            |orders: &Orders| orders.hold.is_some_and(|(up_to, held)| number <= up_to && Some(held) == code);
        if holds(&orders.borrow().clone()) {
            late.send_replace(number_at(&frame, 4));
            reports.held.send_modify(|held| *held += 1);
            if orders.wait_for(|orders| orders.hold.is_none()).await.is_err() {
                return;
            }
        }
        if to.write_all(&frame).await.is_err() {
            break;
        }
    }
    // The client is gone, and all it said has been passed on. The node may still want to answer: the test's end closes.
    let _ = orders.wait_for(|_| false).await;
}

async fn pass_answers(
    number: u64,
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    mut orders: watch::Receiver<Orders>,
    reports: Arc<Reports>,
    late: watch::Receiver<Option<i32>>,
) {
    let mut to = Some(to);
    loop {
        let frame = tokio::select! {
            frame = read_frame(&mut from) => frame,
            _ = orders.wait_for(|orders| orders.cut_to >= number), if to.is_some() => {
                to = None; // closes the client's side
                continue;
            }
        };
        let held_xid = *late.borrow();
        let Some(frame) = frame else {
            if held_xid.is_some() {
                reports.late_answer.send_if_modified(|answer| {
                    answer.is_none() && {
                        *answer = Some(LateAnswer::ConnectionClosed);
                        true
                    }
                });
            }
            return;
        };
        if held_xid.is_some() && number_at(&frame, 4) == held_xid {
            reports.late_answer.send_replace(number_at(&frame, 16).map(LateAnswer::Code));
        }
        let gated = |orders: &Orders| orders.hold_answers_to < number || orders.cut_to >= number;
        if orders.wait_for(|orders| gated(orders)).await.is_err() {
            return;
        }
        if let Some(client) = &mut to
            && client.write_all(&frame).await.is_err()
        {
            to = None;
        }
    }
}
