//! Keys that nobody may see: canaries in every place that a key can come from,
//! providers that echo them in every kind of fault, and every way out looked at.

#![cfg(unix)]

mod support;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use support::{
    Daemon, Finished, Home, Input, Process, Provider, Reply, Response, Step, chain_config, content, open_stream, post, post_chat, role,
    text_of,
};

const CHAT: &str = "/v1/chat/completions";
/// A part of a key this long must not be seen either.
const PART: usize = 8;

// Canaries.

/// A key that looks random and shares no part with another.
fn canary(number: u64) -> String {
    let mut state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[(state % 36) as usize])
    };
    std::iter::repeat_with(next).take(40).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let all = three.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        (0..=three.len()).map(|at| char::from(DIGITS[(all >> (18 - 6 * at) & 63) as usize])).collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

/// Every byte behind a percent sign, as no encoder is bound to leave letters alone.
fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// All parts of all forms of some keys.
struct Canaries {
    parts: HashSet<[u8; PART]>,
    /// Which three bytes begin one of them: much is looked at, in a build that is slow.
    starts: Vec<bool>,
}

/// The place of the three bytes that a part begins with.
fn start(part: &[u8]) -> usize {
    usize::from(part[0]) << 16 | usize::from(part[1]) << 8 | usize::from(part[2])
}

impl Canaries {
    fn new<'k>(keys: impl IntoIterator<Item = &'k String>) -> Self {
        let forms = |key: &String| {
            // What stands before a key shifts its base64 by one of three steps.
            let shifted = (0..3).map(|skip| base64(&key.as_bytes()[skip..36 + skip]));
            shifted.chain([key.clone(), percent(key), percent(key).to_lowercase(), key.to_uppercase()]).collect::<Vec<String>>()
        };
        let parts = keys.into_iter().flat_map(forms).flat_map(|form| {
            let parts: Vec<[u8; PART]> = form.as_bytes().windows(PART).filter_map(|part| part.try_into().ok()).collect();
            parts
        });
        let parts: HashSet<[u8; PART]> = parts.collect();
        let mut starts = vec![false; 1 << 24];
        parts.iter().for_each(|part| starts[start(part)] = true);
        Self { parts, starts }
    }

    /// Fails when a part of a key is in what went out there.
    #[track_caller]
    fn assert_not_in(&self, way: &str, bytes: &[u8]) {
        let is_secret = |part: &[u8]| self.starts[start(part)] && <&[u8; PART]>::try_from(part).is_ok_and(|part| self.parts.contains(part));
        let found = bytes.windows(PART).position(is_secret);
        if let Some(at) = found {
            let around = &bytes[at.saturating_sub(200)..bytes.len().min(at + 100)];
            panic!("a part of a key at byte {at} of {way}: …{}…", String::from_utf8_lossy(around));
        }
    }

    #[track_caller]
    fn assert_not_in_output(&self, way: &str, done: &Finished) {
        self.assert_not_in(&format!("{way}, standard output"), done.stdout.as_bytes());
        self.assert_not_in(&format!("{way}, standard error"), done.stderr.as_bytes());
    }

    #[track_caller]
    fn assert_not_in_answer(&self, way: &str, answer: &Response) {
        let head: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        self.assert_not_in(&format!("{way}, headers"), head.as_bytes());
        self.assert_not_in(&format!("{way}, body"), &answer.body);
    }
}

#[test]
fn a_part_of_a_key_is_found_in_every_form() {
    let key = canary(7);
    let canaries = Canaries::new([&key]);
    let found = |text: String| {
        let canaries = &canaries;
        std::panic::catch_unwind(|| canaries.assert_not_in("here", text.as_bytes())).is_err()
    };
    assert!(found(format!("x {key} x")) && found(format!("{}…", &key[..10])) && found(format!("…{}", &key[32..])));
    for before in ["", "k", "ke"] {
        assert!(found(base64(format!("{before}:{key}").as_bytes())));
    }
    assert!(found(percent(&key)) && found(key.to_uppercase()));
    assert!(!found(canary(8)) && !found(key[..7].to_owned()));
    assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw");
}

// Faults in which a provider says the key.

