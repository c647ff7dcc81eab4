//! `everwrite on`.

use clap::Args;
use everwrite_protocol::control::Status;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Turn the switch on: compare disk and index, then protect.
#[derive(Args, Debug)]
pub(crate) struct On {}

impl On {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let status: Status = context.daemon().post("on", &()).await?;
        context.answer(&status)?;
        context.say(format_args!(
            "on: {}; `everwrite status` tells when every root is CONTINUOUS",
            status.state
        ))?;
        Ok(Exit::Done)
    }
}
