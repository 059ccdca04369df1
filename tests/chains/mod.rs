//! What the tests of chains share: small settings, waiting, and the texts that
//! are compared again and again. A test file says `mod support;` beside it.

#![forbid(unsafe_code)]
// Every test file compiles this module anew and uses only a part of it.
#![allow(dead_code)]

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::{self, Daemon, Pair, Provider, Reply, chain_config_with};

/// The one body of a chain of which every model failed.
pub const ALL_FAILED: &str = r#"{"error":{"message":"All providers in the fallback chain failed. Please try again.","type":"provider_error","code":"all_models_failed"}}"#;
/// Nothing but a provider's hint makes a model cool.
pub const NO_BREAKER: &str = "[breaker]\nfailures = 0\n";
/// Longer than anything that should be quick may take, even on a slow machine.
pub const QUICK: Duration = Duration::from_secs(3);

/// A daemon over these providers with more TOML at the end.
#[track_caller]
pub fn daemon(providers: &[(&str, &Provider)], extra: &str) -> Daemon {
    Daemon::start(chain_config_with(providers, extra))
}

/// Providers that answer with these texts.
pub fn providers<const N: usize>(texts: [&str; N]) -> [Provider; N] {
    texts.map(|text| {
        let provider = Provider::start();
        provider.always(Reply::answer(text));
        provider
    })
}

/// Asks until the answer has this text; the time that took.
#[track_caller]
pub fn until_said(pair: &Pair, text: &str, bound: Duration) -> Duration {
    let started = Instant::now();
    loop {
        let said = pair.said();
        if said == text {
            return started.elapsed();
        }
        assert!(started.elapsed() < bound, "still {said:?} after {bound:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asks until `met` says yes.
#[track_caller]
pub fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let until = Instant::now() + support::PATIENCE;
    while !met() {
        assert!(Instant::now() < until, "{what}: not within {:?}", support::PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
}

/// An error body in OpenAI's shape.
pub fn error_body(message: &str, kind: &str, code: &str) -> String {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

/// The seconds of the `Retry-After` header.
pub fn retry_after(response: &support::Response) -> Option<u64> {
    response.header("retry-after").map(|value| value.parse().expect("whole seconds"))
}

/// How often the list of models was asked for with the key.
pub fn list_calls(provider: &Provider) -> usize {
    let with_key = |request: &&support::Received| request.path.ends_with("/models") && request.header("authorization").is_some();
    provider.requests().iter().filter(with_key).count()
}

/// A daemon over two providers of which the first has a key.
#[track_caller]
pub fn with_key(a: &Provider, b: &Provider, extra: &str) -> Daemon {
    let config = chain_config_with(&[("a", a), ("b", b)], extra).replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
    Daemon::builder().config(config).env("A_KEY", KEY).start()
}

/// The key of that provider.
pub const KEY: &str = "sk-test-0123456789abcdef";

/// Makes the address swallow connections: it listens, and its queue is full for as
/// long as what comes back lives. None where the system does not do
/// that, or has given the address away.
pub fn black_hole(address: SocketAddr) -> Option<(Socket, Vec<TcpStream>)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("an address used again");
    socket.bind(&address.into()).ok()?;
    socket.listen(0).expect("a listening socket");
    let mut queued = Vec::new();
    for _ in 0..64 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => queued.push(stream),
            Err(_) => return Some((socket, queued)),
        }
    }
    None
}
