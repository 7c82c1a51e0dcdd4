//! From the document to the model: one file for each section, every mistake reported.
//!
//! A check that finds a mistake reports it and continues with a default; the load is rejected at
//! the end, so the default is never used.

mod access;
mod address;
mod certificate_headers;
mod certificates;
mod circuit_breakers;
mod client_auth;
mod depends_on;
mod headers;
mod health_checks;
mod http;
mod identity;
mod inspect;
mod last_route;
mod leaf_rules;
mod listen;
mod logging;
mod matching;
mod material;
mod outlier_detection;
mod pitfalls;
mod portcullis;
mod proto_json;
mod resilience;
mod retry;
mod rewrite;
mod routes;
mod secret_files;
mod shadows;
mod steering;
mod ticket_keys;
mod upstream;
mod url;

pub(super) use leaf_rules::stale_crls;
pub(super) use secret_files::is_world_readable;

use client_auth::ClientCertificates;
use inspect::Inspection;
use matching::ListenerTraits;
use material::Materials;
use routes::OfAll;
use upstream::Trust;

use super::{env::Environment, model::Config, section::Section};

/// Builds the model; it is valid only if no error was reported. The caller adds the files.
pub(super) fn check(root: &Section<'_>, environment: &Environment) -> Config {
    let own = root.child_or_empty("portcullis");
    let mut inspection = Inspection::begin(root, own.flag("strict").unwrap_or(false));
    let flags = portcullis::runtime_flags(root);
    let materials = Materials::default();
    let clients = ClientCertificates::new(root, &own, &materials);
    let trust = Trust::new(root, environment, &materials);
    let bearer = identity::BearerDefaults::new(root, &trust);
    let route_clients = identity::RouteClients::new(root);
    let of_all = OfAll {
        listener: ListenerTraits {
            any_port: flags.match_any_incoming_port,
            is_plain: root.flag("insecure_server").unwrap_or(false),
        },
        certificate_headers: certificate_headers::of_all(&own),
        identity: identity::defaults(root, clients.identity().is_some()),
        bearer: &bearer,
        clients: &route_clients,
    };
    let mut routes = routes::routes(root, &trust, &materials, &clients, of_all, &mut inspection);
    inspection.finish();
    let client_auth = clients.finish(&mut routes);
    certificate_headers::check_ca(&own, of_all.certificate_headers, clients.has_any());
    let codec = certificates::codec(root);
    let tls = certificates::server_tls(root, &materials, client_auth, clients.has_any(), codec);
    let workers = portcullis::workers(&own);
    let max_connections = portcullis::max_connections(&own);
    let (ticket_keys, ticket_key_files) = ticket_keys::ticket_keys(&own);
    let listen = listen::listen(root);
    pitfalls::check(root, &routes, tls.as_ref(), &listen);
    let around = identity::Surroundings {
        routes: &routes,
        tls: tls.as_ref(),
        listen: &listen,
        trust: &trust,
        bearer: &bearer,
        clients: &route_clients,
    };
    Config {
        identity: identity::identity(root, &own, &around, of_all.identity),
        listen,
        connections: portcullis::connections(root, &own, max_connections, codec),
        max_connections,
        core_dumps: own.flag("core_dumps").unwrap_or(false),
        first_health_checks: portcullis::first_health_checks(&own),
        http: http::settings(root, &own, tls.is_some(), clients.identity()),
        dns: http::dns(root),
        steering: steering::steering(&own, &routes, workers),
        workers,
        admin: portcullis::admin(root, &own, &materials),
        log: logging::log(root, &own),
        crls: clients.crls().cloned(),
        ticket_keys,
        ticket_key_files,
        hot_reload: flags.config_hot_reload,
        files: Vec::new(),
        routes,
        tls,
    }
}
