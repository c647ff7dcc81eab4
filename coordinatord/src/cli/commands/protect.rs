//! `everwrite protect DIR`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use everwrite_protocol::control::{PathText, ProtectRequest, RootStatus};
use std::os::unix::ffi::OsStrExt;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::local_failed;
use crate::cli::{initial_copy, shown};
use crate::config::absolute_destination;

/// Protect a directory from now on.
#[derive(Args, Debug)]
pub(crate) struct Protect {
    /// The directory.
    dir: PathBuf,
    /// Name of the root; the directory's own when not given.
    #[arg(long, value_name = "R")]
    name: Option<String>,
    /// A receiver's name, or `dir:PATH` for a store on this machine; needed only when several are
    /// paired.
    #[arg(long, value_name = "N|dir:PATH")]
    to: Option<OsString>,
    /// The promise: no change waits longer than this to be stored, such as 1s.
    #[arg(long, value_name = "TIME", value_parser = shown::parse_span_ms)]
    rpo: Option<u64>,
    /// A program's fsync returns only when the receiver has stored what it covers (programs with the shim;
    /// `durable_fsync` in the configuration says for how long it waits at most).
    #[arg(long)]
    durable_fsync: bool,
    /// Wait for the first copy, showing its progress; the default on a terminal.
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return at once.
    #[arg(long)]
    no_wait: bool,
}

impl Protect {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let request = self.request()?;
        let root: RootStatus = context.daemon().post("protect", &request).await?;
        context.note(format_args!(
            "{} is protected as {}, to {}",
            shown::path(root.path.as_bytes()),
            root.name,
            root.receiver
        ));
        if self.wait || (!self.no_wait && context.is_watched()) {
            return initial_copy::watch(context, &root.name).await;
        }
        context.answer(&root)?;
        context.say("the first copy has begun; `everwrite status` shows how far it is")?;
        Ok(Exit::Done)
    }

    fn request(&self) -> Result<ProtectRequest, Failure> {
        let path = directory(&self.dir)?;
        let to = self
            .to
            .as_deref()
            .map(|to| destination(to.as_bytes()))
            .transpose()?;
        Ok(ProtectRequest {
            path: PathText::from_bytes(path.as_os_str().as_bytes()),
            name: self.name.clone(),
            to,
            rpo_ms: self.rpo,
            durable_fsync: self.durable_fsync,
        })
    }
}

/// The real path of a directory: a root that is named through a link is the directory behind it.
fn directory(path: &Path) -> Result<PathBuf, Failure> {
    let real = path.canonicalize().map_err(|error| Failure {
        exit: Exit::Usage,
        ..local_failed("protect", path, &error)
    })?;
    match real.is_dir() {
        true => Ok(real),
        false => Err(Failure::usage(
            format!(
                "protect {}: not a directory",
                shown::path(path.as_os_str().as_bytes())
            ),
            "protect the directory that holds the file",
        )),
    }
}

/// `--to` for the daemon, which has another working directory.
fn destination(to: &[u8]) -> Result<String, Failure> {
    let text = std::str::from_utf8(to).map_err(|_| {
        Failure::usage(
            "--to is not UTF-8",
            "use a store whose path is UTF-8, or a receiver's name",
        )
    })?;
    let base = std::env::current_dir()
        .map_err(|error| Failure::negative(format!("working directory: {error}"), ""))?;
    Ok(absolute_destination(text, &base))
}
