//! An answer that streams: its events, one by one, and what each means.

use std::collections::VecDeque;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use memchr::memmem::Finder;

use super::received::Received;
use crate::sse::{Event, Reader};
use crate::wire::{Chunk, Notes, Usage, read_chunk};

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
    /// The choices that were seen and those that are finished, a bit for each.
    choices: u64,
    finished: u64,
    /// Tokens, as far as told.
    pub usage: Usage,
    /// The model that its first content names, where that is another than was asked for.
    pub other_model: Option<String>,
    /// Whether the body is events; a large plain answer is passed on as bytes.
    pub events: bool,
    body: Received,
    reader: Reader,
    ended: Option<Result<(), String>>,
}

impl Live {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, body: Received, events: bool) -> Self {
        Self {
            status,
            headers,
            held: VecDeque::new(),
            choices: 0,
            finished: 0,
            usage: Usage::default(),
            other_model: None,
            events,
            body,
            reader: Reader::new(LARGEST_EVENT),
            ended: None,
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
            match self.ended.take() {
                Some(Ok(())) => return Poll::Ready(Next::End),
                Some(Err(problem)) => return Poll::Ready(Next::Broken(problem)),
                None => {}
            }
            match ready!(self.poll_bytes(cx)) {
                Some(Ok(bytes)) => self.reader.push(bytes),
                // What has arrived whole is passed on first, however the rest ended.
                ended => {
                    self.ended = Some(ended.map_or(Ok(()), |ended| ended.map(|_| ())));
                    if let Some(event) = self.reader.finish() {
                        return Poll::Ready(Next::Event(event));
                    }
                }
            }
        }
    }

    /// The next bytes of the body, whatever they are.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, String>>> {
        self.body.poll_bytes(cx).map_err(|problem| problem.to_string())
    }

    /// Looks at an event after the commit point. Nearly all are passed on
    /// after a search for a few words; only what may end the stream or tell
    /// usage is parsed.
    pub fn look(&mut self, event: &Event) -> Look {
        if !may_matter(event.raw()) {
            return Look::Plain;
        }
        let Some(data) = event.data() else { return Look::Plain };
        let (chunk, notes) = read_chunk(&data);
        self.note(notes);
        match chunk {
            Chunk::Done => Look::Done,
            Chunk::Error | Chunk::BadFinish => Look::Error,
            _ if event.kind() == Some(b"error") => Look::Error,
            Chunk::Content | Chunk::Finish | Chunk::Nothing | Chunk::Garbled => Look::Plain,
        }
    }

    /// Whether every choice that was seen has its finish.
    pub fn is_finished(&self) -> bool {
        self.finished != 0 && self.choices & !self.finished == 0
    }

    /// Keeps what an event told.
    pub fn note(&mut self, notes: Notes) {
        let usage = notes.usage;
        self.choices |= notes.choices;
        self.finished |= notes.finished;
        self.usage = Usage { prompt: usage.prompt.or(self.usage.prompt), completion: usage.completion.or(self.usage.completion) };
    }
}

/// Whether an event can be anything but plain content of the first choice.
fn may_matter(raw: &[u8]) -> bool {
    static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("error\""));
    static EVENT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("event:"));
    static DONE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("[DONE]"));
    static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"finish_reason\""));
    static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
    static INDEX: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"index\""));
    // Whether the name stands before a value other than the usual one.
    let unusual = |finder: &Finder<'_>, usual: &[u8]| {
        finder.find_iter(raw).any(|at| {
            let rest = raw.get(at + finder.needle().len()..).unwrap_or_default().trim_ascii_start();
            let value = rest.strip_prefix(b":").unwrap_or(rest).trim_ascii_start();
            !value.starts_with(usual)
        })
    };
    [&ERROR, &EVENT, &DONE].into_iter().any(|finder| finder.find(raw).is_some())
        || unusual(&FINISH, b"null")
        || unusual(&USAGE, b"null")
        || unusual(&INDEX, b"0")
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
            br#"data: {"choices":[{"index":1,"delta":{"content":"x"},"finish_reason":null}]}"#,
            br#"data: { "choices" : [ { "finish_reason" : "stop" } ] }"#,
            b"id: 1\nevent: error\ndata: {}",
            b"data: [DONE]",
            b"event: error\ndata: {}",
        ] {
            assert!(may_matter(matters), "{}", String::from_utf8_lossy(matters));
        }
    }
}
