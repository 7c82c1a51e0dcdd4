//! The messages of `grpc.health.v1.Health/Check`
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>). Pure.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::failure::CheckFailure;

/// The method's path.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";

/// The largest response: its message has one number.
const MAX_MESSAGE_BYTES: u32 = 1024;
/// `ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// `HealthCheckRequest { service: 1 }`, with the prefix of its frame.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.append(&mut message);
    frame.into()
}

/// Judges a response by its head, the frames in its body, and its trailers.
///
/// # Errors
///
/// Whatever is no `SERVING` makes the endpoint unhealthy at once, as in Envoy.
pub(super) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    trailers: Option<&HeaderMap>,
) -> Result<(), CheckFailure> {
    if status != StatusCode::OK {
        return Err(CheckFailure::for_sure(format!("status {}", status.as_u16())));
    }
    let is_grpc = headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        return Err(CheckFailure::for_sure("the answer is not gRPC"));
    }
    let grpc_status = trailers.and_then(|trailers| trailers.get("grpc-status"));
    match grpc_status.or_else(|| headers.get("grpc-status")).map(|status| status.as_bytes()) {
        Some(b"0") => {}
        Some(other) => {
            let text = format!("gRPC status {}", String::from_utf8_lossy(other).escape_debug());
            return Err(CheckFailure::for_sure(text));
        }
        None => return Err(CheckFailure::for_sure("the answer has no gRPC status")),
    }
    match serving_status(body) {
        Some(SERVING) => Ok(()),
        Some(0) => Err(CheckFailure::for_sure("the service is UNKNOWN")),
        Some(2) => Err(CheckFailure::for_sure("the service is NOT_SERVING")),
        Some(3) => Err(CheckFailure::for_sure("the service is SERVICE_UNKNOWN")),
        Some(other) => Err(CheckFailure::for_sure(format!("the service has status {other}"))),
        None => Err(CheckFailure::for_sure("the answer is no HealthCheckResponse")),
    }
}

/// Whether the first frame of a body can be a response, by as many of its bytes as have come.
pub(super) fn may_be_response(body: &[u8]) -> bool {
    match body.split_at_checked(5) {
        Some((prefix, _)) => frame_length(prefix).is_some(),
        None => true,
    }
}

/// The length of an uncompressed frame, if it is no more than a response may have.
fn frame_length(prefix: &[u8]) -> Option<usize> {
    let [0, length @ ..] = prefix else { return None };
    let length = u32::from_be_bytes(length.try_into().ok()?);
    (length <= MAX_MESSAGE_BYTES).then_some(length as usize)
}

/// `HealthCheckResponse { status: 1 }` of the one frame in a body; 0 if the field is absent.
fn serving_status(body: &[u8]) -> Option<u64> {
    let (prefix, message) = body.split_at_checked(5)?;
    if frame_length(prefix)? != message.len() {
        return None;
    }
    let mut status = 0;
    let mut rest = message;
    while !rest.is_empty() {
        let tag = read_varint(&mut rest)?;
        match tag & 7 {
            0 => {
                let value = read_varint(&mut rest)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(read_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn read_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn head(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    fn judged(body: &[u8], trailers: &[(&'static str, &'static str)]) -> Result<(), String> {
        let headers = head(&[("content-type", "application/grpc+proto")]);
        let judged = judge(StatusCode::OK, &headers, body, Some(&head(trailers)));
        judged.map_err(|failure| failure.text)
    }

    fn frame(message: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 0, message.len() as u8], message].concat()
    }

    const GOOD: &[(&str, &str)] = &[("grpc-status", "0")];

    #[test]
    fn a_request_names_its_service() {
        assert_eq!(&*request(""), &[0, 0, 0, 0, 0]);
        assert_eq!(&*request("ab"), &[0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
        assert_eq!(request(&"x".repeat(300))[..8], [0, 0, 0, 1, 47, 10, 0xac, 2]);
    }

    #[test]
    fn serving_alone_is_good() {
        assert_eq!(judged(&frame(&[8, 1]), GOOD), Ok(()));
        for (message, text) in [
            (&[][..], "the service is UNKNOWN"),
            (&[8, 2], "the service is NOT_SERVING"),
            (&[8, 3], "the service is SERVICE_UNKNOWN"),
            (&[8, 9], "the service has status 9"),
            (&[8], "the answer is no HealthCheckResponse"),
            (&[15], "the answer is no HealthCheckResponse"),
        ] {
            assert_eq!(judged(&frame(message), GOOD), Err(text.to_owned()), "{message:?}");
        }
    }

    #[test]
    fn fields_that_are_not_known_are_skipped() {
        let message = [0x12, 2, 7, 7, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1];
        assert_eq!(judged(&frame(&message), GOOD), Ok(()));
    }

    #[test]
    fn the_status_of_the_call_must_be_ok() {
        let unimplemented = judged(&[], &[("grpc-status", "12")]);
        assert_eq!(unimplemented, Err("gRPC status 12".to_owned()));
        assert_eq!(judged(&frame(&[8, 1]), &[]), Err("the answer has no gRPC status".to_owned()));
        let html = head(&[("content-type", "text/html")]);
        assert!(judge(StatusCode::OK, &html, &frame(&[8, 1]), Some(&head(GOOD))).is_err());
        assert!(judge(StatusCode::BAD_GATEWAY, &html, &[], None).is_err());
    }

    #[test]
    fn a_large_frame_is_refused_by_its_prefix() {
        assert!(may_be_response(&[]));
        assert!(may_be_response(&[0, 0, 0, 4, 0]));
        assert!(!may_be_response(&[0, 0, 0, 4, 1]));
        assert!(!may_be_response(&[0, 0, 16, 0, 0]), "1 MiB");
        assert!(!may_be_response(&[1, 0, 0, 0, 2]), "compressed");
    }

    proptest! {
        #[test]
        fn any_body_is_judged_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = judged(&body, GOOD);
            let _ = may_be_response(&body);
            let _ = judged(&frame(&body), GOOD);
        }
    }
}
