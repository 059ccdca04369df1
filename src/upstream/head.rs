//! The head of a request to a provider: only what the caller may pass on, and
//! the provider's own key.

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};

use super::body::RequestBody;
use super::pool::Form;
use crate::catalog::Auth;
use crate::config::{Key, Provider};

/// Whether a header of the caller goes on to a provider. Everything else stays
/// here: `Authorization`, cookies, organisation headers, whatever they may hold.
/// The name is in lower case.
fn goes_on(name: &str) -> bool {
    matches!(
        name,
        "content-type"
            | "accept"
            | "user-agent"
            | "traceparent"
            | "tracestate"
            | "idempotency-key"
            | "openai-beta"
            | "anthropic-beta"
            | "http-referer"
            | "x-title"
    )
}

/// The part of the caller's headers that goes upstream.
#[derive(Debug, Clone, Default)]
pub struct Caller(Vec<(HeaderName, HeaderValue)>);

/// The routors that a request has been through, so that it does not go round
/// in a circle: their ids, the last one behind.
pub const HOPS: HeaderName = HeaderName::from_static("x-routor-hop");

impl Caller {
    /// Picks what may go on; `hops` is the value of [`HOPS`].
    pub fn new(headers: &HeaderMap, hops: HeaderValue) -> Self {
        let mut kept = Vec::with_capacity(6);
        kept.extend(headers.iter().filter(|(name, _)| goes_on(name.as_str())).map(|(name, value)| (name.clone(), value.clone())));
        kept.push((HOPS, hops));
        Self(kept)
    }
}

/// What every request to one provider has in common.
pub(super) struct Template {
    target: Uri,
    /// The target without the host.
    path: Uri,
    host: HeaderValue,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Template {
    /// `None` when a configured header cannot be sent, which the configuration has ruled out.
    pub fn new(provider: &Provider, target: &Uri, proxy: Option<HeaderValue>) -> Option<Self> {
        let mut headers = vec![(ACCEPT_ENCODING, HeaderValue::from_static("identity"))];
        for header in &provider.headers {
            headers.push((HeaderName::from_bytes(header.name.as_bytes()).ok()?, secret(header.value.expose())?));
        }
        if let Some(key) = provider.key.key() {
            headers.extend(auth(provider.auth, key));
        }
        headers.extend(proxy.map(|value| (http::header::PROXY_AUTHORIZATION, value)));
        let path = Uri::from(target.path_and_query()?.clone());
        let host = HeaderValue::from_str(target.authority()?.as_str()).ok()?;
        Some(Self { target: target.clone(), path, host, headers })
    }

    /// A request with the caller's headers under the provider's.
    pub fn request(&self, form: Form, caller: &Caller, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = if form.absolute { &self.target } else { &self.path }.clone();
        let mut headers = HeaderMap::with_capacity(caller.0.len() + self.headers.len() + 3);
        if form.host {
            headers.insert(HOST, self.host.clone());
        }
        for (name, value) in &caller.0 {
            headers.append(name.clone(), value.clone());
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, HeaderValue::from_static(concat!("routor/", env!("CARGO_PKG_VERSION"))));
        }
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        *request.headers_mut() = headers;
        request
    }
}

fn auth(auth: Auth, key: &Key) -> Option<(HeaderName, HeaderValue)> {
    match auth {
        Auth::Bearer => Some((AUTHORIZATION, secret(&format!("Bearer {}", key.expose()))?)),
        Auth::ApiKey => Some((HeaderName::from_static("api-key"), secret(key.expose())?)),
        Auth::XApiKey => Some((HeaderName::from_static("x-api-key"), secret(key.expose())?)),
        Auth::None => None,
    }
}

/// A header value that no log shows.
pub(super) fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
