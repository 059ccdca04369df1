//! The stream relay: a provider's events to the caller, after the commit
//! point. Events pass as they came and as they come. A stream never ends in
//! silence: it ends with `[DONE]`, with the provider's error, or with one of
//! its own.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::Engine;
use super::fleet::Fleet;
use super::ticket::Report;
use crate::failover::{Class, ErrorText, aftermath, classify_embedded};
use crate::health::Took;
use crate::journal::{Draft, Outcome, millis};
use crate::sse::Event;
use crate::turn;
use crate::upstream::{Live, Look, Next};

/// Events that are there already go out together, up to about this many bytes.
const TOGETHER: usize = 32 * 1024;
/// What follows a finished answer is read for this long and no longer, so that
/// its connection can be used again.
const REST: Duration = Duration::from_secs(1);

const DONE: &[u8] = b"data: [DONE]\n\n";

/// The body of a streamed reply.
pub struct Relay {
    engine: Arc<Engine>,
    fleet: Arc<Fleet>,
    live: Option<Box<Live>>,
    report: Report,
    draft: Draft,
    fallback: bool,
    pace: Pace,
    /// Whether it is events; else a large plain answer.
    events: bool,
    timer: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    end: Option<End>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("end", &self.end).finish_non_exhaustive()
    }
}

/// The times of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// When the attempt began.
    pub started: Instant,
    /// How long its first content took.
    pub first: Duration,
    /// How long it may be silent between two events.
    pub idle: Duration,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    /// The provider broke it.
    Broken(Class),
    /// This process stops.
    Stopped,
    /// This process made a mistake.
    Failed,
}

impl Relay {
    pub(super) fn new(
        engine: &Arc<Engine>,
        fleet: &Arc<Fleet>,
        live: Box<Live>,
        report: Report,
        draft: Draft,
        fallback: bool,
        pace: Pace,
    ) -> Self {
        let events = live.events;
        Self {
            engine: Arc::clone(engine),
            fleet: Arc::clone(fleet),
            live: Some(live),
            report,
            draft,
            fallback,
            pace,
            events,
            timer: Box::pin(tokio::time::sleep_until((turn::now() + pace.idle).into())),
            stopping: Box::pin(engine.stopping.clone().cancelled_owned()),
            end: None,
        }
    }

    /// Ends the stream after a panic in it; gives its last words.
    pub fn give_up(&mut self) -> Option<Bytes> {
        if self.end.is_some() {
            return None;
        }
        let mut out = Out::default();
        self.finish(End::Failed, &mut out);
        out.take()
    }