/// An error that says the key and blames something else.
fn error_with(key: &str) -> String {
    let message = format!("Bad header Authorization: Bearer {key} in request; it starts with {}", &key[..12]);
    json!({"error": {"message": message, "type": "invalid_request_error", "param": key, "code": "bad"}}).to_string()
}

/// An error that says the key and blames it.
fn refusal_of(key: &str) -> String {
    json!({"error": {"message": format!("Incorrect API key provided: {key}."), "type": "invalid_request_error", "code": "invalid_api_key"}})
        .to_string()
}

/// A body in two pieces with time between them, cut in the middle of the key.
fn in_two(status: u16, kind: &str, body: &str, key: &str) -> Reply {
    let (before, after) = body.split_at(body.find(key).expect("the key") + key.len() / 2);
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
    Reply::steps(vec![
        Step::Bytes(head.into_bytes()),
        Step::chunk(before),
        Step::Pause(Duration::from_millis(20)),
        Step::chunk(after),
        Step::last_chunk(),
    ])
}

/// Failed answers of every kind.
fn failed(key: &str) -> Vec<Reply> {
    let error = error_with(key);
    let mut all: Vec<Reply> = [400, 402, 404, 405, 408, 409, 410, 413, 415, 422, 429, 451, 498, 500, 501, 502, 503, 504, 529]
        .map(|status| Reply::json(status, error.clone()))
        .into();
    all.extend([400, 404, 500].map(|status| in_two(status, "application/json", &error, key)));
    for body in [
        format!("<html><body>We got {key}</body></html>"),
        format!("we got {key}"),
        format!("\"{key}\""),
        format!("[{{\"error\":\"{key}\"}}]"),
    ] {
        all.extend([400, 500, 200].map(|status| Reply::json(status, body.clone())));
        all.push(Reply::json(400, body.clone()).with_header("content-type", "text/html"));
    }
    all.push(Reply::json(429, error.clone()).with_header("retry-after", key));
    all.extend(
        [302, 307, 308].map(|status| Reply::json(status, "").with_header("location", &format!("http://127.0.0.1:9/login?key={key}"))),
    );
    all
}

/// Answers with a good status that are none.
fn garbled(key: &str) -> Vec<Reply> {
    let head = format!("HTTP/1.1 200 {key}\r\nx-{key}\r\n\r\n");
    vec![
        Reply::json(200, error_with(key)),
        in_two(200, "application/json", &error_with(key), key),
        Reply::json(200, json!({"id": key, "choices": []}).to_string()),
        Reply::raw(head.into_bytes()).and(Step::Close),
        Reply::raw(format!("{key} is not HTTP\r\n\r\n")).and(Step::Close),
        Reply::raw(format!("HTTP/1.1 400 Bad\r\ncontent-length: 9999\r\n\r\n{key}")).and(Step::Close),
        Reply::raw(format!("HTTP/1.1 400 Bad\r\ntransfer-encoding: chunked\r\n\r\n{key}\r\n")).and(Step::Close),
    ]
}

/// Streams with an error in them, before and after their first content.
fn streamed(key: &str) -> Vec<Reply> {
    let error = format!("data: {}\n\n", error_with(key));
    let named = format!("event: error\nid: {key}\ndata: {}\n\n", error_with(key));
    let finish = |reason: &str| {
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "error": error_with(key)}))
    };
    let mut all = Vec::new();
    for event in [error.clone(), named, finish("error"), format!("data: {key}\n\n"), format!("data: {{\"error\":\"{key}\"}}\n\n")] {
        all.push(Reply::events(vec![role(), event.clone()]));
        if !event.starts_with(&format!("data: {key}")) {
            all.push(Reply::events(vec![role(), content("x"), event]));
        }
    }
    let (before, after) = error.split_at(error.find(key).expect("the key") + 20);
    let cut = |first: Vec<String>| {
        let halves = [Step::chunk(before), Step::Pause(Duration::from_millis(20)), Step::chunk(after), Step::last_chunk()];
        halves.into_iter().skip(1).fold(Reply::events_then(first, Step::chunk(before)), Reply::and)
    };
    all.extend([cut(vec![role()]), cut(vec![role(), content("x")])]);
    all.push(Reply::events_then(vec![role(), content("x"), before.to_owned()], Step::Close));
    all
}

