//! The mark of a restore that is under way: it tells what is half restored from what is the user's.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use everwrite_protocol::wire::Point;

use super::error::RestoreError;

/// A file beside what is restored, from before its first byte until after its last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Marker {
    path: PathBuf,
    text: String,
    /// The same restore was begun before, since the last boot: a file that has got its attributes is
    /// whole.
    pub(super) resumed: bool,
}

impl Marker {
    /// For a restore of `path` to `base`/`name`, where nothing may be but the same restore begun.
    pub(super) fn check(
        base: &Path,
        path: &[u8],
        point: &Point,
        name: &[u8],
    ) -> Result<Self, RestoreError> {
        let digest = blake3::hash(name).to_hex();
        let marker = base.join(format!(".everwrite-restore-{}", &digest[..16]));
        let of = format!(
            "{} as of @{}",
            String::from_utf8_lossy(path),
            point.sequence.0
        );
        let hex: String = path.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("{of}\n{hex}\n{}", boot());
        let target = base.join(OsStr::from_bytes(name));
        let there = target.symlink_metadata().is_ok();
        let resumed = match std::fs::read_to_string(&marker) {
            Ok(found) if found == text => there,
            Ok(found) if same_but_boot(&found, &text) => false,
            Ok(found) => {
                let of = found.lines().next().unwrap_or_default().to_owned();
                return Err(RestoreError::Unfinished { marker, of });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !there => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RestoreError::InTheWay {
                    in_the_way: vec![target],
                });
            }
            Err(source) => {
                return Err(RestoreError::Local {
                    what: "read",
                    path: marker,
                    source,
                });
            }
        };
        Ok(Self {
            path: marker,
            text,
            resumed,
        })
    }

    /// Puts it there.
    pub(super) fn set(&self) -> Result<(), RestoreError> {
        std::fs::write(&self.path, &self.text).map_err(|source| self.failed("write", source))
    }

    /// Takes it away.
    pub(super) fn clear(&self) -> Result<(), RestoreError> {
        std::fs::remove_file(&self.path).map_err(|source| self.failed("remove", source))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> RestoreError {
        RestoreError::Local {
            what,
            path: self.path.clone(),
            source,
        }
    }
}

fn same_but_boot(found: &str, text: &str) -> bool {
    let head = |text: &str| text.lines().take(2).map(str::to_owned).collect::<Vec<_>>();
    head(found) == head(text)
}

/// Changes at each boot: what was not yet on the disk when the power failed is not believed.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}
