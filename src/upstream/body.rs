//! A request body that is sent from its parts, and sent again for the next
//! attempt without a copy.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::wire::Pieces;

/// The parts of a request on their way out. It is small because each
/// connection has room for 32 requests.
pub(super) struct RequestBody {
    /// Most requests have but one.
    first: Option<Bytes>,
    others: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl RequestBody {
    pub fn new(pieces: Pieces) -> Self {
        let left = pieces.len() as u64;
        let mut parts = pieces.into_parts();
        Self { first: parts.next(), others: parts.collect::<Vec<Bytes>>().into_iter(), left }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.first.take().or_else(|| self.others.next());
        self.left = self.left.saturating_sub(part.as_ref().map_or(0, |part| part.len() as u64));
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
