//! What calls mean. Many functions mean few things: each row of the table says which, and in which
//! argument each part of it is found ([`Call`]). [`before`] announces what the call may change,
//! [`after`] says that it has returned.

use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};

use crate::place::At;
use crate::range::{self, Change, File};
use crate::{
    accounts, aio, attach, content, decode, descriptor, mapping, message, names, policy, process,
    run, spawn, submit,
};

/// Length of a write that is not known before the call, or "to the end of the file".
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// An argument, by its place.
pub(crate) type Argument = u8;

/// A path, by the places of the path and of the directory it is relative to.
#[derive(Clone, Copy)]
pub(crate) struct Path {
    pub(crate) directory: Argument,
    pub(crate) path: Argument,
}

/// In the place of an argument that the function does not have: the working directory, no flags, an
/// unknown length. The word in this place is always 0.
pub(crate) const NONE: Argument = 7;

/// A path relative to the working directory.
pub(crate) const fn here(path: Argument) -> Path {
    Path {
        directory: NONE,
        path,
    }
}

/// A path behind the descriptor of a directory.
pub(crate) const fn at(directory: Argument, path: Argument) -> Path {
    Path { directory, path }
}

/// What is to be known of a path call's flags.
#[derive(Clone, Copy)]
pub(crate) enum Links {
    /// Links are followed.
    Follow,
    /// Links are not followed.
    Stop,
    /// This argument says, by `AT_` flags.
    Argument(Argument),
}

/// What a call of some function may change, in terms of its arguments.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// Writes at the file offset, or at the end of a file opened for appending.
    Write { to: Argument, length: Argument },
    /// Writes to standard error.
    WriteError,
    /// Writes at a given offset.
    WriteAt {
        to: Argument,
        offset: Argument,
        length: Argument,
    },
    /// Writes at a given offset, or (-1) at the file offset, or (`RWF_APPEND`) at the end.
    WriteAtFlags {
        to: Argument,
        offset: Argument,
        flags: Argument,
    },
    /// Writes at `*offset`, or at the file offset when that is null, and says how much in its result.
    WriteAtPointer { to: Argument, offset: Argument },
    /// Sets the size of an open file.
    Truncate { file: Argument, size: Argument },
    /// Sets the size of a file.
    TruncatePath { path: Argument, size: Argument },
    /// Adds to a file of accounts.
    AppendPath { path: Argument },
    /// Adds to the file of logins.
    LogLogin,
    /// Changes the file of users who are logged in.
    LogUser,
    /// Changes both.
    Login,
    /// Says which file holds the users who are logged in.
    NameUsers,
    /// Makes the file by which changes of passwords are kept apart.
    LockPasswords,
    /// Writes the file that holds the host's number.
    NumberHost,
    /// Writes the profile of the program.
    WriteProfile,
    /// Allocates, punches or zeroes a range.
    Allocate {
        file: Argument,
        mode: Argument,
        offset: Argument,
        length: Argument,
    },
    /// `ioctl`.
    Control,
    /// Changes the attributes of an open file.
    Attributes(Argument),
    /// Changes the attributes of a file.
    AttributesAt(Path, Links),
    /// Begins an asynchronous write.
    WriteLater,
    /// Begins many, `lio_listio`.
    WriteManyLater,
    /// Asks for durability at some time.
    SyncLater,
    /// Hands the kernel asynchronous calls, `io_submit`.
    Submit,
    /// Asks the kernel which of them have ended; their events are in this argument.
    Reap { events: Argument },
    /// Asks for the result of an asynchronous call.
    WriteResult,
    /// Asks whether an asynchronous call goes on.
    WriteState,
    /// Asks for durability.
    Sync,
    /// Asks for it of everything.
    SyncAll,
    /// Makes, or may make, a name.
    Create(Path),
    /// Gives a file another name.
    Link { old: Path, new: Path },
    /// Makes a name that the program learns from the call, and opens it.
    CreateTemporary,
    /// The same, of a directory.
    CreateTemporaryDirectory,
    /// Removes a name.
    Remove(Path),
    /// Moves a name, or (flags) exchanges two.
    Rename {
        old: Path,
        new: Path,
        flags: Argument,
    },
    /// Opens by path; the result is a descriptor.
    Open { path: Path, flags: Argument },
    /// Opens by path, to write, what is made or cut short.
    OpenNew(Path),
    /// `posix_spawn_file_actions_addopen`.
    OpenInChild,
    /// The child will have another working directory.
    MoveChild,
    /// Starts a program with a list of such actions.
    Spawn,
    /// The list of actions is destroyed.
    ForgetChild,
    /// Makes the name of a socket.
    Bind,
    /// Opens by path in a mode of `fopen`; the result is a stream. `closes` is the stream that
    /// `freopen` closes for it.
    OpenStream { closes: Argument },
    /// The result is a stream of which the shim knows nothing.
    NewStream,
    /// Closes a stream.
    CloseStream,
    /// Closes the stream of a directory.
    CloseDirectory,
    /// Closes a descriptor.
    Close,
    /// Closes many descriptors.
    CloseRange { last: Argument, flags: Argument },
    /// Makes a descriptor stand for something else, or for the same with other flags.
    Replace(Argument),
    /// Makes a terminal the standard streams.
    ReplaceStandard,
    /// The result is a descriptor of which the shim knows nothing; it may share the offset of this.
    NewDescriptor { from: Argument },
    /// `fcntl`.
    DescriptorControl,
    /// Moves the file offset.
    Seek,
    /// Maps a file.
    Map,
    /// Unmaps a range of memory.
    Unmap,
    /// Flushes a range of memory.
    FlushMap,
    /// Moves or resizes a range of memory.
    MoveMap,
    /// Changes the protection of a range of memory.
    Protect,
    /// `prctl`.
    ProcessControl,
    /// The program is about to filter its own system calls.
    Filter,
    /// `unshare`.
    Unshare,
    /// The program is about to see other directories: the coordinator's may not be among them.
    LeaveRoot,
    /// `io_uring_setup`, or what makes such a ring.
    Ring,
    /// `syscall`.
    ByNumber,
}

