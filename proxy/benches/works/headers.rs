//! What becomes of a request's header fields on their way through.

use std::{hint::black_box, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis::facade::http as bench;

use super::Work;

pub(super) fn works() -> Vec<Work> {
    vec![
        change("headers, of a browser, what must not pass taken out", BROWSER, bench::strip),
        change("headers, of a browser, who the client is put in", BROWSER, say_who),
        change("headers, of a deceiver, what must not pass taken out", DECEIVER, bench::strip),
    ]
}

fn say_who(headers: &mut HeaderMap) {
    bench::set_forwarded(headers, IpAddr::from([192, 0, 2, 7]));
}

/// As Chromium sends them.
const BROWSER: &[(&str, &str)] = &[
    ("host", "app.example.com"),
    ("connection", "keep-alive"),
    ("sec-ch-ua", "\"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("referer", "https://app.example.com/orders"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9"),
    ("cookie", "theme=dark; session=0123456789abcdef0123456789abcdef"),
];

/// With all that a client must not say, in other spellings too.
const DECEIVER: &[(&str, &str)] = &[
    ("host", "app.example.com"),
    ("connection", "close, x-hop, x-forwarded-for"),
    ("keep-alive", "timeout=5"),
    ("te", "trailers"),
    ("x-hop", "1"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-proto", "http"),
    ("x_forwarded_client_cert", "Subject=\"CN=admin\""),
    ("client-cert", ":MIIB:"),
    ("x-pomerium-claim-email", "admin@example.com"),
    ("x-envoy-external-address", "127.0.0.1"),
    ("user-agent", "curl/8.0"),
];

fn change(
    name: &'static str,
    fields: &'static [(&'static str, &'static str)],
    change: fn(&mut HeaderMap),
) -> Work {
    const UNITS: usize = 64;
    let original: HeaderMap = fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    Work::new(name, UNITS as u32, move |meter| {
        let mut requests = vec![original.clone(); UNITS];
        meter.measure(&mut || requests.iter_mut().for_each(|one| change(black_box(one))));
        black_box(requests);
    })
}
