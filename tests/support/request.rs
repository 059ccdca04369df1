//! Reads one request from a socket and leaves its last byte there, so that the
//! provider can still choose to reset the connection: a socket that is closed
//! with unread bytes sends RST. Whoever goes on takes that byte with [`release`].

use std::io::{self, Read};
use std::net::TcpStream;

/// The head of a request.
pub(super) struct Head {
    /// `GET`, `POST`, …
    pub method: String,
    /// The target as it came, query included.
    pub path: String,
    /// Names in small letters, in the order they came.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first value of this header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }

    fn length(&self) -> usize {
        self.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let pairs = lines.filter_map(|line| line.split_once(':'));
        Self {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            headers: pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect(),
        }
    }
}

/// The next request's head, waited for without bound; none when the peer or the
/// provider closes the connection. The last byte of the head stays in the socket.
pub(super) fn read_head(stream: &TcpStream) -> Option<Head> {
    let mut head = Vec::new();
    let mut window = [0; 4096];
    loop {
        let before = head.len();
        let seen = stream.peek(&mut window).ok().filter(|seen| *seen > 0)?;
        head.extend_from_slice(&window[..seen]);
        let from = before.saturating_sub(3);
        let end = head[from..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| from + at + 4);
        let taken = end.map_or(seen, |end| end - before - 1);
        exactly(stream, taken).ok()?;
        if let Some(end) = end {
            return Some(Head::parse(&head[..end]));
        }
    }
}

/// The body; its last byte, or that of the head when there is no body, stays in
/// the socket and has arrived.
pub(super) fn read_body(stream: &TcpStream, head: &Head) -> io::Result<Vec<u8>> {
    if head.chunked() {
        release(stream)?;
        return read_chunks(stream);
    }
    let Some(all_but_one) = head.length().checked_sub(1) else { return Ok(Vec::new()) };
    release(stream)?;
    let mut body = exactly(stream, all_but_one)?;
    body.push(last_byte(stream)?);
    Ok(body)
}

fn read_chunks(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let size = line.split(';').next().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        match size.ok_or(io::ErrorKind::InvalidData)? {
            0 => break,
            size => body.extend(exactly(stream, size)?),
        }
        exactly(stream, 2)?;
    }
    // Trailers, up to the empty line, whose end stays unread.
    while exactly(stream, 1)? != b"\r" {
        read_line(stream)?;
    }
    last_byte(stream)?;
    Ok(body)
}

fn read_line(stream: &TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.extend(exactly(stream, 1)?);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Waits for the byte that comes next and leaves it in the socket.
pub(super) fn last_byte(stream: &TcpStream) -> io::Result<u8> {
    let mut byte = [0];
    match stream.peek(&mut byte)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(byte[0]),
    }
}

/// Takes the byte that was left in the socket.
pub(super) fn release(stream: &TcpStream) -> io::Result<()> {
    exactly(stream, 1).map(drop)
}

fn exactly(mut stream: &TcpStream, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
