//! A turn: one run of a connection's task on its worker. The clock is looked at
//! once for a turn, and all that is waited for in it shares one timer, which
//! stays from one request to the next: a look at the clock and a timer of its
//! own cost a small request as much as reading it does (`bench/NOTES.md`).

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep_until};

#[derive(Clone, Copy)]
struct Turn {
    now: Instant,
    /// When the task wants to run again at the latest.
    again: Option<Instant>,
}

thread_local! {
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
}

/// The time at which this turn began; outside of turns, the time.
pub fn now() -> Instant {
    TURN.get().map_or_else(Instant::now, |turn| turn.now)
}

/// Waits for `future` until `deadline`; `None` when it did not come in time.
/// In a turn, it must be polled whenever the turn's task is: it is the task
/// that is woken at the deadline. (Pinned where it is, because an argument would
/// have two places in this future.)
pub async fn by<F: Future>(deadline: Instant, mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut own: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match TURN.get() {
            Some(turn) if turn.now >= deadline => Poll::Ready(None),
            Some(turn) => {
                let again = Some(turn.again.map_or(deadline, |again| again.min(deadline)));
                TURN.set(Some(Turn { again, ..turn }));
                Poll::Pending
            }
            None => {
                let own = own.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
                pin!(unconstrained(own)).poll(cx).map(|()| None)
            }
        }
    })
    .await
}

/// What wakes a task for the deadlines of its turns. It is seldom set: one
/// that rings too early is cheaper than one that is set for each request.
#[derive(Default)]
pub struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    /// When it rings, while it is set.
    at: Option<Instant>,
}

impl Alarm {
    /// Does something as a turn of the task that `cx` belongs to, which must
    /// always be the same.
    pub fn turn<T>(&mut self, cx: &mut Context<'_>, act: impl FnOnce(&mut Context<'_>) -> T) -> T {
        /// Ends the turn even when what is done in it panics.
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                TURN.set(None);
            }
        }
        let now = Instant::now();
        TURN.set(Some(Turn { now, again: None }));
        let end = End;
        let done = act(cx);
        let again = TURN.get().and_then(|turn| turn.again);
        drop(end);
        self.at.take_if(|at| *at <= now);
        if let Some(again) = again
            && self.at.is_none_or(|at| again < at)
        {
            self.set(again, cx);
        }
        done
    }

    fn set(&mut self, at: Instant, cx: &mut Context<'_>) {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at.into())));
        timer.as_mut().reset(at.into());
        self.at = Some(at);
        // A task that has done its share would be told "pending" without being put down to be woken.
        if pin!(unconstrained(timer)).poll(cx).is_ready() {
            self.at = None;
            cx.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_millis(30);

    /// Polls `future` in turns, as a connection's task does; its output and the number of turns.
    async fn in_turns<F: Future>(alarm: &mut Alarm, future: F) -> (F::Output, usize) {
        let (mut future, mut turns) = (pin!(future), 0);
        poll_fn(|cx| {
            turns += 1;
            alarm.turn(cx, |cx| future.as_mut().poll(cx)).map(|output| (output, turns))
        })
        .await
    }

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn the_clock_stands_still_in_a_turn_and_nowhere_else() {
        run(async {
            let standing = async {
                let first = now();
                std::thread::sleep(Duration::from_millis(2));
                now() == first
            };
            assert_eq!(in_turns(&mut Alarm::default(), standing).await, (true, 1));
            let first = now();
            std::thread::sleep(Duration::from_millis(2));
            assert!(now() > first);
        });
    }

    #[test]
    fn what_does_not_come_in_time_is_given_up_in_a_turn_and_outside() {
        run(async {
            let started = Instant::now();
            assert_eq!(by(started + SOON, pin!(pending::<()>())).await, None);
            assert!(started.elapsed() >= SOON);
            let started = Instant::now();
            let (output, turns) = in_turns(&mut Alarm::default(), by(started + SOON, pin!(pending::<()>()))).await;
            assert_eq!((output, turns), (None, 2));
            assert!(started.elapsed() >= SOON);
        });
    }

    #[test]
    fn what_is_there_is_given_out_however_late_it_is() {
        run(async {
            let past = Instant::now() - SOON;
            assert_eq!(by(past, pin!(async { 7 })).await, Some(7));
            assert_eq!(in_turns(&mut Alarm::default(), by(past, pin!(async { 7 }))).await, (Some(7), 1));
            assert_eq!(in_turns(&mut Alarm::default(), by(past, pin!(pending::<()>()))).await, (None, 1));
        });
    }

    #[test]
    fn an_alarm_that_rings_too_early_is_set_again_and_one_too_late_is_put_forward() {
        run(async {
            let mut alarm = Alarm::default();
            let wait = async |alarm: &mut Alarm, time: Duration| {
                let started = Instant::now();
                let (output, turns) = in_turns(alarm, by(started + time, pin!(pending::<()>()))).await;
                assert_eq!(output, None);
                assert!(started.elapsed() >= time && started.elapsed() < time + Duration::from_secs(20), "{:?}", started.elapsed());
                turns
            };
            let first = in_turns(&mut alarm, by(Instant::now() + SOON, pin!(tokio::task::yield_now()))).await;
            assert_eq!(first, (Some(()), 2), "it is left set");
            assert_eq!(wait(&mut alarm, SOON * 3).await, 3, "once more for the ring that was for another");
            let far = in_turns(&mut alarm, by(Instant::now() + Duration::from_secs(60), pin!(tokio::task::yield_now()))).await;
            assert_eq!(far, (Some(()), 2));
            assert_eq!(wait(&mut alarm, SOON).await, 2, "it was put forward");
        });
    }

    #[test]
    fn the_earliest_of_several_deadlines_counts() {
        run(async {
            let started = Instant::now();
            let inner = async {
                let never = pin!(pending::<()>());
                let first = pin!(by(started + SOON, never));
                assert_eq!(by(started + Duration::from_secs(60), first).await, Some(None));
            };
            assert_eq!(in_turns(&mut Alarm::default(), inner).await, ((), 2));
            assert!(started.elapsed() >= SOON);
        });
    }

    #[test]
    fn a_task_that_has_done_its_share_is_woken_all_the_same() {
        run(async {
            let started = Instant::now();
            let mut first = true;
            let never = pin!(pending::<()>());
            let mut waiting = pin!(by(started + SOON, never));
            let tired = poll_fn(|cx| {
                let tires = std::mem::take(&mut first);
                while tires && tokio::task::coop::has_budget_remaining() {
                    let _ = pin!(tokio::task::coop::consume_budget()).poll(cx);
                }
                waiting.as_mut().poll(cx)
            });
            let mut alarm = Alarm::default();
            // It wakes the task long after, should nothing else do so.
            let watched = tokio::time::timeout(SOON * 300, in_turns(&mut alarm, tired)).await;
            assert!(watched.is_ok_and(|(output, _)| output.is_none()));
            assert!(started.elapsed() < SOON * 200, "{:?}", started.elapsed());
        });
    }
}
