//! Providers for very many streams: what one does with a request follows from
//! the number in its prompt alone, so that a test knows what must come back.

use std::net::{Ipv4Addr, TcpListener as Bound};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One thing that a provider does on the connection.
pub enum Act {
    /// Writes these bytes at once.
    Write(Vec<u8>),
    /// Waits until [`Numbered::release`].
    Hold,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Says nothing until the peer leaves.
    Stall,
}

/// What a provider, told by its place, does with the request of a number.
type Book = dyn Fn(usize, usize) -> Vec<Act> + Send + Sync;

/// Some providers in a thread of their own. Stopped when dropped.
pub struct Numbered {
    ports: Vec<u16>,
    seen: Arc<Mutex<Vec<(usize, usize)>>>,
    held: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

/// What the connections share.
struct Shared {
    book: Box<Book>,
    seen: Arc<Mutex<Vec<(usize, usize)>>>,
    held: watch::Sender<usize>,
    released: watch::Receiver<bool>,
}

impl Numbered {
    /// So many providers, which act by this book.
    pub fn start(count: usize, book: impl Fn(usize, usize) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let bound: Vec<Bound> = (0..count).map(|_| Bound::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")).collect();
        let ports = bound.iter().map(|listener| listener.local_addr().expect("the address of a bound listener").port()).collect();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (held, released) = (watch::Sender::new(0), watch::Sender::new(false));
        let shared = Shared { book: Box::new(book), seen: Arc::clone(&seen), held: held.clone(), released: released.subscribe() };
        thread::spawn(move || run(bound, Arc::new(shared)));
        Self { ports, seen, held, released }
    }

    /// A configuration whose every chain is these providers, in order: `a`, `b`, …
    pub fn config(&self, extra: &str) -> String {
        let name = |place: usize| char::from(b'a' + u8::try_from(place).expect("few providers"));
        let table =
            |(place, port)| format!("[providers.{}]\nbase_url = \"http://127.0.0.1:{port}/v1\"\napi_key_env = \"\"\n\n", name(place));
        let tables: String = self.ports.iter().enumerate().map(table).collect();
        let names: Vec<String> = (0..self.ports.len()).map(|place| format!("\"{}\"", name(place))).collect();
        let chain: Vec<String> = (0..self.ports.len()).map(|place| format!("\"{}/m1\"", name(place))).collect();
        let tiers = ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"].map(|tier| format!("{tier} = [{}]\n", chain.join(", ")));
        format!("{tables}[pool]\nonly = [{}]\n\n[tiers]\n{}\n{extra}\n", names.join(", "), tiers.concat())
    }

    /// Every chat call so far: the place of the provider and the number.
    pub fn seen(&self) -> Vec<(usize, usize)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many answers have come to [`Act::Hold`].
    pub fn held(&self) -> usize {
        *self.held.borrow()
    }

    /// Lets all go on that hold or will.
    pub fn release(&self) {
        self.released.send_replace(true);
    }
}

impl Shared {
    async fn released(&self) -> bool {
        self.released.clone().wait_for(|yes| *yes).await.is_ok()
    }
}

/// Serves until the owner is gone, and every connection ends with it.
fn run(bound: Vec<Bound>, shared: Arc<Shared>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for (place, listener) in bound.into_iter().enumerate() {
            listener.set_nonblocking(true).expect("a listener that does not block");
            let listener = TcpListener::from_std(listener).expect("a listener in the runtime");
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move { serve(stream, place, &shared).await });
                }
            });
        }
        let mut released = shared.released.clone();
        while released.changed().await.is_ok() {}
    });
}

async fn serve(mut stream: TcpStream, place: usize, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    while let Some(number) = request(&mut stream).await {
        let acts = match number {
            Some(number) => {
                shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push((place, number));
                (shared.book)(place, number)
            }
            None => vec![Act::Write(list())],
        };
        for act in acts {
            if !perform(&mut stream, act, shared).await {
                return;
            }
        }
    }
}

/// Whether the connection goes on.
async fn perform(stream: &mut TcpStream, act: Act, shared: &Shared) -> bool {
    match act {
        Act::Write(bytes) => stream.write_all(&bytes).await.is_ok(),
        Act::Hold => {
            shared.held.send_modify(|held| *held += 1);
            shared.released().await
        }
        Act::Close => {
            let _ = stream.shutdown().await;
            false
        }
        Act::Reset => {
            let _ = socket2::SockRef::from(&*stream).set_linger(Some(std::time::Duration::ZERO));
            false
        }
        Act::Stall => {
            while stream.read(&mut [0; 64]).await.is_ok_and(|count| count > 0) {}
            false
        }
    }
}

/// The answer to `GET /models`.
fn list() -> Vec<u8> {
    let body = r#"{"data":[{"id":"m1","object":"model"}]}"#;
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The number of the next chat call; no number for other calls, none at the end.
async fn request(stream: &mut TcpStream) -> Option<Option<usize>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or("0", str::trim);
            if bytes.len() >= end + 4 + length.parse::<usize>().ok()? {
                return Some(head.starts_with("post").then(|| number(&bytes[end..])).flatten());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The number after the `#` of the prompt.
fn number(body: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(body);
    let (_, after) = text.split_once('#')?;
    after.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}
