//! The door: one thread that lets processes in, and shows that the coordinator lives.
//!
//! A peer has a second to say its [`Hello`](everwrite_protocol::local::Hello); nobody waits for it
//! meanwhile. What becomes of it then is decided in the [`Hall`].

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use everwrite_protocol::local::Refusal;
use interprocess::local_socket::traits::Listener as _;
use interprocess::local_socket::{Listener, Stream};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use tokio::sync::oneshot;

use super::greeting::{Greeting, Heard};
use super::hall::Hall;
use super::reader::News;

/// Time for a peer to say its hello.
const HELLO_TIME: Duration = Duration::from_secs(1);
/// Peers that may be about to say hello; one more sends the oldest away.
const GREETINGS_MAX: usize = 256;
/// Knocks that are heard before a barrier; the kernel keeps no more waiting (`net.core.somaxconn`).
const BACKLOG_MAX: usize = 4096;
/// Time between two signs of life.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Rest after a failed accept, so that a lack of descriptors does not become a busy loop.
const ACCEPT_REST: Duration = Duration::from_millis(20);

const LISTENER: u64 = 0;
const ENDS: u64 = 1;
const ORDER: u64 = 2;
const FIRST_PEER: u64 = 3;

/// The thread's state.
pub(super) struct Door {
    hall: Hall,
    listener: Listener,
    epoll: OwnedFd,
    /// By token, which grows: the first is the oldest.
    peers: BTreeMap<u64, Peer>,
    next_token: u64,
    beat_at: Instant,
    ordered: mpsc::Receiver<Order>,
    wake: Arc<OwnedFd>,
    stopped: bool,
}

struct Peer {
    stream: Stream,
    greeting: Greeting,
    until: Instant,
}

/// What the door is asked from outside.
enum Order {
    /// Somebody waits until all that was said so far is sent: who knocked before comes in first.
    Barrier(oneshot::Sender<()>),
    /// The end.
    Stop,
}

/// Reaches the door's thread.
pub(super) struct Caller {
    orders: mpsc::Sender<Order>,
    wake: Arc<OwnedFd>,
}

impl Caller {
    /// Asks for a barrier; `done` is answered, or dropped when nobody listens any more.
    pub(super) fn barrier(&self, done: oneshot::Sender<()>) {
        self.order(Order::Barrier(done));
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.order(Order::Stop);
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            // Only a full counter can refuse, and that is readable already.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }
}

impl Door {
    pub(super) fn new(hall: Hall, listener: Listener) -> io::Result<(Self, Caller)> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = Arc::new(eventfd(0, flags)?);
        let (orders, ordered) = mpsc::channel();
        let Listener::UdSocket(socket) = &listener;
        watch(&epoll, socket.as_fd(), LISTENER, epoll::EventFlags::IN)?;
        watch(&epoll, wake.as_fd(), ORDER, epoll::EventFlags::IN)?;
        // Each new end is a new edge; that it is dealt with is the reader's business.
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        watch(&epoll, hall.ends.as_fd(), ENDS, edge)?;
        let door = Self {
            hall,
            listener,
            epoll,
            peers: BTreeMap::new(),
            next_token: FIRST_PEER,
            beat_at: Instant::now(),
            ordered,
            wake: Arc::clone(&wake),
            stopped: false,
        };
        Ok((door, Caller { orders, wake }))
    }

    /// Opens to everyone who knocks, until told to stop.
    pub(super) fn run(mut self) {
        hurry();
        while !self.stopped {
            for token in self.wait() {
                match token {
                    ORDER => self.obey(),
                    ENDS => self.hall.bell.ring(),
                    LISTENER => drop(self.accept()),
                    peer => self.listen_again(peer),
                }
            }
            let now = Instant::now();
            self.beat(now);
            self.put_off_late(now);
        }
    }

    fn obey(&mut self) {
        let mut count = [0; 8];
        // Empty when an order before took this one along.
        let _ = rustix::io::read(&self.wake, &mut count);
        while let Ok(order) = self.ordered.try_recv() {
            match order {
                Order::Stop => self.stopped = true,
                Order::Barrier(done) => {
                    self.let_all_in();
                    self.hall.tell(News::Barrier(done));
                }
            }
        }
    }

