//! Data sets for training: sub-images and their labels in one HDF5 file, streamed and larger than memory.
//!
//! `/subimages (n, 1, y, x)`, `/targets (n, 2)` [pm], `/centres (n, 2)` [Å], `/image (n)`, `/split (n)`, and what is known about the
//! image of each: `/tilts (n, 2)` [mrad], `/thicknesses (n)` [nm], `/levels (n)`; files of older versions lack these. Nothing is
//! compressed: training reads the file again and again in random order, and inflating would cost more than reading.

use std::path::{Path, PathBuf};

use hdf5::{Dataset as DataSet, H5Type};
use ndarray::{Array2, Array4, ArrayView, ArrayView2, ArrayView4, Axis, Dimension, aview1, s};

use super::hdf::{self, Node, Sink};
use super::records;
use crate::error::{Error, Result};
use crate::neighbours::Point;
use crate::provenance::Provenance;

/// Aimed size of a chunk of sub-images [bytes]: small enough that one random sub-image does not drag in megabytes.
const CHUNK_BYTES: usize = 1 << 18;
/// Rows per chunk of the labels.
const LABEL_CHUNK: usize = 4096;
/// What the numbers of `/split` mean, as told in the file.
const SPLIT_CODES: &str = "0 train, 1 validation, 2 test, 3 calibration";

/// Which part of a data set a sub-image belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Seen by training.
    Train,
    /// Watches training, stops it.
    Validation,
    /// Seen only when all is decided.
    Test,
    /// Makes the predicted uncertainty the size of the errors.
    Calibration,
}

impl Split {
    /// All parts, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Train, Self::Validation, Self::Test, Self::Calibration];
}

/// What is known about the image that a sub-image is from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Circumstance {
    /// Mistilt of the specimen `[x, y]` [mrad]; NaN where not known.
    pub tilt_mrad: [f32; 2],
    /// Thickness of the specimen [nm]; NaN where not known.
    pub thickness_nm: f32,
    /// Mean of the image over its standard deviation: what is to be added to a sub-image, so that it counts electrons again, up to a
    /// factor; NaN where not known.
    pub level: f32,
}

impl Default for Circumstance {
    /// Nothing is known.
    fn default() -> Self {
        Self {
            tilt_mrad: [f32::NAN; 2],
            thickness_nm: f32::NAN,
            level: f32::NAN,
        }
    }
}

/// What all sub-images of a data set have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetInfo {
    /// How sub-images were placed: `centred` on columns or on a `grid`.
    pub mode: String,
    /// Side of the window [Å].
    pub window_angstrom: f64,
    /// Pixel size of the sub-images [Å].
    pub sampling_angstrom: f64,
    /// Shape of a sub-image `[rows, cols]` [px].
    pub shape: [usize; 2],
}

/// Sub-images to append, one row of each field per sub-image.
#[derive(Debug, Clone)]
pub struct SubImages<'a> {
    /// Pixels `(n, 1, y, x)`.
    pub subimages: ArrayView4<'a, f32>,
    /// Polar displacements `(n, 2)`, `[dx, dy]` [pm].
    pub targets: ArrayView2<'a, f32>,
    /// Centres `[x, y]` in the image [Å].
    pub centres: &'a [Point],
    /// Number of the image that each came from.
    pub image: &'a [u32],
    /// Part of the data set.
    pub split: &'a [Split],
    /// What is known about their images.
    pub circumstances: &'a [Circumstance],
}

/// Writes a data set piece by piece; it appears when finished.
#[derive(Debug)]
pub struct DatasetWriter {
    subimages: DataSet,
    targets: DataSet,
    centres: DataSet,
    image: DataSet,
    split: DataSet,
    tilts: DataSet,
    thicknesses: DataSet,
    levels: DataSet,
    length: usize,
    shape: [usize; 2],
    // Last, so that a writer given up closes the file after its data sets.
    sink: Sink,
}

