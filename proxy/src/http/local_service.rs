//! The services that answer requests here, and the paths that belong to them.

/// A service of ours. [`super::serve_local`] answers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LocalService {
    /// Answers load balancers that ask whether the process serves.
    HealthCheck,
    /// Sends every request of the redirect listener to HTTPS.
    HttpsRedirect,
    /// `/.well-known/pomerium`: where sign-in and its keys are.
    Discovery,
    /// The public keys that assertions are verified with.
    Jwks,
    /// The pages and steps of sign-in.
    SignIn(SignInPath),
    /// Takes logout tokens of the identity provider. At the host of sign-in.
    BackchannelLogout,
    /// Holds the other paths of sign-in and its keys, so that no route serves them.
    Reserved,
}

/// A page or a step of sign-in, on every host of ours unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignInPath {
    /// `/.pomerium/`: who is signed in.
    Overview,
    /// `/.pomerium/user`: the claims of an assertion.
    User,
    /// `/.pomerium/sign_in`, where a sign-in begins. At the host of sign-in.
    Begin,
    /// `/oauth2/callback`, where the provider leads back to. At the host of sign-in.
    ProviderCallback,
    /// `/.pomerium/callback/`, the last step.
    Callback,
    /// `/.pomerium/sign_in_too`: a sign-in at a further host.
    Dependent,
    /// `/.pomerium/api/v1/login`: how a program signs in.
    ProgramLogin,
    /// `/.pomerium/program`: asks the user whether a program may sign in.
    Program,
    /// `/.pomerium/sign_out`
    SignOut,
    /// `/.pomerium/signed_out`, where the provider leads to after sign-out. At the host of sign-in.
    SignedOut,
    /// `/` of the host of sign-in, if no route has it.
    Root,
    /// `/robots.txt` of that host, if no route has it.
    Robots,
}

/// Which paths belong to a service.
#[derive(Debug)]
enum OwnPath {
    Exact(&'static str),
    /// The path itself and everything below it.
    Below(&'static str),
}

/// The services that have paths of their own, on every host and before any route. The first match
/// counts.
const PATHS: [(OwnPath, LocalService); 18] = [
    (OwnPath::Exact("/ping"), LocalService::HealthCheck),
    (OwnPath::Exact("/healthz"), LocalService::HealthCheck),
    (OwnPath::Exact("/.pomerium"), LocalService::SignIn(SignInPath::Overview)),
    (OwnPath::Exact("/.pomerium/"), LocalService::SignIn(SignInPath::Overview)),
    (OwnPath::Exact("/.pomerium/user"), LocalService::SignIn(SignInPath::User)),
    (OwnPath::Exact("/.pomerium/sign_in"), LocalService::SignIn(SignInPath::Begin)),
    (OwnPath::Exact("/.pomerium/callback"), LocalService::SignIn(SignInPath::Callback)),
    (OwnPath::Exact("/.pomerium/callback/"), LocalService::SignIn(SignInPath::Callback)),
    (OwnPath::Exact("/.pomerium/sign_in_too"), LocalService::SignIn(SignInPath::Dependent)),
    (OwnPath::Exact("/.pomerium/api/v1/login"), LocalService::SignIn(SignInPath::ProgramLogin)),
    (OwnPath::Exact("/.pomerium/program"), LocalService::SignIn(SignInPath::Program)),
    (OwnPath::Exact("/.pomerium/sign_out"), LocalService::SignIn(SignInPath::SignOut)),
    (OwnPath::Exact("/.pomerium/signed_out"), LocalService::SignIn(SignInPath::SignedOut)),
    (OwnPath::Exact("/.pomerium/backchannel_logout"), LocalService::BackchannelLogout),
    (OwnPath::Below("/.pomerium"), LocalService::Reserved),
    (OwnPath::Exact("/.well-known/pomerium"), LocalService::Discovery),
    (OwnPath::Exact("/.well-known/pomerium/jwks.json"), LocalService::Jwks),
    (OwnPath::Below("/.well-known/pomerium"), LocalService::Reserved),
];

impl LocalService {
    /// The service that a normalised path belongs to on every host; `None` leaves it to the routes.
    pub(super) fn of_path(path: &str) -> Option<LocalService> {
        // All but the health checks are in two folders, and few requests are for either.
        if !matches!(path, "/ping" | "/healthz") && !path.starts_with("/.") {
            return None;
        }
        let owner = PATHS.iter().find(|(own, _)| own.contains(path));
        owner.map(|(_, service)| *service)
    }

    /// The service of a path of the host of sign-in that no route may have.
    pub(super) fn of_authenticate_path(path: &str) -> Option<LocalService> {
        (path == "/oauth2/callback").then_some(LocalService::SignIn(SignInPath::ProviderCallback))
    }

    /// The service of a path of the host of sign-in that no route has.
    pub(super) fn of_unrouted_authenticate_path(path: &str) -> Option<LocalService> {
        match path {
            "/" => Some(LocalService::SignIn(SignInPath::Root)),
            "/robots.txt" => Some(LocalService::SignIn(SignInPath::Robots)),
            _ => None,
        }
    }
}

impl SignInPath {
    /// Whether other hosts than that of sign-in do not have it.
    pub(super) fn is_of_authenticate_host(self) -> bool {
        match self {
            SignInPath::Begin
            | SignInPath::ProviderCallback
            | SignInPath::SignedOut
            | SignInPath::Root
            | SignInPath::Robots => true,
            SignInPath::Overview
            | SignInPath::User
            | SignInPath::Callback
            | SignInPath::Dependent
            | SignInPath::ProgramLogin
            | SignInPath::Program
            | SignInPath::SignOut => false,
        }
    }
}

impl SignInPath {
    /// Whether clients without a certificate may use it where routes demand one: as in Pomerium,
    /// those that finish a sign-in.
    pub(super) fn needs_no_certificate(self) -> bool {
        matches!(self, SignInPath::ProviderCallback | SignInPath::Callback | SignInPath::Dependent)
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
            ("/.pomerium", Some(LocalService::SignIn(SignInPath::Overview))),
            ("/.pomerium/", Some(LocalService::SignIn(SignInPath::Overview))),
            ("/.pomerium/callback", Some(LocalService::SignIn(SignInPath::Callback))),
            ("/.pomerium/callback/", Some(LocalService::SignIn(SignInPath::Callback))),
            ("/.pomerium/callback/x", Some(LocalService::Reserved)),
            ("/.pomerium/backchannel_logout", Some(LocalService::BackchannelLogout)),
            ("/.pomerium/backchannel_logout/", Some(LocalService::Reserved)),
            ("/.pomerium/anything", Some(LocalService::Reserved)),
            ("/.pomeriumx", None),
            ("/.POMERIUM", None),
            ("/.well-known/pomerium", Some(LocalService::Discovery)),
            ("/.well-known/pomerium/", Some(LocalService::Reserved)),
            ("/.well-known/pomerium/jwks.json", Some(LocalService::Jwks)),
            ("/.well-known/acme-challenge/x", None),
            ("/oauth2/callback", None),
            ("/", None),
        ] {
            assert_eq!(LocalService::of_path(path), service, "{path}");
        }
    }

    #[test]
    fn every_path_is_found_though_most_paths_are_not_looked_up() {
        for (own, service) in &PATHS {
            let (OwnPath::Exact(path) | OwnPath::Below(path)) = own;
            assert!(LocalService::of_path(path).is_some(), "{path} {service:?}");
        }
    }
}
