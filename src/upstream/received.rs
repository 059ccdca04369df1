//! The body of an answer on its way in, and collected.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Incoming};

use super::connect::Boxed;
use super::pool::Link;

/// The body of an answer. Read to its end, it gives its connection back to the
/// pool; dropped before, it closes the connection or resets the HTTP/2 stream.
pub struct Received(From);

enum From {
    One(Link),
    Many(Incoming),
    /// The end has been reached.
    Ended,
}

impl Received {
    /// A body that a connection of its own brings.
    pub(super) fn one(link: Link) -> Self {
        Self(From::One(link))
    }

    /// A body that an HTTP/2 stream brings.
    pub(super) fn many(body: Incoming) -> Self {
        Self(From::Many(body))
    }

    /// The next bytes, never none; `None` at the end.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Boxed>>> {
        loop {
            let ended = match &mut self.0 {
                From::Ended => return Poll::Ready(None),
                From::One(link) => match ready!(link.poll_body(cx)) {
                    Some(part) => return Poll::Ready(Some(part.map_err(Boxed::from))),
                    None => std::mem::replace(&mut self.0, From::Ended),
                },
                From::Many(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Some(Ok(bytes))),
                        _ => continue,
                    },
                    Some(Err(problem)) => return Poll::Ready(Some(Err(problem.into()))),
                    None => std::mem::replace(&mut self.0, From::Ended),
                },
            };
            if let From::One(link) = ended {
                link.keep();
            }
        }
    }

    /// The bytes to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match &self.0 {
            From::Ended => Some(0),
            From::One(link) => link.left(),
            From::Many(body) => body.size_hint().exact(),
        }
    }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Received")
    }
}

/// How reading a body ended.
pub(super) enum End {
    /// As it should.
    Whole,
    /// There is more than was allowed; this is what is left.
    More(Received),
    /// Too early.
    Broken,
}

/// What has come of a body. What comes in one part is not copied.
#[derive(Default)]
pub(super) struct Collected {
    first: Bytes,
    joined: BytesMut,
}

impl Collected {
    /// Adds a part; `left` is what will come behind it, as far as is known.
    fn push(&mut self, part: Bytes, left: usize) {
        if self.first.is_empty() {
            self.first = part;
            return;
        }
        if self.joined.is_empty() {
            self.joined.reserve(self.first.len() + part.len() + left);
            self.joined.extend_from_slice(&self.first);
        }
        self.joined.extend_from_slice(&part);
    }

    fn len(&self) -> usize {
        self.first.len().max(self.joined.len())
    }

    /// All of it.
    pub fn freeze(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}

/// Reads a body to its end, or until there are more than `most` bytes of it.
pub(super) async fn collect(mut body: Received, most: usize, into: &mut Collected) -> End {
    while let Some(part) = poll_fn(|cx| body.poll_bytes(cx)).await {
        let Ok(part) = part else { return End::Broken };
        let left = body.left().map_or(0, |left| usize::try_from(left).map_or(most, |left| left.min(most)));
        into.push(part, left);
        if into.len() > most {
            return End::More(body);
        }
    }
    End::Whole
}
