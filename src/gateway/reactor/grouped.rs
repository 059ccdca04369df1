//! Sockets are told of a group at a time. The runtime tells all that has come at
//! once: a worker with many connections then reads all their requests before it
//! looks at the first answer, and by then nothing of that request is in the
//! processor's cache any more (`bench/NOTES.md`). Here, what has come for requests
//! that are on their way is brought further before the next group begins. It puts
//! off and does not hold back: however slow the providers are, all get in.

use std::convert::Infallible;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use slab::Slab;
use tokio::io::unix::AsyncFd;
use tokio::task::{coop, yield_now};

/// How many are told together. Measured: 16 to 64 are equally good; with more
/// the cache is left, with fewer the system is asked too often what has come.
pub(super) const GROUP: usize = 32;

const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
/// Nothing more will come: readable for good.
const ENDED: u8 = 4;

/// The sockets of one worker.
#[derive(Debug)]
pub(in crate::gateway) struct Reactor {
    registry: Registry,
    clients: Mutex<Slab<Arc<Client>>>,
}

/// A client's socket. One task reads and writes it.
#[derive(Debug)]
pub(in crate::gateway) struct Client {
    stream: TcpStream,
    /// What it is ready for, as far as is known. Only the worker's thread looks at
    /// it and changes it: its tasks, and the reactor in between.
    ready: AtomicU8,
    task: Waker,
}

/// A client's socket that its reactor looks after until this is dropped. It is
/// closed when the last hold on it goes, and the system forgets it then.
#[derive(Debug)]
pub(in crate::gateway) struct Registered {
    pub client: Arc<Client>,
    place: usize,
    reactor: Arc<Reactor>,
}

impl Reactor {
    /// A reactor, and what has to run on this runtime as long as it is used;
    /// that ends only with an error.
    pub fn new() -> io::Result<(Arc<Self>, impl Future<Output = io::Result<Infallible>>)> {
        let poll = mio::Poll::new()?;
        let reactor = Arc::new(Self { registry: poll.registry().try_clone()?, clients: Mutex::default() });
        #[expect(
            deprecated,
            reason = "what is there instead is unsafe code, and asks for nothing that mio's does not keep: one descriptor, open as long as it lives"
        )]
        let poll = AsyncFd::with_interest(poll, tokio::io::Interest::READABLE)?;
        Ok((Arc::clone(&reactor), reactor.turn(poll)))
    }

    /// Takes a client's socket, whose `task` is woken whenever something has come,
    /// or there is room again, whether it waits for that or not.
    pub fn register(self: &Arc<Self>, stream: tokio::net::TcpStream, task: Waker) -> io::Result<Registered> {
        let mut stream = TcpStream::from_std(stream.into_std()?);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let place = clients.vacant_entry();
        self.registry.register(&mut stream, Token(place.key()), Interest::READABLE | Interest::WRITABLE)?;
        let client = Arc::new(Client { stream, ready: AtomicU8::new(READABLE | WRITABLE), task });
        let registered = Registered { client: Arc::clone(&client), place: place.key(), reactor: Arc::clone(self) };
        place.insert(client);
        Ok(registered)
    }

    /// Tells the tasks what has come, a group after the other, each time when
    /// everything that had come for others by then has been looked at.
    async fn turn(self: Arc<Self>, mut poll: AsyncFd<mio::Poll>) -> io::Result<Infallible> {
        let mut events = Events::with_capacity(GROUP);
        loop {
            let mut some = poll.readable_mut().await?;
            loop {
                match some.get_inner_mut().poll(&mut events, Some(Duration::ZERO)) {
                    Err(problem) if problem.kind() == io::ErrorKind::Interrupted => continue,
                    polled => polled?,
                }
                if self.tell(&events) < GROUP {
                    break;
                }
                // The runtime asks the system what has come before it goes on with this.
                yield_now().await;
            }
            some.clear_ready();
        }
    }

    /// Tells those whom the events concern; how many events there were.
    fn tell(&self, events: &Events) -> usize {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let tell = |event: &&Event| clients.get(event.token().0).into_iter().for_each(|client| client.tell(event));
        events.iter().inspect(tell).count()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.reactor.clients.lock().unwrap_or_else(PoisonError::into_inner).remove(self.place);
    }
}

impl Client {
    fn tell(&self, event: &Event) {
        let news = [
            (event.is_readable() || event.is_error(), READABLE),
            (event.is_read_closed() || event.is_error(), READABLE | ENDED),
            (event.is_writable() || event.is_write_closed() || event.is_error(), WRITABLE),
        ];
        let news = news.iter().filter(|(is, _)| *is).fold(0, |all, (_, ready)| all | ready);
        let known = self.ready.load(Ordering::Relaxed);
        self.ready.store(known | news, Ordering::Relaxed);
        // Some systems tell of room with each part that the client has taken.
        if news != WRITABLE || known & WRITABLE == 0 {
            self.task.wake_by_ref();
        }
    }

    fn is_no_more(&self, ready: u8) {
        self.ready.store(self.ready.load(Ordering::Relaxed) & !ready, Ordering::Relaxed);
    }

    /// Does something that the socket must be ready for.
    fn poll<T>(&self, ready: u8, cx: &mut Context<'_>, act: impl FnOnce(&TcpStream) -> io::Result<T>) -> Poll<io::Result<T>> {
        if self.ready.load(Ordering::Relaxed) & ready == 0 {
            return Poll::Pending;
        }
        let share = ready!(coop::poll_proceed(cx));
        match act(&self.stream) {
            Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {
                self.is_no_more(ready & !ENDED);
                Poll::Pending
            }
            done => {
                share.made_progress();
                Poll::Ready(done)
            }
        }
    }

    /// Reads what there is, as far as there is room for it; 0 is the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = buf.len();
        let polled = self.poll(READABLE | ENDED, cx, |mut stream| stream.read(buf));
        if matches!(polled, Poll::Ready(Ok(count)) if count < room) {
            // All that was there has been read: to ask again before more comes would be a call for nothing.
            self.is_no_more(READABLE);
        }
        polled
    }

    /// As [`poll_read`](Self::poll_read), but what is read stays.
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll(READABLE | ENDED, cx, |stream| stream.peek(buf))
    }

    /// Writes what there is room for.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(WRITABLE, cx, |mut stream| stream.write(bytes))
    }

    /// As [`poll_write`](Self::poll_write), from several places.
    pub fn poll_write_vectored(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll(WRITABLE, cx, |mut stream| stream.write_vectored(parts))
    }

    /// Whether something to read may be there. If not, the task will be woken for it.
    pub fn may_read(&self) -> bool {
        self.ready.load(Ordering::Relaxed) & (READABLE | ENDED) != 0
    }

    /// Afterwards, what has come by now is there, though nothing has been told of it.
    pub fn look_again(&self) -> impl Future<Output = ()> {
        let room = if self.has_room() { WRITABLE } else { 0 };
        self.ready.store(self.ready.load(Ordering::Relaxed) | READABLE | room, Ordering::Relaxed);
        std::future::ready(())
    }

    /// Whether the system would tell of room to write. To try would find a little room
    /// that it has found in itself, although nobody reads at the other end.
    fn has_room(&self) -> bool {
        let mut asked = [PollFd::new(&self.stream, PollFlags::OUT)];
        poll(&mut asked, Some(&Timespec::default())) != Ok(0)
    }

    /// Says that nothing more will be written.
    pub fn end(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}
