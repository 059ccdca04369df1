//! `routor chat`: what becomes the prompt, what is printed where, who is asked,
//! and what the exit code says.

mod support;

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{
    Daemon, Finished, Gate, Home, Input, Provider, Reply, Step, chain_config, chain_config_with, content, done, finish, role, routor,
};

/// A home whose own configuration file is this one.
fn home(config: &str) -> Home {
    let home = Home::new();
    home.write("c/routor/routor.toml", config);
    home
}

/// A provider that works, and a home that knows it; no daemon runs.
fn here() -> (Provider, Home) {
    let provider = Provider::start();
    let home = home(&chain_config(&[("a", &provider)]));
    (provider, home)
}

/// The last message that the provider was sent.
#[track_caller]
fn prompt(provider: &Provider) -> String {
    let body = provider.chats().last().expect("a chat call").json();
    let messages = body["messages"].as_array().expect("messages").clone();
    messages.last().expect("a message")["content"].as_str().expect("text").to_owned()
}

#[track_caller]
fn records(home: &Home) -> Vec<Value> {
    let done = home.run(&["logs", "--all", "--json"]).expect_code(0);
    done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

// --- The prompt ---

#[test]
fn the_words_are_joined_by_spaces() {
    let (provider, home) = here();
    home.run(&["chat", "why", "is the", "sky", "blue?"]).expect_code(0);
    assert_eq!(prompt(&provider), "why is the sky blue?");
}

#[test]
fn files_and_standard_input_follow_after_a_blank_line_each() {
    let (provider, home) = here();
    let (one, two) = (home.write("one.txt", "file one\n"), home.write("two.txt", "file\ntwo"));
    let (one, two) = (one.display().to_string(), two.display().to_string());
    home.run_with_stdin(&["chat", "explain", "-f", &one, "--file", &two], "from stdin\n").expect_code(0);
    assert_eq!(prompt(&provider), "explain\n\nfile one\n\nfile\ntwo\n\nfrom stdin");
}

#[test]
fn a_file_alone_is_a_prompt() {
    let (provider, home) = here();
    let file = home.write("p.txt", "only this").display().to_string();
    home.run(&["chat", "-f", &file]).expect_code(0);
    assert_eq!(prompt(&provider), "only this");
}

#[test]
fn standard_input_alone_is_a_prompt() {
    let (provider, home) = here();
    home.run_with_stdin(&["chat"], "only this").expect_code(0);
    assert_eq!(prompt(&provider), "only this");
}

#[test]
fn a_dash_alone_is_standard_input_alone() {
    let (provider, home) = here();
    home.run_with_stdin(&["chat", "-"], "first\nsecond\n").expect_code(0);
    assert_eq!(prompt(&provider), "first\nsecond");
}

#[test]
fn a_dash_among_words_is_a_word() {
    let (provider, home) = here();
    home.run(&["chat", "a", "-", "b"]).expect_code(0);
    assert_eq!(prompt(&provider), "a - b");
}

#[test]
fn the_prompt_is_sent_as_it_is() {
    let (provider, home) = here();
    let text = "  \"quoted\"\t\\ \u{1f600} é\n\n\nend";
    home.run_with_stdin(&["chat", "-"], text).expect_code(0);
    assert_eq!(prompt(&provider), text);
}

#[test]
fn no_stdin_leaves_standard_input_alone() {
    let (provider, home) = here();
    let process = home.spawn(&["chat", "--no-stdin", "hi"], Input::Open);
    assert_eq!(process.wait_exit(Duration::from_secs(10)), 0);
    assert_eq!(prompt(&provider), "hi");
}

#[test]
fn after_2_s_of_silence_a_note_says_what_is_waited_for() {
    let (provider, home) = here();
    let process = home.spawn(&["chat", "hi"], Input::Open);
    let started = Instant::now();
    let note = process.wait_stderr("--no-stdin");
    assert!(started.elapsed() > Duration::from_millis(1800), "{:?}: {note}", started.elapsed());
    assert!(note.contains("standard input"), "{note}");
    process.write_input("and this");
    process.close_input();
    let done = process.finish(Duration::from_secs(10)).expect_code(0);
    assert_eq!(done.stdout, "hello\n");
    assert_eq!(prompt(&provider), "hi\n\nand this");
}

#[test]
fn no_note_comes_when_standard_input_is_not_silent() {
    let (_provider, home) = here();
    let process = home.spawn(&["chat", "hi"], Input::Open);
    let until = Instant::now() + Duration::from_millis(2600);
    while Instant::now() < until {
        process.write_input("more ");
        std::thread::sleep(Duration::from_millis(100));
    }
    process.close_input();
    let done = process.finish(Duration::from_secs(10)).expect_code(0);
    assert!(!done.stderr.contains("--no-stdin"), "{}", done.stderr);
}

#[test]
fn no_prompt_is_exit_2() {
    let (provider, home) = here();
    for (args, text) in [(&["chat"][..], ""), (&["chat", "-"], ""), (&["chat", ""], ""), (&["chat", "-"], " \n")] {
        let done = home.run_with_stdin(args, text).expect_code(2);
        assert_eq!(done.stdout, "");
        assert!(done.stderr.contains("prompt"), "{}", done.stderr);
    }
    assert_eq!(provider.count(), 0);
}

#[test]
fn a_file_that_cannot_be_read_is_exit_2_and_named() {
    let (provider, home) = here();
    let folder = home.path().display().to_string();
    for file in ["/nowhere/at-all.txt", &folder] {
        let done = home.run(&["chat", "hi", "-f", file]).expect_code(2);
        assert!(done.stderr.contains(file), "{}", done.stderr);
    }
    assert_eq!(provider.count(), 0);
}

// --- What is printed ---

#[test]
fn standard_output_holds_the_completion_and_one_line_end() {
    let (provider, home) = here();
    provider.always(Reply::stream(&["Hello", ", ", "world"]));
    assert_eq!(home.run(&["chat", "hi"]).expect_code(0).stdout, "Hello, world\n");
    provider.always(Reply::stream(&["a line\n"]));
    assert_eq!(home.run(&["chat", "hi"]).expect_code(0).stdout, "a line\n");
}

#[test]
fn no_stream_asks_for_no_stream_and_prints_the_same() {
    let (provider, home) = here();
    provider.always(Reply::answer("Hello, world"));
    assert_eq!(home.run(&["chat", "--no-stream", "hi"]).expect_code(0).stdout, "Hello, world\n");
    assert_ne!(provider.chats()[0].json()["stream"], true);
}

#[test]
fn without_no_stream_a_stream_is_asked_for() {
    let (provider, home) = here();
    home.run(&["chat", "hi"]).expect_code(0);
    assert_eq!(provider.chats()[0].json()["stream"], true);
}

const ODD: &str = "{ \"id\":\"x\",  \"object\":\"chat.completion\",\"created\":1e0,\"model\":\"m1\",\n\t\"unknown\": [1.50, \"\\u00e9\\/\"],\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\"h\\u0069\"}}]}";

#[test]
fn json_prints_the_whole_answer_byte_for_byte() {
    let (provider, home) = here();
    provider.always(Reply::json(200, ODD));
    assert_eq!(home.run(&["chat", "--json", "hi"]).expect_code(0).stdout, format!("{ODD}\n"));
}

#[test]
fn json_from_the_daemon_is_byte_for_byte_too() {
    let provider = Provider::start();
    provider.always(Reply::json(200, ODD));
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    assert_eq!(daemon.run(&["chat", "--json", "hi"]).expect_code(0).stdout, format!("{ODD}\n"));
}

#[test]
fn json_keeps_bytes_that_are_not_utf_8() {
    let provider = Provider::start();
    let mut body = ODD.as_bytes().to_vec();
    let at = body.windows(4).position(|four| four == b"1.50").unwrap();
    body.splice(at..at + 4, *b"\"\xff\"");
    provider.always(Reply::json(200, body.clone()));
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let passed = support::post_chat(daemon.port(), r#"{"messages":[{"role":"user","content":"hi"}]}"#);
    assert!(passed.body == body, "the proxy itself changed it: {}", passed.text());
    let done = daemon.home().command(&["chat", "--json", "--no-stdin", "hi"]).stdin(Stdio::null()).output().unwrap();
    assert!(done.stdout == [&body[..], b"\n"].concat(), "{}", String::from_utf8_lossy(&done.stdout));
}

/// Two pieces with a gate between them.
fn gated(gate: &Gate) -> Reply {
    Reply::events_then(vec![role(), content("first")], Step::WaitFor(gate.clone()))
        .and(Step::chunk(content(" second")))
        .and(Step::chunk(finish("stop")))
        .and(Step::chunk(done()))
        .and(Step::last_chunk())
}

#[test]
fn a_stream_reaches_a_pipe_piece_by_piece() {
    let (provider, home) = here();
    let gate = Gate::new();
    provider.always(gated(&gate));
    let process = home.spawn(&["chat", "hi"], Input::Null);
    assert_eq!(process.wait_stdout("first"), "first");
    gate.open();
    assert_eq!(process.finish(Duration::from_secs(10)).expect_code(0).stdout, "first second\n");
}

#[test]
fn a_stream_of_the_daemon_reaches_a_pipe_piece_by_piece() {
    let provider = Provider::start();
    let gate = Gate::new();
    provider.always(gated(&gate));
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let process = daemon.spawn(&["chat", "hi"], Input::Null);
    assert_eq!(process.wait_stdout("first"), "first");
    gate.open();
    assert_eq!(process.finish(Duration::from_secs(10)).expect_code(0).stdout, "first second\n");
}

#[test]
fn reasoning_is_not_printed() {
    let (provider, home) = here();
    provider.always(Reply::events(vec![role(), support::events::reasoning("hmm"), content("yes"), finish("stop"), done()]));
    assert_eq!(home.run(&["chat", "hi"]).expect_code(0).stdout, "yes\n");
}

// --- Flags that become fields ---

#[test]
fn the_system_text_comes_before_the_prompt() {
    let (provider, home) = here();
    home.run(&["chat", "-s", "be brief", "hi"]).expect_code(0);
    let wanted = json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]);
    assert_eq!(provider.chats()[0].json()["messages"], wanted);
}

