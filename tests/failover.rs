//! The rules of failover, one test for each: what makes routor go on to the
//! next model, what does not, what it remembers of a failure, and what the
//! caller and the request log are told.

mod support;

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{
    ASK, Client, Daemon, Gate, Pair, Provider, Reply, Step, chain_config, chain_config_with, classes, post, post_chat, text_of, tried,
};

/// The one body of a chain of which every model failed.
const ALL_FAILED: &str = r#"{"error":{"message":"All providers in the fallback chain failed. Please try again.","type":"provider_error","code":"all_models_failed"}}"#;
/// Nothing but a provider's hint makes a model cool.
const NO_BREAKER: &str = "[breaker]\nfailures = 0\n";
/// Longer than anything that should be quick may take, even on a slow machine.
const QUICK: Duration = Duration::from_secs(3);

/// A daemon over these providers with more TOML at the end.
#[track_caller]
fn daemon(providers: &[(&str, &Provider)], extra: &str) -> Daemon {
    Daemon::start(chain_config_with(providers, extra))
}

/// Providers that answer with these texts.
fn providers<const N: usize>(texts: [&str; N]) -> [Provider; N] {
    texts.map(|text| {
        let provider = Provider::start();
        provider.always(Reply::answer(text));
        provider
    })
}

/// Asks until the answer has this text; the time that took.
#[track_caller]
fn until_said(pair: &Pair, text: &str, bound: Duration) -> Duration {
    let started = Instant::now();
    loop {
        let said = pair.said();
        if said == text {
            return started.elapsed();
        }
        assert!(started.elapsed() < bound, "still {said:?} after {bound:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asks until `met` says yes.
#[track_caller]
fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let until = Instant::now() + support::PATIENCE;
    while !met() {
        assert!(Instant::now() < until, "{what}: not within {:?}", support::PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
}

/// An error body in OpenAI's shape.
fn error_body(message: &str, kind: &str, code: &str) -> String {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

/// The seconds of the `Retry-After` header.
fn retry_after(response: &support::Response) -> Option<u64> {
    response.header("retry-after").map(|value| value.parse().expect("whole seconds"))
}

/// How often the list of models was asked for with the key.
fn list_calls(provider: &Provider) -> usize {
    let with_key = |request: &&support::Received| request.path.ends_with("/models") && request.header("authorization").is_some();
    provider.requests().iter().filter(with_key).count()
}

// What triggers a fallback.

#[test]
fn a_5xx_falls_over_to_the_next_model() {
    let pair = Pair::start(NO_BREAKER);
    let statuses = [500, 501, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 529, 599];
    for (count, status) in statuses.into_iter().enumerate() {
        pair.a.then(Reply::status(status));
        assert_eq!(pair.said(), "from B", "{status}");
        assert_eq!((pair.a.count(), pair.b.count()), (count + 1, count + 1), "{status}");
    }
    for (record, status) in pair.daemon.wait_logs(statuses.len()).iter().zip(statuses) {
        let class = if matches!(status, 503 | 529) { "overloaded" } else { "server_error" };
        assert_eq!(classes(record), [class, "ok"], "{status}");
        assert_eq!(record["attempts"][0]["status"], status);
        assert_eq!((&record["outcome"], &record["status"]), (&json!("fallback"), &json!(200)));
    }
}

#[test]
fn a_time_out_falls_over_to_the_next_model() {
    let pair = Pair::start("[timeouts]\nresponse = \"300ms\"\n");
    pair.a.then(Reply::hang());
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < QUICK, "{:?}", started.elapsed());
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

#[test]
fn a_timed_out_attempt_is_cancelled_at_the_provider() {
    let pair = Pair::start("[timeouts]\nresponse = \"300ms\"\n");
    pair.a.then(Reply::hang());
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(pair.a.wait_for_disconnect(started) < QUICK);
}

#[test]
fn an_answer_that_never_ends_times_out_whole() {
    let pair = Pair::start("[timeouts]\nresponse = \"300ms\"\n");
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"choices\":[";
    pair.a.then(Reply::raw(half).and(Step::Hang));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

#[test]
fn a_rate_limit_falls_over_to_the_next_model() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["rate_limited", "ok"]);
}

#[test]
fn a_prompt_that_is_too_long_for_a_window_goes_to_a_larger_one_unasked() {
    let pair = Pair::start("[models.\"a/m1\"]\ncontext_window = 100\n[models.\"b/m1\"]\ncontext_window = 100000\n");
    let body = json!({"messages": [{"role": "user", "content": "word ".repeat(2000)}]}).to_string();
    assert_eq!(text_of(&post_chat(pair.daemon.port(), body)), "from B");
    assert_eq!(pair.a.count(), 0);
    let record = pair.record(1);
    assert_eq!((&record["outcome"], tried(&record)), (&json!("fallback"), vec!["b"]));
    assert_eq!(record["skipped"][0]["provider"], "a");
    assert_eq!(record["skipped"][0]["model"], "m1");
    assert_eq!(record["skipped"][0]["why"], "context_window");
    assert_eq!(pair.said(), "from A", "a prompt that fits");
}

#[test]
fn the_answers_limit_counts_against_the_window() {
    let pair = Pair::start("[models.\"a/m1\"]\ncontext_window = 1000\n[models.\"b/m1\"]\ncontext_window = 100000\n");
    for field in ["max_tokens", "max_completion_tokens"] {
        let body = json!({"messages": [{"role": "user", "content": "hi"}], field: 5000}).to_string();
        assert_eq!(text_of(&post_chat(pair.daemon.port(), body)), "from B", "{field}");
    }
    assert_eq!(pair.a.count(), 0);
}

#[test]
fn a_reported_overflow_goes_to_the_next_larger_window() {
    let [a, b, c, d] = providers(["from A", "from B", "from C", "from D"]);
    a.always(Reply::json(
        400,
        error_body("This model's maximum context length is 1000 tokens.", "invalid_request_error", "context_length_exceeded"),
    ));
    let windows = "[models.\"a/m1\"]\ncontext_window = 1000\n[models.\"b/m1\"]\ncontext_window = 1000\n\
                   [models.\"c/m1\"]\ncontext_window = 500\n[models.\"d/m1\"]\ncontext_window = 1001\n";
    let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c), ("d", &d)], windows);
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from D");
    assert_eq!((b.count(), c.count()), (0, 0), "windows that are equal or smaller");
    let record = &daemon.wait_logs(1)[0];
    assert_eq!(classes(record), ["context_window", "ok"]);
    let skipped: Vec<&Value> = record["skipped"].as_array().expect("a list").iter().map(|one| &one["provider"]).collect();
    assert_eq!(skipped, ["b", "c"]);
}

#[test]
fn a_model_of_unknown_window_is_tried_after_an_overflow() {
    let pair = Pair::start("[models.\"a/m1\"]\ncontext_window = 1000\n");
    pair.a.then(Reply::json(400, error_body("prompt is too long", "invalid_request_error", "context_length_exceeded")));
    assert_eq!(pair.said(), "from B");
}

#[test]
fn an_overflow_blames_nobody() {
    let pair = Pair::start("[breaker]\nfailures = 1\n");
    for body in ["", &error_body("Your input exceeds the context window of this model", "invalid_request_error", "x")] {
        for status in [400, 413] {
            pair.a.then(Reply::json(status, body));
            assert_eq!(pair.said(), "from B", "{status} {body}");
            assert_eq!(pair.said(), "from A", "{status} {body}");
        }
    }
    assert_eq!(classes(&pair.record(1)), ["context_window", "ok"]);
}

#[test]
fn all_models_failing_is_exactly_the_documented_502() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::status(503));
    let response = pair.ask();
    assert_eq!(response.status, 502);
    assert_eq!(response.text(), ALL_FAILED);
    assert_eq!(response.header("x-should-retry"), Some("false"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("retry-after"), None, "nothing cools");
    let record = pair.record(1);
    assert_eq!(classes(&record), ["server_error", "overloaded"]);
    assert_eq!((&record["outcome"], &record["status"], &record["served_by"]), (&json!("failed"), &json!(502), &Value::Null));
}

#[test]
fn all_models_failing_a_stream_is_the_same_502() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::close());
    let response = pair.stream().into_response();
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("x-should-retry"), Some("false"));
}

#[test]
fn a_chain_of_one_fails_after_one_attempt() {
    let [a] = providers(["from A"]);
    a.then(Reply::status(500));
    let daemon = daemon(&[("a", &a)], "");
    assert_eq!(post_chat(daemon.port(), ASK).text(), ALL_FAILED);
    assert_eq!(a.count(), 1, "the same model is not tried again");
}

#[test]
fn each_model_is_tried_at_most_once() {
    let [a, b, c] = providers(["from A", "from B", "from C"]);
    for provider in [&a, &b, &c] {
        provider.always(Reply::status(500));
    }
    let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c)], "[breaker]\nfailures = 1\n");
    for count in 1..4 {
        assert_eq!(post_chat(daemon.port(), ASK).status, 502);
        assert_eq!((a.count(), b.count(), c.count()), (count, count, count));
    }
}

// Start-up validation.

