//! `Max-Forwards`: how many more proxies may pass an OPTIONS or a TRACE request on (RFC 9110 section
//! 7.6.2).

use http::{HeaderMap, HeaderValue, Method, header, request::Parts};

use super::request::InvalidRequest;

/// Whether the request may not be passed on, so that it is answered here.
///
/// # Errors
/// The field is malformed.
pub(super) fn is_last(parts: &Parts) -> Result<bool, InvalidRequest> {
    Ok(limits(&parts.method) && read(&parts.headers)? == Some(0))
}

/// Counts this proxy in the request for an upstream.
pub(super) fn count(method: &Method, headers: &mut HeaderMap) {
    if limits(method)
        && let Ok(Some(left)) = read(headers)
    {
        headers.insert(header::MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

/// Other methods are passed on as they are.
fn limits(method: &Method) -> bool {
    matches!(*method, Method::OPTIONS | Method::TRACE)
}

/// The number, or the greatest that is known here.
fn read(headers: &HeaderMap) -> Result<Option<u64>, InvalidRequest> {
    let mut lines = headers.get_all(header::MAX_FORWARDS).iter();
    let (line, second) = (lines.next(), lines.next());
    let Some(line) = line else { return Ok(None) };
    let digits = line.as_bytes();
    if second.is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(InvalidRequest::MaxForwards);
    }
    let number = line.to_str().ok().and_then(|digits| digits.parse().ok());
    Ok(Some(number.unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(method: Method, values: &[&'static str]) -> Parts {
        let mut request = Request::new(());
        *request.method_mut() = method;
        for value in values {
            let value = HeaderValue::from_static(value);
            request.headers_mut().append(header::MAX_FORWARDS, value);
        }
        request.into_parts().0
    }

    fn counted(method: Method, value: &'static str) -> String {
        let Parts { method, mut headers, .. } = parts(method, &[value]);
        count(&method, &mut headers);
        headers[header::MAX_FORWARDS].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_last_recipient_is_found_by_method_and_number() {
        for method in [Method::OPTIONS, Method::TRACE] {
            let is_last = |values: &[&'static str]| is_last(&parts(method.clone(), values));
            assert_eq!(is_last(&[]), Ok(false));
            assert_eq!(is_last(&["0"]), Ok(true));
            assert_eq!(is_last(&["000"]), Ok(true));
            assert_eq!(is_last(&["1"]), Ok(false));
            assert_eq!(is_last(&["99999999999999999999999"]), Ok(false));
            for bad in [&["-1"][..], &["+1"], &[""], &["1, 0"], &["1", "0"], &["one"]] {
                assert_eq!(is_last(bad), Err(InvalidRequest::MaxForwards), "{bad:?}");
            }
        }
        assert_eq!(is_last(&parts(Method::GET, &["0"])), Ok(false));
        assert_eq!(is_last(&parts(Method::GET, &["x"])), Ok(false));
    }

    #[test]
    fn each_proxy_counts_itself_for_options_and_trace_alone() {
        assert_eq!(counted(Method::OPTIONS, "3"), "2");
        assert_eq!(counted(Method::TRACE, "010"), "9");
        assert_eq!(counted(Method::TRACE, "99999999999999999999999"), (u64::MAX - 1).to_string());
        assert_eq!(counted(Method::GET, "3"), "3");
        let mut none = HeaderMap::new();
        count(&Method::OPTIONS, &mut none);
        assert!(none.is_empty());
    }
}
