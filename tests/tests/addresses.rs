//! Addresses and rings that this machine does not give, and what the operator is told.

use std::net::TcpListener;

use portcullis_tests::{
    Backend, Proxy,
    proxy::Config,
    tools::{AS_NOBODY, python, require_root},
};

/// Runs a program for which the kernel lacks something, by a seccomp filter (seccomp(2)). `ipv6` answers
/// `socket(AF_INET6, ...)` with EAFNOSUPPORT, as `ipv6.disable=1` does; `io_uring` answers
/// `io_uring_setup` with EPERM, as the default profiles of Docker and containerd do.
const WITHOUT: &str = "
import ctypes, os, platform, struct, sys
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
SOCKET = 41 if platform.machine() == 'x86_64' else 198
AF_INET6, EAFNOSUPPORT = 10, 97
IO_URING_SETUP, EPERM = 425, 1
program = {
    'ipv6': [
        (LOAD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 3, SOCKET),
        (LOAD, 0, 0, 16), (JUMP_IF_EQUAL, 0, 1, AF_INET6),
        (RETURN, 0, 0, 0x00050000 | EAFNOSUPPORT),
        (RETURN, 0, 0, 0x7fff0000),
    ],
    'io_uring': [
        (LOAD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP),
        (RETURN, 0, 0, 0x00050000 | EPERM),
        (RETURN, 0, 0, 0x7fff0000),
    ],
}[sys.argv[1]]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in program))
filter = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(program), ctypes.addressof(code)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
NO_NEW_PRIVILEGES, SECCOMP = 38, 22
assert prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
assert prctl(SECCOMP, 2, ctypes.byref(filter), 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
";

fn config(backend: &Backend) -> Config {
    Proxy::config().forward("app", &backend.url(), "")
}

fn refusal(config: &Config) -> String {
    config.refused().stderr
}

#[test]
fn an_address_in_use_names_its_key_and_who_has_it() {
    let backend = Backend::text("x");
    let held = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = held.local_addr().expect("its address").to_string();
    let process = format!("the address is in use by process {} (", std::process::id());
    for (key, config) in [
        ("address", config(&backend).addresses(&[&address])),
        ("http_redirect_addr", config(&backend).global(&format!("http_redirect_addr: {address}"))),
        (
            "portcullis.admin_address",
            config(&backend).own("admin_address", &format!("'{address}'")),
        ),
        ("metrics_address", config(&backend).global(&format!("metrics_address: {address}"))),
    ] {
        let refusal = refusal(&config);
        let expected = format!("{key}: cannot listen on {address}: {process}");
        assert_eq!(refusal.matches(&expected).count(), 1, "{refusal}");
        assert!(refusal.contains("stop it, choose another address"), "{refusal}");
    }
}

#[test]
fn another_user_learns_whose_the_address_is() {
    if !require_root("running the proxy as another user needs root") {
        return;
    }
    let backend = Backend::text("x");
    let held = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = held.local_addr().expect("its address").to_string();
    let refusal = refusal(&config(&backend).addresses(&[&address]).started_by(&AS_NOBODY));
    assert!(refusal.contains("the address is in use by a process of user root; "), "{refusal}");
}

#[test]
fn a_low_port_without_the_capability_names_it() {
    if !require_root("running the proxy as another user needs root") {
        return;
    }
    let backend = Backend::text("x");
    let refusal = refusal(&config(&backend).addresses(&["127.0.0.1:443"]).started_by(&AS_NOBODY));
    let cause = "address: cannot listen on 127.0.0.1:443: Permission denied (os error 13); ";
    assert_eq!(refusal.matches("Permission denied").count(), 1, "{refusal}");
    assert!(refusal.contains(cause), "{refusal}");
    assert!(refusal.contains("AmbientCapabilities=CAP_NET_BIND_SERVICE"), "{refusal}");
}

#[test]
fn without_ipv6_every_address_is_every_address_of_ipv4() {
    let without_ipv6 = [python(), "-c", WITHOUT, "ipv6"];
    let backend = Backend::text("x");
    let config = || config(&backend).started_by(&without_ipv6);
    let proxy = config().addresses(&[":{port}"]).start();
    assert_eq!(proxy.curl("app", "/").ok().text(), "x");
    let said = "this process has no IPv6: it listens on 0.0.0.0:";
    proxy.wait_for_log("the warning", |line| {
        line["message"].as_str().is_some_and(|message| message.starts_with(said))
    });
    let refusal = refusal(&config().addresses(&["[::1]:{port}"]));
    assert!(refusal.contains("write an IPv4 address such as 0.0.0.0:"), "{refusal}");
}

#[test]
fn rings_that_need_more_memory_than_the_user_may_lock_name_the_limit() {
    if !require_root("running the proxy as another user needs root") {
        return;
    }
    let backend = Backend::text("x");
    let limited = [&["prlimit", "--memlock=65536:65536"], AS_NOBODY.as_slice()].concat();
    let refusal = refusal(&config(&backend).own("workers", "64").started_by(&limited));
    assert!(refusal.contains("io_uring cannot be used: "), "{refusal}");
    assert!(refusal.contains("may lock 64 KiB of memory (RLIMIT_MEMLOCK)"), "{refusal}");
    assert!(refusal.contains("LimitMEMLOCK=infinity"), "{refusal}");
}

#[test]
fn a_container_that_denies_io_uring_is_named() {
    let backend = Backend::text("x");
    let refusal = refusal(&config(&backend).started_by(&[python(), "-c", WITHOUT, "io_uring"]));
    assert!(refusal.contains("io_uring cannot be used: Operation not permitted"), "{refusal}");
    assert!(refusal.contains("no seccomp filter may deny io_uring_setup"), "{refusal}");
    assert!(refusal.contains("as the default profile of Docker does"), "{refusal}");
}
