//! Figures for Prometheus, by its conventions.

use std::{
    fmt::Write as _,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use http::{Method, StatusCode};
use myriad_api::JobState;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

/// The media type of the figures.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Most answers take less than a millisecond; uploads may take minutes.
const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0, 60.0,
];

type Level = Gauge<u64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    /// The template of the path.
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// The figures of a service.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    uploaded: Counter,
    levels: Mutex<Levels>,
}

/// Figures that are looked up when somebody asks.
#[derive(Default)]
struct Levels {
    jobs: Family<State, Level>,
    tasks_running: Level,
    tasks_accepted: Counter,
    peers: Level,
    received: Counter,
    sent: Counter,
    disk_free: Level,
    disk: Level,
    streams: Level,
    connections: Level,
}

/// What those are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    /// Jobs in each state, in the order of [`JobState::ALL`].
    pub(crate) jobs: [u64; JobState::ALL.len()],
    pub(crate) running: u64,
    pub(crate) accepted: u64,
    pub(crate) peers: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) disk_free_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) streams: u64,
    pub(crate) connections: u64,
}

impl Metrics {
    pub(crate) fn new(build: &str, started_ms: u64) -> Self {
        let mut registry = Registry::with_prefix("myriad");
        let version = build.rsplit(' ').next().unwrap_or(build).to_owned();
        registry.register(
            "build",
            "The build of the service",
            Info::new(vec![("version", version)]),
        );
        let started: Gauge<f64, AtomicU64> = Gauge::default();
        started.set(started_ms as f64 / 1000.0);
        registry.register_with_unit(
            "start_time",
            "When the service was started, since 1970",
            Unit::Seconds,
            started,
        );
        let requests = Family::default();
        registry.register(
            "http_requests",
            "Requests that were answered, by route and status",
            requests.clone(),
        );
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let seconds = Family::new_with_constructor(histogram);
        registry.register_with_unit(
            "http_request_duration",
            "The time until the head of an answer was there, by route",
            Unit::Seconds,
            seconds.clone(),
        );
        let uploaded = Counter::default();
        registry.register_with_unit(
            "upload",
            "Bytes of submissions that came whole",
            Unit::Bytes,
            uploaded.clone(),
        );
        let levels = Levels::default();
        levels.register(&mut registry);
        Self {
            registry,
            requests,
            seconds,
            uploaded,
            levels: Mutex::new(levels),
        }
    }

    /// A request was answered.
    pub(crate) fn request(&self, method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
        // Clients choose paths and methods: what is not ours has one name.
        let route = route.unwrap_or("other").to_owned();
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::DELETE => "DELETE",
            Method::OPTIONS => "OPTIONS",
            _ => "other",
        };
        self.seconds
            .get_or_create(&Route { route: route.clone() })
            .observe(took.as_secs_f64());
        let request = Request {
            method,
            route,
            status: status.as_u16(),
        };
        self.requests.get_or_create(&request).inc();
    }

    /// An upload came whole.
    pub(crate) fn uploaded(&self, bytes: u64) {
        self.uploaded.inc_by(bytes);
    }

    /// The figures as text.
    pub(crate) fn text(&self, now: &Now) -> String {
        // Held until the text is there, so that all of its figures are of the same time.
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.set(now);
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            // Writing to a string does not fail; a scrape without the end of the text does.
            text.clear();
            let _ = writeln!(text, "# the figures could not be written");
        }
        text
    }
}

impl Levels {
    fn register(&self, registry: &mut Registry) {
        registry.register("jobs", "Jobs that are known, by state", self.jobs.clone());
        registry.register(
            "tasks_running",
            "Tasks that are being made",
            self.tasks_running.clone(),
        );
        registry.register(
            "tasks_accepted",
            "Tasks whose proofs were accepted since the start",
            self.tasks_accepted.clone(),
        );
        registry.register("peers", "Peers that are connected", self.peers.clone());
        let bytes = [
            (
                "blob_received",
                "Bytes of programs, inputs and proofs that came from peers",
                &self.received,
            ),
            (
                "blob_sent",
                "Bytes of programs, inputs and proofs that went to peers",
                &self.sent,
            ),
        ];
        for (name, what, counter) in bytes {
            registry.register_with_unit(name, what, Unit::Bytes, counter.clone());
        }
        let bytes = [
            (
                "disk_free",
                "Bytes that the data folder's file system has left",
                &self.disk_free,
            ),
            ("disk_size", "Bytes of the data folder's file system", &self.disk),
        ];
        for (name, what, gauge) in bytes {
            registry.register_with_unit(name, what, Unit::Bytes, gauge.clone());
        }
        registry.register(
            "event_streams",
            "Streams of events that are open",
            self.streams.clone(),
        );
        registry.register(
            "http_connections",
            "Connections that are open",
            self.connections.clone(),
        );
    }

    fn set(&self, now: &Now) {
        for (state, count) in JobState::ALL.into_iter().zip(now.jobs) {
            let state = State {
                state: state.as_str(),
            };
            self.jobs.get_or_create(&state).set(count);
        }
        for (gauge, value) in [
            (&self.tasks_running, now.running),
            (&self.peers, now.peers),
            (&self.disk_free, now.disk_free_bytes),
            (&self.disk, now.disk_bytes),
            (&self.streams, now.streams),
            (&self.connections, now.connections),
        ] {
            gauge.set(value);
        }
        for (counter, value) in [
            (&self.tasks_accepted, now.accepted),
            (&self.received, now.received_bytes),
            (&self.sent, now.sent_bytes),
        ] {
            // Counted elsewhere; it never goes back.
            counter.inc_by(value.saturating_sub(counter.get()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_names_that_prometheus_wants() {
        let metrics = Metrics::new("myriad 0.1.0", 1500);
        let took = Duration::from_millis(3);
        metrics.request(&Method::GET, Some("/v1/jobs/{id}"), StatusCode::OK, took);
        metrics.request(
            &Method::from_bytes(b"BREW").unwrap(),
            None,
            StatusCode::NOT_FOUND,
            took,
        );
        metrics.uploaded(7);
        let mut now = Now {
            jobs: [0, 1, 2, 3, 4, 5, 6],
            accepted: 11,
            disk_free_bytes: 12,
            ..Now::default()
        };
        metrics.text(&now);
        now.accepted = 13;
        let text = metrics.text(&now);
        for line in [
            "myriad_build_info{version=\"0.1.0\"} 1",
            "myriad_start_time_seconds 1.5",
            "myriad_http_requests_total{method=\"GET\",route=\"/v1/jobs/{id}\",status=\"200\"} 1",
            "myriad_http_requests_total{method=\"other\",route=\"other\",status=\"404\"} 1",
            "myriad_http_request_duration_seconds_bucket{le=\"0.005\",route=\"other\"} 1",
            "myriad_upload_bytes_total 7",
            "myriad_jobs{state=\"planning\"} 1",
            "myriad_jobs{state=\"interrupted\"} 6",
            "myriad_tasks_accepted_total 13",
            "myriad_disk_free_bytes 12",
            "myriad_blob_sent_bytes_total 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
