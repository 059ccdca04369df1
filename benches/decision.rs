//! What a routing decision costs: reading the request, classifying it,
//! choosing and filtering its chain. Promised: under 30 µs for a request of
//! 2 KB, under 1 ms for a conversation of 100 KB.
//!
//! `cargo bench --bench decision`

use std::path::Path;

use bytes::Bytes;
use routor::catalog;
use routor::config::{Routing, Settings, Surroundings, load};
use routor::routing::{Bearings, Member, Table, decide, fit};
use routor::wire::parse;

fn main() {
    divan::main();
}

fn settings() -> Settings {
    let around = Surroundings { env: &|_| None, key_file: &|_| Err(String::new()), catalog: catalog::builtin() };
    load(Some((Path::new("bench.toml"), "")), None, &around).expect("the defaults are sound")
}

/// Every built-in provider in the pool.
fn table(settings: &Settings) -> Table {
    let members: Vec<Member<'_>> = catalog::builtin()
        .providers
        .iter()
        .map(|provider| Member { name: &provider.id, in_pool: true, loopback: provider.local, local: provider.local, listed: &[] })
        .collect();
    Table::build(settings, &members)
}

fn message(role: &str, text: &str) -> String {
    serde_json::json!({"role": role, "content": text}).to_string()
}

/// A request of about 2 KB: instructions, a question, some code.
fn small() -> Bytes {
    let code = "fn total(items: &[Item]) -> u64 {\n    items.iter().map(|item| item.price * item.count).sum()\n}\n";
    let ask = format!("Please refactor this function so that it uses checked arithmetic, then write tests for it:\n{}", code.repeat(17));
    format!(
        "{{\"model\":\"auto\",\"messages\":[{},{}]}}",
        message("system", "You are a careful programmer. Answer briefly."),
        message("user", &ask)
    )
    .into()
}

/// A conversation of about 100 KB with tools.
fn large() -> Bytes {
    let text = "The service takes orders over a queue and writes them to two databases. ".repeat(14);
    let turns: Vec<String> = (0..48).flat_map(|_| [message("user", &text), message("assistant", &text)]).collect();
    let last = message("user", "Which of the two designs above should we choose, and why?");
    let tool = r#"{"type":"function","function":{"name":"search","parameters":{"type":"object","properties":{"q":{"type":"string"}}}}}"#;
    format!("{{\"model\":\"auto\",\"tools\":[{tool}],\"messages\":[{},{last}]}}", turns.join(",")).into()
}

fn run(bencher: divan::Bencher<'_, '_>, body: &Bytes) {
    let settings = settings();
    let table = table(&settings);
    bencher.counter(divan::counter::BytesCount::new(body.len())).bench(|| {
        let ask = parse(body.clone()).expect("a good request");
        let bearings = Bearings { routing: Routing::default(), latency: &|_| None };
        decide(&table, &ask, bearings).expect("a decision").chain.len()
    });
}

#[divan::bench]
fn request_of_2_kb(bencher: divan::Bencher<'_, '_>) {
    run(bencher, &small());
}

#[divan::bench]
fn conversation_of_100_kb(bencher: divan::Bencher<'_, '_>) {
    run(bencher, &large());
}

#[divan::bench]
fn request_that_names_its_model(bencher: divan::Bencher<'_, '_>) {
    let body = String::from_utf8_lossy(&small()).replace("\"auto\"", "\"google/gemini-3.5-flash\"").into();
    run(bencher, &body);
}

#[divan::bench]
fn window_bound_of_1_mb(bencher: divan::Bencher<'_, '_>) {
    let body = format!("{{\"messages\":[{}]}}", message("user", &"some words ".repeat(95_000)));
    let ask = parse(body.into()).expect("a good request");
    let facts = catalog::builtin().models.first().cloned().expect("a model");
    bencher.bench(|| fit(&facts, &ask));
}

#[divan::bench(sample_count = 20)]
fn tokens_of_1_mb(bencher: divan::Bencher<'_, '_>) {
    let body = format!("{{\"messages\":[{}]}}", message("user", &"some words and a few more of them, then others ".repeat(22_000)));
    let ask = parse(body.into()).expect("a good request");
    bencher.bench(|| routor::routing::count(&ask));
}
