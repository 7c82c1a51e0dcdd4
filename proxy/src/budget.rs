//! Budgets: what a connection and a request may weigh. A future holds the largest of its parts for
//! as long as it lives, and hyper moves a request's into place each time.

use std::rc::Rc;

use hyper::{Request, body::Incoming};

use crate::{conn, http, tls};

/// The size of the future that a function, which is not called, would give.
fn size_of_future<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
    size_of::<F>()
}

type Asked = (&'static Rc<http::ClientConnection>, Request<Incoming>);
type Taken = (Rc<conn::ConnectionServer>, conn::Accepted, conn::Registration);

#[test]
fn a_request_weighs_at_most_4_kib() {
    let size = size_of_future(|asked: Asked| {
        http::handle(asked.0, asked.1, http::ClientStream::default())
    });
    assert!(size <= 4 * 1024, "{size} bytes");
}

#[test]
fn a_connection_weighs_at_most_704_bytes() {
    let size = size_of_future(|taken: Taken| conn::serve(taken.0, taken.1, taken.2));
    assert!(size <= 704, "{size} bytes");
}

#[test]
fn what_a_connection_keeps_while_it_idles_is_small() {
    for (of, size, most) in [
        ("its peer and state", size_of::<http::ClientConnection>(), 296),
        ("its TLS", size_of::<tls::TlsStream>(), 328),
        ("a transport", size_of::<tls::Transport>(), 16),
    ] {
        assert!(size <= most, "{of}: {size} bytes");
    }
}
