//! The door: one thread that lets processes in, and shows that the coordinator lives.
//!
//! A peer has a second to say its [`Hello`]; nobody waits for it meanwhile. Whoever knocks and does not
//! get a segment, for whatever reason, goes on the reader's list of those that are not heard, so that
//! its changes are looked for.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use everwrite_protocol::local::segment::{SEGMENT_BYTES, SEGMENT_MAGIC, Segment};
use everwrite_protocol::local::{Hello, LOCAL_VERSION, Refusal, Welcome};
use interprocess::local_socket::traits::{Listener as _, StreamCommon as _};
use interprocess::local_socket::{Listener, Stream};
use rustix::event::{Timespec, epoll, eventfd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::bell::Bell;
use super::ends::Ends;
use super::greeting::{self, Greeting, Heard};
use super::lane::Lane;
use super::memory::{self, Shared};
use super::origins::Origins;
use super::policy::Policy;
use super::process::{self, ProcessKey};
use super::reader::News;
use super::room::Room;
use super::segment::SegmentReader;

/// Time for a peer to say its hello.
const HELLO_TIME: Duration = Duration::from_secs(1);
/// Peers that may be about to say hello; one more sends the oldest away.
const GREETINGS_MAX: usize = 256;
/// Time between two signs of life.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Rest after a failed accept, so that a lack of descriptors does not become a busy loop.
const ACCEPT_REST: Duration = Duration::from_millis(20);

const LISTENER: u64 = 0;
const ENDS: u64 = 1;
const STOP: u64 = 2;
const FIRST_PEER: u64 = 3;

/// What the door shares with the other parts.
#[derive(Clone)]
pub(super) struct Hall {
    pub(super) policy: Arc<Policy>,
    pub(super) origins: Arc<Origins>,
    pub(super) room: Arc<Room>,
    pub(super) bell: Arc<Bell>,
    pub(super) ends: Arc<Ends>,
    pub(super) news: mpsc::Sender<News>,
}

/// The thread's state.
pub(super) struct Door {
    hall: Hall,
    listener: Listener,
    epoll: OwnedFd,
    /// By token, which grows: the first is the oldest.
    peers: BTreeMap<u64, Peer>,
    next_token: u64,
    beat_at: Instant,
}

struct Peer {
    stream: Stream,
    greeting: Greeting,
    until: Instant,
}

/// Ends the door's thread.
#[derive(Debug)]
pub(super) struct Stop(OwnedFd);

impl Stop {
    pub(super) fn now(&self) {
        // Only a full counter can refuse, and that is readable already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl Door {
    pub(super) fn new(hall: Hall, listener: Listener) -> io::Result<(Self, Stop)> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let stop = eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
        let Listener::UdSocket(socket) = &listener;
        watch(&epoll, socket.as_fd(), LISTENER, epoll::EventFlags::IN)?;
        watch(&epoll, stop.as_fd(), STOP, epoll::EventFlags::IN)?;
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
        };
        Ok((door, Stop(stop)))
    }

    /// Opens to everyone who knocks, until told to stop.
    pub(super) fn run(mut self) {
        loop {
            for token in self.wait() {
                match token {
                    STOP => return,
                    ENDS => self.hall.bell.ring(),
                    LISTENER => self.accept(),
                    peer => self.listen_to(peer),
                }
            }
            let now = Instant::now();
            self.beat(now);
            self.send_away_late(now);
        }
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

    fn accept(&mut self) {
        match self.listener.accept() {
            Ok(stream) => self.greet(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!(%error, "can't let a process in; its changes wait for a scan");
                self.tell(News::Unheard(None));
                std::thread::sleep(ACCEPT_REST);
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
            self.refuse(&oldest.stream, Refusal::Busy);
        }
        let until = Instant::now() + HELLO_TIME;
        self.peers.insert(
            token,
            Peer {
                stream,
                greeting: Greeting::new(),
                until,
            },
        );
        self.listen_to(token);
        let Some(Peer {
            stream: Stream::UdSocket(socket),
            ..
        }) = self.peers.get(&token)
        else {
            return;
        };
        if let Err(error) = watch(&self.epoll, socket.as_fd(), token, epoll::EventFlags::IN) {
            tracing::warn!(%error, "can't wait for a process to say hello");
            self.send_away(token, Refusal::Busy);
        }
    }

    fn listen_to(&mut self, token: u64) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        match peer.greeting.hear(&peer.stream) {
            Heard::Part => {}
            Heard::Hello(hello) => self.decide(token, &hello),
            Heard::Nonsense => self.send_away(token, Refusal::Malformed),
            // It attaches before it changes anything, so nothing has happened.
            Heard::Gone => drop(self.peers.remove(&token)),
        }
    }

    fn decide(&mut self, token: u64, hello: &Hello) {
        let Some(Peer { stream, .. }) = self.peers.remove(&token) else {
            return;
        };
        if let Some(refusal) = greeting::objection(hello) {
            return self.refuse(&stream, refusal);
        }
        if let Err(error) = self.let_in(&stream, hello) {
            tracing::warn!(%error, pid = hello.pid, "can't give a process a segment");
            self.refuse(&stream, Refusal::Busy);
        }
    }

    fn send_away_late(&mut self, now: Instant) {
        let late = |peer: &Peer| peer.until <= now;
        while self
            .peers
            .first_key_value()
            .is_some_and(|(_, oldest)| late(oldest))
            && let Some((_, peer)) = self.peers.pop_first()
        {
            self.refuse(&peer.stream, Refusal::Busy);
        }
    }

    fn send_away(&mut self, token: u64, refusal: Refusal) {
        if let Some(peer) = self.peers.remove(&token) {
            self.refuse(&peer.stream, refusal);
        }
    }

    /// Makes a segment and hands it over. The reader knows it first: a barrier that begins when the
    /// program goes on must not miss it.
    fn let_in(&mut self, stream: &Stream, hello: &Hello) -> io::Result<()> {
        let (peer, user) = credentials(stream)?;
        let owner = process::owner(peer, hello.pid);
        let Some(process) = ProcessKey::of(owner) else {
            return Ok(());
        };
        let crowded = || io::Error::other("too many processes are attached");
        let place = self.hall.room.enter(user, owner).ok_or_else(crowded)?;
        let descriptor = open_process(owner)?;
        let (file, segment) = memory::sealed::<Segment>("everwrite-segment")?;
        fill_header(&segment, hello.pid, self.hall.policy.epoch());
        let token = self.next_token;
        self.next_token += 1;
        self.hall.ends.watch(descriptor.as_fd(), token)?;
        self.tell(News::Lane(Box::new(Lane {
            token,
            origin: self.hall.origins.id(process::origin(process, user)),
            process,
            segment,
            _process_descriptor: descriptor,
            namespaced: process::is_namespaced(owner),
            _place: place,
            reader: SegmentReader::new(),
            active_at: Instant::now(),
            blind: false,
        })));
        let Stream::UdSocket(socket) = stream;
        let welcome = Welcome::Attached {
            segment_bytes: SEGMENT_BYTES as u64,
        };
        greeting::answer(
            socket.as_fd(),
            welcome,
            &[file.as_fd(), self.hall.bell.file()],
        )
    }

    /// Says no. The reader knows before the program goes on: what it does is looked for by the scan.
    fn refuse(&self, stream: &Stream, refusal: Refusal) {
        let peer = credentials(stream)
            .ok()
            .and_then(|(pid, _)| ProcessKey::of(pid));
        tracing::warn!(
            ?refusal,
            pid = peer.map(|peer| peer.pid),
            "a process is not heard"
        );
        self.tell(News::Unheard(peer));
        let Stream::UdSocket(socket) = stream;
        // Who has gone needs no answer.
        let _ = greeting::answer(socket.as_fd(), Welcome::Refused(refusal), &[]);
    }

    fn tell(&self, news: News) {
        // Without a reader nobody listens any more, and the door is about to close.
        let _ = self.hall.news.send(news);
        self.hall.bell.ring();
    }
}

/// Process and effective user of the peer, as the kernel knows them.
fn credentials(stream: &Stream) -> io::Result<(u32, u32)> {
    let unknown = || io::Error::other("the kernel does not say who the peer is");
    let credentials = stream.peer_creds()?;
    let pid = credentials
        .pid()
        .and_then(|pid| u32::try_from(pid).ok())
        .filter(|pid| *pid != 0);
    Ok((
        pid.ok_or_else(unknown)?,
        credentials.euid().ok_or_else(unknown)?,
    ))
}

fn open_process(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn fill_header(segment: &Shared<Segment>, pid: u32, epoch: u64) {
    let header = &segment.header;
    header.version.store(LOCAL_VERSION, Relaxed);
    header.pid.store(pid, Relaxed);
    header.epoch.store(epoch, Relaxed);
    header.bytes.store(SEGMENT_BYTES as u64, Relaxed);
    header.magic.store(SEGMENT_MAGIC, Release);
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
