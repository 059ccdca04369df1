//! Serves one connection of a scripted provider: request after request, each
//! answered with the steps of its reply.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lock;
use super::reply::Step;
use super::request::{last_byte, read_body, read_head, release};
use super::script::{Connection, Script};

/// How often a silent connection looks whether its peer is still there.
const TICK: Duration = Duration::from_millis(2);
/// How long a connection that closes over unread bytes lets the peer read the reply.
const LINGER: Duration = Duration::from_secs(2);

/// What a reply left behind.
#[derive(PartialEq)]
enum End {
    /// The connection can take another request.
    Open,
    /// It is over, as the script wanted.
    Over,
    /// It is over: the peer left before the reply was done.
    PeerLeft,
}

/// Serves until the connection ends, then lets go of the socket.
pub(super) fn serve(script: &Script, connection: Arc<Connection>) {
    let _ = connection.stream.set_nodelay(true);
    let first = lock(&script.state).on_accept.pop_front();
    let open = match first {
        Some(reply) => play(script, &connection, reply.into_steps(), true, true) == End::Open,
        None => true,
    };
    if open {
        while exchange(script, &connection).is_some_and(|end| end == End::Open) {}
    }
    // The socket closes with the last handle on it, which is this one.
    lock(&script.state).open.retain(|other| other.id != connection.id);
    drop(connection);
    script.changed.notify_all();
}

/// One request and its reply; none when no whole request came.
fn exchange(script: &Script, connection: &Connection) -> Option<End> {
    let stream = &connection.stream;
    let head = read_head(stream)?;
    let last = head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let (reply, is_chat) = script.choose(&head);
    let body = if reply.is_early() { Vec::new() } else { read_body(stream, &head).ok()? };
    let wants_stream = serde_json::from_slice::<Value>(&body).is_ok_and(|body| body["stream"] == true);
    let reply = reply.suited(wants_stream);
    if !reply.resets() {
        release(stream).ok()?;
    }
    let early = reply.is_early();
    let last = last || early || reply.says_close();
    let steps = reply.into_steps();
    script.record(head, body, connection.id);
    let end = play(script, connection, steps, is_chat, early);
    let over = last && end == End::Open;
    if over {
        close(connection, early);
    }
    Some(if over { End::Over } else { end })
}

/// Does the steps one after the other. `counts`: the peer's leaving is noted.
/// `unread`: bytes of the peer may be waiting that nobody will read.
fn play(script: &Script, connection: &Connection, steps: Vec<Step>, counts: bool, unread: bool) -> End {
    for step in steps {
        let end = match step {
            Step::Bytes(bytes) => write(connection, &bytes),
            Step::Pause(time) => pause(connection, time),
            Step::WaitFor(gate) => watch(connection, |tick| gate.opens_within(tick)),
            Step::Hang => hang(connection),
            Step::Close => close(connection, unread),
            // Closing over an unread byte is what makes it a reset.
            Step::Reset => last_byte(&connection.stream).map_or(left(connection), |_| End::Over),
        };
        if end == End::PeerLeft && counts {
            script.peer_left();
        }
        if end != End::Open {
            return end;
        }
    }
    End::Open
}

/// The connection ended under a step: by the peer, unless it was closed here.
fn left(connection: &Connection) -> End {
    if connection.closed_here.load(Ordering::SeqCst) { End::Over } else { End::PeerLeft }
}

fn write(connection: &Connection, bytes: &[u8]) -> End {
    let mut stream = &connection.stream;
    if stream.write_all(bytes).is_ok() { End::Open } else { left(connection) }
}

fn pause(connection: &Connection, time: Duration) -> End {
    let until = Instant::now() + time;
    watch(connection, |tick| {
        let rest = until.saturating_duration_since(Instant::now());
        thread::sleep(tick.min(rest));
        rest <= tick
    })
}

/// Looks at the peer after each tick until `over` says yes. Bytes that the peer
/// sends meanwhile stay unread, and hide its leaving.
fn watch(connection: &Connection, mut over: impl FnMut(Duration) -> bool) -> End {
    loop {
        if over(TICK) {
            return End::Open;
        }
        if is_gone(&connection.stream) || connection.closed_here.load(Ordering::SeqCst) {
            return left(connection);
        }
    }
}

fn is_gone(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let seen = stream.peek(&mut [0]);
    let _ = stream.set_nonblocking(false);
    match seen {
        Ok(count) => count == 0,
        Err(problem) => !matches!(problem.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// Takes whatever comes and answers nothing, until the connection ends.
fn hang(connection: &Connection) -> End {
    let mut stream = &connection.stream;
    let mut sink = [0; 4096];
    while stream.read(&mut sink).is_ok_and(|count| count > 0) {}
    left(connection)
}

/// Says that nothing more comes. Where bytes of the peer are unread, takes them
/// until the peer closes too, as servers do, so that no reset overtakes the reply.
fn close(connection: &Connection, unread: bool) -> End {
    let mut stream = &connection.stream;
    let _ = stream.shutdown(Shutdown::Write);
    if unread {
        let until = Instant::now() + LINGER;
        let mut sink = [0; 4096];
        let _ = stream.set_read_timeout(Some(LINGER));
        while stream.read(&mut sink).is_ok_and(|count| count > 0) && Instant::now() < until {}
    }
    End::Over
}
