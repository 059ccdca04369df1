//! `routor logs` and what it shows: one record for each request, which ones by
//! which flag, in which order, live and from the store.

mod support;

use std::collections::HashSet;
use std::io::Read;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{
    Daemon, Gate, Home, Input, Provider, Reply, Response, Step, chain_config, chain_config_with, content, open_stream, post, role,
};

const CHAT: &str = "/v1/chat/completions";

fn body(fields: &Value) -> String {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    body.to_string()
}

/// A chat call with this id and these fields.
#[track_caller]
fn call(daemon: &Daemon, id: &str, fields: &Value) -> Response {
    post(daemon.port(), CHAT, &[("x-request-id", id)], body(fields))
}

fn auto() -> Value {
    json!({"model": "auto"})
}

/// Runs `logs --json` with these arguments.
#[track_caller]
fn logs(home: &Home, args: &[&str]) -> Vec<Value> {
    let done = home.run(&[&["logs", "--json"], args].concat()).expect_code(0);
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|problem| panic!("{problem}: {line}"))).collect()
}

/// The ids that `logs` shows with these arguments.
#[track_caller]
fn ids(home: &Home, args: &[&str]) -> Vec<String> {
    logs(home, args).iter().map(|record| record["id"].as_str().expect("an id").to_owned()).collect()
}

/// Providers `a` and `b` and one request of every outcome, its id the outcome.
fn history() -> (Provider, Provider, Daemon) {
    let (a, b) = (Provider::start(), Provider::start());
    b.model_ids(&["m1", "m2"]);
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    assert_eq!(call(&daemon, "served", &auto()).status, 200);
    a.then(Reply::status(503));
    assert_eq!(call(&daemon, "fallback", &auto()).status, 200);
    a.then(Reply::status(503));
    b.then(Reply::status(500));
    assert_eq!(call(&daemon, "failed", &auto()).status, 502);
    assert_eq!(call(&daemon, "rejected", &json!({"model": "nobody-knows-it"})).status, 404);
    a.then(Reply::events_then(vec![role(), content("half")], Step::Close));
    let mut stream = daemon.client();
    stream.send("POST", CHAT, &[("content-type", "application/json"), ("x-request-id", "partial")], body(&json!({"stream": true})));
    assert_eq!(stream.read_stream().events().len(), 3, "the role, the content, the error");
    assert_eq!(call(&daemon, "other", &json!({"model": "b/m2"})).status, 200);
    daemon.wait_logs(6);
    (a, b, daemon)
}

// --- Which records ---

#[test]
fn without_flags_only_requests_with_a_fallback_are_shown() {
    let (_a, _b, daemon) = history();
    assert_eq!(ids(daemon.home(), &[]), ["fallback"]);
}

#[test]
fn an_answer_that_broke_off_after_a_fallback_is_shown_without_flags() {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::status(503));
    b.always(Reply::events_then(vec![role(), content("half")], Step::Close));
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    open_stream(daemon.port(), body(&json!({"stream": true}))).read_to_end();
    let record = daemon.wait_logs(1).remove(0);
    assert_eq!((&record["outcome"], &record["served_by"]), (&json!("partial"), &json!("b/m1")));
    assert_eq!(logs(daemon.home(), &[]).len(), 1);
}

#[test]
fn all_shows_every_request_oldest_first() {
    let (_a, _b, daemon) = history();
    assert_eq!(ids(daemon.home(), &["--all"]), ["served", "fallback", "failed", "rejected", "partial", "other"]);
}

#[test]
fn failed_shows_what_failed() {
    let (_a, _b, daemon) = history();
    let shown = ids(daemon.home(), &["--failed"]);
    assert!(shown.contains(&"failed".to_owned()), "{shown:?}");
    for other in ["served", "fallback", "rejected", "other"] {
        assert!(!shown.contains(&other.to_owned()), "{shown:?}");
    }
}

