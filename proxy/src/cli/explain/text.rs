//! An explanation as text for a terminal.

use std::fmt::{self, Write as _};

use crate::{
    app::{ExplainedConnection, Explanation},
    cli::status::table::printable,
    http::{ExplainedVerdict, RequestExplanation},
};

/// How many routes that were passed over are shown.
const MOST_ROUTES: usize = 20;

/// Every line ends with a newline.
pub(super) fn render(explanation: &Explanation) -> String {
    let mut page = String::new();
    // Writing to a text does not fail.
    let _ = write_all(&mut page, explanation);
    page
}

fn write_all(page: &mut String, explanation: &Explanation) -> fmt::Result {
    write_connection(page, &explanation.connection)?;
    if let Some(request) = &explanation.request {
        write_request(page, request)?;
    }
    write_verdict(page, &explanation.verdict)
}

fn write_connection(page: &mut String, connection: &ExplainedConnection) -> fmt::Result {
    if !connection.tls {
        return writeln!(page, "connection   plain text");
    }
    let name = connection.server_name.as_deref().unwrap_or("none");
    writeln!(page, "connection   TLS, server name {}", printable(name))?;
    match &connection.asked {
        None => writeln!(page, "             the client is asked for no certificate")?,
        Some(demand) => {
            let how = if demand.required { "must present" } else { "is asked for" };
            let whose = if demand.cas.is_empty() { "any CA" } else { "one of these CAs" };
            writeln!(page, "             the client {how} a certificate of {whose}")?;
            for ca in &demand.cas {
                let subject = printable(&ca.subject);
                writeln!(
                    page,
                    "               {subject}  ({}, until {})",
                    printable(&ca.origin),
                    ca.not_after
                )?;
            }
        }
    }
    if let Some(certificate) = &connection.certificate {
        let subject = connection.subject.as_deref().unwrap_or("certificate");
        writeln!(page, "             {}: {}", printable(subject), printable(certificate))?;
    }
    Ok(())
}

fn write_request(page: &mut String, request: &RequestExplanation) -> fmt::Result {
    let host = request.host.as_deref().unwrap_or("-");
    let path = request.path.as_deref().unwrap_or("-");
    writeln!(
        page,
        "request      host {}, path {}, from {}",
        printable(host),
        printable(path),
        request.client
    )?;
    write_routes(page, request)?;
    if let Some(certificate) = &request.certificate {
        write!(page, "certificate  {}", certificate.state)?;
        if let Some(why) = &certificate.why {
            write!(page, ": {}", printable(why))?;
        }
        if let Some(origin) = &certificate.verified_by {
            write!(page, "  (CAs: {})", printable(origin))?;
        }
        page.push('\n');
        let user = request.user.as_deref().unwrap_or("nobody is signed in");
        writeln!(page, "user         {}", printable(user))?;
        if let Some(why) = request.user_ignored {
            writeln!(page, "             the given user does not count: {why}")?;
        }
    }
    write_policy(page, request)
}

fn write_routes(page: &mut String, request: &RequestExplanation) -> fmt::Result {
    let passed_over = request.routes.iter().filter(|route| !route.matches).count();
    let skipped = passed_over.saturating_sub(MOST_ROUTES);
    if skipped > 0 {
        writeln!(page, "route        {skipped} more were passed over before these")?;
    }
    for route in request.routes.iter().skip(skipped) {
        let (place, from) = (&route.place, printable(&route.from));
        match route.why_not {
            None => writeln!(
                page,
                "route        {place} matches: {from}  (name: {})",
                printable(&route.name)
            )?,
            Some(why) => writeln!(page, "route        {place} does not match: {from}  ({why})")?,
        }
    }
    if request.verdict.status == Some(404) && request.routes.is_empty() {
        writeln!(page, "route        no route is for this host")?;
    }
    Ok(())
}

fn write_policy(page: &mut String, request: &RequestExplanation) -> fmt::Result {
    let word = |matches| if matches { "matches" } else { "does not match" };
    for rule in &request.policy {
        writeln!(page, "policy       {} {}", rule.place, word(rule.matches))?;
        for criterion in &rule.criteria {
            let (text, reason) = (printable(&criterion.criterion), criterion.reason);
            writeln!(page, "               {text}: {} ({reason})", word(criterion.matches))?;
        }
    }
    if request.certificate.is_some() && request.policy.is_empty() {
        writeln!(page, "policy       the route has no rule: nobody is allowed")?;
    }
    Ok(())
}

fn write_verdict(page: &mut String, verdict: &ExplainedVerdict) -> fmt::Result {
    let ExplainedVerdict { served, status, summary, details, policy_rule, location, upstream } =
        verdict;
    let word = if *served { "served" } else { "refused" };
    let status = status.map(|status| format!(" with {status}")).unwrap_or_default();
    writeln!(page, "result       {word}{status}: {}", printable(summary))?;
    if let Some(rule) = policy_rule.as_ref().filter(|_| !served) {
        writeln!(page, "             decided by {}", printable(rule))?;
    }
    if let Some(details) = details {
        writeln!(page, "             response-code-details {}", printable(details))?;
    }
    if let Some(location) = location {
        writeln!(page, "             location {}", printable(location))?;
    }
    for endpoint in upstream.iter().flat_map(|upstream| &upstream.endpoints) {
        let tls = match &endpoint.tls_server_name {
            Some(name) => format!("TLS, server name {}", printable(name)),
            None => "plain text".to_owned(),
        };
        let (address, host) = (printable(&endpoint.address), printable(&endpoint.host));
        writeln!(page, "upstream     {address}  Host {host}  ({tls})")?;
    }
    Ok(())
}
