//! How `routor logs` prints: one request in full, rows that fit the terminal,
//! and a long log in bounded time.

mod port;
mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use port::CHAT;
use serde_json::{Value, json};
use support::{Daemon, Finished, Home, Input, Process, Provider, Reply, chain_config, chain_config_with, post};

#[track_caller]
fn call(daemon: &Daemon, id: &str, fields: &Value) -> u16 {
    post(daemon.port(), CHAT, &[("x-request-id", id)], port::ask_with(fields)).status
}

/// What `logs --id` prints of this request.
#[track_caller]
fn in_full(daemon: &Daemon, id: &str) -> String {
    daemon.run(&["logs", "--id", id]).expect_code(0).stdout
}

/// The value behind a name in the full view.
#[track_caller]
fn told<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name:?}: {text}"));
    line.trim()
}

// --- One request ---

#[test]
fn a_request_is_told_in_full() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    a.then(Reply::status(503).with_header("x-request-id", "upstream-7"));
    assert_eq!(call(&daemon, "my-id", &json!({})), 200);
    daemon.wait_logs(1);
    let text = in_full(&daemon, "my-id");
    for (name, value) in [
        ("request", "my-id"),
        ("asked for", "auto"),
        ("tier", "NANO"),
        ("outcome", "fallback (status 200)"),
        ("answered by", "b/m1"),
        ("tokens", "9 of the prompt, 3 of the answer"),
    ] {
        assert_eq!(told(&text, name), value, "{text}");
    }
    let first = told(&text, "   1.");
    assert!(["a/m1 503", "overloaded", "upstream-7"].iter().all(|part| first.contains(part)), "{text}");
    assert!(told(&text, "   2.").starts_with("b/m1 200"), "{text}");
    assert!(told(&text, "took").contains(" ms"), "{text}");
}

#[test]
fn what_is_not_known_is_a_dash() {
    let (a, daemon) = port::one();
    assert_eq!(call(&daemon, "rejected", &json!({"model": "nobody-knows-it"})), 404);
    a.then(Reply::status(503));
    assert_eq!(call(&daemon, "failed", &json!({"stream": true})), 502);
    daemon.wait_logs(2);
    let rejected = in_full(&daemon, "rejected");
    assert_eq!((told(&rejected, "asked for"), told(&rejected, "answered by")), ("nobody-knows-it", "–"));
    assert_eq!(told(&rejected, "tokens"), "– of the prompt, – of the answer");
    let failed = in_full(&daemon, "failed");
    assert_eq!((told(&failed, "asked for"), told(&failed, "outcome")), ("auto, as a stream", "failed (status 502)"));
}

#[test]
fn a_model_that_was_left_out_is_told_with_the_reason_and_the_sizes() {
    let (a, b) = (Provider::start(), Provider::start());
    let config = chain_config_with(&[("a", &a), ("b", &b)], "[models.\"a/m1\"]\ncontext_window = 1000\n");
    let daemon = Daemon::start(config);
    assert_eq!(call(&daemon, "long", &json!({"messages": [{"role": "user", "content": "word ".repeat(4000)}]})), 200);
    daemon.wait_logs(1);
    let text = in_full(&daemon, "long");
    let first = told(&text, "   1.");
    assert!(first.starts_with("a/m1: left out") && first.contains("the model has 1000"), "{text}");
    assert!(told(&text, "   2.").starts_with("b/m1 200"), "{text}");
}

#[test]
fn work_that_may_have_been_done_twice_is_said() {
    let (a, b) = (Provider::start(), Provider::start());
    a.then(Reply::hang());
    let daemon = Daemon::start(chain_config_with(&[("a", &a), ("b", &b)], "[timeouts]\nresponse = \"300ms\"\n"));
    assert_eq!(call(&daemon, "slow", &json!({})), 200);
    daemon.wait_logs(1);
    let text = in_full(&daemon, "slow");
    assert!(told(&text, "   1.").contains("may have done the work"), "{text}");
}

