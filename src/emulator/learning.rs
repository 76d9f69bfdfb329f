//! From blocks to a response: patches around columns, their coefficients, and the polynomials through these.

use nalgebra::{Cholesky, DMatrix};
use ndarray::parallel::prelude::*;
use ndarray::{Array2, Array3, ArrayView2, Axis, s};

use super::expansion::{Order, degrees, powers, stiffness, variables};
use super::modes::{Modes, product};
use super::patch::{SIDE, cut, share};
use super::response::Kernel;
use super::sites::{Kind, Sites};
use super::surroundings::{Symmetry, standard_orientation, surroundings};
use crate::error::{Error, Result};

/// Images that samples are told in, more than a response keeps.
const SAMPLE_MODES: usize = 256;
/// Least weight of any term, relative to the data: terms that the data do not determine become zero.
const LEAST_RIDGE: f64 = 1e-9;

/// The symmetries of a column in standard orientation, first the identity.
fn symmetries(kind: Kind) -> Vec<Symmetry> {
    let all = Symmetry::SQUARE.into_iter();
    all.filter(|symmetry| kind != Kind::O || symmetry.keeps_x_axis())
        .collect()
}

/// A block that was run: its columns at every depth, and their patches.
#[derive(Debug)]
pub struct Lesson {
    /// The columns down to each depth.
    pub sites: Vec<Sites>,
    /// Mistilt `[x, y]` [mrad].
    pub tilt_mrad: [f64; 2],
    /// Coefficients of the patches of each kind, `(column, depth, mode)`.
    pub samples: [Array3<f32>; 3],
    /// Difference of the strongest and weakest pixel of the block's image at each depth.
    pub contrast: Vec<f64>,
}

/// What all lessons of a response are told in.
#[derive(Debug, Clone)]
pub struct School {
    edge: f64,
    ridge: f64,
    /// Orthonormal images of patches, every pixel times its share in an image, per kind.
    modes: [Modes; 3],
    /// What each symmetry of a kind does to coefficients.
    mirrors: [Vec<(Symmetry, Array2<f32>)>; 3],
    share: Vec<f32>,
    /// Sum of the squares of all shares.
    pixels: f64,
}

impl School {
    /// For an ideal cell of `edge` [Å], samples in `modes` per kind; `ridge` holds higher terms back.
    #[must_use]
    pub fn new(edge: f64, modes: [Modes; 3], ridge: f64) -> Self {
        let mirrors = Kind::ALL.map(|kind| {
            let all = symmetries(kind).into_iter();
            all.map(|symmetry| (symmetry, modes[kind as usize].symmetry(symmetry, SIDE)))
                .collect()
        });
        let share = share(edge);
        Self {
            edge,
            ridge,
            modes,
            mirrors,
            pixels: share.iter().map(|x| f64::from(*x).powi(2)).sum(),
            share,
        }
    }

    /// The basis in which samples of a kind are kept: from patches of columns of some blocks at some depths (one array each), and
    /// their mirror images. All arrays count alike.
    #[must_use]
    pub fn modes(kind: Kind, patches: &[Array2<f32>], edge: f64) -> Modes {
        let (symmetries, share) = (symmetries(kind), share(edge));
        let count: usize = patches.iter().map(Array2::nrows).sum();
        let mut rows = Array2::zeros((count * symmetries.len(), SIDE * SIDE));
        let mut next = 0;
        for patches in patches {
            let squares: f64 = patches.iter().map(|x| f64::from(*x).powi(2)).sum();
            let scale = (patches.nrows() as f64 / squares.max(f64::MIN_POSITIVE)).sqrt() as f32;
            for patch in patches.rows() {
                for symmetry in &symmetries {
                    let row = rows.row_mut(next);
                    for ((pixel, value), weight) in row.into_iter().enumerate().zip(&share) {
                        *value = scale * weight * patch[symmetry.source_pixel(pixel, SIDE)];
                    }
                    next += 1;
                }
            }
        }
        Modes::leading(rows.view(), SAMPLE_MODES)
    }

    /// Coefficients `(column, mode)` of the patches of a kind in a periodic image `(y, x)`.
    #[must_use]
    pub fn sample(&self, image: ArrayView2<'_, f64>, sites: &Sites, kind: Kind) -> Array2<f32> {
        let mut patches = cut(image, sites, &kind.places(sites.cells[0]), self.edge);
        for mut patch in patches.rows_mut() {
            for (value, weight) in patch.iter_mut().zip(&self.share) {
                *value *= weight;
            }
        }
        self.modes[kind as usize].coefficients(patches.view())
    }

    /// Rows of terms and of coefficients for all columns of a kind at a depth, with their mirror images.
    fn rows(
        &self,
        lessons: &[&Lesson],
        kind: Kind,
        depth: usize,
        order: Order,
        mirrored: bool,
    ) -> (Array2<f64>, Array2<f32>) {
        let places = kind.places(lessons[0].sites[0].cells[0]);
        let index = kind as usize;
        let all = &self.mirrors[index];
        let symmetries = if mirrored { &all[..] } else { &all[..1] };
        let per_symmetry = lessons.len() * places.len();
        let rows = per_symmetry * symmetries.len();
        let mut inputs: Vec<f64> = Vec::new();
        let mut outputs = Array2::zeros((rows, self.modes[index].images.nrows()));
        let (degrees, mut values) = (degrees(order, kind), Vec::new());
        for (s, (symmetry, matrix)) in symmetries.iter().enumerate() {
            for (l, lesson) in lessons.iter().enumerate() {
                let first = s * per_symmetry + l * places.len();
                for &place in &places {
                    let both = symmetry.after(standard_orientation(place));
                    let around = surroundings(&lesson.sites[depth], place, both, self.edge);
                    variables(order, &around, &mut values);
                    let powers = powers(order, both.vector(lesson.tilt_mrad));
                    for (value, &degree) in values.iter().zip(&degrees) {
                        inputs.extend(powers[..degree].iter().map(|power| value * power));
                    }
                }
                let coefficients = lesson.samples[index].index_axis(Axis(1), depth);
                outputs
                    .slice_mut(s![first..first + places.len(), ..])
                    .assign(&coefficients.dot(matrix));
            }
        }
        let shape = (rows, inputs.len() / rows);
        let inputs = Array2::from_shape_vec(shape, inputs).unwrap_or_default();
        (inputs, outputs)
    }

