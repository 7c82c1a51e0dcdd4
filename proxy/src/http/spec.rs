//! The settings of this room: those of all requests, and those of one route.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};
use regex::Regex;

use crate::{
    identity::{
        bearer::spec::BearerRules,
        provider_tokens::WantedTokens,
        session::ProviderId,
        spec::{DependentHost, IssuerFormat},
    },
    pages::Branding,
    policy::{Policy, SanKind},
    tls::ClientTrust,
    upstream::ClusterSpec,
};

/// Settings that apply to every request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequestSettings {
    /// The longest a whole request (head and body) may take to arrive; `None` is no limit.
    pub read_timeout: Option<Duration>,
    /// The longest a stream may live; `None` is no limit.
    pub stream_timeout: Option<Duration>,
    /// The longest an upstream may take for its whole response, if the route sets no limit.
    pub upstream_timeout: Option<Duration>,
    /// The most header fields a request may have.
    pub max_headers: usize,
    /// Resolve `.` and `..` segments before routing.
    pub normalize_path: bool,
    /// Merge repeated slashes before routing.
    pub merge_slashes: bool,
    /// What to do with `%2F` and `%5C` in a path.
    pub escaped_slashes: EscapedSlashes,
    /// The most header fields a response may have.
    pub max_response_headers: u16,
    /// What to do with header names that contain `_` or a character of unclear meaning.
    pub underscores: Underscores,
    /// How `X-Forwarded-For` is read and written.
    pub forwarded_for: ForwardedFor,
    /// Headers by which proxies describe the client, passed on from clients that are no trusted proxy.
    pub passed_forwarding: Vec<HeaderName>,
    /// Set on every response, ours included.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// The assertion's and the claims' headers, which are removed from all requests of clients.
    pub identity_headers: Vec<HeaderName>,
    /// The kind of name in a trusted client certificate that identifies the user; `None` if none does.
    pub certificate_identity: Option<SanKind>,
    /// How many routes stand in the list `policy`: they come before those of the list `routes`.
    pub policy_list_len: usize,
    /// How the pages of ours look.
    pub branding: Arc<Branding>,
}

/// What to do with escaped slashes in a path (Envoy `PathWithEscapedSlashesAction`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EscapedSlashes {
    /// Answer 400.
    Reject,
    /// Pass them on as they are.
    Keep,
    /// Unescape them and send the client there with 307.
    Redirect,
    /// Unescape them and go on.
    Unescape,
}

/// What to do with header names that contain `_` (Envoy `HeadersWithUnderscoresAction`), or any other
/// character that is neither a letter nor a digit nor `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Underscores {
    /// Answer 400.
    Reject,
    /// Pass them on.
    Allow,
    /// Remove them from the request.
    Drop,
}

/// How `X-Forwarded-For` is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ForwardedFor {
    /// Do not append the peer's address.
    pub skip_append: bool,
    /// How many proxies in front of us are trusted to have appended theirs.
    pub trusted_hops: u32,
}

/// What one route does with its requests.
#[derive(Debug, Clone)]
pub(crate) struct RouteSpec {
    /// The name in logs, `status` and metrics; unique.
    pub name: Arc<str>,
    /// Who may use it; routes with equal policies share it.
    pub policy: Arc<Policy>,
    /// Verifies clients' certificates; `None` verifies none.
    pub client_trust: Option<Arc<ClientTrust>>,
    /// What is done.
    pub action: ActionSpec,
    /// The longest an upstream may take for its whole response; `None` is no limit.
    pub timeout: Option<Duration>,
    /// The longest a stream may stay without a byte; `None` is no limit.
    pub idle_timeout: Option<Duration>,
    /// Done to the request's headers, in the order remove, set.
    pub request_headers: HeaderRules,
    /// Done to the response's headers.
    pub response_headers: ResponseHeaderRules,
    /// The protocols a client may upgrade to, lower case: `websocket`, `spdy/3.1`.
    pub upgrades: Vec<Box<str>>,
    /// Send the upstream the signed assertion and the claim headers.
    pub pass_identity_headers: bool,
    /// The `iss` of its assertions.
    pub issuer_format: IssuerFormat,
    /// The bearer tokens that say who a request is from; `None` passes tokens on untouched.
    pub bearer: Option<Arc<BearerRules>>,
    /// People who sign in for it are signed in at these hosts too.
    pub depends_on: Box<[DependentHost]>,
    /// The client at the identity provider that its users sign in with; `None` is that of all routes.
    /// Sessions of any other client do not count.
    pub client: Option<ProviderId>,
}

impl RouteSpec {
    /// Whether it treats a request by the client's certificate, so that clients of its hosts must be
    /// asked for one.
    pub(crate) fn looks_at_certificate(&self, certificate_identity: Option<SanKind>) -> bool {
        let identifies = certificate_identity.is_some() && self.client_trust.is_some();
        self.policy.needs().client_certificate
            || self.looks_at_identity() && identifies
            || self.request_headers.names_certificate()
            || self.forwards_certificate()
    }

