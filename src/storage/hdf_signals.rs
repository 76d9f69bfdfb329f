//! Images inside HDF5 files: HyperSpy's `.hspy` with calibrated axes, ours with navigation and truth, and any data set
//! `(…, y, x)` of a plain file.

use std::path::Path;

use hdf5::types::TypeDescriptor;
use hdf5::{Hyperslab, SliceOrIndex};
use ndarray::{Array2, ArrayD};

use super::hdf::{self, Node};
use super::micrograph::{Micrograph, SignalSummary, choose, counted};
use super::patterns::holds_patterns;
use super::pixels::{Pixels, to_image};
use super::records;
use super::units::{is_reciprocal, pixel_size};
use crate::error::Result;

/// Deepest nesting of groups that is searched; links may form circles.
const MAX_DEPTH: usize = 12;
/// Most data sets that are listed.
const MAX_SIGNALS: usize = 1000;

/// Opens a file; `signal` is the path of a data set or of the group that holds it as `data`.
pub(super) fn open(path: &Path, signal: Option<&str>) -> Result<Micrograph> {
    let root = hdf::open(path)?;
    let hyperspy = is_hyperspy(&root);
    if !hyperspy && signal.is_none() && root.has("Data/Image") {
        return Err(root.wrong(
            "Data/Image",
            "a Velox file",
            "a .dm4, .tif or .hspy export, or --signal with a data set whose last axes are y, x",
        ));
    }
    let signals = if hyperspy {
        experiments(&root)?
    } else {
        data_sets(&root)?
    };
    let chosen = choose(path, signal, &signals, |index| {
        Some(rank(&root, &signals[index]))
    })?;
    let images = signals.iter().filter(|signal| signal.is_image).count();
    let notices = if signal.is_none() && images > 1 {
        vec![SignalSummary::notice(&signals, chosen)]
    } else {
        Vec::new()
    };
    let SignalSummary {
        name, title, shape, ..
    } = signals[chosen].clone();
    let frames = readable_frames(&root, &name)?;
    let mut micrograph = Micrograph {
        path: path.to_owned(),
        title,
        format: if hyperspy { "hspy" } else { "hdf5" },
        frames,
        shape: [shape[shape.len() - 2], shape[shape.len() - 1]],
        sampling: None,
        truth: None,
        signals,
        notices,
        navigation: counted(frames),
        pixels: Pixels::DataSet(name.clone()),
    };
    if hyperspy {
        calibrate(&root, &name, &shape[..shape.len() - 2], &mut micrograph)?;
    }
    // A file truncated inside its data must not open well and fail later.
    micrograph
        .pixels
        .frame(path, frames - 1, micrograph.shape)?;
    Ok(micrograph)
}

/// Images come before diffraction patterns; most pixels per frame are best; of equal signals the detector that these methods
/// are made for.
fn rank(root: &Node, signal: &SignalSummary) -> (bool, usize, bool) {
    let group = signal.name.trim_matches('/').trim_end_matches("/data");
    let pattern = root
        .group(group)
        .is_ok_and(|node| holds_patterns(&node, signal.shape.len()));
    let plane = signal.shape.iter().rev().take(2);
    let area = plane.fold(1usize, |area, &size| area.saturating_mul(size));
    let adf = signal.name.to_lowercase().contains("haadf");
    (!pattern, area, adf)
}

/// Number of frames of a data set, after a check that it holds images.
fn readable_frames(root: &Node, name: &str) -> Result<usize> {
    let dataset = root.dataset(name.trim_start_matches('/'))?;
    let shape = dataset.shape();
    if !is_real(&dataset) {
        return Err(root.wrong(name, "numbers that are not real", "integers or floats"));
    }
    root.check_size(name, &dataset)?;
    match shape.as_slice() {
        [leading @ .., _, _] if !shape.contains(&0) => Ok(leading.iter().product()),
        _ => Err(root.wrong(
            name,
            format!("shape {shape:?}"),
            "(…, y, x) with at least one pixel",
        )),
    }
}

