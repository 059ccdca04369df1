//! How the daemon starts: what the checks of the providers come to, who is in
//! the pool, which ports and folders can be had, and what other users left.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use support::{
    ASK, Client, Daemon, Finished, Gate, Home, Input, Process, Provider, Reply, Step, chain_config, chain_config_with, get, post_chat,
    routor, text_of,
};

/// Asks `met` again and again until it says yes.
#[track_caller]
fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let until = Instant::now() + support::PATIENCE;
    while !met() {
        assert!(Instant::now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The line of a provider in `status`.
#[track_caller]
fn line(daemon: &Daemon, name: &str) -> Value {
    let status: Value = serde_json::from_str(&daemon.run(&["status", "--json"]).expect_code(0).stdout).unwrap();
    let lines = status["providers"].as_array().unwrap();
    lines.iter().find(|line| line["provider"] == name).unwrap_or_else(|| panic!("no {name}: {status}")).clone()
}

// --- Who is in the pool ---

/// Provider `a` with a key and this list of models, and `b` that works.
fn judged(list: Reply) -> (Provider, Provider, Daemon) {
    judged_within("5s", list)
}

fn judged_within(patience: &str, list: Reply) -> (Provider, Provider, Daemon) {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::answer("from A")).models(list);
    b.always(Reply::answer("from B"));
    let config = chain_config_with(&[("a", &a), ("b", &b)], &format!("[validation]\ntimeout = \"{patience}\"\n"));
    let config = config.replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
    let daemon = Daemon::builder().config(config).env("A_KEY", "sk-canary-1").start();
    (a, b, daemon)
}

#[track_caller]
fn said(daemon: &Daemon) -> String {
    text_of(&post_chat(daemon.port(), ASK))
}

#[test]
fn d166_d164_d174_what_proves_nothing_stays_in_the_pool() {
    let scopes = r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read."}}"#;
    let page = Reply::json(200, "<html>Sign in</html>").with_header("content-type", "text/html");
    let away = Reply::json(302, "").with_header("location", "https://login.example/");
    for list in [Reply::status(429), Reply::status(404), Reply::json(405, ""), page, Reply::json(401, scopes), away] {
        let (_a, _b, daemon) = judged(list);
        let line = line(&daemon, "a");
        assert_eq!((&line["validation"], &line["in_pool"]), (&"unverified".into(), &true.into()), "{line}");
        assert_eq!(said(&daemon), "from A");
    }
}

#[test]
fn d166_what_cannot_be_reached_is_removed_and_named_with_what_brings_it_back() {
    for list in [Reply::status(500), Reply::status(503), Reply::close()] {
        let (a, _b, daemon) = judged(list);
        let line = line(&daemon, "a");
        assert_eq!((&line["validation"], &line["in_pool"]), (&"unreachable".into(), &false.into()), "{line}");
        assert_eq!((said(&daemon).as_str(), a.count()), ("from B", 0));
        let shown = daemon.run(&["status"]).expect_code(0).stdout;
        assert!(shown.contains("routor reload"), "{shown}");
        a.model_ids(&["m1"]);
        daemon.run(&["reload"]).expect_code(0);
        assert_eq!(said(&daemon), "from A");
    }
}

#[test]
fn d162_d165_a_rejected_key_is_removed_and_its_variable_is_named() {
    let (a, _b, daemon) = judged(Reply::status(401));
    let line = line(&daemon, "a");
    assert_eq!((&line["validation"], &line["in_pool"]), (&"rejected".into(), &false.into()), "{line}");
    assert_eq!((said(&daemon).as_str(), a.count()), ("from B", 0));
    assert!(daemon.stderr().contains("A_KEY") && !daemon.stderr().contains("canary"), "{}", daemon.stderr());
}

#[test]
fn d172_an_answer_that_comes_after_the_time_limit_is_not_heeded() {
    let gate = Gate::new();
    let (a, _b, daemon) = judged_within("1500ms", Reply::model_list(&["m1"]).after(Step::WaitFor(gate.clone())));
    gate.open();
    a.wait_for_no_connections();
    let line = line(&daemon, "a");
    assert_eq!((&line["validation"], &line["in_pool"]), (&"unreachable".into(), &false.into()), "{line}");
    assert_eq!(said(&daemon), "from B");
}

#[test]
fn d172_the_port_opens_after_the_time_limit_though_a_provider_is_silent() {
    let started = Instant::now();
    let (a, b, daemon) = judged_within("1500ms", Reply::hang());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(said(&daemon), "from B");
    assert_eq!((a.count(), b.count()), (0, 1));
}

#[test]
fn d171_no_provider_left_is_the_table_and_exit_1_and_the_port_stays_closed() {
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
    let end = process.finish(Duration::from_secs(5)).expect_code(1);
    assert!(end.stderr.contains("dead") && end.stderr.contains("unreachable") && end.stderr.contains("routor check"), "{}", end.stderr);
}

#[test]
fn d171_wait_goes_on_until_a_provider_appears() {
    let provider = Provider::start();
    provider.stop();
    let config = chain_config(&[("a", &provider)]);
    let (home, process) = Daemon::builder().config(config).arg("--wait=30s").spawn_only();
    process.wait_stderr("unreachable");
    provider.restart();
    process.wait_stderr("listening on");
    assert_eq!(home.run(&["chat", "--no-stdin", "hi"]).expect_code(0).stdout, "hello\n");
    process.signal("TERM");
    assert_eq!(process.wait_exit(Duration::from_secs(5)), 0);
}

#[test]
fn d171_wait_gives_up_when_its_time_is_over() {
    let provider = Provider::start();
    provider.stop();
    let started = Instant::now();
    Daemon::builder().config(chain_config(&[("a", &provider)])).arg("--wait=1s").start_expecting_exit().expect_code(1);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
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
fn nothing_configured_is_exit_2() {
    let end = routor(&["serve", "--port", "0"], &[]).expect_code(2);
    assert!(end.stderr.contains("OPENAI_API_KEY") && end.stderr.contains("--demo"), "{}", end.stderr);
}

// --- Built-in providers at their own addresses ---

/// The machines of all vendors in one: a proxy behind which every name answers
/// with TLS. `/v1/models` and `/v1beta/models` are lists, all else is a 404.
struct Vendors {
    port: u16,
    certificate: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Vendors {
    fn start(host: &'static str) -> Self {
        let authority = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&authority).unwrap().pem();
        let config = Arc::new(shown_by(host, &Issuer::new(params, authority)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, heads) = (Arc::clone(&config), Arc::clone(&heads));
                thread::spawn(move || tunnel(stream, config, &heads));
            }
        });
        Self { port, certificate, asked }
    }

    /// A home whose calls to other machines all end here.
    fn home(&self, config: &str) -> Home {
        let mut home = Home::new();
        home.write("routor.toml", config);
        let path = home.write("ca.pem", &self.certificate).display().to_string();
        home.set_env("SSL_CERT_FILE", &path);
        home.set_env("HTTPS_PROXY", &format!("http://127.0.0.1:{}", self.port));
        home
    }

    /// The heads of the requests so far.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn shown_by(host: &str, issuer: &Issuer<'_, KeyPair>) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    builder.with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))).unwrap()
}

