//! A CA for one test, made with OpenSSL, that can revoke its certificates. (mkcert's CA cannot: its
//! key usage excludes CRLs.)

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{pki::Pair, process::run, tempdir::TempDir, tools::need};

/// A CA in the directory of a test.
#[derive(Debug)]
pub struct Ca {
    dir: PathBuf,
}

impl Ca {
    /// Makes a CA.
    ///
    /// # Panics
    /// When OpenSSL fails, as with every method here.
    pub fn new(dir: &TempDir, name: &str) -> Self {
        let ca = Self { dir: dir.path().join(name) };
        fs::create_dir_all(ca.dir.join("new")).expect("the directory of a CA");
        ca.write("index.txt", "");
        ca.write("number", "01\n");
        ca.write("cnf", &ca.configuration());
        ca.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], |c| {
            c.arg("-out").arg(ca.dir.join("ca.key"))
        });
        let subject = format!("/O=Test/CN={name}");
        ca.openssl(&["req", "-x509", "-new", "-days", "365", "-extensions", "root"], |c| {
            c.args(["-subj", &subject, "-key"]).arg(ca.dir.join("ca.key"));
            c.arg("-out").arg(ca.certificate()).arg("-config").arg(ca.dir.join("cnf"))
        });
        ca
    }

    /// The CA's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Issues a client certificate with alternative names such as `email:a@b.c`.
    pub fn issue(&self, name: &str, alt_names: &str) -> Pair {
        self.issue_with(&["-days", "30"], name, alt_names)
    }

    /// Issues a client certificate that ended on 2 January 2020.
    pub fn issue_ended(&self, name: &str, alt_names: &str) -> Pair {
        let dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"];
        self.issue_with(&dates, name, alt_names)
    }

    fn issue_with(&self, dates: &[&str], name: &str, alt_names: &str) -> Pair {
        let file = |extension: &str| self.dir.join(format!("{name}.{extension}"));
        let pair = Pair { cert: file("pem"), key: file("key") };
        self.openssl(
            &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            |c| c.arg("-out").arg(&pair.key),
        );
        self.openssl(&["req", "-new", "-subj", &format!("/CN={name}"), "-key"], |c| {
            c.arg(&pair.key).arg("-out").arg(file("csr")).arg("-config").arg(self.dir.join("cnf"))
        });
        self.ca(&["-notext", "-extensions", "leaf"], |c| {
            c.args(dates)
                .env("SAN", alt_names)
                .arg("-in")
                .arg(file("csr"))
                .arg("-out")
                .arg(&pair.cert)
        });
        pair
    }

    /// Revokes a certificate, from the next CRL on.
    pub fn revoke(&self, pair: &Pair) {
        self.ca(&["-revoke"], |c| c.arg(&pair.cert));
    }

    /// A CRL issued now, due in a day, with more options.
    pub fn crl(&self, options: &[&str]) -> String {
        let file = self.dir.join("crl.pem");
        self.ca(&["-gencrl", "-crldays", "1"], |c| c.args(options).arg("-out").arg(&file));
        fs::read_to_string(file).expect("the CRL just made")
    }

    /// A CRL that was due on 2 January 2020.
    pub fn stale_crl(&self) -> String {
        self.crl(&["-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200102000000Z"])
    }

    fn ca(&self, args: &[&str], more: impl FnOnce(&mut Command) -> &mut Command) {
        let config = self.dir.join("cnf");
        self.openssl(&["ca", "-batch"], |c| {
            c.arg("-config").arg(&config).args(args);
            more(c)
        });
    }

    fn openssl(&self, args: &[&str], more: impl FnOnce(&mut Command) -> &mut Command) {
        let mut command = Command::new(need("openssl"));
        command.args(args).env("SAN", "email:nobody");
        more(&mut command);
        let done = run(&mut command, b"");
        assert_eq!(done.code, Some(0), "{command:?}: {}", done.stderr);
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.dir.join(name), content).expect("a file of the CA");
    }

    fn configuration(&self) -> String {
        let dir = Path::display(&self.dir);
        format!(
            "[ca]\ndefault_ca = it\n\
             [it]\ndatabase = {dir}/index.txt\nnew_certs_dir = {dir}/new\n\
             certificate = {dir}/ca.pem\nprivate_key = {dir}/ca.key\ncrlnumber = {dir}/number\n\
             default_md = sha256\nrand_serial = yes\npolicy = any\ncrl_extensions = v2\n\
             [any]\ncommonName = supplied\n\
             [req]\ndistinguished_name = dn\n[dn]\n\
             [root]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\n\
             [leaf]\nbasicConstraints = CA:FALSE\nextendedKeyUsage = clientAuth\n\
             subjectAltName = ${{ENV::SAN}}\n\
             [v2]\nauthorityKeyIdentifier = keyid\n"
        )
    }
}
