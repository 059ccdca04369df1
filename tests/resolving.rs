//! Providers by name: what follows when a name cannot be looked up, when its
//! address changes, and when it has addresses of both kinds.
//!
//! The daemons here run with files of their own in place of `/etc/hosts` and
//! `/etc/resolv.conf`, which takes a mount namespace. Where the system does not
//! allow that, a test says so and is skipped.

#![cfg(target_os = "linux")]

mod chains;
mod support;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chains::{NO_BREAKER, QUICK, black_hole};
use serde_json::Value;
use support::{ASK, Home, Input, PATIENCE, Process, Provider, Reply, chain_config_with, classes, post_chat, text_of};

/// A name for private use, which may be reached without TLS.
const NAME: &str = "lab.internal";

// A name server.

/// What the name server says of every name.
#[derive(Clone, Copy)]
enum Says {
    At(Ipv4Addr),
    NoSuchName,
    ServerFailure,
    /// The name is there and has no address.
    NoAddress,
    Nothing,
}

const LIVE: Says = Says::At(Ipv4Addr::LOCALHOST);

struct Names {
    says: Arc<Mutex<Says>>,
    address: Ipv4Addr,
}

impl Names {
    /// A name server on an address of its own, since its port is fixed.
    fn start() -> io::Result<Self> {
        static COUNT: AtomicU8 = AtomicU8::new(2);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high | 1, low, COUNT.fetch_add(1, Ordering::SeqCst));
        let socket = UdpSocket::bind((address, 53))?;
        let says = Arc::new(Mutex::new(LIVE));
        let said = Arc::clone(&says);
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                let says = *said.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = reply(&question[..length], says) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(Self { says, address })
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = says;
    }
}

/// The answer to one question, which is taken over as it stands.
fn reply(question: &[u8], says: Says) -> Option<Vec<u8>> {
    let name = question.get(12..)?.iter().position(|byte| *byte == 0)? + 12;
    let asked = question.get(12..name + 5)?;
    let is_v4 = question.get(name + 2) == Some(&1);
    let (code, address) = match says {
        Says::Nothing => return None,
        Says::ServerFailure => (2, None),
        Says::NoSuchName => (3, None),
        Says::NoAddress => (0, None),
        Says::At(address) => (0, Some(address).filter(|_| is_v4)),
    };
    let answers = u8::from(address.is_some());
    let mut answer = [question.get(..2)?, &[0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0], asked].concat();
    if let Some(address) = address {
        // The name as in the question, type A, class IN, kept for an hour.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

// A daemon that looks names up in files of the test.

/// The ways to a mount namespace: as root, or as root of a user namespace.
const WAYS: [&[&str]; 2] = [&["--mount"], &["--map-root-user", "--mount"]];
const MOUNTS: &str = r#"mount --bind "$1/hosts" /etc/hosts && mount --bind "$1/resolv.conf" /etc/resolv.conf && \
    { [ ! -e /etc/nsswitch.conf ] || mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf; } && shift && exec "$@""#;

/// How this machine makes a mount namespace, if it does.
static WAY: LazyLock<Option<&'static [&'static str]>> = LazyLock::new(|| {
    let home = Home::new();
    write_files(&home, "", None);
    let works = |way: &&&[&str]| {
        let mut probe = Command::new("unshare");
        probe.args(**way).args(["sh", "-c", MOUNTS, "sh"]).arg(home.path()).arg("true");
        probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    WAYS.iter().find(works).copied()
});

fn write_files(home: &Home, hosts: &str, names: Option<&Names>) {
    let server = names.map_or(Ipv4Addr::LOCALHOST, |names| names.address);
    home.write("hosts", hosts);
    home.write("resolv.conf", format!("nameserver {server}\noptions timeout:5 attempts:2\n"));
    home.write("nsswitch.conf", "hosts: files dns\n");
}

struct Daemon {
    process: Process,
    home: Home,
    port: u16,
}

impl Daemon {
    /// None when there is no way to give it files of its own.
    #[track_caller]
    fn start(config: &str, hosts: &str, names: Option<&Names>) -> Option<Self> {
        let way = (*WAY)?;
        let home = Home::new();
        write_files(&home, hosts, names);
        let config = home.write("routor.toml", config);
        let process = Process::spawn(inside(way, &home, &config), Input::Null);
        let said = process.wait_stderr("listening on http://127.0.0.1:");
        let (_, after) = said.split_once("listening on http://127.0.0.1:")?;
        let port = after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()?;
        Some(Self { process, home, port })
    }

    #[track_caller]
    fn said(&self) -> String {
        text_of(&post_chat(self.port, ASK))
    }

    /// The classes of the attempts of the request that came as number `count`.
    #[track_caller]
    fn classes(&self, count: usize) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let done = self.home.run(&["logs", "--all", "--json"]).expect_code(0);
            if let Some(line) = done.stdout.lines().nth(count - 1) {
                let record: Value = serde_json::from_str(line).expect("a record");
                return classes(&record).into_iter().map(str::to_owned).collect();
            }
            assert!(Instant::now() < until, "no record {count}; stderr:\n{}", self.process.stderr());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// `routor serve` with the files of the home in place of the system's.
fn inside(way: &[&str], home: &Home, config: &Path) -> Command {
    let args = ["serve", "--port", "0", "--config"].map(AsRef::as_ref);
    let plain = home.command(&args.into_iter().chain([config.as_os_str()]).collect::<Vec<_>>());
    let mut command = Command::new("unshare");
    command.args(way).args(["sh", "-c", MOUNTS, "sh"]).arg(home.path());
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(home.path()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

fn skipped(why: &str) {
    println!("skipped: {why}");
}

const NO_MOUNTS: &str = "no mount namespace on this machine";

/// `a`, under a name, before `b`.
struct Named {
    a: Provider,
    b: Provider,
    names: Names,
    daemon: Daemon,
}

impl Named {
    /// None, with the reason printed, where it cannot be tried.
    #[track_caller]
    fn start(extra: &str) -> Option<Self> {
        let names = Names::start().map_err(|problem| skipped(&format!("no name server: {problem}"))).ok()?;
        let (a, b, config) = chain(NAME, extra);
        let daemon = Daemon::start(&config, "127.0.0.1 localhost\n", Some(&names));
        let daemon = daemon.or_else(|| {
            skipped(NO_MOUNTS);
            None
        })?;
        Some(Self { a, b, names, daemon })
    }
}

/// "from A" under this host name, and "from B".
fn chain(host: &str, extra: &str) -> (Provider, Provider, String) {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::answer("from A"));
    b.always(Reply::answer("from B"));
    let own = a.base_url();
    let config = chain_config_with(&[("a", &a), ("b", &b)], &format!("{NO_BREAKER}{extra}"));
    let config = config.replacen(&own, &own.replace("127.0.0.1", host), 1);
    (a, b, config)
}

#[test]
fn d017_a_name_that_is_not_found_falls_over_and_is_looked_up_again() {
    let Some(named) = Named::start("") else { return };
    for (count, says) in [Says::NoSuchName, Says::ServerFailure, Says::NoAddress].into_iter().enumerate() {
        named.names.say(says);
        named.a.close_connections();
        assert_eq!(named.daemon.said(), "from B");
        assert_eq!(named.daemon.classes(2 * count + 1), ["network", "ok"]);
        named.names.say(LIVE);
        assert_eq!(named.daemon.said(), "from A", "nothing of the failure is kept");
    }
}

#[test]
fn d018_a_name_server_that_hangs_costs_the_connect_time_and_holds_up_nobody() {
    let Some(named) = Named::start("[timeouts]\nconnect = \"500ms\"\n") else { return };
    named.names.say(Says::Nothing);
    let started = Instant::now();
    assert_eq!(named.daemon.said(), "from B");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(490) && took < QUICK, "{took:?}");
    assert_eq!(named.daemon.classes(1), ["timeout", "ok"]);
    thread::scope(|scope| {
        let hanging: Vec<_> = (0..30).map(|_| scope.spawn(|| named.daemon.said())).collect();
        let started = Instant::now();
        let direct = post_chat(named.daemon.port, ASK.replace("auto", "b/m1"));
        assert_eq!(text_of(&direct), "from B");
        assert!(started.elapsed() < QUICK, "{:?}", started.elapsed());
        assert!(hanging.into_iter().all(|one| one.join().is_ok_and(|said| said == "from B")));
    });
}

#[test]
fn d019_a_name_that_moves_to_a_live_address_is_used_at_once() {
    let Some(named) = Named::start("") else { return };
    named.names.say(Says::At(Ipv4Addr::new(127, 0, 0, 9)));
    for count in 1..3 {
        assert_eq!(named.daemon.said(), "from B");
        assert_eq!(named.daemon.classes(count), ["network", "ok"]);
    }
    named.names.say(LIVE);
    assert_eq!(named.daemon.said(), "from A");
    assert_eq!(named.b.count(), 2);
}

/// The port of the provider on the loopback address of the other kind.
fn v6(provider: &Provider) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::LOCALHOST, provider.port()))
}

