//! Rigid registration of the frames of a stack, and their average.
//!
//! The specimen drifts between quick scans of one field; their average has the dose of all and the distortion of none, once each
//! frame is moved back. Shifts are places of the maximum of the cross-correlation of two frames. Of a crystal it has a maximum
//! at each lattice vector, so a single pair may be wrong by a cell. Following Savitzky et al., Ultramicroscopy **191**, 56 (2018)
//! every pair is measured; R_ij must be R_ik + R_kj for each third frame k, and a pair at odds with the median over k is replaced
//! by it; the shift of frame i is the mean of R_ij over j.
//!
//! Two passes keep to the right cell and leave no bias. The first adds up the shifts of successive frames, which are small. The
//! second cuts windows that follow these shifts, so that all pairs differ by less than a pixel: the taper of the window, which
//! stays where it is while the specimen moves, then pulls no maximum aside.

mod correlation;
mod interpolation;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, s};

use crate::error::{Error, Result};
use correlation::{Correlator, Pair};
pub use interpolation::shifted;

/// Smallest window that is compared [px].
const LEAST_WINDOW: usize = 16;
/// Least part of a frame's edge that all frames must share.
const LEAST_COMMON: f64 = 0.25;

/// How frames are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegistrationSettings {
    /// Edge of the central window that is compared, at most [px].
    pub window_px: usize,
    /// Finest wave that is compared [px]; finer ones are noise.
    pub finest_px: f64,
    /// Deviation from the other pairs at which one is taken as mistaken [px].
    pub inconsistent_px: f64,
}

impl Default for RegistrationSettings {
    fn default() -> Self {
        Self {
            window_px: 1024,
            finest_px: 4.0,
            inconsistent_px: 1.0,
        }
    }
}

/// Where the frames of a stack show the same thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Shift of each frame against the first `[y, x]` [px]: what frame 0 shows at r, frame i shows at r + shifts\[i\].
    pub shifts: Vec<[f64; 2]>,
    /// Pairs of frames.
    pub pairs: usize,
    /// Pairs that the others contradicted.
    pub contradicted: usize,
}

