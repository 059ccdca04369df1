//! The engine: from a request to a reply, over as many attempts as it takes.
//! It asks the rules and uses the doors; it knows nothing of the server that
//! the request came through.

mod answer;
mod explain;
mod fleet;
mod relay;
mod reply;
mod standing;
mod ticket;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Settings;
use crate::journal::Journal;
use crate::turn;
use crate::upstream::{Upstream, Validator};

pub use answer::Call;
pub use explain::{Explained, Explanation, Told};
pub use fleet::{Fleet, ModelState, ProviderState};
pub use relay::{BrokenOff, Relay};
pub use reply::{Reply, Routed};

/// Everything that outlives a request.
pub struct Engine {
    fleet: ArcSwap<Fleet>,
    journal: Arc<Journal>,
    validator: Validator,
    /// Held while new routes are made and put in place, so that none are lost.
    turn: Mutex<()>,
    /// What health windows count time from.
    started: Instant,
    /// How often the machine has slept.
    wakes: AtomicU64,
    /// This process among others, for requests that come back to it.
    pub id: HeaderValue,
    /// Cancelled when streams must end.
    pub stopping: CancellationToken,
    /// Background work: checks of keys, the ends of streams that nobody reads.
    pub tasks: TaskTracker,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// An engine for these settings. No provider is asked yet; see
    /// [`Engine::validate`]. Fails only when the system gives no sockets.
    pub fn new(settings: Settings, journal: Arc<Journal>) -> Result<Arc<Self>, reqwest::Error> {
        Ok(Arc::new(Self {
            fleet: ArcSwap::from_pointee(Fleet::new(Arc::new(settings), None)),
            journal,
            validator: Validator::new()?,
            turn: Mutex::new(()),
            started: Instant::now(),
            wakes: AtomicU64::new(0),
            id: own_id(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// The providers and routes as they are now.
    pub fn fleet(&self) -> Arc<Fleet> {
        self.fleet.load_full()
    }

    /// Waits until nobody else makes new routes. Short, and never held over an await.
    fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what still runs: streams with an error event, other requests with
    /// a 503, and the log knows both as ended by this process.
    pub fn halt(&self) {
        self.journal.halt();
        self.stopping.cancel();
    }

    /// Whether what still runs is to end.
    pub fn is_halting(&self) -> bool {
        self.journal.is_halting()
    }

    /// The machine has slept: kept connections are not used again, since their
    /// other ends may have gone without a word.
    pub fn woke(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }

    /// The request log.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The time since the start, as health windows count it.
    pub fn uptime(&self) -> std::time::Duration {
        self.uptime_at(turn::now())
    }

    /// The same for a clock that has been looked at.
    pub(super) fn uptime_at(&self, now: Instant) -> std::time::Duration {
        now.saturating_duration_since(self.started)
    }
}

fn own_id() -> HeaderValue {
    HeaderValue::from_str(&format!("{:016x}", fastrand::u64(..))).unwrap_or(HeaderValue::from_static("routor"))
}

/// The clients of one worker thread, renewed when the settings change.
pub struct Desk {
    upstream: ArcSwap<(Clients, Upstream)>,
}

/// What clients were made for: these settings, since this wake-up.
type Clients = (Arc<Settings>, u64);

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

impl Desk {
    /// Clients for the engine's providers.
    pub fn new(engine: &Engine) -> Self {
        Self { upstream: ArcSwap::from_pointee(clients(engine, &engine.fleet())) }
    }

    /// The clients for a fleet: those at hand, or new ones after a reload or a sleep.
    fn upstream(&self, engine: &Engine, fleet: &Fleet) -> Arc<(Clients, Upstream)> {
        let current = self.upstream.load_full();
        let (settings, wakes) = &current.0;
        if Arc::ptr_eq(settings, &fleet.settings) && *wakes == engine.wakes.load(Ordering::Relaxed) {
            return current;
        }
        let renewed = Arc::new(clients(engine, fleet));
        self.upstream.store(Arc::clone(&renewed));
        renewed
    }
}

fn clients(engine: &Engine, fleet: &Fleet) -> (Clients, Upstream) {
    ((Arc::clone(&fleet.settings), engine.wakes.load(Ordering::Relaxed)), Upstream::new(&fleet.settings))
}
