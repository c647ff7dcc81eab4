//! Writing to the index: one transaction a batch, and the way back.

use anyhow::{Result, ensure};
use everwrite_protocol::ids::{FileId, Name, SequenceNumber};
use everwrite_protocol::wire::{Kind, TreeEntry};
use rusqlite::params;

use super::rows::{SUSPECT, UNBOUND, kind_number};
use super::{BOOT, FileRow, Index, NEXT_FILE, ON_DISK, SENT, SETTLED, STORED};

impl Index {
    /// Begins the transaction of the next batch and gives its number.
    pub fn begin(&mut self) -> Result<SequenceNumber> {
        let sequence = self.sent()?.next();
        self.database.execute_batch("BEGIN IMMEDIATE")?;
        Ok(sequence)
    }

    /// The batch is complete and may be sent.
    pub fn commit(&mut self, sequence: SequenceNumber) -> Result<()> {
        self.set_meta(SENT, sequence.0)?;
        self.set_meta(NEXT_FILE, self.next_file)?;
        Ok(self.database.execute_batch("COMMIT")?)
    }

    /// Nothing was to be sent: what was learned is kept, the number goes to the next batch.
    pub fn commit_without_batch(&mut self) -> Result<()> {
        self.set_meta(NEXT_FILE, self.next_file)?;
        Ok(self.database.execute_batch("COMMIT")?)
    }

    /// The batch is not to be: the index is as before [`begin`](Self::begin). File ids given out
    /// stay used.
    pub fn abandon(&mut self) -> Result<()> {
        Ok(self.database.execute_batch("ROLLBACK")?)
    }

    /// A fresh file id.
    pub fn new_file(&mut self) -> FileId {
        let file = FileId(self.next_file);
        self.next_file += 1;
        file
    }

    /// Writes a file's row, new or changed, as of `sequence`.
    pub fn put_file(&self, row: &FileRow, sequence: SequenceNumber) -> Result<()> {
        let mut statement = self.database.prepare_cached(
            "INSERT INTO file VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11)
             ON CONFLICT (id) DO UPDATE SET device = ?2, inode = ?3, birth = ?4, kind = ?5,
             size = ?6, modified = ?7, changed = ?8, digest = ?9, staged = ?10, sequence = ?11",
        )?;
        statement.execute(params![
            row.id.0.cast_signed(),
            row.inode.device.cast_signed(),
            row.inode.inode.cast_signed(),
            row.birth.cast_signed(),
            kind_number(row.kind),
            row.size.cast_signed(),
            row.modified.0,
            row.changed.0,
            row.digest,
            row.staged,
            sequence.0.cast_signed(),
        ])?;
        Ok(())
    }

    /// Gives a file a name. The name must be free.
    pub fn attach(
        &self,
        parent: FileId,
        name: &Name,
        file: FileId,
        sequence: SequenceNumber,
    ) -> Result<()> {
        let mut statement = self
            .database
            .prepare_cached("INSERT INTO name VALUES (?1, ?2, ?3, ?4)")?;
        statement.execute(params![
            parent.0.cast_signed(),
            name.as_bytes(),
            file.0.cast_signed(),
            sequence.0.cast_signed()
        ])?;
        Ok(())
    }

    /// Takes a name away.
    pub fn detach(&self, parent: FileId, name: &Name, sequence: SequenceNumber) -> Result<()> {
        let keys = params![
            sequence.0.cast_signed(),
            parent.0.cast_signed(),
            name.as_bytes()
        ];
        self.database
            .prepare_cached(
                "INSERT INTO gone_name SELECT ?1, parent, name, file, created_in FROM name
                 WHERE parent = ?2 AND name = ?3",
            )?
            .execute(keys)?;
        self.database
            .prepare_cached("DELETE FROM name WHERE parent = ?1 AND name = ?2")?
            .execute(params![parent.0.cast_signed(), name.as_bytes()])?;
        Ok(())
    }