#[test]
fn models_that_nobody_had_to_ask_are_told_as_such() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    assert_eq!(call(&daemon, "x", &json!({})), 200);
    daemon.wait_logs(1);
    assert_eq!(told(&in_full(&daemon, "x"), "   2."), "b/m1: not tried");
}

#[test]
fn an_id_that_was_used_twice_shows_both_and_one_that_nobody_used_says_so() {
    let (_a, daemon) = port::one();
    for _ in 0..2 {
        assert_eq!(call(&daemon, "twice", &json!({})), 200);
    }
    daemon.wait_logs(2);
    assert_eq!(in_full(&daemon, "twice").matches("outcome ").count(), 2);
    let done = daemon.run(&["logs", "--id", "nobody"]).expect_code(0);
    assert!(done.stdout.is_empty() && done.stderr.contains("no request with this id"), "{}", done.stderr);
}

// --- Rows on a terminal ---

/// Runs `routor logs` on a terminal of this many columns; `None` where there is
/// no tool that gives one.
#[cfg(target_os = "linux")]
fn on_terminal(home: &Home, columns: usize, args: &str) -> Option<Finished> {
    let binary = env!("CARGO_BIN_EXE_routor");
    let inner = format!("stty cols {columns} rows 40; exec '{binary}' logs {args}");
    let mut command = Command::new("script");
    // The environment of the home, and nothing of this process's own.
    for (name, value) in home.command(&["logs"]).get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.env("TERM", "xterm").env_remove("NO_COLOR").args(["-qec", &inner, "/dev/null"]);
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("not run: `script` (util-linux), which gives a terminal, is not there");
        return None;
    }
    Some(Process::spawn(command, Input::Null).finish(Duration::from_secs(30)))
}

/// A home whose log has requests with short and with very long rows.
fn rows() -> (Provider, Provider, Home) {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a-provider-with-a-long-name", &a), ("b", &b)]));
    a.then(Reply::status(503));
    assert_eq!(call(&daemon, "an-id-to-look-for", &json!({})), 200);
    assert_eq!(call(&daemon, &"i".repeat(120), &json!({"model": "\u{6a21}\u{578b}".repeat(60)})), 404);
    assert_eq!(call(&daemon, "short", &json!({"model": "e\u{301}\u{1f600}"})), 404);
    daemon.wait_logs(3);
    (a, b, daemon.into_home())
}

