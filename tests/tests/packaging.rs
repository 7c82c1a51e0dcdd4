//! The configuration that the package installs works at once, and so does the one in its comments.

use std::{fs, path::Path, process::Command};

use portcullis_tests::{
    pki::pki, ports::free_port, process::Process, process::run, proxy::binary, proxy::portcullis,
    tempdir::TempDir, tools::need,
};

#[test]
fn the_installed_configuration_is_valid_without_a_warning() {
    let checked = portcullis(&[], &["check", "--config"], Some(&installed()));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(!format!("{checked:?}").contains("warning"), "{checked:?}");
}

#[test]
fn the_installed_configuration_answers_at_once() {
    let (address, admin) = (free_port(), free_port());
    let address = format!("127.0.0.1:{address}");
    let mut command = Command::new(binary());
    command.args(["run", "--config"]).arg(installed());
    command.env("ADDRESS", &address);
    command.env("PORTCULLIS_ADMIN_ADDRESS", format!("127.0.0.1:{admin}"));
    let proxy = Process::spawn("portcullis", &mut command);
    proxy.wait_for_text("\"serving\"");
    let asked = run(Command::new(need("curl")).args(["-s", &format!("http://{address}/")]), b"");
    assert!(asked.stdout.starts_with("Portcullis works."), "{asked:?}");
}

#[test]
fn the_configuration_in_the_comments_is_valid() {
    let dir = TempDir::new("packaging");
    let text = fs::read_to_string(installed()).expect("the configuration");
    let (_, comment) = text.split_once("# address: :443").expect("the first real configuration");
    let real: String = format!("# address: :443{comment}")
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("# ").expect("a comment")))
        .collect();
    let server = pki().server();
    let real = real
        .replace("/etc/portcullis/app.example.com.pem", &server.cert.display().to_string())
        .replace("/etc/portcullis/app.example.com-key.pem", &server.key.display().to_string());
    let checked = portcullis(&[], &["check", "--config"], Some(&dir.write("config.yaml", real)));
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

fn installed() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/config.yaml")
}
