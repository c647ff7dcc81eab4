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
use super::directories::{self, Directories, View};
use super::event::{Change, Event};
use super::explained::{Explained, Look};
use super::pending::Pending;
use super::programs::Programs;
use super::record::{Handle, Record};
use super::seen::{Seen, area};
use super::tracer::Tracer;
use super::tracer_report::Lost;
use crate::intake::{Merge, OriginId, What};

/// Files known to be mapped where the kernel does not tell of stores.
const MAPPED_MAX: usize = 1 << 14;

/// Makes hints.
pub(super) struct Hearing {
    pub(super) merge: Merge,
    pub(super) areas: Vec<Area>,
    directories: Directories,
    seen: Seen,
    pub(super) pending: Pending,
    pub(super) explained: Explained,
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
            seen: Seen::default(),
            pending: Pending::default(),
            explained: Explained::default(),
            programs,
            mapped: HashSet::new(),
            names_heard: 0,
            overflows: 0,
        }
    }

    /// Other areas are watched from now on.
    pub(super) fn watch(&mut self, areas: Vec<Area>) {
        self.directories.forget();
        self.seen.forget();
        self.areas = areas;
    }

    /// From now on process numbers may stand for other programs.
    pub(super) fn begin(&mut self) {
        self.programs.forget_numbers();
    }

    /// Something told by eBPF.
    pub(super) fn event(&mut self, event: &Event, tracer: &Tracer, clock: Clock) {
        let now = clock.now;
        tracing::trace!(?event, "told");
        if event.change == Change::Untold {
            return self.untold(event.actor.process, now);
        }
        let files = match self.seen.files(&self.areas, event.root, event.file) {
            Ok(files) => files,
            Err(error) => return self.unplaced(&error, now),
        };
        let tells_of_stores = area(&self.areas, event.root).is_some_and(Area::tells_of_stores);
        let origin = self
            .programs
            .of_actor(&event.actor, |process| tracer.program(process));
        for file in files {
            if event.change == Change::Synced {
                self.synced(origin, event, file, clock);
                continue;
            }
            if event.by_call {
                self.explained.told(now, file, event.actor.process);
                self.explained.wrote(origin);
            }
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
    }

    /// Somebody asks for the file to be on the disk. What that covers goes first: what was told before it happened
    /// has happened by now, and what calls have not told yet is waited for.
    fn synced(&mut self, origin: OriginId, event: &Event, file: Inode, clock: Clock) {
        if event.by_call {
            return self.explained.synced(clock.now, file, origin);
        }
        for (of, what) in self.pending.of(file) {
            self.merge.add(of, clock.now, what);
        }
        let at = clock.moment(event.at);
        self.merge.add(origin, at, What::Sync { file });
    }

    /// These change files in ways that calls do not tell.
    pub(super) fn are_untold(&mut self, processes: Vec<u32>) {
        for process in processes {
            // Nobody has told of anything yet.
            self.explained.untold(process);
        }
    }

    fn untold(&mut self, process: u32, now: Instant) {
        for file in self.explained.untold(process) {
            let whole = What::Whole { file, birth: 0 };
            self.merge.add(OriginId::SCAN, now, whole);
        }
    }

    /// What was told could not be placed.
    fn unplaced(&mut self, error: &io::Error, now: Instant) {
        tracing::warn!(%error, "what the kernel told could not be placed: everything is looked at");
        self.overflows += 1;
        self.merge.add(OriginId::SCAN, now, What::Everything);
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
        for (origin, file, look) in self.explained.due(now, all) {
            let birth = 0;
            let what = match look {
                Look::Whole => What::Whole { file, birth },
                Look::Attributes => What::Attributes { file, birth },
                Look::Synced => What::Sync { file },
            };
            self.merge.add(origin, now, what);
        }
    }

    /// What eBPF could not tell.
    pub(super) fn lost(&mut self, lost: &Lost, now: Instant) {
        for (root, number) in &lost.files {
            let files = match self.seen.files(&self.areas, *root, *number) {
                Ok(files) => files,
                Err(error) => return self.unplaced(&error, now),
            };
            for file in files {
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
                self.membership_changed(tracer);
                return self.unplaced(&error, now);
            }
        };
        if told.is_empty() {
            return;
        }
        self.names_heard += told.len() as u64;
        tracing::trace!(?told, process = record.process, "named");
        let origin = self.origin_of(record.process, tracer.as_deref());
        let hears_calls = tracer.is_some_and(|tracer| tracer.hears_calls());
        for what in told {
            if !(hears_calls && self.waits(&what, record, origin, now)) {
                self.merge.add(origin, now, what);
            }
        }
    }

    /// Is there to be waited for what the ends of calls tell of the same, which is more?
    fn waits(&mut self, what: &What, record: &Record, origin: OriginId, now: Instant) -> bool {
        match *what {
            What::Whole { file, .. }
                if record.is(libc::FAN_MODIFY) && !self.mapped.contains(&file) =>
            {
                let whole = self.explained.modified(now, file, record.process, origin);
                let more = record.is(libc::FAN_ATTRIB | libc::FAN_CLOSE_WRITE);
                !whole && (!more || self.explained.closed(now, file, origin))
            }
            What::Attributes { file, .. } if record.target.is_some() => {
                self.explained.closed(now, file, origin)
            }
            _ => false,
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
    fn whats_of(
        &mut self,
        record: &Record,
        mut tracer: Option<&mut Tracer>,
    ) -> io::Result<Vec<What>> {
        if record.is(libc::FAN_RENAME) {
            let renamed = self.renamed(record)?;
            let is_move = |what: &What| matches!(what, What::Name { .. });
            if record.is(libc::FAN_ONDIR) && renamed.iter().any(is_move) {
                self.membership_changed(tracer);
            }
            return Ok(renamed);
        }
        let Some((directory, name)) = &record.at else {
            return Ok(Vec::new());
        };
        let mut whats = Vec::new();
        for view in self.directories.views(directory, &self.areas)? {
            match name {
                Some(name) => {
                    self.in_directory(view, name, record, tracer.as_deref_mut(), &mut whats)?
                }
                None => whats.push(What::Attributes {
                    file: view.directory,
                    birth: 0,
                }),
            }
        }
        Ok(whats)
    }

    fn in_directory(
        &mut self,
        view: View,
        name: &Name,
        record: &Record,
        tracer: Option<&mut Tracer>,
        whats: &mut Vec<What>,
    ) -> io::Result<()> {
        let area = self.areas.get(view.area);
        let found = match (&record.target, area) {
            (Some(handle), Some(area)) => directories::file(handle, area)?,
            _ => None,
        };
        if record.is(libc::FAN_CREATE | libc::FAN_DELETE) {
            whats.push(What::Name {
                directory: view.directory,
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

    fn renamed(&mut self, record: &Record) -> io::Result<Vec<What>> {
        let mut places = |place: &Option<(Handle, Option<Name>)>| {
            let Some((directory, Some(name))) = place else {
                return Ok(Vec::new());
            };
            let views = self.directories.views(directory, &self.areas)?;
            let named = |view: View| (view.directory, name.clone());
            io::Result::Ok(views.into_iter().map(named).collect())
        };
        Ok(moves(places(&record.old)?, places(&record.new)?))
    }
}

/// What was moved, wherever its old and its new place are seen: within one file system, into it, or away.
fn moves(old: Vec<(Inode, Name)>, mut new: Vec<(Inode, Name)>) -> Vec<What> {
    let mut whats = Vec::new();
    for (directory, name) in old {
        let same = |place: &(Inode, Name)| place.0.device == directory.device;
        whats.push(match new.iter().position(same) {
            Some(at) => {
                let (new_directory, new_name) = new.swap_remove(at);
                What::Rename {
                    old_directory: directory,
                    old_name: name,
                    new_directory,
                    new_name,
                }
            }
            None => What::Name {
                directory,
                name,
                arrived: false,
            },
        });
    }
    whats.extend(new.into_iter().map(|(directory, name)| What::Name {
        directory,
        name,
        arrived: true,
    }));
    whats
}

/// The two clocks at one moment.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Instant,
    /// Nanoseconds of CLOCK_MONOTONIC.
    monotonic: u64,
}

impl Clock {
    /// Both, now. Should this thread have to wait between the two, what was told seems to be later than it was: then
    /// it is looked at once more. Seemed it earlier, a look that was too early would be thought to have seen it.
    pub(super) fn now() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        let seconds = time.tv_sec.cast_unsigned();
        Self {
            monotonic: seconds * 1_000_000_000 + time.tv_nsec.cast_unsigned(),
            now: Instant::now(),
        }
    }

    /// When that was, or a little later; not later than now.
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
    // First: what comes with it was not written by a call.
    whats.extend((event.mapped || event.pending).then_some(flush));
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
        Change::Appended => whats.push(What::Append { file, birth }),
        // Nothing is changed that pages would have to be cleaned for.
        Change::Untold | Change::Synced => return Vec::new(),
    }
    whats
}

#[cfg(test)]
mod tests {
    use super::super::event::{Actor, Number};
    use super::*;

    const FILE: Inode = Inode {
        device: 1,
        inode: 2,
    };

    fn event(change: Change, mapped: bool) -> Event {
        Event {
            file: Number {
                inode: 2,
                generation: 0,
                tree: 0,
            },
            root: 1,
            change,
            mapped,
            pending: false,
            by_call: false,
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
        assert_eq!(whats(&event(change, true), FILE, true), [flush, write]);
    }

    #[test]
    fn a_move_is_one_where_both_places_are_seen() {
        let place = |device, name: &str| (Inode { device, inode: 5 }, Name::new(name).unwrap());
        let seen = moves(
            vec![place(1, "a"), place(2, "a")],
            vec![place(2, "b"), place(3, "b")],
        );
        let name = |(directory, name), arrived| What::Name {
            directory,
            name,
            arrived,
        };
        let (old, new) = (place(2, "a"), place(2, "b"));
        let renamed = What::Rename {
            old_directory: old.0,
            old_name: old.1,
            new_directory: new.0,
            new_name: new.1,
        };
        let expected = [
            name(place(1, "a"), false),
            renamed,
            name(place(3, "b"), true),
        ];
        assert_eq!(seen, expected);
        assert_eq!(moves(Vec::new(), Vec::new()), []);
    }

    #[test]
    fn the_first_touch_of_a_mapped_file_says_nothing_of_where() {
        let touched = event(Change::Touched, true);
        let flush = What::Flush { file: FILE };
        let whole = What::Whole {
            file: FILE,
            birth: 0,
        };
        assert_eq!(whats(&touched, FILE, true), [flush.clone(), whole]);
        let mapped = What::Mapped {
            file: FILE,
            birth: 0,
            offset: 0,
            length: u64::MAX,
        };
        assert_eq!(whats(&touched, FILE, false), [flush, mapped]);
    }
}