#[test]
fn all_and_failed_exclude_each_other() {
    assert_eq!(Home::new().run(&["logs", "--all", "--failed"]).code, 2);
}

#[test]
fn provider_shows_the_requests_that_tried_it() {
    let (_a, _b, daemon) = history();
    assert_eq!(ids(daemon.home(), &["--all", "--provider", "b"]), ["fallback", "failed", "other"]);
    assert_eq!(ids(daemon.home(), &["--all", "--provider", "a"]), ["served", "fallback", "failed", "partial"]);
    assert!(ids(daemon.home(), &["--all", "--provider", "c"]).is_empty());
}

#[test]
fn model_shows_the_requests_of_that_model() {
    let (_a, _b, daemon) = history();
    assert_eq!(ids(daemon.home(), &["--all", "--model", "b/m2"]), ["other"]);
    assert_eq!(ids(daemon.home(), &["--all", "--model", "m2"]), ["other"]);
    assert_eq!(ids(daemon.home(), &["--all", "--model", "nobody-knows-it"]), ["rejected"]);
}

#[test]
fn id_shows_that_request_whatever_its_outcome() {
    let (_a, _b, daemon) = history();
    for id in ["served", "failed", "partial"] {
        assert_eq!(ids(daemon.home(), &["--id", id]), [id]);
    }
    assert!(ids(daemon.home(), &["--id", "nobody"]).is_empty());
}

#[test]
fn since_leaves_out_what_is_older() {
    let (_a, _b, daemon) = history();
    assert_eq!(ids(daemon.home(), &["--all", "--since", "1h"]).len(), 6);
    assert!(ids(daemon.home(), &["--all", "--since", "1ms"]).is_empty());
}

#[test]
fn n_shows_the_newest_oldest_first() {
    let (_a, _b, daemon) = history();
    assert_eq!(ids(daemon.home(), &["--all", "-n", "2"]), ["partial", "other"]);
    assert_eq!(ids(daemon.home(), &["--all", "--provider", "b", "-n", "1"]), ["other"]);
}

#[test]
fn without_n_the_newest_50_are_shown() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let mut client = daemon.client();
    for number in 0..60 {
        let id = format!("r{number}");
        let headers = [("content-type", "application/json"), ("x-request-id", id.as_str())];
        assert_eq!(client.request("POST", CHAT, &headers, body(&auto())).status, 200);
    }
    daemon.wait_logs(60);
    let shown = ids(daemon.home(), &["--all"]);
    let wanted: Vec<String> = (10..60).map(|number| format!("r{number}")).collect();
    assert_eq!(shown, wanted);
}

#[test]
fn d240_impossible_flags_are_exit_2() {
    let home = Home::new();
    for args in [
        &["logs", "-n", "0"][..],
        &["logs", "-n", "-1"],
        &["logs", "-n", "x"],
        &["logs", "--since", "soon"],
        &["logs", "--since", "5"],
        &["logs", "--format", "xml"],
        &["logs", "--nope"],
        &["logs", "extra"],
    ] {
        assert_eq!(home.run(args).code, 2, "{args:?}");
    }
}

// --- What a record is ---

#[test]
fn a_record_has_the_documented_fields() {
    let (_a, _b, daemon) = history();
    for record in logs(daemon.home(), &["--all"]) {
        for field in [
            "id",
            "time",
            "model",
            "tier",
            "chain",
            "stream",
            "outcome",
            "status",
            "served_by",
            "ms",
            "first_ms",
            "prompt_tokens",
            "completion_tokens",
            "attempts",
            "skipped",
        ] {
            assert!(record.get(field).is_some(), "{field}: {record}");
        }
        for attempt in record["attempts"].as_array().expect("attempts") {
            for field in ["provider", "model", "class", "status", "ms", "first_ms"] {
                assert!(attempt.get(field).is_some(), "{field}: {attempt}");
            }
        }
        let time = record["time"].as_str().expect("a time");
        assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.' && time.as_bytes()[10] == b'T', "{time}");
    }
}

