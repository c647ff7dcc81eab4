//! The switch, kept over restarts: an Off that a reboot undoes in silence would be as bad as a
//! protection that it ends.

use std::io;
use std::path::Path;

use everwrite_protocol::control::Switch;
use everwrite_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};

use super::file::replace;

/// The switch and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchState {
    /// On or off.
    pub switch: Switch,
    /// When it was last turned.
    pub since: Timestamp,
    /// When a pause ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes_at: Option<Timestamp>,
}

impl SwitchState {
    /// On, since `now`: how a source begins.
    pub const fn on(now: Timestamp) -> Self {
        Self {
            switch: Switch::On,
            since: now,
            resumes_at: None,
        }
    }

    /// As it was left; on since `now` when it has never been turned.
    pub fn load(path: &Path, now: Timestamp) -> io::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::on(now)),
            Err(error) => Err(error),
        }
    }

    /// Keeps it, before it takes effect.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        replace(path, text.as_bytes())
    }
}
