//! Kernel, disk space.

use std::path::Path;

use rustix::fs::statvfs;

use super::Finding;
use crate::cli::shown;
use crate::config::Paths;

/// Less free space than this for the state is worth a warning, bytes.
const FREE_BYTES_MIN: u64 = 256 << 20;

pub(super) fn look(paths: &Paths) -> Vec<Finding> {
    vec![kernel(), space("state", paths.state())]
}

fn kernel() -> Finding {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let user = rustix::process::geteuid().as_raw();
    Finding::good(
        "kernel",
        format!("Linux {release}; this command runs as uid {user}"),
    )
}

/// Free space of the file system that holds `path`, or will.
pub(super) fn space(what: &str, path: &Path) -> Finding {
    let subject = format!("{what} disk");
    let existing = path
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(path);
    let place = shown::path(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
    match statvfs(existing) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let text = format!("{} free for {place}", shown::bytes(free));
            match free >= FREE_BYTES_MIN {
                true => Finding::good(&subject, text),
                false => Finding::warning(&subject, text, "make room, or move it"),
            }
        }
        Err(error) => Finding::bad(
            &subject,
            format!("{place}: {error}"),
            "mount it, or make it",
        ),
    }
}
