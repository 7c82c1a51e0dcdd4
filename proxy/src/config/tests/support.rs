//! What the tests of whole loads share.

use std::{fs, path::PathBuf, sync::OnceLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
};

use crate::config::{
    Config, ConfigLocation, Diagnostic, Diagnostics, Environment, Loaded, Severity, load,
};

/// A directory that is removed at the end, with a small PKI in it.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    pub(crate) fn new() -> Dir {
        let dir = Dir(tempfile::tempdir().unwrap());
        dir.set_mode(0o700);
        for (name, content) in pki() {
            dir.write(name, content);
            dir.make_readable_by(0o600, name);
        }
        dir
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.file(name), content).unwrap();
    }

    /// Sets the mode of a file.
    pub(crate) fn make_readable_by(&self, mode: u32, name: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.file(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Puts a FIFO that nobody writes to in the place of a file.
    pub(crate) fn replace_by_fifo(&self, name: &str) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let fifo = self.file("new-fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::rename(fifo, self.file(name)).unwrap();
    }

    /// The paths of the file's keys are made absolute: `@server.pem` is `server.pem` in here.
    pub(crate) fn load(
        &self,
        yaml: &str,
        variables: &[(&str, &str)],
    ) -> Result<Loaded, Diagnostics> {
        let here = format!("{}/", self.0.path().display());
        self.write("config.yaml", yaml.replace('@', &here));
        let mut environment =
            vec![("SSL_CERT_FILE".to_owned(), self.file("ca.pem").display().to_string())];
        for (name, value) in variables {
            environment.retain(|(known, _)| known != name);
            environment.push(((*name).to_owned(), value.replace('@', &here)));
        }
        let location = ConfigLocation::named(&self.file("config.yaml"));
        load(&location, &Environment::from_iter(environment))
    }

    /// Findings as they are shown, without the directory, the working directory, and the severity,
    /// which the caller has asked for.
    pub(crate) fn shown(&self, finding: &Diagnostic) -> String {
        let text = finding.to_string().replace(&format!("{}/", self.0.path().display()), "");
        let here = std::env::current_dir().unwrap();
        let text = text.replace(&format!(" {})", here.display()), " HERE)");
        text.replacen(&format!(": {}: ", finding.severity), ": ", 1)
    }

    /// Lets every user of this machine into the directory, and not only its owner.
    pub(crate) fn open_to_everybody(&self) {
        self.set_mode(0o755);
    }

    fn set_mode(&self, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.0.path(), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// A server certificate behind the snippet, so that its lines stay its own.
pub(crate) fn with_certificate(snippet: &str) -> String {
    format!("{snippet}\ncertificate_file: '@server.pem'\ncertificate_key_file: '@server-key.pem'\n")
}

/// Loads a snippet that must be refused, and shows its errors.
pub(crate) fn errors(snippet: &str) -> Vec<String> {
    errors_of(&with_certificate(snippet), &[])
}

/// The same for a whole file, with variables.
pub(crate) fn errors_of(yaml: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let dir = Dir::new();
    match dir.load(yaml, variables) {
        Err(diagnostics) => diagnostics.errors().map(|error| dir.shown(error)).collect(),
        Ok(loaded) => panic!("accepted, with {:?}", loaded.warnings),
    }
}

/// Loads a snippet that must be accepted, and shows its warnings, but for those of hosts that the
/// one certificate of these tests is not for.
pub(crate) fn warnings(snippet: &str) -> Vec<String> {
    let mut warnings = warnings_in(&Dir::new(), &with_certificate(snippet));
    warnings.retain(|warning| !warning.contains("from: no server certificate is for"));
    warnings
}

/// All warnings of a file that must be accepted.
pub(crate) fn warnings_in(dir: &Dir, yaml: &str) -> Vec<String> {
    match dir.load(yaml, &[]) {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|finding| finding.severity == Severity::Warning));
            loaded.warnings.iter().map(|warning| dir.shown(warning)).collect()
        }
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

/// Loads a snippet that must be accepted.
pub(crate) fn config(snippet: &str) -> Config {
    config_of(&with_certificate(snippet), &[])
}

/// The same for a whole file, with variables.
pub(crate) fn config_of(yaml: &str, variables: &[(&str, &str)]) -> Config {
    match Dir::new().load(yaml, variables) {
        Ok(loaded) => loaded.config,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

/// The content of a file of the PKI, in base64.
pub(crate) fn base64_of(name: &str) -> String {
    STANDARD.encode(pki_file(name))
}

/// The content of a file of the PKI.
pub(crate) fn pki_file(name: &str) -> &'static str {
    let (_, content) = pki().iter().find(|(known, _)| *known == name).unwrap();
    content
}

/// A CA, a server, a client, and a key of nobody's.
fn pki() -> &'static [(&'static str, String)] {
    static PKI: OnceLock<Vec<(&'static str, String)>> = OnceLock::new();
    PKI.get_or_init(|| {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.signed_by(&key, &ca).unwrap().pem(), key.serialize_pem())
        };
        let (server, server_key) = issue("*.localhost.pomerium.io");
        let (client, client_key) = issue("client.example");
        let ended = |mut params: CertificateParams| {
            params.not_after = date_time_ymd(2021, 1, 1);
            params
        };
        let ended_key = KeyPair::generate().unwrap();
        let ended_names = vec!["*.localhost.pomerium.io".to_owned()];
        let ended_server = ended(CertificateParams::new(ended_names).unwrap());
        let ended_server = ended_server.signed_by(&ended_key, &ca).unwrap();
        let mut ended_ca = ended(CertificateParams::default());
        ended_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ended_ca = ended_ca.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let crl = |end_year| {
            let params = CertificateRevocationListParams {
                this_update: date_time_ymd(2020, 1, 1),
                next_update: date_time_ymd(end_year, 1, 1),
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: None,
                revoked_certs: Vec::new(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            params.signed_by(&ca).unwrap().pem().unwrap()
        };
        let other_key = KeyPair::generate().unwrap().serialize_pem();
        vec![
            ("ca.pem", ca.pem()),
            ("server.pem", server),
            ("server-key.pem", server_key),
            ("client.pem", client),
            ("client-key.pem", client_key),
            ("other-key.pem", other_key),
            ("ended.pem", ended_server.pem()),
            ("ended-key.pem", ended_key.serialize_pem()),
            ("ended-ca.pem", ended_ca.pem()),
            ("crl.pem", crl(4000)),
            ("stale-crl.pem", crl(2021)),
            ("ticket.key", "0123456789abcdef".repeat(5)),
        ]
    })
}
