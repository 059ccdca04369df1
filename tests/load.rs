//! Many requests at once, providers that stay down, hints of every form, and
//! what happens when file descriptors or memory are short.

#![cfg(unix)]

mod support;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{
    ASK, ASK_STREAM, Client, Daemon, Gate, Pair, Provider, Reply, Step, chain_config_with, content, post_chat, role, text_of, tried,
};

const CHAT: &str = "/v1/chat/completions";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// One failure makes a model cool, for longer than a test lasts.
const LONG: &str = "[breaker]\nfailures = 1\ncooldown = \"60s\"\n";
/// Longer than anything that should be quick may take, even on a slow machine.
const QUICK: Duration = Duration::from_secs(3);

/// Sends a chat call on a connection of its own and reads nothing.
#[track_caller]
fn sent(daemon: &Daemon, body: &str) -> Client {
    let mut client = daemon.client();
    client.send("POST", CHAT, &JSON, body);
    client
}

/// Asks `count` times at once, each on a connection of its own.
fn all_at_once(daemon: &Daemon, count: usize) -> Vec<Client> {
    (0..count).map(|_| sent(daemon, ASK)).collect()
}

/// The texts of the answers to requests that were sent.
#[track_caller]
fn said(asked: Vec<Client>) -> Vec<String> {
    asked.into_iter().map(|mut client| text_of(&client.read_response("POST").expect("an answer"))).collect()
}

/// How many of these texts are this one.
fn times(texts: &[String], text: &str) -> usize {
    texts.iter().filter(|said| *said == text).count()
}

/// What `routor status --json` says of a provider's models that cool, in milliseconds.
#[track_caller]
fn cooling(daemon: &Daemon) -> Vec<u64> {
    let done = daemon.run(&["status", "--json"]).expect_code(0);
    let status: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let providers = status["providers"].as_array().cloned().unwrap_or_default();
    let models = providers.iter().flat_map(|provider| provider["cooling"].as_array().cloned().unwrap_or_default());
    models.filter_map(|model| model["cooling_ms"].as_u64()).collect()
}

/// A limit on the open files of a process that runs, or of this one.
#[track_caller]
fn limit_files(pid: u32, limit: &str) -> bool {
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={limit}")]).output();
    done.is_ok_and(|done| done.status.success())
}

/// How many files a process has open.
fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The number behind a name in `/proc/PID/status`.
#[track_caller]
fn proc_status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of this name");
    line.trim_start_matches(':').split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// The processor time that a process has used, in hundredths of a second.
#[track_caller]
fn processor_time(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that runs");
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
}

/// Waits until `met` says yes.
#[track_caller]
fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let until = Instant::now() + support::PATIENCE;
    while !met() {
        assert!(Instant::now() < until, "{what}: not within {:?}", support::PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
}

// Providers that stay down.

#[test]
fn d137_a_provider_that_stays_down_gets_one_probe_a_step() {
    let pair = Pair::start("[breaker]\nfailures = 2\ncooldown = \"1s\"\n");
    pair.a.always(Reply::status(500));
    assert_eq!([pair.said(), pair.said()], ["from B", "from B"]);
    let opened = Instant::now();
    let mut client = pair.daemon.client();
    let mut asked = 0;
    while opened.elapsed() < Duration::from_millis(2500) {
        assert_eq!(text_of(&client.post_chat(ASK)), "from B");
        asked += 1;
    }
    assert!(asked > 20, "{asked} requests");
    // The steps end after 1 s and after 3 s, unless this machine was slow.
    let steps = if opened.elapsed() < Duration::from_secs(3) { 1 } else { 2 };
    assert!((1..=steps).contains(&(pair.a.count() - 2)), "{} probes", pair.a.count() - 2);
}

#[test]
fn d138_with_everything_down_each_model_is_tried_once_and_the_502_is_quick() {
    let pair = Pair::start("[breaker]\nfailures = 3\ncooldown = \"60s\"\n");
    pair.a.always(Reply::status(500));
    pair.b.always(Reply::status(503));
    let mut client = pair.daemon.client();
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(client.post_chat(ASK).status, 502);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "nothing is waited for: {:?}", started.elapsed());
    assert!(pair.a.count() <= 100 && pair.b.count() <= 100, "{} and {} calls for 100 requests", pair.a.count(), pair.b.count());
    for record in pair.daemon.wait_logs(100) {
        let mut tried = tried(&record);
        tried.sort_unstable();
        assert_eq!(tried, ["a", "b"], "{record}");
    }
}

