//! Signals, kills and the clock: how the daemon stops, what does not stop it,
//! and how it goes on after a crash, a standstill or a new binary.

mod support;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{
    ASK, ASK_STREAM, Client, Daemon, Gate, Home, Input, Pair, Process, Provider, Reply, Step, StreamReader, chain_config,
    chain_config_with, classes, content, done, event_data, finish, open_stream, post_chat, role, text_of,
};

/// A stream that says "first", waits for the gate, and goes on to its end.
fn gated(gate: &Gate) -> Reply {
    let rest = [content(" second"), finish("stop"), done()];
    let reply = Reply::events_then(vec![role(), content("first")], Step::WaitFor(gate.clone()));
    rest.iter().fold(reply, |reply, event| reply.and(Step::chunk(event))).and(Step::last_chunk())
}

/// An open stream that has said "first".
#[track_caller]
fn begun(daemon: &Daemon) -> StreamReader {
    let mut stream = open_stream(daemon.port(), ASK_STREAM);
    while !stream.next_event().expect("an event").contains("first") {}
    stream
}

/// A daemon with one stream that waits for the gate.
fn open() -> (Provider, Gate, Daemon, StreamReader) {
    let (provider, gate) = (Provider::start(), Gate::new());
    provider.then(gated(&gate));
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let stream = begun(&daemon);
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
    let until = Instant::now() + support::PATIENCE;
    while !met() {
        assert!(Instant::now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The stream was ended by routor, in whole events.
#[track_caller]
fn assert_interrupted(stream: &mut StreamReader) {
    let rest = stream.events();
    let last: Value = serde_json::from_str(&event_data(rest.last().expect("an error event"))).expect("JSON");
    assert_eq!(last["error"]["code"], "stream_interrupted", "{rest:?}");
    assert!(!rest.iter().any(|event| event.contains("[DONE]")), "{rest:?}");
    assert!(stream.ended_cleanly(), "{:?}", stream.broken());
}

/// The stream came to the end that its provider gave it.
#[track_caller]
fn assert_whole(stream: &mut StreamReader) {
    let rest = stream.events();
    assert!(rest.iter().any(|event| event.contains("second")), "{rest:?}");
    assert_eq!(rest.last().map(|event| event_data(event)), Some("[DONE]".to_owned()));
}

fn has_socket(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|file| file.file_type().is_ok_and(|kind| kind.is_socket()))
}

// --- Stopping ---

// Takes 10 s: the grace that is promised to requests.
#[test]
fn d255_of_100_streams_some_end_within_the_grace_and_the_others_with_an_error_event() {
    let (provider, gate, never) = (Provider::start(), Gate::new(), Gate::new());
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let open = |gate: &Gate| -> Vec<StreamReader> {
        let streams = (0..50).map(|_| {
            provider.then(gated(gate));
            begun(&daemon)
        });
        streams.collect()
    };
    let (mut quick, mut slow) = (open(&gate), open(&never));
    let before = Instant::now();
    daemon.signal("TERM");
    wait_closed(daemon.port());
    gate.open();
    quick.iter_mut().for_each(assert_whole);
    assert!(daemon.process().is_running(), "50 streams are open");
    slow.iter_mut().for_each(assert_interrupted);
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
    assert_whole(&mut stream);
    assert_eq!(daemon.wait_exit(Duration::from_secs(5)), 0);
}

#[test]
fn d255_what_finished_during_the_grace_is_in_the_log() {
    let (_provider, gate, daemon, mut stream) = open();
    daemon.signal("TERM");
    wait_closed(daemon.port());
    gate.open();
    stream.read_to_end();
    assert_eq!(daemon.wait_exit(Duration::from_secs(5)), 0);
    assert_eq!(daemon.logs()[0]["outcome"], "served");
}

#[test]
fn d255_after_sigterm_no_connection_is_taken() {
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
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}

#[test]
fn what_was_sent_before_the_end_is_answered() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    // More than are told at once of what has come.
    let mut clients: Vec<Client> = (0..150).map(|_| daemon.client()).collect();
    for client in &mut clients {
        assert_eq!(client.post_chat(ASK).status, 200);
    }
    daemon.signal("STOP");
    for client in &mut clients {
        client.send("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
    }
    daemon.signal("TERM");
    daemon.signal("CONT");
    let answered = clients.iter_mut().filter_map(|client| client.read_response("POST").ok()).filter(|answer| answer.status == 200).count();
    assert_eq!(answered, clients.len());
    assert_eq!(daemon.wait_exit(Duration::from_secs(5)), 0);
}

#[test]
fn d257_a_half_sent_request_does_not_delay_the_end_beyond_the_grace() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let mut client = daemon.client();
    client.send_raw("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n");
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(15)), 0);
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