#[test]
fn a_provider_with_a_bad_key_never_appears_in_a_chain() {
    let [a, b] = providers(["from A", "from B"]);
    a.models(Reply::status(401));
    let daemon = Daemon::builder().config(chain_config(&[("a", &a), ("b", &b)])).env("DEBUG_ROUTING", "1").start();
    a.model_ids(&["m1"]);
    let response = post_chat(daemon.port(), ASK);
    assert_eq!(text_of(&response), "from B");
    assert_eq!(response.header("x-routor-fallback"), None, "B is the first of the chain");
    let record = &daemon.wait_logs(1)[0];
    assert_eq!((&record["chain"], &record["outcome"]), (&json!(["b/m1"]), &json!("served")));
    assert_eq!(a.count(), 0);
}

#[test]
fn an_unreachable_provider_never_appears_in_a_chain() {
    for fault in ["refused", "server error", "silence"] {
        let [a, b] = providers(["from A", "from B"]);
        match fault {
            "refused" => a.stop(),
            "server error" => drop(a.models(Reply::status(500))),
            _ => drop(a.models(Reply::hang())),
        }
        let daemon = daemon(&[("a", &a), ("b", &b)], "[validation]\ntimeout = \"500ms\"\n");
        a.model_ids(&["m1"]).restart();
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B", "{fault}");
        assert_eq!(daemon.wait_logs(1)[0]["chain"], json!(["b/m1"]), "{fault}");
        assert_eq!(a.count(), 0, "{fault}");
    }
}

#[test]
fn a_provider_whose_list_proves_nothing_stays_in_the_chain() {
    for reply in [Reply::status(404), Reply::status(405), Reply::status(429), Reply::json(200, "<html>")] {
        let [a, b] = providers(["from A", "from B"]);
        a.models(reply);
        let daemon = daemon(&[("a", &a), ("b", &b)], "");
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from A");
    }
}

#[test]
fn with_no_provider_left_serve_ends_with_1() {
    let [a] = providers(["from A"]);
    a.models(Reply::status(401));
    let end = Daemon::builder().config(chain_config(&[("a", &a)])).start_expecting_exit().expect_code(1);
    assert!(!end.stderr.contains("listening on"), "{}", end.stderr);
}

// Network faults.

#[test]
fn a_refused_connection_falls_over() {
    let pair = Pair::start("");
    pair.a.stop();
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(started.elapsed() < QUICK);
    assert_eq!(classes(&pair.record(1)), ["network", "ok"]);
}

#[test]
fn a_connection_closed_without_a_byte_falls_over() {
    let pair = Pair::start("");
    pair.a.then(Reply::close());
    assert_eq!(pair.said(), "from B");
    assert_eq!(pair.a.count(), 1, "a fresh connection is no stale one: nothing is resent");
    assert_eq!(classes(&pair.record(1)), ["network", "ok"]);
}

#[test]
fn a_reset_connection_falls_over() {
    let pair = Pair::start("");
    pair.a.then(Reply::reset());
    assert_eq!(pair.said(), "from B");
    assert_eq!(pair.a.count(), 1);
    assert_eq!(classes(&pair.record(1)), ["network", "ok"]);
}

#[test]
fn something_that_is_not_http_falls_over() {
    let pair = Pair::start(NO_BREAKER);
    for (count, bytes) in
        ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "\r\n\r\n\r\n{}"].into_iter().enumerate()
    {
        pair.a.then(Reply::raw(bytes).and(Step::Close));
        assert_eq!(pair.said(), "from B", "{bytes:?}");
        assert_eq!(classes(&pair.record(count + 1)).len(), 2, "{bytes:?}");
    }
}

#[test]
fn a_head_that_is_too_large_falls_over() {
    let pair = Pair::start("");
    let head = format!("HTTP/1.1 200 OK\r\nx-pad: {}\r\n\r\n", "x".repeat(1 << 20));
    pair.a.then(Reply::raw(head).and(Step::Close));
    assert_eq!(pair.said(), "from B");
}

#[test]
fn interim_answers_are_passed_over() {
    let pair = Pair::start("");
    let body = r#"{"choices":[{"message":{"content":"late"}}]}"#;
    let bytes = format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    pair.a.then(Reply::raw(bytes));
    assert_eq!(pair.said(), "late");
}

#[test]
fn an_answer_before_the_request_is_sent_whole_is_read() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "60").early());
    let body = json!({"messages": [{"role": "user", "content": "x".repeat(8 << 20)}]}).to_string();
    assert_eq!(text_of(&post_chat(pair.daemon.port(), body)), "from B");
    assert_eq!(classes(&pair.record(1)), ["rate_limited", "ok"]);
}

#[test]
fn an_answer_that_only_the_close_ends_is_whole() {
    let pair = Pair::start("");
    let body = r#"{"choices":[{"message":{"content":"old"}}]}"#;
    for version in ["1.0", "1.1"] {
        let head = format!("HTTP/{version} 200 OK\r\ncontent-type: application/json\r\n\r\n{body}");
        pair.a.then(Reply::raw(head).and(Step::Close));
        assert_eq!(pair.said(), "old", "{version}");
    }
}

#[test]
fn a_connection_with_bytes_that_nobody_asked_for_is_not_used_again() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    let body = r#"{"choices":[{"message":{"content":"first"}}]}"#;
    let extra = r#"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"#;
    pair.a.then(Reply::json(200, format!("{body}{extra}")).with_header("content-length", &body.len().to_string()));
    assert_eq!(text_of(&client.post_chat(ASK)), "first");
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    assert_eq!(pair.b.count(), 0);
}

#[test]
fn deeply_nested_answers_and_errors_do_no_harm() {
    let pair = Pair::start(NO_BREAKER);
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let bodies = [
        deep.clone(),
        format!("{{\"choices\":[{{\"message\":{deep}}}]}}"),
        format!("{{\"error\":{deep}}}"),
        format!("{{\"choices\":{},\"usage\":{deep}}}", "[{\"message\":{}}]"),
        format!("{{\"error\":{}}}", "9".repeat(1 << 20)),
    ];
    for body in &bodies {
        for status in [200, 500] {
            pair.a.then(Reply::json(status, body.as_str()));
            assert_eq!(pair.ask().status, 200, "{status}");
        }
    }
    assert!(pair.daemon.process().is_running());
}

#[test]
fn errors_of_every_shape_are_passed_through() {
    let pair = Pair::start(NO_BREAKER);
    for body in [
        r#"{"error":"text"}"#,
        r#"{"error":7}"#,
        r#"{"error":[1,{"code":400}]}"#,
        r#"{"error":{"code":null,"message":{"text":"x"}}}"#,
        r#"{"error":true}"#,
        r#"[]"#,
        r#""x""#,
        "null",
        "plain text",
        "{",
        "\u{0}\u{1}",
    ] {
        pair.a.then(Reply::json(400, body));
        let response = pair.ask();
        assert_eq!((response.status, response.text().as_str()), (400, body));
    }
    assert_eq!(pair.b.count(), 0);
}

// Answers that are none.

#[test]
fn a_good_status_without_an_answer_falls_over_as_garbled() {
    let pair = Pair::start(NO_BREAKER);
    let bodies = [
        "<!doctype html><html><body>Log in</body></html>",
        "upstream busy",
        "",
        " \n",
        "{}",
        "null",
        "[]",
        r#"{"choices":[]}"#,
        r#"{"choices":[{}]}"#,
        r#"{"choices":["#,
    ];
    for (count, body) in bodies.into_iter().enumerate() {
        pair.a.then(Reply::json(200, body));
        assert_eq!(pair.said(), "from B", "{body:?}");
        let record = pair.record(count + 1);
        assert_eq!(classes(&record), ["garbled", "ok"], "{body:?}");
        assert_eq!(record["attempts"][0]["status"], 200, "{body:?}");
    }
}

#[test]
fn a_success_without_a_body_falls_over_as_garbled() {
    let pair = Pair::start(NO_BREAKER);
    for (count, reply) in [Reply::json(204, ""), Reply::json(202, "")].into_iter().enumerate() {
        pair.a.then(reply);
        assert_eq!(pair.said(), "from B");
        assert_eq!(classes(&pair.record(count + 1)), ["garbled", "ok"]);
    }
}

