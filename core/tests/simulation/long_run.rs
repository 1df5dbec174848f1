//! Many seeds in one go, for `make sim`: on as many threads as wanted, going on after a violation, with a summary.
//!
//! `CARILLON_SIM_SEEDS=n` seeds of safety and of liveness each (2,000), a tenth of it of the mode kill and a twentieth of calm;
//! `CARILLON_SIM_FROM=n` is the first one (1), `CARILLON_SIM_THREADS=n` (1), and every `CARILLON_SIM_TWICE`th seed is run twice (10).

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use crate::world::{Mode, Mutant};
use crate::{number, run, run_twice};

/// So many violations tell enough: the engine is broken then, not unlucky.
const MOST_VIOLATIONS: usize = 50;

/// A word on how far it is after so many seeds.
const PROGRESS: u64 = 10_000;

static RUNNING: AtomicBool = AtomicBool::new(false);

/// Whether violations are told by the long run, at its end.
pub(crate) fn is_running() -> bool {
    RUNNING.load(Ordering::Relaxed)
}

#[derive(Default)]
struct Tally {
    done: AtomicU64,
    twice: AtomicU64,
    /// The latest start after an owner was killed, in milliseconds.
    late: AtomicI64,
    violations: Mutex<Vec<String>>,
}

impl Tally {
    fn run(&self, seed: u64, mode: Mode, twice_each: u64) {
        let twice = seed.is_multiple_of(twice_each);
        let outcome = catch_unwind(|| match twice {
            true => run_twice(seed, mode),
            false => run(seed, mode, Mutant::None, false),
        });
        self.twice.fetch_add(twice.into(), Ordering::Relaxed);
        match outcome {
            Ok(outcome) if mode == Mode::Kill => _ = self.late.fetch_max(outcome.late, Ordering::Relaxed),
            Ok(_) => {}
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "panicked".to_owned());
                eprintln!("VIOLATION mode {mode:?}: seed {seed}: {said}");
                self.violations
                    .lock()
                    .expect("nobody panics with it")
                    .push(format!("{mode:?} {seed}: {said}"));
            }
        }
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(PROGRESS) {
            eprintln!("{done} seeds done");
        }
    }

    fn is_hopeless(&self) -> bool {
        self.violations.lock().expect("nobody panics with it").len() >= MOST_VIOLATIONS
    }
}

#[test]
#[ignore = "takes as long as is asked for: make sim"]
fn a_long_run() {
    RUNNING.store(true, Ordering::Relaxed);
    std::panic::set_hook(Box::new(|_| {}));
    let seeds = number("CARILLON_SIM_SEEDS").unwrap_or(2_000);
    let from = number("CARILLON_SIM_FROM").unwrap_or(1);
    let threads = number("CARILLON_SIM_THREADS").unwrap_or(1);
    let twice_each = number("CARILLON_SIM_TWICE").unwrap_or(10).max(1);
    let of_modes = [
        (Mode::Safety, seeds),
        (Mode::Liveness, seeds),
        (Mode::Kill, seeds.div_ceil(10)),
        (Mode::Calm, seeds.div_ceil(20)),
    ];
    let (tally, began) = (Tally::default(), Instant::now());
    for (mode, seeds) in of_modes {
        let next = AtomicU64::new(from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= from + seeds || tally.is_hopeless() {
                            return;
                        }
                        tally.run(seed, mode, twice_each);
                    }
                });
            }
        });
    }
    _ = std::panic::take_hook();
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let Tally { done, twice, late, violations } = tally;
    let (done, twice) = (done.into_inner(), twice.into_inner());
    let violations = violations.into_inner().expect("nobody panicked with it");
    let modes: Vec<String> = of_modes.iter().map(|(mode, seeds)| format!("{mode:?} {seeds}")).collect();
    eprintln!(
        "{done} seeds from {from} ({}): {} violations; {twice} of them run twice with the same trace; {:.0} seeds a minute on {threads} \
         thread(s), {minutes:.1} min; the latest start after an owner was killed {} ms late",
        modes.join(", "),
        violations.len(),
        done as f64 / minutes,
        late.into_inner(),
    );
    assert!(violations.is_empty(), "violations:\n{}", violations.join("\n"));
}
