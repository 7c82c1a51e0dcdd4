//! Real gRPC through the proxy, and trailers as nghttp2 sends and shows them.

use std::process::Command;

use portcullis_tests::{
    Proxy, grpc, pki,
    ports::free_port,
    process::{Process, run},
    tools::need,
    wait::until,
};

const NAME: &str = "grpc.localhost.pomerium.io";

fn through_the_proxy(server: &grpc::Server) {
    let proxy = Proxy::config().forward_tls("grpc", &server.url(), "").start();
    let unary = grpc::call(proxy.address(), NAME, "Unary", 1);
    assert_eq!(unary["messages"][0], "cba", "{unary}");
    assert_eq!(unary["initial"]["x-initial"], "first");
    assert_eq!(unary["trailing"]["x-trailing"], "last");
    assert_eq!(unary["trailing"]["x-saw"], "this");
    let failed = grpc::call(proxy.address(), NAME, "Fail", 1);
    assert_eq!(failed["code"], "OUT_OF_RANGE", "{failed}");
    assert_eq!(failed["details"], "too far, 100%");
    assert_eq!(failed["trailing"]["x-trailing"], "last");
    let stream = grpc::call(proxy.address(), NAME, "Stream", 50);
    assert_eq!(stream["messages"].as_array().map(Vec::len), Some(50), "{stream}");
    assert_eq!(stream["trailing"]["x-count"], "50");
}

#[test]
fn grpc_works_to_an_upstream_without_tls() {
    through_the_proxy(&grpc::Server::plain());
}

#[test]
fn grpc_works_to_an_upstream_with_tls() {
    through_the_proxy(&grpc::Server::tls(&pki().upstream()));
}

#[test]
fn a_grpc_client_whose_upstream_is_down_hears_a_grpc_status() {
    let proxy =
        Proxy::config().forward("grpc", &format!("h2c://127.0.0.1:{}", free_port()), "").start();
    let failed = grpc::call(proxy.address(), NAME, "Unary", 1);
    assert_eq!(failed["code"], "UNAVAILABLE", "{failed}"); // also what 503 maps to
}

#[test]
fn trailers_pass_in_both_directions_between_http2_peers() {
    let port = free_port();
    let mut command = Command::new(need("nghttpd"));
    command.args(["--no-tls", "--verbose", "--echo-upload", "--address=127.0.0.1"]);
    command.args(["--trailer", "x-back: returned", &port.to_string()]);
    let server = Process::spawn("nghttpd", &mut command);
    until("nghttpd to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let proxy = Proxy::config().forward("grpc", &format!("h2c://127.0.0.1:{port}"), "").start();
    let dir = portcullis_tests::tempdir::TempDir::new("nghttp");
    let body = dir.write("body", "uploaded");
    let mut command = Command::new(need("nghttp"));
    command.args(["--verbose", "--no-verify-peer", "--trailer", "x-forth: sent", "--data"]);
    command.arg(body).args(["-H", &format!(":authority: {NAME}"), "-H", "te: trailers"]);
    let done = run(command.arg(format!("https://localhost:{}/", proxy.address().port())), b"");
    assert!(done.stdout.contains("x-back: returned"), "{}", done.stdout);
    assert!(done.stdout.contains("uploaded"), "{}", done.stdout);
    server.wait_for_text("x-forth: sent");
}
