//! The system calls that the shim makes for itself, typed. None of them touches `errno`, allocates,
//! or can be interposed.

use core::ffi::{CStr, c_char, c_int};
use core::mem::MaybeUninit;
use core::sync::atomic::AtomicU32;

use crate::arch::{
    Stat, number, system_call_0, system_call_1, system_call_2, system_call_3, system_call_4,
    system_call_5, system_call_6,
};

/// An error number of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    pub(crate) const PERM: Self = Self(1);
    pub(crate) const NOENT: Self = Self(2);
    pub(crate) const BADF: Self = Self(9);
    pub(crate) const ACCES: Self = Self(13);
    pub(crate) const FAULT: Self = Self(14);
    pub(crate) const BUSY: Self = Self(16);
    pub(crate) const EXIST: Self = Self(17);
    pub(crate) const XDEV: Self = Self(18);
    pub(crate) const NOTDIR: Self = Self(20);
    pub(crate) const ISDIR: Self = Self(21);
    pub(crate) const INVAL: Self = Self(22);
    pub(crate) const ROFS: Self = Self(30);
    pub(crate) const NAMETOOLONG: Self = Self(36);
    pub(crate) const NOTEMPTY: Self = Self(39);
    const NOSYS: Self = Self(38);
    pub(crate) const LOOP: Self = Self(40);
}

pub(crate) const AT_FDCWD: c_int = -100;
pub(crate) const AT_SYMLINK_NOFOLLOW: c_int = 0x100;
pub(crate) const AT_EMPTY_PATH: c_int = 0x1000;
pub(crate) const O_CREAT: c_int = 0o100;
pub(crate) const O_EXCL: c_int = 0o200;
pub(crate) const O_TRUNC: c_int = 0o1000;
pub(crate) const O_APPEND: c_int = 0o2000;
pub(crate) const O_CLOEXEC: c_int = 0o2000000;
pub(crate) const O_PATH: c_int = 0o10000000;
/// `__O_TMPFILE`, without the `O_DIRECTORY` that goes with it.
pub(crate) const O_TMPFILE_BIT: c_int = 0o20000000;
pub(crate) use crate::arch::O_NOFOLLOW;
const S_IFMT: u32 = 0o170000;
const S_IFREG: u32 = 0o100000;
const S_IFDIR: u32 = 0o040000;
const S_IFLNK: u32 = 0o120000;

pub(crate) const PROT_READ: usize = 1;
pub(crate) const PROT_WRITE: usize = 2;
pub(crate) const MAP_SHARED: usize = 1;
pub(crate) const MAP_PRIVATE: usize = 2;
pub(crate) const MAP_FIXED: usize = 0x10;
pub(crate) const MAP_ANONYMOUS: usize = 0x20;
pub(crate) const MAP_NORESERVE: usize = 0x4000;
pub(crate) const MADV_DONTFORK: usize = 10;
pub(crate) const MADV_WIPEONFORK: usize = 18;

fn checked(result: isize) -> Result<usize, Errno> {
    match usize::try_from(result) {
        Ok(value) => Ok(value),
        Err(_) => Err(Errno(result.wrapping_neg() as i32)),
    }
}

/// A word with the value of a descriptor, sign and all.
#[inline(always)]
fn word(descriptor: c_int) -> usize {
    descriptor as isize as usize
}

/// Process id, as the kernel says it now (libc may remember another in a `vfork` child).
pub(crate) fn process_id() -> u32 {
    // SAFETY: no arguments.
    unsafe { system_call_0(number::GETPID) as u32 }
}

pub(crate) fn parent_process_id() -> u32 {
    // SAFETY: no arguments.
    unsafe { system_call_0(number::GETPPID) as u32 }
}

pub(crate) fn thread_id() -> u32 {
    // SAFETY: no arguments.
    unsafe { system_call_0(number::GETTID) as u32 }
}

/// Whether this task was made by `clone` with a word to be cleared at its end, as every thread and
/// every `fork` child of glibc is, and a `vfork` child is not. `None`: the kernel can't say.
pub(crate) fn has_clear_word() -> Option<bool> {
    const PR_GET_TID_ADDRESS: usize = 40;
    let mut address = 0usize;
    // SAFETY: the kernel writes one word to `address`.
    let result = unsafe {
        checked(system_call_2(
            number::PRCTL,
            PR_GET_TID_ADDRESS,
            &raw mut address as usize,
        ))
    };
    result.ok().map(|_| address != 0)
}

/// What the kernel tells of a file, as far as it is needed.
pub(crate) struct Status {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) size: i64,
    /// Time of birth in nanoseconds, truncated to 64 bits; 0 when the file system keeps none, or when
    /// that was not asked for.
    pub(crate) birth: u64,
    /// The mount that it is on; 0 when the kernel does not tell (before Linux 5.8), likewise.
    pub(crate) mount: u64,
    mode: u32,
}

