//! The one thread that writes the log, and the feed of what it writes.
//! Requests hand their record over and go on; when the queue is full the
//! record is dropped and counted. The thread is woken for the first record of a
//! batch and then comes by itself: to wake it for each of them would cost a
//! request more than everything else that is done for the log.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, oneshot};

use super::record::Record;
use super::store::{Store, forget_journal};

/// Records that wait for the writer; more are dropped and counted.
const QUEUE: usize = 4096;
/// Records that wait for a reader of the feed; it misses more than these.
const FEED: usize = 1024;
/// Messages that wait for the writer.
const MESSAGES: usize = 64;
/// What waits is written when it is this much or this old.
const BATCH: usize = 512;
const BATCH_AGE: Duration = Duration::from_millis(200);
/// The same while somebody follows.
const LIVE_AGE: Duration = Duration::from_millis(20);
/// How often old records are looked for.
const TRIM_EVERY: Duration = Duration::from_secs(30);
/// How often they are looked for when nothing is written.
const TRIM_IDLE: Duration = Duration::from_secs(3600);
/// How often dropped records are spoken of.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long.
    pub keep: Duration,
    /// How many bytes.
    pub max_bytes: u64,
}

/// The feed from some point on.
#[derive(Debug)]
pub struct Feed {
    /// Tells this process's records from those of others in the store.
    pub writer: i64,
    /// The last record before the feed begins; it is in the store.
    pub after: i64,
    /// What comes behind it.
    pub records: broadcast::Receiver<Arc<Record>>,
}

/// Is shown every record, on the writer's thread.
pub type Observer = Box<dyn FnMut(&Record) + Send>;

/// Boxed as they came: to hand one over is to move a pointer.
#[allow(clippy::vec_box)]
type Waiting = Vec<Box<Record>>;

enum Message {
    /// There is something in the queue.
    Look,
    Subscribe(oneshot::Sender<Feed>),
    Flush(oneshot::Sender<()>),
    Stop,
}

/// The way into the log.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Mutex<Waiting>>,
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    halting: AtomicBool,
    path: Option<PathBuf>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Starts the writer. `path` is `None` when nothing is to be stored: the
    /// feed works all the same. A store that cannot be opened is tried again,
    /// and records are dropped and counted meanwhile.
    pub fn start(path: Option<PathBuf>, limits: Limits, observer: Observer) -> std::io::Result<Arc<Self>> {
        let (sender, messages) = sync_channel(MESSAGES);
        let queue = Arc::new(Mutex::new(Vec::new()));
        let dropped = Arc::new(AtomicU64::new(0));
        let (feed, _) = broadcast::channel(FEED);
        let writer = Writer {
            id: fastrand::i64(1..i64::MAX),
            n: 0,
            path: path.clone(),
            limits,
            store: None,
            batch: Vec::new(),
            oldest: None,
            dropped: Arc::clone(&dropped),
            told: 0,
            told_at: None,
            trimmed_at: None,
            wrote: false,
            feed,
            observer,
            queue: Arc::clone(&queue),
        };
        let thread = std::thread::Builder::new().name("routor-log".to_owned()).spawn(move || writer.run(&messages))?;
        Ok(Arc::new(Self { queue, messages: sender, dropped, halting: AtomicBool::new(false), path, thread: Mutex::new(Some(thread)) }))
    }

    /// Hands a record over. Never waits.
    pub fn write(&self, record: Box<Record>) {
        let mut queue = lock(&self.queue);
        if queue.len() >= QUEUE {
            drop(queue);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.push(record);
        let waiting = queue.len();
        drop(queue);
        if waiting == 1 || waiting.is_multiple_of(BATCH) {
            // When it cannot be told, it has been told something else and will look all the same.
            let _ = self.messages.try_send(Message::Look);
        }
    }

    /// From now on requests end because this process does, not because callers leave.
    pub fn halt(&self) {
        self.halting.store(true, Ordering::Relaxed);
    }

    /// Whether that was said.
    pub fn is_halting(&self) -> bool {
        self.halting.load(Ordering::Relaxed)
    }

    /// Records that were not stored since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Where the records are kept; `None` when they are not.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The feed from now on. Everything before it is in the store when this
    /// returns, so history and feed join without a gap and without a double.
    pub async fn subscribe(&self) -> Option<Feed> {
        let (answer, feed) = oneshot::channel();
        self.send_patiently(Message::Subscribe(answer)).await;
        feed.await.ok()
    }

    /// Returns when everything handed over so far is in the store.
    pub async fn flush(&self) {
        let (answer, done) = oneshot::channel();
        self.send_patiently(Message::Flush(answer)).await;
        let _ = done.await;
    }

    async fn send_patiently(&self, message: Message) {
        let mut waiting = Some(message);
        while let Some(message) = waiting.take() {
            match self.messages.try_send(message) {
                Err(std::sync::mpsc::TrySendError::Full(message)) => {
                    waiting = Some(message);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Ok(()) | Err(std::sync::mpsc::TrySendError::Disconnected(_)) => {}
            }
        }
    }

    /// Writes what is waiting and ends the writer.
    pub fn stop(&self) {
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = self.messages.send(Message::Stop);
            let _ = thread.join();
        }
    }
}

