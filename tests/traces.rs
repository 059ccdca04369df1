//! OpenTelemetry: off unless the standard variables say where spans go; one
//! span for a request and one for each attempt, and nothing that a slow or dead
//! collector could do to a request.

mod otlp;
mod port;
mod support;

use std::time::{Duration, Instant};

use otlp::{Collector, Span};
use port::{CHAT, JSON, ask};
use serde_json::{Value, json};
use support::daemon::Builder;
use support::{Daemon, Provider, Reply, Response, Step, chain_config, content, post, role};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Providers `a` and `b` and a daemon that is told of this collector.
struct Traced {
    a: Provider,
    b: Provider,
    daemon: Daemon,
}

impl Traced {
    #[track_caller]
    fn start(collector: &str, change: impl FnOnce(Builder) -> Builder) -> Self {
        let (a, b) = (Provider::start(), Provider::start());
        let builder = Daemon::builder()
            .config(chain_config(&[("a", &a), ("b", &b)]))
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
            // Spans are sent in batches; a test need not wait for the usual 5 s.
            .env("OTEL_BSP_SCHEDULE_DELAY", "50");
        Self { a, b, daemon: change(builder).start() }
    }

    #[track_caller]
    fn to(collector: &Collector) -> Self {
        Self::start(&collector.url(), |builder| builder)
    }

    #[track_caller]
    fn call(&self, fields: &Value, headers: &[(&str, &str)]) -> Response {
        post(self.daemon.port(), CHAT, headers, port::ask_with(fields))
    }

    fn traceparent(&self) -> String {
        format!("00-{TRACE}-{PARENT}-01")
    }
}

/// The server span and its children, once there are `count` spans in all.
#[track_caller]
fn tree(collector: &Collector, count: usize) -> (Span, Vec<Span>) {
    let mut spans = collector.wait_spans(count);
    assert_eq!(spans.len(), count, "{spans:#?}");
    let at = spans.iter().position(|span| span.kind == otlp::SERVER).unwrap_or_else(|| panic!("no server span: {spans:#?}"));
    let root = spans.remove(at);
    spans.sort_by_key(|span| span.start);
    (root, spans)
}

// --- Off and on ---

#[test]
fn without_the_variables_nobody_is_connected_to() {
    let collector = Collector::start();
    let (a, daemon) = port::one();
    assert_eq!(post(daemon.port(), CHAT, &[], ask("auto")).status, 200);
    assert_eq!(a.count(), 1);
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(10)), 0);
    assert_eq!(collector.connections(), 0);
}

#[test]
fn the_switches_that_turn_it_off_are_heeded() {
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_SDK_DISABLED", "TRUE"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
    ] {
        let collector = Collector::start();
        let traced = Traced::start(&collector.url(), |builder| builder.env(name, value));
        assert_eq!(traced.call(&json!({}), &[]).status, 200);
        traced.daemon.signal("TERM");
        assert_eq!(traced.daemon.wait_exit(Duration::from_secs(10)), 0);
        assert_eq!(collector.connections(), 0, "{name}={value}");
    }
}

#[test]
fn the_endpoint_of_traces_beats_that_of_everything() {
    let (general, own) = (Collector::start(), Collector::start());
    let place = format!("{}/own/traces", own.url());
    let traced = Traced::start(&general.url(), |builder| builder.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &place));
    assert_eq!(traced.call(&json!({}), &[]).status, 200);
    own.wait_spans(2);
    assert_eq!(own.paths()[0], "/own/traces");
    assert_eq!(general.connections(), 0);
}

#[test]
fn other_commands_send_nothing() {
    let collector = Collector::start();
    let traced = Traced::to(&collector);
    for args in [&["logs", "--all"][..], &["models"], &["status"], &["config", "show"]] {
        traced.daemon.run(args).expect_code(0);
    }
    assert_eq!(collector.connections(), 0);
}

// --- Spans ---

