//! What a round works on, and with.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use everwrite_protocol::ids::{FileId, Name, Timestamp};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Origin;

use super::Limits;
use super::gaps::Doubtful;
use super::kept::KeptFiles;
use super::pace::{FilePace, Rest};
use super::recent::RecentReads;
use super::root::ROOT_UNBOUND;
use super::unplaced::UnplacedNames;
use crate::exclude::Excludes;
use crate::front::Devices;
use crate::index::Index;
use crate::intake::{Intake, OriginId, Source, Sources};
use crate::look::{Accounts, LookAhead};
use crate::network_backup::QueryClient;
use crate::queue::{DirtyFile, Listing, Mark, Queue, Ticket};
use crate::reconcile::{RootVerdict, Scan};
use crate::witness::Witness;

/// Paths that could not be read, kept by name.
const TROUBLES_MAX: usize = 1000;

/// What the coordinator knows for one receiver.
pub struct State {
    pub(super) limits: Limits,
    /// What the receiver holds.
    pub index: Index,
    /// What is dirty.
    pub queue: Queue,
    /// The protected roots.
    pub roots: Vec<ProtectedRoot>,
    /// Owner names.
    pub accounts: Accounts,
    /// Large files on their way: the names that each gets at its end.
    pub staged: HashMap<FileId, Vec<(Inode, Name)>>,
    /// What is better looked at a little later.
    pub delayed: BTreeMap<(Instant, u64), Delayed>,
    /// Files that are not read to their end yet, kept open in case they die.
    pub kept: KeptFiles,
    /// Files that are being rewritten, and until when they are left alone. New dirt joins them.
    pub resting: HashMap<Inode, (Rest, DirtyFile)>,
    /// Which files were dear to look at of late.
    pub pace: FilePace,
    /// How many were ever delayed: tells those of one moment apart.
    pub delayed_ever: u64,
    /// The directory that is being listed.
    pub listing: Option<ListingWork>,
    /// The running scan.
    pub scan: Option<Scan>,
    /// Looks at what that comes to.
    pub ahead: LookAhead,
    /// Files mapped shared and writable: stores to them are not announced.
    pub mapped: HashMap<Inode, Mark>,
    /// Paths that could not be read, and why.
    pub troubles: BTreeMap<PathBuf, String>,
    /// Tries to find a directory that is not where the index has it.
    pub attempts: HashMap<Inode, u8>,
    /// Deaths of files that may have been gaps.
    pub doubtful: Vec<Doubtful>,
    /// Names told of in directories that were not known yet.
    pub unplaced: UnplacedNames,
    /// What was read a moment ago.
    pub recent: RecentReads,
    /// A hint came about an inode that the index does not know.
    pub unknown_hinted: bool,
    /// Look at delayed names and resting files now: somebody waits.
    pub hurry: bool,
    /// When the last scan that ended had begun.
    pub scanned: Option<Timestamp>,
    /// Bytes read from protected files since start.
    pub bytes_read: u64,
    /// Files in the index, all kinds.
    pub files: u64,
}

/// A protected root at run time.
pub struct ProtectedRoot {
    /// Its name at the receiver.
    pub name: Name,
    /// Where it is.
    pub path: PathBuf,
    /// Its directory's id; `None` until it was first seen.
    pub file: Option<FileId>,
    /// What is not protected.
    pub excludes: Excludes,
    /// Anything but [`RootVerdict::Go`]: nothing is done.
    pub verdict: RootVerdict,
    /// It is copied for the first time.
    pub initial: bool,
    /// The next listing may find it empty.
    pub accept_empty: bool,
    /// The removal of a name at its top was announced by a hint.
    pub removal_announced: bool,
}

impl ProtectedRoot {
    /// Not halted?
    pub fn is_at_work(&self) -> bool {
        self.verdict == RootVerdict::Go
    }
}

/// Something that is better looked at a little later.
pub enum Delayed {
    /// A name: a large file that is still being written.
    Name(Inode, Name, Mark),
    /// A directory that must be found first.
    Listing(Inode, Listing),
}

impl Delayed {
    fn mark(&self) -> Mark {
        match self {
            Self::Name(_, _, mark) => *mark,
            Self::Listing(_, listing) => listing.mark,
        }
    }
}

/// A directory half listed.
pub struct ListingWork {
    /// The directory.
    pub directory: Inode,
    /// Names still to be looked at.
    pub names: std::vec::IntoIter<Name>,
    /// When and by whom.
    pub mark: Mark,
    /// Also everything below.
    pub deep: bool,
    /// Part of a scan.
    pub scan: bool,
}

/// What a round works with.
pub struct Tools {
    /// File systems to be watched.
    pub devices: Arc<Devices>,
    /// Hears of what no shim announces.
    pub witness: Arc<Witness>,
    /// Tells who was behind a hint.
    pub intake: Arc<Intake>,
    /// Asks the receiver what it holds.
    pub queries: QueryClient,
    /// Waits for answers.
    pub waits: Waits,
}

