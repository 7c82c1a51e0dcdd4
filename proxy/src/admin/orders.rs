//! Orders: to drain a worker, and to use it again.

use http::{Method, Response, StatusCode, header};

use super::respond::{AdminRequest, method_not_allowed, text};
use crate::steering::{DrainError, Steering};

/// Answers `PUT` and `DELETE` of `/workers/N/drain`; `None` if the request is not an order.
pub(super) fn respond(request: &AdminRequest<'_>, steering: &Steering) -> Option<Response<String>> {
    let worker = request.path.strip_prefix("/workers/")?.strip_suffix("/drain")?;
    let drained = match *request.method {
        Method::PUT => true,
        Method::DELETE => false,
        _ => return Some(method_not_allowed("PUT, DELETE")),
    };
    if !may_order(request) {
        return Some(text(StatusCode::FORBIDDEN, "only this machine may send orders"));
    }
    let Ok(worker) = worker.parse() else {
        return Some(text(StatusCode::NOT_FOUND, "not found"));
    };
    Some(match steering.set_drained(worker, drained) {
        Ok(()) => {
            tracing::info!(
                worker,
                drained,
                "an operator has drained a worker, or put it back in use"
            );
            text(StatusCode::OK, if drained { "drained" } else { "in use" })
        }
        Err(error @ DrainError::NoSuchWorker) => text(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error @ DrainError::NoSteering) => text(StatusCode::CONFLICT, &error.to_string()),
    })
}

/// Orders come from this machine. A web page in a browser here could send one too; browsers then add
/// `Origin`.
pub(super) fn may_order(request: &AdminRequest<'_>) -> bool {
    request.peer.ip().to_canonical().is_loopback() && !request.headers.contains_key(header::ORIGIN)
}
