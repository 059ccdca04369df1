//! An answer that streams: its events, one by one, and what each means.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::body::{Body, Incoming};
use memchr::memmem::Finder;

use crate::sse::{Event, Reader};
use crate::wire::{Chunk, Usage, read_chunk};

/// The largest event that is passed on.
pub const LARGEST_EVENT: usize = 16 << 20;

/// What comes next in a stream.
#[derive(Debug)]
pub enum Next {
    /// A whole event.
    Event(Event),
    /// The body ended as it should.
    End,
    /// The connection broke, or an event was too large.
    Broken(String),
}

/// What an event means once the answer has begun.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Pass it on.
    Plain,
    /// Pass it on; the answer is finished with it.
    Finish,
    /// Pass it on; it ends the stream, and it is the provider's error.
    Error,
    /// `[DONE]`.
    Done,
}

/// A stream that has begun to answer, or is about to.
#[derive(Debug)]
pub struct Live {
    /// The status of the answer.
    pub status: StatusCode,
    /// Its headers as they came.
    pub headers: HeaderMap,
    /// What came before the commit point and goes out first.
    pub held: VecDeque<Bytes>,
    /// Whether a finish was among it.
    pub finished: bool,
    /// Tokens, as far as told.
    pub usage: Usage,
    /// Whether the body is events; a large plain answer is passed on as bytes.
    pub events: bool,
    body: Incoming,
    reader: Reader,
    ended: bool,
}

impl Live {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, body: Incoming, events: bool) -> Self {
        Self {
            status,
            headers,
            held: VecDeque::new(),
            finished: false,
            usage: Usage::default(),
            events,
            body,
            reader: Reader::new(LARGEST_EVENT),
            ended: false,
        }
    }

    /// The next event.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            match self.reader.next_event() {
                Ok(Some(event)) => return Poll::Ready(Next::Event(event)),
                Ok(None) => {}
                Err(problem) => return Poll::Ready(Next::Broken(problem.to_string())),
            }
            if self.ended {
                return Poll::Ready(Next::End);
            }
            match ready!(self.poll_bytes(cx)) {
                Some(Ok(bytes)) => self.reader.push(bytes),
                Some(Err(problem)) => return Poll::Ready(Next::Broken(problem)),
                None => {
                    self.ended = true;
                    if let Some(event) = self.reader.finish() {
                        return Poll::Ready(Next::Event(event));
                    }
                }
            }
        }
    }

    /// The next bytes of the body, whatever they are.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, String>>> {
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Some(Err(problem)) => return Poll::Ready(Some(Err(problem.to_string()))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Looks at an event after the commit point. Nearly all are passed on
    /// after a search for four words; only what may end the stream or tell
    /// usage is parsed.
    pub fn look(&mut self, event: &Event) -> Look {
        if !may_matter(event.raw()) {
            return Look::Plain;
        }
        let Some(data) = event.data() else { return Look::Plain };
        let (chunk, usage) = read_chunk(&data);
        self.note(usage);
        match chunk {
            Chunk::Done => Look::Done,
            Chunk::Error | Chunk::BadFinish => Look::Error,
            Chunk::Content { finished: true } | Chunk::Finish => Look::Finish,
            _ if event.kind() == Some(b"error") => Look::Error,
            Chunk::Content { finished: false } | Chunk::Nothing | Chunk::Garbled => Look::Plain,
        }
    }

    /// Keeps the latest counts.
    pub fn note(&mut self, usage: Usage) {
        self.usage = Usage { prompt: usage.prompt.or(self.usage.prompt), completion: usage.completion.or(self.usage.completion) };
    }
}

/// Whether an event can be anything but plain content.
fn may_matter(raw: &[u8]) -> bool {
    static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("error\""));
    static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"finish_reason\":"));
    static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\":"));
    static DONE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("[DONE]"));
    let filled = |finder: &Finder<'_>| {
        let mut rest = raw;
        while let Some(at) = finder.find(rest) {
            rest = rest.get(at + finder.needle().len()..).unwrap_or_default();
            if !rest.trim_ascii_start().starts_with(b"null") {
                return true;
            }
        }
        false
    };
    raw.starts_with(b"event") || filled(&FINISH) || filled(&USAGE) || ERROR.find(raw).is_some() || DONE.find(raw).is_some()
}

#[cfg(test)]
mod tests {
    use super::may_matter;

    #[test]
    fn plain_content_is_not_parsed() {
        let plain = br#"data: {"choices":[{"delta":{"content":"say \"finish_reason\": now"},"finish_reason":null}],"usage": null}"#;
        assert!(!may_matter(plain));
        for matters in [
            &br#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#[..],
            br#"data: {"choices":[{"finish_reason":null},{"finish_reason" :null},{"finish_reason": "stop"}]}"#,
            br#"data: {"choices":[],"usage":{"prompt_tokens":1}}"#,
            br#"data: {"error":{"message":"x"}}"#,
            br#"data: {"type":"error"}"#,
            b"data: [DONE]",
            b"event: error\ndata: {}",
        ] {
            assert!(may_matter(matters), "{}", String::from_utf8_lossy(matters));
        }
    }
}
