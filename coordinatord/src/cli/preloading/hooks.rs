//! The functions that the shim stands in front of, against those that this machine's libc has.
//!
//! The list is the library's own: its table of hooks makes the names that it exports. A name for which
//! libc has nothing, and nobody knows why, is a row that was never tried here.

use std::collections::BTreeSet;

use serde::Serialize;

use super::symbols;

/// Not a hook: it tells gcc's address sanitizer not to look who comes first.
const FOR_SANITIZERS: &str = "__asan_default_options";

/// What some libc may lack, and why.
const ELSEWHERE: [(&[&str], &str); 6] = [
    (&["io_getevents", "io_pgetevents", "io_submit"], "of libaio"),
    (
        &[
            "io_uring_queue_init",
            "io_uring_queue_init_mem",
            "io_uring_queue_init_params",
            "io_uring_setup",
        ],
        "of liburing",
    ),
    (
        &["openat2", "pidfd_spawn", "pidfd_spawnp"],
        "of a newer C library",
    ),
    (
        &["close_range", "closefrom", "mkfifoat", "mknod", "mknodat"],
        "exported by newer C libraries only",
    ),
    (&["__xmknod", "__xmknodat"], "of older C libraries"),
    (
        &[
            "aio_error",
            "aio_error64",
            "aio_fsync",
            "aio_fsync64",
            "aio_return",
            "aio_return64",
            "aio_write",
            "aio_write64",
            "lio_listio",
            "lio_listio64",
            "login",
            "login_tty",
            "logout",
            "logwtmp",
        ],
        "of librt and libutil, which glibc 2.34 took in",
    ),
];

/// The functions, by what this machine has of them.
#[derive(PartialEq, Eq, Debug, Serialize)]
pub(in crate::cli) struct Hooks {
    /// libc has them.
    pub(in crate::cli) present: Vec<String>,
    /// It does not, and why.
    pub(in crate::cli) absent: Vec<Absent>,
    /// It does not, and nobody knows why.
    pub(in crate::cli) unexplained: Vec<String>,
}

/// A function that libc does not have.
#[derive(PartialEq, Eq, Debug, Serialize)]
pub(in crate::cli) struct Absent {
    /// Its name.
    pub(in crate::cli) name: String,
    /// Where it is instead.
    pub(in crate::cli) reason: &'static str,
}

impl Hooks {
    /// Of a shim, before a libc, both as files; `None`: one of them is no library.
    pub(in crate::cli) fn of(shim: &[u8], libc: &[u8]) -> Option<Self> {
        let mut hooks = symbols::functions(shim)?;
        hooks.remove(FOR_SANITIZERS);
        Some(Self::compare(hooks, &symbols::functions(libc)?))
    }

    fn compare(hooks: BTreeSet<String>, libc: &BTreeSet<String>) -> Self {
        let (present, others): (Vec<_>, Vec<_>) =
            hooks.into_iter().partition(|name| libc.contains(name));
        let (mut absent, mut unexplained) = (Vec::new(), Vec::new());
        for name in others {
            match reason(&name) {
                Some(reason) => absent.push(Absent { name, reason }),
                None => unexplained.push(name),
            }
        }
        Self {
            present,
            absent,
            unexplained,
        }
    }

    /// For people.
    pub(in crate::cli) fn line(&self) -> String {
        let (present, all) = (
            self.present.len(),
            self.present.len() + self.absent.len() + self.unexplained.len(),
        );
        let absent: Vec<_> = self
            .absent
            .iter()
            .map(|Absent { name, reason }| format!("{name} {reason}"))
            .chain(
                self.unexplained
                    .iter()
                    .map(|name| format!("{name} UNKNOWN")),
            )
            .collect();
        match absent.is_empty() {
            true => format!("functions: all {all} that the shim knows are in this C library"),
            false => format!(
                "functions: {present} of {all} that the shim knows are in this C library; not: {}",
                absent.join(", ")
            ),
        }
    }
}

fn reason(name: &str) -> Option<&'static str> {
    let known = ELSEWHERE.iter().find(|(names, _)| names.contains(&name));
    known.map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_can_explain_is_told_apart() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let hooks = Hooks::compare(set(&["write", "openat2", "new"]), &set(&["write", "read"]));
        assert_eq!(hooks.present, ["write"]);
        assert_eq!(hooks.absent[0].name, "openat2");
        assert_eq!(hooks.unexplained, ["new"]);
        assert_eq!(
            hooks.line(),
            "functions: 1 of 3 that the shim knows are in this C library; not: openat2 of a newer C library, new UNKNOWN"
        );
    }
}