/// One request through CONNECT.
fn tunnel(mut stream: TcpStream, config: Arc<ServerConfig>, heads: &Mutex<Vec<String>>) {
    let Some(connect) = head(&mut stream) else { return };
    if !connect.starts_with("CONNECT ") || stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").is_err() {
        return;
    }
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let Some(asked) = head(&mut stream) else { return };
    let known = ["GET /v1/models ", "GET /v1beta/models "].iter().any(|start| asked.starts_with(start));
    heads.lock().unwrap().push(asked);
    let (line, body) = if known { ("200 OK", r#"{"data":[{"id":"m1"}]}"#) } else { ("404 Not Found", "{}") };
    let head = format!("HTTP/1.1 {line}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn head(stream: &mut impl Read) -> Option<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    String::from_utf8(text).ok()
}

/// The row of the only provider in the report of `check`.
#[track_caller]
fn checked(home: &Home) -> (Value, Finished) {
    let path = home.path().join("routor.toml").display().to_string();
    let done = home.run(&["check", "--config", &path, "--format", "json"]);
    let report: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|problem| panic!("{problem}: {}", done.stderr));
    (report["providers"][0].clone(), done)
}

#[test]
fn d168_perplexity_is_asked_at_its_own_list_of_models() {
    let vendors = Vendors::start("api.perplexity.ai");
    let mut home = vendors.home("[pool]\nonly = [\"perplexity\"]\n");
    home.set_env("PERPLEXITY_API_KEY", "pplx-canary-1");
    let (row, done) = checked(&home);
    assert_eq!((&row["result"], &row["status"], done.code), (&"unverified".into(), &200.into(), 0), "{row}");
    let asked = vendors.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].starts_with("GET /v1/models "), "{asked:?}");
}

