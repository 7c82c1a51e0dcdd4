use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use super::*;
use crate::rt::Runtime;

/// More than a socket takes at once.
static MUCH: [u8; 1 << 20] = [7; 1 << 20];

/// Reads [`MUCH`].
fn read_much(peer: &mut UnixStream) {
    let mut read = vec![0; MUCH.len()];
    peer.read_exact(&mut read).unwrap();
    assert!(read == MUCH);
}

fn pair() -> (Stream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Stream::new(ours.into()), theirs)
}

#[test]
fn a_socket_leaves_one_ring_for_another_with_nothing_lost() {
    let (stream, mut peer) = pair();
    peer.write_all(b"one").unwrap();
    let socket = Runtime::new().unwrap().block_on(async {
        let mut stream = stream;
        let mut buffer = Buffer::default();
        poll_fn(|cx| stream.poll_recv(cx, &mut buffer, 64)).await.unwrap();
        assert_eq!(buffer.filled(), b"one");
        stream.into_socket().unwrap()
    });
    peer.write_all(b"two").unwrap();
    let served = std::thread::spawn(|| {
        Runtime::new().unwrap().block_on(async {
            let mut stream = Stream::new(socket);
            let mut buffer = Buffer::default();
            poll_fn(|cx| stream.poll_recv(cx, &mut buffer, 64)).await.unwrap();
            assert_eq!(buffer.filled(), b"two");
            stream.outgoing().extend_from_slice(b"three");
            poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
            poll_fn(|cx| stream.poll_sent(cx)).await.unwrap();
        });
    });
    let mut answer = [0; 5];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"three");
    served.join().unwrap();
}

#[test]
fn a_socket_that_is_waited_for_or_has_something_to_send_does_not_leave() {
    let (stream, mut peer) = pair();
    Runtime::new().unwrap().block_on(async {
        let mut stream = stream;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(stream.poll_readable(&mut cx).is_pending());
        let mut stream = stream.into_socket().unwrap_err();
        peer.write_all(b"x").unwrap();
        poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
        stream.outgoing().extend_from_slice(&MUCH);
        let mut stream = stream.into_socket().unwrap_err();
        poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        let mut stream = stream.into_socket().unwrap_err();
        let reader = std::thread::spawn(move || read_much(&mut peer));
        poll_fn(|cx| stream.poll_sent(cx)).await.unwrap();
        assert!(stream.into_socket().is_ok());
        reader.join().unwrap();
    });
}

#[test]
fn who_waits_for_its_peer_holds_no_buffer_though_it_has_sent() {
    let (stream, mut peer) = pair();
    Runtime::new().unwrap().block_on(async {
        let mut stream = stream;
        stream.outgoing().extend_from_slice(&MUCH);
        poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        assert!(stream.is_sending());
        let reader = std::thread::spawn(move || {
            read_much(&mut peer);
            peer
        });
        poll_fn(|cx| match stream.poll_idle(cx) {
            Poll::Pending if !stream.is_sending() => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => panic!("the peer has said nothing"),
        })
        .await;
        assert_eq!(stream.outgoing().take_parts().0.capacity(), 0);
        let mut peer = reader.join().unwrap();
        peer.write_all(b"x").unwrap();
        poll_fn(|cx| stream.poll_idle(cx)).await.unwrap();
    });
}

#[test]
fn what_the_socket_takes_at_once_is_sent_without_the_ring() {
    let (mut stream, mut peer) = pair();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    stream.outgoing().extend_from_slice(b"sent");
    assert!(matches!(stream.poll_flush(&mut cx), Poll::Ready(Ok(()))));
    assert!(!stream.is_sending() && stream.outgoing().is_empty());
    let mut sent = [0; 4];
    peer.read_exact(&mut sent).unwrap();
    assert_eq!(&sent, b"sent");
}

#[test]
fn who_waits_for_its_peer_learns_that_its_send_failed() {
    let (stream, peer) = pair();
    Runtime::new().unwrap().block_on(async {
        let mut stream = stream;
        stream.outgoing().extend_from_slice(&MUCH);
        poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        drop(peer);
        let failed = poll_fn(|cx| {
            ready!(stream.poll_sent(cx))?;
            stream.poll_idle(cx)
        });
        assert_eq!(failed.await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn who_is_to_close_first_finds_the_last_words_and_no_end_behind_them() {
    let (mut stream, mut peer) = pair();
    let reader = std::thread::spawn(move || {
        let mut words = [0; 3];
        peer.read_exact(&mut words).unwrap();
        peer.set_nonblocking(true).unwrap();
        let behind = peer.read(&mut [0]).unwrap_err();
        assert_eq!((&words, behind.kind()), (b"bye", io::ErrorKind::WouldBlock));
    });
    Runtime::new().unwrap().block_on(async {
        stream.outgoing().extend_from_slice(b"bye");
        stream.close_after_peer().await;
    });
    reader.join().unwrap();
}
