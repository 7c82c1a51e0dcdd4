//! Sign-in: the answer to requests that need it, and its own paths.

use http::request::Parts;

use super::{
    active_request::ActiveRequest, error::RequestFailure, request::RequestTarget,
    respond::LocalAnswer,
};

/// The answer to a request that needs a user who is signed in.
pub(super) fn challenge(
    _active: &ActiveRequest,
    _parts: &Parts,
    _target: &RequestTarget,
) -> LocalAnswer {
    RequestFailure::SignInUnsupported.into()
}
