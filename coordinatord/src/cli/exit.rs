//! How a command ends: exit codes, and errors for people.

use std::fmt;
use std::process::ExitCode;

use everwrite_protocol::control::ApiError;

use crate::config::{ConfigError, Problem};
use crate::control::ClientError;

/// Exit codes of every command, part of the contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exit {
    /// Done, or: yes.
    Done = 0,
    /// No: differences, not protected, not continuous, not there.
    Negative = 1,
    /// The arguments or the configuration are wrong.
    Usage = 2,
    /// A daemon can't be reached.
    Unreachable = 3,
    /// Refused for safety.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// From the code that a daemon gives with an error.
    pub(super) fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Done,
            2 => Self::Usage,
            3 => Self::Unreachable,
            4 => Self::Refused,
            _ => Self::Negative,
        }
    }

    /// Done if `yes`, negative otherwise.
    pub(super) fn answer(yes: bool) -> Self {
        if yes { Self::Done } else { Self::Negative }
    }
}

/// Why a command could not do what it was asked to: path and cause, and what to do next.
#[derive(Debug)]
pub(super) struct Failure {
    /// How the program ends.
    pub(super) exit: Exit,
    /// What went wrong.
    pub(super) message: String,
    /// What to do next; may be empty.
    pub(super) hint: String,
}

impl Failure {
    /// Of any kind.
    pub(super) fn new(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The arguments are wrong.
    pub(super) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, hint)
    }

    /// It can't be done, or is not there.
    pub(super) fn negative(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Negative, message, hint)
    }

    /// As the API gives errors.
    pub(super) fn to_api(&self) -> ApiError {
        ApiError {
            error: self.message.clone(),
            hint: self.hint.clone(),
            exit: self.exit as u8,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "everwrite: {}", self.message)?;
        match self.hint.as_str() {
            "" => Ok(()),
            hint => write!(f, "\n  {hint}"),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::new(Exit::from_code(error.exit), error.error, error.hint)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Refused(refusal) => refusal.into(),
            ClientError::Unreachable { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Self::new(
                    Exit::Unreachable,
                    message,
                    "it belongs to another user; try with sudo",
                )
            }
            ClientError::Unreachable { .. } => Self::new(
                Exit::Unreachable,
                message,
                "start it: `systemctl start everwrite-coordinatord`, or with a home of your own \
                 `everwrite-coordinatord --home DIR` (the same --home or EVERWRITE_HOME here)",
            ),
            ClientError::Broken(_) => Self::new(
                Exit::Unreachable,
                message,
                "see its log, and repeat the command",
            ),
            ClientError::Malformed(_) => Self::new(
                Exit::Unreachable,
                message,
                "command line and daemon may be of different versions; restart the daemon",
            ),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        ApiError::from(problem).into()
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        ApiError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_contract_s() {
        let codes = [
            Exit::Done,
            Exit::Negative,
            Exit::Usage,
            Exit::Unreachable,
            Exit::Refused,
        ];
        for (code, exit) in codes.into_iter().enumerate() {
            assert_eq!(exit as usize, code);
            assert_eq!(Exit::from_code(code as u8), exit);
        }
    }

    #[test]
    fn an_error_says_what_to_do_next_on_a_line_of_its_own() {
        let failure = Failure::negative("no root is called \"x\"", "see status");
        assert_eq!(
            failure.to_string(),
            "everwrite: no root is called \"x\"\n  see status"
        );
        assert_eq!(Failure::negative("gone", "").to_string(), "everwrite: gone");
    }

    #[test]
    fn refusals_keep_their_code() {
        let overlap = Problem::InsideStore {
            root: "/s/x".into(),
            store: "/s".into(),
        };
        assert_eq!(Failure::from(overlap).exit, Exit::Refused);
        assert_eq!(Failure::from(Problem::NothingPaired).exit, Exit::Usage);
    }
}
