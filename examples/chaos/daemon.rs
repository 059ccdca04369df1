//! The daemon under test: this program once more, as `routor serve`, in a
//! process and a folder of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::provider::Provider;

const CHILD: &str = "ROUTOR_CHAOS_CHILD";

/// Whether this process was started as the daemon.
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// A running daemon; stopped when dropped.
pub struct Daemon {
    child: Child,
    pub port: u16,
    _folder: tempfile::TempDir,
}

impl Daemon {
    /// Starts it with the two providers, and with the breaker or without.
    pub fn start(broken: u16, healthy: u16, breaker: bool) -> Self {
        // It must be there while it is checked, and is gone afterwards.
        let refusing = Provider::start(false);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("routor.toml");
        std::fs::write(&file, config([broken, refusing.port, healthy], breaker)).expect("a file");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .arg("--state")
            .arg(folder.path().join("state"))
            .env(CHILD, "1")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon");
        let mut lines = BufReader::new(child.stderr.take().expect("its output")).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix("listening on http://127.0.0.1:")?.parse().ok());
        // What it says later is read, so that it is never held up, and not shown: the faults are wanted.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port: port.expect("the daemon's address"), _folder: folder }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `a` breaks, `r` refuses connections, `b` is healthy and is every tier's chain.
fn config(ports: [u16; 3], breaker: bool) -> String {
    let mut text = "[server]\nlisten = \"127.0.0.1:0\"\ndebug_routing = true\n".to_owned();
    if !breaker {
        text.push_str("[breaker]\nfailures = 0\n");
    }
    for (name, port) in ["a", "r", "b"].into_iter().zip(ports) {
        text.push_str(&format!("[providers.{name}]\nbase_url = \"http://127.0.0.1:{port}/v1\"\napi_key_env = \"\"\n"));
    }
    text.push_str("[providers.a.timeouts]\nfirst = \"250ms\"\nresponse = \"250ms\"\n");
    text.push_str("[models.\"b/m\"]\ntier = \"LIGHT\"\n[models.\"a/m\"]\ntier = \"LIGHT\"\n[models.\"r/m\"]\ntier = \"LIGHT\"\n[tiers]\n");
    for tier in ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"] {
        text.push_str(&format!("{tier} = [\"b/m\"]\n"));
    }
    text
}
