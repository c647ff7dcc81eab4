//! x86-64.

use core::arch::{asm, global_asm};

use crate::call::{Call, Links, NONE, at, here};

pub(crate) mod number;

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
    (
        86,
        Call::Link {
            old: here(0),
            new: here(1),
        },
    ),
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

pub(crate) const O_NOFOLLOW: core::ffi::c_int = 0o400000;

/// `struct stat` as `newfstatat(2)` fills it.
#[repr(C)]
pub(crate) struct Stat {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) mode: u32,
    user: u32,
    group: u32,
    padding: u32,
    special: u64,
    pub(crate) size: i64,
    rest: [u64; 11],
}

const _: () = assert!(size_of::<Stat>() == 144);

// The one place from which the shim's own system calls come. Arguments that a call does not have are
// whatever the registers hold: the kernel does not look at them.
global_asm!(
    ".pushsection .text.everwrite_calls,\"ax\",@progbits",
    ".hidden everwrite_system_call",
    ".globl everwrite_system_call",
    ".type everwrite_system_call,@function",
    "everwrite_system_call:",
    ".cfi_startproc",
    "movzx eax, di",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "mov r10, r8",
    "mov r8, r9",
    "mov r9, [rsp + 8]",
    "syscall",
    "ret",
    ".cfi_endproc",
    ".popsection",
);

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

/// Exports a function that brings the number of its row to the dispatcher, with every argument as it was:
/// `al` only matters for functions that take floating-point arguments.
#[cfg(not(test))]
macro_rules! export_row {
    ($name:ident, $number:expr) => {
        const _: () = {
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    "mov al, {number}",
                    "jmp {dispatch}",
                    number = const $number,
                    dispatch = sym $crate::arch::dispatch,
                )
            }
        };
    };
}
#[cfg(not(test))]
pub(crate) use export_row;

/// Another exported name for the same function: a jump that leaves every register as it is.
#[cfg(not(test))]
macro_rules! export_alias {
    ($alias:ident, $target:ident) => {
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $alias() {
            core::arch::naked_asm!("jmp {target}", target = sym $target)
        }
    };
}
#[cfg(not(test))]
pub(crate) use export_alias;

// Tables for unwinding take a fifth of the library, and only the functions that stand between a
// program and the real function are ever unwound: cancellation and exceptions go through there. So the
// compiler's own go where they are stripped, and those few functions bring theirs ([`frame`]). Without
// the compiler's, a debugger that stops in the rest of the library may not see who called.
#[cfg(not(test))]
global_asm!(".cfi_sections .debug_frame");

/// The beginning of a function with a frame that `rbp` points to. What the function has done before is
/// between the label 30 and this.
macro_rules! frame {
    (begin) => {
        "push rbp
        31: mov rbp, rsp
        32:"
    };
    // The end.
    (end) => {
        concat!(
            "leave
            33: ret\n",
            $crate::arch::frame!(table)
        )
    };
    // The same, or, if `r10` is 0, a jump to where `r11` says.
    (end or jump) => {
        concat!(
            "leave
            33: test r10, r10
            je 35f
            ret
            35: jmp r11\n",
            $crate::arch::frame!(table)
        )
    };
    // What tells how to unwind it, see the `.eh_frame` section in the LSB: return address and caller's
    // `rbp` are found from `rsp` up to 31, from `rbp` from 32 on, and from `rsp` from 33 on.
    (table) => {
        "34:
        .pushsection .eh_frame,\"a\",@unwind
        40: .long 42f - 41f
        41: .long 0
        .byte 1
        .asciz \"zR\"
        .byte 1, 0x78, 16, 1, 0x1b
        .byte 0x0c, 7, 8, 0x90, 1
        .balign 8, 0
        42: .long 44f - 43f
        43: .long 43b - 40b
        .long 30b - .
        .long 34b - 30b
        .byte 0
        .byte 3
        .short 31b - 30b
        .byte 0x0e, 16, 0x86, 2
        .byte 3
        .short 32b - 31b
        .byte 0x0d, 6
        .byte 3
        .short 33b - 32b
        .byte 0x0c, 7, 8
        .balign 8, 0
        44:
        .popsection"
    };
}
/// Exports a function of the `printf` family, which can't go through the dispatcher; `$fixed` is how many
/// fixed words come before the variable ones, `$target` the hooked function that takes a list of those.
#[cfg(not(test))]
macro_rules! export_printf {
    ($name:ident, $target:literal, $fixed:literal) => {
        const _: () = {
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    "mov r10d, {words}",
                    concat!("lea r11, [rip + ", $target, "]"),
                    "jmp {print}",
                    words = const $fixed * 8,
                    print = sym $crate::arch::print,
                )
            }
        };
    };
}
#[cfg(not(test))]
export_printf!(dprintf, "vdprintf", 2);
#[cfg(not(test))]
export_printf!(__dprintf_chk, "__vdprintf_chk", 3);

