//! The proxy of the environment: when it is used, when not, and what follows
//! when it refuses.

mod secure;
mod support;

use std::sync::{Arc, Mutex};

use secure::{Both, FAR, Shown, Tls, config, fallback, home, lock, serve, streamed};
use support::{ASK, Daemon, Provider, Reply, chain_config, classes, post_chat, text_of};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;

/// What a proxy does with CONNECT.
#[derive(Clone, Copy)]
enum Manner {
    /// Connects to this port of 127.0.0.1, whatever the name.
    Tunnel(u16),
    /// Answers with this status.
    Refuse(u16),
}

/// A proxy on a free port that keeps the first line of every request.
struct Proxy {
    asked: Arc<Mutex<Vec<String>>>,
    manner: Arc<Mutex<Manner>>,
    port: u16,
}

impl Proxy {
    fn start(manner: Manner) -> Self {
        let (asked, manner) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(manner)));
        let (noted, kept) = (Arc::clone(&asked), Arc::clone(&manner));
        let port = serve(move |stream| {
            let (noted, manner) = (Arc::clone(&noted), *lock(&kept));
            async move { drop(tunnel(&noted, manner, stream).await) }
        });
        Self { asked, manner, port }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

async fn tunnel(asked: &Mutex<Vec<String>>, manner: Manner, mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let first = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    lock(asked).push(first);
    match manner {
        Manner::Refuse(status) => {
            let head = format!("HTTP/1.1 {status} No\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n", PAGE.len());
            stream.write_all(format!("{head}{PAGE}").as_bytes()).await?;
            stream.shutdown().await
        }
        Manner::Tunnel(port) => {
            let mut to = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            copy_bidirectional(&mut stream, &mut to).await.map(drop)
        }
    }
}

/// What a proxy shows that refuses.
const PAGE: &str = "<html><head><title>401 Unauthorized: invalid api key</title></head></html>";
/// Nobody listens there.
const DEAD: &str = "http://127.0.0.1:9";
const DEAD_PROXY: [(&str, &str); 4] = [("HTTP_PROXY", DEAD), ("http_proxy", DEAD), ("HTTPS_PROXY", DEAD), ("ALL_PROXY", DEAD)];

#[test]
fn d023_the_proxy_of_the_environment_is_used_for_validation_and_chat() {
    for alpn in ["http/1.1", "h2"] {
        let a = Tls::start(Shown::Good, &[alpn]);
        let proxy = Proxy::start(Manner::Tunnel(a.port));
        let both = Both::start_at(FAR, a, &[("HTTPS_PROXY", &proxy.url())]);
        assert_eq!(both.a.lists(), 1, "{alpn}: validated");
        let before = proxy.asked().len();
        assert!(before >= 1, "{alpn}");
        assert_eq!(both.said(), "from A", "{alpn}");
        assert_eq!(streamed(&both), "from A", "{alpn}");
        let asked = proxy.asked();
        assert!(asked.len() > before, "{alpn}: {asked:?}");
        let wanted = format!("CONNECT {FAR}:{} HTTP/1.1", both.a.port);
        assert!(asked.iter().all(|line| *line == wanted), "{alpn}: {asked:?}");
    }
}

/// Asks a chain that begins with a provider at `host`, without any validation,
/// and says whether the proxy of the environment was asked for it.
#[track_caller]
fn goes_through_proxy(host: &str, variable: &str, exempt: &str) -> bool {
    let (a, b, mut home) = (Tls::http2(), fallback(), home());
    let proxy = Proxy::start(Manner::Refuse(502));
    home.set_env("HTTPS_PROXY", &proxy.url());
    home.set_env(variable, exempt);
    let path = home.write("routor.toml", config(host, a.port, &b));
    let config = path.display().to_string();
    let done = home.run(&["chat", "--config", &config, "--no-stdin", "--no-stream", "hi"]).expect_code(0);
    assert!(done.stdout.contains("from B"), "{}", done.stdout);
    let by_chat = !proxy.asked().is_empty();
    home.run(&["check", "--config", &config, "--timeout", "500ms"]);
    assert_eq!(proxy.asked().len() > usize::from(by_chat), by_chat, "validation and chat do the same");
    by_chat
}

