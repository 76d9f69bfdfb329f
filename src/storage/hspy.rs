//! Our images: HDF5 laid out as HyperSpy's `.hspy` (format version 3.3), so that HyperSpy, Atomap, TEMUL and plain h5py open
//! them with calibrated axes; beside them what HyperSpy passes over: specimen, truth, provenance.
//!
//! `/Experiments/<detector>/data` has the axes (tilt, thickness, y, x), and ky, kx behind them for diffraction patterns; a navigation axis of length one is left out, so that a
//! single image is a plain image. `/navigation` always holds the true tilts and thicknesses, since tilts are vectors and
//! HyperSpy's axes are numbers: its tilt axis counts.

use std::path::Path;

use hdf5::Selection;
use ndarray::{Array4, ArrayD, ArrayView, Dimension, IxDyn, aview1};

use super::dataset::Circumstance;
use super::hdf::{self, Node, Sink};
use super::patterns::{self, PatternStream, write_patterns};
use super::records;
use crate::crystal::{Structure, Truth};
use crate::error::{Error, Result};
use crate::provenance::Provenance;

/// Version of HyperSpy's layout that is written.
const LAYOUT_VERSION: &str = "3.3";
/// Largest chunk of image data [bytes]; a frame above it is split by rows (HDF5 allows less than 4 GiB).
const MAX_CHUNK_BYTES: usize = 1 << 26;
/// Deviation of steps, relative to the first, below which an axis counts as uniform: rounding of decimal input.
const UNIFORM_TOLERANCE: f64 = 1e-9;

/// The images of one detector.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorStack {
    /// Name of the detector, such as `haadf`.
    pub name: String,
    /// Images `(tilt, thickness, y, x)`.
    pub data: Array4<f32>,
}

/// A file of simulated images.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageFile {
    /// Images, one stack per detector, all of one shape.
    pub detectors: Vec<DetectorStack>,
    /// Pixel size `[y, x]` [Å].
    pub sampling: [f64; 2],
    /// Where the specimen has the centre of pixel (0, 0), `[y, x]` [Å]; image coordinates count from there.
    pub offset: [f64; 2],
    /// Specimen tilts `[tx, ty]` [mrad].
    pub tilts_mrad: Vec<[f64; 2]>,
    /// Thicknesses [nm].
    pub thicknesses_nm: Vec<f64>,
    /// The specimen.
    pub structure: Structure,
    /// The truth.
    pub truth: Truth,
    /// Where the images came from.
    pub provenance: Provenance,
}

/// An axis as HyperSpy describes it.
pub(super) struct SignalAxis<'a> {
    /// Name.
    pub(super) name: &'a str,
    /// Unit.
    pub(super) units: &'a str,
    /// Values; uniform ones are written as offset and scale.
    pub(super) values: AxisValues<'a>,
    /// Whether the axis counts images rather than pixels.
    pub(super) navigate: bool,
}

/// Values along an axis.
pub(super) enum AxisValues<'a> {
    /// First value, step, number.
    Uniform(f64, f64, usize),
    /// One by one.
    Listed(&'a [f64]),
}

/// Writes images; the file appears whole or not at all.
///
/// # Errors
/// The file exists and `force` is not set, shapes disagree, or the system refuses.
pub fn write_images(path: &Path, file: &ImageFile, force: bool) -> Result<()> {
    write_images_and_patterns(path, file, Vec::new(), force)
}

/// Writes images and diffraction patterns, the latter as they come from their streams; the file appears whole or not at all.
///
/// # Errors
/// As [`write_images`]; a stream fails, or does not bring every pattern once.
pub fn write_images_and_patterns(
    path: &Path,
    file: &ImageFile,
    patterns: Vec<PatternStream<'_>>,
    force: bool,
) -> Result<()> {
    check(path, file, &patterns)?;
    let sink = Sink::create(path, force)?;
    let root = sink.root();
    start_layout(root)?;
    let experiments = root.create_group("Experiments")?;
    for detector in &file.detectors {
        write_detector(&experiments, file, detector)?;
    }
    for stream in patterns {
        write_patterns(&experiments, file, stream)?;
    }
    drop(experiments);
    write_navigation(root, file)?;
    records::write_structure(root, &file.structure)?;
    records::write_truth(root, &file.truth)?;
    records::write_provenance(root, &file.provenance)?;
    sink.finish()
}