impl Call {
    /// Whether libc or libaio has versions of the function that behave differently.
    #[inline(always)]
    pub(crate) fn has_versions(self) -> bool {
        matches!(self, Self::Spawn | Self::WriteManyLater | Self::Reap { .. })
    }

    /// What the old version of the function means: that of `io_getevents` lacks an argument.
    pub(crate) fn of_old_version(self) -> Self {
        match self {
            Self::Reap { .. } => Self::Reap { events: 2 },
            call => call,
        }
    }
}

/// The words that a call was made with: six in registers, the seventh for those that have it, and 0.
pub(crate) type Words = [usize; 8];

/// Reads arguments of a call.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a>(pub(crate) &'a Words);

impl Arguments<'_> {
    fn word(self, argument: Argument) -> usize {
        let Self(words) = self;
        words
            .get(usize::from(argument & NONE))
            .copied()
            .unwrap_or(0)
    }

    fn int(self, argument: Argument) -> c_int {
        self.word(argument) as c_int
    }

    fn offset(self, argument: Argument) -> i64 {
        self.word(argument) as i64
    }

    fn length(self, argument: Argument) -> u64 {
        if argument == NONE {
            UNKNOWN
        } else {
            self.word(argument) as u64
        }
    }

    fn text(self, argument: Argument) -> *const c_char {
        self.word(argument) as *const c_char
    }

    fn memory(self, argument: Argument) -> *const c_void {
        self.word(argument) as *const c_void
    }

    fn at(self, path: Path) -> At {
        let text = self.text(path.path);
        if path.directory == NONE {
            At::here(text)
        } else {
            At::new(self.int(path.directory), text)
        }
    }
}

/// What is to be done when a call has returned.
pub(crate) struct Pending {
    pub(crate) change: Announced,
    pub(crate) message: Option<message::Ticket>,
    pub(crate) then: Then,
    /// What a write goes to that is to be durable when it returns; [`NOWHERE`]: there is none.
    pub(crate) through: c_int,
}

impl Pending {
    /// Is nothing to be done? (Where nothing is announced, nothing has to be durable.)
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.then, Then::Nothing)
            && matches!(self.change, Announced::Nothing)
            && self.message.is_none()
    }
}

/// In the place of a descriptor.
pub(crate) const NOWHERE: c_int = -1;

/// A change of a file that was announced.
pub(crate) enum Announced {
    Nothing,
    /// One that is as it was announced.
    Range(range::Ticket),
    /// A write whose result is its length.
    Write(range::Ticket),
    /// The same at the file offset.
    Run(run::Ticket),
}