#[test]
fn d139_a_provider_that_flaps_costs_no_request_and_is_left_alone_for_whole_steps() {
    let pair = Pair::start("[breaker]\nfailures = 3\ncooldown = \"1s\"\n");
    let mut client = pair.daemon.client();
    let mut calls = 0;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2800) {
        while pair.a.queued() < 4 {
            // One good answer, then three bad ones.
            pair.a.then(if calls % 4 == 0 { Reply::answer("from A") } else { Reply::status(500) });
            calls += 1;
        }
        assert_eq!(client.post_chat(ASK).status, 200);
    }
    let a: Vec<Instant> = pair.a.chats().iter().map(|chat| chat.at).collect();
    let b: Vec<Instant> = pair.b.chats().iter().map(|chat| chat.at).collect();
    let mut alone = 0;
    for pause in a.windows(2) {
        // More than one answer of B without a call to A before it: A was left alone.
        let meanwhile = b.iter().filter(|at| pause[0] < **at && **at < pause[1]).count();
        if meanwhile > 1 {
            alone += 1;
            assert!(pause[1] - pause[0] > Duration::from_millis(900), "only {:?}", pause[1] - pause[0]);
        }
    }
    assert!(alone >= 1, "it was never left alone: {} calls", a.len());
}

#[test]
fn d140_of_100_requests_at_once_exactly_one_probes() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"1s\"\n");
    pair.a.then(Reply::status(500));
    assert_eq!(pair.said(), "from B");
    let failed = pair.a.chats()[0].at;
    let gate = Gate::new();
    pair.a.always(Reply::answer("from A").after(Step::WaitFor(gate.clone())));
    // The rule is about a time that has passed, so it has to pass.
    thread::sleep(Duration::from_millis(1100).saturating_sub(failed.elapsed()));
    let asked = all_at_once(&pair.daemon, 100);
    pair.b.wait_for_chats(100);
    pair.a.wait_for_chats(2);
    gate.open();
    let said = said(asked);
    assert_eq!((pair.a.count(), times(&said, "from A"), times(&said, "from B")), (2, 1, 99));
}

#[test]
fn d141_the_last_model_is_tried_although_it_cools() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], LONG));
    a.then(Reply::status(500)).then(Reply::status(500));
    assert_eq!([post_chat(daemon.port(), ASK).status, post_chat(daemon.port(), ASK).status], [502, 502]);
    assert_eq!(cooling(&daemon).len(), 1);
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "hello");
    assert_eq!(a.count(), 3);
}

#[test]
fn d142_one_failure_of_one_request_does_not_move_a_provider() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    assert_eq!([pair.said(), pair.said()], ["from B", "from A"]);
    assert!(cooling(&pair.daemon).is_empty());
}

#[test]
fn d142_four_failures_of_four_are_too_few_for_health() {
    let pair = Pair::start("[breaker]\nfailures = 100\ncooldown = \"60s\"\n");
    for _ in 0..4 {
        pair.a.then(Reply::status(500));
        assert_eq!(pair.said(), "from B");
    }
    assert_eq!(pair.said(), "from A");
}

// Hints.

#[test]
fn d143_a_hint_of_a_day_is_cut_to_an_hour_and_shown() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "86400"));
    assert_eq!([pair.said(), pair.said()], ["from B", "from B"]);
    assert_eq!(pair.a.count(), 1);
    let shown = cooling(&pair.daemon);
    assert!(matches!(shown[..], [3_500_000..=3_600_000]), "{shown:?}");
}

