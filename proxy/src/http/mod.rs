//! One request, from its head to its record.

mod authority;
mod certificate;
mod headers;
mod path;
mod request;
mod request_id;
mod spec;
#[cfg(test)]
mod testing;

pub use authority::{Authority, AuthorityError, normalise_host};
pub use certificate::{CertificateFacts, ClientCertificate};
pub use request::{Fault, Normalised, Rejection, normalise};
pub use spec::{
    ActionSpec, EscapedSlashes, ForwardedFor, HeaderPrefixRewrite, HeaderRules, HeaderTemplate,
    HostRewrite, PathRewrite, ProxySpec, RedirectPath, RedirectSpec, ResponseHeaderRules,
    RouteSpec, Settings, TemplatePart, Underscores,
};
