//! What a tracer says of itself, whether or not there is one.

use thiserror::Error;

use super::event::Number;

/// Why there is no eBPF, for people.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(super) enum TracerProblem {
    /// Built without it.
    #[cfg_attr(feature = "ebpf", allow(dead_code, reason = "this build has it"))]
    #[error(
        "this build has no eBPF (it was built without clang): install clang and build again with scripts/build"
    )]
    NotBuilt,
    /// The kernel does not describe its structures.
    #[error(
        "this kernel has no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF): eBPF needs it; use a distribution's kernel, 5.15 or newer"
    )]
    NoTypes,
    /// Rights.
    #[error(
        "loading eBPF is not permitted: run the coordinator as root, or give it CAP_BPF and CAP_PERFMON (in a container also seccomp must allow bpf(2))"
    )]
    NotPermitted,
    /// Anything else.
    #[error("{doing}: {cause}")]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// What the kernel or the loader said.
        cause: String,
    },
}

/// What could not be told for want of room.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Lost {
    /// Files by root and number.
    pub(super) files: Vec<(u32, Number)>,
    /// There were more than the table of files holds.
    pub(super) more: bool,
}

impl Lost {
    /// Nothing was lost?
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.more
    }
}

/// Counts since the programs were attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct TracerCounters {
    /// Events told.
    pub(super) told: u64,
    /// Events not told, their files remembered.
    pub(super) dropped: u64,
    /// Events not told, and not even their files remembered.
    pub(super) dropped_unnamed: u64,
    /// Files that may lie below a root, and could not be placed: too deep, or in no tree.
    pub(super) unplaced: u64,
}