    /// Whether it treats a request by who it is from.
    pub(crate) fn looks_at_identity(&self) -> bool {
        self.policy.needs().identity || self.passes_identity() || self.wanted_tokens().any()
    }

    /// Whether it tells its upstream who the user is.
    pub(crate) fn passes_identity(&self) -> bool {
        let wanted = self.pass_identity_headers || self.request_headers.names_assertion();
        wanted && matches!(self.action, ActionSpec::Proxy(_))
    }

    /// The tokens of the identity provider that its upstream gets.
    pub(crate) fn wanted_tokens(&self) -> WantedTokens {
        match self.action {
            ActionSpec::Proxy(_) => self.request_headers.provider_tokens(),
            ActionSpec::Redirect(_) | ActionSpec::Respond { .. } => WantedTokens::default(),
        }
    }

    /// Whether another route of this name does the same with the same requests, wherever it forwards
    /// them to.
    pub(super) fn is_equal_but_for_cluster(&self, other: &RouteSpec) -> bool {
        let RouteSpec {
            name,
            policy,
            client_trust,
            action,
            timeout,
            idle_timeout,
            request_headers,
            response_headers,
            upgrades,
            pass_identity_headers,
            issuer_format,
            bearer,
            depends_on,
            client,
        } = self;
        let rules = |bearer: &Option<Arc<BearerRules>>| bearer.as_ref().map(|rules| rules.id);
        let trust = |trust: &Option<Arc<ClientTrust>>| trust.as_ref().map(|trust| trust.digest());
        *name == other.name
            && *policy == other.policy
            && trust(client_trust) == trust(&other.client_trust)
            && action.is_equal_but_for_cluster(&other.action)
            && *timeout == other.timeout
            && *idle_timeout == other.idle_timeout
            && *request_headers == other.request_headers
            && *response_headers == other.response_headers
            && *upgrades == other.upgrades
            && *pass_identity_headers == other.pass_identity_headers
            && *issuer_format == other.issuer_format
            && rules(bearer) == rules(&other.bearer)
            && *depends_on == other.depends_on
            && *client == other.client
    }

    /// Whether it forwards trusted certificates to its upstream.
    pub(super) fn forwards_certificate(&self) -> bool {
        let wanted = match &self.action {
            ActionSpec::Proxy(proxy) => !proxy.client_certificate.is_empty(),
            ActionSpec::Redirect(_) | ActionSpec::Respond { .. } => false,
        };
        wanted && self.client_trust.is_some()
    }
}

/// The action of a route on an allowed request.
#[derive(Debug, Clone)]
pub(crate) enum ActionSpec {
    /// Forward it.
    Proxy(ProxySpec),
    /// Answer with a redirect.
    Redirect(RedirectSpec),
    /// Answer with this.
    Respond {
        /// Status of the answer.
        status: StatusCode,
        /// Its body, sent as `text/plain`.
        body: bytes::Bytes,
    },
}

impl ActionSpec {
    /// The upstreams, if it forwards.
    pub(crate) fn cluster(&self) -> Option<&Arc<ClusterSpec>> {
        match self {
            ActionSpec::Proxy(proxy) => Some(&proxy.cluster),
            ActionSpec::Redirect(_) | ActionSpec::Respond { .. } => None,
        }
    }

    /// Only for actions that forward: the others have no cluster.
    fn is_equal_but_for_cluster(&self, other: &ActionSpec) -> bool {
        let (ActionSpec::Proxy(one), ActionSpec::Proxy(other)) = (self, other) else {
            return false;
        };
        let ProxySpec { cluster: _, path, host, client_certificate } = one;
        *path == other.path
            && *host == other.host
            && *client_certificate == other.client_certificate
    }
}

/// How a request is forwarded.
#[derive(Debug, Clone)]
pub(crate) struct ProxySpec {
    /// Where to.
    pub cluster: Arc<ClusterSpec>,
    /// How the path is rewritten.
    pub path: PathRewrite,
    /// How the host is rewritten.
    pub host: HostRewrite,
    /// How the client's certificate is described to the upstream.
    pub client_certificate: CertificateHeaders,
}

/// The headers that describe a trusted client certificate to an upstream. An untrusted one is not
/// forwarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CertificateHeaders {
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
    pub rfc9440: Rfc9440,
    /// The fields of `X-Forwarded-Client-Cert`; without a field the header is not sent.
    pub xfcc: XfccFields,
}

impl CertificateHeaders {
    /// Whether no header is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        *self == CertificateHeaders::default()
    }
}

/// Which of the headers of RFC 9440 are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Rfc9440 {
    /// None.
    #[default]
    None,
    /// `Client-Cert`.
    Leaf,
    /// `Client-Cert-Chain` as well.
    Chain,
}

