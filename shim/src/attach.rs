//! Attaching: at the first event that matters, one exchange with the coordinator gives this process
//! a segment. Both descriptors are closed as soon as they are mapped.
//!
//! A `vfork` child attaches in its parent's name, whose memory it runs in. Threads that come while
//! another attaches wait a moment; whoever finds no segment in the end remembers what it did
//! ([`crate::hull`]), and the next attachment passes that on.

use core::ffi::c_int;
use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};

use bincode::Encode;
use everwrite_protocol::local::segment::{
    DOORBELL_BYTES, Doorbell, SEGMENT_BYTES, SEGMENT_MAGIC, Segment,
};
use everwrite_protocol::local::{
    HELLO_BYTES_MAX, Hello, LOCAL_VERSION, PolicyPage, Refusal, SOCKET_FILE_NAME,
    WELCOME_BYTES_MAX, Welcome,
};

use crate::kernel::{self, MADV_DONTFORK, MAP_SHARED, PROT_READ, PROT_WRITE};
use crate::process::{self, Attachment, State};
use crate::{environment, hull, mapping, message, policy, range, socket, stdio};

/// First pause after a failure; doubled with each, up to [`RETRY_MS_MAX`].
const RETRY_MS: u64 = 100;
const RETRY_MS_MAX: u64 = 10_000;
/// Longest wait for another thread that attaches: a little longer than it may take.
const OTHER_NS_MAX: u64 = 150_000_000;
/// Contradictions after which the shim turns itself off.
const FAULTS_MAX: u32 = 3;

/// The way to the coordinator: an attachment in force.
#[derive(Clone, Copy)]
pub(crate) struct Lane(&'static Attachment);

impl Lane {
    #[inline(always)]
    pub(crate) fn segment(self) -> &'static Segment {
        // SAFETY: a mapping of this size that is never taken away; set before the attachment was
        // published.
        unsafe { &*self.0.segment.load(Relaxed) }
    }

    #[inline(always)]
    pub(crate) fn doorbell(self) -> &'static Doorbell {
        // SAFETY: as above.
        unsafe { &*self.0.doorbell.load(Relaxed) }
    }

    /// Whether another coordinator has begun since.
    #[inline(always)]
    pub(crate) fn is_outlived(self) -> bool {
        self.0.epoch.load(Relaxed) != policy::epoch()
    }

    /// Tells attachments apart.
    #[inline(always)]
    pub(crate) fn stamp(self) -> u64 {
        self.0.stamp.load(Relaxed)
    }
}

/// Why there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Absence {
    /// Nobody listens, and whoever comes will look for himself: nothing needs to be remembered.
    Unheard,
    /// Not now: what happens meanwhile must be remembered.
    Later,
}

/// The lane of this process, made when first needed.
#[inline(never)]
pub(crate) fn lane(page: &PolicyPage) -> Result<Lane, Absence> {
    lane_at_once(page)
}

/// The same for the path of every write.
#[inline(always)]
pub(crate) fn lane_at_once(page: &PolicyPage) -> Result<Lane, Absence> {
    known_lane(page).map_or_else(|| attach(page), Ok)
}

/// The lane of this process, if it has one.
#[inline(always)]
pub(crate) fn known_lane(page: &PolicyPage) -> Option<Lane> {
    match process::known_state().and_then(in_force) {
        Some((lane, epoch)) if epoch == page.epoch.load(Relaxed) => Some(lane),
        _ => None,
    }
}

#[inline(always)]
fn in_force(state: &State) -> Option<(Lane, u64)> {
    // SAFETY: null, or a place in the state page that was filled before it was published.
    let attachment = unsafe { state.current.load(Acquire).as_ref() }?;
    Some((Lane(attachment), attachment.epoch.load(Relaxed)))
}

#[cold]
#[inline(never)]
fn attach(page: &PolicyPage) -> Result<Lane, Absence> {
    if !policy::coordinator_lives(page) || !process::may_make_calls() {
        return Err(Absence::Unheard);
    }
    let state = process::state().ok_or(Absence::Unheard)?;
    let epoch = page.epoch.load(Acquire);
    if state.failed_epoch.load(Relaxed) == epoch {
        match state.retry_at_ms.load(Relaxed) {
            u64::MAX => return Err(Absence::Unheard),
            at if policy::clock_ms() < at => return Err(Absence::Later),
            _ => {}
        }
    }
    let Some(_turn) = Turn::take(&state.attaching) else {
        return other_attaches(state, epoch);
    };
    // Another may have been here before us.
    match in_force(state) {
        Some((lane, of)) if of == epoch => Ok(lane),
        _ => exchange(state, epoch),
    }
}

