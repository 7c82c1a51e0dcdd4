//! WebDriver's JSON over HTTP (W3C WebDriver, section 6).

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use serde_json::{Value, json};

use crate::{http::Response, wait::DEADLINE};

/// The key under which an element's reference stands.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A session of a driver on loopback.
#[derive(Debug)]
pub(super) struct Session {
    port: u16,
    path: String,
}

impl Session {
    /// Starts one.
    pub(super) fn new(port: u16, capabilities: &Value) -> Self {
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let started = request(port, "POST", "/session", Some(&body));
        let started = started.unwrap_or_else(|error| panic!("no session: {error}"));
        let id = started["sessionId"].as_str().expect("a session id");
        Self { port, path: format!("/session/{id}") }
    }

    /// The value of a GET.
    pub(super) fn get(&self, path: &str) -> Value {
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// The value of a GET, or WebDriver's error with its message.
    pub(super) fn try_get(&self, path: &str) -> Result<Value, String> {
        self.call("GET", path, None)
    }

    /// The value of a POST.
    pub(super) fn post(&self, path: &str, body: &Value) -> Value {
        self.try_post(path, body).unwrap_or_else(|error| panic!("POST {path} {body}: {error}"))
    }

    /// The value of a POST, or WebDriver's error with its message.
    pub(super) fn try_post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.call("POST", path, Some(body))
    }

    /// The value of a DELETE.
    pub(super) fn delete(&self, path: &str) -> Result<Value, String> {
        self.call("DELETE", path, None)
    }

    /// The reference of the first element that a CSS selector finds now.
    pub(super) fn element(&self, selector: &str) -> Option<String> {
        let body = json!({ "using": "css selector", "value": selector });
        let found = self.try_post("/element", &body).ok()?;
        found[ELEMENT].as_str().map(str::to_owned)
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        request(self.port, method, &format!("{}{path}", self.path), body)
    }
}

/// The reference of an element, as an argument of scripts and commands.
pub(super) fn element_argument(reference: &str) -> Value {
    json!({ ELEMENT: reference })
}

/// One request on a connection of its own: the value of its answer, or the error.
fn request(port: u16, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the driver listens");
    stream.set_read_timeout(Some(2 * DEADLINE)).expect("a socket takes a timeout");
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n");
    let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    stream.write_all(format!("{head}{fields}\r\n{body}").as_bytes()).expect("send to the driver");
    let response = read(&mut stream);
    let mut answer: Value = serde_json::from_slice(&response.body).expect("the driver sends JSON");
    let value = answer["value"].take();
    match response.status {
        200 => Ok(value),
        _ => Err(format!("{}: {}", value["error"], value["message"])),
    }
}

/// Reads as much as the head says, for a driver may keep the connection.
fn read(stream: &mut TcpStream) -> Response {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        if let Some(response) = Response::parse(&bytes) {
            let length = response.header("content-length").and_then(|text| text.parse().ok());
            if length.is_some_and(|length: usize| response.body.len() >= length) {
                return response;
            }
        }
        let read = stream.read(&mut piece).expect("the driver answers");
        assert!(read > 0, "the driver ended its answer early");
        bytes.extend_from_slice(&piece[..read]);
    }
}
