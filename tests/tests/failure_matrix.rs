//! What becomes of requests while one or two of three upstreams fail in each way, with default
//! settings: the table of `docs/upstreams.md`. CI leaves it out, since it takes minutes.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use portcullis_tests::{
    Backend, Load, Proxy, netns, netns::Network, nginx::Nginx, pki, ports::free_port,
};
use rustix::process::Signal;
use serde_json::Value;

const ENDPOINTS: usize = 3;
const CLIENTS: usize = 4;
/// How long the upstreams fail.
const LASTS: Duration = Duration::from_secs(6);
/// How long a flapping upstream is up, and down.
const FLAPS: Duration = Duration::from_millis(250);
/// The route's `timeout`, in milliseconds.
const TIMEOUT_MS: f64 = 3_000.0;

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Killed,
    Stopped,
    Dropped,
    Flapping,
    Answers503,
    HangsInTls,
}

impl Failure {
    const ALL: [Self; 6] = [
        Self::Killed,
        Self::Stopped,
        Self::Dropped,
        Self::Flapping,
        Self::Answers503,
        Self::HangsInTls,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Stopped => "SIGSTOP",
            Self::Dropped => "packets dropped",
            Self::Flapping => "killed and started every 250 ms",
            Self::Answers503 => "answers 503",
            Self::HangsInTls => "accepts, and hangs in TLS",
        }
    }
}

/// One of the upstreams.
struct Upstream {
    port: u16,
    http2: bool,
    nginx: Option<Nginx>,
}

impl Upstream {
    fn start(http2: bool) -> Self {
        let mut upstream = Self { port: free_port(), http2, nginx: None };
        upstream.come_back();
        upstream
    }

    fn come_back(&mut self) {
        let location = "location / { if (-f $document_root/down) { return 503; } return 200 ok; }";
        let setup = Nginx::tls(&pki().upstream()).at(self.port).with(location);
        self.nginx = Some(if self.http2 { setup.http2() } else { setup }.start());
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    fn running(&self) -> &Nginx {
        self.nginx.as_ref().expect("it runs")
    }

    /// Fails until the load has stopped.
    fn fail(&mut self, failure: Failure, stopped: &AtomicBool) {
        let wait = || {
            while !stopped.load(SeqCst) {
                thread::sleep(FLAPS / 10);
            }
        };
        match failure {
            Failure::Killed => self.nginx = None,
            Failure::Stopped => {
                self.running().signal(Signal::STOP);
                wait();
                self.running().signal(Signal::CONT);
            }
            // The network does it.
            Failure::Dropped => {}
            Failure::Flapping => {
                while !stopped.load(SeqCst) {
                    self.nginx = None;
                    thread::sleep(FLAPS);
                    self.come_back();
                    thread::sleep(FLAPS);
                }
            }
            Failure::Answers503 => {
                let file = self.running().root().join("down");
                std::fs::write(file, "").expect("a file");
            }
            Failure::HangsInTls => {
                let address = self.running().address();
                self.nginx = None;
                let hangs = Backend::plain_on(address, |conn| conn.wait_for_end());
                wait();
                drop(hangs);
            }
        }
    }
}

/// What became of the requests.
#[derive(Debug, Default)]
struct Outcome {
    requests: usize,
    unconnected: usize,
    broken: usize,
    timed_out: usize,
    passed_on: usize,
    slowest_ms: f64,
    late: usize,
}

impl Outcome {
    fn of(records: &[Value]) -> Self {
        let count = |text: &str| {
            let has = |record: &&Value| record["response-code-details"].to_string().contains(text);
            records.iter().filter(has).count()
        };
        let duration = |record: &Value| record["duration"].as_f64().unwrap_or_default();
        let is_503 = |record: &&Value| {
            record["response-code"] == 503 && record["response-code-details"] == "via_upstream"
        };
        Self {
            requests: records.len(),
            unconnected: count("connection_failure") + count("connection_timeout"),
            broken: count("connection_termination"),
            timed_out: count("response_timeout"),
            passed_on: records.iter().filter(is_503).count(),
            slowest_ms: records.iter().map(duration).fold(0.0, f64::max),
            late: records.iter().filter(|record| duration(record) > 100.0).count(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, unconnected, broken, timed_out, passed_on, slowest_ms, late } = self;
        write!(
            f,
            "{requests} | {unconnected} | {broken} | {timed_out} | {passed_on} | {late} | {slowest_ms:.0}"
        )
    }
}

fn measure(network: &Network, failure: Failure, failing: usize, http2: bool) -> Outcome {
    let mut upstreams: Vec<_> = (0..ENDPOINTS).map(|_| Upstream::start(http2)).collect();
    let urls: Vec<_> = upstreams.iter().map(Upstream::url).collect();
    let fields = "access_log_fields: [response-code, response-code-details, duration]";
    let to = format!("[{}]", urls.join(", "));
    let proxy = Proxy::config().global(fields).forward_tls("app", &to, "timeout: 3s").start();
    let load = Load::start(&proxy, "app", CLIENTS);
    load.wait_for(200);
    let stopped = &AtomicBool::default();
    thread::scope(|scope| {
        if failure == Failure::Dropped {
            let cut = upstreams.iter().take(failing);
            let rules: Vec<_> = cut.map(|it| format!("tcp dport {}", it.port)).collect();
            network.drop_incoming(&rules.iter().map(|rule| &**rule).collect::<Vec<_>>());
        }
        for upstream in upstreams.iter_mut().take(failing) {
            scope.spawn(move || upstream.fail(failure, stopped));
        }
        thread::sleep(LASTS);
        load.stop();
        stopped.store(true, SeqCst);
        if failure == Failure::Dropped {
            network.drop_nothing();
        }
    });
    proxy.assert_no_panic();
    let mut records = proxy.log();
    records.retain(|line| line["message"] == "http-request");
    Outcome::of(&records)
}

#[test]
#[ignore = "takes minutes, and needs root: it makes the table of docs/upstreams.md"]
fn no_request_fails_since_an_endpoint_cannot_be_reached() {
    println!(
        "| upstreams | failing | requests | failed: no connection | connection broke | timed out \
         | 503 passed on | over 100 ms | slowest ms |\n|---|---|---|---|---|---|---|---|---|"
    );
    for failure in Failure::ALL {
        for http2 in [false, true] {
            for failing in 1..ENDPOINTS {
                let outcome = netns::private(|network| measure(network, failure, failing, http2));
                let version = if http2 { "HTTP/2" } else { "HTTP/1.1" };
                let name = failure.name();
                println!("| {version}, {name} | {failing} of {ENDPOINTS} | {outcome} |");
                assert_eq!(outcome.unconnected, 0, "{version}, {name}, {failing}");
                assert!(outcome.slowest_ms < TIMEOUT_MS + 1_000.0, "{version}, {name}");
            }
        }
    }
}
