//! Answers that are none, or odd: garbled, cut, coded, endless, of every shape.

mod chains;
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use chains::{NO_BREAKER, error_body};
use serde_json::{Value, json};
use support::{ASK, Pair, Reply, Step, classes, done, finish, open_stream, text_of};

// Shapes.

#[test]
fn d063_deeply_nested_answers_and_errors_do_no_harm() {
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
fn d063_ten_thousand_levels_a_number_of_10_mb_and_keys_that_stand_twice_do_no_harm() {
    let pair = Pair::start(NO_BREAKER);
    let choices = r#""choices":[{"message":{"content":"from A"}}]"#;
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    let bodies = [
        format!("{{{choices},\"deep\":{}}}", deep("[", "]")),
        format!("{{{choices},\"deep\":{}}}", deep("{\"a\":", "}")),
        format!("{{{choices},\"number\":{}}}", "7".repeat(10 << 20)),
        format!("{{{choices},\"x\":1,\"x\":2}}"),
        format!("{{{choices},{choices}}}"),
        format!("{{\"error\":null,{choices},\"error\":null}}"),
    ];
    for (count, body) in bodies.iter().enumerate() {
        pair.a.then(Reply::json(200, body.as_str()));
        let response = pair.ask();
        if response.body == body.as_bytes() {
            continue;
        }
        assert_eq!(text_of(&response), "from B", "neither passed on nor left out");
        assert_eq!(classes(&pair.record(count + 1)), ["garbled", "ok"]);
    }
    assert!(!pair.daemon.stderr().contains("panicked"), "{}", pair.daemon.stderr());
}

#[test]
fn d064_errors_of_every_shape_are_passed_through() {
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

#[test]
fn d064_errors_of_every_shape_are_classified_without_a_panic() {
    let pair = Pair::start(NO_BREAKER);
    let odd = ["\"text\"", "400", "null", "true", "[]", "{}", "[[1],\"a\",null]", "-1", "1e999", "\"\""];
    for value in odd {
        for body in [
            format!("{{\"error\":{value}}}"),
            format!("{{\"error\":{{\"message\":{value},\"type\":{value},\"code\":{value},\"param\":{value}}}}}"),
            format!("[{{\"error\":{value}}}]"),
            format!("{{\"code\":{value},\"status\":{value},\"detail\":{value},\"base_resp\":{value}}}"),
            value.to_owned(),
        ] {
            for status in [200, 500] {
                pair.a.then(Reply::json(status, body.as_str()));
                assert_eq!(pair.said(), "from B", "{status} {body}");
            }
        }
    }
    assert!(!pair.daemon.stderr().contains("panicked"), "{}", pair.daemon.stderr());
}

// Answers that are none.

#[test]
fn d054_a_good_status_without_an_answer_falls_over_as_garbled() {
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
fn d051_a_web_page_in_place_of_an_answer_falls_over_as_garbled() {
    let pair = Pair::start(NO_BREAKER);
    let page = "<!doctype html><html><head><title>Hotel Wi-Fi</title></head><body>Log in</body></html>";
    for (kind, stream) in [("text/html; charset=utf-8", false), ("text/html", true), ("application/json", false), ("", true)] {
        pair.a.then(Reply::json(200, page).with_header("content-type", kind));
        let text = if stream { pair.stream().into_response().text() } else { pair.ask().text() };
        assert!(text.contains("from B") && !text.contains("Wi-Fi"), "{kind}: {text}");
    }
    assert!(pair.daemon.wait_logs(4).iter().all(|record| classes(record) == ["garbled", "ok"]));
}

#[test]
fn d028_a_success_without_a_body_falls_over_as_garbled() {
    let pair = Pair::start(NO_BREAKER);
    for (count, reply) in [Reply::json(204, ""), Reply::json(202, "")].into_iter().enumerate() {
        pair.a.then(reply);
        assert_eq!(pair.said(), "from B");
        assert_eq!(classes(&pair.record(count + 1)), ["garbled", "ok"]);
    }
}

#[test]
fn d052_an_error_inside_a_good_answer_falls_over_by_its_own_class() {
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
fn d053_minimax_says_in_base_resp_that_money_is_used_up() {
    let pair = Pair::start("");
    pair.a.then(Reply::json(200, r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["no_credit", "ok"]);
}

/// A reply that ends before its end.
#[track_caller]
fn is_truncated(pair: &Pair, count: usize, reply: Reply) {
    pair.a.then(reply);
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(count)), ["truncated", "ok"]);
}

const HALF: &str = r#"{"choices":[{"message":{"content":"half"}}]}"#;

#[test]
fn d055_an_answer_shorter_than_its_length_falls_over_as_truncated() {
    let pair = Pair::start(NO_BREAKER);
    for (count, (body, step)) in
        [(HALF, Step::Close), (HALF, Step::Reset), (&HALF[..20], Step::Close), ("", Step::Close)].into_iter().enumerate()
    {
        is_truncated(&pair, count + 1, Reply::json(200, body).with_header("content-length", "500").and(step));
    }
}

#[test]
fn d056_an_answer_in_chunks_without_the_last_falls_over_as_truncated() {
    let pair = Pair::start(NO_BREAKER);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    for (count, step) in [Step::Close, Step::Reset].into_iter().enumerate() {
        is_truncated(&pair, count + 1, Reply::steps(vec![Step::Bytes(head.into()), Step::chunk(HALF), step]));
    }
}

/// A whole answer after this many blank lines, one every 40 ms, or none at all.
fn after_blank_lines(lines: usize, answer: &str) -> Reply {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let blank = (0..lines).flat_map(|_| [Step::chunk("\n"), Step::Pause(Duration::from_millis(40))]);
    let end = [Step::chunk(answer), Step::last_chunk()];
    Reply::steps(std::iter::once(Step::Bytes(head.into())).chain(blank).chain(end).collect())
}

#[test]
fn d057_blank_lines_do_not_hold_up_the_clock() {
    for clock in ["[timeouts]\nresponse = \"500ms\"\n", "[timeouts]\ntotal = \"1s\"\n"] {
        let pair = Pair::start(clock);
        pair.a.then(after_blank_lines(400, HALF));
        let started = Instant::now();
        assert_eq!(pair.said(), "from B", "{clock}");
        assert!(started.elapsed() < Duration::from_secs(5), "{clock}: {:?}", started.elapsed());
        assert_eq!(classes(&pair.record(1)), ["timeout", "ok"], "{clock}");
    }
}

#[test]
fn d057_an_answer_after_blank_lines_is_delivered() {
    let pair = Pair::start("");
    pair.a.then(after_blank_lines(8, HALF));
    assert_eq!(pair.said(), "half");
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
fn d069_usage_that_makes_no_sense_is_stored_as_unknown() {
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

#[test]
fn d069_usage_that_is_missing_is_stored_as_unknown() {
    let pair = Pair::start("");
    pair.a.then(Reply::json(200, HALF));
    assert_eq!(pair.said(), "half");
    let record = pair.record(1);
    assert_eq!((&record["prompt_tokens"], &record["completion_tokens"]), (&Value::Null, &Value::Null));
}

#[test]
fn d070_another_models_name_in_the_answer_is_passed_on_and_logged() {
    let pair = Pair::start("");
    let body = r#"{"model":"m1-2026-01-31-preview","choices":[{"message":{"content":"from A"}}]}"#;
    pair.a.then(Reply::json(200, body));
    assert_eq!(pair.ask().text(), body);
    let event = |name: &str| format!("data: {{\"model\":\"{name}\",\"choices\":[{{\"delta\":{{\"content\":\"x\"}}}}]}}\n\n");
    pair.a.then(Reply::events(vec![event("m1-of-a-stream"), finish("stop"), done()]));
    assert!(pair.stream().read_to_end().starts_with(&event("m1-of-a-stream")));
    pair.a.then(Reply::json(200, body.replace("m1-2026-01-31-preview", "m1")));
    pair.ask();
    pair.a.then(Reply::json(200, body.replace("preview", &"x".repeat(200))));
    pair.ask();
    let both = |at| (pair.record(at)["served_by"].clone(), pair.record(at)["attempts"][0].get("answered_as").cloned());
    assert_eq!(both(1), (json!("a/m1"), Some(json!("m1-2026-01-31-preview"))));
    assert_eq!(both(2), (json!("a/m1"), Some(json!("m1-of-a-stream"))));
    assert_eq!(both(3), (json!("a/m1"), None), "the name that was asked for");
    assert_eq!(both(4), (json!("a/m1"), None), "no name is so long");
}

// Bytes and codings.

#[test]
fn d062_an_answer_of_invalid_utf_8_comes_back_byte_for_byte() {
    let pair = Pair::start("");
    let body = [&b"{\"choices\":[{\"message\":{\"content\":\"a"[..], &[0xff, 0xfe], b"b\"}}]}"].concat();
    pair.a.then(Reply::json(200, body.clone()));
    let response = pair.ask();
    assert_eq!((response.status, &response.body), (200, &body));
}

/// The bytes under gzip.
fn gzip(plain: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain.as_bytes()).expect("in memory");
    encoder.finish().expect("in memory")
}

/// The bytes under zlib, which is `deflate` by the book, and under raw deflate.
fn deflated(plain: &str) -> [Vec<u8>; 2] {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(plain.as_bytes()).and_then(|()| raw.write_all(plain.as_bytes())).expect("in memory");
    [zlib.finish().expect("in memory"), raw.finish().expect("in memory")]
}

/// The text in every coding that is undone, with the name of the coding.
fn coded(plain: &str) -> [(&'static str, Vec<u8>); 5] {
    let [zlib, raw] = deflated(plain);
    [("gzip", gzip(plain)), ("x-gzip", gzip(plain)), ("GZIP", gzip(plain)), ("deflate", zlib), ("deflate", raw)]
}

#[test]
fn d058_a_coded_error_is_read_although_no_coding_was_asked_for() {
    let pair = Pair::start(NO_BREAKER);
    let body = error_body("Unknown parameter: 'foo'.", "invalid_request_error", "unknown_parameter");
    let overflow = error_body("prompt is too long", "invalid_request_error", "context_length_exceeded");
    for (count, ((coding, refusal), (_, overflow))) in coded(&body).into_iter().zip(coded(&overflow)).enumerate() {
        pair.a.then(Reply::json(400, refusal).with_header("content-encoding", coding));
        let response = pair.ask();
        assert_eq!((response.status, response.text()), (400, body.clone()), "{coding}");
        assert_eq!(response.header("content-encoding"), None, "{coding}");
        assert!(response.header("content-length").is_none_or(|length| length == body.len().to_string()), "{coding}");
        pair.a.then(Reply::json(400, overflow).with_header("content-encoding", coding));
        assert_eq!(pair.said(), "from B", "{coding}");
        assert_eq!(classes(&pair.record(2 * count + 2)), ["context_window", "ok"], "{coding}");
    }
}

#[test]
fn d058_an_error_in_a_coding_that_is_not_undone_falls_over_as_garbled() {
    let pair = Pair::start(NO_BREAKER);
    for (count, coding) in ["br", "zstd", "compress", "gzip, br"].into_iter().enumerate() {
        pair.a.then(Reply::json(400, b"\x28\xb5\x2f\xfd\x04\x00".to_vec()).with_header("content-encoding", coding));
        assert_eq!(pair.said(), "from B", "{coding}");
        assert_eq!(classes(&pair.record(count + 1)), ["garbled", "ok"], "{coding}");
    }
}

#[test]
fn d058_a_coded_answer_is_read_although_no_coding_was_asked_for() {
    let pair = Pair::start(NO_BREAKER);
    let body = r#"{"choices":[{"message":{"content":"from A"}}]}"#;
    for (coding, bytes) in coded(body) {
        pair.a.then(Reply::json(200, bytes).with_header("content-encoding", coding));
        let response = pair.ask();
        assert_eq!((response.text().as_str(), response.header("content-encoding")), (body, None), "{coding}");
    }
}

#[test]
fn d059_a_coding_that_cannot_be_undone_falls_over_as_garbled() {
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

/// What the process holds in memory now, and the most it ever held, in KiB.
/// None where the system does not tell in this way.
fn memory(pid: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok());
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

/// Does it, and looks that the daemon never held 100 MiB more than before.
#[track_caller]
fn within_memory(pair: &Pair, act: impl FnOnce()) {
    let before = memory(pair.daemon.pid());
    act();
    if let (Some((before, _)), Some((_, most))) = (before, memory(pair.daemon.pid())) {
        assert!(most.saturating_sub(before) < 100 << 10, "{before} KiB before, {most} KiB at most");
    }
}

#[test]
fn d060_a_decompression_bomb_falls_over_within_bounded_memory() {
    let pair = Pair::start(NO_BREAKER);
    // A gzip file may have many members: 10 MB that come to 10 GB.
    let bomb = gzip(&" ".repeat(16 << 20)).repeat(640);
    within_memory(&pair, || {
        for status in [200, 500] {
            pair.a.then(Reply::json(status, bomb.clone()).with_header("content-encoding", "gzip"));
            assert_eq!(pair.said(), "from B", "{status}");
        }
    });
    assert!(pair.daemon.wait_logs(2).iter().all(|record| classes(record) == ["garbled", "ok"]));
}

/// Answers one request on the port with a body of so many MiB.
fn answer_with_mib(port: u16, count: usize) -> thread::JoinHandle<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port of a provider that has stopped");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(ASK.replace("auto", "m1").as_bytes()) {
            let mut window = [0; 4096];
            let read = stream.read(&mut window).expect("a request");
            request.extend_from_slice(&window[..read]);
        }
        let (open, close) = (r#"{"choices":[{"message":{"content":""#, r#""}}]}"#);
        let length = open.len() + (count << 20) + close.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{open}");
        let mib = vec![b'x'; 1 << 20];
        stream.write_all(head.as_bytes()).expect("a head");
        (0..count).for_each(|_| stream.write_all(&mib).expect("a part of a body"));
        stream.write_all(close.as_bytes()).expect("the end of a body");
    })
}

/// MiB of a large answer: well over what the daemon may hold. 2 GiB come to the
/// same and take a minute in a debug build.
const LARGE: usize = 192;

#[test]
fn d061_an_answer_without_measure_streams_through_within_bounded_memory() {
    let pair = Pair::start("");
    pair.a.stop();
    let answered = answer_with_mib(pair.a.port(), LARGE);
    within_memory(&pair, || {
        let mut stream = open_stream(pair.daemon.port(), ASK);
        assert_eq!(stream.status, 200);
        let mut seen = 0;
        while let Some(bytes) = stream.next_bytes() {
            seen += bytes.len();
        }
        assert!(stream.ended_cleanly() && seen > LARGE << 20, "{seen} bytes, {:?}", stream.broken());
    });
    answered.join().expect("a whole answer");
    assert_eq!(pair.record(1)["outcome"], "served");
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
