//! The body of an answer on its way in.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
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