#[test]
fn d170_of_two_variables_that_differ_the_first_documented_one_is_used() {
    let vendors = Vendors::start("generativelanguage.googleapis.com");
    let mut home = vendors.home("[pool]\nonly = [\"google\"]\n");
    home.set_env("GOOGLE_API_KEY", "g-canary-second");
    home.set_env("GEMINI_API_KEY", "g-canary-first");
    let (row, done) = checked(&home);
    assert_eq!((&row["result"], &row["key_env"]), (&"ok".into(), &"GEMINI_API_KEY".into()), "{row}");
    assert!(done.stderr.contains("GEMINI_API_KEY is used") && !done.stderr.contains("canary"), "{}", done.stderr);
    let asked = vendors.asked().concat();
    assert!(asked.contains("x-goog-api-key: g-canary-first") && !asked.contains("second"), "{asked}");
    assert!(!asked.contains("?key="), "{asked}");
}

// --- Ports ---

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
fn d183_a_port_that_this_users_routor_has_is_said_to_be_routors_with_its_number() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let (config, port) = (daemon.config_path().display().to_string(), daemon.port().to_string());
    let end = daemon.run(&["serve", "--config", &config, "--port", &port]).expect_code(1);
    assert!(end.stderr.contains("already runs") && end.stderr.contains(&format!("pid {}", daemon.pid())), "{}", end.stderr);
    assert!(!end.stderr.contains("another program"), "{}", end.stderr);
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
fn d241_a_wrong_file_is_exit_2() {
    let end = Daemon::builder().config("[serverr]\n").start_expecting_exit().expect_code(2);
    assert!(end.stderr.contains("serverr"), "{}", end.stderr);
}

#[test]
fn d241_nothing_to_serve_is_exit_1() {
    let dead = Provider::start();
    dead.stop();
    let end = Daemon::builder().config(chain_config(&[("dead", &dead)])).start_expecting_exit().expect_code(1);
    assert!(end.stderr.contains("no provider is left"), "{}", end.stderr);
}

// --- Folders ---

#[test]
fn d188_a_state_folder_with_spaces_and_beyond_ascii_works() {
    let provider = Provider::start();
    let home = Home::new();
    let config = home.write("routor.toml", chain_config(&[("a", &provider)])).display().to_string();
    let state = home.path().join("mit Leer/köln \u{1f600}").display().to_string();
    let process = home.spawn(&["--state", &state, "serve", "--config", &config, "--port", "0"], Input::Null);
    process.wait_stderr("listening on");
    home.run(&["--state", &state, "chat", "--no-stdin", "hi"]).expect_code(0);
    let shown = home.run(&["--state", &state, "logs", "--all", "--json"]).expect_code(0).stdout;
    assert_eq!(shown.lines().count(), 1, "{shown}");
    home.run(&["--state", &state, "stop"]).expect_code(0);
}

#[cfg(target_os = "linux")]
#[test]
fn d188_relative_xdg_folders_are_not_used() {
    let provider = Provider::start();
    let home = Home::new();
    let text = chain_config(&[("a", &provider)]);
    home.write("relative/routor/routor.toml", "[not a configuration");
    home.write(".config/routor/routor.toml", text);
    let mut command = home.command(&["chat", "--no-stdin", "hi"]);
    command.env_remove("ROUTOR_STATE").env("XDG_CONFIG_HOME", "relative").env("XDG_STATE_HOME", "relative");
    Process::spawn(command, Input::Null).finish(support::PATIENCE).expect_code(0);
    assert!(home.path().join(".local/state/routor/requests.db").exists());
    assert!(!home.path().join("relative/routor/requests.db").exists());
}

#[test]
fn d188_a_state_folder_that_cannot_be_made_is_named_with_what_helps() {
    let home = Home::new();
    let file = home.write("a file", "");
    let state = file.join("below").display().to_string();
    for command in [&["serve", "--port", "0"][..], &["status"], &["logs"]] {
        let end = home.run(&[&["--state", &state], command].concat()).expect_code(2);
        assert!(end.stderr.contains(&state) && end.stderr.contains("--state"), "{}", end.stderr);
    }
}

