//! `everwrite pair CODE`.

use clap::Args;
use everwrite_protocol::control::{PairAnswer, PairRequest};
use everwrite_receiver::pairing::PairingCode;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::config::{self, Config, HomeLock, LockError};
use crate::control::ClientError;
use crate::network_backup::{self, Identity, PairError, PairedReceiver};

/// Trust a receiver, and have it trust this source.
#[derive(Args, Debug)]
pub(crate) struct Pair {
    /// The line that `everwrite-receiver pair` printed.
    code: String,
    /// Name of the receiver; its host when not given.
    #[arg(long, value_name = "N")]
    name: Option<String>,
}

impl Pair {
    /// With the receiver first: only one that has accepted us gets into the configuration.
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let paired = enrol(context, &self.code).await?;
        let request = PairRequest {
            name: self.name,
            address: paired.address,
            fingerprint: paired
                .fingerprint
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        };
        let answer: PairAnswer = match context.daemon().post("pair", &request).await {
            Ok(answer) => answer,
            Err(ClientError::Unreachable { .. }) => without_daemon(context, &request)?,
            Err(error) => return Err(error.into()),
        };
        context.answer(&answer)?;
        context.say(format_args!(
            "paired with {} at {}; `everwrite protect DIR` comes next",
            answer.name, request.address
        ))?;
        Ok(Exit::Done)
    }
}

async fn enrol(context: &Context, code: &str) -> Result<PairedReceiver, Failure> {
    let home = |error: &dyn std::fmt::Display| {
        let hint = "it belongs to the user who runs the coordinator; try with sudo, or use a home \
                    of your own: --home DIR";
        Failure::negative(format!("home directory: {error}"), hint)
    };
    code.parse::<PairingCode>()
        .map_err(|error| refused(&error.into()))?;
    context.paths.create().map_err(|error| home(&error))?;
    let source = config::source_id(&context.paths).map_err(|error| home(&error))?;
    let identity =
        Identity::load_or_create(&context.paths.identity_dir()).map_err(|error| home(&error))?;
    network_backup::pair(code, &identity, source)
        .await
        .map_err(|error| refused(&error))
}

fn refused(error: &PairError) -> Failure {
    let exit = match error {
        PairError::Code(_) => Exit::Usage,
        PairError::NotTheReceiver { .. } | PairError::Refused(_) => Exit::Negative,
        _ => Exit::Unreachable,
    };
    let hint = match error {
        PairError::Transport { .. } | PairError::Silent { .. } => "is that port a receiver's?",
        _ => "",
    };
    Failure::new(exit, format!("pair: {error}"), hint)
}

/// The configuration is nobody else's while no daemon runs; the lock makes sure of that.
fn without_daemon(context: &Context, request: &PairRequest) -> Result<PairAnswer, Failure> {
    let _lock = HomeLock::take(&context.paths).map_err(|error| match error {
        LockError::Held(_) => Failure::new(
            Exit::Unreachable,
            "a coordinator is running, but it does not answer",
            "wait until it has started, or restart it, and repeat the command with a new code",
        ),
        LockError::Io { .. } => Failure::negative(error.to_string(), ""),
    })?;
    let file = context.paths.config_file();
    let mut config = Config::load(file)?;
    let name = config.pair(request)?.name.clone();
    config.save(file)?;
    Ok(PairAnswer { name })
}
