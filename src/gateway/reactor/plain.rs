//! The runtime's own reactor, where another cannot be watched from it.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;

/// The sockets of one worker.
#[derive(Debug)]
pub(in crate::gateway) struct Reactor;

/// A client's socket. One task reads and writes it.
#[derive(Debug)]
pub(in crate::gateway) struct Client {
    stream: TcpStream,
}

/// A client's socket that its reactor looks after.
#[derive(Debug)]
pub(in crate::gateway) struct Registered {
    pub client: Arc<Client>,
}

impl Reactor {
    /// A reactor, and what has to run on this runtime as long as it is used;
    /// that ends only with an error.
    #[expect(clippy::unnecessary_wraps, reason = "the other one may fail")]
    pub fn new() -> io::Result<(Arc<Self>, impl Future<Output = io::Result<Infallible>>)> {
        Ok((Arc::new(Self), std::future::pending()))
    }

    /// Takes a client's socket. Who waits for it is woken when it is ready.
    #[expect(clippy::unnecessary_wraps, reason = "the other one may fail")]
    pub fn register(self: &Arc<Self>, stream: TcpStream, _task: Waker) -> io::Result<Registered> {
        Ok(Registered { client: Arc::new(Client { stream }) })
    }
}

impl Client {
    /// Reads what there is, as far as there is room for it; 0 is the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(buf) {
                Ok(count) => {
                    if count < buf.len() {
                        // All that was there has been read: to ask again before more comes would be a call for nothing.
                        let _ = self.stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {}
                Err(problem) => return Poll::Ready(Err(problem)),
            }
        }
    }

    /// As [`poll_read`](Self::poll_read), but what is read stays.
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_peek(cx, &mut ReadBuf::new(buf))
    }

    /// Writes what there is room for.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |stream| stream.try_write(bytes))
    }

    /// As [`poll_write`](Self::poll_write), from several places.
    pub fn poll_write_vectored(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |stream| stream.try_write_vectored(parts))
    }

    fn poll_send(&self, cx: &mut Context<'_>, send: impl Fn(&TcpStream) -> io::Result<usize>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match send(&self.stream) {
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    /// Whether something to read may be there; the way to know is to try.
    #[expect(clippy::unused_self, reason = "the other one knows")]
    pub fn may_read(&self) -> bool {
        true
    }

    /// Afterwards, what has come by now is there: the runtime asks the system for
    /// it before it goes on with this.
    #[expect(clippy::unused_self, reason = "the other one has something to do")]
    pub fn look_again(&self) -> impl Future<Output = ()> {
        yield_now()
    }

    /// Says that nothing more will be written.
    pub fn end(&self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write)
    }
}
