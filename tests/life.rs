//! The life of the daemon: how it starts, who may start, how it stops, what a
//! reload changes, and what is left on disk.

mod support;

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{
    Client, Daemon, Gate, Home, Input, Process, Provider, Reply, Step, StreamReader, chain_config, chain_config_with, content, done,
    event_data, finish, get, open_stream, post_chat, role, routor,
};

const STREAM: &str = r#"{"model":"auto","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
const ASK: &str = r#"{"model":"auto","messages":[{"role":"user","content":"hi"}]}"#;

/// A provider whose next stream waits for the gate after its first content, and
/// a daemon with that stream open.
fn open() -> (Provider, Gate, Daemon, StreamReader) {
    let (provider, gate) = (Provider::start(), Gate::new());
    let rest = [content(" second"), finish("stop"), done()];
    let reply = Reply::events_then(vec![role(), content("first")], Step::WaitFor(gate.clone()));
    provider.then(rest.iter().fold(reply, |reply, event| reply.and(Step::chunk(event))).and(Step::last_chunk()));
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let mut stream = open_stream(daemon.port(), STREAM);
    while !stream.next_event().expect("an event").contains("first") {}
    (provider, gate, daemon, stream)
}

/// Waits until the port takes no more connections.
#[track_caller]
fn wait_closed(port: u16) {
    let until = Instant::now() + Duration::from_secs(5);
    while Client::try_connect(port).is_ok() {
        assert!(Instant::now() < until, "the port is still open");
        thread::yield_now();
    }
}

/// Asks `met` again and again until it says yes.
#[track_caller]
fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !met() {
        assert!(Instant::now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn files(folder: &Path) -> Vec<fs::DirEntry> {
    fs::read_dir(folder).unwrap().flatten().collect()
}

fn socket(folder: &Path) -> PathBuf {
    let found = files(folder).into_iter().find(|file| file.file_type().is_ok_and(|kind| kind.is_socket()));
    found.expect("a socket in the state folder").path()
}

// --- Stopping ---

#[test]
fn d255_a_stream_that_outlasts_the_grace_ends_with_an_error_event() {
    let (_provider, _gate, daemon, mut stream) = open();
    let before = Instant::now();
    daemon.signal("TERM");
    let rest = stream.events();
    let last: Value = serde_json::from_str(&event_data(rest.last().expect("an error event"))).expect("JSON");
    assert_eq!(last["error"]["code"], "stream_interrupted", "{rest:?}");
    assert!(!rest.iter().any(|event| event.contains("[DONE]")), "{rest:?}");
    assert!(stream.ended_cleanly(), "{:?}", stream.broken());
    assert_eq!(daemon.wait_exit(Duration::from_secs(10)), 0);
    let took = before.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(20)).contains(&took), "{took:?}");
}

#[test]
fn d255_a_stream_that_ends_within_the_grace_is_whole() {
    let (_provider, gate, daemon, mut stream) = open();
    daemon.signal("TERM");
    wait_closed(daemon.port());
    gate.open();
    let rest = stream.events();
    assert!(rest.iter().any(|event| event.contains("second")), "{rest:?}");
    assert_eq!(rest.last().map(|event| event_data(event)), Some("[DONE]".to_owned()));
    assert_eq!(daemon.wait_exit(Duration::from_secs(2)), 0);
}

#[test]
fn what_finished_during_the_grace_is_in_the_log() {
    let (_provider, gate, daemon, mut stream) = open();
    daemon.signal("TERM");
    wait_closed(daemon.port());
    gate.open();
    stream.read_to_end();
    assert_eq!(daemon.wait_exit(Duration::from_secs(2)), 0);
    assert_eq!(daemon.logs()[0]["outcome"], "served");
}

#[test]
fn after_sigterm_no_connection_is_taken() {
    let (_provider, gate, daemon, stream) = open();
    daemon.signal("TERM");
    wait_closed(daemon.port());
    assert!(daemon.process().is_running());
    gate.open();
    drop(stream);
}