/// Attaches, and so passes on what was remembered, without regard to earlier failures.
pub(crate) fn last_attempt(page: &PolicyPage) {
    if let Some(state) = process::known_state()
        && state.retry_at_ms.load(Relaxed) != u64::MAX
    {
        state.retry_at_ms.store(0, Relaxed);
    }
    // Without a coordinator there is nobody to tell.
    let _ = lane(page);
}

/// Something was remembered for want of a segment. Another thread may have got one meanwhile, and
/// have passed on what there was before this: then it is passed on here.
#[cold]
#[inline(never)]
pub(crate) fn pass_on() {
    // Whoever attaches publishes first and looks at what is remembered then; here it is the other way
    // round, so that one of the two sees the other.
    fence(SeqCst);
    if let Some((lane, epoch)) = process::known_state().and_then(in_force)
        && epoch == policy::epoch()
    {
        hull::pass_on(lane.segment());
        range::wake(lane);
    }
}

/// The right to attach, of one thread at a time.
struct Turn<'a>(&'a AtomicU32);

impl<'a> Turn<'a> {
    fn take(attaching: &'a AtomicU32) -> Option<Self> {
        let thread = kernel::thread_id();
        attaching
            .compare_exchange(0, thread, AcqRel, Acquire)
            .is_ok()
            .then(|| Self(attaching))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(0, Release);
        kernel::futex_wake_all(self.0);
    }
}

/// Waits for the thread that attaches, unless it is this one, below a signal handler. What is done
/// without having waited is lost if the process is killed before anybody has heard of it.
fn other_attaches(state: &State, epoch: u64) -> Result<Lane, Absence> {
    let other = state.attaching.load(Relaxed);
    if other != 0 && other != kernel::thread_id() {
        kernel::futex_wait(&state.attaching, other, OTHER_NS_MAX);
    }
    let lane = in_force(state).filter(|(_, of)| *of == epoch);
    lane.map(|(lane, _)| lane).ok_or(Absence::Later)
}

fn exchange(state: &State, epoch: u64) -> Result<Lane, Absence> {
    if policy::switch_file_exists() {
        policy::turn_off();
        return Err(Absence::Unheard);
    }
    match ask(state.owner(), epoch) {
        Ok((segment, doorbell)) => {
            state.publish(segment, doorbell, epoch);
            fence(SeqCst);
            state.failures.store(0, Relaxed);
            let (lane, _) = in_force(state).ok_or(Absence::Later)?;
            begin(lane);
            Ok(lane)
        }
        Err(failure) => Err(put_off(state, epoch, failure)),
    }
}

/// Not 0: the program has set up an `io_uring`, and what goes through that is not seen.
static RING: AtomicU32 = AtomicU32::new(0);

pub(crate) fn ring_comes() {
    RING.store(1, Relaxed);
    if let Some((lane, _)) = process::known_state().and_then(in_force) {
        lane.segment().header.ring_unseen.store(1, Relaxed);
    }
}

/// The first words in a new segment: what was remembered, what is mapped, and what can't be seen.
fn begin(lane: Lane) {
    let header = &lane.segment().header;
    header.ring_unseen.store(RING.load(Relaxed), Relaxed);
    header
        .stdio_unseen
        .store(u32::from(!stdio::is_seen()), Relaxed);
    hull::pass_on(lane.segment());
    mapping::tell_all();
}

fn put_off(state: &State, epoch: u64, failure: Failure) -> Absence {
    let (again, absence) = match failure {
        Failure::Exchange => {
            let failures = state.failures.fetch_add(1, Relaxed).min(16);
            let pause = RETRY_MS.wrapping_shl(failures).min(RETRY_MS_MAX);
            (policy::clock_ms().saturating_add(pause), Absence::Later)
        }
        Failure::Refused => (u64::MAX, Absence::Unheard),
    };
    state.retry_at_ms.store(again, Relaxed);
    state.failed_epoch.store(epoch, Relaxed);
    absence
}

/// Why the exchange gave no segment.
#[derive(Clone, Copy)]
enum Failure {
    /// The coordinator's own word.
    Refused,
    /// It did not come about, in time or at all, or was about an epoch that is over.
    Exchange,
}

