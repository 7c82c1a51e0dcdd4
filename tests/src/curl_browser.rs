//! curl as a browser: it keeps cookies, follows redirects one by one, and signs in at
//! [`OidcProvider`], [`Canaille`] and [`crate::BadProvider`], which asks for nothing.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf};

use crate::{
    Canaille, OidcProvider,
    curl::{Curl, Fetched},
    tempdir::TempDir,
};

/// One person's browser.
#[derive(Debug)]
pub struct CurlBrowser {
    jar: PathBuf,
    proxy: SocketAddr,
    provider: SocketAddr,
    provider_url: String,
    login: String,
    password: &'static str,
    headers: Vec<String>,
    options: Vec<String>,
    visited: Vec<String>,
    location: Option<String>,
    _dir: TempDir,
}

/// No sign-in takes as many steps.
const MOST_STEPS: usize = 25;

impl CurlBrowser {
    /// A browser whose hosts are all at the proxy's address but for the provider's. Its user signs in
    /// as `login`.
    pub fn new(proxy: SocketAddr, provider: &OidcProvider, login: &str) -> Self {
        Self::at(proxy, provider.address(), login)
    }

    /// The same with Canaille and its only user.
    pub fn with_canaille(proxy: SocketAddr, provider: &Canaille) -> Self {
        Self { password: Canaille::PASSWORD, ..Self::at(proxy, provider.address(), Canaille::USER) }
    }

    /// The same with any provider at this address.
    pub fn at(proxy: SocketAddr, provider: SocketAddr, login: &str) -> Self {
        let dir = TempDir::new("browser");
        Self {
            jar: dir.write("cookies", ""),
            proxy,
            provider,
            provider_url: format!("http://{provider}/"),
            login: login.to_owned(),
            password: "x",
            headers: Vec::new(),
            options: Vec::new(),
            visited: Vec::new(),
            location: None,
            _dir: dir,
        }
    }

