//! The framing of what a client sends, followed from head to head before the HTTP
//! library's reading of it is trusted. The library forgives what two programs can
//! read in two ways; whatever stands in front of routor may have read it the other
//! way. A request may begin anywhere: behind another in the same packet, too.

use std::ops::Range;

use memchr::memchr;

/// A request that can be read in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A line ends with a line feed alone.
    BareLineFeed,
    /// `Content-Length` and `Transfer-Encoding` at once.
    TwoLengths,
    /// A transfer coding other than `chunked`.
    Coding,
    /// A length that is no number, or more than one.
    Length,
    /// The body before it is malformed, so that where this one begins is not certain.
    Before,
    /// A line that is longer than any that is taken.
    LongLine,
}

impl Fault {
    /// What is wrong, for a reader.
    pub fn text(self) -> &'static str {
        match self {
            Fault::BareLineFeed => "a line of the request's head ends with a line feed alone; it must end with CR and LF",
            Fault::TwoLengths => "the request has both Content-Length and Transfer-Encoding; send one of them",
            Fault::Coding => "the only Transfer-Encoding that is taken is chunked",
            Fault::Length => "the request's Content-Length is not one whole number",
            Fault::Before => "where this request begins is not certain: the chunked body before it is malformed",
            Fault::LongLine => "a line of the request's head is too long",
        }
    }
}

/// The line that is expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Of a head. It has begun when a line that is not empty was there.
    Head { begun: bool },
    /// The size of a chunk.
    Size,
    /// The empty one behind a chunk.
    ChunkEnd,
    /// Of what follows the last chunk.
    Trailer,
    /// None: nothing is known any more.
    Lost,
}

/// What a head has said of its body so far.
#[derive(Debug, Clone, Default)]
struct Lengths {
    length: Option<u64>,
    chunked: bool,
    /// Where the length stands in what has arrived last, when it stands there once.
    digits: Option<Range<usize>>,
    /// All of the head has arrived together so far, and nothing in it says that
    /// more hangs on its body than its bytes.
    ordinary: bool,
}

/// Follows what one connection's client sends.
#[derive(Debug)]
pub(super) struct Framing {
    /// Bytes of a body that come before the line.
    skip: u64,
    line: Line,
    lengths: Lengths,
    /// The line's first part, when it did not arrive in one.
    part: Vec<u8>,
    /// Heads that were whole.
    heads: u64,
    /// The length of the last one's body and where that stands, while it may be changed.
    long: Option<(u64, Range<usize>)>,
}

/// A rest of a body that is not given to the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    /// The number of its request, counted from 1.
    pub of: u64,
    /// How long it is.
    pub bytes: u64,
}

/// A rest is kept from the library when it is longer.
pub(super) const LONG: u64 = 16 << 10;

/// A line that is longer is not followed; the library refuses it, too.
const MOST: usize = 256 << 10;

impl Framing {
    /// At the beginning of a connection.
    pub fn new() -> Self {
        Self { skip: 0, line: Line::Head { begun: false }, lengths: Lengths::default(), part: Vec::new(), heads: 0, long: None }
    }

