//! A worker with parallel jobs: the first level splits, the second processes on every worker, an optional reduce makes one result.

use carillon_client::prelude::*;

/// A hundred texts, each logged by whichever worker gets it.
struct Hundred;

impl ParallelJob for Hundred {
    type Params = Option<String>;
    type Task = String;
    type Output = ();

    async fn split(&self, _: RunContext, _: Option<String>, out: &mut Emit<String>) -> JobResult {
        for number in 0..100 {
            out.push(format!("task-{number}")).await?;
        }
        Ok(())
    }

    async fn process(&self, _: RunContext, task: String) -> JobResult {
        tracing::info!("processing {task}");
        Ok(())
    }
}

/// The sum of the numbers below a limit, one subtask each.
struct Sum;

impl ParallelJob for Sum {
    type Params = Option<i64>;
    type Task = i64;
    type Output = i64;

    async fn split(&self, _: RunContext, below: Option<i64>, out: &mut Emit<i64>) -> JobResult {
        for number in 0..below.unwrap_or(100) {
            out.push(number).await?;
        }
        Ok(())
    }

    async fn process(&self, _: RunContext, number: i64) -> JobResult<i64> {
        Ok(number)
    }
}

impl Reduce for Sum {
    type Result = i64;

    async fn reduce(&self, _: RunContext, _: Option<i64>, numbers: &mut Outputs<i64>) -> JobResult<i64> {
        let mut sum = 0;
        while let Some(number) = numbers.next().await? {
            sum += number;
        }
        Ok(sum)
    }
}

/// Ten subtasks, of which the seventh fails twice and then succeeds.
struct Flaky;

impl ParallelJob for Flaky {
    type Params = Option<String>;
    type Task = u32;
    type Output = ();

    async fn split(&self, _: RunContext, _: Option<String>, out: &mut Emit<u32>) -> JobResult {
        for number in 0..10 {
            out.push(number).await?;
        }
        Ok(())
    }

    async fn process(&self, ctx: RunContext, number: u32) -> JobResult {
        let attempt = ctx.subtask().map_or(1, |subtask| subtask.attempt);
        if number == 7 && attempt < 3 {
            return Err(failed(format!("try {attempt} of number 7 fails")));
        }
        tracing::info!("number {number} succeeds at try {attempt}");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), carillon_client::Error> {
    carillon_client::init_logs();
    Worker::from_env()?
        .parallel("parallel", Hundred)
        .parallel_reduce("parallel_sum", Sum)
        .parallel("parallel_flaky", Flaky)
        .serve()
        .await
}
