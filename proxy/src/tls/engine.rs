//! One step function over rustls's unbuffered connections, for client and server.

use std::{cell::RefCell, collections::VecDeque, io::IoSlice, ops::Deref};

use hyper::rt::ReadBufCursor;
use rustls::{
    AlertDescription, CommonState, Error,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{
        ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
    },
};

use super::context::{ConnectionContext, with_context};
use crate::rt::{self, Buffer};

/// Most plaintext in a record (RFC 8446 section 5.1).
const RECORD_BYTES: usize = 16 * 1024;
/// What a record adds to its plaintext at most: header, explicit nonce, tag, content type.
const RECORD_OVERHEAD_BYTES: usize = 32;
/// What decrypting a record costs besides its bytes, in bytes that are copied in the same time.
const RECORD_COST_BYTES: usize = 256;
/// Slices that together fit here go out as one record; larger ones are not worth the copy.
const GATHER_BYTES: usize = 4 * 1024;
/// Encryption stops at this size until the bytes are sent.
pub(super) const OUTGOING_LIMIT_BYTES: usize = 64 * 1024;

/// A connection's TLS state. Boxed: a task should not grow with it while the handshake's own
/// buffers live elsewhere.
pub(super) enum Engine {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>, ConnectionContext),
}

/// The state of a connection after all its input has been processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EngineStatus {
    /// The handshake waits for the peer.
    Handshaking,
    /// Application data may be sent.
    Traffic,
    /// Both sides have closed.
    Closed,
}

/// What to send once application data may be sent.
pub(super) enum Outbound<'a> {
    Nothing,
    Plaintext(&'a [IoSlice<'a>]),
    CloseNotify,
}

/// The input and output of one call of [`Engine::process`].
pub(super) struct RecordIo<'a, 'b, 'c> {
    /// Ciphertext for the peer.
    pub(super) output: &'a mut Buffer,
    /// Receives plaintext first.
    pub(super) reader: Option<&'a mut PlaintextReader<'b, 'c>>,
    /// Receives the rest.
    pub(super) received: &'a mut ReceivedPlaintext,
    pub(super) outbound: Outbound<'a>,
    /// How many bytes of the outbound plaintext were encrypted.
    pub(super) encrypted: usize,
    /// Whether the peer has sent close_notify.
    pub(super) peer_closed: bool,
    /// The alert in the output, after an error.
    pub(super) alert: Option<AlertDescription>,
}

/// Is shown bytes.
type Observer<'c> = &'c mut dyn FnMut(&[u8]);

/// A reader of plaintext.
pub(super) struct PlaintextReader<'b, 'c> {
    buf: ReadBufCursor<'b>,
    /// Is shown what is read. Bytes in the reader's buffer cannot be inspected.
    observe: Option<Observer<'c>>,
}

impl<'b, 'c> PlaintextReader<'b, 'c> {
    pub(super) fn new(buf: ReadBufCursor<'b>) -> PlaintextReader<'b, 'c> {
        PlaintextReader { buf, observe: None }
    }

    pub(super) fn observed(
        buf: ReadBufCursor<'b>,
        observe: Observer<'c>,
    ) -> PlaintextReader<'b, 'c> {
        PlaintextReader { buf, observe: Some(observe) }
    }

    /// How many bytes it has room for.
    pub(super) fn remaining(&self) -> usize {
        self.buf.remaining()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.buf.put_slice(bytes);
        if let Some(observe) = &mut self.observe {
            observe(bytes);
        }
    }
}

/// Decrypted bytes that have not been read yet.
#[derive(Default)]
pub(super) struct ReceivedPlaintext {
    records: VecDeque<Vec<u8>>,
    /// The number of bytes read of the first record.
    taken: usize,
}

