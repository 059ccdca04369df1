//! Which request goes where.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, HeaderMap, HeaderName,
    HeaderValue, VARY,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::json;

use super::body::{self, Out, Sent};
use super::connection::Clocks;
use super::error::{ApiError, json_response};
use super::guards::{self, Visit};
use super::server::Gateway;
use super::{api, chat, debug, events, models, page};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const ROUTES: [&str; 11] = [
    "POST /v1/chat/completions",
    "POST /v1/routing/debug",
    "GET /v1/models",
    "GET /v1/models/{id}",
    "GET /health",
    "GET /ready",
    "GET /metrics",
    "GET /dashboard",
    "GET /api/providers",
    "GET /api/requests",
    "GET /api/events",
];

/// Routes that OpenAI's and Anthropic's clients may ask for and that are not
/// there.
const NOT_YET: [&str; 12] = [
    "/v1/responses",
    "/v1/messages",
    "/v1/complete",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/images",
    "/v1/audio",
    "/v1/moderations",
    "/v1/files",
    "/v1/batches",
    "/v1/fine_tuning",
    "/v1/assistants",
];

/// Answers one request. Nothing is read of it before the guards have passed it.
pub(super) async fn handle(gateway: &Gateway, head: &Parts, body: Sent, local: IpAddr, clocks: &Arc<Clocks>) -> Response<Out> {
    #[cfg(debug_assertions)]
    let panics_at = super::hooks::in_stream(&head.headers);
    if body.is_empty(clocks) {
        clocks.has_all();
    }
    let id = request_id(&head.headers);
    let fleet = gateway.engine.fleet();
    let server = &fleet.settings.server;
    let visit = Visit { method: &head.method, path: head.uri.path(), headers: &head.headers, local, clocks };
    let mut origin = None;
    let fault = clocks.fault();
    let admitted = if let Some(fault) = fault {
        Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", fault.text()))
    } else if head.uri.authority().is_some() {
        Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "routor is not a forward proxy; ask for a path such as /v1/chat/completions",
        ))
    } else {
        guards::admit(visit, server)
    };
    let answer = match admitted {
        Err(error) => Err(error),
        Ok(allowed) => {
            origin = allowed.map(str::to_owned);
            if guards::is_preflight(visit) {
                preflight(allowed.is_some())
            } else {
                route(gateway, &fleet, visit, head.uri.query(), body, &id).await
            }
        }
    };
    let mut response = answer.unwrap_or_else(|mut error| {
        gateway.shared.metrics.refused(error.code);
        error.message = fleet.redactor.mask_text(&error.message);
        error.into_response()
    });
    finish(response.headers_mut(), id, origin.as_deref());
    if fault.is_some() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    #[cfg(debug_assertions)]
    {
        response.body_mut().panics_at = panics_at;
    }
    response
}

async fn route(
    gateway: &Gateway,
    fleet: &crate::engine::Fleet,
    visit: Visit<'_>,
    query: Option<&str>,
    body: Sent,
    id: &str,
) -> Result<Response<Out>, ApiError> {
    let server = &fleet.settings.server;
    let get = matches!(*visit.method, Method::GET | Method::HEAD);
    match visit.path {
        "/health" if get => return Ok(json_response(StatusCode::OK, r#"{"status":"ok"}"#)),
        "/ready" if get => return Ok(ready(fleet.pool_size())),
        path => match page::file(path).filter(|_| get) {
            Some(file) => return Ok(file),
            None => guards::check_key(visit.headers, server)?,
        },
    }
    // What is seldom asked for is kept in boxes: the largest of these futures is what each connection has room for.
    match visit.path {
        "/v1/chat/completions" if visit.method == Method::POST => {
            let body = body::checked(visit, body)?;
            chat::complete(gateway, server, visit, body, id).await
        }
        "/v1/routing/debug" if visit.method == Method::POST => {
            let body = body::checked(visit, body)?;
            Box::pin(debug::explain(gateway, server, visit, body)).await
        }
        "/metrics" if get => Ok(api::metrics(gateway, fleet)),
        "/api/providers" if get => Ok(api::providers(gateway, fleet)),
        "/api/requests" if get => Box::pin(api::requests(gateway, query)).await,
        "/api/events" if visit.method == Method::GET => Box::pin(events::follow(gateway, query)).await,
        "/v1/models" if get => Ok(models::list(fleet)),
        "/" if get => Ok(json_response(StatusCode::OK, json!({"routor": env!("CARGO_PKG_VERSION"), "routes": ROUTES}).to_string())),
        path => match path.strip_prefix("/v1/models/").filter(|id| !id.is_empty()) {
            Some(id) if get => models::show(fleet, id),
            Some(_) => Err(wrong_method(visit.method, path, "GET")),
            None => Err(nowhere(visit.method, path)),
        },
    }
}

fn ready(pool: usize) -> Response<Out> {
    let status = if pool > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(status, json!({"ready": pool > 0, "providers": pool}).to_string())
}

fn nowhere(method: &Method, path: &str) -> ApiError {
    match path {
        "/v1/chat/completions" | "/v1/routing/debug" => wrong_method(method, path, "POST"),
        "/v1/models" | "/health" | "/ready" | "/" | "/metrics" | "/dashboard" | "/api/providers" | "/api/requests" | "/api/events" => {
            wrong_method(method, path, "GET")
        }
        "/chat/completions" | "/models" => {
            ApiError::not_found(format!("there is nothing at {path}; the base URL ends in /v1, so this is /v1{path}"))
        }
        _ if NOT_YET.iter().any(|start| path.starts_with(start)) => {
            ApiError::not_found(format!("routor does not have {} yet; it has {}", shown(path), ROUTES.join(", ")))
        }
        _ => ApiError::not_found(format!("there is nothing at {}; there are {}", shown(path), ROUTES.join(", "))),
    }
}

fn shown(path: &str) -> String {
    path.chars().take(100).collect()
}

fn wrong_method(method: &Method, path: &str, right: &'static str) -> ApiError {
    let message = format!("{path} takes {right}, not {}", shown(method.as_str()));
    ApiError { allow: Some(right), ..ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message) }
}

/// A browser asks before it calls; only an allowed origin gets a yes.
fn preflight(allowed: bool) -> Result<Response<Out>, ApiError> {
    if !allowed {
        return Err(ApiError::forbidden("no page may call routor unless its origin is one of server.allow_origins"));
    }
    let mut response = Response::new(Out::full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type, x-request-id, idempotency-key, openai-beta, anthropic-beta, x-title, http-referer, x-stainless-arch, x-stainless-lang, x-stainless-os, x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout"),
    );
    Ok(response)
}

/// What every response carries.
fn finish(headers: &mut HeaderMap, id: String, origin: Option<&str>) {
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(origin).ok()) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(VARY, HeaderValue::from_static("origin"));
    }
}

/// The caller's own id if it is a sane one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sane = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    let own = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
    own.map_or_else(new_id, str::to_owned)
}

/// 96 random bits; the formatting machinery would take most of the time for it.
fn new_id() -> String {
    let bits = fastrand::u128(..);
    let digits: [u8; 24] = std::array::from_fn(|at| match (bits >> (4 * at)) as u8 & 15 {
        digit @ 0..10 => b'0' + digit,
        digit => b'a' + digit - 10,
    });
    ["req_", std::str::from_utf8(&digits).unwrap_or_default()].concat()
}
