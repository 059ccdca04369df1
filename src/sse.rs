//! Bytes of a stream to whole events, wherever the network cut them. It knows
//! the framing of server-sent events and nothing of what they say.

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr2;

/// One event as it came, with the blank line that ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    raw: Bytes,
}

/// An event grew beyond the reader's bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {0} bytes")]
pub struct TooLarge(pub usize);

/// Collects bytes and hands out whole events. A line may end in LF, CR or CR
/// LF. A CR that is the last byte so far is not yet judged, so that the events
/// are the same for every split.
#[derive(Debug)]
pub struct Reader {
    buffer: BytesMut,
    /// Bytes of the buffer that are known to hold no end of an event.
    searched: usize,
    /// The start of the line that `searched` is in.
    line: usize,
    started: bool,
    limit: usize,
}

impl Reader {
    /// A reader that refuses events of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, line: 0, started: false, limit }
    }

    /// Takes what arrived.
    pub fn push(&mut self, bytes: Bytes) {
        if self.buffer.is_empty() {
            // A whole chunk becomes the buffer without a copy when nobody else holds it.
            self.buffer = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            self.searched = 0;
            self.line = 0;
        } else {
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// The next whole event, if it has arrived.
    pub fn next_event(&mut self) -> Result<Option<Event>, TooLarge> {
        if !self.is_past_byte_order_mark() {
            return Ok(None);
        }
        match self.find_end() {
            Some(end) if end > self.limit => Err(TooLarge(self.limit)),
            Some(end) => {
                let raw = self.buffer.split_to(end).freeze();
                self.searched = 0;
                self.line = 0;
                Ok(Some(Event { raw }))
            }
            None if self.buffer.len() > self.limit => Err(TooLarge(self.limit)),
            None => Ok(None),
        }
    }

    /// The stream has ended: an event whose last line end was a lone CR is
    /// whole now. Anything else that is left is unfinished and dropped.
    pub fn finish(&mut self) -> Option<Event> {
        if self.buffer.last() == Some(&b'\r') {
            self.buffer.extend_from_slice(b"\n");
            let event = self.next_event().ok().flatten();
            self.buffer.clear();
            return event;
        }
        self.buffer.clear();
        None
    }

    /// Whether bytes of an unfinished event are waiting.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Leaves out a byte order mark at the very start; false while it cannot
    /// be told yet whether there is one.
    fn is_past_byte_order_mark(&mut self) -> bool {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if self.started || self.buffer.is_empty() {
            return true;
        }
        if self.buffer.starts_with(MARK) {
            self.buffer.advance(MARK.len());
        } else if MARK.starts_with(&self.buffer) {
            return false;
        }
        self.started = true;
        true
    }

    /// The length of the first event, its blank line included.
    fn find_end(&mut self) -> Option<usize> {
        loop {
            let rest = self.buffer.get(self.searched..)?;
            let Some(found) = memchr2(b'\n', b'\r', rest) else {
                // A long line that comes in small parts is not searched anew for each of them.
                self.searched = self.buffer.len();
                return None;
            };
            let at = self.searched + found;
            let after = match (self.buffer.get(at), self.buffer.get(at + 1)) {
                (Some(b'\r'), Some(b'\n')) => at + 2,
                // The LF that belongs to this CR may still be on its way.
                (Some(b'\r'), None) => {
                    self.searched = at;
                    return None;
                }
                _ => at + 1,
            };
            let blank = at == self.line;
            self.line = after;
            self.searched = after;
            if blank {
                return Some(after);
            }
        }
    }
}

impl Event {
    /// The bytes as they came.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The bytes to pass on: as they came, without `retry:` lines, which are
    /// the provider's instruction to its own client.
    pub fn forward(self) -> Bytes {
        if memchr::memmem::find(&self.raw, b"retry").is_none() || !lines(&self.raw).any(|line| field(line).0 == b"retry") {
            return self.raw;
        }
        let mut out = BytesMut::with_capacity(self.raw.len());
        for line in lines(&self.raw).filter(|line| !line.is_empty() && field(line).0 != b"retry") {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\n");
        }
        if !out.is_empty() {
            out.extend_from_slice(b"\n");
        }
        out.freeze()
    }

    /// The `data` lines, joined by line feeds; `None` when there is none.
    pub fn data(&self) -> Option<Cow<'_, [u8]>> {
        let mut data: Option<Cow<'_, [u8]>> = None;
        for line in lines(&self.raw) {
            let (name, value) = field(line);
            if name != b"data" {
                continue;
            }
            match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                Some(joined) => {
                    let joined = joined.to_mut();
                    joined.push(b'\n');
                    joined.extend_from_slice(value);
                }
            }
        }
        data
    }

    /// The `event` field.
    pub fn kind(&self) -> Option<&[u8]> {
        lines(&self.raw).map(field).filter(|(name, _)| *name == b"event").map(|(_, value)| value).last()
    }
}