    /// Follows what has arrived. The first fault is told, with the number of the
    /// request that must not be answered for it, counted from 1; nothing behind it is looked at.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Option<(u64, Fault)> {
        let all = bytes.len();
        (self.long, self.lengths.ordinary) = (None, false);
        while self.line != Line::Lost {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            self.skip -= skipped as u64;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some(end) = memchr(b'\n', bytes) else {
                self.part.extend_from_slice(bytes);
                return if self.part.len() > MOST { self.lost(Fault::LongLine) } else { None };
            };
            let at = all - bytes.len();
            let (line, behind) = bytes.split_at(end);
            bytes = behind.get(1..).unwrap_or_default();
            let taken = if self.part.is_empty() {
                self.take(line, at)
            } else {
                let mut whole = std::mem::take(&mut self.part);
                whole.extend_from_slice(line);
                self.lengths.ordinary = false;
                self.take(&whole, at)
            };
            if let Err(fault) = taken {
                return self.lost(fault);
            }
        }
        None
    }

    /// When the body of the last request goes on for long behind what has just been
    /// [fed](Self::feed), its head is changed there to say that it does not: the
    /// library then has the request whole, and the rest is for who reads it. The
    /// next thing to be fed is what comes behind that.
    pub fn divert(&mut self, bytes: &mut [u8]) -> Option<Rest> {
        let (length, digits) = self.long.take().filter(|_| self.skip > LONG)?;
        let mut came = length - self.skip;
        for digit in bytes.get_mut(digits)?.iter_mut().rev() {
            *digit = b'0' + (came % 10) as u8;
            came /= 10;
        }
        Some(Rest { of: self.heads, bytes: std::mem::take(&mut self.skip) })
    }

    fn lost(&mut self, fault: Fault) -> Option<(u64, Fault)> {
        (self.line, self.part) = (Line::Lost, Vec::new());
        Some((self.heads + 1, fault))
    }

    /// Takes a line, without its line feed, and where it begins in what has arrived.
    fn take(&mut self, line: &[u8], at: usize) -> Result<(), Fault> {
        let line = line.strip_suffix(b"\r");
        let in_head = matches!(self.line, Line::Head { .. });
        let line = line.ok_or(if in_head { Fault::BareLineFeed } else { Fault::Before })?;
        self.line = match self.line {
            // Empty lines before the first one are allowed.
            Line::Head { begun } if line.is_empty() => {
                if begun {
                    self.end_of_head()
                } else {
                    self.line
                }
            }
            Line::Head { begun } => {
                if !begun {
                    self.lengths.ordinary = line.ends_with(b" HTTP/1.1");
                }
                self.lengths.look(line, at)?;
                Line::Head { begun: true }
            }
            Line::Size => match chunk_size(line).ok_or(Fault::Before)? {
                0 => Line::Trailer,
                size => {
                    self.skip = size;
                    Line::ChunkEnd
                }
            },
            Line::ChunkEnd if line.is_empty() => Line::Size,
            Line::ChunkEnd => return Err(Fault::Before),
            Line::Trailer if line.is_empty() => Line::Head { begun: false },
            Line::Trailer | Line::Lost => self.line,
        };
        Ok(())
    }

    fn end_of_head(&mut self) -> Line {
        self.heads += 1;
        let Lengths { length, chunked, digits, ordinary } = std::mem::take(&mut self.lengths);
        if chunked {
            return Line::Size;
        }
        self.skip = length.unwrap_or(0);
        self.long = length.zip(digits).filter(|_| ordinary);
        Line::Head { begun: false }
    }
}

impl Lengths {
    /// Looks at a line of a head, which begins at this place.
    fn look(&mut self, line: &[u8], at: usize) -> Result<(), Fault> {
        match line.first().map(u8::to_ascii_lowercase) {
            Some(b'c') => {
                if let Some(value) = value(line, b"content-length:") {
                    let digits = value.trim_ascii();
                    let length = number(digits, 10).ok_or(Fault::Length)?;
                    let start = at + line.len() - value.trim_ascii_start().len();
                    self.digits = Some(start..start + digits.len()).filter(|_| self.length.is_none());
                    if self.length.replace(length).is_some_and(|before| before != length) {
                        return Err(Fault::Length);
                    }
                } else if let Some(value) = value(line, b"connection:") {
                    // What closes behind its answer is left to the library.
                    self.ordinary &= value.trim_ascii().eq_ignore_ascii_case(b"keep-alive");
                }
            }
            Some(b'e') => self.ordinary &= value(line, b"expect:").is_none(),
            Some(b't') => {
                if let Some(value) = value(line, b"transfer-encoding:") {
                    if self.chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                        return Err(Fault::Coding);
                    }
                    self.chunked = true;
                }
            }
            _ => {}
        }
        if self.chunked && self.length.is_some() { Err(Fault::TwoLengths) } else { Ok(()) }
    }
}

/// A header line's value, when it has this name (in lower case, with its colon).
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (own, value) = line.split_at_checked(name.len())?;
    own.eq_ignore_ascii_case(name).then_some(value)
}

/// The size that a chunk's first line says; what stands behind it is not looked at.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, behind) = line.split_at_checked(digits)?;
    matches!(behind.first(), None | Some(b' ' | b'\t' | b';')).then(|| number(digits, 16)).flatten()
}

