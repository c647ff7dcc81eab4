//! Who may connect: `peers.toml` of the store, one source each.
//!
//! Read anew for every connection, so that a source can be shut out by an editor. One certificate
//! belongs to one source; pairing again replaces what was pinned under either.

use std::path::Path;

use everwrite_protocol::ids::SourceId;
use everwrite_protocol::wire::{FINGERPRINT_BYTES, Fingerprint};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::whole_file;

const FILE_NAME: &str = "peers.toml";
const LOCK_NAME: &str = "peers.lock";
/// Longest host name kept, in characters.
const HOST_CHARACTERS_MAX: usize = 64;

/// A pinned source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    #[serde(with = "source_text")]
    source: SourceId,
    #[serde(with = "fingerprint_text")]
    fingerprint: Fingerprint,
    host: String,
    since: Timestamp,
}

impl Peer {
    /// A peer; of the host name, which is the source's word, only letters that show are kept.
    pub fn new(source: SourceId, fingerprint: Fingerprint, host: &str, since: Timestamp) -> Self {
        let host = host.chars().filter(|character| !character.is_control());
        Self {
            source,
            fingerprint,
            host: host.take(HOST_CHARACTERS_MAX).collect(),
            since,
        }
    }

    /// Its id.
    pub fn source(&self) -> SourceId {
        self.source
    }

    /// SHA-256 of its certificate, in hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        blake3::Hash::from_bytes(self.fingerprint)
            .to_hex()
            .to_string()
    }

    /// Its host name when it was paired.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// When it was paired.
    pub fn since(&self) -> Timestamp {
        self.since
    }
}

/// All pinned sources of a store.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    #[serde(default)]
    peer: Vec<Peer>,
}

impl Peers {
    /// As the file says now.
    pub fn load(store: &Path) -> anyhow::Result<Self> {
        whole_file::read_toml(&store.join(FILE_NAME))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.peer.iter()
    }

    /// The one with this certificate.
    pub fn find(&self, fingerprint: &Fingerprint) -> Option<&Peer> {
        self.peer
            .iter()
            .find(|peer| peer.fingerprint == *fingerprint)
    }

    /// Adds `new`, durably, in place of any other with its id or its certificate.
    pub(super) fn pin(store: &Path, new: Peer) -> anyhow::Result<()> {
        let _lock = whole_file::lock(&store.join(LOCK_NAME))?;
        let mut peers = Self::load(store)?;
        peers
            .peer
            .retain(|old| old.source != new.source && old.fingerprint != new.fingerprint);
        peers.peer.push(new);
        whole_file::replace_toml(&store.join(FILE_NAME), &peers)
    }
}

mod source_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::SourceId;

    pub(super) fn serialize<S: Serializer>(id: &SourceId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SourceId, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Hexadecimal digits, by the type of another digest of the same length.
mod fingerprint_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{FINGERPRINT_BYTES, Fingerprint};

    pub(super) fn serialize<S: Serializer>(bytes: &Fingerprint, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&blake3::Hash::from_bytes(*bytes).to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<[u8; FINGERPRINT_BYTES], D::Error> {
        let text = String::deserialize(from)?;
        let hash = blake3::Hash::from_hex(text).map_err(D::Error::custom)?;
        Ok(*hash.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(source: u8, fingerprint: u8) -> Peer {
        let host = format!("host-{source}");
        Peer::new(
            SourceId([source; 16]),
            [fingerprint; 32],
            &host,
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn what_was_pinned_is_found_again() {
        let store = tempfile::tempdir().unwrap();
        Peers::pin(store.path(), peer(1, 10)).unwrap();
        Peers::pin(store.path(), peer(2, 20)).unwrap();
        let peers = Peers::load(store.path()).unwrap();
        assert_eq!(peers.find(&[10; 32]), Some(&peer(1, 10)));
        assert_eq!(peers.find(&[20; 32]), Some(&peer(2, 20)));
        assert_eq!(peers.find(&[30; 32]), None);
    }

    #[test]
    fn pairing_again_replaces() {
        let store = tempfile::tempdir().unwrap();
        for (source, fingerprint) in [(1, 10), (1, 11), (2, 11)] {
            Peers::pin(store.path(), peer(source, fingerprint)).unwrap();
        }
        let peers = Peers::load(store.path()).unwrap();
        assert_eq!(peers.iter().collect::<Vec<_>>(), [&peer(2, 11)]);
    }

    #[test]
    fn a_damaged_file_lets_nobody_in() {
        let store = tempfile::tempdir().unwrap();
        std::fs::write(store.path().join(FILE_NAME), "[[peer]]\nsource = 1").unwrap();
        let error = format!("{:#}", Peers::load(store.path()).unwrap_err());
        assert!(error.contains("peers.toml"), "{error}");
    }

    #[test]
    fn a_host_name_can_t_spoil_a_terminal() {
        let host = format!("\u{1b}[2J{}", "x".repeat(100));
        let peer = Peer::new(SourceId([0; 16]), [0; 32], &host, Timestamp::UNIX_EPOCH);
        assert!(peer.host().starts_with("[2Jxx") && peer.host().len() == HOST_CHARACTERS_MAX);
    }
}
