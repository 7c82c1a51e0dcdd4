//! Budgets: what a connection and a request may weigh. A future holds the largest of its parts for
//! as long as it lives, and hyper moves a request's into place each time.

use std::rc::Rc;

use hyper::{Request, body::Incoming};

use crate::{conn, http};

/// The size of the future that a closure, which is never called, would give.
fn size_of_future<F: Future>(_: impl FnOnce() -> F) -> usize {
    size_of::<F>()
}

#[test]
#[expect(unreachable_code, reason = "only the type is wanted")]
fn a_request_weighs_at_most_4_kib() {
    let size = size_of_future(|| {
        let given: (&'static Rc<http::Context>, &'static Rc<http::Facts>, Request<Incoming>) =
            unreachable!();
        http::handle(given.0, given.1, given.2)
    });
    assert!(size <= 4 * 1024, "{size} bytes");
}

#[test]
#[expect(unreachable_code, reason = "only the type is wanted")]
fn a_connection_weighs_at_most_4_kib() {
    let size = size_of_future(|| {
        let given: (&'static Rc<conn::Context>, conn::Accepted) = unreachable!();
        conn::serve(given.0, given.1)
    });
    assert!(size <= 4 * 1024, "{size} bytes");
}
