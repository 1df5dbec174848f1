//! Several lanes beside each other: most of a trial is waiting, so that a machine with two cores can try more than one installation at a time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::cases;
use super::lane::{Order, broke_off};
use super::now_ms;
use super::report::{Build, Outcome};
use crate::checker::trial::Verdict;
use crate::lab::fate::Fate;

/// A world begins so long before its instant: what an installation needs to be there, and a horizon.
const AHEAD_MS: i64 = 75_000;

/// How often a lane is started again after it broke down as a whole: a machine that lacks something will go on lacking it.
const RESTARTS: usize = 5;

/// Runs all orders in so many lanes, and tells of each outcome as it comes. Logs of the harness go to `lane-N.log` in the folder.
pub fn run(
    orders: Vec<Order>,
    lanes: usize,
    folder: &Path,
    seen: impl Fn(Outcome) + Sync,
) -> Result<(), String> {
    let waiting = Mutex::new(VecDeque::from(orders));
    let (waiting, seen) = (&waiting, &seen);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=lanes)
            .map(|number| {
                let log = folder.join(format!("lane-{number}.log"));
                scope.spawn(move || run_lane(waiting, &log, seen))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a lane's thread ends"))
    })
}

fn run_lane(
    waiting: &Mutex<VecDeque<Order>>,
    log: &Path,
    seen: &(impl Fn(Outcome) + Sync),
) -> Result<(), String> {
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut order = next();
    let mut broken = 0;
    while order.is_some() && broken <= RESTARTS {
        let world = order.as_ref().and_then(|order| cases::instant_of(&order.case));
        let mut lane = Lane::start(log, world)?;
        while let Some(current) = order.take_if(|order| cases::instant_of(&order.case) == world) {
            match lane.try_one(&current) {
                Ok(outcome) => seen(outcome),
                Err(why) => {
                    seen(broken_down(&current, &format!("{why}; see {}", log.display())));
                    order = next();
                    broken += 1;
                    break;
                }
            }
            order = next();
            if world.is_some() {
                // Its instant has passed.
                break;
            }
        }
    }
    if order.is_none() {
        Ok(())
    } else {
        Err(format!("a lane broke down again and again; see {}", log.display()))
    }
}

/// The process of a lane. Dropping it ends it and everything in its namespaces.
struct Lane {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Lane {
    /// Starts one; its whole world begins shortly before an instant, if one is named.
    fn start(log: &Path, instant_ms: Option<i64>) -> Result<Self, String> {
        let folder = log.with_extension("world");
        let own =
            std::env::current_exe().map_err(|error| format!("the harness does not find itself: {error}"))?;
        let log = File::options()
            .append(true)
            .create(true)
            .open(log)
            .map_err(|error| format!("{}: {error}", log.display()))?;
        // It dies with this thread, which waits for it, and so with this process.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(own).arg("lane");
        if let Some(instant) = instant_ms {
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            let folder = folder.canonicalize().map_err(|error| error.to_string())?;
            Fate::build(&folder)?.shift_world(&mut command, &folder, instant - AHEAD_MS - now_ms());
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("a lane cannot be started (Debian package util-linux): {error}"))?;
        let orders = child.stdin.take();
        let answers = child.stdout.take().ok_or("a lane has no answers")?;
        Ok(Self { child, orders, answers: BufReader::new(answers).lines() })
    }

    fn try_one(&mut self, order: &Order) -> Result<Outcome, String> {
        let mut line = serde_json::to_string(order).map_err(|error| error.to_string())?;
        line.push('\n');
        let orders = self.orders.as_mut().ok_or("the lane takes no orders")?;
        orders.write_all(line.as_bytes()).map_err(|error| format!("the lane takes no orders: {error}"))?;
        let answer = self.answers.next().ok_or("the lane ended")?;
        let answer = answer.map_err(|error| format!("the lane does not answer: {error}"))?;
        serde_json::from_str(&answer).map_err(|error| format!("{answer}: {error}"))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Without further orders it ends by itself, and cleans up.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}

/// The outcome of a trial whose lane broke down.
fn broken_down(order: &Order, why: &str) -> Outcome {
    let title = cases::named(&order.case).map_or(String::new(), |found| found[0].title.to_owned());
    Outcome {
        case: order.case.clone(),
        title,
        trial: order.trial,
        seed: order.seed,
        faults: Vec::new(),
        machine: Default::default(),
        build: Build::of_this_run(),
        quick: order.quick,
        took_s: 0.0,
        verdict: Verdict { violations: vec![broke_off(&order.case, why)], figures: Default::default() },
        history: None,
    }
}