impl DatasetWriter {
    /// Starts a data set that will appear as `path`.
    ///
    /// # Errors
    /// The file exists and `force` is not set, or the system refuses.
    pub fn create(path: &Path, info: &DatasetInfo, force: bool) -> Result<Self> {
        let sink = Sink::create(path, force)?;
        let root = sink.root();
        let [rows, cols] = info.shape;
        let bytes = (rows * cols * size_of::<f32>()).max(1);
        root.set_text("kind", "ferrostem dataset")?;
        root.set_text("mode", &info.mode)?;
        root.set_number("window_angstrom", info.window_angstrom)?;
        root.set_number("sampling_angstrom", info.sampling_angstrom)?;
        let subimages = root.create_growing::<f32>(
            "subimages",
            &[1, rows, cols],
            (CHUNK_BYTES / bytes).max(1),
        )?;
        let targets = root.create_growing::<f32>("targets", &[2], LABEL_CHUNK)?;
        root.label(&targets, "units", "pm")?;
        root.label(&targets, "columns", "dx, dy")?;
        let centres = root.create_growing::<f64>("centres", &[2], LABEL_CHUNK)?;
        root.label(&centres, "units", "Å")?;
        root.label(&centres, "columns", "x, y")?;
        let image = root.create_growing::<u32>("image", &[], LABEL_CHUNK)?;
        let split = root.create_growing::<u8>("split", &[], LABEL_CHUNK)?;
        root.label(&split, "codes", SPLIT_CODES)?;
        let tilts = root.create_growing::<f32>("tilts", &[2], LABEL_CHUNK)?;
        root.label(&tilts, "units", "mrad")?;
        let thicknesses = root.create_growing::<f32>("thicknesses", &[], LABEL_CHUNK)?;
        root.label(&thicknesses, "units", "nm")?;
        let levels = root.create_growing::<f32>("levels", &[], LABEL_CHUNK)?;
        root.label(
            &levels,
            "meaning",
            "mean of the image over its standard deviation",
        )?;
        Ok(Self {
            subimages,
            targets,
            centres,
            image,
            split,
            tilts,
            thicknesses,
            levels,
            length: 0,
            shape: info.shape,
            sink,
        })
    }

    /// Appends sub-images.
    ///
    /// # Errors
    /// Shapes disagree, or the system refuses.
    pub fn append(&mut self, rows: &SubImages) -> Result<()> {
        let count = rows.centres.len();
        let (n, channels, height, width) = rows.subimages.dim();
        let counts = [
            n,
            rows.targets.nrows(),
            rows.image.len(),
            rows.split.len(),
            rows.circumstances.len(),
        ];
        if counts != [count; 5]
            || channels != 1
            || [height, width] != self.shape
            || rows.targets.ncols() != 2
        {
            return Err(self.sink.root().wrong(
                "subimages",
                format!(
                    "sub-images {:?}, targets {:?}, {count} centres",
                    rows.subimages.shape(),
                    rows.targets.shape()
                ),
                format!(
                    "({count}, 1, {}, {}) and ({count}, 2)",
                    self.shape[0], self.shape[1]
                ),
            ));
        }
        let root = self.sink.root();
        let centres = ArrayView2::from_shape((count, 2), rows.centres.as_flattened());
        let centres = centres.map_err(Error::compute("shaping centres"))?;
        let codes: Vec<u8> = rows.split.iter().map(|&split| split as u8).collect();
        append(root, "subimages", &self.subimages, rows.subimages.view())?;
        append(root, "targets", &self.targets, rows.targets.view())?;
        append(root, "centres", &self.centres, centres)?;
        append(root, "image", &self.image, aview1(rows.image))?;
        append(root, "split", &self.split, aview1(&codes))?;
        let of = |value: fn(&Circumstance) -> f32| -> Vec<f32> {
            rows.circumstances.iter().map(value).collect()
        };
        let tilts = Array2::from_shape_fn((count, 2), |(n, c)| rows.circumstances[n].tilt_mrad[c]);
        append(root, "tilts", &self.tilts, tilts.view())?;
        let (thicknesses, levels) = (of(|c| c.thickness_nm), of(|c| c.level));
        append(root, "thicknesses", &self.thicknesses, aview1(&thicknesses))?;
        append(root, "levels", &self.levels, aview1(&levels))?;
        self.length += count;
        Ok(())
    }

