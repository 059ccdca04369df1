//! The free call that tells whether a provider can be used. Only a proof
//! throws a key out.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::head::secret;
use super::tls;
use crate::catalog::{Auth, PingAuth};
use crate::config::{KeyState, Provider};
use crate::failover::{Class, ErrorText, blames_key, classify};
use crate::redact::Redactor;

/// A list of models is never larger than this.
const LARGEST: usize = 8 << 20;
/// More ids than this are not remembered.
const MOST_IDS: usize = 5000;

/// What the check of a provider came to. The names are stable: scripts read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The key was accepted.
    Ok,
    /// The key is proven bad.
    Rejected,
    /// It could not be reached.
    Unreachable,
    /// It has no usable key.
    NoKey,
    /// The key is good and there is no money behind it.
    NoCredit,
    /// It answered, and the answer proves nothing.
    Unverified,
}

impl Standing {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Ok => "ok",
            Standing::Rejected => "rejected",
            Standing::Unreachable => "unreachable",
            Standing::NoKey => "no_key",
            Standing::NoCredit => "no_credit",
            Standing::Unverified => "unverified",
        }
    }

    /// Whether a provider of this standing is in the pool.
    pub fn in_pool(self) -> bool {
        matches!(self, Standing::Ok | Standing::NoCredit | Standing::Unverified)
    }
}

/// The result of a check.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What it came to.
    pub standing: Standing,
    /// The provider's status, if it gave one.
    pub status: Option<u16>,
    /// How long it took.
    pub took: Duration,
    /// The ids of the models it lists, when it lists any.
    pub models: Option<Vec<String>>,
    /// What happened, for a reader; never the provider's words.
    pub detail: String,
}

impl Checked {
    fn new(standing: Standing, detail: impl Into<String>) -> Self {
        Self { standing, status: None, took: Duration::ZERO, models: None, detail: detail.into() }
    }

    /// A provider that was not asked: for a command that answers one prompt.
    pub fn unasked(provider: &Provider) -> Self {
        match &provider.key {
            KeyState::Missing(why) => Self::new(Standing::NoKey, why.clone()),
            KeyState::NotNeeded | KeyState::Present(_) => Self::new(Standing::Unverified, "not asked"),
        }
    }
}

/// Asks providers. Redirects are never followed, nothing is tried twice, no
/// connection is kept.
pub struct Validator {
    /// For providers on this machine, which no proxy is asked for.
    near: Client,
    /// For those of them that use TLS all the same.
    near_tls: OnceLock<Option<Client>>,
    /// For all others; made on first use, since it loads the certificate stores.
    far: OnceLock<Option<Client>>,
}

impl Validator {
    /// Fails only when the system gives no sockets.
    pub fn new() -> Result<Self, reqwest::Error> {
        Ok(Self {
            near: builder().no_proxy().tls_backend_preconfigured(tls::unused()).build()?,
            near_tls: OnceLock::new(),
            far: OnceLock::new(),
        })
    }

    fn client(&self, provider: &Provider) -> &Client {
        let secure = || builder().tls_backend_preconfigured(tls::config());
        if provider.endpoint.is_loopback() {
            if provider.endpoint.url().scheme() == "http" {
                return &self.near;
            }
            return self.near_tls.get_or_init(|| secure().no_proxy().build().ok()).as_ref().unwrap_or(&self.near);
        }
        let far = self.far.get_or_init(|| secure().build().ok());
        far.as_ref().unwrap_or(&self.near)
    }

    /// Asks one provider; takes at most `patience`.
    pub async fn check(&self, provider: &Provider, patience: Duration) -> Checked {
        if let KeyState::Missing(why) = &provider.key {
            return Checked::new(Standing::NoKey, why.clone());
        }
        let started = Instant::now();
        let mut checked = match tokio::time::timeout(patience, self.ask_and_judge(provider)).await {
            Ok(Ok(checked)) => checked,
            Ok(Err(problem)) => Checked::new(Standing::Unreachable, explain(&problem)),
            Err(_) => Checked::new(Standing::Unreachable, format!("no answer within {}", humantime::format_duration(patience))),
        };
        checked.took = started.elapsed();
        // Some of it is the provider's own words: a host that it redirects to, for example.
        checked.detail = Redactor::new(provider.key.key().into_iter().map(|key| key.expose())).mask_text(&checked.detail);
        checked
    }

    async fn ask_and_judge(&self, provider: &Provider) -> Result<Checked, reqwest::Error> {
        let (status, answer, body) = self.ask(provider, headers(provider, true)).await?;
        let mut checked = judge(provider, status, &answer, &body);
        if status.is_success() && provider.ping.compare && checked.standing == Standing::Unverified && checked.models.is_some() {
            let (without, _, _) = self.ask(provider, headers(provider, false)).await?;
            if matches!(without.as_u16(), 401 | 403) {
                checked.standing = Standing::Ok;
                checked.detail.clear();
            }
        }
        Ok(checked)
    }

