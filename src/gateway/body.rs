//! The bodies of responses, in one type, and of requests, within bounds.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::timeout;

use super::capacity::Room;
use super::connection::{Busy, Clocks, MOST_UNWANTED};
use super::error::ApiError;
use super::events::Events;
use super::guards::{self, Visit};
use super::large::Joined;
use super::reactor::Client;
use super::wakers::Hush;
use crate::engine::{BrokenOff, Relay};
use crate::metrics::Metrics;
use crate::turn;

/// What goes out.
enum Content {
    Full(Option<Bytes>),
    Relay(Box<Relay>),
    Events(Events),
}

/// The body of a response.
pub struct Out {
    content: Content,
    /// The connection is not idle until the body is gone.
    busy: Option<Busy>,
    /// Where a panic in a stream is counted.
    metrics: Option<Arc<Metrics>>,
    /// For the tests of what a panic does.
    #[cfg(debug_assertions)]
    pub(super) panics_at: Option<usize>,
}

impl Out {
    /// A body that is there already.
    pub(super) fn full(bytes: Bytes) -> Self {
        Self::of(Content::Full((!bytes.is_empty()).then_some(bytes)))
    }

    pub(super) fn relay(relay: Box<Relay>) -> Self {
        Self::of(Content::Relay(relay))
    }

    pub(super) fn events(events: Events) -> Self {
        Self::of(Content::Events(events))
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            busy: None,
            metrics: None,
            #[cfg(debug_assertions)]
            panics_at: None,
        }
    }

    pub(super) fn hold(&mut self, busy: Busy, metrics: &Arc<Metrics>) {
        self.busy = Some(busy);
        if matches!(self.content, Content::Relay(_)) {
            self.metrics = Some(Arc::clone(metrics));
        }
    }
}

impl Body for Out {
    type Data = Bytes;
    type Error = crate::engine::BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match &mut this.content {
            Content::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)).map_err(Into::into))),
            Content::Events(events) => events.poll(cx).map(|piece| piece.map(|frame| frame.map_err(Into::into))),
            Content::Relay(relay) => {
                let polled = catch_unwind(AssertUnwindSafe(|| {
                    #[cfg(debug_assertions)]
                    super::hooks::panic_at(&mut this.panics_at);
                    Pin::new(relay.as_mut()).poll_frame(cx)
                }));
                polled.unwrap_or_else(|_| {
                    this.metrics.iter().for_each(|metrics| metrics.panicked());
                    // A plain answer has no last words: it breaks off, so that nobody takes it for whole.
                    Poll::Ready(Some(relay.give_up().map(Frame::data).ok_or(BrokenOff)))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Relay(_) | Content::Events(_) => SizeHint::default(),
        }
    }
}

/// The body of a request, as it comes in.
pub(super) struct Sent {
    /// What the library gives: all, or the beginning of a large one.
    pub given: Incoming,
    /// Where the rest of a large one is read from: it need not be put down twice on its way.
    pub client: Arc<Client>,
}

impl Sent {
    /// Whether there is nothing of it.
    pub fn is_empty(&self, clocks: &Clocks) -> bool {
        self.given.is_end_stream() && clocks.to_come() == 0
    }
}

/// The body of a request whose head says that it is JSON. Of any other, the
/// body is read and thrown away behind the answer.
pub(super) fn checked(visit: Visit<'_>, body: Sent) -> Result<Sent, ApiError> {
    match guards::check_content(visit.headers) {
        Ok(()) => Ok(body),
        Err(error) => {
            discard(body.given, visit.clocks);
            Err(error)
        }
    }
}

/// Reads on, within bounds, what nobody wants of what the library gives: a client that
/// is still sending when its connection closes never sees the answer that says why.
fn discard(mut body: Incoming, clocks: &Arc<Clocks>) {
    const PATIENCE: Duration = Duration::from_secs(5);
    // What is still to come belongs to this request, and is not the head of the next one.
    let busy = clocks.busy();
    tokio::spawn(async move {
        let _busy = busy;
        let reading = async {
            let mut seen = 0u64;
            while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                seen += frame.data_ref().map_or(0, Bytes::len) as u64;
                if seen > MOST_UNWANTED {
                    break;
                }
            }
        };
        let _ = timeout(PATIENCE, reading).await;
    });
}

