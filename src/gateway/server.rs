//! The port: sockets, connections, and the threads that serve them.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::answering::Answering;
use super::body::Sent;
use super::capacity::Capacity;
use super::connection::{Clocks, Io, LOOK_EVERY, left};
use super::reactor::Reactor;
use super::wakers::Seldom;
use super::{error, routes};
use crate::config::Listen;
use crate::engine::{Desk, Engine};
use crate::metrics::Metrics;
use crate::system::Complaint;
use crate::turn::Alarm;

/// What one worker thread serves with.
#[derive(Debug)]
pub struct Gateway {
    pub(super) engine: Arc<Engine>,
    pub(super) desk: Desk,
    pub(super) shared: Arc<Shared>,
}

/// What all worker threads share.
#[derive(Debug)]
pub struct Shared {
    /// How much is served at once.
    pub capacity: Capacity,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether spans are made of requests.
    pub traced: bool,
    /// That no connection can be taken, once a minute.
    pub complaint: Complaint,
    /// Cancelled when no more is to be taken on.
    pub closing: CancellationToken,
}

/// Read and write buffers of one connection stay below this.
const BUFFER: usize = 64 * 1024;
/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;
/// After an error that is not the connection's own, such as too many open
/// files, taking the next one waits so long.
const BREATH: Duration = Duration::from_millis(50);

/// When streams are told to end, this is for their last event to go out.
const LAST_WORDS: Duration = Duration::from_millis(800);

/// Addresses that are taken but not open yet: nobody can connect, and
/// nobody else can take them.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<(SocketAddr, Socket)>,
    /// Where the IPv6 loopback is wanted too, at the port of the first address.
    also_v6_loopback: bool,
}

impl Bound {
    /// Takes the addresses.
    pub fn new(listen: &Listen) -> Result<Self, (SocketAddr, io::Error)> {
        let sockets = listen.required.iter().map(|address| Ok((*address, bind(*address).map_err(|problem| (*address, problem))?)));
        Ok(Self { sockets: sockets.collect::<Result<_, _>>()?, also_v6_loopback: listen.also_v6_loopback })
    }

    /// Opens them.
    pub fn listen(self) -> Result<Listeners, (SocketAddr, io::Error)> {
        let mut sockets: Vec<TcpListener> = Vec::new();
        for (address, socket) in self.sockets {
            socket.listen(BACKLOG).map_err(|problem| (address, problem))?;
            sockets.push(socket.into());
        }
        let port = sockets.first().and_then(|socket| socket.local_addr().ok()).map(|address| address.port());
        if let Some(port) = port.filter(|_| self.also_v6_loopback)
            && let Ok(socket) = bind((Ipv6Addr::LOCALHOST, port).into())
            && socket.listen(BACKLOG).is_ok()
        {
            sockets.push(socket.into());
        }
        Ok(Listeners { sockets })
    }
}

/// The sockets that are listened on.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<TcpListener>,
}

impl Listeners {
    /// The addresses that were bound, ports filled in.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// The same sockets once more, for another thread. All threads take from
    /// one queue, so the port cannot be shared with another process.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { sockets: self.sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()? })
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without this a restart within a minute fails on Unix; on Windows it would let others take the port.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Gateway {
    /// A gateway for one worker thread.
    pub fn new(engine: &Arc<Engine>, shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { engine: Arc::clone(engine), desk: Desk::new(engine), shared: Arc::clone(shared) })
    }

    /// Serves until it is to close, then waits for the connections
    /// that are being answered. Idle ones are closed at once.
    pub async fn serve(self: Arc<Self>, listeners: Listeners) -> io::Result<()> {
        let (reactor, turning) = Reactor::new()?;
        let turning = AbortOnDropHandle::new(tokio::spawn(turning));
        tokio::select! {
            turned = turning => match turned {
                Ok(Err(problem)) => Err(problem),
                Err(problem) => Err(io::Error::other(problem)),
            },
            served = self.serve_on(&reactor, listeners) => served,
        }
    }

    async fn serve_on(self: Arc<Self>, reactor: &Arc<Reactor>, listeners: Listeners) -> io::Result<()> {
        let closing = &self.shared.closing;
        let connections = TaskTracker::new();
        let mut acceptors = Vec::new();
        for socket in listeners.sockets {
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let (gateway, reactor, connections, closing) = (Arc::clone(&self), Arc::clone(reactor), connections.clone(), closing.clone());
            acceptors.push(tokio::spawn(async move { gateway.accept(listener, &reactor, &connections, &closing).await }));
        }
        for acceptor in acceptors {
            let _ = acceptor.await;
        }
        connections.close();
        tokio::select! {
            () = connections.wait() => {}
            () = self.last_words() => {}
        }
        Ok(())
    }

