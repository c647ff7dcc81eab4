//! What was read a moment ago. Where a program has the shim, the witness tells of the same bytes a little
//! later: they need not be read again. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use everwrite_protocol::local::Inode;

use crate::intake::{Hint, Source, What};
use crate::ranges::RangeSet;

/// How long it is remembered.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Looks at one file that are remembered.
const LOOKS_MAX: usize = 8;
/// Files that are remembered; all are forgotten when there are more.
const FILES_MAX: usize = 4096;

/// A look at a file: when it began, and what was read.
type Look = (Instant, RangeSet);

/// The looks of late.
#[derive(Debug, Default)]
pub struct RecentReads {
    files: HashMap<Inode, VecDeque<Look>>,
}

impl RecentReads {
    /// A look that began then has read these ranges.
    pub fn read(&mut self, file: Inode, began: Instant, ranges: &[(u64, u64)]) {
        if self.files.len() >= FILES_MAX {
            self.files.clear();
        }
        let looks = self.files.entry(file).or_default();
        looks.retain(|look| began.duration_since(look.0) < REMEMBERED);
        if looks.len() >= LOOKS_MAX {
            looks.pop_front();
        }
        let mut read = RangeSet::default();
        ranges.iter().for_each(|range| read.add(range.0, range.1));
        looks.push_back((began, read));
    }

    /// Leaves out what the kernel tells and was read after it had been written. What is to be flushed
    /// first may be stored into at any time.
    pub fn news(&self, hints: &[Hint]) -> Vec<Hint> {
        let flushed: HashSet<Inode> = hints.iter().filter_map(flushed).collect();
        let news = hints.iter().filter(|hint| !self.is_known(hint, &flushed));
        news.cloned().collect()
    }

    /// Is there anything that might be left out?
    pub fn may_know(&self, hints: &[Hint]) -> bool {
        let told = |hint: &Hint| hint.source == Source::Kernel && is_write(&hint.what);
        !self.files.is_empty() && hints.iter().any(told)
    }

    fn is_known(&self, hint: &Hint, flushed: &HashSet<Inode>) -> bool {
        let What::Write {
            file,
            offset,
            length,
            ..
        } = hint.what
        else {
            return false;
        };
        let read = |look: &Look| look.0 > hint.at && look.1.contains(offset, length);
        hint.source == Source::Kernel
            && !flushed.contains(&file)
            && self
                .files
                .get(&file)
                .is_some_and(|looks| looks.iter().any(read))
    }
}

fn is_write(what: &What) -> bool {
    matches!(what, What::Write { .. })
}

fn flushed(hint: &Hint) -> Option<Inode> {
    match hint.what {
        What::Flush { file } => Some(file),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::OriginId;

    const FILE: Inode = Inode {
        device: 1,
        inode: 2,
    };

    fn write(source: Source, at: Instant, offset: u64, length: u64) -> Hint {
        let what = What::Write {
            file: FILE,
            birth: 0,
            offset,
            length,
        };
        Hint {
            origin: OriginId(1),
            source,
            at,
            what,
        }
    }

    #[test]
    fn what_was_written_before_it_was_read_is_no_news() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let mut recent = RecentReads::default();
        recent.read(FILE, at(10), &[(0, 100), (200, 50)]);
        let is_news = |hint| !recent.news(&[hint]).is_empty();
        assert!(!is_news(write(Source::Kernel, at(9), 10, 90)));
        assert!(!is_news(write(Source::Kernel, at(9), 200, 50)));
        assert!(
            is_news(write(Source::Kernel, at(10), 10, 90)),
            "at the same time"
        );
        assert!(is_news(write(Source::Kernel, at(11), 10, 90)), "later");
        assert!(
            is_news(write(Source::Kernel, at(9), 90, 20)),
            "more than that"
        );
        assert!(
            is_news(write(Source::Kernel, at(9), 200, u64::MAX)),
            "to the end"
        );
        assert!(
            is_news(write(Source::Shim, at(9), 10, 90)),
            "its time is not that of the write"
        );
    }

    #[test]
    fn what_is_mapped_is_always_news() {
        let began = Instant::now();
        let mut recent = RecentReads::default();
        recent.read(FILE, began + Duration::from_millis(1), &[(0, 100)]);
        let mut hints = vec![write(Source::Kernel, began, 0, 10)];
        assert!(recent.may_know(&hints) && recent.news(&hints).is_empty());
        hints.push(Hint {
            what: What::Flush { file: FILE },
            ..hints[0].clone()
        });
        assert_eq!(recent.news(&hints), hints);
    }

    #[test]
    fn it_is_bounded_and_forgets() {
        let began = Instant::now();
        let mut recent = RecentReads::default();
        for look in 0..100 {
            recent.read(FILE, began + Duration::from_millis(look), &[(0, 1)]);
        }
        assert_eq!(recent.files[&FILE].len(), LOOKS_MAX);
        recent.read(FILE, began + REMEMBERED * 2, &[(0, 1)]);
        assert_eq!(recent.files[&FILE].len(), 1);
        for inode in 0..10_000 {
            recent.read(Inode { device: 1, inode }, began, &[]);
        }
        assert!(recent.files.len() <= FILES_MAX);
    }
}
