//! The head of an answer: its status, its fields, and how its body ends.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Broken;

/// The most fields that an answer may have; the usual limit of servers.
const FIELDS: usize = 100;

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its fields in the order in which they came, without those that say how the body ends.
    pub headers: HeaderMap,
    /// How its body ends.
    pub framing: Framing,
    /// Whether the connection can be used again after the body.
    pub keeps: bool,
    /// How many bytes it took.
    pub len: usize,
}

/// How the end of a body is known (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its length in bytes.
    Length(u64),
    /// By a chunk of length 0.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// Reads a head from the beginning of `bytes`; `None` when it is not all there.
///
/// # Errors
/// What stands there is not the head of an HTTP/1 answer, or leaves in doubt where its body ends.
pub fn read_head(bytes: &Bytes) -> Result<Option<Head>, Broken> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut answer, bytes, &mut fields)?;
    let httparse::Status::Complete(len) = parsed else { return Ok(None) };
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Broken::Head(httparse::Error::Status))?;
    let mut headers = HeaderMap::with_capacity(answer.headers.len());
    let mut end = End::default();
    for field in answer.headers.iter() {
        if end.tells(field.name, field.value) {
            continue;
        }
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Broken::Head(httparse::Error::HeaderName))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        headers.append(name, value.map_err(|_| Broken::Head(httparse::Error::HeaderValue))?);
    }
    let is_newest = answer.version == Some(1);
    let framing = end.framing(status, is_newest)?;
    let keeps = end.keeps(is_newest) && framing != Framing::UntilClose && status != StatusCode::SWITCHING_PROTOCOLS;
    Ok(Some(Head { status, headers, framing, keeps, len }))
}

/// What the fields say of the end of the body, and of the connection.
#[derive(Default)]
struct End {
    length: Option<u64>,
    /// The length is told as something else than one number.
    doubtful: bool,
    /// The last transfer coding, and whether it is the one that is understood.
    chunked: Option<bool>,
    close: bool,
    keep_alive: bool,
}

impl End {
    /// Takes in what a field says; true when it is about nothing but this.
    fn tells(&mut self, name: &str, value: &[u8]) -> bool {
        let parts = || value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        if name.eq_ignore_ascii_case("content-length") {
            for told in parts() {
                let digits = std::str::from_utf8(told).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let told = digits.and_then(|text| text.parse().ok());
                let before = std::mem::replace(&mut self.length, told);
                self.doubtful |= told.is_none() || before.is_some() && before != told;
            }
            return true;
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            self.chunked = parts().next_back().map(|last| last.eq_ignore_ascii_case(b"chunked"));
            return true;
        }
        if name.eq_ignore_ascii_case("connection") {
            self.close |= parts().any(|option| option.eq_ignore_ascii_case(b"close"));
            self.keep_alive |= parts().any(|option| option.eq_ignore_ascii_case(b"keep-alive"));
        }
        // `Connection` is kept: it may name fields that are not to be passed on.
        false
    }

    fn framing(&self, status: StatusCode, is_newest: bool) -> Result<Framing, Broken> {
        if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(Framing::Length(0));
        }
        match self.chunked {
            Some(_) if !is_newest => Err(Broken::Length),
            Some(true) => Ok(Framing::Chunked),
            Some(false) => Ok(Framing::UntilClose),
            None if self.doubtful => Err(Broken::Length),
            None => Ok(self.length.map_or(Framing::UntilClose, Framing::Length)),
        }
    }

    /// Whether the connection stays open, as far as the fields say. Whoever
    /// takes the length for the end of a body in chunks takes its rest for the
    /// next answer, so with both it does not.
    fn keeps(&self, is_newest: bool) -> bool {
        let two_lengths = self.chunked.is_some() && (self.length.is_some() || self.doubtful);
        !self.close && (is_newest || self.keep_alive) && !two_lengths
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Framing, read_head};

    fn head(text: &'static str) -> Option<(u16, Framing, bool)> {
        let head = read_head(&Bytes::from_static(text.as_bytes())).ok()??;
        assert!(text[..head.len].ends_with("\r\n\r\n"), "{text:?}");
        Some((head.status.as_u16(), head.framing, head.keeps))
    }

    #[test]
    fn the_head_says_how_the_body_ends_and_whether_the_connection_stays() {
        use Framing::{Chunked, Length, UntilClose};
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", (200, Length(5), true)),
            ("HTTP/1.1 200 \r\ncontent-length:0\r\n\r\n", (200, Length(0), true)),
            ("HTTP/1.1 200\r\ncontent-length: 7, 7\r\ncontent-length: 7\r\n\r\n", (200, Length(7), true)),
            ("HTTP/1.1 200 OK\r\n\r\n", (200, UntilClose, false)),
            ("HTTP/1.1 204 No Content\r\n\r\n", (204, Length(0), true)),
            ("HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n", (204, Length(0), true)),
            ("HTTP/1.1 100 Continue\r\n\r\n", (100, Length(0), true)),
            ("HTTP/1.1 101 Up\r\n\r\n", (101, Length(0), false)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", (200, Chunked, true)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", (200, Chunked, true)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", (200, UntilClose, false)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n", (200, UntilClose, false)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n", (200, Chunked, false)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: x, Close\r\n\r\n", (200, Length(1), false)),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", (200, Length(1), false)),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n", (200, Length(1), true)),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: close, keep-alive\r\n\r\n", (200, Length(1), false)),
            ("HTTP/1.0 200 OK\r\n\r\n", (200, UntilClose, false)),
        ] {
            assert_eq!(head(text), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn a_head_that_leaves_the_end_in_doubt_is_an_error() {
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
        ] {
            assert!(read_head(&Bytes::from_static(text.as_bytes())).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_part_of_a_head_is_not_yet_a_head() {
        let text = Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
        for end in 0..text.len() {
            assert!(matches!(read_head(&text.slice(..end)), Ok(None)), "{end}");
        }
    }

    #[test]
    fn more_fields_than_allowed_are_an_error() {
        let many = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(read_head(&Bytes::from(many(super::FIELDS))).is_ok());
        assert!(read_head(&Bytes::from(many(super::FIELDS + 1))).is_err());
    }
}
