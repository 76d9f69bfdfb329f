//! Where samples come from: memory, a file that is larger than memory, or a source that draws new ones for every epoch.
//!
//! A training asks for the samples of an epoch in its own shuffled order, piece by piece, and no piece is larger than the supply allows.
//! The order does not depend on the pieces, so the same samples give the same network whether they are held or read again and again.
//! A file is read in the order of the file within a piece; nothing in it is compressed.

use ndarray::{Array2, Array4, Axis, concatenate};

use super::resampling::{Taps, apply};
use super::samples::Samples;
use super::settings::{Auxiliary, SubimageSettings};
use crate::error::{Error, Result};
use crate::storage::dataset::Dataset;

/// Samples that are copied out of memory at once.
const HELD_AT_ONCE: usize = 4096;

/// Which pass over the samples it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Network of the ensemble.
    pub network: usize,
    /// Epoch, from 0.
    pub epoch: usize,
}

/// Samples of a training.
pub trait Supply: Sync {
    /// Samples of one pass.
    fn count(&self) -> usize;

    /// Most samples that may be asked for at once.
    fn at_once(&self) -> usize;

    /// Samples number `rows` of a pass, in that order.
    ///
    /// # Errors
    /// They cannot be read or drawn.
    fn read(&self, pass: Pass, rows: &[usize]) -> Result<Samples>;
}

impl Supply for Samples {
    fn count(&self) -> usize {
        Samples::count(self)
    }

    fn at_once(&self) -> usize {
        HELD_AT_ONCE
    }

    fn read(&self, _: Pass, rows: &[usize]) -> Result<Samples> {
        Ok(self.select(rows))
    }
}

/// Samples in a file, read when they are asked for.
#[derive(Debug)]
pub struct Filed<'a> {
    dataset: &'a Dataset,
    /// Which of the file's sub-images.
    rows: Vec<usize>,
    at_once: usize,
    auxiliary: Vec<Auxiliary>,
}

impl<'a> Filed<'a> {
    /// The sub-images `rows` of `dataset`, at most `bytes` of them in memory at once, labels as `auxiliary` asks for.
    ///
    /// # Errors
    /// The dataset does not say what is asked for; a label that is no number. The message says of which sub-image.
    pub fn new(
        dataset: &'a Dataset,
        rows: Vec<usize>,
        bytes: f64,
        auxiliary: &[Auxiliary],
    ) -> Result<Self> {
        let [height, width] = dataset.info.shape;
        let each = (height * width * size_of::<f32>()).max(1) as f64;
        // A piece is held twice while it is put in order.
        let at_once = ((bytes / (2.0 * each)) as usize).max(1);
        let filed = Self {
            dataset,
            rows,
            at_once,
            auxiliary: auxiliary.to_vec(),
        };
        let names = ["D"].into_iter().chain(auxiliary.iter().map(|a| a.name()));
        let labels = filed.labels(&filed.rows)?;
        let mut first = 0;
        for (name, width) in names.zip(
            [2].into_iter()
                .chain(auxiliary.iter().map(|a| a.components())),
        ) {
            let columns = labels.slice(ndarray::s![.., first..first + width]);
            let bad = columns
                .outer_iter()
                .position(|row| row.iter().any(|v| !v.is_finite()));
            if let Some(bad) = bad {
                let place = format!("sub-image {}", filed.rows[bad]);
                let got = format!("no number for {name}");
                let allowed =
                    "finite labels; a tilt and a thickness are known of simulated images alone";
                return Err(Error::data(dataset.path(), place, got, allowed));
            }
            first += width;
        }
        Ok(filed)
    }

    /// Labels of sub-images of the file.
    fn labels(&self, rows: &[usize]) -> Result<Array2<f32>> {
        let mut labels = self.dataset.targets().select(Axis(0), rows);
        for extra in &self.auxiliary {
            let more = Array2::from_shape_fn((rows.len(), extra.components()), |(n, c)| {
                let circumstance = &self.dataset.circumstances()[rows[n]];
                match extra {
                    Auxiliary::Tilt => circumstance.tilt_mrad[c],
                    Auxiliary::Thickness => circumstance.thickness_nm,
                }
            });
            labels = concatenate(Axis(1), &[labels.view(), more.view()])
                .map_err(Error::compute("collecting labels"))?;
        }
        Ok(labels)
    }
}

impl Supply for Filed<'_> {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn at_once(&self) -> usize {
        self.at_once
    }

    fn read(&self, _: Pass, rows: &[usize]) -> Result<Samples> {
        let rows: Vec<usize> = rows.iter().map(|&row| self.rows[row]).collect();
        let levels = rows
            .iter()
            .map(|&row| self.dataset.circumstances()[row].level);
        Ok(Samples {
            subimages: self.dataset.read(&rows)?.0,
            targets: self.labels(&rows)?,
            levels: levels.collect(),
        })
    }
}

