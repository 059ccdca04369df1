//! The two providers: real servers on loopback. Which fault a request meets is
//! in its `X-Title` header, which goes upstream.

use std::io;
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::faults::Fault;

/// What the healthy provider says.
pub const ANSWER: &str = "all is well";

/// A provider on a thread of its own. Dropped, it refuses connections.
pub struct Provider {
    pub port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Provider {
    /// Starts one that breaks as it is asked to, or a healthy one.
    pub fn start(broken: bool) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, broken) => {}
                }
            });
        });
        Self { port, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: std::net::TcpListener, broken: bool) {
    listener.set_nonblocking(true).expect("a socket");
    let listener = TcpListener::from_std(listener).expect("a socket");
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let _ = serve(stream, broken).await;
        });
    }
}

async fn serve(mut stream: TcpStream, broken: bool) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let (head, body) = loop {
            if let Some(parts) = take_request(&mut buffer) {
                break parts;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        if head.starts_with("GET") {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await?;
            continue;
        }
        let fault = header(&head, "x-title")
            .and_then(|title| Fault::ALL.into_iter().chain([Fault::Down]).find(|fault| title == format!("{fault:?}")));
        match fault.filter(|_| broken) {
            None => stream.write_all(healthy(body.contains("\"stream\":true")).as_bytes()).await?,
            Some(Fault::Resets) => return socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)),
            Some(fault) => match fault.bytes() {
                Some((bytes, closes)) => {
                    stream.write_all(bytes.as_bytes()).await?;
                    if closes {
                        return stream.shutdown().await;
                    }
                }
                // Nothing, until the other side has had enough.
                None => return stream.read_buf(&mut buffer).await.map(drop),
            },
        }
    }
}

/// Takes the first whole request out of what has been read: head and body.
fn take_request(buffer: &mut Vec<u8>) -> Option<(String, String)> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let length: usize = header(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    if buffer.len() < end + length {
        return None;
    }
    let body = String::from_utf8_lossy(&buffer[end..end + length]).into_owned();
    buffer.drain(..end + length);
    Some((head, body))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(':')).find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn healthy(stream: bool) -> String {
    if stream {
        let event = |delta: &str, finish: &str| {
            format!("data: {{\"id\":\"b\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n")
        };
        let words: String = ANSWER.split_inclusive(' ').map(|word| event(&format!("{{\"content\":\"{word}\"}}"), "null")).collect();
        let body =
            format!("{}{words}{}data: [DONE]\n\n", event("{\"role\":\"assistant\",\"content\":\"\"}", "null"), event("{}", "\"stop\""));
        return format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
    }
    let body = format!(
        "{{\"id\":\"b\",\"object\":\"chat.completion\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{ANSWER}\"}},\"finish_reason\":\"stop\"}}]}}"
    );
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
