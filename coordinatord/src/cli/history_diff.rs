//! What changed between two moments: two listings of a tree compared. Pure; what only the content
//! can tell is left open for the caller.

use std::collections::{BTreeMap, HashMap, HashSet};

use everwrite_protocol::ids::FileId;
use everwrite_protocol::wire::{Attributes, Kind, TreeEntry};

/// A tree at one moment: full path → entry.
pub(super) type Listing = BTreeMap<Vec<u8>, TreeEntry>;

/// What happened to one path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It was not there before.
    Added,
    /// It is not there now.
    Removed,
    /// It was there under another path.
    Renamed {
        /// The old path.
        from: Vec<u8>,
    },
    /// It is another, or has other content or attributes.
    Modified {
        /// What, in words.
        what: Vec<&'static str>,
        /// Whether the content changed is known only from the content.
        compare: bool,
    },
}

/// All changes from `old` to `new`, in order of paths.
pub(super) fn changes(old: &Listing, new: &Listing) -> Vec<(Vec<u8>, Change)> {
    let mut changes: BTreeMap<Vec<u8>, Change> = BTreeMap::new();
    let renamed = renames(old, new);
    let moved_from: HashSet<&[u8]> = renamed.values().copied().collect();
    for (path, entry) in new {
        let change = match (old.get(path), renamed.get(path.as_slice())) {
            (Some(before), _) => modified(before, entry),
            (None, Some(from)) => moved(from, path, &old[*from], entry, &renamed),
            (None, None) => Some(Change::Added),
        };
        changes.extend(change.map(|change| (path.clone(), change)));
    }
    let gone = old.keys().filter(|path| !new.contains_key(*path));
    let removed = gone.filter(|path| !moved_from.contains(path.as_slice()));
    changes.extend(removed.map(|path| (path.clone(), Change::Removed)));
    changes.into_iter().collect()
}

/// New path → old path of every file that has one name in each listing, and another one.
fn renames<'a>(old: &'a Listing, new: &'a Listing) -> HashMap<&'a [u8], &'a [u8]> {
    let lost = old.iter().filter(|(path, _)| !new.contains_key(*path));
    let by_file: HashMap<FileId, &[u8]> = lost
        .map(|(path, entry)| (entry.file, path.as_slice()))
        .collect();
    let gained = new.iter().filter(|(path, _)| !old.contains_key(*path));
    let mut taken = HashSet::new();
    gained
        .filter_map(|(path, entry)| Some((path.as_slice(), *by_file.get(&entry.file)?)))
        .filter(|(_, from)| taken.insert(*from))
        .collect()
}