/// What a result tells.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    Nothing,
    /// It is a new descriptor; `inside`: opened by a name that is not outside.
    Descriptor {
        inside: bool,
    },
    /// It is a new stream.
    Stream {
        inside: bool,
    },
    /// This descriptor stands for something else now.
    Forget(c_int),
    /// So many bytes were written, up to this offset.
    WrittenTo(*const i64),
    /// The arguments that are known to be sound now say what was written.
    Cloned(*const c_void),
    /// The template holds the name that was made.
    Template {
        template: *const c_char,
        directory: everwrite_protocol::local::Inode,
        opens: bool,
    },
    /// Negative: this asynchronous call has not begun.
    Begun(*const c_void),
    /// These asynchronous calls have ended, if the program was to wait for them.
    Listed(aio::List),
    /// So many of these have begun.
    Submitted(submit::Batch),
    /// So many have ended, as these events say.
    Reaped(*const c_void),
    /// The child has done what the list says.
    Spawned(usize),
    /// The program is among the users who are logged in.
    LoggedIn,
    /// Negative: the filter that was asked for is not there.
    Filtered,
    /// It is an error number: of this asynchronous call, which has ended unless it is in progress.
    Asked(*const c_void),
    /// It is the address of this mapping.
    Mapped(mapping::Mapped),
    /// These mappings have gone.
    Unmapped(mapping::Unmapped),
    /// What was written before to what this descriptor means is durable here; maybe it has to be so at the
    /// receiver, too.
    Synced(c_int),
    /// What was stored into a mapping of this file is durable here.
    Flushed(File),
    /// All that was written is.
    SyncedAll,
    /// The call was thought to fail. If it did not, something changed that was not announced.
    Unexpected {
        opens: bool,
    },
}

/// Announces what a call may change.
#[inline(never)]
pub(crate) fn before(call: Call, words: Arguments<'_>, pending: &mut Pending) {
    match call {
        Call::Write { to, length } => {
            content::write(words.int(to), words.length(length), pending);
        }
        Call::WriteError => content::write(STDERR, UNKNOWN, pending),
        Call::WriteAt { to, offset, length } => {
            let (offset, length) = (words.offset(offset), words.length(length));
            content::write_at(words.int(to), offset, length, pending);
        }
        Call::WriteAtFlags { to, offset, flags } => {
            let (offset, flags) = (words.offset(offset), words.int(flags));
            content::write_at_flags(words.int(to), offset, flags, pending);
        }
        Call::WriteAtPointer { to, offset } => {
            content::write_at_pointer(words.int(to), words.memory(offset).cast(), pending);
        }
        Call::Truncate { file, size } => {
            content::change(
                words.int(file),
                Change::truncate(words.offset(size)),
                pending,
            );
        }
        Call::TruncatePath { path, size } => {
            let change = Change::truncate(words.offset(size));
            content::change_at(
                At::here(words.text(path)),
                Links::Follow.flags(words),
                change,
                pending,
            );
        }
        Call::AppendPath { path } => {
            content::change_at(At::here(words.text(path)), 0, Change::WHOLE, pending);
        }
        Call::LogLogin => accounts::log(pending),
        Call::LogUser => accounts::change_users(pending),
        Call::Login => accounts::log_in(pending),
        Call::NameUsers => accounts::name_users(At::here(words.text(0))),
        Call::Allocate {
            file,
            mode,
            offset,
            length,
        } => {
            let (offset, length) = (words.offset(offset), words.offset(length));
            content::allocate(words.int(file), words.int(mode), offset, length, pending);
        }
        Call::Control => {
            let request = words.word(1) as c_ulong;
            content::control(words.int(0), request, words.memory(2), pending);
        }
        Call::Attributes(file) => {
            content::change(words.int(file), Change::ATTRIBUTES, pending);
        }
        Call::AttributesAt(path, links) => {
            content::attributes_at(words.at(path), links.flags(words), pending);
        }
        Call::WriteLater => {
            pending.then = Then::Begun(words.memory(0));
            // SAFETY: the argument of `aio_write`, which asks for the same.
            unsafe { aio::begin(words.memory(0)) };
        }
        // SAFETY: the arguments of `lio_listio`, which asks for the same.
        Call::WriteManyLater => unsafe {
            aio::begin_many(words.int(0), words.memory(1).cast(), words.int(2), pending);
        },
        // SAFETY: the argument of `aio_fsync`, which asks for the same.
        Call::SyncLater => unsafe { aio::sync(words.memory(1), pending) },
        Call::Submit => submit::begin(words.word(2), words.word(1), pending),
        Call::Reap { events } => pending.then = Then::Reaped(words.memory(events)),
        // SAFETY: the argument of `aio_return`, which asks for the same.
        Call::WriteResult => unsafe { aio::end(words.memory(0)) },
        Call::WriteState => pending.then = Then::Asked(words.memory(0)),
        Call::Sync => {
            content::sync(words.int(0), pending);
            pending.then = Then::Synced(words.int(0));
        }
        Call::SyncAll => pending.then = Then::SyncedAll,
        Call::Map => mapping::map(
            words.int(4),
            words.int(2),
            words.int(3),
            words.offset(5),
            words.word(1),
            pending,
        ),
        Call::Unmap => mapping::unmap(words.word(0), words.word(1), pending),
        Call::FlushMap => mapping::flush(words.word(0), words.word(1), words.int(2), pending),
        Call::MoveMap => mapping::relocate(words.word(0), words.word(1)),
        Call::Protect => mapping::protect(words.word(0), words.word(1), words.int(2)),
        _ => before_name(call, words, pending),
    }
}