#[test]
fn an_error_inside_a_good_answer_falls_over_by_its_own_class() {
    let pair = Pair::start(NO_BREAKER);
    for (count, (body, class)) in [
        (r#"{"error":{"message":"Provider returned error","code":502}}"#, "server_error"),
        (r#"{"error":{"message":"Overloaded","type":"overloaded_error"}}"#, "overloaded"),
        (r#"{"error":"something went wrong"}"#, "garbled"),
        (r#"{"error":{"message":"no","code":400},"choices":[]}"#, "garbled"),
        (r#"{"error":{"message":"prompt is too long: 9 tokens > 8 maximum"}}"#, "context_window"),
    ]
    .into_iter()
    .enumerate()
    {
        pair.a.then(Reply::json(200, body));
        assert_eq!(pair.said(), "from B", "{body}");
        assert_eq!(classes(&pair.record(count + 1)), [class, "ok"], "{body}");
    }
}

#[test]
fn minimax_says_in_base_resp_that_money_is_used_up() {
    let pair = Pair::start("");
    pair.a.then(Reply::json(200, r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["no_credit", "ok"]);
}

#[test]
fn a_cut_answer_falls_over_as_truncated() {
    let pair = Pair::start(NO_BREAKER);
    let body = r#"{"choices":[{"message":{"content":"half"}}]}"#;
    let length = |step| Reply::json(200, body).with_header("content-length", "500").and(step);
    let chunked = |step| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        Reply::steps(vec![Step::Bytes(head.into()), Step::chunk(body), step])
    };
    for (count, reply) in [length(Step::Close), length(Step::Reset), chunked(Step::Close), chunked(Step::Reset)].into_iter().enumerate() {
        pair.a.then(reply);
        assert_eq!(pair.said(), "from B");
        assert_eq!(classes(&pair.record(count + 1)), ["truncated", "ok"]);
    }
}

#[test]
fn a_408_falls_over_as_a_time_out() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(408));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

#[test]
fn events_that_nobody_asked_for_fall_over() {
    let pair = Pair::start("");
    pair.a.then(Reply::stream(&["x"]));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["garbled", "ok"]);
}

#[test]
fn redirects_are_not_followed_and_the_key_stays_here() {
    let target = Provider::start();
    let [a, b] = providers(["from A", "from B"]);
    let config = chain_config_with(&[("a", &a), ("b", &b)], NO_BREAKER).replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
    let daemon = Daemon::builder().config(config).env("A_KEY", "sk-a-0123456789").start();
    let to = format!("{}/chat/completions", target.base_url());
    for (count, status) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        a.then(Reply::json(status, "{}").with_header("location", &to));
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B", "{status}");
        assert_eq!(classes(&daemon.wait_logs(count + 1)[count]), ["garbled", "ok"], "{status}");
    }
    assert_eq!(target.connections(), 0);
}

// Rate limits and money.

#[test]
fn a_rate_limited_model_cools_by_its_hint() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "2"));
    let limited = Instant::now();
    assert_eq!(pair.said(), "from B");
    until_said(&pair, "from A", Duration::from_secs(8));
    let after = limited.elapsed();
    assert!(after >= Duration::from_secs(2) && after < Duration::from_secs(5), "{after:?}");
    assert_eq!(pair.a.count(), 2, "in between A was left alone");
}

#[test]
fn a_hint_in_milliseconds_goes_before_one_in_seconds() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after-ms", "1500").with_header("retry-after", "60"));
    let limited = Instant::now();
    assert_eq!(pair.said(), "from B");
    until_said(&pair, "from A", Duration::from_secs(8));
    assert!(limited.elapsed() >= Duration::from_millis(1500));
}

#[test]
fn a_rate_limit_without_a_hint_cools_for_30_seconds() {
    let [a] = providers(["from A"]);
    a.then(Reply::status(429));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(28..=30)), "{wait:?}");
}

#[test]
fn a_hint_in_the_body_is_read() {
    let [a] = providers(["from A"]);
    let body = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"47s"}]}}"#;
    a.then(Reply::json(429, body));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(44..=47)), "{wait:?}");
}

#[test]
fn a_limit_of_input_tokens_per_minute_is_a_rate_limit_and_no_overflow() {
    let [a, b] = providers(["from A", "from B"]);
    // Anthropic's words; B's window is smaller, so that only a rate limit leads there.
    let message = "This request would exceed your organization's rate limit of 30,000 input tokens per minute. Please reduce the prompt length or the maximum tokens requested, or try again later.";
    let body = json!({"type": "error", "error": {"type": "rate_limit_error", "message": message}}).to_string();
    a.then(Reply::json(429, body).with_header("retry-after", "60"));
    let windows = "[models.\"a/m1\"]\ncontext_window = 200000\n[models.\"b/m1\"]\ncontext_window = 100000\n";
    let daemon = daemon(&[("a", &a), ("b", &b)], windows);
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!(classes(&daemon.wait_logs(1)[0]), ["rate_limited", "ok"]);
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!(a.count(), 1, "it cools by its hint");
}

#[test]
fn a_quota_per_minute_is_a_rate_limit_whatever_the_prose_says_of_billing() {
    let [a] = providers(["from A"]);
    // Google's words for every quota, those per minute too.
    let message = "You exceeded your current quota, please check your plan and billing details.\n* Quota exceeded for metric: generate_content_free_tier_requests, limit: 10, model: m1\nPlease retry in 38.9s.";
    let details = json!([
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "38s"},
    ]);
    a.then(Reply::json(
        429,
        json!([{"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}}]).to_string(),
    ));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert_eq!(classes(&daemon.wait_logs(1)[0]), ["rate_limited"]);
    assert!(matches!(wait, Some(35..=39)), "{wait:?}");
}

#[test]
fn a_hint_is_believed_up_to_an_hour() {
    let [a] = providers(["from A"]);
    a.then(Reply::status(429).with_header("retry-after", "86400"));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(3590..=3600)), "{wait:?}");
}

#[test]
fn hints_that_make_no_sense_do_no_harm() {
    let [a] = providers(["from A"]);
    let daemon = daemon(&[("a", &a)], "");
    for hint in [
        "-1",
        "1e308",
        "NaN",
        "inf",
        "soon",
        "",
        "0",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "99999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        a.then(Reply::status(429).with_header("retry-after", hint));
        let response = post_chat(daemon.port(), ASK);
        assert_eq!(response.status, 502, "{hint:?}");
        assert!(matches!(retry_after(&response), Some(1..=3600)), "{hint:?}: {:?}", response.headers);
    }
}

#[test]
fn a_rate_limit_is_no_failure_of_the_provider() {
    let [a] = providers(["from A"]);
    let daemon = daemon(&[("a", &a)], "[breaker]\nfailures = 100\n");
    for _ in 0..8 {
        a.then(Reply::status(429).with_header("retry-after", "1"));
        assert_eq!(post_chat(daemon.port(), ASK).status, 502);
    }
    a.then(Reply::status(500));
    let response = post_chat(daemon.port(), ASK);
    assert_eq!(response.status, 502);
    assert!(retry_after(&response).is_none_or(|wait| wait <= 1), "one failure of one counted attempt cools nobody: {:?}", response.headers);
}

#[test]
fn a_rate_limit_leaves_the_providers_other_models_alone() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = daemon(&[("a", &a), ("b", &b)], "");
    a.then(Reply::status(429).with_header("retry-after", "60"));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from A");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
}

/// Answers that say that the money is used up.
fn without_credit() -> [Reply; 6] {
    [
        Reply::json(402, ""),
        Reply::json(
            429,
            error_body(
                "You exceeded your current quota, please check your plan and billing details",
                "insufficient_quota",
                "insufficient_quota",
            ),
        ),
        Reply::json(500, r#"{"type":"error","error":{"type":"api_error","message":"insufficient balance (1008)"}}"#),
        Reply::json(403, r#"{"error":{"message":"insufficient balance"}}"#),
        Reply::json(
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API"}}"#,
        ),
        Reply::json(429, r#"{"type":"error","error":{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}}"#),
    ]
}

#[test]
fn used_up_credit_is_known_in_every_status() {
    let poor = without_credit().map(|reply| {
        let provider = Provider::start();
        provider.always(reply);
        provider
    });
    let [rich] = providers(["from the rich"]);
    let names = ["p0", "p1", "p2", "p3", "p4", "p5"];
    let chain: Vec<(&str, &Provider)> = names.into_iter().zip(&poor).chain([("rich", &rich)]).collect();
    let daemon = daemon(&chain, "");
    for _ in 0..2 {
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from the rich");
    }
    assert!(poor.iter().all(|provider| provider.count() == 1), "they cool: the second request went straight on");
    let records = daemon.wait_logs(2);
    assert_eq!(classes(&records[0]), ["no_credit", "no_credit", "no_credit", "no_credit", "no_credit", "no_credit", "ok"]);
    assert_eq!(tried(&records[1]), ["rich"]);
    assert_eq!(records[1]["outcome"], "fallback", "the chain as decided begins with another");
}

#[test]
fn without_credit_the_whole_provider_cools() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = daemon(&[("a", &a), ("b", &b)], "");
    a.then(Reply::json(402, ""));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from B");
    assert_eq!(a.count(), 1);
}

#[test]
fn without_credit_the_provider_cools_for_an_hour() {
    let [a] = providers(["from A"]);
    a.then(Reply::json(402, ""));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(3590..=3600)), "{wait:?}");
}

#[test]
fn without_credit_the_provider_cools_by_its_hint() {
    let [a] = providers(["from A"]);
    a.then(Reply::json(402, "").with_header("retry-after", "120"));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(115..=120)), "{wait:?}");
}

#[test]
fn a_used_up_day_quota_cools_for_up_to_a_day() {
    let [a] = providers(["from A"]);
    let body = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}"#;
    a.then(Reply::json(429, body).with_header("retry-after", "40000"));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(39_900..=40_000)), "{wait:?}");
}

// Keys and permissions.

/// A daemon over two providers of which the first has a key.
#[track_caller]
fn with_key(a: &Provider, b: &Provider, extra: &str) -> Daemon {
    let config = chain_config_with(&[("a", a), ("b", b)], extra).replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
    Daemon::builder().config(config).env("A_KEY", KEY).start()
}

const KEY: &str = "sk-test-0123456789abcdef";

