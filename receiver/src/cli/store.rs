//! `--store DIR --source S`: which store, and whose part of it.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use everwrite_protocol::ids::SourceId;

use crate::answers::exit::Failure;
use crate::answers::output::{Output, local_failed};
use crate::answers::shown;
use crate::mirror::Layout;
use crate::pairing::{Peer, Peers};

/// Of every command that reads a store.
#[derive(Args, Clone, Debug)]
pub(super) struct StoreOptions {
    /// The store's directory
    #[arg(long = "store", value_name = "DIR")]
    pub(super) directory: PathBuf,
    /// Answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Of every command about one source.
#[derive(Args, Clone, Debug)]
pub(super) struct SourceOptions {
    #[command(flatten)]
    store: StoreOptions,
    /// Host name or first digits of the id; needed where the store has several sources
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
}

/// A source that a store holds something of, or that may send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Known {
    pub(super) id: SourceId,
    /// How it was paired; an embedded store's source never was.
    pub(super) peer: Option<Peer>,
    /// Whether it has a directory in the store.
    pub(super) stored: bool,
}

impl StoreOptions {
    pub(super) fn output(&self) -> Output {
        Output { json: self.json }
    }

    /// All sources, by id.
    pub(super) fn sources(&self) -> Result<Vec<Known>, Failure> {
        let stored = stored_sources(&self.directory)?;
        let peers = Peers::load(&self.directory)
            .map_err(|error| Failure::negative(format!("{error:#}"), "mend the file"))?;
        let paired = peers
            .iter()
            .map(Peer::source)
            .filter(|id| !stored.contains(id));
        let mut ids: Vec<SourceId> = stored.iter().copied().chain(paired).collect();
        ids.sort_by_key(|id| id.0);
        let known = |id: SourceId| Known {
            id,
            peer: peers.iter().find(|peer| peer.source() == id).cloned(),
            stored: stored.contains(&id),
        };
        Ok(ids.into_iter().map(known).collect())
    }
}

impl SourceOptions {
    pub(super) fn json(&self) -> bool {
        self.store.json
    }

    pub(super) fn output(&self) -> Output {
        self.store.output()
    }

    /// Where the chosen source's files are.
    pub(super) fn layout(&self, source: &Known) -> Layout {
        Layout::new(&self.store.directory, source.id)
    }

    /// The directory of the store.
    pub(super) fn directory(&self) -> &Path {
        &self.store.directory
    }

    /// The source that is meant.
    pub(super) fn choose(&self) -> Result<Known, Failure> {
        let sources = self.store.sources()?;
        let stored = sources.into_iter().filter(|source| source.stored).collect();
        choose(stored, self.source.as_deref(), &self.store.directory)
    }
}

impl Known {
    /// Host name, where it has one, and id.
    pub(super) fn named(&self) -> String {
        match &self.peer {
            Some(peer) => format!("{} ({})", self.id, shown::path(peer.host().as_bytes())),
            None => self.id.to_string(),
        }
    }

    fn is(&self, wanted: &str) -> bool {
        let host = self.peer.as_ref().is_some_and(|peer| peer.host() == wanted);
        host || self
            .id
            .to_string()
            .starts_with(&wanted.to_ascii_lowercase())
    }
}

/// The one source that `wanted` means; without it, the only one.
fn choose(sources: Vec<Known>, wanted: Option<&str>, directory: &Path) -> Result<Known, Failure> {
    let all: Vec<String> = sources.iter().map(Known::named).collect();
    let mut meant: Vec<Known> = sources
        .into_iter()
        .filter(|source| wanted.is_none_or(|wanted| source.is(wanted)))
        .collect();
    if meant.len() == 1 {
        return Ok(meant.remove(0));
    }
    let store = directory.display();
    let list = format!("it holds {}", all.join(", "));
    Err(match (all.len(), wanted, meant.len()) {
        (0, ..) => Failure::negative(
            format!("{store}: nothing is stored there yet"),
            "is it the right directory? `everwrite-receiver sources` lists who is paired",
        ),
        (_, Some(wanted), 0) => {
            Failure::usage(format!("{store}: no source is called {wanted}"), list)
        }
        (_, Some(wanted), _) => Failure::usage(
            format!("{store}: {wanted} could be any of several sources"),
            list,
        ),
        (_, None, _) => Failure::usage(
            format!("{store}: holds several sources; say which by --source"),
            list,
        ),
    })
}

/// Sources that have a directory in the store.
fn stored_sources(store: &Path) -> Result<Vec<SourceId>, Failure> {
    let directory = store.join("src");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_store(store) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(&directory, &error)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry
            .map_err(|error| unreadable(&directory, &error))?
            .file_name();
        ids.extend(name.to_str().and_then(|name| name.parse::<SourceId>().ok()));
    }
    Ok(ids)
}

/// Whether somebody serves or served there.
fn is_store(directory: &Path) -> bool {
    ["serve.lock", "peers.toml"]
        .iter()
        .any(|name| directory.join(name).exists())
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "--store is the directory that `serve` was given",
        io::ErrorKind::PermissionDenied => "run it as the user that the store belongs to",
        _ => "",
    };
    Failure {
        hint: hint.to_owned(),
        ..local_failed("read the store's directory", path, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::exit::Exit;

    fn known(id: u8, host: Option<&str>) -> Known {
        let id = SourceId([id; 16]);
        let peer = host.map(|host| Peer::new(id, [0; 32], host, jiff::Timestamp::UNIX_EPOCH));
        Known {
            id,
            peer,
            stored: true,
        }
    }

    fn chosen(sources: &[Known], wanted: Option<&str>) -> Result<SourceId, Failure> {
        choose(sources.to_vec(), wanted, Path::new("/s")).map(|source| source.id)
    }

    #[test]
    fn a_source_is_meant_by_host_by_the_start_of_its_id_or_by_being_alone() {
        let sources = [known(0xa1, Some("attic")), known(0xa2, None)];
        assert_eq!(chosen(&sources, Some("attic")).unwrap(), sources[0].id);
        assert_eq!(chosen(&sources, Some("A2")).unwrap(), sources[1].id);
        assert_eq!(chosen(&sources[1..], None).unwrap(), sources[1].id);
    }

    #[test]
    fn what_is_not_clear_is_a_usage_error_that_lists_the_sources() {
        let sources = [known(0xa1, Some("attic")), known(0xa2, None)];
        for wanted in [None, Some("a"), Some("cellar")] {
            let failure = chosen(&sources, wanted).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{wanted:?}");
            assert!(failure.hint.contains("(attic)"), "{}", failure.hint);
        }
        assert_eq!(chosen(&[], None).unwrap_err().exit, Exit::Negative);
    }

    #[test]
    fn a_directory_that_is_no_store_is_told() {
        let directory = tempfile::tempdir().unwrap();
        assert!(stored_sources(directory.path()).is_err());
        std::fs::write(directory.path().join("peers.toml"), "").unwrap();
        assert_eq!(stored_sources(directory.path()).unwrap(), []);
    }
}
