//! `everwrite reconcile [R]`.

use clap::Args;
use everwrite_protocol::control::{ReconcileAnswer, ReconcileRequest};

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::shown;

/// Compare disk and index now. Exit code 1: changes were found that nothing had announced.
#[derive(Args, Debug)]
pub(crate) struct Reconcile {
    /// Name of the root; all when not given.
    #[arg(value_name = "R")]
    root: Option<String>,
    /// A root that has become empty was meant to: let its files go (they stay in the history).
    #[arg(long)]
    accept_empty: bool,
    /// Give up waiting after this; the comparison goes on.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = shown::parse_span_ms)]
    timeout: u64,
}

impl Reconcile {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let request = ReconcileRequest {
            root: self.root,
            accept_empty: self.accept_empty,
            timeout_ms: self.timeout,
        };
        let answer: ReconcileAnswer = context.daemon().post("reconcile", &request).await?;
        context.answer(&answer)?;
        context.say(format_args!(
            "compared {} files and directories: {} changes that nothing had announced",
            shown::count(answer.compared),
            shown::count(answer.misses)
        ))?;
        for path in &answer.missed_paths {
            context.say(format_args!(
                "  {}",
                shown::path(&path.to_bytes().unwrap_or_default())
            ))?;
        }
        let unnamed = answer
            .misses
            .saturating_sub(answer.missed_paths.len() as u64);
        if unnamed > 0 {
            context.say(format_args!("  and {} more", shown::count(unnamed)))?;
        }
        Ok(Exit::answer(answer.misses == 0))
    }
}
