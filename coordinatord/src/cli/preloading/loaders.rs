//! The dynamic loaders that a machine may have, one for each kind of program, see `ld.so(8)`.

use std::path::Path;

use super::object::Kind;
use super::root::Root;

/// A loader, by its path, which is part of each platform's ABI.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::cli) struct Loader {
    /// What its programs are called.
    pub(in crate::cli) programs: &'static str,
    /// Where it lies.
    pub(in crate::cli) path: &'static str,
    /// What it loads.
    pub(in crate::cli) kind: Kind,
    /// What it may put for `$LIB`, depending on the distribution.
    pub(in crate::cli) directories: &'static [&'static str],
}

const LOADERS: [Loader; 7] = [
    Loader {
        programs: "64-bit x86",
        path: "/lib64/ld-linux-x86-64.so.2",
        kind: kind(true, 62, 0),
        directories: &["lib/x86_64-linux-gnu", "lib64", "lib"],
    },
    Loader {
        programs: "64-bit ARM",
        path: "/lib/ld-linux-aarch64.so.1",
        kind: kind(true, 183, 0),
        directories: &["lib/aarch64-linux-gnu", "lib64", "lib"],
    },
    Loader {
        programs: "32-bit x86",
        path: "/lib/ld-linux.so.2",
        kind: kind(false, 3, 0),
        directories: &["lib/i386-linux-gnu", "lib32", "lib"],
    },
    Loader {
        programs: "x32",
        path: "/libx32/ld-linux-x32.so.2",
        kind: kind(false, 62, 0),
        directories: &["lib/x86_64-linux-gnux32", "libx32"],
    },
    Loader {
        programs: "32-bit ARM (hard float)",
        path: "/lib/ld-linux-armhf.so.3",
        kind: kind(false, 40, 0x0500_0400),
        directories: &["lib/arm-linux-gnueabihf", "lib"],
    },
    Loader {
        programs: "32-bit ARM",
        path: "/lib/ld-linux.so.3",
        kind: kind(false, 40, 0x0500_0200),
        directories: &["lib/arm-linux-gnueabi", "lib"],
    },
    Loader {
        programs: "64-bit RISC-V",
        path: "/lib/ld-linux-riscv64-lp64d.so.1",
        kind: kind(true, 243, 4),
        directories: &["lib/riscv64-linux-gnu", "lib64/lp64d", "lib64", "lib"],
    },
];

const fn kind(wide: bool, machine: u16, flags: u32) -> Kind {
    Kind {
        wide,
        machine,
        flags,
    }
}

/// The loader of the programs that the shim is made for.
pub(in crate::cli) fn own() -> &'static Loader {
    match cfg!(target_arch = "aarch64") {
        true => &LOADERS[1],
        false => &LOADERS[0],
    }
}

/// All others.
pub(in crate::cli) fn others() -> impl Iterator<Item = &'static Loader> {
    LOADERS.iter().filter(|loader| *loader != own())
}

impl Loader {
    /// Whether `root` has it.
    pub(in crate::cli) fn is_in(&self, root: &Root) -> bool {
        root.has(Path::new(self.path))
    }
}

/// All directories that any of them may put for `$LIB`.
pub(in crate::cli) fn directories() -> impl Iterator<Item = &'static str> {
    LOADERS
        .iter()
        .flat_map(|loader| loader.directories)
        .copied()
}
