//! ClientHellos of any shape, byte for byte.

/// A ClientHello of which each part can be changed.
#[derive(Clone)]
pub(super) struct RawHello {
    pub(super) version: [u8; 2],
    pub(super) suites: Vec<u8>,
    /// Types and bodies, in order.
    pub(super) extensions: Vec<(u16, Vec<u8>)>,
    /// Bytes behind the extensions.
    pub(super) trailing: Vec<u8>,
}

impl RawHello {
    /// An ordinary hello for TLS 1.3, with a share of X25519.
    pub(super) fn tls13() -> RawHello {
        let share = [&[0, 36, 0, 29, 0, 32][..], &[9; 32]].concat();
        RawHello::tls12().with(43, vec![2, 3, 4]).with(51, share)
    }

    /// An ordinary hello for TLS 1.2.
    pub(super) fn tls12() -> RawHello {
        RawHello {
            version: [3, 3],
            suites: vec![0x13, 0x01, 0xc0, 0x2b, 0xc0, 0x2f],
            extensions: Vec::new(),
            trailing: Vec::new(),
        }
        .with(0, server_name(super::NAME))
        .with(10, vec![0, 4, 0, 29, 0, 23])
        .with(13, vec![0, 6, 4, 3, 8, 4, 4, 1])
    }

    /// The same with this extension, in place of another one of its type.
    pub(super) fn with(mut self, kind: u16, body: Vec<u8>) -> RawHello {
        self = self.without(kind);
        self.extensions.push((kind, body));
        self
    }

    pub(super) fn without(mut self, kind: u16) -> RawHello {
        self.extensions.retain(|(present, _)| *present != kind);
        self
    }

    pub(super) fn message(&self) -> Vec<u8> {
        let extension =
            |(kind, body): &(u16, Vec<u8>)| [&kind.to_be_bytes()[..], &len16(body), body].concat();
        let extensions: Vec<u8> = self.extensions.iter().flat_map(extension).collect();
        let body = [
            &self.version[..],
            &[7; 32],
            &[0],
            &len16(&self.suites),
            &self.suites,
            &[1, 0],
            &len16(&extensions),
            &extensions,
            &self.trailing,
        ];
        message(1, &body.concat())
    }

    pub(super) fn record(&self) -> Vec<u8> {
        record(22, &self.message())
    }
}

/// The body of a server_name extension.
pub(super) fn server_name(name: &str) -> Vec<u8> {
    let entry = [&[0][..], &len16(name.as_bytes()), name.as_bytes()].concat();
    [&len16(&entry), &entry[..]].concat()
}

/// A handshake message.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, high, mid, low] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, high, mid, low], body].concat()
}

/// A record in the clear.
pub(super) fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], &len16(payload)[..], payload].concat()
}

fn len16(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_be_bytes()
}
