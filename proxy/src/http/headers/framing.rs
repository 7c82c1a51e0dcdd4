//! The fields that frame a response: how long its content is, and how it was coded on its way.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::fields::{TransferCodings, tokens, transfer_codings};

/// Why an upstream's response cannot be passed on, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidResponse(pub(crate) &'static str);

/// Whether responses with this status have no content, whatever their fields say (RFC 9110 section
/// 6.4.1).
pub(in crate::http) fn has_no_content(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Leaves one `Content-Length` or none, as the status asks for (RFC 9110 section 8.6): clients read a
/// second one as a fault, or as another length. `Transfer-Encoding` is still there.
///
/// # Errors
/// The content has a coding that nobody undoes, or lengths that differ or are none.
pub(super) fn frame(headers: &mut HeaderMap, status: StatusCode) -> Result<(), InvalidResponse> {
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
        return Ok(());
    }
    match transfer_codings(headers) {
        TransferCodings::None => one_length(headers),
        TransferCodings::Chunked | TransferCodings::Identity => {
            // It was not obeyed, and the next recipient must not find it alone (RFC 9112 section 6.3).
            headers.remove(header::CONTENT_LENGTH);
            Ok(())
        }
        TransferCodings::ChunkedAgain | TransferCodings::Other => {
            Err(InvalidResponse("a transfer coding other than chunked"))
        }
    }
}

fn one_length(headers: &mut HeaderMap) -> Result<(), InvalidResponse> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lines.next(), lines.next()) {
        (None, _) => return Ok(()),
        (Some(line), None) if length(line.as_bytes()).is_some() => return Ok(()),
        _ => {}
    }
    let length = agreed(headers)?;
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(())
}

/// The one length that all values state.
fn agreed(headers: &HeaderMap) -> Result<u64, InvalidResponse> {
    let mut lengths = tokens(headers, &header::CONTENT_LENGTH).map(length);
    let first = lengths.next().flatten().ok_or(InvalidResponse("a malformed Content-Length"))?;
    match lengths.all(|length| length == Some(first)) {
        true => Ok(first),
        false => Err(InvalidResponse("several Content-Length values")),
    }
}

/// A length as all clients read it, in 63 bits.
fn length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let length = digits.iter().try_fold(0_u64, |length, digit| match digit {
        b'0'..=b'9' => Some(length * 10 + u64::from(digit - b'0')),
        _ => None,
    })?;
    i64::try_from(length).is_ok().then_some(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(
        status: u16,
        fields: &[(&'static str, &str)],
    ) -> Result<Vec<String>, InvalidResponse> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        frame(&mut headers, StatusCode::from_u16(status).unwrap())?;
        let lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        Ok(lengths.map(|length| length.to_str().unwrap().to_owned()).collect())
    }

    fn lengths(values: &[&str]) -> Result<Vec<String>, InvalidResponse> {
        framed(200, &values.iter().map(|value| ("content-length", *value)).collect::<Vec<_>>())
    }

    #[test]
    fn equal_lengths_become_one() {
        assert_eq!(lengths(&[]), Ok(vec![]));
        for values in [&["2"][..], &["2", "2"], &["2, 2"], &["2", "2,2", ",2"], &["02", "2"]] {
            assert_eq!(lengths(values), Ok(vec!["2".to_owned()]), "{values:?}");
        }
    }

    #[test]
    fn lengths_that_differ_or_are_none_are_invalid() {
        for values in [
            &["2", "3"][..],
            &["2, 3"],
            &[""],
            &[","],
            &["+2"],
            &["-2"],
            &["2 2"],
            &["0x2"],
            &["2;"],
            &["two", "2"],
            &["2", "two"],
            &["9223372036854775808"],
            &["00000000000000000002"],
        ] {
            assert!(lengths(values).is_err(), "{values:?}");
        }
        assert_eq!(lengths(&["9223372036854775807"]).unwrap(), ["9223372036854775807"]);
    }

    #[test]
    fn a_status_without_content_has_no_length_unless_it_stands_for_another() {
        let with = |status| framed(status, &[("content-length", "5")]).unwrap().len();
        assert_eq!([101, 103, 199, 204].map(with), [0; 4]);
        assert_eq!([200, 205, 206, 304, 404].map(with), [1; 5]);
        assert_eq!(framed(204, &[("content-length", "2"), ("content-length", "3")]), Ok(vec![]));
    }

    #[test]
    fn a_length_beside_a_transfer_coding_goes_and_an_unknown_coding_is_invalid() {
        let with = |coding| framed(200, &[("transfer-encoding", coding), ("content-length", "3")]);
        assert_eq!(with("chunked"), Ok(vec![]));
        assert_eq!(with("identity"), Ok(vec![]));
        for coding in ["gzip, chunked", "gzip", "chunked, chunked", "chunked, gzip", ""] {
            assert!(with(coding).is_err(), "{coding}");
        }
    }

    proptest! {
        #[test]
        fn whatever_upstreams_write_at_most_one_number_is_left(
            values in prop::collection::vec("[0-9]{0,3}([ ,;+-]{0,2}[0-9]{0,3}){0,2}", 0..4),
            status in prop::sample::select(vec![200_u16, 204, 206, 304, 404]),
        ) {
            let fields: Vec<_> =
                values.iter().map(|value| ("content-length", value.as_str())).collect();
            if let Ok(left) = framed(status, &fields) {
                prop_assert!(left.len() <= 1);
                for length in left {
                    let bytes = length.as_bytes();
                    prop_assert!(!bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit));
                }
            }
        }
    }
}
