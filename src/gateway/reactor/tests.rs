//! Both reactors keep the same promises.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// Runs it; what is never told of would be waited for for ever.
fn run<F: Future>(work: F) -> F::Output {
    let in_time = async { tokio::time::timeout(Duration::from_secs(20), work).await.expect("it was told of") };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(in_time)
}

/// A client, and the worker's end of its connection.
async fn pair() -> (std::net::TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Gives those who wait time to be told of what has not come.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

macro_rules! promises {
    ($kind:ident) => {
        mod $kind {
            use std::sync::Arc;

            use super::super::$kind::{Client, Reactor, Registered};
            use super::*;

            async fn reactor() -> Arc<Reactor> {
                let (reactor, turning) = Reactor::new().unwrap();
                tokio::spawn(turning);
                reactor
            }

            async fn register(reactor: &Arc<Reactor>, stream: TcpStream) -> Registered {
                let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                reactor.register(stream, task).unwrap()
            }

            async fn read(client: &Client, room: usize) -> String {
                let mut some = vec![0; room];
                let count = poll_fn(|cx| client.poll_read(cx, &mut some)).await.unwrap();
                String::from_utf8(some[..count].to_vec()).unwrap()
            }

            async fn peek(client: &Client) -> usize {
                poll_fn(|cx| client.poll_peek(cx, &mut [0; 8])).await.unwrap()
            }

            #[test]
            fn what_comes_is_read_in_parts_and_then_waited_for() {
                run(async {
                    let reactor = reactor().await;
                    let (mut there, here) = pair().await;
                    let here = register(&reactor, here).await;
                    there.write_all(b"abcdef").unwrap();
                    assert_eq!(peek(&here.client).await, 6);
                    assert!(here.client.may_read());
                    assert_eq!((read(&here.client, 4).await, read(&here.client, 4).await), ("abcd".into(), "ef".into()));
                    let later = std::thread::spawn(move || {
                        std::thread::sleep(Duration::from_millis(30));
                        there.write_all(b"more").unwrap();
                        there
                    });
                    assert_eq!(read(&here.client, 4).await, "more");
                    let nothing = tokio::time::timeout(Duration::from_millis(30), read(&here.client, 4)).await;
                    assert!(nothing.is_err());
                    drop(later.join());
                    assert_eq!(read(&here.client, 4).await, "");
                });
            }

            #[test]
            fn an_end_that_came_with_the_last_bytes_is_seen() {
                run(async {
                    let reactor = reactor().await;
                    let (mut there, here) = pair().await;
                    there.write_all(b"abc").unwrap();
                    there.shutdown(std::net::Shutdown::Write).unwrap();
                    let here = register(&reactor, here).await;
                    // So that both come in one event.
                    a_while().await;
                    assert_eq!((read(&here.client, 8).await, read(&here.client, 8).await), ("abc".into(), String::new()));
                    assert_eq!(peek(&here.client).await, 0);
                });
            }

            #[test]
            fn who_finds_no_room_is_woken_when_there_is() {
                run(async {
                    let reactor = reactor().await;
                    let (mut there, here) = pair().await;
                    let here = register(&reactor, here).await;
                    let (part, mut sent) = (vec![b'x'; 100_000], 0);
                    let write = async |sent: &mut usize| {
                        *sent += poll_fn(|cx| here.client.poll_write_vectored(cx, &[std::io::IoSlice::new(&part)])).await.unwrap();
                    };
                    while tokio::time::timeout(Duration::from_millis(50), write(&mut sent)).await.is_ok() {}
                    let reader = std::thread::spawn(move || {
                        let mut all = Vec::new();
                        there.read_to_end(&mut all).unwrap();
                        all.len()
                    });
                    write(&mut sent).await;
                    sent += poll_fn(|cx| here.client.poll_write(cx, b"end")).await.unwrap();
                    here.client.end().unwrap();
                    assert_eq!(reader.join().unwrap(), sent);
                });
            }

            #[test]
            fn a_socket_is_closed_with_its_last_hold_and_its_place_is_used_again() {
                run(async {
                    let reactor = reactor().await;
                    let (mut first, here) = pair().await;
                    drop(register(&reactor, here).await);
                    assert_eq!(first.read(&mut [0; 8]).unwrap(), 0);
                    let (mut second, here) = pair().await;
                    let here = register(&reactor, here).await;
                    second.write_all(b"abc").unwrap();
                    assert_eq!(read(&here.client, 8).await, "abc");
                });
            }

            #[test]
            fn a_broken_connection_is_an_error() {
                run(async {
                    let reactor = reactor().await;
                    let (there, here) = pair().await;
                    let here = register(&reactor, here).await;
                    socket2::SockRef::from(&there).set_linger(Some(Duration::ZERO)).unwrap();
                    a_while().await;
                    drop(there);
                    let problem = poll_fn(|cx| here.client.poll_read(cx, &mut [0; 8])).await.unwrap_err();
                    assert_eq!(problem.kind(), std::io::ErrorKind::ConnectionReset);
                });
            }

            #[test]
            fn what_has_come_by_now_is_found_by_a_look() {
                run(async {
                    let (reactor, turning) = Reactor::new().unwrap();
                    let (mut there, here) = pair().await;
                    let here = register(&reactor, here).await;
                    let read = || poll_fn(|cx| Poll::Ready(here.client.poll_read(cx, &mut [0; 8]).map(Result::unwrap)));
                    assert_eq!(read().await, Poll::Pending);
                    there.write_all(b"abc").unwrap();
                    assert_eq!(read().await, Poll::Pending, "nothing has been told");
                    here.client.look_again().await;
                    assert_eq!(read().await, Poll::Ready(3));
                    drop(turning);
                });
            }

            #[test]
            fn a_look_finds_no_room_that_no_reader_has_made() {
                run(async {
                    let reactor = reactor().await;
                    let (mut there, here) = pair().await;
                    let here = register(&reactor, here).await;
                    let write = || poll_fn(|cx| Poll::Ready(here.client.poll_write(cx, &[b'x'; 64 << 10])));
                    let fill = async || while write().await.is_ready() {};
                    fill().await;
                    for _ in 0..20 {
                        a_while().await;
                        here.client.look_again().await;
                        assert!(write().await.is_pending(), "nobody has read");
                    }
                    there.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                    while there.read(&mut [0; 64 << 10]).is_ok_and(|count| count > 0) {}
                    a_while().await;
                    here.client.look_again().await;
                    assert!(write().await.is_ready());
                });
            }

            #[test]
            fn a_look_for_nothing_does_no_harm() {
                run(async {
                    let reactor = reactor().await;
                    let (mut there, here) = pair().await;
                    let here = register(&reactor, here).await;
                    a_while().await;
                    for _ in 0..2 {
                        here.client.look_again().await;
                        assert!(poll_fn(|cx| Poll::Ready(here.client.poll_read(cx, &mut [0; 8]))).await.is_pending());
                    }
                    there.write_all(b"abc").unwrap();
                    assert_eq!(read(&here.client, 8).await, "abc");
                });
            }
        }
    };
}

promises!(plain);
#[cfg(unix)]
promises!(grouped);

#[cfg(unix)]
mod groups {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::{JoinSet, yield_now};

    use super::super::grouped::{GROUP, Reactor};
    use super::*;

    /// Clients that have all sent a request before the reactor runs; for each of
    /// them, `act` once it has been read. Gives how many have read theirs.
    async fn requests<F: Future<Output = ()> + Send + 'static>(count: usize, act: impl Fn() -> F) -> (JoinSet<()>, Arc<AtomicUsize>) {
        let (reactor, turning) = Reactor::new().unwrap();
        let (mut requests, begun) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..count {
            let (mut there, here) = pair().await;
            let (reactor, begun, then) = (Arc::clone(&reactor), Arc::clone(&begun), act());
            requests.spawn(async move {
                let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                let here = reactor.register(here, task).unwrap();
                // It asks before anything has come, so that it has to be told.
                let mut first = true;
                poll_fn(|cx| {
                    let polled = here.client.poll_read(cx, &mut [0; 8]);
                    if std::mem::take(&mut first) {
                        assert!(polled.is_pending());
                        there.write_all(b"request").unwrap();
                    }
                    polled
                })
                .await
                .unwrap();
                begun.fetch_add(1, Ordering::Relaxed);
                then.await;
            });
        }
        for _ in 0..2 {
            yield_now().await;
        }
        requests.spawn(async move { drop(turning.await) });
        (requests, begun)
    }

    #[test]
    fn those_on_their_way_go_on_before_others_begin() {
        run(async {
            let (on_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (mut all, begun) = requests(10 * GROUP, || {
                let (on_way, most) = (Arc::clone(&on_way), Arc::clone(&most));
                async move {
                    most.fetch_max(on_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    // An answer that is there when the system is asked the next time.
                    yield_now().await;
                    on_way.fetch_sub(1, Ordering::Relaxed);
                }
            })
            .await;
            for _ in 0..10 * GROUP {
                all.join_next().await.unwrap().unwrap();
            }
            assert_eq!(begun.load(Ordering::Relaxed), 10 * GROUP);
            let most = most.load(Ordering::Relaxed);
            assert!((GROUP..=2 * GROUP).contains(&most), "{most} at once");
        });
    }

    #[test]
    fn those_who_never_end_and_those_who_leave_hold_nobody_back() {
        run(async {
            let (_all, begun) = requests(5 * GROUP, std::future::pending).await;
            for _ in 0..20 {
                yield_now().await;
            }
            assert_eq!(begun.load(Ordering::Relaxed), 5 * GROUP);
        });
    }
}
