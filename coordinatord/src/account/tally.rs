//! Changes that wait for the hints of their time.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use everwrite_protocol::ids::Name;
use everwrite_protocol::local::Inode;

use super::change::Change;
use crate::intake::{Hint, OriginId, Source, Sources, What};

/// Changes that may wait; beyond, the oldest are counted as they are.
const OPEN_MAX: usize = 16 * 1024;

/// Changes found of late that not every source has told of. See the module above.
#[derive(Debug, Default)]
pub struct Tally {
    open: BTreeMap<u64, Open>,
    by_key: HashMap<Key, Vec<u64>>,
    /// Whoever told of these directories told of all names in them.
    directories: HashMap<Inode, Sources>,
    last: u64,
    /// The witness has told of anything at all: only then is it worth waiting for.
    kernel_tells: bool,
}

#[derive(Debug)]
struct Open {
    change: Change,
    found: Instant,
}

/// What a hint can name a change by.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key {
    File(Inode),
    Name(Inode, Name),
    /// Some names in it.
    Directory(Inode),
}

impl Tally {
    /// A round found `change`. Gives back what is to be counted now.
    pub fn found(&mut self, change: Change, now: Instant) -> Option<Change> {
        if self.is_complete(change.sources) {
            return Some(change);
        }
        self.last += 1;
        for key in keys_of(&change) {
            self.by_key.entry(key).or_default().push(self.last);
        }
        self.open.insert(self.last, Open { change, found: now });
        (self.open.len() > OPEN_MAX).then(|| self.close_first())?
    }

    /// Nobody more can tell of it.
    fn is_complete(&self, sources: Sources) -> bool {
        sources.has(Source::Shim) && (sources.has(Source::Kernel) || !self.kernel_tells)
    }

    /// A hint came in: it may be of a change that was found before it came.
    pub fn told(&mut self, hint: &Hint) {
        self.kernel_tells |= hint.source == Source::Kernel;
        if self.open.is_empty() {
            return;
        }
        if hint.tells_of_loss() {
            // Who lost them did not do all of it.
            let open = self.open.values_mut().map(|open| &mut open.change.sources);
            open.for_each(|sources| *sources = sources.and(hint.source));
        }
        for key in keys_in(&hint.what).into_iter().flatten() {
            for number in self.by_key.get(&key).into_iter().flatten() {
                if let Some(open) = self.open.get_mut(number) {
                    open.join(hint);
                }
            }
        }
    }

    /// Every hint of calls that returned before `asked` has come in: what was found until then is
    /// to be counted.
    pub fn close(&mut self, asked: Instant) -> Vec<Change> {
        let mut closed = Vec::new();
        while self
            .open
            .first_key_value()
            .is_some_and(|(_, open)| open.found <= asked)
        {
            closed.extend(self.close_first());
        }
        closed
    }

    /// All names in this directory have been told of.
    pub fn told_names_in(&mut self, directory: Inode, sources: Sources) {
        if self.directories.len() < OPEN_MAX && sources.announced() {
            self.directories.insert(directory, sources);
        }
    }

    /// The scan has ended that might have come upon names in them.
    pub fn forget_directories(&mut self) {
        self.directories.clear();
    }

    /// Is there anything that may turn out to be a miss?
    pub fn has_suspects(&self) -> bool {
        self.open
            .values()
            .any(|open| !open.change.sources.announced())
    }