impl ReceivedPlaintext {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Moves as many bytes as `reader` has room for.
    pub(super) fn read_into(&mut self, reader: &mut PlaintextReader<'_, '_>) {
        while let Some(record) = self.records.front() {
            let rest = &record[self.taken..];
            let n = rest.len().min(reader.remaining());
            reader.put(&rest[..n]);
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
    /// Processes all of `input` but for an incomplete record at its end, and sends `outbound`.
    ///
    /// rustls must see its unconsumed input whole and from the front at every call, also when only
    /// writing. On an error the alert for the peer is in the output.
    pub(super) fn process(
        &mut self,
        input: &mut Buffer,
        io: &mut RecordIo<'_, '_, '_>,
    ) -> Result<EngineStatus, Error> {
        loop {
            match self.step(input, io) {
                Ok(Some(standing)) => return Ok(standing),
                Ok(None) => {}
                Err(error) => {
                    io.alert = self.answer(&error, input, io);
                    return Err(error);
                }
            }
        }
    }

    pub(super) fn step(
        &mut self,
        input: &mut Buffer,
        io: &mut RecordIo<'_, '_, '_>,
    ) -> Result<Option<EngineStatus>, Error> {
        let (discard, step) = match self {
            Engine::Client(connection) => {
                settle(connection.process_tls_records(input.filled_mut()), io)
            }
            Engine::Server(connection, context) if connection.is_handshaking() => {
                let visible = context.skip_early_data(input);
                let hides = visible < input.len();
                let (discard, step) = with_context(context, || {
                    let visible = input.filled_mut().get_mut(..visible).unwrap_or_default();
                    settle(connection.process_tls_records(visible), io)
                });
                context.stepped(connection.handshake_kind());
                match step {
                    // There is more input.
                    Ok(Some(EngineStatus::Handshaking)) if hides && discard > 0 => {
                        (discard, Ok(None))
                    }
                    step => (discard, step),
                }
            }
            // After the handshake rustls calls none of our callbacks.
            Engine::Server(connection, _) => {
                settle(connection.process_tls_records(input.filled_mut()), io)
            }
        };
        input.consume(discard);
        step
    }

    /// rustls queues the alert and returns the error first; each further call returns a piece of
    /// the alert.
    pub(super) fn drive_out_alert(&mut self, input: &mut Buffer, io: &mut RecordIo<'_, '_, '_>) {
        while self.wants_write() {
            let _ = self.step(input, io);
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

/// Handles one state of rustls. Returns the bytes to discard, and the status once nothing is left
/// to do.
fn settle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    io: &mut RecordIo<'_, '_, '_>,
) -> (usize, Result<Option<EngineStatus>, Error>) {
    let UnbufferedStatus { mut discard, state, .. } = status;
    let step = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    deliver(record.payload, io);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(None),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, io.output).map(|()| None),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(None)
        }
        Ok(ConnectionState::PeerClosed) => {
            io.peer_closed = true;
            Ok(None)
        }
        Ok(ConnectionState::Closed) => Ok(Some(EngineStatus::Closed)),
        Ok(ConnectionState::BlockedHandshake) => Ok(Some(EngineStatus::Handshaking)),
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            send(&mut traffic, io).map(|()| Some(EngineStatus::Traffic))
        }
        Ok(_) => Err(Error::General("early data, which is never offered".into())),
    };
    (discard, step)
}

fn deliver(mut payload: &[u8], io: &mut RecordIo<'_, '_, '_>) {
    // Decryption takes about as long as the receive, and a record costs something if it is empty.
    rt::spend(RECORD_COST_BYTES + payload.len());
    // To keep the order, bytes bypass the queue only while it is empty.
    if let Some(reader) = io.reader.as_mut().filter(|_| io.received.is_empty()) {
        let n = payload.len().min(reader.remaining());
        reader.put(&payload[..n]);
        payload = &payload[n..];
    }
    if !payload.is_empty() {
        io.received.records.push_back(payload.to_vec());
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
    io: &mut RecordIo<'_, '_, '_>,
) -> Result<(), Error> {
    match io.outbound {
        Outbound::Nothing => Ok(()),
        Outbound::CloseNotify => {
            sized(io.output, 2 * RECORD_OVERHEAD_BYTES, |room| traffic.queue_close_notify(room))
        }
        Outbound::Plaintext(slices) => {
            io.encrypted = encrypt(traffic, slices, io.output)?;
            Ok(())
        }
    }
}

thread_local! {
    /// Static: on the stack it would be zeroed for every record.
    static GATHERED: RefCell<[u8; GATHER_BYTES]> = const { RefCell::new([0; GATHER_BYTES]) };
}

/// Encrypts slices in order until the output is full; returns the number of bytes.
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
    rt::spend(plaintext.len());
    sized(output, room, |room| traffic.encrypt(plaintext, room))?;
    Ok(plaintext.len())
}

/// Writes into the output, and again with more room if rustls asks for more (a queued KeyUpdate
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