#[test]
fn max_tokens_and_temperature_go_upstream() {
    let (provider, home) = here();
    home.run(&["chat", "--max-tokens", "77", "--temperature", "0.25", "hi"]).expect_code(0);
    let body = provider.chats()[0].json();
    assert_eq!((&body["max_tokens"], &body["temperature"]), (&json!(77), &json!(0.25)));
}

#[test]
fn without_the_flags_the_fields_are_not_there() {
    let (provider, home) = here();
    home.run(&["chat", "hi"]).expect_code(0);
    let body = provider.chats()[0].json();
    assert!(body.get("max_tokens").is_none() && body.get("temperature").is_none(), "{body}");
}

#[test]
fn model_asks_for_that_model() {
    let (provider, home) = here();
    provider.model_ids(&["m1", "other"]);
    home.run(&["chat", "-m", "a/other", "hi"]).expect_code(0);
    assert_eq!(provider.chats()[0].json()["model"], "other");
}

#[test]
fn tier_asks_for_that_tier_in_any_case() {
    let (a, b) = (Provider::start(), Provider::start());
    let config = chain_config(&[("a", &a), ("b", &b)]).replace("COMPLEX = [\"a/m1\", \"b/m1\"]", "COMPLEX = [\"b/m1\"]");
    let home = home(&config);
    home.run(&["chat", "-t", "complex", "hi"]).expect_code(0);
    home.run(&["chat", "--tier", "LIGHT", "hi"]).expect_code(0);
    assert_eq!((a.count(), b.count()), (1, 1));
}

