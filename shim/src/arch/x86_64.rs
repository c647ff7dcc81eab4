//! x86-64.

use core::arch::{asm, global_asm};

use crate::call::{Call, Links, NONE, at, here};

/// Numbers of system calls.
pub(crate) mod number {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const CLOSE: u16 = 3;
    pub(crate) const LSEEK: u16 = 8;
    pub(crate) const MMAP: u16 = 9;
    pub(crate) const MPROTECT: u16 = 10;
    pub(crate) const MUNMAP: u16 = 11;
    pub(crate) const IOCTL: u16 = 16;
    pub(crate) const PWRITE64: u16 = 18;
    pub(crate) const WRITEV: u16 = 20;
    pub(crate) const SCHED_YIELD: u16 = 24;
    pub(crate) const MREMAP: u16 = 25;
    pub(crate) const MSYNC: u16 = 26;
    pub(crate) const MADVISE: u16 = 28;
    pub(crate) const DUP: u16 = 32;
    pub(crate) const GETPID: u16 = 39;
    pub(crate) const SENDFILE: u16 = 40;
    pub(crate) const SOCKET: u16 = 41;
    pub(crate) const CONNECT: u16 = 42;
    pub(crate) const SENDTO: u16 = 44;
    pub(crate) const RECVMSG: u16 = 47;
    pub(crate) const FCNTL: u16 = 72;
    pub(crate) const FSYNC: u16 = 74;
    pub(crate) const FDATASYNC: u16 = 75;
    pub(crate) const TRUNCATE: u16 = 76;
    pub(crate) const FTRUNCATE: u16 = 77;
    pub(crate) const FCHMOD: u16 = 91;
    pub(crate) const FCHOWN: u16 = 93;
    pub(crate) const GETPPID: u16 = 110;
    pub(crate) const PRCTL: u16 = 157;
    pub(crate) const GETTID: u16 = 186;
    pub(crate) const SETXATTR: u16 = 188;
    pub(crate) const LSETXATTR: u16 = 189;
    pub(crate) const FSETXATTR: u16 = 190;
    pub(crate) const REMOVEXATTR: u16 = 197;
    pub(crate) const LREMOVEXATTR: u16 = 198;
    pub(crate) const FREMOVEXATTR: u16 = 199;
    pub(crate) const FUTEX: u16 = 202;
    pub(crate) const CLOCK_GETTIME: u16 = 228;
    pub(crate) const EXIT_GROUP: u16 = 231;
    pub(crate) const OPENAT: u16 = 257;
    pub(crate) const MKDIRAT: u16 = 258;
    pub(crate) const PPOLL: u16 = 271;
    pub(crate) const MKNODAT: u16 = 259;
    pub(crate) const FCHOWNAT: u16 = 260;
    pub(crate) const NEWFSTATAT: u16 = 262;
    pub(crate) const UNLINKAT: u16 = 263;
    pub(crate) const RENAMEAT: u16 = 264;
    pub(crate) const LINKAT: u16 = 265;
    pub(crate) const SYMLINKAT: u16 = 266;
    pub(crate) const FCHMODAT: u16 = 268;
    pub(crate) const SPLICE: u16 = 275;
    pub(crate) const UTIMENSAT: u16 = 280;
    pub(crate) const FALLOCATE: u16 = 285;
    pub(crate) const DUP3: u16 = 292;
    pub(crate) const PWRITEV: u16 = 296;
    pub(crate) const RENAMEAT2: u16 = 316;
    pub(crate) const SECCOMP: u16 = 317;
    pub(crate) const COPY_FILE_RANGE: u16 = 326;
    pub(crate) const PWRITEV2: u16 = 328;
    pub(crate) const UNSHARE: u16 = 272;
    pub(crate) const STATX: u16 = 332;
    pub(crate) const CLOSE_RANGE: u16 = 436;
    pub(crate) const OPENAT2: u16 = 437;
    pub(crate) const FCHMODAT2: u16 = 452;
}