#[test]
fn a_request_is_a_server_span_with_a_client_span_for_each_attempt() {
    let collector = Collector::start();
    let traced = Traced::to(&collector);
    traced.a.then(Reply::status(503));
    assert_eq!(traced.call(&json!({"model": "auto"}), &[("x-request-id", "my-id")]).status, 200);
    let (root, children) = tree(&collector, 3);
    assert_eq!(collector.paths()[0], "/v1/traces");
    assert_eq!((root.name.as_str(), root.parent.as_str()), ("chat auto", ""));
    for (name, value) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.request.model", json!("auto")),
        ("gen_ai.provider.name", json!("b")),
        ("gen_ai.response.model", json!("m1")),
        ("gen_ai.usage.input_tokens", json!(9)),
        ("gen_ai.usage.output_tokens", json!(3)),
        ("http.response.status_code", json!(200)),
        ("routor.request.id", json!("my-id")),
        ("routor.outcome", json!("fallback")),
        ("routor.attempts", json!(2)),
        ("routor.stream", json!(false)),
    ] {
        assert_eq!(root.attributes.get(name), Some(&value), "{name}: {root:#?}");
    }
    assert!(!root.is_error(), "{root:#?}");
    assert!(children.iter().all(|child| child.kind == otlp::CLIENT && child.parent == root.id && child.trace == root.trace));
    assert!(children.iter().all(|child| root.start <= child.start && child.end <= root.end + 2_000_000), "{root:#?} {children:#?}");
    let [first, second] = children.as_slice() else { panic!("{children:#?}") };
    assert!(first.is_error() && !second.is_error());
    assert_eq!((first.attributes.get("gen_ai.response.model"), &second.attributes["gen_ai.response.model"]), (None, &json!("m1")));
    for (child, provider, status) in [(first, "a", 503), (second, "b", 200)] {
        assert_eq!(child.attributes["gen_ai.provider.name"], provider);
        assert_eq!(child.attributes["gen_ai.request.model"], "m1");
        assert_eq!(child.attributes["http.response.status_code"], status);
    }
    assert_eq!(first.attributes["error.type"], "overloaded");
    assert!(!second.attributes.contains_key("error.type"));
}

#[test]
fn the_span_belongs_to_the_callers_trace() {
    let collector = Collector::start();
    let traced = Traced::to(&collector);
    assert_eq!(traced.call(&json!({}), &[("traceparent", &traced.traceparent())]).status, 200);
    let (root, children) = tree(&collector, 2);
    assert_eq!((root.trace.as_str(), root.parent.as_str()), (TRACE, PARENT));
    assert_eq!((children[0].trace.as_str(), &children[0].parent), (TRACE, &root.id));
    // The provider sees the caller's trace as well.
    assert!(traced.a.chats()[0].header("traceparent").is_some_and(|value| value.contains(TRACE)));
}

#[test]
fn each_request_without_a_trace_begins_its_own() {
    let collector = Collector::start();
    let traced = Traced::to(&collector);
    for wrong in ["", "nonsense", "00-00000000000000000000000000000000-0000000000000000-01", "ff-zz"] {
        assert_eq!(traced.call(&json!({}), &[("traceparent", wrong)]).status, 200);
    }
    let spans = collector.wait_spans(8);
    let roots: std::collections::HashSet<&str> =
        spans.iter().filter(|span| span.kind == otlp::SERVER).map(|span| span.trace.as_str()).collect();
    assert_eq!(roots.len(), 4, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace.len() == 32 && span.trace.bytes().any(|byte| byte != b'0')));
}

#[test]
fn failed_and_broken_requests_are_errors_and_mistakes_of_the_caller_are_not() {
    let collector = Collector::start();
    let traced = Traced::to(&collector);
    traced.a.then(Reply::status(503));
    traced.b.then(Reply::status(500));
    assert_eq!(traced.call(&json!({}), &[]).status, 502);
    let (failed, children) = tree(&collector, 3);
    assert!(failed.is_error() && failed.attributes["error.type"] == "failed", "{failed:#?}");
    assert_eq!((&failed.attributes["http.response.status_code"], children[1].is_error()), (&json!(502), true));
    collector.forget();
    assert_eq!(traced.call(&json!({"model": "nobody-knows-it"}), &[]).status, 404);
    let (rejected, children) = tree(&collector, 1);
    assert!(!rejected.is_error() && children.is_empty(), "{rejected:#?}");
    collector.forget();
    traced.a.then(Reply::events_then(vec![role(), content("half")], Step::Close));
    let mut stream = traced.daemon.client();
    stream.send("POST", CHAT, &[JSON], port::ask_with(&json!({"stream": true})));
    stream.read_stream().read_to_end();
    let (partial, children) = tree(&collector, 2);
    assert!(partial.is_error() && partial.attributes["routor.stream"] == true, "{partial:#?}");
    assert!(children[0].attributes.contains_key("routor.first_content_ms"), "{children:#?}");
}

#[test]
fn a_caller_that_left_is_no_error_of_anybody() {
    let collector = Collector::start();
    let traced = Traced::to(&collector);
    traced.a.then(Reply::hang());
    let mut client = traced.daemon.client();
    client.send("POST", CHAT, &[JSON], ask("auto"));
    traced.a.wait_for_chats(1);
    drop(client);
    let (root, children) = tree(&collector, 2);
    assert!(!root.is_error() && !children[0].is_error(), "{root:#?} {children:#?}");
    assert_eq!(root.attributes["routor.outcome"], "client_closed");
}

