//! One HTTP client for each provider, so that a provider that hangs holds up
//! nobody else. Each worker thread has its own.

use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::RequestBody;
use super::connect::Connector;
use super::head::Template;
use crate::config::{Provider, Settings, Timeouts};

/// Providers close idle connections after 60 s and more, Node servers after
/// 5 s: a connection is not used again after this.
const IDLE: Duration = Duration::from_secs(25);
/// How often an HTTP/2 connection with open streams is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long it may take to say so.
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// The largest head of an answer.
const LARGEST_HEAD: usize = 256 * 1024;

/// What is needed to call one provider.
pub(super) struct Line {
    pub client: Client<Connector, RequestBody>,
    pub template: Template,
}

/// The clients of one worker, by the provider's place in the settings.
pub struct Upstream {
    lines: Vec<Option<Line>>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upstream({} providers)", self.lines.len())
    }
}

impl Upstream {
    /// Clients for all providers of the settings. Nothing is connected yet.
    pub fn new(settings: &Settings) -> Self {
        let line = |provider: &Provider| {
            let target: Uri = format!("{}/chat/completions", provider.endpoint.as_str()).parse().ok()?;
            let timeouts = Timeouts::resolve([&settings.timeouts, &provider.timeouts, &Default::default()], false);
            let connector = Connector::new(&target, provider.endpoint.is_loopback(), timeouts.connect);
            Some(Line { client: client(connector), template: Template::new(provider, target)? })
        };
        Self { lines: settings.providers.iter().map(line).collect() }
    }

    pub(super) fn line(&self, provider: usize) -> Option<&Line> {
        self.lines.get(provider)?.as_ref()
    }
}

fn client(connector: Connector) -> Client<Connector, RequestBody> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http1_max_buf_size(LARGEST_HEAD)
        .http2_max_header_list_size(LARGEST_HEAD as u32)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_PATIENCE)
        .retry_canceled_requests(true)
        .build(connector)
}
