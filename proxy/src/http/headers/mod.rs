//! Rewriting the headers of requests and responses on their way through.

mod credentials;
pub(super) mod forwarded;
mod names;
mod request;
mod response;
pub(super) mod rules;

pub(super) use credentials::{OwnCookies, program_token, strip_set_cookies};
pub(super) use request::{
    Reserved, Upgrade, identity_names, requested_upgrade, strip_request, strip_trailers,
};
pub(super) use response::{
    finish_own, forward_response, forward_switching_protocols, hide_variance, merged,
};
