//! The handlers behind `samples.yaml`: one of each kind of job, as small as they can be.
//!
//! Begin with [`worker`]; everything else is a handler.

use std::ops::Range;
use std::time::Duration;

use carillon_client::prelude::*;
use serde::{Deserialize, Serialize};

/// The sample jobs as documents for `carillon apply`.
pub const DOCUMENTS: &str = include_str!("../samples.yaml");

/// Adds every sample handler to a worker.
pub fn worker(worker: Worker) -> Worker {
    worker
        .job("tell-time", job_fn(tell_time))
        .job("hello", job_fn(hello))
        .job("third-time-lucky", job_fn(third_time_lucky))
        .job("never-lucky", job_fn(never_lucky))
        .job("slow", job_fn(slow))
        .parallel_reduce("count-primes", CountPrimes)
}

/// Says for which minute it was due.
async fn tell_time(ctx: RunContext, _: serde_json::Value) -> JobResult<u64> {
    let since = ctx.fire_time().duration_since(std::time::UNIX_EPOCH)?;
    tracing::info!("it is minute {} of the hour", since.as_secs() / 60 % 60);
    Ok(since.as_secs())
}

/// Params of `hello`.
#[derive(Deserialize)]
struct Hello {
    name: String,
}

/// Greets somebody.
async fn hello(ctx: RunContext, params: Hello) -> JobResult<String> {
    tracing::info!(attempt = ctx.attempt(), "greeting {}", params.name);
    Ok(format!("hello {}", params.name))
}

/// Fails until the third attempt.
async fn third_time_lucky(ctx: RunContext, _: serde_json::Value) -> JobResult<String> {
    if ctx.attempt() < 3 {
        tracing::warn!("attempt {} goes wrong on purpose", ctx.attempt());
        return Err(failed("out of luck, as planned"));
    }
    tracing::info!("attempt {} goes well", ctx.attempt());
    Ok("lucky".to_owned())
}

/// Fails every time.
async fn never_lucky(ctx: RunContext, _: serde_json::Value) -> JobResult {
    tracing::error!("attempt {} of {} goes wrong on purpose", ctx.attempt(), ctx.max_attempts());
    Err(failed("never lucky, as planned"))
}

/// Params of `slow`.
#[derive(Deserialize)]
struct Slow {
    seconds: u32,
}

/// Takes its time, says how far it is, and stops when it is told to.
async fn slow(ctx: RunContext, params: Slow) -> JobResult {
    let steps = params.seconds.clamp(1, 3_600);
    for step in 0..steps {
        ctx.check()?;
        ctx.progress(f64::from(step) / f64::from(steps), format!("second {} of {steps}", step + 1));
        tracing::info!("second {} of {steps}", step + 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Counts primes on all workers.
struct CountPrimes;

/// Params of `count-primes`.
#[derive(Deserialize)]
struct Primes {
    below: u32,
    subtasks: u32,
}

/// A subtask: the numbers to look at.
#[derive(Serialize, Deserialize)]
struct Numbers {
    from: u32,
    to: u32,
}

impl ParallelJob for CountPrimes {
    type Params = Primes;
    type Task = Numbers;
    type Output = u64;

    async fn split(&self, _: RunContext, params: Primes, out: &mut Emit<Numbers>) -> JobResult {
        let step = (params.below / params.subtasks.max(1)).max(1);
        for from in (0..params.below).step_by(step as usize) {
            let to = from.saturating_add(step).min(params.below);
            out.push_keyed(format!("{from}-{to}"), Numbers { from, to }).await?;
        }
        tracing::info!("made {} subtasks", out.count());
        Ok(())
    }

    async fn process(&self, ctx: RunContext, task: Numbers) -> JobResult<u64> {
        ctx.check()?;
        let count = count_primes(task.from..task.to);
        tracing::info!("{count} primes from {} up to {}", task.from, task.to);
        Ok(count)
    }
}

impl Reduce for CountPrimes {
    type Result = u64;

    async fn reduce(&self, _: RunContext, params: Primes, outputs: &mut Outputs<u64>) -> JobResult<u64> {
        let mut sum = 0;
        while let Some(count) = outputs.next().await? {
            sum += count;
        }
        tracing::info!("{sum} primes below {}", params.below);
        Ok(sum)
    }
}

fn count_primes(numbers: Range<u32>) -> u64 {
    let is_prime = |n: &u32| *n >= 2 && (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    numbers.filter(is_prime).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_9592_primes_below_100000() {
        assert_eq!(count_primes(0..100_000), 9_592);
    }
}
