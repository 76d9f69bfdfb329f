//! What the response is learnt from: small periodic blocks with columns out of place in many ways, run by full-field multislice.
//!
//! Every block has a random smooth polar field around a random mean, a random shift of every column and of each sublattice, Sm on a
//! random part of its A sites, and a tilt. Its image tells of as many columns as it has.

use std::sync::Arc;

use ndarray::{Array2, Array3};
use rand_distr::{Distribution, Normal};

use super::microscope::Microscope;
use super::settings::TrainingSettings;
use super::sites::Sites;
use crate::crystal::Structure;
use crate::crystal::field::{Field, PolarField};
use crate::crystal::lattice::Lattice;
use crate::crystal::perovskite::{Distortion, Occupation, Perovskite};
use crate::error::{Error, Result};
use crate::multislice::{Multislice, Optics, Potential, ThermalDiffuse};
use crate::neighbours::Point;
use crate::rng::{Rng, stream};

/// Atoms of a cell.
const ATOMS: usize = 5;

/// A block to be run.
#[derive(Debug, Clone)]
pub struct Block {
    /// The atoms.
    pub structure: Structure,
    /// Cells `[x, y, z]`.
    pub cells: [usize; 3],
    /// Mistilt `[x, y]` [mrad].
    pub tilt_mrad: [f64; 2],
}

impl Block {
    /// Block number `index`. The first stands straight; the others have tilts that fill an eighth of the disk evenly, which the
    /// symmetries of the ideal cell complete.
    ///
    /// # Errors
    /// Amplitudes that are no numbers.
    pub fn draw(
        settings: &TrainingSettings,
        lattice_angstrom: f64,
        seed: u64,
        index: u64,
    ) -> Result<Self> {
        let cells = [settings.cells, settings.cells, settings.depth_cells];
        let mut rng = stream(seed, "emulator block", index);
        let mut uniform = |from: f64, to: f64| from + (to - from) * rng.random::<f64>();
        let (length, turn) = (
            uniform(0.0, settings.mean_amplitude),
            uniform(0.0, std::f64::consts::TAU),
        );
        let mean = [length * turn.cos(), length * turn.sin(), uniform(-1.2, 1.2)];
        let samarium = if index % 2 == 1 {
            uniform(0.2, 1.0) * settings.samarium_fraction
        } else {
            0.0
        };
        let extent = [settings.cells as f64 * lattice_angstrom; 2];
        let rms = settings.rms_amplitude;
        let field = Field::turbulent(
            extent,
            settings.shortest_wave_angstrom,
            [rms; 3],
            mean,
            seed ^ (index << 32),
        );
        let (mut structure, _) = Perovskite {
            cells,
            lattice: Lattice::cubic(lattice_angstrom),
            distortion: Distortion::R3c {
                amplitude: 1.0,
                field: PolarField::everywhere(field),
                shear: 0.0,
            },
            antipolar: None,
            injected: [[0.0; 3]; 2],
            occupation: Occupation {
                samarium,
                interface: None,
                seed: seed ^ (index << 32),
            },
        }
        .build();
        let normal = Normal::new(0.0, settings.column_noise_angstrom)
            .map_err(Error::compute("shifts of columns"))?;
        let mut shifts = stream(seed, "emulator columns", index);
        let rigid = settings.rigid_shift_angstrom;
        let rigid: [[f64; 2]; 2] =
            std::array::from_fn(|_| std::array::from_fn(|_| uniform(-rigid, rigid)));
        for cell in structure.positions.chunks_mut(ATOMS * settings.depth_cells) {
            let shift: [[f64; 2]; ATOMS] =
                std::array::from_fn(|_| std::array::from_fn(|_| normal.sample(&mut shifts)));
            for (atom, position) in cell.iter_mut().enumerate() {
                for axis in 0..2 {
                    let whole = rigid.get(atom % ATOMS).map_or(0.0, |rigid| rigid[axis]);
                    let moved = position[axis] + shift[atom % ATOMS][axis] + whole;
                    position[axis] = moved.rem_euclid(structure.cell[axis]);
                }
            }
        }
        Ok(Self {
            structure,
            cells,
            tilt_mrad: tilt(index, settings.tilt_mrad),
        })
    }

    /// The columns down to `depth` cells.
    ///
    /// # Errors
    /// As [`Sites::new`].
    pub fn sites(&self, depth: usize) -> Result<Sites> {
        Sites::new(&self.structure, self.cells, depth)
    }

    /// Images on a raster of `points` × `points` over the block, behind each depth [cells]: `(detector, depth, probe)`, probes row by
    /// row. The field is `copies` blocks wide and high, all alike.
    ///
    /// # Errors
    /// As the constructors of potential and engine.
    pub fn images(
        &self,
        microscope: &Microscope,
        depths: &[usize],
        points: usize,
        copies: usize,
    ) -> Result<Array3<f64>> {
        let [nx, ny, _] = self.cells;
        let field = self.repeated(copies);
        let engine = microscope.engine(&field, [nx * copies, ny * copies], depths)?;
        let step = [0, 1].map(|axis| self.structure.cell[axis] / points as f64);
        let positions: Vec<Point> = (0..points * points)
            .map(|n| [(n % points) as f64 * step[0], (n / points) as f64 * step[1]])
            .collect();
        Ok(engine.with_tilt(self.tilt_mrad).scan(&positions))
    }

