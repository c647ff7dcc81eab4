//! How many files the daemons may have open, here and at the source.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the administrator allows (the hard limit, see `getrlimit(2)`): connections, stores and the programs that
/// a coordinator hears take more than the 1,024 that most systems begin with.
pub fn allow_most() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::warn!("raise the limit of open files: {error}");
    }
}

/// How many this process may have open.
pub fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}
