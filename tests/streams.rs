//! The rules of streams, one test for each: what is held back until the first
//! content, what may still fall over, and how an answer that has begun ends.

#[path = "streams/checks.rs"]
mod checks;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use checks::{all, assert_b_alone, assert_interrupted, dones, last_error, most_memory, named_error, text};
use serde_json::json;
use support::events::{comment, error, event, reasoning, tool_call};
use support::{Gate, Pair, Provider, Reply, Step, chain_config_with, classes, content, done, event_data, finish, open_stream, role, usage};

/// No failure moves a model.
const NO_BREAKER: &str = "[breaker]\nfailures = 0\n";

// Before the first content.

#[test]
fn a_stream_passes_with_one_done() {
    let pair = Pair::start("");
    let events = all(pair.stream());
    assert_eq!((text(&events).as_str(), dones(&events)), ("from A", 1));
    assert_eq!(event_data(events.last().expect("an event")), "[DONE]");
    let record = pair.record(1);
    assert_eq!((&record["outcome"], &record["stream"], classes(&record)), (&json!("served"), &json!(true), vec!["ok"]));
    assert!(record["first_ms"].is_u64() && record["attempts"][0]["first_ms"].is_u64(), "{record}");
}

#[test]
fn a_failing_status_falls_over_in_a_stream() {
    let pair = Pair::start(NO_BREAKER);
    for status in [500, 503, 429, 408] {
        pair.a.then(Reply::status(status));
        assert_b_alone(&pair, &status.to_string());
    }
    assert_eq!(pair.record(1)["outcome"], "fallback");
}

#[test]
fn what_says_nothing_does_not_commit() {
    let pair = Pair::start(NO_BREAKER);
    let null = r#"{"choices":[{"index":0,"delta":{"content":null,"tool_calls":[],"refusal":null},"finish_reason":null}]}"#;
    let silent = [
        ("a role", role()),
        ("a comment", comment("keep-alive")),
        ("a ping", "event: ping\ndata: {\"type\":\"ping\"}\n\n".to_owned()),
        ("empty choices", event(&json!({"id": "of A", "choices": [], "prompt_filter_results": []}))),
        ("usage alone", usage(9, 0)),
        ("null deltas", format!("data: {null}\n\n")),
        ("a retry line", "retry: 10\n\n".to_owned()),
        ("an empty data line", "data:\n\n".to_owned()),
    ];
    for (what, events) in silent {
        pair.a.then(Reply::events_then(vec![events], Step::Close));
        assert_b_alone(&pair, what);
    }
}

#[test]
fn any_piece_of_an_answer_commits() {
    let pair = Pair::start(NO_BREAKER);
    let refusal = event(&json!({"choices": [{"index": 0, "delta": {"refusal": "I cannot"}, "finish_reason": null}]}));
    let pieces = [
        ("text", content("x")),
        ("white space", content(" ")),
        ("a line feed", content("\n")),
        ("reasoning", reasoning("hm")),
        ("a tool call", tool_call(Some("look_up"), "")),
        ("a refusal", refusal),
        ("a finish", finish("stop")),
        ("a length finish", finish("length")),
        ("a content filter finish", finish("content_filter")),
    ];
    for (what, piece) in pieces {
        pair.a.then(Reply::events(vec![role(), piece.clone(), finish("stop"), done()]));
        let events = all(pair.stream());
        assert!(events.iter().any(|event| format!("{event}\n\n") == piece), "{what}: {events:?}");
        assert_eq!(dones(&events), 1, "{what}");
    }
    assert_eq!(pair.b.count(), 0);
}

#[test]
fn d083_usage_and_empty_choices_are_held_until_the_first_content() {
    let pair = Pair::start(NO_BREAKER);
    let filtered = event(&json!({"id": "of A", "object": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}));
    let before = vec![filtered, usage(9, 0), role()];
    let sent = [before.clone(), vec![content("x"), finish("stop"), done()]].concat();
    pair.a.then(Reply::events(sent.clone()));
    assert_eq!(pair.stream().read_to_end(), sent.concat(), "byte for byte");
    pair.a.then(Reply::events_then(before, Step::Close));
    assert_b_alone(&pair, "they were no content");
}

