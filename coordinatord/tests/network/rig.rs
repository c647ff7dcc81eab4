//! A receiver on loopback, and a source that is paired with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use everwrite_coordinatord::network_backup::{
    Identity, PairedReceiver, Target, Uplink, UplinkEvent, pair,
};
use everwrite_protocol::ids::{SequenceNumber, SourceId};
use everwrite_receiver::network_backup::listener::Listener;
use everwrite_receiver::network_backup::{Destinations, Sources};
use everwrite_receiver::pairing::{Registrar, invite};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Whatever a test waits for has happened by then, or never will.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A receiver; its pairing files are in a directory of its own.
pub(crate) struct Receiver {
    pub(crate) store: TempDir,
    pub(crate) address: SocketAddr,
    sources: Arc<Sources>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start(destinations: impl Destinations) -> Self {
        Self::start_at(tempfile::tempdir().unwrap(), "127.0.0.1:0", destinations).await
    }

    async fn start_at(store: TempDir, address: &str, destinations: impl Destinations) -> Self {
        let tcp = TcpListener::bind(address).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let identity = Identity::load_or_create(store.path()).unwrap();
        let sources = Arc::new(Sources::new(destinations));
        let registrar = Registrar::new(store.path());
        let listener = Listener::new(tcp, &identity, registrar, Arc::clone(&sources)).unwrap();
        let task = tokio::spawn(listener.run());
        Self {
            store,
            address,
            sources,
            task,
        }
    }

    /// Ends it and starts it anew at the same address.
    pub(crate) async fn restart(self, destinations: impl Destinations) -> Self {
        self.sources.close();
        self.task.abort();
        let _ = self.task.await;
        Self::start_at(self.store, &self.address.to_string(), destinations).await
    }

    pub(crate) fn code(&self) -> String {
        let address = self.address.to_string();
        invite(self.store.path(), address).unwrap().to_string()
    }
}

/// A source that knows its receiver.
pub(crate) struct Source {
    pub(crate) id: SourceId,
    pub(crate) identity: Arc<Identity>,
    pub(crate) receiver: PairedReceiver,
}

impl Source {
    pub(crate) async fn paired_with(receiver: &Receiver, id: u8) -> Self {
        let id = SourceId([id; 16]);
        let identity = Arc::new(Identity::ephemeral().unwrap());
        let receiver = pair(&receiver.code(), &identity, id).await.unwrap();
        Self {
            id,
            identity,
            receiver,
        }
    }

    pub(crate) fn target(&self) -> Target {
        self.target_by(&self.receiver.address)
    }

    /// The receiver, by way of a proxy.
    pub(crate) fn target_by(&self, address: &str) -> Target {
        Target::Tcp {
            address: address.to_owned(),
            fingerprint: self.receiver.fingerprint,
        }
    }

    pub(crate) fn uplink(&self, target: Target) -> Line {
        Line::start(target, Arc::clone(&self.identity), self.id)
    }
}

/// An uplink and what it tells.
pub(crate) struct Line {
    pub(crate) uplink: Uplink,
    pub(crate) events: mpsc::Receiver<UplinkEvent>,
}

impl Line {
    pub(crate) fn start(target: Target, identity: Arc<Identity>, source: SourceId) -> Self {
        let (tell, events) = mpsc::channel(64);
        let uplink = Uplink::start(target, identity, source, tell);
        Self { uplink, events }
    }

    pub(crate) async fn event(&mut self) -> UplinkEvent {
        let event = timeout(DEADLINE, self.events.recv()).await;
        event
            .expect("an event in time")
            .expect("an uplink that lives")
    }

    /// Passes over all events up to the first of which `wanted` makes something.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(UplinkEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.event().await) {
                return found;
            }
        }
    }

    /// `stored` of the next connection.
    pub(crate) async fn connected(&mut self) -> SequenceNumber {
        self.until(|event| match event {
            UplinkEvent::Connected { stored, .. } => Some(stored),
            _ => None,
        })
        .await
    }

    pub(crate) async fn disconnected(&mut self) -> String {
        self.until(|event| match event {
            UplinkEvent::Disconnected { error } => Some(error),
            _ => None,
        })
        .await
    }

    /// Waits until batch `number` is stored.
    pub(crate) async fn stored(&mut self, number: u64) {
        self.until(|event| match event {
            UplinkEvent::Stored(stored) | UplinkEvent::Connected { stored, .. } => {
                (stored.0 >= number).then_some(())
            }
            _ => None,
        })
        .await;
    }
}