/// Samples cut around their middle and brought to another pixel size.
pub struct Resampled<'a> {
    samples: &'a dyn Supply,
    /// Taps along both axes.
    taps: Vec<Taps>,
}

impl<'a> Resampled<'a> {
    /// `samples` of `from` at the window and pixel size of `to`.
    ///
    /// # Errors
    /// A window smaller than the one asked for.
    pub fn new(
        samples: &'a dyn Supply,
        from: &SubimageSettings,
        to: &SubimageSettings,
    ) -> Result<Self> {
        let (old, new) = (from.window(), to.window());
        let half = |window: usize, sampling: f64| (window as f64 - 1.0) / 2.0 * sampling;
        let (have, need) = (
            half(old, from.sampling_angstrom),
            half(new, to.sampling_angstrom),
        );
        // Half a pixel may be made up by repeating the last one.
        if have + 0.5 * from.sampling_angstrom < need {
            let got = format!("windows of {} Å", from.window_angstrom);
            let needed = format!(
                "windows of at least {} Å, those of the model",
                to.window_angstrom
            );
            return Err(Error::unmeasurable("resampling sub-images", got, needed));
        }
        let first = (have - need) / from.sampling_angstrom;
        let step = to.sampling_angstrom / from.sampling_angstrom;
        Ok(Self {
            samples,
            taps: Taps::row(first, step, new, old),
        })
    }
}

impl Supply for Resampled<'_> {
    fn count(&self) -> usize {
        self.samples.count()
    }

    fn at_once(&self) -> usize {
        self.samples.at_once()
    }

    fn read(&self, pass: Pass, rows: &[usize]) -> Result<Samples> {
        let samples = self.samples.read(pass, rows)?;
        let side = self.taps.len();
        let mut subimages = Array4::zeros((rows.len(), 1, side, side));
        let pairs = subimages
            .outer_iter_mut()
            .zip(samples.subimages.outer_iter());
        for (mut new, old) in pairs {
            let old = old.index_axis(Axis(0), 0).to_owned();
            new.index_axis_mut(Axis(0), 0)
                .assign(&apply(&old, &self.taps, &self.taps));
        }
        Ok(Samples {
            subimages,
            ..samples
        })
    }
}

/// Hands all samples of the first pass to `take`, in their order, piece by piece.
pub(super) fn pieces(
    supply: &dyn Supply,
    mut take: impl FnMut(&Samples) -> Result<()>,
) -> Result<()> {
    let (count, step) = (supply.count(), supply.at_once().max(1));
    let pass = Pass {
        network: 0,
        epoch: 0,
    };
    for first in (0..count).step_by(step) {
        let rows: Vec<usize> = (first..count.min(first + step)).collect();
        take(&supply.read(pass, &rows)?)?;
    }
    Ok(())
}

/// Checks the samples of the first pass, hashes them, and returns the mean square of the labels, component by component.
///
/// # Errors
/// No samples, other shapes than those of a `window` [px] and of so many `components`, a number that is not finite.
pub(super) fn survey(
    supply: &dyn Supply,
    what: &str,
    window: usize,
    components: usize,
    hasher: &mut blake3::Hasher,
) -> Result<Vec<f64>> {
    if supply.count() == 0 {
        let what = format!("the {what} samples");
        return Err(Error::unmeasurable(what, "none", "at least one"));
    }
    let mut squares = vec![0.0; components];
    pieces(supply, |samples| {
        samples.check(what, window, components)?;
        samples.hash(hasher);
        for row in samples.targets.outer_iter() {
            for (square, &label) in squares.iter_mut().zip(row) {
                *square += f64::from(label).powi(2);
            }
        }
        Ok(())
    })?;
    let count = supply.count() as f64;
    Ok(squares.into_iter().map(|square| square / count).collect())
}

/// Fails if the level of a sample is not known, without which noise cannot count electrons.
///
/// # Errors
/// See above.
pub(super) fn check_levels(supply: &dyn Supply) -> Result<()> {
    pieces(supply, |samples| {
        let known = samples.levels.len() == samples.count();
        if known && samples.levels.iter().all(|level| *level > 0.0) {
            return Ok(());
        }
        let got = "samples of images whose mean is not known, or not above zero";
        let needed = "a dataset of this version, of images that count electrons";
        Err(Error::unmeasurable(
            "counting noise (augmentation.counts_per_angstrom2)",
            got,
            needed,
        ))
    })
}
