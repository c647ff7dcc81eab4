//! How a command ends: exit codes, and errors for people.

use std::fmt;
use std::process::ExitCode;

use everwrite_protocol::control::ApiError;

/// Exit codes of every command, part of the contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
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
    pub fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Done,
            2 => Self::Usage,
            3 => Self::Unreachable,
            4 => Self::Refused,
            _ => Self::Negative,
        }
    }

    /// Of a command line that was not run: help and version are done.
    pub fn parsing(error: &clap::Error) -> Self {
        match error.use_stderr() {
            true => Self::Usage,
            false => Self::Done,
        }
    }

    /// Done if `yes`, negative otherwise.
    pub fn answer(yes: bool) -> Self {
        if yes { Self::Done } else { Self::Negative }
    }
}

/// Why a command could not do what it was asked to: path and cause, and what to do next.
#[derive(Debug)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What went wrong.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
}

impl Failure {
    /// Of any kind.
    pub fn new(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The arguments are wrong.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, hint)
    }

    /// It can't be done, or is not there.
    pub fn negative(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Negative, message, hint)
    }

    /// As the API gives errors.
    pub fn to_api(&self) -> ApiError {
        ApiError {
            error: self.message.clone(),
            hint: self.hint.clone(),
            exit: self.exit as u8,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
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
        assert_eq!(failure.to_string(), "no root is called \"x\"\n  see status");
        assert_eq!(Failure::negative("gone", "").to_string(), "gone");
    }
}
