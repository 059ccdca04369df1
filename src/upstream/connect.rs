//! Connections to one provider: name lookup, TCP (both address families at
//! once), a proxy from the environment, TLS, all within one time limit.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_service::Service;

use super::tls;

/// The connection did not stand in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub(super) struct ConnectTimeout(Duration);

/// What a connection has been used for. One that has brought an answer, and
/// dies before a byte of the next one came, was closed by the provider while it
/// was idle.
#[derive(Debug, Clone, Default)]
pub(super) struct Uses(Arc<Use>);

#[derive(Debug, Default)]
struct Use {
    answers: AtomicU32,
    /// Something came back since something was last asked.
    heard: AtomicBool,
}

impl Uses {
    /// Something is about to be asked.
    pub fn begin(&self) {
        self.0.heard.store(false, Ordering::Relaxed);
    }

    /// It has brought an answer.
    pub fn add(&self) {
        self.0.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it had served before, and not a byte came back of what was asked last.
    pub fn was_idle(&self) -> bool {
        self.0.answers.load(Ordering::Relaxed) > 0 && !self.0.heard.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
enum Route {
    Direct(HttpsConnector<HttpConnector>),
    Proxied(HttpsConnector<Tunnel<HttpConnector>>),
    /// Plain requests go to the proxy itself, with the whole address in them.
    Forwarded(HttpsConnector<HttpConnector>, Uri),
}

/// Opens connections to one provider.
#[derive(Clone)]
pub(super) struct Connector {
    route: Route,
    timeout: Duration,
}

impl Connector {
    /// A connector for the provider at `target`; `timeout` is for everything
    /// until the connection can be written to. A loopback provider is never
    /// reached through a proxy.
    pub fn new(target: &Uri, loopback: bool, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.set_happy_eyeballs_timeout(Some(Duration::from_millis(250)));
        tcp.set_connect_timeout(Some(timeout));
        let proxy = (!loopback).then(|| Matcher::from_env().intercept(target)).flatten();
        let route = match proxy {
            None => Route::Direct(secure(tcp, target)),
            Some(proxy) if target.scheme_str() == Some("http") => Route::Forwarded(secure(tcp, target), proxy.uri().clone()),
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                Route::Proxied(secure(tunnel, target))
            }
        };
        Self { route, timeout }
    }

    /// Whether plain requests go to a proxy, which answers them itself when it cannot pass them on.
    pub fn is_forwarded(&self) -> bool {
        matches!(self.route, Route::Forwarded(..))
    }

    /// What a proxy that takes whole requests for this provider wants to be told.
    pub fn proxy_authorization(target: &Uri, loopback: bool) -> Option<HeaderValue> {
        let proxy = (!loopback && target.scheme_str() == Some("http")).then(|| Matcher::from_env().intercept(target)).flatten()?;
        proxy.basic_auth().cloned()
    }
}

/// Adds TLS. A provider without TLS gets a configuration that trusts nobody,
/// so that no certificate store is loaded for it.
fn secure<C>(inner: C, target: &Uri) -> HttpsConnector<C> {
    let config = if target.scheme_str() == Some("https") { tls::config() } else { tls::unused() };
    HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_all_versions().wrap_connector(inner)
}

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, Boxed>> + Send>>;
/// Any error.
pub(super) type Boxed = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Boxed;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        match &mut self.route {
            Route::Direct(route) => route.poll_ready(cx),
            Route::Proxied(route) => route.poll_ready(cx),
            Route::Forwarded(route, _) => route.poll_ready(cx),
        }
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let timeout = self.timeout;
        let connecting: Connecting<MaybeHttpsStream<TokioIo<TcpStream>>> = match &mut self.route {
            Route::Direct(route) => Box::pin(route.call(target)),
            Route::Proxied(route) => Box::pin(route.call(target)),
            Route::Forwarded(route, proxy) => Box::pin(route.call(proxy.clone())),
        };
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(stream) => Ok(Stream::new(stream?)),
                Err(_) => Err(Box::new(ConnectTimeout(timeout)) as Boxed),
            }
        })
    }
}

/// An open connection, with what is noted of its bytes.
pub(super) struct Stream {
    io: TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>,
    uses: Uses,
}

impl Stream {
    fn new(io: MaybeHttpsStream<TokioIo<TcpStream>>) -> Self {
        Self { io: TokioIo::new(io), uses: Uses::default() }
    }

    /// What it is used for from now on.
    pub fn uses(&self) -> Uses {
        self.uses.clone()
    }

    /// Whether HTTP/2 was agreed on when it was opened.
    pub fn is_http2(&self) -> bool {
        self.io.inner().connected().is_negotiated_h2()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.uses.0.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The proxy that the environment names for an address, without credentials.
pub fn proxy_for(target: &Uri, loopback: bool) -> Option<String> {
    let proxy = (!loopback).then(|| Matcher::from_env().intercept(target)).flatten()?;
    let (scheme, authority) = (proxy.uri().scheme_str().unwrap_or("http"), proxy.uri().authority()?);
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    Some(format!("{scheme}://{host}"))
}