#[test]
fn a_refused_key_falls_over_and_the_key_is_checked_once() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    let checks = list_calls(&a);
    let gate = Gate::new();
    // Three requests at once find that the key is refused: that is said and checked once.
    for _ in 0..3 {
        a.then(Reply::status(401).after(Step::WaitFor(gate.clone())));
    }
    a.models(Reply::model_list(&["m1", "m2"]).after(Step::WaitFor(gate.clone())));
    thread::scope(|scope| {
        let asked: Vec<_> = (0..3).map(|_| scope.spawn(|| text_of(&post_chat(daemon.port(), ASK)))).collect();
        a.wait_for_chats(3);
        gate.open();
        for one in asked {
            assert_eq!(one.join().expect("an answer"), "from B");
        }
    });
    let record = &daemon.wait_logs(1)[0];
    assert_eq!((classes(record), &record["attempts"][0]["status"]), (vec!["auth", "ok"], &json!(401)));
    eventually("the provider is back", || text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))) == "from A");
    assert_eq!(list_calls(&a), checks + 1, "asked once");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B", "the model that was refused cools");
    let said = daemon.stderr();
    assert_eq!(said.matches("refused its key").count(), 1, "{said}");
    assert!(said.contains("A_KEY") && !said.contains(KEY), "{said}");
}

#[test]
fn while_a_refused_key_is_checked_its_provider_gets_nothing() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    let gate = Gate::new();
    a.models(Reply::model_list(&["m1", "m2"]).after(Step::WaitFor(gate.clone())));
    a.then(Reply::status(401));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from B");
    assert_eq!(a.count(), 1);
    gate.open();
}

#[test]
fn a_provider_whose_key_is_bad_stays_out() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    let checks = list_calls(&a);
    a.models(Reply::status(401));
    a.then(Reply::status(401));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    daemon.wait_stderr("rejected");
    // The chain is made without it from now on.
    eventually("A is out of the chain", || {
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
        let records = daemon.wait_logs(1);
        records.last().is_some_and(|record| record["chain"] == json!(["b/m1"]))
    });
    b.then(Reply::status(500));
    assert_eq!(post_chat(daemon.port(), ASK).status, 502, "out is out, even when nothing else is left");
    assert_eq!(a.count(), 1);
    assert_eq!(list_calls(&a), checks + 1);
}

#[test]
fn a_403_that_blames_the_key_takes_the_provider_out() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    a.models(Reply::status(401));
    a.then(Reply::json(403, r#"{"code":"unauthenticated:bad-credentials","error":"The API key is invalid."}"#));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    daemon.wait_stderr("refused its key");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!((a.count(), classes(&daemon.wait_logs(1)[0])), (1, vec!["auth", "ok"]));
}

#[test]
fn a_model_of_a_provider_that_went_out_can_still_be_asked_for_by_name() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    let named = ASK.replace("auto", "a/m2");
    assert_eq!(text_of(&post_chat(daemon.port(), &named)), "from A");
    a.models(Reply::status(401));
    a.then(Reply::status(401));
    assert_eq!(text_of(&post_chat(daemon.port(), &named)), "from B");
    daemon.wait_stderr("rejected");
    // The name was good a moment ago: the app that uses it must not see that a provider is lost.
    for _ in 0..20 {
        assert_eq!(text_of(&post_chat(daemon.port(), &named)), "from B");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_reload_forgets_a_rejected_key_and_used_up_credit() {
    for refusal in [Reply::status(401), Reply::json(402, "")] {
        let [a, b] = providers(["from A", "from B"]);
        let daemon = with_key(&a, &b, "");
        a.models(Reply::status(401));
        a.then(refusal);
        for _ in 0..2 {
            assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
        }
        a.model_ids(&["m1"]);
        daemon.run(&["reload"]).expect_code(0);
        eventually("A is back", || text_of(&post_chat(daemon.port(), ASK)) == "from A");
    }
}

#[test]
fn another_model_of_a_provider_whose_key_is_refused_is_left_out() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let config = chain_config(&[("a", &a), ("b", &b)]).replace("\"a/m1\", ", "\"a/m1\", \"a/m2\", ");
    let daemon = Daemon::start(config);
    a.models(Reply::status(401));
    a.then(Reply::status(401));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    let record = &daemon.wait_logs(1)[0];
    assert_eq!((tried(record), &record["skipped"][0]["why"]), (vec!["a", "b"], &json!("auth")));
    assert_eq!(a.count(), 1);
}

#[test]
fn any_other_403_cools_the_model_alone() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    let checks = list_calls(&a);
    a.then(Reply::json(
        403,
        error_body("Country, region, or territory not supported", "request_forbidden", "unsupported_country_region_territory"),
    ));
    for _ in 0..2 {
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    }
    assert_eq!(a.count(), 1);
    assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from A");
    assert_eq!(list_calls(&a), checks, "the key is not in question");
    assert!(!daemon.stderr().contains("refused its key"), "{}", daemon.stderr());
}

#[test]
fn a_forbidden_model_cools_for_ten_minutes() {
    let [a] = providers(["from A"]);
    a.then(Reply::json(403, error_body("Not for you", "forbidden", "forbidden")));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(590..=600)), "{wait:?}");
}

#[test]
fn a_model_that_is_gone_cools_at_once_and_alone() {
    for (status, body) in [
        (404, error_body("The model `m1` does not exist", "invalid_request_error", "model_not_found")),
        (404, String::new()),
        (410, error_body("retired", "gone", "gone")),
        (
            400,
            error_body(
                "The model `m1` has been decommissioned and is no longer supported.",
                "invalid_request_error",
                "model_decommissioned",
            ),
        ),
    ] {
        let [a, b] = providers(["from A", "from B"]);
        a.model_ids(&["m1", "m2"]);
        let daemon = daemon(&[("a", &a), ("b", &b)], "");
        a.then(Reply::json(status, body.as_str()));
        for _ in 0..2 {
            assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B", "{status} {body}");
        }
        assert_eq!(a.count(), 1, "{status} {body}");
        assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from A", "{status} {body}");
        assert_eq!(classes(&daemon.wait_logs(1)[0]), ["model_gone", "ok"], "{status} {body}");
    }
}

#[test]
fn a_model_that_is_gone_cools_for_ten_minutes() {
    let [a] = providers(["from A"]);
    a.then(Reply::status(404));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(590..=600)), "{wait:?}");
}

#[test]
fn a_model_that_is_gone_is_out_even_when_nothing_else_is_left() {
    let [a] = providers(["from A"]);
    a.then(Reply::status(404));
    let daemon = daemon(&[("a", &a)], "");
    for _ in 0..2 {
        let response = post_chat(daemon.port(), ASK);
        assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    }
    assert_eq!(a.count(), 1);
}

#[test]
fn a_web_page_in_a_404_is_a_hint_at_the_base_url() {
    let pair = Pair::start("");
    pair.a.then(Reply::json(404, "<!doctype html><html><title>Not found</title></html>").with_header("content-type", "text/html"));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["model_gone", "ok"]);
    let said = pair.daemon.wait_stderr("base_url");
    assert!(said.contains("a"), "{said}");
}

// The caller's own mistakes.

#[test]
fn content_that_a_provider_refuses_is_not_offered_to_another() {
    let pair = Pair::start("[breaker]\nfailures = 1\n");
    let body = error_body(
        "The response was filtered due to the prompt triggering the content management policy.",
        "invalid_request_error",
        "content_filter",
    );
    pair.a.then(Reply::json(400, body.as_str()));
    let response = pair.ask();
    assert_eq!((response.status, response.text()), (400, body));
    assert_eq!(pair.b.count(), 0);
    let record = pair.record(1);
    assert_eq!((&record["outcome"], &record["status"], classes(&record)), (&json!("rejected"), &json!(400), vec!["content_filter"]));
    assert_eq!(pair.said(), "from A", "nobody is blamed");
}

#[test]
fn a_4xx_of_the_first_model_is_passed_through_unchanged() {
    let pair = Pair::start("[breaker]\nfailures = 1\n");
    for (count, status) in [400, 405, 415, 422].into_iter().enumerate() {
        let body = format!(
            "{{ \"error\" : {{\"message\":\"Unknown parameter: 'foo'.\",\"type\":\"invalid_request_error\",\"param\":\"foo\",\"code\":\"unknown_parameter\",\"n\":1.0e-7,\"status\":{status}}} }}\n"
        );
        pair.a.then(Reply::json(status, body.as_str()).with_header("x-ratelimit-remaining-tokens", "7"));
        let response = pair.ask();
        assert_eq!((response.status, response.text()), (status, body));
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("x-ratelimit-remaining-tokens"), Some("7"));
        let record = pair.record(2 * count + 1);
        assert_eq!((&record["outcome"], &record["status"], classes(&record)), (&json!("rejected"), &json!(status), vec!["bad_request"]));
        assert_eq!(pair.said(), "from A", "nobody is blamed");
    }
    assert_eq!(pair.b.count(), 0);
}

#[test]
fn a_400_of_a_later_model_goes_on_to_the_next() {
    let [a, b, c] = providers(["from A", "from B", "from C"]);
    let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c)], NO_BREAKER);
    for (count, status) in [400, 422].into_iter().enumerate() {
        a.then(Reply::status(500));
        b.then(Reply::json(status, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "unknown_parameter")));
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from C", "{status}");
        assert_eq!(classes(&daemon.wait_logs(count + 1)[count]), ["server_error", "bad_request", "ok"], "{status}");
    }
}

#[test]
fn a_400_of_the_last_model_is_the_502() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::json(400, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "unknown_parameter")));
    let response = pair.ask();
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    let record = pair.record(1);
    assert_eq!((&record["outcome"], classes(&record)), (&json!("failed"), vec!["server_error", "bad_request"]));
}