/// Everything of a record but its times.
fn timeless(mut record: Value) -> Value {
    for field in ["time", "ms", "first_ms"] {
        record[field] = json!(0);
    }
    for attempt in record["attempts"].as_array_mut().expect("attempts") {
        for field in ["ms", "first_ms"] {
            attempt[field] = json!(0);
        }
    }
    record
}

#[test]
fn a_fallback_is_recorded_with_both_attempts() {
    let (_a, _b, daemon) = history();
    let record = timeless(logs(daemon.home(), &["--id", "fallback"]).remove(0));
    for (field, value) in [
        ("model", json!("auto")),
        ("tier", json!("NANO")),
        ("chain", json!(["a/m1", "b/m1"])),
        ("stream", json!(false)),
        ("outcome", json!("fallback")),
        ("status", json!(200)),
        ("served_by", json!("b/m1")),
        ("prompt_tokens", json!(9)),
        ("completion_tokens", json!(3)),
        ("skipped", json!([])),
    ] {
        assert_eq!(record[field], value, "{field}: {record}");
    }
    let classes: Vec<(&Value, &Value, &Value)> = record["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| (&attempt["provider"], &attempt["class"], &attempt["status"]))
        .collect();
    assert_eq!(classes, [(&json!("a"), &json!("overloaded"), &json!(503)), (&json!("b"), &json!("ok"), &json!(200))]);
}

#[test]
fn the_outcomes_are_named_as_documented() {
    let (_a, _b, daemon) = history();
    let outcome = |id| logs(daemon.home(), &["--id", id]).remove(0);
    for (id, wanted, status, attempts) in
        [("served", "served", 200, 1), ("failed", "failed", 502, 2), ("rejected", "rejected", 404, 0), ("partial", "partial", 200, 1)]
    {
        let record = outcome(id);
        assert_eq!((&record["outcome"], &record["status"]), (&json!(wanted), &json!(status)), "{record}");
        assert_eq!(record["attempts"].as_array().unwrap().len(), attempts, "{record}");
    }
    assert_eq!(outcome("failed")["served_by"], Value::Null);
    assert_eq!(outcome("rejected")["served_by"], Value::Null);
}

#[test]
fn a_client_that_left_is_recorded_without_a_status() {
    let a = Provider::start();
    a.then(Reply::hang());
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let mut client = daemon.client();
    client.send("POST", CHAT, &[("content-type", "application/json")], body(&auto()));
    a.wait_for_chats(1);
    drop(client);
    let record = daemon.wait_logs(1).remove(0);
    assert_eq!((&record["outcome"], &record["status"]), (&json!("client_closed"), &Value::Null), "{record}");
}

#[test]
fn a_4xx_that_is_passed_through_is_recorded_as_rejected() {
    let a = Provider::start();
    a.then(Reply::json(422, r#"{"error":{"message":"no such parameter"}}"#));
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    assert_eq!(call(&daemon, "x", &auto()).status, 422);
    let record = daemon.wait_logs(1).remove(0);
    assert_eq!((&record["outcome"], &record["status"]), (&json!("rejected"), &json!(422)), "{record}");
}

#[test]
fn what_a_guard_stopped_is_not_recorded() {
    let a = Provider::start();
    let daemon = Daemon::builder().config(chain_config(&[("a", &a)])).env("ROUTOR_API_KEY", "client-key-1").start();
    let key = ("authorization", "Bearer client-key-1");
    let port = daemon.port();
    assert_eq!(post(port, CHAT, &[("host", "evil.com"), key], body(&auto())).status, 403);
    assert_eq!(post(port, CHAT, &[("origin", "https://evil.com"), key], body(&auto())).status, 403);
    assert_eq!(post(port, CHAT, &[], body(&auto())).status, 401);
    assert_eq!(post(port, CHAT, &[("content-type", "text/plain"), key], body(&auto())).status, 415);
    assert_eq!(post(port, CHAT, &[key, ("x-request-id", "last")], body(&auto())).status, 200);
    daemon.wait_logs(1);
    assert_eq!(ids(daemon.home(), &["--all"]), ["last"]);
}

#[test]
fn records_are_kept_whether_or_not_debug_routing_is_on() {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::status(503));
    let daemon = Daemon::start(chain_config_with(&[("a", &a), ("b", &b)], "[server]\ndebug_routing = true\n"));
    assert_eq!(call(&daemon, "x", &auto()).header("x-routor-fallback"), Some("true"));
    daemon.wait_logs(1);
    assert_eq!(ids(daemon.home(), &[]), ["x"]);
}

#[test]
fn a_log_that_is_switched_off_has_no_records_and_requests_work() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], "[log]\nrequests = false\n"));
    assert_eq!(call(&daemon, "x", &auto()).status, 200);
    assert!(daemon.logs().is_empty());
}

