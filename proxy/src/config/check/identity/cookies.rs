//! `cookie_*`: names and attributes of our cookies.

use std::{net::IpAddr, time::Duration};

use super::super::super::section::Section;
use crate::{
    hostname,
    identity::spec::{AuthenticateUrl, CookieSpec, SameSite},
    route::HostMatch,
};

/// Browsers keep cookies no longer (6265bis section 5.5).
const MAX_EXPIRE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Reads the keys.
pub(super) fn cookies(root: &Section<'_>) -> CookieSpec {
    if root.flag("cookie_secure") == Some(false) {
        root.warn("cookie_secure", "has no effect: cookies are always `Secure`");
    }
    let http_only = root.flag("cookie_http_only").unwrap_or(true);
    if !http_only {
        root.warn("cookie_http_only", "scripts of every page can read the session cookie");
    }
    let domain = domain(root);
    CookieSpec {
        name: name(root, domain.as_deref()),
        domain,
        http_only,
        expire: expire(root),
        same_site: same_site(root),
    }
}

fn name(root: &Section<'_>, domain: Option<&str>) -> Box<str> {
    let key = "cookie_name";
    let Some(name) = root.text(key) else { return "_pomerium".into() };
    if !name.bytes().all(is_token) {
        let message = format!("`{}` is not a cookie name", name.escape_debug());
        root.error_with_hint(key, message, "use letters, digits, `-` and `_`");
    }
    let is_host_bound = name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("__Host-"));
    if is_host_bound && domain.is_some() {
        let message = "a `__Host-` cookie belongs to one host";
        root.error_with_hint(key, message, "remove cookie_domain, or choose another name");
    }
    name.into()
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn domain(root: &Section<'_>) -> Option<Box<str>> {
    let key = "cookie_domain";
    let text = root.text(key)?;
    // Go, and browsers, leave a dot in front out.
    let domain = hostname::normalise(text.strip_prefix('.').unwrap_or(&text));
    let Some(domain) = domain.filter(|domain| domain.parse::<IpAddr>().is_err()) else {
        let message = format!("`{}` is not a host name", text.escape_debug());
        root.error_with_hint(key, message, "write example.com");
        return None;
    };
    if domain.contains('.') {
        root.warn(key, format!("every host below `{domain}` can read the session cookie"));
    } else {
        root.warn(key, format!("browsers refuse cookies for all of `{domain}`"));
    }
    Some(domain)
}

fn expire(root: &Section<'_>) -> Duration {
    let key = "cookie_expire";
    let expire = root.duration(key).unwrap_or(Duration::from_secs(14 * 60 * 60));
    if expire.is_zero() || expire > MAX_EXPIRE {
        root.error(key, "must be longer than zero and at most 400 days (9600h)");
    }
    expire
}

fn same_site(root: &Section<'_>) -> SameSite {
    let key = "cookie_same_site";
    let Some(text) = root.text(key) else { return SameSite::Unset };
    match text.to_ascii_lowercase().as_str() {
        "strict" => SameSite::Strict,
        "lax" => SameSite::Lax,
        "none" => SameSite::None,
        _ => {
            let message = format!("unknown cookie_same_site: {}", text.escape_debug());
            root.error_with_hint(key, message, "one of strict, lax, none");
            SameSite::Unset
        }
    }
}

/// Warns of hosts outside `cookie_domain`: they have sessions of their own. `hosts` are those of
/// routes that people sign in for.
pub(super) fn warn_of_hosts_outside<'a>(
    root: &Section<'_>,
    domain: &str,
    authenticate: &AuthenticateUrl,
    hosts: impl Iterator<Item = &'a HostMatch>,
) {
    let is_inside = |host: &str| {
        host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let names = hosts.map(|host| match host {
        HostMatch::Exact(host) => &**host,
        HostMatch::Wildcard(wildcard) => &*wildcard.pattern,
    });
    let mut outside = std::iter::once(&*authenticate.host).chain(names).filter(|h| !is_inside(h));
    if let Some(host) = outside.next() {
        let message = format!("`{host}` is not below `{domain}`, so its users sign in separately");
        root.warn("cookie_domain", message);
    }
}
