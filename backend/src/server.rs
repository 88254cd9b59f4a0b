//! HTTP/1.1 and HTTP/2 on one listener.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// Time for a request's head. It runs on an idle connection too, so it is also how long a gateway may keep one.
const HEAD_LIMIT: Duration = Duration::from_secs(65);
/// Largest head over HTTP/2, bytes: a ticket and an X-Wing key in hexadecimal are about 6 KiB.
const MAX_HEAD: u32 = 64 << 10;
/// The same over HTTP/1.1, where it is the buffer that bodies are read through, too.
const READ_BUFFER: usize = 256 << 10;
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long connections may take to end after the last answer.
const FAREWELL: Duration = Duration::from_secs(2);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Serves until `stop`, then takes no more connections and lets those there are finish their requests. Ends once
/// `answered` is cancelled, which says that no request is left.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    answered: CancellationToken,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(READ_BUFFER);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(MAX_HEAD).keep_alive_interval(PING_EVERY);
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        let service = TowerToHyperService::new(router.clone());
        let (builder, watcher) = (Arc::clone(&builder), graceful.watcher());
        connections.spawn(async move {
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            // A client that breaks off is no event.
            drop(watcher.watch(connection).await);
            drop(place);
        });
    }
    drop(listener);
    let finished = graceful.shutdown();
    tokio::select! {
        () = finished => {}
        () = async {
            answered.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        } => {}
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
