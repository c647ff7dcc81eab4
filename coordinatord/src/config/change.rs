//! Changes that commands make to a configuration: pair, protect, unprotect. Pure: the caller saves.

use std::path::{Path, PathBuf};

use everwrite_protocol::control::{PairRequest, ProtectRequest};

use super::check::{check_address, check_path, parse_fingerprint, parse_path};
use super::checked::{Config, Place, RPO_MS_DEFAULT, Receiver, Root};
use super::problem::Problem;

/// What `--to` begins with when it names a directory.
const DIRECTORY_PREFIX: &str = "dir:";

impl Config {
    /// Adds a receiver; one that is known by its fingerprint or by the name gets the new address.
    pub fn pair(&mut self, request: &PairRequest) -> Result<&Receiver, Problem> {
        check_address(&request.address)?;
        let named = request
            .name
            .clone()
            .unwrap_or_else(|| host_of(&request.address));
        let fingerprint = parse_fingerprint(&named, &request.fingerprint)?;
        let place = Place::Network {
            address: request.address.clone(),
            fingerprint,
        };
        match self
            .receivers
            .iter()
            .position(|known| is_same(known, request, &place))
        {
            Some(known) => {
                self.receivers[known].place = place;
                Ok(&self.receivers[known])
            }
            None => {
                let name = request
                    .name
                    .clone()
                    .unwrap_or_else(|| self.free_receiver_name(&named));
                self.add_receiver(Receiver { name, place })
            }
        }
    }

    /// Adds a root, and the embedded receiver when `to` is `dir:PATH`. Nothing is changed on error.
    pub fn protect(&mut self, request: &ProtectRequest) -> Result<&Root, Problem> {
        let mut changed = self.clone();
        let path = parse_path(&request.path)?;
        let to = changed.destination(request.to.as_deref())?;
        let root = Root {
            name: request
                .name
                .clone()
                .unwrap_or_else(|| changed.free_root_name(&path)),
            path,
            to,
            rpo_ms: request.rpo_ms.unwrap_or(RPO_MS_DEFAULT),
            durable_fsync: request.durable_fsync,
            exclude: Vec::new(),
        };
        changed.check_root(&root)?;
        changed.roots.push(root);
        *self = changed;
        Ok(&self.roots[self.roots.len() - 1])
    }

    /// Takes a root out. Its receiver stays paired.
    pub fn unprotect(&mut self, name: &str) -> Result<Root, Problem> {
        match self.roots.iter().position(|root| root.name == name) {
            Some(at) => Ok(self.roots.remove(at)),
            None => Err(Problem::NoRoot(name.to_owned())),
        }
    }

    /// Name of the receiver that `--to` means.
    fn destination(&mut self, to: Option<&str>) -> Result<String, Problem> {
        match (to, self.receivers.as_slice()) {
            (Some(to), _) => match to.strip_prefix(DIRECTORY_PREFIX) {
                Some(directory) => self.embedded(Path::new(directory)),
                None => Ok(to.to_owned()),
            },
            (None, []) => Err(Problem::NothingPaired),
            (None, [only]) => Ok(only.name.clone()),
            (None, several) => Err(Problem::WhichReceiver(
                several.iter().map(|one| one.name.clone()).collect(),
            )),
        }
    }

    fn embedded(&mut self, directory: &Path) -> Result<String, Problem> {
        check_path(directory)?;
        let place = Place::Directory(directory.to_owned());
        if let Some(known) = self.receivers.iter().find(|known| known.place == place) {
            return Ok(known.name.clone());
        }
        let name = self.free_receiver_name(&name_from(directory));
        self.add_receiver(Receiver { name, place })
            .map(|receiver| receiver.name.clone())
    }

    fn add_receiver(&mut self, receiver: Receiver) -> Result<&Receiver, Problem> {
        self.check_receiver(&receiver)?;
        self.receivers.push(receiver);
        Ok(&self.receivers[self.receivers.len() - 1])
    }

    fn free_root_name(&self, path: &Path) -> String {
        first_free(&name_from(path), |name| self.root(name).is_none())
    }

    fn free_receiver_name(&self, wish: &str) -> String {
        first_free(wish, |name| self.receiver(name).is_none())
    }
}

/// The same receiver: by certificate, or by a name that was given and belongs to a daemon.
fn is_same(known: &Receiver, request: &PairRequest, place: &Place) -> bool {
    match (&known.place, place) {
        (
            Place::Network {
                fingerprint: old, ..
            },
            Place::Network {
                fingerprint: new, ..
            },
        ) => {
            let asked = request.name.as_ref();
            asked == Some(&known.name) || (asked.is_none() && old == new)
        }
        _ => false,
    }
}

fn host_of(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    plain(host.trim_matches(['[', ']']))
}

/// Last component of a path, as a name; `root` for `/`.
fn name_from(path: &Path) -> String {
    let last = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    plain(&last.unwrap_or_else(|| "root".to_owned()))
}

/// `text` with whatever a name can't have replaced.
fn plain(text: &str) -> String {
    let kept = |c: char| {
        if c.is_control() || matches!(c, ':' | '/' | '\u{fffd}') {
            '_'
        } else {
            c
        }
    };
    let name: String = text.trim_start_matches('-').chars().map(kept).collect();
    if name.is_empty() {
        "unnamed".to_owned()
    } else {
        name
    }
}

fn first_free(wish: &str, free: impl Fn(&str) -> bool) -> String {
    let numbered = (2u32..).map(|number| format!("{wish}-{number}"));
    let mut names = std::iter::once(wish.to_owned()).chain(numbered);
    // Of endlessly many names only finitely many are taken.
    names.find(|name| free(name)).unwrap_or_default()
}

/// The directory that `--to dir:PATH` names, made absolute against `base`; other texts as they are.
pub fn absolute_destination(to: &str, base: &Path) -> String {
    match to.strip_prefix(DIRECTORY_PREFIX) {
        Some(directory) => {
            let joined: PathBuf = base.join(directory).components().collect();
            format!("{DIRECTORY_PREFIX}{}", joined.display())
        }
        None => to.to_owned(),
    }
}