#[test]
fn d143_a_model_comes_back_when_its_hint_is_over() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "1"));
    assert_eq!(pair.said(), "from B");
    eventually("A is back", || pair.said() == "from A");
    assert_eq!(pair.a.count(), 2);
}

/// The cooldown in whole seconds that follows a 429 with this header, of a
/// model that has just been asked for the first time.
#[track_caller]
fn cooldowns(header: &str, values: &[&str]) -> Vec<u64> {
    let a = Provider::start();
    let names: Vec<String> = (0..values.len()).map(|number| format!("n{number}")).collect();
    a.model_ids(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], ""));
    let wait = |(value, name): (&&str, &String)| {
        a.then(Reply::status(429).with_header(header, value));
        let body = format!(r#"{{"model":"a/{name}","routor_profile":"direct","messages":[{{"role":"user","content":"hi"}}]}}"#);
        let response = post_chat(daemon.port(), body);
        assert_eq!(response.status, 502, "{header}: {value:?}: {}", response.text());
        let wait = response.header("retry-after").and_then(|value| value.parse().ok());
        wait.unwrap_or_else(|| panic!("{header}: {value:?}: {:?}", response.headers))
    };
    values.iter().zip(&names).map(wait).collect()
}

#[test]
fn d144_hints_that_make_no_sense_are_ignored_or_cut() {
    let hour = ["1e308", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "86400.5"];
    assert!(cooldowns("retry-after", &hour).iter().all(|wait| (3_590..=3_600).contains(wait)));
    let ignored = ["-1", "NaN", "inf", "soon", "", "1e999", "0x10", "5 s", "Fri, 99 Foo 2030 99:99:99 GMT"];
    let waits = cooldowns("retry-after", &ignored);
    assert!(waits.iter().all(|wait| (25..=30).contains(wait)), "{ignored:?}: {waits:?}");
    let at_once = ["0", "Thu, 01 Jan 1970 00:00:00 GMT", "0.0001"];
    assert!(cooldowns("retry-after", &at_once).iter().all(|wait| *wait == 1));
}

#[test]
fn d145_reset_headers_are_read_in_every_form_or_ignored() {
    let now = jiff::Timestamp::now();
    let later = now.as_second() + 100;
    let (date, epoch, millis) = (jiff::Timestamp::from_second(later).unwrap().to_string(), later.to_string(), (later * 1000).to_string());
    for (header, value, wanted) in [
        ("x-ratelimit-reset-tokens", "6m0s", 350..=360),
        ("x-ratelimit-reset-tokens", "12ms", 1..=1),
        ("x-ratelimit-reset-requests", "2m59.56s", 170..=180),
        ("x-ratelimit-reset-tokens", "-1", 25..=30),
        ("x-ratelimit-reset-tokens", "0", 25..=30),
        ("anthropic-ratelimit-tokens-reset", date.as_str(), 85..=100),
        ("x-ratelimit-reset", epoch.as_str(), 85..=100),
        ("x-ratelimit-reset", millis.as_str(), 85..=100),
    ] {
        let wait = cooldowns(header, &[value])[0];
        assert!(wanted.contains(&wait), "{header}: {value}: {wait}");
    }
}

#[test]
fn d146_nobody_waits_for_a_cooldown_to_end() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "60"));
    assert_eq!(pair.said(), "from B");
    let started = Instant::now();
    let said = said(all_at_once(&pair.daemon, 300));
    assert_eq!((times(&said, "from B"), pair.a.count()), (300, 1));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn d146_a_cooldown_that_ends_under_load_releases_one_request() {
    let pair = Pair::start("");
    let gate = Gate::new();
    pair.a.then(Reply::status(429).with_header("retry-after", "1")).always(Reply::answer("from A").after(Step::WaitFor(gate.clone())));
    assert_eq!(pair.said(), "from B");
    let mut asked = Vec::new();
    // Waves of requests from before the end of the cooldown to after it.
    eventually("the probe", || {
        asked.extend(all_at_once(&pair.daemon, 20));
        pair.a.count() == 2
    });
    asked.extend(all_at_once(&pair.daemon, 100));
    pair.b.wait_for_chats(asked.len());
    gate.open();
    let said = said(asked);
    assert_eq!((pair.a.count(), times(&said, "from A")), (2, 1));
}

