//! The hook table: every function that the shim stands in front of, and what a call of it means.
//!
//! A number is the place of an argument, from 0. Names ending in `64` and names beginning with `__`
//! are the same functions on 64-bit Linux. Variadic functions need nothing special: their optional
//! arguments travel in the same registers, and when the program gave none, what is handed on is what
//! the real function would have found there itself.

#[cfg(not(test))]
use core::ffi::{c_char, c_int};

use crate::call::Call::*;
use crate::call::Links::{Argument, Follow, Stop};
use crate::call::{NONE, at, here};
#[cfg(not(test))]
use crate::content::{self, Plain};
use crate::hook::{hooks, hot_hooks};
#[cfg(not(test))]
use crate::range;

hot_hooks! { HOT:
    write | __write: Plain
        = |[to, _, bytes, _]| content::begin_plain(to as c_int, bytes as u64), Plain::end;
    pwrite | pwrite64 | __pwrite64: range::Ticket
        = |[to, _, bytes, offset]| content::begin_at(to as c_int, offset as i64, bytes as u64),
        content::end_write;
}

hooks! { LIST:
    // Content.
    writev -> Word = Write { to: 0, length: NONE };
    pwritev | pwritev64 -> Word = WriteAt { to: 0, offset: 3, length: NONE };
    pwritev2 | pwritev64v2 -> Word = WriteAtFlags { to: 0, offset: 3, flags: 4 };
    sendfile | sendfile64 -> Word = Write { to: 0, length: 3 };
    copy_file_range -> Word = WriteAtPointer { to: 2, offset: 3 };
    splice -> Word = WriteAtPointer { to: 2, offset: 3 };
    truncate | truncate64 -> Int = TruncatePath { path: 0, size: 1 };
    ftruncate | ftruncate64 -> Int = Truncate { file: 0, size: 1 };
    fallocate | fallocate64 -> Int = Allocate { file: 0, mode: 1, offset: 2, length: 3 };
    posix_fallocate | posix_fallocate64 -> Int
        = Allocate { file: 0, mode: NONE, offset: 1, length: 2 };
    ioctl -> Int = Control;
    // Inside libc by `write`, or, from glibc 2.37 on, past the tables of stream operations.
    vdprintf -> Int = Write { to: 0, length: NONE };
    __vdprintf_chk -> Int = Write { to: 0, length: NONE };
    backtrace_symbols_fd | __backtrace_symbols_fd -> Void = Write { to: 2, length: NONE };
    psiginfo -> Void = WriteError;
    herror -> Void = WriteError;
    aio_write | aio_write64 -> Int = WriteLater;
    lio_listio | lio_listio64 -> Int = WriteManyLater;
    aio_fsync | aio_fsync64 -> Int = SyncLater;
    aio_error | aio_error64 -> Int = WriteState;
    aio_return | aio_return64 -> Word = WriteResult;
    // Of libaio.
    io_submit -> Int = Submit;
    io_getevents -> Int = Reap { events: 3 };
    io_pgetevents -> Int = Reap { events: 3 };
    // Of liburing, which makes its system calls itself.
    io_uring_setup -> Int = Ring;
    io_uring_queue_init -> Int = Ring;
    io_uring_queue_init_mem -> Int = Ring;
    io_uring_queue_init_params -> Int = Ring;
    // These write to their files inside libc.
    updwtmp -> Void = AppendPath { path: 0 };
    updwtmpx -> Void = AppendPath { path: 0 };
    logwtmp -> Void = LogLogin;
    login -> Void = Login;
    utmpname | utmpxname -> Int = NameUsers;
    logout -> Int = LogUser;
    pututline -> Pointer = LogUser;
    pututxline -> Pointer = LogUser;
    fsync -> Int = Sync;
    fdatasync -> Int = Sync;
    syncfs -> Int = Sync;
    sync -> Void = SyncAll;
    mmap | mmap64 -> Word = Map;
    munmap -> Int = Unmap;
    msync -> Int = FlushMap;
    mremap -> Word = MoveMap;
    mprotect -> Int = Protect;
    pkey_mprotect -> Int = Protect;

    // Names.
    rename -> Int = Rename { old: here(0), new: here(1), flags: NONE };
    renameat -> Int = Rename { old: at(0, 1), new: at(2, 3), flags: NONE };
    renameat2 -> Int = Rename { old: at(0, 1), new: at(2, 3), flags: 4 };
    link -> Int = Link { old: here(0), new: here(1) };
    linkat -> Int = Link { old: at(0, 1), new: at(2, 3) };
    symlink -> Int = Create(here(1));
    symlinkat -> Int = Create(at(1, 2));
    mkdir -> Int = Create(here(0));
    mkdirat -> Int = Create(at(0, 1));
    mknod -> Int = Create(here(0));
    mknodat -> Int = Create(at(0, 1));
    __xmknod -> Int = Create(here(1));
    __xmknodat -> Int = Create(at(1, 2));
    mkfifo -> Int = Create(here(0));
    mkfifoat -> Int = Create(at(0, 1));
    unlink -> Int = Remove(here(0));
    unlinkat -> Int = Remove(at(0, 1));
    rmdir -> Int = Remove(here(0));
    remove -> Int = Remove(here(0));
    mkstemp | mkstemp64 -> Int = CreateTemporary;
    mkostemp | mkostemp64 -> Int = CreateTemporary;
    mkstemps | mkstemps64 -> Int = CreateTemporary;
    mkostemps | mkostemps64 -> Int = CreateTemporary;
    mkdtemp -> Pointer = CreateTemporaryDirectory;
    bind -> Int = Bind;
    lckpwdf -> Int = LockPasswords;
    sethostid -> Int = NumberHost;
    // Of programs compiled with -pg, at their end. With GMON_OUT_PREFIX the file has another name: that
    // is left to the witness and the scan.
    _mcleanup -> Void = WriteProfile;

    // Openings and closings.
    open | open64 | __open | __open64 -> Int = Open { path: here(0), flags: 1 };
    openat | openat64 -> Int = Open { path: at(0, 1), flags: 2 };
    __open_2 | __open64_2 -> Int = Open { path: here(0), flags: 1 };
    __openat_2 | __openat64_2 -> Int = Open { path: at(0, 1), flags: 2 };
    // Its flags are in a structure that may be bad.
    openat2 -> Int = OpenNew(at(0, 1));
    open_by_handle_at -> Int = NewDescriptor { from: NONE };
    creat | creat64 -> Int = OpenNew(here(0));
    posix_spawn_file_actions_addopen -> Int = OpenInChild;
    posix_spawn_file_actions_addchdir_np -> Int = MoveChild;
    posix_spawn_file_actions_addfchdir_np -> Int = MoveChild;
    posix_spawn_file_actions_destroy -> Int = ForgetChild;
    posix_spawn -> Int = Spawn;
    posix_spawnp -> Int = Spawn;
    pidfd_spawn -> Int = Spawn;
    pidfd_spawnp -> Int = Spawn;
    fopen | fopen64 -> Pointer = OpenStream { closes: NONE };
    freopen | freopen64 -> Pointer = OpenStream { closes: 2 };
    tmpfile | tmpfile64 -> Pointer = NewStream;
    popen -> Pointer = NewStream;
    // In mode "a" it sets O_APPEND.
    fdopen -> Pointer = Replace(0);
    fclose -> Int = CloseStream;
    pclose -> Int = CloseStream;
    closedir -> Int = CloseDirectory;
    close | __close -> Int = Close;
    close_range -> Int = CloseRange { last: 1, flags: 2 };
    closefrom -> Void = CloseRange { last: NONE, flags: NONE };
    dup -> Int = NewDescriptor { from: 0 };
    dup2 | __dup2 -> Int = Replace(1);
    dup3 -> Int = Replace(1);
    login_tty -> Int = ReplaceStandard;
    fcntl | fcntl64 | __fcntl -> Int = DescriptorControl;
    lseek | lseek64 | __lseek -> Word = Seek;

    // Attributes.
    chmod -> Int = AttributesAt(here(0), Follow);
    lchmod -> Int = AttributesAt(here(0), Stop);
    fchmod -> Int = Attributes(0);
    fchmodat -> Int = AttributesAt(at(0, 1), Argument(3));
    chown -> Int = AttributesAt(here(0), Follow);
    lchown -> Int = AttributesAt(here(0), Stop);
    fchown -> Int = Attributes(0);
    fchownat -> Int = AttributesAt(at(0, 1), Argument(4));
    utime -> Int = AttributesAt(here(0), Follow);
    utimes -> Int = AttributesAt(here(0), Follow);
    lutimes -> Int = AttributesAt(here(0), Stop);
    futimes -> Int = Attributes(0);
    futimesat -> Int = AttributesAt(at(0, 1), Follow);
    utimensat -> Int = AttributesAt(at(0, 1), Argument(3));
    futimens -> Int = Attributes(0);
    setxattr -> Int = AttributesAt(here(0), Follow);
    lsetxattr -> Int = AttributesAt(here(0), Stop);
    fsetxattr -> Int = Attributes(0);
    removexattr -> Int = AttributesAt(here(0), Follow);
    lremovexattr -> Int = AttributesAt(here(0), Stop);
    fremovexattr -> Int = Attributes(0);

    // The process.
    prctl -> Int = ProcessControl;
    unshare -> Int = Unshare;
    chroot -> Int = LeaveRoot;
    pivot_root -> Int = LeaveRoot;
    setns -> Int = LeaveRoot;
    syscall -> Word = ByNumber;
}

/// gcc's address sanitizer refuses to start when another library comes before it, unless it is told
/// not to look.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn __asan_default_options() -> *const c_char {
    c"verify_asan_link_order=0".as_ptr()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::elf::gnu_hash;

    fn names() -> impl Iterator<Item = &'static str> {
        let rows = LIST.iter().map(|(name, aliases, _)| (name, aliases));
        let hot = HOT.iter().map(|(name, aliases)| (name, aliases));
        rows.chain(hot)
            .flat_map(|(name, aliases)| std::iter::once(*name).chain(aliases.iter().copied()))
    }

    #[test]
    fn every_name_stands_once() {
        let mut seen = BTreeSet::new();
        names().for_each(|name| assert!(seen.insert(name), "{name} has two rows"));
        assert!(seen.len() > 120);
    }

    /// A row finds its name by it.
    #[test]
    fn every_hash_stands_for_one_name() {
        let hashes: BTreeSet<u32> = names().map(|name| gnu_hash(name.as_bytes())).collect();
        assert_eq!(hashes.len(), names().count());
    }
}