/// Refusals of the key, which take the provider out for a while.
fn refused(key: &str) -> Vec<Reply> {
    let body = refusal_of(key);
    vec![
        Reply::json(403, body.clone()),
        Reply::json(400, body.clone()),
        Reply::json(200, json!({"base_resp": {"status_code": 1004, "status_msg": format!("login fail: {key}")}}).to_string()),
        in_two(401, "application/json", &body, key),
        Reply::json(401, body),
    ]
}

// A daemon in which every key is a canary.

/// What authenticates at each provider, in their order.
const AUTHS: [&str; 6] = [
    "api_key_env = \"KEY_0\"",
    "api_key_env = \"KEY_1\"\nauth = \"api-key\"",
    "api_key_env = \"KEY_2\"\nauth = \"x-api-key\"",
    "api_key_env = \"\"\nheaders_env = { \"x-team-secret\" = \"KEY_3\" }",
    "api_key_file = \"FOLDER/key-4\"",
    "api_key_env = \"KEY_5\"\nheaders_env = { \"x-second\" = \"KEY_0\" }",
];
/// Each fault meets a model of its own, which no fault before it has moved.
const MODELS: usize = 500;
/// The client key's number among the canaries.
const CLIENT: u64 = 90;

/// Providers with canaries for keys, and a daemon that says everything.
struct Watched {
    providers: Vec<Provider>,
    keys: Vec<String>,
    client: String,
    canaries: Canaries,
    daemon: Daemon,
    feed: Arc<Mutex<Vec<u8>>>,
    asked: AtomicUsize,
}

impl Watched {
    #[track_caller]
    fn start() -> Self {
        let providers: Vec<Provider> = AUTHS.iter().map(|_| Provider::start()).collect();
        let models: Vec<String> = (1..=MODELS).map(|number| format!("m{number}")).collect();
        providers.iter().for_each(|provider| {
            provider.model_ids(&models.iter().map(String::as_str).collect::<Vec<_>>());
        });
        let keys: Vec<String> = (0..).take(AUTHS.len()).map(canary).collect();
        let client = canary(CLIENT);
        let mut home = Home::new();
        home.write("key-4", &keys[4]);
        keys.iter().enumerate().for_each(|(number, key)| home.set_env(&format!("KEY_{number}"), key));
        for (name, value) in [
            ("ROUTOR_API_KEY", client.as_str()),
            ("DEBUG_ROUTING", "1"),
            ("RUST_LOG", "trace"),
            ("RUST_BACKTRACE", "full"),
            ("ROUTOR_TEST_PANIC", "1"),
        ] {
            home.set_env(name, value);
        }
        let named: Vec<(String, &Provider)> =
            providers.iter().enumerate().map(|(number, provider)| (format!("p{number}"), provider)).collect();
        let named: Vec<(&str, &Provider)> = named.iter().map(|(name, provider)| (name.as_str(), *provider)).collect();
        let folder = home.path().display().to_string();
        let config = AUTHS.iter().fold(chain_config(&named), |config, auth| {
            config.replacen("api_key_env = \"\"\n\n", &format!("{}\n#\n", auth.replace("FOLDER", &folder)), 1)
        });
        let config = format!("{config}[breaker]\nfailures = 0\n[timeouts]\nfirst = \"2s\"\nresponse = \"2s\"\n");
        let canaries = Canaries::new(keys.iter().chain([&client]));
        let daemon = Daemon::builder().home(home).config(config).arg("-vv").start();
        let feed = follow(&daemon);
        Self { providers, keys, client, canaries, daemon, feed, asked: AtomicUsize::new(0) }
    }

