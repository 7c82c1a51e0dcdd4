//! The services that answer requests here, and the paths that belong to them.

/// A service of ours. [`super::serve_local`] answers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LocalService {
    /// Answers load balancers that ask whether the process serves.
    HealthCheck,
    /// Sends every request of the redirect listener to HTTPS.
    HttpsRedirect,
    /// Holds the paths of sign-in and its keys, so that no route serves them.
    Reserved,
}

/// Which paths belong to a service.
#[derive(Debug)]
enum OwnPath {
    Exact(&'static str),
    /// The path itself and everything below it.
    Below(&'static str),
}

/// The services that have paths of their own, on every host and before any route.
const PATHS: [(OwnPath, LocalService); 4] = [
    (OwnPath::Exact("/ping"), LocalService::HealthCheck),
    (OwnPath::Exact("/healthz"), LocalService::HealthCheck),
    (OwnPath::Below("/.pomerium"), LocalService::Reserved),
    (OwnPath::Below("/.well-known/pomerium"), LocalService::Reserved),
];

impl LocalService {
    /// The service that a normalised path belongs to; `None` leaves it to the routes.
    pub(super) fn of_path(path: &str) -> Option<LocalService> {
        let owner = PATHS.iter().find(|(own, _)| own.contains(path));
        owner.map(|(_, service)| *service)
    }
}

impl OwnPath {
    fn contains(&self, path: &str) -> bool {
        match self {
            OwnPath::Exact(own) => path == *own,
            OwnPath::Below(own) => {
                path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_a_service_only_as_a_whole_or_below_it() {
        for (path, service) in [
            ("/ping", Some(LocalService::HealthCheck)),
            ("/healthz", Some(LocalService::HealthCheck)),
            ("/healthz/x", None),
            ("/pingx", None),
            ("/.pomerium", Some(LocalService::Reserved)),
            ("/.pomerium/callback", Some(LocalService::Reserved)),
            ("/.pomeriumx", None),
            ("/.well-known/pomerium/jwks.json", Some(LocalService::Reserved)),
            ("/.well-known/acme-challenge/x", None),
            ("/", None),
        ] {
            assert_eq!(LocalService::of_path(path), service, "{path}");
        }
    }
}
