//! `carillon healthcheck`: is the process on this machine alive? For containers, which have no curl.

use std::net::ToSocketAddrs;
use std::time::Duration;

use crate::args::HealthcheckArgs;
use crate::failure::{Failure, Outcome};
use crate::output::say;

/// Exit code 0 when it answers, 6 when it does not.
pub(crate) fn run(args: HealthcheckArgs) -> Outcome {
    let patience = Duration::from(args.timeout);
    match (args.http, args.grpc) {
        (Some(address), _) => http(&address, patience),
        (None, Some(address)) => port(&address, patience),
        (None, None) => Err(Failure::Usage("give --http or --grpc".to_owned())),
    }
}

fn http(address: &str, patience: Duration) -> Outcome {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}/livez") };
    let unreachable =
        |error: &dyn std::fmt::Display| Failure::Unreachable(format!("{url} does not answer: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        let client = reqwest::Client::builder()
            .timeout(patience)
            .build()
            .map_err(|error| Failure::Error(error.into()))?;
        let response = client.get(&url).send().await.map_err(|error| unreachable(&error))?;
        Outcome::Ok(response.status())
    })?;
    if !status.is_success() {
        return Err(unreachable(&status));
    }
    say(&format!("{url}: {status}"));
    Ok(())
}

/// A server that listens and accepts within the deadline is alive; whether it is well is for its metrics.
fn port(address: &str, patience: Duration) -> Outcome {
    let mut found = address
        .to_socket_addrs()
        .map_err(|error| Failure::Usage(format!("--grpc {address:?} is not host:port: {error}")))?;
    let target = found.next().ok_or_else(|| Failure::Usage(format!("{address:?} has no address")))?;
    std::net::TcpStream::connect_timeout(&target, patience)
        .map_err(|error| Failure::Unreachable(format!("{address} does not accept connections: {error}")))?;
    say(&format!("{address}: accepts connections"));
    Ok(())
}
