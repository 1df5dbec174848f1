//! Slow and lossy networks: packets between some nodes take a way through the harness, which delays and loses them by a seeded chance.
//!
//! The kernel of a test machine need not have netem. The router sends the packets of chosen pairs to a tunnel device; the harness, at its other
//! end, holds each back for a while and hands it to the router again, or does not. Jitter reorders packets, as it does in a real network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tun::Tun;

use super::network::shell;

/// How bad the way is, in each direction.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// What every packet takes at least.
    pub delay: Duration,
    /// What it may take more, evenly spread.
    pub jitter: Duration,
    /// The share of packets that is lost.
    pub loss: f64,
}

/// Packets under way at once; a router with a full queue drops what comes, and so does this one.
const QUEUE: usize = 20_000;

/// The device's name and the table of routes that leads to it.
const DEVICE: &str = "weather";
const TABLE: u32 = 77;

/// Some pairs of addresses have bad weather until this is dropped.
#[derive(Debug)]
pub(super) struct Storm {
    undo: String,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    passed: AtomicU64,
    lost: AtomicU64,
}

impl Storm {
    /// Sends what goes between these addresses, one direction each, through the weather.
    pub(super) fn begin(
        ways: &[(std::net::Ipv4Addr, std::net::Ipv4Addr)],
        weather: Weather,
        seed: u64,
    ) -> Result<Self, String> {
        let mut devices = Tun::builder().name(DEVICE).up().build().map_err(|error| {
            format!("the harness cannot make a tunnel device (/dev/net/tun is needed): {error}")
        })?;
        let device = Arc::new(devices.pop().ok_or("no tunnel device was made")?);
        let mut make = format!(
            "set -e\necho 0 >/proc/sys/net/ipv4/conf/all/rp_filter\necho 0 >/proc/sys/net/ipv4/conf/{DEVICE}/rp_filter\n\
             ip route replace default dev {DEVICE} table {TABLE}\nip rule add pref 15 iif {DEVICE} lookup main\n"
        );
        let mut undo = format!("ip rule del pref 15 iif {DEVICE} lookup main\n");
        for (from, to) in ways {
            make.push_str(&format!("ip rule add pref 20 from {from} to {to} lookup {TABLE}\n"));
            undo.push_str(&format!("ip rule del pref 20 from {from} to {to} lookup {TABLE}\n"));
        }
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(forward(device, weather, StdRng::seed_from_u64(seed), Arc::clone(&counts)));
        let storm = Self { undo, counts, task };
        shell(&make)?;
        Ok(storm)
    }

    /// How many packets it delayed, and how many it lost.
    pub(super) fn packets(&self) -> (u64, u64) {
        (self.counts.passed.load(Ordering::Relaxed), self.counts.lost.load(Ordering::Relaxed))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        // A rule that was never made cannot be undone.
        let _ = shell(&self.undo);
        self.task.abort();
    }
}

async fn forward(device: Arc<Tun>, weather: Weather, mut random: StdRng, counts: Arc<Counts>) {
    let room = Arc::new(Semaphore::new(QUEUE));
    let mut packet = vec![0; 65_536];
    loop {
        let Ok(length) = device.recv(&mut packet).await else { return };
        let taken = weather.delay + weather.jitter.mul_f64(random.random::<f64>());
        let place = Arc::clone(&room).try_acquire_owned().ok();
        let Some(place) = place.filter(|_| random.random::<f64>() >= weather.loss) else {
            counts.lost.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        counts.passed.fetch_add(1, Ordering::Relaxed);
        let (at, device, packet) = (Instant::now() + taken, Arc::clone(&device), packet[..length].to_vec());
        tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            // One that cannot be sent is lost, as others are.
            let _ = device.send(&packet).await;
            drop(place);
        });
    }
}
