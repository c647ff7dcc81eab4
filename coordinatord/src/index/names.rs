//! Names in the index: children, parents, paths.

use anyhow::Result;
use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::wire::Kind;
use rusqlite::{OptionalExtension, params};

use super::rows::kind_number;
use super::{FileRow, Index};

/// Deepest path that is followed. Deeper trees than the kernel can name (`PATH_MAX`) do not occur.
const DEPTH_MAX: usize = 4096;

impl Index {
    /// The file of that name in that directory.
    pub fn child(&self, parent: FileId, name: &Name) -> Result<Option<FileId>> {
        let mut statement = self
            .database
            .prepare_cached("SELECT file FROM name WHERE parent = ?1 AND name = ?2")?;
        let file = statement
            .query_row(params![parent.0.cast_signed(), name.as_bytes()], |row| {
                row.get::<_, i64>(0)
            })
            .optional()?;
        Ok(file.map(|id| FileId(id.cast_unsigned())))
    }

    /// The same with what is known of it: one question in place of two, of which a scan asks one for each name.
    pub fn child_row(&self, parent: FileId, name: &Name) -> Result<Option<FileRow>> {
        let mut statement = self.database.prepare_cached(
            "SELECT id, device, inode, birth, kind, size, modified, changed, digest, staged
             FROM name JOIN file ON id = file WHERE parent = ?1 AND name = ?2",
        )?;
        let keys = params![parent.0.cast_signed(), name.as_bytes()];
        Ok(statement.query_row(keys, FileRow::read).optional()?)
    }

    /// All names in a directory, in byte order.
    pub fn children(&self, parent: FileId) -> Result<Vec<(Name, FileId)>> {
        let mut statement = self
            .database
            .prepare_cached("SELECT name, file FROM name WHERE parent = ?1 ORDER BY name")?;
        let rows = statement.query_map([parent.0.cast_signed()], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })?;
        let mut children = Vec::new();
        for row in rows {
            let (name, file) = row?;
            children.push((Name::new(name)?, FileId(file.cast_unsigned())));
        }
        Ok(children)
    }

    /// Regular files in a directory whose size lies within `sizes`, among its first `names_max` names.
    pub fn regular_files_in(
        &self,
        parent: FileId,
        sizes: (u64, u64),
        names_max: usize,
    ) -> Result<Vec<(Name, FileRow)>> {
        let mut statement = self.database.prepare_cached(
            "SELECT id, device, inode, birth, kind, size, modified, changed, digest, staged, name
             FROM (SELECT name, file FROM name WHERE parent = ?1 LIMIT ?2) JOIN file ON id = file
             WHERE kind = ?3 AND size BETWEEN ?4 AND ?5",
        )?;
        let (least, most) = (sizes.0.min(i64::MAX as u64), sizes.1.min(i64::MAX as u64));
        let wanted = params![
            parent.0.cast_signed(),
            names_max as i64,
            kind_number(Kind::Regular),
            least.cast_signed(),
            most.cast_signed()
        ];
        let rows = statement.query_map(wanted, |row| {
            Ok((row.get::<_, Vec<u8>>(10)?, FileRow::read(row)?))
        })?;
        let mut files = Vec::new();
        for row in rows {
            let (name, file) = row?;
            files.push((Name::new(name)?, file));
        }
        Ok(files)
    }

    /// Does the directory have any name in it?
    pub fn has_children(&self, parent: FileId) -> Result<bool> {
        let mut statement = self
            .database
            .prepare_cached("SELECT 1 FROM name WHERE parent = ?1 LIMIT 1")?;
        Ok(statement.exists([parent.0.cast_signed()])?)
    }

    /// All names of a file (several for hard links; none while it is staged).
    pub fn names_of(&self, file: FileId) -> Result<Vec<(FileId, Name)>> {
        let mut statement = self
            .database
            .prepare_cached("SELECT parent, name FROM name WHERE file = ?1")?;
        let rows = statement.query_map([file.0.cast_signed()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        let mut names = Vec::new();
        for row in rows {
            let (parent, name) = row?;
            names.push((FileId(parent.cast_unsigned()), Name::new(name)?));
        }
        Ok(names)
    }

    /// Does it have a name at all? Files may have thousands.
    pub fn has_name(&self, file: FileId) -> Result<bool> {
        Ok(self.first_name(file)?.is_some())
    }

    /// How many names it has.
    pub fn count_names(&self, file: FileId) -> Result<u64> {
        let mut statement = self
            .database
            .prepare_cached("SELECT count(*) FROM name WHERE file = ?1")?;
        let count: i64 = statement.query_row([file.0.cast_signed()], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    /// The way down from a root: the root's id, then the names below it. `None` when the file hangs
    /// under no root (staged, or just removed).
    pub fn way_to(&self, file: FileId) -> Result<Option<(FileId, Vec<Name>)>> {
        let mut names = Vec::new();
        let mut at = file;
        for _ in 0..DEPTH_MAX {
            let Some((parent, name)) = self.first_name(at)? else {
                return Ok(None);
            };
            if parent == FileId::TOP {
                names.reverse();
                return Ok(Some((at, names)));
            }
            names.push(name);
            at = parent;
        }
        Ok(None)
    }

    fn first_name(&self, file: FileId) -> Result<Option<(FileId, Name)>> {
        let mut statement = self
            .database
            .prepare_cached("SELECT parent, name FROM name WHERE file = ?1 LIMIT 1")?;
        let row = statement
            .query_row([file.0.cast_signed()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .optional()?;
        row.map(|(parent, name)| Ok((FileId(parent.cast_unsigned()), Name::new(name)?)))
            .transpose()
    }
}
