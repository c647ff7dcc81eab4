//! What a part must keep to, whatever state it meets. Checked before it is written to the log, so that
//! an acknowledged batch can always be applied.

use everwrite_protocol::codec;
use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{
    Attributes, BackupCommand, Cut, Kind, PART_COMMANDS_MAX, PAYLOAD_BYTES_MAX, Part,
};

use super::{Rejection, StoreError};
use crate::log::content::decompress;

/// Largest number of a file, a byte in a file, a batch: the catalog keeps signed 64-bit numbers.
const NUMBER_MAX: u64 = i64::MAX as u64;
/// Longest value of an extended attribute in bytes (`XATTR_SIZE_MAX`).
const XATTR_BYTES_MAX: usize = 65_536;
/// Longest name of an extended attribute in bytes (`XATTR_NAME_MAX`).
const XATTR_NAME_BYTES_MAX: usize = 255;
/// Longest target of a symbolic link in bytes (`PATH_MAX` less the NUL).
const TARGET_BYTES_MAX: usize = 4095;
/// Longest name of a checkpoint in bytes.
const CHECKPOINT_BYTES_MAX: usize = 255;
/// Longest name of a user, a group or a program in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// A part as it came.
#[derive(Debug)]
pub(super) struct RawPart<'a> {
    pub(super) encoded: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) raw_bytes: usize,
    pub(super) compressed: bool,
}

/// Decodes and checks a part.
pub(super) fn check(raw: &RawPart<'_>) -> Result<Part, StoreError> {
    let part: Part = codec::decode(raw.encoded).map_err(|error| StoreError::Rejected {
        sequence: SequenceNumber(0),
        reason: Rejection::Malformed(error.to_string()),
    })?;
    let sequence = part.sequence;
    match check_part(&part, raw) {
        Ok(()) => Ok(part),
        Err(reason) => Err(StoreError::Rejected { sequence, reason }),
    }
}

/// Checks a cut.
pub(super) fn check_cut(cut: &Cut) -> Result<(), StoreError> {
    let what = match &cut.checkpoint {
        _ if cut.sequence.0 == 0 || cut.sequence.0 >= NUMBER_MAX => "no such batch number",
        Some(name) if name.len() > CHECKPOINT_BYTES_MAX => "a checkpoint's name is too long",
        _ => return Ok(()),
    };
    Err(StoreError::Rejected {
        sequence: cut.sequence,
        reason: Rejection::Malformed(what.to_owned()),
    })
}

fn check_part(part: &Part, raw: &RawPart<'_>) -> Result<(), Rejection> {
    let malformed = |what: &str| Err(Rejection::Malformed(what.to_owned()));
    if part.sequence.0 == 0 || part.sequence.0 >= NUMBER_MAX {
        return malformed("no such batch number");
    }
    if part.commands.len() > PART_COMMANDS_MAX {
        return malformed("too many commands");
    }
    let long = |text: &str| text.len() > TEXT_BYTES_MAX;
    if part
        .origins
        .iter()
        .any(|origin| long(&origin.program) || long(&origin.executable))
    {
        return malformed("a program's name is too long");
    }
    check_payload(raw)?;
    for (index, command) in part.commands.iter().enumerate() {
        check_command(command, part.origins.len(), raw.raw_bytes)
            .map_err(|rule| Rejection::Command { index, rule })?;
    }
    Ok(())
}

fn check_payload(raw: &RawPart<'_>) -> Result<(), Rejection> {
    let wrong = Rejection::Payload(raw.raw_bytes);
    if raw.payload.len() > PAYLOAD_BYTES_MAX || raw.raw_bytes > PAYLOAD_BYTES_MAX {
        return Err(wrong);
    }
    match raw.compressed {
        true => decompress(raw.payload, raw.raw_bytes)
            .map(drop)
            .map_err(|_| wrong),
        false if raw.payload.len() != raw.raw_bytes => Err(wrong),
        false => Ok(()),
    }
}

type Rule = Result<(), &'static str>;

