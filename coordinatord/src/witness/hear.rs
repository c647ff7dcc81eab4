//! From what the kernel tells to hints.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use everwrite_protocol::ids::Name;
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;
use rustix::time::{ClockId, clock_gettime};

use super::area::Area;
use super::directories::{self, Directories};
use super::event::{Change, Event};
use super::pending::Pending;
use super::programs::Programs;
use super::record::{Handle, Record};
use super::tracer::Tracer;
use super::tracer_report::Lost;
use crate::intake::{Merge, OriginId, What};

/// Files known to be mapped where the kernel does not tell of stores.
const MAPPED_MAX: usize = 1 << 14;

/// Makes hints.
pub(super) struct Hearing {
    pub(super) merge: Merge,
    pub(super) areas: Vec<Area>,
    pub(super) directories: Directories,
    pub(super) pending: Pending,
    programs: Programs,
    mapped: HashSet<Inode>,
    /// Hints made of what fanotify told.
    pub(super) names_heard: u64,
    /// Times that fanotify had more to tell than it could keep, or told what could not be placed.
    pub(super) overflows: u64,
}

impl Hearing {
    pub(super) fn new(merge: Merge, programs: Programs) -> Self {
        Self {
            merge,
            areas: Vec::new(),
            directories: Directories::default(),
            pending: Pending::default(),
            programs,
            mapped: HashSet::new(),
            names_heard: 0,
            overflows: 0,
        }
    }

    /// From now on process numbers may stand for other programs.
    pub(super) fn begin(&mut self) {
        self.programs.forget_numbers();
    }

    /// Something told by eBPF.
    pub(super) fn event(&mut self, event: &Event, tracer: &Tracer, clock: Clock) {
        let now = clock.now;
        tracing::trace!(?event, "told");
        // A root that is not watched any more.
        let Some(area) = area(&self.areas, event.root) else {
            return;
        };
        let file = Inode {
            device: area.inode.device,
            inode: event.inode,
        };
        let tells_of_stores = area.tells_of_stores();
        let origin = self
            .programs
            .of_actor(&event.actor, |process| tracer.program(process));
        for what in whats(event, file, tells_of_stores) {
            if matches!(what, What::Mapped { .. }) && self.mapped.len() < MAPPED_MAX {
                self.mapped.insert(file);
            }
            self.hint(
                origin,
                clock.moment(event.at),
                what,
                event.pending.then_some(now),
            );
        }
    }

    /// A hint, and the same again later when what it tells of may not have happened yet.
    fn hint(&mut self, origin: OriginId, at: Instant, what: What, pending: Option<Instant>) {
        if let Some(now) = pending
            && !self.pending.add(now, origin, &what)
        {
            self.merge.add(origin, now, What::Everything);
        }
        self.merge.add(origin, at, what);
    }

    /// What is due to be looked at again.
    pub(super) fn pending(&mut self, now: Instant, all: bool) {
        for (origin, what) in self.pending.take(now, all) {
            self.merge.add(origin, now, what);
        }
    }

    /// What eBPF could not tell.
    pub(super) fn lost(&mut self, lost: &Lost, now: Instant) {
        for (root, inode) in &lost.files {
            if let Some(area) = area(&self.areas, *root) {
                let file = Inode {
                    device: area.inode.device,
                    inode: *inode,
                };
                self.merge.add(OriginId::SCAN, now, What::Flush { file });
                self.merge
                    .add(OriginId::SCAN, now, What::Whole { file, birth: 0 });
            }
        }
        if lost.more {
            self.merge.add(OriginId::SCAN, now, What::Everything);
        }
    }