// Connections, memory, and what a fault leaves behind.

/// Lets this process have so many files open, and what it starts then; false
/// where the machine does not allow it.
fn may_open(files: u64) -> bool {
    let own = std::process::id();
    let hard = fs::read_to_string("/proc/self/limits").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("Max open files"))?.to_owned();
        line.split_whitespace().nth(4)?.parse::<u64>().ok()
    });
    let enough = hard.unwrap_or(0).max(files);
    limit_files(own, &format!("{enough}:{enough}"))
}

#[test]
fn d147_10_000_idle_connections_leave_the_daemon_alive() {
    if !may_open(11_000) {
        println!("skipped: the hard limit on open files of this machine is below 11,000");
        return;
    }
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], ""));
    let mut first = daemon.client();
    assert_eq!(text_of(&first.post_chat(ASK)), "hello");
    let idle: Vec<Client> = (0..10_000).map(|_| daemon.client()).collect();
    // Each may need another connection to a provider, so half of the limit is given to them.
    let seats = usize::try_from(soft_limit(daemon.pid())).map_or(10_000, |files| (files / 2).min(10_000));
    eventually("as many as fit are taken", || open_files(daemon.pid()) + 100 >= seats);
    let started = Instant::now();
    assert_eq!(text_of(&first.post_chat(ASK)), "hello");
    assert!(started.elapsed() < QUICK, "{:?}", started.elapsed());
    drop(idle);
    eventually("all are let go", || open_files(daemon.pid()) < 200);
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "hello");
}

#[test]
fn d148_a_full_table_of_files_ends_nothing_and_spins_nothing() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], ""));
    let mut before = daemon.client();
    assert_eq!(text_of(&before.post_chat(ASK)), "hello");
    let room = open_files(daemon.pid()) + 10;
    if !limit_files(daemon.pid(), &format!("{room}:{room}")) {
        println!("skipped: the limit of another process cannot be set here");
        return;
    }
    let waiting: Vec<Client> = (0..100).map(|_| daemon.client()).collect();
    eventually("the table is full", || open_files(daemon.pid()) >= room);
    let used = processor_time(daemon.pid());
    thread::sleep(Duration::from_secs(1));
    let used = processor_time(daemon.pid()) - used;
    assert!(used < 50, "{used} hundredths of a second of work in one second");
    assert_eq!(before.request("GET", "/health", &[], "").status, 200, "who was there before is served");
    drop(waiting);
    eventually("it takes connections again", || {
        Client::try_connect(daemon.port())
            .and_then(|mut client| client.try_request("POST", CHAT, &JSON, ASK))
            .is_ok_and(|done| done.status == 200)
    });
}

#[test]
fn d149_a_provider_that_hangs_under_500_requests_slows_no_other() {
    if !may_open(4_000) {
        println!("skipped: the hard limit on open files of this machine is below 4,000");
        return;
    }
    let pair = Pair::start("");
    pair.a.always(Reply::hang());
    let hanging: Vec<Client> = (0..500).map(|_| sent(&pair.daemon, ASK)).collect();
    pair.a.wait_for_chats(500);
    let started = Instant::now();
    let mut client = pair.daemon.client();
    for _ in 0..20 {
        assert_eq!(text_of(&client.post_chat(ASK.replace("auto", "b/m1"))), "from B");
    }
    assert!(started.elapsed() < QUICK, "{:?}", started.elapsed());
    assert_eq!(pair.b.count(), 20, "none of the 500 has given up");
    drop(hanging);
}

/// 100 requests of which each fifth is left and each twentieth fails.
fn a_hundred_with_faults(pair: &Pair) {
    let mut client = pair.daemon.client();
    for number in 0..100 {
        if number % 20 == 0 {
            pair.a.then(Reply::status(500));
        }
        if number % 5 == 1 {
            pair.a.then(Reply::hang());
            let asked = pair.a.count();
            let left = sent(&pair.daemon, ASK);
            pair.a.wait_for_chats(asked + 1);
            drop(left);
        } else {
            assert_eq!(client.post_chat(ASK).status, 200);
        }
    }
}

