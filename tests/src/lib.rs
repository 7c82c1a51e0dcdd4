//! What the integration tests stand on: the proxy as a child process, real peers (curl, OpenSSL,
//! nginx, nghttp2, Chromium, kubectl, Python's websockets and gRPC, oidc-provider, Canaille, Glewlwyd) and peers of
//! our own, [`raw`], [`backend`] and [`bad_provider`], for what real ones never do.
//!
//! Nothing here sleeps to let something happen: it waits for the event, with a deadline that only
//! a fault reaches. Every test has its own ports and its own directory, so tests run in parallel.

pub mod backend;
pub mod bad_provider;
pub mod ca;
pub mod canaille;
pub mod chains;
pub mod chromium;
pub mod connecting_clients;
pub mod container;
pub mod curl;
pub mod curl_browser;
pub mod false_clock;
pub mod frame_script;
pub mod frames;
pub mod glewlwyd;
pub mod grpc;
pub mod haproxy;
pub mod http;
pub mod http2;
pub mod http2_backend;
pub mod installed;
pub mod kubectl;
pub mod load;
pub mod metrics;
pub mod netns;
pub mod nginx;
pub mod notify_socket;
pub mod oidc_provider;
pub mod openssl;
pub mod pattern;
pub mod pki;
pub mod ports;
pub mod process;
pub mod program;
pub mod proxy;
pub mod raw;
pub mod sign_in;
pub mod sign_in_rig;
pub mod steering;
pub mod tempdir;
pub mod tools;
pub mod visitor;
pub mod wait;
pub mod webdriver;
pub mod wire;
pub mod ws;

pub use backend::Backend;
pub use bad_provider::BadProvider;
pub use ca::Ca;
pub use canaille::Canaille;
pub use chromium::Chromium;
pub use connecting_clients::{ConnectingClients, LostConnection, StopAtEnd};
pub use container::Container;
pub use curl::Curl;
pub use curl_browser::CurlBrowser;
pub use false_clock::FalseClock;
pub use glewlwyd::Glewlwyd;
pub use http2::Http2;
pub use http2_backend::Http2Backend;
pub use load::Load;
pub use notify_socket::NotifySocket;
pub use oidc_provider::{AssertionVerifier, OidcProvider};
pub use pki::{Pair, Pki, pki};
pub use program::Program;
pub use proxy::Proxy;
pub use raw::Raw;
pub use sign_in::SignInWorld;
pub use sign_in_rig::SignInRig;
pub use visitor::Visitor;
pub use webdriver::{Browser, BrowserOptions};
