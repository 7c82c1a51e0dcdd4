//! Ended sessions and refresh tokens over restarts and replacements (`state_file`).

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use portcullis_tests::{
    CurlBrowser, Proxy, SignInRig,
    false_clock::minutes,
    proxy::{Config, portcullis},
    sign_in_rig::{APP, SECRET, session_cookie},
    tempdir::TempDir,
    wait::until,
};
use rustix::process::Signal;

const OTHER_SECRET: &str = "YW5vdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMsIG9rISE=";

/// A provider, and a place for the file.
struct Stand {
    rig: SignInRig,
    dir: TempDir,
}

impl Stand {
    fn start() -> Self {
        Self { rig: SignInRig::start(), dir: TempDir::new("state") }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn config(&self) -> Config {
        self.with(self.rig.config(), "")
    }

    fn with(&self, config: Config, more: &str) -> Config {
        config.own("sign_in", &format!("{{state_file: {}{more}}}", self.file().display()))
    }

    /// Whether sessions are checked by their refresh tokens: a fetch twice, some time after a check
    /// was due.
    fn is_refreshed(&self, proxy: &Proxy, user: &str, cookie: &str) -> bool {
        let before = self.rig.provider.grants("refresh_token", user);
        (0..2).all(|_| {
            self.rig.clock.advance(minutes(12));
            fetch(proxy, cookie) == 200
        }) && self.rig.provider.grants("refresh_token", user) == before + 2
    }
}

/// The status of a request that is no navigation.
fn fetch(proxy: &Proxy, cookie: &str) -> u16 {
    proxy.curl("app", "/").header(cookie).header("Sec-Fetch-Mode: cors").ok().status
}

fn sign_out(browser: CurlBrowser) {
    let browser = browser.with_header(&format!("Origin: {APP}"));
    let left = browser
        .with_header("Sec-Fetch-Site: same-origin")
        .post(&format!("{APP}/.pomerium/sign_out"), "");
    assert_eq!(left.status, 200, "{left:?}");
}

fn end_sessions(proxy: &Proxy, user: &str) {
    let address = proxy.admin_address().to_string();
    let order = ["sessions", "end", "--user", user, "--address"];
    let ended = portcullis(&[], &order, Some(Path::new(&address)));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

fn stop(mut proxy: Proxy) {
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
    proxy.assert_no_panic();
}

#[test]
fn what_ended_stays_ended_over_a_restart_and_the_rest_goes_on() {
    let stand = Stand::start();
    let proxy = stand.config().start();
    let alice = stand.rig.signed_in(&proxy, "alice");
    let [bob, carol] =
        ["bob", "carol"].map(|user| session_cookie(&stand.rig.signed_in(&proxy, user)));
    let signed_out = session_cookie(&alice);
    sign_out(alice);
    end_sessions(&proxy, "carol");
    stop(proxy);
    let proxy = stand.config().start();
    assert_eq!((fetch(&proxy, &signed_out), fetch(&proxy, &carol)), (401, 401));
    assert_eq!(fetch(&proxy, &bob), 200);
    assert!(stand.is_refreshed(&proxy, "bob", &bob));
    let carol = session_cookie(&stand.rig.signed_in(&proxy, "carol"));
    stop(proxy);
    let proxy = stand.config().start();
    assert_eq!(fetch(&proxy, &carol), 200, "she signed in after the order");
    assert!(stand.is_refreshed(&proxy, "carol", &carol));
}

#[test]
fn a_process_that_is_killed_leaves_what_it_wrote_last() {
    let stand = Stand::start();
    let proxy = stand.config().start();
    let alice = session_cookie(&stand.rig.signed_in(&proxy, "alice"));
    let eve = session_cookie(&stand.rig.signed_in(&proxy, "eve"));
    end_sessions(&proxy, "eve");
    until("the file to say so", || knows_the_end(&stand, &eve));
    drop(proxy);
    let proxy = stand.config().start();
    assert_eq!((fetch(&proxy, &alice), fetch(&proxy, &eve)), (200, 401));
    assert!(stand.is_refreshed(&proxy, "alice", &alice));
}

/// Whether a process that reads a copy of the file knows that a session has ended.
fn knows_the_end(stand: &Stand, cookie: &str) -> bool {
    let Ok(content) = fs::read(stand.file()) else { return false };
    let dir = TempDir::new("copy");
    let own = format!("{{state_file: {}}}", dir.write("state", content).display());
    fetch(&stand.rig.config().own("sign_in", &own).start(), cookie) == 401
}

#[test]
fn a_replacement_takes_ended_sessions_and_refresh_tokens_over() {
    let stand = Stand::start();
    let mut proxy = stand.config().start();
    let alice = stand.rig.signed_in(&proxy, "alice");
    let signed_out = session_cookie(&alice);
    let [bob, carol] =
        ["bob", "carol"].map(|user| session_cookie(&stand.rig.signed_in(&proxy, user)));
    assert!(stand.is_refreshed(&proxy, "bob", &bob));
    sign_out(alice);
    end_sessions(&proxy, "carol");
    for _ in 0..2 {
        let next = proxy.replace(stand.config());
        assert_eq!(proxy.wait().code(), Some(0));
        proxy.assert_no_panic();
        proxy = next;
        proxy.wait_for_log("the state", |line| line["message"] == "the state file was taken over");
        assert_eq!((fetch(&proxy, &signed_out), fetch(&proxy, &carol)), (401, 401));
        // A token that was used before would end the whole grant.
        assert!(stand.is_refreshed(&proxy, "bob", &bob));
    }
}

#[test]
fn a_replacement_takes_only_what_ended_from_an_old_file() {
    let stand = Stand::start();
    let mut proxy = stand.config().start();
    let [alice, bob] =
        ["alice", "bob"].map(|user| session_cookie(&stand.rig.signed_in(&proxy, user)));
    end_sessions(&proxy, "bob");
    until("the file to say so", || knows_the_end(&stand, &bob));
    // It is in the way of each write, also of root's.
    let in_the_way = stand.dir.path().join(format!("state.new.{}", proxy.status()["pid"]));
    fs::create_dir(&in_the_way).expect("a directory");
    let next = proxy.replace(stand.config());
    assert_eq!(proxy.wait().code(), Some(0));
    assert_eq!(fetch(&next, &bob), 401);
    assert!(!stand.is_refreshed(&next, "alice", &alice));
    until("the next process to write", || stand.file().exists());
    assert!(!stand.dir.path().join("state.stale").exists());
}

#[test]
fn a_session_that_ends_before_the_takeover_ends_with_its_token() {
    // The next process reads this file at its start only for what has ended.
    let stand = Stand::start();
    let mut proxy = stand.config().start();
    let bob = session_cookie(&stand.rig.signed_in(&proxy, "bob"));
    end_sessions(&proxy, "bob");
    let next = proxy.replace(stand.config());
    assert_eq!(proxy.wait().code(), Some(0));
    assert_eq!(fetch(&next, &bob), 401);
    let again = session_cookie(&stand.rig.signed_in(&next, "bob"));
    assert!(stand.is_refreshed(&next, "bob", &again));
    assert_eq!(fetch(&next, &bob), 401);
}

#[test]
fn a_file_that_does_not_open_is_set_aside_with_a_warning() {
    let stand = Stand::start();
    let proxy = stand.config().start();
    let alice = session_cookie(&stand.rig.signed_in(&proxy, "alice"));
    stop(proxy);
    let sealed = fs::read(stand.file()).expect("a file");
    let other = || stand.with(stand.rig.config_with("c-ES256", OTHER_SECRET), "");
    let proxy = other().start();
    let warned = proxy.wait_for_log("a warning", |line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("state_file") && text.contains("is not used"))
    });
    assert!(warned["message"].as_str().unwrap_or_default().contains("redirected"), "{warned}");
    assert_eq!(fetch(&proxy, &alice), 401);
    let eve = session_cookie(&stand.rig.signed_in(&proxy, "eve"));
    assert_eq!(fetch(&proxy, &eve), 200);
    stop(proxy);
    assert_eq!(fs::read(stand.dir.path().join("state.unreadable")).unwrap(), sealed);
    assert_eq!(fs::metadata(stand.file()).unwrap().mode() & 0o777, 0o600);
    let previous = format!(", previous_secrets: [{OTHER_SECRET}]");
    let proxy = stand.with(stand.rig.config_with("c-ES256", SECRET), &previous).start();
    assert!(stand.is_refreshed(&proxy, "eve", &eve), "a previous secret opens it");
}

