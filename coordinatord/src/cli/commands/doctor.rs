//! `everwrite doctor`.

use clap::Args;

use crate::cli::checkup::{self, Finding, Verdict};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// What is wrong, and how to mend it. Exit code 1: something is not protected.
#[derive(Args, Debug)]
pub(crate) struct Doctor {}

impl Doctor {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let findings = checkup::findings(context).await;
        for finding in &findings {
            context.say(line(finding))?;
        }
        context.answer(&findings)?;
        Ok(Exit::answer(
            findings
                .iter()
                .all(|finding| finding.verdict < Verdict::Bad),
        ))
    }
}

fn line(finding: &Finding) -> String {
    let word = match finding.verdict {
        Verdict::Good => "good",
        Verdict::Note => "note",
        Verdict::Warning => "WARNING",
        Verdict::Bad => "BAD",
    };
    let hint = match finding.hint.as_str() {
        "" => String::new(),
        hint => format!("\n{:34}→ {hint}", ""),
    };
    format!("{word:<8}{:<24}  {}{hint}", finding.subject, finding.found)
}