    /// Lets in, or puts off, everyone who has knocked so far.
    fn let_all_in(&mut self) {
        let mut knocks = 0;
        while knocks < BACKLOG_MAX && self.accept() {
            knocks += 1;
        }
        let peers: Vec<u64> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.listen_again(peer));
    }

    fn wait(&self) -> Vec<u64> {
        const EMPTY: epoll::Event = epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        };
        let mut events = [EMPTY; 64];
        let until_beat = self.beat_at.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(until_beat.as_secs()).unwrap_or(0),
            tv_nsec: i64::from(until_beat.subsec_nanos()),
        };
        let count = epoll::wait(&self.epoll, &mut events, Some(&timeout)).unwrap_or(0);
        events
            .iter()
            .take(count)
            .map(|event| event.data.u64())
            .collect()
    }

    fn beat(&mut self, now: Instant) {
        if now >= self.beat_at {
            self.hall.policy.beat();
            self.beat_at = now + BEAT_INTERVAL;
        }
    }

    /// True when somebody stood there.
    fn accept(&mut self) -> bool {
        match self.listener.accept() {
            Ok(stream) => {
                self.greet(stream);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                tracing::warn!(%error, "can't let a process in; it will knock again");
                std::thread::sleep(ACCEPT_REST);
                false
            }
        }
    }

    /// Most peers have said hello when they are let in: those need no watching.
    fn greet(&mut self, stream: Stream) {
        let token = self.next_token;
        self.next_token += 1;
        if self.peers.len() >= GREETINGS_MAX
            && let Some((_, oldest)) = self.peers.pop_first()
        {
            self.hall.put_off(oldest.stream);
        }
        let peer = Peer {
            stream,
            greeting: Greeting::new(),
            until: Instant::now() + HELLO_TIME,
        };
        if let Some(peer) = self.listen(token, peer) {
            self.await_rest(token, peer);
        }
    }

    fn await_rest(&mut self, token: u64, peer: Peer) {
        let Stream::UdSocket(socket) = &peer.stream;
        match watch(&self.epoll, socket.as_fd(), token, epoll::EventFlags::IN) {
            Ok(()) => drop(self.peers.insert(token, peer)),
            Err(error) => {
                tracing::warn!(%error, "can't wait for a process to say hello");
                self.hall.put_off(peer.stream);
            }
        }
    }

    fn listen_again(&mut self, token: u64) {
        if let Some(peer) = self.peers.remove(&token)
            && let Some(peer) = self.listen(token, peer)
        {
            self.peers.insert(token, peer);
        }
    }

    /// Hears what the peer says; gives it back when it has not said all.
    fn listen(&self, token: u64, mut peer: Peer) -> Option<Peer> {
        match peer.greeting.hear(&peer.stream) {
            Heard::Part => return Some(peer),
            Heard::Hello(hello) => self.hall.admit(token, peer.stream, &hello),
            Heard::Nonsense => self.hall.refuse(&peer.stream, Refusal::Malformed),
            // It attaches before it changes anything, so nothing has happened.
            Heard::Gone => {}
        }
        None
    }

    fn put_off_late(&mut self, now: Instant) {
        let is_late = |peers: &BTreeMap<u64, Peer>| {
            peers
                .first_key_value()
                .is_some_and(|(_, oldest)| oldest.until <= now)
        };
        while is_late(&self.peers)
            && let Some((_, peer)) = self.peers.pop_first()
        {
            self.hall.put_off(peer.stream);
        }
    }
}

/// Programs wait for this thread, if only for a moment: it goes before others where that is allowed.
fn hurry() {
    const NICE: i32 = -10;
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the door runs at ordinary priority");
    }
}

fn watch(
    epoll: &OwnedFd,
    source: BorrowedFd<'_>,
    token: u64,
    flags: epoll::EventFlags,
) -> io::Result<()> {
    Ok(epoll::add(
        epoll,
        source,
        epoll::EventData::new_u64(token),
        flags,
    )?)
}
