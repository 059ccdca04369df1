//! Providers behind TLS: both versions of HTTP, which certificates are trusted,
//! and handshakes that come to nothing.

mod secure;
mod support;

use std::time::{Duration, Instant};

use hyper::Version;
use secure::{BAD, Both, Fate, Shown, Tls, config, fallback, home, streamed};
use serde_json::Value;
use support::{ASK, Client, Daemon, text_of};

/// Longer than anything that should be quick may take, even on a slow machine.
const QUICK: Duration = Duration::from_secs(3);

// Both versions of HTTP.

#[test]
fn a_provider_behind_tls_answers_over_http_1_1() {
    let both = Both::start(Tls::http1());
    assert_eq!(both.said(), "from A");
    assert_eq!(streamed(&both), "from A");
    let chats = both.a.chats();
    assert!(chats.len() == 2 && chats.iter().all(|chat| chat.version == Version::HTTP_11), "{chats:?}");
    assert_eq!(both.b.count(), 0);
}

#[test]
fn a_provider_behind_tls_answers_over_http_2() {
    let both = Both::start(Tls::http2());
    assert_eq!(both.said(), "from A");
    let chats = both.a.chats();
    assert!(chats.len() == 1 && chats[0].version == Version::HTTP_2, "{chats:?}");
    assert_eq!(both.b.count(), 0);
}

#[test]
fn a_provider_behind_tls_streams_over_http_2() {
    let both = Both::start(Tls::http2());
    assert_eq!(streamed(&both), "from A");
    let chats = both.a.chats();
    assert!(chats.len() == 1 && chats[0].version == Version::HTTP_2, "{chats:?}");
    assert_eq!(both.b.count(), 0);
}

#[test]
fn http_2_is_preferred_where_both_are_offered() {
    let both = Both::start(Tls::start(Shown::Good, &["h2", "http/1.1"]));
    assert_eq!(both.said(), "from A");
    assert_eq!(both.a.chats()[0].version, Version::HTTP_2);
}

#[test]
fn several_requests_go_over_one_http_2_connection() {
    let both = Both::start(Tls::http2());
    // One connection of the caller stays with one worker.
    let mut client = Client::connect(both.daemon.port());
    for _ in 0..5 {
        assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    }
    let chats = both.a.chats();
    assert_eq!(chats.len(), 5);
    assert!(chats.iter().all(|chat| chat.connection == chats[0].connection), "{chats:?}");
}

#[test]
fn a_loopback_provider_behind_tls_is_validated_with_the_same_roots() {
    let (a, b, home) = (Tls::http2(), fallback(), home());
    let path = home.write("routor.toml", config("localhost", a.port, &b));
    let done = home.run(&["check", "--config", &path.display().to_string(), "--timeout", "3s", "--format", "json"]);
    let report: Value = serde_json::from_str(&done.stdout).expect("a report");
    let row = report["providers"].as_array().and_then(|rows| rows.iter().find(|row| row["provider"] == "a")).expect("a row of a");
    assert_eq!(row["result"], "ok", "{report}");
    assert_eq!(a.lists(), 1);
}

// Certificates and handshakes.

#[test]
fn d014_a_certificate_that_cannot_be_trusted_falls_over() {
    for shown in BAD {
        // One that is bad from the start is in no chain: it turns bad later.
        let both = Both::start(Tls::http2());
        both.a.shows(shown);
        let started = Instant::now();
        both.falls_over_as("network");
        assert!(started.elapsed() < QUICK, "{shown:?}: {:?}", started.elapsed());
        assert!(both.a.chats().is_empty(), "{shown:?}: a request was sent");
    }
}

#[test]
fn d014_check_calls_a_provider_with_a_bad_certificate_unreachable() {
    for shown in BAD {
        let (a, b, home) = (Tls::start(shown, &["h2", "http/1.1"]), fallback(), home());
        let path = home.write("routor.toml", config("localhost", a.port, &b));
        let done = home.run(&["check", "--config", &path.display().to_string(), "--timeout", "3s", "--format", "json"]);
        let report: Value = serde_json::from_str(&done.stdout).expect("a report");
        let row = report["providers"].as_array().and_then(|rows| rows.iter().find(|row| row["provider"] == "a")).expect("a row of a");
        assert_eq!(row["result"], "unreachable", "{shown:?}: {report}");
        assert!(row["detail"].as_str().is_some_and(|detail| detail.contains("certificate")), "{shown:?}: {row}");
        assert!(a.seen().is_empty(), "{shown:?}: a request was sent");
    }
}

#[test]
fn d015_a_handshake_that_stalls_falls_over_after_the_connect_time() {
    let both = Both::start(Tls::http2());
    both.a.every_connection(Fate::Stall);
    let started = Instant::now();
    both.falls_over_as("timeout");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(290) && took < QUICK, "{took:?}");
}

/// The alert `protocol_version`, as a server sends it that knows TLS 1.1 at most.
const TOO_NEW: &[u8] = &[21, 3, 2, 0, 2, 2, 70];
/// The answer of a server that goes on with TLS 1.1 all the same: 32 bytes of
/// random, no session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
const TLS_1_1: &[u8] = &[
    22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0,
    0, 47, 0,
];

#[test]
fn d016_a_provider_that_knows_tls_1_1_at_most_falls_over() {
    for answer in [TOO_NEW, TLS_1_1] {
        let both = Both::start(Tls::http2());
        both.a.every_connection(Fate::Say(answer));
        let started = Instant::now();
        both.falls_over_as("network");
        assert!(started.elapsed() < QUICK, "{:?}", started.elapsed());
    }
}

#[test]
fn d016_check_says_that_the_version_of_tls_is_the_reason() {
    for answer in [TOO_NEW, TLS_1_1] {
        let (a, b, home) = (Tls::http2(), fallback(), home());
        a.every_connection(Fate::Say(answer));
        let path = home.write("routor.toml", config("localhost", a.port, &b));
        let done = home.run(&["check", "--config", &path.display().to_string(), "--timeout", "3s", "--format", "json"]);
        let report: Value = serde_json::from_str(&done.stdout).expect("a report");
        let row = report["providers"].as_array().and_then(|rows| rows.iter().find(|row| row["provider"] == "a")).expect("a row of a");
        assert_eq!(row["result"], "unreachable", "{report}");
        let detail = row["detail"].as_str().unwrap_or_default().to_lowercase();
        assert!(["version", "tls12or13"].iter().any(|reason| detail.contains(reason)), "{row}");
    }
}

#[test]
fn a_machine_without_any_certificate_store_still_starts() {
    let b = fallback();
    let config = support::chain_config(&[("b", &b)]);
    let none = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    for env in [&none[..1], &none[..]] {
        let builder = Daemon::builder().config(config.clone());
        let daemon = env.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start();
        assert_eq!(text_of(&support::post_chat(daemon.port(), ASK)), "from B");
    }
}

#[test]
fn d014_a_bad_certificate_is_said_loudly_with_the_providers_name() {
    for shown in BAD {
        let both = Both::start(Tls::http2());
        both.a.shows(shown);
        assert_eq!(both.said(), "from B", "{shown:?}");
        let said = both.daemon.wait_stderr("certificate");
        let line = said.lines().find(|line| line.contains("certificate")).expect("a line about it");
        assert!(line.contains("WARN") && line.contains("a"), "{shown:?}: {said}");
    }
}

#[test]
fn d194_no_key_log_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys");
    let both = Both::start_at("localhost", Tls::http1(), &[("SSLKEYLOGFILE", &path.display().to_string())]);
    assert_eq!(both.said(), "from A");
    assert!(!path.exists());
}