    async fn ask(&self, provider: &Provider, headers: HeaderMap) -> Result<(StatusCode, HeaderMap, Vec<u8>), reqwest::Error> {
        let base = provider.endpoint.as_str();
        let target = match (&provider.ping.url, &provider.ping.path) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => format!("{base}{path}"),
            (None, None) => format!("{base}/models"),
        };
        let mut response = self.client(provider).get(target).headers(headers).send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await? {
            body.extend_from_slice(&part);
            if body.len() > LARGEST {
                break;
            }
        }
        Ok((status, headers, body))
    }
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .pool_max_idle_per_host(0)
        .user_agent(concat!("routor/", env!("CARGO_PKG_VERSION")))
}

fn headers(provider: &Provider, with_key: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let configured = provider.headers.iter().map(|header| (header.name.as_str(), header.value.expose()));
    let pinged = provider.ping.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in configured.chain(pinged) {
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), secret(value)) {
            headers.insert(name, value);
        }
    }
    let Some(key) = provider.key.key().filter(|_| with_key) else { return headers };
    let (name, value) = match (provider.ping.auth, provider.auth) {
        (Some(PingAuth::XApiKey), _) | (None, Auth::XApiKey) => (HeaderName::from_static("x-api-key"), key.expose().to_owned()),
        (Some(PingAuth::ApiKey), _) | (None, Auth::ApiKey) => (HeaderName::from_static("api-key"), key.expose().to_owned()),
        (Some(PingAuth::XGoogApiKey), _) => (HeaderName::from_static("x-goog-api-key"), key.expose().to_owned()),
        (Some(PingAuth::Bearer), _) | (None, Auth::Bearer) => (AUTHORIZATION, format!("Bearer {}", key.expose())),
        (None, Auth::None) => return headers,
    };
    if let Some(value) = secret(&value) {
        headers.insert(name, value);
    }
    headers
}

/// What an answer proves.
fn judge(provider: &Provider, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Checked {
    let text = ErrorText::read(body);
    let code = status.as_u16();
    let ping = &provider.ping;
    let class = classify(code, &text);
    let keyless = matches!(provider.key, KeyState::NotNeeded);
    let result = |standing, detail: &str| Checked { status: Some(code), ..Checked::new(standing, detail) };
    let bad_key = "the key was not accepted";
    match code {
        200..=299 => accepted(provider, body, &text, keyless, code),
        _ if class == Class::NoCredit => result(Standing::NoCredit, "the key is good, but there is no credit behind it"),
        401 if blames_key(&text) || !text.says(&["missing scopes"]) && !text.says(&["insufficient permission"]) => {
            result(Standing::Rejected, bad_key)
        }
        401 => result(Standing::Unverified, "the key exists but may not list models (limited scope)"),
        400 | 403 if blames_key(&text) && !ping.only_401 => result(Standing::Rejected, bad_key),
        500.. => result(Standing::Unreachable, &format!("status {code}")),
        300..=399 => {
            let elsewhere = headers.get(LOCATION).and_then(|place| place.to_str().ok()).and_then(|place| url::Url::parse(place).ok());
            let to = elsewhere.and_then(|url| url.host_str().map(|host| format!(" to {host}"))).unwrap_or_default();
            result(Standing::Unverified, &format!("a redirect{to}, which is not followed"))
        }
        404 if text.html => result(Standing::Unverified, "404 with a web page: base_url may be wrong (is /v1 missing?)"),
        404 | 405 => result(Standing::Unverified, &format!("status {code}: it has no list of models here")),
        429 => result(Standing::Unverified, "rate limited"),
        _ => result(Standing::Unverified, &format!("status {code} proves nothing")),
    }
}

fn accepted(provider: &Provider, body: &[u8], text: &ErrorText, keyless: bool, code: u16) -> Checked {
    let result = |standing, detail: &str| Checked { status: Some(code), ..Checked::new(standing, detail) };
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return result(Standing::Unverified, if text.html { "a web page instead of a list of models" } else { "not JSON" });
    };
    if value.get("error").is_some_and(|error| !error.is_null()) || value.get("base_resp").is_some() {
        return match crate::failover::classify_embedded(text) {
            Class::NoCredit => result(Standing::NoCredit, "the key is good, but there is no credit behind it"),
            Class::Auth if blames_key(text) => result(Standing::Rejected, "the key was not accepted"),
            _ => result(Standing::Unverified, "an error inside a good answer"),
        };
    }
    let models = provider.ping.lists.then(|| ids(&value)).flatten();
    let checked = match (provider.ping.proves || keyless, &models) {
        (true, None) if provider.ping.lists => result(Standing::Unverified, "an answer that lists no models"),
        (true, _) => result(Standing::Ok, ""),
        (false, _) => result(Standing::Unverified, "its list of models is public, so the key is not proven"),
    };
    Checked { models, ..checked }
}

