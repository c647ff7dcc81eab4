//! Kernel, rights, disk space, clock.

use std::path::Path;

use rustix::fs::statvfs;

use super::Finding;
use crate::cli::shown;
use crate::config::Paths;

/// Less free space than this for the state is worth a warning, bytes.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// Bit of `CAP_SYS_ADMIN` in a capability set, capabilities(7).
const CAP_SYS_ADMIN: u32 = 21;
/// Bit of `CAP_BPF`.
const CAP_BPF: u32 = 39;

pub(super) fn look(paths: &Paths) -> Vec<Finding> {
    vec![kernel(), witness(), space("state", paths.state())]
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

/// Facts about the rights that a witness would need; this build has none.
fn witness() -> Finding {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .unwrap_or(0);
    let has = |bit: u32| if set >> bit & 1 == 1 { "yes" } else { "no" };
    Finding::note(
        "witness",
        format!(
            "this build has no eBPF or fanotify witness: what programs without the shim change is \
             found by scans (rights here: CAP_SYS_ADMIN {}, CAP_BPF {})",
            has(CAP_SYS_ADMIN),
            has(CAP_BPF)
        ),
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
