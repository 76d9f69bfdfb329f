//! Images and stacks in MRC files: the format of electron cryo-microscopy.
//!
//! A header of 1024 bytes, an extended header that is passed over, then the sections one after the other. The pixel size is the
//! edge of the cell over the number of its intervals (Cheng et al., J. Struct. Biol. **192**, 146 (2015), the MRC2014 format).
//! Classic files have neither the word `MAP ` nor, some of them, a machine stamp: they are known by numbers that fit together.
//! Rows stay in the order of the file, as mrcfile and rosettasciio read them; programs that follow the convention of
//! crystallography show the first row at the bottom.

use std::path::Path;

use super::binary::{BinaryFile, Record};
use super::micrograph::{Micrograph, single};
use super::pixels::{Pixels, PlainPixels, Sample};
use super::units::pixel_size;
use crate::error::{Error, Result};

/// Length of the header.
pub(super) const HEADER_BYTES: u64 = 1024;
/// Places of the words that are used.
const MODE: usize = 12;
const INTERVALS: usize = 28;
const CELL: usize = 40;
const AXES: usize = 64;
const EXTENDED: usize = 92;
const IMOD_STAMP: usize = 152;
const IMOD_FLAGS: usize = 156;
const MAP: usize = 208;
const MACHINE_STAMP: usize = 212;
/// `IMOD` as a number, and its flag for bytes with a sign.
const IMOD: u32 = 1_146_047_817;
const IMOD_SIGNED: u32 = 1;
/// Largest size that is believed where no word says that the file is one of MRC.
const MOST_PIXELS: u32 = 1 << 20;

/// Whether the first bytes of a file are a header of MRC.
pub(super) fn is_header(head: &[u8]) -> bool {
    if head.len() < HEADER_BYTES as usize {
        return false;
    }
    let header = record(head);
    let sizes = [0, 4, 8].map(|at| header.u32(at));
    let sound = sizes.iter().all(|size| (1..MOST_PIXELS).contains(size))
        && matches!(header.u32(MODE), 0..=6 | 12 | 101);
    let mut axes = axes(&header);
    axes.sort_unstable();
    let marked = &head[MAP..MAP + 4] == b"MAP ";
    marked || sound && (stamp(head).is_some() || axes == [1, 2, 3])
}

/// The header with the byte order of its machine stamp or, without one, the order in which its width is the smaller number.
fn record(head: &[u8]) -> Record {
    let mut header = Record {
        bytes: head[..HEADER_BYTES as usize].to_vec(),
        little: true,
    };
    let width = header.u32(0);
    header.little = stamp(head).unwrap_or(width <= width.swap_bytes());
    header
}

/// Whether the machine stamp says little-endian, if it says anything.
fn stamp(head: &[u8]) -> Option<bool> {
    match head[MACHINE_STAMP..MACHINE_STAMP + 2] {
        [0x44, 0x44 | 0x41] => Some(true),
        [0x11, 0x11] => Some(false),
        _ => None,
    }
}

/// Numbers, from 1 for x, of the cell's axes along columns, rows and sections.
fn axes(header: &Record) -> [u32; 3] {
    [0, 4, 8].map(|at| header.u32(AXES + at))
}

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<Micrograph> {
    let mut file = BinaryFile::open(path)?;
    let header = record(&file.record(0, HEADER_BYTES, true, "header")?.bytes);
    let [cols, rows, frames] = [0, 4, 8].map(|at| header.u32(at));
    let sample = sample(path, &header)?;
    let extended = header.u32(EXTENDED);
    let offset = HEADER_BYTES + u64::from(extended);
    let bytes = [rows, frames, sample.bytes() as u32]
        .iter()
        .try_fold(u64::from(cols), |product, &n| {
            product.checked_mul(u64::from(n))
        });
    let place = format!("{frames} sections of {cols} × {rows} px (x × y)");
    if bytes == Some(0) || cols.max(rows).max(frames) > i32::MAX as u32 {
        return Err(Error::data(
            path,
            "byte 0, size",
            place,
            "at least one pixel",
        ));
    }
    file.expect(offset, bytes.unwrap_or(u64::MAX), &place)?;
    let pixels = Pixels::Plain(PlainPixels {
        offset,
        sample,
        little: header.little,
        from_bottom: false,
    });
    let shape = [frames, rows, cols].map(|size| size as usize);
    Ok(Micrograph {
        sampling: sampling(&header),
        ..single(path, "mrc", shape, pixels)
    })
}

/// What a pixel is.
fn sample(path: &Path, header: &Record) -> Result<Sample> {
    let signed = header.u32(IMOD_STAMP) != IMOD || header.u32(IMOD_FLAGS) & IMOD_SIGNED != 0;
    match header.u32(MODE) {
        0 if signed => Ok(Sample::I8),
        0 => Ok(Sample::U8),
        1 => Ok(Sample::I16),
        2 => Ok(Sample::F32),
        6 => Ok(Sample::U16),
        other => Err(Error::data(
            path,
            format!("byte {MODE}, mode"),
            other.to_string(),
            "0, 1, 2 or 6: integers of 8 or 16 bits, floats of 32 (3 and 4 are complex)",
        )),
    }
}

/// Pixel size `[y, x]` [Å].
fn sampling(header: &Record) -> Option<[f64; 2]> {
    let mut axes = axes(header);
    if !axes.iter().all(|axis| (1..=3).contains(axis)) {
        axes = [1, 2, 3];
    }
    let size = |axis: u32| {
        let word = 4 * (axis as usize - 1);
        let intervals = header.u32(INTERVALS + word);
        pixel_size(
            f64::from(header.f32(CELL + word)) / f64::from(intervals),
            "Å",
        )
    };
    Some([size(axes[1])?, size(axes[0])?])
}
