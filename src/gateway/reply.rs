//! From the engine's reply to a response: which of a provider's headers go
//! on, and which of routor's are added.

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use smallvec::SmallVec;

use super::body::Out;
use super::error::{self, ApiError};
use crate::engine::{Reply, Routed};

/// Whether a provider's header never reaches the caller, beside what
/// `Connection` names. The name is in lower case.
fn is_left_out(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "content-length"
            | "set-cookie"
            | "set-cookie2"
            | "server"
            | "alt-svc"
            | "x-request-id"
            | "x-should-retry"
            | "location"
            | "clear-site-data"
            | "strict-transport-security"
            | "nel"
            | "report-to"
    ) || name.starts_with("access-control-")
        || name.starts_with("x-routor-")
}

/// The response to a request; `debug` adds how it was routed.
pub fn into_response(reply: Reply, debug: bool) -> Response<Out> {
    match reply {
        Reply::Whole { status, headers, body, routed } => respond(status, headers, Out::full(body), debug.then_some(&routed)),
        Reply::Stream { status, headers, relay, routed } => respond(status, headers, Out::relay(relay), debug.then_some(&routed)),
        Reply::AllFailed { attempts, retry_after, too_long, routed } => {
            let mut response = if too_long {
                too_long_error().into_response()
            } else {
                error::all_failed(debug.then_some(attempts.as_slice()), retry_after)
            };
            if debug {
                add_routing(response.headers_mut(), &routed);
            }
            response
        }
        Reply::Refused(refusal) => ApiError::from(refusal).into_response(),
    }
}

fn too_long_error() -> ApiError {
    let message = "The messages are longer than the context window of every model in the fallback chain. Please reduce their length.";
    ApiError { param: Some("messages"), ..ApiError::new(StatusCode::BAD_REQUEST, "context_length_exceeded", message) }
}

fn respond(status: StatusCode, headers: HeaderMap, body: Out, routed: Option<&Routed>) -> Response<Out> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = public(headers);
    if let Some(routed) = routed {
        add_routing(response.headers_mut(), routed);
    }
    response
}

/// A provider's headers without those that are not for the caller.
fn public(mut headers: HeaderMap) -> HeaderMap {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let named = named.filter_map(|name| name.trim().parse().ok());
    let own = headers.keys().filter(|name| is_left_out(name.as_str())).cloned();
    let gone: SmallVec<[HeaderName; 8]> = named.chain(own).collect();
    for name in gone {
        headers.remove(name);
    }
    headers
}

fn add_routing(headers: &mut HeaderMap, routed: &Routed) {
    let mut add = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    if let Some(model) = &routed.model {
        add("x-routor-model", model);
    }
    if let Some(tier) = routed.tier {
        add("x-routor-tier", tier.name());
    }
    if let Some(floor) = routed.history_floor {
        add("x-routor-history-floor", floor.name());
    }
    if let Some(savings) = routed.savings {
        add("x-routor-savings", &format!("{:.0}", savings * 100.0));
    }
    add("x-routor-confidence", &format!("{:.2}", routed.confidence));
    add("x-routor-profile", routed.profile.name());
    add("x-routor-attempts", &routed.attempts.to_string());
    if routed.fallback {
        add("x-routor-fallback", "true");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_for_the_caller_stays_here() {
        let mut headers = HeaderMap::new();
        for name in [
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "content-length",
            "set-cookie",
            "set-cookie2",
            "server",
            "alt-svc",
            "x-request-id",
            "x-should-retry",
            "location",
            "clear-site-data",
            "strict-transport-security",
            "nel",
            "report-to",
            "access-control-allow-origin",
            "x-routor-model",
            "x-foo",
        ] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        headers.insert("connection", HeaderValue::from_static("close, X-Foo"));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("x-ratelimit-remaining-tokens", HeaderValue::from_static("5"));
        let kept: Vec<String> = public(headers).keys().map(ToString::to_string).collect();
        assert_eq!(kept.len(), 2, "{kept:?}");
    }
}
