//! The life of the daemon: what a reload changes, what the commands that talk
//! to it say, what is on disk, and the demo.

mod support;

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{
    Client, Daemon, Gate, Home, Input, Process, Provider, Reply, Step, StreamReader, chain_config, chain_config_with, content, done,
    event_data, finish, open_stream, post_chat, role,
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

/// Asks `met` again and again until it says yes.
#[track_caller]
fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !met() {
        assert!(Instant::now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

fn files(folder: &Path) -> Vec<fs::DirEntry> {
    fs::read_dir(folder).unwrap().flatten().collect()
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
fn d166_an_unreachable_provider_is_back_after_a_reload() {
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
fn d171_recheck_brings_an_unreachable_provider_back() {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::answer("from a"));
    a.stop();
    let daemon = Daemon::start(chain_config_with(&[("a", &a), ("b", &b)], "[validation]\nrecheck = \"1s\"\n"));
    assert_eq!(answered(&daemon), "hello");
    a.restart();
    eventually("the provider", || answered(&daemon) == "from a");
}

#[test]
fn d166_without_recheck_an_unreachable_provider_stays_away() {
    let (a, b) = (Provider::start(), Provider::start());
    a.stop();
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    a.restart();
    for _ in 0..20 {
        assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    }
    assert_eq!(a.requests().len(), 0);
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
fn d200_status_json_is_one_document_and_shows_no_key() {
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

/// Each port that text names at 127.0.0.1.
fn ports(text: &str) -> HashSet<u16> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    text.split("127.0.0.1:").skip(1).filter_map(|rest| digits(rest).parse().ok()).collect()
}

#[test]
fn d211_the_ports_of_the_demo_are_on_loopback_alone() {
    let daemon = Daemon::builder().arg("--demo").start();
    let ports = ports(&daemon.stderr());
    assert!(ports.len() >= 4, "the port and three providers: {}", daemon.stderr());
    let mut seen = HashSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (address, port) = fields[1].split_once(':').unwrap();
            let port = u16::from_str_radix(port, 16).unwrap();
            // 0A is LISTEN.
            if fields[3] == "0A" && ports.contains(&port) {
                seen.insert(port);
                assert!(["0100007F", "00000000000000000000000001000000"].contains(&address), "{line}");
            }
        }
    }
    assert_eq!(seen, ports);
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
