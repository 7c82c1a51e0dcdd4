use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
};

use super::*;
use crate::rt::{Runtime, yield_now};

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
fn a_stream_with_bytes_receives_them_at_once_and_waits_if_there_are_none() {
    Runtime::new().unwrap().block_on(async {
        for (bytes, expected) in [(&b"hello"[..], Some(5)), (b"", None)] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(bytes).unwrap();
            let (mut stream, mut buffer) = (Stream::with_bytes(ours.into()), Buffer::default());
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let received = match stream.poll_recv(&mut cx, &mut buffer, 64) {
                Poll::Ready(received) => Some(received.unwrap()),
                Poll::Pending => None,
            };
            assert_eq!(received, expected);
            theirs.write_all(b"more").unwrap();
            poll_fn(|cx| stream.poll_recv(cx, &mut buffer, 64)).await.unwrap();
            assert_eq!(buffer.filled(), [bytes, b"more"].concat());
        }
    });
}

#[test]
fn a_socket_with_an_operation_in_flight_is_not_released() {
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
fn a_peer_that_closes_first_reads_our_last_bytes() {
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
        stream.close(CloseMode::AfterPeer).await;
    });
    reader.join().unwrap();
}

/// A stream over TCP and its peer, which waits no longer than half a minute.
fn tcp_pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    (Stream::new(listener.accept().unwrap().0.into()), peer)
}

/// Reads to the end: how many bytes there were, and the error if it was no orderly end.
fn read_to_end(peer: &mut TcpStream) -> (usize, Option<io::ErrorKind>) {
    let (mut read, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        match peer.read(&mut buffer) {
            Ok(0) => return (read, None),
            Ok(n) => read += n,
            Err(error) => return (read, Some(error.kind())),
        }
    }
}

/// Begins a wait for the peer and has the kernel take it over.
async fn wait_in_the_kernel(stream: &mut Stream) {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(stream.poll_readable(&mut cx).is_pending());
    yield_now().await;
    assert!(matches!(stream.readable, Readable::Waiting(_)));
}

/// Drops a stream that has sent "half", while operations are in flight; gives the end that its peer
/// sees before the runtime ends.
fn end_of_a_dropped_stream(
    prepare: impl AsyncFnOnce(&mut Stream),
) -> (usize, Option<io::ErrorKind>) {
    let (mut stream, mut peer) = tcp_pair();
    Runtime::new().unwrap().block_on(async {
        stream.outgoing().extend_from_slice(b"half");
        poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        prepare(&mut stream).await;
        drop(stream);
        read_to_end(&mut peer)
    })
}

const RESET: Option<io::ErrorKind> = Some(io::ErrorKind::ConnectionReset);

#[test]
fn a_stream_that_is_dropped_resets_its_connection_without_fin() {
    let idle = end_of_a_dropped_stream(async |_| ());
    let polled = end_of_a_dropped_stream(wait_in_the_kernel);
    assert_eq!((idle, polled), ((4, RESET), (4, RESET)));
}

#[test]
fn a_stream_dropped_during_a_send_resets_its_connection() {
    let (read, end) = end_of_a_dropped_stream(async |stream| {
        while !stream.is_sending() {
            stream.outgoing().extend_from_slice(&MUCH);
            poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        }
        wait_in_the_kernel(stream).await;
    });
    assert!(read >= 4, "{read}");
    assert_eq!(end, RESET);
}

#[test]
fn a_stream_whose_peer_has_closed_first_is_reset_too() {
    let (mut stream, mut peer) = tcp_pair();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    Runtime::new().unwrap().block_on(async {
        poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
        stream.outgoing().extend_from_slice(b"half");
        poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        drop(stream);
        assert_eq!(read_to_end(&mut peer), (4, RESET));
    });
}

#[test]
fn a_stream_that_has_sent_nothing_closes_in_order_when_dropped() {
    let (mut stream, mut peer) = tcp_pair();
    Runtime::new().unwrap().block_on(async {
        wait_in_the_kernel(&mut stream).await;
        drop(stream);
        assert_eq!(read_to_end(&mut peer), (0, None));
    });
}

#[test]
fn a_stream_that_has_said_its_end_closes_in_order_when_dropped() {
    let end = end_of_a_dropped_stream(async |stream| {
        stream.shutdown_write();
        wait_in_the_kernel(stream).await;
    });
    assert_eq!(end, (4, None));
}

#[test]
fn each_mode_of_closing_shows_at_the_peer() {
    for (mode, end) in [
        (CloseMode::Orderly, (4, None)),
        (CloseMode::Lingering, (4, None)),
        (CloseMode::AfterPeer, (4, None)),
        (CloseMode::Reset, (4, RESET)),
    ] {
        let (mut stream, mut peer) = tcp_pair();
        let peer = std::thread::spawn(move || {
            peer.read_exact(&mut [0; 4]).unwrap();
            if mode == CloseMode::AfterPeer {
                peer.shutdown(std::net::Shutdown::Write).unwrap();
            }
            let (read, end) = read_to_end(&mut peer);
            (read + 4, end)
        });
        Runtime::new().unwrap().block_on(async {
            stream.outgoing().extend_from_slice(b"half");
            poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
            stream.close(mode).await;
        });
        assert_eq!(peer.join().unwrap(), end, "{mode:?}");
    }
}

#[test]
fn a_peer_that_reads_only_once_it_has_sent_all_gets_our_last_bytes() {
    let (mut stream, mut peer) = tcp_pair();
    let peer = std::thread::spawn(move || {
        for _ in 0..8 {
            peer.write_all(&MUCH).unwrap();
        }
        read_to_end(&mut peer)
    });
    Runtime::new().unwrap().block_on(async {
        stream.outgoing().extend_from_slice(b"refused");
        stream.close(CloseMode::Lingering).await;
    });
    assert_eq!(peer.join().unwrap(), (7, None));
}

#[test]
fn a_peer_that_never_stops_sending_is_reset() {
    let (mut stream, mut peer) = tcp_pair();
    let peer = std::thread::spawn(move || {
        let mut sent = 0;
        while peer.write_all(&MUCH).is_ok() {
            sent += MUCH.len();
        }
        sent
    });
    Runtime::new().unwrap().block_on(async {
        stream.outgoing().extend_from_slice(b"refused");
        stream.close(CloseMode::Lingering).await;
    });
    // What the kernel holds comes on top.
    assert!(peer.join().unwrap() < 4 * LONG_LINGER.bytes);
}

#[test]
fn the_end_of_a_peer_is_seen_without_taking_its_bytes() {
    let (mut stream, mut peer) = tcp_pair();
    Runtime::new().unwrap().block_on(async {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(stream.poll_end(&mut cx).is_pending());
        peer.write_all(b"next").unwrap();
        poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
        assert!(stream.poll_end(&mut cx).is_pending());
        let mut buffer = Buffer::default();
        poll_fn(|cx| stream.poll_recv(cx, &mut buffer, 64)).await.unwrap();
        assert_eq!(buffer.filled(), b"next");
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        poll_fn(|cx| stream.poll_end(cx)).await.unwrap();
    });
}

#[test]
fn a_peer_that_resets_has_ended() {
    let (mut stream, peer) = tcp_pair();
    Runtime::new().unwrap().block_on(async {
        net::sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
        drop(peer);
        let end = poll_fn(|cx| stream.poll_end(cx)).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}
