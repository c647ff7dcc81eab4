//! Errors that are about this process, not about what it looks at.

use std::io;

use rustix::io::Errno;

/// Are there too few descriptors, or is there too little memory? Then nothing was learned, and it is to be tried again.
pub fn is_want(error: &io::Error) -> bool {
    let want = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|error| want.contains(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_no_want() {
        assert!(is_want(&Errno::MFILE.into()));
        for error in [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS, Errno::IO] {
            assert!(!is_want(&error.into()), "{error}");
        }
        assert!(!is_want(&io::Error::other("no number")));
    }
}
