//! Who makes a request, by the cookie of a session.

use std::hint::black_box;

use portcullis::facade::identity::SessionWorker;

use super::Work;

pub(super) fn works() -> Vec<Work> {
    vec![known(), first_seen(), asserted(), signed()]
}

fn known() -> Work {
    let worker = SessionWorker::new();
    let requests = worker.requests(32);
    Work::repeated("session, known to the worker", move |number| {
        drop(black_box(worker.who(black_box(&requests[number % requests.len()]))));
    })
}

fn first_seen() -> Work {
    const UNITS: usize = 32;
    let mut worker = SessionWorker::new();
    let requests = worker.requests(UNITS);
    Work::new("session, seen by the worker for the first time", UNITS as u32, move |meter| {
        worker.forget_all();
        let worker = &worker;
        meter.measure(&mut || {
            requests.iter().for_each(|request| drop(black_box(worker.who(black_box(request)))));
        });
    })
}

fn asserted() -> Work {
    let worker = SessionWorker::new();
    let requests = worker.requests(32);
    Work::repeated("session, known, with an assertion that was signed before", move |number| {
        black_box(worker.assert(black_box(&requests[number % requests.len()])));
    })
}

/// With the session known, so that what is counted more than there is the signature.
fn signed() -> Work {
    const UNITS: usize = 8;
    let mut worker = SessionWorker::new();
    let requests = worker.requests(UNITS);
    Work::new("session, known, with an assertion signed now", UNITS as u32, move |meter| {
        worker.forget_all();
        requests.iter().for_each(|request| drop(worker.who(request)));
        let worker = &worker;
        meter.measure(&mut || {
            requests.iter().for_each(|request| {
                black_box(worker.assert(black_box(request)));
            });
        });
    })
}
