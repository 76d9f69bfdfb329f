//! From blocks to a response: patches around columns, their coefficients, and the polynomials through these.

use nalgebra::{Cholesky, DMatrix, SymmetricEigen};
use ndarray::parallel::prelude::*;
use ndarray::{Array2, Array3, ArrayView2, Axis, s};

use super::expansion::{Order, degrees, powers, stiffness, variables};
use super::modes::{Modes, gram, product};
use super::patch::{SIDE, cut, importance, share};
use super::response::Kernel;
use super::sites::{Kind, Sites};
use super::surroundings::{Symmetry, standard_orientation, surroundings};
use crate::error::{Error, Result};

/// Images that samples are kept in, more than a response keeps.
const SAMPLE_MODES: usize = 256;
/// Least weight of any term, relative to the data: terms that the data do not determine become zero.
const LEAST_RIDGE: f64 = 1e-9;
/// How far what a wider field changes is expanded.
const WIDENING: Order = Order {
    tilt: 4,
    linear: Some(0),
    nearest: None,
    second: None,
    third: None,
};

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
    /// The same from the block in a wider field, if it was run in one.
    pub wide: Option<[Array3<f32>; 3]>,
    /// Difference of the strongest and weakest pixel of the block's image at each depth.
    pub contrast: Vec<f64>,
}

impl Lesson {
    /// What the wider field changes, as a lesson of its own.
    fn widening(&self) -> Option<Self> {
        let wide = self.wide.as_ref()?;
        Some(Self {
            sites: self.sites.clone(),
            tilt_mrad: self.tilt_mrad,
            samples: std::array::from_fn(|kind| &wide[kind] - &self.samples[kind]),
            wide: None,
            contrast: self.contrast.clone(),
        })
    }
}

/// What all lessons of a response are told in.
#[derive(Debug, Clone)]
pub struct School {
    edge: f64,
    ridge: f64,
    /// Orthonormal images of patches times importance, per kind.
    modes: [Modes; 3],
    /// What each symmetry of a kind does to coefficients.
    mirrors: [Vec<(Symmetry, Array2<f32>)>; 3],
    importance: Vec<f32>,
    /// Takes coefficients to others whose squares sum to those of the patch, each pixel times its share in an image; per kind.
    shares: [DMatrix<f64>; 3],
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
        let (importance, share) = (importance(edge), share(edge));
        let shares = Kind::ALL.map(|kind| {
            let mut seen = modes[kind as usize].images.clone();
            for mut image in seen.rows_mut() {
                let weights = share.iter().zip(&importance);
                for (value, (share, importance)) in image.iter_mut().zip(weights) {
                    *value *= share / importance;
                }
            }
            square_root(&gram(seen.view()))
        });
        Self {
            edge,
            ridge,
            modes,
            mirrors,
            importance,
            shares,
            pixels: share.iter().map(|x| f64::from(*x).powi(2)).sum(),
        }
    }

    /// Coefficients `(row, mode)` as [`Self::shares`] takes them.
    fn shared(&self, kind: Kind, coefficients: &Array2<f64>) -> Array2<f64> {
        let matrix = &self.shares[kind as usize];
        let root = Array2::from_shape_fn(matrix.shape(), |(i, j)| matrix[(i, j)]);
        coefficients.dot(&root)
    }

    /// The basis in which samples of a kind are kept: from patches of columns of some blocks at some depths (one array each), and
    /// their mirror images. All arrays count alike.
    #[must_use]
    pub fn modes(kind: Kind, patches: &[Array2<f32>], edge: f64) -> Modes {
        let (symmetries, importance) = (symmetries(kind), importance(edge));
        let count: usize = patches.iter().map(Array2::nrows).sum();
        let mut rows = Array2::zeros((count * symmetries.len(), SIDE * SIDE));
        let mut next = 0;
        for patches in patches {
            let squares: f64 = patches.iter().map(|x| f64::from(*x).powi(2)).sum();
            let scale = (patches.nrows() as f64 / squares.max(f64::MIN_POSITIVE)).sqrt() as f32;
            for patch in patches.rows() {
                for symmetry in &symmetries {
                    let row = rows.row_mut(next);
                    for ((pixel, value), weight) in row.into_iter().enumerate().zip(&importance) {
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
            for (value, weight) in patch.iter_mut().zip(&self.importance) {
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

    /// Adds to all samples what a wider field changes, as the lessons that were run in one tell. A probe on a small field has the
    /// tails of its periodic images, and an aperture with an edge of a coarse pixel; both depend little on displacements.
    ///
    /// # Errors
    /// Equations that cannot be solved.
    pub fn widen(&self, lessons: &mut [Lesson]) -> Result<()> {
        let widenings: Vec<Lesson> = lessons.iter().filter_map(Lesson::widening).collect();
        let Some(first) = widenings.first() else {
            return Ok(());
        };
        let seen: Vec<&Lesson> = widenings.iter().collect();
        for kind in Kind::ALL {
            let fitted: Vec<Array2<f32>> = (0..first.sites.len())
                .into_par_iter()
                .map(|depth| self.fit(&seen, kind, depth, WIDENING))
                .collect::<Result<_>>()?;
            lessons.par_iter_mut().for_each(|lesson| {
                for (depth, fitted) in fitted.iter().enumerate() {
                    let (inputs, _) = self.rows(&[lesson], kind, depth, WIDENING, false);
                    let change = inputs.mapv(|x| x as f32).dot(fitted);
                    let mut samples = lesson.samples[kind as usize].index_axis_mut(Axis(1), depth);
                    samples += &change;
                }
            });
        }
        Ok(())
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
                    let squares = self.shared(kind, &off).mapv(|x| x * x).sum();
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
        // Leading pictures by what is seen of them, and what they are in the modes of the samples.
        let leading = Modes::leading(self.shared(kind, &rows).mapv(|x| x as f32).view(), modes);
        let leading = leading.images.mapv(f64::from);
        let root = &self.shares[kind as usize];
        let onto = Array2::from_shape_fn(root.shape(), |(i, j)| root[(i, j)]).dot(&leading.t());
        let Some(inverse) = root.clone().try_inverse() else {
            return Err(Error::unmeasurable(
                "learning a response",
                "pictures that depend on each other",
                "more blocks",
            ));
        };
        let back = leading.dot(&Array2::from_shape_fn(root.shape(), |(i, j)| {
            inverse[(i, j)]
        }));
        let mut coefficients = Array3::zeros((depths, terms, leading.nrows()));
        let onto = onto.mapv(|x| x as f32);
        for (depth, fitted) in fitted.iter().enumerate() {
            coefficients
                .index_axis_mut(Axis(0), depth)
                .assign(&product(fitted.view(), onto.view()));
        }
        let mut images = product(
            back.mapv(|x| x as f32).view(),
            self.modes[kind as usize].images.view(),
        );
        for mut image in images.rows_mut() {
            for (value, weight) in image.iter_mut().zip(&self.importance) {
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

/// The square root of a symmetric matrix that is not negative, made invertible where it is not.
fn square_root(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let eigen = SymmetricEigen::new(matrix.clone());
    let least = LEAST_RIDGE * eigen.eigenvalues.max();
    let roots = eigen.eigenvalues.map(|value| value.max(least).sqrt());
    &eigen.eigenvectors * DMatrix::from_diagonal(&roots) * eigen.eigenvectors.transpose()
}