    /// Removes a file's row; names in it, if it is a directory, are the caller's business.
    pub fn remove_file(&self, file: FileId, sequence: SequenceNumber) -> Result<()> {
        self.database
            .prepare_cached("INSERT INTO gone_file SELECT ?1, file.* FROM file WHERE id = ?2")?
            .execute([sequence.0.cast_signed(), file.0.cast_signed()])?;
        self.database
            .prepare_cached("DELETE FROM file WHERE id = ?1")?
            .execute([file.0.cast_signed()])?;
        Ok(())
    }

    /// All batches up to `sequence` are stored: they can't be taken back any more.
    pub fn mark_stored(&mut self, sequence: SequenceNumber) -> Result<()> {
        if sequence <= self.stored()? {
            return Ok(());
        }
        let number = sequence.0.cast_signed();
        let transaction = self.database.unchecked_transaction()?;
        transaction
            .prepare_cached("DELETE FROM gone_file WHERE gone_in <= ?1")?
            .execute([number])?;
        transaction
            .prepare_cached("DELETE FROM gone_name WHERE gone_in <= ?1")?
            .execute([number])?;
        self.set_meta(STORED, sequence.0)?;
        Ok(transaction.commit()?)
    }

    /// Batches up to `sequence` hold everything that was announced before they were made.
    pub fn mark_settled(&mut self, sequence: SequenceNumber) -> Result<()> {
        if sequence.0 <= self.meta(SETTLED)?.unwrap_or(0) {
            return Ok(());
        }
        self.set_meta(SETTLED, sequence.0)
    }

    /// What batches up to `sequence` hold is on this machine's own disk by now.
    pub fn mark_on_disk(&mut self, sequence: SequenceNumber) -> Result<()> {
        self.set_meta(ON_DISK, sequence.0)
    }

    /// After a gap: a file that changed shortly before may not be what its times say, and is compared.
    /// After a crash of ours it may have been written again before it was looked at, by a write whose
    /// hint is lost. After another `boot` the disk may have lost what it had not written: then the
    /// receiver is ahead of it.
    pub fn suspect_recent(&mut self, boot: u64) -> Result<()> {
        let same_boot = self.meta(BOOT)? == Some(boot);
        self.suspect_since(if same_boot { SETTLED } else { ON_DISK })?;
        self.set_meta(BOOT, boot)
    }

    /// Hints were lost: a file that changed shortly before may have been written to by somebody else, too, whose
    /// hint is among them, before its times were looked at.
    pub fn suspect_unsettled(&mut self) -> Result<()> {
        self.suspect_since(SETTLED)
    }

    fn suspect_since(&mut self, trusted: &str) -> Result<()> {
        let trusted = self.meta(trusted)?.unwrap_or(0);
        self.database.execute(
            "UPDATE file SET changed = ?2 WHERE sequence > ?1 AND kind = ?3",
            params![trusted.cast_signed(), SUSPECT.0, kind_number(Kind::Regular)],
        )?;
        Ok(())
    }

    /// Takes back every batch after `stored`: the receiver never got them. Files that they changed
    /// become suspect, for what the receiver holds of them is older than what the index says.
    pub fn roll_back(&mut self, stored: SequenceNumber) -> Result<()> {
        ensure!(
            stored >= self.stored()?,
            "the receiver has lost stored batches"
        );
        let number = stored.0.cast_signed();
        let transaction = self.database.unchecked_transaction()?;
        transaction.execute("DELETE FROM file WHERE created_in > ?1", [number])?;
        transaction.execute("DELETE FROM name WHERE created_in > ?1", [number])?;
        transaction.execute(
            "INSERT OR REPLACE INTO file SELECT id, device, inode, birth, kind, size, modified,
             changed, digest, staged, created_in, sequence FROM gone_file
             WHERE gone_in > ?1 AND created_in <= ?1",
            [number],
        )?;
        transaction.execute(
            "INSERT OR REPLACE INTO name SELECT parent, name, file, created_in FROM gone_name
             WHERE gone_in > ?1 AND created_in <= ?1",
            [number],
        )?;
        transaction.execute(
            "UPDATE file SET changed = ?2, digest = zeroblob(16) WHERE sequence > ?1",
            [number, SUSPECT.0],
        )?;
        transaction.execute("DELETE FROM gone_file", [])?;
        transaction.execute("DELETE FROM gone_name", [])?;
        self.set_meta(SENT, stored.0)?;
        self.set_meta(STORED, stored.0)?;
        self.forget_marks_after(stored)?;
        Ok(transaction.commit()?)
    }