/// The older calls that only this processor has; users of `syscall(2)` still make them.
pub(crate) const OLD_CALLS: &[(u16, Call)] = &[
    (
        2,
        Call::Open {
            path: here(0),
            flags: 1,
        },
    ),
    (33, Call::Replace(1)),
    (
        82,
        Call::Rename {
            old: here(0),
            new: here(1),
            flags: NONE,
        },
    ),
    (83, Call::Create(here(0))),
    (84, Call::Remove(here(0))),
    (85, Call::OpenNew(here(0))),
    (86, Call::Create(here(1))),
    (87, Call::Remove(here(0))),
    (88, Call::Create(here(1))),
    (90, Call::AttributesAt(here(0), Links::Follow)),
    (92, Call::AttributesAt(here(0), Links::Follow)),
    (94, Call::AttributesAt(here(0), Links::Stop)),
    (132, Call::AttributesAt(here(0), Links::Follow)),
    (133, Call::Create(here(0))),
    (235, Call::AttributesAt(here(0), Links::Follow)),
    (261, Call::AttributesAt(at(0, 1), Links::Follow)),
];

/// `struct stat` as `newfstatat(2)` fills it.
#[repr(C)]
pub(crate) struct Stat {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    links: u64,
    pub(crate) mode: u32,
    user: u32,
    group: u32,
    padding: u32,
    special: u64,
    pub(crate) size: i64,
    rest: [u64; 11],
}

const _: () = assert!(size_of::<Stat>() == 144);

/// Makes a system call. Errors come back as small negative numbers; `errno` is not touched, nothing
/// can be interposed, and it is no cancellation point.
///
/// # Safety
/// What the system call itself asks of its arguments.
#[inline(never)]
pub(crate) unsafe fn system_call(number: u16, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the kernel's calling convention: rcx and r11 are lost, the stack is not used, memory
    // changes only where the caller said it may.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    result
}

// `thread_local!` needs a runtime. 32 zeroed bytes per thread, in the static TLS block (a preload
// library is always loaded with the program), reached by one load: the initial-exec model.
global_asm!(
    ".pushsection .tbss,\"awT\",@nobits",
    ".p2align 5",
    ".hidden everwrite_thread",
    ".globl everwrite_thread",
    ".type everwrite_thread,@object",
    ".size everwrite_thread,32",
    "everwrite_thread:",
    ".zero 32",
    ".popsection",
);

/// The calling thread's own [`THREAD_BYTES`](super::THREAD_BYTES), zeroed when the thread begins.
#[inline(always)]
pub(crate) fn thread_memory() -> *mut u8 {
    let memory: *mut u8;
    // SAFETY: the TLS block was laid out by the loader; fs:0 holds its address (x86-64 psABI).
    unsafe {
        asm!(
            "mov {memory}, qword ptr fs:[0]",
            "add {memory}, qword ptr [rip + everwrite_thread@GOTTPOFF]",
            memory = out(reg) memory,
            options(nostack, readonly, pure)
        );
    }
    memory
}

/// Address of a symbol that some other object may define; 0 when none does.
macro_rules! weak_address {
    ($symbol:literal) => {{
        let address: usize;
        // SAFETY: reads one word of our own global offset table, filled in by the loader.
        unsafe {
            core::arch::asm!(
                concat!(".weak ", $symbol),
                concat!("mov {address}, qword ptr [rip + ", $symbol, "@GOTPCREL]"),
                address = out(reg) address,
                options(nostack, readonly, pure)
            );
        }
        address
    }};
}
pub(crate) use weak_address;

/// Address of our own dynamic section: by it the loader's list tells which object we are.
#[inline(always)]
pub(crate) fn own_dynamic_section() -> usize {
    let address: usize;
    // SAFETY: computes an address; `_DYNAMIC` is defined by the linker in every shared object.
    unsafe {
        asm!(
            ".hidden _DYNAMIC",
            "lea {address}, [rip + _DYNAMIC]",
            address = out(reg) address,
            options(nostack, nomem, pure)
        );
    }
    address
}

