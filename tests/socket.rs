//! The local socket and the state folder it lives in: one daemon for each
//! folder, and clients of every kind.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{ASK, Daemon, Finished, Home, Input, Process, Provider, chain_config, post_chat};

/// A provider that works, and a daemon with it.
fn daemon() -> (Provider, Daemon) {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    (provider, daemon)
}

/// Asks `met` again and again until it says yes.
#[track_caller]
fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !met() {
        assert!(Instant::now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

fn socket(folder: &Path) -> PathBuf {
    let mut files = fs::read_dir(folder).unwrap().flatten();
    files.find(|file| file.file_type().is_ok_and(|kind| kind.is_socket())).expect("a socket in the state folder").path()
}

/// A client of the socket that says what the test wants.
struct Caller(BufReader<UnixStream>);

impl Caller {
    /// Connects and takes the greeting.
    #[track_caller]
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        stream.set_write_timeout(Some(support::PATIENCE)).unwrap();
        let mut caller = Self(BufReader::new(stream));
        assert_eq!(caller.line()["hello"], "routor");
        caller
    }

    fn say(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_ref().write_all(bytes)
    }

    /// The next line.
    #[track_caller]
    fn line(&mut self) -> Value {
        let mut text = String::new();
        self.0.read_line(&mut text).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|problem| panic!("{problem}: {text:?}"))
    }

    /// A client that follows what happens from now on.
    #[track_caller]
    fn follower(path: &Path) -> Self {
        let mut caller = Self::connect(path);
        caller.say(b"{\"command\":\"events\"}\n").unwrap();
        assert!(caller.line()["subscribed"]["after"].is_i64());
        caller
    }

    /// Waits until the daemon has closed the connection.
    #[track_caller]
    fn closed_within(mut self, bound: Duration) {
        self.0.get_ref().set_read_timeout(Some(bound)).unwrap();
        match self.0.read_to_end(&mut Vec::new()) {
            Ok(_) => {}
            Err(problem) => assert_eq!(problem.kind(), ErrorKind::ConnectionReset, "{problem}"),
        }
    }
}

// --- The state folder ---

#[test]
fn d216_a_state_folder_that_is_missing_is_made_for_the_user_alone() {
    let provider = Provider::start();
    let home = Home::new();
    let config = home.write("routor.toml", chain_config(&[("a", &provider)])).display().to_string();
    let folder = home.path().join("not/there/yet");
    let state = folder.display().to_string();
    let process = home.spawn(&["--state", &state, "serve", "--config", &config, "--port", "0"], Input::Null);
    process.wait_stderr("listening on");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&socket(&folder)) & 0o077), (0o700, 0));
    home.run(&["--state", &state, "status"]).expect_code(0);
}

/// `serve` with this at the socket's place must refuse and leave it there.
#[track_caller]
fn assert_refused(make: impl FnOnce(&Path)) -> PathBuf {
    let (provider, daemon) = daemon();
    let path = socket(&daemon.state_dir());
    let home = daemon.into_home();
    fs::remove_file(&path).unwrap();
    make(&path);
    let config = home.write("routor.toml", chain_config(&[("a", &provider)])).display().to_string();
    let before = fs::symlink_metadata(&path).unwrap().file_type();
    let end = home.run(&["serve", "--config", &config, "--port", "0"]);
    assert!(matches!(end.code, 1 | 2), "{}", end.code);
    assert!(end.stderr.contains(&path.display().to_string()), "{}", end.stderr);
    assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), before);
    // The home goes with its folder when the test ends; what is in it was looked at here.
    assert!(fs::read_to_string(&path).is_ok_and(|text| text == "precious") || before.is_dir());
    path
}

#[test]
fn d219_a_regular_file_in_the_sockets_place_is_refused_and_kept() {
    assert_refused(|path| fs::write(path, "precious").unwrap());
}

#[test]
fn d219_a_folder_in_the_sockets_place_is_refused_and_kept() {
    assert_refused(|path| fs::create_dir(path).unwrap());
}

#[test]
fn d216_a_link_in_the_sockets_place_is_refused_and_what_it_names_is_kept() {
    assert_refused(|path| {
        let target = path.with_extension("else");
        fs::write(&target, "precious").unwrap();
        symlink(target, path).unwrap();
    });
}

