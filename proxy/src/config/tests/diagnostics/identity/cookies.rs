//! The keys of cookies.

use super::*;

#[test]
fn mistakes_in_cookie_keys_are_refused() {
    assert_refused(&[
        (
            "cookie_name: 'a b'",
            "config.yaml:1: cookie_name: `a b` is not a cookie name (use letters, digits, `-` and \
             `_`)",
        ),
        (
            "cookie_name: 'a;b'",
            "config.yaml:1: cookie_name: `a;b` is not a cookie name (use letters, digits, `-` and \
             `_`)",
        ),
        (
            "cookie_name: __host-x\ncookie_domain: example.com",
            "config.yaml:1: cookie_name: a `__Host-` cookie belongs to one host (remove \
             cookie_domain, or choose another name)",
        ),
        (
            "cookie_domain: https://example.com",
            "config.yaml:1: cookie_domain: `https://example.com` is not a host name (write \
             example.com)",
        ),
        (
            "cookie_domain: 10.0.0.1",
            "config.yaml:1: cookie_domain: `10.0.0.1` is not a host name (write example.com)",
        ),
        (
            "cookie_expire: 0s",
            "config.yaml:1: cookie_expire: must be longer than zero and at most 400 days (9600h)",
        ),
        (
            "cookie_expire: 9601h",
            "config.yaml:1: cookie_expire: must be longer than zero and at most 400 days (9600h)",
        ),
        ("cookie_expire: -1h", "config.yaml:1: cookie_expire: `-1h` is negative"),
        (
            "cookie_same_site: x",
            "config.yaml:1: cookie_same_site: unknown cookie_same_site: x (one of strict, lax, none)",
        ),
        (
            "signout_redirect_url: /bye",
            "config.yaml:1: signout_redirect_url: is not an absolute http or https URL (write \
             https://www.example.com/bye)",
        ),
        (
            "signout_redirect_url: javascript:alert(1)",
            "config.yaml:1: signout_redirect_url: is not an absolute http or https URL (write \
             https://www.example.com/bye)",
        ),
        (
            "signout_redirect_url: \"https://a\\x40evil.example\"",
            "config.yaml:1: signout_redirect_url: is not an absolute http or https URL (write \
             https://www.example.com/bye)",
        ),
    ]);
}

#[test]
fn cookies_that_are_weaker_or_do_not_arrive_are_warned_of() {
    assert_warned(&[
        (
            "cookie_http_only: false",
            "config.yaml:5: cookie_http_only: scripts of every page can read the session cookie",
        ),
        (
            "cookie_secure: false",
            "config.yaml:5: cookie_secure: has no effect: cookies are always `Secure`",
        ),
        (
            "cookie_domain: localhost.pomerium.io",
            "config.yaml:5: cookie_domain: every host below `localhost.pomerium.io` can read the \
             session cookie",
        ),
    ]);
    assert!(quiet("cookie_secure: true\ncookie_http_only: true").is_empty());
    let keys = |domain: &str| {
        signing_in(&format!(
            "cookie_domain: {domain}\nshared_secret: {SECRET}\nroutes:\n\
             - {{from: https://public.example, to: http://b, \
             allow_public_unauthenticated_access: true}}\n\
             - {{from: https://a.localhost.pomerium.io, to: http://b, allowed_users: [a]}}\n\
             - {{from: 'https://*.example', to: http://b, allowed_users: [a]}}\n"
        ))
    };
    assert_eq!(
        warnings(&keys("localhost.pomerium.io")),
        [
            "config.yaml:5: cookie_domain: every host below `localhost.pomerium.io` can read the \
             session cookie",
            "config.yaml:5: cookie_domain: `*.example` is not below `localhost.pomerium.io`, so \
             its users sign in separately",
        ]
    );
    assert_eq!(
        warnings(&keys("com")),
        [
            "config.yaml:5: cookie_domain: browsers refuse cookies for all of `com`",
            "config.yaml:5: cookie_domain: `authenticate.localhost.pomerium.io` is not below \
             `com`, so its users sign in separately",
        ]
    );
}
