//! The console's own metrics, in the text format of Prometheus.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// From one millisecond, a cached read, to ten seconds, more than any deadline of ours.
const BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of one console.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    sign_ins: Family<OutcomeLabels, Counter>,
    server_calls: Family<CallLabels, Counter>,
    pub(crate) event_streams: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    method: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
    outcome: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("carillon");
        let requests = Family::default();
        registry.register("http_requests", "HTTP requests by route, method and status", requests.clone());
        let durations: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let help = "How long HTTP requests took until their answer began";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, durations.clone());
        let sign_ins = Family::default();
        registry.register("sign_ins", "Sign-ins by outcome", sign_ins.clone());
        let server_calls = Family::default();
        registry.register(
            "console_server_calls",
            "Calls to servers by call and gRPC status",
            server_calls.clone(),
        );
        let event_streams = Gauge::default();
        registry.register(
            "console_event_streams",
            "Browsers that listen to live events",
            event_streams.clone(),
        );
        Self { registry, requests, durations, sign_ins, server_calls, event_streams }
    }
}

impl Metrics {
    pub(crate) fn request(&self, route: &str, method: &str, status: u16, took: Duration) {
        let (route, method) = (route.to_owned(), method.to_owned());
        self.durations
            .get_or_create(&RouteLabels { route: route.clone(), method: method.clone() })
            .observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { route, method, status }).inc();
    }

    pub(crate) fn sign_in(&self, outcome: &'static str) {
        self.sign_ins.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn server_call(&self, call: &'static str, outcome: tonic::Code) {
        self.server_calls.get_or_create(&CallLabels { call, outcome: format!("{outcome:?}") }).inc();
    }

    /// All metrics as text.
    pub(crate) fn text(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("writing to a string does not fail");
        page
    }
}
