//! `portcullis explain`: what the configuration makes of a request, and why.

mod text;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{ValueEnum, ValueHint};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Map, Value};

use super::{ConfigFile, print};
use crate::{
    app::{Explanation, Visit, explain},
    policy::{EmailAddress, Identity},
};

/// The request is refused.
const REFUSED: u8 = 1;
/// The command or the configuration is not valid.
const INVALID: u8 = 2;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 if the request would be served, 1 if it would be refused, 2 if \
    the command or the configuration is not valid."
)]
pub(super) struct Explain {
    /// The URL that a client asks for: https://app.example.com/path
    url: Uri,
    #[command(flatten)]
    file: ConfigFile,
    /// The method of the request.
    #[arg(long, short = 'X', default_value = "GET")]
    method: Method,
    /// A header of the request; may be given several times.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The client's address.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    source: IpAddr,
    /// The client's certificate, and the chain behind it, as PEM.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    cert: Option<PathBuf>,
    /// As if a user with this email address were signed in.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// As if the user with this ID were signed in; without it the ID is the email address.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// A claim of that user; may be given several times, then its values are a list.
    #[arg(long, value_name = "NAME=VALUE", value_parser = claim)]
    claim: Vec<(String, String)>,
    /// The server name of the connection, if it was opened for another host.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Explain {
    pub(super) fn run(self) -> ExitCode {
        let format = self.format;
        let explained = match self.explain() {
            Ok(explained) => explained,
            Err(problem) => {
                eprintln!("portcullis: error: {problem}");
                return ExitCode::from(INVALID);
            }
        };
        match format {
            Format::Text => print(&text::render(&explained)),
            Format::Json => match serde_json::to_string_pretty(&explained) {
                Ok(json) => print(&(json + "\n")),
                Err(error) => super::fail(&error.to_string()),
            },
        };
        match explained.verdict.served {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(REFUSED),
        }
    }

    fn explain(self) -> Result<Explanation, String> {
        let loaded = self.file.load();
        let mut config = loaded.map_err(|findings| findings.to_string())?.config;
        let visit = self.visit()?;
        explain(&mut config, visit).map_err(|error| format!("{error:#}"))
    }

    fn visit(self) -> Result<Visit, String> {
        let is_known = self.url.scheme_str().is_some_and(|it| matches!(it, "http" | "https"));
        let Some(authority) = self.url.authority().filter(|_| is_known) else {
            return Err(format!("{} is no URL of http or https", self.url));
        };
        let target = self.url.path_and_query().map_or("/", |target| target.as_str());
        let request = Request::builder().method(self.method.clone()).uri(target);
        let request = request.header(header::HOST, authority.as_str()).body(());
        let (mut parts, ()) = request.map_err(|error| error.to_string())?.into_parts();
        add_headers(&mut parts.headers, &self.header);
        let certificate = self.cert.as_deref().map(chain).transpose()?.unwrap_or_default();
        Ok(Visit {
            parts,
            source: self.source.to_canonical(),
            certificate,
            user: identity(self.user, self.email, &self.claim)?,
            server_name: self.server_name,
            url: self.url,
        })
    }
}

/// The headers that are given; a Host of these takes the place of the URL's. Like curl, the request
/// accepts everything unless it says so.
fn add_headers(headers: &mut HeaderMap, given: &[(HeaderName, HeaderValue)]) {
    if given.iter().any(|(name, _)| *name == header::HOST) {
        headers.remove(header::HOST);
    }
    if !given.iter().any(|(name, _)| *name == header::ACCEPT) {
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    }
    for (name, value) in given {
        headers.append(name.clone(), value.clone());
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let pem = fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(format!("{shown} has no certificate in PEM")),
        Err(error) => Err(format!("{shown} is not PEM: {error}")),
    }
}

fn identity(
    user: Option<String>,
    email: Option<String>,
    claims: &[(String, String)],
) -> Result<Option<Identity>, String> {
    let Some(user_id) = user.as_deref().or(email.as_deref()) else {
        return match claims {
            [] => Ok(None),
            _ => Err("--claim needs --email or --user".to_owned()),
        };
    };
    let address = match &email {
        None => EmailAddress::default(),
        Some(email) => EmailAddress::parse(email)
            .ok_or_else(|| format!("{} is no email address", email.escape_debug()))?,
    };
    let mut values: Map<String, Value> = Map::new();
    for (name, value) in claims {
        let list = values.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(Value::from(value.as_str()));
        }
    }
    Ok(Some(Identity { user_id: user_id.into(), email: address, claims: values }))
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written as NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| "this is no name of a header")?;
    let value = value.trim().parse().map_err(|_| "this is no value of a header")?;
    Ok((name, value))
}

fn claim(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a claim is written as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
