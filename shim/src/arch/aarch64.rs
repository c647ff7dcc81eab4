//! aarch64.

use core::arch::{asm, global_asm};

use crate::call::Call;

pub(crate) mod number;

/// This processor never had the older calls.
pub(crate) const OLD_CALLS: &[(u16, Call)] = &[];

pub(crate) const O_NOFOLLOW: core::ffi::c_int = 0o100000;

/// `struct stat` as `newfstatat(2)` fills it.
#[repr(C)]
pub(crate) struct Stat {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) mode: u32,
    pub(crate) links: u32,
    user: u32,
    group: u32,
    special: u64,
    padding: u64,
    pub(crate) size: i64,
    rest: [u64; 9],
}

const _: () = assert!(size_of::<Stat>() == 128);

// The one place from which the shim's own system calls come. Arguments that a call does not have are
// whatever the registers hold: the kernel does not look at them.
global_asm!(
    ".pushsection .text.everwrite_calls,\"ax\",%progbits",
    ".hidden everwrite_system_call",
    ".globl everwrite_system_call",
    ".type everwrite_system_call,%function",
    "everwrite_system_call:",
    ".cfi_startproc",
    "and w8, w0, #0xffff",
    "mov x0, x1",
    "mov x1, x2",
    "mov x2, x3",
    "mov x3, x4",
    "mov x4, x5",
    "mov x5, x6",
    "svc 0",
    "ret",
    ".cfi_endproc",
    ".popsection",
);

// `thread_local!` needs a runtime. 32 zeroed bytes per thread, in the static TLS block (a preload
// library is always loaded with the program), reached by one load: the initial-exec model.
global_asm!(
    ".pushsection .tbss,\"awT\",%nobits",
    ".p2align 5",
    ".hidden everwrite_thread",
    ".globl everwrite_thread",
    ".type everwrite_thread,%object",
    ".size everwrite_thread,32",
    "everwrite_thread:",
    ".zero 32",
    ".popsection",
);

/// The calling thread's own [`THREAD_BYTES`](super::THREAD_BYTES), zeroed when the thread begins.
#[inline(always)]
pub(crate) fn thread_memory() -> *mut u8 {
    let memory: *mut u8;
    // SAFETY: the TLS block was laid out by the loader; `tpidr_el0` holds its address.
    unsafe {
        asm!(
            "mrs {memory}, tpidr_el0",
            "adrp {offset}, :gottprel:everwrite_thread",
            "ldr {offset}, [{offset}, :gottprel_lo12:everwrite_thread]",
            "add {memory}, {memory}, {offset}",
            memory = out(reg) memory,
            offset = out(reg) _,
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
                concat!("adrp {address}, :got:", $symbol),
                concat!("ldr {address}, [{address}, :got_lo12:", $symbol, "]"),
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
            "adrp {address}, _DYNAMIC",
            "add {address}, {address}, :lo12:_DYNAMIC",
            address = out(reg) address,
            options(nostack, nomem, pure)
        );
    }
    address
}

/// Exports a function that brings the number of its row to the dispatcher, with every argument as it was.
#[cfg(not(test))]
macro_rules! export_row {
    ($name:ident, $number:expr) => {
        const _: () = {
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    "mov x16, {number}",
                    "b {dispatch}",
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
            core::arch::naked_asm!("b {target}", target = sym $target)
        }
    };
}
#[cfg(not(test))]
pub(crate) use export_alias;

