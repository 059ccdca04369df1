//! What a connection's task does not look at each time it runs: it runs twice or
//! more for a request, and some of what it waits for comes once in its life, if ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Something to wait for that is looked at only when it has woken the task.
pub(super) struct Seldom<F> {
    look: F,
    bell: Option<(Arc<Bell>, Waker)>,
}

struct Bell {
    task: Waker,
    rung: AtomicBool,
}

impl<T, F: FnMut(&mut Context<'_>) -> Poll<T>> Seldom<F> {
    /// `look` polls what is waited for, and may do so again after it was ready.
    pub fn new(look: F) -> Self {
        Self { look, bell: None }
    }

    /// Looks, if it has been woken since it last was not ready. The task must
    /// always be the same.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<T> {
        let (bell, waker) = self.bell.get_or_insert_with(|| {
            let bell = Arc::new(Bell { task: cx.waker().clone(), rung: AtomicBool::new(true) });
            (Arc::clone(&bell), Waker::from(bell))
        });
        if !bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let polled = (self.look)(&mut Context::from_waker(waker));
        if polled.is_ready() {
            bell.rung.store(true, Ordering::Release);
        }
        polled
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// A waker of a task that can be made silent.
#[derive(Debug)]
pub(super) struct Hush {
    task: Waker,
    on: AtomicBool,
    unheard: AtomicUsize,
}

impl Hush {
    /// One that wakes `task`.
    pub fn new(task: &Waker) -> Arc<Self> {
        Arc::new(Self { task: task.clone(), on: AtomicBool::new(false), unheard: AtomicUsize::new(0) })
    }

    /// Does something without being woken by it, and gives how often it would have been.
    pub fn over<T>(&self, act: impl FnOnce() -> T) -> (T, usize) {
        self.unheard.store(0, Ordering::Relaxed);
        self.on.store(true, Ordering::Relaxed);
        let done = act();
        self.on.store(false, Ordering::Relaxed);
        (done, self.unheard.load(Ordering::Relaxed))
    }
}

impl Wake for Hush {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.on.load(Ordering::Relaxed) {
            self.unheard.fetch_add(1, Ordering::Relaxed);
        } else {
            self.task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_has_not_woken_the_task_is_not_looked_at() {
        let task = Arc::new(Task::default());
        let own = Waker::from(Arc::clone(&task));
        let cx = Context::from_waker(&own);
        let (looks, ready, kept) = (Cell::new(0), Cell::new(false), RefCell::new(None));
        let mut seldom = Seldom::new(|cx: &mut Context<'_>| {
            looks.set(looks.get() + 1);
            kept.replace(Some(cx.waker().clone()));
            if ready.get() { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut step = || (seldom.poll(&cx).is_ready(), looks.get());
        assert_eq!((step(), step()), ((false, 1), (false, 1)), "once, to be woken");
        ready.set(true);
        assert_eq!(step(), (false, 1), "it has not rung");
        kept.take().unwrap().wake();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert_eq!(step(), (true, 2));
        ready.set(false);
        assert_eq!((step(), step()), ((false, 3), (false, 3)), "once more after it was ready");
    }

    #[test]
    fn a_hushed_waker_is_counted_and_does_not_wake() {
        let task = Arc::new(Task::default());
        let hush = Hush::new(&Waker::from(Arc::clone(&task)));
        let waker = Waker::from(Arc::clone(&hush));
        let wakes = || task.0.load(Ordering::Relaxed);
        waker.wake_by_ref();
        assert_eq!(wakes(), 1);
        let ((), unheard) = hush.over(|| (0..2).for_each(|_| waker.wake_by_ref()));
        assert_eq!((unheard, wakes()), (2, 1));
        assert_eq!(hush.over(|| ()).1, 0);
        waker.wake();
        assert_eq!(wakes(), 2);
    }
}