/// Measures the shifts of `count` frames of `shape` `[rows, cols]`, which `read` gives.
///
/// # Errors
/// A frame cannot be read, shows nothing in common with the others, or has drifted out of their field; most pairs of frames
/// contradict each other.
pub fn register(
    count: usize,
    shape: [usize; 2],
    read: impl Fn(usize) -> Result<Array2<f32>>,
    settings: &RegistrationSettings,
) -> Result<Registration> {
    let path = successive(count, shape, &read, settings)?;
    let starts: Vec<[i64; 2]> = path
        .iter()
        .map(|shift| shift.map(|component| component.round() as i64))
        .collect();
    let common = common_area(&path, shape)?;
    let correlator = Correlator::new(window(common.map(|c| c[1] - c[0]), settings), settings);
    let spectra = (0..count)
        .map(|index| {
            let frame = read(index)?;
            let corner = [0, 1].map(|axis| {
                let middle = (common[axis][0] + common[axis][1] - correlator.shape[axis]) / 2;
                // Inside the frame: the common area is, for every frame.
                let last = shape[axis] - correlator.shape[axis];
                (middle as i64 + starts[index][axis]).clamp(0, last as i64) as usize
            });
            Ok((
                correlator.spectrum(&cut(&frame, corner, correlator.shape)),
                corner,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    let pairs: Vec<(usize, usize)> = (0..count)
        .flat_map(|i| (i + 1..count).map(move |j| (i, j)))
        .collect();
    let measured: Vec<Pair> = pairs
        .par_iter()
        .map(|&(i, j)| {
            let residual = correlator.shift(&spectra[j].0, &spectra[i].0)?;
            // The windows are cut at different corners.
            let [to, from] = [spectra[j].1, spectra[i].1];
            Some([0, 1].map(|axis| residual[axis] + to[axis] as f64 - from[axis] as f64))
        })
        .collect();
    consistent(count, &pairs, &measured, settings)
}

/// The average of frames that are moved by `shifts`, over the area that all share; and where it begins in frame 0 `[y, x]` [px].
///
/// # Errors
/// A frame cannot be read, or all share no quarter of the field's edges.
pub fn average(
    shape: [usize; 2],
    shifts: &[[f64; 2]],
    read: impl Fn(usize) -> Result<Array2<f32>>,
) -> Result<(Array2<f32>, [usize; 2])> {
    let [rows, cols] = common_area(shifts, shape)?;
    let mut sum = Array2::<f64>::zeros((rows[1] - rows[0], cols[1] - cols[0]));
    for (index, &shift) in shifts.iter().enumerate() {
        sum += &shifted(&read(index)?, shift, [rows, cols]);
    }
    let scale = 1.0 / shifts.len() as f64;
    Ok((sum.mapv(|v| (v * scale) as f32), [rows[0], cols[0]]))
}

/// Sums of the shifts from frame to frame.
fn successive(
    count: usize,
    shape: [usize; 2],
    read: &impl Fn(usize) -> Result<Array2<f32>>,
    settings: &RegistrationSettings,
) -> Result<Vec<[f64; 2]>> {
    let correlator = Correlator::new(window(shape, settings), settings);
    let corner = [0, 1].map(|axis| (shape[axis] - correlator.shape[axis]) / 2);
    let mut path = vec![[0.0; 2]];
    let mut last: Option<Array2<_>> = None;
    for index in 0..count {
        let spectrum = correlator.spectrum(&cut(&read(index)?, corner, correlator.shape));
        if let Some(last) = &last {
            let step = correlator
                .shift(&spectrum, last)
                .ok_or_else(|| featureless(index))?;
            let [y, x] = path[index - 1];
            path.push([y + step[0], x + step[1]]);
        }
        last = Some(spectrum);
    }
    Ok(path)
}

fn featureless(index: usize) -> Error {
    Error::unmeasurable(
        "alignment of the stack",
        format!("frame {index}, which shows nothing that its neighbours show"),
        "frames of one field, or --average without --align",
    )
}

/// Shape of the window that is compared.
fn window(shape: [usize; 2], settings: &RegistrationSettings) -> [usize; 2] {
    shape.map(|size| size.min(settings.window_px.max(LEAST_WINDOW)))
}

fn cut(frame: &Array2<f32>, corner: [usize; 2], shape: [usize; 2]) -> Array2<f64> {
    let [y, x] = corner;
    frame
        .slice(s![y..y + shape[0], x..x + shape[1]])
        .mapv(f64::from)
}

/// First and last but one row, and column, of frame 0 that all frames show.
fn common_area(shifts: &[[f64; 2]], shape: [usize; 2]) -> Result<[[usize; 2]; 2]> {
    let along = |axis: usize| {
        let components = || shifts.iter().map(|shift| shift[axis]);
        let lowest = components().fold(0.0, f64::min);
        let highest = components().fold(0.0, f64::max);
        let last = (shape[axis] as f64 - 1.0 - highest).floor();
        let first = (-lowest).ceil();
        (last - first + 1.0 >= (LEAST_COMMON * shape[axis] as f64).max(1.0))
            .then_some([first as usize, last as usize + 1])
    };
    match (along(0), along(1)) {
        (Some(rows), Some(cols)) => Ok([rows, cols]),
        _ => Err(Error::unmeasurable(
            "alignment of the stack",
            "a drift by more than three quarters of the field",
            "frames that share more; choose one with --frame N",
        )),
    }
}

/// Shifts against frame 0 from those of all pairs, `measured[n]` that of the second of `pairs[n]` against the first.
fn consistent(
    count: usize,
    pairs: &[(usize, usize)],
    measured: &[Pair],
    settings: &RegistrationSettings,
) -> Result<Registration> {
    let mut table = Array2::<Pair>::from_elem((count, count), None);
    for frame in 0..count {
        table[(frame, frame)] = Some([0.0; 2]);
    }
    for (&(i, j), pair) in pairs.iter().zip(measured) {
        table[(i, j)] = *pair;
        table[(j, i)] = pair.map(|[y, x]| [-y, -x]);
    }
    let mended = Array2::from_shape_fn((count, count), |(i, j)| through_others(&table, i, j));
    let mut contradicted = 0;
    for &(i, j) in pairs {
        let others = mended[(i, j)].ok_or_else(|| featureless(j))?;
        let agrees = table[(i, j)].is_some_and(|pair| {
            (pair[0] - others[0]).hypot(pair[1] - others[1]) <= settings.inconsistent_px
        });
        if !agrees {
            contradicted += 1;
            table[(i, j)] = Some(others);
            table[(j, i)] = Some(others.map(|component| -component));
        }
    }
    if 2 * contradicted > pairs.len() {
        return Err(Error::unmeasurable(
            "alignment of the stack",
            format!(
                "{contradicted} of {} pairs of frames that the others contradict",
                pairs.len()
            ),
            "frames that show the same field; choose one with --frame N",
        ));
    }
    let shift = |frame: usize, axis: usize| {
        let sum: f64 = (0..count)
            .filter_map(|other| table[(other, frame)])
            .map(|pair| pair[axis])
            .sum();
        sum / count as f64
    };
    let shifts = (0..count)
        .map(|frame| [0, 1].map(|axis| shift(frame, axis) - shift(0, axis)))
        .collect();
    Ok(Registration {
        shifts,
        pairs: pairs.len(),
        contradicted,
    })
}

/// The median of the ways from frame `i` to frame `j` over each third one, and of the direct one.
fn through_others(table: &Array2<Pair>, i: usize, j: usize) -> Pair {
    let ways: Vec<[f64; 2]> = (0..table.nrows())
        .filter(|&k| k != i)
        .filter_map(|k| {
            // Over k = j it is the direct way.
            let (first, second) = (table[(i, k)]?, table[(k, j)]?);
            Some([first[0] + second[0], first[1] + second[1]])
        })
        .collect();
    if ways.is_empty() {
        return None;
    }
    Some([0, 1].map(|axis| {
        let mut components: Vec<f64> = ways.iter().map(|way| way[axis]).collect();
        components.sort_by(f64::total_cmp);
        let middle = components.len() / 2;
        0.5 * (components[middle] + components[(components.len() - 1) / 2])
    }))
}

#[cfg(test)]
mod tests;
