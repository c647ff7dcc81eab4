//! The first copy of a root, watched until all of it is stored.

use std::time::Duration;

use everwrite_protocol::control::{RootStatus, State, Status};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::context::Context;
use super::exit::{Exit, Failure};
use super::shown;

/// How often the daemon is asked.
const POLL: Duration = Duration::from_millis(200);

/// Shows the progress of `root` until it is CONTINUOUS. Leaving early leaves the copy going.
pub(super) async fn watch(context: &Context, root: &str) -> Result<Exit, Failure> {
    let daemon = context.daemon();
    let progress = bar(context);
    loop {
        let status: Status = daemon.get("status").await?;
        let Some(now) = status.roots.iter().find(|known| known.name == root) else {
            progress.finish_and_clear();
            return Err(Failure::negative(
                format!("{root} is no longer protected"),
                "",
            ));
        };
        match now.state {
            State::Continuous => return done(context, &progress, now),
            State::Error | State::Off | State::Paused => return halted(context, &progress, now),
            _ => show(&progress, now),
        }
        tokio::time::sleep(POLL).await;
    }
}

fn bar(context: &Context) -> ProgressBar {
    let target = match context.json {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let style = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} files  {msg}");
    ProgressBar::with_draw_target(Some(0), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// How many files there are grows while the scan goes on; what is done never shrinks.
fn show(progress: &ProgressBar, root: &RootStatus) {
    let seen = root.files.max(root.scan_files).max(root.backlog_files);
    let done = seen
        .saturating_sub(root.backlog_files)
        .max(progress.position());
    progress.set_length(seen.max(done));
    progress.set_position(done);
    let waiting = shown::bytes(root.backlog_bytes);
    progress.set_message(match root.reason.as_str() {
        "" => format!("{}, {waiting} waiting", root.state),
        reason => format!("{} ({reason}), {waiting} waiting", root.state),
    });
}

fn done(context: &Context, progress: &ProgressBar, root: &RootStatus) -> Result<Exit, Failure> {
    progress.finish_and_clear();
    context.answer(root)?;
    context.say(format_args!(
        "{}: {}, {} files are stored at {}",
        root.name,
        root.state,
        shown::count(root.files),
        root.receiver
    ))?;
    for unreadable in &root.unreadable {
        let path = shown::path(unreadable.path.as_bytes());
        context.note(format_args!(
            "could not be read: {path}: {}",
            unreadable.error
        ));
    }
    if root.unreadable_count > root.unreadable.len() as u64 {
        context.note(format_args!(
            "could not be read in all: {}",
            root.unreadable_count
        ));
    }
    Ok(Exit::Done)
}

fn halted(context: &Context, progress: &ProgressBar, root: &RootStatus) -> Result<Exit, Failure> {
    progress.finish_and_clear();
    context.answer(root)?;
    let hint = match root.state {
        State::Error => "`everwrite status` tells more",
        _ => "`everwrite on` turns it on; the first copy goes on then",
    };
    Err(Failure::negative(
        format!("{} is {}: {}", root.name, root.state, root.reason),
        hint,
    ))
}