    /// Sends a header with every request to the proxy, such as `Sec-Fetch-Mode: navigate`.
    #[must_use]
    pub fn with_header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    /// Gives curl these options for requests to the proxy, such as `--http2` or those of a client
    /// certificate.
    #[must_use]
    pub fn with_options<'a>(mut self, options: impl IntoIterator<Item = &'a str>) -> Self {
        self.options.extend(options.into_iter().map(str::to_owned));
        self
    }

    /// Takes all options away.
    #[must_use]
    pub fn without_options(mut self) -> Self {
        self.options.clear();
        self
    }

    /// One request, without following anything.
    ///
    /// # Panics
    /// When the transfer is not complete.
    pub fn get(&mut self, url: &str) -> Fetched {
        self.visited.push(url.to_owned());
        self.curl(url).ok()
    }

    /// The request of [`CurlBrowser::get`], to add to it.
    pub fn request(&mut self, url: &str) -> Curl {
        self.visited.push(url.to_owned());
        self.curl(url)
    }

    /// One form, without following anything.
    ///
    /// # Panics
    /// When the transfer is not complete.
    pub fn post(&mut self, url: &str, form: &str) -> Fetched {
        self.visited.push(url.to_owned());
        self.curl(url).post(form).ok()
    }

    /// Opens a URL and follows every redirect, signing in and consenting where the provider asks,
    /// until something else comes.
    ///
    /// # Panics
    /// When that takes too many steps, or a transfer is not complete.
    pub fn open(&mut self, url: &str) -> Fetched {
        self.open_until(url, |_| false)
    }

    /// The same, but the first URL for which `stop` is true is not asked for: what led there is
    /// returned.
    ///
    /// # Panics
    /// When that takes too many steps, or a transfer is not complete.
    pub fn open_until(&mut self, url: &str, stop: impl Fn(&str) -> bool) -> Fetched {
        let mut url = url.to_owned();
        let mut fetched = self.get(&url);
        for _ in 0..MOST_STEPS {
            if let Some(next) = redirect(&url, &fetched) {
                if stop(&next) {
                    self.location = Some(next);
                    return fetched;
                }
                fetched = self.get(&next);
                url = next;
            } else if let Some((action, form)) = self.form(&fetched) {
                url = resolve(&url, &action);
                fetched = self.post(&url.clone(), &form);
            } else {
                return fetched;
            }
        }
        panic!("{MOST_STEPS} steps lead to no end: {:#?}", self.visited);
    }

    /// Every URL that was asked for, in order.
    pub fn visited(&self) -> &[String] {
        &self.visited
    }

    /// The URL at which [`CurlBrowser::open_until`] last stopped.
    pub fn last_location(&self) -> Option<String> {
        self.location.clone()
    }

    /// The last URL that was asked for.
    ///
    /// # Panics
    /// When there is none.
    pub fn url(&self) -> &str {
        self.visited.last().expect("something was opened")
    }

    /// The cookies of a host, by name.
    pub fn cookies(&self, host: &str) -> HashMap<String, String> {
        let jar = std::fs::read_to_string(&self.jar).unwrap_or_default();
        let lines = jar.lines().map(|line| line.strip_prefix("#HttpOnly_").unwrap_or(line));
        let fields = lines.map(|line| line.split('\t').collect::<Vec<_>>());
        fields
            .filter(|fields| fields.len() == 7 && fields[0].trim_start_matches('.') == host)
            .map(|fields| (fields[5].to_owned(), fields[6].to_owned()))
            .collect()
    }

    /// The file in which curl keeps the cookies, to copy or change them.
    pub fn jar(&self) -> &PathBuf {
        &self.jar
    }

    /// Deletes the cookies of a host.
    ///
    /// # Panics
    /// When the file with the cookies cannot be written.
    pub fn forget(&self, host: &str) {
        self.keep_cookies(|fields| fields[0].trim_start_matches("#HttpOnly_") != host);
    }

    /// Has a cookie of a host, in the place of any of this name.
    ///
    /// # Panics
    /// When the file with the cookies cannot be written.
    pub fn set_cookie(&self, host: &str, name: &str, value: &str) {
        self.keep_cookies(|fields| {
            fields[0].trim_start_matches("#HttpOnly_") != host || fields[5] != name
        });
        let jar = std::fs::read_to_string(&self.jar).unwrap_or_default();
        let line = format!("#HttpOnly_{host}\tFALSE\t/\tTRUE\t4102444800\t{name}\t{value}\n");
        std::fs::write(&self.jar, jar + &line).expect("write the cookies");
    }

    fn keep_cookies(&self, keep: impl Fn(&[&str]) -> bool) {
        let jar = std::fs::read_to_string(&self.jar).unwrap_or_default();
        let lines = jar.lines().filter(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            fields.len() != 7 || keep(&fields)
        });
        let kept: String = lines.map(|line| format!("{line}\n")).collect();
        std::fs::write(&self.jar, kept).expect("write the cookies");
    }

    fn curl(&self, url: &str) -> Curl {
        let is_provider = url.starts_with(&self.provider_url);
        let address = if is_provider { self.provider } else { self.proxy };
        let jar = self.jar.display().to_string();
        let curl = Curl::new(address, url).args(["--cookie", &jar, "--cookie-jar", &jar]);
        if is_provider {
            return curl;
        }
        let curl = curl.args(self.options.iter().map(String::as_str));
        self.headers.iter().fold(curl, |curl, line| curl.header(line))
    }

    /// What the provider's own page asks for, with what a person would fill in.
    fn form(&self, fetched: &Fetched) -> Option<(String, String)> {
        let page = fetched.text();
        let action = between(&page, "action=\"", "\"")?.replace("&amp;", "&");
        let action = if action.is_empty() { self.url().to_owned() } else { action };
        if !action.starts_with(&self.provider_url) && !self.url().starts_with(&self.provider_url) {
            return None;
        }
        let Self { login, password, .. } = self;
        if let Some(token) = between(&page, "name=\"csrf_token\" value=\"", "\"") {
            // Canaille.
            let has = |name: &str| page.contains(&format!("name=\"{name}\""));
            let answer = match (has("login"), has("password")) {
                (true, _) => format!("login={login}"),
                (_, true) => format!("password={password}"),
                _ => "answer=accept".to_owned(),
            };
            return Some((action, format!("csrf_token={token}&{answer}")));
        }
        match between(&page, "name=\"prompt\" value=\"", "\"")? {
            "login" => Some((action, format!("prompt=login&login={login}&password={password}"))),
            "consent" => Some((action, "prompt=consent".to_owned())),
            _ => None,
        }
    }
}

fn redirect(url: &str, fetched: &Fetched) -> Option<String> {
    let is_redirect = (300..400).contains(&fetched.status);
    fetched.header("location").filter(|_| is_redirect).map(|location| resolve(url, location))
}

/// A reference such as a `Location`, from the page at `url`.
fn resolve(url: &str, reference: &str) -> String {
    if reference.contains("://") {
        return reference.to_owned();
    }
    assert!(reference.starts_with('/'), "{reference:?} at {url}");
    let origin_end = url.find("://").map_or(0, |at| at + 3);
    let path = url[origin_end..].find('/').map_or(url.len(), |at| origin_end + at);
    format!("{}{reference}", &url[..path])
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}
