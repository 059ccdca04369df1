//! One pool of connections for each provider, so that a provider that hangs
//! holds up nobody else. Each worker thread has its own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use http::Uri;

use super::connect::Connector;
use super::head::Template;
use super::pool::Pool;
use crate::config::{Provider, Settings, TimeoutSet, Timeouts};

/// What is needed to call one provider.
pub(super) struct Line {
    pub pool: Pool,
    pub template: Template,
    /// Whether a proxy takes whole requests for it.
    pub forwarded: bool,
}

/// The pools of one worker, by the provider's place in the settings and the
/// time that a connection may take.
pub struct Upstream {
    lines: HashMap<(usize, Duration), Line>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upstream({} pools)", self.lines.len())
    }
}

impl Upstream {
    /// Pools for all providers of the settings, and for models that have a
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
        Some(Self { forwarded, template: Template::new(provider, &target, forwarded, proxy)?, pool: Pool::new(connector, target) })
    }
}
