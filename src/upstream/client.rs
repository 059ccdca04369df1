//! One HTTP client for each provider, so that a provider that hangs holds up
//! nobody else. Each worker thread has its own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::RequestBody;
use super::connect::Connector;
use super::head::Template;
use crate::config::{Provider, Settings, TimeoutSet, Timeouts};

/// Providers close idle connections after 60 s and more, Node servers after
/// 5 s: a connection is not used again after this.
const IDLE: Duration = Duration::from_secs(25);
/// How often an HTTP/2 connection with open streams is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long it may take to say so.
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// The largest head of an answer.
const LARGEST_HEAD: usize = 32 * 1024;

/// What is needed to call one provider.
pub(super) struct Line {
    pub client: Client<Connector, RequestBody>,
    /// Keeps no connection: for the one resend after a pooled one had died,
    /// which another pooled one may have done, too.
    pub fresh: Client<Connector, RequestBody>,
    pub template: Template,
    /// Whether a proxy takes whole requests for it.
    pub forwarded: bool,
}

/// The clients of one worker, by the provider's place in the settings and the
/// time that a connection may take.
pub struct Upstream {
    lines: HashMap<(usize, Duration), Line>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upstream({} clients)", self.lines.len())
    }
}

impl Upstream {
    /// Clients for all providers of the settings, and for models that have a
    /// connect time of their own. Nothing is connected yet.
    pub fn new(settings: &Settings) -> Self {
        let mut lines = HashMap::new();
        for (place, provider) in settings.providers.iter().enumerate() {
            let own = settings.model_timeouts.iter().filter(|(model, _)| model.provider == provider.name).map(|(_, own)| own);
            for model in std::iter::once(&TimeoutSet::default()).chain(own) {
                let connect = Timeouts::resolve([&settings.timeouts, &provider.timeouts, model], false).connect;
                if let Entry::Vacant(free) = lines.entry((place, connect))
                    && let Some(line) = Line::new(provider, connect)
                {
                    free.insert(line);
                }
            }
        }
        Self { lines }
    }

    pub(super) fn line(&self, provider: usize, connect: Duration) -> Option<&Line> {
        self.lines.get(&(provider, connect))
    }
}

impl Line {
    fn new(provider: &Provider, connect: Duration) -> Option<Self> {
        let target: Uri = format!("{}/chat/completions", provider.endpoint.as_str()).parse().ok()?;
        let proxy = Connector::proxy_authorization(&target, provider.endpoint.is_loopback());
        let connector = Connector::new(&target, provider.endpoint.is_loopback(), connect);
        let forwarded = connector.is_forwarded();
        Some(Self {
            forwarded,
            client: client(connector.clone(), usize::MAX),
            fresh: client(connector, 0),
            template: Template::new(provider, target, proxy)?,
        })
    }
}

fn client(connector: Connector, most_idle: usize) -> Client<Connector, RequestBody> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(most_idle)
        .http1_max_buf_size(LARGEST_HEAD)
        .http2_max_header_list_size(LARGEST_HEAD as u32)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_PATIENCE)
        .retry_canceled_requests(true)
        .build(connector)
}
