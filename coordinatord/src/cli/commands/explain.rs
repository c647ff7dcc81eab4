//! `everwrite explain PATH`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use everwrite_protocol::control::Explanation;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{place, shown};
use crate::control::ClientError;
use crate::exclude;

/// Why a path is, or is not, protected. Exit code 1: it is not.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The path; it need not exist.
    path: PathBuf,
}

impl Explain {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let path = place::real(&self.path)?;
        let hex: String = path
            .as_os_str()
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let explanation = match context.daemon().get(&format!("explain?hex={hex}")).await {
            Ok(explanation) => explanation,
            Err(ClientError::Unreachable { .. }) => without_daemon(context, &path)?,
            Err(error) => return Err(error.into()),
        };
        context.answer(&explanation)?;
        let word = if explanation.protected {
            "protected"
        } else {
            "NOT protected"
        };
        let path = shown::path(path.as_os_str().as_bytes());
        context.say(format_args!("{path}: {word}: {}", explanation.reason))?;
        if let Some(stored) = explanation.last_stored {
            context.say(format_args!("  last stored in @{}", stored.0))?;
        }
        Ok(Exit::answer(explanation.protected))
    }
}

/// What the configuration says; but nothing protects while no coordinator runs.
fn without_daemon(context: &Context, path: &Path) -> Result<Explanation, Failure> {
    let explained = exclude::explain(&context.config()?, &context.paths, path);
    let reason = match explained.protected {
        true => format!("{}, but no coordinator is running", explained.reason),
        false => explained.reason,
    };
    Ok(Explanation {
        protected: false,
        reason,
        ..explained
    })
}
