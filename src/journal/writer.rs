//! The one thread that writes the log, and the feed of what it writes.
//! Requests put the line of their record down and go on; when too many wait,
//! the record is dropped and counted. The line is made where the record was, so
//! that the record's memory is used again at once and nothing but text waits.
//! The thread is woken for the first record of a batch and then comes by
//! itself: to wake it for each of them would cost a request more than
//! everything else that is done for the log.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, oneshot};

use super::batch::Batch;
use super::line;
use super::record::Record;
use super::spare;
use super::store::{Store, StoreError, forget_journal, put_aside};

/// Records that wait for the writer; more are dropped and counted.
const QUEUE: usize = 4096;
/// Records that wait for a reader of the feed; it misses more than these.
const FEED: usize = 1024;
/// Messages that wait for the writer.
const MESSAGES: usize = 64;
/// Buffers that are kept to be used again.
const SPARE: usize = 2;
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

/// Is shown a record.
pub type Observer = Box<dyn Fn(&Record) + Send + Sync>;

/// Who is shown the record of every request that has ended, followed or not.
#[derive(Default)]
pub struct Observers {
    /// On the thread of the request, which waits for it.
    pub at_once: Option<Observer>,
    /// On the writer's thread, soon after.
    pub later: Option<Observer>,
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Waiting {
    /// How many records.
    count: usize,
    /// Their lines, when they are to be stored.
    batches: Vec<Batch>,
    /// The records themselves, when somebody wants to see them.
    records: Option<Vec<Arc<Record>>>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

impl Waiting {
    fn add(&mut self, record: &Record, line: &[u8]) {
        self.count += 1;
        if line.is_empty() {
            return;
        }
        if self.batches.last().is_none_or(Batch::is_full) {
            self.batches.push(Batch::empty(self.spare.pop().unwrap_or_default()));
        }
        if let Some(batch) = self.batches.last_mut() {
            batch.add(record, line);
        }
    }
}

thread_local! {
    /// Where a line is made.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

enum Message {
    /// There is something in the queue.
    Look,
    Subscribe(oneshot::Sender<Feed>),
    Flush(oneshot::Sender<()>),
    Stop,
}

/// The way into the log.
pub struct Journal {
    waiting: Arc<Mutex<Waiting>>,
    at_once: Option<Observer>,
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    halting: AtomicBool,
    path: Option<PathBuf>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Journal {
    /// Starts the writer. `path` is `None` when nothing is to be stored: the
    /// feed works all the same. A store that cannot be opened is tried again,
    /// and records are dropped and counted meanwhile.
    pub fn start(path: Option<PathBuf>, limits: Limits, observers: Observers) -> std::io::Result<Arc<Self>> {
        let (sender, messages) = sync_channel(MESSAGES);
        let Observers { at_once, later } = observers;
        let records = later.is_some().then(Vec::new);
        let waiting = Arc::new(Mutex::new(Waiting { records, ..Waiting::default() }));
        let dropped = Arc::new(AtomicU64::new(0));
        let (feed, _) = broadcast::channel(FEED);
        let writer = Writer {
            id: fastrand::i64(1..i64::MAX),
            n: 0,
            path: path.clone(),
            limits,
            store: None,
            oldest: None,
            spare: Vec::new(),
            dropped: Arc::clone(&dropped),
            told: 0,
            told_at: None,
            trimmed_at: None,
            wrote: false,
            feed,
            later,
            waiting: Arc::clone(&waiting),
        };
        let thread = std::thread::Builder::new().name("routor-log".to_owned()).spawn(move || writer.run(&messages))?;
        Ok(Arc::new(Self {
            waiting,
            at_once,
            messages: sender,
            dropped,
            halting: AtomicBool::new(false),
            path,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Hands a record over. Never waits.
    pub fn write(&self, record: Box<Record>) {
        if let Some(at_once) = &self.at_once {
            at_once(&record);
        }
        let count = LINE.with_borrow_mut(|line| {
            line.clear();
            if self.path.is_some() {
                line::write(&record, line);
            }
            let mut waiting = lock(&self.waiting);
            if waiting.count >= QUEUE {
                drop(waiting);
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return 0;
            }
            waiting.add(&record, line);
            let count = waiting.count;
            match &mut waiting.records {
                Some(records) => records.push(Arc::from(record)),
                None => {
                    drop(waiting);
                    spare::put(record);
                }
            }
            count
        });
        if count == 1 || count > 0 && count.is_multiple_of(BATCH) {
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
    oldest: Option<Instant>,
    spare: Vec<Vec<u8>>,
    dropped: Arc<AtomicU64>,
    told: u64,
    told_at: Option<Instant>,
    trimmed_at: Option<Instant>,
    /// Whether something was written since.
    wrote: bool,
    feed: broadcast::Sender<Arc<Record>>,
    later: Option<Observer>,
    waiting: Arc<Mutex<Waiting>>,
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
                    if lock(&self.waiting).count >= BATCH {
                        self.write_all(self.is_followed());
                    }
                }
                Ok(Message::Subscribe(answer)) => {
                    self.write_all(true);
                    let _ = answer.send(Feed { writer: self.id, after: self.n, records: self.feed.subscribe() });
                }
                Ok(Message::Flush(answer)) => {
                    self.write_all(self.is_followed());
                    let _ = answer.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.write_all(self.is_followed()),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return self.write_all(false),
            }
        }
    }

    /// How long a record may wait for others.
    fn patience(&self) -> Duration {
        if self.is_followed() { LIVE_AGE } else { BATCH_AGE }
    }

    fn is_followed(&self) -> bool {
        self.feed.receiver_count() > 0
    }

    /// Takes everything that waits, and stores it. Whether somebody follows
    /// what comes from now on is for the caller to say.
    fn write_all(&mut self, followed: bool) {
        let records = (followed || self.later.is_some()).then(Vec::new);
        let next = Waiting { records, spare: std::mem::take(&mut self.spare), ..Waiting::default() };
        let taken = std::mem::replace(&mut *lock(&self.waiting), next);
        self.oldest = None;
        self.spare = taken.spare;
        let first = self.n + 1;
        self.n += i64::try_from(taken.count).unwrap_or(0);
        taken.records.into_iter().flatten().for_each(|record| self.show(record));
        if !taken.batches.is_empty() {
            self.commit(first, &taken.batches);
            self.spare.extend(taken.batches.into_iter().map(|batch| batch.text));
            self.spare.truncate(SPARE);
        }
        self.trim();
    }

    fn show(&self, record: Arc<Record>) {
        if let Some(later) = &self.later {
            later(&record);
        }
        if self.is_followed() {
            let _ = self.feed.send(record);
        }
    }

    fn commit(&mut self, first: i64, batches: &[Batch]) {
        if let Err(problem) = self.store_batches(first, batches) {
            self.dropped.fetch_add(batches.iter().map(|batch| batch.count.unsigned_abs()).sum(), Ordering::Relaxed);
            // A store that failed is opened anew for the next batch: its file may have gone.
            self.store = None;
            self.complain(&problem.to_string());
        }
        self.wrote = true;
    }

    fn store_batches(&mut self, first: i64, batches: &[Batch]) -> Result<(), StoreError> {
        match self.try_to_store(first, batches) {
            Err(problem) if problem.is_ruin() => {
                self.begin_anew();
                self.try_to_store(first, batches)
            }
            stored => stored,
        }
    }

    /// Damage in the middle of a store shows only when something comes upon it.
    fn begin_anew(&mut self) {
        self.store = None;
        self.path.iter().for_each(|path| put_aside(path));
    }

    fn try_to_store(&mut self, first: i64, batches: &[Batch]) -> Result<(), StoreError> {
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
        self.store.insert(store).append(self.id, first, batches)
    }

    fn trim(&mut self) {
        // A log that nobody writes to only ages.
        let every = if self.wrote { TRIM_EVERY } else { TRIM_IDLE };
        let due = self.trimmed_at.is_none_or(|at| at.elapsed() >= every);
        let Some(store) = &self.store else { return };
        let expired = if due { store.expire(self.limits.keep) } else { Ok(true) };
        let shrunk = store.shrink(self.limits.max_bytes);
        if [&expired, &shrunk].into_iter().any(|trimmed| trimmed.as_ref().is_err_and(StoreError::is_ruin)) {
            // Where nothing can be removed any more, it would grow without end.
            return self.begin_anew();
        }
        // What fails otherwise is tried again with the next batch, or when it is due again.
        if !expired.unwrap_or(false) {
            (self.trimmed_at, self.wrote) = (Some(Instant::now()), false);
        }
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