/// The lines of an event, without their ends.
fn lines(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let end = memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
        let (line, rest) = bytes.split_at(end);
        bytes = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
        Some(line)
    })
}

/// A line's field name and value; a comment has the empty name.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', line) {
        Some(at) => {
            let (name, value) = line.split_at(at);
            let value = value.get(1..).unwrap_or_default();
            (name, value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\u{feff}data: {\"a\":1}\n\n: ping\n\nevent: error\r\ndata:x\r\ndata: y\r\n\r\nid: 7\rdata: z\r\rretry: 5\ndata: \u{1F600}\u{e9}\n\n\n\ndata: unfinished\n";

    fn read(chunks: impl Iterator<Item = Vec<u8>>) -> Vec<(Option<String>, Option<String>)> {
        let mut reader = Reader::new(1 << 20);
        let mut events = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for chunk in chunks {
            reader.push(Bytes::from(chunk));
            while let Some(event) = reader.next_event().unwrap() {
                events.push(event);
            }
        }
        events.extend(reader.finish());
        events.iter().map(|event| (event.kind().map(text), event.data().map(|data| text(&data)))).collect()
    }

    fn expected() -> Vec<(Option<String>, Option<String>)> {
        let row = |kind: Option<&str>, data: Option<&str>| (kind.map(str::to_owned), data.map(str::to_owned));
        vec![
            row(None, Some("{\"a\":1}")),
            row(None, None),
            row(Some("error"), Some("x\ny")),
            row(None, Some("z")),
            row(None, Some("\u{1F600}\u{e9}")),
            row(None, None),
            row(None, None),
        ]
    }

    #[test]
    fn every_split_gives_the_same_events() {
        let bytes = SAMPLE.as_bytes();
        assert_eq!(read(std::iter::once(bytes.to_vec())), expected());
        assert_eq!(read(bytes.iter().map(|byte| vec![*byte])), expected());
        for first in 0..bytes.len() {
            for second in (first..bytes.len()).step_by(3) {
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(read(parts.iter().map(|part| part.to_vec())), expected(), "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn an_event_is_passed_on_as_it_came() {
        let mut reader = Reader::new(100);
        reader.push(Bytes::from_static(b"data:  x\r\n\r\ndata: y\nretry: 9\n\nretry: 1\n\n"));
        let mut forwarded = || reader.next_event().unwrap().unwrap().forward();
        assert_eq!(forwarded(), &b"data:  x\r\n\r\n"[..]);
        assert_eq!(forwarded(), &b"data: y\n\n"[..]);
        assert_eq!(forwarded(), &b""[..]);
    }

    #[test]
    fn an_event_that_ends_in_a_lone_cr_is_whole_at_the_end() {
        assert_eq!(read(std::iter::once(b"data: x\r\r".to_vec())), [(None, Some("x".to_owned()))]);
        assert_eq!(read(std::iter::once(b"data: x\r".to_vec())), []);
    }

    #[test]
    fn a_bound_holds() {
        let mut reader = Reader::new(10);
        reader.push(Bytes::from_static(b"data: 0123456789"));
        assert_eq!(reader.next_event(), Err(TooLarge(10)));
    }

    #[test]
    fn d099_a_byte_order_mark_counts_at_the_start_alone_and_in_any_number_of_parts() {
        let split = |parts: &[&[u8]]| read(parts.iter().map(|part| part.to_vec()));
        let plain = split(&[b"data: x\n\n"]);
        assert_eq!(split(&[b"\xef", b"\xbb", b"\xbf", b"data: x\n\n"]), plain);
        let after_a_line = split(&[b"\n\xef\xbb\xbfdata: x\n\n"]);
        assert_eq!(split(&[b"\n", b"\xef\xbb\xbfdata: x\n\n"]), after_a_line);
        assert_ne!(after_a_line.last(), plain.last(), "there it is a part of the name");
    }

    #[test]
    fn d102_the_bound_holds_for_an_event_that_comes_at_once() {
        for parts in [vec![b"data: 12345\n\n".to_vec()], b"data: 12345\n\n".chunks(1).map(<[u8]>::to_vec).collect()] {
            let mut reader = Reader::new(8);
            let refused = parts.into_iter().any(|part| {
                reader.push(part.into());
                reader.next_event().is_err()
            });
            assert!(refused);
        }
    }

    proptest::proptest! {
        #[test]
        fn d267_any_bytes_give_the_same_events_for_any_split(bytes in "[a:\\r\\n d]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..8)) {
            let bytes = bytes.into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let parts = cuts.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec());
            proptest::prop_assert_eq!(read(parts), read(std::iter::once(bytes.clone())));
        }
    }
}
