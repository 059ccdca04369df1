//! The daemon's life: what starts in which order, what stops in which order,
//! and what happens in between (reload, signals, providers that come back).

mod signals;
mod workers;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::{Listen, Provider, Settings};
use crate::control::{self, Order};
use crate::engine::Engine;
use crate::gateway::{Bound, Capacity, Shared};
use crate::journal::{Journal, Limits, Observer, Observers};
use crate::metrics::Metrics;
use crate::paths::State;
use crate::routing::{Talk, classify};
use crate::system::{Complaint, SleepWatch, connections_for, keep_memory_private, raise_open_files};
use crate::traces::{self, Traces};
use crate::upstream::{Checked, Standing};
use signals::{Signals, Told};
use workers::Workers;

/// Requests may finish this long after a stop was asked for.
const GRACE: Duration = Duration::from_secs(10);
/// After that, streams end with an error event, for which the workers keep a
/// clock of their own; this is for a worker that hangs.
const LAST_RESORT: Duration = Duration::from_secs(10);
/// How often local servers are looked for.
const LOOK_AROUND: Duration = Duration::from_secs(30);
/// How often it is looked whether the machine has slept.
const PULSE: Duration = Duration::from_secs(5);
/// How often `--wait` asks again.
const WAIT_STEP: Duration = Duration::from_secs(5);

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not allowed.
    #[error("{0} cannot be listened on: {1}")]
    Address(SocketAddr, #[source] io::Error),
    /// No provider can be used.
    #[error("no provider is left, so there is nothing to serve")]
    NothingLeft,
    /// It was told to stop while it started.
    #[error("stopped while starting")]
    Stopped,
    /// The system refuses something else.
    #[error("{0}")]
    System(String),
}

/// Told of each provider's check as it ends.
pub type OnChecked = Box<dyn Fn(&Provider, &Checked) + Send + Sync>;
/// Told when all providers have been checked.
pub type OnValidated = Box<dyn Fn(&Engine) + Send + Sync>;
/// Told the addresses once the port is open.
pub type OnListening = Box<dyn Fn(&[SocketAddr]) + Send>;
/// Reads the settings anew.
pub type ReadSettings = Box<dyn Fn() -> Result<Settings, String> + Send>;

/// What the daemon is started with.
pub struct Plan {
    /// The settings.
    pub settings: Settings,
    /// The state folder, which this process holds.
    pub state: State,
    /// How long to wait for a first provider; `None` not at all.
    pub wait: Option<Duration>,
    /// Reads the settings anew for a reload.
    pub read_settings: ReadSettings,
    /// Told of each provider's check as it ends.
    pub on_checked: OnChecked,
    /// Told when all are checked, and again for each further round of waiting.
    pub on_validated: OnValidated,
    /// Told the addresses once the port is open.
    pub on_listening: OnListening,
    /// Another address when the wanted one is taken.
    pub any_port: bool,
}

/// Runs the daemon until it is told to stop.
pub async fn run(plan: Plan) -> Result<(), StartError> {
    keep_memory_private();
    let mut signals = Signals::new().map_err(|problem| StartError::System(format!("signals cannot be received: {problem}")))?;
    let bound = bind(&plan)?;
    let socket =
        control::bind(&plan.state).await.map_err(|problem| StartError::System(format!("the local socket cannot be made: {problem}")))?;
    let metrics = Arc::new(Metrics::new().map_err(|problem| StartError::System(problem.to_string()))?);
    let traces = start_traces();
    let journal = start_journal(&plan, &metrics, traces.clone())?;
    let engine = Engine::new(plan.settings.clone(), journal).map_err(|problem| StartError::System(problem.to_string()))?;
    let closing = CancellationToken::new();
    let capacity = Capacity::new(connections_for(raise_open_files()));
    let shared =
        Arc::new(Shared { capacity, metrics, traced: traces.is_some(), complaint: Complaint::default(), closing: closing.clone() });
    let (orders, mut inbox) = mpsc::channel(8);
    let known = Arc::new(OnceLock::new());
    let commands =
        tokio::spawn(control::serve(socket, plan.state.clone(), Arc::clone(&engine), Arc::clone(&known), orders, closing.clone()));
    let served = serve(&plan, &engine, bound, &shared, &known, &mut signals, &mut inbox).await;
    closing.cancel();
    engine.journal().stop();
    if let Some(traces) = traces {
        let _ = tokio::task::spawn_blocking(move || traces.stop()).await;
    }
    let result = served.map(|asked| {
        if let Some(asked) = asked {
            let _ = asked.send(Ok("stopped".to_owned()));
        }
    });
    let _ = tokio::time::timeout(Duration::from_millis(300), commands).await;
    result
}

