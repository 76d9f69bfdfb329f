//! A look at the directories of a TIFF file before the decoder reads them: it sets memory aside for as many values as a directory
//! claims, before it knows whether they are there.

use std::path::Path;

use super::binary::{BinaryFile, Record};
use crate::error::{Error, Result};

/// The type of texts, which may be most of a file.
const TEXT: u16 = 2;

/// Checks that the values of all directories fit into the file.
pub(super) fn check(path: &Path) -> Result<()> {
    let mut file = BinaryFile::open(path)?;
    let little = file.record(0, 2, true, "header")?.bytes == b"II";
    let version = file.record(2, 2, little, "header")?.u16(0);
    // BigTIFF counts and points with 64 bits.
    let (wide, start) = (version == 43, if version == 43 { 8 } else { 4 });
    let word: u64 = if wide { 8 } else { 4 };
    let number = |record: &Record, at: usize| {
        if wide {
            record.u64(at)
        } else {
            u64::from(record.u32(at))
        }
    };
    let mut next = number(&file.record(start, word, little, "header")?, 0);
    // A directory takes more than six bytes; more of them than fit run in a circle, which the decoder refuses.
    for directory in 0..file.length / 6 {
        if next == 0 {
            break;
        }
        let place = format!("directory {directory}");
        let width: u64 = if wide { 8 } else { 2 };
        let head = file.record(next, width, little, &place)?;
        let count = if wide {
            head.u64(0)
        } else {
            u64::from(head.u16(0))
        };
        let entry = if wide { 20 } else { 12 };
        let bytes = count.saturating_mul(entry).saturating_add(word);
        let entries = file.record(next.saturating_add(width), bytes, little, &place)?;
        for index in 0..count as usize {
            let at = index * entry as usize;
            let (tag, kind) = (entries.u16(at), entries.u16(at + 2));
            let values = number(&entries, at + 4);
            let held = if kind == TEXT {
                file.length
            } else {
                file.length / 2
            };
            // Eight values are stored in the entry itself, whatever the length of the file.
            if values.saturating_mul(bytes_of(kind)) > held.max(8) {
                return Err(Error::data(
                    path,
                    format!("{place}, tag {tag}"),
                    format!(
                        "{values} values of type {kind} in a file of {} bytes",
                        file.length
                    ),
                    "no more values than the file can hold",
                ));
            }
        }
        next = number(&entries, (count * entry) as usize);
    }
    Ok(())
}

/// Bytes of a value of a type.
fn bytes_of(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 1,
    }
}