    /// The atoms of `copies` × `copies` blocks side by side.
    fn repeated(&self, copies: usize) -> Structure {
        let [x, y, z] = self.structure.cell;
        let mut field = self.structure.clone();
        for copy in 1..copies * copies {
            let off = [(copy % copies) as f64 * x, (copy / copies) as f64 * y, 0.0];
            let moved = |at: &[f64; 3]| std::array::from_fn(|axis| at[axis] + off[axis]);
            let positions = self.structure.positions.iter().map(moved);
            field.positions.extend(positions);
            field.numbers.extend(&self.structure.numbers);
            field.sublattices.extend(&self.structure.sublattices);
        }
        field.cell = [x * copies as f64, y * copies as f64, z];
        field
    }

    /// The columns at each depth.
    ///
    /// # Errors
    /// As [`Sites::new`].
    pub fn sites_at(&self, depths: &[usize]) -> Result<Vec<Sites>> {
        depths.iter().map(|&depth| self.sites(depth)).collect()
    }
}

impl Microscope {
    /// Pixels `(rows, cols)` of the wave on a block of `cells` `[x, y]`.
    #[must_use]
    pub fn pixels(&self, cells: [usize; 2]) -> (usize, usize) {
        (
            self.pixels_per_cell * cells[1],
            self.pixels_per_cell * cells[0],
        )
    }

    /// The exact engine on a block of `cells` `[x, y]`, read behind each depth [cells], at zero tilt.
    ///
    /// # Errors
    /// As the constructors of potential and engine.
    pub fn engine(
        &self,
        structure: &Structure,
        cells: [usize; 2],
        depths: &[usize],
    ) -> Result<Multislice> {
        let (potential, optics) = self.specimen(structure, cells, depths)?;
        Multislice::new(&potential, &optics)
    }

    /// Potential and optics for a block of `cells` `[x, y]`, to be read behind each depth [cells].
    ///
    /// # Errors
    /// As their constructors.
    pub fn specimen(
        &self,
        structure: &Structure,
        cells: [usize; 2],
        depths: &[usize],
    ) -> Result<(Potential, Optics)> {
        let detectors: Vec<_> = self.detectors.values().cloned().collect();
        let diffuse = ThermalDiffuse::new(
            &self.thermal_diffuse,
            self.scattering_factors,
            &self.probe,
            &detectors,
        )?;
        let edge = structure.cell[0] / cells[0] as f64;
        let slice = edge / self.slices_per_cell as f64;
        let potential = Potential::new(
            &structure.positions,
            &structure.numbers,
            structure.cell,
            self.pixels(cells),
            self.scattering_factors,
            slice * (1.0 + 1e-9),
        )?
        .oversampled(self.oversampling)?
        .damped(diffuse.rms())?;
        let optics = Optics {
            probe: self.probe.clone(),
            detectors,
            exit_slices: depths.iter().map(|d| d * self.slices_per_cell).collect(),
            precision: self.precision,
            thermal: Some(Arc::new(diffuse)),
        };
        Ok((potential, optics))
    }
}

/// Tilt of a block in the eighth 0 ≤ y ≤ x of a disk [mrad], by the additive recurrence of M. Roberts in two dimensions; the
/// first is zero, and a fifth lie on the rim, where a polynomial fits worst.
fn tilt(index: u64, largest: f64) -> [f64; 2] {
    const PLASTIC: f64 = 1.324_717_957_244_746;
    if index == 0 {
        return [0.0; 2];
    }
    let part = |power: i32| (index as f64 / PLASTIC.powi(power) + 0.5).fract();
    let radius = if index % 5 == 1 { 1.0 } else { part(1).sqrt() };
    let (sin, cos) = (part(2) * std::f64::consts::FRAC_PI_4).sin_cos();
    [largest * radius * cos, largest * radius * sin]
}

/// Interpolates periodic images: `rows` at which places [px], of how many pixels. Exact for images without the frequency of
/// alternate signs (the kernel of Dirichlet).
#[must_use]
pub fn periodic_interpolation(places: &[f64], pixels: usize) -> Array2<f64> {
    let n = pixels as f64;
    Array2::from_shape_fn((places.len(), pixels), |(row, col)| {
        let angle = std::f64::consts::PI * (places[row] - col as f64) / n;
        if angle.sin().abs() < 1e-12 {
            return if pixels.is_multiple_of(2) {
                1.0 - 1.0 / n
            } else {
                1.0
            };
        }
        // Without the term of alternate signs where the number is even.
        if pixels.is_multiple_of(2) {
            (angle * (n - 1.0)).sin() / (n * angle.sin())
        } else {
            (angle * n).sin() / (n * angle.sin())
        }
    })
}