#[test]
fn traces_are_made_without_a_stored_log_too() {
    let collector = Collector::start();
    let a = Provider::start();
    let config = support::chain_config_with(&[("a", &a)], "[log]\nrequests = false\n");
    let daemon =
        Daemon::builder().config(config).env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()).env("OTEL_BSP_SCHEDULE_DELAY", "50").start();
    assert_eq!(post(daemon.port(), CHAT, &[], ask("auto")).status, 200);
    assert_eq!(collector.wait_spans(2).len(), 2);
}

// --- Who it is ---

#[test]
fn the_service_is_routor_unless_a_variable_names_it() {
    for (name, wanted) in [(None, "routor"), (Some("my-proxy"), "my-proxy")] {
        let collector = Collector::start();
        let traced = Traced::start(&collector.url(), |builder| match name {
            Some(name) => builder.env("OTEL_SERVICE_NAME", name).env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
            None => builder,
        });
        assert_eq!(traced.call(&json!({}), &[]).status, 200);
        collector.wait_spans(2);
        let resource = collector.resource();
        assert_eq!(resource["service.name"], wanted, "{resource:?}");
        assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(resource.contains_key("deployment.environment"), name.is_some());
    }
}

#[test]
fn the_headers_of_the_variable_are_sent_and_never_told() {
    let collector = Collector::start();
    let traced = Traced::start(&collector.url(), |builder| {
        builder.env("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=otel-canary-1,x-team=search").arg("-vv")
    });
    assert_eq!(traced.call(&json!({}), &[]).status, 200);
    collector.wait_spans(2);
    assert!(collector.heads().contains("x-api-key: otel-canary-1") && collector.heads().contains("x-team: search"));
    for args in [&["config", "show"][..], &["status", "--json"], &["check", "-vv"]] {
        let done = traced.daemon.run(args);
        assert!(!done.stdout.contains("otel-canary") && !done.stderr.contains("otel-canary"), "{args:?}");
    }
    traced.daemon.signal("TERM");
    traced.daemon.wait_exit(Duration::from_secs(10));
    assert!(!traced.daemon.stderr().contains("otel-canary"), "{}", traced.daemon.stderr());
}

#[test]
fn no_prompt_answer_or_key_is_in_a_span() {
    let collector = Collector::start();
    let (a, b) = (Provider::start(), Provider::start());
    b.always(Reply::answer("answer-canary"));
    a.always(Reply::json(401, r#"{"error":{"message":"Incorrect API key provided: provider-canary-11","code":"invalid_api_key"}}"#));
    let config = chain_config(&[("a", &a), ("b", &b)]).replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
    let daemon = Daemon::builder()
        .config(config)
        .env("A_KEY", "provider-canary-11")
        .env("ROUTOR_API_KEY", "client-canary")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start();
    let body = json!({"messages": [{"role": "user", "content": "prompt-canary"}], "user": "user-canary"}).to_string();
    assert_eq!(post(daemon.port(), CHAT, &[("authorization", "Bearer client-canary"), ("user-agent", "agent-canary")], body).status, 200);
    assert_eq!(collector.wait_spans(3).len(), 3);
    assert!(!collector.everything().contains("canary"));
}

// --- Collectors that do not work ---

/// Requests, and the stop, take no longer than without traces.
#[track_caller]
fn is_unharmed(traced: &Traced) {
    let started = Instant::now();
    let mut client = traced.daemon.client();
    for _ in 0..50 {
        assert_eq!(client.post_chat(ask("auto")).status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let told = Instant::now();
    traced.daemon.signal("TERM");
    assert_eq!(traced.daemon.wait_exit(Duration::from_secs(15)), 0);
    assert!(told.elapsed() < Duration::from_secs(6), "{:?}", told.elapsed());
    assert!(!traced.daemon.stderr().contains("made a mistake"), "{}", traced.daemon.stderr());
}

#[test]
fn a_collector_that_is_down_harms_nothing() {
    let collector = Collector::start();
    let url = collector.url();
    drop(collector);
    is_unharmed(&Traced::start(&url, |builder| builder));
}

#[test]
fn a_collector_that_hangs_harms_nothing() {
    let collector = Collector::hanging();
    let traced = Traced::to(&collector);
    assert_eq!(traced.call(&json!({}), &[]).status, 200);
    collector.wait_for_a_request();
    is_unharmed(&traced);
}

#[test]
fn a_collector_that_answers_errors_harms_nothing() {
    let collector = Collector::refusing();
    let traced = Traced::to(&collector);
    assert_eq!(traced.call(&json!({}), &[]).status, 200);
    collector.wait_for_a_request();
    is_unharmed(&traced);
}

#[test]
fn a_collector_whose_name_does_not_exist_harms_nothing() {
    is_unharmed(&Traced::start("http://nowhere.invalid:4318", |builder| builder));
}

#[test]
fn what_is_waiting_is_sent_at_the_stop() {
    let collector = Collector::start();
    let traced = Traced::start(&collector.url(), |builder| builder.env("OTEL_BSP_SCHEDULE_DELAY", "600000"));
    assert_eq!(traced.call(&json!({}), &[]).status, 200);
    traced.daemon.wait_logs(1);
    assert!(collector.spans().is_empty());
    traced.daemon.signal("TERM");
    assert_eq!(traced.daemon.wait_exit(Duration::from_secs(10)), 0);
    assert_eq!(collector.spans().len(), 2);
}

#[test]
fn a_protocol_that_is_not_there_is_said_and_the_rest_works() {
    for variable in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
        let collector = Collector::start();
        let traced = Traced::start(&collector.url(), |builder| builder.env(variable, "grpc"));
        let said = traced.daemon.wait_stderr("OTEL_EXPORTER_OTLP_PROTOCOL");
        assert!(said.contains("grpc") && said.contains("http/protobuf"), "{said}");
        assert_eq!(traced.call(&json!({}), &[]).status, 200);
        assert_eq!(collector.connections(), 0);
    }
}

#[test]
fn an_endpoint_that_is_none_is_said_and_the_rest_works() {
    let traced = Traced::start("not a url", |builder| builder);
    traced.daemon.wait_stderr("traces cannot be sent");
    assert_eq!(traced.call(&json!({}), &[]).status, 200);
}

// --- What the usual variables say ---

/// One provider, and a daemon with these variables beside the endpoint.
#[track_caller]
fn start(endpoint: &str, env: &[(&str, &str)]) -> (Provider, Daemon) {
    let a = Provider::start();
    let builder = Daemon::builder().config(chain_config(&[("a", &a)])).arg("-vv");
    let all = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "50")], env].concat();
    let builder = all.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
    (a, builder.start())
}