#[test]
fn d080_an_error_as_the_first_event_falls_over() {
    let pair = Pair::start(NO_BREAKER);
    for (count, (first, class)) in [
        (error("Something of A broke"), "garbled"),
        (event(&json!({"error": {"message": "Overloaded of A", "code": 503}})), "overloaded"),
        (event(&json!({"error": {"message": "of A", "code": 502}})), "server_error"),
    ]
    .into_iter()
    .enumerate()
    {
        pair.a.then(Reply::events(vec![first.clone()]));
        assert_b_alone(&pair, &first);
        let record = pair.record(count + 1);
        assert_eq!(classes(&record), [class, "ok"], "{first}");
    }
}

#[test]
fn d081_an_event_named_error_falls_over() {
    let pair = Pair::start(NO_BREAKER);
    let bare = "event: error\ndata: {\"message\":\"boom of A\"}\n\n".to_owned();
    let ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n".to_owned();
    for (count, events) in [vec![named_error()], vec![ping, named_error()], vec![bare]].into_iter().enumerate() {
        pair.a.then(Reply::events_then(events, Step::Hang));
        assert_b_alone(&pair, "at once, without waiting for more");
        let record = pair.record(count + 1);
        assert_eq!(classes(&record), [if count < 2 { "overloaded" } else { "garbled" }, "ok"]);
    }
}

#[test]
fn d096_a_bad_finish_falls_over() {
    let pair = Pair::start(NO_BREAKER);
    for (count, (reason, before)) in
        [("error", vec![]), ("network_error", vec![]), ("error", vec![role()]), ("network_error", vec![role()])].into_iter().enumerate()
    {
        pair.a.then(Reply::events([before, vec![finish(reason).replace("chatcmpl-1", "of A"), done()]].concat()));
        assert_b_alone(&pair, reason);
        assert_eq!(classes(&pair.record(count + 1)), ["server_error", "ok"], "{reason}");
    }
}

#[test]
fn d096_a_length_or_content_filter_finish_passes() {
    let pair = Pair::start("");
    let mut count = 0;
    for reason in ["length", "content_filter"] {
        for before in [vec![role()], vec![role(), content("x")]] {
            let sent = [before, vec![finish(reason), done()]].concat();
            pair.a.then(Reply::events(sent.clone()));
            assert_eq!(pair.stream().read_to_end(), sent.concat(), "{reason}");
            count += 1;
            assert_eq!(pair.record(count)["outcome"], "served", "{reason}");
        }
    }
    assert_eq!(pair.b.count(), 0);
}

#[test]
fn a_rate_limit_as_the_first_event_cools_the_model() {
    let pair = Pair::start("");
    pair.a.then(Reply::events(vec![event(&json!({"error": {"message": "Rate limit reached of A", "code": "rate_limit_exceeded"}}))]));
    assert_b_alone(&pair, "the first");
    assert_b_alone(&pair, "the second");
    assert_eq!(pair.a.count(), 1);
    assert_eq!(classes(&pair.record(1)), ["rate_limited", "ok"]);
}

#[test]
fn d082_a_role_and_then_an_error_falls_over_without_a_byte_of_the_first() {
    let pair = Pair::start(NO_BREAKER);
    let role_of_a = role().replace("chatcmpl-1", "id of A");
    for failing in [error("of A"), named_error(), finish("error").replace("chatcmpl-1", "id of A")] {
        pair.a.then(Reply::events(vec![role_of_a.clone(), comment("of A"), failing, done()]));
        assert_b_alone(&pair, "role, then error");
    }
}

#[test]
fn a_stream_that_ends_before_its_first_content_falls_over() {
    let pair = Pair::start(NO_BREAKER);
    let replies = [
        ("no events", Reply::events(vec![])),
        ("no events, cut", Reply::events_then(vec![comment("x")], Step::Close)),
        ("a role", Reply::events(vec![role()])),
        ("a role, cut", Reply::events_then(vec![role()], Step::Close)),
        ("a role, reset", Reply::events_then(vec![role()], Step::Reset)),
        ("half an event", Reply::events(vec![content("of A").trim_end().to_owned()])),
    ];
    for (what, reply) in replies {
        pair.a.then(reply);
        assert_b_alone(&pair, what);
    }
}

#[test]
fn d095_a_done_at_once_falls_over() {
    let pair = Pair::start(NO_BREAKER);
    for events in [vec![done()], vec![role(), done()], vec![usage(9, 0), done()]] {
        pair.a.then(Reply::events(events));
        assert_b_alone(&pair, "an empty completion");
    }
    assert_eq!(classes(&pair.record(1)), ["garbled", "ok"]);
}