fn require(holds: bool, rule: &'static str) -> Rule {
    if holds { Ok(()) } else { Err(rule) }
}

fn check_command(command: &BackupCommand, origins: usize, payload: usize) -> Rule {
    let origin = |origin: u16| require(usize::from(origin) < origins, "unknown origin");
    match command {
        BackupCommand::Create {
            file,
            attributes,
            origin: by,
        } => {
            check_file(*file)?;
            check_attributes(attributes)?;
            origin(*by)
        }
        BackupCommand::Attach {
            parent,
            file,
            origin: by,
            ..
        } => {
            check_parent(*parent)?;
            check_file(*file)?;
            origin(*by)
        }
        BackupCommand::Detach {
            parent, origin: by, ..
        } => {
            check_parent(*parent)?;
            origin(*by)
        }
        BackupCommand::Write {
            file,
            offset,
            length,
            payload_offset,
            origin: by,
        } => {
            check_file(*file)?;
            check_range(*offset, u64::from(*length))?;
            let end = u64::from(*payload_offset) + u64::from(*length);
            require(end <= payload as u64, "bytes beyond the payload")?;
            origin(*by)
        }
        BackupCommand::Copy {
            file,
            offset,
            length,
            from,
            from_offset,
            origin: by,
        } => {
            check_file(*file)?;
            check_file(*from)?;
            check_range(*offset, *length)?;
            check_range(*from_offset, *length)?;
            origin(*by)
        }
        BackupCommand::Punch {
            file,
            offset,
            length,
            origin: by,
        } => {
            check_file(*file)?;
            check_range(*offset, *length)?;
            origin(*by)
        }
        BackupCommand::Truncate {
            file,
            length,
            origin: by,
        } => {
            check_file(*file)?;
            check_range(*length, 0)?;
            origin(*by)
        }
        BackupCommand::SetAttributes {
            file,
            attributes,
            origin: by,
        } => {
            check_file(*file)?;
            check_attributes(attributes)?;
            origin(*by)
        }
        BackupCommand::Drop { file } => check_file(*file),
        BackupCommand::Root { file, path } => {
            check_file(*file)?;
            require(path.len() <= TARGET_BYTES_MAX, "path too long")
        }
    }
}

fn check_file(file: FileId) -> Rule {
    require(
        file != FileId::TOP && file.0 <= NUMBER_MAX,
        "no such file number",
    )
}

fn check_parent(parent: FileId) -> Rule {
    require(parent.0 <= NUMBER_MAX, "no such file number")
}

fn check_range(offset: u64, length: u64) -> Rule {
    let end = offset.checked_add(length);
    require(
        end.is_some_and(|end| end < NUMBER_MAX),
        "bytes beyond the end of all files",
    )
}

fn check_attributes(attributes: &Attributes) -> Rule {
    require(
        attributes.mode & !0o7777 == 0,
        "more than permission bits in the mode",
    )?;
    // The kernel's word for nobody.
    let owned = attributes.uid != u32::MAX && attributes.gid != u32::MAX;
    require(owned, "no such owner")?;
    check_range(attributes.size, 0)?;
    let link = attributes.kind == Kind::Symlink;
    require(
        link != attributes.target.is_empty(),
        "a symbolic link, and nothing else, has a target",
    )?;
    require(
        attributes.target.len() <= TARGET_BYTES_MAX,
        "target too long",
    )?;
    require(!attributes.target.contains(&0), "a NUL in a target")?;
    for name in [&attributes.user, &attributes.group].into_iter().flatten() {
        require(
            name.len() <= TEXT_BYTES_MAX,
            "a user's or group's name too long",
        )?;
    }
    for xattr in &attributes.xattrs {
        let name = &xattr.name;
        let named = !name.is_empty() && name.len() <= XATTR_NAME_BYTES_MAX && !name.contains(&0);
        require(named, "no name of an extended attribute")?;
        require(
            xattr.value.len() <= XATTR_BYTES_MAX,
            "an extended attribute too long",
        )?;
    }
    Ok(())
}