#[test]
fn d242_a_daemon_in_a_deleted_folder_serves() {
    let provider = Provider::start();
    let home = Home::new();
    let config = home.write("routor.toml", chain_config(&[("a", &provider)])).display().to_string();
    let gone = home.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let command = home.command(&["serve", "--config", &config, "--port", "0"]);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("rmdir \"$PWD\" && exec \"$0\" \"$@\"").arg(command.get_program()).args(command.get_args()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(&gone);
    let process = Process::spawn(shell, Input::Null);
    process.wait_stderr("listening on");
    assert_eq!(home.run(&["chat", "--no-stdin", "hi"]).expect_code(0).stdout, "hello\n");
    home.write("routor.toml", chain_config_with(&[("a", &provider)], "[breaker]\nfailures = 3\n"));
    home.run(&["reload"]).expect_code(0);
}

// --- Other users ---

/// The user that these tests are, and nobody.
const NOBODY: u32 = 65_534;

fn own_user() -> u32 {
    let told = Command::new("id").arg("-u").output().unwrap().stdout;
    String::from_utf8_lossy(&told).trim().parse().unwrap()
}

/// Whether something can be done as root, and how that command begins; said
/// when not, since a test that needs it then shows nothing.
fn root() -> Option<Command> {
    if own_user() == 0 {
        return Some(Command::new("env"));
    }
    let mut sudo = Command::new("sudo");
    let able = sudo.args(["-n", "true"]).status().is_ok_and(|status| status.success());
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "env"]);
    if !able {
        eprintln!("not tested: this needs root, or sudo without a password");
    }
    able.then_some(sudo)
}

/// The command with all that it is given, behind these words.
fn behind(mut words: Command, command: &Command, program: &Path) -> Command {
    words.arg("-i");
    words.args(command.get_envs().filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value?.to_str()?))));
    words.arg(program).args(command.get_args());
    words
}

/// The command as a user without special rights: this one, or nobody if this is root.
fn as_plain_user(home: &Home, command: Command) -> Command {
    if own_user() != 0 {
        return command;
    }
    let mut setpriv = Command::new("setpriv");
    setpriv.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "env"]);
    let routor = command.get_program() == env!("CARGO_BIN_EXE_routor");
    let copy = home.path().join("routor-for-everybody");
    behind(setpriv, &command, if routor { &copy } else { Path::new(command.get_program()) })
}

/// Gives a home to the user of [`as_plain_user`], with a copy of the binary: the
/// one that was built may be where only root can go.
fn for_plain_user(home: &Home) {
    if own_user() != 0 {
        return;
    }
    fs::copy(env!("CARGO_BIN_EXE_routor"), home.path().join("routor-for-everybody")).unwrap();
    let path = home.path().display().to_string();
    let done = Command::new("chown").args(["-R", &NOBODY.to_string(), &path]).status().unwrap();
    assert!(done.success());
}

#[track_caller]
fn finish(command: Command) -> Finished {
    Process::spawn(command, Input::Null).finish(Duration::from_secs(30))
}