/// A request's body must be whole within this time.
const PATIENCE: Duration = Duration::from_secs(120);

/// The next part of a body. The library wakes its side when a part is taken, so
/// that it reads the next one; there is none behind the last. More than that
/// one waking is somebody else's, and is made up for.
fn poll_part(body: &mut Incoming, hush: &Hush, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    let (part, unheard) = hush.over(|| Pin::new(&mut *body).poll_frame(cx));
    if unheard > usize::from(body.is_end_stream()) {
        cx.waker().wake_by_ref();
    }
    part
}

/// Reads a request's body whole, up to `most` bytes, as far as there is room.
pub(super) async fn read(body: Sent, most: u64, room: &mut Room<'_>, clocks: &Arc<Clocks>) -> Result<Bytes, ApiError> {
    turn::by(turn::now() + PATIENCE, pin!(whole(body, most, room, clocks))).await.unwrap_or_else(|| {
        let message = "the request body did not arrive within 2 minutes";
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message))
    })
}

async fn whole(body: Sent, most: u64, room: &mut Room<'_>, clocks: &Arc<Clocks>) -> Result<Bytes, ApiError> {
    let Sent { given: mut body, client } = body;
    let too_large = || {
        let limit = bytesize::ByteSize::b(most).display().iec().to_string().replace(' ', "");
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!("the request body is larger than {limit} (server.max_body)"),
        )
    };
    let expected = body.size_hint().lower().saturating_add(clocks.to_come());
    if expected > most {
        discard(body, clocks);
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut joined: Option<Joined> = None;
    loop {
        let frame = match std::future::poll_fn(|cx| poll_part(&mut body, &clocks.hush, cx)).await {
            Some(Ok(frame)) => frame,
            Some(Err(problem)) => return Err(unreadable(&problem)),
            None => break,
        };
        let Ok(bytes) = frame.into_data() else { continue };
        let have = joined.as_ref().map(Joined::len).or(first.as_ref().map(Bytes::len)).unwrap_or(0);
        if (have + bytes.len()) as u64 > most {
            discard(body, clocks);
            return Err(too_large());
        }
        if let Err(overloaded) = room.for_bytes(have + bytes.len()) {
            discard(body, clocks);
            return Err(overloaded);
        }
        // A small body arrives in one piece, which is then used as it is.
        match (first.take(), &mut joined) {
            (None, None) => first = Some(bytes),
            (None, Some(joined)) => joined.push(&bytes),
            (Some(before), joined) => {
                let whole = usize::try_from(expected).unwrap_or(0).max(have + bytes.len());
                let joined = joined.insert(Joined::with_capacity(whole));
                joined.push(&before);
                joined.push(&bytes);
            }
        }
    }
    if clocks.to_come() > 0 {
        let joined = joined.get_or_insert_with(|| Joined::with_capacity(usize::try_from(expected).unwrap_or(0)));
        if let Some(first) = first.take() {
            joined.push(&first);
        }
        Box::pin(rest(&client, joined, room, clocks)).await?;
    }
    clocks.has_all();
    Ok(joined.map(Joined::freeze).or(first).unwrap_or_default())
}

/// Reads what comes of a body behind what the library gives. If that goes wrong,
/// what is left is thrown away before the next request is read.
async fn rest(client: &Client, joined: &mut Joined, room: &mut Room<'_>, clocks: &Clocks) -> Result<(), ApiError> {
    loop {
        let left = usize::try_from(clocks.to_come()).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(());
        }
        let ready = joined.room(left).len();
        room.for_bytes(joined.len() + ready)?;
        match std::future::poll_fn(|cx| client.poll_read(cx, joined.room(left))).await {
            Ok(0) => return Err(unreadable(&"the client has closed the connection")),
            Ok(count) => {
                clocks.came(count);
                joined.fill(count);
            }
            Err(problem) => return Err(unreadable(&problem)),
        }
    }
}

fn unreadable(problem: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", format!("the request body could not be read: {problem}"))
}
