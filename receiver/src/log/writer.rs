//! The one thread that writes the log.
//!
//! It appends whatever has been queued, syncs once, and only then tells of every batch whose cut was
//! among it (group commit). A full disk stalls it: it says so, keeps the frames, and tries again. A
//! failed sync ends it for good: what the disk holds is unknown, so nothing more is acknowledged.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use everwrite_protocol::codec;
use everwrite_protocol::ids::{SequenceNumber, Timestamp};
use everwrite_protocol::wire::Cut;

use super::StoredCut;
use super::appender::{AppendError, Appender};
use super::frame::{FrameKind, FramePosition, NewFrame};
use crate::store::StoreError;

/// Most bytes that wait to be written; [`LogWriter::push_part`] blocks beyond.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// How long to wait before a full disk is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What the writer tells, from its thread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogEvent {
    /// Every batch up to this one is on the disk.
    Stored(SequenceNumber),
    /// Nothing can be written for now.
    Stalled(String),
    /// Written again.
    Resumed,
    /// A sync failed: the writer has ended.
    Failed(String),
}

/// The queue before the writer, and the writer.
#[derive(Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something was queued, or the end has come.
    work: Condvar,
    /// Something was written.
    space: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    closing: bool,
    /// The store is about to be closed: a full disk is not waited for any more.
    impatient: bool,
    failed: Option<String>,
}

impl Queue {
    fn over(&self) -> bool {
        self.closing || self.impatient
    }
}

type FrameReply = mpsc::SyncSender<Vec<FramePosition>>;

#[derive(Debug)]
enum Entry {
    Part(NewFrame),
    Cut(Cut),
    /// Frames of the apply path; the reply comes once they are durable.
    Own(Vec<NewFrame>, FrameReply),
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Part(frame) => frame.stored_bytes() as usize,
            Self::Cut(_) => 256,
            Self::Own(frames, _) => frames
                .iter()
                .map(|frame| frame.stored_bytes() as usize)
                .sum(),
        }
    }
}

impl LogWriter {
    /// Starts the thread at the end of the log. `events` is called from it and must not block.
    pub fn start(
        appender: Appender,
        events: impl Fn(LogEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            space: Condvar::new(),
        });
        let worker = Worker {
            shared: Arc::clone(&shared),
            appender,
            events,
            stalled: false,
        };
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || worker.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues a part. Blocks while too much is waiting.
    pub fn push_part(&self, frame: NewFrame) -> Result<(), StoreError> {
        self.push(Entry::Part(frame))
    }

    /// Queues the end of a batch.
    pub fn push_cut(&self, cut: Cut) -> Result<(), StoreError> {
        self.push(Entry::Cut(cut))
    }

    /// Writes frames of the apply path and waits until they are durable.
    pub fn write(&self, frames: Vec<NewFrame>) -> Result<Vec<FramePosition>, StoreError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.push(Entry::Own(frames, reply))?;
        answer.recv().map_err(|_| self.latched())
    }

    fn push(&self, entry: Entry) -> Result<(), StoreError> {
        let mut queue = self.shared.lock();
        while queue.bytes >= QUEUE_BYTES_MAX && queue.failed.is_none() && !queue.closing {
            queue = self
                .shared
                .space
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if queue.failed.is_some() || queue.closing {
            drop(queue);
            return Err(self.latched());
        }
        queue.bytes += entry.bytes();
        queue.entries.push_back(entry);
        drop(queue);
        self.shared.work.notify_one();
        Ok(())
    }

    fn latched(&self) -> StoreError {
        let reason = self.shared.lock().failed.clone();
        StoreError::Latched(reason.unwrap_or_else(|| "the store is being closed".to_owned()))
    }

    /// From now on a full disk ends the writer; what it could not write was never acknowledged.
    pub fn hurry(&self) {
        self.shared.lock().impatient = true;
        self.shared.work.notify_all();
    }

    /// Refuses further entries and wakes everyone who waits.
    pub fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_all();
        self.shared.space.notify_all();
    }
}