    fn close_first(&mut self) -> Option<Change> {
        let (number, Open { mut change, .. }) = self.open.pop_first()?;
        self.tell_with_its_tree(&mut change);
        for key in keys_of(&change) {
            if let Some(numbers) = self.by_key.get_mut(&key) {
                numbers.retain(|known| *known != number);
                if numbers.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        Some(change)
    }
}

impl Tally {
    /// Nobody tells of what is inside a tree that came as a whole: the name of its top says it all. A scan
    /// comes upon the top first.
    fn tell_with_its_tree(&mut self, change: &mut Change) {
        let (Some((directory, _)), Some(_)) = (&change.name, &change.suspect) else {
            return;
        };
        if !change.sources.announced()
            && let Some(sources) = self.directories.get(directory)
        {
            change.sources = change.sources.and(*sources);
        }
        self.told_names_in(change.file, change.sources);
    }
}

impl Open {
    fn join(&mut self, hint: &Hint) {
        self.change.sources = self.change.sources.and(hint.source);
        if self.change.origin == OriginId::SCAN {
            self.change.origin = hint.origin;
        }
    }
}

fn keys_of(change: &Change) -> Vec<Key> {
    let mut keys = vec![Key::File(change.file)];
    if let Some((directory, name)) = &change.name {
        keys.push(Key::Name(*directory, name.clone()));
        keys.push(Key::Directory(*directory));
    }
    keys
}

fn keys_in(what: &What) -> [Option<Key>; 2] {
    match what {
        What::Write { file, .. }
        | What::Append { file, .. }
        | What::Whole { file, .. }
        | What::Attributes { file, .. }
        | What::Mapped { file, .. }
        | What::Unmapped { file, .. }
        | What::Flush { file } => [Some(Key::File(*file)), None],
        What::Name {
            directory, name, ..
        } => [Some(Key::Name(*directory, name.clone())), None],
        What::Rename {
            old_directory,
            old_name,
            new_directory,
            new_name,
        } => [
            Some(Key::Name(*old_directory, old_name.clone())),
            Some(Key::Name(*new_directory, new_name.clone())),
        ],
        What::Names { directory } => [Some(Key::Directory(*directory)), None],
        What::Sync { .. } | What::Everything => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use everwrite_protocol::control::MissCause;

    use super::*;
    use crate::account::Suspect;

    fn inode(inode: u64) -> Inode {
        Inode { device: 1, inode }
    }

    fn change(file: u64, name: Option<&str>, source: Source) -> Change {
        Change {
            file: inode(file),
            name: name.map(|name| (inode(9), Name::new(name).unwrap())),
            origin: OriginId::SCAN,
            sources: source.into(),
            suspect: None,
        }
    }

    fn hint(source: Source, what: What) -> Hint {
        Hint {
            origin: OriginId(7),
            source,
            at: Instant::now(),
            what,
        }
    }

    fn whole(file: u64) -> What {
        What::Whole {
            file: inode(file),
            birth: 0,
        }
    }

    fn name(text: &str) -> What {
        What::Name {
            directory: inode(9),
            name: Name::new(text).unwrap(),
            arrived: false,
        }
    }

    #[test]
    fn without_a_witness_the_shim_s_word_is_enough() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        assert!(tally.found(change(1, None, Source::Shim), now).is_some());
        tally.told(&hint(Source::Kernel, whole(5)));
        assert!(tally.found(change(1, None, Source::Shim), now).is_none());
        assert!(!tally.has_suspects());
    }

    #[test]
    fn a_change_is_open_until_the_hints_of_its_time_are_in() {
        let (mut tally, found) = (Tally::default(), Instant::now());
        let asked_before = found.checked_sub(Duration::from_millis(1)).unwrap();
        for (file, name) in [(1, None), (2, Some("a")), (3, Some("b")), (4, Some("c"))] {
            assert!(
                tally
                    .found(change(file, name, Source::Scan), found)
                    .is_none()
            );
        }
        assert!(tally.close(asked_before).is_empty() && tally.has_suspects());
        tally.told(&hint(Source::Shim, whole(1)));
        tally.told(&hint(Source::Kernel, name("a")));
        let rename = What::Rename {
            old_directory: inode(9),
            old_name: Name::new("b").unwrap(),
            new_directory: inode(8),
            new_name: Name::new("b").unwrap(),
        };
        tally.told(&hint(Source::Shim, rename));
        tally.told(&hint(Source::Shim, name("not c")));
        let closed = tally.close(found);
        let announced: Vec<_> = closed
            .iter()
            .map(|change| change.sources.announced())
            .collect();
        assert_eq!(announced, [true, true, true, false]);
        assert_eq!(closed[0].origin, OriginId(7), "who told of it did it");
        assert_eq!(closed[3].origin, OriginId::SCAN);
        assert!(tally.by_key.is_empty() && !tally.has_suspects());
    }

    #[test]
    fn a_hint_that_stands_for_lost_ones_tells_of_all() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        tally.found(change(1, None, Source::Scan), now);
        tally.found(change(2, Some("a"), Source::Scan), now);
        let latecomers = Hint {
            origin: OriginId::SCAN,
            ..hint(Source::Shim, What::Everything)
        };
        tally.told(&latecomers);
        assert!(tally.has_suspects());
        tally.told(&hint(Source::Shim, What::Everything));
        assert!(!tally.has_suspects());
    }

    #[test]
    fn some_names_in_a_directory_are_all_of_them() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        tally.found(change(1, Some("a"), Source::Scan), now);
        tally.found(change(2, Some("b"), Source::Scan), now);
        tally.told(&hint(
            Source::Shim,
            What::Names {
                directory: inode(9),
            },
        ));
        assert!(!tally.has_suspects());
    }

    #[test]
    fn what_is_in_a_tree_comes_with_its_name() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let within = |file, directory, text: &str| Change {
            name: Some((inode(directory), Name::new(text).unwrap())),
            suspect: Some(Suspect {
                path: text.into(),
                size: 0,
                cause: MissCause::Created,
            }),
            ..change(file, None, Source::Scan)
        };
        tally.found(within(20, 9, "tree"), now);
        tally.found(within(21, 20, "below"), now);
        tally.found(within(22, 9, "beside"), now);
        tally.told(&hint(Source::Kernel, name("tree")));
        let announced = |closed: Vec<Change>| -> Vec<bool> {
            let closed = closed.iter();
            closed
                .map(|change| change.sources.has(Source::Kernel))
                .collect()
        };
        assert_eq!(announced(tally.close(now)), [true, true, false]);
        tally.found(within(23, 21, "found later"), now);
        tally.told_names_in(inode(8), Source::Kernel.into());
        tally.found(within(24, 8, "half listed"), now);
        assert_eq!(announced(tally.close(now)), [true, true]);
        tally.forget_directories();
        tally.found(within(25, 20, "after the scan"), now);
        assert_eq!(announced(tally.close(now)), [false]);
    }

    #[test]
    fn it_is_bounded_and_counts_the_oldest_as_it_is() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let files = 0..OPEN_MAX as u64 + 10;
        let closed: Vec<_> = files
            .filter_map(|file| tally.found(change(file, None, Source::Scan), now))
            .map(|change| change.file.inode)
            .collect();
        assert_eq!(closed, (0..10).collect::<Vec<_>>());
        assert_eq!((tally.open.len(), tally.by_key.len()), (OPEN_MAX, OPEN_MAX));
    }
}