#[test]
fn headers_that_cannot_be_sent_are_never_told() {
    for headers in ["x-api-key=otel-canary\u{1}", "otel-canary", "=otel-canary", "bad name=otel-canary", "x=\u{e9}otel-canary"] {
        let collector = Collector::start();
        let (_a, daemon) = start(&collector.url(), &[("OTEL_EXPORTER_OTLP_HEADERS", headers)]);
        assert_eq!(post(daemon.port(), CHAT, &[], ask("auto")).status, 200);
        daemon.signal("TERM");
        daemon.wait_exit(Duration::from_secs(10));
        assert!(!daemon.stderr().contains("otel-canary"), "{}", daemon.stderr());
    }
}

#[test]
fn a_caller_that_does_not_sample_is_heeded() {
    let collector = Collector::start();
    let (_a, daemon) = start(&collector.url(), &[]);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    assert_eq!(post(daemon.port(), CHAT, &[("traceparent", parent)], ask("auto")).status, 200);
    assert_eq!(post(daemon.port(), CHAT, &[], ask("auto")).status, 200);
    daemon.signal("TERM");
    daemon.wait_exit(Duration::from_secs(10));
    let spans = collector.spans();
    assert!(spans.len() == 2 && spans.iter().all(|span| !span.trace.starts_with("0af7")), "{spans:#?}");
}

#[test]
fn the_usual_sampler_variable_is_heeded() {
    let collector = Collector::start();
    let (_a, daemon) = start(&collector.url(), &[("OTEL_TRACES_SAMPLER", "always_off")]);
    assert_eq!(post(daemon.port(), CHAT, &[], ask("auto")).status, 200);
    daemon.signal("TERM");
    daemon.wait_exit(Duration::from_secs(10));
    assert!(collector.spans().is_empty());
}

#[test]
fn an_endpoint_with_a_path_and_a_slash_keeps_it() {
    let collector = Collector::start();
    let (_a, daemon) = start(&format!("{}/base/", collector.url()), &[]);
    assert_eq!(post(daemon.port(), CHAT, &[], ask("auto")).status, 200);
    collector.wait_spans(2);
    assert_eq!(collector.paths()[0], "/base/v1/traces");
}

#[test]
fn a_name_of_a_megabyte_does_not_make_a_span_of_a_megabyte() {
    let collector = Collector::start();
    let (_a, daemon) = start(&collector.url(), &[]);
    assert_eq!(post(daemon.port(), CHAT, &[], ask(&"x".repeat(1 << 20))).status, 404);
    let spans = collector.wait_spans(1);
    assert!(spans[0].name.len() < 2000, "{}", spans[0].name.len());
}