/// Fields of Envoy's `X-Forwarded-Client-Cert`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct XfccFields {
    /// SHA-256 of the certificate, lower hex.
    pub hash: bool,
    /// The certificate, in URL-encoded PEM.
    pub cert: bool,
    /// The chain, leaf first, in URL-encoded PEM.
    pub chain: bool,
    /// The subject (RFC 2253).
    pub subject: bool,
    /// URI SANs.
    pub uri: bool,
    /// DNS SANs.
    pub dns: bool,
}

/// How the path is rewritten. The query is always kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PathRewrite {
    /// Nothing.
    Keep,
    /// Replaces the matched prefix (or the matched exact path, or for other matches the leading `/`)
    /// with this one.
    Prefix(Box<str>),
    /// Replaces every match of an expression.
    Regex(RegexRewrite),
}

/// How the Host header is rewritten.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum HostRewrite {
    /// The host of the chosen upstream, with its port if that is not the scheme's default.
    Upstream,
    /// What the client sent.
    Preserve,
    /// This.
    Literal(HeaderValue),
    /// The value of this request header; unchanged if it is absent.
    Header(HeaderName),
    /// The path with every match of an expression replaced.
    PathRegex(RegexRewrite),
}

/// Replaces every match of an expression.
#[derive(Debug, Clone)]
pub(crate) struct RegexRewrite {
    /// What to look for.
    pub pattern: Regex,
    /// What to put there, in the syntax of the `regex` crate: `${1}` names a group.
    pub substitution: Box<str>,
}

impl PartialEq for RegexRewrite {
    fn eq(&self, other: &RegexRewrite) -> bool {
        self.pattern.as_str() == other.pattern.as_str() && self.substitution == other.substitution
    }
}

/// A redirect. A part that is `None` is taken from the request.
#[derive(Debug, Clone)]
pub(crate) struct RedirectSpec {
    /// Scheme of the target.
    pub scheme: Option<Box<str>>,
    /// Host of the target.
    pub host: Option<Box<str>>,
    /// Port of the target.
    pub port: Option<u16>,
    /// Path of the target.
    pub path: RedirectPath,
    /// One of 301, 302, 303, 307, 308.
    pub status: StatusCode,
    /// Leave the query out.
    pub strip_query: bool,
}

/// The path of a redirect.
#[derive(Debug, Clone)]
pub(crate) enum RedirectPath {
    /// The request's.
    Keep,
    /// This one.
    Literal(Box<str>),
    /// The request's with the matched prefix replaced by this one.
    Prefix(Box<str>),
}

/// Removed first, then set.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct HeaderRules {
    /// Names to remove.
    pub remove: Vec<HeaderName>,
    /// Names to set, with their values.
    pub set: Vec<(HeaderName, HeaderTemplate)>,
}

impl HeaderRules {
    fn names_certificate(&self) -> bool {
        self.parts().any(|part| matches!(part, TemplatePart::ClientCert(_)))
    }

    fn names_assertion(&self) -> bool {
        self.parts().any(|part| *part == TemplatePart::IdentityJwt)
    }

    fn provider_tokens(&self) -> WantedTokens {
        WantedTokens {
            access: self.parts().any(|part| *part == TemplatePart::AccessToken),
            id: self.parts().any(|part| *part == TemplatePart::IdToken),
        }
    }

    fn parts(&self) -> impl Iterator<Item = &TemplatePart> {
        self.set.iter().flat_map(|(_, template)| &template.0)
    }
}

/// A header value with references such as `${pomerium.client_cert_fingerprint}`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HeaderTemplate(pub Vec<TemplatePart>);

/// A piece of a header value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplatePart {
    /// These characters.
    Literal(Box<str>),
    /// The value of a request header, `${pomerium.request.headers["X-H"]}`; empty when absent.
    RequestHeader(HeaderName),
    /// A field of the client certificate.
    ClientCert(CertificateField),
    /// The signed assertion about the user, `${pomerium.jwt}`; empty without a user.
    IdentityJwt,
    /// The identity provider's access token of the session, `${pomerium.access_token}`; empty without a
    /// session.
    AccessToken,
    /// Its ID token, `${pomerium.id_token}`.
    IdToken,
}

/// A field of a client certificate, for header templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateField {
    /// SHA-256 of it, lower hex; also of an untrusted one.
    Fingerprint,
    /// Its DNS SANs, joined with commas.
    SanDns,
    /// Its email SANs, joined with commas.
    SanEmail,
    /// Its URI SANs, joined with commas.
    SanUri,
    /// The subject (RFC 2253).
    Subject,
    /// The issuer (RFC 2253).
    Issuer,
    /// The serial number, upper hex.
    Serial,
}

/// Done to a response's headers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ResponseHeaderRules {
    /// `disable` is configured: no header is set, not even the global ones.
    pub disable: bool,
    /// Set over the global ones.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Prefixes to replace in values.
    pub rewrite: Vec<HeaderPrefixRewrite>,
}

/// Replaces `prefix` at the start of a header's value with `value`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HeaderPrefixRewrite {
    /// The header.
    pub header: HeaderName,
    /// The start of its value.
    pub prefix: Box<str>,
    /// The replacement.
    pub value: Box<str>,
}
