//! Where traces go: a collector that is badly named is not told whole.

mod port;
mod support;

use std::time::Duration;

use port::{CHAT, ask};
use support::{Daemon, Provider, chain_config, post};

fn start(endpoint: &str, env: &[(&str, &str)]) -> (Provider, Daemon) {
    let a = Provider::start();
    let mut builder = Daemon::builder()
        .config(chain_config(&[("a", &a)]))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .arg("-vv");
    for (name, value) in env {
        builder = builder.env(name, value);
    }
    (a, builder.start())
}

#[test]
fn a_password_in_the_endpoint_is_never_told() {
    for endpoint in ["http://user:otel-canary@127.0.0.1:9", "http://user:otel-canary@[bad", "otel-canary", "http://x\u{7f}otel-canary/ y"] {
        let (_a, daemon) = start(endpoint, &[]);
        assert_eq!(post(daemon.port(), CHAT, &[], ask("auto")).status, 200);
        daemon.signal("TERM");
        daemon.wait_exit(Duration::from_secs(10));
        assert!(!daemon.stderr().contains("otel-canary"), "{}", daemon.stderr());
    }
}
