//! HTTP/1.1 with a provider: one exchange after another on one connection.
//! Written by hand over `httparse`, the parser of heads that hyper uses, because
//! hyper's own client needs a task, a queue and two buffers for each connection: a
//! sixth of the CPU of a small answer and nearly half of the memory of one that is
//! waited for (`bench/NOTES.md`). While nothing comes, a connection here holds no
//! buffer.

mod decode;
mod head;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use memchr::memchr_iter;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::{Stream, Uses};
pub use decode::{Decoder, Found};
pub use head::{Framing, Head, read_head};

/// The largest head of an answer.
const LARGEST_HEAD: usize = 32 * 1024;
/// How much is read from a connection at once.
const AT_ONCE: usize = 32 * 1024;
/// The parts of a request that go out in one call.
const IN_ONE_CALL: usize = 8;

thread_local! {
    /// Where a worker's connections read to. What came is copied to a place of its
    /// size, which is cheaper than a large buffer for each connection that waits.
    static DESK: RefCell<Vec<u8>> = RefCell::new(vec![0; AT_ONCE]);
    /// Where requests are written. Most often all of one goes out at once, and nothing has to be kept.
    static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Not a byte of the request went out.
    #[error("the connection was closed before the request")]
    Unsent(#[source] io::Error),
    /// The connection gave an error.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The connection ended too early.
    #[error("the connection was closed before the answer was complete")]
    Ended,
    /// What came is not the head of an answer.
    #[error("not an HTTP answer")]
    Head(#[from] httparse::Error),
    /// The head did not end.
    #[error("the head of the answer is larger than 32 KiB")]
    LargeHead,
    /// Where the body ends is in doubt.
    #[error("the answer contradicts itself about its length")]
    Length,
    /// What came is not a chunk of a body.
    #[error("the answer is not in well-formed chunks")]
    Chunk,
}

/// One connection, and where in an exchange it is.
pub struct Connection {
    stream: Stream,
    uses: Uses,
    /// What is left to write.
    sending: SmallVec<[Bytes; 5]>,
    /// Not a byte of the request has gone out.
    unsent: bool,
    /// Why it did not when it was written, if that has not been said yet.
    refused: Option<io::Error>,
    /// What was written may still be held back by TLS.
    unflushed: bool,
    /// What has come and has not been looked at.
    input: Bytes,
    body: Decoder,
    /// Whether it can be used for another exchange after this one.
    keeps: bool,
}

impl Connection {
    /// The connection over an open stream.
    pub fn new(stream: Stream) -> Self {
        let uses = stream.uses();
        Self {
            stream,
            uses,
            sending: SmallVec::new(),
            unsent: true,
            refused: None,
            unflushed: false,
            input: Bytes::new(),
            body: Decoder::Done,
            keeps: true,
        }
    }

    /// What it has been used for.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Sends a request and waits for the head of the answer. `write` puts the
    /// request into a buffer, or its beginning, and gives what follows. What is
    /// left of a request that is answered early goes out while the body is read.
    ///
    /// # Errors
    /// The connection broke, or what came is no answer; it is of no more use.
    pub async fn exchange(&mut self, write: impl FnOnce(&mut Vec<u8>) -> SmallVec<[Bytes; 4]>) -> Result<Head, Broken> {
        self.uses.begin();
        let mut write = Some(write);
        let head = poll_fn(|cx| {
            if let Some(write) = write.take() {
                self.begin(cx, write);
            }
            self.poll_head(cx)
        });
        let head = head.await?;
        self.uses.add();
        self.body = Decoder::from(head.framing);
        self.keeps = head.keeps;
        Ok(head)
    }

    /// The next part of the body; `None` at its end.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Poll::Ready(Err(_)) = self.poll_send(cx) {
            // The answer is there all the same.
            self.sending.clear();
            (self.unflushed, self.keeps) = (false, false);
        }
        loop {
            match self.body.next(&mut self.input) {
                Ok(Found::Data(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Ok(Found::End) => return Poll::Ready(None),
                Ok(Found::More) => {}
                Err(problem) => return Poll::Ready(Some(Err(problem))),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if self.body.ends_with_connection() => return Poll::Ready(None),
                Ok(0) => return Poll::Ready(Some(Err(Broken::Ended))),
                Ok(_) => {}
                Err(problem) => return Poll::Ready(Some(Err(Broken::Io(problem)))),
            }
        }
    }

    /// The bytes of the body to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        self.body.left()
    }

    /// Whether another exchange can follow: the body has been read to its end,
    /// the request has gone out, and nothing has come that nobody asked for.
    pub fn is_free(&self) -> bool {
        let ended = matches!(self.body, Decoder::Done | Decoder::Length(0));
        self.keeps && ended && self.sending.is_empty() && !self.unflushed && self.input.is_empty()
    }

    /// Whether an unused connection is still open, as far as is known here, and
    /// has brought nothing that nobody asked for.
    pub fn is_open(&mut self) -> bool {
        let mut byte = [0];
        let look = poll_fn(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut byte)));
        // A task that has done its share would be told "pending" without a look.
        let look = std::pin::pin!(tokio::task::unconstrained(look));
        self.keeps && look.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Writes a request, as far as the connection takes it at once.
    fn begin(&mut self, cx: &mut Context<'_>, write: impl FnOnce(&mut Vec<u8>) -> SmallVec<[Bytes; 4]>) {
        OUT.with_borrow_mut(|out| {
            out.clear();
            let behind = write(out);
            let mut written = 0;
            if behind.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, out) {
                    Poll::Ready(Ok(count)) => written = count,
                    Poll::Ready(Err(problem)) => self.refused = Some(problem),
                    Poll::Pending => {}
                }
            }
            (self.unsent, self.unflushed) = (written == 0, written > 0);
            let left = out.get(written..).unwrap_or_default();
            if !left.is_empty() {
                self.sending.push(Bytes::copy_from_slice(left));
            }
            self.sending.extend(behind);
        });
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        let sent = self.poll_send(cx);
        let unsent = self.unsent;
        loop {
            match self.poll_fill(cx) {
                Poll::Ready(Ok(count @ 1..)) => {
                    if let Some(head) = self.take_head(count).transpose() {
                        return Poll::Ready(head);
                    }
                }
                // An answer that says why it could not be written may be on its way.
                Poll::Pending if !unsent || !matches!(sent, Poll::Ready(Err(_))) => return Poll::Pending,
                read => {
                    return Poll::Ready(Err(match (sent, read) {
                        (Poll::Ready(Err(problem)), _) if unsent => Broken::Unsent(problem),
                        (Poll::Ready(Err(problem)), _) | (_, Poll::Ready(Err(problem))) => Broken::Io(problem),
                        _ => Broken::Ended,
                    }));
                }
            }
        }
    }

    /// Takes the head from what has come, the last `count` bytes of it just now.
    /// Heads that say "wait" are left out.
    fn take_head(&mut self, count: usize) -> Result<Option<Head>, Broken> {
        // In small parts, the head is only parsed once more when it may be whole.
        let mut seen = self.input.len() - count;
        while seen == 0 || may_end(&self.input, seen) {
            let Some(head) = read_head(&self.input)? else { break };
            self.input.advance(head.len);
            if !is_interim(&head) {
                return Ok(Some(head));
            }
            seen = 0;
            if self.input.is_empty() {
                break;
            }
        }
        if self.input.len() > LARGEST_HEAD { Err(Broken::LargeHead) } else { Ok(None) }
    }

    /// Writes what is left of the request.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(problem) = self.refused.take() {
            return Poll::Ready(Err(problem));
        }
        while !self.sending.is_empty() {
            let parts: SmallVec<[IoSlice<'_>; IN_ONE_CALL]> =
                self.sending.iter().take(IN_ONE_CALL).map(|part| IoSlice::new(part)).collect();
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &parts))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            drop(parts);
            self.has_sent(written);
            (self.unsent, self.unflushed) = (false, true);
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn has_sent(&mut self, mut count: usize) {
        let mut gone = 0;
        for part in &mut self.sending {
            let step = count.min(part.len());
            part.advance(step);
            count -= step;
            if !part.is_empty() {
                break;
            }
            gone += 1;
        }
        self.sending.drain(..gone);
    }

    /// Reads what has come behind what is there; the number of new bytes, 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        DESK.with_borrow_mut(|desk| {
            let mut read = ReadBuf::new(desk);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            let new = read.filled();
            self.input = if self.input.is_empty() { Bytes::copy_from_slice(new) } else { [&self.input, new].concat().into() };
            Poll::Ready(Ok(new.len()))
        })
    }
}

/// Whether it only says that the answer is yet to come.
fn is_interim(head: &Head) -> bool {
    head.status.is_informational() && head.status != http::StatusCode::SWITCHING_PROTOCOLS
}

/// Whether an empty line ends behind the first `seen` bytes.
fn may_end(input: &[u8], seen: usize) -> bool {
    let from = seen.saturating_sub(3);
    let tail = input.get(from..).unwrap_or_default();
    memchr_iter(b'\n', tail).any(|at| matches!(tail.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
}