/// Exports a function of the `printf` family, which can't go through the dispatcher: it makes a
/// `va_list` (AAPCS64, appendix B) of what it was called with and calls the hooked function that takes
/// one. `$fixed` is how many fixed words come before the variable ones.
#[cfg(not(test))]
macro_rules! export_printf {
    ($name:ident, $target:literal, $list:literal, $fixed:literal) => {
        const _: () = {
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    ".cfi_startproc",
                    "stp x29, x30, [sp, #-240]!",
                    ".cfi_def_cfa_offset 240",
                    ".cfi_offset x29, -240",
                    ".cfi_offset x30, -232",
                    // Saved words at sp + 48, up to 112; saved vectors up to 240.
                    "stp x0, x1, [sp, #48]",
                    "stp x2, x3, [sp, #64]",
                    "stp x4, x5, [sp, #80]",
                    "stp x6, x7, [sp, #96]",
                    "stp q0, q1, [sp, #112]",
                    "stp q2, q3, [sp, #144]",
                    "stp q4, q5, [sp, #176]",
                    "stp q6, q7, [sp, #208]",
                    // The list at sp + 16: the caller's stack, the ends of both areas, what is left.
                    "add x8, sp, #240",
                    "str x8, [sp, #16]",
                    "add x8, sp, #112",
                    "str x8, [sp, #24]",
                    "add x8, sp, #240",
                    "str x8, [sp, #32]",
                    "mov w8, {words}",
                    "str w8, [sp, #40]",
                    "mov w8, #-128",
                    "str w8, [sp, #44]",
                    concat!("add ", $list, ", sp, #16"),
                    concat!("bl ", $target),
                    "ldp x29, x30, [sp], #240",
                    ".cfi_def_cfa_offset 0",
                    ".cfi_restore x29",
                    ".cfi_restore x30",
                    "ret",
                    ".cfi_endproc",
                    words = const $fixed * 8 - 64,
                )
            }
        };
    };
}

#[cfg(not(test))]
export_printf!(dprintf, "vdprintf", "x2", 2);
#[cfg(not(test))]
export_printf!(__dprintf_chk, "__vdprintf_chk", "x3", 3);

/// Makes a hooked call, see [`crate::hook`]: `x16` holds the row's number, all else is as the program's
/// call left it. The arguments are kept in a [`Frame`](crate::hook::Frame) on the stack, as many as
/// any hooked function has; no hooked function takes floating-point arguments or gives more than one
/// word.
///
/// # Safety
/// Reached only by a jump from a stub of [`export_row`].
#[cfg(not(test))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn dispatch() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        ".cfi_def_cfa_register x29",
        "sub sp, sp, {frame_bytes}",
        "stp x0, x1, [sp]",
        "stp x2, x3, [sp, #16]",
        "stp x4, x5, [sp, #32]",
        "stp x6, xzr, [sp, #48]",
        "mov x0, x16",
        "mov x1, sp",
        "mov x2, x30",
        "bl {enter}",
        "cbz x0, 2f",
        "mov x16, x0",
        "mov x17, x1",
        "ldp x0, x1, [sp]",
        "ldp x2, x3, [sp, #16]",
        "ldp x4, x5, [sp, #32]",
        "ldr x6, [sp, #48]",
        "cbz x17, 4f",
        "blr x16",
        "str x0, [sp, #64]",
        "mov x1, x0",
        "mov x0, sp",
        "bl {leave}",
        "ldr x0, [sp, #64]",
        "3:",
        "mov sp, x29",
        ".cfi_remember_state",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa sp, 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "ret",
        ".cfi_restore_state",
        "2:",
        "mov x0, sp",
        "bl {missing}",
        "b 3b",
        "4:",
        "mov sp, x29",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa sp, 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "br x16",
        ".cfi_endproc",
        frame_bytes = const crate::hook::FRAME_BYTES,
        enter = sym crate::hook::enter,
        leave = sym crate::hook::leave,
        missing = sym crate::hook::missing,
    )
}

