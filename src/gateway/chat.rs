//! `POST /v1/chat/completions`: from bytes to reply.

use std::future::Future;
use std::task::Poll;

use http::{Response, StatusCode};

use super::body::{self, Out, Sent};
use super::error::ApiError;
use super::guards::{self, Visit};
use super::reply::into_response;
use super::server::Gateway;
use crate::config::Server;
use crate::engine::{Call, Reply};
use crate::journal::{Draft, Outcome};
use crate::upstream::Caller;
use crate::wire::parse;

/// Reads the request, asks the engine, writes the answer. When the caller
/// leaves, this future is dropped, and everything under it.
pub(super) async fn complete(
    gateway: &Gateway,
    server: &Server,
    visit: Visit<'_>,
    body: Sent,
    id: &str,
) -> Result<Response<Out>, ApiError> {
    let hops = guards::hops(visit.headers, &gateway.engine.id)?;
    let mut room = gateway.shared.capacity.room();
    let bytes = body::read(body, server.max_body, &mut room, visit.clocks).await?;
    let mut draft = Draft::open(gateway.engine.journal(), id);
    if gateway.shared.traced {
        let caller = visit.headers.get("traceparent").and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        draft.edit(|record| record.traceparent = caller);
    }
    #[cfg(debug_assertions)]
    super::hooks::in_handler(visit.headers);
    let ask = match parse(bytes) {
        Ok(ask) => ask,
        Err(fault) => {
            draft.end(Outcome::Rejected, Some(400));
            return Err(fault.into());
        }
    };
    let call = Call { ask, caller: Caller::new(visit.headers, hops), draft };
    let mut answer = std::pin::pin!(gateway.engine.answer(&gateway.desk, call));
    // The connection is woken when the process is to end, and this with it.
    let reply = std::future::poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Pending if gateway.engine.is_halting() => Poll::Ready(None),
        polled => polled.map(Some),
    });
    let Some(reply) = reply.await else {
        let message = "routor is stopping; ask again in a moment";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message));
    };
    error_code(&reply).into_iter().for_each(|code| gateway.shared.metrics.refused(code));
    Ok(into_response(reply, server.debug_routing))
}

/// The code of an error that routor itself makes of a reply.
fn error_code(reply: &Reply) -> Option<&'static str> {
    match reply {
        Reply::Whole { .. } | Reply::Stream { .. } => None,
        Reply::AllFailed { too_long: true, .. } => Some("context_length_exceeded"),
        Reply::AllFailed { .. } => Some("all_models_failed"),
        Reply::Refused(refusal) => Some(ApiError::from(refusal.clone()).code),
    }
}
