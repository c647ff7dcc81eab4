//! The rules of `/etc/ld.so.preload`: paths apart by white space or colons, comments from `#` to the
//! end of the line. What is not ours stays byte for byte.

use std::ops::Range;

use crate::cli::shim_library::FILE_NAME;

/// `content` with `line` as its only entry of ours, at the end; unchanged when it is there already.
///
/// Not at the front: the GNU loader (2.36 at least) looks for a second comment only among as many bytes
/// from the front as follow the first one, so whatever comes before comments turns them into entries.
pub(in crate::cli) fn with(content: &[u8], line: &str) -> Vec<u8> {
    if ours(content).eq([line.as_bytes()]) {
        return content.to_owned();
    }
    let mut list = without(content);
    if list.last().is_some_and(|last| *last != b'\n') {
        list.push(b'\n');
    }
    list.extend_from_slice(line.as_bytes());
    list.push(b'\n');
    list
}

/// `content` without any entry of ours; a line that held nothing else goes with it.
pub(in crate::cli) fn without(content: &[u8]) -> Vec<u8> {
    let lines = content.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(line_without).collect()
}

/// Our entries.
pub(in crate::cli) fn ours(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = content.split(|byte| *byte == b'\n');
    let of_line = |line| entries(line).map(move |at| &line[at]);
    lines.flat_map(of_line).filter(|entry| is_ours(entry))
}

fn line_without(line: &[u8]) -> Vec<u8> {
    let found: Vec<_> = entries(line)
        .filter(|at| is_ours(&line[at.clone()]))
        .collect();
    if found.is_empty() {
        return line.to_owned();
    }
    let mut rest = line.to_owned();
    for at in found.into_iter().rev() {
        // The separator behind it goes too, but not the end of the line.
        let separated = line.get(at.end).is_some_and(|byte| b" \t:".contains(byte));
        rest.drain(at.start..at.end + usize::from(separated));
    }
    match rest.iter().all(|byte| is_separator(*byte)) {
        true => Vec::new(),
        false => rest,
    }
}

/// Where the paths of one line are.
fn entries(line: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let comment = line.iter().position(|byte| *byte == b'#');
    let line = &line[..comment.unwrap_or(line.len())];
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + line[at..].iter().position(|byte| !is_separator(*byte))?;
        let length = line[start..].iter().position(|byte| is_separator(*byte));
        at = length.map_or(line.len(), |length| start + length);
        Some(start..at)
    })
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b':' | b'\n')
}

fn is_ours(entry: &[u8]) -> bool {
    entry.rsplit(|byte| *byte == b'/').next() == Some(FILE_NAME.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "/usr/lib/everwrite/$LIB/libeverwrite_shim.so";

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn others_stay_as_they_are() {
        let others = [
            "",
            "/lib/a.so\n",
            "# why\n/lib/a.so /lib/b.so:/lib/c.so",
            "\n\n  /lib/x.so # libeverwrite_shim.so was here\n",
        ];
        for before in others {
            let after = with(before.as_bytes(), LINE);
            let end = if before.is_empty() || before.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            assert_eq!(text(after.clone()), format!("{before}{end}{LINE}\n"));
            assert_eq!(with(&after, LINE), after, "twice is once");
            assert_eq!(text(without(&after)), format!("{before}{end}"));
            assert_eq!(text(without(before.as_bytes())), before);
        }
    }

    #[test]
    fn ours_are_found_wherever_somebody_moved_them() {
        let cases = [
            (format!("/a.so {LINE} /b.so\n"), "/a.so /b.so\n"),
            (format!("/a.so:{LINE}\n"), "/a.so:\n"),
            (format!("{LINE}:/a.so"), "/a.so"),
            (format!("{LINE} # ours\n/a.so"), "# ours\n/a.so"),
            (
                format!("{LINE}\n/old/libeverwrite_shim.so\n/a.so\n"),
                "/a.so\n",
            ),
            (format!("#{LINE}\n"), &*format!("#{LINE}\n")),
        ]
        .map(|(before, after)| (before, after.to_owned()));
        for (before, after) in cases {
            assert_eq!(text(without(before.as_bytes())), after, "{before:?}");
        }
    }

    #[test]
    fn an_older_entry_is_replaced() {
        let before = b"/a.so\n/old/libeverwrite_shim.so\n";
        assert_eq!(text(with(before, LINE)), format!("/a.so\n{LINE}\n"));
    }

    proptest! {
        #[test]
        fn whatever_is_in_the_file(content in proptest::collection::vec(
            prop_oneof![Just(b" ".to_vec()), Just(b"\n".to_vec()), Just(b":".to_vec()),
                Just(b"#".to_vec()), Just(b"/a.so".to_vec()), Just(LINE.as_bytes().to_vec())], 0..24)
        ) {
            let content = content.concat();
            let bare = without(&content);
            prop_assert_eq!(ours(&bare).count(), 0);
            prop_assert_eq!(without(&bare), bare.clone());
            let added = with(&content, LINE);
            prop_assert_eq!(ours(&added).count(), 1);
            prop_assert_eq!(with(&added, LINE), added);
        }
    }
}
