//! The witness: what the kernel allows, what that means, and what would allow more.

use std::path::Path;

use everwrite_protocol::control::{Capture, Status};
use rustix::fs::statfs;

use super::Finding;
use crate::cli::context::Context;
use crate::cli::shown;
use crate::config::Root;

const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";
/// 2: nobody is told where the kernel's functions lie, `Documentation/admin-guide/sysctl/kernel.rst`.
const SYMBOLS_RESTRICTED: &str = "/proc/sys/kernel/kptr_restrict";
/// `s_magic` and name of file systems of which eBPF tells every write with its range, statfs(2).
const WITH_RANGES: [(u64, &str); 2] = [(EXT4, "ext4"), (0x5846_5342, "xfs")];
const EXT4: u64 = 0xef53;
/// `s_magic` of overlayfs, statfs(2).
const OVERLAY: u64 = 0x794c_7630;

pub(super) async fn look(context: &Context) -> Vec<Finding> {
    let mut findings = vec![kernel(Path::new(KERNEL_TYPES).exists())];
    if let Ok(status) = context.daemon().get::<Status>("status").await {
        findings.extend(sources(&status.capture));
    }
    if let Ok(config) = context.config() {
        findings.extend(config.roots.iter().filter_map(ranges));
    }
    findings
}

fn kernel(has_types: bool) -> Finding {
    match has_types {
        true => Finding::good(
            "kernel types",
            format!("{KERNEL_TYPES} is there: eBPF can be loaded"),
        ),
        false => Finding::warning(
            "kernel types",
            format!("there is no {KERNEL_TYPES}: no eBPF"),
            "use a kernel with CONFIG_DEBUG_INFO_BTF, as distributions build it, 5.15 or newer",
        ),
    }
}

/// What the running coordinator has.
fn sources(capture: &Capture) -> Vec<Finding> {
    let (ebpf, names) = (&capture.ebpf, &capture.names);
    let ebpf_finding = match (&*ebpf.state, &*names.state) {
        ("on", _) if ebpf.calls => Finding::note(
            "eBPF",
            "on, at system calls too, for a root's file system tells of no writes itself: every program pays some 0.15 µs a call ([witness] calls = false ends that; files written there are compared whole then)",
        ),
        ("on", _) => Finding::good(
            "eBPF",
            "on: writes of programs without the shim, and stores into mappings, are heard",
        ),
        ("off", _) => Finding::note("eBPF", format!("off{}", because(&ebpf.reason))),
        (state, "on") => Finding::warning(
            "eBPF",
            format!(
                "{state}: files written without the shim are compared whole, and stores into mappings are found by scans"
            ),
            ebpf.reason.clone(),
        ),
        (state, _) => Finding::warning(
            "eBPF",
            format!("{state}: what programs without the shim write is found by scans"),
            ebpf.reason.clone(),
        ),
    };
    let names_finding = match &*names.state {
        "on" => Finding::good(
            "fanotify",
            "on: names and attributes are heard, whoever changes them",
        ),
        "off" => Finding::note("fanotify", format!("off{}", because(&names.reason))),
        state => Finding::warning(
            "fanotify",
            format!("{state}: names that programs without the shim change are found by scans"),
            names.reason.clone(),
        ),
    };
    vec![ebpf_finding, names_finding]
}

fn because(reason: &str) -> String {
    match reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    }
}

/// Whether the file system of a root tells of ranges; nothing when it is not there.
fn ranges(root: &Root) -> Option<Finding> {
    let magic = statfs(&root.path).ok()?.f_type.cast_unsigned() & 0xffff_ffff;
    let known = WITH_RANGES.iter().find(|(known, _)| *known == magic);
    let subject = format!("root {}", root.name);
    let path = shown::path(std::os::unix::ffi::OsStrExt::as_bytes(
        root.path.as_os_str(),
    ));
    let restricted = || std::fs::read_to_string(SYMBOLS_RESTRICTED);
    Some(match known {
        Some((EXT4, name)) if restricted().is_ok_and(|word| word.trim() == "2") => {
            Finding::warning(
                &subject,
                format!(
                    "{path} is on {name}, and kernel.kptr_restrict is 2: files written without the shim are compared whole"
                ),
                "`sysctl kernel.kptr_restrict=1`, then restart the coordinator",
            )
        }
        Some((_, name)) => Finding::good(
            &subject,
            format!("{path} is on {name}: eBPF tells which bytes are written"),
        ),
        None if magic == OVERLAY => Finding::note(
            &subject,
            format!(
                "{path} is on overlayfs: eBPF tells which bytes are written where its upper directory is on ext4 or xfs and can be reached"
            ),
        ),
        None => Finding::note(
            &subject,
            format!(
                "{path} is on a file system that tells eBPF of no ranges: unless system calls are heard ([witness] calls), files written without the shim are compared whole"
            ),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn verdicts(ebpf: &str, names: &str) -> Vec<Verdict> {
        let mut capture = Capture::default();
        capture.ebpf.state = ebpf.to_owned();
        capture.names.state = names.to_owned();
        sources(&capture)
            .iter()
            .map(|finding| finding.verdict)
            .collect()
    }

    #[test]
    fn what_is_missing_is_worth_a_warning_and_what_is_off_is_not() {
        assert_eq!(verdicts("on", "on"), [Verdict::Good, Verdict::Good]);
        assert_eq!(verdicts("absent", "on"), [Verdict::Warning, Verdict::Good]);
        assert_eq!(
            verdicts("unavailable", "unavailable"),
            [Verdict::Warning, Verdict::Warning]
        );
        assert_eq!(verdicts("off", "off"), [Verdict::Note, Verdict::Note]);
    }
}
