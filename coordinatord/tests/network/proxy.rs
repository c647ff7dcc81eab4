//! A line that can be cut: TCP on loopback, byte by byte through here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards to one address.
pub(crate) struct Proxy {
    pub(crate) address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    to: SocketAddr,
    /// Counts the cuts.
    cuts: watch::Sender<u64>,
    /// Bytes upwards until the line cuts itself; `u64::MAX`: never.
    budget: AtomicU64,
    connections: AtomicU64,
}

impl Proxy {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            to,
            cuts: watch::Sender::new(0),
            budget: AtomicU64::new(u64::MAX),
            connections: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(tcp, Arc::clone(&shared)));
        Self {
            address,
            shared,
            task,
        }
    }

    /// Cuts all connections now.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Cuts all connections once `bytes` more have gone up.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.shared.budget.store(bytes, Ordering::SeqCst);
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn accept(tcp: TcpListener, shared: Arc<Shared>) {
    while let Ok((near, _)) = tcp.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut cuts = shared.cuts.subscribe();
            tokio::select! {
                _ = forward(near, &shared) => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

async fn forward(near: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let far = TcpStream::connect(shared.to).await?;
    far.set_nodelay(true)?;
    near.set_nodelay(true)?;
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    tokio::select! {
        end = up(&mut near_read, &mut far_write, shared) => end,
        end = tokio::io::copy(&mut far_read, &mut near_write) => end.map(drop),
    }
}

async fn up(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    shared: &Shared,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let budget = shared.budget.load(Ordering::SeqCst);
        let passes = usize::try_from(budget).map_or(read, |budget| read.min(budget));
        to.write_all(&buffer[..passes]).await?;
        if budget != u64::MAX {
            let left = budget - passes as u64;
            shared
                .budget
                .store(if left == 0 { u64::MAX } else { left }, Ordering::SeqCst);
            if left == 0 {
                shared.cuts.send_modify(|cuts| *cuts += 1);
                return Ok(());
            }
        }
    }
}