    /// Asks a provider alone, or in a chain when there is no number.
    #[track_caller]
    fn ask(&self, provider: Option<usize>, stream: bool) -> Response {
        let next = self.asked.fetch_add(1, Ordering::Relaxed) % MODELS + 1;
        let model = provider.map_or_else(|| "auto".to_owned(), |number| format!("p{number}/m{next}"));
        let profile = if provider.is_some() { "direct" } else { "auto" };
        let body = json!({"model": model, "routor_profile": profile, "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
        let bearer = format!("Bearer {}", self.client);
        let mut client = self.daemon.client();
        client.send("POST", CHAT, &[("content-type", "application/json"), ("authorization", &bearer)], body.to_string());
        client.read_stream().into_response()
    }

    /// Lets a provider do this and looks at the answer.
    #[track_caller]
    fn suffer(&self, number: usize, fault: Reply, stream: bool) -> Response {
        self.providers[number].then(fault);
        let answer = self.ask(Some(number), stream);
        self.canaries.assert_not_in_answer("an answer", &answer);
        answer
    }

    #[track_caller]
    fn get(&self, path: &str) -> Response {
        let bearer = format!("Bearer {}", self.client);
        self.daemon.client().request("GET", path, &[("authorization", &bearer)], "")
    }

    /// The same where the provider is there to do it.
    #[track_caller]
    fn suffer_surely(&self, number: usize, fault: Reply, stream: bool) -> Response {
        let answer = self.suffer(number, fault, stream);
        assert_eq!(self.providers[number].queued(), 0, "p{number} was not asked: {}", answer.text());
        answer
    }

    /// Looks at everything that goes out of the daemon and of the commands beside it.
    #[track_caller]
    fn assert_nothing_out(&self) {
        let config = self.daemon.config_path().display().to_string();
        for args in [
            &["logs", "--all", "--json", "-n", "10000"][..],
            &["logs", "--all", "-n", "10000", "-vv"],
            &["status"],
            &["status", "--json", "-vv"],
            &["check", "-vv", "--config", &config],
            &["check", "--format", "json", "--config", &config],
            &["check", "--format", "junit", "--config", &config],
            &["check", "--format", "github", "--config", &config],
            &["config", "show", "--config", &config],
            &["models", "--config", &config],
            &["chat", "--no-stdin", "-vv", "hi"],
            &["chat", "--no-stdin", "-vv", "--json", "--config", &config, "hi"],
            &["chat", "--no-stdin", "--explain", "hi"],
            &["reload", "-vv"],
        ] {
            self.canaries.assert_not_in_output(&format!("{args:?}"), &self.daemon.run(args));
        }
        for path in ["/", "/v1/models", "/health", "/ready", "/metrics", "/dashboard", "/api/providers", "/api/requests?limit=1000"] {
            self.canaries.assert_not_in_answer(path, &self.get(path));
        }
        self.assert_nothing_kept();
    }

    /// Looks at what the daemon has said, written and left in the system.
    #[track_caller]
    fn assert_nothing_kept(&self) {
        self.canaries.assert_not_in("the daemon's standard output", self.daemon.process().stdout().as_bytes());
        self.canaries.assert_not_in("the daemon's standard error", self.daemon.stderr().as_bytes());
        self.canaries.assert_not_in("the local socket's feed", &self.feed.lock().expect("the feed"));
        let command = fs::read(format!("/proc/{}/cmdline", self.daemon.pid())).unwrap_or_default();
        self.canaries.assert_not_in("its command line", &command);
        let mut seen = 0;
        for file in fs::read_dir(self.daemon.state_dir()).expect("the state folder").flatten() {
            let Ok(bytes) = fs::read(file.path()) else { continue };
            seen += bytes.len();
            self.canaries.assert_not_in(&file.path().display().to_string(), &bytes);
        }
        assert!(seen > 10_000, "the log is elsewhere: {seen} bytes");
    }
}

/// Collects everything that the local socket says of requests.
#[track_caller]
fn follow(daemon: &Daemon) -> Arc<Mutex<Vec<u8>>> {
    let mut stream = UnixStream::connect(daemon.state_dir().join("routor.sock")).expect("the local socket");
    stream.write_all(b"{\"command\":\"events\"}\n").expect("a command");
    let mut reader = BufReader::new(stream);
    let mut said = Vec::new();
    for _ in 0..2 {
        reader.read_until(b'\n', &mut said).expect("a line");
    }
    assert!(String::from_utf8_lossy(&said).contains("subscribed"), "{}", String::from_utf8_lossy(&said));
    let (feed, lines) = (Arc::new(Mutex::new(said)), reader);
    let told = Arc::clone(&feed);
    thread::spawn(move || {
        for line in lines.split(b'\n').map_while(Result::ok) {
            told.lock().expect("the feed").extend(line);
        }
    });
    feed
}

// The whole of it.

#[test]
fn d189_no_part_of_any_key_comes_out_of_failed_answers() {
    let watched = Watched::start();
    for number in 0..AUTHS.len() {
        for fault in failed(&watched.keys[number]).into_iter().chain(garbled(&watched.keys[number])) {
            watched.suffer_surely(number, fault, number % 2 == 0);
        }
    }
    watched.assert_nothing_out();
}

#[test]
fn d189_no_part_of_any_key_comes_out_of_streams() {
    let watched = Watched::start();
    for number in 0..AUTHS.len() {
        for fault in streamed(&watched.keys[number]) {
            watched.suffer_surely(number, fault, true);
        }
    }
    watched.assert_nothing_out();
}

#[test]
fn d189_no_part_of_any_key_comes_out_when_keys_are_refused_everywhere() {
    let watched = Watched::start();
    for (provider, key) in watched.providers.iter().zip(&watched.keys) {
        provider.models(Reply::json(401, refusal_of(key)));
    }
    for number in 0..AUTHS.len() {
        for fault in refused(&watched.keys[number]) {
            watched.suffer(number, fault, false);
        }
    }
    let answer = watched.ask(None, false);
    assert!(answer.status >= 500, "{}", answer.text());
    watched.canaries.assert_not_in_answer("the last answer", &answer);
    watched.assert_nothing_out();
}

#[test]
fn d189_no_part_of_any_key_comes_out_of_a_chain_in_which_all_fail() {
    let watched = Watched::start();
    for at in 0..20 {
        for (provider, key) in watched.providers.iter().zip(&watched.keys) {
            provider.then(failed(key).swap_remove(at));
        }
        let answer = watched.ask(None, at % 2 == 0);
        watched.canaries.assert_not_in_answer("an answer of a whole chain", &answer);
    }
    let records = watched.daemon.wait_logs(20);
    assert!(
        records.iter().any(|record| record["attempts"].as_array().is_some_and(|attempts| attempts.len() == AUTHS.len())),
        "{records:#?}"
    );
    watched.assert_nothing_out();
}

#[test]
fn d189_no_part_of_any_key_comes_out_when_providers_are_checked() {
    let keys: Vec<String> = (40..100).map(canary).collect();
    let canaries = Canaries::new(&keys);
    let faults = |key: &String| failed(key).into_iter().chain(garbled(key)).chain(refused(key)).collect::<Vec<Reply>>();
    let count = faults(&keys[0]).len();
    assert!(count <= keys.len(), "{count} faults");
    let mut home = Home::new();
    home.set_env("RUST_LOG", "trace");
    let mut config = "[validation]\ntimeout = \"2s\"\n[pool]\nexcept = [\"ollama\", \"lmstudio\"]\n".to_owned();
    let mut providers = Vec::new();
    for (number, key) in keys.iter().enumerate().take(count) {
        let provider = Provider::start();
        provider.models(faults(key).swap_remove(number));
        home.set_env(&format!("KEY_{number}"), key);
        config.push_str(&format!("[providers.p{number}]\nbase_url = \"{}\"\napi_key_env = \"KEY_{number}\"\n", provider.base_url()));
        providers.push(provider);
    }
    home.write("routor.toml", config);
    for format in ["table", "json", "junit", "github"] {
        canaries.assert_not_in_output(format, &home.run(&["check", "-vv", "--config", "routor.toml", "--format", format]));
    }
    assert!(providers.iter().all(|provider| !provider.requests().is_empty()));
}

#[test]
fn d189_no_key_of_the_catalogue_comes_out_of_a_start_and_a_check() {
    let variables: Vec<String> = routor::catalog::builtin().providers.iter().flat_map(|provider| provider.key_env.clone()).collect();
    assert!(variables.len() > 20, "{variables:?}");
    let keys: Vec<String> = (100..).take(variables.len()).map(canary).collect();
    let canaries = Canaries::new(&keys);
    let mut home = Home::new();
    variables.iter().zip(&keys).for_each(|(variable, key)| home.set_env(variable, key));
    // Nothing leaves the machine.
    home.set_env("HTTPS_PROXY", "http://127.0.0.1:9");
    let path = home.write("all.toml", "[validation]\ntimeout = \"2s\"\n").display().to_string();
    for args in [
        &["check", "-vv", "--config", &path][..],
        &["check", "--format", "json", "--config", &path],
        &["serve", "-vv", "--port", "0", "--config", &path],
        &["chat", "-vv", "--no-stdin", "--config", &path, "hi"],
        &["chat", "--no-stdin", "--explain", "--config", &path, "hi"],
    ] {
        canaries.assert_not_in_output(&format!("{args:?}"), &home.run(args));
    }
}

// Single ways.

#[test]
fn d190_a_key_in_an_error_is_masked_in_the_answer_and_the_rest_of_it_stays() {
    let watched = Watched::start();
    let key = &watched.keys[0];
    for fault in [Reply::json(400, error_with(key)), in_two(400, "application/json", &error_with(key), key)] {
        let answer = watched.suffer(0, fault, false);
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("***")), "{}", answer.text());
        assert!(answer.text().contains("Bad header Authorization: Bearer ***"), "{}", answer.text());
    }
}