/// The process ends well, and what it leaves is in nobody's way.
#[track_caller]
fn assert_ends_cleanly(home: Home, process: &Process, provider: &Provider) {
    process.signal("TERM");
    assert_eq!(process.wait_exit(Duration::from_secs(5)), 0, "{}", process.stderr());
    assert!(!has_socket(&home.state_dir()), "the socket is still there");
    provider.restart();
    provider.model_ids(&["m1"]);
    let daemon = Daemon::builder().home(home).config(chain_config(&[("a", provider)])).start();
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
}

#[test]
fn d258_sigterm_during_validation_ends_it_and_leaves_nothing_in_the_way() {
    let provider = Provider::start();
    provider.models(Reply::hang());
    let (home, process) = Daemon::builder().config(chain_config(&[("a", &provider)])).spawn_only();
    eventually("the validation", || provider.connections() > 0);
    assert_ends_cleanly(home, &process, &provider);
}

#[test]
fn d258_sigterm_while_it_waits_for_a_provider_ends_it_and_leaves_nothing_in_the_way() {
    let provider = Provider::start();
    provider.stop();
    let (home, process) = Daemon::builder().config(chain_config(&[("a", &provider)])).arg("--wait").spawn_only();
    process.wait_stderr("unreachable");
    assert_ends_cleanly(home, &process, &provider);
}

#[test]
fn d258_sigterm_during_a_reload_ends_it_and_leaves_nothing_in_the_way() {
    let provider = Provider::start();
    let (home, process) = Daemon::builder().config(chain_config(&[("a", &provider)])).spawn_only();
    process.wait_stderr("listening on");
    provider.models(Reply::hang());
    let before = provider.connections();
    process.signal("HUP");
    eventually("the validation", || provider.connections() > before);
    assert_ends_cleanly(home, &process, &provider);
}

// --- Signals that do not stop it ---

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

