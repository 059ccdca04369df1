//! One connection from a client: how long it may be idle, take to send a
//! head, or refuse to read. hyper counts its head time-out from the end of the
//! previous answer, which would cut idle connections that clients still count
//! on; this one counts from the first byte.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{Fault, Framing, Rest};
use super::reactor::Client;
use super::wakers::Hush;
use crate::turn;

/// A head must be whole this long after its first byte.
const HEAD: Duration = Duration::from_secs(30);
/// An idle connection is closed after this; clients keep theirs for 90 s or less.
const IDLE: Duration = Duration::from_secs(300);
/// A client that reads nothing for so long has gone.
const STALL: Duration = Duration::from_secs(60);
/// How often the clocks are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);

thread_local! {
    /// Where a little is read to and written from. The library's own room would
    /// have to be cleared before it is read to, and is seldom in the processor's cache.
    static LITTLE: RefCell<[u8; LITTLE_SIZE]> = const { RefCell::new([0; LITTLE_SIZE]) };
}

/// Most of a small request, and of a small answer.
const LITTLE_SIZE: usize = 2 << 10;

/// A body that nobody wants is read and thrown away up to this size.
pub(super) const MOST_UNWANTED: u64 = 256 << 20;

/// What a client sends before its answer is there is taken up to this size.
const AHEAD: usize = 16 << 10;

/// Bytes that came while a request was being answered. They are taken from the
/// socket, because behind them may stand that the client has left, and kept
/// for the library, which reads on when it is done.
#[derive(Debug, Default)]
struct Ahead {
    bytes: Mutex<BytesMut>,
    /// How many they are, to be looked at without the lock.
    len: AtomicUsize,
}

impl Ahead {
    fn take(&self, bytes: &[u8]) {
        let mut kept = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        self.len.store(kept.len(), Ordering::Relaxed);
    }

    /// Gives back what was taken; says whether there was any.
    fn give(&self, buf: &mut ReadBuf<'_>) -> bool {
        if self.len.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut kept = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = kept.len().min(buf.remaining());
        buf.put_slice(&kept.split_to(count));
        self.len.store(kept.len(), Ordering::Relaxed);
        count > 0
    }

    fn is_full(&self) -> bool {
        self.len.load(Ordering::Relaxed) >= AHEAD
    }
}

/// The clocks of a connection, in milliseconds since it began; 0 is off.
#[derive(Debug)]
pub(super) struct Clocks {
    began: Instant,
    /// Requests being answered.
    busy: AtomicUsize,
    head_since: AtomicU64,
    idle_since: AtomicU64,
    stalled_since: AtomicU64,
    /// Requests that have begun.
    requests: AtomicU64,
    /// The request that must not be answered, by its number, and why.
    fault: OnceLock<(u64, Fault)>,
    ahead: Ahead,
    /// Of the last request whose body is not given to the library to its end: its
    /// number, and what is still to come.
    rest_of: AtomicU64,
    rest: AtomicU64,
    /// The request that is being answered has been read to its end.
    whole: AtomicBool,
    /// What wakes the library is not heard while this is on.
    pub(super) hush: Arc<Hush>,
}