    /// Fits the polynomials of an order at a depth: coefficients `(term, mode)`.
    ///
    /// # Errors
    /// Equations that cannot be solved.
    fn fit(
        &self,
        lessons: &[&Lesson],
        kind: Kind,
        depth: usize,
        order: Order,
    ) -> Result<Array2<f32>> {
        let (inputs, outputs) = self.rows(lessons, kind, depth, order, true);
        let rows = inputs.nrows() as f64;
        let mut normal = inputs.t().dot(&inputs);
        for (term, stiffness) in stiffness(&degrees(order, kind)).iter().enumerate() {
            normal[(term, term)] += rows * (LEAST_RIDGE + self.ridge * stiffness);
        }
        let right = inputs.t().dot(&outputs.mapv(f64::from));
        let n = normal.nrows();
        let matrix = DMatrix::from_fn(n, n, |i, j| normal[(i, j)]);
        let Some(factor) = Cholesky::new(matrix) else {
            return Err(Error::unmeasurable(
                "learning a response",
                "blocks that do not determine it",
                "more blocks, or a larger ridge",
            ));
        };
        let solved = factor.solve(&DMatrix::from_fn(n, right.ncols(), |i, j| right[(i, j)]));
        Ok(Array2::from_shape_fn(right.dim(), |(i, j)| {
            solved[(i, j)] as f32
        }))
    }

    /// Errors of each [`Order::LADDER`] on blocks that were not learnt from, over some depths, for one kind: root mean square over
    /// the pixels of patches, by their share in an image, as a fraction of the contrast.
    ///
    /// # Errors
    /// Equations that cannot be solved.
    pub fn errors_by_order(
        &self,
        lessons: &[&Lesson],
        unseen: &[&Lesson],
        kind: Kind,
        depths: &[usize],
    ) -> Result<Vec<f64>> {
        let of_order = |&order: &Order| {
            let squares = depths.par_iter().map(|&depth| {
                let fitted = self.fit(lessons, kind, depth, order)?.mapv(f64::from);
                let mut sum = 0.0;
                for lesson in unseen {
                    let (inputs, outputs) = self.rows(&[lesson], kind, depth, order, false);
                    let off = inputs.dot(&fitted) - outputs.mapv(f64::from);
                    let squares = off.mapv(|x| x * x).sum();
                    let mean = squares / (outputs.nrows() as f64 * self.pixels);
                    sum += mean / lesson.contrast[depth].powi(2) / unseen.len() as f64;
                }
                Ok(sum)
            });
            let squares: Vec<f64> = squares.collect::<Result<_>>()?;
            Ok((squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
        };
        Order::LADDER.iter().map(of_order).collect()
    }

    /// The kernel of a kind from all lessons, in `modes` images.
    ///
    /// # Errors
    /// Equations that cannot be solved.
    pub fn kernel(
        &self,
        lessons: &[&Lesson],
        kind: Kind,
        order: Order,
        modes: usize,
    ) -> Result<Kernel> {
        let depths = lessons[0].sites.len();
        let fitted: Vec<Array2<f32>> = (0..depths)
            .into_par_iter()
            .map(|depth| self.fit(lessons, kind, depth, order))
            .collect::<Result<_>>()?;
        let (terms, wide) = fitted[0].dim();
        // Terms weigh as much as they move patches; every depth counts alike.
        let mut rows = Array2::zeros((depths * terms, wide));
        for (depth, fitted) in fitted.iter().enumerate() {
            let (inputs, _) = self.rows(lessons, kind, depth, order, false);
            let contrast: f64 = lessons.iter().map(|lesson| lesson.contrast[depth]).sum();
            for (term, column) in inputs.axis_iter(Axis(1)).enumerate() {
                let size = column.mapv(|x| x * x).mean().unwrap_or(0.0).sqrt() / contrast;
                rows.row_mut(depth * terms + term)
                    .assign(&fitted.row(term).mapv(|x| f64::from(x) * size));
            }
        }
        // Modes are of what is seen of patches, and orthonormal: so are the leading pictures.
        let leading = Modes::leading(rows.mapv(|x| x as f32).view(), modes).images;
        let mut coefficients = Array3::zeros((depths, terms, leading.nrows()));
        for (depth, fitted) in fitted.iter().enumerate() {
            coefficients
                .index_axis_mut(Axis(0), depth)
                .assign(&product(fitted.view(), leading.t()));
        }
        let mut images = product(leading.view(), self.modes[kind as usize].images.view());
        for mut image in images.rows_mut() {
            for (value, weight) in image.iter_mut().zip(&self.share) {
                *value /= weight;
            }
        }
        Ok(Kernel {
            order,
            images,
            coefficients,
        })
    }
}