#[test]
fn a_damaged_file_and_one_that_is_open_to_others_are_warned_of() {
    let stand = Stand::start();
    let proxy = stand.config().start();
    let alice = session_cookie(&stand.rig.signed_in(&proxy, "alice"));
    stop(proxy);
    fs::set_permissions(stand.file(), fs::Permissions::from_mode(0o644)).unwrap();
    let warns = |proxy: &Proxy, part: &str| {
        proxy.wait_for_log(part, |line| {
            line["level"] == "warn"
                && line["message"].as_str().is_some_and(|text| text.contains(part))
        });
    };
    let proxy = stand.config().start();
    warns(&proxy, "is open to other users of this machine");
    assert!(stand.is_refreshed(&proxy, "alice", &alice), "it is used nevertheless");
    let bob = session_cookie(&stand.rig.signed_in(&proxy, "bob"));
    stop(proxy);
    assert_eq!(fs::metadata(stand.file()).unwrap().mode() & 0o777, 0o600);
    let mut damaged = fs::read(stand.file()).unwrap();
    damaged.truncate(damaged.len() - 1);
    fs::write(stand.file(), damaged).unwrap();
    let proxy = stand.config().start();
    warns(&proxy, "is not used");
    assert_eq!(fetch(&proxy, &bob), 200, "a session goes on until its check");
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_in_the_log_alone() {
    let stand = Stand::start();
    let own = format!("{{state_file: {}/missing/state}}", stand.dir.path().display());
    let proxy = stand.rig.config().own("sign_in", &own).start();
    proxy.wait_for_log("an error", |line| {
        line["level"] == "error"
            && line["message"].as_str().is_some_and(|text| text.contains("cannot write"))
    });
    let alice = session_cookie(&stand.rig.signed_in(&proxy, "alice"));
    assert_eq!(fetch(&proxy, &alice), 200);
    stop(proxy);
}