impl Drop for LogWriter {
    /// What was queued is still written, unless the disk is full.
    fn drop(&mut self) {
        self.hurry();
        self.close();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker<E> {
    shared: Arc<Shared>,
    appender: Appender,
    events: E,
    stalled: bool,
}

/// The writer has to end.
enum Ended {
    /// The store is closed, and the disk full.
    Closing,
    /// A sync failed.
    Failed(io::Error),
}

impl<E: Fn(LogEvent)> Worker<E> {
    fn run(mut self) {
        while let Some(entries) = self.take() {
            match self.commit(entries) {
                Ok(()) => {}
                Err(Ended::Closing) => return self.give_up(),
                Err(Ended::Failed(error)) => return self.fail(&error),
            }
        }
    }

    /// Everything that is queued; `None`: closed and nothing left.
    fn take(&self) -> Option<VecDeque<Entry>> {
        let mut queue = self.shared.lock();
        while queue.entries.is_empty() {
            if queue.closing {
                return None;
            }
            queue = self
                .shared
                .work
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut queue.entries))
    }

    /// Appends all, syncs once if anything in it asks for it, then tells.
    fn commit(&mut self, entries: VecDeque<Entry>) -> Result<(), Ended> {
        let mut stored = None;
        let mut replies = Vec::new();
        for entry in entries {
            let bytes = entry.bytes();
            match entry {
                Entry::Part(frame) => drop(self.append(&frame)?),
                Entry::Cut(cut) => stored = Some(self.append_cut(cut)?),
                Entry::Own(frames, reply) => replies.push((self.append_all(&frames)?, reply)),
            }
            self.shared.lock().bytes -= bytes;
            self.shared.space.notify_all();
        }
        if stored.is_some() || !replies.is_empty() {
            self.appender.sync().map_err(ended)?;
        }
        for (positions, reply) in replies {
            // The apply path may have given up waiting; the frames are in the log all the same.
            let _ = reply.send(positions);
        }
        if let Some(sequence) = stored {
            (self.events)(LogEvent::Stored(sequence));
        }
        Ok(())
    }

    fn append_cut(&mut self, cut: Cut) -> Result<SequenceNumber, Ended> {
        let sequence = cut.sequence;
        let durable = self.appender.durable();
        let stored = StoredCut {
            cut,
            stored: now(),
            durable,
        };
        let encoded = codec::encode(&stored).map_err(|e| Ended::Failed(io::Error::other(e)))?;
        self.append(&NewFrame::bare(FrameKind::Cut, sequence.0, encoded))?;
        Ok(sequence)
    }

    fn append_all(&mut self, frames: &[NewFrame]) -> Result<Vec<FramePosition>, Ended> {
        frames.iter().map(|frame| self.append(frame)).collect()
    }

    /// Appends a frame, however long the disk is full.
    fn append(&mut self, frame: &NewFrame) -> Result<FramePosition, Ended> {
        loop {
            match self.appender.append(frame) {
                Ok(position) => {
                    self.resume();
                    return Ok(position);
                }
                Err(AppendError::Write(error)) => self.stall(&error)?,
                Err(error) => return Err(ended(error)),
            }
        }
    }

    fn stall(&mut self, error: &io::Error) -> Result<(), Ended> {
        if !self.stalled {
            self.stalled = true;
            (self.events)(LogEvent::Stalled(format!("can't write the log: {error}")));
        }
        let queue = self.shared.lock();
        let wait = self
            .shared
            .work
            .wait_timeout_while(queue, RETRY, |queue| !queue.over());
        let (queue, _) = wait.unwrap_or_else(PoisonError::into_inner);
        if queue.over() {
            Err(Ended::Closing)
        } else {
            Ok(())
        }
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.stalled) {
            (self.events)(LogEvent::Resumed);
        }
    }

    fn give_up(&self) {
        let mut queue = self.shared.lock();
        queue.closing = true;
        queue.entries.clear();
        drop(queue);
        self.shared.space.notify_all();
    }

    /// Nothing is acknowledged any more; whoever waits is told.
    fn fail(&self, error: &io::Error) {
        let reason = format!("can't sync the log: {error}");
        let mut queue = self.shared.lock();
        queue.failed = Some(reason.clone());
        queue.entries.clear();
        drop(queue);
        self.shared.space.notify_all();
        (self.events)(LogEvent::Failed(reason));
    }
}

fn ended(error: AppendError) -> Ended {
    match error {
        AppendError::Sync(error) | AppendError::Write(error) => Ended::Failed(error),
    }
}

/// The wall clock.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    Timestamp::from_parts(since.as_secs() as i64, since.subsec_nanos())
}
