//! One request, from its head to its record.

mod authority;
mod path;
mod request;
mod spec;
#[cfg(test)]
mod testing;

pub use authority::{Authority, AuthorityError, normalise_host};
pub use request::{Fault, Normalised, Rejection, normalise};
pub use spec::{
    ActionSpec, EscapedSlashes, ForwardedFor, HeaderPrefixRewrite, HeaderRules, HeaderTemplate,
    HostRewrite, PathRewrite, ProxySpec, RedirectPath, RedirectSpec, ResponseHeaderRules,
    RouteSpec, Settings, TemplatePart, Underscores,
};
