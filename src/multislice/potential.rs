//! The specimen as a stack of projected potentials, with the exact phase of every atom.
//!
//! The projected potential of a slice is v(r) = F⁻¹[Σ_species f_e(k)/κ Σ_j exp(−2πi k·r_j)] (Kirkland, *Advanced Computing in
//! Electron Microscopy*, 2nd ed., ch. 5 and app. C; infinite projection: an atom acts in the slice that holds its centre).
//! The phase is evaluated at the atom's own position, not at the nearest pixels: then images do not depend on where the
//! columns lie between the pixels, which is the very quantity to be measured.
//!
//! The sums over atoms come column by column of k_x, by a matrix product for few atoms and by a non-uniform Fourier transform
//! for many; every column is weighted, transformed back along y and put away, and half of the columns do, as v is real.
//!
//! Slices that hold the same atoms are computed once.
//!
//! exp(iσv) has higher frequencies than v, and on the grid of the wave those fold back: a heavy column still looks slightly
//! different between the pixels. [`Potential::oversampled`] computes v, and exp(iσv), on a finer grid.
//!
//! Atoms in thermal motion with the mean square displacement U along an axis have on average the potential with
//! f_e exp(−B k²/4), B = 8π²U ([`Potential::damped`]).

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::PI;
use std::sync::{Arc, OnceLock};

use ndarray::{Array2, ArrayView1, Zip};
use num_complex::Complex;

use super::fft::Fft2;
use super::grid::Grid;
use super::scattering::{ScatteringFactor, ScatteringTable};
use super::slicing::{SliceAtoms, deduplicate, slice_count, slice_of};
use super::span::Span;
use super::structure_factor::{StructureFactors, structure_factor};
use super::synthesis::Synthesis;
use crate::error::{Error, Result};
use crate::neighbours::Point;
use crate::units::kappa;

/// A specimen cut into slices of equal thickness, half open along the beam; periodic in x and y.
pub struct Potential {
    grid: Grid,
    /// The grid of v, a whole number of times finer than that of the wave.
    fine: Grid,
    species: BTreeMap<u8, ScatteringFactor>,
    slice_thickness: f64,
    order: Vec<usize>,
    unique: Vec<SliceAtoms>,
    /// Per species, f_e/κ over the area of the cell, on the fine grid for frequencies from 0 up [V]; made when the first
    /// potential is asked for.
    factors: Arc<OnceLock<Factors>>,
    /// Debye–Waller parameters B by atomic number [Å²]; none for atoms at rest.
    damping: BTreeMap<u8, f64>,
    /// Ready for the fine grid.
    structure: Arc<StructureFactors>,
    synthesis: Arc<Synthesis>,
}

/// A function of the spatial frequency for every species, `(ky, kx)` on a grid in the order of the transform.
pub(super) type Factors = BTreeMap<u8, Array2<f64>>;

impl Potential {
    /// Cuts a specimen into slices.
    ///
    /// `positions` `[x, y, z]` [Å] and atomic `numbers` run in parallel; `cell` is the box `[x, y, z]` [Å]; `shape` the
    /// pixels `(rows, cols)`; the thickness of a slice is the largest that divides the cell's height and does not exceed
    /// `slice_thickness` [Å]. Atoms outside the cell in x and y are its periodic images; above or below the cell by less
    /// than a slice (thermal motion), they belong to the first or last one.
    ///
    /// # Errors
    /// Lists of different length; positions that are not numbers or lie above or below the cell; an element that `table`
    /// lacks; a cell, grid or thickness without size.
    pub fn new(
        positions: &[[f64; 3]],
        numbers: &[u8],
        cell: [f64; 3],
        shape: (usize, usize),
        table: ScatteringTable,
        slice_thickness: f64,
    ) -> Result<Self> {
        let grid = Grid::new(shape, [cell[1], cell[0]])?;
        check_specimen(positions, numbers, cell[2], slice_thickness)?;
        let count = slice_count(cell[2], slice_thickness);
        let thickness = cell[2] / count as f64;
        let mut slices = vec![SliceAtoms::new(); count];
        for (index, (&[x, y, z], &number)) in positions.iter().zip(numbers).enumerate() {
            let slice = slice_of(z, thickness, count).ok_or_else(|| {
                Error::unmeasurable(
                    "potential of the specimen",
                    format!("atom {index} at z = {z} Å"),
                    format!("0 <= z < {} Å, the height of the cell", cell[2]),
                )
            })?;
            slices[slice].entry(number).or_default().push([x, y]);
        }
        let (order, unique) = deduplicate(slices, grid.extent());
        let (structure, synthesis) = ready(shape);
        Ok(Self {
            species: scattering_factors(numbers, table)?,
            factors: Arc::default(),
            damping: BTreeMap::new(),
            structure,
            synthesis,
            slice_thickness: thickness,
            grid,
            fine: grid,
            order,
            unique,
        })
    }

