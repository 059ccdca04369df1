//! The head of a request to a provider: only what the caller may pass on, and
//! the provider's own key.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use http::{Method, Request, Uri};
use smallvec::SmallVec;

use super::body::RequestBody;
use super::dialect::translate;
use crate::catalog::{Auth, Facts};
use crate::config::{Key, Provider};
use crate::wire::{Ask, Pieces};

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

/// The caller's headers, of which a part goes upstream.
#[derive(Debug, Clone)]
pub struct Caller<'a> {
    headers: &'a HeaderMap,
    hops: HeaderValue,
}

/// The routors that a request has been through, so that it does not go round
/// in a circle: their ids, the last one behind.
pub const HOPS: HeaderName = HeaderName::from_static("x-routor-hop");

impl<'a> Caller<'a> {
    /// What the caller sent; `hops` is the value of [`HOPS`].
    pub fn new(headers: &'a HeaderMap, hops: HeaderValue) -> Self {
        Self { headers, hops }
    }

    /// What goes on.
    fn passed(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        static NAME: HeaderName = HOPS;
        self.headers.iter().filter(|(name, _)| goes_on(name.as_str())).chain([(&NAME, &self.hops)])
    }
}

/// What every request to one provider has in common.
pub(super) struct Template {
    target: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The beginning of a request in HTTP/1.1: the first line, the host, and these headers.
    start: Vec<u8>,
}

impl Template {
    /// With `absolute`, HTTP/1.1 requests name the whole address, for a proxy
    /// that takes them, and `proxy` is what it wants to be told. `None` when a
    /// configured header cannot be sent, which the configuration has ruled out.
    pub fn new(provider: &Provider, target: &Uri, absolute: bool, proxy: Option<HeaderValue>) -> Option<Self> {
        let mut headers = vec![(ACCEPT_ENCODING, HeaderValue::from_static("identity"))];
        for header in &provider.headers {
            set(&mut headers, HeaderName::from_bytes(header.name.as_bytes()).ok()?, secret(header.value.expose())?);
        }
        if let Some((name, value)) = provider.key.key().and_then(|key| auth(provider.auth, key)) {
            set(&mut headers, name, value);
        }
        if let Some(value) = proxy {
            set(&mut headers, PROXY_AUTHORIZATION, value);
        }
        let (host, path) = (target.authority()?.as_str(), target.path_and_query()?.as_str());
        let whole = if absolute { target.to_string() } else { path.to_owned() };
        let mut start = format!("POST {whole} HTTP/1.1\r\nhost: {host}\r\n").into_bytes();
        headers.iter().for_each(|(name, value)| write_field(&mut start, name, value));
        Some(Self { target: target.clone(), headers, start })
    }

    /// The headers of a request beside the provider's own: those of the caller
    /// that these do not replace, and what no request goes without.
    fn others<'a>(&'a self, caller: &'a Caller<'_>) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        static AGENT: HeaderValue = HeaderValue::from_static(concat!("routor/", env!("CARGO_PKG_VERSION")));
        static JSON: HeaderValue = HeaderValue::from_static("application/json");
        let is_own = |name: &HeaderName| self.headers.iter().any(|(own, _)| own == name);
        let is_missing = move |name: &HeaderName| !is_own(name) && !caller.headers.contains_key(name);
        let missing = [(&USER_AGENT, &AGENT), (&CONTENT_TYPE, &JSON)].into_iter().filter(move |(name, _)| is_missing(name));
        caller.passed().filter(move |(name, _)| !is_own(name)).chain(missing)
    }
}

/// Adds a header, in the place of those of the same name.
fn set(headers: &mut Vec<(HeaderName, HeaderValue)>, name: HeaderName, value: HeaderValue) {
    headers.retain(|(known, _)| *known != name);
    headers.push((name, value));
}

fn write_field(head: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// One request to a provider; it can be sent as often as needed.
pub(super) struct Outgoing<'a> {
    pub template: &'a Template,
    pub caller: &'a Caller<'a>,
    pub ask: &'a Ask,
    pub provider: &'a Provider,
    pub facts: &'a Facts,
}

impl<'a> Outgoing<'a> {
    fn body(&self) -> Pieces<'a> {
        translate(self.ask, &self.provider.dialect, self.facts)
    }

    /// Appends the request in HTTP/1.1 to `out`, but for a large body: gives the
    /// parts of that, which are not copied.
    pub fn write(&self, out: &mut Vec<u8>) -> SmallVec<[Bytes; 4]> {
        let body = self.body();
        out.extend_from_slice(&self.template.start);
        self.template.others(self.caller).for_each(|(name, value)| write_field(out, name, value));
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        if !body.is_small() {
            return body.share();
        }
        body.write_to(out);
        SmallVec::new()
    }

    /// The request in HTTP/2.
    pub fn request(&self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::new(&self.body()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.template.target.clone();
        let own = self.template.headers.iter().map(|(name, value)| (name, value));
        for (name, value) in own.chain(self.template.others(self.caller)) {
            request.headers_mut().append(name.clone(), value.clone());
        }
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