// The breaker.

#[test]
fn failures_in_a_row_make_a_model_cool() {
    let pair = Pair::start("[breaker]\nfailures = 2\ncooldown = \"60s\"\n");
    pair.a.then(Reply::status(500)).then(Reply::answer("from A")).then(Reply::status(500)).then(Reply::status(500));
    let said: Vec<String> = (0..6).map(|_| pair.said()).collect();
    assert_eq!(said, ["from B", "from A", "from B", "from B", "from B", "from B"]);
    assert_eq!(pair.a.count(), 4, "one failure, a success and two failures in a row; then it is left alone");
}

#[test]
fn a_cooling_model_is_tried_when_nothing_else_is_left() {
    let pair = Pair::start_with("[breaker]\nfailures = 1\ncooldown = \"60s\"\n", |builder| builder.env("DEBUG_ROUTING", "1"));
    pair.a.then(Reply::status(500));
    assert_eq!(pair.said(), "from B");
    pair.b.then(Reply::status(500));
    let response = pair.ask();
    assert_eq!(text_of(&response), "from A");
    assert_eq!(response.header("x-routor-fallback"), None, "A is the first of the chain as decided");
    assert_eq!(response.header("x-routor-attempts"), Some("2"));
    let record = pair.record(2);
    assert_eq!((tried(&record), &record["outcome"]), (vec!["b", "a"], &json!("served")));
}

#[test]
fn an_answer_in_place_of_a_cooling_model_is_a_fallback() {
    let pair = Pair::start_with("[breaker]\nfailures = 1\ncooldown = \"60s\"\n", |builder| builder.env("DEBUG_ROUTING", "1"));
    pair.a.then(Reply::status(500));
    pair.said();
    let response = pair.ask();
    assert_eq!((response.header("x-routor-fallback"), response.header("x-routor-attempts")), (Some("true"), Some("1")));
    let record = pair.record(2);
    assert_eq!((tried(&record), &record["outcome"]), (vec!["b"], &json!("fallback")));
}

#[test]
fn a_success_of_a_cooling_model_ends_its_cooldown() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"60s\"\n");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::answer("from B")).then(Reply::status(500));
    assert_eq!([pair.said(), pair.said(), pair.said()], ["from B", "from A", "from A"]);
}

#[test]
fn after_the_cooldown_a_good_probe_brings_the_model_back() {
    let pair = Pair::start("[breaker]\nfailures = 2\ncooldown = \"1s\"\n");
    pair.a.then(Reply::status(500)).then(Reply::status(500));
    assert_eq!([pair.said(), pair.said(), pair.said()], ["from B", "from B", "from B"]);
    assert_eq!(pair.a.count(), 2);
    until_said(&pair, "from A", Duration::from_secs(5));
    for _ in 0..8 {
        assert_eq!(pair.said(), "from A");
    }
    pair.a.then(Reply::status(500));
    assert_eq!([pair.said(), pair.said()], ["from B", "from A"], "the count begins anew");
}

#[test]
fn a_failed_probe_doubles_the_cooldown() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"1s\"\n");
    pair.a.then(Reply::status(500)).then(Reply::status(500));
    pair.said();
    eventually("the probe", || {
        pair.said();
        pair.a.count() == 2
    });
    let failed = pair.a.chats()[1].at;
    until_said(&pair, "from A", Duration::from_secs(8));
    assert!(failed.elapsed() >= Duration::from_secs(2), "{:?}", failed.elapsed());
    let first = pair.a.chats()[0].at;
    assert!(failed.duration_since(first) >= Duration::from_millis(990), "{:?}", failed.duration_since(first));
}

#[test]
fn exactly_one_of_many_requests_probes() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"1s\"\n");
    pair.a.then(Reply::status(500));
    pair.said();
    let failed = pair.a.chats()[0].at;
    let gate = Gate::new();
    pair.a.always(Reply::answer("from A").after(Step::WaitFor(gate.clone())));
    thread::sleep(Duration::from_millis(1100).saturating_sub(failed.elapsed()));
    let said = thread::scope(|scope| {
        let asked: Vec<_> = (0..50).map(|_| scope.spawn(|| pair.said())).collect();
        pair.a.wait_for_chats(2);
        pair.b.wait_for_chats(50);
        gate.open();
        asked.into_iter().map(|one| one.join().expect("an answer")).collect::<Vec<String>>()
    });
    assert_eq!(pair.a.count(), 2, "the failure and one probe");
    assert_eq!(said.iter().filter(|text| *text == "from A").count(), 1);
}

#[test]
fn a_probe_that_ends_without_a_verdict_is_made_again() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"1s\"\n");
    pair.a.then(Reply::status(500)).then(Reply::json(400, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "x")));
    pair.said();
    eventually("the probe", || pair.ask().status == 400);
    assert_eq!(pair.said(), "from A");
}

#[test]
fn with_failures_0_no_failure_moves_a_model() {
    let pair = Pair::start(NO_BREAKER);
    for count in 0..12 {
        pair.a.then(Reply::status(500));
        assert_eq!(pair.said(), "from B");
        assert_eq!(pair.a.count(), count + 1, "A is still asked first");
    }
    assert_eq!(pair.said(), "from A");
}

#[test]
fn with_failures_0_a_hint_still_cools() {
    let pair = Pair::start(NO_BREAKER);
    pair.a.then(Reply::status(429).with_header("retry-after", "60"));
    assert_eq!([pair.said(), pair.said()], ["from B", "from B"]);
    assert_eq!(pair.a.count(), 1);
}

#[test]
fn with_failures_0_a_failure_after_a_hint_cools_nobody() {
    let pair = Pair::start(NO_BREAKER);
    pair.a.then(Reply::status(429).with_header("retry-after", "1")).then(Reply::status(500));
    pair.said();
    eventually("A is asked again", || {
        pair.said();
        pair.a.count() == 2
    });
    assert_eq!(pair.said(), "from A");
}

// Health.

#[test]
fn a_provider_below_70_percent_is_treated_as_cooling() {
    let pair = Pair::start("[breaker]\nfailures = 100\ncooldown = \"60s\"\n");
    for reply in [Reply::answer("from A"), Reply::status(500), Reply::answer("from A"), Reply::status(500)] {
        pair.a.then(reply);
        pair.said();
    }
    assert_eq!(pair.a.count(), 4, "four attempts say nothing");
    pair.a.then(Reply::status(500));
    assert_eq!(pair.said(), "from B");
    assert_eq!([pair.said(), pair.said()], ["from B", "from B"]);
    assert_eq!(pair.a.count(), 5, "two of five were good");
}

#[test]
fn a_provider_at_70_percent_is_not_treated_as_cooling() {
    let pair = Pair::start("[breaker]\nfailures = 100\ncooldown = \"60s\"\n");
    for good in [true, true, true, true, false, true, true, true, false, false] {
        pair.a.then(if good { Reply::answer("from A") } else { Reply::status(500) });
        assert_eq!(pair.said(), if good { "from A" } else { "from B" });
    }
    assert_eq!(pair.said(), "from A");
}

#[test]
fn a_good_probe_restarts_the_providers_window() {
    let pair = Pair::start("[breaker]\nfailures = 100\ncooldown = \"1s\"\n");
    for _ in 0..5 {
        pair.a.then(Reply::status(500));
        pair.said();
    }
    assert_eq!(pair.said(), "from B");
    assert_eq!(pair.a.count(), 5);
    until_said(&pair, "from A", Duration::from_secs(5));
    pair.a.then(Reply::status(500));
    assert_eq!([pair.said(), pair.said()], ["from B", "from A"], "one failure after it says nothing");
}

#[test]
fn health_is_the_providers_and_counts_all_its_models() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = daemon(&[("a", &a), ("b", &b)], "[breaker]\nfailures = 100\ncooldown = \"60s\"\n");
    for _ in 0..5 {
        a.then(Reply::status(500));
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    }
    assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from B");
}

#[test]
fn the_callers_mistakes_are_no_failures_of_the_provider() {
    let pair = Pair::start("[breaker]\nfailures = 2\n");
    for _ in 0..8 {
        pair.a.then(Reply::json(400, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "x")));
        assert_eq!(pair.ask().status, 400);
    }
    assert_eq!(pair.said(), "from A");
    assert_eq!(pair.b.count(), 0);
}

// Time.

#[test]
fn an_attempt_is_cut_so_that_the_next_model_is_still_tried() {
    let [a, b, c] = providers(["from A", "from B", "from C"]);
    a.then(Reply::hang());
    b.then(Reply::hang());
    let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c)], "[timeouts]\ntotal = \"1500ms\"\n");
    let started = Instant::now();
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from C");
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
    assert_eq!(classes(&daemon.wait_logs(1)[0]), ["timeout", "timeout", "ok"]);
}

#[test]
fn the_502_comes_within_the_total() {
    let [a, b, c] = providers(["from A", "from B", "from C"]);
    for provider in [&a, &b, &c] {
        provider.always(Reply::hang());
    }
    let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c)], "[timeouts]\ntotal = \"900ms\"\n");
    let started = Instant::now();
    assert_eq!(post_chat(daemon.port(), ASK).text(), ALL_FAILED);
    assert!(started.elapsed() < Duration::from_millis(900) + Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(classes(&daemon.wait_logs(1)[0]), ["timeout", "timeout", "timeout"]);
}