#[test]
fn d190_a_key_in_an_error_event_is_masked_however_it_is_cut() {
    let watched = Watched::start();
    let key = &watched.keys[0];
    let event = format!("data: {}\n\n", error_with(key));
    for cut in [1, event.find(key).unwrap() + 1, event.find(key).unwrap() + 39, event.rfind(key).unwrap() + 20] {
        let (before, after) = event.split_at(cut);
        let first = Reply::events_then(vec![role(), content("x")], Step::chunk(before));
        let fault = first.and(Step::Pause(Duration::from_millis(20))).and(Step::chunk(after)).and(Step::last_chunk());
        let answer = watched.suffer(0, fault, true);
        assert!(answer.text().contains("Bad header Authorization: Bearer ***"), "{}", answer.text());
    }
}

#[test]
fn d191_a_key_of_regex_characters_is_masked_by_its_letters() {
    for key in [r"sk-.*+?^${}()|[]x", "sk-%41%2Fabc%%def", r"sk-a'b~c`d<e>f&g;h", "sk-#!@=,:_-/+abc"] {
        let (a, b) = (Provider::start(), Provider::start());
        let config = chain_config(&[("a", &a), ("b", &b)]).replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
        let daemon = Daemon::builder().config(config).env("A_KEY", key).arg("-vv").start();
        a.then(Reply::json(400, json!({"error": {"message": format!("bad key {key} here"), "code": "x"}}).to_string()));
        let answer = post_chat(daemon.port(), support::ASK);
        assert_eq!((answer.status, answer.json()["error"]["message"].as_str()), (400, Some("bad key *** here")), "{key}");
        assert_eq!(a.chats()[0].header("authorization"), Some(format!("Bearer {key}").as_str()));
        assert!(!daemon.stderr().contains(key));
    }
}