    /// Something told by fanotify.
    pub(super) fn record(
        &mut self,
        record: Option<&Record>,
        mut tracer: Option<&mut Tracer>,
        now: Instant,
    ) {
        let Some(record) = record.filter(|record| !record.is(libc::FAN_Q_OVERFLOW)) else {
            self.overflow(tracer, now);
            return;
        };
        if record.process == std::process::id() {
            return;
        }
        let told = match self.whats_of(record, tracer.as_deref_mut()) {
            Ok(told) => told,
            Err(error) => {
                tracing::warn!(%error, "what fanotify told could not be placed: everything is looked at");
                return self.overflow(tracer, now);
            }
        };
        if told.is_empty() {
            return;
        }
        self.names_heard += told.len() as u64;
        let origin = self.origin_of(record.process, tracer.as_deref());
        for what in told {
            self.merge.add(origin, now, what);
        }
    }

    /// A directory came into a root, or left it: what was known of what is below it is void.
    fn membership_changed(&mut self, tracer: Option<&mut Tracer>) {
        self.directories.forget();
        if let Some(tracer) = tracer {
            tracer.next_generation();
        }
    }

    fn overflow(&mut self, tracer: Option<&mut Tracer>, now: Instant) {
        self.overflows += 1;
        self.membership_changed(tracer);
        self.merge.add(OriginId::SCAN, now, What::Everything);
    }

    fn origin_of(&mut self, process: u32, tracer: Option<&Tracer>) -> OriginId {
        self.programs
            .of_process(process, |process| tracer?.program(process))
    }

    /// An error means that nobody knows what it is about.
    fn whats_of(&mut self, record: &Record, tracer: Option<&mut Tracer>) -> io::Result<Vec<What>> {
        let mut whats = Vec::new();
        if record.is(libc::FAN_RENAME) {
            let renamed = self.renamed(record)?;
            if record.is(libc::FAN_ONDIR) && matches!(renamed, Some(What::Name { .. })) {
                self.membership_changed(tracer);
            }
            whats.extend(renamed);
        } else if let Some((directory, name)) = &record.at
            && let Some(directory) = self.directories.inside(directory, &self.areas)?
        {
            match name {
                Some(name) => self.in_directory(directory, name, record, tracer, &mut whats)?,
                None => whats.push(What::Attributes {
                    file: directory,
                    birth: 0,
                }),
            }
        }
        Ok(whats)
    }

    fn in_directory(
        &mut self,
        directory: Inode,
        name: &Name,
        record: &Record,
        tracer: Option<&mut Tracer>,
        whats: &mut Vec<What>,
    ) -> io::Result<()> {
        let found = match &record.target {
            Some(handle) => directories::file(handle, &self.areas)?,
            None => None,
        };
        if record.is(libc::FAN_CREATE | libc::FAN_DELETE) {
            whats.push(What::Name {
                directory,
                name: name.clone(),
                // A further name of what may have lain outside until now.
                arrived: record.is(libc::FAN_CREATE)
                    && found
                        .as_ref()
                        .is_none_or(|(_, stat)| stat.kind != Kind::Directory && stat.links > 1),
            });
        }
        let Some((descriptor, stat)) = found else {
            return Ok(());
        };
        let (file, birth) = (stat.inode, stat.birth);
        if record.is(libc::FAN_MODIFY) {
            whats.push(What::Whole { file, birth });
        } else if record.is(libc::FAN_ATTRIB | libc::FAN_CLOSE_WRITE) {
            whats.push(What::Attributes { file, birth });
        }
        if record.is(libc::FAN_CLOSE_WRITE) && self.mapped.contains(&file) {
            let still = tracer.is_none_or(|tracer| tracer.is_mapped(descriptor.as_fd()));
            whats.push(self.closed_mapped(file, birth, still));
        }
        Ok(())
    }

    /// A file that was mapped was closed, maybe for the last time.
    fn closed_mapped(&mut self, file: Inode, birth: u64, still_mapped: bool) -> What {
        if still_mapped {
            return What::Whole { file, birth };
        }
        self.mapped.remove(&file);
        What::Unmapped { file, birth }
    }