#[test]
fn an_event_that_is_no_json_falls_over() {
    let pair = Pair::start("");
    pair.a.then(Reply::events(vec!["data: <html>of A</html>\n\n".to_owned()]));
    assert_b_alone(&pair, "HTML in an event");
    assert_eq!(classes(&pair.record(1)), ["garbled", "ok"]);
}

#[test]
fn d078_no_content_in_time_falls_over() {
    let pair = Pair::start("[timeouts]\nfirst = \"300ms\"\n");
    for (count, before) in [vec![], vec![role()]].into_iter().enumerate() {
        pair.a.then(Reply::events_then(before, Step::Hang));
        let started = Instant::now();
        assert_b_alone(&pair, "headers, then silence");
        assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
        assert!(pair.a.wait_for_disconnect(started) < Duration::from_secs(3));
        assert_eq!(classes(&pair.record(count + 1)), ["timeout", "ok"]);
    }
}

#[test]
fn no_head_in_time_falls_over() {
    let pair = Pair::start("[timeouts]\nfirst = \"300ms\"\nresponse = \"60s\"\n");
    pair.a.then(Reply::hang());
    assert_b_alone(&pair, "silence");
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

#[test]
fn d079_what_says_nothing_does_not_reset_the_clock_of_the_first_content() {
    let pair = Pair::start("[timeouts]\nfirst = \"500ms\"\n");
    let mut reply = Reply::events_then(vec![role()], Step::Pause(Duration::from_millis(50)));
    for _ in 0..60 {
        let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n".to_owned();
        for silent in [comment("keep-alive"), comment("OPENROUTER PROCESSING"), ping, role(), usage(9, 0)] {
            reply = reply.and(Step::chunk(silent)).and(Step::Pause(Duration::from_millis(50)));
        }
    }
    pair.a.then(reply.and(Step::chunk(content("of A"))).and(Step::last_chunk()));
    let started = Instant::now();
    assert_b_alone(&pair, "comments for ever");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

#[test]
fn d107_the_status_is_held_back_until_the_first_content() {
    let pair = Pair::start("");
    let (gate, later) = (Gate::new(), Gate::new());
    let reply = Reply::events_then(vec![role(), comment("x")], Step::WaitFor(gate.clone())).and(Step::Close);
    pair.a.then(reply);
    pair.b.then(Reply::stream(&["from B"]).after(Step::WaitFor(later.clone())));
    thread::scope(|scope| {
        let stream = scope.spawn(|| all(pair.stream()));
        pair.a.wait_for_chats(1);
        assert_eq!(pair.b.count(), 0);
        gate.open();
        pair.b.wait_for_chats(1);
        assert!(!stream.is_finished(), "nothing is answered yet");
        later.open();
        assert_eq!(text(&stream.join().expect("a stream")), "from B");
    });
}

#[test]
fn d107_no_heartbeat_is_sent_while_a_provider_is_waited_for() {
    let pair = Pair::start(NO_BREAKER);
    let gate = Gate::new();
    let mut reply = Reply::events_then(vec![role()], Step::Pause(Duration::from_millis(50)));
    for _ in 0..10 {
        reply = reply.and(Step::chunk(comment("keep-alive"))).and(Step::Pause(Duration::from_millis(50)));
    }
    pair.a.then(reply.and(Step::Close));
    pair.b.then(Reply::stream(&["from B"]).after(Step::WaitFor(gate.clone())));
    let mut caller = TcpStream::connect(("127.0.0.1", pair.daemon.port())).expect("a connection");
    let length = support::ASK_STREAM.len();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n";
    write!(caller, "{head}content-length: {length}\r\n\r\n{}", support::ASK_STREAM).expect("a request");
    pair.b.wait_for_chats(1);
    caller.set_nonblocking(true).expect("a socket that does not wait");
    let seen = caller.peek(&mut [0]).expect_err("nothing was sent while A said nothing");
    assert_eq!(seen.kind(), ErrorKind::WouldBlock);
    caller.set_nonblocking(false).expect("a socket that waits");
    gate.open();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("from B") && !answer.contains("keep-alive"), "{answer}");
}

#[test]
fn d109_no_chunk_of_a_model_that_failed_reaches_the_caller() {
    let pair = Pair::start(NO_BREAKER);
    let of = |name: &str, event: String| {
        event.replace("chatcmpl-1", &format!("id of {name}")).replace("\"m1\"", &format!("\"model of {name}\""))
    };
    let of_b = || [role(), content("from B"), finish("stop"), usage(9, 3), done()].map(|event| of("B", event)).to_vec();
    pair.b.always(Reply::events(of_b()));
    let begun = || vec![of("A", role()), of("A", usage(9, 0)), comment("of A")];
    let replies = [
        Reply::events(begun()),
        Reply::events_then(begun(), Step::Close),
        Reply::events_then(begun(), Step::Reset),
        Reply::events([begun(), vec![error("of A")]].concat()),
        Reply::events([begun(), vec![of("A", content("cut of A")).trim_end().to_owned()]].concat()),
    ];
    for (count, reply) in replies.into_iter().enumerate() {
        pair.a.then(reply);
        assert_eq!(pair.stream().read_to_end(), of_b().concat(), "B's bytes and no others");
        assert_eq!(pair.record(count + 1)["served_by"], "b/m1");
    }
}

#[test]
fn d097_a_json_answer_to_a_stream_request_passes_as_json() {
    let pair = Pair::start("");
    let body = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"whole"},"finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#;
    pair.a.then(Reply::json(200, body));
    let response = pair.stream().into_response();
    assert_eq!((response.status, response.text().as_str()), (200, body));
    assert_eq!(response.header("content-type"), Some("application/json"));
    let record = pair.record(1);
    assert_eq!((&record["outcome"], &record["completion_tokens"]), (&json!("served"), &json!(2)));
}

