//! With the feature `ebpf`: compiles the witness's program for the kernel, once for kernels that let it
//! read their structures by plain loads (6.2 and newer), once for others.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCES: &str = "src/witness/bpf";
const PROGRAM: &str = "witness.bpf.c";
/// `NAME=DIRECTORY` of objects that were compiled elsewhere, for building without clang.
const OBJECTS: &str = "EVERWRITE_BPF_OBJECTS";

fn main() {
    println!("cargo:rerun-if-changed={SOURCES}");
    println!("cargo:rerun-if-env-changed={OBJECTS}");
    println!("cargo:rerun-if-env-changed=CLANG");
    if std::env::var_os("CARGO_FEATURE_EBPF").is_none() {
        return;
    }
    let out = PathBuf::from(set("OUT_DIR"));
    for (object, options) in [
        ("witness.bpf.o", &[][..]),
        ("witness-plain-loads.bpf.o", &["-DPLAIN_LOADS"]),
    ] {
        match std::env::var_os(OBJECTS) {
            Some(objects) => copy(&Path::new(&objects).join(object), &out.join(object)),
            None => compile(options, &out.join(object)),
        }
    }
}

fn compile(options: &[&str], object: &Path) {
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let architecture = match set("CARGO_CFG_TARGET_ARCH").as_str() {
        "x86_64" => "x86",
        "aarch64" => "arm64",
        other => {
            panic!("the eBPF witness is not made for {other}: build without the feature `ebpf`")
        }
    };
    let mut command = Command::new(&clang);
    command
        .args([
            "-g", "-O2", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3",
        ])
        .arg(format!("-D__TARGET_ARCH_{architecture}"))
        .args(options)
        // Of libbpf, as libbpf-sys brings it.
        .arg(format!("-I{}", set("DEP_BPF_INCLUDE")))
        .arg("-c")
        .arg(Path::new(SOURCES).join(PROGRAM))
        .arg("-o")
        .arg(object);
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{clang} could not compile the eBPF witness ({status})"),
        Err(error) => panic!(
            "the feature `ebpf` needs clang ({clang}: {error}): install it (scripts/setup does), build without the feature, or name a directory with compiled objects in {OBJECTS}"
        ),
    }
}

fn copy(from: &Path, to: &Path) {
    if let Err(error) = std::fs::copy(from, to) {
        panic!("{} ({OBJECTS}): {error}", from.display());
    }
}

fn set(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("cargo sets {variable}"))
}