#[test]
fn d240_impossible_flags_are_exit_2() {
    let (provider, home) = here();
    for args in [
        &["chat", "-m", "a/m1", "-t", "LIGHT", "hi"][..],
        &["chat", "-t", "HUGE", "hi"],
        &["chat", "--max-tokens", "0", "hi"],
        &["chat", "--max-tokens", "-5", "hi"],
        &["chat", "--max-tokens", "many", "hi"],
        &["chat", "--temperature", "9", "hi"],
        &["chat", "--temperature", "-1", "hi"],
        &["chat", "--temperature", "nan", "hi"],
        &["chat", "--nope", "hi"],
    ] {
        assert_eq!(home.run(args).code, 2, "{args:?}");
    }
    assert_eq!(provider.count(), 0);
}

// --- Who is asked ---

/// A daemon with one provider, in a home whose own file knows another.
fn daemon_and_file() -> (Provider, Provider, Daemon) {
    let (of_daemon, of_file) = (Provider::start(), Provider::start());
    of_daemon.always(Reply::answer("daemon"));
    of_file.always(Reply::answer("file"));
    let daemon = Daemon::builder().home(home(&chain_config(&[("f", &of_file)]))).config(chain_config(&[("d", &of_daemon)])).start();
    (of_daemon, of_file, daemon)
}