#[test]
fn d150_after_aborts_and_faults_files_threads_and_memory_are_as_before() {
    let pair = Pair::start("[breaker]\nfailures = 0\n");
    let pid = pair.daemon.pid();
    a_hundred_with_faults(&pair);
    let memory = proc_status(pid, "VmRSS");
    let threads = proc_status(pid, "Threads");
    for _ in 0..5 {
        a_hundred_with_faults(&pair);
    }
    pair.a.close_connections();
    pair.b.close_connections();
    eventually("the files are closed", || open_files(pid) < 60);
    assert!(proc_status(pid, "Threads") <= threads + 2);
    let grown = proc_status(pid, "VmRSS").saturating_sub(memory);
    assert!(grown < 8 << 10, "{grown} KiB more after 500 requests");
}

#[test]
fn d152_100_open_streams_fit_into_64_mib() {
    let a = Provider::start();
    let gate = Gate::new();
    a.always(Reply::events_then(vec![role(), content(&"x".repeat(10_000))], Step::WaitFor(gate.clone())).and(Step::Close));
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], ""));
    let mut streams: Vec<_> = (0..100).map(|_| sent(&daemon, ASK_STREAM)).map(Client::read_stream).collect();
    for stream in &mut streams {
        assert!(stream.next_event().is_some() && stream.next_event().is_some());
    }
    let peak = proc_status(daemon.pid(), "VmHWM");
    assert!(peak < 64 << 10, "{peak} KiB");
    gate.open();
}

/// A daemon in front of `a`, started with this limit on its open files
/// (`SOFT:HARD`); the process, its port and its home.
#[track_caller]
fn started_with_files(a: &Provider, limit: &str) -> (support::Process, u16, support::Home) {
    let home = support::Home::new();
    let path = home.write("routor.toml", chain_config_with(&[("a", a)], "")).display().to_string();
    let serve = home.command(&["serve", "--config", &path, "--port", "0"]);
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--nofile={limit}")).arg(serve.get_program()).args(serve.get_args()).current_dir(home.path()).env_clear();
    limited.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let process = support::Process::spawn(limited, support::Input::Null);
    let said = process.wait_stderr("listening on http://127.0.0.1:");
    let port = said.split("listening on http://127.0.0.1:").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    let port = port.expect("a port");
    (process, port, home)
}

/// The soft limit on the open files of a process.
fn soft_limit(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).expect("a process that runs");
    let line = text.lines().find(|line| line.starts_with("Max open files")).expect("a limit").to_owned();
    line.split_whitespace().nth(3).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn d147_the_soft_limit_on_open_files_is_raised_to_the_hard_one() {
    let a = Provider::start();
    let (process, port, _home) = started_with_files(&a, "256:2048");
    assert_eq!(soft_limit(process.pid()), 2048);
    let idle: Vec<Client> = (0..500).map(|_| Client::connect(port)).collect();
    assert_eq!(text_of(&post_chat(port, ASK)), "hello");
    drop(idle);
}

#[test]
fn d147_a_connection_beyond_the_limit_is_told_so_and_closed() {
    let a = Provider::start();
    let (process, port, _home) = started_with_files(&a, "256:256");
    let mut first = Client::connect(port);
    assert_eq!(text_of(&first.post_chat(ASK)), "hello");
    let idle: Vec<Client> = (0..120).map(|_| Client::connect(port)).collect();
    let mut beyond = Client::connect(port);
    beyond.send("POST", CHAT, &JSON, ASK);
    let answer = beyond.read_response("POST").expect("an answer");
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default()), (503, "overloaded"), "{}", answer.text());
    assert!(beyond.closes_within(QUICK));
    // Who was there before is served, upstream connection included.
    a.close_connections();
    assert_eq!(text_of(&first.post_chat(ASK)), "hello");
    drop(idle);
    eventually("there is room again", || post_chat(port, ASK).status == 200);
    assert!(process.is_running());
}