#[test]
fn d257_idle_connections_do_not_delay_the_end() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let mut clients: Vec<Client> = (0..10).map(|_| daemon.client()).collect();
    for client in clients.iter_mut().take(5) {
        assert_eq!(client.post_chat(ASK).status, 200);
    }
    let before = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(5)), 0);
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
}

#[test]
fn a_half_sent_request_does_not_delay_the_end_beyond_the_grace() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let mut client = daemon.client();
    client.send_raw("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n");
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(12)), 0);
}

#[test]
fn d256_a_second_signal_ends_it_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("INT", "TERM")] {
        let (_provider, _gate, daemon, _stream) = open();
        daemon.signal(first);
        // Two signals at the same moment are one.
        wait_closed(daemon.port());
        let before = Instant::now();
        daemon.signal(second);
        assert_eq!(daemon.wait_exit(Duration::from_secs(5)), 0);
        assert!(before.elapsed() < Duration::from_secs(1), "{first} {second}: {:?}", before.elapsed());
    }
}

#[test]
fn stop_ends_it_with_exit_0_and_a_second_stop_is_exit_3() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    daemon.run(&["stop"]).expect_code(0);
    assert_eq!(daemon.wait_exit(Duration::from_secs(2)), 0);
    daemon.run(&["stop"]).expect_code(3);
}

#[test]
fn d258_sigterm_during_validation_ends_it_and_leaves_nothing_in_the_way() {
    let provider = Provider::start();
    provider.models(Reply::hang());
    let config = chain_config(&[("a", &provider)]);
    let (home, process) = Daemon::builder().config(&config).spawn_only();
    eventually("the validation", || provider.connections() > 0);
    process.signal("TERM");
    assert_eq!(process.wait_exit(Duration::from_secs(2)), 0);
    provider.models(Reply::model_list(&["m1"]));
    let daemon = Daemon::builder().home(home).config(config).start();
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
}

#[test]
fn d260_signals_without_a_meaning_do_not_end_it() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    for name in ["USR1", "USR2", "PIPE", "WINCH", "CHLD", "URG"] {
        daemon.signal(name);
        assert_eq!(post_chat(daemon.port(), ASK).status, 200, "{name}");
    }
    assert!(daemon.process().is_running());
}

#[test]
fn d261_a_stopped_process_goes_on_when_it_is_continued() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    daemon.signal("STOP");
    let mut client = daemon.client();
    client.send("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
    daemon.signal("CONT");
    assert_eq!(client.read_response("POST").unwrap().status, 200);
}

// --- One instance ---

#[test]
fn d218_a_second_daemon_says_where_the_first_runs_and_leaves_it_alone() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let path = daemon.config_path().display().to_string();
    let second = daemon.run(&["serve", "--config", &path, "--port", "0"]).expect_code(1);
    for text in [daemon.pid().to_string(), format!("127.0.0.1:{}", daemon.port()), env!("CARGO_PKG_VERSION").to_owned()] {
        assert!(second.stderr.contains(&text), "{text}: {}", second.stderr);
    }
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    daemon.run(&["status"]).expect_code(0);
}

#[test]
fn a_second_daemon_with_a_state_folder_of_its_own_runs_beside_the_first() {
    let provider = Provider::start();
    let (one, two) = (Daemon::start(chain_config(&[("a", &provider)])), Daemon::start(chain_config(&[("a", &provider)])));
    assert_ne!(one.port(), two.port());
    for daemon in [&one, &two] {
        assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    }
}

#[test]
fn d236_of_20_that_start_at_once_exactly_one_serves() {
    let provider = Provider::start();
    let home = Home::new();
    let path = home.write("routor.toml", chain_config(&[("a", &provider)])).display().to_string();
    let args = ["serve", "--config", &path, "--port", "0"];
    let starts: Vec<Process> = (0..20).map(|_| home.spawn(&args, Input::Null)).collect();
    eventually("the end of all but one", || starts.iter().filter(|start| start.is_running()).count() <= 1);
    let (running, ended): (Vec<_>, Vec<_>) = starts.into_iter().partition(Process::is_running);
    assert_eq!(running.len(), 1);
    for start in ended {
        let end = start.finish(Duration::from_secs(5));
        assert_eq!(end.code, 1, "{}", end.stderr);
        assert!(end.stderr.contains("already runs"), "{}", end.stderr);
    }
    running[0].wait_stderr("listening on");
    home.run(&["status"]).expect_code(0);
}

