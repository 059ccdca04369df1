//! The counters that `/metrics` shows, in Prometheus's text format. Requests
//! are counted from their records, when these are handed to the log.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::failover::Class;
use crate::journal::{Attempt, Outcome, Record};

/// Times of answers: from what a cache takes to what a reasoning model takes.
const SECONDS: [f64; 14] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// Names that come from requests are told apart up to this many; the rest is `other`.
const MOST_MODELS: usize = 500;

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    fallbacks: IntCounter,
    attempts: IntCounterVec,
    request_seconds: HistogramVec,
    first_seconds: HistogramVec,
    errors: IntCounterVec,
    panics: IntCounter,
    dropped: IntCounter,
    pool: IntGauge,
    in_pool: GaugeVec,
    breaker: GaugeVec,
    /// The series of each outcome, once it has been seen.
    ended: [OnceLock<(IntCounter, Histogram)>; Outcome::ALL.len()],
    /// The series of attempts, so that none is looked up by its labels twice.
    known: Mutex<Known>,
    /// One reader at a time sets the gauges and reads them.
    reading: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// `provider` and `model` values in use.
    models: HashSet<(Arc<str>, Arc<str>)>,
    attempts: HashMap<Arc<str>, OfProvider, foldhash::fast::RandomState>,
}

/// The counters of a provider's models, each by what attempts came to.
type OfProvider = HashMap<Arc<str>, HashMap<Class, IntCounter, foldhash::fast::RandomState>, foldhash::fast::RandomState>;

/// The state of one model, for the gauges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelGauge {
    /// The provider's name.
    pub provider: String,
    /// The model's id there.
    pub model: String,
    /// 0 ready, 1 cooling, 2 probing.
    pub state: u8,
}

/// What is true at the moment of reading.
#[derive(Debug, Clone, Default)]
pub struct Now {
    /// Each configured provider, and whether it is in the pool.
    pub providers: Vec<(String, bool)>,
    /// Each model that can be asked for.
    pub models: Vec<ModelGauge>,
    /// Records that were not stored since the start.
    pub log_dropped: u64,
}

impl Metrics {
    /// All at zero. Fails only when two metrics have the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build_info = prometheus::IntGaugeVec::new(Opts::new("routor_build_info", "The version of routor; always 1."), &["version"])?;
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        added(&registry, build_info)?;
        let histogram =
            |name: &str, help: &str, labels: &[&str]| HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels);
        Ok(Self {
            requests: added(
                &registry,
                IntCounterVec::new(Opts::new("routor_requests_total", "Chat completions that ended, by outcome."), &["outcome"])?,
            )?,
            fallbacks: added(
                &registry,
                IntCounter::new("routor_fallbacks_total", "Chat completions that another model than the first of their chain answered.")?,
            )?,
            attempts: added(
                &registry,
                IntCounterVec::new(
                    Opts::new("routor_attempts_total", "Calls to models, by what they came to."),
                    &["provider", "model", "class"],
                )?,
            )?,
            request_seconds: added(
                &registry,
                histogram("routor_request_duration_seconds", "From a request's arrival to the end of its answer.", &["outcome"])?,
            )?,
            first_seconds: added(
                &registry,
                histogram("routor_first_content_seconds", "From the start of a streamed call to its first content.", &["provider"])?,
            )?,
            errors: added(
                &registry,
                IntCounterVec::new(Opts::new("routor_errors_total", "Error answers that routor itself made, by code."), &["code"])?,
            )?,
            panics: added(&registry, IntCounter::new("routor_panics_total", "Requests that met a mistake in routor.")?)?,
            dropped: added(&registry, IntCounter::new("routor_log_dropped_total", "Requests that could not be recorded in the log.")?)?,
            pool: added(&registry, IntGauge::new("routor_pool_providers", "Providers in the pool.")?)?,
            in_pool: added(
                &registry,
                GaugeVec::new(Opts::new("routor_provider_in_pool", "Whether a configured provider is in the pool."), &["provider"])?,
            )?,
            breaker: added(
                &registry,
                GaugeVec::new(
                    Opts::new("routor_breaker_state", "A model's breaker: 0 ready, 1 cooling, 2 probing."),
                    &["provider", "model"],
                )?,
            )?,
            ended: Default::default(),
            known: Mutex::default(),
            reading: Mutex::default(),
            registry,
        })
    }

    /// Counts a request that has ended.
    pub fn observe(&self, record: &Record) {
        if let Some(series) = self.ended.get(record.outcome as usize) {
            let (requests, request_seconds) = series.get_or_init(|| {
                let outcome = [record.outcome.name()];
                (self.requests.with_label_values(&outcome), self.request_seconds.with_label_values(&outcome))
            });
            requests.inc();
            request_seconds.observe(seconds(record.ms));
        }
        if record.outcome == Outcome::Fallback || record.had_fallback() {
            self.fallbacks.inc();
        }
        record.attempts.iter().for_each(|attempt| self.attempted(attempt));
    }

    fn attempted(&self, attempt: &Attempt) {
        let mut known = lock(&self.known);
        let counter = known.attempts.get(&attempt.provider).and_then(|models| models.get(&attempt.model)?.get(&attempt.class));
        let provider = match counter {
            Some(counter) => {
                counter.inc();
                &*attempt.provider
            }
            None => {
                let (provider, model) = known.labels(attempt);
                let counter = self.attempts.with_label_values(&[provider, model, attempt.class.name()]);
                counter.inc();
                if *provider == *attempt.provider {
                    let models = known.attempts.entry(Arc::clone(&attempt.provider)).or_default();
                    models.entry(Arc::clone(&attempt.model)).or_default().insert(attempt.class, counter);
                }
                provider
            }
        };
        if let Some(first) = attempt.first_ms {
            self.first_seconds.with_label_values(&[provider]).observe(seconds(first));
        }
    }

    /// Counts an error answer; `code` is one of routor's own.
    pub fn refused(&self, code: &str) {
        self.errors.with_label_values(&[code]).inc();
    }

    /// Counts a request that met a mistake in routor.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Everything as text; the gauges show `now`.
    pub fn render(&self, now: &Now) -> Vec<u8> {
        let _one = lock(&self.reading);
        self.in_pool.reset();
        self.breaker.reset();
        self.pool.set(now.providers.iter().filter(|(_, in_pool)| *in_pool).count().try_into().unwrap_or(i64::MAX));
        for (provider, in_pool) in &now.providers {
            self.in_pool.with_label_values(&[provider]).set(f64::from(u8::from(*in_pool)));
        }
        for model in now.models.iter().take(MOST_MODELS) {
            self.breaker.with_label_values(&[&model.provider, &model.model]).set(f64::from(model.state));
        }
        self.dropped.inc_by(now.log_dropped.saturating_sub(self.dropped.get()));
        let mut text = Vec::new();
        // Writing to memory does not fail, and names were checked when they were added.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }
}

