//! What is explained of a request is what happens to it.

use http::{HeaderMap, Method};
use proptest::{collection::vec, prelude::*, sample::select};
use rustls_pki_types::UnixTime;

use super::*;
use crate::{
    http::{
        ForwardedFor,
        explain::{HypotheticalRequest, RequestExplanation, explain},
    },
    policy::parse,
    route::WildcardHost,
};

/// The policies of generated routes, in the policy language; `None` is a public route.
const POLICIES: [Option<&str>; 8] = [
    None,
    Some("[]"),
    Some("allow: {or: [{accept: true}]}"),
    Some("[{allow: {or: [{accept: true}]}, deny: {or: [{http_method: POST}]}}]"),
    Some("[{allow: {and: [{source_ip: 192.0.2.0/24}, {http_path: {starts_with: /a}}]}}]"),
    Some("[{deny: {nor: [{http_path: {ends_with: a}}]}}, {allow: {or: [{cors_preflight: true}]}}]"),
    Some("[{allow: {or: [{authenticated_user: true}, {http_path: /b}]}}]"),
    Some("[{allow: {or: [{accept: true}]}, deny: {or: [{invalid_client_certificate: true}]}}]"),
];

const PATHS: [&str; 18] = [
    "/",
    "/a",
    "/ab",
    "/b",
    "/a/b?q=1",
    "/a//b",
    "/a/../b",
    "/a%2fb",
    "/a%5Cb",
    "/%zz",
    "/ping",
    "/healthz?x",
    "/robots.txt",
    "/.pomerium/x",
    "/.pomerium/",
    "/.well-known/pomerium",
    "/oauth2/callback",
    "//a",
];

const HOSTS: [&str; 6] =
    ["a.example", "b.example", "A.example:8443", "c.example.", "auth.example", "a b"];

const HEADERS: [&str; 8] = [
    "accept: text/html",
    "x_y: 1",
    "origin: https://o.example",
    "access-control-request-method: PUT",
    "upgrade: websocket",
    "connection: upgrade",
    "x-forwarded-for: 198.51.100.1",
    "sec-fetch-mode: cors",
];

/// Host, port, path, the number of the policy, and that of the action.
type GeneratedRoute = (HostMatch, PortMatch, PathMatch, usize, usize);

#[derive(Debug, Clone)]
struct Generated {
    routes: Vec<GeneratedRoute>,
    slashes: EscapedSlashes,
    trusted_hops: u32,
    signs_in: bool,
    method: &'static str,
    host: &'static str,
    path: &'static str,
    headers: Vec<&'static str>,
}

fn generated_route() -> impl Strategy<Value = GeneratedRoute> {
    let host = select(&["a.example", "b.example", "*.example", "*"][..]).prop_map(host_match);
    let port = select(&[PortMatch::Any, PortMatch::Is(443), PortMatch::Is(8443)][..]);
    let path = prop_oneof![
        2 => Just(PathMatch::Any),
        2 => select(&["/", "/a", "/a/"][..]).prop_map(|path| PathMatch::Prefix(path.into())),
        1 => select(&["/a", "/b"][..]).prop_map(|path| PathMatch::Exact(path.into())),
    ];
    (host, port, path, 0..POLICIES.len(), 0_usize..3)
}

fn generated() -> impl Strategy<Value = Generated> {
    use EscapedSlashes::{Keep, Redirect, Reject, Unescape};
    let slashes = select(&[Reject, Keep, Redirect, Unescape][..]);
    let methods = select(&["GET", "POST", "OPTIONS", "HEAD"][..]);
    let headers = vec(select(&HEADERS[..]), 0..4);
    let request = (methods, select(&HOSTS[..]), select(&PATHS[..]), headers);
    let settings = (slashes, 0_u32..2, any::<bool>());
    (vec(generated_route(), 0..6), settings, request).prop_map(|(routes, settings, request)| {
        let (slashes, trusted_hops, signs_in) = settings;
        let (method, host, path, mut headers) = request;
        headers.sort_unstable();
        headers.dedup();
        Generated { routes, slashes, trusted_hops, signs_in, method, host, path, headers }
    })
}

