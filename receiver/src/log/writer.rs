//! The one thread that writes the log.
//!
//! It appends whatever has been queued, syncs once, and only then tells of every batch whose cut was
//! among it (group commit). A full disk stalls it: it says so, keeps the frames, and tries again. A
//! failed sync ends it for good: what the disk holds is unknown, so nothing more is acknowledged.
//!
//! Without a thread ([`LogWriter::without_thread`]) the same is done in turns by whoever asks for one.

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
    hands: Hands,
}

#[derive(Debug)]
enum Hands {
    Thread(Option<JoinHandle<()>>),
    Callers(Box<Mutex<Worker>>),
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
        let (shared, worker) = Worker::new(appender, Box::new(events));
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || worker.run())?;
        let hands = Hands::Thread(Some(thread));
        Ok(Self { shared, hands })
    }

    /// One that writes in [`turn`](Self::turn)s only. Dropped, it forgets what was queued, as if killed.
    pub fn without_thread(appender: Appender, events: impl Fn(LogEvent) + Send + 'static) -> Self {
        let (shared, worker) = Worker::new(appender, Box::new(events));
        let hands = Hands::Callers(Box::new(Mutex::new(worker)));
        Self { shared, hands }
    }

    /// Without a thread: writes all that is queued, makes it durable and tells.
    pub fn turn(&self) {
        if let Hands::Callers(worker) = &self.hands {
            let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(Halt::Failed(error)) = worker.turn() {
                worker.fail(&error);
            }
        }
    }

    /// Without a thread: what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        if let Hands::Callers(worker) = &self.hands {
            worker.lock().unwrap_or_else(PoisonError::into_inner).faults = faults;
        }
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
        if let Hands::Callers(_) = self.hands {
            self.turn();
            return answer.try_recv().map_err(|_| self.latched());
        }
        answer.recv().map_err(|_| self.latched())
    }

    fn push(&self, entry: Entry) -> Result<(), StoreError> {
        let mut queue = self.shared.lock();
        let waits = matches!(self.hands, Hands::Thread(_));
        while waits && queue.bytes >= QUEUE_BYTES_MAX && queue.failed.is_none() && !queue.closing {
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
        if let Hands::Thread(thread) = &mut self.hands
            && let Some(thread) = thread.take()
        {
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

/// What a simulation has go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The disk is full.
    pub full: bool,
    /// After so many more times that the apply path writes, it is killed: nothing of it is written any more.
    pub dies_after: Option<u32>,
}

type Events = Box<dyn Fn(LogEvent) + Send>;

struct Worker {
    shared: Arc<Shared>,
    appender: Appender,
    events: Events,
    stalled: bool,
    faults: Faults,
    /// Taken from the queue, not appended yet.
    entries: VecDeque<Entry>,
    /// Where the frames of the first entry are, as far as they are appended.
    positions: Vec<FramePosition>,
    /// Appended, not durable: the last cut, and who waits.
    stored: Option<SequenceNumber>,
    replies: Vec<(Vec<FramePosition>, FrameReply)>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("appender", &self.appender)
            .finish_non_exhaustive()
    }
}

/// The writer can't go on.
enum Halt {
    /// For now: the disk is full.
    Full,
    /// For good: a sync failed.
    Failed(io::Error),
}

impl Worker {
    fn new(appender: Appender, events: Events) -> (Arc<Shared>, Self) {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            space: Condvar::new(),
        });
        let worker = Self {
            shared: Arc::clone(&shared),
            appender,
            events,
            stalled: false,
            faults: Faults::default(),
            entries: VecDeque::new(),
            positions: Vec::new(),
            stored: None,
            replies: Vec::new(),
        };
        (shared, worker)
    }

    fn run(mut self) {
        while self.wait() {
            match self.turn() {
                Ok(()) => {}
                Err(Halt::Full) if self.pause() => {}
                Err(Halt::Full) => return self.give_up(),
                Err(Halt::Failed(error)) => return self.fail(&error),
            }
        }
    }

    /// Waits for something to write. False: closed and nothing left.
    fn wait(&self) -> bool {
        let mut queue = self.shared.lock();
        while queue.entries.is_empty() && self.entries.is_empty() {
            if queue.closing {
                return false;
            }
            queue = self
                .shared
                .work
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Appends all that is queued, syncs once if anything in it asks for it, then tells. What a full disk
    /// leaves is for the next turn.
    fn turn(&mut self) -> Result<(), Halt> {
        let queued = std::mem::take(&mut self.shared.lock().entries);
        self.entries.extend(queued);
        while let Some(bytes) = self.entries.front().map(Entry::bytes) {
            match self.append_first() {
                Ok(()) => self.resume(),
                Err(AppendError::Write(error)) => return Err(self.stall(&error)),
                Err(AppendError::Sync(error)) => return Err(Halt::Failed(error)),
            }
            self.shared.lock().bytes -= bytes;
            self.shared.space.notify_all();
        }
        if self.stored.is_some() || !self.replies.is_empty() {
            self.appender.sync().map_err(ended)?;
        }
        self.tell();
        Ok(())
    }

    fn tell(&mut self) {
        for (positions, reply) in self.replies.drain(..) {
            // The apply path may have given up waiting; the frames are in the log all the same.
            let _ = reply.send(positions);
        }
        if let Some(sequence) = self.stored.take() {
            (self.events)(LogEvent::Stored(sequence));
        }
    }

    /// Appends the first entry, as far as it is not.
    fn append_first(&mut self) -> Result<(), AppendError> {
        if self.faults.full {
            return Err(AppendError::Write(io::ErrorKind::StorageFull.into()));
        }
        match self.entries.front() {
            None => return Ok(()),
            Some(Entry::Part(frame)) => drop(self.appender.append(frame)?),
            Some(Entry::Cut(cut)) => {
                let frame = cut_frame(cut, self.appender.durable())?;
                self.appender.append(&frame)?;
                self.stored = Some(cut.sequence);
            }
            Some(Entry::Own(frames, _)) => {
                if let Some(left) = &mut self.faults.dies_after {
                    let Some(fewer) = left.checked_sub(1) else {
                        return Err(AppendError::Sync(io::ErrorKind::Interrupted.into()));
                    };
                    *left = fewer;
                }
                for frame in &frames[self.positions.len()..] {
                    self.positions.push(self.appender.append(frame)?);
                }
            }
        }
        if let Some(Entry::Own(_, reply)) = self.entries.pop_front() {
            self.replies
                .push((std::mem::take(&mut self.positions), reply));
        }
        Ok(())
    }

    /// Tells that nothing can be written for now.
    fn stall(&mut self, error: &io::Error) -> Halt {
        if !self.stalled {
            self.stalled = true;
            (self.events)(LogEvent::Stalled(format!("can't write the log: {error}")));
        }
        Halt::Full
    }

    /// Waits before a full disk is tried again. False: it is not to be.
    fn pause(&self) -> bool {
        let queue = self.shared.lock();
        let wait = self
            .shared
            .work
            .wait_timeout_while(queue, RETRY, |queue| !queue.over());
        let (queue, _) = wait.unwrap_or_else(PoisonError::into_inner);
        !queue.over()
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
    fn fail(&mut self, error: &io::Error) {
        self.entries.clear();
        self.replies.clear();
        self.stored = None;
        let reason = format!("can't sync the log: {error}");
        let mut queue = self.shared.lock();
        queue.failed = Some(reason.clone());
        queue.entries.clear();
        drop(queue);
        self.shared.space.notify_all();
        (self.events)(LogEvent::Failed(reason));
    }
}

fn cut_frame(cut: &Cut, durable: FramePosition) -> Result<NewFrame, AppendError> {
    let stored = StoredCut {
        cut: cut.clone(),
        stored: now(),
        durable,
    };
    let encoded =
        codec::encode(&stored).map_err(|error| AppendError::Sync(io::Error::other(error)))?;
    Ok(NewFrame::bare(FrameKind::Cut, cut.sequence.0, encoded))
}

fn ended(error: AppendError) -> Halt {
    match error {
        AppendError::Sync(error) | AppendError::Write(error) => Halt::Failed(error),
    }
}

/// The wall clock.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    Timestamp::from_parts(since.as_secs() as i64, since.subsec_nanos())
}