impl Known {
    /// Label values whose number has a bound, whatever requests ask for.
    fn labels<'a>(&mut self, attempt: &'a Attempt) -> (&'a str, &'a str) {
        let pair = (Arc::clone(&attempt.provider), Arc::clone(&attempt.model));
        if self.models.contains(&pair) || self.models.len() < MOST_MODELS && self.models.insert(pair) {
            return (&attempt.provider, &attempt.model);
        }
        ("other", "other")
    }
}

fn added<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(model: &str) -> Record {
        let attempt = serde_json::json!({"provider": "p", "model": model, "class": "overloaded", "status": 503, "ms": 40, "first_ms": 30});
        serde_json::from_value(serde_json::json!({
            "id": "r", "time": "2026-01-01T00:00:00.000Z", "model": "auto", "tier": null, "chain": ["p/m", "q/n"], "stream": true,
            "outcome": "fallback", "status": 200, "served_by": "q/n", "ms": 853, "first_ms": 412,
            "prompt_tokens": null, "completion_tokens": null, "attempts": [attempt], "skipped": []
        }))
        .unwrap()
    }

    fn text(metrics: &Metrics, now: &Now) -> String {
        String::from_utf8(metrics.render(now)).unwrap()
    }

    #[test]
    fn counts_what_records_say() {
        let metrics = Metrics::new().unwrap();
        metrics.observe(&record("m"));
        metrics.refused("forbidden");
        let model = ModelGauge { provider: "p".to_owned(), model: "m".to_owned(), state: 1 };
        let now = Now { providers: vec![("p".to_owned(), true), ("q".to_owned(), false)], models: vec![model], log_dropped: 3 };
        let text = text(&metrics, &now);
        for line in [
            "routor_requests_total{outcome=\"fallback\"} 1",
            "routor_fallbacks_total 1",
            "routor_attempts_total{class=\"overloaded\",model=\"m\",provider=\"p\"} 1",
            "routor_request_duration_seconds_bucket{outcome=\"fallback\",le=\"1\"} 1",
            "routor_first_content_seconds_sum{provider=\"p\"} 0.03",
            "routor_errors_total{code=\"forbidden\"} 1",
            "routor_log_dropped_total 3",
            "routor_pool_providers 1",
            "routor_provider_in_pool{provider=\"q\"} 0",
            "routor_breaker_state{model=\"m\",provider=\"p\"} 1",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("routor_build_info{version="), "{text}");
    }

    #[test]
    fn what_requests_ask_for_does_not_make_new_series_without_end() {
        let metrics = Metrics::new().unwrap();
        (0..MOST_MODELS + 50).for_each(|number| metrics.observe(&record(&format!("m{number}"))));
        let text = text(&metrics, &Now::default());
        assert_eq!(text.lines().filter(|line| line.starts_with("routor_attempts_total{")).count(), MOST_MODELS + 1);
        assert!(text.contains("routor_attempts_total{class=\"overloaded\",model=\"other\",provider=\"other\"} 50"));
    }

    #[test]
    fn what_is_gone_is_gone() {
        let metrics = Metrics::new().unwrap();
        text(&metrics, &Now { providers: vec![("p".to_owned(), true)], ..Now::default() });
        assert!(!text(&metrics, &Now::default()).contains("routor_provider_in_pool{"));
    }
}