/// Exports a function that brings its row to the dispatcher, with every argument as it was.
#[cfg(not(test))]
macro_rules! export_row {
    ($name:ident, $row:ident) => {
        const _: () = {
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    "lea r11, [rip + {row}]",
                    "jmp {dispatch}",
                    row = sym $row,
                    dispatch = sym $crate::arch::dispatch,
                )
            }
        };
    };
}
#[cfg(not(test))]
pub(crate) use export_row;

/// Another exported name for the same function: a jump that leaves every register as it is.
macro_rules! export_alias {
    ($alias:ident, $target:ident) => {
        #[cfg(not(test))]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $alias() {
            core::arch::naked_asm!("jmp {target}", target = sym $target)
        }
    };
}
pub(crate) use export_alias;

/// Makes a hooked call, see [`crate::hook`]: `r11` holds the row, everything else is as the program's
/// call left it. The arguments are kept in a [`Frame`](crate::hook::Frame) on the stack, as many as
/// any hooked function has; no hooked function takes floating-point arguments (so `al` is 0 for those
/// that are variadic) or gives more than one word.
///
/// # Safety
/// Reached only by a jump from a stub of [`export_row`].
#[cfg(not(test))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn dispatch() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "sub rsp, {frame_bytes}",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        // The seventh word, if there is one; otherwise some word of the caller's frame.
        "mov rax, [rbp + 16]",
        "mov [rsp + 48], rax",
        "mov rdi, r11",
        "mov rsi, rsp",
        "call {enter}",
        "test rax, rax",
        "je 2f",
        "mov r11, rax",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov rcx, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "push 0",
        "push [rsp + 56]",
        "xor eax, eax",
        "call r11",
        "add rsp, 16",
        "mov [rsp + 56], rax",
        "mov rdi, rsp",
        "mov rsi, rax",
        "call {leave}",
        "mov rax, [rsp + 56]",
        "3:",
        "leave",
        ".cfi_remember_state",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_restore_state",
        "2:",
        "mov rdi, rsp",
        "call {missing}",
        "jmp 3b",
        ".cfi_endproc",
        frame_bytes = const crate::hook::FRAME_BYTES,
        enter = sym crate::hook::enter,
        leave = sym crate::hook::leave,
        missing = sym crate::hook::missing,
    )
}

// The compiler calls these by name. Imported from libc they would be strong imports.
#[cfg(not(test))]
global_asm!(
    ".pushsection .text.everwrite_memory,\"ax\",@progbits",
    ".hidden memcpy",
    ".globl memcpy",
    ".type memcpy,@function",
    ".hidden memmove",
    ".globl memmove",
    ".type memmove,@function",
    ".hidden memset",
    ".globl memset",
    ".type memset,@function",
    ".hidden memcmp",
    ".globl memcmp",
    ".type memcmp,@function",
    ".hidden bcmp",
    ".globl bcmp",
    ".type bcmp,@function",
    ".hidden strlen",
    ".globl strlen",
    ".type strlen,@function",
    "memmove:",
    "mov rax, rdi",
    "sub rax, rsi",
    "cmp rax, rdx",
    "jae memcpy",
    // Overlapping, and the target lies higher: from the end.
    "mov rax, rdi",
    "mov rcx, rdx",
    "lea rdi, [rdi + rdx - 1]",
    "lea rsi, [rsi + rdx - 1]",
    "std",
    "rep movsb",
    "cld",
    "ret",
    "memcpy:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "rep movsb",
    "ret",
    "memset:",
    "mov r8, rdi",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r8",
    "ret",
    "bcmp:",
    "memcmp:",
    "xor eax, eax",
    "mov rcx, rdx",
    "test rcx, rcx",
    "je 2f",
    "repe cmpsb",
    "je 2f",
    "movzx eax, byte ptr [rdi - 1]",
    "movzx ecx, byte ptr [rsi - 1]",
    "sub eax, ecx",
    "2: ret",
    "strlen:",
    "mov rax, rdi",
    "3: cmp byte ptr [rax], 0",
    "je 4f",
    "inc rax",
    "jmp 3b",
    "4: sub rax, rdi",
    "ret",
    ".popsection",
);
