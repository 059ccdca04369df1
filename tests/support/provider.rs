//! A scripted upstream on loopback that behaves like an OpenAI-compatible
//! provider, faults included. The test says what it answers, also while it
//! runs, and asks what it has seen.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::connection::serve;
use super::reply::Reply;
use super::script::{Connection, Received, Script, State};
use super::{PATIENCE, lock, wait_until};

/// Serving threads need little: many streams are open at once in load tests.
const STACK: usize = 256 << 10;

/// The scripted provider. Stopped when dropped.
pub struct Provider {
    script: Arc<Script>,
    port: u16,
    listener: Mutex<Option<Listening>>,
}

/// The thread that accepts connections.
struct Listening {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Provider {
    /// A provider on a free port of 127.0.0.1 that lists the model `m1` and
    /// answers every chat call with "hello", as a stream when asked for one.
    ///
    /// # Panics
    /// When no port can be opened, as every harness function on such failures.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on 127.0.0.1");
        let port = listener.local_addr().expect("the address of a bound listener").port();
        let script = Arc::new(Script::new());
        let listening = listen(listener, &script);
        Self { script, port, listener: Mutex::new(Some(listening)) }
    }

    /// What a configuration takes as `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// The port, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The reply to the chat call after those that already have one.
    pub fn then(&self, reply: Reply) -> &Self {
        self.change(|state| state.queue.push_back(reply))
    }

    /// The reply to every chat call for which none is queued.
    pub fn always(&self, reply: Reply) -> &Self {
        self.change(|state| state.always = reply)
    }

    /// The reply to `GET …/models`.
    pub fn models(&self, reply: Reply) -> &Self {
        self.on("/models", reply)
    }

    /// Lists these models.
    pub fn model_ids(&self, ids: &[&str]) -> &Self {
        self.models(Reply::model_list(ids))
    }

    /// The reply to every call, chat calls excepted, whose path ends like this;
    /// the latest that fits counts. Without one the answer is 404.
    pub fn on(&self, path_end: &str, reply: Reply) -> &Self {
        self.change(|state| {
            state.routes.retain(|(end, _)| end != path_end);
            state.routes.push((path_end.to_owned(), reply));
        })
    }

    /// What happens on the next connection before anything is read from it:
    /// `Reply::hang()` never answers, `Reply::reset()` resets at the first byte.
    pub fn on_accept(&self, reply: Reply) -> &Self {
        self.change(|state| state.on_accept.push_back(reply))
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> &Self {
        change(&mut lock(&self.script.state));
        self
    }

    /// Every request so far, in the order they were complete.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.script.state).requests.clone()
    }

    /// The chat calls so far.
    pub fn chats(&self) -> Vec<Received> {
        lock(&self.script.state).requests.iter().filter(|request| request.is_chat()).cloned().collect()
    }

    /// How many chat calls have come.
    pub fn count(&self) -> usize {
        lock(&self.script.state).chat_count()
    }

    /// How many queued replies no chat call has taken yet.
    pub fn queued(&self) -> usize {
        lock(&self.script.state).queue.len()
    }

    /// How many connections were accepted, closed ones included.
    pub fn connections(&self) -> usize {
        lock(&self.script.state).accepted
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        lock(&self.script.state).open.len()
    }

    /// How often a peer left before a chat reply was over, less those that
    /// [`Self::wait_for_disconnect`] has given.
    pub fn disconnects(&self) -> usize {
        lock(&self.script.state).left.len()
    }

    /// Waits until this many chat calls have arrived, and gives them back.
    #[track_caller]
    pub fn wait_for_chats(&self, count: usize) -> Vec<Received> {
        let state = self.wait(|state| state.chat_count() >= count);
        let seen = state.chat_count();
        drop(state);
        assert!(seen >= count, "waited {PATIENCE:?} for {count} chat calls at port {}; {seen} came", self.port);
        self.chats()
    }

    /// Waits until a peer has left (FIN or RST) while a chat reply was in a
    /// `Pause`, `WaitFor`, `Hang` or a write; gives the time from `since` to
    /// that. What happened before `since` does not count, and each leaving is
    /// given back once.
    #[track_caller]
    pub fn wait_for_disconnect(&self, since: Instant) -> Duration {
        let mut state = self.wait(|state| state.left.iter().any(|at| *at >= since));
        let found = state.left.iter().position(|at| *at >= since).map(|at| state.left.remove(at));
        drop(state);
        match found {
            Some(at) => at.duration_since(since),
            None => panic!("waited {PATIENCE:?} for the peer to leave port {} during a chat reply; it did not", self.port),
        }
    }

    /// Waits until no connection is open.
    #[track_caller]
    pub fn wait_for_no_connections(&self) {
        let open = self.wait(|state| state.open.is_empty()).open.len();
        assert!(open == 0, "waited {PATIENCE:?} for all connections to port {} to end; {open} are open", self.port);
    }

    fn wait(&self, met: impl FnMut(&mut State) -> bool) -> std::sync::MutexGuard<'_, State> {
        wait_until(&self.script.state, &self.script.changed, PATIENCE, met)
    }

    /// Closes every open connection, idle ones too, and goes on listening.
    pub fn close_connections(&self) {
        let open = lock(&self.script.state).open.clone();
        open.iter().for_each(|connection| connection.close());
    }

    /// Stops listening and closes all connections: the port then refuses.
    pub fn stop(&self) {
        let Some(listening) = lock(&self.listener).take() else { return };
        listening.stop.store(true, Ordering::SeqCst);
        // Wakes the thread from its accept.
        let _ = TcpStream::connect_timeout(&self.address(), Duration::from_secs(1));
        let _ = listening.thread.join();
        self.close_connections();
        let threads = std::mem::take(&mut lock(&self.script.state).threads);
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Listens again on the same port, with the same script and records; stops
    /// first when it runs.
    pub fn restart(&self) {
        self.stop();
        let until = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(self.address()) {
                Ok(listener) => break listener,
                // An outgoing connection of some process may hold the port for a moment.
                Err(problem) if problem.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => thread::yield_now(),
                Err(problem) => panic!("port {} cannot be opened again: {problem}", self.port),
            }
        };
        *lock(&self.listener) = Some(listen(listener, &self.script));
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    fn chat_count(&self) -> usize {
        self.requests.iter().filter(|request| request.is_chat()).count()
    }
}

fn listen(listener: TcpListener, script: &Arc<Script>) -> Listening {
    let stop = Arc::new(AtomicBool::new(false));
    let (script, stopped) = (Arc::clone(script), Arc::clone(&stop));
    let thread = thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            accept(&script, stream);
        }
    });
    Listening { stop, thread }
}

fn accept(script: &Arc<Script>, stream: TcpStream) {
    let mut state = lock(&script.state);
    state.accepted += 1;
    let connection = Arc::new(Connection { id: state.accepted, stream, closed_here: AtomicBool::new(false) });
    state.open.push(Arc::clone(&connection));
    state.threads.retain(|thread| !thread.is_finished());
    let script = Arc::clone(script);
    let thread = thread::Builder::new().stack_size(STACK).spawn(move || serve(&script, connection));
    state.threads.push(thread.expect("a thread for a connection"));
}
