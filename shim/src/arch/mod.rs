//! Everything that depends on the processor: system calls, thread-local storage, weak symbols, the
//! kernel's numbers and its `struct stat`. One file per processor, and one for its numbers,
//! each with the same names.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the shim knows x86_64 and aarch64; write arch/ for this processor");

/// Where `_fileno` lies in glibc's `FILE`, in bytes: part of its frozen binary interface, the same
/// on every 64-bit processor.
pub(crate) const FILE_DESCRIPTOR_OFFSET: usize = 112;

/// Size of a thread's memory, see [`crate::thread`].
pub(crate) const THREAD_BYTES: usize = 32;

// One function, called with as many words as a system call has: what is not brought along, the kernel
// does not look at. Errors come back as small negative numbers; `errno` is not touched, nothing can be
// interposed, and it is no cancellation point.
//
// Safety: what the system call itself asks of its arguments.
#[allow(clashing_extern_declarations, reason = "see above")]
unsafe extern "C" {
    #[link_name = "everwrite_system_call"]
    pub(crate) fn system_call_0(number: u16) -> isize;
    #[link_name = "everwrite_system_call"]
    pub(crate) fn system_call_1(number: u16, a: usize) -> isize;
    #[link_name = "everwrite_system_call"]
    pub(crate) fn system_call_2(number: u16, a: usize, b: usize) -> isize;
    #[link_name = "everwrite_system_call"]
    pub(crate) fn system_call_3(number: u16, a: usize, b: usize, c: usize) -> isize;
    #[link_name = "everwrite_system_call"]
    pub(crate) fn system_call_4(number: u16, a: usize, b: usize, c: usize, d: usize) -> isize;
    #[link_name = "everwrite_system_call"]
    pub(crate) fn system_call_5(
        number: u16,
        a: usize,
        b: usize,
        c: usize,
        d: usize,
        e: usize,
    ) -> isize;
    #[link_name = "everwrite_system_call"]
    pub(crate) fn system_call_6(
        number: u16,
        a: usize,
        b: usize,
        c: usize,
        d: usize,
        e: usize,
        f: usize,
    ) -> isize;
}
