//! `everwrite unprotect R`.

use clap::Args;
use everwrite_protocol::control::UnprotectRequest;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Stop protecting a root. Its history stays at the receiver.
#[derive(Args, Debug)]
pub(crate) struct Unprotect {
    /// Name of the root.
    #[arg(value_name = "R")]
    root: String,
}

impl Unprotect {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let request = UnprotectRequest { root: self.root };
        let () = context.daemon().post("unprotect", &request).await?;
        context.answer(&request)?;
        let root = &request.root;
        context.say(format_args!(
            "{root} is no longer protected; its history stays: `everwrite log {root}:`"
        ))?;
        Ok(Exit::Done)
    }
}