fn write_detector(experiments: &Node, file: &ImageFile, detector: &DetectorStack) -> Result<()> {
    let (tilts, _, rows, cols) = detector.data.dim();
    let axis = |name, units, values, navigate| SignalAxis {
        name,
        units,
        values,
        navigate,
    };
    let pixels =
        |axis: usize, size| AxisValues::Uniform(file.offset[axis], file.sampling[axis], size);
    let axes = [
        axis("tilt", "", AxisValues::Uniform(0.0, 1.0, tilts), true),
        axis(
            "thickness",
            "nm",
            AxisValues::Listed(&file.thicknesses_nm),
            true,
        ),
        axis("y", "Å", pixels(0, rows), false),
        axis("x", "Å", pixels(1, cols), false),
    ];
    let kept: Vec<(&SignalAxis, usize)> = axes
        .iter()
        .zip(detector.data.shape().iter().copied())
        .filter(|(axis, size)| !axis.navigate || *size > 1)
        .collect();
    let shape: Vec<usize> = kept.iter().map(|(_, size)| *size).collect();
    let data = detector.data.as_standard_layout();
    let data = data
        .view()
        .into_shape_with_order(IxDyn(&shape))
        .map_err(Error::compute("shaping images"))?;
    let axes: Vec<&SignalAxis> = kept.iter().map(|(axis, _)| *axis).collect();
    write_signal(experiments, &detector.name, "Intensity", data, &axes)
}

fn write_navigation(root: &Node, file: &ImageFile) -> Result<()> {
    let node = root.create_group("navigation")?;
    records::write_rows(&node, "tilts_mrad", &file.tilts_mrad, "mrad")?;
    let thicknesses = node.write("thicknesses_nm", aview1(&file.thicknesses_nm))?;
    node.label(&thicknesses, "units", "nm")
}

