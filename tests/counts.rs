//! The price of a request does not grow with what has gathered around it:
//! counted in instructions, which no other load on the machine changes.

#![cfg(target_os = "linux")]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use support::{ASK, Client, Daemon, Home, Input, Process, Provider, chain_config, chain_config_with};

/// Requests of the shorter and of the longer run; what lies between them is
/// the price of the requests alone.
const FEW: usize = 40;
const MANY: usize = 140;

/// Whether instructions can be counted here; if not, that is said.
fn can_count() -> bool {
    let found = Command::new("valgrind").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: valgrind is not installed");
    }
    found
}

/// Instructions of a daemon's life with so many requests in it.
fn life(home: &Home, config: &str, requests: usize) -> u64 {
    let config = home.write("routor.toml", config).display().to_string();
    let plain = home.command(&["serve", "--config", &config, "--port", "0"]);
    let mut counted = Command::new("valgrind");
    counted.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--trace-children=no"]);
    counted.arg(plain.get_program()).args(plain.get_args()).current_dir(home.path()).env_clear();
    counted.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let process = Process::spawn(counted, Input::Null);
    let port = port_of(&process);
    let mut client = Client::connect(port);
    for _ in 0..requests {
        assert_eq!(client.post_chat(ASK).status, 200);
    }
    drop(client);
    process.signal("TERM");
    let end = process.finish(Duration::from_secs(60)).expect_code(0);
    let line = end.stderr.lines().find_map(|line| line.split_once("Collected : ")).expect("the count").1;
    line.trim().parse().expect("a number")
}

fn port_of(process: &Process) -> u16 {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let said = process.stderr();
        if let Some((_, rest)) = said.split_once("listening on http://127.0.0.1:") {
            return rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a port");
        }
        assert!(Instant::now() < until, "{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Instructions of one request.
fn price(home: &Home, config: &str) -> u64 {
    let few = life(home, config, FEW);
    life(home, config, MANY).saturating_sub(few) / (MANY - FEW) as u64
}

/// Says so when the second price is more than a fifth above the first.
#[track_caller]
fn same(what: &str, first: u64, second: u64) {
    println!("{what}: {first} and {second} instructions for a request");
    assert!(first > 10_000, "{first} instructions are not a request");
    assert!(second <= first + first / 5, "{what}: {first} became {second}");
}

#[test]
fn a_request_costs_the_same_with_a_hundred_models_and_a_log_full_of_records() {
    if !can_count() {
        return;
    }
    let provider = Provider::start();
    let plain = chain_config(&[("a", &provider)]);
    let alone = price(&Home::new(), &plain);

    let models: String =
        (0..100).map(|number| format!("[models.\"a/extra-{number}\"]\ntier = \"LIGHT\"\ncontext_window = 100000\n")).collect();
    let aliases: String = (0..100).map(|number| format!("\"name-{number}\" = \"LIGHT\"\n")).collect();
    let crowded = chain_config_with(&[("a", &provider)], &format!("{models}[aliases]\n{aliases}"));
    same("100 models and 100 aliases", alone, price(&Home::new(), &crowded));

    let home = Home::new();
    life(&home, &plain, 1);
    fill(&home, 50_000);
    same("50,000 records in the log", alone, price(&home, &plain));
}

#[test]
fn a_request_costs_the_same_with_forty_providers() {
    if !can_count() {
        return;
    }
    let first = Provider::start();
    let others: Vec<Provider> = (0..39).map(|_| Provider::start()).collect();
    let alone = price(&Home::new(), &chain_config(&[("a", &first)]));
    let names: Vec<String> = (0..39).map(|number| format!("p{number}")).collect();
    let all: Vec<(&str, &Provider)> = std::iter::once(("a", &first)).chain(names.iter().map(String::as_str).zip(&others)).collect();
    // The chain stays one model long: a longer chain is a longer record.
    let tiers: String = ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"].map(|tier| format!("{tier} = [\"a/m1\"]\n")).concat();
    let config = chain_config(&all);
    let (tables, _) = config.split_once("[tiers]\n").expect("the tiers");
    same("40 providers", alone, price(&Home::new(), &format!("{tables}[tiers]\n{tiers}")));
}

/// Copies the log's one record many times.
fn fill(home: &Home, count: usize) {
    let mut store = Connection::open(home.state_dir().join("requests.db")).expect("the log");
    let change = store.transaction().expect("a transaction");
    let copy = "INSERT INTO batches (count, writer, n, newest_ms, fallbacks, records)
                SELECT count, writer, n, newest_ms, fallbacks, records FROM batches ORDER BY last LIMIT 1";
    for _ in 0..count {
        change.execute(copy, []).expect("a copy");
    }
    change.commit().expect("all of them");
}

#[test]
fn memory_does_not_grow_with_past_requests() {
    let provider = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &provider)]));
    let mut client = daemon.client();
    let mut ask = |count: usize| (0..count).for_each(|_| assert_eq!(client.post_chat(ASK).status, 200));
    ask(3000);
    let before = resident(daemon.pid());
    ask(6000);
    let after = resident(daemon.pid());
    assert!(after <= before + 4096, "{before} KiB became {after} KiB");
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the memory in use");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
