//! Records of a binary file, read where its structure says they are and never from behind its end.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Error, Result};

/// A file that is read in records.
#[derive(Debug)]
pub(super) struct BinaryFile<'a> {
    path: &'a Path,
    file: File,
    /// Number of its bytes.
    pub(super) length: u64,
}

impl<'a> BinaryFile<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        Ok(Self { path, file, length })
    }

    /// Checks that the file holds `count` bytes from `offset` on; `place` says what they are.
    pub(super) fn expect(&self, offset: u64, count: u64, place: &str) -> Result<()> {
        if offset
            .checked_add(count)
            .is_some_and(|end| end <= self.length)
        {
            return Ok(());
        }
        Err(Error::data(
            self.path,
            format!("byte {offset}, {place}"),
            format!("a file of {} bytes", self.length),
            format!("{count} bytes from there on (the file is truncated or corrupt)"),
        ))
    }

    /// Reads `count` bytes from `offset` on.
    pub(super) fn record(
        &mut self,
        offset: u64,
        count: u64,
        little: bool,
        place: &str,
    ) -> Result<Record> {
        self.expect(offset, count, place)?;
        let mut bytes = vec![0; count as usize];
        self.file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(Error::io("read", self.path))?;
        Ok(Record { bytes, little })
    }
}

/// Bytes of a record, whose numbers stand at fixed places.
#[derive(Debug)]
pub(super) struct Record {
    /// The bytes.
    pub(super) bytes: Vec<u8>,
    /// Whether numbers are little-endian.
    pub(super) little: bool,
}

impl Record {
    /// `N` bytes from `at` on, the least significant first.
    ///
    /// # Panics
    /// The record is shorter.
    fn ordered<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[at..at + N]);
        if !self.little {
            bytes.reverse();
        }
        bytes
    }

    /// An unsigned number of 16 bits.
    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.ordered(at))
    }

    /// An unsigned number of 32 bits.
    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.ordered(at))
    }

    /// An unsigned number of 64 bits.
    pub(super) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.ordered(at))
    }

    /// A number in single precision.
    pub(super) fn f32(&self, at: usize) -> f32 {
        f32::from_le_bytes(self.ordered(at))
    }

    /// A number in double precision.
    pub(super) fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.ordered(at))
    }
}
