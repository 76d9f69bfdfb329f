//! Images in Gatan's DigitalMicrograph files (`.dm3`, `.dm4`): what the tags of [`super::dm_tags`] mean.
//!
//! `ImageList` holds the images, among them a small thumbnail that `Thumbnails` points at. An image has `Dimensions` (x
//! first), `DataType` (the maker's number for a kind of pixel), `Data`, and a calibration per dimension: `Scale` in `Units`.

use std::path::Path;

use super::dm_tags::{DataArray, DmFile, Tag};
use super::micrograph::{Micrograph, SignalSummary, choose};
use super::pixels::{Pixels, PlainPixels, Sample};
use super::units::{mirrored, pixel_size};
use crate::error::{Error, Result};

/// One image of the file.
struct DmImage {
    /// Index in `ImageList`.
    index: usize,
    title: String,
    /// Sizes, x first.
    dimensions: Vec<u64>,
    data: DataArray,
    /// Kind of pixel, or the maker's number of a kind that is no real image.
    sample: std::result::Result<Sample, u32>,
    /// Scale and units along x and y.
    calibration: [(f64, String); 2],
}

/// Opens a file; `signal` is the index of an image in the file's list.
pub(super) fn open(path: &Path, signal: Option<&str>) -> Result<Micrograph> {
    let file = DmFile::read(path)?;
    let images = images(&file);
    if images.is_empty() {
        return Err(Error::data(
            path,
            "ImageList",
            "no image",
            "a file with an image",
        ));
    }
    let summaries: Vec<SignalSummary> = images.iter().map(DmImage::summary).collect();
    let thumbnails = thumbnails(&file);
    let is_thumbnail =
        |image: &DmImage| thumbnails.contains(&(image.index as u64)) && images.len() > 1;
    // The image proper is the last one that is not the thumbnail.
    let rank = |index: usize| (!is_thumbnail(&images[index])).then_some(index);
    let chosen = choose(path, signal, &summaries, rank)?;
    let image = &images[chosen];
    let mut notices = Vec::new();
    let others = images.iter().filter(|other| !is_thumbnail(other)).count();
    if signal.is_none() && others > 1 {
        notices.push(SignalSummary::notice(&summaries, chosen));
    }
    micrograph(path, &file, image, summaries, notices)
}

fn micrograph(
    path: &Path,
    file: &DmFile,
    image: &DmImage,
    signals: Vec<SignalSummary>,
    mut notices: Vec<String>,
) -> Result<Micrograph> {
    let (sample, frames, shape) = readable(path, image)?;
    let [x, y] = &image.calibration;
    notices.extend(mirrored([y.0, x.0]));
    Ok(Micrograph {
        path: path.to_owned(),
        title: image.title.clone(),
        format: if file.version == 3 { "dm3" } else { "dm4" },
        frames,
        shape,
        sampling: pixel_size(y.0, &y.1)
            .zip(pixel_size(x.0, &x.1))
            .map(|(y, x)| [y, x]),
        truth: None,
        signals,
        notices,
        navigation: Vec::new(),
        pixels: Pixels::Plain(PlainPixels {
            offset: image.data.offset,
            sample,
            little: file.little,
            from_bottom: false,
        }),
    })
}

/// Kind of pixel, number of frames and their shape `[rows, cols]`, if the data are as long as the sizes tell.
fn readable(path: &Path, image: &DmImage) -> Result<(Sample, usize, [usize; 2])> {
    let place = format!("ImageList/[{}]", image.index);
    let wrong = |what: &str, got: String, allowed: String| {
        Error::data(path, format!("{place}/ImageData/{what}"), got, allowed)
    };
    let sample = image.sample.map_err(|number| {
        wrong(
            "DataType",
            format!("{number}"),
            "a real or colour image, not a complex one".into(),
        )
    })?;
    let [cols, rows, stack @ ..] = image.dimensions.as_slice() else {
        return Err(wrong(
            "Dimensions",
            format!("{} of them", image.dimensions.len()),
            "two or more".into(),
        ));
    };
    let count = image
        .dimensions
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size));
    let needed = count.and_then(|count| count.checked_mul(sample.bytes() as u64));
    let held = image.data.count * image.data.sample.bytes() as u64;
    if needed.is_none_or(|needed| needed == 0 || needed > held) {
        return Err(wrong(
            "Dimensions",
            format!(
                "{:?} pixels of {} bytes over {held} bytes of data",
                image.dimensions,
                sample.bytes()
            ),
            "sizes that the data fill".into(),
        ));
    }
    let frames = stack.iter().product::<u64>() as usize;
    Ok((sample, frames, [*rows as usize, *cols as usize]))
}

impl DmImage {
    fn summary(&self) -> SignalSummary {
        SignalSummary {
            name: self.index.to_string(),
            title: self.title.clone(),
            shape: self
                .dimensions
                .iter()
                .rev()
                .map(|&size| size as usize)
                .collect(),
            is_image: self.sample.is_ok() && self.dimensions.len() >= 2,
        }
    }
}

fn images(file: &DmFile) -> Vec<DmImage> {
    let list = file.root.at("ImageList").map_or(&[][..], Tag::children);
    (0..list.len())
        .filter_map(|index| image(file, index))
        .collect()
}

fn image(file: &DmFile, index: usize) -> Option<DmImage> {
    let place = format!("ImageList/[{index}]");
    let data = format!("{place}/ImageData");
    let Tag::Array(array) = file.root.at(&format!("{data}/Data"))? else {
        return None;
    };
    let dimensions = file.root.at(&format!("{data}/Dimensions"))?.children();
    let dimensions = dimensions
        .iter()
        .map(|(_, size)| match size {
            Tag::Number(size) if *size >= 1.0 => Some(*size as u64),
            _ => None,
        })
        .collect::<Option<Vec<u64>>>()?;
    let calibration = |axis: usize| {
        let place = format!("{data}/Calibrations/Dimension/[{axis}]");
        let scale = file.root.number(&format!("{place}/Scale")).unwrap_or(0.0);
        (
            scale,
            file.text(&format!("{place}/Units")).unwrap_or_default(),
        )
    };
    Some(DmImage {
        index,
        title: file.text(&format!("{place}/Name")).unwrap_or_default(),
        dimensions,
        data: *array,
        sample: sample(file.root.number(&format!("{data}/DataType"))? as u32),
        calibration: [calibration(0), calibration(1)],
    })
}

/// Indices in `ImageList` of the thumbnails.
fn thumbnails(file: &DmFile) -> Vec<u64> {
    let list = file.root.at("Thumbnails").map_or(&[][..], Tag::children);
    list.iter()
        .filter_map(|(_, entry)| entry.number("ImageIndex"))
        .map(|index| index as u64)
        .collect()
}

/// Kind of pixel of the maker's `DataType`.
fn sample(number: u32) -> std::result::Result<Sample, u32> {
    Ok(match number {
        1 => Sample::I16,
        2 => Sample::F32,
        6 => Sample::U8,
        7 => Sample::I32,
        8 | 23 => Sample::Bgra,
        9 => Sample::I8,
        10 => Sample::U16,
        11 => Sample::U32,
        12 => Sample::F64,
        14 => Sample::U8,
        39 => Sample::I64,
        40 => Sample::U64,
        other => return Err(other),
    })
}