// --- How it is printed ---

#[test]
fn the_table_has_one_line_a_request_with_its_attempts() {
    let (_a, _b, daemon) = history();
    let done = daemon.run(&["logs", "--all"]).expect_code(0);
    let line = done.stdout.lines().find(|line| line.contains("fallback")).expect("a line");
    for text in ["NANO", "a/m1", "503", "b/m1", "200"] {
        assert!(line.contains(text), "{text}: {line}");
    }
    assert_eq!(done.stdout.lines().filter(|line| line.contains("b/m2")).count(), 1, "{}", done.stdout);
}

#[test]
fn format_json_and_json_are_the_same() {
    let (_a, _b, daemon) = history();
    let short = daemon.run(&["logs", "--all", "--json"]).expect_code(0).stdout;
    assert_eq!(daemon.run(&["logs", "--all", "--format", "json"]).expect_code(0).stdout, short);
    assert_eq!(short.lines().count(), 6);
}

/// A daemon that was asked for a model of this name under the id `x`.
#[track_caller]
fn asked_for(name: &str) -> (Provider, Daemon) {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    assert_eq!(call(&daemon, "x", &json!({"model": name})).status, 404);
    daemon.wait_logs(1);
    (a, daemon)
}

/// A name that would make two lines, move the cursor, paint, and turn the text round.
const EVIL: &str = "evil\n\u{1b}[31m\u{1b}]0;title\u{7}name\u{0}\u{9b}2J\u{202e}\u{2066}\r\u{85}\u{2028}";

#[test]
fn d198_a_record_with_any_name_stays_one_line() {
    let (_a, daemon) = asked_for(EVIL);
    // In full it has a line for each fact, nine when nothing was tried.
    for (args, lines) in [(&["logs", "--all"][..], 1), (&["logs", "--all", "--json"], 1), (&["logs", "--id", "x"], 9)] {
        let done = daemon.run(args).expect_code(0);
        assert_eq!(done.stdout.lines().count(), lines, "{:?}", done.stdout);
    }
    assert_eq!(daemon.logs()[0]["model"], EVIL, "the record itself is true to what came");
}

#[test]
fn d198_a_name_of_a_megabyte_is_kept_short() {
    let (_a, daemon) = asked_for(&"\u{1b}é".repeat(400_000));
    let record = daemon.logs().remove(0);
    assert!(record["model"].as_str().is_some_and(|name| name.chars().count() <= 300), "{record}");
    assert!(daemon.run(&["logs", "--all"]).stdout.len() < 2000);
}

#[test]
fn d198_an_id_that_is_no_sane_one_is_not_kept() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let long = "i".repeat(1 << 14);
    for id in ["two words", "a\tb", "semi;colon", "\u{202e}x", long.as_str()] {
        let kept = call(&daemon, id, &auto()).header("x-request-id").expect("an id").to_owned();
        assert!(kept.len() <= 128 && kept.bytes().all(|byte| byte.is_ascii_graphic()) && kept != id, "{kept:?}");
    }
    assert!(daemon.wait_logs(5).iter().all(|record| record["id"].as_str().is_some_and(|id| id.starts_with("req_"))));
}