#[test]
fn d020_a_dead_address_of_ipv6_beside_a_live_one_costs_next_to_nothing() {
    let (a, b, config) = chain("dual.internal", "[timeouts]\nconnect = \"10s\"\n");
    let Some(_hole) = black_hole(v6(&a)) else { return skipped("no listener on [::1] that is full") };
    let hosts = "::1 dual.internal\n127.0.0.1 dual.internal\n";
    let Some(daemon) = Daemon::start(&config, hosts, None) else { return skipped(NO_MOUNTS) };
    for _ in 0..2 {
        a.close_connections();
        let started = Instant::now();
        assert_eq!(daemon.said(), "from A");
        assert!(started.elapsed() < QUICK, "{:?}", started.elapsed());
    }
    assert_eq!(b.count(), 0);
}

const BOTH: &str = "127.0.0.1 localhost\n::1 localhost\n";

#[test]
fn d021_localhost_is_found_at_127_0_0_1() {
    let (a, b, config) = chain("localhost", "");
    let Some(daemon) = Daemon::start(&config, BOTH, None) else { return skipped(NO_MOUNTS) };
    assert_eq!((daemon.said().as_str(), a.count(), b.count()), ("from A", 1, 0));
}

/// Passes every connection to the port of [::1] on to the provider.
fn pass_on(to: u16) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        while let Ok((from, _)) = listener.accept() {
            let Ok(to) = TcpStream::connect((IpAddr::from(Ipv4Addr::LOCALHOST), to)) else { return };
            for (from, to) in [(from.try_clone(), to.try_clone()), (Ok(to), Ok(from))] {
                let (Ok(mut from), Ok(mut to)) = (from, to) else { return };
                thread::spawn(move || io::copy(&mut from, &mut to).and_then(|_| to.shutdown(std::net::Shutdown::Write)));
            }
        }
    });
    Ok(port)
}

#[test]
fn d021_localhost_is_found_at_ipv6_alone() {
    let (a, b, config) = chain("localhost", "");
    let Ok(port) = pass_on(a.port()) else { return skipped("no [::1] on this machine") };
    let config = config.replacen(&format!("localhost:{}", a.port()), &format!("localhost:{port}"), 1);
    let Some(daemon) = Daemon::start(&config, BOTH, None) else { return skipped(NO_MOUNTS) };
    assert_eq!((daemon.said().as_str(), a.count(), b.count()), ("from A", 1, 0));
}