    /// Number of sub-images so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was appended yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Writes the provenance and makes the file appear.
    ///
    /// # Errors
    /// The system refuses; nothing is left behind then.
    pub fn finish(self, provenance: &Provenance) -> Result<()> {
        records::write_provenance(self.sink.root(), provenance)?;
        // Closing a data set flushes it too, but tells nobody when that fails.
        self.sink.flush()?;
        let Self {
            subimages,
            targets,
            centres,
            image,
            split,
            tilts,
            thicknesses,
            levels,
            sink,
            ..
        } = self;
        drop([subimages, targets, centres, image, split]);
        drop([tilts, thicknesses, levels]);
        sink.finish()
    }
}

/// Appends along the first axis.
fn append<T: H5Type + Clone, D: Dimension>(
    root: &Node,
    name: &str,
    dataset: &DataSet,
    rows: ArrayView<'_, T, D>,
) -> Result<()> {
    let rows = rows.as_standard_layout();
    let mut shape = dataset.shape();
    let start = shape[0];
    shape[0] += rows.shape()[0];
    let mut selection: Vec<hdf5::SliceOrIndex> = vec![(start..shape[0]).into()];
    selection.extend(
        shape[1..]
            .iter()
            .map(|&size| hdf5::SliceOrIndex::from(0..size)),
    );
    dataset
        .resize(shape)
        .and_then(|()| dataset.write_slice(rows.view(), hdf5::Hyperslab::from(selection)))
        .map_err(|error| root.write_error(name, &error))
}

/// A data set opened for reading.
#[derive(Debug)]
pub struct Dataset {
    /// What all sub-images have in common.
    pub info: DatasetInfo,
    path: PathBuf,
    root: Node,
    subimages: DataSet,
    targets: Array2<f32>,
    centres: Vec<Point>,
    image: Vec<u32>,
    split: Vec<Split>,
    circumstances: Vec<Circumstance>,
}

