//! A seal on a file: the BLAKE3 of all bytes before it, as a line of text at the end.
//!
//! HDF5 does not look beyond what it wrote itself, so that its programs open sealed files. It does not check what it reads either: a flipped byte in the
//! wrong place crashes the library. A file whose seal holds is safe to give to it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{Error, Result};

const TAG: &[u8] = b"\nferrostem BLAKE3 ";
/// Bytes of a seal: tag, 64 digits, end of line.
const LENGTH: u64 = TAG.len() as u64 + 65;

/// Adds a seal to a file.
pub(super) fn seal(path: &Path) -> Result<()> {
    let length = std::fs::metadata(path)
        .map_err(Error::io("read", path))?
        .len();
    let digits = hash(path, length)?;
    let seal = [TAG, digits.as_bytes(), b"\n"].concat();
    let mut file = OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(Error::io("write", path))?;
    file.write_all(&seal).map_err(Error::io("write", path))
}

/// Whether a file has a seal; one that does not hold is an error, with `advice` to the reader.
pub(super) fn sealed(path: &Path, advice: &str) -> Result<bool> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    let Some(sealed) = length.checked_sub(LENGTH) else {
        return Ok(false);
    };
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(sealed))
        .map_err(Error::io("read", path))?;
    file.read_to_end(&mut end)
        .map_err(Error::io("read", path))?;
    let Some(rest) = end.strip_prefix(TAG) else {
        return Ok(false);
    };
    let digits = hash(path, sealed)?;
    if rest.strip_suffix(b"\n") == Some(digits.as_bytes()) {
        return Ok(true);
    }
    let got = format!("bytes of BLAKE3 {digits}, which is not what their seal says");
    Err(Error::data(path, "whole file", got, advice))
}

/// Hash of the first `length` bytes, in hexadecimal.
fn hash(path: &Path, length: u64) -> Result<String> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(file.take(length))
        .map_err(Error::io("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}
