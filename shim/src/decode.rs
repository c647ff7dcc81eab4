//! `syscall(2)`: programs that make system calls by number through libc. Node closes its files so.

use crate::arch::{OLD_CALLS, number};
use crate::call::Call::{self, *};
use crate::call::Links::{Argument, Follow, Stop};
use crate::call::{NONE, at, here};

/// System calls that have the same arguments on every processor.
const CALLS: &[(u16, Call)] = &[
    (number::WRITE, Write { to: 0, length: 2 }),
    (number::CLOSE, Close),
    (number::LSEEK, Seek),
    (
        number::PWRITE64,
        WriteAt {
            to: 0,
            offset: 3,
            length: 2,
        },
    ),
    (
        number::WRITEV,
        Write {
            to: 0,
            length: NONE,
        },
    ),
    (
        number::PWRITEV,
        WriteAt {
            to: 0,
            offset: 3,
            length: NONE,
        },
    ),
    // By number the offset has two halves, of which the second is empty.
    (
        number::PWRITEV2,
        WriteAtFlags {
            to: 0,
            offset: 3,
            flags: 5,
        },
    ),
    (number::SENDFILE, Write { to: 0, length: 3 }),
    (number::COPY_FILE_RANGE, WriteAtPointer { to: 2, offset: 3 }),
    (number::SPLICE, WriteAtPointer { to: 2, offset: 3 }),
    (number::TRUNCATE, TruncatePath { path: 0, size: 1 }),
    (number::FTRUNCATE, Truncate { file: 0, size: 1 }),
    (
        number::FALLOCATE,
        Allocate {
            file: 0,
            mode: 1,
            offset: 2,
            length: 3,
        },
    ),
    (number::IOCTL, Control),
    (number::FSYNC, Sync),
    (number::FDATASYNC, Sync),
    (number::MMAP, Map),
    (number::MUNMAP, Unmap),
    (number::MSYNC, FlushMap),
    (number::MREMAP, MoveMap),
    (number::MPROTECT, Protect),
    (
        number::RENAMEAT,
        Rename {
            old: at(0, 1),
            new: at(2, 3),
            flags: NONE,
        },
    ),
    (
        number::RENAMEAT2,
        Rename {
            old: at(0, 1),
            new: at(2, 3),
            flags: 4,
        },
    ),
    (
        number::LINKAT,
        Link {
            old: at(0, 1),
            new: at(2, 3),
        },
    ),
    (number::SYMLINKAT, Create(at(1, 2))),
    (number::MKDIRAT, Create(at(0, 1))),
    (number::MKNODAT, Create(at(0, 1))),
    (number::UNLINKAT, Remove(at(0, 1))),
    (
        number::OPENAT,
        Open {
            path: at(0, 1),
            flags: 2,
        },
    ),
    (number::OPENAT2, OpenNew(at(0, 1))),
    (number::CLOSE_RANGE, CloseRange { last: 1, flags: 2 }),
    (number::DUP, NewDescriptor { from: 0 }),
    (number::DUP3, Replace(1)),
    (number::FCNTL, DescriptorControl),
    (number::FCHMOD, Attributes(0)),
    (number::FCHMODAT, AttributesAt(at(0, 1), Follow)),
    (number::FCHMODAT2, AttributesAt(at(0, 1), Argument(3))),
    (number::FCHOWN, Attributes(0)),
    (number::FCHOWNAT, AttributesAt(at(0, 1), Argument(4))),
    (number::UTIMENSAT, AttributesAt(at(0, 1), Argument(3))),
    (number::SETXATTR, AttributesAt(here(0), Follow)),
    (number::LSETXATTR, AttributesAt(here(0), Stop)),
    (number::FSETXATTR, Attributes(0)),
    (number::REMOVEXATTR, AttributesAt(here(0), Follow)),
    (number::LREMOVEXATTR, AttributesAt(here(0), Stop)),
    (number::FREMOVEXATTR, Attributes(0)),
    (number::PRCTL, ProcessControl),
    (number::SECCOMP, Filter),
    (number::UNSHARE, Unshare),
    (number::CHROOT, LeaveRoot),
    (number::PIVOT_ROOT, LeaveRoot),
    (number::SETNS, LeaveRoot),
    (number::IO_SUBMIT, Submit),
    (number::IO_GETEVENTS, Reap { events: 3 }),
    (number::IO_PGETEVENTS, Reap { events: 3 }),
    (number::IO_URING_SETUP, Ring),
    (number::BIND, Bind),
    (number::OPEN_BY_HANDLE_AT, NewDescriptor { from: NONE }),
    (number::SYNCFS, Sync),
    (number::PKEY_MPROTECT, Protect),
    (number::SETXATTRAT, AttributesAt(at(0, 1), Argument(2))),
    (number::REMOVEXATTRAT, AttributesAt(at(0, 1), Argument(2))),
    (number::FILE_SETATTR, AttributesAt(at(0, 1), Argument(4))),
];

/// What the system call `number` means; `None` when it changes nothing.
pub(crate) fn call(number: usize) -> Option<Call> {
    let mut all = CALLS.iter().chain(OLD_CALLS);
    all.find(|(known, _)| usize::from(*known) == number)
        .map(|(_, call)| *call)
}
