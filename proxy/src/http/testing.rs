//! Helpers for the tests of this room.

use std::{rc::Rc, sync::Arc, time::Duration};

use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls_pki_types::UnixTime;

use super::{
    certificate::{PeerCertificate, RequestCertificate},
    spec::{
        ActionSpec, EscapedSlashes, ForwardedFor, HostRewrite, PathRewrite, ProxySpec,
        RequestSettings, RouteSpec, Underscores,
    },
};
use crate::{
    identity::{
        config::IdentityConfig,
        spec::{
            AuthenticateUrl, CookieSpec, IdentitySpec, ProviderPreset, ProviderSpec, SameSite,
            SealSecret, SignInSpec, UnverifiedEmail, WithoutRefreshToken,
        },
    },
    policy::{Policy, PolicySpec},
    tls::{ClientTrust, ClientTrustSpec, TrustAnchors, VerifiedChain},
    upstream::{BalancePolicy, ClusterSpec},
};

/// The default settings of Pomerium, without response headers.
pub(super) fn settings() -> RequestSettings {
    RequestSettings {
        read_timeout: None,
        stream_timeout: None,
        upstream_timeout: None,
        max_headers: 100,
        max_response_headers: 100,
        normalize_path: true,
        merge_slashes: true,
        escaped_slashes: EscapedSlashes::Reject,
        underscores: Underscores::Reject,
        forwarded_for: ForwardedFor { skip_append: false, trusted_hops: 0 },
        passed_forwarding: Vec::new(),
        response_headers: Vec::new(),
        identity_headers: Vec::new(),
        certificate_identity: None,
        policy_list_len: 0,
        branding: Default::default(),
    }
}

/// The secret of [`people`].
pub(super) const SECRET: SealSecret = SealSecret([5; 32]);

/// Sign-in at `auth.example` by the provider `idp.example`.
pub(super) fn sign_in_spec() -> SignInSpec {
    SignInSpec {
        authenticate: AuthenticateUrl { host: "auth.example".into(), port: 443 },
        provider: ProviderSpec {
            preset: ProviderPreset::Oidc,
            issuer_url: "https://idp.example".into(),
            client_id: "client".into(),
            client_secret: None,
            scopes: vec!["openid".into()],
            request_params: Vec::new(),
            tenants: Vec::new(),
        },
        route_clients: Arc::default(),
        token_hosts: Arc::default(),
        anchors: None,
        cookies: CookieSpec {
            name: "s".into(),
            domain: None,
            http_only: true,
            expire: Duration::from_secs(3_600),
            same_site: SameSite::Lax,
        },
        cookie_secret: None,
        previous_secrets: Vec::new(),
        recheck: Duration::from_secs(600),
        without_refresh_token: WithoutRefreshToken::CookieExpire,
        unverified_email: UnverifiedEmail::Ignore,
        kept_claims: Arc::default(),
        signout_redirect_url: None,
        program_hosts: ["localhost".into()].into(),
        state_file: None,
        listen_ports: vec![443],
    }
}

/// The compiled settings of people who sign in in this way.
pub(super) fn people(sign_in: Option<SignInSpec>) -> IdentityConfig {
    let claim_headers = [("x-email", "email"), ("x-groups", "groups")];
    let claim_headers = claim_headers.map(|(name, claim)| (name.parse().unwrap(), claim.into()));
    let spec = IdentitySpec {
        sign_in: sign_in.map(Arc::new),
        claim_headers: claim_headers.into(),
        ..IdentitySpec::none()
    };
    IdentityConfig::new(&spec, &SECRET, 1).unwrap()
}

/// The policy of `allow_public_unauthenticated_access`.
pub(super) fn everybody() -> Policy {
    Policy::new(&PolicySpec { allow_public_unauthenticated_access: true, ..Default::default() })
}

/// A route without rules of its own.
pub(super) fn route(policy: Policy, action: ActionSpec) -> RouteSpec {
    RouteSpec {
        name: "a".into(),
        policy: policy.into(),
        client_trust: None,
        action,
        timeout: None,
        idle_timeout: None,
        request_headers: Default::default(),
        response_headers: Default::default(),
        pass_identity_headers: false,
        issuer_format: Default::default(),
        bearer: None,
        depends_on: Default::default(),
        client: None,
        upgrades: Vec::new(),
    }
}

/// Forwards to nowhere, with the upstream's own host.
pub(super) fn proxy() -> ProxySpec {
    ProxySpec {
        cluster: Arc::new(ClusterSpec {
            endpoints: Box::default(),
            balance: BalancePolicy::RoundRobin,
            connect_timeout: Duration::from_secs(1),
            resilience: None,
        }),
        path: PathRewrite::Keep,
        host: HostRewrite::Upstream,
        client_certificate: Default::default(),
    }
}

/// A client's certificate, and a trust that verifies it.
pub(super) struct Made {
    pub(super) der: Vec<u8>,
    pub(super) certificate: Rc<PeerCertificate>,
    pub(super) trust: ClientTrust,
    pub(super) judged: VerifiedChain,
}

impl Made {
    /// Alice's self-signed certificate.
    pub(super) fn alice() -> Made {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Doe, Inc.");
        params.distinguished_name.push(DnType::CommonName, "J\u{fc}rgen \"J\"");
        params.serial_number = Some(vec![0xab, 0xcd].into());
        params.subject_alt_names = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::Rfc822Name("a@example.com".try_into().unwrap()),
            SanType::URI("spiffe://example/a".try_into().unwrap()),
        ];
        Made::of(params)
    }

    /// A self-signed certificate.
    pub(super) fn of(params: CertificateParams) -> Made {
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let anchors = TrustAnchors::from_pem(made.pem().as_bytes(), "a test").unwrap();
        let trust = ClientTrust::new(&ClientTrustSpec::new(Arc::new(anchors), 1));
        let certificate = PeerCertificate::presented(&[made.der().clone()], None).unwrap();
        let judged = certificate.verify(&trust, UnixTime::now()).unwrap();
        Made { der: made.der().to_vec(), certificate, trust, judged }
    }

    /// As a route sees it that trusts its CA.
    pub(super) fn trusted(&self) -> RequestCertificate<'_> {
        let trusted_by = Some((&self.trust, self.judged));
        RequestCertificate { certificate: &self.certificate, trusted_by }
    }

    /// As a route sees it that has no CA, or another.
    pub(super) fn unjudged(&self) -> RequestCertificate<'_> {
        RequestCertificate { certificate: &self.certificate, trusted_by: None }
    }
}
