//! `everwrite-receiver sources`.

use clap::Args;
use everwrite_protocol::control::PathText;
use everwrite_protocol::ids::SequenceNumber;
use serde::Serialize;

use super::archive::{failed, settle};
use super::store::{Known, StoreOptions};
use crate::answers::exit::{Exit, Failure};
use crate::answers::shown;
use crate::catalog::{Catalog, CutRecord};
use crate::mirror::Layout;
use crate::store::StoreError;

/// Who sends here: host, roots, how far, and which certificate is trusted
#[derive(Args, Debug)]
pub(super) struct Sources {
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

/// One of `--json`.
#[derive(Serialize)]
struct SourceRecord {
    source: String,
    host: Option<String>,
    /// SHA-256 of its certificate; none: it writes here on this machine.
    fingerprint: Option<String>,
    paired_at: Option<String>,
    roots: Vec<RootRecord>,
    /// The last stored recovery point.
    point: Option<SequenceNumber>,
    time: Option<String>,
    stored_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct RootRecord {
    name: PathText,
    /// At the source.
    path: PathText,
}

/// What a source has in the store.
#[derive(Default)]
struct Held {
    roots: Vec<(Vec<u8>, Vec<u8>)>,
    last: Option<CutRecord>,
}

impl Sources {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let output = self.store.output();
        let mut records = Vec::new();
        let mut exit = Exit::Done;
        for source in self.store.sources()? {
            let held = self.held(&source);
            if let Err(failure) = &held {
                output.note(failure);
                exit = Exit::Negative;
            }
            for line in lines(&source, held.as_ref().ok()) {
                output.say(line)?;
            }
            records.push(SourceRecord::new(&source, held));
        }
        if records.is_empty() {
            output.note("no source is paired; `everwrite-receiver pair` prints a code for one");
        }
        output.answer(&records)?;
        Ok(exit)
    }

    fn held(&self, source: &Known) -> Result<Held, Failure> {
        if !source.stored {
            return Ok(Held::default());
        }
        let layout = Layout::new(&self.store.directory, source.id);
        settle(&self.store.directory, source, &layout, self.store.output())?;
        Held::read(&layout).map_err(|error| failed(&error))
    }
}

impl Held {
    fn read(layout: &Layout) -> Result<Self, StoreError> {
        let catalog = Catalog::open_reader(&layout.catalog())?;
        let read = catalog.read()?;
        let mut roots = Vec::new();
        for (file, path) in read.roots()? {
            let names = read.names_at(file, read.applied())?;
            roots.extend(
                names
                    .into_iter()
                    .map(|(_, name)| (name.as_bytes().to_vec(), path.clone())),
            );
        }
        Ok(Self {
            roots,
            last: read.newest_cut()?,
        })
    }
}

fn lines(source: &Known, held: Option<&Held>) -> Vec<String> {
    let mut lines = vec![source.named()];
    let last = held.and_then(|held| held.last.as_ref());
    lines.push(match last {
        Some(last) => format!(
            "  stored up to {} (@{}), {}",
            shown::cut_time(last.time),
            last.sequence.0,
            shown::ago(last.stored, shown::now())
        ),
        None => "  nothing is stored".to_owned(),
    });
    for (name, path) in held.iter().flat_map(|held| &held.roots) {
        lines.push(format!(
            "  root {}: {}",
            shown::path(name),
            shown::path(path)
        ));
    }
    lines.push(match &source.peer {
        Some(peer) => format!("  certificate {}", peer.fingerprint()),
        None => "  on this machine (not paired)".to_owned(),
    });
    lines
}

impl SourceRecord {
    fn new(source: &Known, held: Result<Held, Failure>) -> Self {
        let (held, error) = match held {
            Ok(held) => (held, None),
            Err(failure) => (Held::default(), Some(failure.message)),
        };
        let (peer, last) = (source.peer.as_ref(), held.last.as_ref());
        let root = |(name, path): (Vec<u8>, Vec<u8>)| RootRecord {
            name: PathText::from_bytes(&name),
            path: PathText::from_bytes(&path),
        };
        Self {
            source: source.id.to_string(),
            host: peer.map(|peer| peer.host().to_owned()),
            fingerprint: peer.map(|peer| peer.fingerprint()),
            paired_at: peer.map(|peer| peer.since().to_string()),
            point: last.map(|last| last.sequence),
            time: last.map(|last| shown::rfc3339(last.time)),
            stored_at: last.map(|last| shown::rfc3339(last.stored)),
            roots: held.roots.into_iter().map(root).collect(),
            error,
        }
    }
}