impl Status {
    pub(crate) fn is_regular(&self) -> bool {
        self.mode & S_IFMT == S_IFREG
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }

    pub(crate) fn is_link(&self) -> bool {
        self.mode & S_IFMT == S_IFLNK
    }
}

/// `fstatat`. `path` may be any address at all: the kernel answers `EFAULT` for a bad one.
#[inline(never)]
pub(crate) fn status(directory: c_int, path: *const c_char, flags: c_int) -> Result<Status, Errno> {
    let mut answer = MaybeUninit::<Stat>::uninit();
    // SAFETY: the kernel reads a path and, if it succeeds, writes one `struct stat`.
    let file = unsafe {
        checked(system_call_4(
            number::NEWFSTATAT,
            word(directory),
            path as usize,
            answer.as_mut_ptr() as usize,
            flags as usize,
        ))?;
        &*answer.as_ptr()
    };
    Ok(Status {
        device: file.device,
        inode: file.inode,
        #[allow(clippy::useless_conversion, reason = "narrower on aarch64")]
        links: file.links.into(),
        size: file.size,
        birth: 0,
        mount: 0,
        mode: file.mode,
    })
}

/// `fstat`, by the one call that the loader itself makes and every filter allows.
pub(crate) fn descriptor_status(descriptor: c_int) -> Result<Status, Errno> {
    status(descriptor, c"".as_ptr(), AT_EMPTY_PATH)
}

/// `struct statx`, as far as it is needed.
#[repr(C)]
struct Extended {
    /// What of the rest is told.
    mask: u32,
    block_size: u32,
    attributes: u64,
    links: u32,
    user: u32,
    group: u32,
    mode: u16,
    inode: u64,
    size: u64,
    rest: [u64; 4],
    birth: u64,
    birth_nanoseconds: u32,
    times: [u64; 5],
    device_major: u32,
    device_minor: u32,
    mount: u64,
    spare: [u64; 13],
}

const _: () = assert!(size_of::<Extended>() == 256);
const _: () = assert!(core::mem::offset_of!(Extended, birth) == 0x50);
const _: () = assert!(core::mem::offset_of!(Extended, device_major) == 0x88);

const STATX_BASIC: u32 = 0x7ff;
const STATX_BIRTH: u32 = 0x800;
const STATX_MOUNT: u32 = 0x1000;

/// The same with all that is known of it, by `statx`, or by `fstatat` before Linux 4.11.
#[inline(never)]
pub(crate) fn full_status(
    directory: c_int,
    path: *const c_char,
    flags: c_int,
) -> Result<Status, Errno> {
    let mut answer = MaybeUninit::<Extended>::uninit();
    // SAFETY: the kernel reads a path and, if it succeeds, writes 256 bytes.
    let file = unsafe {
        let result = checked(system_call_5(
            number::STATX,
            word(directory),
            path as usize,
            flags as usize,
            (STATX_BASIC | STATX_BIRTH | STATX_MOUNT) as usize,
            answer.as_mut_ptr() as usize,
        ));
        match result {
            Ok(_) => &*answer.as_ptr(),
            Err(Errno::NOSYS) => return status(directory, path, flags),
            Err(error) => return Err(error),
        }
    };
    let (major, minor) = (u64::from(file.device_major), u64::from(file.device_minor));
    let told = |bit, value| if file.mask & bit != 0 { value } else { 0 };
    let seconds = file.birth.wrapping_mul(1_000_000_000);
    let birth = seconds.wrapping_add(u64::from(file.birth_nanoseconds));
    Ok(Status {
        // As `struct stat` has it.
        device: minor & 0xff | major << 8 | (minor & !0xff) << 12,
        inode: file.inode,
        links: file.links.into(),
        size: file.size as i64,
        birth: told(STATX_BIRTH, birth),
        mount: told(STATX_MOUNT, file.mount),
        mode: file.mode.into(),
    })
}

/// What a symbolic link says, as far as there is room; its length.
pub(crate) fn read_link(path: &CStr, room: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: `path` ends with a NUL; the kernel writes at most `room.len()` bytes.
    unsafe {
        checked(system_call_4(
            number::READLINKAT,
            word(AT_FDCWD),
            path.as_ptr() as usize,
            room.as_mut_ptr() as usize,
            room.len(),
        ))
    }
}

/// Flags of the open file (`F_GETFL`).
pub(crate) fn open_flags(descriptor: c_int) -> Result<c_int, Errno> {
    const F_GETFL: usize = 3;
    // SAFETY: integers only.
    let flags = unsafe { checked(system_call_2(number::FCNTL, word(descriptor), F_GETFL)) }?;
    Ok(flags as c_int)
}

