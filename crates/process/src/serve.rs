//! HTTP/1.1 and HTTP/2 on one listener, plain or over TLS: the connection loop, its bounds and its end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::linger::linger;

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 8192;
/// Time for a request's head. It runs on an idle connection too, so it is also how long a client may keep one: longer
/// than the minute that HTTP clients commonly do, or they would meet a connection that has just closed.
const HEAD_LIMIT: Duration = Duration::from_secs(65);
/// Time for a TLS handshake; unit tests have none to lose.
const HANDSHAKE_LIMIT: Duration =
    if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(10) };
/// Largest head over HTTP/2, bytes: an API key, a ticket and a post-quantum key in hexadecimal are about 8 KiB.
const MAX_HEAD: u32 = 64 << 10;
/// The same over HTTP/1.1, where it is the buffer that bodies are read through, too.
const READ_BUFFER: usize = 256 << 10;
const PING_EVERY: Duration = Duration::from_secs(20);
/// After the process ran out of file descriptors, accepting again at once would only spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Serves `app` until `stop`, then takes no more connections and lets those there are finish their requests, until
/// `end` resolves at the latest.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    stop: CancellationToken,
    end: impl Future<Output = ()>,
) {
    serve_either(listener, None, app, stop, end).await;
}

/// The same over TLS.
pub async fn serve_tls(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    app: Router,
    stop: CancellationToken,
    end: impl Future<Output = ()>,
) {
    serve_either(listener, Some(acceptor), app, stop, end).await;
}

async fn serve_either(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    app: Router,
    stop: CancellationToken,
    end: impl Future<Output = ()>,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(READ_BUFFER);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(MAX_HEAD).keep_alive_interval(PING_EVERY);
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let bodies = connections.clone();
    let app = app.layer(axum::middleware::map_request(move |request: Request| {
        let request = linger(request, &bodies);
        std::future::ready(request)
    }));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            stream = accept(&listener) => stream,
        };
        let service = TowerToHyperService::new(app.clone());
        let (builder, watcher) = (Arc::clone(&builder), graceful.watcher());
        match acceptor.clone() {
            None => connections.spawn(async move {
                let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                // A client that breaks off is no event.
                drop(watcher.watch(connection).await);
                drop(place);
            }),
            // The handshake is the connection's own matter: others are accepted meanwhile.
            Some(acceptor) => connections.spawn(async move {
                if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
                    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                    drop(watcher.watch(connection).await);
                }
                drop(place);
            }),
        };
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = end => tracing::warn!("connections were still open at the end"),
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A token must not wait for the acknowledgement of the one before.
                drop(stream.set_nodelay(true));
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}