#[test]
fn d217_what_a_crash_left_is_recovered() {
    let provider = Provider::start();
    let config = chain_config(&[("a", &provider)]);
    let mut home = Home::new();
    for _ in 0..3 {
        let daemon = Daemon::builder().home(home).config(&config).start();
        assert_eq!(post_chat(daemon.port(), ASK).status, 200);
        daemon.run(&["status"]).expect_code(0);
        home = daemon.into_home();
        home.run(&["status"]).expect_code(3);
    }
}

#[test]
fn d219_a_regular_file_in_the_sockets_place_is_refused_and_kept() {
    let provider = Provider::start();
    let config = chain_config(&[("a", &provider)]);
    let daemon = Daemon::start(config.clone());
    let path = socket(&daemon.state_dir());
    let home = daemon.into_home();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    let config_path = home.write("routor.toml", config).display().to_string();
    let end = home.run(&["serve", "--config", &config_path, "--port", "0"]);
    assert!(matches!(end.code, 1 | 2), "{}", end.code);
    assert!(end.stderr.contains(&path.display().to_string()), "{}", end.stderr);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn d225_noise_on_the_local_socket_disturbs_nobody() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let path = socket(&daemon.state_dir());
    let mut silent = Vec::new();
    for noise in [&b""[..], b"{\"command\":", b"\xff\xfe\x00\n", b"{}\n", b"{\"command\":\"dance\"}\n", b"[[[[[[[[\n", &[b'x'; 300_000]] {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let _ = stream.write_all(noise);
        silent.push(stream);
    }
    for _ in 0..200 {
        drop(UnixStream::connect(&path).unwrap());
    }
    daemon.run(&["status"]).expect_code(0);
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
}

// --- Reload ---

/// Providers `a` and `b` with the answers "from a" and "from b", and a daemon
/// that knows only `a`.
fn before_reload() -> (Provider, Provider, Daemon) {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::answer("from a"));
    b.always(Reply::answer("from b"));
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    assert_eq!(answered(&daemon), "from a");
    (a, b, daemon)
}

#[track_caller]
fn answered(daemon: &Daemon) -> String {
    let response = post_chat(daemon.port(), ASK);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

#[test]
fn after_reload_the_new_chain_is_used() {
    let (_a, b, daemon) = before_reload();
    daemon.rewrite_config(&chain_config(&[("b", &b)]));
    daemon.run(&["reload"]).expect_code(0);
    assert_eq!(answered(&daemon), "from b");
}

#[test]
fn d239_after_sighup_the_new_chain_is_used() {
    let (_a, b, daemon) = before_reload();
    daemon.rewrite_config(&chain_config(&[("b", &b)]));
    daemon.signal("HUP");
    eventually("the new chain", || answered(&daemon) == "from b");
}

#[test]
fn d185_a_bad_file_keeps_the_old_configuration_and_says_why() {
    let (_a, b, daemon) = before_reload();
    daemon.rewrite_config(&format!("[serverr]\n{}", chain_config(&[("b", &b)])));
    let end = daemon.run(&["reload"]).expect_code(1);
    assert!(end.stderr.contains("serverr") && end.stderr.contains(":1:2"), "{}", end.stderr);
    assert_eq!(answered(&daemon), "from a");
}

#[test]
fn d185_a_bad_file_at_sighup_is_explained_on_stderr() {
    let (_a, _b, daemon) = before_reload();
    daemon.rewrite_config("[serverr]\n");
    daemon.signal("HUP");
    daemon.wait_stderr("serverr");
    assert_eq!(answered(&daemon), "from a");
}

#[test]
fn a_file_that_has_gone_keeps_the_old_configuration() {
    let (_a, _b, daemon) = before_reload();
    fs::remove_file(daemon.config_path()).unwrap();
    let end = daemon.run(&["reload"]).expect_code(1);
    assert!(end.stderr.contains("routor.toml"), "{}", end.stderr);
    assert_eq!(answered(&daemon), "from a");
}

#[test]
fn d185_streams_in_flight_survive_a_reload() {
    let (_a, gate, daemon, mut stream) = open();
    let b = Provider::start();
    b.always(Reply::answer("from b"));
    daemon.rewrite_config(&chain_config(&[("b", &b)]));
    daemon.run(&["reload"]).expect_code(0);
    assert_eq!(answered(&daemon), "from b");
    gate.open();
    let rest = stream.events();
    assert!(rest.iter().any(|event| event.contains("second")), "{rest:?}");
    assert_eq!(rest.last().map(|event| event_data(event)), Some("[DONE]".to_owned()));
}

#[test]
fn a_change_of_the_file_alone_changes_nothing() {
    let (_a, b, daemon) = before_reload();
    daemon.rewrite_config(&chain_config(&[("b", &b)]));
    assert_eq!(answered(&daemon), "from a");
}

#[test]
fn a_rejected_provider_is_back_after_a_reload_with_a_working_key_file() {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::answer("from a")).models(Reply::status(401));
    let home = Home::new();
    let key = home.write("key", "old\n");
    let config = chain_config(&[("a", &a), ("b", &b)]).replacen("api_key_env = \"\"", &format!("api_key_file = \"{}\"", key.display()), 1);
    let daemon = Daemon::builder().home(home).config(config).start();
    assert_eq!(answered(&daemon), "hello");
    assert_eq!(a.count(), 0);
    daemon.home().write("key", "new\n");
    a.model_ids(&["m1"]);
    daemon.run(&["reload"]).expect_code(0);
    assert_eq!(answered(&daemon), "from a");
    assert_eq!(a.chats()[0].header("authorization"), Some("Bearer new"));
}

