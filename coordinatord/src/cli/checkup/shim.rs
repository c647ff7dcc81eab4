//! The shim: is it there, can it be loaded anywhere, will it find a living coordinator.

use std::path::Path;

use everwrite_protocol::local::{
    HEARTBEAT_STALE_SECONDS, KILL_SWITCH_FILE_NAME, KILL_SWITCH_VARIABLE, LOCAL_VERSION,
    POLICY_FILE_NAME, POLICY_MAGIC,
};
use rustix::time::{ClockId, clock_gettime};

use super::Finding;
use crate::cli::shim_library;
use crate::config::Paths;

pub(super) fn look(paths: &Paths) -> Vec<Finding> {
    let mut findings = vec![library(), policy(&paths.run().join(POLICY_FILE_NAME))];
    findings.extend(kill_switches(paths.run()));
    findings
}

fn library() -> Finding {
    let path = match shim_library::find() {
        Ok(path) => path,
        Err(failure) => return Finding::bad("shim", failure.message, failure.hint),
    };
    let place = path.display();
    let damaged = "install it again";
    match std::fs::read(&path).map(|elf| shim_library::needed(&elf)) {
        Ok(Some(0)) => Finding::good("shim", format!("{place} needs no other library")),
        Ok(Some(count)) => Finding::warning(
            "shim",
            format!("{place} needs {count} other libraries, so it can't be loaded everywhere"),
            "build it by `scripts/build`, which builds it by itself",
        ),
        Ok(None) => Finding::bad("shim", format!("{place} is no 64-bit ELF library"), damaged),
        Err(error) => Finding::bad("shim", format!("{place}: {error}"), damaged),
    }
}

/// What a shim sees of the coordinator before it talks to it.
fn policy(path: &Path) -> Finding {
    let subject = "policy page";
    let place = path.display();
    let page = match std::fs::read(path) {
        Ok(page) => page,
        Err(error) => {
            let hint = "start the coordinator, which makes it";
            return Finding::bad(subject, format!("{place}: {error}"), hint);
        }
    };
    let Some(page) = Page::parse(&page) else {
        let hint = "restart the coordinator; shims and coordinator may be of different versions";
        return Finding::bad(subject, format!("{place} is none of this version"), hint);
    };
    let age_s = u64::try_from(clock_gettime(ClockId::Monotonic).tv_sec)
        .unwrap_or_default()
        .saturating_sub(page.heartbeat_s);
    match (age_s > HEARTBEAT_STALE_SECONDS, page.switch_on) {
        (true, _) => Finding::bad(
            subject,
            format!("the coordinator's last sign of life is {age_s} s old"),
            "start the coordinator, or see its log for why it hangs",
        ),
        (false, false) => {
            Finding::warning(subject, "fresh, but the switch is off", "`everwrite on`")
        }
        (false, true) => Finding::good(subject, format!("{place} is fresh, the switch is on")),
    }
}

/// The first words of a [`PolicyPage`](everwrite_protocol::local::PolicyPage).
struct Page {
    switch_on: bool,
    heartbeat_s: u64,
}

impl Page {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let short = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let current = long(MAGIC_AT)? == POLICY_MAGIC && short(VERSION_AT)? == LOCAL_VERSION;
        let page = Self {
            switch_on: short(SWITCH_AT)? != 0,
            heartbeat_s: long(HEARTBEAT_AT)?,
        };
        current.then_some(page)
    }
}

const MAGIC_AT: usize = std::mem::offset_of!(everwrite_protocol::local::PolicyPage, magic);
const VERSION_AT: usize = std::mem::offset_of!(everwrite_protocol::local::PolicyPage, version);
const SWITCH_AT: usize = std::mem::offset_of!(everwrite_protocol::local::PolicyPage, switch_on);
const HEARTBEAT_AT: usize =
    std::mem::offset_of!(everwrite_protocol::local::PolicyPage, heartbeat_s);

fn kill_switches(run: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let file = run.join(KILL_SWITCH_FILE_NAME);
    if file.exists() {
        findings.push(Finding::warning(
            "kill switch",
            format!("{} turns every shim off", file.display()),
            "remove the file",
        ));
    }
    if std::env::var_os(KILL_SWITCH_VARIABLE).is_some_and(|value| value == "1") {
        findings.push(Finding::warning(
            "kill switch",
            format!("{KILL_SWITCH_VARIABLE}=1 turns the shim off in what is started from here"),
            format!("unset {KILL_SWITCH_VARIABLE}"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn page(magic: u64, version: u32, switch_on: u32, heartbeat_s: u64) -> Vec<u8> {
        let mut page = vec![0; 4096];
        page[MAGIC_AT..][..8].copy_from_slice(&magic.to_ne_bytes());
        page[VERSION_AT..][..4].copy_from_slice(&version.to_ne_bytes());
        page[SWITCH_AT..][..4].copy_from_slice(&switch_on.to_ne_bytes());
        page[HEARTBEAT_AT..][..8].copy_from_slice(&heartbeat_s.to_ne_bytes());
        page
    }

    #[test]
    fn the_page_tells_whether_a_coordinator_lives() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy");
        assert_eq!(policy(&file).verdict, Verdict::Bad, "there is none");
        let now = clock_gettime(ClockId::Monotonic).tv_sec.cast_unsigned();
        let cases = [
            (page(POLICY_MAGIC, LOCAL_VERSION, 1, now), Verdict::Good),
            (page(POLICY_MAGIC, LOCAL_VERSION, 0, now), Verdict::Warning),
            (
                page(POLICY_MAGIC, LOCAL_VERSION, 1, now.saturating_sub(60)),
                Verdict::Bad,
            ),
            (page(POLICY_MAGIC, LOCAL_VERSION + 1, 1, now), Verdict::Bad),
            (page(0, LOCAL_VERSION, 1, now), Verdict::Bad),
            (vec![], Verdict::Bad),
        ];
        for (bytes, verdict) in cases {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(policy(&file).verdict, verdict, "{:?}", policy(&file));
        }
    }

    #[test]
    fn the_file_that_turns_shims_off_is_seen() {
        let run = tempfile::tempdir().unwrap();
        assert!(kill_switches(run.path()).is_empty());
        std::fs::write(run.path().join(KILL_SWITCH_FILE_NAME), "").unwrap();
        assert_eq!(kill_switches(run.path()).len(), 1);
    }
}
