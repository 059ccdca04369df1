//! The connections to one provider. One that has brought its answer is kept
//! for the next request; one that speaks HTTP/2 serves all at once.

use std::error::Error;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use super::body::RequestBody;
use super::connect::{Boxed, Connector, Uses};

/// Providers close idle connections after 60 s and more, Node servers after
/// 5 s: a connection is not used again after this.
const IDLE: Duration = Duration::from_secs(25);
/// How often those are closed.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often an HTTP/2 connection with open streams is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long it may take to say so.
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// The largest head of an answer.
const LARGEST_HEAD: usize = 32 * 1024;

/// Why no head of an answer came.
#[derive(Debug)]
pub(super) enum Problem {
    /// There is no connection.
    Connect(Boxed),
    /// The connection broke.
    Exchange(hyper::Error, Uses),
}

impl Problem {
    /// What happened, and what that came from, outermost first.
    pub fn causes<'e>(&'e self) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
        let first: &'e (dyn Error + 'static) = match self {
            Problem::Connect(problem) => problem.as_ref(),
            Problem::Exchange(problem, _) => problem,
        };
        fn source<'e>(cause: &&'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
            (*cause).source()
        }
        std::iter::successors(Some(first), source)
    }
}

/// How a request is written on a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// With the whole address: for a proxy, and in HTTP/2.
    pub absolute: bool,
    /// With a `Host` header, which HTTP/2 does without.
    pub host: bool,
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
    shared: Option<Link>,
    sweeping: bool,
}

/// One connection.
struct Link {
    sender: Sender,
    uses: Uses,
    form: Form,
    used: Instant,
}

enum Sender {
    One(http1::SendRequest<RequestBody>),
    Many(http2::SendRequest<RequestBody>),
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// No connection yet; they will go where `connector` leads.
    pub fn new(connector: Connector, target: Uri) -> Self {
        Self { connector, target, kept: Arc::default() }
    }

    /// Sends a request and waits for the head of its answer. `request` writes
    /// it in the form that its connection needs, once more when a kept
    /// connection turns out to be closed before anything went out. With
    /// `fresh`, no kept connection is used.
    pub async fn send(&self, fresh: bool, request: impl Fn(Form) -> Request<RequestBody>) -> Result<Response<Incoming>, Problem> {
        loop {
            let kept = if fresh { None } else { self.take() };
            let was_kept = kept.is_some();
            let mut link = match kept {
                Some(link) => link,
                // In a box: what is seldom needed would make every request's future large, and that is copied.
                None => Box::pin(self.connect()).await.map_err(Problem::Connect)?,
            };
            match link.send(request(link.form)).await {
                Ok(response) => {
                    link.uses.add();
                    if !has_two_lengths(response.headers()) {
                        self.keep(link);
                    }
                    return Ok(response);
                }
                Err(unsent) if was_kept && unsent.message().is_some() => {}
                Err(problem) => return Err(Problem::Exchange(problem.into_error(), link.uses)),
            }
        }
    }

    /// A connection that can be used at once.
    fn take(&self) -> Option<Link> {
        let mut kept = lock(&self.kept);
        if let Some(shared) = kept.shared.as_mut().filter(|link| link.is_good()) {
            shared.used = Instant::now();
            return shared.share();
        }
        while let Some(link) = kept.idle.pop() {
            if link.is_good() {
                return Some(link);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Link, Boxed> {
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await?;
        let stream = connector.call(self.target.clone()).await?;
        let (connected, uses) = (stream.connected(), stream.uses());
        let used = Instant::now();
        if !connected.is_negotiated_h2() {
            let (mut sender, connection) = http1::Builder::new().max_buf_size(LARGEST_HEAD).handshake(stream).await?;
            tokio::spawn(connection);
            sender.ready().await?;
            let form = Form { absolute: connected.is_proxied(), host: true };
            return Ok(Link { sender: Sender::One(sender), uses, form, used });
        }
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(LARGEST_HEAD as u32)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_PATIENCE)
            .handshake(stream)
            .await?;
        tokio::spawn(connection);
        sender.ready().await?;
        let link = Link { sender: Sender::Many(sender), uses, form: Form { absolute: true, host: false }, used };
        let mut kept = lock(&self.kept);
        kept.shared = link.share();
        sweep(&self.kept, &mut kept);
        drop(kept);
        Ok(link)
    }

    /// Keeps a connection once its answer has been read, if it lives then.
    fn keep(&self, mut link: Link) {
        match &mut link.sender {
            Sender::Many(_) => {}
            Sender::One(sender) if sender.is_ready() => put(&self.kept, link),
            Sender::One(_) => {
                let kept = Arc::downgrade(&self.kept);
                tokio::spawn(async move {
                    if let Sender::One(sender) = &mut link.sender
                        && sender.ready().await.is_ok()
                        && let Some(kept) = kept.upgrade()
                    {
                        put(&kept, link);
                    }
                });
            }
        }
    }
}

/// Keeps a connection that has no request any more.
fn put(kept: &Arc<Mutex<Kept>>, mut link: Link) {
    link.used = Instant::now();
    let mut locked = lock(kept);
    locked.idle.push(link);
    sweep(kept, &mut locked);
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
            kept.idle.retain(Link::is_good);
            kept.shared.take_if(|link| !link.is_good());
            if kept.idle.is_empty() && kept.shared.is_none() {
                kept.sweeping = false;
                return;
            }
        }
    });
}

impl Link {
    async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match &mut self.sender {
            Sender::One(sender) => sender.try_send_request(request).await,
            Sender::Many(sender) => sender.try_send_request(request).await,
        }
    }

    fn is_good(&self) -> bool {
        let open = match &self.sender {
            Sender::One(sender) => sender.is_ready(),
            Sender::Many(sender) => sender.is_ready() && !sender.is_closed(),
        };
        open && self.used.elapsed() < IDLE
    }

    /// The same connection once more, if it serves many.
    fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::One(_) => None,
            Sender::Many(sender) => {
                Some(Self { sender: Sender::Many(sender.clone()), uses: self.uses.clone(), form: self.form, used: self.used })
            }
        }
    }
}

/// Whoever takes the length for the end of such an answer takes its rest for
/// the next one: the connection is not used again.
fn has_two_lengths(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH)
}
