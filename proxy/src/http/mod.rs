//! One request, from its head to its record.

mod authority;
mod certificate;
mod error;
mod headers;
mod path;
mod redirect;
mod request;
mod request_id;
mod respond;
mod rewrite;
mod spec;
#[cfg(test)]
mod testing;

pub use authority::{Authority, AuthorityError, normalise_host};
pub use certificate::{CertificateNames, ClientCertificate};
pub use error::{Blame, Failure, Verdict};
pub use request::{Fault, Normalised, Rejection, normalise};
pub use spec::{
    ActionSpec, EscapedSlashes, ForwardedFor, HeaderPrefixRewrite, HeaderRules, HeaderTemplate,
    HostRewrite, PathRewrite, ProxySpec, RedirectPath, RedirectSpec, ResponseHeaderRules,
    RouteSpec, Settings, TemplatePart, Underscores,
};
