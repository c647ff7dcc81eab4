//! Making two machines trust each other, once, by a line that a person carries.
//!
//! `everwrite-receiver pair` leaves an invitation in the store and prints a [`PairingCode`]; a
//! coordinator brings the code's secret in `Enrol`; the running `serve` redeems the invitation and
//! pins the coordinator's certificate. The two processes meet in a file of the store, so `pair`
//! needs no connection to the daemon.

mod address;
mod code;
mod command;
mod failures;
mod invitations;
mod peers;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use everwrite_protocol::wire::{Enrol, Fingerprint, Refusal};
use jiff::Timestamp;

use crate::identity::Identity;
use failures::FailureLimit;

pub use address::ListenAddress;
pub use code::{InvalidCode, PairingCode};
pub use command::{Pair, pair};
pub use invitations::VALID_MINUTES;
pub use peers::{Peer, Peers};

/// Makes a code for this store. `address` (`HOST:PORT`) is where sources will find the receiver.
pub fn invite(store: &Path, address: String) -> anyhow::Result<PairingCode> {
    let identity = Identity::load_or_create(store)?;
    let secret = invitations::issue(store, Timestamp::now())?;
    Ok(PairingCode {
        address,
        fingerprint: identity.fingerprint(),
        secret,
    })
}

/// The receiver's side of pairing: who may become a peer.
#[derive(Debug)]
pub struct Registrar {
    store: PathBuf,
    failures: Mutex<FailureLimit>,
}

impl Registrar {
    /// For the store in this directory.
    pub fn new(store: &Path) -> Self {
        Self {
            store: store.to_owned(),
            failures: Mutex::default(),
        }
    }

    /// Which source is pinned under this certificate? Reads the file: blocks.
    pub fn peer(&self, fingerprint: &Fingerprint) -> anyhow::Result<Option<Peer>> {
        Ok(Peers::load(&self.store)?.find(fingerprint).cloned())
    }

    /// Pins the certificate when the secret is good, and uses the secret up. Blocks.
    pub fn enrol(
        &self,
        from: IpAddr,
        fingerprint: Fingerprint,
        enrol: &Enrol,
    ) -> anyhow::Result<Result<(), Refusal>> {
        if self.failures().exceeded(from, Instant::now()) {
            tracing::warn!(%from, "pairing refused: too many wrong codes from there");
            return Ok(Err(Refusal::Secret));
        }
        if !invitations::redeem(&self.store, &enrol.secret, Timestamp::now())? {
            self.failures().count(from, Instant::now());
            tracing::warn!(%from, "pairing refused: code wrong, used or expired");
            return Ok(Err(Refusal::Secret));
        }
        let peer = Peer::new(enrol.source, fingerprint, &enrol.host, Timestamp::now());
        Peers::pin(&self.store, peer).context("pin the source's certificate")?;
        tracing::info!(%from, source = %enrol.source, host = %enrol.host, "paired");
        Ok(Ok(()))
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, FailureLimit> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::SourceId;
    use everwrite_protocol::wire::Version;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const CERTIFICATE: Fingerprint = [7; 32];

    fn enrol(secret: [u8; 16]) -> Enrol {
        let source = SourceId([1; 16]);
        Enrol {
            version: Version::V1,
            source,
            secret,
            host: "laptop".to_owned(),
        }
    }

    #[test]
    fn a_code_pins_one_certificate_and_is_then_used_up() {
        let store = tempfile::tempdir().unwrap();
        let code = invite(store.path(), "host:1".to_owned()).unwrap();
        let registrar = Registrar::new(store.path());
        assert_eq!(registrar.peer(&CERTIFICATE).unwrap(), None);
        assert_eq!(
            registrar
                .enrol(HERE, CERTIFICATE, &enrol(code.secret))
                .unwrap(),
            Ok(())
        );
        let peer = registrar.peer(&CERTIFICATE).unwrap().unwrap();
        assert_eq!((peer.source(), peer.host()), (SourceId([1; 16]), "laptop"));
        let again = registrar.enrol(HERE, [8; 32], &enrol(code.secret)).unwrap();
        assert_eq!(again, Err(Refusal::Secret));
        assert_eq!(registrar.peer(&[8; 32]).unwrap(), None);
    }

    #[test]
    fn after_some_wrong_codes_even_a_good_one_has_to_wait() {
        let store = tempfile::tempdir().unwrap();
        let registrar = Registrar::new(store.path());
        for _ in 0..failures::FAILURES_MAX {
            assert!(
                registrar
                    .enrol(HERE, CERTIFICATE, &enrol([0; 16]))
                    .unwrap()
                    .is_err()
            );
        }
        let code = invite(store.path(), "host:1".to_owned()).unwrap();
        assert!(
            registrar
                .enrol(HERE, CERTIFICATE, &enrol(code.secret))
                .unwrap()
                .is_err()
        );
        let elsewhere = IpAddr::from([10, 0, 0, 1]);
        assert!(
            registrar
                .enrol(elsewhere, CERTIFICATE, &enrol(code.secret))
                .unwrap()
                .is_ok()
        );
    }
}