#[test]
fn a_running_daemon_is_asked() {
    let (of_daemon, of_file, daemon) = daemon_and_file();
    assert_eq!(daemon.run(&["chat", "hi"]).expect_code(0).stdout, "daemon\n");
    assert_eq!((of_daemon.count(), of_file.count()), (1, 0));
    assert_eq!(daemon.wait_logs(1).len(), 1);
}

#[test]
fn with_config_the_daemon_is_not_asked() {
    let (of_daemon, of_file, daemon) = daemon_and_file();
    let path = daemon.home().path().join("c/routor/routor.toml").display().to_string();
    assert_eq!(daemon.run(&["chat", "--config", &path, "hi"]).expect_code(0).stdout, "file\n");
    assert_eq!((of_daemon.count(), of_file.count()), (0, 1));
}

#[test]
fn routor_config_in_the_environment_does_not_keep_the_daemon_from_being_asked() {
    let (before, after) = (Provider::start(), Provider::start());
    let mut home = Home::new();
    let path = home.write("mine.toml", chain_config(&[("a", &before)])).display().to_string();
    home.set_env("ROUTOR_CONFIG", &path);
    let daemon = Daemon::builder().home(home).start();
    // Whoever reads the file now finds another provider than the daemon has.
    daemon.home().write("mine.toml", chain_config(&[("b", &after)]));
    daemon.run(&["chat", "hi"]).expect_code(0);
    assert_eq!((before.count(), after.count()), (1, 0));
}

#[test]
fn the_daemon_gets_the_client_key() {
    let provider = Provider::start();
    let daemon = Daemon::builder().config(chain_config(&[("a", &provider)])).env("ROUTOR_API_KEY", "client-key-1").start();
    assert_eq!(daemon.run(&["chat", "hi"]).expect_code(0).stdout, "hello\n");
}

#[test]
fn without_the_client_key_the_daemon_refuses_and_the_exit_is_1() {
    let provider = Provider::start();
    let daemon = Daemon::builder().config(chain_config(&[("a", &provider)])).env("ROUTOR_API_KEY", "client-key-1").start();
    let output = daemon.home().command(&["chat", "--no-stdin", "hi"]).env_remove("ROUTOR_API_KEY").stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ROUTOR_API_KEY"), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(provider.count(), 0);
}

#[test]
fn the_daemon_is_reached_without_any_proxy() {
    let provider = Provider::start();
    let builder = Daemon::builder().config(chain_config(&[("a", &provider)]));
    let daemon = builder
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9")
        .env("ALL_PROXY", "http://127.0.0.1:9")
        .start();
    daemon.run(&["chat", "hi"]).expect_code(0);
    assert_eq!(provider.count(), 1);
}

#[test]
fn without_a_daemon_the_answer_is_made_here_and_recorded_in_the_same_log() {
    let (provider, home) = here();
    assert_eq!(home.run(&["chat", "hi"]).expect_code(0).stdout, "hello\n");
    assert_eq!(provider.count(), 1);
    let records = records(&home);
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!((&records[0]["outcome"], &records[0]["served_by"]), (&json!("served"), &json!("a/m1")));
}

