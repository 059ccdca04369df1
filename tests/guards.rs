//! Who may call: the Host header, browsers, the content type, the client key,
//! and the addresses that are listened on.

mod port;
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;

use port::{CHAT, JSON, ask, no_cors, one, one_with, own_error};
use support::{Client, Daemon, PATIENCE, Provider, Reply, Response, chain_config, chain_config_with, get, post, post_chat, raw};

// --- Guards: the Host header ---

#[test]
fn d202_loopback_names_pass_in_any_case_and_with_any_port() {
    let (_a, daemon) = one();
    for host in ["127.0.0.1", "127.0.0.1:1", "localhost", "localhost:9", "LocalHost:4117", "[::1]", "[::1]:4117"] {
        let response = post(daemon.port(), CHAT, &[("host", host)], ask("auto"));
        assert_eq!(response.status, 200, "{host}: {}", response.text());
    }
}

#[test]
fn d201_a_foreign_host_name_is_forbidden_and_calls_nobody() {
    let (a, daemon) = one();
    let host = format!("evil.com:{}", daemon.port());
    let response = post(daemon.port(), CHAT, &[("host", &host)], ask("auto"));
    own_error(&response, 403, "forbidden");
    no_cors(&response);
    assert_eq!(a.count(), 0);
}

#[test]
fn d202_names_that_only_look_like_loopback_are_forbidden() {
    let (a, daemon) = one();
    for host in [
        "127.0.0.1.evil.com",
        "localhost.",
        "localhost.evil.com",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "user@127.0.0.1",
        "127.0.0.1:x",
        "127.0.0.1, evil.com",
        "",
    ] {
        let response = post(daemon.port(), CHAT, &[("host", host)], ask("auto"));
        assert!(matches!(response.status, 400 | 403), "{host}: {} {}", response.status, response.text());
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d202_a_request_without_host_is_refused() {
    let (a, daemon) = one();
    let body = ask("auto");
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = String::from_utf8_lossy(&raw(daemon.port(), request)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(a.count(), 0);
}

#[test]
fn d202_two_host_headers_are_refused() {
    let (a, daemon) = one();
    for pair in [["127.0.0.1", "127.0.0.1"], ["127.0.0.1", "evil.com"], ["evil.com", "127.0.0.1"]] {
        let response = post(daemon.port(), CHAT, &[("host", pair[0]), ("host", pair[1])], ask("auto"));
        assert!(matches!(response.status, 400 | 403), "{pair:?}: {}", response.status);
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d201_a_forbidden_host_is_told_the_line_to_add() {
    let (_a, daemon) = one();
    let response = post(daemon.port(), CHAT, &[("host", "host.docker.internal:4117")], ask("auto"));
    let message = own_error(&response, 403, "forbidden");
    assert!(message.contains("allow_hosts = [\"host.docker.internal\"]"), "{message}");
}

#[test]
fn d202_allow_hosts_lets_a_name_in_without_case_and_with_any_port() {
    let (_a, daemon) = one_with("[server]\nallow_hosts = [\"host.docker.internal\"]\n");
    for host in ["host.docker.internal", "Host.Docker.INTERNAL:4117"] {
        assert_eq!(post(daemon.port(), CHAT, &[("host", host)], ask("auto")).status, 200, "{host}");
    }
    assert_eq!(post(daemon.port(), CHAT, &[("host", "docker.internal")], ask("auto")).status, 403);
}

#[test]
fn d202_a_listen_address_is_a_good_host_name() {
    let a = Provider::start();
    let config = chain_config_with(&[("a", &a)], "[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.3:0\"]\n");
    let daemon = Daemon::builder().config(config).without_port().start();
    assert_eq!(post(daemon.port(), CHAT, &[("host", "127.0.0.3:80")], ask("auto")).status, 200);
    assert_eq!(post(daemon.port(), CHAT, &[("host", "127.0.0.4:80")], ask("auto")).status, 403);
}

#[test]
fn d201_a_guard_answers_before_the_body_is_there() {
    let (a, daemon) = one();
    let mut client = daemon.client();
    client.send_raw(format!("POST {CHAT} HTTP/1.1\r\nhost: evil.com\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n"));
    let response = client.read_response("POST").unwrap();
    own_error(&response, 403, "forbidden");
    assert_eq!(a.count(), 0);
}

// --- Guards: browsers ---

#[track_caller]
fn forbidden_origins(origins: &[&str]) {
    let (a, daemon) = one();
    for origin in origins {
        let response = post(daemon.port(), CHAT, &[("origin", origin)], ask("auto"));
        own_error(&response, 403, "forbidden");
        no_cors(&response);
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d203_another_sites_origin_is_forbidden_without_cors_headers() {
    forbidden_origins(&["https://evil.com", "http://evil.com", "https://evil.com:443"]);
}

#[test]
fn d204_origins_that_only_look_local_are_forbidden() {
    forbidden_origins(&[
        "null",
        "",
        "file://",
        "chrome-extension://x",
        "http://localhost:3000",
        "http://127.0.0.1.nip.io",
        "http://127.0.0.1:1",
        "https://127.0.0.1",
    ]);
}

#[test]
fn its_own_origin_passes() {
    let (_a, daemon) = one();
    let origin = format!("http://127.0.0.1:{}", daemon.port());
    let response = post(daemon.port(), CHAT, &[("origin", &origin), ("sec-fetch-site", "same-origin")], ask("auto"));
    assert_eq!(response.status, 200);
    no_cors(&response);
}

#[test]
fn d208_a_fetch_from_another_site_is_forbidden() {
    let (a, daemon) = one();
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("sideways", 403), ("same-origin", 200), ("none", 200)] {
        let response = post(daemon.port(), CHAT, &[("sec-fetch-site", site)], ask("auto"));
        assert_eq!(response.status, status, "{site}: {}", response.text());
        no_cors(&response);
    }
    assert_eq!(a.count(), 2);
}

#[test]
fn d206_a_page_of_another_site_cannot_read_the_models() {
    let (_a, daemon) = one();
    let headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    let response = daemon.client().request("GET", "/v1/models", &headers, "");
    own_error(&response, 403, "forbidden");
}

#[test]
fn d205_a_call_that_a_page_can_make_without_asking_calls_nobody() {
    let (a, daemon) = one();
    for kind in ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let origin = ("origin", "https://evil.com");
        let from_a_browser = post(daemon.port(), CHAT, &[("content-type", kind), origin], ask("auto"));
        own_error(&from_a_browser, 403, "forbidden");
        let without_a_word_of_where = post(daemon.port(), CHAT, &[("content-type", kind)], ask("auto"));
        assert_eq!(without_a_word_of_where.status, 415, "{kind}");
        no_cors(&without_a_word_of_where);
    }
    assert_eq!(a.count(), 0);
}

/// What browsers say of a form, a beacon, a fetch that needs no leave, and an image.
const FROM_A_PAGE: [(&str, &str, &str, &str); 5] = [
    ("POST", "application/x-www-form-urlencoded", "navigate", "document"),
    ("POST", "text/plain", "navigate", "iframe"),
    ("POST", "text/plain;charset=UTF-8", "no-cors", "empty"),
    ("GET", "", "no-cors", "image"),
    ("GET", "", "no-cors", "script"),
];

#[test]
fn d206_what_a_page_can_send_without_leave_has_no_effect_and_is_not_readable() {
    let (a, daemon) = one();
    for (method, kind, mode, dest) in FROM_A_PAGE {
        let mut headers = vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
        let (path, body) = if method == "POST" { (CHAT, ask("auto")) } else { ("/v1/models", String::new()) };
        if method == "POST" {
            headers.extend([("content-type", kind), ("origin", "https://evil.com")]);
        }
        let response = daemon.client().request(method, path, &headers, body);
        own_error(&response, 403, "forbidden");
        no_cors(&response);
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d206_an_old_browser_that_says_nothing_cannot_let_a_page_read_the_models() {
    let (_a, daemon) = one();
    let response = get(daemon.port(), "/v1/models");
    no_cors(&response);
    assert_eq!(response.header("content-type"), Some("application/json"), "no script can be made of it");
}

const APP: &str = "[server]\nallow_origins = [\"https://app.example\"]\n";

#[test]
fn d204_an_allowed_origin_may_call_and_is_told_so() {
    let (_a, daemon) = one_with(APP);
    let headers = [("origin", "https://app.example"), ("sec-fetch-site", "cross-site")];
    let response = post(daemon.port(), CHAT, &headers, ask("auto"));
    assert_eq!(response.status, 200);
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(response.header("vary").is_some_and(|vary| vary.to_ascii_lowercase().contains("origin")), "{:?}", response.headers);
}

#[test]
fn an_allowed_origin_can_read_errors_too() {
    let (_a, daemon) = one_with(APP);
    let response = post(daemon.port(), CHAT, &[("origin", "https://app.example")], "{}");
    own_error(&response, 400, "invalid_request_error");
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
}

#[test]
fn d204_allowed_origins_are_compared_exactly() {
    let (a, daemon) = one_with(APP);
    for origin in ["https://app.example.evil.com", "http://app.example", "https://app.example:8443", "https://xapp.example"] {
        let response = post(daemon.port(), CHAT, &[("origin", origin)], ask("auto"));
        own_error(&response, 403, "forbidden");
        no_cors(&response);
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn the_preflight_of_an_allowed_origin_is_answered() {
    let (a, daemon) = one_with(APP);
    let headers = [
        ("origin", "https://app.example"),
        ("sec-fetch-site", "cross-site"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let response = daemon.client().request("OPTIONS", CHAT, &headers, "");
    assert!(matches!(response.status, 200 | 204), "{}", response.status);
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(response.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    let allowed = response.header("access-control-allow-headers").unwrap_or_default().to_ascii_lowercase();
    assert!(allowed.contains("authorization") && allowed.contains("content-type"), "{allowed}");
    assert_eq!(a.count(), 0);
}

#[test]
fn the_preflight_of_an_allowed_origin_needs_no_client_key() {
    let a = Provider::start();
    let daemon = Daemon::builder().config(chain_config_with(&[("a", &a)], APP)).env("ROUTOR_API_KEY", "client-key").start();
    let headers = [("origin", "https://app.example"), ("access-control-request-method", "POST")];
    assert!(matches!(daemon.client().request("OPTIONS", CHAT, &headers, "").status, 200 | 204));
}

#[test]
fn d207_a_foreign_preflight_gets_no_allow_headers() {
    let (_a, daemon) = one();
    let headers = [
        ("origin", "https://evil.com"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
        ("access-control-request-private-network", "true"),
    ];
    let response = daemon.client().request("OPTIONS", CHAT, &headers, "");
    assert!(matches!(response.status, 204 | 403), "{}", response.status);
    no_cors(&response);
}

#[test]
fn a_providers_cors_headers_are_not_passed_on() {
    let (a, daemon) = one();
    a.always(Reply::completion("hello").with_header("access-control-allow-origin", "*").with_header("access-control-expose-headers", "*"));
    no_cors(&post_chat(daemon.port(), ask("auto")));
}

// --- Guards: the content type ---

#[test]
fn d124_a_body_that_is_not_declared_json_gets_415_with_the_curl_flag() {
    let (a, daemon) = one();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""] {
        let response = post(daemon.port(), CHAT, &[("content-type", kind)], ask("auto"));
        assert_eq!(response.status, 415, "{kind}: {}", response.text());
        assert!(response.text().contains("-H 'Content-Type: application/json'"), "{}", response.text());
    }
    let without = daemon.client().request("POST", CHAT, &[], ask("auto"));
    assert_eq!(without.status, 415, "{}", without.text());
    assert_eq!(without.header("x-should-retry"), Some("false"));
    assert_eq!(a.count(), 0);
}

#[test]
fn d124_json_with_a_charset_or_in_capitals_is_taken() {
    let (_a, daemon) = one();
    for kind in ["application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"] {
        assert_eq!(post(daemon.port(), CHAT, &[("content-type", kind)], ask("auto")).status, 200, "{kind}");
    }
}

#[test]
fn d133_a_compressed_request_body_is_refused_with_415() {
    let (a, daemon) = one();
    for coding in ["zstd", "gzip", "deflate", "br", "identity, gzip"] {
        let response = post(daemon.port(), CHAT, &[("content-encoding", coding)], b"\x28\xb5\x2f\xfd");
        assert_eq!(response.status, 415, "{coding}: {}", response.text());
        assert_eq!(response.header("x-should-retry"), Some("false"));
    }
    assert_eq!(a.count(), 0);
    assert_eq!(post(daemon.port(), CHAT, &[("content-encoding", "identity")], ask("auto")).status, 200);
}

// --- The client key ---

const KEY: &str = "client-key-7f3a";

fn keyed() -> (Provider, Daemon) {
    let a = Provider::start();
    let daemon = Daemon::builder().config(chain_config(&[("a", &a)])).env("ROUTOR_API_KEY", KEY).start();
    (a, daemon)
}

#[test]
fn d214_without_the_client_key_every_route_but_two_is_401() {
    let (a, daemon) = keyed();
    for (method, path) in [("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/auto"), ("GET", "/"), ("GET", "/nowhere")] {
        let response = daemon.client().request(method, path, &[JSON], if method == "POST" { ask("auto") } else { String::new() });
        own_error(&response, 401, "invalid_api_key");
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d214_health_and_ready_need_no_client_key() {
    let (_a, daemon) = keyed();
    assert_eq!(get(daemon.port(), "/health").status, 200);
    assert_eq!(get(daemon.port(), "/ready").status, 200);
}

#[test]
fn d214_every_wrong_key_gets_the_same_401_without_an_echo() {
    let (a, daemon) = keyed();
    let mut bodies = Vec::new();
    let wrong = [
        "Bearer client-key-7f3b",
        "Bearer x",
        "Bearer ",
        "Bearer client-key-7f3a-longer",
        "Bearer client-key",
        "Bearer",
        "",
        "Basic client-key-7f3a",
        "client-key-7f3a",
    ];
    for value in wrong {
        let response = post(daemon.port(), CHAT, &[("authorization", value)], ask("auto"));
        own_error(&response, 401, "invalid_api_key");
        assert!(!response.text().contains("7f3"), "{}", response.text());
        bodies.push(response.text());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(a.count(), 0);
}

#[test]
fn d214_the_right_client_key_opens_and_does_not_go_upstream() {
    let (a, daemon) = keyed();
    for scheme in ["Bearer", "bearer"] {
        let value = format!("{scheme} client-key-7f3a");
        assert_eq!(post(daemon.port(), CHAT, &[("authorization", &value)], ask("auto")).status, 200, "{scheme}");
    }
    for request in a.requests() {
        assert!(request.headers.iter().all(|(_, value)| !value.contains("7f3a")), "{:?}", request.headers);
    }
}

#[test]
fn the_client_key_is_in_the_variable_that_the_file_names() {
    let a = Provider::start();
    let config = chain_config_with(&[("a", &a)], "[server]\napi_key_env = \"TEAM_KEY\"\n");
    let daemon = Daemon::builder().config(config).env("TEAM_KEY", "team-1").env("ROUTOR_API_KEY", "not-this").start();
    assert_eq!(post(daemon.port(), CHAT, &[("authorization", "Bearer team-1")], ask("auto")).status, 200);
    assert_eq!(post(daemon.port(), CHAT, &[("authorization", "Bearer not-this")], ask("auto")).status, 401);
}

#[test]
fn d212_a_foreign_host_is_forbidden_even_with_the_client_key() {
    let (_a, daemon) = keyed();
    let response = post(daemon.port(), CHAT, &[("host", "evil.com"), ("authorization", "Bearer client-key-7f3a")], ask("auto"));
    own_error(&response, 403, "forbidden");
}

// --- The addresses ---

#[test]
fn the_ipv6_loopback_is_served_beside_the_default_address() {
    let (_a, daemon) = one();
    let Ok(mut stream) = TcpStream::connect(("::1", daemon.port())) else {
        assert!(TcpListener::bind("[::1]:0").is_err(), "::1 exists here and is not served");
        return;
    };
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: [::1]\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn d209_a_page_that_calls_0_0_0_0_is_refused_by_the_host_name() {
    let (a, daemon) = one();
    // Systems that reach themselves at this address make it 127.0.0.1.
    let Ok(mut stream) = TcpStream::connect(("0.0.0.0", daemon.port())) else { return };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (host, body) = (format!("0.0.0.0:{}", daemon.port()), ask("auto"));
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n");
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("access-control-"), "{answer}");
    let response = get_as(&daemon, &host, "/v1/models");
    own_error(&response, 403, "forbidden");
    assert_eq!(a.count(), 0);
}

fn get_as(daemon: &Daemon, host: &str, path: &str) -> Response {
    daemon.client().request("GET", path, &[("host", host)], "")
}

/// Sockets that listen on this port, as the system shows their addresses.
#[cfg(target_os = "linux")]
fn listeners(port: u16) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines()).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let end = format!(":{port:04X}");
    lines.filter(|fields| fields.get(3) == Some(&"0A")).filter_map(|fields| fields[1].strip_suffix(&end).map(str::to_owned)).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn d211_the_port_is_open_on_the_two_loopback_addresses_alone() {
    let (_a, daemon) = one();
    let mut found = listeners(daemon.port());
    found.sort();
    let (v4, v6) = ("0100007F", "00000000000000000000000001000000");
    let wanted = if TcpListener::bind("[::1]:0").is_ok() { vec![v6, v4] } else { vec![v4] };
    assert_eq!(found, wanted);
}

#[test]
fn d211_other_addresses_of_the_machine_are_not_listened_on() {
    let (_a, daemon) = one();
    assert!(Client::try_connect(daemon.port()).is_ok());
    assert!(TcpStream::connect(("127.0.0.9", daemon.port())).is_err());
    // The address towards other machines, if there is one; nothing is sent.
    let outside = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()));
    if let Ok(address) = outside.map(|address| address.ip())
        && !address.is_loopback()
    {
        assert!(TcpStream::connect_timeout(&(address, daemon.port()).into(), PATIENCE).is_err(), "{address}");
    }
}

#[test]
fn d212_a_call_that_was_forwarded_to_loopback_is_judged_by_its_host_name() {
    let (a, daemon) = one();
    for host in ["192.168.1.20:4117", "172.17.0.1:4117", "host.docker.internal:4117", "mybox.local"] {
        let message = own_error(&post(daemon.port(), CHAT, &[("host", host)], ask("auto")), 403, "forbidden");
        assert!(message.contains("allow_hosts"), "{message}");
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d212_a_forwarded_call_with_an_allowed_name_still_needs_the_key() {
    let a = Provider::start();
    let config = chain_config_with(&[("a", &a)], "[server]\nallow_hosts = [\"mybox.local\"]\n");
    let daemon = Daemon::builder().config(config).env("ROUTOR_API_KEY", KEY).start();
    own_error(&post(daemon.port(), CHAT, &[("host", "mybox.local:4117")], ask("auto")), 401, "invalid_api_key");
    assert_eq!(a.count(), 0);
    let headers = [("host", "mybox.local:4117"), ("authorization", "Bearer client-key-7f3a")];
    assert_eq!(post(daemon.port(), CHAT, &headers, ask("auto")).status, 200);
}

// --- Other users of the machine ---

#[test]
fn d213_status_says_whether_other_users_can_call() {
    let (_a, open) = one();
    let shown = open.run(&["status"]).expect_code(0).stdout;
    assert!(shown.contains("clients need no key: every program of every user"), "{shown}");
    let (_b, closed) = keyed();
    let shown = closed.run(&["status"]).expect_code(0).stdout;
    assert!(shown.contains("clients must send a key") && !shown.contains(KEY), "{shown}");
    own_error(&post_chat(closed.port(), ask("auto")), 401, "invalid_api_key");
}

/// The processor time that a process has used, in hundredths of a second.
#[cfg(target_os = "linux")]
fn worked(daemon: &Daemon) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = |at: usize| fields.split_whitespace().nth(at).unwrap().parse::<u64>().unwrap();
    ticks(11) + ticks(12)
}

#[cfg(target_os = "linux")]
#[test]
fn d215_thousands_of_wrong_keys_cost_little_and_lock_nobody_out() {
    const CALLERS: usize = 4;
    const EACH: usize = 500;
    let (a, daemon) = keyed();
    let port = daemon.port();
    let before = worked(&daemon);
    let guess = |caller: usize| {
        let mut client = Client::connect(port);
        for count in 0..EACH {
            let wrong = format!("Bearer wrong-{caller}-{count}");
            let headers = [("authorization", wrong.as_str()), JSON];
            assert_eq!(client.request("POST", CHAT, &headers, ask("auto")).status, 401);
        }
    };
    let owner = [("authorization", "Bearer client-key-7f3a")];
    thread::scope(|scope| {
        (0..CALLERS).for_each(|caller| drop(scope.spawn(move || guess(caller))));
        for _ in 0..10 {
            assert_eq!(post(port, CHAT, &owner, ask("auto")).status, 200, "the owner is served meanwhile");
        }
    });
    assert_eq!(post(port, CHAT, &owner, ask("auto")).status, 200, "and afterwards");
    // 5 ms for each would be 10 s for all.
    assert!(worked(&daemon) - before < (CALLERS * EACH) as u64 / 2, "{} ticks", worked(&daemon) - before);
    assert_eq!(a.count(), 11);
    let records = daemon.wait_logs(11);
    assert_eq!(records.len(), 11, "what a guard stopped is not recorded");
}