/// The ids of `{"data":[…]}`, `{"models":[…]}` or a bare array.
fn ids(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array().or_else(|| value.get("data")?.as_array()).or_else(|| value.get("models")?.as_array())?;
    let id = |entry: &Value| {
        let id = entry.as_str().or_else(|| entry.get("id")?.as_str()).or_else(|| entry.get("name")?.as_str())?;
        let id = id.strip_prefix("models/").unwrap_or(id);
        let sane = !id.is_empty() && id.len() <= 256 && !id.chars().any(char::is_control);
        sane.then(|| id.to_owned())
    };
    Some(list.iter().filter_map(id).take(MOST_IDS).collect())
}

/// Why a provider could not be reached, without its address and without keys.
fn explain(problem: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(problem);
    while let Some(inner) = cause {
        words.push(inner.to_string());
        cause = inner.source();
    }
    // The innermost cause says the most: "Connection refused", "failed to lookup address".
    match words.pop() {
        Some(inner) if problem.is_connect() => format!("no connection: {inner}"),
        Some(inner) => inner,
        None if problem.is_timeout() => "no answer in time".to_owned(),
        None => "no connection".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Ping;
    use crate::config::{Surroundings, load};

    fn provider(ping: Ping, key: bool) -> Provider {
        let around = Surroundings {
            env: &|name| (name == "K" && key).then(|| "sk-key".to_owned()),
            key_file: &|_| Err(String::new()),
            catalog: crate::catalog::builtin(),
        };
        let text = if key {
            "[providers.x]\nbase_url = \"https://x.example/v1\"\napi_key_env = \"K\"\n"
        } else {
            "[providers.x]\nbase_url = \"https://x.example/v1\"\n"
        };
        let settings = load(Some((std::path::Path::new("t"), text)), None, &around).unwrap();
        let mut provider = settings.providers.into_iter().find(|provider| provider.name == "x").unwrap();
        provider.ping = ping;
        provider
    }

    fn standing(provider: &Provider, status: u16, body: &str) -> Standing {
        judge(provider, StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes()).standing
    }

    #[test]
    fn only_a_proof_rejects_a_key() {
        use Standing::*;
        let proving = provider(Ping { proves: true, lists: true, ..Ping::default() }, true);
        let list = r#"{"data":[{"id":"m"}]}"#;
        for (status, body, wanted) in [
            (200, list, Ok),
            (200, r#"[{"id":"m"}]"#, Ok),
            (200, r#"{"models":[{"name":"models/m"}]}"#, Ok),
            (200, r#"{"data":null}"#, Unverified),
            (200, "<html></html>", Unverified),
            (200, r#"{"error":{"message":"x"}}"#, Unverified),
            (200, r#"{"base_resp":{"status_code":1004,"status_msg":"login fail"}}"#, Rejected),
            (401, "", Rejected),
            (401, "<html>401 Authorization Required</html>", Rejected),
            (
                401,
                r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: model.request."}}"#,
                Unverified,
            ),
            (400, r#"[{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}]"#, Rejected),
            (400, r#"{"code":"x","error":"Incorrect API key provided: gs***tF"}"#, Rejected),
            (400, r#"{"error":"something else"}"#, Unverified),
            (403, r#"{"code":"unauthenticated:bad-credentials"}"#, Rejected),
            (403, r#"{"error":"country not supported"}"#, Unverified),
            (402, "", NoCredit),
            (429, r#"{"error":{"code":"insufficient_quota"}}"#, NoCredit),
            (500, r#"{"error":{"message":"insufficient balance (1008)"}}"#, NoCredit),
            (429, "", Unverified),
            (404, "", Unverified),
            (405, "", Unverified),
            (302, "", Unverified),
            (500, "", Unreachable),
            (503, "", Unreachable),
        ] {
            assert_eq!(standing(&proving, status, body), wanted, "{status} {body}");
        }
        let public = provider(Ping { proves: false, lists: true, ..Ping::default() }, true);
        assert_eq!(standing(&public, 200, list), Unverified);
        let strict = provider(Ping { proves: true, only_401: true, ..Ping::default() }, true);
        assert_eq!(standing(&strict, 403, r#"{"code":"bad-credentials"}"#), Unverified);
        let keyless = provider(Ping { proves: false, lists: true, ..Ping::default() }, false);
        assert_eq!(standing(&keyless, 200, list), Ok);
    }

    #[test]
    fn ids_are_read_from_every_shape() {
        let read = |text: &str| ids(&serde_json::from_str(text).unwrap());
        for text in [r#"{"data":[{"id":"a"},{"id":"b"}]}"#, r#"[{"id":"a"},"b"]"#, r#"{"models":[{"name":"models/a"},{"name":"b"}]}"#] {
            assert_eq!(read(text).unwrap(), ["a", "b"], "{text}");
        }
        assert_eq!(read("{}"), None);
    }
}