/// Makes a `va_list` (System V psABI, 3.5.7) of what it was called with, and calls `r11` with that behind
/// the fixed words, whose size is in `r10`: two or three words.
#[cfg(not(test))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn print() {
    core::arch::naked_asm!(
        "30:",
        frame!(begin),
        "sub rsp, 208",
        // The area of saved registers, 176 bytes, at rsp + 32.
        "mov [rsp + 48], rdx",
        "mov [rsp + 56], rcx",
        "mov [rsp + 64], r8",
        "mov [rsp + 72], r9",
        "test al, al",
        "je 2f",
        "movaps [rsp + 80], xmm0",
        "movaps [rsp + 96], xmm1",
        "movaps [rsp + 112], xmm2",
        "movaps [rsp + 128], xmm3",
        "movaps [rsp + 144], xmm4",
        "movaps [rsp + 160], xmm5",
        "movaps [rsp + 176], xmm6",
        "movaps [rsp + 192], xmm7",
        "2:",
        // The list at rsp + 8: offsets of the next words, the caller's stack, the area.
        "mov [rsp + 8], r10d",
        "mov dword ptr [rsp + 12], 48",
        "lea rax, [rbp + 16]",
        "mov [rsp + 16], rax",
        "lea rax, [rsp + 32]",
        "mov [rsp + 24], rax",
        "lea rax, [rsp + 8]",
        "cmp r10d, 16",
        "cmove rdx, rax",
        "cmovne rcx, rax",
        "call r11",
        frame!(end),
    )
}

/// Makes a hooked call, see [`crate::hook`]: `al` holds the row's number, all else is as the program's
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
        "30:",
        frame!(begin),
        "sub rsp, {frame_bytes}",
        "mov [rsp], rdi",
        "movzx edi, al",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        // The seventh word, if there is one; otherwise some word of the caller's frame.
        "mov rax, [rbp + 16]",
        "mov [rsp + 48], rax",
        "mov qword ptr [rsp + 56], 0",
        "mov rsi, rsp",
        "mov rdx, [rbp + 8]",
        "call {enter}",
        "test rax, rax",
        "jne 2f",
        "mov rdi, rsp",
        "call {missing}",
        "jmp 3f",
        "2:",
        "mov r11, rax",
        "mov r10, rdx",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov rcx, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "xor eax, eax",
        "test r10, r10",
        "je 4f",
        "push 0",
        "push [rsp + 56]",
        "call r11",
        "add rsp, 16",
        "mov [rsp + 64], rax",
        "mov rdi, rsp",
        "mov rsi, rax",
        "call {leave}",
        "mov rax, [rsp + 64]",
        "3:",
        "push 1",
        "pop r10",
        "4:",
        frame!(end or jump),
        frame_bytes = const crate::hook::FRAME_BYTES,
        enter = sym crate::hook::enter,
        leave = sym crate::hook::leave,
        missing = sym crate::hook::missing,
    )
}

/// What all calls have that are made often, see [`HotFrame`](crate::hook::HotFrame). The ticket is
/// built where it stays: by the C calling convention, a result of this size goes where `rdi` says.
macro_rules! hot_body {
    () => {
        "sub rsp, {frame_bytes}
        mov [rsp], rdi
        mov [rsp + 8], rsi
        mov [rsp + 16], rdx
        mov [rsp + 24], rcx
        mov r8, rcx
        mov rcx, rdx
        mov rdx, rsi
        mov rsi, rdi
        lea rdi, [rsp + 48]
        call {enter}
        mov rax, [rip + {real}]
        cmp rax, 1
        ja 3f
        call {resolve}
        3: mov rdi, [rsp]
        mov rsi, [rsp + 8]
        mov rdx, [rsp + 16]
        mov rcx, [rsp + 24]
        call rax
        mov [rsp + 32], rax
        mov rdi, rsp
        mov rsi, rax
        call {leave}
        mov rax, [rsp + 32]"
    };
}

/// Exports a call that is made often, whose first argument is a descriptor. Where that is known to be
/// no file, the real function is jumped to, and no frame made.
#[cfg(not(test))]
macro_rules! export_hot {
    ($name:ident, $real:ident, $resolve:ident, $enter:ident, $leave:ident, $frame_bytes:expr) => {
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "30: cmp edi, {known}",
                "jae 2f",
                "mov eax, edi",
                "shl rax, 7",
                "lea r10, [rip + {table}]",
                "cmp dword ptr [r10 + rax], {other}",
                "jne 2f",
                "mov rax, [rip + {real}]",
                "cmp rax, 1",
                "jbe 2f",
                "jmp rax",
                "2:",
                $crate::arch::frame!(begin),
                $crate::arch::hot_body!(),
                $crate::arch::frame!(end),
                known = const $crate::descriptor::LOWER,
                table = sym $crate::descriptor::LOWER_TABLE,
                other = const $crate::descriptor::OTHER,
                real = sym $real,
                resolve = sym $resolve,
                frame_bytes = const $frame_bytes,
                enter = sym $enter,
                leave = sym $leave,
            )
        }
    };
}

/// A function that libc calls often, to be put into its tables.
macro_rules! hot_function {
    ($name:ident, $real:ident, $resolve:ident, $enter:ident, $leave:ident, $frame_bytes:expr) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "30:",
                $crate::arch::frame!(begin),
                $crate::arch::hot_body!(),
                $crate::arch::frame!(end),
                real = sym $real,
                resolve = sym $resolve,
                frame_bytes = const $frame_bytes,
                enter = sym $enter,
                leave = sym $leave,
            )
        }
    };
}

/// A function that prepares something and then jumps to the real one, whose address `$enter` gives.
macro_rules! passing_function {
    ($name:ident, $enter:ident) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "push rdi",
                "push rsi",
                "push rdx",
                "call {enter}",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "jmp rax",
                enter = sym $enter,
            )
        }
    };
}
#[cfg(not(test))]
pub(crate) use export_hot;
pub(crate) use {frame, hot_body, hot_function, passing_function};

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
