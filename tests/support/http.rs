//! A plain HTTP/1.1 client for tests: what is sent is exactly what the test
//! says, and what comes back is shown as it came.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use serde_json::Value;

use super::stream::StreamReader;
use super::wire::{Framing, Wire, framing};

/// How long [`raw`] reads.
const RAW_LIMIT: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in small letters, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body, chunked coding undone.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of this header.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|problem| panic!("status {}, not JSON ({problem}): {}", self.status, self.text()))
    }
}

/// The first value of this header in a list of them.
pub(super) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// One connection to a port of 127.0.0.1, kept open between requests. Dropping
/// it closes it.
pub struct Client {
    wire: Wire,
    port: u16,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// When nothing listens there.
    #[track_caller]
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap_or_else(|problem| panic!("no connection to 127.0.0.1:{port}: {problem}"))
    }

    /// Connects, or says why not.
    pub fn try_connect(port: u16) -> io::Result<Self> {
        Ok(Self { wire: Wire::connect(port)?, port })
    }

    /// Posts a chat call and reads its answer, streamed or not, to the end.
    #[track_caller]
    pub fn post_chat(&mut self, body: impl AsRef<[u8]>) -> Response {
        self.request("POST", "/v1/chat/completions", &JSON, body)
    }

    /// Sends a request and reads the answer to the end.
    ///
    /// # Panics
    /// When the answer breaks off, is not HTTP, or does not come.
    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response {
        self.try_request(method, path, headers, body).unwrap_or_else(|problem| panic!("no whole answer to {method} {path}: {problem}"))
    }

    /// As [`Client::request`], with a broken answer as an error.
    pub fn try_request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> io::Result<Response> {
        self.send(method, path, headers, body);
        self.read_response(method)
    }

    /// Sends a request and reads nothing. `Host` and `Content-Length` are added
    /// where the headers do not name them; a body framed by a `transfer-encoding`
    /// header is sent as it is.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let has = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !has("host") {
            head.push_str(&format!("host: 127.0.0.1:{}\r\n", self.port));
        }
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        if !has("content-length") && !has("transfer-encoding") && (method != "GET" || !body.is_empty()) {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.wire.write(&[head.as_bytes(), body].concat());
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.write(bytes.as_ref());
    }

    /// Reads the answer to what was sent; the method says whether it has a body.
    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        let head = self.wire.head()?;
        let mut framing = framing(method, &head);
        let mut body = Vec::new();
        while let Some(part) = self.wire.body(&mut framing)? {
            body.extend(part);
        }
        Ok(Response { status: head.0, headers: head.1, body })
    }

    /// Posts a chat call and returns as soon as the status line and headers are
    /// there; the body must say `"stream": true` itself.
    #[track_caller]
    pub fn open_stream(mut self, body: impl AsRef<[u8]>) -> StreamReader {
        self.send("POST", "/v1/chat/completions", &JSON, body);
        self.read_stream()
    }

    /// Waits for the head of the answer to a sent POST and gives its body to be
    /// read bit by bit.
    #[track_caller]
    pub fn read_stream(mut self) -> StreamReader {
        let head = self.wire.head().unwrap_or_else(|problem| panic!("no answer: {problem}"));
        let framing: Framing = framing("POST", &head);
        StreamReader::new(self, head, framing)
    }

    /// Closes the sending half (FIN); answers can still be read.
    pub fn shutdown_write(&self) {
        let _ = self.wire.stream().shutdown(Shutdown::Write);
    }

    /// Whether the peer closes the connection within `bound`. Bytes that come
    /// first are dropped.
    pub fn closes_within(self, bound: Duration) -> bool {
        self.wire.until_close(bound).1
    }

    /// The framing layer, for a reader of streams.
    pub(super) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

/// What every body for routor is.
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// One chat call on a connection of its own.
#[track_caller]
pub fn post_chat(port: u16, body: impl AsRef<[u8]>) -> Response {
    Client::connect(port).post_chat(body)
}

/// One GET on a connection of its own.
#[track_caller]
pub fn get(port: u16, path: &str) -> Response {
    Client::connect(port).request("GET", path, &[], "")
}

/// One POST on a connection of its own; the body is JSON unless the headers say
/// another `content-type`. [`Client::request`] adds none.
#[track_caller]
pub fn post(port: u16, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response {
    let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let all = if typed { headers.to_vec() } else { [&JSON, headers].concat() };
    Client::connect(port).request("POST", path, &all, body)
}

/// Sends these bytes and reads until the peer closes.
///
/// # Panics
/// When it is still open after 10 s: a request of this kind needs
/// `connection: close`.
#[track_caller]
pub fn raw(port: u16, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut client = Client::connect(port);
    client.send_raw(bytes);
    let (seen, closed) = client.wire.until_close(RAW_LIMIT);
    assert!(closed, "the connection was still open after {RAW_LIMIT:?}; it had sent: {}", String::from_utf8_lossy(&seen));
    seen
}
