//! The id of this source: made at random once, kept for ever.

use std::io::{self, Read};

use everwrite_protocol::ids::SourceId;

use super::file::replace;
use super::paths::Paths;

/// Reads the id, or makes it. Two processes that do this at once would disagree: the caller holds
/// the home's lock, or knows that somebody else has made it.
pub fn source_id(paths: &Paths) -> io::Result<SourceId> {
    let path = paths.identity_dir().join("source-id");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|error| {
            io::Error::other(format!(
                "{}: {error}; put it back from a backup",
                path.display()
            ))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = random()?;
            replace(&path, format!("{id}\n").as_bytes())?;
            Ok(id)
        }
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("{}: {error}", path.display()),
        )),
    }
}

fn random() -> io::Result<SourceId> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(SourceId(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::at_home(home.path()).unwrap();
        paths.create().unwrap();
        let first = source_id(&paths).unwrap();
        assert_eq!(source_id(&paths).unwrap(), first);
        std::fs::write(paths.identity_dir().join("source-id"), "x").unwrap();
        assert!(
            source_id(&paths)
                .unwrap_err()
                .to_string()
                .contains("32 hexadecimal digits")
        );
    }
}
