//! A program that signs its user in as `pomerium-cli` does (its package `authclient`): it listens on
//! loopback, asks the proxy for a URL, has a browser open it, and gets a token from that browser.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{
    CurlBrowser, Proxy,
    curl::{Curl, Fetched},
    sign_in::host_of,
};

/// A program that waits for its token.
#[derive(Debug)]
pub struct Program {
    listener: TcpListener,
}

impl Program {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    pub fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").expect("a free port") }
    }

    /// Where it listens.
    ///
    /// # Panics
    /// Never, for a socket that is bound.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    /// What the proxy answers to the request for a URL at this origin.
    pub fn ask(&self, proxy: &Proxy, origin: &str) -> Fetched {
        let address = self.address();
        let query = format!("pomerium_redirect_uri=http%3A%2F%2F127.0.0.1%3A{}", address.port());
        let url = format!("{origin}/.pomerium/api/v1/login?{query}");
        // Go's client has no Accept header.
        Curl::new(proxy.address(), &url)
            .header("User-Agent: Go-http-client/1.1")
            .header("Accept:")
            .ok()
    }

    /// The URL to open.
    ///
    /// # Panics
    /// When the proxy gives none.
    pub fn url(&self, proxy: &Proxy, origin: &str) -> String {
        let fetched = self.ask(proxy, origin);
        assert_eq!(fetched.status, 200, "{fetched:?}");
        assert_eq!(fetched.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(fetched.header("cache-control"), Some("no-store"));
        fetched.text()
    }

    /// Has the user of a browser sign the program in, and gives the token.
    ///
    /// # Panics
    /// When there is no token at the end.
    pub fn sign_in(&self, proxy: &Proxy, origin: &str, browser: &mut CurlBrowser) -> String {
        let url = self.url(proxy, origin);
        let page = browser.open(&url);
        assert_eq!(page.status, 200, "{page:?}\n{:#?}", browser.visited());
        assert!(page.text().contains("Sign the program in"), "{}", page.text());
        let allowed = agree(browser, &url);
        assert_eq!(allowed.status, 302, "{allowed:?}");
        let to = allowed.header("location").expect("the program's URL").to_owned();
        let sent = std::thread::scope(|scope| {
            let received = scope.spawn(|| self.receive());
            let shown = Curl::new(self.address(), &to).ok();
            assert_eq!((shown.status, &*shown.text()), (200, "login complete"));
            received.join().expect("a request of the browser")
        });
        let token = sent.split_once("pomerium_jwt=").expect("a token").1.to_owned();
        assert_eq!(host_of(origin), host_of(&url));
        token
    }

    /// Takes one request, and gives its target.
    ///
    /// # Panics
    /// When no connection comes.
    pub fn receive(&self) -> String {
        let (stream, _) = self.listener.accept().expect("a connection");
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n";
        let _ = write!(&stream, "{head}Connection: close\r\n\r\nlogin complete");
        first.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

/// Clicks the button of the page at this URL, as a browser without Fetch metadata does.
///
/// # Panics
/// When the transfer is not complete.
pub fn agree(browser: &mut CurlBrowser, url: &str) -> Fetched {
    let origin = format!("Origin: https://{}", host_of(url));
    browser.request(url).post("").header(&origin).ok()
}

/// A part of a token, which has the form of a JWT: 0 is its header, 1 its claims.
///
/// # Panics
/// When it is not JSON.
pub fn part_of(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).expect("three parts");
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}