/// The calls that concern names and descriptors.
fn before_name(call: Call, words: Arguments<'_>, pending: &mut Pending) {
    match call {
        Call::Create(path) => names::create(words.at(path), pending),
        Call::Link { old, new } => names::link(words.at(old), words.at(new), pending),
        Call::CreateTemporary => names::create_temporary(words.text(0), true, pending),
        Call::CreateTemporaryDirectory => {
            names::create_temporary(words.text(0), false, pending);
        }
        Call::Remove(path) => names::remove(words.at(path), pending),
        Call::Rename { old, new, flags } => {
            let flags = words.word(flags) as c_uint;
            names::rename(words.at(old), words.at(new), flags, pending);
        }
        Call::Open { path, flags } => names::open(words.at(path), words.int(flags), pending),
        Call::OpenNew(path) => names::open(words.at(path), names::NEW, pending),
        Call::OpenInChild => {
            names::open_in_child(words.word(0), words.at(here(2)), words.int(3), pending);
        }
        Call::MoveChild => spawn::remember_move(words.word(0)),
        Call::Spawn => pending.then = Then::Spawned(words.word(2)),
        Call::ForgetChild => spawn::forget(words.word(0)),
        Call::Bind => names::bind(words.word(1), words.word(2), pending),
        Call::NumberHost => names::rewrite(c"/etc/hostid", pending),
        Call::WriteProfile => names::rewrite(c"gmon.out", pending),
        Call::LockPasswords => names::create(At::here(c"/etc/.pwd.lock".as_ptr()), pending),
        Call::OpenStream { closes } => {
            let closes = words.memory(closes).cast_mut();
            // SAFETY: the arguments of `fopen` or `freopen`, which ask for the same.
            unsafe { names::open_stream(words.text(0), words.text(1), closes, pending) };
        }
        Call::NewStream => pending.then = Then::Stream { inside: false },
        // SAFETY: the argument of `fclose` or `pclose`, which ask for a valid stream.
        Call::CloseStream => descriptor::release(unsafe { names::descriptor_of(words.memory(0)) }),
        Call::CloseDirectory => {
            // SAFETY: the argument of `closedir`, which asks for a valid one.
            let descriptor = unsafe { names::descriptor_of_directory(words.memory(0)) };
            descriptor::release(descriptor);
        }
        Call::Close => descriptor::release(words.int(0)),
        Call::CloseRange { last, flags } => {
            const CLOSE_RANGE_UNSHARE: c_int = 2;
            if words.int(flags) & CLOSE_RANGE_UNSHARE != 0 {
                descriptor::turn_off();
            }
            let first = words.int(0).max(0) as u32;
            let last = if last == NONE {
                u32::MAX
            } else {
                words.word(last) as u32
            };
            descriptor::release_range(first, last);
        }
        Call::Replace(descriptor) => descriptor::replace(words.int(descriptor), pending),
        Call::ReplaceStandard => {
            descriptor::release_range(0, 2);
            descriptor::release(words.int(0));
        }
        Call::NewDescriptor { from } => {
            descriptor::settle(if from == NONE { -1 } else { words.int(from) });
            pending.then = Then::Descriptor { inside: false };
        }
        Call::DescriptorControl => {
            content::descriptor_control(words.int(0), words.int(1), pending);
        }
        Call::Seek => descriptor::settle(words.int(0)),
        Call::ByNumber => {
            let Arguments(&[number, a, b, c, d, e, f, _]) = words;
            if let Some(call) = decode::call(number) {
                before(call, Arguments(&[a, b, c, d, e, f, 0, 0]), pending);
            }
        }
        _ => before_process(call, words, pending),
    }
}

