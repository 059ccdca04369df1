//! The futures that answer requests, in places of a worker that are used again.
//! A place in each connection would be copied to where the cache has nothing of
//! it, and the allocator has none of this size at hand.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use tokio_util::sync::ReusableBoxFuture;

use super::body::Out;

/// How many places a worker keeps; a few hundred KB in all.
const KEPT: usize = 64;

type Place = ReusableBoxFuture<'static, Response<Out>>;

thread_local! {
    /// Those in which an answer has come to its end.
    static FREE: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
}

/// A future that answers a request. Dropped before its end, it drops what it waits for.
pub(super) struct Answering(Option<Place>);

impl Answering {
    /// Puts `answer` into a place.
    pub fn new(answer: impl Future<Output = Response<Out>> + Send + 'static) -> Self {
        Self(Some(match FREE.with_borrow_mut(Vec::pop) {
            Some(mut place) => {
                place.set(answer);
                place
            }
            None => Place::new(answer),
        }))
    }
}

impl Future for Answering {
    type Output = Result<Response<Out>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(place) = &mut self.0 else { return Poll::Pending };
        let answer = ready!(place.poll(cx));
        let place = self.0.take();
        FREE.with_borrow_mut(|free| {
            if free.len() < KEPT {
                free.extend(place);
            }
        });
        Poll::Ready(Ok(answer))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;

    fn poll(answering: &mut Answering) -> bool {
        Pin::new(answering).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_place_is_free_when_its_answer_is_there_and_gone_when_it_was_left() {
        let free = || FREE.with_borrow(Vec::len);
        let held = Arc::new(());
        let answer = |held: &Arc<()>, comes: bool| {
            let held = Arc::clone(held);
            Answering::new(async move {
                if !comes {
                    std::future::pending::<()>().await;
                }
                drop(held);
                Response::new(Out::full("x".into()))
            })
        };
        let mut first = answer(&held, true);
        assert_eq!((poll(&mut first), Arc::strong_count(&held), free()), (true, 1, 1));
        let mut left = answer(&held, false);
        assert_eq!((poll(&mut left), Arc::strong_count(&held), free()), (false, 2, 0));
        drop(left);
        assert_eq!((Arc::strong_count(&held), free()), (1, 0), "what it waited for is dropped with it");
        let mut many: Vec<Answering> = (0..2 * KEPT).map(|_| answer(&held, true)).collect();
        assert!(many.iter_mut().all(poll));
        assert_eq!(free(), KEPT);
    }
}
