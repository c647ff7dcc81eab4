//! What is known to be dirty about one inode or one name.

use std::time::{Duration, Instant};

use everwrite_protocol::ids::Timestamp;

use crate::intake::{OriginId, Sources};
use crate::ranges::RangeSet;

/// Dirty bytes of a file that are read in no time.
const LIGHT_BYTES_MAX: u64 = 256 << 10;

/// Order in which things became dirty; a barrier waits for all up to a ticket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    /// What a scan without a known gap looks at: nobody waits for it, and it says nothing of lag.
    pub const BACKGROUND: Self = Self(u64::MAX);
}

/// When something became dirty, and by whom (the latest of them).
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Place in the order.
    pub ticket: Ticket,
    /// When the first of the hints was taken in.
    pub since: Instant,
    /// Who changed it last.
    pub origin: OriginId,
    /// Who told of it, all of them.
    pub sources: Sources,
}

impl Mark {
    /// Keeps the place of the older, and the latest origin; a scan that looks, too, is none.
    pub(super) fn oldest_of(known: Self, new: Self) -> Self {
        Self {
            ticket: known.ticket.min(new.ticket),
            since: known.since.min(new.since),
            origin: match new.origin {
                OriginId::SCAN => known.origin,
                program => program,
            },
            sources: known.sources.and(new.sources),
        }
    }
}

/// What to look at in a file.
#[derive(Clone, Debug, Default)]
pub struct Dirt {
    /// Bytes to read.
    pub ranges: RangeSet,
    /// The end of the file, from where the receiver's copy ends.
    pub appended: bool,
    /// Somewhere; compare all of it with the receiver's copy.
    pub whole: bool,
    /// Mode, owner, times, extended attributes. Always looked at, so this is only a reason to look.
    pub attributes: bool,
    /// Its pages are to be cleaned before they are read: they are mapped, and the kernel tells of the
    /// first store into a clean page only.
    pub flush: bool,
    /// Of which file with this inode number its content was told.
    pub born: Born,
    /// When content was first told of.
    pub told: Option<Instant>,
}

/// Which of the files that had an inode number, one after the other, was meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Born {
    /// Nobody said; the kernel's programs never do.
    #[default]
    Untold,
    /// The one born then, in nanoseconds since 1970.
    At(u64),
    /// More than one of them.
    Several,
}

impl Born {
    /// One born then was meant; 0 says nothing.
    fn at(birth: u64) -> Self {
        match birth {
            0 => Self::Untold,
            _ => Self::At(birth),
        }
    }

    fn absorb(&mut self, other: Self) {
        *self = match (*self, other) {
            (known, Self::Untold) => known,
            (Self::Untold, other) => other,
            (known, other) if known == other => known,
            _ => Self::Several,
        };
    }

    /// Was it, or that too, the one born then? `None`: nobody knows.
    pub fn means(self, birth: u64) -> Option<bool> {
        match self {
            Self::At(told) if birth != 0 => Some(told == birth),
            Self::Several => Some(true),
            Self::At(_) | Self::Untold => None,
        }
    }
}

impl Dirt {
    /// Content was told of then, of the file born at `birth`; 0: nobody said.
    pub(super) fn tell(&mut self, at: Instant, birth: u64) {
        self.born.absorb(Born::at(birth));
        self.told = first(self.told, Some(at));
    }

    /// Is there content to be read?
    pub fn has_content(&self) -> bool {
        self.whole || self.appended || !self.ranges.is_empty()
    }

    /// All of this and of `other`.
    pub fn absorb(&mut self, other: &Self) {
        self.ranges.add_all(&other.ranges);
        self.appended |= other.appended;
        self.whole |= other.whole;
        self.attributes |= other.attributes;
        self.flush |= other.flush;
        self.born.absorb(other.born);
        self.told = first(self.told, other.told);
    }
}

fn first(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// A dirty file.
#[derive(Clone, Debug)]
pub struct DirtyFile {
    /// When and by whom.
    pub mark: Mark,
    /// What.
    pub dirt: Dirt,
    /// Rounds in which none of its names led to it.
    pub lost_rounds: u8,
    /// A part of it was sent in an earlier round, when the file had this change time, and its ranges
    /// are all that is left to send: it is not to be compared again on account of being half sent.
    pub begun: Option<Timestamp>,
    /// What became dirty since it was begun. It waits until all that was dirty then is sent, or a file
    /// that is written to all the time would never be done.
    pub next: Option<(Mark, Dirt)>,
    /// A part of it is looked at, because that was told.
    pub in_part: bool,
    /// Time that its looks have cost so far.
    pub cost: Duration,
    /// No new content was told: it is only made sure that all was read.
    pub again: bool,
    /// Something of it could not be read: it is to be compared by the next scan.
    pub failed: bool,
}

impl DirtyFile {
    /// Nothing is dirty yet.
    pub fn new(mark: Mark) -> Self {
        Self {
            mark,
            dirt: Dirt::default(),
            lost_rounds: 0,
            begun: None,
            next: None,
            in_part: false,
            cost: Duration::ZERO,
            again: false,
            failed: false,
        }
    }

    /// Who told of it, and of what became dirty since.
    pub fn sources(&self) -> Sources {
        let next = self.next.as_ref();
        self.mark
            .sources
            .and(next.map_or_else(Sources::default, |(mark, _)| mark.sources))
    }

    /// Something more became dirty.
    pub(super) fn change(&mut self, mark: Mark, change: impl FnOnce(&mut Dirt)) {
        if self.begun.is_some() {
            let (known, dirt) = self.next.get_or_insert_with(|| (mark, Dirt::default()));
            *known = Mark::oldest_of(*known, mark);
            change(dirt);
        } else if self.again {
            let mut more = Dirt::default();
            change(&mut more);
            self.again = !more.has_content();
            self.mark = Mark::oldest_of(self.mark, mark);
            self.dirt.absorb(&more);
        } else {
            self.mark = Mark::oldest_of(self.mark, mark);
            change(&mut self.dirt);
        }
    }

    /// All of this and of `other`, which came later.
    pub fn absorb(&mut self, other: &Self) {
        let again = self.again && other.again;
        self.change(other.mark, |dirt| dirt.absorb(&other.dirt));
        if let Some((mark, next)) = &other.next {
            self.change(*mark, |dirt| dirt.absorb(next));
        }
        self.again |= again;
    }

    /// Are pages to be cleaned before it is read?
    pub(super) fn wants_flush(&self) -> bool {
        let next = self.next.as_ref();
        self.dirt.flush || next.is_some_and(|(_, dirt)| dirt.flush)
    }

    /// Was nothing told but that it may have grown?
    pub fn waits_for_growth(&self) -> bool {
        self.dirt.appended && self.dirt.ranges.is_empty() && self.is_light()
    }

    /// Is it known to be little that is to be read?
    pub fn is_light(&self) -> bool {
        !self.dirt.whole
            && self.begun.is_none()
            && self.dirt.ranges.bytes(u64::MAX) <= LIGHT_BYTES_MAX
    }

    /// What is begun and what became dirty since, as one.
    pub fn as_one(mut self) -> Self {
        if let Some((mark, next)) = self.next.take() {
            self.dirt.absorb(&next);
            self.mark = Mark::oldest_of(self.mark, mark);
        }
        self
    }
}

/// A directory whose entries are all to be compared.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// When and by whom.
    pub mark: Mark,
    /// Also everything below, whether or not it looks changed.
    pub deep: bool,
    /// Found by a scan: changes that it finds and no hint announced are misses.
    pub scan: bool,
}
