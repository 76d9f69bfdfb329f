//! Learning a response: block after block by the exact engine, kept beside the result until it is whole.

use std::path::Path;

use ndarray::{Array2, Array3, ArrayView2, Axis};
use rayon::prelude::*;

use crate::emulator::field::IdealCell;
use crate::emulator::learning::{Lesson, School};
use crate::emulator::patch::cut;
use crate::emulator::{
    Block, Certificate, Kind, Microscope, Order, Response, Sites, TrainingSettings,
};
use crate::error::{Error, Result};
use crate::progress::Reporter;
use crate::storage::parts::Parts;

/// At how many depths orders are compared.
const SOME_DEPTHS: usize = 9;
/// Depths of each block, and of its columns one in so many, from which the modes of the samples are taken; both go round, so that all
/// have their turn.
const MODE_DEPTHS: usize = 4;
const MODE_COLUMNS: usize = 4;
/// Pixels along a cell that carry all of an image at 30 mrad and 200 kV.
const POINTS_PER_CELL: usize = 20;
/// Parts before those of the blocks' images.
const BLOCK_PARTS: usize = 1000;
/// Parts before those with what a wider field changes.
const FIELD_PARTS: usize = 100_000;

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
        for index in 0..blocks {
            if parts.read(BLOCK_PARTS + index).is_none() {
                let images = self.block(index)?.images(
                    &self.microscope,
                    &self.training.depths(),
                    self.side(),
                    1,
                )?;
                parts.write(BLOCK_PARTS + index, &numbers(images))?;
            }
            if parts.read(FIELD_PARTS + index).is_none() {
                parts.write(FIELD_PARTS + index, &numbers(self.widening(index)?))?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let detectors = self.microscope.detectors.keys().enumerate();
        detectors
            .map(|(detector, name)| self.response(name, detector, &parts, reporter))
            .collect()
    }

    /// What a wider field changes at the tilt of a block, on an ideal cell, `(detector, depth, probe)`.
    fn widening(&self, index: usize) -> Result<Array3<f64>> {
        let cell = IdealCell {
            microscope: &self.microscope,
            edge: self.edge,
            depths: &self.training.depths(),
            tilt_mrad: self.block(index)?.tilt_mrad,
        };
        cell.widening(
            self.training.cells,
            self.training.field_cells,
            POINTS_PER_CELL,
        )
    }

    /// Images `(depth, y, x)` with `side` pixels, as a part tells them.
    fn told(
        &self,
        parts: &Parts,
        part: usize,
        detector: usize,
        side: usize,
    ) -> Result<Array3<f64>> {
        let lost = || {
            let got = format!("part {part} is gone");
            Error::unmeasurable("learning a response", got, "parts that nobody removes")
        };
        let depths = self.training.depths().len();
        let numbers = parts.read(part).ok_or_else(lost)?;
        let mut own = numbers.chunks(depths * side * side).skip(detector);
        let own = own.next().ok_or_else(lost)?.iter().copied().map(f64::from);
        Array3::from_shape_vec((depths, side, side), own.collect())
            .map_err(Error::compute("shaping images"))
    }

    /// The images of all blocks on a detector, `(depth, y, x)`.
    fn lectures(&self, parts: &Parts, detector: usize) -> Result<Vec<Lecture>> {
        let blocks = self.training.blocks + self.training.validation_blocks;
        let read = |index| {
            let block = self.block(index)?;
            Ok(Lecture {
                sites: block.sites_at(&self.training.depths())?,
                tilt_mrad: block.tilt_mrad,
                images: self.told(parts, BLOCK_PARTS + index, detector, self.side())?,
                widening: self.told(parts, FIELD_PARTS + index, detector, POINTS_PER_CELL)?,
            })
        };
        (0..blocks).map(read).collect()
    }

    /// What samples are told in, from some columns at some depths of all blocks.
    fn school(&self, lectures: &[Lecture]) -> Result<School> {
        let modes = Kind::ALL.map(|kind| {
            let mut patches = Vec::new();
            for (number, lecture) in lectures.iter().enumerate() {
                let depths = lecture.sites.len();
                let places = kind.places(self.training.cells).into_iter();
                let places: Vec<_> = places
                    .skip(number % MODE_COLUMNS)
                    .step_by(MODE_COLUMNS)
                    .collect();
                for turn in 0..MODE_DEPTHS.min(depths) {
                    let depth = (number + turn * depths / MODE_DEPTHS) % depths;
                    let image = lecture.images.index_axis(Axis(0), depth);
                    patches.push(cut(image, &lecture.sites[depth], &places, self.edge));
                }
            }
            School::modes(kind, &patches, self.edge)
        });
        Ok(School::new(self.edge, modes, self.training.ridge))
    }

    /// Chooses orders by their errors on the last blocks, then learns from all.
    fn response(
        &self,
        name: &str,
        detector: usize,
        parts: &Parts,
        reporter: &Reporter,
    ) -> Result<Response> {
        let lectures = self.lectures(parts, detector)?;
        let school = self.school(&lectures)?;
        let lessons: Vec<Lesson> = lectures.iter().map(|l| l.lesson(&school)).collect();
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
                "{name}, {kind:?} columns: rms errors by order {} % of the contrast",
                percents.join(", ")
            ));
            kernels.push(school.kernel(&all, kind, order, self.training.modes)?);
            errors_by_order.push(errors);
        }
        Ok(Response {
            microscope: self.microscope.clone(),
            detector: name.to_owned(),
            edge: self.edge,
            training: self.training.clone(),
            depths: self.training.depths(),
            kernels: three(kernels)?,
            errors_by_order: three(errors_by_order)?,
            certificate: Certificate::default(),
        })
    }
}

