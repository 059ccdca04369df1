//! The framing of HTTP/1.1 on the client's side: heads and bodies, read piece
//! by piece as they arrive. Nothing waits longer than [`LIMIT`].

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// No single read or write of a test takes longer.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// A connection with what has been read ahead.
pub(super) struct Wire {
    stream: TcpStream,
    ahead: Vec<u8>,
}

/// Status and headers, names in small letters.
pub(super) type ReplyHead = (u16, Vec<(String, String)>);

/// How the rest of a body is found.
pub(super) enum Framing {
    /// So many bytes are still to come.
    Length(usize),
    /// A chunk's size line is next; the flag says that the end of a chunk's data
    /// comes before it.
    Chunked(bool),
    /// So many bytes of a chunk are still to come.
    InChunk(usize),
    /// Everything until the connection closes.
    UntilClose,
    /// The body is over.
    Over,
}

impl Wire {
    /// Connects to a port of 127.0.0.1.
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self { stream, ahead: Vec::new() })
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes all of it. A peer that closes early is not a failure here: what it
    /// answered is still to be read.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads once. A peer that says nothing at all for [`LIMIT`] fails the test.
    fn fill(&mut self) -> io::Result<usize> {
        let mut window = [0; 16 << 10];
        let count = match self.stream.read(&mut window) {
            Err(problem) if matches!(problem.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {LIMIT:?}; before that: {:?}", String::from_utf8_lossy(&self.ahead))
            }
            other => other?,
        };
        self.ahead.extend_from_slice(&window[..count]);
        Ok(count)
    }

    fn need(&mut self) -> io::Result<()> {
        if self.fill()? == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            self.need()?;
        }
    }

    /// The next head that is a final one: 100 and 103 are passed over.
    pub fn head(&mut self) -> io::Result<ReplyHead> {
        loop {
            let first = self.line()?;
            let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
            let status: u16 = status.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("not a status line: {first:?}")))?;
            let mut headers = Vec::new();
            loop {
                let line = self.line()?;
                let Some((name, value)) = line.split_once(':') else { break };
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if status >= 200 || status == 101 {
                return Ok((status, headers));
            }
        }
    }

    /// The next bytes of the body, as soon as there are some; none at its proper
    /// end, an error where it breaks off.
    pub fn body(&mut self, framing: &mut Framing) -> io::Result<Option<Vec<u8>>> {
        loop {
            match *framing {
                Framing::Over => return Ok(None),
                Framing::Length(0) => *framing = Framing::Over,
                Framing::Length(left) => {
                    let part = self.part(left)?;
                    *framing = Framing::Length(left - part.len());
                    return Ok(Some(part));
                }
                Framing::InChunk(left) => {
                    let part = self.part(left)?;
                    *framing = if part.len() == left { Framing::Chunked(true) } else { Framing::InChunk(left - part.len()) };
                    return Ok(Some(part));
                }
                Framing::Chunked(after_data) => *framing = self.next_chunk(after_data)?,
                Framing::UntilClose => {
                    if self.ahead.is_empty() && self.fill()? == 0 {
                        *framing = Framing::Over;
                        return Ok(None);
                    }
                    return Ok(Some(std::mem::take(&mut self.ahead)));
                }
            }
        }
    }

    fn next_chunk(&mut self, after_data: bool) -> io::Result<Framing> {
        if after_data {
            self.line()?;
        }
        let line = self.line()?;
        let size = line.split(';').next().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        match size.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("not a chunk size: {line:?}")))? {
            0 => {
                while !self.line()?.is_empty() {}
                Ok(Framing::Over)
            }
            size => Ok(Framing::InChunk(size)),
        }
    }

    fn part(&mut self, most: usize) -> io::Result<Vec<u8>> {
        if self.ahead.is_empty() {
            self.need()?;
        }
        let count = most.min(self.ahead.len());
        Ok(self.ahead.drain(..count).collect())
    }

    /// Everything until the connection ends, in whatever way, at most `bound`;
    /// and whether it did end.
    pub fn until_close(mut self, bound: Duration) -> (Vec<u8>, bool) {
        let until = std::time::Instant::now() + bound;
        let mut window = [0; 16 << 10];
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                return (self.ahead, false);
            }
            match self.stream.read(&mut window) {
                Ok(0) => return (self.ahead, true),
                Ok(count) => self.ahead.extend_from_slice(&window[..count]),
                Err(problem) if matches!(problem.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(_) => return (self.ahead, true),
            }
        }
    }
}

/// How the body of this answer is framed.
pub(super) fn framing(method: &str, (status, headers): &ReplyHead) -> Framing {
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Framing::Length(0);
    }
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Framing::Chunked(false);
    }
    match header("content-length").map(str::parse) {
        Some(Ok(length)) => Framing::Length(length),
        _ => Framing::UntilClose,
    }
}