    fn renamed(&mut self, record: &Record) -> io::Result<Option<What>> {
        let mut place = |place: &Option<(Handle, Option<Name>)>| {
            let Some((directory, Some(name))) = place else {
                return Ok(None);
            };
            let inside = self.directories.inside(directory, &self.areas);
            inside.map(|directory| Some((directory?, name.clone())))
        };
        Ok(match (place(&record.old)?, place(&record.new)?) {
            (Some((old_directory, old_name)), Some((new_directory, new_name))) => {
                Some(What::Rename {
                    old_directory,
                    old_name,
                    new_directory,
                    new_name,
                })
            }
            (Some((directory, name)), None) => Some(What::Name {
                directory,
                name,
                arrived: false,
            }),
            (None, Some((directory, name))) => Some(What::Name {
                directory,
                name,
                arrived: true,
            }),
            (None, None) => None,
        })
    }
}

/// Areas are registered under their place in the list, counted from one.
fn area(areas: &[Area], number: u32) -> Option<&Area> {
    areas.get(usize::try_from(number).ok()?.checked_sub(1)?)
}

/// The two clocks at one moment.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Instant,
    /// Nanoseconds of CLOCK_MONOTONIC.
    monotonic: u64,
}

impl Clock {
    /// The moment `now`, which is now.
    pub(super) fn at(now: Instant) -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        let seconds = time.tv_sec.cast_unsigned();
        Self {
            now,
            monotonic: seconds * 1_000_000_000 + time.tv_nsec.cast_unsigned(),
        }
    }

    /// When that was; not later than now.
    pub(super) fn moment(&self, monotonic: u64) -> Instant {
        let age = Duration::from_nanos(self.monotonic.saturating_sub(monotonic));
        self.now.checked_sub(age).unwrap_or(self.now)
    }
}

/// What an event says of its file. A range that comes without [`What::Flush`] was written by the time that
/// is told with it: whoever has begun to read it later has read that.
fn whats(event: &Event, file: Inode, tells_of_stores: bool) -> Vec<What> {
    let birth = 0;
    let whole = What::Whole { file, birth };
    let flush = What::Flush { file };
    let mut whats = Vec::new();
    match event.change {
        Change::Written { offset, length } | Change::Stored { offset, length } => {
            whats.push(What::Write {
                file,
                birth,
                offset,
                length,
            });
        }
        Change::Touched if !tells_of_stores => whats.push(What::Mapped {
            file,
            birth,
            offset: 0,
            length: u64::MAX,
        }),
        Change::Touched | Change::Somewhere => whats.push(whole),
        Change::Attributes => whats.push(What::Attributes { file, birth }),
    }
    whats.extend((event.mapped || event.pending).then_some(flush));
    whats
}

#[cfg(test)]
mod tests {
    use super::super::event::Actor;
    use super::*;

    const FILE: Inode = Inode {
        device: 1,
        inode: 2,
    };

    fn event(change: Change, mapped: bool) -> Event {
        Event {
            inode: 2,
            root: 1,
            change,
            mapped,
            pending: false,
            at: 0,
            actor: Actor {
                process: 1,
                started: 0,
                user: 0,
                program: [0; 16],
            },
        }
    }

    #[test]
    fn what_is_mapped_is_flushed_before_it_is_read() {
        let change = Change::Written {
            offset: 4,
            length: 5,
        };
        let write = What::Write {
            file: FILE,
            birth: 0,
            offset: 4,
            length: 5,
        };
        assert_eq!(
            whats(&event(change, false), FILE, true),
            std::slice::from_ref(&write)
        );
        let flush = What::Flush { file: FILE };
        assert_eq!(whats(&event(change, true), FILE, true), [write, flush]);
    }

    #[test]
    fn the_first_touch_of_a_mapped_file_says_nothing_of_where() {
        let touched = event(Change::Touched, true);
        let flush = What::Flush { file: FILE };
        let whole = What::Whole {
            file: FILE,
            birth: 0,
        };
        assert_eq!(whats(&touched, FILE, true), [whole, flush.clone()]);
        let mapped = What::Mapped {
            file: FILE,
            birth: 0,
            offset: 0,
            length: u64::MAX,
        };
        assert_eq!(whats(&touched, FILE, false), [mapped, flush]);
    }
}