#[test]
fn d192_with_everything_said_no_authorization_is_said() {
    let watched = Watched::start();
    for number in 0..AUTHS.len() {
        assert_eq!(text_of(&watched.ask(Some(number), false)), "hello");
        assert_eq!(watched.ask(Some(number), true).status, 200);
    }
    let stderr = watched.daemon.stderr().to_lowercase();
    for word in ["authorization", "x-api-key:", "x-team-secret", "reqwest", "hyper::", "rustls"] {
        assert!(!stderr.contains(word), "{word}: {stderr}");
    }
    watched.canaries.assert_not_in("standard error", stderr.as_bytes());
}

#[test]
fn d195_the_daemon_starts_no_other_program() {
    let watched = Watched::start();
    watched.ask(None, false);
    let pid = watched.daemon.pid();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("its threads").flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        assert_eq!(children, "");
    }
}

#[test]
fn d199_no_provider_ever_gets_the_key_of_another() {
    let watched = Watched::start();
    for number in 0..AUTHS.len() {
        // Each of them answers once, after all before it have failed.
        watched.providers[..number].iter().for_each(|provider| {
            provider.then(Reply::status(500));
        });
        assert_eq!(watched.ask(None, false).status, 200);
    }
    for (number, provider) in watched.providers.iter().enumerate() {
        assert!(provider.count() > 0, "p{number}");
        let own = [&watched.keys[number], &watched.keys[if number == 5 { 0 } else { number }]];
        let others = Canaries::new(watched.keys.iter().chain([&watched.client]).filter(|key| !own.contains(key)));
        for request in provider.requests() {
            others.assert_not_in(&format!("a request to p{number}"), format!("{request:?}").as_bytes());
        }
    }
}

