//! `everwrite acknowledge`.

use clap::Args;
use everwrite_protocol::control::{AcknowledgeAnswer, AcknowledgeRequest, Status};
use everwrite_protocol::ids::Timestamp;

use crate::cli::bursts;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::shown;

/// You have seen the bursts of deleted or overwritten files that `everwrite status` shows: it shows them
/// no more. What can be restored stays as it is.
#[derive(Args, Debug)]
pub(crate) struct Acknowledge {}

impl Acknowledge {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let status: Status = context.daemon().get("status").await?;
        // What comes meanwhile has not been seen.
        let seen = status.bursts.iter().map(|burst| burst.at).max();
        let request = AcknowledgeRequest {
            until: seen.unwrap_or(Timestamp(i64::MIN)),
        };
        let answer: AcknowledgeAnswer = context.daemon().post("acknowledge", &request).await?;
        context.answer(&answer)?;
        for burst in &status.bursts {
            context.say(bursts::lines(burst, shown::now()))?;
        }
        context.say(format_args!(
            "{} acknowledged",
            shown::count(answer.acknowledged)
        ))?;
        Ok(Exit::Done)
    }
}