impl Dataset {
    /// Opens a data set; labels are read into memory, sub-images stay in the file.
    ///
    /// # Errors
    /// The file cannot be read, is truncated or corrupt, or is no data set of this program.
    pub fn open(path: &Path) -> Result<Self> {
        let root = hdf::open(path)?;
        let subimages = root.dataset("subimages")?;
        root.check_size("subimages", &subimages)?;
        let &[count, 1, rows, cols] = subimages.shape().as_slice() else {
            return Err(root.wrong(
                "subimages",
                format!("shape {:?}", subimages.shape()),
                "(n, 1, y, x)",
            ));
        };
        let targets = root.read_rows::<f32, 2>("targets")?;
        let centres = root.read_rows::<f64, 2>("centres")?;
        let image = root.read::<u32>("image")?.1;
        let codes = root.read::<u8>("split")?.1;
        let split = codes
            .iter()
            .map(|&code| Split::ALL.get(usize::from(code)).copied())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| root.wrong("split", "an unknown code", SPLIT_CODES))?;
        let circumstances = read_circumstances(&root, count)?;
        let counts = [
            targets.len(),
            centres.len(),
            image.len(),
            split.len(),
            circumstances.len(),
        ];
        if counts != [count; 5] {
            return Err(root.wrong(
                "",
                format!("{counts:?} labels of {count} sub-images"),
                "as many of each",
            ));
        }
        let missing = |name: &str| root.wrong(&format!("@{name}"), "nothing", "an attribute");
        let number = |name: &str| root.number(name).ok_or_else(|| missing(name));
        let info = DatasetInfo {
            mode: root.text("mode").ok_or_else(|| missing("mode"))?,
            window_angstrom: number("window_angstrom")?,
            sampling_angstrom: number("sampling_angstrom")?,
            shape: [rows, cols],
        };
        let flat = targets.as_flattened().to_vec();
        let targets =
            Array2::from_shape_vec((count, 2), flat).map_err(Error::compute("shaping targets"))?;
        Ok(Self {
            info,
            path: path.to_owned(),
            root,
            subimages,
            targets,
            centres,
            image,
            split,
            circumstances,
        })
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of sub-images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.split.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.split.is_empty()
    }

    /// Part of the data set of each sub-image.
    #[must_use]
    pub fn splits(&self) -> &[Split] {
        &self.split
    }

    /// Indices of the sub-images of one part.
    #[must_use]
    pub fn indices(&self, part: Split) -> Vec<usize> {
        (0..self.len())
            .filter(|&index| self.split[index] == part)
            .collect()
    }

    /// Number of the image that each sub-image came from.
    #[must_use]
    pub fn images(&self) -> &[u32] {
        &self.image
    }

    /// Centres `[x, y]` of the sub-images in their images [Å].
    #[must_use]
    pub fn centres(&self) -> &[Point] {
        &self.centres
    }

    /// All targets `(n, 2)`, `[dx, dy]` [pm].
    #[must_use]
    pub fn targets(&self) -> &Array2<f32> {
        &self.targets
    }

    /// What is known about the image of each sub-image.
    #[must_use]
    pub fn circumstances(&self) -> &[Circumstance] {
        &self.circumstances
    }

    /// Where the data set came from.
    ///
    /// # Errors
    /// The file holds no provenance.
    pub fn provenance(&self) -> Result<Provenance> {
        records::read_provenance(&self.root)
    }

    /// Reads sub-images `(indices.len(), 1, y, x)` and their targets `(indices.len(), 2)` [pm], in the order of `indices`.
    ///
    /// # Errors
    /// An index is too large, or the file cannot be read.
    pub fn read(&self, indices: &[usize]) -> Result<(Array4<f32>, Array2<f32>)> {
        if let Some(&index) = indices.iter().find(|&&index| index >= self.len()) {
            return Err(self.root.wrong(
                "subimages",
                format!("index {index}"),
                format!("below {}", self.len()),
            ));
        }
        // In the order of the file, and neighbours in one piece.
        let mut order: Vec<usize> = (0..indices.len()).collect();
        order.sort_by_key(|&place| indices[place]);
        let [rows, cols] = self.info.shape;
        let mut subimages = Array4::zeros((indices.len(), 1, rows, cols));
        for run in order.chunk_by(|&a, &b| indices[b] <= indices[a] + 1) {
            let (first, last) = (indices[run[0]], indices[run[run.len() - 1]]);
            let piece: Array4<f32> = self
                .subimages
                .read_slice(s![first..=last, .., .., ..])
                .map_err(|error| self.root.read_error("subimages", &error))?;
            for &place in run {
                let source = piece.index_axis(Axis(0), indices[place] - first);
                subimages.index_axis_mut(Axis(0), place).assign(&source);
            }
        }
        Ok((subimages, self.targets.select(Axis(0), indices)))
    }
}

/// What is known about the images of `count` sub-images; nothing in files of older versions.
fn read_circumstances(root: &Node, count: usize) -> Result<Vec<Circumstance>> {
    if !(root.has("tilts") && root.has("thicknesses") && root.has("levels")) {
        return Ok(vec![Circumstance::default(); count]);
    }
    let tilts = root.read_rows::<f32, 2>("tilts")?;
    let thicknesses = root.read::<f32>("thicknesses")?.1;
    let levels = root.read::<f32>("levels")?.1;
    if [tilts.len(), thicknesses.len(), levels.len()] != [count; 3] {
        let got = format!(
            "{} tilts, {} thicknesses, {} levels",
            tilts.len(),
            thicknesses.len(),
            levels.len()
        );
        return Err(root.wrong("", got, format!("{count} of each")));
    }
    let each = tilts.into_iter().zip(thicknesses).zip(levels);
    Ok(each
        .map(|((tilt_mrad, thickness_nm), level)| Circumstance {
            tilt_mrad,
            thickness_nm,
            level,
        })
        .collect())
}
