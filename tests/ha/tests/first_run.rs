//! What a newcomer sees: `carillon dev` in an empty folder, and again on the same data.

use std::time::{Duration, Instant};

use carillon_ha::api::Run;
use carillon_ha::binaries::is_release;
use carillon_ha::dev::Dev;
use carillon_ha::site::Site;
use carillon_ha::story::{alone, figure};
use carillon_ha::wait::{self, PATIENCE};

/// Budgets of a release build; a debug build only reports.
const TO_BANNER: Duration = Duration::from_millis(500);
const TO_SUCCESS: Duration = Duration::from_secs(2);
const IDLE_MIB: f64 = 80.0;

/// A run that succeeded and has lines in its log.
async fn success_with_lines(site: &Site) -> Run {
    wait::until("a run has succeeded and has log lines", PATIENCE, async || {
        let runs = site.api().items("/runs?state=succeeded").await;
        for run in runs.into_iter().map(Run::new) {
            if !site.api().log(run.id()).await.trim().is_empty() {
                return Ok(run);
            }
        }
        Err("none yet")
    })
    .await
}

#[test]
fn a_newcomer_sees_a_successful_run_before_doing_anything_and_finds_it_again() {
    alone(async || {
        let began = Instant::now();
        let dev = Dev::start_with_samples("first").await;
        let run = success_with_lines(&dev).await;
        let to_success = began.elapsed();

        let said = dev.process().said();
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines.len() <= 10, "at most ten lines:\n{said}");
        assert!(lines.last().unwrap().contains(dev.api().console()), "the URL comes last:\n{said}");
        let jobs = dev.api().items("/jobs").await.len();
        assert!(jobs >= 3, "the samples light up the pages: {jobs} jobs");
        let log = dev.api().log(run.id()).await;

        // Idle: the samples ring now and then, nothing else happens.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let resident = dev.process().resident_mib();
        figure("carillon dev, start to banner", format!("{} ms", dev.to_banner.as_millis()));
        figure("carillon dev, start to first success with log", format!("{} ms", to_success.as_millis()));
        figure("carillon dev, idle", format!("{resident:.0} MiB"));
        if is_release() {
            assert!(
                dev.to_banner < TO_BANNER && to_success < TO_SUCCESS,
                "{:?}, {to_success:?}",
                dev.to_banner
            );
            assert!(resident < IDLE_MIB, "{resident} MiB");
        }

        dev.stop().await;
        let took = dev.start_again(&[]).await;
        figure("carillon dev, start on kept data", format!("{} ms", took.as_millis()));
        let again = dev.api().run(run.id()).await;
        assert_eq!((again.state(), again.trace()), ("succeeded", run.trace()));
        assert_eq!(dev.api().log(run.id()).await, log, "its log is still there");
        assert_eq!(dev.api().items("/jobs").await.len(), jobs, "the samples are not made twice");
    });
}

#[test]
fn a_taken_port_is_told_and_the_next_one_taken() {
    alone(async || {
        let first = Dev::start("first-of-two").await;
        let port: u16 = first.api().console().rsplit(':').next().unwrap().parse().unwrap();
        let second = Dev::start_at("second-of-two", port).await;

        let other: u16 = second.api().console().rsplit(':').next().unwrap().parse().unwrap();
        assert_ne!(port, other);
        let said = second.process().said();
        assert!(said.contains(&port.to_string()) && said.contains(&other.to_string()), "it says so:\n{said}");
        assert_eq!(second.api().get("/jobs").await.status, 200);
    });
}
