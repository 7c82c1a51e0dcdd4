//! What may be ordered: to take a worker out, and in again.

use http::{Method, Response, StatusCode, header};

use super::respond::{Asked, method_not_allowed, text};
use crate::steering::{DrainError, Steering};

/// Answers `PUT` and `DELETE` of `/workers/N/drain`; `None` for what is no order.
pub(super) fn respond(asked: &Asked<'_>, steering: &Steering) -> Option<Response<String>> {
    let worker = asked.path.strip_prefix("/workers/")?.strip_suffix("/drain")?;
    let drained = match *asked.method {
        Method::PUT => true,
        Method::DELETE => false,
        _ => return Some(method_not_allowed("PUT, DELETE")),
    };
    if !may_order(asked) {
        return Some(text(StatusCode::FORBIDDEN, "orders are taken from this machine alone"));
    }
    let Ok(worker) = worker.parse() else {
        return Some(text(StatusCode::NOT_FOUND, "not found"));
    };
    Some(match steering.set_drained(worker, drained) {
        Ok(()) => {
            tracing::info!(worker, drained, "a worker was taken out or in by order");
            text(StatusCode::OK, if drained { "drained" } else { "in use" })
        }
        Err(error @ DrainError::NoSuchWorker) => text(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error @ DrainError::NoSteering) => text(StatusCode::CONFLICT, &error.to_string()),
    })
}

/// A page in a browser of this machine could ask too; browsers say where it is from.
fn may_order(asked: &Asked<'_>) -> bool {
    asked.peer.ip().to_canonical().is_loopback() && !asked.headers.contains_key(header::ORIGIN)
}
