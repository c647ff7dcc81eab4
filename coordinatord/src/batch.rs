//! Backup commands, gathered into the parts of a batch.

use std::collections::HashMap;

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{
    Attributes, BackupCommand, Cut, Origin, PART_COMMANDS_MAX, PAYLOAD_BYTES_MAX, Part,
};

use crate::intake::OriginId;
use crate::network_backup::Batch;

/// A part is closed when its encoded form may be as long as this; the limit of the codec is twice
/// that, and no single command reaches the difference.
const ENCODED_BYTES_SOFT: usize = 512 * 1024;

/// Upper bound of the encoded size of a command about content.
const CONTENT_COMMAND_BYTES: usize = 64;

/// Builds one batch. Commands keep their order.
pub struct BatchBuilder {
    sequence: SequenceNumber,
    parts: Vec<(Part, Vec<u8>)>,
    open: Part,
    payload: Vec<u8>,
    encoded_estimate: usize,
    payload_total: u64,
    commands_total: usize,
    origin_numbers: HashMap<OriginId, u16>,
    origin_of: Box<dyn Fn(OriginId) -> Origin + Send>,
}

impl BatchBuilder {
    /// An empty batch. `origin_of` tells who is behind an origin id.
    pub fn new(
        sequence: SequenceNumber,
        origin_of: Box<dyn Fn(OriginId) -> Origin + Send>,
    ) -> Self {
        Self {
            sequence,
            parts: Vec::new(),
            open: empty_part(sequence, 0),
            payload: Vec::new(),
            encoded_estimate: 0,
            payload_total: 0,
            commands_total: 0,
            origin_numbers: HashMap::new(),
            origin_of,
        }
    }

    /// Its number.
    pub fn sequence(&self) -> SequenceNumber {
        self.sequence
    }

    /// No command so far?
    pub fn is_empty(&self) -> bool {
        self.commands_total == 0
    }

    /// Bytes of content so far.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_total
    }

    /// Commands so far.
    pub fn commands(&self) -> usize {
        self.commands_total
    }

    /// Adds a command; its origin number is filled in here.
    pub fn push(&mut self, origin: OriginId, command: BackupCommand) {
        self.make_room(encoded_estimate(&command), 0);
        self.append(origin, command);
    }

    /// Room in the open part's payload; never 0.
    pub fn payload_room(&mut self) -> usize {
        self.make_room(CONTENT_COMMAND_BYTES, 1);
        PAYLOAD_BYTES_MAX - self.payload.len()
    }

    /// Adds content of at most [`Self::payload_room`] bytes. `make` gets the place of the content in
    /// the payload.
    pub fn push_content(
        &mut self,
        origin: OriginId,
        content: &[u8],
        make: impl FnOnce(u32) -> BackupCommand,
    ) {
        self.make_room(CONTENT_COMMAND_BYTES, content.len());
        let at = self.payload.len() as u32;
        self.payload.extend_from_slice(content);
        self.payload_total += content.len() as u64;
        self.append(origin, make(at));
    }

    /// The finished batch.
    pub fn finish(mut self, cut: impl FnOnce(SequenceNumber, u32) -> Cut) -> Batch {
        if !self.open.commands.is_empty() || self.parts.is_empty() {
            self.close_part();
        }
        let cut = cut(self.sequence, self.parts.len() as u32);
        Batch {
            parts: self.parts,
            cut,
        }
    }

    /// Closes the open part if a command of `encoded` bytes with `payload` bytes might not fit.
    fn make_room(&mut self, encoded: usize, payload: usize) {
        if self.open.commands.len() >= PART_COMMANDS_MAX
            || self.open.origins.len() >= usize::from(u16::MAX)
            || self.encoded_estimate + encoded > ENCODED_BYTES_SOFT
                && !self.open.commands.is_empty()
            || self.payload.len() + payload > PAYLOAD_BYTES_MAX
        {
            self.close_part();
        }
    }

    fn append(&mut self, origin: OriginId, command: BackupCommand) {
        self.encoded_estimate += encoded_estimate(&command);
        self.commands_total += 1;
        let number = self.origin_number(origin);
        self.open.commands.push(with_origin(command, number));
    }

    fn origin_number(&mut self, origin: OriginId) -> u16 {
        if let Some(number) = self.origin_numbers.get(&origin) {
            return *number;
        }
        let number = self.open.origins.len() as u16;
        let who = (self.origin_of)(origin);
        self.encoded_estimate += who.program.len() + who.executable.len() + who.cgroup.len() + 32;
        self.open.origins.push(who);
        self.origin_numbers.insert(origin, number);
        number
    }

    fn close_part(&mut self) {
        let next = empty_part(self.sequence, self.open.part + 1);
        let mut part = std::mem::replace(&mut self.open, next);
        if part.origins.is_empty() {
            part.origins.push((self.origin_of)(OriginId::SCAN));
        }
        self.parts.push((part, std::mem::take(&mut self.payload)));
        self.origin_numbers.clear();
        self.encoded_estimate = 0;
    }
}

fn empty_part(sequence: SequenceNumber, part: u32) -> Part {
    Part {
        sequence,
        part,
        origins: Vec::new(),
        commands: Vec::new(),
    }
}

/// Upper bound of the encoded size of a command in bytes.
fn encoded_estimate(command: &BackupCommand) -> usize {
    match command {
        BackupCommand::Create { attributes, .. }
        | BackupCommand::SetAttributes { attributes, .. } => attributes_bytes(attributes) + 16,
        BackupCommand::Attach { name, .. } | BackupCommand::Detach { name, .. } => {
            name.as_bytes().len() + 32
        }
        BackupCommand::Root { path, .. } => path.len() + 16,
        _ => CONTENT_COMMAND_BYTES,
    }
}

/// Upper bound of the encoded size of attributes in bytes.
pub fn attributes_bytes(attributes: &Attributes) -> usize {
    let names = attributes.user.as_ref().map_or(0, String::len)
        + attributes.group.as_ref().map_or(0, String::len);
    let xattrs: usize = attributes
        .xattrs
        .iter()
        .map(|xattr| xattr.name.len() + xattr.value.len() + 10)
        .sum();
    96 + names + attributes.target.len() + xattrs
}

fn with_origin(command: BackupCommand, number: u16) -> BackupCommand {
    let mut command = command;
    match &mut command {
        BackupCommand::Create { origin, .. }
        | BackupCommand::Attach { origin, .. }
        | BackupCommand::Detach { origin, .. }
        | BackupCommand::Write { origin, .. }
        | BackupCommand::Copy { origin, .. }
        | BackupCommand::Punch { origin, .. }
        | BackupCommand::Truncate { origin, .. }
        | BackupCommand::SetAttributes { origin, .. } => *origin = number,
        BackupCommand::Drop { .. } | BackupCommand::Root { .. } => {}
    }
    command
}