/// A block that was run.
struct Lecture {
    /// The columns down to each depth.
    sites: Vec<Sites>,
    tilt_mrad: [f64; 2],
    /// `(depth, y, x)`.
    images: Array3<f64>,
    /// What a wider field changes on an ideal cell, `(depth, y, x)`.
    widening: Array3<f64>,
}

impl Lecture {
    /// Coefficients of all patches, as in the wider field.
    fn lesson(&self, school: &School) -> Lesson {
        Lesson {
            sites: self.sites.clone(),
            tilt_mrad: self.tilt_mrad,
            samples: Kind::ALL.map(|kind| self.samples(kind, school)),
            contrast: self.images.outer_iter().map(contrast).collect(),
        }
    }

    /// Coefficients of the patches of a kind, `(column, depth, mode)`.
    fn samples(&self, kind: Kind, school: &School) -> Array3<f32> {
        let ideal = Sites::undistorted(self.sites[0].edge);
        let (places, of_cell) = (kind.places(self.sites[0].cells[0]), kind.places(1));
        let like = |place: &[i64; 2]| {
            let same = |other: &[i64; 2]| (0..2).all(|axis| (place[axis] - other[axis]) % 2 == 0);
            of_cell.iter().position(same).unwrap_or(0)
        };
        let depths: Vec<Array2<f32>> = (0..self.sites.len())
            .into_par_iter()
            .map(|depth| {
                let image = self.images.index_axis(Axis(0), depth);
                let widening = self.widening.index_axis(Axis(0), depth);
                let mut samples = school.sample(image, &self.sites[depth], kind);
                let changes = school.sample(widening, &ideal, kind);
                for (mut sample, place) in samples.rows_mut().into_iter().zip(&places) {
                    sample += &changes.row(like(place));
                }
                samples
            })
            .collect();
        let modes = depths[0].ncols();
        Array3::from_shape_fn(
            (places.len(), depths.len(), modes),
            |(column, depth, mode)| depths[depth][(column, mode)],
        )
    }
}

/// Difference of the strongest and the weakest pixel.
fn contrast(image: ArrayView2<'_, f64>) -> f64 {
    let most = image.iter().fold(f64::MIN, |m, x| m.max(*x));
    most - image.iter().fold(f64::MAX, |m, x| m.min(*x))
}

/// Numbers as parts keep them.
fn numbers(images: Array3<f64>) -> Vec<f32> {
    images.into_iter().map(|x| x as f32).collect()
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
