//! What `proc_pid_mountinfo(5)` says.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mount {
    /// What of the file system is mounted, as a path in it.
    pub(crate) top: PathBuf,
    /// Where.
    pub(crate) point: PathBuf,
    /// Type of the file system.
    pub(crate) kind: Vec<u8>,
    /// Options of the file system, as they stand there.
    options: Vec<u8>,
}

impl Mount {
    /// The value of an option of the file system.
    pub(crate) fn option(&self, name: &str) -> Option<PathBuf> {
        let mut words = self.options.split(|byte| *byte == b',');
        words.find_map(|word| {
            let value = word.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(PathBuf::from(OsString::from_vec(unescaped(value))))
        })
    }
}

/// All mounts; lines that are none are left out.
pub(crate) fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = Mount> + '_ {
    mountinfo.split(|byte| *byte == b'\n').filter_map(mount)
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(3);
    let mut path = || Some(PathBuf::from(OsString::from_vec(unescaped(fields.next()?))));
    let (top, point) = (path()?, path()?);
    // Any number of optional fields ends with a dash.
    fields.find(|field| *field == b"-")?;
    let mut next = || fields.next().map(<[u8]>::to_vec);
    let (kind, _, options) = (next()?, next()?, next()?);
    Some(Mount {
        top,
        point,
        kind,
        options,
    })
}

/// Blanks, tabs, line ends, backslashes, and commas in an option's value, stand there as `\` and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.first_chunk::<3>();
        let digits =
            digits.filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match digits.filter(|_| *first == b'\\') {
            Some(digits) => {
                let value = digits
                    .iter()
                    .fold(0u8, |value, digit| value.wrapping_mul(8) | (digit & 7));
                bytes.push(value);
                rest = &behind[3..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn mounts_are_read() {
        let text = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     30 22 0:25 /x /srv/a\\040b\\134c rw master:1 - tmpfs tmpfs rw,size=1,upperdir=/u\\054v,w=\n\n";
        let found: Vec<_> = mounts(text).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].point, Path::new("/"));
        assert_eq!(found[1].point, Path::new("/srv/a b\\c"));
        assert_eq!(found[1].top, Path::new("/x"));
        assert_eq!(found[1].kind, b"tmpfs");
        let option = |name| found[1].option(name);
        assert_eq!(option("size"), Some("1".into()));
        assert_eq!(option("upperdir"), Some("/u,v".into()));
        assert_eq!((option("rw"), option("upper")), (None, None));
        let line = |text| mounts(text).next();
        assert_eq!(line(b"22 1 8:1 / / rw"), None);
    }
}
