//! A door for the benchmarks to what is no part of this room's interface. Behind the feature
//! `bench`, which no build of the proxy has.

use std::{collections::HashSet, net::IpAddr};

use http::HeaderMap;

use super::{
    headers::{self, OwnCookies, PassedForwarding, Reserved, forwarded, rules::RequestRules},
    spec::ForwardedFor,
};

/// Takes out of a request's headers what must not reach the upstream.
pub fn strip(headers: &mut HeaderMap) {
    let (identity, cookies) = (&HashSet::new(), &OwnCookies::default());
    let rules = &RequestRules::default();
    let forwarding = PassedForwarding::Named(&[]);
    let reserved =
        Reserved { identity, cookies, rules, bearer: false, odd_names: false, forwarding };
    headers::strip_request(headers, reserved);
}

/// Writes the headers that tell the upstream of the client, over TLS and without trusted hops.
pub fn set_forwarded(headers: &mut HeaderMap, client: IpAddr) {
    let client = &forwarded::address_value(client);
    let rules = ForwardedFor { skip_append: false, trusted_hops: 0 };
    let client =
        forwarded::ForwardedClient { peer: client, client, secure: true, original_host: None };
    forwarded::set(headers, rules, &client);
}
