//! The rules of streams, one test for each: what is held back until the first
//! content, what may still fall over, and how an answer that has begun ends.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::events::{comment, error, event, reasoning, tool_call};
use support::{
    Gate, Pair, Provider, Reply, Step, StreamReader, chain_config_with, classes, content, done, event_data, finish, open_stream, role,
    usage,
};

/// No failure moves a model.
const NO_BREAKER: &str = "[breaker]\nfailures = 0\n";

/// The text of all content deltas.
fn text(events: &[String]) -> String {
    let data = events.iter().filter_map(|event| serde_json::from_str::<Value>(&event_data(event)).ok());
    data.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

/// How often `[DONE]` is among the events.
fn dones(events: &[String]) -> usize {
    events.iter().filter(|event| event_data(event) == "[DONE]").count()
}

/// The `error` object of the last event.
#[track_caller]
fn last_error(events: &[String]) -> Value {
    let last = events.last().expect("an event");
    let data: Value = serde_json::from_str(&event_data(last)).unwrap_or_else(|problem| panic!("{problem}: {last}"));
    assert!(data["error"].is_object(), "{last}");
    data["error"].clone()
}

/// Reads a stream that must end properly.
#[track_caller]
fn all(mut stream: StreamReader) -> Vec<String> {
    assert_eq!(stream.status, 200);
    assert!(stream.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")), "{:?}", stream.headers);
    let events = stream.events();
    assert!(stream.ended_cleanly(), "{:?}", stream.broken());
    assert_eq!(stream.read_to_end(), "", "nothing but whole events");
    events
}

/// The whole stream is B's, and nothing of A is in it.
#[track_caller]
fn assert_b_alone(pair: &Pair, what: &str) {
    let events = all(pair.stream());
    assert_eq!((text(&events).as_str(), dones(&events)), ("from B", 1), "{what}");
    assert!(!events.iter().any(|event| event.contains("of A")), "{what}: {events:?}");
}

/// The stream ends with routor's own error, after this text.
#[track_caller]
fn assert_interrupted(events: &[String], wanted: &str, what: &str) {
    assert_eq!((text(events).as_str(), dones(events)), (wanted, 0), "{what}");
    assert_eq!(last_error(events)["code"], "stream_interrupted", "{what}");
}

/// An error event's data under the event name that Anthropic uses.
fn named_error() -> String {
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded, says A of A\"}}\n\n"
        .to_owned()
}

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
fn held_events_go_out_with_the_first_content() {
    let pair = Pair::start("");
    let sent = vec![role(), usage(9, 0), content("x"), finish("stop"), done()];
    pair.a.then(Reply::events(sent.clone()));
    assert_eq!(pair.stream().read_to_end(), sent.concat(), "byte for byte");
}

#[test]
fn an_error_as_the_first_event_falls_over() {
    let pair = Pair::start(NO_BREAKER);
    for (count, (first, class)) in [
        (error("Something of A broke"), "garbled"),
        (event(&json!({"error": {"message": "Overloaded of A", "code": 503}})), "overloaded"),
        (event(&json!({"error": {"message": "of A", "code": 502}})), "server_error"),
        (named_error(), "overloaded"),
        (finish("error"), "server_error"),
        (finish("network_error"), "server_error"),
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
fn a_rate_limit_as_the_first_event_cools_the_model() {
    let pair = Pair::start("");
    pair.a.then(Reply::events(vec![event(&json!({"error": {"message": "Rate limit reached of A", "code": "rate_limit_exceeded"}}))]));
    assert_b_alone(&pair, "the first");
    assert_b_alone(&pair, "the second");
    assert_eq!(pair.a.count(), 1);
    assert_eq!(classes(&pair.record(1)), ["rate_limited", "ok"]);
}

#[test]
fn a_role_and_then_an_error_falls_over_without_a_byte_of_the_first() {
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
fn a_done_at_once_falls_over() {
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
fn no_content_in_time_falls_over() {
    let pair = Pair::start("[timeouts]\nfirst = \"300ms\"\n");
    pair.a.then(Reply::events_then(vec![role()], Step::Hang));
    let started = Instant::now();
    assert_b_alone(&pair, "silence");
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert!(pair.a.wait_for_disconnect(started) < Duration::from_secs(3));
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

#[test]
fn no_head_in_time_falls_over() {
    let pair = Pair::start("[timeouts]\nfirst = \"300ms\"\nresponse = \"60s\"\n");
    pair.a.then(Reply::hang());
    assert_b_alone(&pair, "silence");
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

#[test]
fn what_says_nothing_does_not_reset_the_clock_of_the_first_content() {
    let pair = Pair::start("[timeouts]\nfirst = \"500ms\"\n");
    let mut reply = Reply::events_then(vec![role()], Step::Pause(Duration::from_millis(50)));
    for _ in 0..100 {
        for silent in [comment("OPENROUTER PROCESSING"), role(), usage(9, 0)] {
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
fn the_status_is_held_back_until_the_first_content() {
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
fn a_json_answer_to_a_stream_request_passes_as_json() {
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
fn a_json_error_to_a_stream_request_falls_over() {
    let pair = Pair::start("");
    pair.a.then(Reply::json(200, r#"{"error":{"message":"of A","code":503}}"#));
    assert_b_alone(&pair, "an error as JSON");
    assert_eq!(classes(&pair.record(1)), ["overloaded", "ok"]);
}

#[test]
fn a_coded_stream_falls_over() {
    let pair = Pair::start("");
    pair.a.then(Reply::events(vec![content("of A"), done()]).with_header("content-encoding", "gzip"));
    assert_b_alone(&pair, "gzip");
    assert_eq!(classes(&pair.record(1)), ["garbled", "ok"]);
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
fn the_providers_own_error_is_passed_on_and_is_the_end() {
    let pair = Pair::start(NO_BREAKER);
    for (count, (failing, after)) in [
        (error("broken of A"), vec![]),
        (error("broken of A"), vec![done()]),
        (error("broken of A"), vec![content("too late"), finish("stop"), done()]),
        (named_error(), vec![content("too late"), done()]),
        (finish("error"), vec![done()]),
    ]
    .into_iter()
    .enumerate()
    {
        pair.a.then(Reply::events([vec![role(), content("half"), failing.clone()], after].concat()));
        let events = all(pair.stream());
        assert_eq!((text(&events).as_str(), dones(&events)), ("half", 0), "{failing}");
        assert_eq!(format!("{}\n\n", events.last().expect("an event")), failing, "as it came");
        let record = pair.record(count + 1);
        assert_eq!(
            (&record["outcome"], &record["status"], &record["served_by"]),
            (&json!("partial"), &json!(200), &json!("a/m1")),
            "{failing}"
        );
        assert_ne!(classes(&record), ["ok"], "{failing}");
    }
    assert_eq!(pair.b.count(), 0, "no silent switch");
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

#[test]
fn a_stream_that_breaks_ends_with_an_error_event() {
    let pair = Pair::start(NO_BREAKER);
    let begun = || vec![role(), content("ha"), content("lf")];
    let replies = [
        ("the proper end of the body", Reply::events(begun())),
        ("a close", Reply::events_then(begun(), Step::Close)),
        ("a reset", Reply::events_then(begun(), Step::Reset)),
        (
            "half an event and a close",
            Reply::events_then(vec![role(), content("half"), "data: {\"choices\":[{\"del".to_owned()], Step::Close),
        ),
        ("half an event and the proper end", Reply::events(vec![role(), content("half"), content("no end").trim_end().to_owned()])),
    ];
    for (count, (what, reply)) in replies.into_iter().enumerate() {
        pair.a.then(reply);
        assert_interrupted(&all(pair.stream()), "half", what);
        let record = pair.record(count + 1);
        assert_eq!((&record["outcome"], classes(&record)), (&json!("partial"), vec!["truncated"]), "{what}");
    }
    assert_eq!(pair.b.count(), 0, "no silent switch");
}

#[test]
fn a_stream_that_stalls_ends_with_an_error_event() {
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
fn a_slow_stream_within_its_idle_time_is_not_cut() {
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
fn a_tool_call_cut_in_the_middle_ends_with_an_error_event() {
    let pair = Pair::start("");
    pair.a.then(Reply::events(vec![role(), tool_call(Some("delete"), ""), tool_call(None, "{\"path\": \"/im")]));
    let events = all(pair.stream());
    assert_eq!((last_error(&events)["code"].as_str(), dones(&events)), (Some("stream_interrupted"), 0));
    assert!(!events.iter().any(|event| event.contains("\"finish_reason\":\"")), "no finish is made up: {events:?}");
}

#[test]
fn a_forgotten_done_is_added_after_a_finish() {
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

#[test]
fn there_is_one_done_and_nothing_after_it() {
    let pair = Pair::start(NO_BREAKER);
    for after in [vec![done()], vec![content("too late"), finish("stop"), done()], vec![error("too late")], vec!["garbage".to_owned()]] {
        pair.a.then(Reply::events([vec![role(), content("all"), finish("stop"), done()], after.clone()].concat()));
        let events = all(pair.stream());
        assert_eq!((text(&events).as_str(), dones(&events)), ("all", 1), "{after:?}");
        assert_eq!(event_data(events.last().expect("an event")), "[DONE]", "{after:?}");
    }
}

#[test]
fn the_stream_ends_at_its_done_even_if_the_provider_stays() {
    let pair = Pair::start("");
    pair.a.then(Reply::events_then(vec![content("all"), finish("stop"), done()], Step::Hang));
    let started = Instant::now();
    let events = all(pair.stream());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(dones(&events), 1);
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
fn a_stream_passes_byte_for_byte() {
    let pair = Pair::start("");
    let odd = "id: 7\ndata:{\"choices\":[{\"delta\":{\"content\":\"\\u00e9\\ud83d\\ude00 é\"},\"n\":12345678901234567890}],\"f\":1e-7}\nunknown: x\n\n";
    let joined = "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\"two lines\"}}]}\n\n";
    let sent = [role(), odd.to_owned(), joined.to_owned(), content("x"), finish("stop"), done()];
    pair.a.then(Reply::events(sent.to_vec()));
    assert_eq!(pair.stream().read_to_end(), sent.concat());
}

#[test]
fn events_cut_anywhere_pass_whole() {
    let pair = Pair::start("");
    let sent = [role(), content("grüße 😀"), content("x"), finish("stop"), done()].concat();
    for size in [1, 2, 3, 7, 64] {
        let parts: Vec<Vec<u8>> = sent.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
        let reply =
            parts.into_iter().fold(Reply::events_then(vec![], Step::Pause(Duration::ZERO)), |reply, part| reply.and(Step::chunk(part)));
        pair.a.then(reply.and(Step::last_chunk()));
        assert_eq!(pair.stream().read_to_end(), sent, "{size} bytes at a time");
    }
}

#[test]
fn retry_lines_are_dropped() {
    let pair = Pair::start("");
    pair.a.then(Reply::events(vec![
        "retry: 1\n\n".to_owned(),
        format!("retry: 2\n{}", content("a")),
        content("b"),
        format!("id: 5\nretry:3\n{}", content("c \\nretry: no")),
        "retry: 4\n\n".to_owned(),
        finish("stop"),
        done(),
    ]));
    let mut stream = pair.stream();
    let raw = stream.read_to_end();
    assert!(!raw.lines().any(|line| line.starts_with("retry")), "{raw}");
    assert!(raw.contains("id: 5\n") && raw.contains("c \\\\nretry: no"), "{raw}");
}

#[test]
fn streams_with_other_line_ends_pass() {
    for (what, end) in [("CRLF", "\r\n"), ("CR", "\r")] {
        let pair = Pair::start(NO_BREAKER);
        let with = |events: &[String]| events.iter().map(|event| event.replace('\n', end)).collect::<Vec<String>>();
        let whole = [role(), content("x"), content("y"), finish("stop"), done()];
        pair.a.then(Reply::events(with(&whole)));
        let events = all(pair.stream());
        assert_eq!((text(&events).as_str(), dones(&events)), ("xy", 1), "{what}");
        pair.a.then(Reply::events(with(&[role(), error("of A")])));
        assert_b_alone(&pair, what);
    }
}

#[test]
fn a_whole_event_before_a_break_is_passed_on_whatever_ends_its_lines() {
    for (what, end) in [("LF", "\n"), ("CRLF", "\r\n"), ("CR", "\r")] {
        let pair = Pair::start("");
        let events = [role(), content("x"), content("y")].map(|event| event.replace('\n', end)).to_vec();
        pair.a.then(Reply::events_then(events, Step::Close));
        assert_interrupted(&all(pair.stream()), "xy", what);
    }
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
fn invalid_utf_8_in_an_event_passes_byte_for_byte() {
    let pair = Pair::start("");
    let odd = [&b"data: {\"choices\":[{\"delta\":{\"content\":\"a"[..], &[0xff], b"b\"}}]}\n\n"].concat();
    let begin = Reply::events_then(vec![content("x")], Step::chunk(&odd)).and(Step::chunk(finish("stop"))).and(Step::chunk(done()));
    pair.a.then(begin.and(Step::last_chunk()));
    let mut stream = pair.stream();
    let mut bytes = Vec::new();
    while let Some(part) = stream.next_bytes() {
        bytes.extend(part);
    }
    assert_eq!(bytes, [content("x").as_bytes(), &odd, finish("stop").as_bytes(), done().as_bytes()].concat());
}

#[test]
fn a_byte_order_mark_is_no_content() {
    let pair = Pair::start("");
    pair.a.then(Reply::events(vec![format!("\u{feff}{}", role()), content("x"), finish("stop"), done()]));
    let events = all(pair.stream());
    assert_eq!((text(&events).as_str(), dones(&events)), ("x", 1));
}

#[test]
fn a_long_event_passes() {
    let pair = Pair::start("");
    let long = "0123456789abcdef".repeat(128 << 10);
    pair.a.then(Reply::events(vec![role(), content("short"), content(&long), finish("stop"), done()]));
    let events = all(pair.stream());
    assert_eq!(dones(&events), 1);
    assert!(text(&events) == format!("short{long}"), "{} bytes", text(&events).len());
}

#[test]
fn a_long_first_event_passes() {
    let pair = Pair::start("");
    let long = "0123456789abcdef".repeat(128 << 10);
    pair.a.then(Reply::events(vec![content(&long), finish("stop"), done()]));
    let events = all(pair.stream());
    assert!(text(&events) == long && dones(&events) == 1, "{} bytes", text(&events).len());
}

#[test]
fn an_event_without_end_is_cut_with_an_error_event() {
    let pair = Pair::start("");
    let endless = "x".repeat(1 << 20);
    let mut reply = Reply::events_then(vec![content("half"), "data: ".to_owned()], Step::Pause(Duration::ZERO));
    for _ in 0..64 {
        reply = reply.and(Step::chunk(&endless));
    }
    pair.a.then(reply.and(Step::Hang));
    assert_interrupted(&all(pair.stream()), "half", "64 MiB in one event");
}

#[test]
fn a_key_in_the_providers_error_event_is_masked() {
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
fn no_stream_of_many_ends_in_silence() {
    const STREAMS: usize = 200;
    let pair = Pair::start(NO_BREAKER);
    for number in 0..STREAMS {
        let pieces = |count: usize| (0..count).map(|at| content(&format!("{number}.{at} "))).collect::<Vec<String>>();
        let whole = || [vec![role()], pieces(20), vec![finish("stop"), done()]].concat();
        let reply = match number % 10 {
            0 => Reply::events_then([vec![role()], pieces(number % 7)].concat(), Step::Close),
            1 => Reply::events_then([vec![role()], pieces(number % 7)].concat(), Step::Reset),
            2 => Reply::events([vec![role()], pieces(number % 7), vec![error("broken of A")]].concat()),
            3 => Reply::status(500),
            _ => Reply::events(whole()),
        };
        pair.a.then(reply);
    }
    let ends: Vec<(usize, usize)> = thread::scope(|scope| {
        let ask = || {
            let mut stream = pair.stream();
            assert_eq!(stream.status, 200);
            let events = stream.events();
            assert!(stream.ended_cleanly(), "{:?}", stream.broken());
            let errors = events.iter().filter(|event| event.contains("\"error\":")).count();
            // The pieces of one stream are all of one answer.
            let whole = text(&events);
            let numbers: std::collections::HashSet<&str> = whole.split_whitespace().filter_map(|piece| piece.split('.').next()).collect();
            assert!(numbers.len() <= 1 || whole == "from B", "mixed: {whole}");
            (dones(&events), errors)
        };
        let asked: Vec<_> = (0..STREAMS).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|one| one.join().expect("a stream")).collect()
    });
    assert!(ends.iter().all(|(dones, errors)| dones + errors == 1), "{ends:?}");
    assert_eq!(pair.daemon.wait_logs(STREAMS).len(), STREAMS);
}