#[test]
fn d230_no_text_of_a_record_reaches_a_terminal_as_an_escape() {
    let (_a, daemon) = asked_for(EVIL);
    let harmful = ['\u{1b}', '\u{7}', '\0', '\r', '\u{9b}', '\u{85}', '\u{202e}', '\u{2066}'];
    for args in [&["logs", "--all"][..], &["logs", "--id", "x"]] {
        let done = daemon.run(args).expect_code(0);
        assert!(!done.stdout.contains(harmful), "{:?}", done.stdout);
    }
    let json = daemon.run(&["logs", "--all", "--json"]).expect_code(0);
    assert!(!json.stdout.contains(['\u{1b}', '\u{7}', '\0', '\r']), "{:?}", json.stdout);
}

#[test]
fn an_empty_log_is_exit_0_and_says_so_on_stderr() {
    for args in [&["logs"][..], &["logs", "--all"], &["logs", "--failed", "--json"]] {
        let done = Home::new().run(args).expect_code(0);
        assert_eq!(done.stdout, "");
        assert!(!done.stderr.trim().is_empty());
    }
}

#[test]
fn d231_a_closed_pipe_is_exit_0() {
    let (_a, _b, daemon) = history();
    for args in [&["logs", "--all"][..], &["logs", "--all", "--json"]] {
        let mut child = daemon.home().command(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""));
    }
}

// --- Without the daemon ---

#[test]
fn the_store_is_read_without_the_daemon() {
    let (_a, _b, daemon) = history();
    daemon.run(&["stop"]).expect_code(0);
    let home = daemon.into_home();
    assert_eq!(ids(&home, &["--all"]).len(), 6);
}

#[test]
fn what_is_older_than_a_second_survives_a_kill() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    for id in ["one", "two", "three"] {
        assert_eq!(call(&daemon, id, &auto()).status, 200);
    }
    // The rule is about a second, so a second has to pass.
    thread::sleep(Duration::from_millis(1050));
    let home = daemon.into_home();
    assert_eq!(ids(&home, &["--all"]), ["one", "two", "three"]);
}

#[test]
fn a_daemon_after_a_kill_goes_on_in_the_same_log() {
    let (_a, _b, daemon) = history();
    let c = Provider::start();
    let daemon = Daemon::builder().home(daemon.into_home()).config(chain_config(&[("c", &c)])).start();
    assert_eq!(call(&daemon, "after", &auto()).status, 200);
    let records = daemon.wait_logs(7);
    assert_eq!((records.len(), &records[6]["id"]), (7, &json!("after")));
}

#[test]
fn d248_a_damaged_store_keeps_nothing_from_starting() {
    let (_a, _b, daemon) = history();
    let home = daemon.into_home();
    for file in std::fs::read_dir(home.state_dir()).unwrap().flatten() {
        if std::fs::read(file.path()).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3")) {
            std::fs::write(file.path(), vec![0x5a; 20_000]).unwrap();
        }
    }
    let done = home.run(&["logs", "--all"]);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    let c = Provider::start();
    let daemon = Daemon::builder().home(home).config(chain_config(&[("c", &c)])).start();
    assert_eq!(call(&daemon, "after", &auto()).status, 200);
}

