//! What a process has mapped, from `/proc/pid/maps`, see `proc(5)`.

use crate::cli::shim_library::FILE_NAME;

/// What the maps of a process tell about the shim.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::cli) struct Mapped {
    /// The shim as it lies on disk now.
    pub(in crate::cli) current: bool,
    /// One whose file has been replaced or removed since.
    pub(in crate::cli) older: bool,
    /// A C library whose loader takes no notice of `/etc/ld.so.preload`.
    pub(in crate::cli) musl: bool,
}

/// Reads them.
pub(in crate::cli) fn read(maps: &[u8]) -> Mapped {
    const REPLACED: &[u8] = b" (deleted)";
    let mut mapped = Mapped::default();
    for path in maps.split(|byte| *byte == b'\n').filter_map(path) {
        let (file, replaced) = match path.strip_suffix(REPLACED) {
            Some(file) => (file, true),
            None => (path, false),
        };
        let name = file.rsplit(|byte| *byte == b'/').next().unwrap_or(file);
        mapped.current |= name == FILE_NAME.as_bytes() && !replaced;
        mapped.older |= name == FILE_NAME.as_bytes() && replaced;
        mapped.musl |= name.starts_with(b"ld-musl-");
    }
    mapped
}

/// The last field of a line: range, rights, offset, device, inode, path.
fn path(line: &[u8]) -> Option<&[u8]> {
    let start = line.iter().position(|byte| *byte == b'/')?;
    Some(&line[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_s_name_tells() {
        let line = |path: &str| format!("7f0-7f1 r-xp 00004000 fe:00 5308457      {path}\n");
        let of = |paths: &[&str]| {
            read(
                paths
                    .iter()
                    .map(|path| line(path))
                    .collect::<String>()
                    .as_bytes(),
            )
        };
        assert_eq!(of(&["/bin/sh", "[heap]", ""]), Mapped::default());
        assert!(of(&["/bin/sh", "/usr/lib/everwrite/lib/libeverwrite_shim.so"]).current);
        let older = of(&["/x/libeverwrite_shim.so (deleted)", "/memfd:a (deleted)"]);
        assert!(older.older && !older.current);
        assert!(of(&["/lib/ld-musl-x86_64.so.1"]).musl);
        assert_eq!(
            of(&["/x/libeverwrite_shim.so.old", "/libeverwrite_shim.so/x"]),
            Mapped::default()
        );
    }
}
