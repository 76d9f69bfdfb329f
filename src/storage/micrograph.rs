//! An image or a stack of images from whatever file a microscopist has.
//!
//! What a file is, its first bytes say, not its name. Sizes that a file claims are checked against the bytes it has before
//! memory is asked for, so that a truncated or corrupt file gives an error with its place.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::pixels::Pixels;
use super::{dm, hdf, hdf_signals, mrc, raster, ser};
use crate::crystal::Truth;
use crate::error::{Error, Result};
use crate::image::Image;

/// A micrograph: one frame or many, read when asked for.
#[derive(Debug, Clone)]
pub struct Micrograph {
    /// The file.
    pub path: PathBuf,
    /// Title from the file, or its name.
    pub title: String,
    /// What kind of file it is: `dm3`, `dm4`, `ser`, `mrc`, `hspy`, `Velox emd`, `NCEM emd`,
    /// `NSID`, `USID`, `hdf5`, `tif`, `npy` or `png`.
    pub format: &'static str,
    /// Number of frames, at least 1.
    pub frames: usize,
    /// Shape of a frame `[rows, cols]` [px].
    pub shape: [usize; 2],
    /// Pixel size along `[y, x]` [Å], if the file is calibrated.
    pub sampling: Option<[f64; 2]>,
    /// True column positions and displacements, in images simulated by this program.
    pub truth: Option<Truth>,
    /// All signals of the file, those that are no images included.
    pub signals: Vec<SignalSummary>,
    /// What the user should know: which signal was chosen among several, a calibration that is no length.
    pub notices: Vec<String>,
    /// Texts along each navigation axis, slowest first; none where frames only count.
    pub(super) navigation: Vec<Vec<String>>,
    pub(super) pixels: Pixels,
}

/// One signal of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalSummary {
    /// What `--signal` calls it: an HDF5 path or the index of a dm image.
    pub name: String,
    /// Title from the file.
    pub title: String,
    /// Shape as stored, slowest axis first.
    pub shape: Vec<usize>,
    /// Whether it is an image or a stack of images of real numbers.
    pub is_image: bool,
}

impl SignalSummary {
    fn line(&self) -> String {
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        format!("{} ({} `{}`)", self.name, shape.join(" × "), self.title)
    }

    /// A notice that says which of several signals was taken.
    pub(super) fn notice(signals: &[Self], chosen: usize) -> String {
        let others: Vec<String> = signals.iter().map(Self::line).collect();
        format!(
            "took signal {}; --signal chooses another of: {}",
            signals[chosen].name,
            others.join(", ")
        )
    }
}

/// The signal that `--signal` names, or the image of highest `rank`; of equal ones the first.
pub(super) fn choose<R: PartialOrd>(
    path: &Path,
    signal: Option<&str>,
    signals: &[SignalSummary],
    rank: impl Fn(usize) -> Option<R>,
) -> Result<usize> {
    let listing = || {
        let lines: Vec<String> = signals.iter().map(SignalSummary::line).collect();
        format!("one of: {}", lines.join(", "))
    };
    if let Some(wanted) = signal {
        return signals
            .iter()
            .position(|signal| is_called(&signal.name, wanted))
            .or_else(|| signals.iter().position(|signal| signal.title == wanted))
            .ok_or_else(|| Error::data(path, "--signal", format!("`{wanted}`"), listing()));
    }
    let mut best: Option<(usize, R)> = None;
    for index in (0..signals.len()).filter(|&index| signals[index].is_image) {
        if let Some(rank) = rank(index)
            && best.as_ref().is_none_or(|(_, highest)| rank > *highest)
        {
            best = Some((index, rank));
        }
    }
    best.map(|(index, _)| index).ok_or_else(|| {
        Error::data(
            path,
            "signals",
            listing(),
            "at least one image of real numbers",
        )
    })
}

/// Whether a signal's full name is meant: exactly, without its outer slashes, by its group, or by the last name of that.
fn is_called(name: &str, wanted: &str) -> bool {
    let (name, wanted) = (name.trim_matches('/'), wanted.trim_matches('/'));
    let group = name
        .strip_suffix("/data")
        .or_else(|| name.strip_suffix("/Data"))
        .unwrap_or(name);
    name == wanted || group == wanted || group.strip_prefix("Experiments/") == Some(wanted)
}

/// A micrograph of one unnamed signal, `shape = [frames, rows, cols]`.
pub(super) fn single(
    path: &Path,
    format: &'static str,
    shape: [usize; 3],
    pixels: Pixels,
) -> Micrograph {
    let [frames, rows, cols] = shape;
    let signal = SignalSummary {
        name: String::new(),
        title: String::new(),
        shape: if frames == 1 {
            vec![rows, cols]
        } else {
            shape.to_vec()
        },
        is_image: true,
    };
    Micrograph {
        path: path.to_owned(),
        title: String::new(),
        format,
        frames,
        shape: [rows, cols],
        sampling: None,
        truth: None,
        signals: vec![signal],
        notices: Vec::new(),
        navigation: Vec::new(),
        pixels,
    }
}

/// Opens a micrograph; `signal` is an HDF5 path or a dm image index where a file holds several.
///
/// # Errors
/// The file cannot be read, is of no known kind, is truncated or corrupt, or holds no image of real numbers.
pub fn open(path: &Path, signal: Option<&str>) -> Result<Micrograph> {
    let mut micrograph = match sniff(path)? {
        Kind::Dm => dm::open(path, signal),
        Kind::Hdf5 => hdf_signals::open(path, signal),
        Kind::Ser => ser::open(path),
        Kind::Mrc => mrc::open(path),
        Kind::Tiff => raster::open_tiff(path),
        Kind::Npy => raster::open_npy(path),
        Kind::Png => raster::open_png(path),
    }?;
    if micrograph.title.is_empty() {
        micrograph.title = path
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    }
    Ok(micrograph)
}

