//! `everwrite checkpoint NAME`.

use clap::Args;
use everwrite_protocol::control::{SyncAnswer, SyncRequest};

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{moment, shown};

/// Make a named recovery point, after all that changed before it is stored.
#[derive(Args, Debug)]
pub(crate) struct Checkpoint {
    /// Its name, to be given as `--at NAME` later.
    name: String,
    /// Give up after this.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = shown::parse_span_ms)]
    timeout: u64,
}

/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 255;

impl Checkpoint {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        check(&self.name)?;
        let request = SyncRequest {
            applied: false,
            timeout_ms: self.timeout,
            checkpoint: Some(self.name.clone()),
        };
        let answer: SyncAnswer = context.daemon().post("sync", &request).await?;
        context.answer(&answer)?;
        for point in &answer.points {
            context.say(format_args!(
                "{}: checkpoint {} is @{}, after {}",
                point.receiver,
                shown::path(self.name.as_bytes()),
                point.stored.0,
                shown::span_ms(answer.took_ms)
            ))?;
        }
        Ok(Exit::Done)
    }
}

/// A name must not be taken for a time when it is given back.
fn check(name: &str) -> Result<(), Failure> {
    let cause = match name {
        "" => "it is empty",
        _ if name.len() > NAME_BYTES_MAX => "it has more than 255 bytes",
        _ if name.contains(char::is_control) => "it has a control character in it",
        _ if name.starts_with(['@', '-']) => "it begins with @ or a dash",
        _ if moment::is_time(name) => "it could be taken for a time",
        _ => return Ok(()),
    };
    let name = shown::path(name.as_bytes());
    Err(Failure::usage(
        format!("checkpoint name `{name}`: {cause}"),
        "choose another",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_times() {
        for good in ["before-upgrade", "v1.2", "ünter"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "@7", "10m ago", "2026-11-22T19:00:00Z", "a\nb", "-x"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
