//! Samples of a training that the emulator draws: new images in every epoch, none of them on disk.
//!
//! Which images an epoch of a network sees is a function of the seed, the network and the epoch alone, so a training that was stopped goes
//! on as if it had not been. Sets that do not change (validation, calibration, test) are drawn from numbers that no epoch uses.

use std::sync::Mutex;

use ndarray::{Array2, Array4, ArrayView2, ArrayView4, Axis, concatenate};

use super::stream::{Stream, no_subimages};
use crate::error::{Error, Result};
use crate::network::{Auxiliary, Pass, Samples, Supply};
use crate::storage::dataset::Circumstance;

/// Images that are drawn at once.
const AT_ONCE: u64 = 32;
/// Images in a row without a sub-image after which there will never be one.
const PATIENCE: u64 = 64;

/// Which numbers images are drawn from; those of datasets lie below all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Epochs.
    Train = 1,
    /// Chooses the epoch.
    Validation = 2,
    /// Calibrates the uncertainty.
    Calibration = 3,
    /// Tests.
    Test = 4,
}

/// Samples that are drawn.
pub struct Drawn<'a> {
    stream: &'a Stream,
    part: Part,
    count: usize,
    auxiliary: &'a [Auxiliary],
    per_image: usize,
    /// The pass that was drawn last.
    last: Mutex<Option<(Pass, Samples)>>,
}

impl<'a> Drawn<'a> {
    /// `count` sub-images a pass, labels as `auxiliary` asks for.
    #[must_use]
    pub fn new(stream: &'a Stream, part: Part, count: usize, auxiliary: &'a [Auxiliary]) -> Self {
        Self {
            stream,
            part,
            count,
            auxiliary,
            per_image: usize::MAX,
            last: Mutex::new(None),
        }
    }

    /// With at most so many sub-images of each image, evenly among those that it has: windows of one image have tilt, thickness, dose
    /// and neighbours in common, and tell less than as many of different ones.
    #[must_use]
    pub fn at_most(self, per_image: usize) -> Self {
        Self { per_image, ..self }
    }

    /// The samples of the first pass, to be kept, and what is known about each.
    ///
    /// # Errors
    /// As [`Stream::draw`]; images without sub-images.
    pub fn once(&self) -> Result<(Samples, Vec<Circumstance>)> {
        self.draw(Pass {
            network: 0,
            epoch: 0,
        })
    }

    /// The samples of a pass, image by image.
    fn draw(&self, pass: Pass) -> Result<(Samples, Vec<Circumstance>)> {
        // 100 networks, a million epochs and 2³² images each have numbers of their own.
        let first =
            (self.part as u64) << 60 | (pass.network as u64) << 52 | (pass.epoch as u64) << 32;
        let (mut subimages, mut targets) = (Vec::new(), Vec::new());
        let mut circumstances: Vec<Circumstance> = Vec::new();
        let mut drawn = 0;
        for batch in self.stream.batches(first..first + (1 << 32), AT_ONCE) {
            if circumstances.len() >= self.count {
                break;
            }
            for drawn in batch? {
                let labelled = drawn.labelled;
                let room = self.count - circumstances.len();
                let step = labelled.centres.len().div_ceil(self.per_image).max(1);
                let rows = (0..labelled.centres.len()).step_by(step).take(room);
                let rows: Vec<usize> = rows.collect();
                targets.push(labelled.targets.select(Axis(0), &rows));
                subimages.push(labelled.subimages.select(Axis(0), &rows));
                circumstances.extend(rows.iter().map(|&row| labelled.circumstances[row]));
            }
            drawn += AT_ONCE;
            if circumstances.is_empty() && drawn >= PATIENCE {
                return Err(no_subimages(drawn));
            }
        }
        let levels = circumstances.iter().map(|c| c.level).collect();
        let samples = Samples {
            subimages: joined4(&subimages, self.stream.window())?,
            targets: self.labels(&targets, &circumstances)?,
            levels,
        };
        Ok((samples, circumstances))
    }

    /// D, and what else is asked for.
    fn labels(
        &self,
        targets: &[Array2<f32>],
        circumstances: &[Circumstance],
    ) -> Result<Array2<f32>> {
        let views: Vec<ArrayView2<f32>> = targets.iter().map(|t| t.view()).collect();
        let mut labels = if views.is_empty() {
            Array2::zeros((0, 2))
        } else {
            concatenate(Axis(0), &views).map_err(Error::compute("joining labels"))?
        };
        for extra in self.auxiliary {
            let more =
                Array2::from_shape_fn((circumstances.len(), extra.components()), |(n, c)| {
                    match extra {
                        Auxiliary::Tilt => circumstances[n].tilt_mrad[c],
                        Auxiliary::Thickness => circumstances[n].thickness_nm,
                    }
                });
            labels = concatenate(Axis(1), &[labels.view(), more.view()])
                .map_err(Error::compute("joining labels"))?;
        }
        Ok(labels)
    }
}

/// Sub-images of several images, of side `window` [px].
fn joined4(parts: &[Array4<f32>], window: usize) -> Result<Array4<f32>> {
    if parts.is_empty() {
        return Ok(Array4::zeros((0, 1, window, window)));
    }
    let views: Vec<ArrayView4<f32>> = parts.iter().map(|part| part.view()).collect();
    concatenate(Axis(0), &views).map_err(Error::compute("joining sub-images"))
}

impl Supply for Drawn<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn at_once(&self) -> usize {
        self.count
    }

    fn read(&self, pass: Pass, rows: &[usize]) -> Result<Samples> {
        let fail = |_| Error::Compute {
            doing: "drawing samples",
            message: "another reader has failed".to_owned(),
        };
        if let Some((of, samples)) = &*self.last.lock().map_err(fail)?
            && *of == pass
        {
            return Ok(samples.select(rows));
        }
        // The older pass goes before the new one comes.
        *self.last.lock().map_err(fail)? = None;
        let (samples, _) = self.draw(pass)?;
        let chosen = samples.select(rows);
        *self.last.lock().map_err(fail)? = Some((pass, samples));
        Ok(chosen)
    }
}
