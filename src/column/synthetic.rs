//! Synthetic images with known columns, for the tests: Gaussians of σ 0.5 Å, A 1 and B 1/3 above a background of 0.1,
//! counted electrons.

use ndarray::Array2;
use rand_distr::{Distribution, Poisson};

use crate::crystal::Sublattice;
use crate::crystal::polarization::Point;
use crate::image::Image;
use crate::rng::stream;

/// What a synthetic image shows.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) shape: [usize; 2],
    /// `[y, x]` [Å].
    pub(super) sampling: [f64; 2],
    /// Basis of the A lattice [Å].
    pub(super) basis: [Point; 2],
    /// Height of B over that of A.
    pub(super) b_height: f64,
    pub(super) width: f64,
    pub(super) background: f64,
    /// Electrons per Å² at the A peak; infinite for no noise.
    pub(super) dose: f64,
    /// D of B at a point [pm].
    pub(super) displacement: fn(Point) -> [f64; 2],
    /// Factor on the heights of `(A, B)` at a point.
    pub(super) contrast: fn(Point) -> [f64; 2],
    pub(super) seed: u64,
}

/// Pitch of the A lattice [Å].
pub(super) const PITCH: f64 = 3.965;

impl Default for Scene {
    fn default() -> Self {
        Self {
            shape: [256, 256],
            sampling: [0.2; 2],
            basis: [[PITCH, 0.0], [0.0, PITCH]],
            b_height: 1.0 / 3.0,
            width: 0.5,
            background: 0.1,
            dose: f64::INFINITY,
            displacement: |_| [0.0; 2],
            contrast: |_| [1.0; 2],
            seed: 1,
        }
    }
}

impl Scene {
    /// The scene turned by an angle [degrees], with a shear x += shear · y.
    pub(super) fn turned(mut self, degrees: f64, shear: f64) -> Self {
        let (s, c) = degrees.to_radians().sin_cos();
        self.basis = self.basis.map(|[x, y]| {
            let (x, y) = (c * x - s * y, s * x + c * y);
            [x + shear * y, y]
        });
        self
    }

    /// True columns within the image: position [Å], sublattice.
    pub(super) fn columns(&self) -> Vec<(Point, Sublattice)> {
        let [height, width] = [
            (self.shape[0] - 1) as f64 * self.sampling[0],
            (self.shape[1] - 1) as f64 * self.sampling[1],
        ];
        self.all_columns()
            .into_iter()
            .filter(|([x, y], _)| *x >= 0.0 && *y >= 0.0 && *x <= width && *y <= height)
            .collect()
    }

    /// Cell corners in and around the image, moved by a fraction of a cell.
    fn lattice_points(&self, fraction: f64) -> Vec<Point> {
        let extent = self.extent();
        let n = (extent[0].hypot(extent[1]) / 3.0) as i32;
        // An offset, so that no column sits exactly on a pixel.
        let at = |i: f64, j: f64| -> Point {
            std::array::from_fn(|k| {
                0.37 + extent[1 - k] / 2.0 + i * self.basis[0][k] + j * self.basis[1][k]
            })
        };
        (-n..n)
            .flat_map(|j| (-n..n).map(move |i| (i, j)))
            .map(|(i, j)| at(f64::from(i) + fraction, f64::from(j) + fraction))
            .filter(|[x, y]| *x > -5.0 && *y > -5.0 && *x < extent[1] + 5.0 && *y < extent[0] + 5.0)
            .collect()
    }

    /// B sites before their displacement, in and around the image.
    pub(super) fn ideal_b(&self) -> Vec<Point> {
        self.lattice_points(0.5)
    }

    /// Columns in and around the image.
    pub(super) fn all_columns(&self) -> Vec<(Point, Sublattice)> {
        let a = self.lattice_points(0.0).into_iter();
        let b = self.ideal_b().into_iter().map(|b| {
            let d = (self.displacement)(b);
            [b[0] + d[0] / 100.0, b[1] + d[1] / 100.0]
        });
        a.map(|at| (at, Sublattice::A))
            .chain(b.map(|at| (at, Sublattice::B)))
            .collect()
    }

    fn extent(&self) -> [f64; 2] {
        [0, 1].map(|k| self.shape[k] as f64 * self.sampling[k])
    }

    pub(super) fn image(&self) -> Image {
        let [sy, sx] = self.sampling;
        let mut ideal = Array2::from_elem(self.shape, self.background);
        for (at, sublattice) in self.all_columns() {
            let contrast = (self.contrast)(at);
            let height = match sublattice {
                Sublattice::A => contrast[0],
                _ => self.b_height * contrast[1],
            };
            let reach = 6.0 * self.width;
            let range = |x: f64, step: f64, n: usize| {
                let low = ((x - reach) / step).max(0.0) as usize;
                low..(((x + reach) / step).max(0.0) as usize).min(n)
            };
            for row in range(at[1], sy, self.shape[0]) {
                for col in range(at[0], sx, self.shape[1]) {
                    let q = (row as f64 * sy - at[1]).powi(2) + (col as f64 * sx - at[0]).powi(2);
                    ideal[(row, col)] += height * (-0.5 * q / self.width.powi(2)).exp();
                }
            }
        }
        let counts = self.dose * sx * sy;
        let mut random = stream(self.seed, "dose", 0);
        let data = ideal.mapv(|value| {
            if counts.is_finite() {
                Poisson::new(counts * value).map_or(0.0, |p| p.sample(&mut random) / counts) as f32
            } else {
                value as f32
            }
        });
        Image {
            data,
            sampling: self.sampling,
        }
    }
}