#[test]
fn an_own_clock_of_a_provider_goes_before_the_general_one() {
    let pair = Pair::start("[timeouts]\nresponse = \"60s\"\n[providers.a.timeouts]\nresponse = \"300ms\"\n");
    pair.a.then(Reply::hang());
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(started.elapsed() < QUICK);
}

#[test]
fn an_own_clock_of_a_model_goes_before_its_providers() {
    let pair = Pair::start("[providers.a.timeouts]\nresponse = \"60s\"\n[models.\"a/m1\".timeouts]\nresponse = \"300ms\"\n");
    pair.a.then(Reply::hang());
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(started.elapsed() < QUICK);
}

// Connections.

#[test]
fn a_stale_connection_is_replaced_once_and_nobody_notices() {
    let pair = Pair::start("[breaker]\nfailures = 1\n");
    let mut client = pair.daemon.client();
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    pair.a.then(Reply::close());
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    assert_eq!(text_of(&client.post_chat(ASK)), "from A", "it is no failure");
    let chats = pair.a.chats();
    assert_eq!(chats.len(), 4, "the one that met the dead connection was sent again");
    assert_eq!(chats[0].connection, chats[1].connection);
    assert_ne!(chats[1].connection, chats[2].connection);
    assert_eq!(pair.b.count(), 0);
    let record = pair.record(2);
    assert_eq!((&record["outcome"], classes(&record)), (&json!("served"), vec!["ok"]));
}

#[test]
fn a_stale_connection_that_is_reset_is_replaced_too() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    pair.a.then(Reply::reset());
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    assert_eq!(pair.b.count(), 0);
}

#[test]
fn a_replacement_that_dies_too_is_not_replaced() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    pair.a.then(Reply::close()).then(Reply::close());
    assert_eq!(text_of(&client.post_chat(ASK)), "from B");
    assert_eq!(pair.a.count(), 3, "no third try");
    assert_eq!(classes(&pair.record(2)), ["network", "ok"]);
}

#[test]
fn a_stale_connection_is_replaced_by_a_new_one_not_by_another_idle_one() {
    let pair = Pair::start("");
    let gate = Gate::new();
    // Enough at once that some worker has several idle connections afterwards.
    let mut clients: Vec<Client> = (0..12).map(|_| pair.daemon.client()).collect();
    for client in &mut clients {
        pair.a.then(Reply::answer("from A").after(Step::WaitFor(gate.clone())));
        client.send("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
    }
    pair.a.wait_for_chats(12);
    gate.open();
    for client in &mut clients {
        assert_eq!(text_of(&client.read_response("POST").expect("an answer")), "from A");
    }
    for client in &mut clients {
        let (before, known) = (pair.a.count(), pair.a.connections());
        pair.a.then(Reply::close());
        assert_eq!(client.post_chat(ASK).status, 200);
        let sent: Vec<usize> = pair.a.chats()[before..].iter().map(|chat| chat.connection).collect();
        if sent[0] <= known {
            assert!(sent.len() == 2 && sent[1] > known, "sent on connections {sent:?}, of which {known} were open before");
        }
    }
}

#[test]
fn a_provider_that_restarts_is_no_failure() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    pair.a.restart();
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    assert_eq!(pair.b.count(), 0);
}

#[test]
fn the_connection_of_a_failed_answer_is_used_again() {
    let pair = Pair::start(NO_BREAKER);
    let mut client = pair.daemon.client();
    for status in [500, 429, 503, 404] {
        pair.a.then(Reply::json(status, error_body(&"x".repeat(40_000), "server_error", "x")).with_header("retry-after", "0"));
        assert_eq!(text_of(&client.post_chat(ASK)), "from B");
        if status == 429 {
            eventually("A is asked again", || text_of(&client.post_chat(ASK)) == "from A");
        }
    }
    let chats = pair.a.chats();
    assert!(
        chats.iter().all(|chat| chat.connection == chats[0].connection),
        "{:?}",
        chats.iter().map(|chat| chat.connection).collect::<Vec<_>>()
    );
}

#[test]
fn a_provider_that_hangs_holds_up_no_other() {
    let pair = Pair::start("");
    for _ in 0..100 {
        pair.a.then(Reply::hang());
    }
    let hanging: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = pair.daemon.client();
            client.send("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
            client
        })
        .collect();
    pair.a.wait_for_chats(100);
    let started = Instant::now();
    assert_eq!(text_of(&post_chat(pair.daemon.port(), ASK.replace("auto", "b/m1"))), "from B");
    assert!(started.elapsed() < QUICK);
    drop(hanging);
}

// The request log.

#[test]
fn every_request_has_one_record_that_says_how_it_ended() {
    let pair = Pair::start(NO_BREAKER);
    assert_eq!(pair.said(), "from A");
    pair.a.then(Reply::status(503));
    assert_eq!(pair.said(), "from B");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::json(200, "{}"));
    assert_eq!(pair.ask().status, 502);
    pair.a.then(Reply::events_then(vec![support::role(), support::content("half")], Step::Close));
    pair.stream().read_to_end();
    pair.a.then(Reply::hang());
    let mut client = pair.daemon.client();
    client.send("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
    pair.a.wait_for_chats(5);
    drop(client);
    pair.daemon.wait_logs(5);
    pair.a.then(Reply::json(400, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "x")));
    assert_eq!(pair.ask().status, 400);
    assert_eq!(post_chat(pair.daemon.port(), r#"{"messages":[]}"#).status, 400);
    assert_eq!(post_chat(pair.daemon.port(), ASK.replace("auto", "nobody/knows")).status, 404);

    let records = pair.daemon.wait_logs(8);
    assert_eq!(records.len(), 8);
    let said: Vec<(&str, &Value, Vec<&str>)> =
        records.iter().map(|record| (record["outcome"].as_str().expect("an outcome"), &record["status"], classes(record))).collect();
    let wanted = [
        ("served", json!(200), vec!["ok"]),
        ("fallback", json!(200), vec!["overloaded", "ok"]),
        ("failed", json!(502), vec!["server_error", "garbled"]),
        ("partial", json!(200), vec!["truncated"]),
        ("client_closed", Value::Null, vec!["client_closed"]),
        ("rejected", json!(400), vec!["bad_request"]),
        ("rejected", json!(400), vec![]),
        ("rejected", json!(404), vec![]),
    ];
    for (said, (outcome, status, classes)) in said.into_iter().zip(wanted) {
        assert_eq!(said, (outcome, &status, classes));
    }
    let served: Vec<&Value> = records.iter().map(|record| &record["served_by"]).collect();
    assert_eq!(served[..3], [&json!("a/m1"), &json!("b/m1"), &Value::Null]);
    let ids: std::collections::HashSet<&str> = records.iter().filter_map(|record| record["id"].as_str()).collect();
    assert_eq!(ids.len(), 8, "every id is another");
}

#[test]
fn a_record_has_the_documented_fields() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(503));
    assert_eq!(pair.said(), "from B");
    let record = pair.record(1);
    assert_eq!((&record["model"], &record["chain"], &record["stream"]), (&json!("auto"), &json!(["a/m1", "b/m1"]), &json!(false)));
    assert_eq!((&record["served_by"], &record["prompt_tokens"], &record["completion_tokens"]), (&json!("b/m1"), &json!(9), &json!(3)));
    assert_eq!(record["skipped"], json!([]));
    assert!(record["tier"].is_string() && record["ms"].is_u64() && record["first_ms"].is_null(), "{record}");
    let time = record["time"].as_str().expect("a time");
    assert!(time.len() == 24 && time.ends_with('Z') && &time[19..20] == ".", "{time}");
    let attempts = record["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 2);
    assert_eq!((&attempts[0]["provider"], &attempts[0]["model"], &attempts[0]["status"]), (&json!("a"), &json!("m1"), &json!(503)));
    assert!(attempts.iter().all(|attempt| attempt["ms"].is_u64() && attempt["first_ms"].is_null()), "{record}");
}