struct Writer {
    id: i64,
    /// The number of the newest record.
    n: i64,
    path: Option<PathBuf>,
    limits: Limits,
    store: Option<Store>,
    batch: Waiting,
    oldest: Option<Instant>,
    dropped: Arc<AtomicU64>,
    told: u64,
    told_at: Option<Instant>,
    trimmed_at: Option<Instant>,
    /// Whether something was written since.
    wrote: bool,
    feed: broadcast::Sender<Arc<Record>>,
    observer: Observer,
    queue: Arc<Mutex<Waiting>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let message = match self.oldest {
                None => messages.recv_timeout(TRIM_EVERY),
                Some(oldest) => messages.recv_timeout(self.patience().saturating_sub(oldest.elapsed())),
            };
            if self.dropped.load(Ordering::Relaxed) > self.told {
                self.complain("more requests ended than could be written");
            }
            match message {
                Ok(Message::Look) => {
                    self.oldest.get_or_insert_with(Instant::now);
                    if lock(&self.queue).len() >= BATCH {
                        self.write_all();
                    }
                }
                Ok(Message::Subscribe(answer)) => {
                    self.write_all();
                    let _ = answer.send(Feed { writer: self.id, after: self.n, records: self.feed.subscribe() });
                }
                Ok(Message::Flush(answer)) => {
                    self.write_all();
                    let _ = answer.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.write_all(),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return self.write_all(),
            }
        }
    }

    /// How long a record may wait for others.
    fn patience(&self) -> Duration {
        if self.feed.receiver_count() > 0 { LIVE_AGE } else { BATCH_AGE }
    }

    /// Takes everything that waits, and stores it.
    fn write_all(&mut self) {
        let waiting = std::mem::take(&mut *lock(&self.queue));
        self.oldest = None;
        waiting.into_iter().for_each(|record| self.take(record));
        self.commit();
    }

    fn take(&mut self, record: Box<Record>) {
        self.n += 1;
        (self.observer)(&record);
        if self.feed.receiver_count() > 0 {
            let _ = self.feed.send(Arc::new((*record).clone()));
        }
        if self.path.is_none() {
            return;
        }
        self.batch.push(record);
        if self.batch.len() >= BATCH {
            self.commit();
        }
    }

    fn commit(&mut self) {
        if !self.batch.is_empty() {
            if let Err(problem) = self.store_batch() {
                self.dropped.fetch_add(self.batch.len() as u64, Ordering::Relaxed);
                // A store that failed is opened anew for the next batch: its file may have gone.
                self.store = None;
                self.complain(&problem.to_string());
            }
            self.batch.clear();
            self.wrote = true;
        }
        self.trim();
    }

    fn store_batch(&mut self) -> Result<(), super::StoreError> {
        let Some(path) = &self.path else { return Ok(()) };
        if self.store.as_ref().is_some_and(|store| !store.is_in_place(path)) {
            // Somebody moved it, removed it or cut it to nothing: writing on would fill a file without a name.
            self.store = None;
            if std::fs::metadata(path).is_ok_and(|about| about.len() == 0) {
                forget_journal(path);
            }
        }
        let store = match self.store.take() {
            Some(store) => store,
            None => {
                let store = Store::open_or_begin(path)?;
                store.bound(self.limits.max_bytes)?;
                store
            }
        };
        // The newest record's number is that of the batch's last.
        let first = self.n + 1 - i64::try_from(self.batch.len()).unwrap_or(0);
        self.store.insert(store).append(self.id, first, &self.batch)
    }

    fn trim(&mut self) {
        // A log that nobody writes to only ages.
        let every = if self.wrote { TRIM_EVERY } else { TRIM_IDLE };
        let due = self.trimmed_at.is_none_or(|at| at.elapsed() >= every);
        let Some(store) = &self.store else { return };
        // What fails here is tried again with the next batch, or when it is due again.
        if due && !store.expire(self.limits.keep).unwrap_or(false) {
            (self.trimmed_at, self.wrote) = (Some(Instant::now()), false);
        }
        let _ = store.shrink(self.limits.max_bytes);
    }

    /// Says that records are lost, at most once a minute.
    fn complain(&mut self, problem: &str) {
        if self.told_at.is_some_and(|at| at.elapsed() < COMPLAIN_EVERY) {
            return;
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        tracing::warn!("{} request records could not be stored: {problem}", dropped - self.told);
        self.told = dropped;
        self.told_at = Some(Instant::now());
    }
}
