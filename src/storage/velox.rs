//! Images in `.emd` files of Velox: `/Data/Image/<hash>/Data (y, x, frame)`, with `Metadata (byte, frame)` as JSON in UTF-8.
//!
//! `BinaryResult` of the metadata has the detector and `PixelSize` in units `PixelUnitX` and `PixelUnitY`, numbers written as
//! texts. Frames of a series share the metadata of the first.

use hdf5::{Hyperslab, SliceOrIndex};
use ndarray::Ix1;
use serde::Deserialize;

use super::hdf::Node;
use super::hdf_layout::{LaidOut, Order};
use super::hdf_signals::is_real;
use super::micrograph::SignalSummary;
use crate::error::Result;

/// Where the images are.
pub(super) const IMAGES: &str = "Data/Image";
/// Longest metadata that are read [bytes].
const METADATA_BYTES: usize = 1 << 22;

/// The part of the metadata that is used.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Metadata {
    binary_result: BinaryResult,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct BinaryResult {
    detector: String,
    pixel_size: PixelSize,
    pixel_unit_x: String,
    pixel_unit_y: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PixelSize {
    width: String,
    height: String,
}

/// The images of a file.
pub(super) fn signals(root: &Node) -> Result<Vec<LaidOut>> {
    let images = root.group(IMAGES)?;
    let mut signals = Vec::new();
    for (hash, is_group) in images.children()? {
        if !is_group {
            continue;
        }
        let node = images.group(&hash)?;
        if !node.has("Data") {
            continue;
        }
        let dataset = node.dataset("Data")?;
        let shape = dataset.shape();
        let result = metadata(&node).unwrap_or_default().binary_result;
        let number = |text: &str| text.trim().parse().unwrap_or(0.0);
        signals.push(LaidOut {
            summary: SignalSummary {
                name: node.place("Data"),
                title: result.detector,
                is_image: shape.len() == 3 && !shape.contains(&0) && is_real(&dataset),
                shape,
            },
            order: Order::Axes { y: 0, x: 1 },
            steps: [
                (number(&result.pixel_size.height), result.pixel_unit_y),
                (number(&result.pixel_size.width), result.pixel_unit_x),
            ],
        });
    }
    Ok(signals)
}

/// Metadata of the first frame; none where they are missing or damaged.
fn metadata(node: &Node) -> Option<Metadata> {
    let dataset = node.dataset("Metadata").ok()?;
    node.check_size("Metadata", &dataset).ok()?;
    let &[length, _] = dataset.shape().as_slice() else {
        return None;
    };
    let selection = vec![
        SliceOrIndex::from(0..length.min(METADATA_BYTES)),
        SliceOrIndex::from(0),
    ];
    let bytes = dataset
        .read_slice::<u8, _, Ix1>(Hyperslab::from(selection))
        .ok()?
        .to_vec();
    let text = bytes.split(|&byte| byte == 0).next()?;
    serde_json::from_slice(text).ok()
}