#[test]
fn an_unreachable_provider_is_back_after_a_reload() {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::answer("from a"));
    a.stop();
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    assert_eq!(answered(&daemon), "hello");
    a.restart();
    assert_eq!(answered(&daemon), "hello");
    daemon.run(&["reload"]).expect_code(0);
    assert_eq!(answered(&daemon), "from a");
}

#[test]
fn reload_forgets_that_there_was_no_credit() {
    let (a, b) = (Provider::start(), Provider::start());
    a.then(Reply::status(402)).always(Reply::answer("from a"));
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    assert_eq!((answered(&daemon), answered(&daemon)), ("hello".to_owned(), "hello".to_owned()));
    assert_eq!(a.count(), 1);
    daemon.run(&["reload"]).expect_code(0);
    assert_eq!(answered(&daemon), "from a");
}

#[test]
fn recheck_brings_an_unreachable_provider_back() {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::answer("from a"));
    a.stop();
    let daemon = Daemon::start(chain_config_with(&[("a", &a), ("b", &b)], "[validation]\nrecheck = \"1s\"\n"));
    assert_eq!(answered(&daemon), "hello");
    a.restart();
    eventually("the provider", || answered(&daemon) == "from a");
}

#[test]
fn without_recheck_an_unreachable_provider_stays_away() {
    let (a, b) = (Provider::start(), Provider::start());
    a.stop();
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    a.restart();
    for _ in 0..20 {
        assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    }
    assert_eq!(a.requests().len(), 0);
}

// --- Starting ---

#[test]
fn d183_a_port_that_another_program_has_is_exit_1_and_said() {
    let provider = Provider::start();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let started = Instant::now();
    let end = Daemon::builder().config(chain_config(&[("a", &provider)])).without_port().arg("--port").arg(&port).start_expecting_exit();
    assert_eq!(end.code, 1, "{}", end.stderr);
    assert!(end.stderr.contains(&port) && end.stderr.contains("another program") && !end.stderr.contains("already runs"), "{}", end.stderr);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_daemon_after_another_takes_the_same_port_at_once() {
    let provider = Provider::start();
    let port = free_port().to_string();
    let start =
        |home| Daemon::builder().home(home).config(chain_config(&[("a", &provider)])).without_port().arg("--port").arg(&port).start();
    let mut home = Home::new();
    for _ in 0..3 {
        let daemon = start(home);
        let mut client = daemon.client();
        assert_eq!(client.post_chat(ASK).status, 200);
        home = daemon.into_home();
    }
}

#[test]
fn d184_port_0_takes_a_free_port_and_prints_it() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    assert_ne!(daemon.port(), 0);
    assert_eq!(get(daemon.port(), "/health").status, 200);
    assert_eq!(daemon.process().stdout(), "");
}