#[test]
fn what_a_crashed_daemon_left_does_not_keep_it_from_answering_here() {
    let (_of_daemon, of_file, daemon) = daemon_and_file();
    let home = daemon.into_home();
    assert_eq!(home.run(&["chat", "hi"]).expect_code(0).stdout, "file\n");
    assert_eq!(of_file.count(), 1);
}

#[test]
fn here_no_provider_is_validated_first() {
    for models in [Reply::status(500), Reply::status(401), Reply::hang()] {
        let (provider, home) = here();
        provider.models(models);
        let started = Instant::now();
        assert_eq!(home.run(&["chat", "hi"]).expect_code(0).stdout, "hello\n");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
}

// --- Fallbacks and failures ---

fn first_fails() -> (Provider, Provider, String) {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::status(503));
    let config = chain_config(&[("a", &a), ("b", &b)]);
    (a, b, config)
}

#[track_caller]
fn assert_noted(done: &Finished) {
    assert_eq!(done.stdout, "hello\n");
    let notes: Vec<&str> = done.stderr.lines().filter(|line| line.contains("fallback")).collect();
    assert_eq!(notes.len(), 1, "{}", done.stderr);
    assert!(notes[0].contains("b/m1") && notes[0].contains("a/m1") && notes[0].contains("503"), "{}", notes[0]);
}

#[test]
fn a_fallback_is_a_one_line_note_on_stderr() {
    let (_a, _b, config) = first_fails();
    for args in [&["chat", "hi"][..], &["chat", "--no-stream", "hi"]] {
        assert_noted(&home(&config).run(args).expect_code(0));
    }
}

#[test]
fn a_fallback_in_the_daemon_is_noted_too() {
    let (_a, _b, config) = first_fails();
    assert_noted(&Daemon::start(config).run(&["chat", "hi"]).expect_code(0));
}

#[test]
fn no_fallback_leaves_stderr_without_a_note() {
    let (_provider, home) = here();
    assert_eq!(home.run(&["chat", "hi"]).expect_code(0).stderr, "");
}

#[test]
fn when_every_model_fails_the_exit_is_1_and_stdout_empty() {
    let (_a, b, config) = first_fails();
    b.always(Reply::status(500));
    for flags in [&["chat", "hi"][..], &["chat", "--no-stream", "hi"], &["chat", "--json", "hi"]] {
        let done = home(&config).run(flags).expect_code(1);
        assert_eq!(done.stdout, "");
        assert!(done.stderr.contains("All providers in the fallback chain failed"), "{}", done.stderr);
    }
    let daemon = Daemon::start(config);
    assert_eq!(daemon.run(&["chat", "hi"]).expect_code(1).stdout, "");
}

#[test]
fn a_request_that_the_provider_refuses_is_exit_1_with_its_words() {
    let (provider, home) = here();
    provider.always(Reply::json(
        400,
        r#"{"error":{"message":"temperature does not go with top_p","type":"invalid_request_error","param":"top_p","code":null}}"#,
    ));
    let done = home.run(&["chat", "hi"]).expect_code(1);
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains("temperature does not go with top_p"), "{}", done.stderr);
}

#[test]
fn an_unknown_model_is_exit_2_with_the_nearest_name() {
    let (provider, home) = here();
    let done = home.run(&["chat", "-m", "LIGTH", "hi"]).expect_code(2);
    assert!(done.stderr.contains("LIGTH") && done.stderr.contains("LIGHT"), "{}", done.stderr);
    assert_eq!(done.stdout, "");
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    daemon.run(&["chat", "-m", "LIGTH", "hi"]).expect_code(2);
    assert_eq!(provider.count(), 0);
}

#[test]
fn nothing_configured_is_exit_2_and_says_what_to_do() {
    let done = routor(&["chat", "--no-stdin", "hi"], &[]).expect_code(2);
    assert!(done.stderr.contains("OPENAI_API_KEY") && done.stderr.contains("--demo"), "{}", done.stderr);
    assert_eq!(done.stdout, "");
}