#[cfg(target_os = "linux")]
#[test]
fn a_row_is_never_wider_than_the_terminal() {
    let (_a, _b, home) = rows();
    for columns in [60, 100, 200] {
        for colour in ["--color never", "--color always", ""] {
            let Some(done) = on_terminal(&home, columns, &format!("--all {colour}")) else { return };
            let lines: Vec<&str> = done.stdout.lines().collect();
            assert_eq!((done.code, lines.len()), (0, 3), "{:?}", done.stdout);
            for line in lines {
                let width = console::measure_text_width(line.trim_end_matches('\r'));
                assert!(width <= columns, "{width} of {columns} columns: {line:?}");
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_does_not_fit_is_left_out_from_the_end() {
    let (_a, _b, home) = rows();
    let row = |columns| {
        let done = on_terminal(&home, columns, "--color never")?;
        Some(done.stdout.lines().next().expect("a row").trim_end_matches('\r').to_owned())
    };
    let (Some(narrow), Some(middle), Some(wide)) = (row(60), row(100), row(200)) else { return };
    assert!(narrow.contains("fallback") && narrow.ends_with('…') && !narrow.contains("an-id"), "{narrow}");
    // The id goes first, then the end of the attempts.
    assert!(middle.contains("503") && !middle.contains("an-id"), "{middle}");
    assert!(wide.contains("b/m1 200") && wide.ends_with("an-id-to-look-for"), "{wide}");
}

#[test]
fn where_there_is_no_terminal_nothing_is_left_out() {
    let (_a, _b, mut home) = rows();
    home.set_env("COLUMNS", "40");
    let done = home.run(&["logs", "--all"]).expect_code(0);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].ends_with("an-id-to-look-for") && lines[1].ends_with(&"i".repeat(120)), "{}", done.stdout);
    assert!(!done.stdout.contains('…'), "{}", done.stdout);
}

// --- A long log ---

const MANY: usize = 100_000;

/// A home whose log has [`MANY`] records of the last hour or so: every tenth a
/// fallback to `b`, none failed; the oldest alone tried `rare`.
fn long_log() -> Home {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    assert_eq!(call(&daemon, "newest", &json!({})), 200);
    let pattern = daemon.wait_logs(1).remove(0);
    daemon.signal("TERM");
    daemon.wait_exit(Duration::from_secs(10));
    let home = daemon.into_home();
    let mut store = rusqlite::Connection::open(home.state_dir().join("requests.db")).unwrap();
    let newest: i64 = store.query_row("SELECT newest_ms FROM batches", [], |row| row.get(0)).unwrap();
    let change = store.transaction().unwrap();
    change.execute("UPDATE batches SET last = ?1", [MANY as i64 + 1]).unwrap();
    {
        let mut insert = change
            .prepare("INSERT INTO batches (last, count, writer, n, newest_ms, fallbacks, records) VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6)")
            .unwrap();
        // As under load: a hundred at a time.
        let mut batch: Vec<String> = Vec::new();
        let mut fallbacks = 0;
        for number in 1..=MANY {
            let fallback = number % 10 == 0;
            let provider = if number == 1 { "rare" } else { "a" };
            let mut record = pattern.clone();
            record["id"] = json!(format!("r{number}"));
            record["attempts"][0]["provider"] = json!(provider);
            if fallback {
                let mut second = record["attempts"][0].clone();
                record["attempts"][0]["class"] = json!("overloaded");
                second["provider"] = json!("b");
                record["attempts"].as_array_mut().unwrap().push(second);
                record["chain"] = json!(["a/m1", "b/m1"]);
                record["served_by"] = json!("b/m1");
                record["outcome"] = json!("fallback");
            }
            let time = newest - (MANY - number) as i64 * 40;
            record["time"] = json!(jiff::Timestamp::from_millisecond(time).unwrap().to_string());
            fallbacks += i64::from(fallback);
            batch.push(record.to_string());
            if number % 100 == 0 {
                insert.execute(rusqlite::params![number as i64, 100, number as i64 - 99, time, fallbacks, batch.join("\n")]).unwrap();
                batch.clear();
                fallbacks = 0;
            }
        }
    }
    change.commit().unwrap();
    home
}

#[test]
fn a_hundred_thousand_records_are_listed_in_bounded_time() {
    let home = long_log();
    for (args, wanted) in [
        (&["--all"][..], 50),
        (&[], 50),
        (&["--all", "--provider", "a"], 50),
        (&["--all", "--provider", "b"], 50),
        (&["--all", "--provider", "rare"], 1),
        (&["--all", "--provider", "nobody"], 0),
        (&["--all", "--model", "nobody"], 0),
        (&["--failed"], 0),
        (&["--all", "--since", "30d"], 50),
        (&["--since", "30d"], 50),
        (&["--all", "--since", "1ms"], 0),
        (&["--all", "--since", "30d", "--provider", "rare"], 1),
        (&["--id", "r77777"], 1),
        (&["--id", "nobody"], 0),
    ] {
        let started = Instant::now();
        let done = home.run(&[&["logs", "--json", "-n", "50"], args].concat()).expect_code(0);
        let took = started.elapsed();
        eprintln!("{took:>10.1?}  logs -n 50 {}", args.join(" "));
        assert_eq!(done.stdout.lines().count(), wanted, "{args:?}");
        assert!(took < Duration::from_secs(2), "{args:?} took {took:?}");
    }
}

#[test]
fn all_of_a_long_log_can_be_printed() {
    let home = long_log();
    let started = Instant::now();
    let done = home.run(&["logs", "--all", "-n", "1000000"]).expect_code(0);
    eprintln!("{:.1?} for all {MANY}", started.elapsed());
    assert_eq!(done.stdout.lines().count(), MANY + 1);
    assert!(done.stdout.lines().next_back().is_some_and(|line| line.ends_with("newest")));
}
