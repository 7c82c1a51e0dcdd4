//! The order to end all sessions of a user: `POST /sessions/end` with `{"user": ID}` or
//! `{"email": ADDRESS}`.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body::Body;

use super::{
    SessionOrders, SessionOwner, SessionsEnded,
    orders::may_order,
    respond::{AdminRequest, json, method_not_allowed, text},
};
use crate::short_body;

const PATH: &str = "/sessions/end";
/// The longest order in bytes.
const MAX_ORDER_BYTES: usize = 4096;
/// The control thread is never busy for nearly as long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers an order; `None` if the request is none.
pub(super) async fn respond<B>(
    request: &AdminRequest<'_>,
    body: B,
    orders: &SessionOrders,
) -> Option<Response<String>>
where
    B: Body<Data = Bytes> + Unpin,
{
    if request.path != PATH {
        return None;
    }
    if *request.method != Method::POST {
        return Some(method_not_allowed("POST"));
    }
    if !may_order(request) {
        return Some(text(StatusCode::FORBIDDEN, "only this machine may send orders"));
    }
    let order = short_body::read(body, MAX_ORDER_BYTES).await;
    let owner = order.ok().and_then(|order| SessionOwner::parse(&order));
    let Some(owner) = owner else {
        let form = r#"the body must be {"user": ID} or {"email": ADDRESS}"#;
        return Some(text(StatusCode::BAD_REQUEST, form));
    };
    Some(match orders.call(owner, ANSWER_TIMEOUT).await {
        Ok(Some(ended)) => json(&SessionsEnded { ended }),
        Ok(None) => text(StatusCode::CONFLICT, "no identity provider is configured"),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    })
}

impl SessionOwner {
    /// Reads an order. An empty id, and an address without `@`, name nobody.
    fn parse(order: &[u8]) -> Option<SessionOwner> {
        serde_json::from_slice(order).ok().filter(|owner| match owner {
            SessionOwner::User(id) => !id.is_empty(),
            SessionOwner::Email(address) => address.contains('@'),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(order: &str) -> Option<String> {
        SessionOwner::parse(order.as_bytes()).map(|owner| format!("{owner:?}"))
    }

    #[test]
    fn an_order_names_one_user_in_one_way() {
        assert_eq!(owner(r#"{"user": "a\"b"}"#).as_deref(), Some(r#"User("a\"b")"#));
        assert_eq!(owner(r#"{"email": "a@b"}"#).as_deref(), Some(r#"Email("a@b")"#));
        for wrong in [
            "",
            "{}",
            "null",
            r#""user""#,
            r#"{"user": ""}"#,
            r#"{"user": 1}"#,
            r#"{"user": "a", "email": "a@b"}"#,
            r#"{"user": "a", "user": "b"}"#,
            r#"{"email": "a"}"#,
            r#"{"name": "a"}"#,
            r#"{"user": "a"} x"#,
        ] {
            assert_eq!(owner(wrong), None, "{wrong}");
        }
    }
}