#[test]
fn d175_a_configuration_that_may_not_be_read_is_named() {
    let home = Home::new();
    let path = home.write("routor.toml", "");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    for_plain_user(&home);
    let path = path.display().to_string();
    let done = finish(as_plain_user(&home, home.command(&["check", "--config", &path]))).expect_code(2);
    assert!(done.stderr.contains(&path) && done.stderr.contains("ermission"), "{}", done.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn d184_a_port_that_needs_special_rights_is_refused_in_clear_words() {
    let first_free = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first_free.trim() == "0" {
        eprintln!("not tested: this machine gives every port to everybody");
        return;
    }
    let provider = Provider::start();
    let home = Home::new();
    let config = home.write("routor.toml", chain_config(&[("a", &provider)])).display().to_string();
    for_plain_user(&home);
    let done = finish(as_plain_user(&home, home.command(&["serve", "--config", &config, "--port", "1"]))).expect_code(1);
    assert!(done.stderr.contains("127.0.0.1:1 ") && done.stderr.contains("--port"), "{}", done.stderr);
}

#[test]
fn d188_a_folder_that_may_not_be_written_to_is_named_with_what_helps() {
    let home = Home::new();
    let folder = home.path().join("locked");
    fs::create_dir(&folder).unwrap();
    for_plain_user(&home);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    let state = folder.join("s").display().to_string();
    let done = finish(as_plain_user(&home, home.command(&["--state", &state, "serve", "--port", "0"]))).expect_code(2);
    assert!(done.stderr.contains(&state) && done.stderr.contains("--state"), "{}", done.stderr);
}

/// Gives a folder to another user than the one of these tests.
fn give_away(mut root: Command, folder: &Path) {
    let other = if own_user() == 0 { NOBODY } else { 0 };
    assert!(root.arg("chown").arg(other.to_string()).arg(folder).status().unwrap().success());
}

#[test]
fn d216_a_state_folder_of_another_user_is_refused_and_nothing_is_put_there() {
    let Some(root) = root() else { return };
    let provider = Provider::start();
    let home = Home::new();
    let config = home.write("routor.toml", chain_config(&[("a", &provider)])).display().to_string();
    let (folder, link) = (home.path().join("theirs"), home.path().join("link"));
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    symlink(&folder, &link).unwrap();
    give_away(root, &folder);
    for state in [folder.display().to_string(), link.display().to_string()] {
        for command in [&["serve", "--config", &config, "--port", "0"][..], &["status"], &["logs"], &["stop"]] {
            let end = home.run(&[&["--state", &state], command].concat()).expect_code(2);
            assert!(end.stderr.contains(&state) && end.stderr.contains("another user"), "{}", end.stderr);
        }
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

/// Where [`d221_another_user_is_turned_away_from_the_socket`] finds the socket when
/// it is started a second time, as that user.
const THEIR_SOCKET: &str = "ROUTOR_TEST_SOCKET";

#[test]
fn d221_another_user_is_turned_away_from_the_socket() {
    if let Some(path) = std::env::var_os(THEIR_SOCKET) {
        let mut stream = UnixStream::connect(path).unwrap();
        let mut said = Vec::new();
        let read = stream.write_all(b"{\"command\":\"status\"}\n").and_then(|()| stream.read_to_end(&mut said));
        assert!(said.is_empty(), "{:?} after {read:?}", String::from_utf8_lossy(&said));
        return;
    }
    let Some(mut words) = root() else { return };
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    // Everybody may come in, as after a careless chmod.
    let (home, state) = (daemon.home().path(), daemon.state_dir());
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let test = home.join("test");
    fs::copy(std::env::current_exe().unwrap(), &test).unwrap();
    [home, &state].into_iter().for_each(|folder| open(folder, 0o755));
    open(&state.join("routor.sock"), 0o666);
    words.args(["setpriv", &format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "env"]);
    words.arg(format!("{THEIR_SOCKET}={}", state.join("routor.sock").display()));
    words.arg(test).args(["--exact", "d221_another_user_is_turned_away_from_the_socket"]);
    let done = finish(words).expect_code(0);
    assert!(done.stdout.contains("1 passed"), "{}", done.stdout);
    daemon.wait_stderr("another user");
    daemon.run(&["status"]).expect_code(0);
}

/// A home of the plain user, and commands in it without a state folder that
/// somebody named, as the plain user and as root.
struct Shared {
    home: Home,
    config: String,
}

impl Shared {
    fn new(provider: &Provider) -> Self {
        let home = Home::new();
        let config = home.write("routor.toml", chain_config(&[("a", provider)])).display().to_string();
        // Made here, so that the user can remove what root makes in it.
        fs::create_dir_all(home.path().join(".local/state")).unwrap();
        for_plain_user(&home);
        Self { home, config }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.home.command(args);
        command.env_remove("ROUTOR_STATE");
        command
    }

    fn as_user(&self, args: &[&str]) -> Command {
        as_plain_user(&self.home, self.command(args))
    }

    fn as_root(&self, args: &[&str]) -> Option<Command> {
        Some(behind(root()?, &self.command(args), Path::new(env!("CARGO_BIN_EXE_routor"))))
    }
}

#[cfg(target_os = "linux")]
#[test]
fn d237_root_leaves_nothing_in_the_state_folder_of_a_user() {
    let provider = Provider::start();
    let shared = Shared::new(&provider);
    finish(shared.as_user(&["logs"])).expect_code(0);
    for args in [&["serve", "--config", &shared.config, "--port", "0"][..], &["logs"], &["stop"]] {
        let Some(command) = shared.as_root(args) else { return };
        let done = finish(command).expect_code(2);
        assert!(done.stderr.contains("another user") && done.stderr.contains("--state"), "{}", done.stderr);
    }
    let process = Process::spawn(shared.as_user(&["serve", "--config", &shared.config, "--port", "0"]), Input::Null);
    process.wait_stderr("listening on");
}

#[cfg(target_os = "linux")]
#[test]
fn d237_a_state_folder_that_root_made_is_said_to_be_another_users() {
    let provider = Provider::start();
    let shared = Shared::new(&provider);
    let Some(command) = shared.as_root(&["logs"]) else { return };
    finish(command).expect_code(0);
    let done = finish(shared.as_user(&["serve", "--config", &shared.config, "--port", "0"])).expect_code(2);
    for text in [".local/state/routor", "another user", "--state"] {
        assert!(done.stderr.contains(text), "{text}: {}", done.stderr);
    }
    // The way out that the message names.
    let other = shared.home.path().join("other").display().to_string();
    let args = ["--state", &other, "serve", "--config", &shared.config, "--port", "0"];
    let process = Process::spawn(shared.as_user(&args), Input::Null);
    process.wait_stderr("listening on");
}

/// How many threads and processes the user may have when this process makes one more.
#[cfg(target_os = "linux")]
fn limit_threads(home: &Home, process: &Process, limit: &str) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &process.pid().to_string(), &format!("--nproc={limit}:")]).env_clear();
    prlimit.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    finish(as_plain_user(home, prlimit)).expect_code(0);
}

/// The limit that it came with.
#[cfg(target_os = "linux")]
fn usual_limit(process: &Process) -> String {
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max processes")).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

// A name has to be looked up, which the system does in a thread.
#[cfg(target_os = "linux")]
#[test]
fn d266_without_threads_requests_are_answered_and_the_daemon_lives() {
    let provider = Provider::start();
    let home = Home::new();
    let config = chain_config(&[("a", &provider)]).replace("127.0.0.1", "localhost");
    let config = home.write("routor.toml", config).display().to_string();
    for_plain_user(&home);
    let process = Process::spawn(as_plain_user(&home, home.command(&["serve", "--config", &config, "--port", "0"])), Input::Null);
    let text = process.wait_stderr("listening on http://127.0.0.1:");
    let port: String = text.split_once("on http://127.0.0.1:").unwrap().1.chars().take_while(char::is_ascii_digit).collect();
    let port = port.parse().unwrap();
    let usual = usual_limit(&process);
    limit_threads(&home, &process, "1");
    for _ in 0..5 {
        let response = post_chat(port, ASK);
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!(get(port, "/health").status, 200);
    limit_threads(&home, &process, &usual);
    eventually("an answer", || Client::connect(port).post_chat(ASK).status == 200);
}

#[test]
fn d266_a_name_that_cannot_be_looked_up_for_want_of_threads_falls_over() {
    let (a, b) = (Provider::start(), Provider::start());
    b.always(Reply::answer("from B"));
    let home = Home::new();
    let config = chain_config(&[("a", &a), ("b", &b)]).replacen("127.0.0.1", "localhost", 1);
    let config = home.write("routor.toml", config).display().to_string();
    let copy = home.path().join("routor-for-everybody");
    fs::copy(env!("CARGO_BIN_EXE_routor"), &copy).unwrap();
    assert!(Command::new("chown").args(["-R", "65534"]).arg(home.path()).status().unwrap().success());
    let nobody = |home: &Home| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "env", "-i"]);
        command.arg(format!("PATH={}", std::env::var("PATH").unwrap())).arg(format!("HOME={}", home.path().display()));
        command.arg(format!("ROUTOR_STATE={}", home.state_dir().display()));
        command
    };
    let mut serve = nobody(&home);
    serve.arg(&copy).args(["serve", "--config", &config, "--port", "0"]);
    let process = Process::spawn(serve, Input::Null);
    let text = process.wait_stderr("listening on http://127.0.0.1:");
    let port: String = text.split_once("on http://127.0.0.1:").unwrap().1.chars().take_while(char::is_ascii_digit).collect();
    let mut limit = nobody(&home);
    limit.args(["prlimit", "--pid", &process.pid().to_string(), "--nproc=1:"]);
    assert!(limit.status().unwrap().success());
    let response = Client::connect(port.parse().unwrap()).post_chat(ASK);
    assert_eq!(response.status, 200, "{}\n{}", response.text(), process.stderr());
    assert!(!process.stderr().contains("made a mistake"), "{}", process.stderr());
}

#[test]
fn d237_root_that_makes_the_state_folder_in_the_home_of_a_user_is_warned() {
    let home = Home::new();
    fs::create_dir_all(home.path().join(".local/state")).unwrap();
    assert!(Command::new("chown").args(["-R", "65534"]).arg(home.path()).status().unwrap().success());
    let mut command = home.command(&["logs"]);
    command.env_remove("ROUTOR_STATE");
    let done = Process::spawn(command, Input::Null).finish(Duration::from_secs(10));
    let made = fs::symlink_metadata(home.path().join(".local/state/routor")).is_ok();
    assert!(!made || done.stderr.contains("warning"), "root's folder in a user's home, and no word: {}", done.stderr);
}
