//! What may be wrong with this source, and how to mend it. Each check looks at one thing and never
//! changes any.

mod daemon;
mod machine;
mod preload;
mod receivers;
mod roots;
mod shim;
mod witness;

use serde::Serialize;

use super::context::Context;

/// How grave a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Protection is weaker than it could be.
    Warning,
    /// Something is not protected.
    Bad,
}

/// What one check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) subject: String,
    /// How grave it is.
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) found: String,
    /// How to mend it; empty when there is nothing to mend.
    pub(super) hint: String,
}

impl Finding {
    fn good(subject: &str, found: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Good, found, "")
    }

    fn note(subject: &str, found: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Note, found, "")
    }

    fn warning(subject: &str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Warning, found, hint)
    }

    fn bad(subject: &str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Bad, found, hint)
    }

    fn new(
        subject: &str,
        verdict: Verdict,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.to_owned(),
            verdict,
            found: found.into(),
            hint: hint.into(),
        }
    }
}

/// Looks at everything.
pub(super) async fn findings(context: &Context) -> Vec<Finding> {
    let mut findings = machine::look(&context.paths);
    findings.extend(daemon::look(context).await);
    findings.extend(witness::look(context).await);
    findings.extend(shim::look(&context.paths));
    findings.extend(preload::look(&context.paths));
    match context.config() {
        Ok(config) => {
            let file = context.paths.config_file().display();
            findings.push(Finding::good("configuration", format!("{file} is sound")));
            findings.extend(receivers::look(context, &config).await);
            findings.extend(roots::look(&config));
        }
        Err(failure) => {
            findings.push(Finding::bad("configuration", failure.message, failure.hint));
        }
    }
    findings
}
