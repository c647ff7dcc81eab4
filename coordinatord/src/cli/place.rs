//! Local paths ↔ paths at a receiver (`root/a/b`).
//!
//! A path on the command line is a local one, absolute or relative, existing or not; or
//! `ROOT:path`, which needs nothing to exist locally: neither the directory nor its configuration.
//! `./a:b` is a local file whose name has a colon.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::exit::Failure;
use super::output::local_failed;
use super::shown;
use crate::config::Config;

/// A path at a receiver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// Name of the receiver, where the configuration tells.
    pub(super) receiver: Option<String>,
    /// Names joined by slashes, the root's first; empty: all roots.
    pub(super) path: Vec<u8>,
}

impl Place {
    /// What `argument` means; `None`: all roots.
    pub(super) fn find(argument: Option<&Path>, config: &Config) -> Result<Self, Failure> {
        match argument {
            None => Ok(Self {
                receiver: None,
                path: Vec::new(),
            }),
            Some(argument) => match split_root(argument.as_os_str().as_bytes()) {
                Some((root, path)) => Self::in_root(root, path, config),
                None => Self::local(argument, config),
            },
        }
    }

    /// Name of the root; `None`: all roots are meant.
    pub(super) fn root(&self) -> Option<&[u8]> {
        self.path
            .split(|byte| *byte == b'/')
            .next()
            .filter(|name| !name.is_empty())
    }

    /// The path without the root's name.
    pub(super) fn below_root(&self) -> Vec<u8> {
        let slash = self.path.iter().position(|byte| *byte == b'/');
        slash.map_or_else(Vec::new, |slash| self.path[slash + 1..].to_owned())
    }

    /// `ROOT:path`. The root may be one that is no longer protected.
    fn in_root(root: &str, path: &[u8], config: &Config) -> Result<Self, Failure> {
        let mut names = vec![root.as_bytes()];
        names.extend(
            path.split(|byte| *byte == b'/')
                .filter(|name| !name.is_empty() && *name != b"."),
        );
        if names.contains(&b"..".as_slice()) {
            let path = shown::path(path);
            return Err(Failure::usage(
                format!("{root}:{path}: `..` can't be used here"),
                "",
            ));
        }
        let receiver = config.root(root).map(|known| known.to.clone());
        Ok(Self {
            receiver,
            path: names.join(&b'/'),
        })
    }

    /// A local path; the root may be configured by its real path, or by one that has links in it.
    fn local(path: &Path, config: &Config) -> Result<Self, Failure> {
        let real = real(path)?;
        let written = std::path::absolute(path).map(|path| without_dots(&path));
        let written = written.map_err(|error| local_failed("find", path, &error))?;
        let held = [&real, &written].map(|path| Some((path, config.root_of(path)?)));
        let Some((path, root)) = held.into_iter().flatten().next() else {
            return Err(outside(&real, config));
        };
        let below = path
            .strip_prefix(&root.path)
            .unwrap_or(path)
            .as_os_str()
            .as_bytes();
        let names = [root.name.as_bytes(), below];
        let names = if below.is_empty() {
            &names[..1]
        } else {
            &names[..]
        };
        Ok(Self {
            receiver: Some(root.to.clone()),
            path: names.join(&b'/'),
        })
    }
}

/// The local path of `path` at a receiver, while its root is protected.
pub(super) fn local_path(path: &[u8], config: &Config) -> Option<PathBuf> {
    let end = path
        .iter()
        .position(|byte| *byte == b'/')
        .unwrap_or(path.len());
    let root = config.root(std::str::from_utf8(&path[..end]).ok()?)?;
    let below = path.get(end + 1..).unwrap_or_default();
    Some(match below {
        b"" => root.path.clone(),
        below => root.path.join(OsStr::from_bytes(below)),
    })
}

fn outside(path: &Path, config: &Config) -> Failure {
    let path = shown::path(path.as_os_str().as_bytes());
    let roots: Vec<_> = config
        .roots
        .iter()
        .map(|root| root.path.display().to_string())
        .collect();
    let roots = match roots.as_slice() {
        [] => "no root is protected".to_owned(),
        roots => format!("protected are {}", roots.join(", ")),
    };
    Failure::usage(
        format!("{path} lies in no protected root"),
        format!("{roots}; a root that was protected once is named as ROOT:path"),
    )
}

