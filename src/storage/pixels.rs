//! Where the pixels of a micrograph are, and how one frame of them is read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use ndarray::{Array2, Array3, Axis, s};

use super::hdf_layout::StoredFrames;
use super::raster;
use crate::error::{Error, Result};

/// Weights of red, green and blue in the luminance (ITU-R BT.709).
const LUMINANCE: [f64; 3] = [0.2126, 0.7152, 0.0722];

/// The frames of a micrograph, in memory or still in the file.
#[derive(Debug, Clone)]
pub(super) enum Pixels {
    /// All frames `(frame, y, x)`.
    Held(Array3<f32>),
    /// Frames one after the other as plain numbers in the file.
    Plain(PlainPixels),
    /// Frames as plain numbers, each at a place of its own.
    Elements(Vec<PlainPixels>),
    /// Pages of a TIFF file, by their index.
    Pages(Vec<usize>),
    /// A data set of an HDF5 file.
    Stored(StoredFrames),
}

/// Plain numbers in a file, row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainPixels {
    /// Byte offset of the first pixel.
    pub(super) offset: u64,
    /// What a pixel is.
    pub(super) sample: Sample,
    /// Whether the numbers are little-endian.
    pub(super) little: bool,
    /// Whether the first row in the file is the lowest of the image.
    pub(super) from_bottom: bool,
}

/// Kind of number that a pixel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sample {
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 16 bits.
    I16,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 64 bits.
    U64,
    /// Floating point, 32 bits.
    F32,
    /// Floating point, 64 bits.
    F64,
    /// Blue, green, red and opacity, 8 bits each.
    Bgra,
}

impl Sample {
    /// Bytes of one pixel.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 | Self::Bgra => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// Reads pixels from bytes; a remainder shorter than a pixel is ignored.
    pub(super) fn decode(self, bytes: &[u8], little: bool) -> Vec<f32> {
        /// One arm per kind of number: its bytes in file order to `f32`.
        macro_rules! numbers {
            ($kind:ty) => {
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&b| {
                        (if little {
                            <$kind>::from_le_bytes(b)
                        } else {
                            <$kind>::from_be_bytes(b)
                        }) as f32
                    })
                    .collect()
            };
        }
        match self {
            Self::I8 => numbers!(i8),
            Self::U8 => numbers!(u8),
            Self::I16 => numbers!(i16),
            Self::U16 => numbers!(u16),
            Self::I32 => numbers!(i32),
            Self::U32 => numbers!(u32),
            Self::I64 => numbers!(i64),
            Self::U64 => numbers!(u64),
            Self::F32 => numbers!(f32),
            Self::F64 => numbers!(f64),
            Self::Bgra => bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&[blue, green, red, _]| luminance([red, green, blue].map(f64::from)))
                .collect(),
        }
    }
}

/// Luminance of a colour, in the units of its components.
pub(super) fn luminance(colour: [f64; 3]) -> f32 {
    let weighted = colour.iter().zip(LUMINANCE).map(|(c, weight)| c * weight);
    weighted.sum::<f64>() as f32
}

impl Pixels {
    /// Reads frame `index` of `shape` `(rows, cols)`.
    pub(super) fn frame(
        &self,
        path: &Path,
        index: usize,
        shape: [usize; 2],
    ) -> Result<Array2<f32>> {
        match self {
            Self::Held(frames) => Ok(frames.index_axis(Axis(0), index).to_owned()),
            Self::Plain(plain) => plain.frame(path, index, shape),
            Self::Elements(elements) => elements[index].frame(path, 0, shape),
            Self::Pages(pages) => raster::tiff_page(path, pages[index], shape),
            Self::Stored(frames) => frames.frame(path, index, shape),
        }
    }
}

impl PlainPixels {
    fn frame(&self, path: &Path, index: usize, shape: [usize; 2]) -> Result<Array2<f32>> {
        let length = shape[0] * shape[1] * self.sample.bytes();
        let offset = self.offset + (index * length) as u64;
        let mut file = File::open(path).map_err(Error::io("read", path))?;
        file.seek(SeekFrom::Start(offset))
            .map_err(Error::io("read", path))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)
            .map_err(Error::io("read", path))?;
        let image = to_image(path, shape, self.sample.decode(&bytes, self.little))?;
        Ok(if self.from_bottom {
            image.slice(s![..;-1, ..]).to_owned()
        } else {
            image
        })
    }
}

/// Shapes pixels into an image.
pub(super) fn to_image(path: &Path, shape: [usize; 2], pixels: Vec<f32>) -> Result<Array2<f32>> {
    let count = pixels.len();
    Array2::from_shape_vec((shape[0], shape[1]), pixels).map_err(|_| {
        Error::data(
            path,
            "pixels",
            format!("{count} of them"),
            format!("{} × {}", shape[0], shape[1]),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_give_the_same_numbers() {
        let little = Sample::F64.decode(&2.5f64.to_le_bytes(), true);
        let big = Sample::F64.decode(&2.5f64.to_be_bytes(), false);
        assert_eq!((little, big), (vec![2.5], vec![2.5]));
        assert_eq!(Sample::I16.decode(&[0xff, 0xfe], false), vec![-2.0]);
        assert_eq!(Sample::U16.decode(&[0xff, 0xfe], true), vec![65279.0]);
    }

    #[test]
    fn grey_in_colour_is_grey() {
        // The weights sum to one; 1e-5 of 255 is the rounding to f32.
        let grey = Sample::Bgra.decode(&[77, 77, 77, 255], true);
        assert!((grey[0] - 77.0).abs() < 3e-3);
        assert!(luminance([0.0, 1.0, 0.0]) > luminance([1.0, 0.0, 1.0]));
    }
}