    /// The same specimen, with potentials and transmission functions computed on a grid `factor` times finer than the
    /// wave's along each axis. The time to make them grows with the square; that of the simulation stays.
    ///
    /// # Errors
    /// `factor` is 0.
    pub fn oversampled(self, factor: usize) -> Result<Self> {
        let (rows, cols) = self.grid.shape();
        let fine = Grid::new((rows * factor, cols * factor), self.grid.extent())?;
        let (structure, synthesis) = ready(fine.shape());
        Ok(Self {
            factors: Arc::default(),
            structure,
            synthesis,
            fine,
            ..self
        })
    }

    /// The part of the specimen in a box, as a periodic specimen of its own: with the pixels of this one, of the rows and
    /// columns `spans` = `[y, x]`. Atoms beyond the border are missing. A box of the same shape, `like`, shares its tables.
    ///
    /// # Errors
    /// Fewer than 4 pixels along an axis.
    pub(super) fn cut(&self, spans: [Span; 2], like: Option<&Self>) -> Result<Self> {
        let [pixel, period] = [self.grid.sampling(), self.grid.extent()];
        let length = |axis: usize| spans[axis].length(pixel[axis], period[axis]);
        let extent = [length(0), length(1)];
        let grid = Grid::new((spans[0].count, spans[1].count), extent)?;
        let oversampling = self.fine.shape().0 / self.grid.shape().0;
        let (rows, cols) = grid.shape();
        let fine = Grid::new((rows * oversampling, cols * oversampling), extent)?;
        let images = |axis: usize, r: f64| spans[axis].images(r, pixel[axis], period[axis]);
        let inside = |points: &Vec<Point>| -> Vec<Point> {
            let images = |p: &Point| {
                let p = *p;
                images(1, p[0]).flat_map(move |x| images(0, p[1]).map(move |y| [x, y]))
            };
            points.iter().flat_map(images).collect()
        };
        let cut = |atoms: &SliceAtoms| atoms.iter().map(|(z, p)| (*z, inside(p))).collect();
        let share = |like: &Self| (Arc::clone(&like.structure), Arc::clone(&like.synthesis));
        let (structure, synthesis) = like.map_or_else(|| ready(fine.shape()), share);
        Ok(Self {
            structure,
            synthesis,
            grid,
            fine,
            species: self.species.clone(),
            slice_thickness: self.slice_thickness,
            order: self.order.clone(),
            unique: self.unique.iter().map(cut).collect(),
            factors: like.map_or_else(Arc::default, |like| Arc::clone(&like.factors)),
            damping: self.damping.clone(),
        })
    }

    /// The same specimen with the average potential of atoms in thermal motion; `rms` are the root mean square
    /// displacements along one axis by atomic number [Å].
    ///
    /// # Errors
    /// The specimen holds an element that `rms` lacks.
    pub fn damped(self, rms: &BTreeMap<u8, f64>) -> Result<Self> {
        let species = self.species();
        for number in &species {
            rms_of(*number, rms)?;
        }
        let damping = rms.iter().map(|(&z, &u)| (z, debye_waller(u))).collect();
        Ok(Self {
            factors: Arc::default(),
            damping,
            ..self
        })
    }