#[test]
fn the_start_shows_each_provider_with_its_address_and_result() {
    let (a, dead) = (Provider::start(), Provider::start());
    dead.stop();
    let daemon = Daemon::start(chain_config(&[("aaa", &a), ("dead", &dead)]));
    let said = daemon.stderr();
    for text in ["aaa", &a.base_url(), "dead", &dead.base_url(), "unreachable"] {
        assert!(said.contains(text), "{text}: {said}");
    }
}

#[test]
fn no_provider_left_is_the_table_and_exit_1_and_the_port_stays_closed() {
    let dead = Provider::start();
    dead.models(Reply::hang());
    let port = free_port();
    let config = chain_config_with(&[("dead", &dead)], "[validation]\ntimeout = \"1s\"\n");
    let (_home, process) = Daemon::builder().config(config).without_port().arg("--port").arg(&port.to_string()).spawn_only();
    eventually("the validation", || dead.connections() > 0);
    while process.is_running() {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port was opened");
        thread::sleep(Duration::from_millis(10));
    }
    let end = process.finish(Duration::from_secs(1)).expect_code(1);
    assert!(end.stderr.contains("dead") && end.stderr.contains("unreachable") && end.stderr.contains("routor check"), "{}", end.stderr);
}

#[test]
fn d172_the_port_opens_after_the_time_limit_though_a_provider_is_silent() {
    let (slow, quick) = (Provider::start(), Provider::start());
    slow.models(Reply::hang());
    let started = Instant::now();
    let daemon = Daemon::start(chain_config_with(&[("slow", &slow), ("quick", &quick)], "[validation]\ntimeout = \"500ms\"\n"));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(answered(&daemon), "hello");
    assert_eq!((slow.count(), quick.count()), (0, 1));
}

#[test]
fn nothing_configured_is_exit_2() {
    let end = routor(&["serve", "--port", "0"], &[]).expect_code(2);
    assert!(end.stderr.contains("OPENAI_API_KEY") && end.stderr.contains("--demo"), "{}", end.stderr);
}

#[test]
fn d241_a_wrong_file_is_exit_2() {
    Daemon::builder().config("[serverr]\n").start_expecting_exit().expect_code(2);
}

#[test]
fn d171_wait_goes_on_until_a_provider_appears() {
    let provider = Provider::start();
    provider.stop();
    let config = chain_config(&[("a", &provider)]);
    let (home, process) = Daemon::builder().config(config).arg("--wait=10s").spawn_only();
    process.wait_stderr("unreachable");
    provider.restart();
    process.wait_stderr("listening on");
    assert_eq!(home.run(&["chat", "--no-stdin", "hi"]).expect_code(0).stdout, "hello\n");
    process.signal("TERM");
    assert_eq!(process.wait_exit(Duration::from_secs(2)), 0);
}

