//! A TCP relay that sees every byte between two processes, and can change it: gateway and backend, or gateway and Redis.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To whom the connection was made; Redis, where that is behind the relay.
    ToBackend,
    ToGateway,
}

/// What passed, in the order of arrival.
type Recorded = Arc<Mutex<Vec<(Direction, Vec<u8>)>>>;
/// Changes bytes on their way.
type Change = dyn Fn(Direction, &mut Vec<u8>) + Send + Sync;

/// Ends with its connections when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    recorded: Recorded,
    change: Arc<Mutex<Option<Arc<Change>>>>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// Relays to `target`, a loopback port.
    pub(crate) async fn start(target: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let accepted = Arc::new(AtomicUsize::new(0));
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let change: Arc<Mutex<Option<Arc<Change>>>> = Arc::default();
        let mut task = JoinSet::new();
        let (count, record, changes) = (Arc::clone(&accepted), Arc::clone(&recorded), Arc::clone(&change));
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { continue };
                let (client_read, client_write) = client.into_split();
                let (server_read, server_write) = server.into_split();
                let relays = [
                    (Direction::ToBackend, client_read, server_write),
                    (Direction::ToGateway, server_read, client_write),
                ];
                for (direction, from, to) in relays {
                    connections.spawn(relay(direction, from, to, Arc::clone(&record), Arc::clone(&changes)));
                }
            }
        });
        Ok(Self { address, accepted, recorded, change, _task: task })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that were made to it so far, whether or not its target took them.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Every byte that went this way so far, connections mixed in the order of arrival.
    pub(crate) fn recorded(&self, direction: Direction) -> Vec<u8> {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded
            .iter()
            .filter(|(way, _)| *way == direction)
            .flat_map(|(_, bytes)| bytes.iter().copied())
            .collect()
    }

    /// From now on `change` may alter what passes.
    pub(crate) fn change(&self, change: impl Fn(Direction, &mut Vec<u8>) + Send + Sync + 'static) {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(change));
    }
}

async fn relay(
    direction: Direction,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    recorded: Recorded,
    change: Arc<Mutex<Option<Arc<Change>>>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer).await {
        if length == 0 {
            break;
        }
        let mut bytes = buffer[..length].to_vec();
        let current = change.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(change) = current {
            change(direction, &mut bytes);
        }
        recorded.lock().unwrap_or_else(PoisonError::into_inner).push((direction, bytes.clone()));
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // Both sides see the other's end; a failure means it is gone already.
    let _ = to.shutdown().await;
}
