//! Requests begin a few at a time: before others do, what has come for those
//! that are on their way is brought further. Without it, a worker with many
//! connections reads all their requests before it looks at the first answer,
//! and by then nothing of that request is in the processor's cache any more: a
//! quarter of the rate with 1,000 connections (`bench/NOTES.md`). It puts off and
//! does not hold back: however slow the providers are, all get in.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

use tokio::sync::Notify;
use tokio::task::yield_now;

/// How many begin together. Measured: 16 to 64 are equally good; with more the
/// cache is left, with fewer the system is asked too often what has come.
const GROUP: usize = 32;

/// The one of a worker. Something must [`turn`](Turnstile::turn) it.
#[derive(Debug, Default)]
pub(super) struct Turnstile {
    /// Those that were let in since it last turned, and those that were not.
    came: AtomicUsize,
    waiting: Mutex<VecDeque<Waker>>,
    full: Notify,
}

impl Turnstile {
    /// Whether a task may go on to begin a request. If not, it is woken when it
    /// may, and `waits` is on until then; it does not ask again.
    pub fn lets_in(&self, waits: &AtomicBool, cx: &Context<'_>) -> bool {
        if waits.load(Ordering::Relaxed) {
            waits.store(false, Ordering::Relaxed);
            return true;
        }
        match self.came.fetch_add(1, Ordering::Relaxed) + 1 {
            GROUP => self.full.notify_one(),
            count if count > GROUP => {
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(cx.waker().clone());
                waits.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        !waits.load(Ordering::Relaxed)
    }

    /// Lets the next ones in, each time when everything that had come by then
    /// has been looked at. Never ends.
    pub async fn turn(&self) {
        loop {
            self.full.notified().await;
            // The runtime asks the system what has come before it goes on with this.
            while {
                yield_now().await;
                self.let_next_in() == GROUP
            } {}
        }
    }

    /// Lets up to a group in; how many.
    fn let_next_in(&self) -> usize {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(GROUP);
        self.came.store(count, Ordering::Relaxed);
        waiting.drain(..count).for_each(Waker::wake);
        count
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::Poll;

    use super::*;

    async fn begin(turnstile: &Turnstile) {
        let waits = AtomicBool::new(false);
        poll_fn(|cx| if turnstile.lets_in(&waits, cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn run(work: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
    }

    #[test]
    fn those_on_their_way_go_on_before_others_begin() {
        run(async {
            let (turnstile, on_way, most) = (Arc::new(Turnstile::default()), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let turning = tokio::spawn({
                let turnstile = Arc::clone(&turnstile);
                async move { turnstile.turn().await }
            });
            let requests: Vec<_> = (0..20 * GROUP)
                .map(|_| {
                    let (turnstile, on_way, most) = (Arc::clone(&turnstile), Arc::clone(&on_way), Arc::clone(&most));
                    tokio::spawn(async move {
                        begin(&turnstile).await;
                        most.fetch_max(on_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                        // An answer that is there when the system is asked the next time.
                        yield_now().await;
                        on_way.fetch_sub(1, Ordering::Relaxed);
                    })
                })
                .collect();
            for request in requests {
                request.await.unwrap();
            }
            turning.abort();
            let most = most.load(Ordering::Relaxed);
            assert!((GROUP..=2 * GROUP).contains(&most), "{most} at once");
        });
    }

    #[test]
    fn those_who_never_end_and_those_who_leave_hold_nobody_back() {
        run(async {
            let turnstile = Arc::new(Turnstile::default());
            let turning = tokio::spawn({
                let turnstile = Arc::clone(&turnstile);
                async move { turnstile.turn().await }
            });
            let begun = Arc::new(AtomicUsize::new(0));
            let requests: Vec<_> = (0..5 * GROUP)
                .map(|_| {
                    let (turnstile, begun) = (Arc::clone(&turnstile), Arc::clone(&begun));
                    tokio::spawn(async move {
                        begin(&turnstile).await;
                        begun.fetch_add(1, Ordering::Relaxed);
                        std::future::pending::<()>().await;
                    })
                })
                .collect();
            // All have asked; some of those who wait leave.
            yield_now().await;
            requests[2 * GROUP..3 * GROUP].iter().for_each(|request| request.abort());
            for _ in 0..20 {
                yield_now().await;
            }
            assert_eq!(begun.load(Ordering::Relaxed), 4 * GROUP);
            begin(&turnstile).await;
            turning.abort();
        });
    }
}
