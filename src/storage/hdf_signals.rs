//! Images inside HDF5 files: HyperSpy's `.hspy` with calibrated axes, ours with navigation and truth, the layouts of Velox, NCEM
//! and pycroscopy, and any data set `(…, y, x)` of a plain file.

use std::path::Path;

use hdf5::types::TypeDescriptor;

use super::hdf::{self, Node};
use super::hdf_layout::{LaidOut, Order, StoredFrames, groups};
use super::micrograph::{Micrograph, SignalSummary, choose};
use super::patterns::holds_patterns;
use super::pixels::Pixels;
use super::units::{is_reciprocal, mirrored, pixel_size};
use super::{ncem, pycroscopy, records, velox};
use crate::error::Result;

/// Deepest nesting of groups that is searched; links may form circles.
pub(super) const MAX_DEPTH: usize = 12;
/// Most data sets that are listed.
pub(super) const MAX_SIGNALS: usize = 1000;
/// HyperSpy's layout.
const HYPERSPY: &str = "hspy";

/// Opens a file; `signal` is the path of a data set or of the group that holds it as `data`, or its title.
pub(super) fn open(path: &Path, signal: Option<&str>) -> Result<Micrograph> {
    let root = hdf::open(path)?;
    let (format, laid_out) = signals(&root)?;
    let summaries = |signals: &[LaidOut]| {
        let summaries = signals.iter().map(|signal| signal.summary.clone());
        summaries.collect::<Vec<SignalSummary>>()
    };
    let pick = |laid_out: Vec<LaidOut>| {
        let signals = summaries(&laid_out);
        let chosen = choose(path, signal, &signals, |index| {
            Some(rank(&root, &laid_out[index]))
        })?;
        Ok((signals, chosen, laid_out[chosen].clone()))
    };
    let picked = pick(laid_out);
    // A name that the layout does not list may be that of any other data set.
    let (signals, chosen, laid_out) = match (picked, signal) {
        (Err(_), Some(_)) if format != HYPERSPY => pick(data_sets(&root)?)?,
        (picked, _) => picked?,
    };
    let images = signals.iter().filter(|signal| signal.is_image).count();
    let notices = if signal.is_none() && images > 1 {
        vec![SignalSummary::notice(&signals, chosen)]
    } else {
        Vec::new()
    };
    let micrograph = micrograph(&root, path, format, &laid_out, signals, notices)?;
    // A file truncated inside its data must not open well and fail later.
    micrograph
        .pixels
        .frame(path, micrograph.frames - 1, micrograph.shape)?;
    Ok(micrograph)
}

/// The layout of a file and its signals.
fn signals(root: &Node) -> Result<(&'static str, Vec<LaidOut>)> {
    if is_hyperspy(root) {
        return Ok((HYPERSPY, experiments(root)?));
    }
    if root.has(velox::IMAGES) {
        return Ok(("Velox emd", velox::signals(root)?));
    }
    let ncem = ncem::signals(root)?;
    if !ncem.is_empty() {
        return Ok(("NCEM emd", ncem));
    }
    let (format, pycroscopy) = pycroscopy::signals(root)?;
    if !pycroscopy.is_empty() {
        return Ok((format, pycroscopy));
    }
    Ok(("hdf5", data_sets(root)?))
}

/// The micrograph of a signal, after a check that the file can hold it.
fn micrograph(
    root: &Node,
    path: &Path,
    format: &'static str,
    laid_out: &LaidOut,
    signals: Vec<SignalSummary>,
    mut notices: Vec<String>,
) -> Result<Micrograph> {
    let SignalSummary {
        name, title, shape, ..
    } = laid_out.summary.clone();
    let (frames, frame) = readable_frames(root, &name, laid_out.order)?;
    let [y, x] = &laid_out.steps;
    notices.extend(mirrored([y.0, x.0]));
    let mut micrograph = Micrograph {
        path: path.to_owned(),
        title,
        format,
        frames,
        shape: frame,
        sampling: pixel_size(y.0, &y.1)
            .zip(pixel_size(x.0, &x.1))
            .map(|(y, x)| [y, x]),
        truth: None,
        signals,
        notices,
        navigation: Vec::new(),
        pixels: Pixels::Stored(StoredFrames {
            name: name.clone(),
            order: laid_out.order,
        }),
    };
    if is_reciprocal(&x.1) {
        micrograph.notices.push(format!(
            "the axes are in {}: a diffraction pattern, not an image?",
            x.1
        ));
    }
    if format == HYPERSPY {
        navigate(root, &name, &shape[..shape.len() - 2], &mut micrograph)?;
    }
    Ok(micrograph)
}

