//! Images without structure around them: TIFF, NumPy's `.npy`, PNG.
//!
//! TIFF pages of the largest size are the frames; smaller ones are previews. A pixel size is believed from ImageJ's
//! description (`unit=nm` beside the resolution tag), or from the resolution tags alone where it is too fine for print.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use ndarray::{Array2, Array3, ArrayD, Axis, Ix2, Ix3};
use ndarray_npy::{ReadNpyExt, ReadableElement};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use super::hdf::MAX_COMPRESSION;
use super::micrograph::{Micrograph, single};
use super::pixels::{Pixels, luminance, to_image};
use super::tiff_tags;
use super::units::pixel_size;
use crate::error::{Error, Result};

/// Coarsest pixel that a resolution tag without ImageJ's unit is believed for [Å]; coarser ones are print resolutions.
const COARSEST_PIXEL: f64 = 1000.0;
/// Value of the compression tag of pixels that are not compressed.
const RAW: u32 = 1;
/// Longest header of an `.npy` file that is believed [bytes].
const NPY_HEADER_BYTES: u64 = 65_536;

fn file_length(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path)
        .map_err(Error::io("read", path))?
        .len())
}

fn unreadable(path: &Path, place: &str, error: impl std::fmt::Display) -> Error {
    Error::data(path, place, error.to_string(), "a whole, sound file")
}

/// Opens a TIFF file.
pub(super) fn open_tiff(path: &Path) -> Result<Micrograph> {
    tiff_tags::check(path)?;
    let mut decoder = decoder(path)?;
    let mut sizes = Vec::new();
    loop {
        let place = format!("page {}", sizes.len());
        sizes.push(
            decoder
                .dimensions()
                .map_err(|error| unreadable(path, &place, error))?,
        );
        if !decoder.more_images() {
            break;
        }
        decoder
            .next_image()
            .map_err(|error| unreadable(path, &place, error))?;
    }
    let area = |&(cols, rows): &(u32, u32)| u64::from(cols) * u64::from(rows);
    let largest = sizes.iter().copied().max_by_key(area).unwrap_or_default();
    let pages: Vec<usize> = (0..sizes.len())
        .filter(|&page| sizes[page] == largest)
        .collect();
    decoder
        .seek_to_image(pages[0])
        .map_err(|error| unreadable(path, "first page", error))?;
    let sampling = calibration(&mut decoder);
    let shape = [pages.len(), largest.1 as usize, largest.0 as usize];
    let skipped = sizes.len() - pages.len();
    let micrograph = single(path, "tif", shape, Pixels::Pages(pages));
    // A truncated file must not open well and fail later.
    micrograph
        .pixels
        .frame(path, micrograph.frames - 1, micrograph.shape)?;
    Ok(Micrograph {
        sampling,
        notices: (skipped > 0)
            .then(|| format!("left out {skipped} smaller pages"))
            .into_iter()
            .collect(),
        ..micrograph
    })
}

fn decoder(path: &Path) -> Result<Decoder<BufReader<File>>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let held = file_length(path)?.saturating_mul(MAX_COMPRESSION);
    let held = usize::try_from(held).unwrap_or(usize::MAX);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = held;
    limits.intermediate_buffer_size = held;
    Decoder::new(BufReader::new(file))
        .map(|decoder| decoder.with_limits(limits))
        .map_err(|error| unreadable(path, "header", error))
}

/// Reads one page of a TIFF file.
pub(super) fn tiff_page(path: &Path, page: usize, shape: [usize; 2]) -> Result<Array2<f32>> {
    let place = format!("page {page}");
    let fail = |error| unreadable(path, &place, error);
    let mut decoder = decoder(path)?;
    decoder.seek_to_image(page).map_err(fail)?;
    let colour = decoder.colortype().map_err(fail)?;
    let raw = decoder.get_tag_u32(Tag::Compression).unwrap_or(RAW) == RAW;
    let bits = u64::from(colour.bit_depth()) * u64::from(colour.num_samples());
    let [rows, cols] = shape.map(|size| size as u64);
    let needed = rows.saturating_mul(cols).saturating_mul(bits) / 8;
    if raw && needed > file_length(path)? {
        return Err(Error::data(
            path,
            place,
            format!("{cols} × {rows} px (x × y) of {bits} bits"),
            "no more pixels than the file holds (is it truncated?)",
        ));
    }
    let samples = match decoder.read_image().map_err(fail)? {
        DecodingResult::U8(v) => v.into_iter().map(f64::from).collect(),
        DecodingResult::U16(v) => v.into_iter().map(f64::from).collect(),
        DecodingResult::U32(v) => v.into_iter().map(f64::from).collect(),
        DecodingResult::U64(v) => v.into_iter().map(|v| v as f64).collect(),
        DecodingResult::F16(v) => v.into_iter().map(|v| f64::from(f32::from(v))).collect(),
        DecodingResult::F32(v) => v.into_iter().map(f64::from).collect(),
        DecodingResult::F64(v) => v,
        DecodingResult::I8(v) => v.into_iter().map(f64::from).collect(),
        DecodingResult::I16(v) => v.into_iter().map(f64::from).collect(),
        DecodingResult::I32(v) => v.into_iter().map(f64::from).collect(),
        DecodingResult::I64(v) => v.into_iter().map(|v| v as f64).collect::<Vec<f64>>(),
    };
    let pixels = match colour {
        ColorType::Gray(_) => samples.into_iter().map(|v| v as f32).collect(),
        ColorType::GrayA(_) => samples.chunks_exact(2).map(|p| p[0] as f32).collect(),
        ColorType::RGB(_) => samples
            .as_chunks::<3>()
            .0
            .iter()
            .map(|&p| luminance(p))
            .collect(),
        ColorType::RGBA(_) => samples
            .as_chunks::<4>()
            .0
            .iter()
            .map(|p| luminance([p[0], p[1], p[2]]))
            .collect(),
        other => {
            return Err(Error::data(
                path,
                place,
                format!("{other:?} pixels"),
                "grey or RGB, with or without opacity",
            ));
        }
    };
    to_image(path, shape, pixels)
}