/// A pair in which a request can be made to panic, which only a debug build can.
#[cfg(debug_assertions)]
#[track_caller]
fn panicky() -> Pair {
    Pair::start_with("", |builder| builder.env("ROUTOR_TEST_PANIC", "1"))
}

#[cfg(debug_assertions)]
#[test]
fn d151_a_panic_in_one_request_is_a_500_for_that_client_alone() {
    let pair = panicky();
    let gate = Gate::new();
    pair.a.then(
        Reply::events_then(vec![role(), content("x")], Step::WaitFor(gate.clone()))
            .and(Step::chunk(support::finish("stop")))
            .and(Step::last_chunk()),
    );
    let mut other = pair.stream();
    assert!(other.next_event().is_some());
    let answer = support::post(pair.daemon.port(), CHAT, &[("x-routor-test-panic", "handler")], ASK);
    assert_eq!(answer.status, 500, "{}", answer.text());
    let error = &answer.json()["error"];
    assert!(["message", "type", "code"].iter().all(|field| error[field].is_string()), "{error}");
    assert!(!answer.text().contains("src/"), "no place in the program: {}", answer.text());
    gate.open();
    assert!(other.read_to_end().contains("[DONE]"));
    assert_eq!(pair.said(), "from A");
}

#[cfg(debug_assertions)]
#[test]
fn d151_a_panic_in_a_stream_ends_it_with_an_error_event() {
    let pair = panicky();
    pair.a.then(Reply::events_then(vec![role(), content("x")], Step::Hang));
    let mut client = pair.daemon.client();
    client.send("POST", CHAT, &[JSON[0], ("x-routor-test-panic", "stream")], ASK_STREAM);
    let mut stream = client.read_stream();
    let events = stream.events();
    assert!(events.last().is_some_and(|event| event.contains("stream_interrupted")), "{events:?}");
    assert!(stream.ended_cleanly() && !events.iter().any(|event| event.contains("[DONE]")));
    assert_eq!([pair.said(), pair.said()], ["from A", "from A"]);
}

#[test]
fn d151_without_the_variable_no_header_makes_a_request_panic() {
    let pair = Pair::start("");
    let answer = support::post(pair.daemon.port(), CHAT, &[("x-routor-test-panic", "handler")], ASK);
    assert_eq!(text_of(&answer), "from A");
}

#[test]
fn d148_a_full_table_of_files_is_not_the_providers_fault() {
    let pair = Pair::start(LONG);
    let mut before = pair.daemon.client();
    assert_eq!(text_of(&before.post_chat(ASK)), "from A");
    pair.a.close_connections();
    let room = open_files(pair.daemon.pid()) + 3;
    assert!(limit_files(pair.daemon.pid(), &format!("{room}:")));
    let waiting: Vec<Client> = (0..50).map(|_| pair.daemon.client()).collect();
    eventually("the table is full", || open_files(pair.daemon.pid()) >= room);
    let _ = before.try_request("POST", CHAT, &JSON, ASK);
    drop(waiting);
    assert!(limit_files(pair.daemon.pid(), "1000:"));
    eventually("A is asked again and not left alone", || {
        Client::try_connect(pair.daemon.port())
            .is_ok_and(|mut client| client.try_request("POST", CHAT, &JSON, ASK).is_ok_and(|done| done.status == 200))
    });
    assert!(cooling(&pair.daemon).is_empty(), "{:?}", cooling(&pair.daemon));
}

#[test]
fn d148_a_full_table_of_files_is_said_a_few_times_and_not_for_each_breath() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], ""));
    let room = open_files(daemon.pid()) + 5;
    assert!(limit_files(daemon.pid(), &format!("{room}:")));
    let waiting: Vec<Client> = (0..50).map(|_| daemon.client()).collect();
    daemon.wait_stderr("no connection can be taken");
    thread::sleep(Duration::from_secs(2));
    let said = daemon.stderr().matches("no connection can be taken").count();
    assert!(said <= 5, "{said} lines in two seconds");
    drop(waiting);
}