/// The command, in a shell that has done this first.
fn after(preparation: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{preparation}; exec \"$0\" \"$@\"")).arg(command.get_program()).args(command.get_args()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

#[test]
fn d239_sighup_is_a_reload_though_the_signal_was_ignored_at_the_start() {
    let (a, b) = (Provider::start(), Provider::start());
    b.always(Reply::answer("from b"));
    let home = Home::new();
    let path = home.write("routor.toml", chain_config(&[("a", &a)])).display().to_string();
    // As nohup does it.
    let command = after("trap '' HUP", &home.command(&["serve", "--config", &path, "--port", "0"]));
    let process = Process::spawn(command, Input::Null);
    process.wait_stderr("listening on");
    home.write("routor.toml", chain_config(&[("b", &b)]));
    process.signal("HUP");
    eventually("the new chain", || home.run(&["chat", "--no-stdin", "hi"]).expect_code(0).stdout == "from b\n");
    assert!(process.is_running());
}

// --- A standstill ---

/// The process does nothing for so long, as when the machine sleeps.
fn stand_still(daemon: &Daemon, time: Duration) {
    daemon.signal("STOP");
    thread::sleep(time);
    daemon.signal("CONT");
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

#[test]
fn d261_an_attempt_that_stood_still_too_long_times_out_and_the_next_answers() {
    let pair = Pair::start("[timeouts]\nresponse = \"1s\"\n");
    pair.a.then(Reply::hang());
    let mut client = pair.daemon.client();
    client.send("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
    pair.a.wait_for_chats(1);
    stand_still(&pair.daemon, Duration::from_millis(1500));
    assert_eq!(text_of(&client.read_response("POST").unwrap()), "from B");
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

// Takes 4 s and more: ticks have to be missed.
#[test]
fn d261_checks_that_were_missed_are_not_made_up_for() {
    let (a, b) = (Provider::start(), Provider::start());
    a.models(Reply::status(500));
    let daemon = Daemon::start(chain_config_with(&[("a", &a), ("b", &b)], "[validation]\nrecheck = \"1s\"\n"));
    let asked = a.requests().len();
    eventually("a check", || a.requests().len() > asked);
    stand_still(&daemon, Duration::from_secs(4));
    let before = a.requests().len();
    eventually("two checks", || a.requests().len() >= before + 2);
    let after: Vec<Instant> = a.requests()[before..].iter().map(|request| request.at).collect();
    let at_once = after.iter().filter(|at| at.duration_since(after[0]) < Duration::from_millis(400)).count();
    assert!(at_once <= 2, "{at_once} checks at once");
}

/// The stream ends with an error, and the next request is answered soon and
/// over another connection.
#[track_caller]
fn assert_fresh_start(provider: &Provider, daemon: &Daemon, stream: &mut StreamReader) {
    let before = Instant::now();
    assert_interrupted(stream);
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "hello");
    assert!(before.elapsed() < Duration::from_secs(8), "{:?}", before.elapsed());
    let chats = provider.chats();
    assert_ne!(chats[0].connection, chats[1].connection);
    let record = &daemon.wait_logs(2)[0];
    assert_eq!((&record["outcome"], classes(record)), (&"partial".into(), vec!["timeout"]), "{record}");
}

/// A stream whose provider is not heard of again, and whose connection stays
/// open, as when the network is gone.
fn lost() -> (Provider, Daemon, StreamReader) {
    let provider = Provider::start();
    provider.then(Reply::events_then(vec![role(), content("first")], Step::Hang));
    let daemon = Daemon::start(chain_config_with(&[("a", &provider)], "[timeouts]\nidle = \"1s\"\n"));
    let stream = begun(&daemon);
    (provider, daemon, stream)
}

#[test]
fn d263_after_a_sleep_a_dead_stream_ends_with_an_error_and_the_next_request_is_answered() {
    let (provider, daemon, mut stream) = lost();
    stand_still(&daemon, Duration::from_millis(1500));
    assert_fresh_start(&provider, &daemon, &mut stream);
}

#[test]
fn d264_a_stream_over_a_network_that_is_gone_ends_with_an_error_and_the_next_request_is_answered() {
    let (provider, daemon, mut stream) = lost();
    assert_fresh_start(&provider, &daemon, &mut stream);
}

// Takes half a minute: so late a process only is when the machine has slept.
#[test]
fn d263_after_a_sleep_no_connection_from_before_is_used() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    stand_still(&daemon, Duration::from_secs(28));
    daemon.wait_stderr("slept");
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    let used: Vec<usize> = provider.chats().iter().map(|chat| chat.connection).collect();
    assert_ne!(used[2], used[1], "{used:?}");
}

// --- A new binary ---

/// The command with this program in place of the one that was built.
fn with_program(program: &Path, command: &Command) -> Command {
    let mut other = Command::new(program);
    other.args(command.get_args()).env_clear();
    other.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    other
}

#[test]
fn d265_a_binary_that_is_replaced_while_it_runs_disturbs_nobody() {
    let provider = Provider::start();
    let home = Home::new();
    let config = home.write("routor.toml", chain_config(&[("a", &provider)])).display().to_string();
    let (binary, fresh) = (home.path().join("routor"), home.path().join("fresh"));
    let run = |args: &[&str]| Process::spawn(with_program(&binary, &home.command(args)), Input::Null);
    let install = || {
        fs::copy(env!("CARGO_BIN_EXE_routor"), &fresh).unwrap();
        fs::rename(&fresh, &binary).unwrap();
    };
    install();
    for _ in 0..2 {
        let process = run(&["serve", "--config", &config, "--port", "0"]);
        process.wait_stderr("listening on");
        install();
        run(&["chat", "--no-stdin", "hi"]).finish(support::PATIENCE).expect_code(0);
        let status = run(&["status", "--json"]).finish(support::PATIENCE).expect_code(0);
        let status: Value = serde_json::from_str(&status.stdout).unwrap();
        assert_eq!((&status["version"], &status["pid"]), (&env!("CARGO_PKG_VERSION").into(), &process.pid().into()));
        run(&["stop"]).finish(support::PATIENCE).expect_code(0);
        assert_eq!(process.wait_exit(support::PATIENCE), 0);
    }
    assert_eq!(provider.count(), 2);
}

// --- Kills ---

/// A variable that is a number, for longer runs than the usual.
fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Numbers that look random and are the same for the same seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn pause(&mut self, from: u64, to: u64) {
        thread::sleep(Duration::from_millis(from + self.below(to - from)));
    }
}

/// Sends one request after the other until the daemon is gone; gives the ids
/// that were answered, each with the moment of its answer.
fn load(port: u16, name: String, stop: &AtomicBool) -> Vec<(String, Instant)> {
    let mut answered = Vec::new();
    let Ok(mut client) = Client::try_connect(port) else { return answered };
    while !stop.load(Ordering::SeqCst) {
        let id = format!("{name}-{}", answered.len());
        let headers = [("content-type", "application/json"), ("x-request-id", id.as_str())];
        match client.try_request("POST", "/v1/chat/completions", &headers, ASK) {
            Ok(response) if response.status == 200 => answered.push((id, Instant::now())),
            _ => break,
        }
    }
    answered
}

/// Kills the daemon at a random moment of its work; gives the ids of what was
/// answered more than a second before that.
fn kill_at_work(daemon: &Daemon, round: u64, dice: &mut Dice) -> HashSet<String> {
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..2)
        .map(|sender| {
            let (port, stop) = (daemon.port(), Arc::clone(&stop));
            thread::spawn(move || load(port, format!("k{round}-{sender}"), &stop))
        })
        .collect();
    // Most kills come soon; some late enough for a second to have passed.
    if round.is_multiple_of(3) {
        dice.pause(1000, 1700)
    } else {
        dice.pause(0, 350)
    }
    let killed = Instant::now();
    daemon.kill();
    stop.store(true, Ordering::SeqCst);
    let answered = senders.into_iter().flat_map(|sender| sender.join().unwrap());
    let old = |at: Instant| killed.saturating_duration_since(at) > Duration::from_secs(1);
    answered.filter(|(_, at)| old(*at)).map(|(id, _)| id).collect()
}