    /// Atomic numbers of the specimen's elements, rising.
    pub(super) fn species(&self) -> Vec<u8> {
        self.species.keys().copied().collect()
    }

    /// Atomic number and place of all atoms of the different slices.
    pub(super) fn atoms(&self) -> impl Iterator<Item = (u8, Point)> {
        let slices = self.unique.iter().flatten();
        slices.flat_map(|(number, points)| points.iter().map(|&point| (*number, point)))
    }

    /// The pixel grid of the wave.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The pixel grid of the potential; the wave's unless [oversampled](Potential::oversampled).
    #[must_use]
    pub fn fine_grid(&self) -> &Grid {
        &self.fine
    }

    /// Thickness of a slice [Å].
    #[must_use]
    pub fn slice_thickness(&self) -> f64 {
        self.slice_thickness
    }

    /// For every slice, entrance first, the index of its potential among the different ones.
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Number of different slices.
    #[must_use]
    pub fn unique_slices(&self) -> usize {
        self.unique.len()
    }

    /// Projected potential of the different slice `index` on the [`Potential::fine_grid`], `(y, x)` [V Å].
    ///
    /// # Panics
    /// `index` is not below [`Potential::unique_slices`].
    #[must_use]
    pub fn projected(&self, index: usize) -> Array2<f64> {
        let tabulate = || tabulate(&self.species, &self.damping, &self.fine);
        self.superposed(index, self.factors.get_or_init(tabulate))
    }

    /// Σ over the atoms of slice `index` of F⁻¹[g(k) exp(−2πi k·r_j)] on the [`Potential::fine_grid`], `(y, x)`; `factors` are
    /// g over the area of the cell for every species on that grid. They are even along x and along y: frequencies from 0 up
    /// are enough.
    pub(super) fn superposed(&self, index: usize, factors: &Factors) -> Array2<f64> {
        let (cols, extent) = (self.fine.shape().1, self.fine.extent());
        let of_species = |(number, points): (&u8, &Vec<Point>)| {
            (self.structure.columns(points, extent), &factors[number])
        };
        let mut species: Vec<_> = self.unique[index].iter().map(of_species).collect();
        let mut kx = 0;
        self.synthesis.field(|column| {
            for (structure, factor) in &mut species {
                let (values, factor) = (structure.next_column(), factor.column(kx));
                add_column(column, values, factor, 2 * kx == cols);
            }
            kx += 1;
        })
    }

    /// Σ exp(−2πi k·r_j) over the atoms of slice `index`, by species, on `grid` in the order of the transform.
    pub(super) fn structure_factors(
        &self,
        index: usize,
        grid: &Grid,
    ) -> BTreeMap<u8, Array2<Complex<f64>>> {
        let atoms = self.unique[index].iter();
        atoms
            .map(|(&number, points)| (number, structure_factor(points, grid)))
            .collect()
    }
}

/// What transforms on a grid of `shape` need.
fn ready(shape: (usize, usize)) -> (Arc<StructureFactors>, Arc<Synthesis>) {
    let structure = StructureFactors::new(shape);
    (Arc::new(structure), Arc::new(Synthesis::new(shape)))
}

/// Adds structure factors for ky from 0 to the highest and from the lowest to −1, times a function that is even in ky, to a
/// column in the order of the transform. The highest ky of an even count stands for both signs: their mean is what a real
/// field has. In the highest column the transform's order holds a single corner, kx and ky of one sign.
fn add_column(
    sums: &mut [Complex<f64>],
    values: &[Complex<f64>],
    factor: ArrayView1<f64>,
    highest: bool,
) {
    let rows = sums.len();
    let (rising, falling) = values.split_at(rows / 2 + 1);
    let signed = (rows - 1) / 2; // frequencies with a negative of their own
    let positive = sums[..=signed].iter_mut().zip(rising);
    for ((sum, value), factor) in positive.zip(factor) {
        *sum += value * factor;
    }
    let negative = sums.iter_mut().rev().zip(falling.iter().rev());
    for ((sum, value), factor) in negative.take(signed).zip(factor.iter().skip(1)) {
        *sum += value * factor;
    }
    if rows.is_multiple_of(2) {
        let other = if highest {
            rising[rows / 2]
        } else {
            falling[0]
        };
        sums[rows / 2] += (rising[rows / 2] + other) * (0.5 * factor[rows / 2]);
    }
}

