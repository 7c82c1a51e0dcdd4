//! One request, from its head to its record.

mod spec;

pub use spec::{
    ActionSpec, EscapedSlashes, ForwardedFor, HeaderPrefixRewrite, HeaderRules, HeaderTemplate,
    HostRewrite, PathRewrite, ProxySpec, RedirectPath, RedirectSpec, ResponseHeaderRules,
    RouteSpec, Settings, TemplatePart, Underscores,
};
