//! The shape of a request's head, looked at before the HTTP library's reading
//! of it is trusted. The library forgives what two programs can read in two
//! ways; whatever stands in front of routor may have read it the other way.

use memchr::memchr;

/// A head that can be read in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A line ends with a line feed alone.
    BareLineFeed,
    /// `Content-Length` and `Transfer-Encoding` at once.
    TwoLengths,
    /// A transfer coding other than `chunked`.
    Coding,
}

impl Fault {
    /// What is wrong, for a reader.
    pub fn text(self) -> &'static str {
        match self {
            Fault::BareLineFeed => "a line of the request's head ends with a line feed alone; it must end with CR and LF",
            Fault::TwoLengths => "the request has both Content-Length and Transfer-Encoding; send one of them",
            Fault::Coding => "the only Transfer-Encoding that is taken is chunked",
        }
    }
}

/// Looks at one head as it arrives.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// The head's first parts, when it did not arrive in one.
    before: Vec<u8>,
    done: bool,
}

/// More than this of a head is not looked at; the library refuses it anyway.
const MOST: usize = 256 << 10;

impl HeadScan {
    /// Looks at what has arrived; a fault is told once, when the head is whole.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Fault> {
        if self.done {
            return None;
        }
        let looked = if self.before.is_empty() {
            look(bytes)
        } else {
            self.before.extend_from_slice(bytes);
            look(&self.before)
        };
        match looked {
            Looked::Unfinished if self.before.len() + bytes.len() > MOST => self.done = true,
            Looked::Unfinished if self.before.is_empty() => self.before.extend_from_slice(bytes),
            Looked::Unfinished => {}
            Looked::Whole(fault) => {
                *self = Self { before: Vec::new(), done: true };
                return fault;
            }
        }
        None
    }
}

enum Looked {
    Unfinished,
    Whole(Option<Fault>),
}

fn look(bytes: &[u8]) -> Looked {
    let (mut rest, mut fault, mut begun) = (bytes, None, false);
    let (mut length, mut coding) = (false, false);
    while let Some(end) = memchr(b'\n', rest) {
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r") else {
            fault = Some(Fault::BareLineFeed);
            if line.is_empty() && begun {
                return Looked::Whole(fault);
            }
            begun = true;
            continue;
        };
        if line.is_empty() {
            // Empty lines before the first one are allowed.
            if begun {
                let both = (length && coding).then_some(Fault::TwoLengths);
                return Looked::Whole(fault.or(both));
            }
            continue;
        }
        begun = true;
        match line.first().map(u8::to_ascii_lowercase) {
            Some(b'c') => length |= value(line, b"content-length:").is_some(),
            Some(b't') => {
                if let Some(value) = value(line, b"transfer-encoding:") {
                    if coding || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                        fault = fault.or(Some(Fault::Coding));
                    }
                    coding = true;
                }
            }
            _ => {}
        }
    }
    Looked::Unfinished
}

/// A header line's value, when it has this name (in lower case, with its colon).
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (own, value) = line.split_at_checked(name.len())?;
    own.eq_ignore_ascii_case(name).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(head: &str, parts: usize) -> Option<Fault> {
        let mut scan = HeadScan::default();
        let size = head.len().div_ceil(parts);
        head.as_bytes().chunks(size).find_map(|part| scan.feed(part))
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_found_at_any_split() {
        let start = "POST / HTTP/1.1\r\nHost: x\r\n";
        for (rest, fault) in [
            ("Content-Length: 2\r\n\r\n{}", None),
            ("Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", None),
            ("TRANSFER-ENCODING:  Chunked \r\n\r\n", None),
            ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", Some(Fault::TwoLengths)),
            ("Transfer-Encoding: chunked\r\ncontent-length: 2\r\n\r\n", Some(Fault::TwoLengths)),
            ("Transfer-Encoding: xchunked, chunked\r\n\r\n", Some(Fault::Coding)),
            ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", Some(Fault::Coding)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Some(Fault::Coding)),
            ("Content-Length: 2\n\r\n", Some(Fault::BareLineFeed)),
            ("Content-Length: 2\r\nX: y\n\n", Some(Fault::BareLineFeed)),
            ("Content-Length: 2\r\n\r\nTransfer-Encoding: gzip\r\n\r\n\n", None),
            ("Trailer: x\r\nCookie: Content-Length: 1\r\n\r\n", None),
        ] {
            let head = format!("{start}{rest}");
            for parts in [1, 2, 3, 7, head.len()] {
                assert_eq!(scan(&head, parts), fault, "{head:?} in {parts}");
            }
        }
        assert_eq!(scan(&format!("\r\n\r\n{start}Content-Length: 1\r\n\r\n"), 1), None);
        assert_eq!(scan(start, 1), None, "a head that is not whole yet");
    }
}