/// The ids of all records of the last time.
#[track_caller]
fn recent_ids(home: &Home) -> HashSet<String> {
    let shown = home.run(&["logs", "--all", "--json", "--since", "30s", "-n", "1000000"]).expect_code(0).stdout;
    shown.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn assert_serves(daemon: &Daemon) {
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "hello");
    daemon.run(&["status"]).expect_code(0);
}

/// Kills daemons of one home, half of them while they start and half at work,
/// and starts the next each time. Gives how many records had to be there.
fn kill_again_and_again(config: &str, seed: u64, kills: u64, check: impl Fn(&Home, &HashSet<String>, u64)) -> usize {
    let mut dice = Dice(seed);
    let (mut home, mut kept, mut seen) = (Home::new(), HashSet::new(), 0);
    let builder = |home| Daemon::builder().home(home).config(config);
    for round in 0..kills.div_ceil(2) {
        let (left, process) = builder(home).spawn_only();
        dice.pause(0, 250);
        process.kill();
        let daemon = builder(left).start();
        assert_serves(&daemon);
        check(daemon.home(), &kept, round);
        kept = kill_at_work(&daemon, round, &mut dice);
        seen += kept.len();
        home = daemon.into_home();
    }
    let daemon = builder(home).start();
    assert_serves(&daemon);
    check(daemon.home(), &kept, kills);
    seen
}

// Takes some 12 s: a crash has many moments. KILLS=500 tries more, SEED=N others.
#[test]
fn d259_after_a_kill_at_any_moment_the_next_start_works_and_only_the_last_second_is_lost() {
    let provider = Provider::start();
    let seed = number("SEED", 0x5eed_0259).max(1);
    let config = chain_config_with(&[("a", &provider)], "[log]\nmax_size = \"4GiB\"\n");
    let seen = kill_again_and_again(&config, seed, number("KILLS", 24), |home, kept, round| {
        let there = recent_ids(home);
        let lost: Vec<&String> = kept.difference(&there).collect();
        assert!(lost.is_empty(), "seed {seed}, round {round}: {} of {} records are lost: {lost:?}", lost.len(), kept.len());
    });
    assert!(seen > 0, "no record was old enough to tell");
}

#[test]
fn d259_after_a_kill_while_old_records_are_removed_the_next_start_works() {
    let provider = Provider::start();
    let config = chain_config_with(&[("a", &provider)], "[log]\nmax_size = \"1MiB\"\n");
    let seed = number("SEED", 0x5eed_1259).max(1);
    kill_again_and_again(&config, seed, number("KILLS", 80) / 10, |home, _, _| {
        home.run(&["logs", "--all", "--json", "-n", "1000000"]).expect_code(0);
    });
}
