//! A file, and what is to be found in it.

use std::{fs, path::Path, process::Command};

use portcullis_tests::{Ca, pki, process::run, proxy::portcullis, tempdir::TempDir, tools::need};

/// One file. `@` stands for the directory of the certificates, `{route}` for a route of four lines
/// that is good, and behind the text come the two lines of a good server certificate, unless the row
/// is [`Row::whole`].
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) yaml: &'static str,
    pub(crate) is_whole: bool,
    pub(crate) variable: Option<(&'static str, &'static str)>,
    pub(crate) findings: &'static [Expected],
}

/// Severity, line, and a part of what is said.
pub(crate) type Expected = (&'static str, Option<u64>, &'static str);

impl Row {
    pub(crate) const fn new(
        what: &'static str,
        yaml: &'static str,
        findings: &'static [Expected],
    ) -> Self {
        Self { what, yaml, is_whole: false, variable: None, findings }
    }

    pub(crate) const fn whole(self) -> Self {
        Self { is_whole: true, ..self }
    }

    pub(crate) const fn with_variable(self, name: &'static str, value: &'static str) -> Self {
        Self { variable: Some((name, value)), ..self }
    }
}

pub(crate) const fn error(line: u64, part: &'static str) -> Expected {
    ("error", Some(line), part)
}

pub(crate) const fn warning(line: u64, part: &'static str) -> Expected {
    ("warning", Some(line), part)
}

const ROUTE: &str = "routes:\n- from: https://a.localhost.pomerium.io\n  to: http://127.0.0.1:1\n  \
     allow_public_unauthenticated_access: true\n";
const CERTIFICATE: &str =
    "certificate_file: '@/server.pem'\ncertificate_key_file: '@/server.key'\n";

/// The files that the rows name.
pub(crate) struct Rows(TempDir);

impl Rows {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new("findings");
        let pki = pki();
        for (name, pair) in [("server", pki.server()), ("client", pki.client())] {
            copy(&pair.cert, &dir, &format!("{name}.pem"));
            copy(&pair.key, &dir, &format!("{name}.key"));
        }
        copy(&pki.pair("upstream-expired").cert, &dir, "ended.pem");
        copy(&pki.pair("upstream-expired").key, &dir, "ended.key");
        copy(&pki.ca(), &dir, "ca.pem");
        let ca = Ca::new(&dir, "own");
        dir.write("crl.pem", ca.crl(&[]));
        dir.write("stale.pem", ca.stale_crl());
        copy(&ca.certificate(), &dir, "own.pem");
        let key = dir.write("server2.key", fs::read(pki.server().key).expect("a key"));
        dir.write("both.pem", [fs::read(pki.ca()), fs::read(&key)].map(Result::unwrap).concat());
        dir.write("garbage.pem", "garbage");
        dir.write("short.key", "short");
        openssl(&dir, "x509 -in server.pem -outform DER -out server.der");
        openssl(&dir, "ec -in server.key -aes128 -passout pass:x -out locked.key");
        openssl(
            &dir,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp521r1 -nodes -keyout p521.key -out \
             p521.pem -days 30 -subj /CN=P521 -addext basicConstraints=critical,CA:TRUE",
        );
        // Warnings about keys that everybody can read are tested elsewhere.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(dir.path(), private).expect("a private directory");
        Self(dir)
    }

    /// What is found and is not expected, or the other way round.
    pub(crate) fn problem(&self, row: &Row) -> Option<String> {
        let dir = self.0.path().display().to_string();
        let certificate = if row.is_whole { "" } else { CERTIFICATE };
        let yaml = row.yaml.replace("{route}", ROUTE) + certificate;
        let path = self.0.write("config.yaml", yaml.replace('@', &dir));
        let variable = row.variable.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let variables: Vec<_> = variable.into_iter().collect();
        let done = portcullis(&variables, &["check", "--format", "json", "--config"], Some(&path));
        let found: Vec<serde_json::Value> =
            done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let fails = row.findings.iter().any(|(severity, ..)| *severity == "error");
        let is_right = found.len() == row.findings.len()
            && row.findings.iter().all(|expected| found.iter().any(|it| is_it(it, &dir, expected)))
            && done.code == Some(i32::from(fails));
        let told = done.stdout.replace(&dir, "@");
        (!is_right)
            .then(|| format!("{}: exit code {:?}, and\n{told}{}", row.what, done.code, done.stderr))
    }
}

fn is_it(found: &serde_json::Value, dir: &str, (severity, line, part): &Expected) -> bool {
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    let said = format!("{}: {} ({})", text("key"), text("message"), text("hint"));
    let said = said.replace(dir, "@");
    found["severity"] == *severity && found["line"].as_u64() == *line && said.contains(part)
}

fn copy(from: &Path, dir: &TempDir, name: &str) {
    dir.write(name, fs::read(from).expect("a file of the PKI"));
}

fn openssl(dir: &TempDir, arguments: &str) {
    let mut command = Command::new(need("openssl"));
    command.current_dir(dir.path()).args(arguments.split(' '));
    let done = run(&mut command, b"");
    assert_eq!(done.code, Some(0), "openssl {arguments}: {}", done.stderr);
}