/// A number of digits alone: no sign, not empty.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_oneof};

    use super::*;

    fn feed(sent: &[u8], parts: usize) -> Option<(u64, Fault)> {
        let mut framing = Framing::new();
        let size = sent.len().div_ceil(parts).max(1);
        sent.chunks(size).find_map(|part| framing.feed(part))
    }

    const START: &str = "POST / HTTP/1.1\r\nHost: x\r\n";
    const SPLITS: [usize; 6] = [1, 2, 3, 7, 40, usize::MAX >> 1];

    #[test]
    fn what_can_be_read_in_two_ways_is_found_at_any_split() {
        for (rest, fault) in [
            ("Content-Length: 2\r\n\r\n{}", None),
            ("Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", None),
            ("Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", None),
            ("TRANSFER-ENCODING:  Chunked \r\n\r\n", None),
            ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", Some(Fault::TwoLengths)),
            ("Transfer-Encoding: chunked\r\ncontent-length: 2\r\n\r\n", Some(Fault::TwoLengths)),
            ("Transfer-Encoding: xchunked, chunked\r\n\r\n", Some(Fault::Coding)),
            ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", Some(Fault::Coding)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Some(Fault::Coding)),
            ("Content-Length: 2\n\r\n", Some(Fault::BareLineFeed)),
            ("Content-Length: 2\r\nX: y\n\n", Some(Fault::BareLineFeed)),
            ("Content-Length: 2\r\nContent-Length: 3\r\n\r\n", Some(Fault::Length)),
            ("Content-Length: +2\r\n\r\n", Some(Fault::Length)),
            ("Content-Length: 0x2\r\n\r\n", Some(Fault::Length)),
            ("Content-Length:\r\n\r\n", Some(Fault::Length)),
            ("Content-Length: 18446744073709551616\r\n\r\n", Some(Fault::Length)),
            ("Content-Length: 33\r\n\r\nTransfer-Encoding: gzip\r\n\r\n\n\n\n\n\n\n", None),
            ("Trailer: x\r\nCookie: Content-Length: 1\r\n\r\n", None),
        ] {
            let head = format!("{START}{rest}");
            for parts in SPLITS {
                assert_eq!(feed(head.as_bytes(), parts), fault.map(|fault| (1, fault)), "{head:?} in {parts}");
            }
        }
        assert_eq!(feed(format!("\r\n\r\n{START}Content-Length: 1\r\n\r\n").as_bytes(), 1), None);
        assert_eq!(feed(START.as_bytes(), 1), None, "a head that is not whole yet");
        let long = [START.as_bytes(), &vec![b'x'; MOST + 1]].concat();
        assert_eq!(feed(&long, 9), Some((1, Fault::LongLine)));
    }

    #[test]
    fn a_request_behind_a_malformed_body_is_not_answered() {
        for body in ["2\n{}\r\n", "2x\r\n{}", "\r\n", "g\r\n", "2\r\n{}}\r\n", "2\r\n{}\n", "0\r\nx: y\n\r\n", "10000000000000000\r\n"] {
            let sent = format!("{START}Transfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n");
            for parts in SPLITS {
                assert_eq!(feed(sent.as_bytes(), parts), Some((2, Fault::Before)), "{body:?} in {parts}");
            }
        }
    }

    #[test]
    fn a_long_body_is_diverted_when_its_head_is_ordinary() {
        let long = LONG + 1003;
        let with = |fields: &str| format!("{START}{fields}\r\n\r\n{{..}}");
        for (sent, diverts) in [
            (with(&format!("Content-Length: {long}")), true),
            (with(&format!("CONTENT-LENGTH:\t{long} \r\nX: y")), true),
            (with(&format!("Connection: Keep-Alive\r\nContent-Length:{long}")), true),
            (format!("{START}Content-Length: 3\r\n\r\n{{.}}{}", with(&format!("Content-Length: {long}"))), true),
            (with(&format!("Content-Length: {}", LONG + 4)), false),
            (with(&format!("Content-Length: {long}\r\nContent-Length: {long}")), false),
            (with(&format!("Content-Length: {long}\r\nExpect: 100-continue")), false),
            (with(&format!("Content-Length: {long}\r\nConnection: close")), false),
            (with(&format!("Connection: keep-alive, upgrade\r\nContent-Length: {long}")), false),
            (with(&format!("Content-Length: {long}")).replace("1.1", "1.0"), false),
            (with("Transfer-Encoding: chunked").replace("{..}", "ffffff\r\n{}"), false),
        ] {
            let (mut framing, mut bytes) = (Framing::new(), sent.clone().into_bytes());
            assert_eq!(framing.feed(&bytes), None, "{sent:?}");
            let rest = framing.divert(&mut bytes);
            assert_eq!(rest.map(|rest| rest.bytes), diverts.then_some(long - 4), "{sent:?}");
            let changed = if diverts { sent.replace(&long.to_string(), "00004") } else { sent.clone() };
            assert_eq!(String::from_utf8(bytes).unwrap(), changed);
            assert_eq!(framing.divert(&mut changed.into_bytes()), None, "once");
            if let Some(rest) = rest {
                assert_eq!(rest.of, sent.matches("POST").count() as u64);
                assert_eq!(
                    framing.feed(with("Content-Length: 1\r\nTransfer-Encoding: chunked").as_bytes()),
                    Some((rest.of + 1, Fault::TwoLengths))
                );
            }
        }
    }

    #[test]
    fn a_head_whose_lines_do_not_come_together_is_left_as_it_is() {
        let sent = format!("{START}Content-Length: {}\r\nX: y\r\n\r\n", LONG * 2);
        let first_line = sent.find('\n').unwrap();
        for at in 1..sent.len() {
            let (mut framing, mut first) = (Framing::new(), sent.clone().into_bytes());
            let mut second = first.split_off(at);
            assert_eq!((framing.feed(&first), framing.divert(&mut first)), (None, None), "cut at {at}");
            assert_eq!(framing.feed(&second), None, "cut at {at}");
            let rest = framing.divert(&mut second).map(|rest| rest.bytes);
            assert_eq!(rest, (at <= first_line).then_some(LONG * 2), "cut at {at}");
            let changed = sent.replace("32768", if rest.is_some() { "00000" } else { "32768" });
            assert_eq!(String::from_utf8([first, second].concat()).unwrap(), changed, "cut at {at}");
        }
    }

    /// A request as a client may send it.
    fn request() -> impl Strategy<Value = Vec<u8>> {
        let body = || vec(prop_oneof![any::<u8>(), proptest::sample::select(b"\r\n".as_slice())], 0..50);
        let plain = |body: Vec<u8>| [format!("{START}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
        let chunked = |(chunks, ext, trailer): (Vec<Vec<u8>>, &str, &str)| {
            let mut sent = format!("{START}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                sent.extend_from_slice(&[format!("{:x}{ext}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            }
            [sent, format!("0{ext}\r\n{trailer}\r\n").into_bytes()].concat()
        };
        let ext = proptest::sample::select(vec!["", " ", ";a=b", "\t; Content-Length: 3"]);
        let trailer = proptest::sample::select(vec!["", "x: y\r\n", "Content-Length: 7\r\nTransfer-Encoding: gzip\r\n"]);
        prop_oneof![
            body().prop_map(plain),
            (vec(body(), 0..4), ext, trailer).prop_map(chunked),
            proptest::strategy::Just(b"\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ]
    }

    proptest::proptest! {
        #[test]
        fn each_request_is_found_behind_the_others(requests in vec(request(), 0..5), parts in 1..200_usize) {
            let mut sent = requests.concat();
            proptest::prop_assert_eq!(feed(&sent, parts), None);
            sent.extend_from_slice(START.as_bytes());
            sent.extend_from_slice(b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
            proptest::prop_assert_eq!(feed(&sent, parts), Some((requests.len() as u64 + 1, Fault::TwoLengths)));
        }

        #[test]
        fn how_it_arrives_changes_nothing(sent in "((GET|x) / HTTP/1.1|Content-Length: [0-9]{1,2}|Transfer-Encoding: chunked|[0-9a-f]{1,2}|[a-z;]{0,3}|\r|\n|\r\n|\r\n|\r\n){0,20}", parts in 1..200_usize) {
            proptest::prop_assert_eq!(feed(sent.as_bytes(), parts), feed(sent.as_bytes(), 1));
        }
    }
}
