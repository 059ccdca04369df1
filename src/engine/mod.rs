//! The engine: from a request to a reply, over as many attempts as it takes.
//! It asks the rules and uses the doors; it knows nothing of the server that
//! the request came through.

mod answer;
mod explain;
mod fleet;
mod relay;
mod reply;
mod standing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Settings;
use crate::journal::Journal;
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

    /// The request log.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The time since the start, as health windows count it.
    pub fn uptime(&self) -> std::time::Duration {
        self.started.elapsed()
    }
}

/// The clients of one worker thread, renewed when the settings change.
pub struct Desk {
    upstream: ArcSwap<(Arc<Settings>, Upstream)>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

impl Desk {
    /// Clients for the engine's providers.
    pub fn new(engine: &Engine) -> Self {
        Self { upstream: ArcSwap::from_pointee(clients(&engine.fleet())) }
    }

    /// The clients for a fleet: those at hand, or new ones after a reload.
    fn upstream(&self, fleet: &Fleet) -> Arc<(Arc<Settings>, Upstream)> {
        let current = self.upstream.load_full();
        if Arc::ptr_eq(&current.0, &fleet.settings) {
            return current;
        }
        let renewed = Arc::new(clients(fleet));
        self.upstream.store(Arc::clone(&renewed));
        renewed
    }
}

fn clients(fleet: &Fleet) -> (Arc<Settings>, Upstream) {
    (Arc::clone(&fleet.settings), Upstream::new(&fleet.settings))
}
