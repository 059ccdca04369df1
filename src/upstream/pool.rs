//! The connections to one provider. One that has brought its answer is kept
//! for the next request; one that speaks HTTP/2 serves all at once.

use std::error::Error;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tower_service::Service;

use super::body::RequestBody;
use super::connect::{Boxed, Connector, Stream, Uses};
use super::head::Outgoing;
use super::http1;
use super::received::Received;
use crate::turn;

/// Providers close idle connections after 60 s and more, Node servers after
/// 5 s: a connection is not used again after this.
const IDLE: Duration = Duration::from_secs(25);
/// How often those are closed.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often an HTTP/2 connection with open streams is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long it may take to say so.
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// The largest head of an answer in HTTP/2.
const LARGEST_HEAD: u32 = 32 * 1024;

/// Why no head of an answer came.
#[derive(Debug)]
pub(super) enum Problem {
    /// There is no connection.
    Connect(Boxed),
    /// The connection broke.
    Exchange(Boxed, Uses),
}

impl Problem {
    /// What happened, and what that came from, outermost first.
    pub fn causes<'e>(&'e self) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
        let (Problem::Connect(first) | Problem::Exchange(first, _)) = self;
        let first: &'e (dyn Error + 'static) = first.as_ref();
        fn source<'e>(cause: &&'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
            (*cause).source()
        }
        std::iter::successors(Some(first), source)
    }
}

/// An answer whose body is still to be read.
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Received,
}

/// All connections of one worker to one provider.
pub(super) struct Pool {
    connector: Connector,
    target: Uri,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    /// Those that serve one request at a time and have none, the last used behind.
    idle: Vec<Link>,
    /// The newest of those that serve many.
    shared: Option<Shared>,
    sweeping: bool,
}

/// A connection that serves one request at a time, and the pool it belongs to.
/// In a box, because it is handed on often.
pub(super) struct Link {
    connection: Box<http1::Connection>,
    used: Instant,
    home: Weak<Mutex<Kept>>,
}

/// A connection that serves many.
#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    uses: Uses,
    used: Instant,
}

enum Opened {
    One(Link),
    Many(Shared),
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// No connection yet; they will go where `connector` leads.
    pub fn new(connector: Connector, target: Uri) -> Self {
        Self { connector, target, kept: Arc::default() }
    }

    /// Sends a request and waits for the head of its answer; once more when a
    /// kept connection turns out to be closed before anything went out. With
    /// `fresh`, no kept connection is used.
    pub async fn send(&self, fresh: bool, request: &Outgoing<'_>) -> Result<Reply, Problem> {
        loop {
            let kept = if fresh { None } else { self.take() };
            let was_kept = kept.is_some();
            let opened = match kept {
                Some(opened) => opened,
                // In a box: what is seldom needed would make every request's future large, and that is copied.
                None => Box::pin(self.connect()).await.map_err(Problem::Connect)?,
            };
            let (unsent, problem) = match opened {
                Opened::One(mut link) => match link.connection.exchange(|out| request.write(out)).await {
                    Ok(http1::Head { status, headers, .. }) => return Ok(Reply { status, headers, body: Received::one(link) }),
                    Err(problem) => {
                        let uses = link.connection.uses().clone();
                        (matches!(problem, http1::Broken::Unsent(_)), Problem::Exchange(problem.into(), uses))
                    }
                },
                Opened::Many(shared) => match Box::pin(shared.send(request)).await {
                    Ok(reply) => return Ok(reply),
                    Err((unsent, problem, uses)) => (unsent, Problem::Exchange(problem.into(), uses)),
                },
            };
            if !was_kept || !unsent {
                return Err(problem);
            }
        }
    }

    /// A connection that can be used at once.
    fn take(&self) -> Option<Opened> {
        let mut kept = lock(&self.kept);
        if let Some(shared) = kept.shared.as_mut().filter(|shared| shared.is_good()) {
            shared.used = turn::now();
            return Some(Opened::Many(shared.clone()));
        }
        while let Some(mut link) = kept.idle.pop() {
            if link.is_good() {
                return Some(Opened::One(link));
            }
        }
        None
    }

    async fn connect(&self) -> Result<Opened, Boxed> {
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await?;
        let stream = connector.call(self.target.clone()).await?;
        if stream.is_http2() {
            return self.share(stream).await;
        }
        let connection = Box::new(http1::Connection::new(stream));
        Ok(Opened::One(Link { connection, used: turn::now(), home: Arc::downgrade(&self.kept) }))
    }

    /// Begins HTTP/2 on a connection, for all requests.
    async fn share(&self, stream: Stream) -> Result<Opened, Boxed> {
        let uses = stream.uses();
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(LARGEST_HEAD)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_PATIENCE)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(connection);
        sender.ready().await?;
        let shared = Shared { sender, uses, used: turn::now() };
        let mut kept = lock(&self.kept);
        kept.shared = Some(shared.clone());
        sweep(&self.kept, &mut kept);
        Ok(Opened::Many(shared))
    }
}

/// Sees to it that connections that nobody uses are closed.
fn sweep(kept: &Arc<Mutex<Kept>>, locked: &mut Kept) {
    if std::mem::replace(&mut locked.sweeping, true) {
        return;
    }
    let kept: Weak<Mutex<Kept>> = Arc::downgrade(kept);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let Some(kept) = kept.upgrade() else { return };
            let mut kept = lock(&kept);
            kept.idle.retain_mut(Link::is_good);
            kept.shared.take_if(|shared| !shared.is_good());
            if kept.idle.is_empty() && kept.shared.is_none() {
                kept.sweeping = false;
                return;
            }
        }
    });
}

impl Link {
    /// The next bytes of the answer's body.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, http1::Broken>>> {
        self.connection.poll_body(cx)
    }

    /// The bytes of the body to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        self.connection.left()
    }

    /// Goes back to the pool if it can serve another request, or is closed.
    pub fn keep(mut self) {
        let Some(kept) = self.home.upgrade().filter(|_| self.connection.is_free()) else { return };
        self.used = turn::now();
        let mut locked = lock(&kept);
        locked.idle.push(self);
        sweep(&kept, &mut locked);
    }

    fn is_good(&mut self) -> bool {
        turn::now().saturating_duration_since(self.used) < IDLE && self.connection.is_open()
    }
}

impl Shared {
    /// Why it failed comes with whether nothing was sent.
    async fn send(mut self, request: &Outgoing<'_>) -> Result<Reply, (bool, hyper::Error, Uses)> {
        self.uses.begin();
        match self.sender.try_send_request(request.request()).await {
            Ok(response) => {
                self.uses.add();
                let (head, body) = response.into_parts();
                Ok(Reply { status: head.status, headers: head.headers, body: Received::many(body) })
            }
            Err(problem) => Err((problem.message().is_some(), problem.into_error(), self.uses)),
        }
    }

    fn is_good(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed() && turn::now().saturating_duration_since(self.used) < IDLE
    }
}