#[test]
fn d171_wait_gives_up_when_its_time_is_over() {
    let provider = Provider::start();
    provider.stop();
    let started = Instant::now();
    Daemon::builder().config(chain_config(&[("a", &provider)])).arg("--wait=1s").start_expecting_exit().expect_code(1);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[test]
fn a_daemon_that_waits_ends_at_a_signal_with_exit_0() {
    let provider = Provider::start();
    provider.stop();
    let (_home, process) = Daemon::builder().config(chain_config(&[("a", &provider)])).arg("--wait").spawn_only();
    process.wait_stderr("unreachable");
    process.signal("TERM");
    assert_eq!(process.wait_exit(Duration::from_secs(2)), 0);
}

// --- The commands that talk to it ---

#[test]
fn d235_status_stop_and_reload_are_exit_3_when_it_does_not_run() {
    let home = Home::new();
    for command in ["status", "stop", "reload"] {
        let end = home.run(&[command]).expect_code(3);
        assert!(end.stderr.contains("not running") && end.stdout.is_empty(), "{command}: {}{}", end.stdout, end.stderr);
    }
}

#[test]
fn status_says_where_it_runs_and_how_its_providers_are() {
    let (a, dead) = (Provider::start(), Provider::start());
    dead.stop();
    let daemon = Daemon::start(chain_config(&[("aaa", &a), ("dead", &dead)]));
    let end = daemon.run(&["status"]).expect_code(0);
    for text in [&daemon.pid().to_string(), &daemon.url(), "aaa", "ok", env!("CARGO_PKG_VERSION")] {
        assert!(end.stdout.contains(text), "{text}: {}", end.stdout);
    }
}

#[test]
fn status_names_removed_providers_and_what_brings_them_back() {
    let (a, bad, dead) = (Provider::start(), Provider::start(), Provider::start());
    bad.models(Reply::status(401));
    dead.stop();
    let config = format!(
        "{}[providers.bad]\nbase_url = \"{}\"\napi_key_env = \"BAD_KEY\"\n",
        chain_config(&[("aaa", &a), ("dead", &dead)]).replace("only = [", "only = [\"bad\", "),
        bad.base_url()
    );
    let daemon = Daemon::builder().config(config).env("BAD_KEY", "sk-canary").start();
    let end = daemon.run(&["status"]).expect_code(0);
    let said = format!("{}{}", end.stdout, end.stderr);
    for text in ["dead", "unreachable", "bad", "rejected", "routor reload", "restart"] {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn status_json_is_one_document_and_shows_no_key() {
    let a = Provider::start();
    let daemon = Daemon::builder().config(chain_config(&[("a", &a)])).env("ROUTOR_API_KEY", "client-canary").start();
    let end = daemon.run(&["status", "--json"]).expect_code(0);
    let value: Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!((&value["running"], &value["pid"]), (&json!(true), &json!(daemon.pid())));
    assert!(!end.stdout.contains("canary"));
}

// --- What is on disk ---

#[track_caller]
fn assert_private(folder: &Path) {
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700, "{}", folder.display());
    let files = files(folder);
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        assert_eq!(mode(&file.path()) & 0o077, 0, "{}: {:o}", file.path().display(), mode(&file.path()));
    }
}

/// The same command under this umask.
fn with_umask(umask: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("umask {umask}; exec \"$0\" \"$@\"")).arg(command.get_program()).args(command.get_args()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

#[test]
fn d253_the_state_folder_is_the_users_alone_whatever_the_umask() {
    let provider = Provider::start();
    for umask in ["000", "022"] {
        let home = Home::new();
        let path = home.write("routor.toml", chain_config(&[("a", &provider)])).display().to_string();
        let command = home.command(&["serve", "--config", &path, "--port", "0"]);
        let process = Process::spawn(with_umask(umask, &command), Input::Null);
        process.wait_stderr("listening on");
        home.run(&["chat", "--no-stdin", "hi"]).expect_code(0);
        eventually("the record", || !home.run(&["logs", "--all"]).stdout.is_empty());
        assert_private(&home.state_dir());
    }
}

#[test]
fn d253_a_log_that_chat_makes_is_the_users_alone() {
    let provider = Provider::start();
    let home = Home::new();
    home.write("c/routor/routor.toml", chain_config(&[("a", &provider)]));
    let command = home.command(&["chat", "--no-stdin", "hi"]);
    Process::spawn(with_umask("000", &command), Input::Null).finish(Duration::from_secs(10)).expect_code(0);
    let folder = home.state_dir();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for file in files(&folder) {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
    }
}

#[test]
fn d216_a_state_folder_that_others_can_enter_is_closed_or_refused() {
    let provider = Provider::start();
    let home = Home::new();
    fs::create_dir(home.state_dir()).unwrap();
    fs::set_permissions(home.state_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::builder().home(home).config(chain_config(&[("a", &provider)])).start();
    assert_private(&daemon.state_dir());
}

#[test]
fn the_state_flag_is_an_independent_instance() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let other = daemon.home().path().join("other").display().to_string();
    daemon.run(&["--state", &other, "status"]).expect_code(3);
    daemon.run(&["status"]).expect_code(0);
}

// --- The demo ---

#[test]
fn the_demo_serves_without_any_key_and_falls_back() {
    let daemon = Daemon::builder().arg("--demo").env("DEBUG_ROUTING", "1").start();
    let response = post_chat(daemon.port(), ASK);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-routor-fallback"), Some("true"));
    assert!(response.text().contains("simulated"), "{}", response.text());
    assert!(daemon.stderr().contains("DEMO"), "{}", daemon.stderr());
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(3)), 0);
}

