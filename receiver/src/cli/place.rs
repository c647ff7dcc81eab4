//! Paths on the command line, `ROOT/a/b`, and as the history has them.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::answers::exit::Failure;
use crate::answers::shown;

/// Names of `argument` joined by single slashes, the root's first; empty: all roots.
pub(super) fn parse(argument: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let text = argument.map_or(&b""[..], |path| path.as_os_str().as_bytes());
    let names: Vec<&[u8]> = text
        .split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .collect();
    if names.contains(&b"..".as_slice()) {
        let text = shown::path(text);
        return Err(Failure::usage(
            format!("{text}: `..` can't be used here"),
            "write ROOT/a/b; `everwrite-receiver ls` lists the roots",
        ));
    }
    Ok(names.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_and_dots_do_not_matter() {
        let cases = [
            ("r/a/b", "r/a/b"),
            ("/r//a/", "r/a"),
            ("./r/./a", "r/a"),
            ("", ""),
            ("/", ""),
        ];
        for (argument, path) in cases {
            assert_eq!(
                parse(Some(Path::new(argument))).unwrap(),
                path.as_bytes(),
                "{argument}"
            );
        }
        assert_eq!(parse(None).unwrap(), b"");
    }

    #[test]
    fn the_parent_can_t_be_asked_for() {
        assert!(parse(Some(Path::new("r/../x"))).is_err());
        assert!(parse(Some(Path::new("r/..x"))).is_ok());
    }
}
