//! What the daemon and the configuration refuse, as failures of a command.

use everwrite_protocol::control::ApiError;
use everwrite_receiver::answers::exit::{Exit, Failure};

use crate::config::{ConfigError, Problem};
use crate::control::ClientError;

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
    fn refusals_keep_their_code() {
        let overlap = Problem::InsideStore {
            root: "/s/x".into(),
            store: "/s".into(),
        };
        assert_eq!(Failure::from(overlap).exit, Exit::Refused);
        assert_eq!(Failure::from(Problem::NothingPaired).exit, Exit::Usage);
    }
}