/// A rename that says more than that of a directory above it.
fn moved(
    from: &[u8],
    to: &[u8],
    before: &TreeEntry,
    entry: &TreeEntry,
    renamed: &HashMap<&[u8], &[u8]>,
) -> Option<Change> {
    let ((from_above, from_name), (to_above, to_name)) = (split(from), split(to));
    let along = from_name == to_name && renamed.get(to_above) == Some(&from_above);
    match along {
        true => modified(before, entry),
        false => Some(Change::Renamed {
            from: from.to_owned(),
        }),
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn modified(before: &TreeEntry, now: &TreeEntry) -> Option<Change> {
    if before.file == now.file && before.changed == now.changed {
        return None;
    }
    let (old, new) = (&before.attributes, &now.attributes);
    let mut what = differences(old, new);
    let regular = old.kind == Kind::Regular && new.kind == Kind::Regular;
    if regular && old.size != new.size {
        what.insert(0, "content");
    }
    let compare = regular && old.size == new.size && old.size > 0;
    (compare || !what.is_empty()).then_some(Change::Modified { what, compare })
}

/// How two sets of attributes differ, sizes aside.
pub(super) fn differences(old: &Attributes, new: &Attributes) -> Vec<&'static str> {
    let directory = old.kind == Kind::Directory && new.kind == Kind::Directory;
    [
        ("kind", old.kind != new.kind),
        ("mode", old.mode != new.mode),
        ("owner", (old.uid, old.gid) != (new.uid, new.gid)),
        // Every change in a directory changes its time: that is told by what changed in it.
        ("time", old.modified != new.modified && !directory),
        ("target", old.target != new.target),
        ("device", old.device_number != new.device_number),
        ("attributes", old.xattrs != new.xattrs),
    ]
    .into_iter()
    .filter_map(|(word, differs)| differs.then_some(word))
    .collect()
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::{Name, SequenceNumber, Timestamp};

    use super::*;

    /// `path`, file id, batch of its last change, size.
    type Line<'a> = (&'a str, u64, u64, u64);

    fn listing(lines: &[Line<'_>]) -> Listing {
        let entry = |&(path, file, changed, size): &Line<'_>| {
            let kind = if size == 0 {
                Kind::Directory
            } else {
                Kind::Regular
            };
            let attributes = Attributes {
                kind,
                mode: 0o644,
                uid: 0,
                gid: 0,
                user: None,
                group: None,
                modified: Timestamp(0),
                size,
                device_number: 0,
                target: vec![],
                xattrs: vec![],
            };
            let name = Name::new(split(path.as_bytes()).1).unwrap();
            let (parent, changed) = (FileId::TOP, SequenceNumber(changed));
            let entry = TreeEntry {
                file: FileId(file),
                parent,
                name,
                attributes,
                changed,
            };
            (path.as_bytes().to_vec(), entry)
        };
        lines.iter().map(entry).collect()
    }

    fn told(old: &[Line<'_>], new: &[Line<'_>]) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line = |(path, change): (Vec<u8>, Change)| match change {
            Change::Added => format!("A {}", text(&path)),
            Change::Removed => format!("D {}", text(&path)),
            Change::Renamed { from } => format!("R {} {}", text(&from), text(&path)),
            Change::Modified { what, compare } => {
                format!(
                    "M {} {}{}",
                    text(&path),
                    what.join(","),
                    if compare { "?" } else { "" }
                )
            }
        };
        changes(&listing(old), &listing(new))
            .into_iter()
            .map(line)
            .collect()
    }

    #[test]
    fn files_come_go_and_change() {
        let old = [
            ("r", 1, 1, 0),
            ("r/a", 2, 1, 5),
            ("r/b", 3, 1, 5),
            ("r/c", 4, 1, 5),
        ];
        let new = [
            ("r", 1, 2, 0),
            ("r/a", 2, 1, 5),
            ("r/b", 3, 2, 6),
            ("r/d", 9, 2, 5),
        ];
        assert_eq!(told(&old, &new), ["M r/b content", "D r/c", "A r/d"]);
        assert!(told(&old, &old).is_empty());
    }

    #[test]
    fn the_same_size_leaves_it_to_the_content() {
        assert_eq!(told(&[("r/a", 2, 1, 5)], &[("r/a", 2, 7, 5)]), ["M r/a ?"]);
        assert_eq!(
            told(&[("r/a", 2, 1, 5)], &[("r/a", 3, 7, 5)]),
            ["M r/a ?"],
            "replaced"
        );
    }

    #[test]
    fn a_renamed_directory_is_told_once() {
        let old = [("r/x", 2, 1, 0), ("r/x/a", 3, 1, 5), ("r/x/b", 4, 1, 5)];
        let new = [("r/y", 2, 2, 0), ("r/y/a", 3, 1, 5), ("r/y/c", 4, 1, 5)];
        assert_eq!(told(&old, &new), ["R r/x r/y", "R r/x/b r/y/c"]);
    }

    #[test]
    fn a_second_name_is_an_addition() {
        let old = [("r/a", 2, 1, 5)];
        let new = [("r/a", 2, 1, 5), ("r/b", 2, 1, 5)];
        assert_eq!(told(&old, &new), ["A r/b"]);
    }
}