#[test]
fn d197_no_prompt_answer_or_key_is_in_the_state_folder() {
    let a = Provider::start();
    let b = Provider::start();
    a.always(Reply::json(401, r#"{"error":{"message":"Incorrect API key provided: provider-canary-11","code":"invalid_api_key"}}"#));
    b.always(Reply::answer("answer-canary"));
    let config = chain_config(&[("a", &a), ("b", &b)]).replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
    let daemon = Daemon::builder().config(config).env("A_KEY", "provider-canary-11").env("ROUTOR_API_KEY", "client-canary").start();
    for stream in [false, true] {
        let text = json!({"stream": stream, "messages": [{"role": "user", "content": "prompt-canary"}], "user": "user-canary"}).to_string();
        let headers = [("authorization", "Bearer client-canary"), ("user-agent", "agent-canary")];
        assert_eq!(post(daemon.port(), CHAT, &headers, text).status, 200);
    }
    daemon.wait_logs(2);
    let folder = daemon.state_dir();
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap().flatten().filter(|file| file.file_type().is_ok_and(|kind| kind.is_file())) {
        let bytes = std::fs::read(file.path()).unwrap();
        seen += bytes.len();
        assert!(!String::from_utf8_lossy(&bytes).contains("canary"), "{:?}", file.path());
    }
    assert!(seen > 1000, "the store is elsewhere");
}

// --- Following ---

#[test]
fn follow_shows_the_history_and_then_what_happens() {
    let (a, _b, daemon) = history();
    let process = daemon.spawn(&["logs", "-f", "--all", "--json"], Input::Null);
    process.wait_stdout("\"id\":\"other\"");
    a.then(Reply::status(503));
    assert_eq!(call(&daemon, "live", &auto()).status, 200);
    let text = process.wait_stdout("\"id\":\"live\"");
    assert_eq!(text.lines().count(), 7, "{text}");
    let live: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&live["outcome"], &live["served_by"]), (&json!("fallback"), &json!("b/m1")));
}

#[test]
fn follow_without_flags_shows_only_fallbacks() {
    let (a, _b, daemon) = history();
    let process = daemon.spawn(&["logs", "--follow", "--json"], Input::Null);
    process.wait_stdout("\"id\":\"fallback\"");
    assert_eq!(call(&daemon, "live-served", &auto()).status, 200);
    a.then(Reply::status(503));
    assert_eq!(call(&daemon, "live-fallback", &auto()).status, 200);
    let text = process.wait_stdout("live-fallback");
    assert!(!text.contains("live-served"), "{text}");
}

#[test]
fn follow_heeds_provider_and_failed() {
    let (a, b, daemon) = history();
    let process = daemon.spawn(&["logs", "-f", "--failed", "--provider", "b", "--json"], Input::Null);
    process.wait_stdout("\"id\":\"failed\"");
    assert_eq!(call(&daemon, "live-served", &auto()).status, 200);
    a.then(Reply::status(503));
    assert_eq!(call(&daemon, "live-fallback", &auto()).status, 200);
    a.then(Reply::status(503));
    b.then(Reply::status(503));
    assert_eq!(call(&daemon, "live-failed", &auto()).status, 502);
    let text = process.wait_stdout("live-failed");
    assert!(!text.contains("live-served") && !text.contains("live-fallback"), "{text}");
}

#[test]
fn follow_has_no_gap_and_no_double() {
    let a = Provider::start();
    let daemon = Arc::new(Daemon::start(chain_config(&[("a", &a)])));
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..2)
        .map(|sender| {
            let (daemon, stop, sent) = (Arc::clone(&daemon), Arc::clone(&stop), Arc::clone(&sent));
            thread::spawn(move || {
                let mut client = daemon.client();
                let mut ids = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let id = format!("s{sender}-{}", ids.len());
                    let headers = [("content-type", "application/json"), ("x-request-id", id.as_str())];
                    assert_eq!(client.request("POST", CHAT, &headers, body(&auto())).status, 200);
                    ids.push(id);
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                ids
            })
        })
        .collect();
    let wait = |more: usize| {
        let from = sent.load(Ordering::SeqCst);
        let until = Instant::now() + Duration::from_secs(20);
        while sent.load(Ordering::SeqCst) < from + more {
            assert!(Instant::now() < until, "the requests do not go on");
            thread::yield_now();
        }
    };
    // Four followers start at different moments while requests go on.
    let followers: Vec<_> = (0..4)
        .map(|_| {
            wait(30);
            daemon.spawn(&["logs", "-f", "--all", "--json", "-n", "1000000"], Input::Null)
        })
        .collect();
    wait(100);
    stop.store(true, Ordering::SeqCst);
    let mut wanted: HashSet<String> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    assert_eq!(call(&daemon, "the-end", &auto()).status, 200);
    wanted.insert("the-end".to_owned());
    for follower in followers {
        let text = follower.wait_stdout("\"id\":\"the-end\"");
        let shown: Vec<String> =
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()).collect();
        let unique: HashSet<String> = shown.iter().cloned().collect();
        assert_eq!(unique.len(), shown.len(), "some are shown twice");
        let missing: Vec<&String> = wanted.difference(&unique).collect();
        assert!(missing.is_empty(), "{} of {} are missing: {missing:?}", missing.len(), wanted.len());
    }
}