/// One exchange: length byte and [`Hello`] up, length byte and [`Welcome`] back.
#[inline(never)]
fn ask(owner: u32, epoch: u64) -> Result<(*mut Segment, *mut Doorbell), Failure> {
    let message = Hello {
        version: LOCAL_VERSION,
        epoch,
        pid: owner,
    };
    let hello = Encoded::<HELLO_WORDS>::of(&message);
    let (mut up, body) = ([0u8; HELLO_WORDS * 8 + 1], hello.bytes());
    let (length, place) = up.split_first_mut().ok_or(Failure::Exchange)?;
    *length = body.len() as u8;
    environment::copy(body, place);
    let up = up.get(..=body.len()).ok_or(Failure::Exchange)?;

    let path = environment::in_run_directory(SOCKET_FILE_NAME).ok_or(Failure::Exchange)?;
    let mut answer = [0u8; WELCOME_BYTES_MAX + 1];
    let reply = socket::exchange(path.as_bytes(), up, &mut answer).ok_or(Failure::Exchange)?;
    let bytes = answer.get(..reply.bytes).ok_or(Failure::Exchange)?;
    let (length, body) = bytes.split_first().ok_or(Failure::Exchange)?;
    let body = body.get(..usize::from(*length)).ok_or(Failure::Exchange)?;
    check(body)?;
    let [segment, doorbell] = &reply.descriptors;
    let segment = segment.as_ref().ok_or(Failure::Exchange)?;
    let doorbell = doorbell.as_ref().ok_or(Failure::Exchange)?;
    map_both(segment.0, doorbell.0).ok_or(Failure::Exchange)
}

/// Whether the answer is the one that is hoped for. There are few, so they are not decoded: one of them
/// is looked for in what was said.
fn check(answer: &[u8]) -> Result<(), Failure> {
    let attached = Welcome::Attached {
        segment_bytes: SEGMENT_BYTES as u64,
    };
    if says(answer, &attached) {
        Ok(())
    } else if answer.is_empty() || says(answer, &Welcome::Refused(Refusal::Epoch)) {
        Err(Failure::Exchange)
    } else {
        // Another refusal, or another layout than ours.
        Err(Failure::Refused)
    }
}

#[inline(never)]
fn says(answer: &[u8], welcome: &Welcome) -> bool {
    Encoded::<WELCOME_WORDS>::of(welcome).bytes() == answer
}

const HELLO_WORDS: usize = HELLO_BYTES_MAX.div_ceil(8);
const WELCOME_WORDS: usize = WELCOME_BYTES_MAX.div_ceil(8);

/// A message of at most so many words.
struct Encoded<const WORDS: usize> {
    words: [AtomicU64; WORDS],
    used: u32,
}

impl<const WORDS: usize> Encoded<WORDS> {
    #[inline(always)]
    fn of(message: &impl Encode) -> Self {
        let words = [const { AtomicU64::new(0) }; WORDS];
        let used = message::write_into(&words, message);
        Self { words, used }
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        let used = (self.used as usize).min(WORDS.saturating_mul(8));
        // SAFETY: so many bytes of words that nobody else has; they are little endian, as the machine is.
        unsafe { core::slice::from_raw_parts(self.words.as_ptr().cast(), used) }
    }
}

const _: () = assert!(cfg!(target_endian = "little"));

#[inline(never)]
fn map_both(segment: c_int, doorbell: c_int) -> Option<(*mut Segment, *mut Doorbell)> {
    let address = map_shared(segment, SEGMENT_BYTES)?;
    let mapped = address as *mut Segment;
    // SAFETY: just mapped, whole, made of atomics.
    let right = unsafe { (*mapped).header.magic.load(Acquire) } == SEGMENT_MAGIC;
    let bell = if right {
        map_shared(doorbell, DOORBELL_BYTES)
    } else {
        None
    };
    if bell.is_none() {
        // SAFETY: mapped above; nobody else has seen the address.
        unsafe { kernel::unmap(address, SEGMENT_BYTES) };
    }
    bell.map(|bell| (mapped, bell as *mut Doorbell))
}

/// Maps shared memory of exactly `bytes`, which a `fork` child is not to have.
#[inline(never)]
fn map_shared(descriptor: c_int, bytes: usize) -> Option<usize> {
    let size = kernel::descriptor_status(descriptor).ok()?.size;
    if size != bytes as i64 {
        return None;
    }
    let address = kernel::map(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor).ok()?;
    if kernel::advise(address, bytes, MADV_DONTFORK).is_err() {
        // SAFETY: mapped above; nobody else has seen the address.
        unsafe { kernel::unmap(address, bytes) };
        return None;
    }
    Some(address)
}

/// Notes a contradiction that must never happen; too many of them, and the shim leaves the program
/// alone.
#[cold]
pub(crate) fn fault(lane: Lane) {
    if lane.segment().header.faults.fetch_add(1, Relaxed) >= FAULTS_MAX {
        policy::turn_off();
    }
}
