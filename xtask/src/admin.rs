//! The proxy's admin address.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use ureq::Agent;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum length of a response: more than the status of 100,000 routes.
const MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;

/// Whether the proxy reports that it is ready.
pub(crate) fn is_ready(port: u16) -> bool {
    get(port, "/readyz").is_ok()
}

/// The body of a response, whose status must be 200.
pub(crate) fn get(port: u16, path: &str) -> Result<String> {
    let url = format!("http://{}:{port}{path}", Ipv4Addr::LOCALHOST);
    let mut response = agent().get(&url).call().with_context(|| url.clone())?;
    ensure!(response.status() == 200, "{url}: {}", response.status());
    let body = response.body_mut().with_config().limit(MAX_BODY_BYTES);
    body.read_to_string().with_context(|| url.clone())
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(TIMEOUT))
        .timeout_per_read(Some(TIMEOUT))
        // Do not use the proxy that the environment names.
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false);
    config.build().into()
}

/// The samples that show handshakes, requests and upstream connections, without zeros and buckets.
pub(crate) fn interesting<'a>(metrics: &'a str, topics: &[&str]) -> Vec<&'a str> {
    let is_shown = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        !name.is_empty()
            && !name.starts_with('#')
            && !name.ends_with("_bucket")
            && topics.iter().any(|topic| name.contains(topic))
            && line.rsplit(' ').next() != Some("0")
    };
    metrics.lines().filter(is_shown).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    fn serve(answer: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            // If a connection is closed with unread bytes, it is reset and the response is lost.
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        });
        port
    }

    #[test]
    fn only_200_is_ready() {
        assert!(is_ready(serve("HTTP/1.0 200 OK\r\n\r\nok")));
        assert!(!is_ready(serve("HTTP/1.0 503 Service Unavailable\r\n\r\nnot yet")));
        assert!(!is_ready(serve("")));
    }

    #[test]
    fn the_body_of_an_answer_is_what_follows_its_head() {
        let port = serve("HTTP/1.0 200 OK\r\nServer: x\r\n\r\na 1\n\r\n\r\nb 2\n");
        assert_eq!(get(port, "/metrics").unwrap(), "a 1\n\r\n\r\nb 2\n");
    }

    #[test]
    fn zeros_buckets_comments_and_other_topics_are_not_shown() {
        let metrics = "# HELP x_handshakes_total How many\n\
            x_handshakes_total{result=\"ok\"} 3\n\
            x_handshakes_total{result=\"refused\"} 0\n\
            x_requests_seconds_bucket{le=\"0.1\"} 2\n\
            x_workers 2\n";
        assert_eq!(interesting(metrics, &["handshake"]), ["x_handshakes_total{result=\"ok\"} 3"]);
    }
}
