//! The hall behind the door: gives a process its segment, or says why not.
//!
//! Nobody is sent away silently. Who comes in vain is on the reader's list of those that are not heard
//! before it goes on, so that its changes are looked for. Only who can never be understood is told no;
//! all others find the connection closed: their shims keep in mind what they do, and knock again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use everwrite_protocol::local::segment::{SEGMENT_BYTES, SEGMENT_MAGIC, Segment};
use everwrite_protocol::local::{Hello, LOCAL_VERSION, Refusal, Welcome};
use interprocess::local_socket::Stream;
use interprocess::local_socket::traits::StreamCommon as _;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::bell::Bell;
use super::ends::Ends;
use super::greeting;
use super::lane::{Lane, Syncs};
use super::memory::{self, Shared};
use super::origins::Origins;
use super::policy::Policy;
use super::process::{self, ProcessKey, Program};
use super::reader::News;
use super::room::Room;
use super::segment::SegmentReader;
use super::unheard::Meanwhile;

/// What the parts of the intake share.
#[derive(Clone)]
pub(super) struct Hall {
    pub(super) policy: Arc<Policy>,
    pub(super) origins: Arc<Origins>,
    pub(super) room: Arc<Room>,
    pub(super) bell: Arc<Bell>,
    pub(super) ends: Arc<Ends>,
    pub(super) news: mpsc::Sender<News>,
}

impl Hall {
    /// Decides about a peer that has said hello; `token` will name its lane.
    pub(super) fn admit(&self, token: u64, stream: Stream, hello: &Hello) {
        if let Some(refusal) = greeting::objection(hello) {
            return self.refuse(&stream, refusal);
        }
        if let Err(error) = self.let_in(token, &stream, hello) {
            tracing::warn!(%error, pid = hello.pid, "can't give a process a segment now");
            self.put_off(stream);
        }
    }

    /// Says no for good: the shim does not ask again before the epoch changes.
    pub(super) fn refuse(&self, stream: &Stream, refusal: Refusal) {
        let peer = peer(stream);
        let pid = peer.map(|peer| peer.pid);
        tracing::warn!(?refusal, pid, "a process is not heard");
        self.tell(News::Unheard(peer, Meanwhile::Lost));
        let Stream::UdSocket(socket) = stream;
        // Who has gone needs no answer.
        let _ = greeting::answer(socket.as_fd(), Welcome::Refused(refusal), &[]);
    }

    /// Closes the connection without an answer: the shim knocks again.
    pub(super) fn put_off(&self, stream: Stream) {
        self.tell(News::Unheard(peer(&stream), Meanwhile::Remembered));
    }

    /// Makes a segment and hands it over. The reader knows it first: a barrier that begins when the
    /// program goes on must not miss it.
    fn let_in(&self, token: u64, stream: &Stream, hello: &Hello) -> io::Result<()> {
        let (peer, user) = credentials(stream)?;
        let owner = process::owner(peer, hello.pid);
        let ended = || io::Error::other("it has ended");
        let program = Program::of(owner.pid).ok_or_else(ended)?;
        let process = program.process;
        let crowded = || io::Error::other("too many processes are attached");
        let place = self.room.enter(user, owner.pid).ok_or_else(crowded)?;
        let descriptor = open_process(owner.pid)?;
        let (file, segment) = memory::sealed::<Segment>("everwrite-segment")?;
        fill_header(&segment, hello.pid, self.policy.epoch());
        let segment = Arc::new(segment);
        self.ends.watch(descriptor.as_fd(), token)?;
        self.tell(News::Lane(Box::new(Lane {
            token,
            origin: self.origins.id(program.origin(user)),
            process,
            syncs: Syncs::new(Arc::clone(&segment)),
            segment,
            _process_descriptor: descriptor,
            namespaced: owner.namespaced,
            _place: place,
            reader: SegmentReader::new(),
            active_at: Instant::now(),
            blind: false,
            superseded: false,
        })));
        let handed_over = self.hand_over(stream, &file);
        if handed_over.is_err() {
            self.tell(News::Withdrawn(token));
        }
        handed_over
    }

    fn hand_over(&self, stream: &Stream, segment: &OwnedFd) -> io::Result<()> {
        let Stream::UdSocket(socket) = stream;
        let welcome = Welcome::Attached {
            segment_bytes: SEGMENT_BYTES as u64,
        };
        let descriptors = [segment.as_fd(), self.bell.file()];
        greeting::answer(socket.as_fd(), welcome, &descriptors)
    }

    /// Tells the reader, now.
    pub(super) fn tell(&self, news: News) {
        // Without a reader nobody listens any more, and the door is about to close.
        let _ = self.news.send(news);
        self.bell.ring();
    }
}

/// The peer's process; `None` when it has ended.
fn peer(stream: &Stream) -> Option<ProcessKey> {
    ProcessKey::of(credentials(stream).ok()?.0)
}

/// Process and effective user of the peer, as the kernel knows them.
fn credentials(stream: &Stream) -> io::Result<(u32, u32)> {
    let unknown = || io::Error::other("the kernel does not say who it is");
    let credentials = stream.peer_creds()?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.filter(|pid| *pid != 0).ok_or_else(unknown)?;
    Ok((pid, credentials.euid().ok_or_else(unknown)?))
}

fn open_process(pid: u32) -> io::Result<OwnedFd> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(number, PidfdFlags::empty())?)
}

fn fill_header(segment: &Shared<Segment>, pid: u32, epoch: u64) {
    let header = &segment.header;
    header.version.store(LOCAL_VERSION, Relaxed);
    header.pid.store(pid, Relaxed);
    header.epoch.store(epoch, Relaxed);
    header.bytes.store(SEGMENT_BYTES as u64, Relaxed);
    header.magic.store(SEGMENT_MAGIC, Release);
}