#[test]
fn d097_json_that_calls_itself_a_stream_falls_over() {
    let pair = Pair::start(NO_BREAKER);
    let body = r#"{"id":"of A","choices":[{"index":0,"message":{"role":"assistant","content":"of A"},"finish_reason":"stop"}]}"#;
    for body in [body.to_owned(), format!("{body}\n"), format!("\n\n{body}\n\n")] {
        pair.a.then(Reply::json(200, body.clone()).with_header("content-type", "text/event-stream"));
        assert_b_alone(&pair, &body);
    }
    assert_eq!(classes(&pair.record(1)), ["garbled", "ok"]);
}

#[test]
fn d097_a_long_json_answer_to_a_stream_request_passes_without_being_held() {
    let pair = Pair::start("");
    let long = "0123456789abcdef".repeat(4 << 20);
    let body =
        format!(r#"{{"id":"x","choices":[{{"index":0,"message":{{"role":"assistant","content":"{long}"}},"finish_reason":"stop"}}]}}"#);
    pair.a.then(Reply::json(200, body.clone()));
    let before = most_memory(&pair.daemon);
    let started = Instant::now();
    let response = pair.stream().into_response();
    assert!(response.status == 200 && response.body == body.as_bytes(), "{}: {} bytes", response.status, response.body.len());
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    if let (Some(before), Some(after)) = (before, most_memory(&pair.daemon)) {
        assert!(after - before < 60, "64 MiB passed, of which at most 16 are held; memory grew from {before} to {after} MiB");
    }
}

#[test]
fn d098_a_json_error_to_a_stream_request_falls_over() {
    let pair = Pair::start(NO_BREAKER);
    let long = format!(r#"{{"error":{{"message":"of A {}","code":503}}}}"#, "x".repeat(8 << 20));
    for (count, (body, class)) in [
        (r#"{"error":{"message":"of A","code":503}}"#, "overloaded"),
        (&long, "overloaded"),
        // Cools the model, so it is the last.
        (r#"{"error":{"message":"Rate limit reached of A","code":"rate_limit_exceeded"}}"#, "rate_limited"),
    ]
    .into_iter()
    .enumerate()
    {
        pair.a.then(Reply::json(200, body));
        let started = Instant::now();
        assert_b_alone(&pair, "an error as JSON");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert_eq!(classes(&pair.record(count + 1)), [class, "ok"]);
    }
}

#[test]
fn a_4xx_of_the_first_model_is_passed_through_to_a_stream_request() {
    let pair = Pair::start("");
    let body =
        r#"{"error":{"message":"Unknown parameter: 'foo'.","type":"invalid_request_error","param":"foo","code":"unknown_parameter"}}"#;
    pair.a.then(Reply::json(400, body));
    let response = pair.stream().into_response();
    assert_eq!((response.status, response.text().as_str(), response.header("content-type")), (400, body, Some("application/json")));
    assert_eq!(pair.b.count(), 0);
}

// After the first content.

#[test]
fn d084_reasoning_releases_the_stream_and_content_may_come_later() {
    let pair = Pair::start("[timeouts]\nfirst = \"400ms\"\nidle = \"20s\"\n");
    let gate = Gate::new();
    let begun = Reply::events_then(vec![role(), reasoning("hm")], Step::WaitFor(gate.clone()));
    // Later than the first content may come, so that only the idle clock can be what counts.
    let late = begun.and(Step::Pause(Duration::from_millis(600))).and(Step::chunk(content("x")));
    pair.a.then(late.and(Step::chunk(finish("stop"))).and(Step::chunk(done())).and(Step::last_chunk()));
    let mut stream = pair.stream();
    let first = [stream.next_event(), stream.next_event()].map(Option::unwrap_or_default);
    assert!(first[1].contains("\"reasoning_content\":\"hm\""), "before any content: {first:?}");
    gate.open();
    let events = all(stream);
    assert_eq!((text(&events).as_str(), dones(&events)), ("x", 1));
}

#[test]
fn d084_reasoning_and_then_silence_is_an_interrupted_stream() {
    let pair = Pair::start("[timeouts]\nidle = \"400ms\"\n");
    pair.a.then(Reply::events_then(vec![role(), reasoning("hm")], Step::Hang));
    let events = all(pair.stream());
    assert_interrupted(&events, "", "the idle clock runs after reasoning");
    assert_eq!((&pair.record(1)["outcome"], pair.b.count()), (&json!("partial"), 0));
}

/// After its first content A fails like this and goes on; the caller gets the
/// content, the failure, and nothing after it.
#[track_caller]
fn assert_passed_on_as_the_end(pair: &Pair, number: usize, failing: &str, after: Vec<String>) {
    pair.a.then(Reply::events([vec![role(), content("half"), failing.to_owned()], after].concat()));
    let events = all(pair.stream());
    assert_eq!((text(&events).as_str(), dones(&events)), ("half", 0), "{failing}");
    assert_eq!(format!("{}\n\n", events.last().expect("an event")), failing, "as it came");
    let record = pair.record(number);
    let seen = (&record["outcome"], &record["status"], &record["served_by"]);
    assert_eq!(seen, (&json!("partial"), &json!(200), &json!("a/m1")), "{failing}");
    assert_ne!(classes(&record), ["ok"], "{failing}");
    assert_eq!(pair.b.count(), 0, "no silent switch");
}

#[test]
fn d085_the_providers_own_error_is_passed_on_and_is_the_end() {
    let pair = Pair::start(NO_BREAKER);
    assert_passed_on_as_the_end(&pair, 1, &error("broken of A"), vec![]);
    assert_passed_on_as_the_end(&pair, 2, &error("broken of A"), vec![content("too late"), finish("stop")]);
    assert_passed_on_as_the_end(&pair, 3, &named_error(), vec![content("too late")]);
    assert_passed_on_as_the_end(&pair, 4, &finish("error"), vec![]);
}

#[test]
fn d094_an_error_event_followed_by_done_is_no_success() {
    let pair = Pair::start(NO_BREAKER);
    assert_passed_on_as_the_end(&pair, 1, &error("broken of A"), vec![done()]);
    assert_passed_on_as_the_end(&pair, 2, &named_error(), vec![done()]);
    assert_passed_on_as_the_end(&pair, 3, &finish("error"), vec![done()]);
    assert_passed_on_as_the_end(&pair, 4, &error("broken of A"), vec![content("too late"), finish("stop"), done()]);
}

#[test]
fn an_error_event_is_known_wherever_its_name_stands() {
    let pair = Pair::start(NO_BREAKER);
    for failing in ["id: 1\nevent: error\ndata: {\"message\":\"boom\"}\n\n", "data: {\"message\":\"boom\"}\nevent: error\n\n"] {
        pair.a.then(Reply::events(vec![content("half"), failing.to_owned(), done()]));
        let events = all(pair.stream());
        assert_eq!((text(&events).as_str(), dones(&events)), ("half", 0), "{failing:?}");
    }
}

#[test]
fn a_finish_is_known_however_it_is_spaced() {
    let pair = Pair::start("");
    let spaced = "data: { \"choices\" : [ { \"index\" : 0 , \"delta\" : { } , \"finish_reason\" : \"stop\" } ] }\n\n";
    pair.a.then(Reply::events(vec![content("all"), spaced.to_owned()]));
    let events = all(pair.stream());
    assert_eq!((text(&events).as_str(), dones(&events)), ("all", 1));
}

#[test]
fn the_finish_of_one_choice_is_not_the_end_of_all() {
    let pair = Pair::start("");
    let other = |text: &str| content(text).replace("\"index\":0", "\"index\":1");
    pair.a.then(Reply::events_then(vec![content("one"), other("tw"), finish("stop"), other("o is not ")], Step::Close));
    let events = all(pair.stream());
    assert_eq!(dones(&events), 0, "the second choice has no finish: {events:?}");
    assert_eq!(last_error(&events)["code"], "stream_interrupted");
}

/// A says "half" and then each of these; the caller gets that and an error event.
#[track_caller]
fn assert_each_is_interrupted(replies: Vec<(&str, Reply)>) {
    let pair = Pair::start(NO_BREAKER);
    for (count, (what, reply)) in replies.into_iter().enumerate() {
        pair.a.then(reply);
        assert_interrupted(&all(pair.stream()), "half", what);
        let record = pair.record(count + 1);
        assert_eq!((&record["outcome"], classes(&record)), (&json!("partial"), vec!["truncated"]), "{what}");
    }
    assert_eq!(pair.b.count(), 0, "no silent switch");
}

fn half() -> Vec<String> {
    vec![role(), content("ha"), content("lf")]
}

#[test]
fn d086_a_stream_that_ends_without_a_finish_ends_with_an_error_event() {
    let unfinished = |end: &str| [half(), vec![end.to_owned()]].concat();
    assert_each_is_interrupted(vec![
        ("the proper end of the body", Reply::events(half())),
        ("a close", Reply::events_then(half(), Step::Close)),
        ("half an event and a close", Reply::events_then(unfinished("data: {\"choices\":[{\"del"), Step::Close)),
        ("half an event and the proper end", Reply::events(unfinished(content("no end").trim_end()))),
    ]);
}

#[test]
fn d089_a_reset_after_content_ends_with_an_error_event() {
    let unfinished = [half(), vec!["data: {\"choices\":[{\"del".to_owned()]].concat();
    assert_each_is_interrupted(vec![
        ("a reset", Reply::events_then(half(), Step::Reset)),
        ("half an event and a reset", Reply::events_then(unfinished, Step::Reset)),
    ]);
}

#[test]
fn d088_a_done_without_a_finish_passes_as_a_success() {
    let pair = Pair::start("");
    let sent = vec![role(), content("all"), done()];
    pair.a.then(Reply::events(sent.clone()));
    assert_eq!(pair.stream().read_to_end(), sent.concat());
    let record = pair.record(1);
    assert_eq!((&record["outcome"], classes(&record), pair.b.count()), (&json!("served"), vec!["ok"], 0));
}

#[test]
fn d090_a_stream_that_stalls_ends_with_an_error_event() {
    let pair = Pair::start("[timeouts]\nidle = \"400ms\"\n");
    pair.a.then(Reply::events_then(vec![role(), content("half")], Step::Hang));
    let started = Instant::now();
    assert_interrupted(&all(pair.stream()), "half", "a stall");
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
    assert!(pair.a.wait_for_disconnect(started) < Duration::from_secs(3), "cancelled at the provider");
    let record = pair.record(1);
    assert_eq!((&record["outcome"], classes(&record)), (&json!("partial"), vec!["timeout"]));
}

#[test]
fn comments_do_not_keep_a_stalled_stream_alive() {
    let pair = Pair::start("[timeouts]\nidle = \"500ms\"\n");
    let mut reply = Reply::events_then(vec![content("half")], Step::Pause(Duration::from_millis(50)));
    for _ in 0..100 {
        reply = reply.and(Step::chunk(comment("still here"))).and(Step::Pause(Duration::from_millis(50)));
    }
    pair.a.then(reply);
    let started = Instant::now();
    assert_interrupted(&all(pair.stream()), "half", "comments");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn d091_a_slow_stream_within_its_idle_time_is_not_cut() {
    let pair = Pair::start("[timeouts]\nfirst = \"600ms\"\nidle = \"600ms\"\ntotal = \"1s\"\n");
    let mut reply = Reply::events_then(vec![content("0")], Step::Pause(Duration::from_millis(200)));
    for number in 1..8 {
        reply = reply.and(Step::chunk(content(&number.to_string()))).and(Step::Pause(Duration::from_millis(200)));
    }
    pair.a.then(reply.and(Step::chunk(finish("stop"))).and(Step::chunk(done())).and(Step::last_chunk()));
    let events = all(pair.stream());
    assert_eq!((text(&events).as_str(), dones(&events)), ("01234567", 1), "a committed stream is bounded by idle alone");
}

#[test]
fn d108_a_tool_call_cut_in_the_middle_ends_with_an_error_event() {
    let pair = Pair::start("");
    pair.a.then(Reply::events(vec![role(), tool_call(Some("delete"), ""), tool_call(None, "{\"path\": \"/im")]));
    let events = all(pair.stream());
    assert_eq!((last_error(&events)["code"].as_str(), dones(&events)), (Some("stream_interrupted"), 0));
    assert!(!events.iter().any(|event| event.contains("\"finish_reason\":\"")), "no finish is made up: {events:?}");
}

#[test]
fn d087_a_forgotten_done_is_added_after_a_finish() {
    let pair = Pair::start(NO_BREAKER);
    let whole = || vec![role(), content("all"), finish("stop")];
    let replies = [
        ("the proper end", Reply::events(whole())),
        ("a close", Reply::events_then(whole(), Step::Close)),
        ("usage last", Reply::events([whole(), vec![usage(9, 3)]].concat())),
        ("half a [DONE]", Reply::events([whole(), vec!["data: [DO".to_owned()]].concat())),
    ];
    for (count, (what, reply)) in replies.into_iter().enumerate() {
        pair.a.then(reply);
        let events = all(pair.stream());
        assert_eq!((text(&events).as_str(), dones(&events)), ("all", 1), "{what}");
        assert_eq!(event_data(events.last().expect("an event")), "[DONE]", "{what}");
        assert_eq!(pair.record(count + 1)["outcome"], "served", "{what}");
    }
}

/// What A says after its `[DONE]` does not reach the caller.
#[track_caller]
fn assert_dropped_after_done(pair: &Pair, after: &[String]) {
    let whole = [role(), content("all"), finish("stop"), done()];
    pair.a.then(Reply::events([&whole, after].concat()));
    assert_eq!(pair.stream().read_to_end(), whole.concat(), "{after:?}");
}

#[test]
fn d092_what_comes_after_the_done_is_dropped() {
    let pair = Pair::start(NO_BREAKER);
    assert_dropped_after_done(&pair, &[content("too late"), finish("stop")]);
    assert_dropped_after_done(&pair, &[error("too late")]);
    assert_dropped_after_done(&pair, &[usage(9, 3)]);
    assert_dropped_after_done(&pair, &["garbage".to_owned()]);
    assert_eq!(pair.record(4)["outcome"], "served");
}

#[test]
fn d093_of_two_dones_one_is_sent() {
    let pair = Pair::start(NO_BREAKER);
    assert_dropped_after_done(&pair, &[done()]);
    assert_dropped_after_done(&pair, &[done(), done(), content("too late"), done()]);
}

#[test]
fn d092_the_stream_ends_at_its_done_even_if_the_provider_stays() {
    let pair = Pair::start("");
    pair.a.then(Reply::events_then(vec![content("all"), finish("stop"), done()], Step::Hang));
    let started = Instant::now();
    let events = all(pair.stream());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(dones(&events), 1);
    pair.a.wait_for_disconnect(started);
    assert_eq!(pair.record(1)["outcome"], "served");
}

#[test]
fn usage_is_recorded() {
    let pair = Pair::start(NO_BREAKER);
    for (count, events) in [
        vec![role(), content("x"), finish("stop"), usage(31, 128), done()],
        vec![usage(31, 0), content("x"), finish("stop"), usage(31, 128), done()],
        vec![content("x"), finish("stop").replace("\"finish_reason\"", "\"x\":0,\"finish_reason\""), usage(31, 128)],
    ]
    .into_iter()
    .enumerate()
    {
        pair.a.then(Reply::events(events));
        all(pair.stream());
        let record = pair.record(count + 1);
        assert_eq!((&record["prompt_tokens"], &record["completion_tokens"]), (&json!(31), &json!(128)));
    }
}

#[test]
fn events_pass_as_they_come() {
    let pair = Pair::start("");
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let mut reply = Reply::events_then(vec![content("0")], Step::WaitFor(gates[0].clone()));
    for (number, gate) in gates.iter().enumerate().skip(1) {
        reply = reply.and(Step::chunk(content(&number.to_string()))).and(Step::WaitFor(gate.clone()));
    }
    pair.a.then(reply.and(Step::chunk(finish("stop"))).and(Step::chunk(done())).and(Step::last_chunk()));
    let mut stream = pair.stream();
    for (number, gate) in gates.iter().enumerate() {
        let event = stream.next_event().expect("an event before the next is sent");
        assert_eq!(text(&[event]), number.to_string());
        gate.open();
    }
    assert_eq!(stream.events().len(), 2);
}

#[test]
fn a_stream_that_only_the_close_ends_is_read_to_its_end() {
    let pair = Pair::start(NO_BREAKER);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    pair.a.then(Reply::raw([head, &content("x"), &finish("stop"), &done()].concat()).and(Step::Close));
    let events = all(pair.stream());
    assert_eq!((text(&events).as_str(), dones(&events)), ("x", 1));
    pair.a.then(Reply::raw([head, &content("x")].concat()).and(Step::Close));
    assert_interrupted(&all(pair.stream()), "x", "no finish");
}

#[test]
fn content_that_a_provider_refuses_in_a_stream_is_not_offered_to_another() {
    let pair = Pair::start("");
    let refusal = event(&json!({"error": {"message": "The prompt was filtered", "code": "content_filter"}}));
    pair.a.then(Reply::events(vec![role(), refusal.clone()]));
    let response = pair.stream().into_response();
    assert!(response.text().contains("content_filter"), "{}: {}", response.status, response.text());
    assert_eq!(pair.b.count(), 0);
}

#[test]
fn d085_a_key_in_the_providers_error_event_is_masked() {
    const KEY: &str = "sk-test-0123456789abcdef";
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::events(vec![content("half"), error(&format!("bad key {KEY}"))]));
    let config = chain_config_with(&[("a", &a), ("b", &b)], "").replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
    let daemon = support::Daemon::builder().config(config).env("A_KEY", KEY).start();
    let events = all(open_stream(daemon.port(), support::ASK_STREAM));
    assert!(
        last_error(&events)["message"].as_str().is_some_and(|message| message.contains("bad key") && !message.contains(KEY)),
        "{events:?}"
    );
}

#[test]
fn streams_that_keep_breaking_make_the_provider_cool() {
    let pair = Pair::start("[breaker]\nfailures = 5\ncooldown = \"60s\"\n");
    pair.a.always(Reply::events_then(vec![role(), content("half of A")], Step::Close));
    for _ in 0..6 {
        pair.stream().read_to_end();
    }
    pair.daemon.wait_logs(6);
    assert_b_alone(&pair, "none of A's six answers came to its end");
}

#[test]
fn the_connection_of_a_finished_stream_is_used_again() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    let until = Instant::now() + support::PATIENCE;
    // The provider's end is read after the caller's, so the very next call may come too soon.
    loop {
        let mut stream = client.open_stream(support::ASK_STREAM);
        assert_eq!(dones(&stream.events()), 1);
        client = stream.into_client();
        let connections: Vec<usize> = pair.a.chats().iter().map(|chat| chat.connection).collect();
        if connections.windows(2).any(|two| two[0] == two[1]) {
            return;
        }
        assert!(Instant::now() < until, "{connections:?}");
    }
}

#[test]
fn an_interrupted_stream_leaves_the_callers_connection_usable() {
    let pair = Pair::start("");
    pair.a.then(Reply::events_then(vec![content("half")], Step::Close));
    let mut stream = pair.daemon.client().open_stream(support::ASK_STREAM);
    assert_interrupted(&stream.events(), "half", "the first");
    let mut client = stream.into_client();
    assert_eq!(client.post_chat(support::ASK).status, 200);
}

#[test]
fn d007_a_connection_that_breaks_inside_the_head_is_not_asked_again() {
    for (number, end) in [Step::Close, Step::Reset].into_iter().enumerate() {
        let pair = Pair::start(NO_BREAKER);
        // Several times, because now and then the connection is not yet back in the pool.
        for ask in [support::ASK, support::ASK_STREAM].repeat(3) {
            assert!(support::post_chat(pair.daemon.port(), support::ASK).text().contains("from A"), "a connection for the pool");
            let before = pair.a.count();
            pair.a.then(Reply::raw("HTTP/1.1 200 OK\r\ncontent-ty").and(end.clone()));
            let answer = support::post_chat(pair.daemon.port(), ask).text();
            assert!(answer.contains("from B"), "{number}: {answer}");
            assert_eq!(pair.a.count() - before, 1, "{number}: a part of the answer had come, so it is not asked again");
        }
        assert_eq!(classes(&pair.record(2)), ["network", "ok"]);
    }
}