fn host_match(host: &str) -> HostMatch {
    if !host.contains('*') {
        return HostMatch::Exact(host.into());
    }
    let expression = host.split('*').map(regex::escape).collect::<Vec<_>>().join("(.*)");
    let regex = regex::Regex::new(&format!("\\A{expression}\\z")).unwrap();
    HostMatch::Wildcard(WildcardHost { pattern: host.into(), regex })
}

fn policy(number: usize) -> Policy {
    let Some(text) = POLICIES[number] else { return everybody() };
    let rules = parse(&serde_yaml::from_str(text).unwrap(), "policy").unwrap();
    Policy::new(&PolicySpec { rules, ..Default::default() })
}

/// An answer of a route that says which route it is.
fn action(number: usize, index: usize) -> ActionSpec {
    let body = Bytes::from(format!("routes[{index}]"));
    match number {
        0 => ActionSpec::Respond { status: StatusCode::OK, body },
        1 => ActionSpec::Respond { status: StatusCode::IM_A_TEAPOT, body },
        _ => ActionSpec::Redirect(RedirectSpec {
            scheme: None,
            host: Some(format!("r{index}.example").into()),
            port: None,
            path: RedirectPath::Keep,
            status: StatusCode::FOUND,
            strip_query: false,
        }),
    }
}

impl Generated {
    fn worker(&self) -> Rc<RequestHandler> {
        let metrics = || Arc::new(RouteMetrics::new(1));
        let routes = self.routes.iter().enumerate().map(|(index, of)| {
            let (host, port, path, policy_number, action_number) = of.clone();
            Route {
                spec: route(policy(policy_number), action(action_number, index)),
                matcher: Matcher { host, port, path },
                cluster: None,
                metrics: metrics(),
            }
        });
        let trusted_hops = self.trusted_hops;
        let settings = RequestSettings {
            escaped_slashes: self.slashes,
            forwarded_for: ForwardedFor { skip_append: false, trusted_hops },
            ..settings()
        };
        let site = RequestConfig::new(settings, routes, metrics(), Arc::default());
        let people = people(self.signs_in.then(sign_in_spec));
        let site = Arc::new(site.with_people(Arc::new(people)));
        let observer = Rc::new(WorkerObserver::detached(0));
        let upstreams = Upstreams::new(observer.clone());
        Rc::new(RequestHandler::new(upstreams, observer, IdentityHandle::detached(), site))
    }

    fn text(&self) -> String {
        let Generated { method, host, path, .. } = self;
        let headers: String = self.headers.iter().map(|header| format!("{header}\r\n")).collect();
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n")
    }

    fn explained(&self, config: &RequestConfig) -> RequestExplanation {
        let mut headers = HeaderMap::new();
        for line in self.headers.iter().copied().chain([&*format!("host: {}", self.host)]) {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let method: Method = self.method.parse().unwrap();
        let request = Request::builder().method(method).uri(self.path).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        parts.headers = headers;
        let peer = Peer::new("192.0.2.1:5".parse().unwrap(), None);
        explain(config, HypotheticalRequest { peer, parts, user: None, now: UnixTime::now() })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_request_gets_the_answer_and_the_route_that_are_explained(generated in generated()) {
        let worker = generated.worker();
        let explained = generated.explained(&worker.config());
        let answer = served(&worker, &generated.text());
        let verdict = &explained.verdict;
        if let Some(expected) = verdict.status {
            prop_assert_eq!(status(&answer), expected.to_string(), "{} {:#?}", answer, explained);
        }
        let own = ["the response that the route has", "the redirect that the route has"];
        if own.contains(&&*verdict.summary) {
            let chosen = explained.routes.iter().find(|route| route.matches);
            let place = &chosen.unwrap().place;
            let index = place.trim_matches(|c: char| !c.is_ascii_digit());
            let is_its = answer.contains(&format!("//r{index}.example"))
                || answer.ends_with(place.as_str())
                || generated.method == "HEAD";
            prop_assert!(is_its, "{answer} {explained:#?}");
        }
        if let Some(location) = &verdict.location {
            prop_assert!(answer.contains(&format!("location: {location}\r\n")), "{answer}");
        }
    }
}