#[test]
fn d023_no_proxy_is_honoured_in_every_form() {
    for exempt in [FAR, "PROVIDER.TEST", ".test", ".TEST", "test", "other.example, .test", "*"] {
        assert!(!goes_through_proxy(FAR, "NO_PROXY", exempt), "{exempt}");
    }
    assert!(!goes_through_proxy(FAR, "no_proxy", FAR));
    for exempt in ["10.77.0.0/16", "10.77.0.1", "192.168.0.0/16,10.0.0.0/8"] {
        assert!(!goes_through_proxy("10.77.0.1", "NO_PROXY", exempt), "{exempt}");
    }
}

#[test]
fn d023_what_no_proxy_does_not_name_goes_through_the_proxy() {
    for exempt in ["", "vider.test", "other.test", "10.0.0.0/8"] {
        assert!(goes_through_proxy(FAR, "NO_PROXY", exempt), "{exempt}");
    }
    assert!(goes_through_proxy("10.77.0.1", "NO_PROXY", "192.168.0.0/16"));
}

#[test]
fn d024_a_proxy_that_refuses_falls_over() {
    for status in [407, 502] {
        let a = Tls::http2();
        // With one that refuses from the start, the provider is in no chain.
        let proxy = Proxy::start(Manner::Tunnel(a.port));
        let both = Both::start_at(FAR, a, &[("HTTPS_PROXY", &proxy.url())]);
        let before = proxy.asked().len();
        *lock(&proxy.manner) = Manner::Refuse(status);
        both.falls_over_as("network");
        assert!(proxy.asked().len() > before, "{status}");
        assert!(both.a.chats().is_empty(), "{status}");
        let said = both.daemon.stderr();
        assert!(!said.contains("refused its key"), "{status}: the provider's key is not to blame: {said}");
    }
}

#[test]
fn d022_no_proxy_is_asked_for_plain_providers_on_this_machine() {
    let b = fallback();
    let builder = Daemon::builder().config(support::chain_config(&[("b", &b)]));
    let daemon = DEAD_PROXY.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start();
    assert_eq!(text_of(&support::post_chat(daemon.port(), ASK)), "from B");
    assert!(b.requests().iter().any(|request| request.path.ends_with("/models")), "validated");
}

#[test]
fn d022_no_proxy_is_asked_for_providers_behind_tls_on_this_machine() {
    let both = Both::start_at("localhost", Tls::http2(), &DEAD_PROXY);
    assert_eq!(both.said(), "from A");
    assert_eq!(both.a.lists(), 1, "validated");
}

#[test]
fn d023_status_shows_the_proxy() {
    let a = Tls::http2();
    let proxy = Proxy::start(Manner::Tunnel(a.port));
    let both = Both::start_at(FAR, a, &[("HTTPS_PROXY", &proxy.url())]);
    let shown = both.daemon.run(&["status"]).expect_code(0).stdout;
    assert!(shown.contains(&proxy.url()), "{shown}");
}

#[test]
fn d024_a_proxy_of_plain_requests_that_refuses_falls_over() {
    for status in [407, 502] {
        // It takes whole requests, as a proxy does for plain http, and answers as if it had passed them on.
        let (proxy, b) = (Provider::start(), Provider::start());
        b.always(Reply::answer("from B"));
        let config = chain_config(&[("a", &proxy), ("b", &b)]).replacen(&proxy.base_url(), "http://10.77.0.1:8000/v1", 1);
        let url = format!("http://127.0.0.1:{}", proxy.port());
        let daemon = Daemon::builder().config(config).env("HTTP_PROXY", &url).start();
        proxy.then(Reply::json(status, PAGE).with_header("content-type", "text/html").with_header("proxy-authenticate", "Basic"));
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B", "{status}");
        assert_eq!(classes(&daemon.wait_logs(1)[0]), ["network", "ok"], "{status}");
        assert!(!daemon.stderr().contains("refused its key"), "{status}");
    }
}