/// The file offset.
pub(crate) fn position(descriptor: c_int) -> Result<u64, Errno> {
    const SEEK_CUR: usize = 1;
    // SAFETY: integers only.
    let position = unsafe { checked(system_call_3(number::LSEEK, word(descriptor), 0, SEEK_CUR)) }?;
    Ok(position as u64)
}

/// `openat`, close-on-exec.
pub(crate) fn open(directory: c_int, path: &CStr, flags: c_int) -> Result<Own, Errno> {
    let flags = (flags | O_CLOEXEC) as usize;
    // SAFETY: `path` ends with a NUL.
    let opened = unsafe {
        checked(system_call_3(
            number::OPENAT,
            word(directory),
            path.as_ptr() as usize,
            flags,
        ))
    };
    opened.map(|descriptor| Own(descriptor as c_int))
}

/// Reads from the file offset.
pub(crate) fn read(descriptor: &Own, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes.
    unsafe {
        checked(system_call_3(
            number::READ,
            word(descriptor.0),
            buffer.as_mut_ptr() as usize,
            buffer.len(),
        ))
    }
}

/// Copies the program's memory at `address`, whatever that is, unless it can't be read.
pub(crate) fn copy_memory(address: usize, to: &mut [u8]) -> bool {
    let local = [to.as_mut_ptr() as usize, to.len()];
    let remote = [address, to.len()];
    // SAFETY: the kernel writes at most `to.len()` bytes, and looks at `address` first.
    let copied = unsafe {
        system_call_6(
            number::PROCESS_VM_READV,
            process_id() as usize,
            local.as_ptr() as usize,
            1,
            remote.as_ptr() as usize,
            1,
            0,
        )
    };
    match checked(copied) {
        Ok(copied) => copied == to.len(),
        Err(Errno::FAULT) => false,
        Err(_) => copy_readable(address, to),
    }
}