#[test]
fn d199_a_provider_whose_variable_is_not_set_gets_nothing_and_says_which() {
    let (a, b) = (Provider::start(), Provider::start());
    let config = chain_config(&[("a", &a), ("b", &b)]);
    let config =
        config.replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1).replacen("api_key_env = \"\"", "api_key_env = \"B_KEY\"", 1);
    let daemon = Daemon::builder().config(config).env("A_KEY", &canary(1)).start();
    assert!(daemon.stderr().contains("B_KEY"), "{}", daemon.stderr());
    a.then(Reply::status(500));
    assert_eq!(post_chat(daemon.port(), support::ASK).status, 502);
    assert_eq!(b.requests().len(), 0);
}

#[test]
fn d200_status_and_check_name_variables_and_show_no_key() {
    let watched = Watched::start();
    let config = watched.daemon.config_path().display().to_string();
    let check = watched.daemon.run(&["check", "--format", "json", "--config", &config]);
    let status = watched.daemon.run(&["status", "--json"]).expect_code(0);
    for name in ["KEY_0", "KEY_1", "KEY_2", "KEY_5"] {
        assert!(check.stdout.contains(name), "{name}: {}", check.stdout);
    }
    for done in [&check, &status] {
        watched.canaries.assert_not_in_output("its output", done);
    }
}

#[test]
fn d189_a_wrong_client_key_is_not_repeated() {
    let watched = Watched::start();
    let wrong = canary(91);
    let canaries = Canaries::new([&wrong, &watched.client]);
    let answer = post(watched.daemon.port(), CHAT, &[("authorization", &format!("Bearer {wrong}"))], support::ASK);
    assert_eq!(answer.status, 401);
    canaries.assert_not_in_answer("the refusal", &answer);
    canaries.assert_not_in("standard error", watched.daemon.stderr().as_bytes());
}

#[test]
fn d189_a_key_on_standard_input_or_in_an_argument_is_not_kept() {
    let watched = Watched::start();
    watched.daemon.spawn(&["chat", "hello"], Input::Text(watched.keys[0].clone())).finish(Duration::from_secs(20)).expect_code(0);
    let mut stream = open_stream(watched.daemon.port(), support::ASK_STREAM);
    assert_eq!(stream.status, 401);
    stream.read_to_end();
    watched.assert_nothing_out();
}

#[cfg(debug_assertions)]
#[test]
fn d189_no_part_of_any_key_comes_out_of_a_panic() {
    let watched = Watched::start();
    watched.providers[0].then(Reply::events_then(vec![role(), content("x")], Step::Hang));
    let bearer = format!("Bearer {}", watched.client);
    for place in ["handler", "stream"] {
        let mut client = watched.daemon.client();
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str()), ("x-routor-test-panic", place)];
        client.send("POST", CHAT, &headers, support::ASK_STREAM);
        let answer = client.read_stream().into_response();
        watched.canaries.assert_not_in_answer(place, &answer);
    }
    assert!(watched.daemon.stderr().contains("mistake"), "{}", watched.daemon.stderr());
    watched.ask(None, false);
    watched.daemon.wait_logs(1);
    watched.assert_nothing_kept();
}

/// The owner of what `/proc` shows of a process: root for one whose memory
/// nobody may see, and of which no image is left after a crash.
fn memory_owner(pid: u32) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{pid}/mem")).expect("a process that runs"))
}