/// How a pipeline waits for what happens outside it.
pub enum Waits {
    /// The runtime has threads of its own.
    Beside(tokio::runtime::Handle),
    /// The runtime does its work while it is waited for: everything happens on one thread.
    Within(Arc<tokio::runtime::Runtime>),
}

impl Waits {
    /// Waits until it is ready.
    pub fn wait_for<T>(&self, what: impl Future<Output = T>) -> T {
        match self {
            Self::Beside(runtime) => runtime.block_on(what),
            Self::Within(runtime) => runtime.block_on(what),
        }
    }
}

impl Tools {
    /// Looks up origins by id.
    pub fn origin_names(&self) -> Box<dyn Fn(OriginId) -> Origin + Send> {
        let intake = Arc::clone(&self.intake);
        Box::new(move |id| intake.origin(id))
    }
}

impl State {
    /// A state around an index, without roots.
    pub fn new(index: Index) -> anyhow::Result<Self> {
        Self::within(Limits::default(), index)
    }

    /// The same, within other limits.
    pub fn within(limits: Limits, index: Index) -> anyhow::Result<Self> {
        let files = index.files()?;
        Ok(Self {
            limits,
            index,
            queue: Queue::within(limits.queue),
            roots: Vec::new(),
            accounts: Accounts::default(),
            staged: HashMap::new(),
            delayed: BTreeMap::new(),
            kept: KeptFiles::default(),
            resting: HashMap::new(),
            pace: FilePace::default(),
            delayed_ever: 0,
            listing: None,
            scan: None,
            ahead: LookAhead::default(),
            mapped: HashMap::new(),
            troubles: BTreeMap::new(),
            attempts: HashMap::new(),
            doubtful: Vec::new(),
            unplaced: UnplacedNames::default(),
            recent: RecentReads::default(),
            unknown_hinted: false,
            hurry: false,
            scanned: None,
            bytes_read: 0,
            files,
        })
    }

    /// The root of that directory.
    pub fn root(&self, file: FileId) -> Option<&ProtectedRoot> {
        self.roots.iter().find(|root| root.file == Some(file))
    }

    /// The root of that directory.
    pub fn root_mut(&mut self, file: FileId) -> Option<&mut ProtectedRoot> {
        self.roots.iter_mut().find(|root| root.file == Some(file))
    }

    /// Path of a root that is not halted.
    pub fn active_path(&self, file: FileId) -> Option<&Path> {
        self.root(file)
            .filter(|root| root.verdict == RootVerdict::Go)
            .map(|root| root.path.as_path())
    }

    /// Oldest thing that is not taken yet: everything before it has gone into a batch.
    pub fn oldest(&self) -> Option<Mark> {
        let listing = self.listing.as_ref().map(|work| work.mark);
        let resting = self.resting.values().map(|(_, file)| file.mark);
        let delayed = self.delayed.values().map(Delayed::mark).chain(resting);
        let delayed = delayed.min_by_key(|mark| mark.ticket);
        let missing = self.scan.as_ref().and_then(|scan| {
            Some(Mark {
                ticket: scan.oldest_missing()?,
                since: scan.started,
                origin: OriginId::SCAN,
                sources: Source::Scan.into(),
            })
        });
        [self.queue.oldest(), listing, delayed, missing]
            .into_iter()
            .flatten()
            .min_by_key(|mark| mark.ticket)
    }

    /// Who told of what is waiting about this file, or about this name, or of the name before its directory was known.
    pub fn waiting_sources(&self, file: Inode, name: Option<(Inode, &Name)>) -> Sources {
        let resting = self.resting.get(&file);
        let resting = resting.map_or_else(Sources::default, |(_, entry)| entry.sources());
        let sources = self.queue.sources_of_file(&file).and(resting);
        let Some((directory, name)) = name else {
            return sources;
        };
        let delayed = self.delayed.values().filter_map(|delayed| match delayed {
            Delayed::Name(of, it, mark) => (*of == directory && it == name).then_some(mark.sources),
            Delayed::Listing(..) => None,
        });
        let queued = self.queue.sources_of_name(&directory, name);
        let unplaced = self.unplaced.sources(directory, name);
        delayed.fold(sources.and(queued).and(unplaced), Sources::and)
    }

    /// What has arrived in part is to be sent anew.
    pub fn dirty_staged(&mut self, mark: Mark) -> anyhow::Result<()> {
        for row in self.index.staged()? {
            self.queue
                .dirty(row.inode, mark, |dirt| dirt.ranges.add(0, u64::MAX));
        }
        Ok(())
    }

