//! Invitations: secrets that were given out and not yet used, in `pairing.toml` of the store.
//!
//! Only a digest of each secret is kept, so a copy of the store pairs nobody. Both processes that
//! write the file hold `pairing.lock` meanwhile; an invitation is gone from the disk before its
//! bearer is accepted.

use std::path::Path;

use anyhow::Context;
use everwrite_protocol::wire::SECRET_BYTES;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::whole_file;

/// How long a code is good, in minutes.
pub const VALID_MINUTES: i64 = 10;
/// Open invitations at most; the oldest goes.
const OPEN_MAX: usize = 16;

const FILE_NAME: &str = "pairing.toml";
const LOCK_NAME: &str = "pairing.lock";

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invitations {
    #[serde(default)]
    invitation: Vec<Invitation>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invitation {
    /// BLAKE3 of the secret, hexadecimal.
    secret_digest: String,
    /// Not valid from then on.
    expires: Timestamp,
}

/// A new secret, good for [`VALID_MINUTES`].
pub(super) fn issue(store: &Path, now: Timestamp) -> anyhow::Result<[u8; SECRET_BYTES]> {
    let mut secret = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut secret)
        .ok()
        .context("the system gave no random bytes")?;
    change(store, now, |open| {
        open.push(Invitation {
            secret_digest: digest(&secret),
            expires: now + SignedDuration::from_mins(VALID_MINUTES),
        });
        let surplus = open.len().saturating_sub(OPEN_MAX);
        open.drain(..surplus);
    })?;
    Ok(secret)
}

/// Is the secret good? If so it is used up.
pub(super) fn redeem(
    store: &Path,
    secret: &[u8; SECRET_BYTES],
    now: Timestamp,
) -> anyhow::Result<bool> {
    let digest = digest(secret);
    change(store, now, |open| {
        let before = open.len();
        open.retain(|invitation| invitation.secret_digest != digest);
        open.len() < before
    })
}

/// Changes the invitations that are still good, durably.
fn change<T>(
    store: &Path,
    now: Timestamp,
    what: impl FnOnce(&mut Vec<Invitation>) -> T,
) -> anyhow::Result<T> {
    let _lock = whole_file::lock(&store.join(LOCK_NAME))?;
    let path = store.join(FILE_NAME);
    let mut open: Invitations = whole_file::read_toml(&path)?;
    open.invitation
        .retain(|invitation| now < invitation.expires);
    let result = what(&mut open.invitation);
    whole_file::replace_toml(&path, &open)?;
    Ok(result)
}

fn digest(secret: &[u8; SECRET_BYTES]) -> String {
    blake3::hash(secret).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    #[test]
    fn a_secret_is_good_once() {
        let store = tempfile::tempdir().unwrap();
        let secret = issue(store.path(), later(0)).unwrap();
        assert!(redeem(store.path(), &secret, later(9)).unwrap());
        assert!(!redeem(store.path(), &secret, later(9)).unwrap());
    }

    #[test]
    fn a_secret_expires() {
        let store = tempfile::tempdir().unwrap();
        let secret = issue(store.path(), later(0)).unwrap();
        assert!(!redeem(store.path(), &secret, later(VALID_MINUTES)).unwrap());
    }

    #[test]
    fn secrets_do_not_disturb_one_another() {
        let store = tempfile::tempdir().unwrap();
        let first = issue(store.path(), later(0)).unwrap();
        let second = issue(store.path(), later(1)).unwrap();
        assert!(!redeem(store.path(), &[0; 16], later(2)).unwrap());
        assert!(redeem(store.path(), &second, later(2)).unwrap());
        assert!(redeem(store.path(), &first, later(2)).unwrap());
    }

    #[test]
    fn the_file_does_not_hold_the_secret_and_stays_short() {
        let store = tempfile::tempdir().unwrap();
        let oldest = issue(store.path(), later(0)).unwrap();
        for _ in 0..OPEN_MAX {
            issue(store.path(), later(0)).unwrap();
        }
        assert!(!redeem(store.path(), &oldest, later(0)).unwrap());
        let file = std::fs::read(store.path().join(FILE_NAME)).unwrap();
        assert!(!file.windows(SECRET_BYTES).any(|window| window == oldest));
    }
}
