//! The apps: requests over kept connections, each with the fault that it is to
//! meet, and a look at every answer.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;

use super::AT_ONCE;
use super::daemon::Daemon;
use super::faults::Fault;
use super::provider::ANSWER;

/// What came of all requests.
#[derive(Default)]
pub struct Tally {
    /// In the order of the faults that were asked for.
    order: Vec<Fault>,
    times: HashMap<&'static str, Vec<Duration>>,
    asked: HashMap<&'static str, usize>,
    answered: HashMap<&'static str, usize>,
    pub failures: Vec<String>,
}

/// A line of the table.
pub struct Row {
    title: &'static str,
    asked: usize,
    answered: usize,
    added: Option<[Duration; 2]>,
}

/// Sends so many requests; which fault each meets is drawn with the seed.
pub async fn run(daemon: &Daemon, requests: usize, seed: u64, faults: &[Fault]) -> Tally {
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        let share = requests / AT_ONCE + usize::from(worker < requests % AT_ONCE);
        workers.spawn(work(daemon.port, share, seed.wrapping_add(worker as u64), faults.to_vec()));
    }
    let mut tally = Tally { order: faults.to_vec(), ..Tally::default() };
    while let Some(done) = workers.join_next().await {
        tally.add(done.expect("a worker"));
    }
    tally
}

async fn work(port: u16, share: usize, seed: u64, faults: Vec<Fault>) -> Tally {
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let mut dice = fastrand::Rng::with_seed(seed);
    let drawn: Vec<Fault> = faults.iter().flat_map(|fault| std::iter::repeat_n(*fault, fault.weight())).collect();
    let mut tally = Tally::default();
    for number in 0..share {
        let fault = drawn[dice.usize(..drawn.len())];
        let stream = fault.needs_stream().unwrap_or(dice.bool());
        // A fault that makes one model cool must find another one next time.
        let model = match fault {
            Fault::None => "b/m".to_owned(),
            Fault::Refused => "r/m".to_owned(),
            Fault::RateLimited | Fault::ModelGone => format!("a/m-{seed}-{number}"),
            _ => "a/m".to_owned(),
        };
        let since = Instant::now();
        let answer = ask(&client, port, fault, &model, stream).await;
        tally.note(fault, answer, since.elapsed());
    }
    tally
}

/// One request; says whether another provider was tried, or what was wrong.
async fn ask(client: &Client<HttpConnector, Full<Bytes>>, port: u16, fault: Fault, model: &str, stream: bool) -> Result<bool, String> {
    let body = format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"hello"}}]}}"#);
    let request = Request::post(format!("http://127.0.0.1:{port}/v1/chat/completions"))
        .header("content-type", "application/json")
        .header("x-title", format!("{fault:?}"))
        .body(Full::from(body))
        .map_err(|problem| problem.to_string())?;
    let response: Response<Incoming> = client.request(request).await.map_err(|problem| problem.to_string())?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|problem| problem.to_string())?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    if head.status != 200 || said(&text, stream).as_deref() != Some(ANSWER) {
        return Err(format!("{fault:?} {} {text}", head.status));
    }
    Ok(head.headers.get("x-routor-attempts").is_some_and(|count| count == "2"))
}

/// The words of an answer that is whole.
fn said(text: &str, stream: bool) -> Option<String> {
    let words = |json: &str, path: &str| {
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        Some(value.pointer(path).and_then(|words| words.as_str()).unwrap_or_default().to_owned())
    };
    if !stream {
        return words(text, "/choices/0/message/content");
    }
    let events = text.strip_suffix("data: [DONE]\n\n")?;
    events.split_terminator("\n\n").map(|event| words(event.strip_prefix("data: ")?, "/choices/0/delta/content")).collect()
}

impl Tally {
    fn note(&mut self, fault: Fault, answer: Result<bool, String>, took: Duration) {
        *self.asked.entry(fault.title()).or_default() += 1;
        match answer {
            Ok(fell_back) => {
                *self.answered.entry(fault.title()).or_default() += 1;
                // Where the fault did not hit, its time says nothing; with the breaker open that is the point.
                if fell_back || matches!(fault, Fault::None | Fault::Down) {
                    self.times.entry(fault.title()).or_default().push(took);
                }
            }
            Err(problem) => self.failures.push(problem),
        }
    }

    fn add(&mut self, other: Tally) {
        other.times.into_iter().for_each(|(title, times)| self.times.entry(title).or_default().extend(times));
        other.asked.into_iter().for_each(|(title, count)| *self.asked.entry(title).or_default() += count);
        other.answered.into_iter().for_each(|(title, count)| *self.answered.entry(title).or_default() += count);
        self.failures.extend(other.failures);
    }

    pub fn asked(&self) -> usize {
        self.asked.values().sum()
    }

    pub fn answered(&self) -> usize {
        self.answered.values().sum()
    }

    /// A row for each fault: by how much its median and its 99th percentile are
    /// above the median of an answer from the healthy provider, whose own two
    /// stand in the first row.
    pub fn rows(&self) -> Vec<Row> {
        let figures = |title: &str| {
            let mut times = self.times.get(title).cloned().unwrap_or_default();
            times.sort_unstable();
            let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1))).copied();
            Some([at(50)?, at(99)?])
        };
        let healthy = figures(Fault::None.title()).unwrap_or_default();
        let row = |fault: &Fault| {
            let title = fault.title();
            let count = |counts: &HashMap<&str, usize>| counts.get(title).copied().unwrap_or(0);
            let over = |[median, late]: [Duration; 2]| [median.saturating_sub(healthy[0]), late.saturating_sub(healthy[0])];
            let added = figures(title).map(|own| if *fault == Fault::None { own } else { over(own) });
            Row { title, asked: count(&self.asked), answered: count(&self.answered), added }
        };
        self.order.iter().map(row).collect()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
        let [median, late] = self.added.map_or(["–".to_owned(), "–".to_owned()], |added| added.map(show));
        write!(f, "| {} | {} | {} | {median} | {late} |", self.title, self.asked, self.answered)
    }
}