/// Whether a file says that it is HyperSpy's.
pub(super) fn is_hyperspy(root: &Node) -> bool {
    root.has("Experiments")
        && root
            .text("file_format")
            .is_some_and(|format| format.eq_ignore_ascii_case("hyperspy"))
}

/// Signals of a HyperSpy file.
fn experiments(root: &Node) -> Result<Vec<SignalSummary>> {
    let experiments = root.group("Experiments")?;
    let mut signals = Vec::new();
    for (name, is_group) in experiments.children()? {
        if !is_group {
            continue;
        }
        let node = experiments.group(&name)?;
        let dataset = node.dataset("data")?;
        let shape = dataset.shape();
        let title = node
            .group("metadata/General")
            .ok()
            .and_then(|general| general.text("title"))
            .unwrap_or_else(|| name.clone());
        signals.push(SignalSummary {
            name: node.place("data"),
            title,
            is_image: shape.len() >= 2
                && !shape.contains(&0)
                && is_real(&dataset)
                && has_signal_plane(&node, shape.len()),
            shape,
        });
    }
    Ok(signals)
}

/// Whether the last two axes are of one image: spectra have a single signal axis below navigation axes.
fn has_signal_plane(node: &Node, dimensions: usize) -> bool {
    let navigates = |axis: usize| {
        node.group(&format!("axis-{axis}"))
            .ok()
            .and_then(|axis| axis.flag("navigate"))
    };
    dimensions == 2 || navigates(dimensions - 2) != Some(true)
}

/// All data sets of a plain file that have two axes or more.
fn data_sets(root: &Node) -> Result<Vec<SignalSummary>> {
    let mut signals = Vec::new();
    let mut open = vec![(root.clone(), 0)];
    while let Some((node, depth)) = open.pop() {
        let mut below = Vec::new();
        for (name, is_group) in node.children()? {
            if is_group {
                below.push((node.group(&name)?, depth + 1));
                continue;
            }
            let dataset = node.dataset(&name)?;
            let shape = dataset.shape();
            if shape.len() >= 2 && signals.len() < MAX_SIGNALS {
                signals.push(SignalSummary {
                    name: node.place(&name),
                    title: String::new(),
                    is_image: is_real(&dataset) && !shape.contains(&0),
                    shape,
                });
            }
        }
        if depth < MAX_DEPTH && signals.len() < MAX_SIGNALS {
            open.extend(below.into_iter().rev());
        }
    }
    Ok(signals)
}

fn is_real(dataset: &hdf5::Dataset) -> bool {
    let kind = dataset.dtype().and_then(|kind| kind.to_descriptor());
    matches!(
        kind,
        Ok(TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) | TypeDescriptor::Float(_))
    )
}

/// Takes sampling, frame labels and truth from a HyperSpy file.
fn calibrate(
    root: &Node,
    name: &str,
    leading: &[usize],
    micrograph: &mut Micrograph,
) -> Result<()> {
    let signal = root.group(name.trim_start_matches('/').trim_end_matches("/data"))?;
    let axis = |index: usize| signal.group(&format!("axis-{index}")).ok();
    let size = |index: usize| {
        let axis = axis(index)?;
        let (scale, units) = (axis.number("scale")?, axis.text("units")?);
        pixel_size(scale, &units)
    };
    let dimensions = leading.len() + 2;
    micrograph.sampling = size(dimensions - 2)
        .zip(size(dimensions - 1))
        .map(|(y, x)| [y, x]);
    if let Some(units) = axis(dimensions - 1).and_then(|axis| axis.text("units"))
        && is_reciprocal(&units)
    {
        micrograph.notices.push(format!(
            "the axes are in {units}: a diffraction pattern, not an image?"
        ));
    }
    micrograph.navigation = if root.has("navigation") {
        our_navigation(root, &signal, leading)?
    } else {
        (0..leading.len())
            .map(|index| axis_texts(axis(index).as_ref(), index, leading[index]))
            .collect()
    };
    if root.has("truth") {
        micrograph.truth = Some(records::read_truth(root)?);
    }
    Ok(())
}

