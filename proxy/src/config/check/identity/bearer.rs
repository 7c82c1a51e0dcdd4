//! `bearer_token_format` and what belongs to it: the tokens of machines.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::{super::section::Section, upstream::Trust},
    provider,
};
use crate::{
    http::RouteSpec,
    identity::{
        bearer::spec::{BearerFormat, BearerRules, TokenIssuerSpec},
        jose::AllowedAlgorithms,
    },
};

const FORMAT: &str = "bearer_token_format";
const AUDIENCES: &str = "idp_access_token_allowed_audiences";
const PROVIDERS: &str = "identity_providers";

/// Pomerium's default for `supported_algs`.
const DEFAULT_ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

/// What a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Default,
    AccessToken,
    IdentityToken,
    Jwt,
}

/// The settings that routes inherit.
#[derive(Debug)]
pub(in super::super) struct BearerDefaults {
    format: Format,
    audiences: Box<[Box<str>]>,
    /// `identity_providers`, in order. One with a mistake is left out.
    issuers: Vec<Arc<TokenIssuerSpec>>,
    /// All of their names.
    names: Vec<String>,
    sign_in: bool,
    client_id: Option<String>,
}

impl BearerDefaults {
    /// Reads the global keys.
    pub(in super::super) fn new(root: &Section<'_>, trust: &Trust<'_>) -> BearerDefaults {
        let section = root.child_or_empty(PROVIDERS);
        let names: Vec<String> = section.entries().map(|(name, _)| name.to_owned()).collect();
        let read = |name: &String| issuer(&section, name, trust);
        let issuers: Vec<_> = names.iter().filter_map(read).map(Arc::new).collect();
        check_unique(&section, &issuers);
        let format = format(root).unwrap_or(Format::Default);
        if format == Format::Jwt && names.is_empty() {
            needs_issuers(root);
        }
        let client_id = root.text("idp_client_id");
        BearerDefaults {
            format,
            audiences: audiences(root, client_id.as_deref()),
            issuers,
            names,
            sign_in: provider::is_configured(root),
            client_id,
        }
    }

    /// Everybody who may make tokens.
    pub(in super::super) fn issuers(&self) -> &[Arc<TokenIssuerSpec>] {
        &self.issuers
    }

