//! `everwrite off [--for TIME]`.

use clap::Args;
use everwrite_protocol::control::{OffRequest, Status};

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::shown;

/// Turn the switch off: nothing is captured until it is on again.
#[derive(Args, Debug)]
pub(crate) struct Off {
    /// Turn on again by itself after this, such as 1h.
    #[arg(long = "for", value_name = "TIME", value_parser = shown::parse_span_ms)]
    span_ms: Option<u64>,
}

impl Off {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let request = OffRequest {
            for_ms: self.span_ms,
        };
        let status: Status = context.daemon().post("off", &request).await?;
        context.answer(&status)?;
        let until = status
            .resumes_at
            .map(|at| format!(" until {}", shown::time(at)));
        context.say(format_args!(
            "{}{}: unprotected since {}; `everwrite on` catches up with what changes meanwhile",
            status.state,
            until.unwrap_or_default(),
            shown::time(status.since)
        ))?;
        Ok(Exit::Done)
    }
}