// --- One instance ---

#[test]
fn d218_a_second_daemon_says_where_the_first_runs_and_leaves_it_alone() {
    let (_provider, daemon) = daemon();
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

// STARTS=100 tries more than the usual number.
#[test]
fn d236_of_many_that_start_at_once_exactly_one_serves() {
    let provider = Provider::start();
    let home = Home::new();
    let path = home.write("routor.toml", chain_config(&[("a", &provider)])).display().to_string();
    let args = ["serve", "--config", &path, "--port", "0"];
    let count = std::env::var("STARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let starts: Vec<Process> = (0..count).map(|_| home.spawn(&args, Input::Null)).collect();
    eventually("the end of all but one", || starts.iter().filter(|start| start.is_running()).count() <= 1);
    let (running, ended): (Vec<_>, Vec<_>) = starts.into_iter().partition(Process::is_running);
    assert_eq!(running.len(), 1);
    for start in ended {
        let end = start.finish(Duration::from_secs(5)).expect_code(1);
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
        assert!(socket(&home.state_dir()).exists(), "a crash leaves the socket's file");
        home.run(&["status"]).expect_code(3);
    }
}

#[test]
fn d235_stop_is_exit_0_and_a_second_stop_is_exit_3() {
    let (_provider, daemon) = daemon();
    daemon.run(&["stop"]).expect_code(0);
    assert_eq!(daemon.wait_exit(Duration::from_secs(5)), 0);
    let again = daemon.run(&["stop"]).expect_code(3);
    assert!(again.stderr.contains("not running"), "{}", again.stderr);
}

#[test]
fn d235_a_foreign_process_that_has_the_dead_daemons_number_is_left_alone() {
    let (provider, daemon) = daemon();
    let home = daemon.into_home();
    let mut sleep = Command::new("sleep");
    sleep.arg("60");
    let foreign = Process::spawn(sleep, Input::Null);
    fs::write(home.state_dir().join("routor.lock"), format!("{}\n", foreign.pid())).unwrap();
    for command in ["stop", "reload", "status"] {
        home.run(&[command]).expect_code(3);
    }
    // A number in a file keeps nobody from starting.
    let daemon = Daemon::builder().home(home).config(chain_config(&[("a", &provider)])).start();
    daemon.run(&["stop"]).expect_code(0);
    assert!(foreign.is_running());
}

// --- Clients that misbehave ---

#[test]
fn d225_noise_on_the_local_socket_disturbs_nobody() {
    let (_provider, daemon) = daemon();
    let path = socket(&daemon.state_dir());
    let mut silent = Vec::new();
    for noise in [&b""[..], b"{\"command\":", b"\xff\xfe\x00\n", b"{}\n", b"{\"command\":\"dance\"}\n", b"[[[[[[[[\n", &[b'x'; 300_000]] {
        let caller = Caller::connect(&path);
        let _ = caller.say(noise);
        silent.push(caller);
    }
    daemon.run(&["status"]).expect_code(0);
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
}

#[test]
fn d225_a_line_without_an_end_is_cut_off() {
    let (_provider, daemon) = daemon();
    let path = socket(&daemon.state_dir());
    for byte in [b'x', b'[', b'"', 0xff] {
        let caller = Caller::connect(&path);
        let part = vec![byte; 64 << 10];
        // 1 GB would follow; a small part of it is all that is ever taken.
        let taken = (0..16_384).take_while(|_| caller.say(&part).is_ok()).count();
        assert!(taken < 64, "{taken} parts of 64 KiB were taken");
    }
    daemon.run(&["status"]).expect_code(0);
}

// Takes 5 s: the time that a client has to say what it wants.
#[test]
fn d225_a_client_that_does_not_say_what_it_wants_is_let_go() {
    let (_provider, daemon) = daemon();
    let path = socket(&daemon.state_dir());
    let (silent, half) = (Caller::connect(&path), Caller::connect(&path));
    half.say(b"{\"command\":\"sta").unwrap();
    daemon.run(&["status"]).expect_code(0);
    let started = Instant::now();
    silent.closed_within(Duration::from_secs(20));
    half.closed_within(Duration::from_secs(20));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[cfg(target_os = "linux")]
/// How long the processor has worked for this process, in hundredths of a second.
fn worked(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[cfg(target_os = "linux")]
/// How many files the process has had room for so far. Nobody else may look at
/// the files themselves.
fn room_for_files(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap().trim().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn d226_10_000_clients_that_leave_at_once_leave_nothing_behind() {
    let (_provider, daemon) = daemon();
    let path = socket(&daemon.state_dir());
    for _ in 0..10_000 {
        drop(UnixStream::connect(&path).unwrap());
    }
    daemon.run(&["status"]).expect_code(0);
    assert!(room_for_files(daemon.pid()) <= 4096, "connections were kept");
    // A second of nothing to do, in which nothing may be done.
    let busy = worked(daemon.pid());
    thread::sleep(Duration::from_secs(1));
    assert!(worked(daemon.pid()) - busy < 50, "it works though there is nothing to do");
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
}

#[test]
fn d227_500_followers_are_all_served_though_one_never_reads() {
    let (_provider, daemon) = daemon();
    let path = socket(&daemon.state_dir());
    let _never_reads = Caller::follower(&path);
    // Elsewhere a process may not open so many files.
    let count = if cfg!(target_os = "linux") { 499 } else { 99 };
    let mut followers: Vec<Caller> = (0..count).map(|_| Caller::follower(&path)).collect();
    let mut client = daemon.client();
    for _ in 0..20 {
        let started = Instant::now();
        assert_eq!(client.post_chat(ASK).status, 200);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
    for follower in &mut followers {
        for _ in 0..20 {
            assert_eq!(follower.line()["request"]["outcome"], "served");
        }
    }
}

#[test]
fn d227_a_follower_that_does_not_read_is_told_how_much_it_missed() {
    const SENT: u64 = 2500;
    let (_provider, daemon) = daemon();
    let mut follower = Caller::follower(&socket(&daemon.state_dir()));
    let unknown = json!({"model": "nobody-has-this", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let mut client = daemon.client();
    for _ in 0..SENT {
        assert_eq!(client.post_chat(&unknown).status, 404);
    }
    let (mut shown, mut missed) = (0, 0);
    while shown + missed < SENT {
        let line = follower.line();
        match line["missed"].as_u64() {
            Some(count) => missed += count,
            None => shown += u64::from(line["request"].is_object()),
        }
    }
    assert!(missed > 0, "all were kept for a reader that does not read");
    assert_eq!(shown + missed, SENT);
}

// --- Versions ---

/// A daemon of another version that greets and answers everything like this.
fn other_version(home: &Home, answer: &'static str) {
    fs::create_dir(home.state_dir()).unwrap();
    let listener = UnixListener::bind(home.state_dir().join("routor.sock")).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let hello =
                json!({"hello": "routor", "protocol": 999, "version": "99.0.0", "pid": 1, "addresses": ["127.0.0.1:1"], "new": true});
            let _ = stream.write_all(format!("{hello}\n").as_bytes());
            if BufReader::new(&stream).read_line(&mut String::new()).is_ok_and(|count| count > 0) {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
}

#[track_caller]
fn assert_names_both_versions(done: &Finished) {
    for text in ["99.0.0", env!("CARGO_PKG_VERSION"), "routor stop", "routor serve"] {
        assert!(done.stderr.contains(text), "{text}: {}", done.stderr);
    }
    assert_eq!(done.stdout, "");
}

#[test]
fn d228_a_daemon_of_another_version_is_named_with_what_helps() {
    let home = Home::new();
    other_version(&home, "{\"dance\":true}\n");
    for command in [&["status"][..], &["status", "--json"], &["reload"], &["logs", "-f"]] {
        assert_names_both_versions(&home.run(command).expect_code(1));
    }
    home.run(&["logs", "--all"]).expect_code(0);
}

#[test]
fn d228_a_daemon_of_another_version_can_be_stopped() {
    let home = Home::new();
    other_version(&home, "{\"done\":\"stopped\"}\n");
    home.run(&["stop"]).expect_code(0);
}

#[test]
fn d228_what_is_not_routor_on_the_socket_is_said_to_be_so() {
    let home = Home::new();
    fs::create_dir(home.state_dir()).unwrap();
    let listener = UnixListener::bind(home.state_dir().join("routor.sock")).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"220 mail.example ESMTP\n");
        }
    });
    let done = home.run(&["status"]).expect_code(1);
    assert!(done.stderr.contains("not routor"), "{}", done.stderr);
}

#[test]
fn d228_a_command_of_a_later_version_is_answered_in_words() {
    let (_provider, daemon) = daemon();
    let mut caller = Caller::connect(&socket(&daemon.state_dir()));
    caller.say(b"{\"command\":\"teleport\",\"to\":\"elsewhere\"}\n").unwrap();
    assert!(caller.line()["failed"].as_str().expect("words").contains("version"));
    caller.closed_within(support::PATIENCE);
}

#[test]
fn d228_fields_of_a_later_version_are_passed_over() {
    let (_provider, daemon) = daemon();
    let mut caller = Caller::connect(&socket(&daemon.state_dir()));
    caller.say(b"{\"command\":\"status\",\"depth\":7}\n").unwrap();
    assert_eq!(caller.line()["status"]["pid"], daemon.pid());
}

// --- What happens to the socket while it runs ---

#[test]
fn d229_without_its_socket_the_daemon_serves_on_and_no_second_one_takes_its_place() {
    let (_provider, daemon) = daemon();
    fs::remove_file(socket(&daemon.state_dir())).unwrap();
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    let path = daemon.config_path().display().to_string();
    let second = daemon.run(&["serve", "--config", &path, "--port", "0"]).expect_code(1);
    assert!(second.stderr.contains("already runs") && second.stderr.contains(&daemon.pid().to_string()), "{}", second.stderr);
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(5)), 0);
}

#[test]
fn d230_a_name_with_control_characters_is_harmless_while_it_is_followed() {
    let (_provider, daemon) = daemon();
    let process = daemon.spawn(&["--color", "never", "logs", "-f", "--all"], Input::Null);
    let ask = json!({"model": "x\u{1b}[2J\u{1b}]0;title\u{7}\n\u{0}\u{202e}", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    // The feed begins some time after the start: until it shows something, there is more.
    eventually("a line", || {
        assert_eq!(post_chat(daemon.port(), &ask).status, 404);
        process.stdout().contains("rejected")
    });
    let shown = process.stdout();
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\0', '\u{202e}', '\r']), "{shown:?}");
}

#[test]
fn d230_a_detail_of_a_provider_is_harmless_in_status() {
    let provider = Provider::start();
    let evil = "\u{1b}[2J\u{202e}evil";
    provider.model_ids(&[evil, "m1"]);
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    for args in [&["status"][..], &["status", "--json"]] {
        let done = daemon.run(args).expect_code(0);
        assert!(!format!("{}{}", done.stdout, done.stderr).contains(['\u{1b}', '\u{202e}']), "{:?}", done.stdout);
    }
    assert!(!daemon.stderr().contains(['\u{1b}', '\u{202e}']), "{:?}", daemon.stderr());
}

#[test]
fn d231_a_reader_that_takes_one_line_ends_logs_quietly() {
    let (_provider, daemon) = daemon();
    let mut client = daemon.client();
    for _ in 0..300 {
        assert_eq!(client.post_chat(ASK).status, 200);
    }
    daemon.wait_logs(300);
    let args = ["logs", "--all", "--json", "-n", "300"];
    let mut child = daemon.home().command(&args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with('{'), "{first}");
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn d232_a_follower_says_when_the_daemon_is_killed_and_ends() {
    let (_provider, daemon) = daemon();
    let process = daemon.spawn(&["logs", "-f", "--all"], Input::Null);
    eventually("a line", || {
        assert_eq!(post_chat(daemon.port(), ASK).status, 200);
        process.stdout().contains("served")
    });
    daemon.kill();
    let end = process.finish(support::PATIENCE).expect_code(0);
    assert!(end.stderr.contains("routor has stopped"), "{}", end.stderr);
}

// --- The command line's end of it ---

#[test]
fn d238_a_full_disk_is_an_error_of_every_command_that_prints_and_no_panic() {
    let (_provider, daemon) = daemon();
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    daemon.wait_logs(1);
    let config = daemon.config_path().display().to_string();
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["logs", "--all"],
        &["logs", "--all", "--json"],
        &["logs", "-f", "--all"],
        &["check", "--config", &config],
        &["check", "--config", &config, "--format", "json"],
        &["chat", "--no-stdin", "hi"],
        &["chat", "--no-stdin", "--json", "hi"],
        &["chat", "--no-stdin", "--explain", "hi"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let done = daemon.home().command(args).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    }
}

/// The command as a shell runs it with these redirections.
fn redirected(command: &Command, redirections: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$0\" \"$@\" {redirections}")).arg(command.get_program()).args(command.get_args()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

#[test]
fn d238_a_closed_standard_output_and_a_full_standard_error_are_no_panic() {
    let (_provider, daemon) = daemon();
    for (args, redirections, code) in
        [(&["status"][..], ">&-", 0), (&["status"], ">&- 2>&-", 0), (&["chek"], "2>/dev/full", 2), (&["logs", "--all"], "2>&-", 0)]
    {
        let done = redirected(&daemon.home().command(args), redirections).stdin(Stdio::null()).output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{args:?} {redirections}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn d238_a_daemon_whose_messages_go_nowhere_serves_on() {
    let provider = Provider::start();
    for redirections in [">/dev/full 2>&1", ">&- 2>&-"] {
        let home = Home::new();
        let config = home.write("routor.toml", chain_config(&[("a", &provider)])).display().to_string();
        let command = redirected(&home.command(&["-vv", "serve", "--config", &config, "--port", "0"]), redirections);
        let process = Process::spawn(command, Input::Null);
        let port = || -> Option<u16> {
            let status: Value = serde_json::from_str(&home.run(&["status", "--json"]).stdout).ok()?;
            status["addresses"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
        };
        eventually("the daemon", || port().is_some());
        assert_eq!(post_chat(port().unwrap(), ASK).status, 200);
        home.run(&["stop"]).expect_code(0);
        assert_eq!(process.wait_exit(Duration::from_secs(5)), 0);
    }
}

#[test]
fn d225_a_daemon_with_too_many_clients_is_not_said_to_be_stopped() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let path = daemon.state_dir().join("routor.sock");
    let clients: Vec<_> = (0..600)
        .map(|_| {
            let mut stream = BufReader::new(UnixStream::connect(&path).unwrap());
            stream.get_mut().write_all(b"{\"command\":\"events\"}\n").unwrap();
            stream.read_line(&mut String::new()).unwrap();
            stream
        })
        .collect();
    let done = daemon.run(&["status"]);
    assert!(!done.stderr.contains("not running") && done.code != 3, "{}: {}", done.code, done.stderr);
    drop(clients);
}

/// Takes half a minute: that is how often the daemon looks.
#[test]
fn d229_a_socket_whose_file_was_removed_is_there_again_within_a_minute() {
    let (_provider, daemon) = daemon();
    fs::remove_file(socket(&daemon.state_dir())).unwrap();
    daemon.run(&["status"]).expect_code(3);
    let until = Instant::now() + Duration::from_secs(60);
    while daemon.run(&["status"]).code != 0 {
        assert!(Instant::now() < until, "the socket did not come back");
        thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(fs::metadata(socket(&daemon.state_dir())).unwrap().permissions().mode() & 0o077, 0);
    daemon.run(&["stop"]).expect_code(0);
    assert_eq!(daemon.wait_exit(Duration::from_secs(5)), 0);
}

#[test]
fn d217_a_live_socket_is_not_displaced_though_the_lock_file_has_gone() {
    let (_provider, daemon) = daemon();
    fs::remove_file(daemon.state_dir().join("routor.lock")).unwrap();
    let path = daemon.config_path().display().to_string();
    let second = daemon.spawn(&["serve", "--config", &path, "--port", "0"], Input::Null);
    let end = second.finish(Duration::from_secs(10)).expect_code(1);
    assert!(end.stderr.contains("already runs") && end.stderr.contains(&daemon.pid().to_string()), "{}", end.stderr);
    let status = daemon.run(&["status", "--json"]).expect_code(0).stdout;
    assert!(status.contains(&format!("\"pid\":{}", daemon.pid())), "{status}");
}

#[test]
fn d238_help_that_cannot_be_written_is_an_error() {
    let home = Home::new();
    for args in [&["--help"][..], &["--version"], &["check", "--help"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let done = home.command(args).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(done.status.code(), Some(1), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}