/// Adds a structure factor times a real function of the frequency to a spectrum.
pub(super) fn add_product(
    spectrum: &mut Array2<Complex<f64>>,
    structure: &Array2<Complex<f64>>,
    factor: &Array2<f64>,
) {
    Zip::from(spectrum)
        .and(structure)
        .and(factor)
        .for_each(|sum, phase, factor| *sum += phase * factor);
}

/// From a spectrum that carries 1/area to the real field, the plain sum over k: the inverse transform would divide by N.
pub(super) fn synthesis(mut spectrum: Array2<Complex<f64>>, fft: &Fft2<f64>) -> Array2<f64> {
    let pixels = spectrum.len() as f64;
    if let Some(values) = spectrum.as_slice_mut() {
        fft.inverse(values, &mut fft.scratch());
    }
    spectrum.mapv(|value| value.re * pixels)
}

/// B = 8π²u² [Å²] from the root mean square displacement `rms` along one axis [Å].
pub(super) fn debye_waller(rms: f64) -> f64 {
    8.0 * PI * PI * rms * rms
}

/// The displacement of an element.
///
/// # Errors
/// `rms` lacks it.
pub(super) fn rms_of(number: u8, rms: &BTreeMap<u8, f64>) -> Result<f64> {
    rms.get(&number).copied().ok_or_else(|| {
        Error::unmeasurable(
            "thermal motion of the specimen",
            format!("displacements of the atomic numbers {:?}", rms.keys()),
            format!("one of the atomic number {number} too, since the specimen holds it"),
        )
    })
}

fn check_specimen(
    positions: &[[f64; 3]],
    numbers: &[u8],
    height: f64,
    slice_thickness: f64,
) -> Result<()> {
    let wrong = |got: String, needed: &str| {
        Err(Error::unmeasurable(
            "potential of the specimen",
            got,
            needed,
        ))
    };
    if positions.len() != numbers.len() {
        return wrong(
            format!(
                "{} positions, {} atomic numbers",
                positions.len(),
                numbers.len()
            ),
            "one atomic number per position",
        );
    }
    if let Some(index) = positions
        .iter()
        .position(|p| !p.iter().all(|value| value.is_finite()))
    {
        return wrong(
            format!("atom {index} at {:?} Å", positions[index]),
            "finite positions",
        );
    }
    for (name, length) in [("height", height), ("slice thickness", slice_thickness)] {
        if !(length.is_finite() && length > 0.0) {
            return wrong(format!("a {name} of {length} Å"), "a positive length");
        }
    }
    Ok(())
}

/// The scattering factors of all elements among `numbers`.
fn scattering_factors(
    numbers: &[u8],
    table: ScatteringTable,
) -> Result<BTreeMap<u8, ScatteringFactor>> {
    let elements: BTreeSet<u8> = numbers.iter().copied().collect();
    let factor = |number: u8| Ok((number, table.factor(number)?));
    elements.into_iter().map(factor).collect()
}

