//! OpenTelemetry, off unless the standard `OTEL_*` variables say where spans
//! go: one span for each request and a child for each attempt, made from the
//! record when the request has ended, on the log's own thread. The names of
//! attributes are those of the GenAI semantic conventions.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::failover::Class;
use crate::journal::{Attempt, Outcome, Record};
use crate::paths;

/// What is still to be sent at the end has this long.
const LAST: Duration = Duration::from_secs(2);

/// Makes spans of records and sends them.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Whether the environment asks for traces.
pub fn are_wanted() -> bool {
    let set = |name: &str| paths::env(name).filter(|value| !value.trim().is_empty());
    let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let other = set("OTEL_TRACES_EXPORTER").is_some_and(|value| value != "otlp");
    endpoint.is_some() && !off && !other
}

impl Traces {
    /// An exporter as the environment describes it: OTLP over HTTP, with
    /// protocol buffers. The error is for a reader.
    pub fn start() -> Result<Self, String> {
        let protocol = paths::env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| paths::env("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if let Some(protocol) = protocol.filter(|protocol| !protocol.is_empty() && protocol != "http/protobuf") {
            return Err(format!("traces are sent as http/protobuf; {protocol} (OTEL_EXPORTER_OTLP_PROTOCOL) is not there"));
        }
        let exporter = SpanExporter::builder().with_http().build();
        // The problem repeats the address, which may hold a password.
        let exporter = exporter.map_err(|_| "traces cannot be sent: OTEL_EXPORTER_OTLP_ENDPOINT is not a usable address".to_owned())?;
        let named = paths::env("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty());
        let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = if named { resource } else { resource.with_service_name("routor") };
        let provider = SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build();
        let tracer = provider.tracer("routor");
        Ok(Self { provider, tracer })
    }

    /// Makes the spans of a request that has ended.
    pub fn observe(&self, record: &Record) {
        let arrived = SystemTime::from(jiff::Timestamp::from(record.time));
        let parent = parent(record.traceparent.as_deref());
        let mut span = SpanBuilder::from_name(format!("chat {}", record.model))
            .with_kind(SpanKind::Server)
            .with_start_time(arrived)
            .with_attributes(attributes_of(record))
            .start_with_context(&self.tracer, &parent);
        if matches!(record.outcome, Outcome::Failed | Outcome::Partial) {
            span.set_status(Status::error(record.outcome.name()));
        }
        let context = parent.with_remote_span_context(span.span_context().clone());
        for attempt in &record.attempts {
            self.attempt(attempt, record, arrived, &context);
        }
        span.end_with_timestamp(arrived + Duration::from_millis(record.ms));
    }

    fn attempt(&self, attempt: &Attempt, record: &Record, arrived: SystemTime, context: &Context) {
        let began = arrived + Duration::from_millis(attempt.at_ms);
        let mut span = SpanBuilder::from_name(format!("chat {}", attempt.model))
            .with_kind(SpanKind::Client)
            .with_start_time(began)
            .with_attributes(attributes_of_attempt(attempt, record))
            .start_with_context(&self.tracer, context);
        if !matches!(attempt.class, Class::Ok | Class::ClientClosed) {
            span.set_status(Status::error(attempt.class.name()));
        }
        span.end_with_timestamp(began + Duration::from_millis(attempt.ms));
    }

    /// Sends what is still here.
    pub fn stop(&self) {
        if let Err(problem) = self.provider.shutdown_with_timeout(LAST) {
            tracing::debug!("the last traces were not sent: {problem}");
        }
    }
}

/// The caller's span, when it named one.
fn parent(traceparent: Option<&str>) -> Context {
    let Some(traceparent) = traceparent else { return Context::new() };
    let headers = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &headers)
}

fn number(name: &'static str, value: Option<u64>) -> Option<KeyValue> {
    Some(KeyValue::new(name, i64::try_from(value?).ok()?))
}

fn attributes_of(record: &Record) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new("gen_ai.operation.name", "chat"),
        KeyValue::new("gen_ai.request.model", record.model.clone()),
        KeyValue::new("routor.request.id", record.id.clone()),
        KeyValue::new("routor.outcome", record.outcome.name()),
        KeyValue::new("routor.attempts", i64::try_from(record.attempts.len()).unwrap_or(i64::MAX)),
        KeyValue::new("routor.stream", record.stream),
    ];
    if let Some((provider, model)) = record.served_by.as_deref().and_then(|by| by.split_once('/')) {
        all.push(KeyValue::new("gen_ai.provider.name", provider.to_owned()));
        all.push(KeyValue::new("gen_ai.response.model", model.to_owned()));
    }
    all.extend(record.tier.map(|tier| KeyValue::new("routor.tier", tier.name())));
    all.extend(number("gen_ai.usage.input_tokens", record.prompt_tokens));
    all.extend(number("gen_ai.usage.output_tokens", record.completion_tokens));
    all.extend(number("http.response.status_code", record.status.map(u64::from)));
    if matches!(record.outcome, Outcome::Failed | Outcome::Partial) {
        all.push(KeyValue::new("error.type", record.outcome.name()));
    }
    all
}

fn attributes_of_attempt(attempt: &Attempt, record: &Record) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new("gen_ai.operation.name", "chat"),
        KeyValue::new("gen_ai.provider.name", attempt.provider.clone()),
        KeyValue::new("gen_ai.request.model", attempt.model.clone()),
        KeyValue::new("routor.class", attempt.class.name()),
    ];
    all.extend(number("http.response.status_code", attempt.status.map(u64::from)));
    all.extend(number("routor.first_content_ms", attempt.first_ms));
    if attempt.class == Class::Ok {
        all.push(KeyValue::new("gen_ai.response.model", attempt.answered_as.clone().map_or(attempt.model.clone(), Into::into)));
        all.extend(number("gen_ai.usage.input_tokens", record.prompt_tokens));
        all.extend(number("gen_ai.usage.output_tokens", record.completion_tokens));
    } else {
        all.push(KeyValue::new("error.type", attempt.class.name()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_span_is_the_parent() {
        let context = parent(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        assert_eq!(context.span().span_context().trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(!parent(Some("nonsense")).span().span_context().is_valid());
        assert!(!parent(None).span().span_context().is_valid());
    }
}
