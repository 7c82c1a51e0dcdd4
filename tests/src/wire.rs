//! A blocking connection, plain or TLS, that can report and make every kind of end.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    time::Duration,
};

use crate::wait::DEADLINE;

/// How a connection ended, as seen from this side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The peer closed it: `close_notify`, or the end of a plain connection.
    Clean,
    /// A TLS connection ended without `close_notify`.
    Truncated,
    /// A reset.
    Reset,
    /// A TLS alert with this number (RFC 8446, section 6).
    Alert(u8),
    /// It did not end before the deadline.
    Deadline,
    /// Any other error.
    Failed(String),
}

impl End {
    /// The kind of end that an error of [`Wire`] means.
    pub fn of(error: &io::Error) -> Self {
        if let Some(rustls::Error::AlertReceived(alert)) =
            error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            return Self::Alert(u8::from(*alert));
        }
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::Truncated,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Self::Reset,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Deadline,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    tcp: Arc<TcpStream>,
    tls: Option<Box<rustls::Connection>>,
    piece: usize,
}

impl Wire {
    /// A connection without TLS. Reads wait no longer than [`DEADLINE`].
    ///
    /// # Panics
    /// When the socket refuses its options.
    pub fn plain(tcp: Arc<TcpStream>) -> Self {
        tcp.set_nodelay(true).expect("TCP_NODELAY");
        let wire = Self { tcp, tls: None, piece: usize::MAX };
        wire.set_read_timeout(DEADLINE);
        wire
    }

    /// Continues with TLS on this connection.
    pub fn secured(mut self, tls: impl Into<rustls::Connection>) -> Self {
        self.tls = Some(Box::new(tls.into()));
        self
    }

    /// Sends the output of TLS in pieces of this many bytes, each in its own segment.
    pub fn in_pieces(mut self, bytes: usize) -> Self {
        self.piece = bytes;
        self
    }

    /// Sets how long a read waits before it fails.
    ///
    /// # Panics
    /// When the socket refuses.
    pub fn set_read_timeout(&self, timeout: Duration) {
        self.tcp.set_read_timeout(Some(timeout)).expect("SO_RCVTIMEO");
    }

    /// The TLS side, if any.
    pub fn tls(&self) -> Option<&rustls::Connection> {
        self.tls.as_deref()
    }

    /// Completes the handshake.
    ///
    /// # Errors
    /// What the peer's alert, or the socket, says.
    pub fn handshake(&mut self) -> io::Result<()> {
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.flush()?;
            if self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
                self.receive()?;
            }
        }
        self.flush()
    }

    /// Ends the sending direction: `close_notify` if there is TLS, then `FIN`.
    pub fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.flush();
        }
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// Sends bytes and, in the same flight, `close_notify` without `FIN`.
    ///
    /// # Errors
    /// What the socket says.
    ///
    /// # Panics
    /// When there is no TLS.
    pub fn send_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        let tls = self.tls.as_mut().expect("a TLS connection");
        tls.writer().write_all(bytes)?;
        tls.send_close_notify();
        self.flush()
    }

    /// Ends the sending side without `close_notify`.
    pub fn truncate(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// Reads and discards the peer's further bytes: unread bytes would turn the close into a reset,
    /// which can destroy the last bytes sent.
    pub fn linger(&self) {
        let mut buffer = [0; 16 * 1024];
        while (&*self.tcp).read(&mut buffer).is_ok_and(|n| n > 0) {}
    }

    /// Makes the next close a reset.
    pub fn reset(self) {
        let linger = socket2::SockRef::from(&*self.tcp).set_linger(Some(Duration::ZERO));
        linger.expect("SO_LINGER");
    }

    /// Sends bytes outside TLS, at any point of the stream.
    ///
    /// # Errors
    /// What the socket says.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.tcp).write_all(bytes)
    }

    /// Receives until the connection ends; returns the bytes and the kind of end.
    pub fn drain(&mut self) -> (Vec<u8>, End) {
        let mut all = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return (all, End::Clean),
                Ok(n) => all.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (all, End::of(&error)),
            }
        }
    }

    /// One socket read through TLS. Pending alerts are sent before the error returns.
    fn receive(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let n = tls.read_tls(&mut &*self.tcp)?;
        if let Err(error) = tls.process_new_packets() {
            let _ = self.flush();
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        if n == 0 && self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(tls) = &mut self.tls else { return (&*self.tcp).read(buffer) };
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            self.flush()?;
            self.receive()?;
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return (&*self.tcp).write(bytes) };
        let n = tls.writer().write(bytes)?;
        self.flush()?;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            tls.write_tls(&mut Pieces(&self.tcp, self.piece))?;
        }
        Ok(())
    }
}

struct Pieces<'a>(&'a TcpStream, usize);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(self.1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
