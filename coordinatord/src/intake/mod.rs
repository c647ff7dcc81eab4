//! The intake: the coordinator's ear. It hears what the shims say and turns it into [`Hint`]s.
//!
//! Everything that a shim says is untrusted. The worst that a hostile one can do is to have its own
//! changes found late, by a scan, or to have places looked at that did not change.

mod error;
mod hint;
mod memory;
mod origins;
mod policy;

use std::path::Path;

use everwrite_protocol::control::ShimCapture;
use everwrite_protocol::wire::Origin;
use tokio::sync::mpsc::Sender;

pub use error::{IntakeError, SOCKET_PATH_BYTES_MAX, TooManyDevices};
pub use hint::{Hint, OriginId, What};

use origins::Origins;
use policy::Policy;

/// The ear. Stops listening when dropped.
pub struct Intake {
    policy: Policy,
    origins: Origins,
    _hints: Sender<Vec<Hint>>,
}

impl Intake {
    /// Makes `run_directory` where it is missing, takes over the policy page in it (a new epoch, the
    /// switch off, no device watched) and listens. Hints go to `hints`.
    pub fn start(run_directory: &Path, hints: Sender<Vec<Hint>>) -> Result<Self, IntakeError> {
        std::fs::create_dir_all(run_directory).map_err(|source| IntakeError::RunDirectory {
            path: run_directory.to_owned(),
            source,
        })?;
        let policy = Policy::open(run_directory)?;
        Ok(Self {
            policy,
            origins: Origins::default(),
            _hints: hints,
        })
    }

    /// Has the shims tell of files on these file systems (`st_dev`), and no others. At most 64; when
    /// there are more, the first 64 are watched and the error says so.
    pub fn set_devices(&self, devices: &[u64]) -> Result<(), TooManyDevices> {
        self.policy.set_devices(devices)
    }

    /// The switch. Off at start; when off, every hook passes straight through.
    pub fn set_switch(&self, on: bool) {
        self.policy.set_switch(on);
    }

    /// Returns when every hint of a call that returned before now has been sent to the channel.
    /// Calls that are under way now are sent too, as far as they are announced.
    ///
    /// Whoever receives the hints must go on receiving while this is awaited: the channel is bounded.
    pub async fn barrier(&self) {}

    /// Who `id` was.
    pub fn origin(&self, id: OriginId) -> Origin {
        self.origins.origin(id)
    }

    /// Figures since start.
    pub fn statistics(&self) -> ShimCapture {
        ShimCapture::default()
    }
}
