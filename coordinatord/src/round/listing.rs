//! Listing directories: for scans, for new directories, and where hints had to be widened.

use std::io::Error;
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::{Context, Result};
use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::names::{At, Opened, Why};
use super::state::{Delayed, ListingWork, Waits};
use super::{BULK_TIME, Effort, Round, State};
use crate::clock;
use crate::index::FileRow;
use crate::intake::OriginId;
use crate::look::{
    Listed, NAMES_BELOW_MAX, NAMES_PER_JOB, OpenDirectory, attributes_digest, is_want,
    read_attributes, stat_descriptor,
};
use crate::queue::{DirtyFile, Listing, Mark, Ticket};
use crate::reconcile::{RootVerdict, Scan, ScanReason};

impl Round<'_> {
    /// Goes on with the listing under way, then with the next ones, until the batch is full or other
    /// work should have its turn.
    pub(super) fn go_on_listing(&mut self) -> Result<()> {
        while !self.is_full() && clock::since(self.started) < BULK_TIME && self.may_list() {
            let Some(work) = self.state.listing.take() else {
                let Some((directory, listing)) = self.state.queue.take_listing() else {
                    break;
                };
                self.note(listing.mark);
                self.state.listing = self.begin_listing(directory, listing)?;
                continue;
            };
            self.state.listing = self.look_at_some(work)?;
        }
        if !self.is_quick() && !self.state.is_scan_listing() {
            self.state.queue_missing(self.started);
        }
        Ok(())
    }

    /// In a quick round only what programs have changed is listed.
    fn may_list(&self) -> bool {
        !self.is_quick()
            || self
                .state
                .next_listing()
                .is_some_and(|next| next != Ticket::BACKGROUND)
    }

    /// Looks at the next names of a directory; gives the work back while there are more.
    fn look_at_some(&mut self, mut work: ListingWork) -> Result<Option<ListingWork>> {
        let (directory, mark) = (work.directory, work.mark);
        let Some(row) = self.state.directory(directory)? else {
            return Ok(None);
        };
        let open = match self.open_directory(&row, mark)? {
            Opened::Yes(open) => open,
            Opened::Later => {
                self.delay_listing(&work);
                return Ok(None);
            }
            Opened::Never => return Ok(None),
        };
        let at = At {
            directory: &open,
            file: row.id,
            inode: row.inode,
        };
        let why = Why {
            mark,
            deep: work.deep,
            scan: work.scan,
        };
        while let Some(name) = work.names.next() {
            self.look_ahead(&open, &work);
            self.look_at(&at, &name, why)?;
            if let Some(scan) = self.state.scan.as_mut() {
                scan.compared += 1;
            }
            if self.is_full() {
                return Ok(Some(work));
            }
        }
        Ok(None)
    }

    /// The directory was moved while it was being listed: it is listed anew when it is found.
    fn delay_listing(&mut self, work: &ListingWork) {
        let listing = Listing {
            mark: work.mark,
            deep: work.deep,
            scan: work.scan,
        };
        self.state
            .delay(self.started, Delayed::Listing(work.directory, listing));
    }

    /// Reads the names of a directory: those on disk to be looked at, those only in the index at the
    /// end of the scan, for they may have moved.
    fn begin_listing(&mut self, directory: Inode, listing: Listing) -> Result<Option<ListingWork>> {
        let Some(row) = self.state.directory(directory)? else {
            return Ok(None);
        };
        self.tools.devices.add(row.inode.device);
        if self.state.root(row.id).is_some() {
            return self.begin_root(row, listing);
        }
        let open = match self.open_directory(&row, listing.mark)? {
            Opened::Yes(open) => open,
            Opened::Later => {
                self.state
                    .delay(self.started, Delayed::Listing(directory, listing));
                return Ok(None);
            }
            Opened::Never => return Ok(None),
        };
        match Listed::of(&open) {
            Err(error) if is_want(&error) => Err(error).context("list a directory"),
            Ok(listed) => {
                self.look_ahead_below(&open, &listed.directories, listing.scan && listing.deep);
                self.compare_names(&row, listed.names, listing).map(Some)
            }
            Err(error) => {
                self.trouble(&open.place, None, &error);
                Ok(None)
            }
        }
    }

    /// A root is judged before its names are compared, and may be bound to another directory.
    fn begin_root(&mut self, row: FileRow, listing: Listing) -> Result<Option<ListingWork>> {
        let Some(root) = self.state.root(row.id) else {
            return Ok(None);
        };
        let path = root.path.clone();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match openat(CWD, &path, flags, Mode::empty()).map_err(Error::from) {
            Ok(directory) => directory,
            // It may be there all the same.
            Err(error) if is_want(&error) => return Err(error).context("open a root"),
            Err(_) => {
                self.state.judge(row.id, None)?;
                return Ok(None);
            }
        };
        let stat = stat_descriptor(&directory)?;
        let Listed { names, directories } = match Listed::of(&directory) {
            Ok(listed) => listed,
            Err(error) if is_want(&error) => return Err(error).context("list a root"),
            Err(error) => {
                self.state.trouble(path, &error);
                return Ok(None);
            }
        };
        let names = self.protected_names(row.id, names);
        if self.state.judge(row.id, Some((&stat, &names)))? != RootVerdict::Go {
            return Ok(None);
        }
        self.state
            .troubles
            .retain(|trouble, _| !trouble.starts_with(&path));
        self.tools.devices.add(stat.inode.device);
        let row = if stat.is_file(row.inode, row.birth) {
            row
        } else {
            let bound = FileRow {
                inode: stat.inode,
                birth: stat.birth,
                ..row
            };
            self.state.index.put_file(&bound, self.batch.sequence())?;
            self.directories = crate::look::Directories::default();
            bound
        };
        self.touched.insert(row.id);
        self.look_ahead_below(&directory, &directories, listing.scan && listing.deep);
        self.compare_names(&row, names, listing).map(Some)
    }

    /// The directories of these names are listed next.
    fn look_ahead_below(&mut self, directory: impl AsFd, names: &[Name], all: bool) {
        if all && self.may_look_ahead() {
            self.state.ahead.directories(directory, names);
        }
    }

    /// What is far behind in a large directory.
    fn look_ahead(&mut self, directory: impl AsFd, work: &ListingWork) {
        let names = work.names.as_slice();
        let due = names.len().is_multiple_of(NAMES_PER_JOB) && names.len() > NAMES_BELOW_MAX;
        if due && work.scan && self.may_look_ahead() {
            let far = &names[NAMES_BELOW_MAX..];
            self.state
                .ahead
                .names(directory, &far[..far.len().min(NAMES_PER_JOB)]);
        }
    }

    /// A scan that nobody waits for has time. (Where everything is to happen on one thread, it does.)
    fn may_look_ahead(&self) -> bool {
        let awaited = |scan: &Scan| scan.reason != ScanReason::Check || scan.thorough;
        matches!(self.tools.waits, Waits::Beside(_))
            && self.state.scan.as_ref().is_some_and(awaited)
    }

    /// Names at a root's top that no rule of theirs excludes. (Rules for directories are applied as
    /// if each name were one: good enough to tell an empty root.)
    fn protected_names(&self, root: FileId, names: Vec<Name>) -> Vec<Name> {
        let Some(root) = self.state.root(root) else {
            return names;
        };
        let kept = |name: &Name| root.excludes.excluded_here(name.as_bytes(), true).is_none();
        names.into_iter().filter(kept).collect()
    }

    fn compare_names(
        &mut self,
        row: &FileRow,
        mut names: Vec<Name>,
        listing: Listing,
    ) -> Result<ListingWork> {
        // What was told of its names waits for no more than this: some may have come and gone.
        if !listing.scan {
            self.touched.insert(row.id);
        }
        let known = self.state.index.children(row.id)?;
        let missing: Vec<Name> = known
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| names.binary_search(name).is_err())
            .collect();
        let others = self.state.is_scan_listing();
        // What somebody told of does not wait for a scan that nobody waits for, or that has listed all it will.
        let waits = |scan: &&mut Scan| {
            let lists = others || listing.mark.ticket <= scan.until;
            listing.scan || (lists && !scan.counts_misses())
        };
        match self.state.scan.as_mut().filter(waits) {
            Some(scan) => scan.misses(row.inode, missing, listing.mark),
            None => names.extend(missing),
        }
        Ok(ListingWork {
            directory: row.inode,
            names: names.into_iter(),
            mark: listing.mark,
            deep: listing.deep,
            scan: listing.scan,
        })
    }

    /// Brings the attributes of a directory in which names changed up to date.
    pub(super) fn send_directory_attributes(
        &mut self,
        row: &FileRow,
        open: &OpenDirectory,
        origin: OriginId,
    ) -> Result<()> {
        let stat = stat_descriptor(open)?;
        let own = std::ffi::OsStr::new(".");
        match read_attributes(open, own, &stat, &self.state.accounts) {
            Ok(attributes) => {
                debug_assert_eq!(attributes.kind, Kind::Directory);
                if attributes_digest(&attributes) != row.digest || stat.changed != row.changed {
                    self.put_attributes(row, &stat, attributes, origin, stat.changed)?;
                }
                Ok(())
            }
            Err(error) => {
                self.trouble(&open.place, None, &error);
                Ok(())
            }
        }
    }
}

