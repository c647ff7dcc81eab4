//! Who we are on the network: a self-signed certificate and its key, made at the first start.
//!
//! Nobody signs for anybody here: a peer is trusted because its certificate's fingerprint was
//! pinned at pairing. So a certificate's names and dates mean nothing, and losing the file means
//! pairing again. One file holds both halves, so that they can't come apart.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use everwrite_protocol::wire::{FINGERPRINT_BYTES, Fingerprint};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Name of the file that holds key and certificate.
const FILE_NAME: &str = "identity.pem";

/// A certificate, its private key, its fingerprint.
#[derive(Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    fingerprint: Fingerprint,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file can't be read or written.
    #[error("identity {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Cause.
        error: io::Error,
    },
    /// The file holds something else.
    #[error(
        "identity {path} is damaged ({reason}); put it back from a backup, or remove it and pair again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Cause.
        reason: String,
    },
    /// The cryptography library failed to make one.
    #[error("make an identity: {0}")]
    Generate(#[from] rcgen::Error),
}

impl Identity {
    /// The identity kept in `directory`; made there (`identity.pem`, readable by its owner only)
    /// when there is none. Two processes that do this at once end up with the same one.
    pub fn load_or_create(directory: &Path) -> Result<Self, IdentityError> {
        let path = directory.join(FILE_NAME);
        let at_path = |error| IdentityError::Io {
            path: path.clone(),
            error,
        };
        match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                publish(directory, &path, &generate()?).map_err(at_path)?;
                Self::parse(&path, &read(&path).map_err(at_path)?)
            }
            Err(error) => Err(at_path(error)),
            Ok(pem) => Self::parse(&path, &pem),
        }
    }

    /// An identity that lives in memory only.
    pub fn ephemeral() -> Result<Self, IdentityError> {
        Self::parse(Path::new("(memory)"), generate()?.as_bytes())
    }

    /// SHA-256 of the certificate: what peers pin.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    fn parse(path: &Path, pem: &[u8]) -> Result<Self, IdentityError> {
        let damaged = |error: rustls_pki_types::pem::Error| IdentityError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let certificate = CertificateDer::from_pem_slice(pem).map_err(damaged)?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(damaged)?;
        Ok(Self {
            fingerprint: fingerprint(&certificate),
            certificate,
            key,
        })
    }
}

/// SHA-256 of a certificate in DER form.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let mut fingerprint = [0; FINGERPRINT_BYTES];
    fingerprint.copy_from_slice(digest.as_ref());
    fingerprint
}

/// A new Ed25519 key and a certificate for it, as PEM.
fn generate() -> Result<String, rcgen::Error> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let certificate =
        rcgen::CertificateParams::new(vec!["everwrite".to_owned()])?.self_signed(&key)?;
    Ok(key.serialize_pem() + &certificate.pem())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    File::open(path)?.take(1 << 16).read_to_end(&mut pem)?;
    Ok(pem)
}

/// Gives `pem` the name `path`, whole and durable, unless another process was first.
fn publish(directory: &Path, path: &Path, pem: &str) -> io::Result<()> {
    let unfinished = directory.join(format!("{FILE_NAME}.{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&unfinished, path);
    std::fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(directory)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_start_makes_it_and_later_ones_keep_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = Identity::load_or_create(directory.path()).unwrap();
        let second = Identity::load_or_create(directory.path()).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        let mode = std::fs::metadata(directory.path().join(FILE_NAME))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn no_two_are_alike() {
        let (one, other) = (
            Identity::ephemeral().unwrap(),
            Identity::ephemeral().unwrap(),
        );
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_damaged_file_is_told_with_its_path_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        std::fs::write(&path, "nonsense").unwrap();
        let error = Identity::load_or_create(directory.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("identity.pem") && error.contains("pair again"),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"nonsense");
    }
}