/// The two sides of `ROOT:path`. What has a slash before its first colon is a local path.
fn split_root(argument: &[u8]) -> Option<(&str, &[u8])> {
    let colon = argument.iter().position(|byte| *byte == b':')?;
    let root = std::str::from_utf8(&argument[..colon]).ok()?;
    let named = !root.is_empty() && !root.contains('/');
    named.then_some((root, &argument[colon + 1..]))
}

/// `path`, absolute and without links in what leads to its last name. The last name itself may be a
/// link, which is then what is meant. What does not exist (any more) is taken as it is written.
pub(super) fn real(path: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| local_failed("find", path, &error))?;
    let lexical = without_dots(&absolute);
    let (Some(parent), Some(name)) = (lexical.parent(), lexical.file_name()) else {
        return Ok(lexical);
    };
    let ends_with_dots = matches!(path.components().next_back(), Some(Component::ParentDir));
    match (ends_with_dots, absolute.canonicalize()) {
        (true, Ok(real)) => Ok(real),
        _ => Ok(real_ancestor(absolute.parent().unwrap_or(parent), parent).join(name)),
    }
}

/// The real path of the longest part that exists, and the rest as it is.
fn real_ancestor(path: &Path, lexical: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    for ancestor in lexical.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), lexical.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() {
                real
            } else {
                real.join(rest)
            };
        }
    }
    lexical.to_owned()
}

/// `a/../b` → `b`, by the letters alone.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(roots: &[(&str, &Path)]) -> Config {
        let mut text = "[[receivers]]\nname = 'd'\ndirectory = '/store'\n".to_owned();
        for (name, path) in roots {
            text += &format!(
                "[[roots]]\nname = '{name}'\npath = '{}'\nto = 'd'\n",
                path.display()
            );
        }
        Config::parse(&text, Path::new("/c")).unwrap()
    }

    fn find(argument: &Path, config: &Config) -> Result<String, String> {
        let place = Place::find(Some(argument), config).map_err(|failure| failure.message)?;
        Ok(String::from_utf8_lossy(&place.path).into_owned())
    }

    #[test]
    fn local_paths_need_not_exist() {
        let tree = tempfile::tempdir().unwrap();
        let top = tree.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("real")).unwrap();
        std::os::unix::fs::symlink("real", top.join("link")).unwrap();
        let config = config(&[("r", &top)]);
        let cases = [
            ("", "r"),
            ("real/x", "r/real/x"),
            ("link/x", "r/real/x"),
            ("link", "r/link"),
            ("gone/deep/x", "r/gone/deep/x"),
            ("gone/../x", "r/x"),
            ("./real/.", "r/real"),
            ("a:b", "r/a:b"),
        ];
        for (relative, expected) in cases {
            assert_eq!(
                find(&top.join(relative), &config).as_deref(),
                Ok(expected),
                "{relative}"
            );
        }
        assert!(
            find(Path::new("/elsewhere"), &config)
                .unwrap_err()
                .contains("no protected root")
        );
    }

    #[test]
    fn a_root_may_be_configured_by_a_link() {
        let tree = tempfile::tempdir().unwrap();
        let top = tree.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("real")).unwrap();
        std::os::unix::fs::symlink("real", top.join("link")).unwrap();
        let config = config(&[("r", &top.join("link"))]);
        assert_eq!(find(&top.join("link/x"), &config).as_deref(), Ok("r/x"));
    }

    #[test]
    fn roots_may_be_named_instead() {
        let config = config(&[("r", Path::new("/r"))]);
        let cases = [
            ("r:", "r"),
            ("r:a/b", "r/a/b"),
            ("r:/a//b/", "r/a/b"),
            ("old:x", "old/x"),
        ];
        for (argument, expected) in cases {
            assert_eq!(
                find(Path::new(argument), &config).as_deref(),
                Ok(expected),
                "{argument}"
            );
        }
        assert!(find(Path::new("r:../x"), &config).is_err());
        let place = Place::find(Some(Path::new("old:x")), &config).unwrap();
        assert_eq!(place.receiver, None);
    }

    #[test]
    fn paths_at_a_receiver_lead_back() {
        let config = config(&[("r", Path::new("/r"))]);
        assert_eq!(
            local_path(b"r/a\xff", &config),
            Some(OsStr::from_bytes(b"/r/a\xff").into())
        );
        assert_eq!(local_path(b"r", &config), Some("/r".into()));
        assert_eq!(local_path(b"old/x", &config), None);
    }
}