fn before_process(call: Call, words: Arguments<'_>, pending: &mut Pending) {
    const CLONE_FILES: c_int = 0x400;
    match call {
        Call::Filter | Call::ProcessControl if asks_for_filter(call, words.int(0)) => {
            process::filter_comes();
            pending.then = Then::Filtered;
        }
        Call::Unshare if words.int(0) & CLONE_FILES != 0 => descriptor::turn_off(),
        Call::LeaveRoot => leave_root(),
        Call::Ring => attach::ring_comes(),
        _ => {}
    }
}

/// `seccomp(2)` also answers questions; those have higher numbers.
fn asks_for_filter(call: Call, operation: c_int) -> bool {
    const PR_SET_SECCOMP: c_int = 22;
    const SECCOMP_SET_MODE_FILTER: c_int = 1;
    match call {
        Call::Filter => operation <= SECCOMP_SET_MODE_FILTER,
        _ => operation == PR_SET_SECCOMP,
    }
}

/// The socket may be out of reach afterwards, so now is the time to attach.
fn leave_root() {
    if let Some(page) = policy::active() {
        let _ = attach::lane(page);
    }
}

const STDERR: c_int = 2;
/// `EINPROGRESS`.
const IN_PROGRESS: isize = 115;

impl Links {
    fn flags(self, words: Arguments<'_>) -> c_int {
        use crate::kernel::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW};
        match self {
            Self::Follow => 0,
            Self::Stop => AT_SYMLINK_NOFOLLOW,
            Self::Argument(flags) => words.int(flags) & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH),
        }
    }
}

/// The call returned `result`; negative when it failed and left a reason in `errno`.
#[inline(never)]
pub(crate) fn after(pending: &Pending, result: isize) {
    match pending.then {
        Then::WrittenTo(_) | Then::Cloned(_) => return content::after(pending, result),
        Then::Template { .. } => return names::after_temporary(pending, result),
        Then::Descriptor { inside } => descriptor::begin(result as c_int, inside),
        Then::Stream { inside } => names::after_stream(result, inside),
        Then::Forget(descriptor) => descriptor::forget(descriptor),
        // SAFETY: the argument of `aio_write`.
        Then::Begun(block) if result < 0 => unsafe { aio::end(block) },
        // SAFETY: the argument of `lio_listio`.
        Then::Listed(ref list) if result >= 0 => unsafe { list.end() },
        Then::Submitted(ref batch) => batch.end_refused(result),
        Then::Reaped(events) => submit::end(events, result),
        Then::Spawned(actions) => spawn::tell(actions),
        Then::LoggedIn => accounts::tell_users(),
        // SAFETY: the argument of `aio_error`.
        Then::Asked(block) if result != IN_PROGRESS => unsafe { aio::end(block) },
        Then::Mapped(ref mapped) => mapping::after(mapped, result),
        Then::Unmapped(unmapped) => mapping::after_unmap(unmapped, result),
        Then::Unexpected { opens } => names::after_unexpected(opens, result),
        Then::Filtered if result < 0 => process::filter_did_not_come(),
        Then::Begun(_) | Then::Asked(_) | Then::Listed(_) | Then::Filtered | Then::Nothing => {}
        // See `durable`.
        Then::Synced(_) | Then::Flushed(_) | Then::SyncedAll => {}
    }
    match &pending.change {
        Announced::Nothing => {}
        Announced::Range(ticket) => ticket.done(),
        Announced::Write(ticket) => content::end_write(ticket, result),
        Announced::Run(ticket) => ticket.end(result),
    }
    if let Some(message) = &pending.message {
        message.done(result >= 0 || names::may_have_changed());
    }
}
