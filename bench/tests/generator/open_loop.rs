//! The latency in an open loop counts from the moment a unit was due.

use std::{thread, time::Duration};

use portcullis_tests::{Backend, backend::Conn};
use serde_json::json;

use crate::run::{ABC, Bench};

const STALL: Duration = Duration::from_millis(300);

#[test]
fn a_stall_delays_every_request_due_meanwhile() {
    let backend = Backend::secure(|conn: &mut Conn| {
        let mut stall = Some(STALL);
        while conn.request().is_some() {
            if let Some(time) = stall.take() {
                thread::sleep(time);
            }
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{ABC}"));
        }
    });
    // The last of them is due after 99 ms, and the connection is free after 300 ms.
    let bench = Bench::new("keep-alive", backend.address()).expects_abc();
    let result = bench.with("--connections 1 --rate 1000 --units 100").result();
    assert_eq!((&result["units"], &result["errors"]), (&json!(100), &json!(0)));
    let latencies = result["latency_us"].as_array().unwrap();
    let fastest = latencies.first().unwrap()[0].as_u64().unwrap();
    assert!(fastest >= 200_000, "{result}");
    assert!(result["slowest_us"].as_u64().unwrap() >= 300_000, "{result}");
}

#[test]
fn the_rate_of_all_threads_together_is_kept() {
    let backend = Backend::secure(portcullis_tests::backend::says(ABC));
    let bench = Bench::new("keep-alive", backend.address()).expects_abc();
    let bench = bench.with("--connections 4 --threads 2 --rate 25").seconds(2);
    let result = bench.result();
    assert_eq!(result["units"], 50, "all units that fell due, however late");
    // The last unit falls due then.
    assert!(result["seconds"].as_f64().unwrap() >= 1.96, "{result}");
}
