use std::io::{Read as _, Write as _};

use super::*;
use crate::app::control_socket::testing::block_on;

#[test]
fn an_order_reaches_the_control_loop_and_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut socket = Some(ControlSocket::open(directory.path()).unwrap());
        let path = runtime_dir::socket(directory.path(), std::process::id());
        for (ordered, answer, line) in [
            ("drain", Ok(Acknowledgment::Draining { is_state_written: false }), "draining"),
            ("drain-worker 1", Ok(Acknowledgment::Done), "done"),
            ("end-sessions user \"a b\"", Ok(Acknowledgment::SessionsEnded(3)), "ended 3"),
            ("tell-health", Ok(Acknowledgment::Health("[]".to_owned())), "health []"),
            ("drain-worker 9", Err("no such worker".to_owned()), "refused no such worker"),
        ] {
            let stream = UnixStream::connect(&path).await.unwrap();
            line::send(&stream, &format!("portcullis/1 {ordered}")).await.unwrap();
            let order = ControlSocket::next(&mut socket).await;
            assert_eq!(order.request.process, std::process::id().cast_signed());
            order.answer(answer);
            assert_eq!(line::receive(&stream).await.unwrap(), format!("portcullis/1 {line}"));
        }
        drop(socket);
        assert!(!path.exists());
    });
}

/// Connects and gives an order, without waiting for the answer.
fn give(directory: &Path, order: &str) -> std::os::unix::net::UnixStream {
    let path = runtime_dir::socket(directory, std::process::id());
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    writeln!(stream, "portcullis/1 {order}").unwrap();
    stream
}

/// What is received until the process closes the connection.
fn received(mut stream: std::os::unix::net::UnixStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_process_ends_behind_the_answer_to_the_last_order() {
    let directory = tempfile::tempdir().unwrap();
    let stream = block_on(async {
        let mut socket = Some(ControlSocket::open(directory.path()).unwrap());
        let stream = give(directory.path(), "drain");
        let order = ControlSocket::next(&mut socket).await;
        order.answer(Ok(Acknowledgment::Draining { is_state_written: true }));
        ControlSocket::send_answers(socket).await;
        stream
    });
    // The runtime is gone, as when the process has ended.
    assert_eq!(received(stream), "portcullis/1 draining state-written\n");
}

#[test]
fn an_order_that_is_not_followed_any_more_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let stream = block_on(async {
        let socket = ControlSocket::open(directory.path()).unwrap();
        let stream = give(directory.path(), "drain");
        let is_received = || socket.answers.available_permits() < MAX_CONNECTIONS;
        while !is_received() {
            tokio::task::yield_now().await;
        }
        ControlSocket::send_answers(Some(socket)).await;
        stream
    });
    let refused = "portcullis/1 refused the control thread does not answer calls\n";
    assert_eq!(received(stream), refused);
}

#[test]
fn an_order_without_an_answer_keeps_the_process_for_a_second() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut socket = Some(ControlSocket::open(directory.path()).unwrap());
        let _stream = give(directory.path(), "drain");
        let _unanswered = ControlSocket::next(&mut socket).await;
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        ControlSocket::send_answers(socket).await;
        assert_eq!(begun.elapsed().as_secs(), LAST_ANSWERS.as_secs());
    });
}

#[test]
fn an_order_of_another_protocol_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let _socket = ControlSocket::open(directory.path()).unwrap();
        let path = runtime_dir::socket(directory.path(), std::process::id());
        let stream = UnixStream::connect(&path).await.unwrap();
        line::send(&stream, "portcullis/9 drain").await.unwrap();
        let answer = line::receive(&stream).await.unwrap();
        assert_eq!(answer, "portcullis/1 refused unknown order");
    });
}

#[test]
fn an_order_of_any_length_but_a_line_s_ends_its_connection() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let _socket = ControlSocket::open(directory.path()).unwrap();
        let path = runtime_dir::socket(directory.path(), std::process::id());
        let stream = UnixStream::connect(&path).await.unwrap();
        let long = format!("portcullis/1 end-sessions user \"{}\"", "a".repeat(line::MAX_LINE));
        line::send(&stream, &long).await.unwrap();
        assert!(line::receive(&stream).await.is_err());
    });
}

#[test]
fn the_socket_of_a_dead_process_with_the_same_id_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = runtime_dir::socket(directory.path(), std::process::id());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    block_on(async {
        let _socket = ControlSocket::open(directory.path()).unwrap();
        assert!(ControlSocket::open(directory.path()).is_err(), "the living one stays");
        assert!(UnixStream::connect(&path).await.is_ok());
    });
}
