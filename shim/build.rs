//! Links the library to nothing: no C runtime, no libc, no libgcc. A preload library that needs
//! another library, a symbol or a symbol version stops every program of a host that lacks it.

use std::process::Command;

fn main() {
    // Our own calls of exported names stay inside: another preload library must not come between.
    // Every program that starts pays for each piece that is mapped and each protection that changes:
    // so the few words that the loader fills in stay writable, as are the addresses of the real
    // functions beside them.
    let arguments = [
        "-nostartfiles",
        "-nodefaultlibs",
        "-Wl,-Bsymbolic-functions",
        "-Wl,-z,now",
        "-Wl,-z,norelro",
    ];
    for argument in arguments {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    if links_by_lld() {
        // One piece for code and constants, one body for functions that are alike.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--no-rosegment,--icf=all");
    }
    println!("cargo:rerun-if-changed=build.rs");
}

/// Since 1.90 Rust brings its own linker along, for this target.
fn links_by_lld() -> bool {
    let target = std::env::var("TARGET").unwrap_or_default();
    let compiler = std::env::var("RUSTC").unwrap_or_default();
    let version = Command::new(compiler).arg("-V").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    // rustc 1.90.0 (…)
    let minor = version
        .ok()
        .and_then(|version| version.split('.').nth(1)?.parse::<u32>().ok());
    target == "x86_64-unknown-linux-gnu" && minor.is_some_and(|minor| minor >= 90)
}