/// The same in less than a page, where the kernel does not copy memory for programs
/// (`CONFIG_CROSS_MEMORY_ATTACH`).
#[cold]
fn copy_readable(address: usize, to: &mut [u8]) -> bool {
    let last = address.wrapping_add(to.len()).wrapping_sub(1);
    let readable = is_readable(address) && is_readable(last);
    if readable {
        let from = address as *const u8;
        // SAFETY: it lies in these two pages; the program does not unmap what a call under way was given.
        unsafe { from.copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
    }
    readable
}

/// Whether the page of `address` can be read: the kernel looks at the mask before it finds that there is
/// nothing to be done with it.
fn is_readable(address: usize) -> bool {
    const WORD: usize = 8;
    let mask = address & !(WORD - 1);
    // SAFETY: the kernel reads a word, if it can.
    let answer = unsafe { system_call_4(number::RT_SIGPROCMASK, usize::MAX, mask, 0, WORD) };
    checked(answer) == Err(Errno::INVAL)
}

/// A descriptor of the shim's own, closed when dropped. None outlives the function that made it.
pub(crate) struct Own(pub(crate) c_int);

impl Drop for Own {
    fn drop(&mut self) {
        // SAFETY: we opened it, and nobody else knows it.
        unsafe { system_call_1(number::CLOSE, word(self.0)) };
    }
}

/// Closes all descriptors from `first`, for a program that asks for it.
#[cold]
pub(crate) fn close_from(first: usize) -> usize {
    // SAFETY: integers only; the descriptors are the program's.
    unsafe { system_call_3(number::CLOSE_RANGE, first, u32::MAX as usize, 0) as usize }
}

/// `mmap` of `bytes` at an address of the kernel's choice.
pub(crate) fn map(
    bytes: usize,
    protection: usize,
    flags: usize,
    descriptor: c_int,
) -> Result<usize, Errno> {
    // SAFETY: a new mapping overlaps nothing.
    unsafe {
        checked(system_call_6(
            number::MMAP,
            0,
            bytes,
            protection,
            flags,
            word(descriptor),
            0,
        ))
    }
}

/// Puts a new mapping in the place of an old one, at once.
///
/// # Safety
/// `address` is a mapping of the shim's own of at least `bytes`; whoever reads it at the same time
/// must be content with the old or the new content.
pub(crate) unsafe fn map_over(address: usize, bytes: usize, descriptor: c_int) -> bool {
    let flags = MAP_SHARED | MAP_FIXED;
    // SAFETY: as the caller promises.
    unsafe {
        checked(system_call_6(
            number::MMAP,
            address,
            bytes,
            PROT_READ,
            flags,
            word(descriptor),
            0,
        ))
    }
    .is_ok()
}

/// # Safety
/// The range is a mapping of the shim's own that nobody uses any more.
pub(crate) unsafe fn unmap(address: usize, bytes: usize) {
    // SAFETY: as the caller promises. An error would mean that nothing is mapped there.
    unsafe { system_call_2(number::MUNMAP, address, bytes) };
}

pub(crate) fn advise(address: usize, bytes: usize, advice: usize) -> Result<(), Errno> {
    // SAFETY: the advice given by this crate only concerns what a `fork` child sees of the shim's
    // own mappings.
    unsafe { checked(system_call_3(number::MADVISE, address, bytes, advice)) }.map(|_| ())
}

/// Whether all of some pages is mapped. (`MS_ASYNC` does nothing else.)
pub(crate) fn is_mapped(address: usize, bytes: usize) -> bool {
    const MS_ASYNC: usize = 1;
    // SAFETY: the kernel looks at the list of mappings only.
    unsafe { checked(system_call_3(number::MSYNC, address, bytes, MS_ASYNC)) }.is_ok()
}

/// # Safety
/// The range is whole pages whose protection the caller may change.
pub(crate) unsafe fn protect(address: usize, bytes: usize, protection: usize) -> bool {
    // SAFETY: as the caller promises.
    unsafe { checked(system_call_3(number::MPROTECT, address, bytes, protection)) }.is_ok()
}

const FUTEX_WAIT: usize = 0;
const FUTEX_WAKE: usize = 1;

/// Wakes one waiter on a word of shared memory.
pub(crate) fn futex_wake_one(word: &AtomicU32) {
    futex_wake(word, 1);
}

/// Wakes all waiters.
pub(crate) fn futex_wake_all(word: &AtomicU32) {
    futex_wake(word, i32::MAX as usize);
}

fn futex_wake(word: &AtomicU32, count: usize) {
    // SAFETY: the kernel only uses the address as a key.
    unsafe { system_call_3(number::FUTEX, word.as_ptr() as usize, FUTEX_WAKE, count) };
}

/// Sleeps while `word` is `value`, for so many nanoseconds at most. False: the kernel does not let us, so there is no use
/// in trying again.
#[inline(never)]
pub(crate) fn futex_wait(word: &AtomicU32, value: u32, limit_ns: u64) -> bool {
    const INTERRUPTED: isize = -4;
    const AGAIN: isize = -11;
    const TIMED_OUT: isize = -110;
    const NS_PER_S: u64 = 1_000_000_000;
    let limit = [limit_ns / NS_PER_S, limit_ns % NS_PER_S];
    // SAFETY: the kernel reads the word and one `struct timespec`.
    let result = unsafe {
        system_call_4(
            number::FUTEX,
            word.as_ptr() as usize,
            FUTEX_WAIT,
            value as usize,
            limit.as_ptr() as usize,
        )
    };
    matches!(result, 0 | INTERRUPTED | AGAIN | TIMED_OUT)
}

/// Coarse `CLOCK_MONOTONIC` in milliseconds, by system call: for cold paths.
pub(crate) fn monotonic_ms() -> u64 {
    const CLOCK_MONOTONIC_COARSE: usize = 6;
    clock_ns(CLOCK_MONOTONIC_COARSE) / 1_000_000
}

/// `CLOCK_MONOTONIC` in nanoseconds, by system call.
pub(crate) fn monotonic_ns() -> u64 {
    const CLOCK_MONOTONIC: usize = 1;
    clock_ns(CLOCK_MONOTONIC)
}

#[inline(never)]
fn clock_ns(clock: usize) -> u64 {
    let mut time = [0u64; 2];
    // SAFETY: the kernel writes one `struct timespec`.
    unsafe { system_call_2(number::CLOCK_GETTIME, clock, time.as_mut_ptr() as usize) };
    let [seconds, nanoseconds] = time;
    seconds
        .wrapping_mul(1_000_000_000)
        .wrapping_add(nanoseconds)
}

/// Ends the process at once.
#[cfg(not(test))]
pub(crate) fn exit_group(code: usize) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { system_call_1(number::EXIT_GROUP, code) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_copied_by_the_kernel_and_without_it() {
        let text = b"some of the program's memory";
        let unreadable = map(8192, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1).unwrap();
        for copy in [copy_memory, copy_readable] {
            let mut room = [0; 20];
            assert!(copy(text.as_ptr() as usize, &mut room));
            assert_eq!(room, text[..20]);
            assert!(!copy(8, &mut room) && !copy(unreadable + 100, &mut room));
        }
        // SAFETY: mapped above.
        unsafe { unmap(unreadable, 8192) };
    }
}
