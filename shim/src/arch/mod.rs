//! Everything that depends on the processor: system calls, thread-local storage, weak symbols, the
//! kernel's numbers and its `struct stat`. One file per processor, each with the same names.

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
