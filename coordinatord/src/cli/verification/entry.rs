//! All of a file but its content, on this side, and how it differs from the other.

use std::os::fd::AsFd;
use std::path::Path;

use everwrite_protocol::wire::{Attributes, Kind};
use rustix::fs::{Mode, OFlags};

use crate::look::{Accounts, Stat, read_attributes, stat_at};

/// What is here under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Local {
    /// Looked at.
    Read { stat: Stat, attributes: Attributes },
    /// It is there, and can't be looked at.
    Unreadable(String),
}

impl Local {
    /// `None`: nothing is there.
    pub(super) fn look(path: &Path, accounts: &Accounts) -> Option<Self> {
        let (parent, name) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => (parent, name),
            _ => (path, std::ffi::OsStr::new(".")),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(parent, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return None,
            Err(error) => return Some(Self::Unreadable(error.to_string())),
        };
        let stat = match stat_at(&directory, name) {
            Ok(stat) => stat?,
            Err(error) => return Some(Self::Unreadable(error.to_string())),
        };
        Some(
            match read_attributes(directory.as_fd(), name, &stat, accounts) {
                Ok(attributes) => Self::Read { stat, attributes },
                Err(error) => Self::Unreadable(error.to_string()),
            },
        )
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Read { stat, .. } => Some(stat.kind),
            Self::Unreadable(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::wire::Xattr;
    use everwrite_receiver::verify::differences;

    use super::*;

    #[test]
    fn differences_are_named() {
        let tree = tempfile::tempdir().unwrap();
        let path = tree.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let Some(Local::Read { attributes, .. }) = Local::look(&path, &Accounts::default()) else {
            panic!("not read");
        };
        assert!(differences(&attributes, &attributes).is_empty());
        let named = Attributes {
            user: Some("somebody".to_owned()),
            ..attributes.clone()
        };
        assert!(differences(&attributes, &named).is_empty());
        let xattrs = vec![Xattr {
            name: b"user.k".to_vec(),
            value: vec![],
        }];
        let other = Attributes {
            mode: 0o700,
            size: 9,
            xattrs,
            ..attributes.clone()
        };
        assert_eq!(
            differences(&attributes, &other),
            ["size", "mode", "extended attributes"]
        );
        assert_eq!(
            Local::look(&tree.path().join("gone"), &Accounts::default()),
            None
        );
        assert_eq!(
            Local::look(&path.join("below-a-file"), &Accounts::default()),
            None
        );
    }
}
