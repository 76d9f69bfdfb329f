//! A claim on unfinished work: one process at a time, and only work of the same settings is gone on with.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::output::write_file;
use crate::error::{Error, Result};

const LOCK: &str = "lock";
const KEY: &str = "key";

/// Who else may work in the folder meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// Nobody.
    None,
    /// Other shards of the same work.
    Shards,
}

/// A claim; it ends with the process, or when it is dropped.
#[derive(Debug)]
pub struct Claim {
    folder: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl Claim {
    /// Claims the folder of unfinished work (made if it is not there) for the work that `key` describes. What an interrupted
    /// run with another key left there is an error, or removed with `force`.
    ///
    /// # Errors
    /// Another process is at work there, the folder holds other work, or the system refuses.
    pub fn new(folder: &Path, key: &str, company: Company, force: bool) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
        let path = folder.join(LOCK);
        let lock = File::create(&path).map_err(Error::io("write", &path))?;
        let locked = match company {
            Company::None => lock.try_lock(),
            Company::Shards => lock.try_lock_shared(),
        };
        // A file system without locks is no reason not to work.
        if let Err(TryLockError::WouldBlock) = locked {
            let allowed = "one process at a time, or shards of one simulation";
            return Err(Error::data(
                folder,
                "lock",
                "another process at work on this result",
                allowed,
            ));
        }
        let claim = Self {
            folder: folder.to_owned(),
            _lock: lock,
        };
        claim.check_key(&blake3::hash(key.as_bytes()).to_hex(), force)?;
        Ok(claim)
    }

    fn check_key(&self, key: &str, force: bool) -> Result<()> {
        let path = self.folder.join(KEY);
        let Ok(found) = fs::read_to_string(&path) else {
            return write_file(&path, key.as_bytes());
        };
        if found == key {
            return Ok(());
        }
        if !force {
            let got = "unfinished work of other settings, inputs or another version";
            let allowed = "the same settings again, another output, or --force to start afresh";
            return Err(Error::data(&self.folder, "key", got, allowed));
        }
        let entries = fs::read_dir(&self.folder).map_err(Error::io("read", &self.folder))?;
        for entry in entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|entry| !entry.ends_with(LOCK))
        {
            let removed = if entry.is_dir() {
                fs::remove_dir_all(&entry)
            } else {
                fs::remove_file(&entry)
            };
            removed.map_err(Error::io("remove", &entry))?;
        }
        write_file(&path, key.as_bytes())
    }

    /// Gives the folder up and takes the claim's own files out of it, before it becomes a result.
    ///
    /// # Errors
    /// The system refuses.
    pub fn release(self) -> Result<()> {
        for name in [KEY, LOCK] {
            let path = self.folder.join(name);
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_work_is_gone_on_with_only_by_the_same_work_and_one_process() {
        let here = tempfile::tempdir().unwrap();
        let folder = here.path().join("r.partial");
        let claim = |key: &str, company, force| Claim::new(&folder, key, company, force);
        let first = claim("a", Company::None, false).unwrap();
        fs::write(folder.join("part"), b"1").unwrap();
        let message = claim("a", Company::None, true).unwrap_err().to_string();
        assert!(message.contains("another process"), "{message}");
        drop(first);
        let one = claim("a", Company::Shards, false).unwrap();
        let two = claim("a", Company::Shards, false).unwrap();
        assert!(claim("a", Company::None, false).is_err());
        drop((one, two));
        let message = claim("b", Company::None, false).unwrap_err().to_string();
        assert!(
            message.contains("other settings") && message.contains("--force"),
            "{message}"
        );
        assert!(folder.join("part").exists());
        claim("b", Company::None, true).unwrap().release().unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}
