//! Rewriting the headers of requests and responses on their way through.

mod credentials;
pub(super) mod forwarded;
mod framing;
mod names;
mod request;
mod response;
pub(super) mod rules;
mod trailers;

pub(super) use credentials::{OwnCookies, program_token, strip_set_cookies};
pub(super) use framing::{InvalidResponse, has_no_content};
pub(crate) use names::is_forwarding_name;
pub(super) use names::is_plain;
pub(super) use request::{
    PassedForwarding, Reserved, Upgrade, identity_names, requested_upgrade, strip_request,
    strip_trailers,
};
pub(super) use response::{
    ResponseRules, finish_own, forward_interim, forward_response, hide_variance, merged,
};
pub(super) use trailers::strip_response_trailers;