#[test]
fn follow_without_a_daemon_shows_the_history_says_so_and_is_exit_3() {
    let (_a, _b, daemon) = history();
    daemon.run(&["stop"]).expect_code(0);
    let done = daemon.into_home().run(&["logs", "-f", "--all", "--json"]).expect_code(3);
    assert_eq!(done.stdout.lines().count(), 6, "{}", done.stdout);
    assert!(done.stderr.contains("not running"), "{}", done.stderr);
}

#[test]
fn follow_after_a_crash_is_exit_3_too() {
    let (_a, _b, daemon) = history();
    let done = daemon.into_home().run(&["logs", "-f", "--all"]).expect_code(3);
    assert_eq!(done.stdout.lines().count(), 6, "{}", done.stdout);
}

#[test]
fn d231_a_closed_pipe_ends_a_follower_with_exit_0() {
    let (_a, _b, daemon) = history();
    let mut child =
        daemon.home().command(&["logs", "-f", "--all"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut [0]).unwrap();
    drop(pipe);
    let until = Instant::now() + Duration::from_secs(10);
    let code = loop {
        // Something to write, until it notices.
        assert_eq!(call(&daemon, "live", &auto()).status, 200);
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        assert!(Instant::now() < until, "it still runs");
    };
    assert_eq!(code, Some(0));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
}

#[test]
fn ctrl_c_ends_a_follower_with_exit_130() {
    let (_a, _b, daemon) = history();
    let process = daemon.spawn(&["logs", "-f"], Input::Null);
    process.wait_stdout("fallback");
    process.signal("INT");
    assert_eq!(process.wait_exit(Duration::from_secs(5)), 130);
}

#[test]
fn d232_a_follower_says_when_the_daemon_stops() {
    let (_a, _b, daemon) = history();
    let process = daemon.spawn(&["logs", "-f"], Input::Null);
    process.wait_stdout("fallback");
    daemon.run(&["stop"]).expect_code(0);
    process.wait_stderr("stopped");
}

#[test]
fn d227_a_follower_that_does_not_read_holds_up_no_request() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let mut child = daemon
        .home()
        .command(&["logs", "-f", "--all", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut client = daemon.client();
    let started = Instant::now();
    for _ in 0..1500 {
        assert_eq!(client.post_chat(body(&auto())).status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn requests_go_on_while_a_stream_is_open_and_it_is_recorded_at_its_end() {
    let a = Provider::start();
    let gate = Gate::new();
    a.then(
        Reply::events_then(vec![role(), content("x")], Step::WaitFor(gate.clone()))
            .and(Step::chunk(support::finish("stop")))
            .and(Step::chunk(support::done()))
            .and(Step::last_chunk()),
    );
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let mut stream = open_stream(daemon.port(), body(&json!({"stream": true})));
    stream.next_event();
    assert_eq!(call(&daemon, "second", &auto()).status, 200);
    assert_eq!(daemon.wait_logs(1)[0]["id"], "second");
    gate.open();
    stream.read_to_end();
    assert_eq!(daemon.wait_logs(2)[1]["stream"], true);
}