    /// Is there anything to look at now?
    pub fn has_work(&self, now: Instant) -> bool {
        let delayed = self
            .next_wake()
            .is_some_and(|wake| wake <= now || self.hurry);
        let undeclared = self
            .roots
            .iter()
            .any(|root| root.file == ROOT_UNBOUND && root.verdict == RootVerdict::Go);
        // A quick round may have listed the last directory, and left what was missed to another.
        let missing = self
            .scan
            .as_ref()
            .is_some_and(|scan| !scan.missing.is_empty());
        !self.queue.is_empty() || self.listing.is_some() || delayed || undeclared || missing
    }

    /// Oldest thing that was told and has not been looked at; what a background scan wants is not.
    pub fn oldest_told(&self) -> Option<Mark> {
        self.oldest()
            .filter(|mark| mark.ticket != Ticket::BACKGROUND)
    }

    /// Is something put off that even a quick round leaves alone?
    pub fn has_put_off(&self) -> bool {
        let told = |mark: Mark| mark.ticket != Ticket::BACKGROUND;
        let mut resting = self.resting.values().map(|(_, file)| file);
        resting.any(|file| told(file.mark) && !file.is_light())
            || self
                .delayed
                .values()
                .any(|delayed| matches!(delayed, Delayed::Name(..)) && told(delayed.mark()))
    }

    /// About how much would have to be read if nothing were put off; `u64::MAX`: not known.
    pub fn put_off_bytes(&self) -> u64 {
        let mut delayed = self.delayed.values();
        if delayed.any(|delayed| matches!(delayed, Delayed::Name(..))) {
            return u64::MAX;
        }
        let bytes = |(rest, file): &(Rest, DirtyFile)| match file.dirt.whole {
            true => rest.size,
            false => file.dirt.ranges.bytes(rest.size),
        };
        self.resting
            .values()
            .map(bytes)
            .fold(0, u64::saturating_add)
    }

    /// Ticket of the directory that is listed next.
    pub(super) fn next_listing(&self) -> Option<Ticket> {
        let under_way = self.listing.as_ref().map(|work| work.mark.ticket);
        under_way.or_else(|| self.queue.next_listing())
    }

    /// When the first of what is delayed is to be looked at.
    pub fn next_wake(&self) -> Option<Instant> {
        let delayed = self.delayed.first_key_value().map(|(key, _)| key.0);
        let resting = self.resting.values().map(|(rest, _)| rest.until).min();
        [delayed, resting].into_iter().flatten().min()
    }

    /// Is anything left of what a background scan wanted looked at?
    pub fn has_background(&self) -> bool {
        let is_background = |mark: Mark| mark.ticket == Ticket::BACKGROUND;
        self.queue.has_background()
            || self
                .listing
                .as_ref()
                .is_some_and(|work| is_background(work.mark))
            || self
                .delayed
                .values()
                .any(|delayed| is_background(delayed.mark()))
            || self
                .resting
                .values()
                .any(|(_, file)| is_background(file.mark))
    }

    /// Are directories still to be listed?
    pub fn is_listing(&self) -> bool {
        self.listing.is_some() || self.queue.listings() > 0
    }

    /// Are directories still to be listed for a scan?
    pub fn is_scan_listing(&self) -> bool {
        let next = self.listing.iter().map(|work| work.mark.ticket);
        let next = next.chain(self.queue.next_listing()).min();
        let until = self.scan.as_ref().map(|scan| scan.until);
        until.is_some_and(|until| next.is_some_and(|next| next <= until))
    }

    /// Adds to the dirt of a file that is left alone for now, or of one that was dear to look at of
    /// late and has to rest. `None`: it was.
    pub(super) fn rest(
        &mut self,
        inode: Inode,
        entry: DirtyFile,
        now: Instant,
    ) -> Option<DirtyFile> {
        if let Some((_, resting)) = self.resting.get_mut(&inode) {
            resting.absorb(&entry);
            return None;
        }
        let rest = self.pace.rest_of(inode, now);
        match rest.filter(|_| entry.begun.is_none() && !self.hurry) {
            Some(rest) => {
                self.resting.insert(inode, (rest, entry));
                None
            }
            None => Some(entry),
        }
    }

    /// All that is known to be dirty about a file, wherever it waits.
    pub(super) fn take_dirt(&mut self, inode: Inode) -> Option<DirtyFile> {
        if let Some((_, resting)) = self.resting.remove(&inode) {
            self.queue.put_back_file(inode, resting);
        }
        self.queue.take_file(inode).map(DirtyFile::as_one)
    }

    /// Looks at something a little later.
    pub fn delay(&mut self, until: Instant, what: Delayed) {
        self.delayed_ever += 1;
        self.delayed.insert((until, self.delayed_ever), what);
    }

    /// Notes that a path could not be read.
    pub fn trouble(&mut self, path: PathBuf, error: &std::io::Error) {
        if self.troubles.len() < TROUBLES_MAX || self.troubles.contains_key(&path) {
            let text = error.to_string();
            let known = self.troubles.insert(path.clone(), text.clone());
            if known.as_deref() != Some(&text) {
                tracing::warn!(path = %path.display(), error = %text, "can't be read, not protected");
            }
        }
    }
}