fn check(path: &Path, file: &ImageFile, patterns: &[PatternStream<'_>]) -> Result<()> {
    let wrong =
        |place: &str, got: String, allowed: String| Err(Error::data(path, place, got, allowed));
    if file.detectors.is_empty() && patterns.is_empty() {
        return wrong("Experiments", "no detector".into(), "at least one".into());
    }
    let stacks = file.detectors.iter().map(|detector| &detector.name);
    for name in stacks.chain(patterns.iter().map(|stream| &stream.name)) {
        if name.is_empty() || name.contains('/') || name == "." {
            let place = format!("Experiments/{name}");
            let got = "a detector of that name".to_owned();
            return wrong(&place, got, "a name without `/`".into());
        }
    }
    let first = file.detectors.first();
    for detector in &file.detectors {
        let place = format!("Experiments/{}", detector.name);
        let shape = detector.data.shape();
        if first.is_some_and(|first| shape != first.data.shape())
            || shape[..2] != [file.tilts_mrad.len(), file.thicknesses_nm.len()]
            || shape.contains(&0)
        {
            let allowed = format!(
                "({}, {}, y, x), equal for all detectors",
                file.tilts_mrad.len(),
                file.thicknesses_nm.len()
            );
            return wrong(&place, format!("shape {shape:?}"), allowed);
        }
    }
    let truth = &file.truth;
    if truth.b_columns.len() != truth.displacements.len() {
        let got = format!("{} displacements", truth.displacements.len());
        return wrong(
            "truth",
            got,
            format!("one for each of {} B columns", truth.b_columns.len()),
        );
    }
    Ok(())
}

/// Marks a file as HyperSpy's.
pub(super) fn start_layout(root: &Node) -> Result<()> {
    root.set_text("file_format", "HyperSpy")?;
    root.set_text("file_format_version", LAYOUT_VERSION)
}

/// Writes one signal `(…, y, x)` with its axes and the metadata without which HyperSpy does not load it.
pub(super) fn write_signal<D: Dimension>(
    experiments: &Node,
    name: &str,
    quantity: &str,
    data: ArrayView<'_, f32, D>,
    axes: &[&SignalAxis],
) -> Result<()> {
    let node = experiments.create_group(name)?;
    let shape = data.shape();
    let mut chunk = vec![1; shape.len()];
    if let ([.., rows, cols], [.., chunk_rows, chunk_cols]) = (shape, chunk.as_mut_slice()) {
        *chunk_rows = (*rows).min((MAX_CHUNK_BYTES / (cols * size_of::<f32>())).max(1));
        *chunk_cols = *cols;
    }
    node.write_compressed("data", data.view(), &chunk)?;
    describe_signal(&node, name, quantity, axes)
}

/// Writes what HyperSpy wants to know about the signal in `node`.
pub(super) fn describe_signal(
    node: &Node,
    name: &str,
    quantity: &str,
    axes: &[&SignalAxis],
) -> Result<()> {
    for (index, axis) in axes.iter().enumerate() {
        write_axis(node, index, axis)?;
    }
    // An empty package says that no extension of HyperSpy is needed.
    node.set_text("package", "")?;
    node.set_text("package_version", "")?;
    let metadata = node.create_group("metadata")?;
    metadata.create_group("General")?.set_text("title", name)?;
    let signal = metadata.create_group("Signal")?;
    signal.set_text("signal_type", "")?;
    signal.set_text("quantity", quantity)?;
    node.create_group("original_metadata")?;
    Ok(())
}

fn write_axis(node: &Node, index: usize, axis: &SignalAxis) -> Result<()> {
    let group = node.create_group(&format!("axis-{index}"))?;
    group.set_text("name", axis.name)?;
    group.set_text("units", axis.units)?;
    group.set_number("navigate", axis.navigate)?;
    group.set_number("is_binned", false)?;
    let uniform = match axis.values {
        AxisValues::Uniform(offset, scale, size) => Some((offset, scale, size)),
        AxisValues::Listed(values) => uniform(values),
    };
    match (uniform, &axis.values) {
        (None, AxisValues::Listed(values)) => {
            group.set_text("_type", "DataAxis")?;
            group.write("axis", aview1(values))?;
        }
        (uniform, _) => {
            let (offset, scale, size) = uniform.unwrap_or((0.0, 1.0, 0));
            group.set_text("_type", "UniformDataAxis")?;
            group.set_number("offset", offset)?;
            group.set_number("scale", scale)?;
            group.set_number("size", size as i64)?;
        }
    }
    Ok(())
}

/// Offset, scale and size of evenly spaced values.
fn uniform(values: &[f64]) -> Option<(f64, f64, usize)> {
    let &[first, second, ..] = values else {
        return None;
    };
    let step = second - first;
    let even = values
        .windows(2)
        .all(|pair| (pair[1] - pair[0] - step).abs() <= UNIFORM_TOLERANCE * step.abs());
    (even && step != 0.0).then_some((first, step, values.len()))
}

/// Reads a file of ours whole, but for diffraction patterns, which may be larger than memory.
///
/// # Errors
/// It cannot be read, is truncated or corrupt, or was not written by this program.
pub fn read_images(path: &Path) -> Result<ImageFile> {
    let root = hdf::open(path)?;
    let navigation = root.group("navigation")?;
    let tilts_mrad = navigation.read_rows::<f64, 2>("tilts_mrad")?;
    let thicknesses_nm = navigation.read::<f64>("thicknesses_nm")?.1;
    let experiments = root.group("Experiments")?;
    let mut detectors = Vec::new();
    let mut spacing = None;
    for (name, _) in experiments.children()? {
        let node = experiments.group(&name)?;
        let dataset = node.dataset("data")?;
        if patterns::holds_patterns(&node, dataset.ndim()) {
            continue;
        }
        node.check_size("data", &dataset)?;
        let data: ArrayD<f32> = dataset
            .read_slice(Selection::All)
            .map_err(|error| node.read_error("data", &error))?;
        let data = with_navigation(&node, data, tilts_mrad.len(), thicknesses_nm.len())?;
        let last = dataset.ndim();
        let axis = |attribute: &str, index: usize| {
            let axis = node.group(&format!("axis-{index}"))?;
            axis.number(attribute)
                .ok_or_else(|| axis.wrong(&format!("@{attribute}"), "nothing", "a number"))
        };
        spacing = Some((
            [axis("scale", last - 2)?, axis("scale", last - 1)?],
            [axis("offset", last - 2)?, axis("offset", last - 1)?],
        ));
        detectors.push(DetectorStack { name, data });
    }
    let (sampling, offset) =
        spacing.ok_or_else(|| experiments.wrong("", "no signal", "at least one detector"))?;
    Ok(ImageFile {
        detectors,
        sampling,
        offset,
        tilts_mrad,
        thicknesses_nm,
        structure: records::read_structure(&root)?,
        truth: records::read_truth(&root)?,
        provenance: records::read_provenance(&root)?,
    })
}

/// Mistilt and thickness of every frame of an image file, in their order; none of files that are not of this program.
///
/// # Errors
/// The file cannot be read.
pub fn read_circumstances(path: &Path) -> Result<Vec<Circumstance>> {
    let root = hdf::open(path)?;
    if !root.has("navigation") {
        return Ok(Vec::new());
    }
    let navigation = root.group("navigation")?;
    let tilts = navigation.read_rows::<f64, 2>("tilts_mrad")?;
    let thicknesses = navigation.read::<f64>("thicknesses_nm")?.1;
    let frames = tilts
        .iter()
        .flat_map(|tilt| thicknesses.iter().map(move |thickness| (tilt, *thickness)));
    Ok(frames
        .map(|(tilt, thickness)| Circumstance {
            tilt_mrad: tilt.map(|t| t as f32),
            thickness_nm: thickness as f32,
            ..Circumstance::default()
        })
        .collect())
}

/// Gives images their navigation axes of length one back.
fn with_navigation(
    node: &Node,
    data: ArrayD<f32>,
    tilts: usize,
    thicknesses: usize,
) -> Result<Array4<f32>> {
    let found = data.shape().to_vec();
    let wrong = || {
        let allowed =
            format!("(tilt, thickness, y, x) with {tilts} tilts and {thicknesses} thicknesses");
        node.wrong("data", format!("shape {found:?}"), allowed)
    };
    let &[.., rows, cols] = found.as_slice() else {
        return Err(wrong());
    };
    data.into_shape_with_order((tilts, thicknesses, rows, cols))
        .map_err(|_| wrong())
}