#[test]
fn d196_the_memory_with_the_keys_is_private_and_a_crash_leaves_no_image_of_it() {
    const NOBODY: u32 = 65_534;
    let provider = Provider::start();
    let home = Home::new();
    let path = home.write("routor.toml", chain_config(&[("a", &provider)]));
    fs::create_dir(home.state_dir()).expect("a folder");
    let serve = home.command(&["serve", "--config", &path.display().to_string(), "--port", "0"]);
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
    let is_root = memory_owner(std::process::id()) == 0;
    if is_root {
        // Root cannot tell who may look, so another user runs it.
        for place in [home.path(), &path, &home.state_dir()] {
            std::os::unix::fs::chown(place, Some(NOBODY), Some(NOBODY)).expect("another owner");
        }
        let program = serve.get_program().to_owned();
        let mut may_run = Command::new("setpriv");
        may_run.args(command.get_args()).args([OsStr::new("test"), OsStr::new("-x"), &program]);
        if !may_run.status().is_ok_and(|status| status.success()) {
            println!("skipped: no other user can run the program where it is");
            return;
        }
        command.arg(program);
    } else {
        command = Command::new(serve.get_program());
    }
    command.args(serve.get_args()).current_dir(home.path()).env_clear();
    command.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let daemon = Process::spawn(command, Input::Null);
    daemon.wait_stderr("listening on");
    assert_eq!(memory_owner(daemon.pid()), 0);
}

#[test]
fn d190_a_key_in_the_headers_of_an_error_is_masked() {
    let watched = Watched::start();
    for (name, value) in
        [("x-debug-authorization", "Bearer KEY"), ("www-authenticate", "Bearer realm=\"KEY\""), ("x-upstream-url", "https://x.test/?k=KEY")]
    {
        for stream in [false, true] {
            let value = value.replace("KEY", &watched.keys[0]);
            let answer = watched.suffer_surely(0, Reply::json(400, "{\"error\":{\"message\":\"no\"}}").with_header(name, &value), stream);
            assert_eq!(answer.status, 400);
        }
    }
}

#[test]
fn d190_a_key_in_a_providers_request_id_is_not_kept() {
    let watched = Watched::start();
    for status in [200, 400, 500] {
        watched.suffer_surely(0, Reply::json(status, "{}").with_header("x-request-id", &watched.keys[0]), false);
    }
    watched.providers[0].then(Reply::answer("hello").with_header("request-id", &watched.keys[0]));
    watched.ask(Some(0), false);
    watched.daemon.wait_logs(4);
    watched.assert_nothing_out();
}

#[test]
fn d189_a_key_in_the_host_of_a_redirect_is_not_shown() {
    let watched = Watched::start();
    watched.providers[0].models(Reply::json(302, "").with_header("location", &format!("https://{}.example.com/", watched.keys[0])));
    watched.daemon.run(&["reload"]).expect_code(0);
    watched.assert_nothing_out();
}

#[test]
fn d189_a_key_that_a_caller_takes_for_a_model_is_not_kept_or_repeated() {
    let watched = Watched::start();
    let bearer = format!("Bearer {}", watched.client);
    let body = json!({"model": watched.keys[0], "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let answer = post(watched.daemon.port(), CHAT, &[("authorization", &bearer)], body);
    assert_eq!(answer.status, 404);
    watched.canaries.assert_not_in_answer("the refusal", &answer);
    watched.daemon.wait_logs(1);
    watched.assert_nothing_out();
}

#[test]
fn d189_a_key_that_a_provider_says_in_base64_or_percents_is_masked() {
    let watched = Watched::start();
    let key = &watched.keys[0];
    for form in [base64(key.as_bytes()), base64(format!("user:{key}").as_bytes()), percent(key), percent(key).to_lowercase()] {
        watched.suffer_surely(0, Reply::json(400, json!({"error": {"message": form, "code": "x"}}).to_string()), false);
    }
}

#[test]
fn d200_config_show_names_variables_and_shows_no_key() {
    let watched = Watched::start();
    let config = watched.daemon.config_path().display().to_string();
    let done = watched.daemon.run(&["config", "show", "--config", &config]).expect_code(0);
    for name in ["KEY_0", "KEY_1", "KEY_2", "KEY_3", "KEY_5", "key-4", "ROUTOR_API_KEY"] {
        assert!(done.stdout.contains(name), "{name}: {}", done.stdout);
    }
    watched.canaries.assert_not_in_output("config show", &done);
}