/// What all calls have that are made often, see [`HotFrame`](crate::hook::HotFrame). The ticket is
/// built where it stays: by the C calling convention, a result of this size goes where `x8` says.
macro_rules! hot_body {
    () => {
        "stp x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_offset x29, -16
        .cfi_offset x30, -8
        mov x29, sp
        .cfi_def_cfa_register x29
        sub sp, sp, {frame_bytes}
        stp x0, x1, [sp]
        stp x2, x3, [sp, #16]
        add x8, sp, #48
        bl {enter}
        adrp x9, {real}
        ldr x0, [x9, :lo12:{real}]
        cmp x0, #1
        b.hi 3f
        bl {resolve}
        3: mov x16, x0
        ldp x0, x1, [sp]
        ldp x2, x3, [sp, #16]
        blr x16
        str x0, [sp, #32]
        mov x1, x0
        mov x0, sp
        bl {leave}
        ldr x0, [sp, #32]
        mov sp, x29
        ldp x29, x30, [sp], #16
        .cfi_def_cfa sp, 0
        .cfi_restore x29
        .cfi_restore x30
        ret"
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
                ".cfi_startproc",
                "cmp w0, {known}",
                "b.hs 2f",
                "adrp x9, {table}",
                "add x9, x9, :lo12:{table}",
                "ubfiz x10, x0, #7, #32",
                "ldr w10, [x9, x10]",
                "cmp w10, {other}",
                "b.ne 2f",
                "adrp x9, {real}",
                "ldr x16, [x9, :lo12:{real}]",
                "cmp x16, #1",
                "b.ls 2f",
                "br x16",
                "2:",
                $crate::arch::hot_body!(),
                ".cfi_endproc",
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
                ".cfi_startproc",
                $crate::arch::hot_body!(),
                ".cfi_endproc",
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
                "stp x29, x30, [sp, #-48]!",
                "stp x0, x1, [sp, #16]",
                "str x2, [sp, #32]",
                "bl {enter}",
                "mov x16, x0",
                "ldr x2, [sp, #32]",
                "ldp x0, x1, [sp, #16]",
                "ldp x29, x30, [sp], #48",
                "br x16",
                enter = sym $enter,
            )
        }
    };
}
#[cfg(not(test))]
pub(crate) use export_hot;
pub(crate) use {hot_body, hot_function, passing_function};

// The compiler's own library asks libc whether the processor has the newer atomic instructions: a
// strong import. It is told no, and takes those that every processor has.
#[cfg(not(test))]
global_asm!(
    ".pushsection .text.everwrite_features,\"ax\",%progbits",
    ".hidden getauxval",
    ".globl getauxval",
    ".type getauxval,%function",
    "getauxval:",
    "mov x0, #0",
    "ret",
    ".popsection",
);

// The compiler calls these by name. Imported from libc they would be strong imports.
#[cfg(not(test))]
global_asm!(
    ".pushsection .text.everwrite_memory,\"ax\",%progbits",
    ".hidden memcpy",
    ".globl memcpy",
    ".type memcpy,%function",
    ".hidden memmove",
    ".globl memmove",
    ".type memmove,%function",
    ".hidden memset",
    ".globl memset",
    ".type memset,%function",
    ".hidden memcmp",
    ".globl memcmp",
    ".type memcmp,%function",
    ".hidden bcmp",
    ".globl bcmp",
    ".type bcmp,%function",
    ".hidden strlen",
    ".globl strlen",
    ".type strlen,%function",
    "memmove:",
    "sub x3, x0, x1",
    "cmp x3, x2",
    "b.hs memcpy",
    // Overlapping, and the target lies higher: from the end.
    "2: cbz x2, 3f",
    "sub x2, x2, #1",
    "ldrb w3, [x1, x2]",
    "strb w3, [x0, x2]",
    "b 2b",
    "3: ret",
    "memcpy:",
    "mov x3, #0",
    "4: cmp x3, x2",
    "b.eq 5f",
    "ldrb w4, [x1, x3]",
    "strb w4, [x0, x3]",
    "add x3, x3, #1",
    "b 4b",
    "5: ret",
    "memset:",
    "mov x3, #0",
    "6: cmp x3, x2",
    "b.eq 7f",
    "strb w1, [x0, x3]",
    "add x3, x3, #1",
    "b 6b",
    "7: ret",
    "bcmp:",
    "memcmp:",
    "mov x5, x0",
    "mov x0, #0",
    "8: cbz x2, 9f",
    "ldrb w3, [x5], #1",
    "ldrb w4, [x1], #1",
    "sub x2, x2, #1",
    "subs w0, w3, w4",
    "b.eq 8b",
    "9: ret",
    "strlen:",
    "mov x1, x0",
    "10: ldrb w2, [x1], #1",
    "cbnz w2, 10b",
    "sub x0, x1, x0",
    "sub x0, x0, #1",
    "ret",
    ".popsection",
);