#[test]
fn a_record_holds_no_prompt_and_no_answer() {
    let pair = Pair::start("");
    pair.a.then(Reply::json(500, error_body("secret of the provider", "server_error", "x")));
    pair.b.then(Reply::answer("secret of the answer"));
    post_chat(pair.daemon.port(), r#"{"messages":[{"role":"user","content":"secret of the prompt"}],"user":"secret of the user"}"#);
    let record = pair.record(1).to_string();
    assert!(!record.contains("secret"), "{record}");
}

#[test]
fn usage_that_makes_no_sense_is_stored_as_unknown() {
    let pair = Pair::start("");
    for (count, usage) in [r#"{"prompt_tokens":-4,"completion_tokens":1e400}"#, "7", r#"{"prompt_tokens":123456789012345678901234567890}"#]
        .into_iter()
        .enumerate()
    {
        let body = format!(r#"{{"choices":[{{"message":{{"content":"from A"}}}}],"usage":{usage}}}"#);
        pair.a.then(Reply::json(200, body.as_str()));
        assert_eq!(pair.ask().text(), body);
        assert_eq!(pair.record(count + 1)["prompt_tokens"], Value::Null, "{usage}");
    }
}

// Headers to the caller.

#[test]
fn a_sane_request_id_is_kept_and_any_other_is_replaced() {
    let pair = Pair::start("");
    let asked_with = |id: &str| {
        let response = post(pair.daemon.port(), "/v1/chat/completions", &[("x-request-id", id)], ASK);
        response.header("x-request-id").expect("an id").to_owned()
    };
    let long = "x".repeat(10_000);
    assert_eq!(asked_with("job-7_a.b:c"), "job-7_a.b:c");
    assert_eq!(pair.record(1)["id"], "job-7_a.b:c");
    for id in ["", "a b", "{\"x\":1}", "é", long.as_str(), "a;b"] {
        let given = asked_with(id);
        assert!(given != id && !given.is_empty() && given.is_ascii(), "{id:?} → {given:?}");
    }
    assert_ne!(pair.ask().header("x-request-id"), None, "always");
    assert_ne!(pair.ask().header("x-request-id"), pair.ask().header("x-request-id"));
}

#[test]
fn with_debug_routing_the_headers_say_how_it_was_routed() {
    let pair = Pair::start_with("", |builder| builder.env("DEBUG_ROUTING", "1"));
    let first = pair.ask();
    let names = ["x-routor-model", "x-routor-profile", "x-routor-attempts", "x-routor-fallback"];
    assert_eq!(names.map(|name| first.header(name)), [Some("a/m1"), Some("auto"), Some("1"), None]);
    assert!(first.header("x-routor-tier").is_some_and(|tier| ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"].contains(&tier)));
    let confidence = first.header("x-routor-confidence").and_then(|value| value.parse::<f64>().ok());
    assert!(confidence.is_some_and(|value| (0.0..=1.0).contains(&value)), "{:?}", first.headers);
}

#[test]
fn with_debug_routing_a_fallback_says_so() {
    let pair = Pair::start_with("", |builder| builder.env("DEBUG_ROUTING", "1"));
    let names = ["x-routor-model", "x-routor-attempts", "x-routor-fallback"];
    pair.a.then(Reply::status(500));
    let whole = pair.ask();
    assert_eq!(names.map(|name| whole.header(name)), [Some("b/m1"), Some("2"), Some("true")]);
    pair.a.then(Reply::status(500));
    let stream = pair.stream();
    assert_eq!(names.map(|name| stream.header(name)), [Some("b/m1"), Some("2"), Some("true")]);
}

#[test]
fn without_debug_routing_no_header_tells() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    let fallback = pair.ask();
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::status(500));
    let failed = pair.ask();
    pair.a.then(Reply::status(500));
    let stream = pair.stream();
    for headers in [&fallback.headers, &failed.headers, &stream.headers] {
        assert!(!headers.iter().any(|(name, _)| name.starts_with("x-routor")), "{headers:?}");
    }
}

#[test]
fn with_debug_routing_the_502_names_the_attempts() {
    let pair = Pair::start_with("", |builder| builder.env("DEBUG_ROUTING", "1"));
    pair.a.then(Reply::status(503));
    pair.b.then(Reply::close());
    let response = pair.ask();
    assert_eq!(response.status, 502);
    let mut body = response.json();
    let attempts = body["error"].as_object_mut().expect("an error").remove("attempts").expect("attempts");
    assert_eq!(body, serde_json::from_str::<Value>(ALL_FAILED).expect("JSON"), "the rest is the documented body");
    let shown = |at: usize| ["provider", "model", "class", "status"].map(|name| attempts[at][name].clone());
    assert_eq!(shown(0), [json!("a"), json!("m1"), json!("overloaded"), json!(503)]);
    assert_eq!(shown(1), [json!("b"), json!("m1"), json!("network"), Value::Null]);
    assert!(attempts[0]["ms"].is_u64() && attempts.as_array().is_some_and(|list| list.len() == 2), "{attempts}");
    assert_eq!(response.header("x-routor-attempts"), Some("2"));
}

#[test]
fn retry_after_on_the_502_is_the_soonest_when_all_cool() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "60"));
    pair.b.then(Reply::status(429).with_header("retry-after", "20"));
    let response = pair.ask();
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    let wait = retry_after(&response);
    assert!(matches!(wait, Some(18..=20)), "{wait:?}");
}

#[test]
fn retry_after_is_not_sent_while_one_model_is_ready() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "60"));
    pair.b.then(Reply::status(500));
    let response = pair.ask();
    assert_eq!((response.status, retry_after(&response)), (502, None));
}

#[test]
fn retry_after_counts_the_breakers_cooldown() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"60s\"\n");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::status(500));
    let wait = retry_after(&pair.ask());
    assert!(matches!(wait, Some(58..=60)), "{wait:?}");
}

#[test]
fn overflow_can_be_answered_as_openai_does() {
    let overflow = || Reply::json(400, error_body("prompt is too long", "invalid_request_error", "context_length_exceeded"));
    let pair = Pair::start("[server]\noverflow = \"400\"\n");
    pair.a.then(overflow());
    pair.b.then(overflow());
    let response = pair.ask();
    assert_eq!(response.status, 400);
    assert_eq!(response.json()["error"]["code"], "context_length_exceeded");
    assert_eq!(response.header("x-should-retry"), Some("false"));
    assert_eq!(pair.record(1)["outcome"], "rejected");
    pair.a.then(overflow());
    pair.b.then(Reply::status(500));
    assert_eq!(pair.ask().status, 502, "something else than size failed too");
}

#[test]
fn overflow_everywhere_is_the_502() {
    let overflow = || Reply::json(400, error_body("prompt is too long", "invalid_request_error", "context_length_exceeded"));
    let pair = Pair::start("");
    pair.a.then(overflow());
    pair.b.then(overflow());
    let response = pair.ask();
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    assert_eq!(classes(&pair.record(1)), ["context_window", "context_window"]);
}

#[test]
fn a_prompt_too_long_for_every_window_is_the_502_and_nobody_is_asked() {
    let pair = Pair::start("[models.\"a/m1\"]\ncontext_window = 100\n[models.\"b/m1\"]\ncontext_window = 100\n");
    let body = json!({"messages": [{"role": "user", "content": "word ".repeat(2000)}]}).to_string();
    let response = post_chat(pair.daemon.port(), body);
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    assert_eq!((pair.a.count(), pair.b.count()), (0, 0));
    let record = pair.record(1);
    assert_eq!(record["skipped"].as_array().map(Vec::len), Some(2), "{record}");
}

// Fidelity.

#[test]
fn the_body_goes_upstream_byte_for_byte_but_for_the_model() {
    let pair = Pair::start("");
    let sent = "\n{ \"x\" : 1e-7,\t\"big\":12345678901234567890 ,\"nul\":null,\r\n  \"model\" :  \"auto\" ,\"f\":0.10000000000000000001,\"u\":\"\\u00e9\\/é\\ud83d\\ude00\",\"messages\":[ {\"role\":\"user\",\"content\":\"hi\" , \"model\":\"inner\",\"routor_tier\":\"inner\"} ],\"temperature\":1.0 }\n ";
    assert_eq!(text_of(&post_chat(pair.daemon.port(), sent)), "from A");
    assert_eq!(pair.a.chats()[0].body, sent.replace("\"auto\"", "\"m1\""));
}

#[test]
fn the_next_model_gets_the_same_body_with_its_own_name() {
    let [a, b] = providers(["from A", "from B"]);
    b.model_ids(&["other"]);
    let config = chain_config_with(&[("a", &a), ("b", &b)], "").replace("b/m1", "b/other");
    let daemon = Daemon::start(config);
    a.then(Reply::status(500));
    let sent = r#"{"messages":[{"role":"user","content":"hi"}], "model":"auto", "seed":12345678901234567890}"#;
    assert_eq!(text_of(&post_chat(daemon.port(), sent)), "from B");
    assert_eq!(a.chats()[0].body, sent.replace("auto", "m1"));
    assert_eq!(b.chats()[0].body, sent.replace("auto", "other"));
}

#[test]
fn a_large_body_goes_whole_to_the_next_model() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": "0123456789".repeat(3 << 20)}]}).to_string();
    assert_eq!(text_of(&post_chat(pair.daemon.port(), &body)), "from B");
    let wanted = body.replace("\"auto\"", "\"m1\"");
    for provider in [&pair.a, &pair.b] {
        assert!(provider.chats()[0].body == wanted, "{} bytes", provider.chats()[0].body.len());
    }
}

#[test]
fn a_header_that_comes_twice_goes_upstream_whole() {
    let pair = Pair::start("");
    let headers = [("anthropic-beta", "one"), ("anthropic-beta", "two"), ("tracestate", "x=1"), ("tracestate", "y=2")];
    assert_eq!(text_of(&post(pair.daemon.port(), "/v1/chat/completions", &headers, ASK)), "from A");
    let request = &pair.a.chats()[0];
    for (name, values) in [("anthropic-beta", ["one", "two"]), ("tracestate", ["x=1", "y=2"])] {
        let all = request.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(",");
        assert!(values.iter().all(|value| all.contains(value)), "{name}: {all:?}");
    }
}

