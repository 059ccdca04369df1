//! Reads a streamed answer bit by bit, as it arrives.

use super::http::{Client, Response, header};
use super::wire::{Framing, ReplyHead};

/// The body of an answer that is being read. Dropping it closes the connection,
/// as a client that leaves does.
pub struct StreamReader {
    /// The status code.
    pub status: u16,
    /// Names in small letters, in the order they came.
    pub headers: Vec<(String, String)>,
    client: Client,
    framing: Framing,
    waiting: Vec<u8>,
    broken: Option<String>,
}

impl StreamReader {
    /// For a client that has read the head of an answer.
    pub(super) fn new(client: Client, (status, headers): ReplyHead, framing: Framing) -> Self {
        Self { status, headers, client, framing, waiting: Vec::new(), broken: None }
    }

    /// The first value of this header.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// What has arrived and was not yet given, else the next bytes that arrive;
    /// none at the end, proper or not.
    pub fn next_bytes(&mut self) -> Option<Vec<u8>> {
        if self.waiting.is_empty() {
            self.pull();
        }
        Some(std::mem::take(&mut self.waiting)).filter(|bytes| !bytes.is_empty())
    }

    /// The next whole event: its lines without the blank line that ends it. None
    /// at the end; an unfinished event is then what [`Self::read_to_end`] gives.
    pub fn next_event(&mut self) -> Option<String> {
        let mut look = true;
        loop {
            if look && let Some((text, after)) = split_event(&self.waiting) {
                let event: Vec<u8> = self.waiting.drain(..after).take(text).collect();
                if event.is_empty() {
                    continue;
                }
                return Some(String::from_utf8_lossy(&event).into_owned());
            }
            let before = self.waiting.len();
            if !self.pull() {
                return None;
            }
            // A long event is not searched anew for every part that comes.
            look = self.waiting[before..].iter().any(|byte| matches!(byte, b'\n' | b'\r'));
        }
    }

    /// All events until the end.
    pub fn events(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next_event()).collect()
    }

    /// Everything not yet given, until the end.
    pub fn read_to_end(&mut self) -> String {
        while self.pull() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.waiting)).into_owned()
    }

    /// Whether the body has come to its proper end: the last chunk or the full
    /// length. False while there may be more, and after a break. A body that only
    /// the close ends is always proper.
    pub fn ended_cleanly(&self) -> bool {
        matches!(self.framing, Framing::Over) && self.broken.is_none()
    }

    /// How the body broke off, when it did.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Closes the sending half (FIN) and goes on reading.
    pub fn shutdown_write(&self) {
        self.client.shutdown_write();
    }

    /// The connection, for another request.
    ///
    /// # Panics
    /// When the body has not ended properly.
    #[track_caller]
    pub fn into_client(self) -> Client {
        assert!(self.ended_cleanly(), "the body is not at its end: {:?}", self.broken);
        self.client
    }

    /// Reads to the end and gives it as a whole answer.
    pub fn into_response(mut self) -> Response {
        let body = self.read_to_end().into_bytes();
        Response { status: self.status, headers: self.headers, body }
    }

    fn pull(&mut self) -> bool {
        if self.broken.is_some() {
            return false;
        }
        match self.client.wire().body(&mut self.framing) {
            Ok(Some(part)) => {
                self.waiting.extend(part);
                true
            }
            Ok(None) => false,
            Err(problem) => {
                self.broken = Some(problem.to_string());
                false
            }
        }
    }
}

/// Where the first event's text ends and where the next one begins. Lines end
/// with LF, CRLF or CR.
fn split_event(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut line, mut text, mut bare) = (0, 0, false);
    loop {
        let end = line + bytes[line..].iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
        let width = match (bytes[end], bytes.get(end + 1)) {
            (b'\r', Some(b'\n')) => 2,
            // Its LF may still come, unless this stream ends its lines with CR.
            (b'\r', None) if !bare => return None,
            _ => 1,
        };
        if end == line {
            return Some((text, end + width));
        }
        bare = bytes[end] == b'\r' && width == 1;
        (line, text) = (end + width, end);
    }
}

/// The data of an event's text: its `data:` lines, joined.
pub fn event_data(event: &str) -> String {
    let lines = event.split(['\n', '\r']).filter_map(|line| line.strip_prefix("data:"));
    lines.map(|data| data.strip_prefix(' ').unwrap_or(data)).collect::<Vec<_>>().join("\n")
}

/// Posts a chat call on a connection of its own and returns at the head of its
/// answer; the body must say `"stream": true` itself.
#[track_caller]
pub fn open_stream(port: u16, body: impl AsRef<[u8]>) -> StreamReader {
    Client::connect(port).open_stream(body)
}