/// Pixel size `[y, x]` [Å] of the current page.
fn calibration(decoder: &mut Decoder<BufReader<File>>) -> Option<[f64; 2]> {
    let per_unit = [Tag::YResolution, Tag::XResolution].map(|tag| resolution(decoder, tag));
    let [y, x] = per_unit.map(|resolution| resolution.filter(|&r| r > 0.0).map(f64::recip));
    let description = decoder
        .get_tag_ascii_string(Tag::ImageDescription)
        .unwrap_or_default();
    let imagej_unit = description
        .lines()
        .filter(|_| description.starts_with("ImageJ="))
        .find_map(|line| line.strip_prefix("unit="));
    if let Some(unit) = imagej_unit {
        return Some([pixel_size(y?, unit)?, pixel_size(x?, unit)?]);
    }
    // Resolution units of the standard: 2 is the inch, 3 the centimetre.
    let metres = match decoder.get_tag_u32(Tag::ResolutionUnit).ok()? {
        2 => 0.0254,
        3 => 0.01,
        _ => return None,
    };
    let sizes = [pixel_size(y? * metres, "m")?, pixel_size(x? * metres, "m")?];
    sizes
        .iter()
        .all(|&size| size <= COARSEST_PIXEL)
        .then_some(sizes)
}

/// Pixels per unit of a resolution tag.
fn resolution(decoder: &mut Decoder<BufReader<File>>, tag: Tag) -> Option<f64> {
    use tiff::decoder::ifd::Value;
    match decoder.find_tag(tag).ok()?? {
        Value::Rational(numerator, denominator) if denominator > 0 => {
            Some(f64::from(numerator) / f64::from(denominator))
        }
        _ => None,
    }
}

/// Opens a PNG file.
pub(super) fn open_png(path: &Path) -> Result<Micrograph> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut reader = image::ImageReader::with_format(BufReader::new(file), image::ImageFormat::Png);
    let held = file_length(path)?.saturating_mul(MAX_COMPRESSION);
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(held);
    reader.limits(limits);
    let decoded = reader
        .decode()
        .map_err(|error| unreadable(path, "image", error))?;
    let shape = [decoded.height() as usize, decoded.width() as usize];
    // 8-bit values stay 0 to 255, 16-bit ones 0 to 65535.
    let pixels = match decoded {
        image::DynamicImage::ImageLuma8(grey) => {
            grey.into_raw().into_iter().map(f32::from).collect()
        }
        image::DynamicImage::ImageLuma16(grey) => {
            grey.into_raw().into_iter().map(f32::from).collect()
        }
        image::DynamicImage::ImageLumaA8(grey) => {
            grey.pixels().map(|p| f32::from(p.0[0])).collect()
        }
        image::DynamicImage::ImageLumaA16(grey) => {
            grey.pixels().map(|p| f32::from(p.0[0])).collect()
        }
        colour @ (image::DynamicImage::ImageRgb16(_) | image::DynamicImage::ImageRgba16(_)) => {
            colour
                .into_rgb16()
                .pixels()
                .map(|p| luminance(p.0.map(f64::from)))
                .collect()
        }
        colour => colour
            .into_rgb8()
            .pixels()
            .map(|p| luminance(p.0.map(f64::from)))
            .collect(),
    };
    let frame = to_image(path, shape, pixels)?.insert_axis(Axis(0));
    Ok(single(
        path,
        "png",
        [1, shape[0], shape[1]],
        Pixels::Held(frame),
    ))
}