    /// Whether machines may be known by tokens that need no identity provider.
    pub(in super::super) fn has_issuers(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether tokens identify users at a route that asks for them, whoever else does.
    pub(in super::super) fn takes_jwt(&self, section: &Section<'_>) -> bool {
        self.has_issuers() && self.format_of(section) == Format::Jwt
    }

    /// The tokens that a route takes; `None` passes them on. `client_id` is the route's own client.
    pub(in super::super) fn of_route(
        &self,
        section: &Section<'_>,
        route: &RouteSpec,
        client_id: Option<&str>,
    ) -> Option<Arc<BearerRules>> {
        let own_format = format(section);
        let format = own_format.unwrap_or(self.format);
        let own_audiences = audiences(section, client_id.or(self.client_id.as_deref()));
        let issuers = self.listed(section);
        if format != Format::Jwt && section.has(PROVIDERS) {
            let message = "is only for routes with the bearer_token_format `jwt`";
            section.error(PROVIDERS, message);
        }
        // Whoever says nothing of tokens at a route that asks nobody's name means other routes.
        let is_asked = own_format.is_some() || route.looks_at_identity();
        if format == Format::Default || !is_asked {
            return None;
        }
        let rules = match format {
            Format::Default => return None,
            Format::IdentityToken => {
                self.need_provider(section);
                BearerFormat::IdentityToken { client_id: client_id.map(Box::from) }
            }
            Format::AccessToken => {
                self.need_provider(section);
                let audiences = match own_audiences.is_empty() {
                    true => self.audiences.clone(),
                    false => own_audiences,
                };
                if audiences.is_empty() && !section.has(AUDIENCES) {
                    let message = "is required with the bearer_token_format `idp_access_token`";
                    section.error_with_hint(AUDIENCES, message, "list the audiences of your API");
                }
                BearerFormat::AccessToken { audiences }
            }
            Format::Jwt => {
                if self.names.is_empty() && own_format.is_some() {
                    needs_issuers(section);
                }
                BearerFormat::Jwt { issuers: issuers.into() }
            }
        };
        if !route.looks_at_identity() {
            let message = "has no effect: the route does not depend on the user";
            section.warn(FORMAT, message);
        }
        Some(Arc::new(BearerRules::new(rules)))
    }

    fn format_of(&self, section: &Section<'_>) -> Format {
        let text = section.text(FORMAT).map(|text| text.to_uppercase());
        match text {
            Some(text) => {
                let is = |name: &&(&str, Format)| {
                    name.0 == text || name.0.ends_with(&format!("_{text}"))
                };
                FORMATS.iter().find(is).map_or(self.format, |(_, format)| *format)
            }
            None => self.format,
        }
    }

    /// Without an identity provider nobody makes such tokens.
    fn need_provider(&self, section: &Section<'_>) {
        if !self.sign_in {
            let message = "needs idp_provider, whose tokens they are";
            section.error_with_hint(FORMAT, message, "or use `jwt` with identity_providers");
        }
    }

    /// The issuers that a route names; all if it names none.
    fn listed(&self, section: &Section<'_>) -> Vec<Arc<TokenIssuerSpec>> {
        if !section.has(PROVIDERS) {
            return self.issuers.clone();
        }
        let names = section.list(PROVIDERS);
        if names.is_empty() {
            section.error(PROVIDERS, "names no provider");
        }
        for (index, name) in names.iter().enumerate() {
            if !self.names.contains(name) {
                let message =
                    format!("`{}` is not among the global identity_providers", name.escape_debug());
                section.error(&format!("{PROVIDERS}[{index}]"), message);
            }
        }
        let is_listed =
            |issuer: &&Arc<TokenIssuerSpec>| names.iter().any(|it| **it == *issuer.name);
        self.issuers.iter().filter(is_listed).cloned().collect()
    }
}

fn needs_issuers(section: &Section<'_>) {
    let message = "`jwt` needs the global identity_providers";
    section.error_with_hint(FORMAT, message, "name the issuers of the tokens");
}

const FORMATS: [(&str, Format); 4] = [
    ("BEARER_TOKEN_FORMAT_DEFAULT", Format::Default),
    ("BEARER_TOKEN_FORMAT_IDP_ACCESS_TOKEN", Format::AccessToken),
    ("BEARER_TOKEN_FORMAT_IDP_IDENTITY_TOKEN", Format::IdentityToken),
    ("BEARER_TOKEN_FORMAT_JWT", Format::Jwt),
];

fn format(section: &Section<'_>) -> Option<Format> {
    section.choice(FORMAT, &FORMATS)
}

fn audiences(section: &Section<'_>, client_id: Option<&str>) -> Box<[Box<str>]> {
    let listed = section.list(AUDIENCES);
    if section.has(AUDIENCES) && (listed.is_empty() || listed.iter().any(String::is_empty)) {
        section.error(AUDIENCES, "names no audience");
    }
    if client_id.is_some_and(|client_id| listed.iter().any(|audience| audience == client_id)) {
        let message = "holds idp_client_id, which is the audience of ID tokens";
        section.warn_with_hint(AUDIENCES, message, "list the audiences of your API");
    }
    listed.into_iter().map(Box::from).collect()
}

fn issuer(section: &Section<'_>, name: &str, trust: &Trust<'_>) -> Option<TokenIssuerSpec> {
    if name.is_empty() || name.contains('/') {
        let message = format!("the name `{}` is empty or has a slash", name.escape_debug());
        section.error(name, message);
    }
    let section = section.child(name)?;
    const KNOWN: [&str; 4] = ["issuer", "jwks_url", "supported_algs", "audiences"];
    for (key, _) in section.entries().filter(|(key, _)| !KNOWN.contains(key)) {
        section.error(key, "is not a key of an identity provider");
    }
    let issuer = url(&section, "issuer");
    let jwks_url = url(&section, "jwks_url");
    if !section.has("issuer") {
        section.error("issuer", "is missing");
    }
    let algorithms = algorithms(&section);
    let audiences: Box<[Box<str>]> = section.list("audiences").into_iter().map(Box::from).collect();
    if audiences.is_empty() || audiences.iter().any(|audience| audience.is_empty()) {
        let message = "names no audience: its tokens would be good for everybody's services";
        section.error_with_hint("audiences", message, "list the audiences that mean this proxy");
    }
    let issuer = issuer?;
    let fetched = jwks_url.as_deref().unwrap_or(&issuer);
    let is_over_tls = !provider::is_plain(fetched);
    let anchors = is_over_tls.then(|| trust.default_anchors(&section, "issuer")).flatten();
    Some(TokenIssuerSpec { name: name.into(), issuer, jwks_url, algorithms, audiences, anchors })
}

fn url(section: &Section<'_>, key: &str) -> Option<Box<str>> {
    let text = section.text(key)?;
    match provider::check_issuer(&text) {
        Ok(()) => Some(text.into()),
        Err(problem) => {
            section.error_with_hint(key, problem, "write https://idp.example.com");
            None
        }
    }
}

fn algorithms(section: &Section<'_>) -> AllowedAlgorithms {
    let key = "supported_algs";
    let listed = section.list(key);
    for name in listed.iter().filter(|name| !AllowedAlgorithms::is_known(name)) {
        let message = format!("`{}` is not a supported algorithm", name.escape_debug());
        let hint = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA";
        section.error_with_hint(key, message, hint);
    }
    if section.has(key) && listed.is_empty() {
        section.error(key, "names no algorithm");
    }
    match section.has(key) {
        true => AllowedAlgorithms::from_metadata(Some(&listed)),
        false => AllowedAlgorithms::from_metadata(Some(&DEFAULT_ALGORITHMS)),
    }
}

/// A token's `iss` chooses the keys, so that an issuer has one entry.
fn check_unique(section: &Section<'_>, issuers: &[Arc<TokenIssuerSpec>]) {
    let mut by_issuer: HashMap<&str, &str> = HashMap::new();
    for issuer in issuers {
        if let Some(first) = by_issuer.insert(&issuer.issuer, &issuer.name) {
            let message = format!("is the issuer of `{}` too", first.escape_debug());
            section.error(&format!("{}.issuer", issuer.name), message);
        }
    }
}