/// Tilts and thicknesses of our own files, as texts, and the probe positions of diffraction patterns.
fn our_navigation(root: &Node, signal: &Node, leading: &[usize]) -> Result<Vec<Vec<String>>> {
    let node = root.group("navigation")?;
    let tilts: Vec<String> = node
        .read_rows::<f64, 2>("tilts_mrad")?
        .iter()
        .map(|[x, y]| format!("tilt ({x}, {y}) mrad"))
        .collect();
    let thicknesses: Vec<String> = node
        .read::<f64>("thicknesses_nm")?
        .1
        .iter()
        .map(|thickness| format!("thickness {} nm", (thickness * 1e4).round() / 1e4))
        .collect();
    let kept = [tilts.len(), thicknesses.len()];
    let kept = kept.iter().filter(|&&count| count > 1).count();
    let scan = leading.iter().enumerate().skip(kept);
    let scan = scan.map(|(index, &size)| {
        let axis = signal.group(&format!("axis-{index}")).ok();
        axis_texts(axis.as_ref(), index, size)
    });
    let scan: Vec<Vec<String>> = scan.collect();
    let probes: usize = scan.iter().map(Vec::len).product();
    let frames = tilts.len().checked_mul(thicknesses.len());
    if frames.and_then(|frames| frames.checked_mul(probes)) != Some(leading.iter().product()) {
        let got = format!(
            "{} tilts, {} thicknesses for images {leading:?}",
            tilts.len(),
            thicknesses.len()
        );
        return Err(node.wrong("", got, "one frame for each of both"));
    }
    Ok([vec![tilts, thicknesses], scan].concat())
}

/// Texts along a navigation axis of somebody else's file.
fn axis_texts(axis: Option<&Node>, index: usize, size: usize) -> Vec<String> {
    let word = |name: &str| {
        axis.and_then(|axis| axis.text(name))
            .filter(|text| text != "_None_")
    };
    let number = |name: &str| axis.and_then(|axis| axis.number(name));
    let name = word("name").unwrap_or_else(|| format!("axis {index}"));
    let units = word("units").filter(|units| !units.is_empty());
    let unit = units.map_or_else(String::new, |units| format!(" {units}"));
    let listed = axis
        .and_then(|axis| axis.read::<f64>("axis").ok())
        .map(|(_, values)| values);
    let (offset, scale) = (
        number("offset").unwrap_or(0.0),
        number("scale").unwrap_or(1.0),
    );
    (0..size)
        .map(|step| {
            let value = listed
                .as_ref()
                .and_then(|values| values.get(step).copied())
                .unwrap_or(offset + scale * step as f64);
            // Ten digits hide the rounding of offset + scale × step.
            let value = format!("{value:.9e}").parse().unwrap_or(value);
            format!("{name} {value}{unit}")
        })
        .collect()
}

/// Reads frame `index` of the data set `name`, whose last two axes have `shape`.
pub(super) fn frame(
    path: &Path,
    name: &str,
    index: usize,
    shape: [usize; 2],
) -> Result<Array2<f32>> {
    let root = hdf::open(path)?;
    let dataset = root.dataset(name.trim_start_matches('/'))?;
    let stored = dataset.shape();
    let [leading @ .., _, _] = stored.as_slice() else {
        return Err(root.wrong(name, format!("shape {stored:?}"), "two axes or more"));
    };
    let mut rest = index;
    let mut selection: Vec<SliceOrIndex> = Vec::new();
    for &size in leading.iter().rev() {
        selection.push((rest % size.max(1)).into());
        rest /= size.max(1);
    }
    selection.reverse();
    selection.extend(shape.map(|size| SliceOrIndex::from(0..size)));
    let pixels: ArrayD<f32> = dataset
        .read_slice(Hyperslab::from(selection))
        .map_err(|error| root.read_error(name, &error))?;
    to_image(path, shape, pixels.into_raw_vec_and_offset().0)
}
