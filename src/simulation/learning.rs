//! Learning a response: block after block by the exact engine, kept beside the result until it is whole.

use std::path::Path;

use ndarray::{Array2, Array3, Array4, s};

use crate::emulator::learning::{Lesson, School};
use crate::emulator::patch::{SIDE, cut};
use crate::emulator::{
    Block, Certificate, Kind, Microscope, Modes, Order, Response, TrainingSettings,
};
use crate::error::{Error, Result};
use crate::progress::Reporter;
use crate::storage::parts::Parts;

/// Blocks from which the modes of the samples are taken.
const FIRST_BLOCKS: usize = 6;
/// Depths at which they are, and at which orders are compared.
const SOME_DEPTHS: usize = 9;
/// Pixels along a cell that carry all of an image at 30 mrad and 200 kV.
const POINTS_PER_CELL: usize = 20;
/// Parts before those of the blocks hold modes.
const BLOCK_PARTS: usize = 1000;
/// Parts before those of blocks in a wider field hold the others.
const WIDE_PARTS: usize = 100_000;

/// What a response is to be learnt of, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Curriculum {
    /// Microscope, material and numerics.
    pub microscope: Microscope,
    /// Blocks.
    pub training: TrainingSettings,
    /// Edge of the ideal cell [Å].
    pub edge: f64,
    /// Seed of the blocks.
    pub seed: u64,
}

impl Curriculum {
    /// What identifies the blocks: not how many there are, nor what is made of them, so that more can be added to those that are
    /// there.
    #[must_use]
    pub fn key(&self) -> String {
        let blocks = TrainingSettings {
            blocks: 0,
            validation_blocks: 0,
            wide_blocks: 0,
            modes: 0,
            ridge: 0.0,
            ..self.training.clone()
        };
        format!(
            "{}\n{}\n{}\n{}\n{}",
            crate::provenance::VERSION,
            toml::to_string(&self.microscope).unwrap_or_default(),
            toml::to_string(&blocks).unwrap_or_default(),
            self.edge,
            self.seed
        )
    }

    /// Pixels along the side of a block's image, enough for its bandwidth.
    fn side(&self) -> usize {
        self.training.cells * POINTS_PER_CELL
    }

    fn block(&self, index: usize) -> Result<Block> {
        Block::draw(&self.training, self.edge, self.seed, index as u64)
    }

