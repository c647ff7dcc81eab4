//! The local socket: whoever says hello gets a segment.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::thread::JoinHandle;
use std::time::Duration;

use everwrite_protocol::local::segment::{SEGMENT_BYTES, SEGMENT_MAGIC, Segment};
use everwrite_protocol::local::{
    HELLO_BYTES_MAX, Hello, LOCAL_VERSION, SOCKET_FILE_NAME, WELCOME_BYTES_MAX, Welcome, decode,
    encode,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown};

use super::Inner;
use super::page::Shared;
use super::segment::Session;

/// An open door; closed when dropped.
pub(super) struct Door {
    path: PathBuf,
    listener: Arc<UnixListener>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    pub(super) fn open(inner: &Arc<Inner>) -> Self {
        let path = inner.run_directory.join(SOCKET_FILE_NAME);
        let listener = Arc::new(UnixListener::bind(&path).expect("listen"));
        let (inner, ours) = (Arc::clone(inner), Arc::clone(&listener));
        let thread = std::thread::spawn(move || answer_until_closed(&inner, &listener));
        Self {
            path,
            listener: ours,
            thread: Some(thread),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // The directory may be gone already.
        let _ = std::fs::remove_file(&self.path);
        rustix::net::shutdown(&*self.listener, Shutdown::Both).expect("close the door");
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

fn answer_until_closed(inner: &Inner, listener: &UnixListener) {
    while let Ok((mut stream, _)) = listener.accept() {
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        // Without a word: a program that was killed in the middle of it.
        if let Ok(hello) = hello(&mut stream) {
            answer(inner, &stream, hello);
        }
    }
}

fn hello(stream: &mut UnixStream) -> io::Result<Hello> {
    let mut length = [0];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; usize::from(length[0])];
    stream.read_exact(&mut body)?;
    let hello = decode::<Hello>(&body).expect("a shim speaks the local language");
    assert_eq!(hello.version, LOCAL_VERSION);
    Ok(hello)
}

fn answer(inner: &Inner, stream: &UnixStream, hello: Hello) {
    let refusal = *inner.refusal.lock().expect("no reader panicked");
    if let Some(refusal) = refusal {
        if send(stream, &Welcome::Refused(refusal), &[]) {
            inner.refused.fetch_add(1, Relaxed);
        }
        return;
    }
    let segment = Shared::<Segment>::anonymous("segment");
    let header = &segment.header;
    header.version.store(LOCAL_VERSION, Relaxed);
    header.pid.store(hello.pid, Relaxed);
    header.epoch.store(hello.epoch, Relaxed);
    header.bytes.store(SEGMENT_BYTES as u64, Relaxed);
    header.magic.store(SEGMENT_MAGIC, Release);
    let welcome = Welcome::Attached {
        segment_bytes: SEGMENT_BYTES as u64,
    };
    let files = [segment.file().as_fd(), inner.doorbell.file().as_fd()];
    if !send(stream, &welcome, &files) {
        inner.record.lock().expect("no reader panicked").in_vain += 1;
    } else if hello.pid != std::process::id() {
        inner.attached.fetch_add(1, Relaxed);
        let session = Session::new(segment, hello.pid);
        inner
            .sessions
            .lock()
            .expect("no reader panicked")
            .push(session);
    }
}

/// `false` when nobody waits for it any more: a shim that gives up closes its side first.
fn send(stream: &UnixStream, welcome: &Welcome, files: &[BorrowedFd<'_>]) -> bool {
    let mut bytes = [0; WELCOME_BYTES_MAX + 1];
    let used = encode(welcome, &mut bytes[1..]).expect("fits");
    bytes[0] = u8::try_from(used).expect("short");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(files)));
    }
    let text = [IoSlice::new(&bytes[..=used])];
    rustix::net::sendmsg(stream, &text, &mut control, SendFlags::NOSIGNAL).is_ok()
}

/// Returns when everybody who has knocked so far was answered: knocks, and waits for the answer.
pub(super) fn wait_for_all_before(run_directory: &Path) {
    // Without a door there is nobody to wait for.
    let Ok(mut stream) = UnixStream::connect(run_directory.join(SOCKET_FILE_NAME)) else {
        return;
    };
    let hello = Hello {
        version: LOCAL_VERSION,
        epoch: 0,
        pid: std::process::id(),
    };
    let mut bytes = [0; HELLO_BYTES_MAX + 1];
    let used = encode(&hello, &mut bytes[1..]).expect("fits");
    bytes[0] = u8::try_from(used).expect("short");
    stream.write_all(&bytes[..=used]).expect("knock");
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).expect("an answer");
}