impl State {
    /// The scan has listed everything: what it missed until now is looked at by name. As much as the queue keeps
    /// apart: of more names it would make a listing, and that would miss them again.
    fn queue_missing(&mut self, now: Instant) {
        let Some(scan) = self.scan.as_mut() else {
            return;
        };
        let mut queued = 0;
        for (directory, name, why) in &scan.missing {
            if !self.queue.has_room_in(*directory) {
                break;
            }
            // In the place of the listing that missed it: a barrier that waits for that waits for this.
            let mark = Mark { since: now, ..*why };
            self.queue.push_name(*directory, name.clone(), mark);
            queued += 1;
        }
        scan.missing.drain(..queued);
    }

    /// Delayed entries whose time has come go back into the queue. In a quick round, so does what takes no
    /// time.
    pub(super) fn wake_delayed(&mut self, now: Instant, effort: Effort) {
        let hurry = self.hurry;
        let is_due = |until: Instant, file: &DirtyFile| {
            let told = file.mark.ticket != Ticket::BACKGROUND;
            let quick = effort == Effort::Quick && told && file.is_light();
            until <= now || hurry || quick
        };
        for (inode, (_, file)) in self
            .resting
            .extract_if(|_, (rest, file)| is_due(rest.until, file))
        {
            self.queue.put_back_file(inode, file);
        }
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now && !self.hurry {
                break;
            }
            match entry.remove() {
                Delayed::Name(directory, name, mark) => self.queue.push_name(directory, name, mark),
                Delayed::Listing(directory, listing) => {
                    self.queue
                        .push_listing(directory, listing.mark, listing.deep, listing.scan);
                }
            }
        }
    }
}