    /// Learns the responses of all detectors, one each, without certificates. Blocks that `folder` holds are taken over.
    ///
    /// # Errors
    /// Settings that the engine refuses; files that cannot be written.
    pub fn learn(&self, folder: &Path, reporter: &Reporter) -> Result<Vec<Response>> {
        let parts = Parts::new(folder, &self.key());
        let blocks = self.training.blocks + self.training.validation_blocks;
        let bar = reporter.bar("blocks", blocks as u64);
        let mut first: Vec<Option<Array4<f64>>> = vec![None; FIRST_BLOCKS];
        let schools = self.schools(&parts, &mut first)?;
        for index in 0..blocks {
            if parts.read(BLOCK_PARTS + index).is_none() {
                let images = match first.get_mut(index).and_then(Option::take) {
                    Some(images) => images,
                    None => self.images(index, 1)?,
                };
                parts.write(
                    BLOCK_PARTS + index,
                    &self.samples(index, &images, &schools)?,
                )?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let bar = reporter.bar("blocks in a wider field", self.training.wide_blocks as u64);
        for index in 0..self.training.wide_blocks {
            if parts.read(WIDE_PARTS + index).is_none() {
                let images = self.images(index, self.training.wide_copies)?;
                let samples = self.samples(index, &images, &schools)?;
                parts.write(WIDE_PARTS + index, &samples)?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let mut responses = Vec::new();
        for (detector, name) in self.microscope.detectors.keys().enumerate() {
            let mut lessons: Vec<Lesson> = (0..blocks)
                .map(|index| self.lesson(index, detector, &parts))
                .collect::<Result<_>>()?;
            schools[detector].widen(&mut lessons)?;
            responses.push(self.response(name, &lessons, &schools[detector], reporter)?);
        }
        Ok(responses)
    }

    /// Images of a block in a field of `copies` by `copies` of it, `(detector, depth, y, x)`.
    fn images(&self, index: usize, copies: usize) -> Result<Array4<f64>> {
        let (depths, side) = (self.training.depths(), self.side());
        let block = self.block(index)?;
        let images = block.images(&self.microscope, &depths, side, copies)?;
        let (detectors, depths, _) = images.dim();
        images
            .into_shape_with_order((detectors, depths, side, side))
            .map_err(Error::compute("shaping images"))
    }

    /// What samples are told in, per detector; images that were made for it are left in `first`.
    fn schools(&self, parts: &Parts, first: &mut [Option<Array4<f64>>]) -> Result<Vec<School>> {
        let pixels = SIDE * SIDE;
        let read = |part: usize| -> Option<Modes> {
            let numbers = parts.read(part)?;
            let shape = (numbers.len() / pixels, pixels);
            let images = Array2::from_shape_vec(shape, numbers).ok()?;
            Some(Modes { images })
        };
        let mut schools = Vec::new();
        for detector in 0..self.microscope.detectors.len() {
            let mut modes = Vec::new();
            for kind in Kind::ALL {
                let part = 3 * detector + kind as usize;
                let made = match read(part) {
                    Some(modes) => modes,
                    None => {
                        let modes = self.first_modes(detector, kind, first)?;
                        parts.write(part, modes.images.as_slice().unwrap_or_default())?;
                        modes
                    }
                };
                modes.push(made);
            }
            schools.push(School::new(self.edge, three(modes)?, self.training.ridge));
        }
        Ok(schools)
    }

    fn first_modes(
        &self,
        detector: usize,
        kind: Kind,
        first: &mut [Option<Array4<f64>>],
    ) -> Result<Modes> {
        let depths = self.training.depths();
        let mut patches = Vec::new();
        let used = first.len().min(self.training.blocks);
        for (index, images) in first.iter_mut().enumerate().take(used) {
            if images.is_none() {
                *images = Some(self.images(index, 1)?);
            }
            let Some(images) = images else { continue };
            let block = self.block(index)?;
            for depth in some(depths.len()) {
                let sites = block.sites(depths[depth])?;
                let places = kind.places(self.training.cells);
                let image = images.slice(s![detector, depth, .., ..]);
                patches.push(cut(image, &sites, &places, self.edge));
            }
        }
        Ok(School::modes(kind, &patches, self.edge))
    }

    /// Coefficients of all detectors and kinds `(depth, column, mode)`, then the contrast of each depth, detector by detector.
    fn samples(&self, index: usize, images: &Array4<f64>, schools: &[School]) -> Result<Vec<f32>> {
        let sites = self.block(index)?.sites_at(&self.training.depths())?;
        let mut numbers = Vec::new();
        for (images, school) in images.outer_iter().zip(schools) {
            for kind in Kind::ALL {
                for (image, sites) in images.outer_iter().zip(&sites) {
                    numbers.extend(school.sample(image, sites, kind));
                }
            }
            for image in images.outer_iter() {
                let most = image.iter().fold(f64::MIN, |m, x| m.max(*x));
                let least = image.iter().fold(f64::MAX, |m, x| m.min(*x));
                numbers.push((most - least) as f32);
            }
        }
        Ok(numbers)
    }

    fn lesson(&self, index: usize, detector: usize, parts: &Parts) -> Result<Lesson> {
        let lost = || {
            let got = format!("block {index} is gone");
            Error::unmeasurable("learning a response", got, "parts that nobody removes")
        };
        let block = self.block(index)?;
        let depths = self.training.depths();
        let read = |part: usize| -> Option<([Array3<f32>; 3], Vec<f64>)> {
            let numbers = parts.read(part)?;
            let length = numbers.len() / self.microscope.detectors.len();
            let own = numbers.get(detector * length..(detector + 1) * length)?;
            let (own, contrast) = own.split_at_checked(length.checked_sub(depths.len())?)?;
            let contrast = contrast.iter().copied().map(f64::from).collect();
            Some((self.told(own, depths.len()), contrast))
        };
        let (samples, contrast) = read(BLOCK_PARTS + index).ok_or_else(lost)?;
        let wide = match index < self.training.wide_blocks {
            true => Some(read(WIDE_PARTS + index).ok_or_else(lost)?.0),
            false => None,
        };
        Ok(Lesson {
            sites: block.sites_at(&depths)?,
            tilt_mrad: block.tilt_mrad,
            samples,
            wide,
            contrast,
        })
    }

    /// Coefficients of all kinds, `(column, depth, mode)` each, as one part tells them.
    fn told(&self, numbers: &[f32], depths: usize) -> [Array3<f32>; 3] {
        let columns = Kind::ALL.map(|kind| kind.places(self.training.cells).len());
        // Every kind has as many modes as the others.
        let modes = numbers.len() / depths / columns.iter().sum::<usize>();
        let mut numbers = numbers.iter().copied();
        columns.map(|columns| {
            let mut samples = Array3::from_shape_simple_fn((depths, columns, modes), || {
                numbers.next().unwrap_or_default()
            });
            samples.swap_axes(0, 1);
            samples
        })
    }

    /// Chooses orders by their errors on the last blocks, then learns from all.
    fn response(
        &self,
        detector: &str,
        lessons: &[Lesson],
        school: &School,
        reporter: &Reporter,
    ) -> Result<Response> {
        let all: Vec<&Lesson> = lessons.iter().collect();
        let (seen, unseen) = all.split_at(self.training.blocks);
        let depths = some(self.training.depths().len());
        let mut kernels = Vec::new();
        let mut errors_by_order = Vec::new();
        for kind in Kind::ALL {
            let errors = school.errors_by_order(seen, unseen, kind, &depths)?;
            let best = (0..errors.len()).min_by(|&i, &j| errors[i].total_cmp(&errors[j]));
            let order = Order::LADDER[best.unwrap_or(0)];
            let percents: Vec<String> =
                errors.iter().map(|e| format!("{:.3}", 100.0 * e)).collect();
            reporter.detail(format!(
                "{detector}, {kind:?} columns: rms errors by order {} % of the contrast",
                percents.join(", ")
            ));
            kernels.push(school.kernel(&all, kind, order, self.training.modes)?);
            errors_by_order.push(errors);
        }
        Ok(Response {
            microscope: self.microscope.clone(),
            detector: detector.to_owned(),
            edge: self.edge,
            training: self.training.clone(),
            depths: self.training.depths(),
            kernels: three(kernels)?,
            errors_by_order: three(errors_by_order)?,
            certificate: Certificate::default(),
        })
    }
}

/// One for each kind of column.
fn three<T>(all: Vec<T>) -> Result<[T; 3]> {
    let count = all.len();
    all.try_into().map_err(|_| {
        Error::unmeasurable(
            "learning a response",
            format!("{count} kinds of columns"),
            "three",
        )
    })
}

/// Some of so many depths, spread evenly, the first and the last among them.
fn some(count: usize) -> Vec<usize> {
    let wanted = SOME_DEPTHS.min(count);
    let last = wanted.saturating_sub(1).max(1);
    (0..wanted).map(|n| n * (count - 1) / last).collect()
}