/// f_e(|k|)/κ · exp(−B k²/4) over the cell's area, for every species and frequencies from 0 up.
fn tabulate(
    species: &BTreeMap<u8, ScatteringFactor>,
    damping: &BTreeMap<u8, f64>,
    grid: &Grid,
) -> Factors {
    let [height, width] = grid.extent();
    let scale = 1.0 / (kappa() * height * width);
    let (rows, cols) = grid.shape();
    let square = |k: &f64| k * k;
    let ky: Vec<f64> = grid.ky()[..=rows / 2].iter().map(square).collect();
    let kx: Vec<f64> = grid.kx()[..=cols / 2].iter().map(square).collect();
    let of_element = |(&number, factor): (&u8, &ScatteringFactor)| {
        let b = damping.get(&number).copied().unwrap_or(0.0);
        let damped = |k2: &f64| (-b * k2 / 4.0).exp();
        let along: Vec<f64> = ky.iter().map(damped).collect();
        let across: Vec<f64> = kx.iter().map(|k2| scale * damped(k2)).collect();
        let value =
            |(x, y): (usize, usize)| factor.at_squared(kx[x] + ky[y]) * (across[x] * along[y]);
        let columns = Array2::from_shape_fn((kx.len(), ky.len()), value);
        // Columns are what is asked for: they lie together.
        (number, columns.reversed_axes())
    };
    species.iter().map(of_element).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    use crate::rng::{Rng, stream};

    const CELL: [f64; 3] = [7.0, 5.0, 6.0];

    fn random_specimen(count: usize) -> (Vec<[f64; 3]>, Vec<u8>) {
        let mut rng = stream(5, "atoms", 0);
        (0..count)
            .map(|i| {
                let position = CELL.map(|side| side * rng.random::<f64>());
                (position, [8, 26, 83][i % 3])
            })
            .unzip()
    }

    /// The double sum over atoms and frequencies, at one point.
    fn slow_potential(specimen: &[([f64; 3], u8)], shape: (usize, usize), r: [f64; 2]) -> f64 {
        let grid = Grid::new(shape, [CELL[1], CELL[0]]).unwrap();
        let mut sum = 0.0;
        for &([x, y, _], number) in specimen {
            let factor = ScatteringTable::Kirkland.factor(number).unwrap();
            for ky in grid.ky() {
                for kx in grid.kx() {
                    let phase = TAU * (kx * (r[0] - x) + ky * (r[1] - y));
                    sum += factor.at_squared(kx * kx + ky * ky) * phase.cos();
                }
            }
        }
        sum / (kappa() * CELL[0] * CELL[1])
    }

    /// With few and with many atoms of an element in a slice, for which structure factors are made in different ways. Both
    /// are good to 1e-11 of the number of atoms at the highest frequencies and to more below; 1e-10 of the peak leaves room.
    #[test]
    fn the_fast_potential_is_the_sum_over_atoms_and_frequencies() {
        for (count, shape) in [
            (9, (16, 24)),
            (9, (15, 22)),
            (600, (16, 24)),
            (600, (21, 15)),
        ] {
            let (positions, numbers) = random_specimen(count);
            let table = ScatteringTable::Kirkland;
            let potential = Potential::new(&positions, &numbers, CELL, shape, table, 3.0).unwrap();
            assert_eq!(potential.order(), [0, 1]);
            for slice in 0..2 {
                let low = 3.0 * slice as f64;
                let atoms = positions.iter().copied().zip(numbers.iter().copied());
                let inside = |(p, _): &([f64; 3], u8)| (low..low + 3.0).contains(&p[2]);
                let inside: Vec<_> = atoms.filter(inside).collect();
                let fast = potential.projected(slice);
                let peak = fast.iter().copied().fold(0.0, f64::max);
                for (row, col) in [(0, 0), (3, 11), (shape.0 - 1, shape.1 - 1), (8, 12)] {
                    let r = [
                        col as f64 * CELL[0] / shape.1 as f64,
                        row as f64 * CELL[1] / shape.0 as f64,
                    ];
                    let slow = slow_potential(&inside, shape, r);
                    assert!((fast[(row, col)] - slow).abs() < 1e-10 * peak);
                }
            }
        }
    }

    #[test]
    fn the_potential_of_a_shifted_atom_is_the_shifted_potential() {
        let make = |x: f64| {
            Potential::new(
                &[[x, 2.0, 1.0]],
                &[26],
                CELL,
                (32, 32),
                ScatteringTable::Lobato,
                6.0,
            )
            .unwrap()
            .projected(0)
        };
        let (here, there) = (make(1.1), make(1.1 + 3.0 * CELL[0] / 32.0));
        let difference = here
            .indexed_iter()
            .map(|((y, x), v)| (there[(y, (x + 3) % 32)] - v).abs())
            .fold(0.0, f64::max);
        assert!(difference < 1e-9 * here.iter().copied().fold(0.0, f64::max));
    }

    /// Smearing the atom over a Gaussian of the same rms is the definition; here by the mean over a fine lattice of shifts,
    /// which converges exponentially, and the shifts
    /// beyond 6 rms that are left out weigh 1e-8. Damping and a finer grid do not mind which comes first.
    #[test]
    fn the_damped_potential_is_the_mean_over_displaced_atoms() {
        let (rms, shape) = (0.1, (20, 28));
        let make = |x: f64, y: f64| {
            let atom = [[3.1 + x, 2.2 + y, 1.0]];
            Potential::new(&atom, &[8], CELL, shape, ScatteringTable::Lobato, 6.0).unwrap()
        };
        let amplitudes = BTreeMap::from([(8, rms)]);
        let damped = make(0.0, 0.0).damped(&amplitudes).unwrap().projected(0);
        let (mut mean, mut total) = (Array2::<f64>::zeros(shape), 0.0);
        for i in -12..=12 {
            for j in -12..=12 {
                let (x, y) = (0.05 * f64::from(i), 0.05 * f64::from(j));
                let weight = (-(x * x + y * y) / (2.0 * rms * rms)).exp();
                mean.scaled_add(weight, &make(x, y).projected(0));
                total += weight;
            }
        }
        let peak = damped.iter().copied().fold(0.0, f64::max);
        let error = (&mean / total - &damped).fold(0.0_f64, |m, v| m.max(v.abs()));
        assert!(error < 1e-7 * peak, "{}", error / peak);
        let fine = |potential: Potential| potential.oversampled(2).unwrap();
        let after = fine(make(0.0, 0.0)).damped(&amplitudes).unwrap();
        let before = fine(make(0.0, 0.0).damped(&amplitudes).unwrap());
        assert_eq!(after.projected(0), before.projected(0));
        let missing = make(0.0, 0.0).damped(&BTreeMap::from([(83, 0.1)]));
        assert!(missing.err().unwrap().to_string().contains("number 8"));
    }

    #[test]
    fn equal_slices_are_computed_once() {
        let a = 3.9643;
        let mut positions = Vec::new();
        for k in 0..10 {
            let z = a * f64::from(k);
            positions.push([0.0, 0.0, z + a / 4.0]);
            // The same column, listed on the other side of the periodic border and with the noise of its sums.
            let noise = if k % 2 == 0 { -1e-13 } else { 1e-13 };
            positions.push([a / 2.0 + noise, 2.0 * a + noise, z + 0.75 * a]);
        }
        let potential = Potential::new(
            &positions,
            &[83; 20],
            [2.0 * a, 2.0 * a, 10.0 * a],
            (16, 16),
            ScatteringTable::Lobato,
            a / 2.0,
        )
        .unwrap();
        assert_eq!(potential.unique_slices(), 2);
        assert_eq!(potential.order().len(), 20);
        assert_eq!(potential.order()[..4], [0, 1, 0, 1]);
    }

    #[test]
    fn specimens_that_make_no_sense_are_refused() {
        let build = |positions: &[[f64; 3]], numbers: &[u8], thickness: f64| {
            Potential::new(
                positions,
                numbers,
                CELL,
                (16, 16),
                ScatteringTable::Lobato,
                thickness,
            )
            .map(|_| ())
            .unwrap_err()
            .to_string()
        };
        assert!(build(&[[0.0; 3]], &[8, 8], 2.0).contains("2 atomic numbers"));
        assert!(build(&[[0.0, f64::NAN, 0.0]], &[8], 2.0).contains("finite"));
        assert!(build(&[[0.0, 0.0, 60.0]], &[8], 2.0).contains("z = 60"));
        assert!(build(&[[0.0; 3]], &[0], 2.0).contains("1 to 103"));
        assert!(build(&[[0.0; 3]], &[8], 0.0).contains("slice thickness"));
    }
}
