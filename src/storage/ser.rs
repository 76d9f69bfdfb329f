//! Images and series of them in `.ser` files of FEI's TIA (Emispec).
//!
//! A header tells the number of data elements and where the array of their offsets is; each element has its calibration [m],
//! its kind of number and its size in front of its pixels. Version 0x0210 has offsets of 32 bits, version 0x0220 of 64. The
//! maker does not publish the format; this follows the description by P. Ercius and C. Boothroyd
//! (<https://www.er-c.org/cbb/info/TIAformat/>). Rows are stored from the bottom of the image, as rosettasciio reads them.

use std::path::Path;

use super::binary::BinaryFile;
use super::micrograph::{Micrograph, single};
use super::pixels::{Pixels, PlainPixels, Sample};
use super::units::{mirrored, pixel_size};
use crate::error::{Error, Result};

/// First bytes: the mark of little-endian numbers and the number of the format.
pub(super) const MAGIC: [u8; 4] = [b'I', b'I', 0x97, 0x01];
/// Header before the offset of the offset array.
const HEADER_BYTES: u64 = 22;
/// Calibration, kind of number and size in front of the pixels of an element.
const ELEMENT_BYTES: u64 = 50;
/// Coarsest pixel [Å] that is one of an image: the steps of diffraction patterns, in 1/m, are huge numbers.
const COARSEST_PIXEL: f64 = 1e7;

/// A data element.
struct Element {
    pixels: PlainPixels,
    /// Rows and columns.
    shape: [usize; 2],
    /// Steps along `[y, x]` [m].
    steps: [f64; 2],
}

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<Micrograph> {
    let mut file = BinaryFile::open(path)?;
    let elements = offsets(path, &mut file)?
        .into_iter()
        .enumerate()
        .map(|(index, offset)| element(path, &mut file, index, offset))
        .collect::<Result<Vec<Element>>>()?;
    let [rows, cols] = elements[0].shape;
    if let Some(index) = elements.iter().position(|e| e.shape != [rows, cols]) {
        return Err(Error::data(
            path,
            format!("element {index}, size"),
            format!("{:?} (rows, columns)", elements[index].shape),
            format!("[{rows}, {cols}], that of element 0: a series of equal images"),
        ));
    }
    let steps = elements[0].steps;
    let mut notices = Vec::new();
    if elements.iter().any(|element| element.steps != steps) {
        notices
            .push("the pixel size changes in the series: that of its first image is used".into());
    }
    let [y, x] = steps.map(|step| pixel_size(step, "m").filter(|&size| size < COARSEST_PIXEL));
    let sampling = y.zip(x).map(|(y, x)| [y, x]);
    if sampling.is_none() {
        notices.push(format!(
            "steps of {} and {} are no pixel size in m: a diffraction pattern, not an image?",
            steps[0], steps[1]
        ));
    }
    notices.extend(mirrored(steps));
    let frames = elements.len();
    let pixels = Pixels::Elements(elements.iter().map(|element| element.pixels).collect());
    Ok(Micrograph {
        sampling,
        notices,
        ..single(path, "ser", [frames, rows, cols], pixels)
    })
}

/// Where the data elements are; at least one.
fn offsets(path: &Path, file: &mut BinaryFile) -> Result<Vec<u64>> {
    let wrong =
        |place: &str, got: String, allowed: &str| Err(Error::data(path, place, got, allowed));
    let header = file.record(0, HEADER_BYTES, true, "header")?;
    let width: u64 = match header.u16(4) {
        0x0210 => 4,
        0x0220 => 8,
        other => {
            let got = format!("version {other:#06x}");
            return wrong("byte 4, version", got, "0x0210 or 0x0220");
        }
    };
    match header.u32(6) {
        0x4122 => {}
        0x4120 => {
            return wrong(
                "byte 6, data type",
                "spectra (0x4120)".into(),
                "images (0x4122)",
            );
        }
        other => {
            return wrong(
                "byte 6, data type",
                format!("{other:#x}"),
                "images (0x4122)",
            );
        }
    }
    let (total, valid) = (header.u32(14), header.u32(18));
    let most = file.length / ELEMENT_BYTES;
    if valid == 0 || valid > total || u64::from(valid) > most {
        let got = format!("{valid} images of {total} planned in {} bytes", file.length);
        return wrong(
            "byte 14, number of elements",
            got,
            "at least one, and no more than planned and than the file can hold",
        );
    }
    let place = file.record(HEADER_BYTES, width, true, "header")?;
    let number = |record: &super::binary::Record, at: usize| match width {
        4 => u64::from(record.u32(at)),
        _ => record.u64(at),
    };
    let array = file.record(
        number(&place, 0),
        u64::from(valid) * width,
        true,
        "offset array",
    )?;
    Ok((0..valid as usize)
        .map(|index| number(&array, index * width as usize))
        .collect())
}

/// The element at `offset`, after a check that its pixels are there.
fn element(path: &Path, file: &mut BinaryFile, index: usize, offset: u64) -> Result<Element> {
    let place = format!("element {index}");
    let header = file.record(offset, ELEMENT_BYTES, true, &place)?;
    let sample = match header.u16(40) {
        1 => Sample::U8,
        2 => Sample::U16,
        3 => Sample::U32,
        4 => Sample::I8,
        5 => Sample::I16,
        6 => Sample::I32,
        7 => Sample::F32,
        8 => Sample::F64,
        other => {
            let allowed = "1 to 8, real numbers (9 and 10 are complex)";
            return Err(Error::data(
                path,
                format!("{place}, kind of number"),
                other.to_string(),
                allowed,
            ));
        }
    };
    let (cols, rows) = (header.u32(42), header.u32(46));
    if rows == 0 || cols == 0 {
        let got = format!("{cols} × {rows} px (x × y)");
        return Err(Error::data(
            path,
            format!("{place}, size"),
            got,
            "at least one pixel",
        ));
    }
    let count = u64::from(rows) * u64::from(cols);
    let offset = offset + ELEMENT_BYTES;
    file.expect(
        offset,
        count.saturating_mul(sample.bytes() as u64),
        &format!("{place}, {cols} × {rows} px (x × y)"),
    )?;
    Ok(Element {
        pixels: PlainPixels {
            offset,
            sample,
            little: true,
            from_bottom: true,
        },
        shape: [rows as usize, cols as usize],
        steps: [header.f64(28), header.f64(8)],
    })
}