#[test]
fn the_demo_streams() {
    let daemon = Daemon::builder().arg("--demo").start();
    let events = open_stream(daemon.port(), STREAM).events();
    assert!(events.len() > 3, "{events:?}");
    assert_eq!(events.last().map(|event| event_data(event)), Some("[DONE]".to_owned()));
}

#[test]
fn the_demo_leaves_the_state_folder_alone_and_runs_beside_a_daemon() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let demo = daemon.spawn(&["serve", "--demo", "--port", "0"], Input::Null);
    demo.wait_stderr("listening on");
    let status: Value = serde_json::from_str(&daemon.run(&["status", "--json"]).expect_code(0).stdout).unwrap();
    assert_eq!(status["pid"], json!(daemon.pid()));
    assert_eq!(daemon.logs().len(), 0);
}

#[test]
fn the_demo_takes_another_port_when_the_usual_one_is_taken() {
    // When this cannot have the port, somebody else has it, which is as good.
    let _taken = TcpListener::bind("127.0.0.1:4117");
    let daemon = Daemon::builder().arg("--demo").without_port().start();
    assert_ne!(daemon.port(), 4117);
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
}

#[test]
fn the_demos_temporary_folder_is_gone_after_it() {
    let home = Home::new();
    let temp = home.path().join("t");
    fs::create_dir(&temp).unwrap();
    let mut command = home.command(&["serve", "--demo", "--port", "0"]);
    command.env("TMPDIR", &temp);
    let process = Process::spawn(command, Input::Null);
    process.wait_stderr("listening on");
    assert_eq!(files(&temp).len(), 1);
    process.signal("TERM");
    assert_eq!(process.wait_exit(Duration::from_secs(3)), 0);
    assert_eq!(files(&temp).len(), 0);
}

#[test]
fn d211_the_ports_of_the_demo_are_on_loopback_alone() {
    let daemon = Daemon::builder().arg("--demo").start();
    let listening = fs::read_to_string(format!("/proc/{}/net/tcp", daemon.pid())).unwrap();
    let own: Vec<String> = fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok()?.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect();
    let mut seen = 0;
    for line in listening.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields[3] == "0A" && own.iter().any(|inode| inode == fields[9]) {
            seen += 1;
            assert!(fields[1].starts_with("0100007F:"), "{line}");
        }
    }
    assert!(seen >= 4, "{listening}");
}

#[test]
fn a_request_during_a_reload_is_answered() {
    let (a, b, daemon) = before_reload();
    let port = daemon.port();
    let stop = Gate::new();
    let asking = {
        let stop = stop.clone();
        thread::spawn(move || {
            let mut statuses = Vec::new();
            let mut client = Client::connect(port);
            while !stop.opens_within(Duration::ZERO) {
                statuses.push(client.post_chat(ASK).status);
            }
            statuses
        })
    };
    for round in 0..6 {
        let provider = if round % 2 == 0 { &b } else { &a };
        daemon.rewrite_config(&chain_config(&[("x", provider)]));
        daemon.run(&["reload"]).expect_code(0);
    }
    stop.open();
    let statuses = asking.join().unwrap();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

#[test]
fn status_shows_each_provider_once() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("first-one", &a), ("second-one", &b)]));
    let shown = daemon.run(&["status"]).expect_code(0).stdout;
    for name in ["first-one", "second-one"] {
        assert_eq!(shown.lines().filter(|line| line.contains(name)).count(), 1, "{shown}");
    }
}