    /// Collects what can go out now. Pending only when there is nothing.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        let mut out = Out::default();
        loop {
            let Some(live) = self.live.as_deref_mut() else { return Poll::Ready(None) };
            if let Some(held) = live.held.pop_front() {
                out.push(held);
                continue;
            }
            if out.len >= TOGETHER {
                return Poll::Ready(out.take());
            }
            let ended = if live.events { self.poll_event(cx, &mut out) } else { self.poll_plain(cx, &mut out) };
            match ended {
                Poll::Ready(None) => {}
                Poll::Ready(Some(end)) => {
                    self.finish(end, &mut out);
                    return Poll::Ready(out.take());
                }
                Poll::Pending if out.len > 0 => return Poll::Ready(out.take()),
                Poll::Pending => match self.poll_clocks(cx) {
                    Some(end) => {
                        self.finish(end, &mut out);
                        return Poll::Ready(out.take());
                    }
                    None => return Poll::Pending,
                },
            }
        }
    }

    /// Takes the next event; ready with an end when it was the last.
    fn poll_event(&mut self, cx: &mut Context<'_>, out: &mut Out) -> Poll<Option<End>> {
        let Some(live) = self.live.as_deref_mut() else { return Poll::Ready(Some(End::Complete)) };
        let next = std::task::ready!(live.poll_event(cx));
        let event = match next {
            Next::Event(event) => event,
            Next::End | Next::Broken(_) if live.is_finished() => return Poll::Ready(Some(End::Complete)),
            Next::End | Next::Broken(_) => return Poll::Ready(Some(End::Broken(Class::Truncated))),
        };
        if event.data().is_some() {
            self.timer.as_mut().reset((turn::now() + self.pace.idle).into());
        }
        match live.look(&event) {
            Look::Plain => out.push(event.forward()),
            // Its own [DONE] is written, so that there is exactly one.
            Look::Done => return Poll::Ready(Some(End::Complete)),
            Look::Error => {
                let class = match classify_embedded(&ErrorText::read(&event.data().unwrap_or_default())) {
                    Class::Garbled => Class::ServerError,
                    class => class,
                };
                out.push(self.masked(event));
                out.closed = true;
                return Poll::Ready(Some(End::Broken(class)));
            }
        }
        Poll::Ready(None)
    }

    /// A large answer that is not events passes as bytes.
    fn poll_plain(&mut self, cx: &mut Context<'_>, out: &mut Out) -> Poll<Option<End>> {
        let Some(live) = self.live.as_deref_mut() else { return Poll::Ready(Some(End::Complete)) };
        match std::task::ready!(live.poll_bytes(cx)) {
            Some(Ok(bytes)) => {
                self.timer.as_mut().reset((turn::now() + self.pace.idle).into());
                out.push(bytes);
                Poll::Ready(None)
            }
            Some(Err(_)) => Poll::Ready(Some(End::Broken(Class::Truncated))),
            None => Poll::Ready(Some(End::Complete)),
        }
    }

    fn poll_clocks(&mut self, cx: &mut Context<'_>) -> Option<End> {
        if self.stopping.as_mut().poll(cx).is_ready() {
            return Some(End::Stopped);
        }
        let finished = self.live.as_deref().is_some_and(|live| live.is_finished());
        self.timer.as_mut().poll(cx).is_ready().then_some(if finished { End::Complete } else { End::Broken(Class::Timeout) })
    }

    fn masked(&self, event: Event) -> Bytes {
        match self.fleet.redactor.mask(event.raw()) {
            std::borrow::Cow::Borrowed(_) => event.forward(),
            std::borrow::Cow::Owned(masked) => masked.into(),
        }
    }

    /// Writes the end of the stream and lets go of the provider.
    fn finish(&mut self, end: End, out: &mut Out) {
        self.end = Some(end);
        let Some(live) = self.live.take() else { return };
        let usage = live.usage;
        self.draft.edit(|record| {
            record.prompt_tokens = usage.prompt;
            record.completion_tokens = usage.completion;
        });
        if live.events && !out.closed {
            out.push(match end {
                End::Complete => Bytes::from_static(DONE),
                End::Broken(class) => interruption(class),
                End::Stopped => stopped(),
                End::Failed => failed(),
            });
        }
        if end == End::Complete {
            self.let_go(live);
        }
    }

    /// Reads what may follow a finished answer, most often nothing but the
    /// end of the body, so that the connection goes back to the pool.
    fn let_go(&self, mut live: Box<Live>) {
        self.engine.tasks.spawn(async move {
            let rest = async { while let Some(Ok(_)) = std::future::poll_fn(|cx| live.poll_bytes(cx)).await {} };
            let _ = tokio::time::timeout(REST, rest).await;
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let now = turn::now();
        let (uptime, took) = (self.engine.uptime_at(now), millis(now.saturating_duration_since(self.pace.started)));
        let mut class = Class::Ok;
        match self.end {
            Some(End::Complete) => {
                self.report.good(uptime, Took::First(self.pace.first));
                self.draft.end(if self.fallback { Outcome::Fallback } else { Outcome::Served }, Some(200));
            }
            Some(End::Broken(broken)) => {
                class = broken;
                self.report.broken(aftermath(broken, None), self.fleet.policy(), now, uptime);
                self.draft.end(Outcome::Partial, Some(200));
            }
            Some(End::Stopped | End::Failed) => {
                class = Class::Truncated;
                self.draft.end(Outcome::Partial, Some(200));
            }
            None => {
                class = Class::ClientClosed;
                let usage = self.live.as_deref().map(|live| live.usage).unwrap_or_default();
                self.draft.edit(|record| {
                    record.prompt_tokens = usage.prompt;
                    record.completion_tokens = usage.completion;
                });
                self.draft.end(Outcome::ClientClosed, None);
            }
        }
        self.draft.edit(|record| {
            if let Some(attempt) = record.attempts.last_mut() {
                attempt.class = class;
                attempt.ms = took;
            }
        });
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let relay = self.get_mut();
        let plain = !relay.events;
        match relay.poll_out(cx) {
            Poll::Ready(Some(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            // A plain answer has no way to say that it is not whole but to break off, too.
            Poll::Ready(None) if plain && matches!(relay.end, Some(End::Broken(_) | End::Stopped | End::Failed)) => {
                Poll::Ready(Some(Err(BrokenOff)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A plain answer broke off in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer broke off")]
pub struct BrokenOff;

impl From<Infallible> for BrokenOff {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// What is to go out, joined only when there are several pieces.
#[derive(Default)]
struct Out {
    first: Option<Bytes>,
    joined: BytesMut,
    len: usize,
    /// The provider's own error was the end; nothing is added to it.
    closed: bool,
}

impl Out {
    fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        match self.first.take() {
            None if self.joined.is_empty() => self.first = Some(bytes),
            first => {
                first.into_iter().for_each(|first| self.joined.extend_from_slice(&first));
                self.joined.extend_from_slice(&bytes);
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        self.len = 0;
        self.first.take().or_else(|| (!self.joined.is_empty()).then(|| self.joined.split().freeze()))
    }
}

fn interruption(class: Class) -> Bytes {
    let why = if class == Class::Timeout { "stalled" } else { "broke off" };
    error_event(&format!("The answer {why} before its end. What came until now is all there is."))
}

fn stopped() -> Bytes {
    error_event("routor is stopping, so this answer ends before its end. What came until now is all there is.")
}

fn failed() -> Bytes {
    error_event("routor failed at this answer, so it ends before its end. What came until now is all there is.")
}

fn error_event(message: &str) -> Bytes {
    let error = serde_json::json!({"error": {"message": message, "type": "provider_error", "param": null, "code": "stream_interrupted"}});
    format!("data: {error}\n\n").into()
}