#[test]
fn a_wrong_configuration_is_exit_2() {
    home("[server]\nlissten = 1\n").run(&["chat", "hi"]).expect_code(2);
}

#[test]
fn a_stream_that_breaks_is_exit_1_with_what_came_before() {
    let (provider, home) = here();
    provider.always(Reply::events_then(vec![role(), content("half an ans")], Step::Close));
    let done = home.run(&["chat", "hi"]).expect_code(1);
    assert_eq!(done.stdout, "half an ans\n");
    assert!(!done.stderr.trim().is_empty());
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    assert_eq!(daemon.run(&["chat", "hi"]).expect_code(1).stdout, "half an ans\n");
}

#[test]
fn an_error_event_of_the_provider_is_exit_1_with_its_words() {
    let (provider, home) = here();
    provider.always(Reply::events(vec![role(), content("half"), support::events::error("the machine caught fire")]));
    let done = home.run(&["chat", "hi"]).expect_code(1);
    assert_eq!(done.stdout, "half\n");
    assert!(done.stderr.contains("the machine caught fire"), "{}", done.stderr);
}

/// Starts it, reads one byte, closes the pipe, lets the provider go on.
#[track_caller]
fn head_of_one_byte(home: &Home, gate: &Gate) {
    let mut child =
        home.command(&["chat", "--no-stdin", "hi"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let mut byte = [0];
    pipe.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"f");
    drop(pipe);
    gate.open();
    let done = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!((done.status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn d231_a_closed_pipe_ends_it_quietly() {
    let gate = Gate::new();
    let (provider, home) = here();
    provider.always(gated(&gate));
    head_of_one_byte(&home, &gate);
}

#[test]
fn d231_a_closed_pipe_ends_it_quietly_with_the_daemon_too() {
    let gate = Gate::new();
    let provider = Provider::start();
    provider.always(gated(&gate));
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    head_of_one_byte(daemon.home(), &gate);
}

#[test]
fn d238_a_full_disk_is_an_error_and_no_panic() {
    let (_provider, home) = here();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let done = home.command(&["chat", "--no-stdin", "hi"]).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.is_empty(), "{stderr}");
}

#[test]
fn ctrl_c_is_exit_130_and_cancels_the_call() {
    let (provider, home) = here();
    provider.always(Reply::hang());
    let process = home.spawn(&["chat", "hi"], Input::Null);
    provider.wait_for_chats(1);
    let before = Instant::now();
    process.signal("INT");
    assert_eq!(process.wait_exit(Duration::from_secs(5)), 130);
    provider.wait_for_disconnect(before);
}

// --- The demo ---

#[test]
fn the_demo_answers_without_any_key_and_shows_a_fallback() {
    let home = Home::new();
    let done = home.run(&["chat", "--demo", "hello there"]).expect_code(0);
    assert!(done.stdout.contains("simulated") && done.stdout.contains("hello there"), "{}", done.stdout);
    assert!(done.stderr.contains("DEMO") && done.stderr.contains("fallback"), "{}", done.stderr);
}

#[test]
fn the_demo_leaves_the_log_and_the_daemon_alone() {
    let (of_daemon, of_file, daemon) = daemon_and_file();
    daemon.run(&["chat", "--demo", "hi"]).expect_code(0);
    assert_eq!((of_daemon.count(), of_file.count()), (0, 0));
    assert_eq!(daemon.logs().len(), 0);
}

#[test]
fn the_log_can_be_switched_off() {
    let provider = Provider::start();
    let home = home(&chain_config_with(&[("a", &provider)], "[log]\nrequests = false\n"));
    home.run(&["chat", "hi"]).expect_code(0);
    assert_eq!(records(&home).len(), 0);
}

#[test]
fn no_prompt_and_no_answer_is_stored() {
    let (provider, home) = here();
    provider.always(Reply::answer("answer-canary"));
    home.run(&["chat", "-s", "system-canary", "prompt-canary"]).expect_code(0);
    for file in std::fs::read_dir(home.state_dir()).unwrap().flatten() {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("canary"), "{:?}", file.path());
    }
}
