//! Reading the name a client asks for, and choosing its worker.

use std::hint::black_box;

use portcullis_abi::{
    Balance, Home, HostName, Loads, Outcome, Progress, WorkerSet, client_hello, place, sni,
};

use super::Work;

/// What curl sent, recorded.
const CURL: &[u8] = include_bytes!("../../../ebpf/abi/tests/client_hello/hellos/curl.bin");

pub(super) fn works() -> Vec<Work> {
    vec![hello(), segment(), placement("placement, 4 workers", 4), placement(OF_MANY, 64)]
}

const OF_MANY: &str = "placement, 64 workers";

fn hello() -> Work {
    Work::repeated("ClientHello of curl, as a worker reads it", |_| {
        let progress = client_hello(black_box(CURL));
        assert!(matches!(black_box(progress), Progress::Complete { name: Some(_), .. }));
    })
}

fn segment() -> Work {
    Work::repeated("ClientHello of curl, as the kernel program reads it", |_| {
        let mut name = HostName::EMPTY;
        assert_eq!(sni(black_box(CURL), 0, &mut name), Outcome::Name);
        black_box(name);
    })
}

/// For a name that is known by its home, as all names of the configuration are.
fn placement(name: &'static str, workers: u32) -> Work {
    let homes: Vec<Home> = (0..128)
        .map(|number| {
            Home::of_name(format!("service-{number}.example.com").as_bytes(), WorkerSet::ALL)
        })
        .collect();
    let balance = Balance { workers, max_load_percent: 125 };
    let loads = Table((0..workers).map(|worker| 1_000 + worker % 7).collect());
    Work::repeated(name, move |number| {
        let placed = place(black_box(&homes[number % homes.len()]), balance, &loads);
        assert!(black_box(placed).is_some());
    })
}

struct Table(Vec<u32>);

impl Loads for Table {
    fn load(&self, worker: u32) -> Option<u32> {
        self.0.get(worker as usize).copied()
    }
}
