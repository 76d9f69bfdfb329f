//! Finished units of unfinished work, one small file each, so that a killed run goes on where it was and shards can meet.
//!
//! A part is written whole (temporary name, fsync, rename) and carries a BLAKE3 hash of the work's key, its index and its
//! numbers; a part of other work, or a damaged one, is computed again.

use std::fs;
use std::path::{Path, PathBuf};

use super::output::write_file;
use crate::error::{Error, Result};

const HASH_BYTES: usize = 32;

/// The parts of one piece of work, in a folder of its own.
#[derive(Debug, Clone)]
pub struct Parts {
    folder: PathBuf,
    key: String,
}

impl Parts {
    /// Parts in `folder` for the work that `key` describes (resolved settings and program version: whatever determines the
    /// numbers). The folder is made when the first part is written.
    #[must_use]
    pub fn new(folder: &Path, key: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            key: key.to_owned(),
        }
    }

    /// The numbers of part `index`, if it is there, whole, and of this work.
    #[must_use]
    pub fn read(&self, index: usize) -> Option<Vec<f32>> {
        let bytes = fs::read(self.path(index)).ok()?;
        let (hash, numbers) = bytes.split_at_checked(HASH_BYTES)?;
        let whole = numbers.len() % 4 == 0 && hash == self.hash(index, numbers).as_bytes();
        whole.then(|| {
            numbers
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect()
        })
    }

    /// Keeps the numbers of part `index`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, index: usize, numbers: &[f32]) -> Result<()> {
        let data: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut bytes = self.hash(index, &data).as_bytes().to_vec();
        bytes.extend(data);
        write_file(&self.path(index), &bytes)
    }

    /// Removes the folder with all parts.
    ///
    /// # Errors
    /// The system refuses.
    pub fn remove(&self) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).map_err(Error::io("remove", &self.folder))?;
        }
        Ok(())
    }

    fn path(&self, index: usize) -> PathBuf {
        self.folder.join(format!("part-{index:06}"))
    }

    fn hash(&self, index: usize, numbers: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.key.as_bytes());
        hasher.update(&(index as u64).to_le_bytes());
        hasher.update(numbers);
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_comes_back_only_whole_and_for_its_own_work() {
        let here = tempfile::tempdir().unwrap();
        let parts = Parts::new(&here.path().join("parts"), "settings");
        assert_eq!(parts.read(3), None);
        parts.write(3, &[1.0, -2.5]).unwrap();
        assert_eq!(parts.read(3), Some(vec![1.0, -2.5]));
        assert_eq!(
            Parts::new(&here.path().join("parts"), "other").read(3),
            None
        );
        let path = parts.path(3);
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(parts.read(3), None, "{length} of {} bytes", bytes.len());
        }
        parts.remove().unwrap();
        assert!(!here.path().join("parts").exists());
    }
}
