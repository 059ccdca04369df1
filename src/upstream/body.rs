//! The body of a request in HTTP/2, sent from its parts.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::wire::Pieces;

/// The parts of a request on their way out.
pub(super) struct RequestBody {
    parts: smallvec::IntoIter<[Bytes; 4]>,
    left: u64,
}

impl RequestBody {
    pub fn new(pieces: &Pieces<'_>) -> Self {
        Self { left: pieces.len() as u64, parts: pieces.share().into_iter() }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.next();
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
