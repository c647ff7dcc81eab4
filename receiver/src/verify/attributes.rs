//! How attributes of files differ.

use everwrite_protocol::wire::{Attributes, Kind};

/// How two sets of attributes differ, in words. Names of owners are not compared: the numbers are
/// what counts, and names may come to mean other numbers.
pub fn differences(here: &Attributes, there: &Attributes) -> Vec<&'static str> {
    if here.kind != there.kind {
        return vec!["kind"];
    }
    [
        ("size", here.size != there.size),
        ("mode", here.mode != there.mode),
        ("owner", (here.uid, here.gid) != (there.uid, there.gid)),
        ("time", here.modified != there.modified),
        ("target", here.target != there.target),
        ("device", here.device_number != there.device_number),
        ("extended attributes", here.xattrs != there.xattrs),
    ]
    .into_iter()
    .filter_map(|(word, differs)| differs.then_some(word))
    .collect()
}

/// How a file of the mirror differs from what the catalog says, but for what `unset` says could not
/// be set.
pub(super) fn unexpected(
    found: &Attributes,
    expected: &Attributes,
    unset: Option<&str>,
) -> Vec<&'static str> {
    let mut words = differences(&comparable(found), &comparable(expected));
    words.retain(|word| !unset.is_some_and(|unset| excuses(unset, word)));
    words
}

/// Without what says nothing about a file of this kind.
fn comparable(attributes: &Attributes) -> Attributes {
    let mut attributes = attributes.clone();
    // Links have no mode of their own; the label of a security module is the host's.
    if attributes.kind == Kind::Symlink {
        attributes.mode = 0;
    }
    if attributes.kind != Kind::Regular {
        attributes.size = 0;
    }
    attributes
        .xattrs
        .retain(|xattr| xattr.name != b"security.selinux");
    attributes.xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    attributes
}

/// Whether what could not be set, as the mirror noted it, explains a difference.
fn excuses(unset: &str, difference: &str) -> bool {
    unset.split(", ").any(|part| match difference {
        "owner" => part == "owner",
        "mode" => part.starts_with("mode"),
        "time" => part == "modification time",
        "extended attributes" => part.starts_with("extended attribute") || part.starts_with("no "),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::Timestamp;

    use super::*;

    fn attributes(kind: Kind) -> Attributes {
        Attributes {
            kind,
            mode: 0o644,
            uid: 1,
            gid: 1,
            user: None,
            group: None,
            modified: Timestamp(5),
            size: 7,
            device_number: 0,
            target: Vec::new(),
            xattrs: Vec::new(),
        }
    }

    #[test]
    fn what_could_not_be_set_is_no_difference() {
        let expected = attributes(Kind::Regular);
        let mut found = expected.clone();
        (found.uid, found.mode) = (2, 0o600);
        assert_eq!(unexpected(&found, &expected, None), ["mode", "owner"]);
        assert_eq!(unexpected(&found, &expected, Some("owner")), ["mode"]);
        let both = "owner, mode without access for the owner";
        assert!(unexpected(&found, &expected, Some(both)).is_empty());
        let mode = Some("mode without access for the owner");
        assert_eq!(unexpected(&found, &expected, mode), ["owner"]);
    }

    #[test]
    fn a_link_has_no_mode_and_only_a_file_a_size() {
        let expected = attributes(Kind::Symlink);
        let mut found = expected.clone();
        (found.mode, found.size) = (0o777, 0);
        assert!(unexpected(&found, &expected, None).is_empty());
        found.kind = Kind::Fifo;
        assert_eq!(unexpected(&found, &expected, None), ["kind"]);
    }
}