    /// Over when what is told to end has had its time to say so. Counted here
    /// and not by who gives the word: a machine that stands still for a second
    /// must not use up that time before this thread has run at all.
    async fn last_words(&self) {
        self.engine.stopping.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    }

    async fn accept(
        self: Arc<Self>,
        listener: tokio::net::TcpListener,
        reactor: &Arc<Reactor>,
        connections: &TaskTracker,
        closing: &CancellationToken,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closing.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => match self.shared.capacity.seat() {
                    Some(seat) => drop(connections.spawn(Arc::clone(&self).connection(stream, Arc::clone(reactor), closing.clone(), seat))),
                    None => self.shared.capacity.turn_away(stream),
                },
                Err(problem) if is_the_connections(&problem) => {}
                Err(problem) => {
                    self.shared.complaint.make(|| tracing::warn!("no connection can be taken: {problem}"));
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        reactor: Arc<Reactor>,
        closing: CancellationToken,
        _seat: OwnedSemaphorePermit,
    ) {
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr().map(|address| address.ip()) else { return };
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let clocks = Clocks::new(&task);
        let registered = match reactor.register(stream, task) {
            Ok(registered) => registered,
            Err(problem) => {
                self.shared.complaint.make(|| tracing::warn!("no connection can be taken: {problem}"));
                return;
            }
        };
        let io = Io::new(Arc::clone(&registered.client), Arc::clone(&clocks));
        let (gateway, watched, client) = (Arc::clone(&self), Arc::clone(&clocks), Arc::clone(&registered.client));
        let service = service_fn(move |request: Request<Incoming>| {
            let (gateway, busy, clocks) = (Arc::clone(&gateway), clocks.begins(), Arc::clone(&clocks));
            let (head, given) = request.into_parts();
            let body = Sent { given, client: Arc::clone(&client) };
            Answering::new(async move {
                let handled = AssertUnwindSafe(routes::handle(&gateway, &head, body, unmapped(local), &clocks)).catch_unwind().await;
                let mut response = handled.unwrap_or_else(|_| {
                    gateway.shared.metrics.panicked();
                    gateway.shared.metrics.refused("internal_error");
                    error::internal().into_response()
                });
                response.body_mut().hold(busy, &gateway.shared.metrics);
                response
            })
        });
        // Whether the client leaves is noticed by `left`; to look for it on its own would cost the library a buffer for each request.
        let connection = http1::Builder::new().max_buf_size(BUFFER).half_close(true).serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        let waker = Waker::from(Arc::clone(&watched.hush));
        let (mut closes, mut stops) = (std::pin::pin!(closing.cancelled()), std::pin::pin!(self.engine.stopping.cancelled()));
        let (mut looked, mut late, mut closing, mut stopping) = (false, false, false, false);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut signals = Seldom::new(|cx: &mut Context<'_>| {
            if !closing && closes.as_mut().poll(cx).is_ready() {
                closing = std::mem::replace(&mut looked, true);
                return Poll::Ready(if closing { Signal::Close } else { Signal::Look });
            }
            if closing && !stopping && stops.as_mut().poll(cx).is_ready() {
                stopping = true;
                return Poll::Ready(Signal::Stop);
            }
            let mut due = late;
            while look.poll_tick(cx).is_ready() {
                due = true;
            }
            if due && watched.is_over() {
                return Poll::Ready(if std::mem::replace(&mut late, true) { Signal::TimeOut } else { Signal::Look });
            }
            late = false;
            Poll::Pending
        });
        let mut alarm = Alarm::default();
        loop {
            tokio::select! {
                biased;
                ended = poll_fn(|cx| {
                    alarm.turn(cx, |_| connection.as_mut().poll(&mut Context::from_waker(&waker)))
                }) => {
                    if let Err(problem) = ended {
                        tracing::trace!("a connection ended early: {problem}");
                    }
                    return;
                }
                () = poll_fn(|cx| left(&registered.client, &watched, cx)) => return,
                signal = poll_fn(|cx| signals.poll(cx)) => match signal {
                    Signal::Look => registered.client.look_again().await,
                    Signal::Close => connection.as_mut().graceful_shutdown(),
                    Signal::Stop => {}
                    Signal::TimeOut => return,
                },
            }
        }
    }
}

/// What a connection is told while it is served.
enum Signal {
    /// Look what has come: that is read before the connection is closed, or its time is over.
    Look,
    /// Take no more requests.
    Close,
    /// End what is being answered: it asks whether it should when it is woken.
    Stop,
    /// One of its clocks has run out.
    TimeOut,
}

/// An IPv4 address that came in as IPv6.
fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Whether accepting failed for a reason that concerns that connection alone.
fn is_the_connections(problem: &io::Error) -> bool {
    matches!(
        problem.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted
    )
}
