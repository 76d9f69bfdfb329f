//! Diffraction patterns of a scan (4D-STEM): streamed into an image file block by block, so that they may be larger than
//! memory.
//!
//! `/Experiments/<detector>/data` has the axes (tilt, thickness, y, x, ky, kx), ky and kx in mrad with the beam at 0;
//! navigation axes of length one are left out, as for images. A chunk holds a whole pattern, or neighbours along x where
//! patterns are small, so that one pattern is one read. Chunks are not compressed: HDF5 compresses under its global lock, at a
//! thirtieth of the speed of plain writing, and patterns are the bulk of what is written.

use hdf5::{Hyperslab, SliceOrIndex};
use ndarray::{ArrayView, IxDyn};

use super::hdf::Node;
use super::hspy::{AxisValues, ImageFile, SignalAxis, describe_signal};
use super::units::is_reciprocal;
use crate::error::Result;

/// Size up to which patterns that are neighbours along x share a chunk [bytes].
const CHUNK_BYTES: usize = 1 << 18;

/// The patterns of one pixelated detector, brought block by block.
pub struct PatternStream<'a> {
    /// Name of the detector.
    pub name: String,
    /// Probe positions `[y, x]`.
    pub scan: [usize; 2],
    /// Pixels of a pattern `[ky, kx]`.
    pub shape: [usize; 2],
    /// Angle at the centre of pixel (0, 0), `[ky, kx]` [mrad].
    pub offset_mrad: [f64; 2],
    /// Width of a pixel `[ky, kx]` [mrad].
    pub step_mrad: [f64; 2],
    /// The patterns, in any order; only one block is in memory at a time.
    pub blocks: Box<dyn Iterator<Item = Result<PatternBlock>> + 'a>,
}

/// Patterns of probes that follow each other along the rows of the scan.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternBlock {
    /// Index of the tilt.
    pub tilt: usize,
    /// Index of the thickness.
    pub thickness: usize,
    /// Number of the first probe, counted along the rows of the scan.
    pub first_probe: usize,
    /// Intensities `(probe, ky, kx)`, flat.
    pub values: Vec<f32>,
}

/// Whether a signal of `dimensions` axes holds diffraction patterns: its last axis is an angle or a reciprocal length.
pub(super) fn holds_patterns(signal: &Node, dimensions: usize) -> bool {
    let last = signal.group(&format!("axis-{}", dimensions.saturating_sub(1)));
    let units = last.ok().and_then(|axis| axis.text("units"));
    units.is_some_and(|units| is_reciprocal(&units))
}

/// Writes the patterns of a stream, in the file that `file` describes.
pub(super) fn write_patterns(
    experiments: &Node,
    file: &ImageFile,
    stream: PatternStream<'_>,
) -> Result<()> {
    let node = experiments.create_group(&stream.name)?;
    let axes = axes(file, &stream);
    let sizes = [
        file.tilts_mrad.len(),
        file.thicknesses_nm.len(),
        stream.scan[0],
        stream.scan[1],
        stream.shape[0],
        stream.shape[1],
    ];
    if sizes.contains(&0) {
        return Err(node.wrong("data", format!("shape {sizes:?}"), "at least one of each"));
    }
    let kept: Vec<usize> = (0..sizes.len())
        .filter(|&axis| !axes[axis].navigate || sizes[axis] > 1)
        .collect();
    let bytes = size_of::<f32>() * stream.shape[0] * stream.shape[1];
    let mut chunk = [1; 6];
    chunk[3] = (CHUNK_BYTES / bytes).clamp(1, stream.scan[1]);
    chunk[4..].copy_from_slice(&stream.shape);
    let of_kept = |all: [usize; 6]| -> Vec<usize> { kept.iter().map(|&axis| all[axis]).collect() };
    let dataset = node.create_chunked::<f32>("data", &of_kept(sizes), &of_kept(chunk))?;
    let mut written = 0;
    for block in stream.blocks {
        let block = block?;
        check_block(&node, &block, sizes)?;
        written += write_block(&node, &dataset, &block, sizes, &kept)?;
    }
    let all: usize = sizes[..4].iter().product();
    if written != all {
        let got = format!("{written} patterns");
        return Err(node.wrong("data", got, format!("{all}, each once")));
    }
    let axes: Vec<&SignalAxis> = kept.iter().map(|&axis| &axes[axis]).collect();
    describe_signal(&node, &stream.name, "Intensity", &axes)
}

/// All six axes, slowest first.
fn axes<'a>(file: &'a ImageFile, stream: &PatternStream<'_>) -> [SignalAxis<'a>; 6] {
    let axis = |name, units, values, navigate| SignalAxis {
        name,
        units,
        values,
        navigate,
    };
    let along = |offset: f64, step: f64, size: usize| AxisValues::Uniform(offset, step, size);
    let scan = |i: usize| along(file.offset[i], file.sampling[i], stream.scan[i]);
    let angle = |i: usize| along(stream.offset_mrad[i], stream.step_mrad[i], stream.shape[i]);
    let tilts = along(0.0, 1.0, file.tilts_mrad.len());
    let thicknesses = AxisValues::Listed(&file.thicknesses_nm);
    [
        axis("tilt", "", tilts, true),
        axis("thickness", "nm", thicknesses, true),
        axis("y", "Å", scan(0), true),
        axis("x", "Å", scan(1), true),
        axis("ky", "mrad", angle(0), false),
        axis("kx", "mrad", angle(1), false),
    ]
}

fn check_block(node: &Node, block: &PatternBlock, sizes: [usize; 6]) -> Result<()> {
    let [tilts, thicknesses, rows, cols, ky, kx] = sizes;
    let (pixels, count) = (ky * kx, block.values.len());
    let inside = block.tilt < tilts
        && block.thickness < thicknesses
        && block.first_probe + count / pixels <= rows * cols;
    if inside && count % pixels == 0 {
        return Ok(());
    }
    let got = format!(
        "{count} numbers from probe {}, tilt {}, thickness {}",
        block.first_probe, block.tilt, block.thickness
    );
    Err(node.wrong("data", got, format!("whole patterns inside {sizes:?}")))
}

/// Writes a block, row by row of the scan, and tells how many patterns that were.
fn write_block(
    node: &Node,
    dataset: &hdf5::Dataset,
    block: &PatternBlock,
    sizes: [usize; 6],
    kept: &[usize],
) -> Result<usize> {
    let [.., cols, ky, kx] = sizes;
    let mut rest = block.values.as_slice();
    let mut probe = block.first_probe;
    while !rest.is_empty() {
        let (y, x) = (probe / cols, probe % cols);
        let count = (cols - x).min(rest.len() / (ky * kx));
        let (values, after) = rest.split_at(count * ky * kx);
        let place: [SliceOrIndex; 6] = [
            block.tilt.into(),
            block.thickness.into(),
            y.into(),
            (x..x + count).into(),
            (0..ky).into(),
            (0..kx).into(),
        ];
        let place: Vec<SliceOrIndex> = kept.iter().map(|&axis| place[axis]).collect();
        // A scan of one column has no x axis.
        let shape = if kept.contains(&3) {
            vec![count, ky, kx]
        } else {
            vec![ky, kx]
        };
        ArrayView::from_shape(IxDyn(&shape), values)
            .map_err(|error| node.wrong("data", error.to_string(), "whole patterns"))
            .and_then(|values| {
                dataset
                    .write_slice(values, Hyperslab::from(place))
                    .map_err(|error| node.write_error("data", &error))
            })?;
        probe += count;
        rest = after;
    }
    Ok(probe - block.first_probe)
}
