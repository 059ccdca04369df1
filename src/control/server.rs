//! The daemon's end of the local socket.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use interprocess::local_socket::ListenerOptions;
use interprocess::local_socket::tokio::prelude::*;
use interprocess::local_socket::tokio::{Listener, Stream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[cfg(unix)]
use super::client::Client;
use super::client::socket_name;
use super::listing::Listing;
use super::protocol::{Command, CoolingModel, Hello, Line, PROTOCOL, ProviderLine, Status};
use crate::engine::{Engine, Fleet};
use crate::failover::{Class, View, millis_left};
use crate::journal::millis;
use crate::paths::State;
use crate::upstream::proxy_for;

/// A client says what it wants within this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// A client that takes nothing for so long is let go.
const STALL: Duration = Duration::from_secs(30);
/// A client's line is never longer.
const LONGEST_LINE: u64 = 4096;
/// How often it is looked whether the socket is still there.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// More clients than this at once are not served.
const MOST_CLIENTS: usize = 600;

/// What a client wants the daemon to do; the answer is a text for the reader.
#[derive(Debug)]
pub enum Order {
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<String, String>>),
    /// Stop.
    Stop(oneshot::Sender<Result<String, String>>),
}

/// What each connection is served with.
#[derive(Clone)]
struct Desk {
    engine: Arc<Engine>,
    addresses: Arc<OnceLock<Vec<String>>>,
    orders: mpsc::Sender<Order>,
}

/// Serves the socket until `closing` is cancelled. The addresses are filled in
/// once the port is open.
pub async fn serve(
    mut listener: Listener,
    state: State,
    engine: Arc<Engine>,
    addresses: Arc<OnceLock<Vec<String>>>,
    orders: mpsc::Sender<Order>,
    closing: CancellationToken,
) {
    let desk = Desk { engine, addresses, orders };
    let clients = TaskTracker::new();
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => break,
            _ = look.tick() => {
                if let Some(anew) = remade(&state).await {
                    // The old one would remove the new one's file when it goes.
                    listener.do_not_reclaim_name_on_drop();
                    listener = anew;
                }
                continue;
            }
        };
        match accepted {
            Ok(stream) if !is_the_users(&stream) => tracing::warn!("another user tried the local socket and was turned away"),
            Ok(stream) if clients.len() < MOST_CLIENTS => {
                let (desk, closing) = (desk.clone(), closing.clone());
                clients.spawn(async move {
                    let _ = desk.talk(stream, &closing).await;
                });
            }
            Ok(_) => {}
            Err(problem) => {
                tracing::debug!("the local socket could not take a connection: {problem}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    clients.close();
    // Whoever asked for the stop is told when it is done.
    clients.wait().await;
}

/// The socket made anew when something has removed its file, as cleaners of
/// temporary folders do: nobody could find the daemon any more.
#[cfg(unix)]
async fn remade(state: &State) -> Option<Listener> {
    if std::fs::symlink_metadata(state.socket()).is_err_and(|problem| problem.kind() == io::ErrorKind::NotFound) {
        let made = match state.make() {
            Ok(()) => bind(state).await,
            Err(problem) => Err(io::Error::other(problem)),
        };
        return match made {
            Ok(listener) => {
                tracing::info!("the local socket had been removed; it is there again");
                Some(listener)
            }
            Err(problem) => {
                tracing::warn!("the local socket was removed and cannot be made anew: {problem}");
                None
            }
        };
    }
    None
}

/// A pipe has no file that could be removed.
#[cfg(windows)]
async fn remade(_: &State) -> Option<Listener> {
    None
}

/// Whether a client is this user, or root, who may do anything anyway. The
/// folder keeps others out; this holds when its mode was changed.
#[cfg(unix)]
fn is_the_users(stream: &Stream) -> bool {
    stream.peer_creds().map_or(true, |peer| peer.euid().is_none_or(|user| user == crate::system::user() || user == 0))
}

/// The pipe's own descriptor lets nobody else in.
#[cfg(windows)]
fn is_the_users(_: &Stream) -> bool {
    true
}

/// Makes the socket. The caller holds the instance lock, so a socket that is
/// there is a dead one's, unless somebody removed the lock: one that answers is
/// never displaced. What is not a socket is left alone.
#[cfg(unix)]
pub async fn bind(state: &State) -> io::Result<Listener> {
    use std::os::unix::fs::FileTypeExt;

    use interprocess::os::unix::local_socket::ListenerOptionsExt;
    let path = state.socket();
    match std::fs::symlink_metadata(&path) {
        Ok(about) if about.file_type().is_socket() => {
            if let Some(live) = Client::find(state).await.ok().flatten() {
                let text = format!("routor already runs here (pid {}), though its lock file is gone", live.hello.pid);
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            std::fs::remove_file(&path)?;
        }
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is there and is not a socket; move it away", path.display()),
            ));
        }
        Err(_) => {}
    }
    let name = socket_name(state)?;
    match ListenerOptions::new().name(name.clone()).mode(0o600).create_tokio() {
        // The folder keeps others out all the same.
        Err(problem) if problem.kind() == io::ErrorKind::Unsupported => ListenerOptions::new().name(name).create_tokio(),
        bound => bound,
    }
}