/// Images come before diffraction patterns; most pixels per frame are best; of equal signals the detector that these methods
/// are made for.
fn rank(root: &Node, laid_out: &LaidOut) -> (bool, usize, bool) {
    let signal = &laid_out.summary;
    let group = signal.name.trim_matches('/').trim_end_matches("/data");
    let pattern = root
        .group(group)
        .is_ok_and(|node| holds_patterns(&node, signal.shape.len()));
    let plane = laid_out.order.frame_shape(&signal.shape);
    let area = plane.map_or(0, |[rows, cols]| rows.saturating_mul(cols));
    let is_adf = |text: &str| text.to_lowercase().contains("haadf");
    let adf = is_adf(&signal.name) || is_adf(&signal.title);
    (!pattern, area, adf)
}

/// Number of frames of a data set and their shape, after a check that it holds images.
fn readable_frames(root: &Node, name: &str, order: Order) -> Result<(usize, [usize; 2])> {
    let dataset = root.dataset(name.trim_start_matches('/'))?;
    let shape = dataset.shape();
    if !is_real(&dataset) {
        return Err(root.wrong(name, "numbers that are not real", "integers or floats"));
    }
    root.check_size(name, &dataset)?;
    match order.frame_shape(&shape) {
        Some(frame) if !shape.contains(&0) => Ok((order.frames(&shape), frame)),
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
fn experiments(root: &Node) -> Result<Vec<LaidOut>> {
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
        let step = |from_last: usize| {
            let axis = shape.len().checked_sub(from_last)?;
            let axis = node.group(&format!("axis-{axis}")).ok()?;
            Some((axis.number("scale")?, axis.text("units")?))
        };
        let steps = [2, 1].map(|from_last| step(from_last).unwrap_or_default());
        let summary = SignalSummary {
            name: node.place("data"),
            title,
            is_image: shape.len() >= 2
                && !shape.contains(&0)
                && is_real(&dataset)
                && has_signal_plane(&node, shape.len()),
            shape,
        };
        signals.push(LaidOut {
            steps,
            ..LaidOut::plain(summary)
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
fn data_sets(root: &Node) -> Result<Vec<LaidOut>> {
    let mut signals = Vec::new();
    for node in groups(root, MAX_DEPTH, MAX_SIGNALS)? {
        for (name, is_group) in node.children()? {
            if is_group {
                continue;
            }
            let dataset = node.dataset(&name)?;
            let shape = dataset.shape();
            if shape.len() >= 2 && signals.len() < MAX_SIGNALS {
                signals.push(LaidOut::plain(SignalSummary {
                    name: node.place(&name),
                    title: String::new(),
                    is_image: is_real(&dataset) && !shape.contains(&0),
                    shape,
                }));
            }
        }
    }
    Ok(signals)
}

/// Whether a data set holds real numbers.
pub(super) fn is_real(dataset: &hdf5::Dataset) -> bool {
    let kind = dataset.dtype().and_then(|kind| kind.to_descriptor());
    matches!(
        kind,
        Ok(TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) | TypeDescriptor::Float(_))
    )
}

/// Takes frame labels and truth from a HyperSpy file.
fn navigate(root: &Node, name: &str, leading: &[usize], micrograph: &mut Micrograph) -> Result<()> {
    let signal = root.group(name.trim_start_matches('/').trim_end_matches("/data"))?;
    micrograph.navigation = if root.has("navigation") {
        our_navigation(root, &signal, leading)?
    } else {
        let axis = |index: usize| signal.group(&format!("axis-{index}")).ok();
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
