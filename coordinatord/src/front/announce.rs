//! Hints of our own commands: they change protected files (a restore in place) without the shim.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use everwrite_protocol::control::AnnounceRequest;
use everwrite_protocol::ids::Name;
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;
use rustix::fs::CWD;

use super::Front;
use crate::intake::{Hint, OriginId, Source, What};
use crate::look::stat_at;

impl Front {
    /// Queues the paths as if a shim had told of them.
    pub(super) fn announce(&mut self, request: &AnnounceRequest) {
        let at = Instant::now();
        let bytes = request.paths.iter().filter_map(|path| path.to_bytes());
        let whats = bytes.flat_map(|path| whats(Path::new(OsStr::from_bytes(&path))));
        let hints: Vec<_> = whats
            .map(|what| Hint {
                origin: OriginId::SCAN,
                source: Source::Shim,
                at,
                what,
            })
            .collect();
        if !hints.is_empty() {
            self.pass_hints(hints);
        }
    }
}

/// The name, and whatever is behind it now. Where even the directory is gone, its own name tells.
fn whats(path: &Path) -> Vec<What> {
    let mut whats = Vec::new();
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
        && let (Some((directory, ..)), Ok(name)) = (look(parent), Name::new(name.as_bytes()))
    {
        whats.push(What::Name {
            directory,
            name,
            arrived: false,
        });
    }
    if let Some((file, birth, kind)) = look(path) {
        whats.push(What::Attributes { file, birth });
        if kind == Kind::Regular {
            whats.push(What::Whole { file, birth });
        }
    }
    whats
}

fn look(path: &Path) -> Option<(Inode, u64, Kind)> {
    let stat = stat_at(CWD, path).ok()??;
    Some((stat.inode, stat.birth, stat.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_what_is_gone_are_told() {
        let tree = tempfile::tempdir().unwrap();
        let file = tree.path().join("file");
        std::fs::write(&file, "").unwrap();
        let directory = look(tree.path()).unwrap().0;
        let name = |name: &str| What::Name {
            directory,
            name: Name::new(name).unwrap(),
            arrived: false,
        };
        let (inode, birth, _) = look(&file).unwrap();
        let told = [
            name("file"),
            What::Attributes { file: inode, birth },
            What::Whole { file: inode, birth },
        ];
        assert_eq!(whats(&file), told);
        assert_eq!(whats(&tree.path().join("gone")), [name("gone")]);
        assert_eq!(whats(&tree.path().join("gone/deep")), []);
    }
}
