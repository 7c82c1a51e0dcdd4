//! Why a name has no address, in words for an operator.

use hickory_resolver::{
    net::{DnsError, NetError},
    proto::op::ResponseCode,
};

/// Why a look-up failed, in one line.
pub(super) fn failure_text(error: &NetError) -> String {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => response_text(none.response_code),
        NetError::Dns(DnsError::ResponseCode(code)) => response_text(*code),
        NetError::Timeout => "no name server answered in time".to_owned(),
        NetError::NoConnections => "no name server can be reached".to_owned(),
        NetError::Io(error) => format!("no name server can be reached: {error}"),
        error => one_line(&error.to_string()),
    }
}

fn response_text(code: ResponseCode) -> String {
    match code {
        ResponseCode::NXDomain => "the name does not exist (NXDOMAIN)".to_owned(),
        ResponseCode::NoError => "the name exists and has no address (dns_lookup_family says \
                                  which ones are asked for)"
            .to_owned(),
        ResponseCode::ServFail => "the name server failed (SERVFAIL)".to_owned(),
        ResponseCode::Refused => "the name server refused to answer (REFUSED)".to_owned(),
        code => format!("the name server answered with an error: {code}"),
    }
}

/// The error may quote what a name server has sent.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use hickory_resolver::{
        net::NoRecords,
        proto::{op::Query, rr::Name},
    };

    use super::*;

    fn no_records(code: ResponseCode) -> NetError {
        let query = Query::query(Name::root(), hickory_resolver::proto::rr::RecordType::A);
        DnsError::NoRecordsFound(NoRecords::new(query, code)).into()
    }

    #[test]
    fn failures_are_told_in_words_and_not_in_debug_output() {
        let errors = [
            no_records(ResponseCode::NXDomain),
            no_records(ResponseCode::NoError),
            DnsError::ResponseCode(ResponseCode::ServFail).into(),
            DnsError::ResponseCode(ResponseCode::BADVERS).into(),
            NetError::Timeout,
            NetError::Msg("a\nb".to_owned()),
        ];
        let texts = errors.each_ref().map(failure_text);
        assert_eq!(texts[0], "the name does not exist (NXDOMAIN)");
        assert!(texts[1].starts_with("the name exists and has no address"), "{}", texts[1]);
        assert_eq!(texts[2], "the name server failed (SERVFAIL)");
        assert_eq!(texts[4], "no name server answered in time");
        assert!(texts.iter().all(|text| !text.contains(['{', '\n', '"'])), "{texts:?}");
    }
}
