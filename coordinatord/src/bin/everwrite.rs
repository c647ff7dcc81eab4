//! The command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    end_quietly_with_the_reader();
    everwrite_coordinatord::cli::main(std::env::args_os())
}

/// `everwrite log | head` is to end as any other program would, not with an error.
fn end_quietly_with_the_reader() {
    // SAFETY: setting a disposition to its default has no precondition, and no thread runs yet.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