/// Makes the pipe, which only its owner and the system can open. The caller
/// holds the instance lock, so a pipe that is there is of a daemon that is just
/// ending, and is waited for, or of a stranger.
#[cfg(windows)]
pub async fn bind(state: &State) -> io::Result<Listener> {
    use interprocess::os::windows::local_socket::ListenerOptionsExt;
    use interprocess::os::windows::security_descriptor::SecurityDescriptor;
    /// Full access for who made it and for the system, inherited by nothing.
    const OWNER_ONLY: &widestring::U16CStr = widestring::u16cstr!("D:P(A;;GA;;;OW)(A;;GA;;;SY)");
    /// A daemon that ends lets go of its pipe within this time.
    const HELD: Duration = Duration::from_secs(5);
    let until = Instant::now() + HELD;
    loop {
        let owner_only = SecurityDescriptor::deserialize(OWNER_ONLY)?;
        let bound = ListenerOptions::new().name(socket_name(state)?).security_descriptor(owner_only).create_tokio();
        match bound {
            Err(problem) if matches!(problem.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::AddrInUse) => {
                if Instant::now() > until {
                    let text = "another program holds the pipe of this state folder; end it, or choose another folder with --state";
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            bound => return bound,
        }
    }
}

impl Desk {
    fn hello(&self) -> Hello {
        Hello {
            hello: "routor".to_owned(),
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            addresses: self.addresses.get().cloned().unwrap_or_default(),
        }
    }

    async fn talk(&self, stream: Stream, closing: &CancellationToken) -> io::Result<()> {
        let mut writer = &stream;
        say(&mut writer, &self.hello()).await?;
        let mut reader = BufReader::new((&stream).take(LONGEST_LINE));
        let mut text = String::new();
        tokio::time::timeout(PATIENCE, reader.read_line(&mut text)).await??;
        match serde_json::from_str::<Command>(&text) {
            Ok(Command::Status) => say(&mut writer, &Line::Status(Box::new(self.status()))).await,
            Ok(Command::Models) => {
                let listing = Listing::of(&self.engine.fleet(), Instant::now());
                say(&mut writer, &Line::Models(Box::new(listing))).await
            }
            Ok(Command::Reload) => self.order(&mut writer, Order::Reload).await,
            Ok(Command::Stop) => self.order(&mut writer, Order::Stop).await,
            Ok(Command::Events) => tokio::select! {
                ended = self.events(&stream) => ended,
                () = closing.cancelled() => Ok(()),
            },
            Err(_) => say(&mut writer, &Line::Failed("not a command of this version of routor".to_owned())).await,
        }
    }

    async fn order(&self, writer: &mut &Stream, order: impl FnOnce(oneshot::Sender<Result<String, String>>) -> Order) -> io::Result<()> {
        let (answer, answered) = oneshot::channel();
        let sent = self.orders.send(order(answer)).await.is_ok();
        let line = match answered.await {
            Ok(Ok(text)) if sent => Line::Done(text),
            Ok(Err(problem)) => Line::Failed(problem),
            _ => Line::Failed("routor is stopping".to_owned()),
        };
        say(writer, &line).await
    }

    /// The feed, until the reader leaves.
    async fn events(&self, stream: &Stream) -> io::Result<()> {
        let mut writer = stream;
        let Some(mut feed) = self.engine.journal().subscribe().await else { return Ok(()) };
        say(&mut writer, &Line::Subscribed { writer: feed.writer, after: feed.after }).await?;
        let mut gone = [0u8; 1];
        let mut reader = stream;
        loop {
            let line = tokio::select! {
                received = feed.records.recv() => match received {
                    Ok(record) => Line::Request(Box::new(record.as_ref().clone())),
                    Err(broadcast::error::RecvError::Lagged(missed)) => Line::Missed(missed),
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                read = reader.read(&mut gone) => match read {
                    Ok(1..) => continue,
                    Ok(0) | Err(_) => return Ok(()),
                },
            };
            // A reader that takes its time misses events; it is not cut off.
            send(&mut writer, &line).await?;
        }
    }

    fn status(&self) -> Status {
        let (fleet, hello) = (self.engine.fleet(), self.hello());
        let now = Instant::now();
        Status {
            version: hello.version,
            pid: hello.pid,
            addresses: hello.addresses,
            uptime_ms: millis(self.engine.uptime()),
            client_key: fleet.settings.server.client_key.is_some(),
            log_dropped: self.engine.journal().dropped(),
            providers: (0..fleet.settings.providers.len()).filter_map(|place| provider_line(&fleet, place, now)).collect(),
        }
    }
}

fn provider_line(fleet: &Fleet, place: usize, now: Instant) -> Option<ProviderLine> {
    let (provider, state) = fleet.provider(place)?;
    let (checked, _) = state.checked()?;
    let cooling = fleet.models_of(place).filter_map(|(candidate, model)| {
        let view = model.view(now).max_with(state.view(now));
        let (name, left) = match view {
            View::Ready => return None,
            View::Cooling(left) => ("cooling", left),
            View::Probing => ("probing", Duration::ZERO),
        };
        Some(CoolingModel { model: candidate.facts.id.to_string(), state: name.to_owned(), cooling_ms: millis_left(left) })
    });
    Some(ProviderLine {
        provider: provider.name.clone(),
        base_url: provider.endpoint.as_str().to_owned(),
        proxy: provider.endpoint.as_str().parse().ok().and_then(|target| proxy_for(&target, provider.endpoint.is_loopback())),
        optional: provider.optional,
        in_pool: checked.standing.in_pool() && !state.is_out(),
        validation: checked.standing.name().to_owned(),
        detail: match state.cooled_for(now) {
            Some(Class::NoCredit) => "no credit: requests go elsewhere for now".to_owned(),
            _ => checked.detail,
        },
        cooling: cooling.collect(),
    })
}

async fn say(writer: &mut &Stream, line: &impl serde::Serialize) -> io::Result<()> {
    tokio::time::timeout(STALL, send(writer, line)).await?
}

async fn send(writer: &mut &Stream, line: &impl serde::Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    writer.write_all(text.as_bytes()).await
}
