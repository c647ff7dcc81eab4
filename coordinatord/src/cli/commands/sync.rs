//! `everwrite sync`.

use clap::Args;
use everwrite_protocol::control::{SyncAnswer, SyncRequest};

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::shown;

/// Wait until all that changed before this is stored at the receiver.
#[derive(Args, Debug)]
pub(crate) struct Sync {
    /// Also wait until it is in the receiver's mirror.
    #[arg(long)]
    applied: bool,
    /// Give up after this.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = shown::parse_span_ms)]
    timeout: u64,
}

impl Sync {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let request = SyncRequest {
            applied: self.applied,
            timeout_ms: self.timeout,
            checkpoint: None,
        };
        let answer: SyncAnswer = context.daemon().post("sync", &request).await?;
        context.answer(&answer)?;
        let what = if self.applied {
            "in the mirror"
        } else {
            "stored"
        };
        for point in &answer.points {
            context.say(format_args!(
                "{}: all is {what} up to @{}, after {}",
                point.receiver,
                point.stored.0,
                shown::span_ms(answer.took_ms)
            ))?;
        }
        Ok(Exit::Done)
    }
}
