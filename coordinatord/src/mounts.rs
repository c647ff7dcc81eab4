//! What `proc_pid_mountinfo(5)` says.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The fifth field of every line of `proc_pid_mountinfo(5)`.
pub(crate) fn mount_points(mounts: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    mounts
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(OsString::from_vec(unescaped(field))))
}

/// Where file systems of this type are mounted with their own top.
pub(crate) fn mounts_of_type<'m>(
    mounts: &'m [u8],
    kind: &'m [u8],
) -> impl Iterator<Item = PathBuf> + 'm {
    let lines = mounts.split(|byte| *byte == b'\n');
    lines.filter_map(move |line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let (top, point) = (fields.next()?, fields.next()?);
        // Any number of optional fields ends with a dash.
        fields.find(|field| *field == b"-")?;
        let fits = top == b"/" && fields.next()? == kind;
        fits.then(|| PathBuf::from(OsString::from_vec(unescaped(point))))
    })
}

/// Blanks, tabs, line ends and backslashes stand there as `\` and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        match behind.first_chunk::<3>().filter(|_| *first == b'\\') {
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
    fn mount_points_are_read() {
        let text = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     30 22 0:25 /x /srv/a\\040b\\134c rw master:1 - tmpfs tmpfs rw\n";
        let points: Vec<_> = mount_points(text).collect();
        assert_eq!(points, [Path::new("/"), Path::new("/srv/a b\\c")]);
        let of = |kind: &'static [u8]| mounts_of_type(text, kind).collect::<Vec<_>>();
        assert_eq!(of(b"ext4"), [Path::new("/")]);
        assert!(of(b"tmpfs").is_empty(), "not its own top");
    }
}
