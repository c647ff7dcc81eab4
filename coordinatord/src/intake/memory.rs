//! Shared memory, and all the unsafe code of the intake.
//!
//! One contract, kept here: a [`Shared`] is a mapping of at least `size_of::<T>()` bytes, shared with
//! other processes, of a type that is nothing but atomics. Any bytes are a value of such a type, and
//! all access is by atomic loads and stores, so another process that scribbles over the memory can
//! change what is read, never how Rust behaves.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};

use everwrite_protocol::local::PolicyPage;
use everwrite_protocol::local::segment::{Doorbell, Segment};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// A type that can live in memory which other processes write to.
///
/// # Safety
/// The type must be `repr(C)`, made of atomic integers only (so that every bit pattern is valid and
/// every access is atomic), aligned to no more than a page, and a whole number of pages long.
pub(super) unsafe trait Atomics: Sync {}

// SAFETY: `repr(C, align(4096))` of atomics, sizes asserted in the protocol crate.
unsafe impl Atomics for PolicyPage {}
// SAFETY: as above.
unsafe impl Atomics for Segment {}
// SAFETY: as above.
unsafe impl Atomics for Doorbell {}

/// A shared, readable and writable mapping of a `T`. Unmapped when dropped.
pub(super) struct Shared<T: Atomics> {
    address: NonNull<T>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and `T` is `Sync`.
unsafe impl<T: Atomics> Send for Shared<T> {}
// SAFETY: only `&T` is given out, and `T` is `Sync`.
unsafe impl<T: Atomics> Sync for Shared<T> {}

impl<T: Atomics> Shared<T> {
    /// Maps the beginning of `file`, which must hold a whole `T` and not be truncated while mapped
    /// (sealed memory can't be; the policy page belongs to this daemon alone).
    pub(super) fn map(file: impl AsFd) -> io::Result<Self> {
        let size = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        if size < size_of::<T>() as u64 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let address = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                size_of::<T>(),
                protection,
                MapFlags::SHARED,
                file,
                0,
            )
        }?;
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { address })
    }
}

impl<T: Atomics> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:p})", self.address)
    }
}

impl<T: Atomics> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped, whole and page-aligned until `self` is dropped; any bytes are a valid `T`,
        // and `T` allows change through a shared reference (`Atomics`).
        unsafe { self.address.as_ref() }
    }
}

impl<T: Atomics> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this size, and no reference outlives `self`. An error would
        // mean that it is not mapped: nothing is left to be done.
        let _ = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), size_of::<T>()) };
    }
}

/// Makes zeroed anonymous memory for a `T`, sealed so that nobody who holds the descriptor can
/// change its size (a shrunken file would kill whoever reads the mapping).
pub(super) fn sealed<T: Atomics>(name: &str) -> io::Result<(OwnedFd, Shared<T>)> {
    let file = anonymous(name)?;
    rustix::fs::ftruncate(&file, size_of::<T>() as u64)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    let memory = Shared::map(&file)?;
    Ok((file, memory))
}

/// Anonymous memory that can't be executed; kernels before 6.3 don't know that wish.
fn anonymous(name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(rustix::io::Errno::INVAL) => Ok(rustix::fs::memfd_create(name, flags)?),
        made => Ok(made?),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn sealed_memory_is_zero_shared_and_of_fixed_size() {
        let (file, first) = sealed::<Segment>("test").unwrap();
        let second = Shared::<Segment>::map(&file).unwrap();
        assert_eq!(second.header.magic.load(Ordering::Relaxed), 0);
        first.header.magic.store(7, Ordering::Relaxed);
        assert_eq!(second.header.magic.load(Ordering::Relaxed), 7);
        assert!(rustix::fs::ftruncate(&file, 0).is_err());
        assert!(rustix::fs::ftruncate(&file, 1 << 30).is_err());
    }

    #[test]
    fn a_short_file_is_not_mapped() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4095).unwrap();
        let error = Shared::<PolicyPage>::map(&file).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
