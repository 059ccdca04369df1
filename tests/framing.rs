//! The bytes of a stream: how events are framed, cut, coded and sized, and that
//! none of it changes what the caller gets.

#[path = "streams/checks.rs"]
mod checks;
mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use checks::{all, assert_b_alone, assert_interrupted, dones, most_memory, text};
use support::events::{comment, error};
use support::{Gate, Pair, Reply, Step, classes, content, done, finish, open_stream, role};

/// No failure moves a model.
const NO_BREAKER: &str = "[breaker]\nfailures = 0\n";

#[test]
fn d099_streams_with_other_line_ends_pass() {
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
fn d099_mixed_line_ends_after_a_byte_order_mark_pass() {
    let pair = Pair::start(NO_BREAKER);
    let data = |text: &str| content(text).trim_end().to_owned();
    let ended = [
        format!("\u{feff}: hello\r{}\n\r\n", role().trim_end()),
        format!("id: 1\r\n{}\n\n", data("a")),
        format!("{}\r\r\n", data("b")),
        format!("id: 2\r{}\r\n\r", data("c")),
        format!("id: 3\n{}\r\r", data("d")),
        format!("{}\r\n\r\n", data("e")),
        finish("stop"),
        done(),
    ];
    pair.a.then(Reply::events(ended.to_vec()));
    assert_eq!(pair.stream().read_to_end(), ended.concat().trim_start_matches('\u{feff}'), "byte for byte, but for the mark");
    // What ends the lines does not hide an error.
    let failing = error("of A").replacen("\n\n", "\r\n\r", 1);
    pair.a.then(Reply::events(vec![format!("\u{feff}id: 1\r{}", role()), failing]));
    assert_b_alone(&pair, "an error behind mixed line ends");
}

#[test]
fn d099_a_byte_order_mark_is_no_content() {
    let pair = Pair::start("");
    pair.a.then(Reply::events(vec![format!("\u{feff}{}", role()), content("x"), finish("stop"), done()]));
    let events = all(pair.stream());
    assert_eq!((text(&events).as_str(), dones(&events)), ("x", 1));
}

#[test]
fn d099_a_whole_event_before_a_break_is_passed_on_whatever_ends_its_lines() {
    for (what, end) in [("LF", "\n"), ("CRLF", "\r\n"), ("CR", "\r")] {
        let pair = Pair::start("");
        let events = [role(), content("x"), content("y")].map(|event| event.replace('\n', end)).to_vec();
        pair.a.then(Reply::events_then(events, Step::Close));
        assert_interrupted(&all(pair.stream()), "xy", what);
    }
}

#[test]
fn d100_events_in_small_pieces_pass_whole() {
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
fn d101_fields_of_every_kind_pass_byte_for_byte() {
    let pair = Pair::start("");
    let odd = "id: 7\ndata:{\"choices\":[{\"delta\":{\"content\":\"\\u00e9\\ud83d\\ude00 é\"},\"n\":12345678901234567890}],\"f\":1e-7}\nunknown: x\n\n";
    let joined = "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\"two lines\"}}]}\n\n";
    let sent = [role(), odd.to_owned(), joined.to_owned(), content("x"), finish("stop"), done()];
    pair.a.then(Reply::events(sent.to_vec()));
    assert_eq!(pair.stream().read_to_end(), sent.concat());
}

#[test]
fn d101_several_data_lines_are_one_event() {
    let pair = Pair::start(NO_BREAKER);
    let lines = |event: String| event.replace("\"choices\":", "\ndata:\"choices\":").replacen("data: ", "data:", 1);
    // An error, a finish and content are known in either writing.
    pair.a.then(Reply::events(vec![role(), "data: {\"error\":\ndata: {\"message\": \"of A\"}}\n\n".to_owned()]));
    assert_b_alone(&pair, "an error in two lines");
    let sent = [lines(role()), lines(content("x")), lines(finish("stop"))].concat();
    assert_eq!(sent.matches("data:").count(), 6, "{sent}");
    pair.a.then(Reply::events(vec![sent.clone()]));
    assert_eq!(pair.stream().read_to_end(), sent + &done(), "the finish was seen, so [DONE] is added");
}

#[test]
fn d101_retry_lines_are_dropped() {
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

/// Much more than any answer needs.
const MUCH: Duration = Duration::from_secs(60);

#[test]
fn d102_an_event_of_8_mib_passes() {
    let pair = Pair::start("");
    let long = "0123456789abcdef".repeat(512 << 10);
    for before in [vec![role(), content("short")], vec![]] {
        let sent = [before, vec![content(&long), finish("stop"), done()]].concat();
        pair.a.then(Reply::events(sent.clone()));
        let started = Instant::now();
        let got = pair.stream().read_to_end();
        assert!(started.elapsed() < MUCH, "{:?}", started.elapsed());
        assert!(got == sent.concat(), "{} bytes", got.len());
    }
}

/// A line of 200 MiB without its end, after these events.
fn endless(before: Vec<String>) -> Reply {
    let part = "x".repeat(1 << 20);
    let begun = Reply::events_then([before, vec!["data: ".to_owned()]].concat(), Step::Pause(Duration::ZERO));
    (0..200).fold(begun, |reply, _| reply.and(Step::chunk(&part))).and(Step::Hang)
}

#[test]
fn d102_an_event_of_200_mib_is_cut_with_an_error_event() {
    let pair = Pair::start(NO_BREAKER);
    let before = most_memory(&pair.daemon);
    let started = Instant::now();
    pair.a.then(endless(vec![content("half")]));
    assert_interrupted(&all(pair.stream()), "half", "200 MiB in one event");
    pair.a.wait_for_disconnect(started);
    pair.a.then(endless(vec![role()]));
    assert_b_alone(&pair, "200 MiB before any content");
    assert!(started.elapsed() < MUCH, "{:?}", started.elapsed());
    assert_eq!(classes(&pair.record(1)), ["truncated"]);
    if let (Some(before), Some(after)) = (before, most_memory(&pair.daemon)) {
        assert!(after - before < 100, "an event is held up to 16 MiB; memory grew from {before} to {after} MiB");
    }
}

/// An answer whose body comes one byte a chunk, many chunks a packet.
fn byte_by_byte(bytes: &[u8]) -> Reply {
    let mut reply = Reply::events_then(vec![], Step::Pause(Duration::ZERO));
    for part in bytes.chunks(10_000) {
        reply = reply.and(Step::Bytes(part.iter().flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n']).collect()));
    }
    reply.and(Step::last_chunk())
}

/// A million take an unoptimized build ten seconds, so that is for the long run
/// that `CUTS` asks for, as in the tests of cuts.
fn very_many() -> usize {
    let long = std::env::var("CUTS").is_ok_and(|count| count.parse().is_ok_and(|count: usize| count >= 100_000));
    if long { 1_000_000 } else { 200_000 }
}

#[test]
fn d103_very_many_chunks_of_one_byte_pass() {
    let pair = Pair::start("");
    let piece = content("0123456789");
    let sent = [role(), piece.repeat(very_many() / piece.len()), finish("stop"), done()].concat();
    pair.a.then(byte_by_byte(sent.as_bytes()));
    let started = Instant::now();
    let mut stream = pair.stream();
    let mut reads = 0;
    let mut got = Vec::new();
    while let Some(part) = stream.next_bytes() {
        reads += 1;
        got.extend(part);
    }
    assert!(stream.ended_cleanly() && got == sent.as_bytes(), "{} of {} bytes", got.len(), sent.len());
    assert!(started.elapsed() < MUCH * 2, "{:?}", started.elapsed());
    assert!(reads < sent.len() / 20, "the caller gets events, not single bytes: {reads} pieces");
}

/// A stream as gzip codes it, flushed after each event.
fn zipped(events: &[String]) -> Vec<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut part = |event: &String| {
        encoder.write_all(event.as_bytes()).and_then(|()| encoder.flush()).expect("a vector to write to");
        std::mem::take(encoder.get_mut())
    };
    events.iter().map(&mut part).collect()
}

#[test]
fn d104_a_gzip_stream_falls_over_without_being_waited_for() {
    let pair = Pair::start(NO_BREAKER);
    let gate = Gate::new();
    let plain = vec![content("of A").into_bytes()];
    for parts in [zipped(&[role(), content("of A")]), plain] {
        let begun = Reply::events_then(vec![], Step::Pause(Duration::ZERO)).with_header("content-encoding", "gzip");
        let reply = parts.iter().fold(begun, |reply, part| reply.and(Step::chunk(part)));
        // It would go on once the caller has an answer.
        pair.a.then(reply.and(Step::WaitFor(gate.clone())).and(Step::last_chunk()));
        assert_b_alone(&pair, "gzip");
    }
    gate.open();
    assert_eq!(classes(&pair.record(1)), ["garbled", "ok"]);
    let asked = pair.a.chats();
    assert!(asked.iter().all(|chat| chat.header("accept-encoding") == Some("identity")), "{:?}", asked[0].headers);
}

#[test]
fn d105_a_stream_is_not_compressed_for_a_caller_that_takes_gzip() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    let headers = [("content-type", "application/json"), ("accept-encoding", "gzip, br")];
    client.send("POST", "/v1/chat/completions", &headers, support::ASK_STREAM);
    let stream = client.read_stream();
    assert_eq!(stream.header("content-encoding"), None);
    assert_eq!(text(&all(stream)), "from A");
    assert_eq!(pair.a.chats()[0].header("accept-encoding"), Some("identity"), "nor is it asked for above");
}

#[test]
fn d106_a_comment_between_content_is_never_data() {
    let pair = Pair::start("");
    let comments = [
        comment("OPENROUTER PROCESSING"),
        comment("data: {\"error\":{\"message\":\"no error\"}}"),
        comment("[DONE]"),
        ":\n\n".to_owned(),
        ": event: error\n\n".to_owned(),
    ];
    let mut sent = vec![role()];
    for (count, comment) in comments.into_iter().enumerate() {
        sent.extend([content(&count.to_string()), comment]);
    }
    sent.extend([format!(": inside an event\n{}", content("5")), finish("stop"), done()]);
    pair.a.then(Reply::events(sent));
    let events = all(open_stream(pair.daemon.port(), support::ASK_STREAM));
    assert_eq!((text(&events).as_str(), dones(&events)), ("012345", 1));
    assert!(events.iter().flat_map(|event| event.lines()).filter(|line| line.starts_with("data:")).count() == 9, "{events:?}");
    assert_eq!(pair.record(1)["outcome"], "served");
}

#[test]
fn d103_a_long_event_in_chunks_of_one_byte_passes() {
    let pair = Pair::start("");
    let sent = [role(), content("x"), content(&"0".repeat(100_000)), finish("stop"), done()].concat();
    pair.a.then(byte_by_byte(sent.as_bytes()));
    let started = Instant::now();
    assert!(pair.stream().read_to_end() == sent);
    assert!(started.elapsed() < MUCH, "{:?}", started.elapsed());
}

#[test]
fn d102_an_event_of_8_mib_in_small_chunks_passes() {
    let pair = Pair::start("");
    let sent = [content("x"), content(&"0".repeat(8 << 20)), finish("stop"), done()].concat();
    let parts = sent.as_bytes().chunks(1 << 10).map(Step::chunk);
    let reply = parts.fold(Reply::events_then(vec![], Step::Pause(Duration::ZERO)), Reply::and).and(Step::last_chunk());
    pair.a.then(reply);
    let started = Instant::now();
    assert!(pair.stream().read_to_end() == sent);
    assert!(started.elapsed() < MUCH, "{:?}", started.elapsed());
}
