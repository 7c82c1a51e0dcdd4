//! One step function over rustls's unbuffered connections, client and server alike.

use std::{cell::RefCell, collections::VecDeque, io::IoSlice, ops::Deref};

use hyper::rt::ReadBufCursor;
use rustls::{
    CommonState, Error,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{
        ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
    },
};

use super::context::{ConnectionContext, with_context};
use crate::rt::Buffer;

/// Most plaintext in a record (RFC 8446 section 5.1).
const RECORD_BYTES: usize = 16 * 1024;
/// What a record adds to its plaintext at most: header, explicit nonce, tag, content type.
const RECORD_OVERHEAD_BYTES: usize = 32;
/// Slices that together fit here go out as one record; larger ones are not worth the copy.
const GATHER_BYTES: usize = 4 * 1024;
/// Encrypting stops here until the bytes are on their way.
pub(super) const OUTGOING_LIMIT_BYTES: usize = 64 * 1024;

/// A connection's TLS state. Boxed: a task should not grow with it while the handshake's own
/// buffers live elsewhere.
pub(super) enum Engine {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>, ConnectionContext),
}

/// Where a connection stands once everything received has been processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The handshake waits for the peer.
    Handshaking,
    /// Application data may be sent.
    Traffic,
    /// Both sides have closed.
    Closed,
}

/// What is to be sent once traffic is possible.
pub(super) enum Outbound<'a> {
    Nothing,
    Plaintext(&'a [IoSlice<'a>]),
    CloseNotify,
}

/// What goes in and out of an engine while it processes its input.
pub(super) struct Exchange<'a, 'b> {
    /// Ciphertext for the peer.
    pub(super) output: &'a mut Buffer,
    /// Where received plaintext goes first.
    pub(super) reader: Option<&'a mut ReadBufCursor<'b>>,
    /// Where the rest of it waits.
    pub(super) received: &'a mut Received,
    pub(super) outbound: Outbound<'a>,
    /// How many bytes of the outbound plaintext were encrypted.
    pub(super) encrypted: usize,
    /// Whether the peer has said that it sends no more.
    pub(super) peer_closed: bool,
}

/// Plaintext that nobody has read yet.
#[derive(Default)]
pub(super) struct Received {
    records: VecDeque<Vec<u8>>,
    /// How much of the first record has been read.
    taken: usize,
}

impl Received {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Moves as much as there is room for.
    pub(super) fn read_into(&mut self, reader: &mut ReadBufCursor<'_>) {
        while let Some(record) = self.records.front() {
            let rest = &record[self.taken..];
            let n = rest.len().min(reader.remaining());
            reader.put_slice(&rest[..n]);
            self.taken += n;
            if self.taken < record.len() {
                return;
            }
            self.records.pop_front();
            self.taken = 0;
        }
    }
}

impl Engine {
    /// Processes all of `input`, which keeps what is not yet whole, and sends `outbound`.
    ///
    /// rustls must see its unconsumed input whole and from the front at every call, also when only
    /// writing. On an error the alert for the peer is in the output.
    pub(super) fn process(
        &mut self,
        input: &mut Buffer,
        exchange: &mut Exchange<'_, '_>,
    ) -> Result<Standing, Error> {
        loop {
            match self.step(input, exchange) {
                Ok(Some(standing)) => return Ok(standing),
                Ok(None) => {}
                Err(error) => {
                    self.drive_out_alert(input, exchange);
                    return Err(error);
                }
            }
        }
    }

    fn step(
        &mut self,
        input: &mut Buffer,
        exchange: &mut Exchange<'_, '_>,
    ) -> Result<Option<Standing>, Error> {
        let (discard, step) = match self {
            Engine::Client(connection) => {
                settle(connection.process_tls_records(input.filled_mut()), exchange)
            }
            Engine::Server(connection, context) if connection.is_handshaking() => {
                with_context(context, || {
                    settle(connection.process_tls_records(input.filled_mut()), exchange)
                })
            }
            // No call-back of ours is called any more.
            Engine::Server(connection, _) => {
                settle(connection.process_tls_records(input.filled_mut()), exchange)
            }
        };
        input.consume(discard);
        step
    }

    /// rustls queues the alert and returns the error first; each further call gives a piece of it.
    fn drive_out_alert(&mut self, input: &mut Buffer, exchange: &mut Exchange<'_, '_>) {
        while self.wants_write() {
            let _ = self.step(input, exchange);
        }
    }
}

impl Deref for Engine {
    type Target = CommonState;

    fn deref(&self) -> &CommonState {
        match self {
            Engine::Client(connection) => connection,
            Engine::Server(connection, _) => connection,
        }
    }
}

