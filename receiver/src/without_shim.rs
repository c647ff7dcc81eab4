//! The daemons run without the shim. Where every program has it, one of them would tell the coordinator
//! what it writes itself: the index, the log, the mirror. Nobody wants to know, and a coordinator that
//! waits for its own answer would wait in vain.

use std::os::unix::process::CommandExt;
use std::process::Command;

use everwrite_protocol::local::KILL_SWITCH_VARIABLE;

/// File name of the shim.
const SHIM: &str = "libeverwrite_shim.so";

/// Begins this program again with the shim switched off, if it has one. To be called before anything
/// else is done: the process stays the same, but what it holds is lost.
pub fn begin_again() {
    if !has_shim() || is_switched_off() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| program.clone().into());
    let error = Command::new(&program)
        .arg0(name)
        .args(arguments)
        .env(KILL_SWITCH_VARIABLE, "1")
        .exec();
    // With the shim it is slower, not wrong.
    eprintln!(
        "{}: can't begin again without the shim: {error}",
        program.display()
    );
}

fn has_shim() -> bool {
    let maps = std::fs::read("/proc/self/maps").unwrap_or_default();
    let name = SHIM.as_bytes();
    maps.windows(name.len()).any(|found| found == name)
}

fn is_switched_off() -> bool {
    std::env::var_os(KILL_SWITCH_VARIABLE).is_some_and(|value| value == "1")
}

#[cfg(test)]
mod tests {
    #[test]
    fn without_a_shim_nothing_happens() {
        super::begin_again();
        assert!(!super::has_shim());
    }
}
