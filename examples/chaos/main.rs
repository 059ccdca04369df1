//! Chaos: one provider breaks in every way it can before its first word, a
//! second one is healthy, and every request must be answered. Prints what each
//! kind of fault adds to the time of an answer.
//!
//! `cargo run --release --example chaos [REQUESTS] [SEED]`

mod client;
mod daemon;
mod faults;
mod provider;

use std::process::ExitCode;

use daemon::Daemon;
use faults::Fault;
use provider::Provider;

/// Requests at once. Few, so that the times are those of a fault and not of a queue.
const AT_ONCE: usize = 8;
const REQUESTS: usize = 100_000;
const SEED: u64 = 2026;

fn main() -> ExitCode {
    if daemon::is_child() {
        return routor::cli::main();
    }
    let mut args = std::env::args().skip(1);
    let mut number = |usual: u64| args.next().map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{text} is not a number")));
    let (requests, seed) = (number(REQUESTS as u64) as usize, number(SEED));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(requests, seed))
}

async fn run(requests: usize, seed: u64) -> ExitCode {
    let (broken, healthy) = (Provider::start(true), Provider::start(false));
    println!("{requests} requests, seed {seed}, {AT_ONCE} at once; every fault hits (the breaker is off)");
    let hits = client::run(&Daemon::start(broken.port, healthy.port, false), requests, seed, &Fault::ALL).await;
    let later = requests.div_ceil(20);
    println!("{later} requests at a provider that only answers 503, with the breaker on (the default)");
    let avoided = client::run(&Daemon::start(broken.port, healthy.port, true), later, seed, &[Fault::None, Fault::Down]).await;
    let table: Vec<_> = hits.rows().into_iter().chain(avoided.rows().into_iter().skip(1)).collect();
    println!("\n| the first provider | requests | answered | added, median | added, p99 |\n|---|---:|---:|---:|---:|");
    for row in table {
        println!("{row}");
    }
    let (answered, asked) = (hits.answered() + avoided.answered(), hits.asked() + avoided.asked());
    println!("\n{answered} of {asked} answered");
    hits.failures.iter().chain(&avoided.failures).take(10).for_each(|failure| println!("not answered: {failure}"));
    if answered == asked { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
