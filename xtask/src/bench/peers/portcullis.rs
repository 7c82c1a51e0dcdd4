//! Our own proxy: the build of this tree, and another one for comparison.

use std::path::PathBuf;

use anyhow::Result;

use super::{Guards, OurRoute, Peer, Place, Running, said_by};
use crate::{
    admin,
    bench::lab::sha256,
    command::{command, root},
    process::Process,
    rig::ZONE,
};

/// Keys that watch and limit upstreams and never act, since they are well. Rates are counted too.
const GUARDS: &str = "  \
  health_checks: [{timeout: 1s, interval: 1s, unhealthy_threshold: 3, healthy_threshold: 1, http_health_check: {path: /1k}}]
  outlier_detection: {consecutive_5xx: 5, interval: 1s, success_rate_minimum_hosts: 1, max_ejection_percent: 50}
  circuit_breaker_thresholds: {max_connections: 10000, max_pending_requests: 10000, max_requests: 10000, max_retries: 10}
";

/// A build of our proxy.
pub(in crate::bench) struct Portcullis {
    /// `portcullis` or `baseline`.
    pub(in crate::bench) id: &'static str,
    pub(in crate::bench) program: PathBuf,
}

impl Peer for Portcullis {
    fn id(&self) -> &str {
        self.id
    }

    fn version(&self) -> String {
        let version = said_by(command(&self.program).arg("--version"));
        let lock = include_str!("../../../../Cargo.lock");
        let of = |name| super::pingora::locked(lock, name).unwrap_or("?");
        let program = self.program.strip_prefix(root()).unwrap_or(&self.program).display();
        // The name of the binary, which may not be a build of the working tree.
        let sha256 = sha256(&self.program).unwrap_or_default();
        let sha256 = sha256.get(..12).unwrap_or("?");
        let (rustls, ring) = (of("rustls"), of("ring"));
        format!("{}, rustls {rustls}, ring {ring}; {program}, SHA-256 {sha256}...", version.trim())
    }

    fn start(&self, place: &Place<'_>) -> Result<Process> {
        let config = place.write("config.yaml", &config(place)?)?.display().to_string();
        let mut process = place.spawn(&self.program, &["run", "--config", &config])?;
        process.wait_until("/readyz answers 200", |_| admin::is_ready(place.admin.port()))?;
        Ok(process)
    }

    /// Reloads through the file, which it watches.
    fn reload(&self, running: &mut Running<'_>) -> Result<()> {
        running.place.write("config.yaml", &config(&running.place)?)?;
        Ok(())
    }

    /// The next process tells the former one to finish.
    fn restart(&self, running: &mut Running<'_>) -> Result<()> {
        let config = running.place.directory.join("config.yaml").display().to_string();
        let former = running.id().to_string();
        let arguments = ["run", "--config", &config, "--replace", &former];
        let next = running.place.spawn(&self.program, &arguments)?;
        running.succeed(next);
        running.wait_for_end_of_former()
    }

    fn restarts(&self) -> bool {
        true
    }
}

pub(super) fn config(place: &Place<'_>) -> Result<String> {
    let lab = place.lab;
    let mut upstreams = place.upstreams();
    if place.setup.guards.is_some() {
        upstreams.extend(place.upstreams());
    }
    let to = match &*upstreams {
        [one] => format!("https://{one}"),
        several => {
            let urls: Vec<_> = several.iter().map(|one| format!("https://{one}")).collect();
            format!("[{}]", urls.join(", "))
        }
    };
    let (sign_in, route) = match &place.setup.sign_in {
        None => (String::new(), OurRoute::Public),
        Some((settings, route)) => {
            (format!("authenticate_service_url: https://authenticate.{ZONE}\n{settings}"), *route)
        }
    };
    let access = route.settings();
    let guards = if place.setup.guards == Some(Guards::On) { GUARDS } else { "" };
    let route = |name: &String| {
        format!(
            "- from: https://{name}\n  to: {to}\n  tls_server_name: {ZONE}\n  \
             tls_custom_ca_file: {}\n  tls_client_cert_file: {}\n  tls_client_key_file: {}\n  \
             {access}\n{guards}",
            lab.ca.display(),
            lab.proxy.certificate.display(),
            lab.proxy.key.display(),
        )
    };
    let mut routes: String = place.setup.names().iter().map(route).collect();
    if let Some(upstream) = place.setup.tunnel {
        routes += &format!(
            "- from: https://tunnel.{ZONE}\n  to: http://{upstream}\n  allow_websockets: true\n  \
             allow_public_unauthenticated_access: true\n"
        );
    }
    let shared = [&lab.server];
    let pairs: Vec<_> = match &*place.certificates {
        [] => shared.to_vec(),
        own => own.iter().collect(),
    };
    let certificates: String = pairs
        .iter()
        .map(|pair| {
            format!("- {{ cert: {}, key: {} }}\n", pair.certificate.display(), pair.key.display())
        })
        .collect();
    place.fill(
        include_str!("../../../../bench/peers/portcullis.yaml"),
        &[
            ("certificates", certificates.trim_end()),
            ("routes", &routes),
            ("sign_in", &sign_in),
            ("steering", place.setup.steering),
        ],
    )
}