/// Does what one state asks for. Gives the bytes to discard, and the standing once there is nothing
/// left to do.
fn settle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    exchange: &mut Exchange<'_, '_>,
) -> (usize, Result<Option<Standing>, Error>) {
    let UnbufferedStatus { mut discard, state, .. } = status;
    let step = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    deliver(record.payload, exchange);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(None),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            encode(&mut data, exchange.output).map(|()| None)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(None)
        }
        Ok(ConnectionState::PeerClosed) => {
            exchange.peer_closed = true;
            Ok(None)
        }
        Ok(ConnectionState::Closed) => Ok(Some(Standing::Closed)),
        Ok(ConnectionState::BlockedHandshake) => Ok(Some(Standing::Handshaking)),
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            send(&mut traffic, exchange).map(|()| Some(Standing::Traffic))
        }
        Ok(_) => Err(Error::General("early data, which is never offered".into())),
    };
    (discard, step)
}

fn deliver(mut payload: &[u8], exchange: &mut Exchange<'_, '_>) {
    // In order: past the queue only while it is empty.
    if let Some(reader) = exchange.reader.as_mut().filter(|_| exchange.received.is_empty()) {
        let n = payload.len().min(reader.remaining());
        reader.put_slice(&payload[..n]);
        payload = &payload[n..];
    }
    if !payload.is_empty() {
        exchange.received.records.push_back(payload.to_vec());
    }
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, output: &mut Buffer) -> Result<(), Error> {
    let mut room = RECORD_OVERHEAD_BYTES;
    loop {
        match data.encode(output.spare(room)) {
            Ok(n) => {
                output.advance(n);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needed)) => room = needed.required_size,
            Err(EncodeError::AlreadyEncoded) => return Ok(()),
        }
    }
}

fn send<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    exchange: &mut Exchange<'_, '_>,
) -> Result<(), Error> {
    match exchange.outbound {
        Outbound::Nothing => Ok(()),
        Outbound::CloseNotify => sized(exchange.output, 2 * RECORD_OVERHEAD_BYTES, |room| {
            traffic.queue_close_notify(room)
        }),
        Outbound::Plaintext(slices) => {
            exchange.encrypted = encrypt(traffic, slices, exchange.output)?;
            Ok(())
        }
    }
}

thread_local! {
    /// On the stack it would be cleared for every record.
    static GATHERED: RefCell<[u8; GATHER_BYTES]> = const { RefCell::new([0; GATHER_BYTES]) };
}

/// Encrypts slices in order until the output has enough; gives how many bytes of them.
fn encrypt<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    slices: &[IoSlice<'_>],
    output: &mut Buffer,
) -> Result<usize, Error> {
    GATHERED.with_borrow_mut(|gathered| encrypt_gathering(traffic, slices, output, gathered))
}

fn encrypt_gathering<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    slices: &[IoSlice<'_>],
    output: &mut Buffer,
    gathered: &mut [u8; GATHER_BYTES],
) -> Result<usize, Error> {
    let mut gathered_len = 0;
    let mut encrypted = 0;
    for slice in slices {
        if let Some(space) = gathered[gathered_len..].get_mut(..slice.len()) {
            space.copy_from_slice(slice);
            gathered_len += slice.len();
            continue;
        }
        encrypted += encrypt_one(traffic, &gathered[..gathered_len], output)?;
        gathered_len = 0;
        let room = OUTGOING_LIMIT_BYTES.saturating_sub(output.len()).max(RECORD_BYTES);
        let whole = slice.len().min(room);
        encrypted += encrypt_one(traffic, &slice[..whole], output)?;
        if whole < slice.len() || output.len() >= OUTGOING_LIMIT_BYTES {
            return Ok(encrypted);
        }
    }
    encrypted += encrypt_one(traffic, &gathered[..gathered_len], output)?;
    Ok(encrypted)
}

fn encrypt_one<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    plaintext: &[u8],
    output: &mut Buffer,
) -> Result<usize, Error> {
    if plaintext.is_empty() {
        return Ok(0);
    }
    let records = plaintext.len().div_ceil(RECORD_BYTES);
    let room = plaintext.len() + records * RECORD_OVERHEAD_BYTES;
    sized(output, room, |room| traffic.encrypt(plaintext, room))?;
    Ok(plaintext.len())
}

/// Writes into the output, again with the room asked for when it was too small (a queued KeyUpdate
/// goes first).
fn sized(
    output: &mut Buffer,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    loop {
        match write(output.spare(room)) {
            Ok(n) => {
                output.advance(n);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(needed)) => room = needed.required_size,
            Err(EncryptError::EncryptExhausted) => return Err(Error::EncryptError),
        }
    }
}