/// Opens an `.npy` file: `(y, x)`, `(frame, y, x)`, or colour `(y, x, 3 or 4)` of 8 or 16 bits.
pub(super) fn open_npy(path: &Path) -> Result<Micrograph> {
    let kind = npy_kind(path)?;
    let wrong = |place: &str, got: String, allowed: &str| Error::data(path, place, got, allowed);
    let array = npy_array(path, &kind)?;
    let frames = match array.shape() {
        [_, _, 3 | 4] if kind.ends_with("u1") || kind.ends_with("u2") => colour_to_grey(&array),
        [_, _] => array
            .into_dimensionality::<Ix2>()
            .map_err(|error| unreadable(path, "array", error))?
            .insert_axis(Axis(0)),
        [_, _, _] => array
            .into_dimensionality::<Ix3>()
            .map_err(|error| unreadable(path, "array", error))?,
        other => {
            return Err(wrong(
                "header, shape",
                format!("{other:?}"),
                "(y, x) or (frame, y, x)",
            ));
        }
    };
    let (count, rows, cols) = frames.dim();
    if frames.is_empty() {
        return Err(wrong(
            "header, shape",
            format!("{:?}", frames.shape()),
            "at least one pixel",
        ));
    }
    Ok(single(
        path,
        "npy",
        [count, rows, cols],
        Pixels::Held(frames.as_standard_layout().into_owned()),
    ))
}

/// All numbers of the file, whose type is `kind`.
fn npy_array(path: &Path, kind: &str) -> Result<ArrayD<f32>> {
    match kind.trim_start_matches(['<', '>', '|', '=']) {
        "b1" => npy_values::<bool>(path, |v| f32::from(u8::from(v))),
        "i1" => npy_values::<i8>(path, f32::from),
        "u1" => npy_values::<u8>(path, f32::from),
        "i2" => npy_values::<i16>(path, f32::from),
        "u2" => npy_values::<u16>(path, f32::from),
        "i4" => npy_values::<i32>(path, |v| v as f32),
        "u4" => npy_values::<u32>(path, |v| v as f32),
        "i8" => npy_values::<i64>(path, |v| v as f32),
        "u8" => npy_values::<u64>(path, |v| v as f32),
        "f4" => npy_values::<f32>(path, |v| v),
        "f8" => npy_values::<f64>(path, |v| v as f32),
        _ => Err(Error::data(
            path,
            "header, descr",
            kind,
            "a real type: b1, i1 to i8, u1 to u8, f4, f8",
        )),
    }
}

fn colour_to_grey(array: &ArrayD<f32>) -> Array3<f32> {
    let (rows, cols) = (array.shape()[0], array.shape()[1]);
    Array3::from_shape_fn((1, rows, cols), |(_, row, col)| {
        luminance([0, 1, 2].map(|channel| f64::from(array[[row, col, channel]])))
    })
}

/// The type of the numbers, after a check that the file holds as many as its header tells.
fn npy_kind(path: &Path) -> Result<String> {
    let wrong = |got: String, allowed: &str| Error::data(path, "header", got, allowed);
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let length = file_length(path)?;
    let mut head = [0; 12];
    file.read_exact(&mut head)
        .map_err(|_| wrong(format!("{length} bytes"), "a whole header"))?;
    // Version 1 has 16 bits for the length of the header, later ones 32.
    let declared = match head[6] {
        1 => u64::from(u16::from_le_bytes([head[8], head[9]])),
        _ => u64::from(u32::from_le_bytes([head[8], head[9], head[10], head[11]])),
    };
    if declared > length.min(NPY_HEADER_BYTES) {
        return Err(wrong(
            format!("a header of {declared} bytes"),
            "at most 65536 and not beyond the end of the file",
        ));
    }
    file.seek(SeekFrom::Start(0))
        .map_err(Error::io("read", path))?;
    let header = ndarray_npy::npy::header::Header::from_reader(&mut file)
        .map_err(|error| unreadable(path, "header", error))?;
    let kind = header
        .type_descriptor
        .as_string()
        .cloned()
        .unwrap_or_else(|| header.type_descriptor.to_string());
    let size: u64 = kind
        .chars()
        .last()
        .and_then(|digit| digit.to_digit(10))
        .map_or(1, u64::from);
    let start = file.stream_position().map_err(Error::io("read", path))?;
    let needed = header
        .shape
        .iter()
        .try_fold(size, |product, &n| product.checked_mul(n as u64));
    if needed != Some(length - start) {
        let got = format!(
            "shape {:?} of `{kind}` over {} bytes of data",
            header.shape,
            length - start
        );
        return Err(wrong(
            got,
            "a shape that the data fill (is the file truncated?)",
        ));
    }
    Ok(kind)
}

fn npy_values<T: ReadableElement + Copy>(
    path: &Path,
    convert: impl Fn(T) -> f32,
) -> Result<ArrayD<f32>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let array = ArrayD::<T>::read_npy(BufReader::new(file))
        .map_err(|error| unreadable(path, "array", error))?;
    Ok(array.mapv(convert))
}