/// Whoever asked over the local socket and waits for the answer, if it was asked there.
type Asked = Option<oneshot::Sender<Result<String, String>>>;

async fn serve(
    plan: &Plan,
    engine: &Arc<Engine>,
    bound: Bound,
    shared: &Arc<Shared>,
    known: &OnceLock<Vec<String>>,
    signals: &mut Signals,
    inbox: &mut mpsc::Receiver<Order>,
) -> Result<Asked, StartError> {
    // The classifier's word list is compiled on first use; the first request should not wait for that.
    let warm = tokio::task::spawn_blocking(|| classify(&Talk::default()));
    tokio::select! {
        validated = validate(engine, plan) => validated?,
        () = signals.stop() => return Err(StartError::Stopped),
        asked = stop_order(inbox) => return Ok(asked),
    }
    let listeners = bound.listen().map_err(|(address, problem)| StartError::Address(address, problem))?;
    let _ = warm.await;
    let addresses = listeners.addresses();
    let mut workers = Workers::start(engine, &listeners, shared)?;
    drop(listeners);
    let _ = known.set(addresses.iter().map(reachable).collect());
    (plan.on_listening)(&addresses);
    let asked = attend(engine, plan, &addresses, signals, inbox).await;
    stop(engine, &shared.closing, &mut workers, signals).await;
    Ok(asked)
}

/// How a program on this machine reaches an address that is listened on.
fn reachable(address: &SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port()).to_string()
}

/// Waits for the order to stop; while the daemon starts there is nothing to reload.
async fn stop_order(inbox: &mut mpsc::Receiver<Order>) -> Asked {
    loop {
        match inbox.recv().await {
            Some(Order::Stop(asked)) => return Some(asked),
            Some(Order::Reload(asked)) => {
                let _ = asked.send(Err("routor is still starting".to_owned()));
            }
            None => std::future::pending().await,
        }
    }
}

fn bind(plan: &Plan) -> Result<Bound, StartError> {
    let listen = &plan.settings.server.listen;
    match Bound::new(listen) {
        Err((_, problem)) if plan.any_port && problem.kind() == io::ErrorKind::AddrInUse => {
            let free = |address: &SocketAddr| SocketAddr::new(address.ip(), 0);
            let listen = Listen { required: listen.required.iter().map(free).collect(), ..listen.clone() };
            Bound::new(&listen)
        }
        bound => bound,
    }
    .map_err(|(address, problem)| StartError::Address(address, problem))
}

/// Traces are an extra: when they cannot be sent, that is said, and the rest works.
fn start_traces() -> Option<Arc<Traces>> {
    if !traces::are_wanted() {
        return None;
    }
    match Traces::start() {
        Ok(traces) => Some(Arc::new(traces)),
        Err(problem) => {
            tracing::warn!("{problem}");
            None
        }
    }
}

fn start_journal(plan: &Plan, metrics: &Arc<Metrics>, traces: Option<Arc<Traces>>) -> Result<Arc<Journal>, StartError> {
    let log = &plan.settings.log;
    let limits = Limits { keep: Duration::from_secs(log.keep_days.saturating_mul(24 * 3600)), max_bytes: log.max_size };
    let metrics = Arc::clone(metrics);
    let observers = Observers {
        at_once: Some(Box::new(move |record| metrics.observe(record))),
        later: traces.map(|traces| -> Observer { Box::new(move |record| traces.observe(record)) }),
    };
    Journal::start(log.requests.then(|| plan.state.log()), limits, observers)
        .map_err(|problem| StartError::System(format!("no thread for the log: {problem}")))
}

/// Checks all providers, again and again with `--wait`, until one can be used.
async fn validate(engine: &Arc<Engine>, plan: &Plan) -> Result<(), StartError> {
    let started = tokio::time::Instant::now();
    loop {
        engine.validate(&plan.on_checked).await;
        (plan.on_validated)(engine);
        if engine.fleet().pool_size() > 0 {
            return Ok(());
        }
        match plan.wait {
            Some(wait) if started.elapsed() + WAIT_STEP <= wait => tokio::time::sleep(WAIT_STEP).await,
            _ => return Err(StartError::NothingLeft),
        }
    }
}

