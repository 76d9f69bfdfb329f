//! How the frames of a stack lie in a data set: most programs put y and x last, some put frames last, x before y, or all
//! positions on one axis.

use std::path::Path;

use hdf5::{Hyperslab, SliceOrIndex};
use ndarray::{Array2, Ix1, Ix2};

use super::hdf::{self, Node};
use super::micrograph::SignalSummary;
use super::pixels::to_image;
use crate::error::Result;

/// Order of the pixels in a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The axes of y and of x; all others count frames, the last of them fastest.
    Axes {
        /// Index of the axis of y.
        y: usize,
        /// Index of the axis of x.
        x: usize,
    },
    /// `(position, frame)`: positions run through a raster, line by line.
    Positions {
        /// Number of lines, and of positions of a line.
        lines: [usize; 2],
        /// Whether lines are columns of the image.
        transposed: bool,
    },
}

impl Order {
    /// The usual one: `(…, y, x)`.
    pub(super) fn last_two(dimensions: usize) -> Self {
        Self::Axes {
            y: dimensions.saturating_sub(2),
            x: dimensions.saturating_sub(1),
        }
    }

    /// Whether a name is that of the x axis.
    pub(super) fn is_x(name: &str) -> bool {
        name.trim().to_lowercase().starts_with('x')
    }

    /// The axes of y and x by their names: the last two, exchanged where x stands before y.
    pub(super) fn named(names: &[String]) -> Self {
        match names {
            [.., first, second] if Self::is_x(first) && !Self::is_x(second) => Self::Axes {
                y: names.len() - 1,
                x: names.len() - 2,
            },
            _ => Self::last_two(names.len()),
        }
    }

    /// Rows and columns of a frame in a data set of shape `stored`; none if it has no such axes.
    pub(super) fn frame_shape(self, stored: &[usize]) -> Option<[usize; 2]> {
        match self {
            Self::Axes { y, x } if y != x => Some([*stored.get(y)?, *stored.get(x)?]),
            Self::Axes { .. } => None,
            Self::Positions { lines, transposed } => {
                let [slow, fast] = lines;
                let fits = stored.len() == 2 && slow.checked_mul(fast) == Some(stored[0]);
                fits.then_some(if transposed { [fast, slow] } else { lines })
            }
        }
    }

    /// Number of frames in a data set of shape `stored`.
    pub(super) fn frames(self, stored: &[usize]) -> usize {
        match self {
            Self::Axes { y, x } => {
                let others = (0..stored.len()).filter(|&axis| axis != y && axis != x);
                others.fold(1, |count, axis| count.saturating_mul(stored[axis]))
            }
            Self::Positions { .. } => stored.get(1).copied().unwrap_or(0),
        }
    }
}

/// A data set and what the layout of its file says about it.
#[derive(Debug, Clone)]
pub(super) struct LaidOut {
    pub(super) summary: SignalSummary,
    pub(super) order: Order,
    /// Pixel size with its unit along `[y, x]`.
    pub(super) steps: [(f64, String); 2],
}

impl LaidOut {
    /// A data set `(…, y, x)` that nothing else is known about.
    pub(super) fn plain(summary: SignalSummary) -> Self {
        Self {
            order: Order::last_two(summary.shape.len()),
            summary,
            steps: Default::default(),
        }
    }
}

/// Frames in a data set of an HDF5 file.
#[derive(Debug, Clone)]
pub(super) struct StoredFrames {
    /// The data set.
    pub(super) name: String,
    pub(super) order: Order,
}

impl StoredFrames {
    /// Reads frame `index` of `shape` `(rows, cols)`.
    pub(super) fn frame(
        &self,
        path: &Path,
        index: usize,
        shape: [usize; 2],
    ) -> Result<Array2<f32>> {
        let root = hdf::open(path)?;
        let dataset = root.dataset(self.name.trim_start_matches('/'))?;
        let stored = dataset.shape();
        if self.order.frame_shape(&stored) != Some(shape) {
            let got = format!("shape {stored:?}");
            return Err(root.wrong(&self.name, got, format!("frames of {shape:?}")));
        }
        match self.order {
            Order::Axes { y, x } => {
                let selection = plane(&stored, [y, x], index);
                let pixels = dataset
                    .read_slice::<f32, _, Ix2>(selection)
                    .map_err(|error| root.read_error(&self.name, &error))?;
                Ok(if y < x {
                    pixels
                } else {
                    pixels.reversed_axes()
                })
            }
            Order::Positions { lines, transposed } => {
                let selection = vec![SliceOrIndex::from(0..stored[0]), index.into()];
                let pixels = dataset
                    .read_slice::<f32, _, Ix1>(Hyperslab::from(selection))
                    .map_err(|error| root.read_error(&self.name, &error))?;
                let image = to_image(path, lines, pixels.into_raw_vec_and_offset().0)?;
                Ok(if transposed {
                    image.reversed_axes()
                } else {
                    image
                })
            }
        }
    }
}

/// The plane of frame `index` along `axes` of a data set.
fn plane(stored: &[usize], axes: [usize; 2], index: usize) -> Hyperslab {
    let mut rest = index;
    let mut selection = vec![SliceOrIndex::from(0); stored.len()];
    for axis in (0..stored.len()).rev() {
        if axes.contains(&axis) {
            selection[axis] = SliceOrIndex::from(0..stored[axis]);
        } else {
            selection[axis] = (rest % stored[axis].max(1)).into();
            rest /= stored[axis].max(1);
        }
    }
    Hyperslab::from(selection)
}

/// Groups of a file from the root on, down to `depth`; links may form circles, so no more than `most`.
pub(super) fn groups(root: &Node, depth: usize, most: usize) -> Result<Vec<Node>> {
    let mut open = vec![(root.clone(), 0)];
    let mut found = Vec::new();
    while let Some((node, level)) = open.pop() {
        if level < depth {
            let below = node.children()?.into_iter().filter(|(_, group)| *group);
            let below = below
                .map(|(name, _)| Ok((node.group(&name)?, level + 1)))
                .collect::<Result<Vec<_>>>()?;
            open.extend(below.into_iter().rev());
        }
        found.push(node);
        if found.len() == most {
            break;
        }
    }
    Ok(found)
}

/// Step and unit of the axis whose values a data set lists, with its `name` and `units` in attributes.
pub(super) fn axis_step(group: &Node, name: &str) -> Option<(f64, String)> {
    let units = group
        .dataset(name)
        .ok()
        .and_then(|axis| hdf::text_attribute(&axis, "units"))?;
    match group.read::<f64>(name).ok()?.1.as_slice() {
        [first, second, ..] => Some((second - first, units)),
        _ => None,
    }
}
