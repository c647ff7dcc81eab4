//! Digests and signatures of current files, for a source that wants to send only what differs.

use std::fs::File;

use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Answer, DIGEST_BYTES, Kind, PAYLOAD_BYTES_MAX, QueryError};
use fast_rsync::{Signature, SignatureOptions};

use super::content::find_inode;
use super::path::DEPTH_MAX;
use super::{Answered, Session, invalid};
use crate::apply::plan::before::{Before, Placed};
use crate::catalog::CatalogRead;
use crate::mirror::{is_absent, read_at};
use crate::store::StoreError;

/// Bytes read within one hold of the lock.
const PIECE_BYTES: u64 = 8 << 20;
/// Smallest and largest block in bytes.
const BLOCK_BYTES: std::ops::RangeInclusive<u32> = 256..=8 << 20;
/// Longest range of a signature in bytes.
const SIGNATURE_BYTES_MAX: u64 = 32 << 20;
/// Bytes of a strong hash in a signature: all of MD4.
const CRYPTO_HASH_BYTES: u32 = 16;
/// Attempts at a digest of a file that is being changed, before it is read within one hold.
const ATTEMPTS: usize = 3;

/// A current regular file, held against changes.
struct Current {
    inode: File,
    size: u64,
    /// Batch in which it last changed.
    changed: SequenceNumber,
}

impl Session {
    fn current(&self, file: FileId) -> Result<Current, QueryError> {
        let read = self.catalog.read()?;
        let applied = read.applied();
        let before = read.file(file)?.ok_or(QueryError::NotFound)?;
        if before.attributes.kind != Kind::Regular {
            return Err(invalid("only regular files have content"));
        }
        let changed = read
            .attributes_at(file, applied)?
            .map_or(applied, |(_, since)| since);
        if !is_current(&read, file, before.placed)? {
            return Err(QueryError::NotFound);
        }
        let inode =
            find_inode(&self.directory, &read, file).map_err(|error| match is_absent(&error) {
                // The mirror could not take it, or something else took it away: there is nothing to
                // compare with.
                true => QueryError::NotFound,
                false => disk(&error),
            })?;
        Ok(Current {
            inode,
            size: before.attributes.size,
            changed,
        })
    }

    pub(super) fn digests(&self, file: FileId, offset: u64, length: u64, block: u32) -> Answered {
        if !BLOCK_BYTES.contains(&block) {
            return Err(invalid("block size out of its limits"));
        }
        let block = u64::from(block);
        let mut payload = Vec::new();
        let mut at = offset;
        let end = offset.saturating_add(length);
        let size = loop {
            let held = self.lock.shared()?;
            let current = self.current(file)?;
            let stop = end.min(current.size);
            let piece_end = stop.min(at.saturating_add(PIECE_BYTES.max(block)));
            let mut buffer = vec![0u8; block as usize];
            while at < piece_end && payload.len() + DIGEST_BYTES <= PAYLOAD_BYTES_MAX {
                let bytes = block.min(stop - at) as usize;
                read_at(&current.inode, &mut buffer[..bytes], at).map_err(|e| disk(&e))?;
                payload
                    .extend_from_slice(&blake3::hash(&buffer[..bytes]).as_bytes()[..DIGEST_BYTES]);
                at += bytes as u64;
            }
            drop(held);
            if at >= stop || payload.len() + DIGEST_BYTES > PAYLOAD_BYTES_MAX {
                break current.size;
            }
        };
        let blocks = (payload.len() / DIGEST_BYTES) as u32;
        Ok((Answer::Digests { size, blocks }, payload))
    }

    pub(super) fn signature(&self, file: FileId, offset: u64, length: u64, block: u32) -> Answered {
        if !BLOCK_BYTES.contains(&block) || length > SIGNATURE_BYTES_MAX {
            return Err(invalid("block size or length out of its limits"));
        }
        let held = self.lock.shared()?;
        let current = self.current(file)?;
        let start = offset.min(current.size);
        let bytes = length.min(current.size - start);
        let mut content = vec![0u8; bytes as usize];
        let got = read_at(&current.inode, &mut content, start).map_err(|error| disk(&error))?;
        content.truncate(got);
        drop(held);
        let options = SignatureOptions {
            block_size: block,
            crypto_hash_size: CRYPTO_HASH_BYTES,
        };
        let signature = Signature::calculate(&content, options).into_serialized();
        match signature.len() <= PAYLOAD_BYTES_MAX {
            true => Ok((Answer::Signature, signature)),
            false => Err(invalid("too many blocks for one signature")),
        }
    }

    pub(super) fn whole_digest(&self, file: FileId) -> Answered {
        for _ in 0..ATTEMPTS {
            if let Some(answer) = self.digest_in_pieces(file)? {
                return Ok((answer, Vec::new()));
            }
        }
        let held = self.lock.shared()?;
        let current = self.current(file)?;
        let mut hasher = blake3::Hasher::new();
        hash_range(&current, 0, current.size, &mut hasher)?;
        drop(held);
        Ok((whole(&hasher, current.size), Vec::new()))
    }

    /// `None`: the file changed meanwhile.
    fn digest_in_pieces(&self, file: FileId) -> Result<Option<Answer>, QueryError> {
        let mut hasher = blake3::Hasher::new();
        let mut version = None;
        let mut at = 0;
        loop {
            let held = self.lock.shared()?;
            let current = self.current(file)?;
            if *version.get_or_insert(current.changed) != current.changed {
                return Ok(None);
            }
            let end = current.size.min(at + PIECE_BYTES);
            hash_range(&current, at, end, &mut hasher)?;
            drop(held);
            at = end;
            if at >= current.size {
                return Ok(Some(whole(&hasher, current.size)));
            }
        }
    }
}

/// Is the file in the tree, or on its way into it? Below a dead directory it keeps its name, and what the
/// batch that buried it wrote was never seen.
fn is_current(read: &CatalogRead<'_>, file: FileId, placed: Placed) -> Result<bool, StoreError> {
    if placed != Placed::Named {
        return Ok(placed == Placed::Staged);
    }
    // The first name of thousands will do.
    if let Some((parent, _)) = read.first_name(file)?
        && leads_up(read, parent)?
    {
        return Ok(true);
    }
    for (parent, _) in read.names(file)? {
        if leads_up(read, parent)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// To the top, or to a staged directory.
fn leads_up(read: &CatalogRead<'_>, mut directory: FileId) -> Result<bool, StoreError> {
    for _ in 0..DEPTH_MAX {
        if directory == FileId::TOP {
            return Ok(true);
        }
        match read.first_name(directory)? {
            Some((parent, _)) => directory = parent,
            None => return Ok(read.placed(directory)? == Some(Placed::Staged)),
        }
    }
    Ok(false)
}

fn hash_range(
    current: &Current,
    mut at: u64,
    end: u64,
    hasher: &mut blake3::Hasher,
) -> Result<(), QueryError> {
    let mut buffer = vec![0u8; (end - at).min(1 << 20) as usize];
    while at < end {
        let want = (end - at).min(buffer.len() as u64) as usize;
        let got = read_at(&current.inode, &mut buffer[..want], at).map_err(|error| disk(&error))?;
        if got == 0 {
            break;
        }
        hasher.update(&buffer[..got]);
        at += got as u64;
    }
    Ok(())
}

fn whole(hasher: &blake3::Hasher, size: u64) -> Answer {
    Answer::WholeDigest {
        digest: *hasher.finalize().as_bytes(),
        size,
    }
}

fn disk(error: &std::io::Error) -> QueryError {
    QueryError::Store(format!("read the mirror: {error}"))
}