/// The daemon at work. Returns when it is told to stop, with the one to tell
/// when that is done, if it was a command.
async fn attend(
    engine: &Arc<Engine>,
    plan: &Plan,
    bound: &[SocketAddr],
    signals: &mut Signals,
    inbox: &mut mpsc::Receiver<Order>,
) -> Asked {
    let mut around = every(LOOK_AROUND);
    let mut pulse = every(PULSE);
    let mut watch = SleepWatch::new(PULSE, (Instant::now(), SystemTime::now()));
    let mut again = every(engine.fleet().settings.validation.recheck.unwrap_or(NEVER));
    let mut later = Vec::new();
    loop {
        let (work, asked) = tokio::select! {
            biased;
            asked = std::future::ready(later.pop()), if !later.is_empty() => (Work::Reload, asked.flatten()),
            told = signals.next() => match told {
                Told::Stop => return None,
                Told::Reload => (Work::Reload, None),
            },
            order = inbox.recv() => match order {
                Some(Order::Reload(asked)) => (Work::Reload, Some(asked)),
                Some(Order::Stop(asked)) => return Some(asked),
                None => return None,
            },
            _ = pulse.tick() => {
                if let Some(slept) = watch.slept((Instant::now(), SystemTime::now())) {
                    tracing::info!("the machine slept for {} s; connections to providers are made anew", slept.as_secs());
                    engine.woke();
                }
                continue;
            }
            _ = around.tick() => (Work::LookAround, None),
            _ = again.tick() => (Work::AskAgain, None),
        };
        let reloads = work == Work::Reload;
        let done = tokio::select! {
            done = work.run(engine, plan, bound) => done,
            stopped = told_to_stop(signals, inbox, &mut later) => return stopped,
        };
        match (asked, done) {
            (Some(asked), done) => {
                let _ = asked.send(done);
            }
            (None, Ok(done)) if reloads => tracing::info!("{done}"),
            (None, Ok(_)) => {}
            (None, Err(problem)) => tracing::error!("{problem}"),
        }
        if reloads {
            again = every(engine.fleet().settings.validation.recheck.unwrap_or(NEVER));
        }
    }
}

/// Waits, while other work is done, for the word to stop. A reload that is
/// asked for meanwhile comes after that work.
async fn told_to_stop(signals: &mut Signals, inbox: &mut mpsc::Receiver<Order>, later: &mut Vec<Asked>) -> Asked {
    loop {
        tokio::select! {
            told = signals.next() => match told {
                Told::Stop => return None,
                Told::Reload => later.push(None),
            },
            order = inbox.recv() => match order {
                Some(Order::Stop(asked)) => return Some(asked),
                Some(Order::Reload(asked)) => later.push(Some(asked)),
                None => return None,
            },
        }
    }
}

/// Longer than any daemon runs.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Ticks after each such time, not at once.
fn every(time: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + time, time);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    ticks
}

/// What the daemon does beside serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Reload,
    LookAround,
    AskAgain,
}

impl Work {
    async fn run(self, engine: &Arc<Engine>, plan: &Plan, bound: &[SocketAddr]) -> Result<String, String> {
        match self {
            Work::Reload => return reload(engine, plan, bound).await,
            Work::LookAround => engine.recheck(|provider, _| provider.optional).await,
            Work::AskAgain => engine.recheck(|provider, before| !provider.optional && before == Some(Standing::Unreachable)).await,
        }
        Ok(String::new())
    }
}

async fn reload(engine: &Arc<Engine>, plan: &Plan, bound: &[SocketAddr]) -> Result<String, String> {
    let refused = |problem: String| format!("the configuration was not reloaded, the old one stays:\n{problem}");
    let settings = (plan.read_settings)().map_err(refused)?;
    let open = bound.iter().find(|address| !address.ip().is_loopback());
    if let (Some(address), None) = (open, &settings.server.client_key) {
        let variable = &settings.server.client_key_env;
        return Err(refused(format!(
            "{address} is listened on and can be reached from other machines, so {variable} must be set; to listen elsewhere, restart"
        )));
    }
    let before = engine.fleet();
    let mut notes = settings.warnings.clone();
    if settings.server.listen.required != before.settings.server.listen.required {
        notes.push("server.listen has changed; that needs a restart".to_owned());
    }
    let log = |settings: &Settings| (settings.log.requests, settings.log.keep_days, settings.log.max_size);
    if log(&settings) != log(&before.settings) {
        notes.push("[log] has changed; that needs a restart".to_owned());
    }
    engine.reload(settings).await;
    (plan.on_validated)(engine);
    let fleet = engine.fleet();
    let mut text =
        format!("the configuration was reloaded; {} of {} providers are in the pool", fleet.pool_size(), fleet.settings.providers.len());
    notes.iter().for_each(|note| text.push_str(&format!("\n{note}")));
    Ok(text)
}

/// Takes no more connections, lets requests finish, ends what does not.
async fn stop(engine: &Arc<Engine>, closing: &CancellationToken, workers: &mut Workers, signals: &mut Signals) {
    closing.cancel();
    tokio::select! {
        () = workers.end() => {}
        () = tokio::time::sleep(GRACE) => {
            engine.halt();
            let _ = tokio::time::timeout(LAST_RESORT, workers.end()).await;
        }
        () = signals.stop() => {}
    }
}