/// Kinds of image files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dm,
    Hdf5,
    Ser,
    Mrc,
    Tiff,
    Npy,
    Png,
}

/// First bytes of the description that TIA writes beside `.ser` files.
const EMI_MAGIC: [u8; 4] = [b'J', b'K', 0, 2];

/// What a file is, from its first bytes.
pub(super) fn sniff(path: &Path) -> Result<Kind> {
    let mut head = Vec::new();
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    file.by_ref()
        .take(mrc::HEADER_BYTES)
        .read_to_end(&mut head)
        .map_err(Error::io("read", path))?;
    match head.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => Ok(Kind::Png),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Kind::Tiff),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Ok(Kind::Npy),
        head if head.starts_with(hdf::MAGIC) => Ok(Kind::Hdf5),
        head if head.starts_with(&ser::MAGIC) => Ok(Kind::Ser),
        // Before dm, whose version may be the width of a narrow image in an MRC file.
        head if mrc::is_header(head) => Ok(Kind::Mrc),
        [0, 0, 0, 3 | 4, ..] => Ok(Kind::Dm),
        head if head.starts_with(&EMI_MAGIC) => Err(Error::data(
            path,
            "byte 0",
            "an .emi file of TIA",
            "the .ser file beside it, which holds the image",
        )),
        [] => Err(Error::data(
            path,
            "byte 0",
            "an empty file",
            "an image file",
        )),
        other => Err(Error::data(
            path,
            "byte 0",
            format!(
                "the bytes {:02x?}, no known image format",
                &other[..other.len().min(8)]
            ),
            "dm3, dm4, ser, mrc, emd, hspy or another HDF5 file, tif, npy, png",
        )),
    }
}

/// Fails at the first pixel that is not finite; `place` says where in the file the image is.
///
/// # Errors
/// The place, row and column of the pixel.
pub fn require_finite(path: &Path, place: &str, image: &Array2<f32>) -> Result<()> {
    let gap = image.indexed_iter().find(|(_, v)| !v.is_finite());
    gap.map_or(Ok(()), |((row, col), value)| {
        Err(Error::data(
            path,
            format!("{place}, row {row}, column {col}"),
            value.to_string(),
            "finite pixels",
        ))
    })
}

impl Micrograph {
    /// Reads frame `index` `(rows, cols)`, in the units of the file.
    ///
    /// # Errors
    /// There is no such frame, it cannot be read, or a pixel is not finite.
    pub fn frame(&self, index: usize) -> Result<Array2<f32>> {
        let frame = self.frame_with_gaps(index)?;
        require_finite(&self.path, &format!("frame {index}"), &frame)?;
        Ok(frame)
    }

    /// The same for whoever can do without some pixels: they may be NaN or infinite.
    ///
    /// # Errors
    /// There is no such frame, or it cannot be read.
    pub fn frame_with_gaps(&self, index: usize) -> Result<Array2<f32>> {
        if index >= self.frames {
            return Err(Error::data(
                &self.path,
                "frames",
                format!("frame {index}"),
                format!("0 to {}", self.frames - 1),
            ));
        }
        self.pixels.frame(&self.path, index, self.shape)
    }

    /// What distinguishes frame `index` from the others, such as `tilt (5, 0) mrad, thickness 10 nm`; empty for a single one.
    #[must_use]
    pub fn label(&self, index: usize) -> String {
        if self.navigation.is_empty() && self.frames > 1 {
            return format!("frame {} of {}", index + 1, self.frames);
        }
        let mut rest = index;
        let mut parts: Vec<&str> = self
            .navigation
            .iter()
            .rev()
            .filter_map(|texts| {
                let text = texts.get(rest % texts.len().max(1));
                rest /= texts.len().max(1);
                text.map(String::as_str)
            })
            .collect();
        parts.reverse();
        parts.join(", ")
    }

    /// Labels of all frames.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        (0..self.frames).map(|index| self.label(index)).collect()
    }

    /// Frame `index` as a calibrated image; `sampling` [Å/px] overrides the file's calibration.
    ///
    /// # Errors
    /// As [`Micrograph::frame`]; or there is no calibration and no override, or the override is not positive.
    pub fn image(&self, index: usize, sampling: Option<f64>) -> Result<Image> {
        Ok(Image {
            sampling: self.pixel_size(sampling)?,
            data: self.frame(index)?,
        })
    }

    /// Pixel size `[y, x]` [Å], that of the file unless `sampling` overrides it.
    pub(super) fn pixel_size(&self, sampling: Option<f64>) -> Result<[f64; 2]> {
        match sampling {
            Some(size) if size.is_finite() && size > 0.0 => Ok([size, size]),
            Some(size) => Err(Error::Setting {
                place: "--sampling".to_owned(),
                got: size.to_string(),
                allowed: "a pixel size above 0 Å".to_owned(),
            }),
            None => self.sampling.ok_or_else(|| {
                Error::data(
                    &self.path,
                    "pixel size",
                    "no calibration",
                    "--sampling Å/px, or sampling_angstrom in a dataset file",
                )
            }),
        }
    }
}