impl Clocks {
    /// Of a connection that begins now, which this task serves.
    pub fn new(task: &Waker) -> Arc<Self> {
        let off = || AtomicU64::new(0);
        Arc::new(Self {
            began: Instant::now(),
            busy: AtomicUsize::new(0),
            head_since: off(),
            idle_since: AtomicU64::new(1),
            stalled_since: off(),
            requests: off(),
            fault: OnceLock::new(),
            ahead: Ahead::default(),
            rest_of: off(),
            rest: off(),
            whole: AtomicBool::new(false),
            hush: Hush::new(task),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(turn::now().saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// A request has arrived; it is being answered until the guard goes.
    pub fn begins(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.busy()
    }

    /// The request is not done until this guard goes, too.
    pub fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.whole.store(false, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        self.idle_since.store(0, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// The request has been read to its end: what comes now belongs to another.
    pub fn has_all(&self) {
        self.whole.store(true, Ordering::Relaxed);
    }

    /// How much of the body of the request that is being answered comes past the library.
    pub fn to_come(&self) -> u64 {
        if self.rest_of.load(Ordering::Relaxed) == self.requests.load(Ordering::Relaxed) { self.rest.load(Ordering::Relaxed) } else { 0 }
    }

    /// So much of that has been read.
    pub fn came(&self, count: usize) {
        self.rest.store(self.rest.load(Ordering::Relaxed).saturating_sub(count as u64), Ordering::Relaxed);
    }

    /// What is wrong with the request that has just arrived.
    pub fn fault(&self) -> Option<Fault> {
        let (number, fault) = *self.fault.get()?;
        // Nothing is known of what came behind it.
        (self.requests.load(Ordering::Relaxed) >= number).then_some(fault)
    }

    /// Whether one of the clocks has run out.
    pub fn is_over(&self) -> bool {
        let now = self.now();
        let over = |since: &AtomicU64, limit: Duration| match since.load(Ordering::Relaxed) {
            0 => false,
            since => Duration::from_millis(now.saturating_sub(since)) > limit,
        };
        over(&self.head_since, HEAD) || over(&self.idle_since, IDLE) || over(&self.stalled_since, STALL)
    }

    fn has_read(&self) {
        if self.busy.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn has_written(&self, blocked: bool) {
        let since = self.stalled_since.load(Ordering::Relaxed);
        match (blocked, since) {
            (true, 0) => self.stalled_since.store(self.now(), Ordering::Relaxed),
            (false, 1..) => self.stalled_since.store(0, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// Keeps a connection from counting as idle.
pub(super) struct Busy(Arc<Clocks>);

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        }
    }
}

/// A client's connection with its clocks. The socket is looked at from two
/// sides: hyper reads and writes it, and [`left`] notices when the client goes.
pub(super) struct Io {
    io: TokioIo<Socket>,
    clocks: Arc<Clocks>,
}

/// A socket that can be looked at while another reads it.
struct Socket {
    client: Arc<Client>,
    clocks: Arc<Clocks>,
    /// Whether the last reading would have filled, or has filled, the place for a little.
    much: bool,
    framing: Framing,
}

impl Io {
    pub fn new(client: Arc<Client>, clocks: Arc<Clocks>) -> Self {
        let socket = Socket { client, clocks: Arc::clone(&clocks), much: false, framing: Framing::new() };
        Self { io: TokioIo::new(socket), clocks }
    }

    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.clocks.has_written(polled.is_pending());
        polled
    }
}

/// Ready when the client has closed or half-closed its side while a request is
/// being answered. hyper is told not to look for that: it would take a new
/// buffer for each request, and look no more once the client has sent more
/// than its request. While the request is being read, it sees that itself.
pub(super) fn left(client: &Client, clocks: &Clocks, cx: &mut Context<'_>) -> Poll<()> {
    if clocks.busy.load(Ordering::Relaxed) == 0 || !clocks.whole.load(Ordering::Relaxed) {
        return Poll::Pending;
    }
    // Nearly always nothing has come, and there is nothing to look at. What has come
    // may be the rest of a body that belongs to a request behind this one.
    if !client.may_read() || clocks.rest.load(Ordering::Relaxed) > 0 {
        return Poll::Pending;
    }
    let mut some = [0u8; 1024];
    loop {
        match ready!(client.poll_peek(cx, &mut some)) {
            Ok(0) | Err(_) => return Poll::Ready(()),
            // The library will take them, or the clocks run out.
            Ok(_) if clocks.ahead.is_full() => return Poll::Pending,
            Ok(_) => {}
        }
        match ready!(client.poll_read(cx, &mut some)) {
            Ok(0) | Err(_) => return Poll::Ready(()),
            Ok(count) => {
                clocks.ahead.take(some.get(..count).unwrap_or_default());
                // If the library waits for them, it has to ask again.
                cx.waker().wake_by_ref();
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if !ready!(self.poll_throw_away(cx))? {
            return Poll::Ready(Ok(()));
        }
        if !self.clocks.ahead.give(buf) {
            self.much = ready!(self.poll_some(cx, buf))?;
        }
        self.look(buf.filled_mut().get_mut(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl Socket {
    /// Reads what there is, or some of it; whether that is more than a little.
    fn poll_some(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        if self.much {
            // To clear it takes longer than to see that nothing has come.
            if !self.client.may_read() {
                return Poll::Pending;
            }
            let count = ready!(self.client.poll_read(cx, buf.initialize_unfilled()))?;
            buf.advance(count);
            return Poll::Ready(Ok(count >= LITTLE_SIZE));
        }
        LITTLE.with_borrow_mut(|little| {
            let room = little.len().min(buf.remaining());
            let little = little.get_mut(..room).unwrap_or_default();
            let count = ready!(self.client.poll_read(cx, little))?;
            buf.put_slice(little.get(..count).unwrap_or_default());
            Poll::Ready(Ok(count == room))
        })
    }

    /// Reads what nobody has taken of a body that comes past the library, before the
    /// next head. Ready with false when there is too much, or nothing more comes.
    fn poll_throw_away(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.clocks.rest.load(Ordering::Relaxed) == 0 {
            return Poll::Ready(Ok(true));
        }
        let mut some = [0; 16 << 10];
        loop {
            let left = self.clocks.to_come();
            if left == 0 || left > MOST_UNWANTED {
                return Poll::Ready(Ok(false));
            }
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(some.len());
            let count = ready!(self.client.poll_read(cx, some.get_mut(..room).unwrap_or_default()))?;
            if count == 0 {
                return Poll::Ready(Ok(false));
            }
            self.clocks.came(count);
            self.clocks.has_read();
            if self.clocks.to_come() == 0 {
                // The time that the rest took is not the next head's.
                self.clocks.head_since.store(0, Ordering::Relaxed);
                return Poll::Ready(Ok(true));
            }
        }
    }

    /// Looks at what the library is given.
    fn look(&mut self, bytes: &mut [u8]) {
        if let Some(fault) = self.framing.feed(bytes) {
            let _ = self.clocks.fault.set(fault);
        } else if self.clocks.ahead.len.load(Ordering::Relaxed) == 0
            && let Some(Rest { of, bytes }) = self.framing.divert(bytes)
        {
            self.clocks.rest_of.store(of, Ordering::Relaxed);
            self.clocks.rest.store(bytes, Ordering::Relaxed);
        }
    }
}

/// Puts parts one behind the other into `whole`, which is as long as they are together.
fn join(parts: &[io::IoSlice<'_>], mut whole: &mut [u8]) {
    for part in parts {
        let (here, behind) = whole.split_at_mut(part.len());
        here.copy_from_slice(part);
        whole = behind;
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.client.poll_write(cx, buf)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // One piece is quicker to hand to the system than several.
        let len = bufs.iter().map(|part| part.len()).sum();
        LITTLE.with_borrow_mut(|little| match little.get_mut(..len) {
            Some(whole) => {
                join(bufs, whole);
                self.client.poll_write(cx, whole)
            }
            None => self.client.poll_write_vectored(cx, bufs),
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.client.end() {
            Err(problem) if problem.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(problem)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Read for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.clocks.has_read();
        }
        polled
    }
}

impl Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note(polled)
    }
}
