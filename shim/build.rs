//! Links the library to nothing: no C runtime, no libc, no libgcc. A preload library that needs
//! another library, a symbol or a symbol version stops every program of a host that lacks it.

fn main() {
    // Our own calls of exported names stay inside: another preload library must not come between.
    let arguments = [
        "-nostartfiles",
        "-nodefaultlibs",
        "-Wl,-Bsymbolic-functions",
        "-Wl,-z,now",
    ];
    for argument in arguments {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
