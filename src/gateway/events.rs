//! `GET /api/events`: the records of requests as server-sent events, history
//! first, then each as it ends, without a gap and without a double.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::api;
use super::body::Out;
use super::error::ApiError;
use super::server::Gateway;
use crate::journal::{Feed, Query, Record, Store};

/// A comment is sent this often, so that both sides notice when the other has gone.
const PING: Duration = Duration::from_secs(15);
/// Events that wait for a reader before it holds up its own feed.
const AHEAD: usize = 16;

/// The body of the answer: what the task that reads the feed sends.
pub(super) struct Events {
    pieces: mpsc::Receiver<Bytes>,
    _seat: OwnedSemaphorePermit,
}

impl Events {
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Answers with the feed, until the reader leaves.
pub(super) async fn follow(gateway: &Gateway, query: Option<&str>) -> Result<Response<Out>, ApiError> {
    let mut query = api::read_query(query)?;
    let seat = gateway.shared.capacity.follower()?;
    let journal = gateway.engine.journal();
    let stopping = || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "routor is stopping");
    let feed = journal.subscribe().await.ok_or_else(stopping)?;
    query.until = Some((feed.writer, feed.after));
    let (sender, pieces) = mpsc::channel(AHEAD);
    let history = journal.path().filter(|_| query.limit > 0).map(ToOwned::to_owned);
    let closing = gateway.shared.closing.clone();
    tokio::spawn(async move {
        if let Some(path) = history {
            let past = query.clone();
            let read = move || Store::read(&path).ok().flatten().and_then(|store| store.find(&past).ok()).unwrap_or_default().records;
            for stored in tokio::task::spawn_blocking(read).await.unwrap_or_default() {
                tokio::select! {
                    sent = sender.send(event(&stored.record)) => if sent.is_err() { return },
                    () = closing.cancelled() => return,
                }
            }
        }
        pass_on(feed, &query, &sender, &closing).await;
    });
    let mut response = Response::new(Out::events(Events { pieces, _seat: seat }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn pass_on(mut feed: Feed, query: &Query, sender: &mpsc::Sender<Bytes>, closing: &CancellationToken) {
    let mut ping = tokio::time::interval(PING);
    loop {
        let piece = tokio::select! {
            record = feed.records.recv() => match record {
                Ok(record) if query.wants(&record) => event(&record),
                Ok(_) => continue,
                Err(broadcast::error::RecvError::Lagged(missed)) => format!("event: missed\ndata: {{\"missed\":{missed}}}\n\n").into(),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = ping.tick() => Bytes::from_static(b": still here\n\n"),
            () = sender.closed() => return,
            () = closing.cancelled() => return,
        };
        tokio::select! {
            sent = sender.send(piece) => if sent.is_err() { return },
            () = closing.cancelled() => return,
        }
    }
}

fn event(record: &Record) -> Bytes {
    format!("event: request\ndata: {}\n\n", serde_json::to_string(record).unwrap_or_default()).into()
}
