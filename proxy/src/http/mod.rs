//! One request, from its head to its record.

mod access;
mod authority;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod body;
mod certificate;
mod client_body;
mod demand;
mod early;
mod error;
mod exchange;
mod facts;
mod forward;
mod handle;
mod headers;
mod path;
mod redirect;
mod request;
mod request_id;
mod respond;
mod rewrite;
mod site;
mod spec;
#[cfg(test)]
mod testing;
mod timeouts;

pub use authority::{Authority, AuthorityError};
pub use body::{Body, BodyError};
pub use certificate::ClientCertificate;
pub use early::{PLAIN_HTTP_ON_TLS_PORT, REQUEST_TIMEOUT};
pub use error::{Blame, Failure, Verdict};
pub use facts::{Facts, PendingUpgrade, UpgradeRecord};
pub use handle::{handle, redirect_to_https};
pub use request::{Fault, Normalised, Rejection, normalise};
pub use site::{Context, LocalSite, Route, Site};
pub use spec::{
    ActionSpec, CertificateField, CertificateHeaders, EscapedSlashes, ForwardedFor,
    HeaderPrefixRewrite, HeaderRules, HeaderTemplate, HostRewrite, PathRewrite, ProxySpec,
    RedirectPath, RedirectSpec, ResponseHeaderRules, Rfc9440, RouteSpec, Settings, TemplatePart,
    Underscores, XfccFields,
};