    /// Numbers after `stored` will be given to other batches, about which nothing is known yet.
    fn forget_marks_after(&self, stored: SequenceNumber) -> Result<()> {
        for key in [SETTLED, ON_DISK] {
            if self.meta(key)?.is_some_and(|marked| marked > stored.0) {
                self.set_meta(key, stored.0)?;
            }
        }
        Ok(())
    }

    /// Forgets everything, to be filled again from the receiver's tree.
    pub fn begin_rebuild(&mut self) -> Result<()> {
        Ok(self.database.execute_batch(
            "BEGIN IMMEDIATE; DELETE FROM file; DELETE FROM name; DELETE FROM gone_file;
             DELETE FROM gone_name;",
        )?)
    }

    /// One entry of the receiver's tree. Inodes are unknown: they are bound when the names are
    /// looked at, and every file is suspect until then.
    pub fn rebuild_entry(&mut self, entry: &TreeEntry) -> Result<()> {
        let known = 1..FILE_MAX;
        let sound = known.contains(&entry.file.0) && entry.attributes.size <= i64::MAX as u64;
        ensure!(sound, "the receiver's tree has an entry that can't be");
        let row = FileRow {
            id: entry.file,
            inode: everwrite_protocol::local::Inode {
                device: UNBOUND,
                inode: entry.file.0,
            },
            birth: 0,
            kind: entry.attributes.kind,
            size: entry.attributes.size,
            modified: entry.attributes.modified,
            changed: SUSPECT,
            digest: [0; 16],
            staged: false,
        };
        self.put_file(&row, entry.changed)?;
        self.attach(entry.parent, &entry.name, entry.file, entry.changed)
    }

    /// The tree is complete as of `stored`.
    pub fn finish_rebuild(&mut self, stored: SequenceNumber, highest: FileId) -> Result<()> {
        ensure!(
            highest.0 < FILE_MAX && self.is_tree(highest)?,
            "the receiver's tree is none"
        );
        self.forget_marks_after(stored)?;
        self.next_file = self.next_file.max(highest.0 + 1);
        self.set_meta(STORED, stored.0)?;
        self.commit(stored)
    }

    /// Does every name hang at the top, by directories that have one name each? Whoever follows names
    /// up or down would not come to an end otherwise.
    fn is_tree(&self, highest: FileId) -> Result<bool> {
        let mut statement = self.database.prepare_cached(
            "WITH RECURSIVE below (id) AS (
                 VALUES (0)
                 UNION SELECT file FROM directory JOIN below ON parent = below.id),
             directory (parent, file) AS (
                 SELECT parent, file FROM name JOIN file ON file.id = name.file WHERE kind = ?1)
             SELECT NOT EXISTS (SELECT 1 FROM directory GROUP BY file HAVING count(*) > 1)
                AND NOT EXISTS (SELECT 1 FROM file WHERE id > ?2)
                AND NOT EXISTS (SELECT 1 FROM name WHERE parent NOT IN (SELECT id FROM below))",
        )?;
        let keys = params![kind_number(Kind::Directory), highest.0.cast_signed()];
        Ok(statement.query_row(keys, |row| row.get(0))?)
    }
}

/// No source makes so many files: a receiver that says so would have none left for us.
const FILE_MAX: u64 = 1 << 62;