#[test]
fn routors_own_fields_stay_here() {
    let pair = Pair::start("");
    let messages = r#""messages":[{"role":"user","content":"hi"}]"#;
    for (sent, wanted) in [
        (format!(r#"{{"routor_tier":"LIGHT", "model":"auto",{messages}}}"#), format!(r#"{{"model":"m1",{messages}}}"#)),
        (format!(r#"{{"model":"auto",{messages},"routor_tier":"LIGHT"}}"#), format!(r#"{{"model":"m1",{messages}}}"#)),
        (format!(r#"{{"model":"auto","routor_tier":"LIGHT",{messages},"x":1}}"#), format!(r#"{{"model":"m1",{messages},"x":1}}"#)),
    ] {
        let response = post_chat(pair.daemon.port(), &sent);
        assert_eq!(response.status, 200, "{sent}: {}", response.text());
        assert_eq!(pair.a.chats().last().expect("a call").body, wanted, "{sent}");
    }
}

#[test]
fn only_the_listed_headers_go_upstream() {
    let [a, b] = providers(["from A", "from B"]);
    let daemon = with_key(&a, &b, "");
    let passed = [
        ("accept", "application/json, text/plain"),
        ("user-agent", "my-app/1.0"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "x=1"),
        ("idempotency-key", "abc-1"),
        ("openai-beta", "assistants=v2"),
        ("anthropic-beta", "prompt-caching"),
        ("http-referer", "http://localhost/app"),
        ("x-title", "My App"),
    ];
    let kept = [
        ("authorization", "Bearer the-callers-own"),
        ("cookie", "session=1"),
        ("openai-organization", "org-1"),
        ("openai-project", "proj-1"),
        ("x-api-key", "the-callers-own"),
        ("api-key", "the-callers-own"),
        ("accept-encoding", "gzip, br"),
        ("x-stainless-lang", "python"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-custom", "1"),
        ("x-request-id", "mine"),
    ];
    let headers: Vec<(&str, &str)> = passed.into_iter().chain(kept).collect();
    a.then(Reply::status(500));
    assert_eq!(text_of(&post(daemon.port(), "/v1/chat/completions", &headers, ASK)), "from B");
    let (to_a, to_b) = (&a.chats()[0], &b.chats()[0]);
    let fixed = ["host", "content-length", "content-type", "accept-encoding", "x-routor-hop"];
    for (request, own) in [(to_a, Some(format!("Bearer {KEY}"))), (to_b, None)] {
        for (name, value) in passed {
            assert_eq!(request.header(name), Some(value));
        }
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("authorization"), own.as_deref());
        for (name, value) in &request.headers {
            let known = fixed.contains(&name.as_str()) || name == "authorization" || passed.iter().any(|(passed, _)| passed == name);
            assert!(known || name == "connection", "{name}: {value}");
        }
    }
}

#[test]
fn the_answer_comes_back_byte_for_byte() {
    let pair = Pair::start("");
    let body = "\n {\"id\":\"x\" , \"choices\":[{\"message\":{\"content\":\"\\u00e9\\ud800 é\",\"odd\":1e-7}}],\"n\":12345678901234567890,\"choices2\":null , \"dup\":1,\"dup\":2}\r\n";
    pair.a.then(
        Reply::json(200, body)
            .with_header("content-type", "application/json; charset=UTF-8")
            .with_header("x-ratelimit-remaining-requests", "5"),
    );
    let response = pair.ask();
    assert_eq!((response.status, response.text().as_str()), (200, body));
    assert_eq!(response.header("content-type"), Some("application/json; charset=UTF-8"));
    assert_eq!(response.header("x-ratelimit-remaining-requests"), Some("5"));
}

#[test]
fn an_answer_of_invalid_utf_8_comes_back_byte_for_byte() {
    let pair = Pair::start("");
    let body = [&b"{\"choices\":[{\"message\":{\"content\":\"a"[..], &[0xff, 0xfe], b"b\"}}]}"].concat();
    pair.a.then(Reply::json(200, body.clone()));
    let response = pair.ask();
    assert_eq!((response.status, &response.body), (200, &body));
}

#[test]
fn private_headers_of_a_provider_stay_here() {
    let pair = Pair::start("");
    let private = [
        ("set-cookie", "a=b"),
        ("server", "nginx"),
        ("alt-svc", "h3=\":443\""),
        ("access-control-allow-origin", "*"),
        ("x-routor-model", "fake/model"),
        ("x-request-id", "req-of-the-provider"),
        ("x-should-retry", "true"),
        ("location", "http://elsewhere/"),
        ("clear-site-data", "\"*\""),
        ("strict-transport-security", "max-age=1"),
        ("nel", "{}"),
        ("report-to", "{}"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("x-hop", "1"),
    ];
    let dressed =
        |reply: Reply| private.iter().fold(reply, |reply, (name, value)| reply.with_header(name, value)).with_header("connection", "x-hop");
    pair.a.then(dressed(Reply::answer("from A"))).then(dressed(Reply::stream(&["from A"])));
    pair.a.then(dressed(Reply::json(400, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "x"))));
    let (whole, stream, refused) = (pair.ask(), pair.stream().into_response(), pair.ask());
    assert_eq!([whole.status, stream.status, refused.status], [200, 200, 400]);
    for response in [whole, stream, refused] {
        for (name, value) in private {
            assert_ne!(response.header(name), Some(value), "{:?}", response.headers);
            assert!(name == "x-request-id" || response.header(name).is_none(), "{name}: {:?}", response.headers);
        }
    }
    assert_eq!(pair.record(1)["attempts"][0]["upstream_id"], "req-of-the-provider", "kept in the log");
}

#[test]
fn a_key_echoed_in_an_error_is_masked() {
    let [a, b] = providers(["from A", "from B"]);
    let daemon = with_key(&a, &b, "");
    a.then(Reply::json(400, error_body(&format!("Bad header Authorization: Bearer {KEY} in request"), "invalid_request_error", "x")));
    let response = post_chat(daemon.port(), ASK);
    assert_eq!(response.status, 400);
    assert!(!response.text().contains(KEY), "{}", response.text());
    assert_eq!(response.json()["error"]["code"], "x");
}

/// The bytes under gzip.
fn gzip(plain: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain.as_bytes()).expect("in memory");
    encoder.finish().expect("in memory")
}

#[test]
fn a_coded_error_is_read_although_no_coding_was_asked_for() {
    let pair = Pair::start("");
    let body = error_body("Unknown parameter: 'foo'.", "invalid_request_error", "unknown_parameter");
    pair.a.then(Reply::json(400, gzip(&body)).with_header("content-encoding", "gzip"));
    let response = pair.ask();
    assert_eq!((response.status, response.text()), (400, body));
    assert_eq!(response.header("content-encoding"), None);
    let overflow = error_body("prompt is too long", "invalid_request_error", "context_length_exceeded");
    pair.a.then(Reply::json(400, gzip(&overflow)).with_header("content-encoding", "gzip"));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(2)), ["context_window", "ok"]);
}

#[test]
fn a_coded_answer_is_read_although_no_coding_was_asked_for() {
    let pair = Pair::start("");
    let body = r#"{"choices":[{"message":{"content":"from A"}}]}"#;
    pair.a.then(Reply::json(200, gzip(body)).with_header("content-encoding", "gzip"));
    let response = pair.ask();
    assert_eq!((response.text().as_str(), response.header("content-encoding")), (body, None));
}

#[test]
fn a_coding_that_cannot_be_undone_falls_over_as_garbled() {
    let pair = Pair::start(NO_BREAKER);
    let body = r#"{"choices":[{"message":{"content":"from A"}}]}"#;
    let cut = gzip(body)[..20].to_vec();
    for (count, (coding, bytes)) in
        [("br", b"\x0b\x02\x80".to_vec()), ("gzip", body.as_bytes().to_vec()), ("gzip", cut)].into_iter().enumerate()
    {
        pair.a.then(Reply::json(200, bytes).with_header("content-encoding", coding));
        assert_eq!(pair.said(), "from B", "{coding}");
        assert_eq!(classes(&pair.record(count + 1)), ["garbled", "ok"], "{coding}");
    }
}

#[test]
fn a_decompression_bomb_falls_over() {
    let pair = Pair::start("");
    let body = format!("{{\"choices\":[{{\"message\":{{\"content\":\"{}\"}}}}]}}", " ".repeat(300 << 20));
    pair.a.then(Reply::json(200, gzip(&body)).with_header("content-encoding", "gzip"));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["garbled", "ok"]);
}

#[test]
fn a_large_answer_is_passed_on_whole() {
    let pair = Pair::start("");
    let body = format!("{{\"choices\":[{{\"message\":{{\"content\":\"{}\"}}}}]}}", "0123456789".repeat(2 << 20));
    pair.a.then(Reply::json(200, body.as_str()));
    let response = pair.ask();
    assert_eq!(response.status, 200);
    assert!(response.body == body.as_bytes(), "{} bytes of {}", response.body.len(), body.len());
    assert_eq!(pair.record(1)["outcome"], "served");
}

#[test]
fn a_large_answer_that_is_cut_never_looks_whole() {
    let pair = Pair::start("");
    let part = format!("{{\"choices\":[{{\"message\":{{\"content\":\"{}", "0123456789".repeat(2 << 20));
    pair.a.then(Reply::json(200, part.as_str()).with_header("content-length", "90000000").and(Step::Close));
    let mut client = pair.daemon.client();
    let answer = client.try_request("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
    assert!(answer.is_err(), "a broken body");
    let record = pair.record(1);
    assert_eq!((&record["outcome"], classes(&record)), (&json!("partial"), vec!["truncated"]));
}
