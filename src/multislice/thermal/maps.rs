//! W(r) of the slices of a specimen: Σ over species F⁻¹\[W(Q) Σ_j exp(−2πi Q·r_j)\], with the exact phase of every atom.

use ndarray::{Array2, Array3, Axis, Zip};

use super::super::fft::Fft2;
use super::super::grid::Grid;
use super::super::potential::{Factors, Potential, add_product, synthesis};
use super::tables::ThermalTables;
use crate::error::Result;

/// The maps of absorption and of detection for the slices of a specimen, each made when it is asked for.
pub struct ThermalMaps<'a> {
    potential: &'a Potential,
    /// W_tot over the area, on the grid of the potential.
    absorption: Factors,
    /// For every detector W over the area, on the grid of the wave.
    channels: Vec<Factors>,
    /// Plans for the grid of the wave.
    fft: Fft2<f64>,
}

impl ThermalTables {
    /// Makes maps for the slices of `potential` ready; it should be [damped](Potential::damped) by the same motion.
    ///
    /// # Errors
    /// The specimen holds an element that the tables lack.
    pub fn maps<'a>(&self, potential: &'a Potential) -> Result<ThermalMaps<'a>> {
        let species = potential.species();
        let on = |grid: &Grid, weight: &(dyn Fn(u8, [f64; 2]) -> Result<f64> + Sync)| {
            let factor = |&number: &u8| Ok((number, tabulate(grid, &|q| weight(number, q))?));
            species.iter().map(factor).collect::<Result<Factors>>()
        };
        let absorbed = |number: u8, q: [f64; 2]| self.absorbed(number, q);
        let channel = |detector: usize| {
            on(potential.grid(), &|number, q| {
                self.detected(number, detector, q)
            })
        };
        Ok(ThermalMaps {
            absorption: on(potential.fine_grid(), &absorbed)?,
            channels: (0..self.detectors()).map(channel).collect::<Result<_>>()?,
            fft: Fft2::new(potential.grid().shape()),
            potential,
        })
    }
}

impl ThermalMaps<'_> {
    /// W_tot of the different slice `index` on the [`Potential::fine_grid`], `(y, x)`: transmission is exp(iσv − W_tot/2),
    /// before the band limit. A few values far from the atoms may be slightly negative, as the grid ends the series.
    ///
    /// # Panics
    /// `index` is not below [`Potential::unique_slices`].
    #[must_use]
    pub fn absorption(&self, index: usize) -> Array2<f64> {
        self.potential.superposed(index, &self.absorption)
    }

    /// W of the different slice `index` for every detector on the [`Potential::grid`], `(detector, y, x)`. A detector
    /// collects Σ|ψ|²W, ψ before the slice with Σ|ψ|² = 1 over the pixels for the incident probe.
    ///
    /// # Panics
    /// `index` is not below [`Potential::unique_slices`].
    #[must_use]
    pub fn channels(&self, index: usize) -> Array3<f64> {
        let grid = self.potential.grid();
        let structures = self.potential.structure_factors(index, grid);
        let (rows, cols) = grid.shape();
        let mut maps = Array3::zeros((self.channels.len(), rows, cols));
        for (mut map, factors) in maps.axis_iter_mut(Axis(0)).zip(&self.channels) {
            let mut spectrum = Array2::zeros(grid.shape());
            for (number, structure) in &structures {
                add_product(&mut spectrum, structure, &factors[number]);
            }
            map.assign(&synthesis(spectrum, &self.fft));
        }
        maps
    }
}

/// A function of Q = `[x, y]` [1/Å] over the area of the cell, on a grid in the order of the transform.
fn tabulate(grid: &Grid, weight: &(dyn Fn([f64; 2]) -> Result<f64> + Sync)) -> Result<Array2<f64>> {
    let (ky, kx) = (grid.ky(), grid.kx());
    let [height, width] = grid.extent();
    weight([0.0; 2])?; // an element is in the tables for all Q, or for none
    let mut factor = Array2::zeros(grid.shape());
    Zip::indexed(&mut factor).par_for_each(|(y, x), value| {
        *value = weight([kx[x], ky[y]]).unwrap_or(0.0) / (height * width);
    });
    Ok(factor)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::f64::consts::TAU;

    use super::super::super::scattering::ScatteringTable;
    use super::super::settings::DiffuseDetector;
    use super::*;
    use crate::units::{RAD_PER_MRAD, interaction, kappa, wavelength};
    use num_complex::Complex;

    const ENERGY: f64 = 200e3;
    const SIDE: f64 = 4.0;

    fn annulus(inner_mrad: f64, outer_mrad: f64) -> DiffuseDetector {
        DiffuseDetector {
            inner_mrad,
            outer_mrad,
            sector: None,
        }
    }

    fn potential(atoms: &[[f64; 3]], number: u8, pixels: usize) -> Potential {
        Potential::new(
            atoms,
            &vec![number; atoms.len()],
            [SIDE, SIDE, 2.0],
            (pixels, pixels),
            ScatteringTable::Lobato,
            2.0,
        )
        .unwrap()
    }

    fn tables(number: u8, rms: f64, detectors: &[DiffuseDetector]) -> ThermalTables {
        let rms = BTreeMap::from([(number, rms)]);
        ThermalTables::new(&rms, ScatteringTable::Lobato, ENERGY, detectors).unwrap()
    }

    /// Displacements `(x, y)` on a lattice up to 6 rms, with their normal probabilities first.
    fn displacements(rms: f64) -> Vec<(f64, f64, f64)> {
        let step = 0.6 * rms;
        let lattice = (-10..=10).flat_map(|i| (-10..=10).map(move |j| (i, j)));
        lattice
            .map(|(i, j)| {
                let (x, y) = (step * f64::from(i), step * f64::from(j));
                let density = (-(x * x + y * y) / (2.0 * rms * rms)).exp() / (TAU * rms * rms);
                (density * step * step, x, y)
            })
            .collect()
    }

    /// Rounding only: 1e-10 of the peak.
    #[test]
    fn maps_are_the_sum_over_atoms_and_frequencies() {
        let atoms = [[1.13, 2.71, 0.5], [3.4, 0.2, 0.7]];
        let sector = DiffuseDetector {
            sector: Some((0.3, 1.2)),
            ..annulus(60.0, 150.0)
        };
        let tables = tables(26, 0.07, &[annulus(80.0, 200.0), sector]);
        let specimen = potential(&atoms, 26, 15).oversampled(3).unwrap();
        let maps = tables.maps(&specimen).unwrap();
        let slow = |grid: &Grid, (row, col): (usize, usize), weight: &dyn Fn([f64; 2]) -> f64| {
            let [dy, dx] = grid.sampling();
            let r = [col as f64 * dx, row as f64 * dy];
            let mut sum = 0.0;
            for atom in &atoms {
                for y in grid.ky() {
                    for x in grid.kx() {
                        let phase = TAU * (x * (r[0] - atom[0]) + y * (r[1] - atom[1]));
                        sum += weight([x, y]) * phase.cos() / (SIDE * SIDE);
                    }
                }
            }
            sum
        };
        let channels = maps.channels(0);
        assert_eq!(channels.dim(), (2, 15, 15));
        let absorption = maps.absorption(0);
        assert_eq!(absorption.dim(), (45, 45));
        for place in [(0, 0), (10, 4), (14, 13)] {
            for detector in 0..2 {
                let weight = |q| tables.detected(26, detector, q).unwrap();
                let map = channels.index_axis(Axis(0), detector);
                let peak = map.fold(0.0_f64, |m, v| m.max(*v));
                let error = map[place] - slow(specimen.grid(), place, &weight);
                assert!(error.abs() < 1e-10 * peak, "{error}");
            }
            let weight = |q| tables.absorbed(26, q).unwrap();
            let error = absorption[place] - slow(specimen.fine_grid(), place, &weight);
            assert!(error.abs() < 1e-10, "{error}");
        }
    }

    /// W_tot(r) = σ²(⟨v²⟩ − ⟨v⟩²) point by point, if all k count. Here v ends at the Nyquist frequency, 8 1/Å, and W_tot at
    /// 12 1/Å; what lies between, 4 % of the height, is a peak on the atom and hardly reaches beyond 0.3 Å. The mean is over
    /// a lattice of displacements, which converges exponentially.
    #[test]
    fn absorption_is_the_variance_of_the_potential() {
        let (rms, pixels) = (0.1, 64);
        let (sigma, centre) = (interaction(ENERGY), SIDE / 2.0);
        let (mut mean, mut square) = (
            Array2::<f64>::zeros((pixels, pixels)),
            Array2::zeros((pixels, pixels)),
        );
        for (weight, x, y) in displacements(rms) {
            let v = potential(&[[centre + x, centre + y, 1.0]], 26, pixels).projected(0) * sigma;
            mean.scaled_add(weight, &v);
            square.scaled_add(weight, &(&v * &v));
        }
        let variance = square - &mean * &mean;
        let specimen = potential(&[[centre, centre, 1.0]], 26, pixels);
        let absorption = tables(26, rms, &[]).maps(&specimen).unwrap().absorption(0);
        let peak = absorption.fold(0.0_f64, |m, v| m.max(*v));
        for ((y, x), value) in absorption.indexed_iter() {
            let step = SIDE / pixels as f64;
            let distance = (step * x as f64 - centre).hypot(step * y as f64 - centre);
            let error = (value - variance[(y, x)]).abs() / peak;
            assert!(
                error < if distance < 0.3 { 0.06 } else { 2e-3 },
                "{distance} Å: {error}"
            );
        }
    }

    const PIXELS: usize = 128;

    /// |k|λ [rad] of every pixel, row by row.
    fn angles(grid: &Grid) -> Vec<f64> {
        let (ky, kx) = (grid.ky(), grid.kx());
        let angle = |i: usize| wavelength(ENERGY) * kx[i % PIXELS].hypot(ky[i / PIXELS]);
        (0..PIXELS * PIXELS).map(angle).collect()
    }

    /// A focused probe near the middle, Σ|ψ|² = 1.
    fn focused(grid: &Grid, fft: &Fft2<f64>, semiangle_mrad: f64) -> Vec<Complex<f64>> {
        let (ky, kx) = (grid.ky(), grid.kx());
        let inside = |(i, angle): (usize, f64)| {
            let phase = -TAU * (2.1 * kx[i % PIXELS] + 2.0 * ky[i / PIXELS]);
            Complex::cis(phase) * f64::from(u8::from(angle < semiangle_mrad * RAD_PER_MRAD))
        };
        let mut wave: Vec<_> = angles(grid).into_iter().enumerate().map(inside).collect();
        fft.inverse(&mut wave, &mut fft.scratch());
        let norm: f64 = wave.iter().map(Complex::norm_sqr).sum();
        wave.iter().map(|value| value / norm.sqrt()).collect()
    }

    /// ⟨|F\[σvψ\]|²⟩ − |⟨F\[σvψ\]⟩|² over the displacements of one atom at `place`, pixel by pixel, Σ|F\[ψ\]|² = 1.
    fn diffuse_pattern(number: u8, rms: f64, place: [f64; 2], probe: &[Complex<f64>]) -> Vec<f64> {
        let grid = Grid::new((PIXELS, PIXELS), [SIDE, SIDE]).unwrap();
        let fft = Fft2::<f64>::new(grid.shape());
        let (ky, kx) = (grid.ky(), grid.kx());
        let factor = ScatteringTable::Lobato.factor(number).unwrap();
        let scale = interaction(ENERGY) / (kappa() * SIDE * SIDE);
        let f = Array2::from_shape_fn(grid.shape(), |(y, x)| {
            scale * factor.at_squared(kx[x] * kx[x] + ky[y] * ky[y])
        });
        let mut incoherent = vec![0.0; PIXELS * PIXELS];
        let mut coherent = vec![Complex::<f64>::default(); PIXELS * PIXELS];
        for (weight, dx, dy) in displacements(rms) {
            let spectrum = Array2::from_shape_fn(grid.shape(), |(y, x)| {
                let along = kx[x] * (place[0] + dx) + ky[y] * (place[1] + dy);
                Complex::cis(-TAU * along) * f[(y, x)]
            });
            let phase = synthesis(spectrum, &fft);
            let mut wave: Vec<_> = probe.iter().zip(&phase).map(|(p, v)| p * v).collect();
            fft.forward(&mut wave, &mut fft.scratch());
            for (i, amplitude) in wave.iter().enumerate() {
                incoherent[i] += weight * amplitude.norm_sqr();
                coherent[i] += amplitude * weight;
            }
        }
        // Parseval: the forward transform of the crate has Σ|F[ψ]|² = N Σ|ψ|².
        let pairs = incoherent.iter().zip(&coherent);
        let pixels = (PIXELS * PIXELS) as f64;
        pairs.map(|(i, c)| (i - c.norm_sqr()) / pixels).collect()
    }

    /// How much of a pixel at `angle` [rad] lies on a detector: its edges cut through pixels, which are 6 mrad wide.
    fn covered(detector: &DiffuseDetector, angle: f64) -> f64 {
        let beyond = |edge_mrad: f64| {
            let pixels = (angle - edge_mrad * RAD_PER_MRAD) * SIDE / wavelength(ENERGY);
            (pixels + 0.5).clamp(0.0, 1.0)
        };
        beyond(detector.inner_mrad) - beyond(detector.outer_mrad)
    }

    /// A probe on one atom, against the mean over displaced atoms of what the thin slice scatters into the detector, less
    /// what the mean amplitude scatters. The mean over a lattice of displacements has no noise. The model centres the
    /// detector on every part of the wave, which costs 3 % for a wave of 25 mrad and goes with the mean square angle: at 7
    /// mrad, where the five beams of this cell have a tenth of it, 0.3 %, and 0.1 % for the edges. Bounds half as much more.
    #[test]
    fn diffuse_signal_is_that_of_frozen_phonons() {
        let (rms, number, place) = (0.08, 26, [2.03, 1.97]);
        let detectors = [annulus(80.0, 200.0), annulus(120.0, 200.0)];
        let specimen = potential(&[[place[0], place[1], 1.0]], number, PIXELS);
        let grid = specimen.grid();
        let tables = tables(number, rms, &detectors);
        let maps = tables.maps(&specimen).unwrap().channels(0);
        let angles = angles(grid);
        for (semiangle, bound) in [(25.0, 0.05), (7.0, 0.006)] {
            let probe = focused(grid, &Fft2::new(grid.shape()), semiangle);
            let pattern = diffuse_pattern(number, rms, place, &probe);
            for (map, detector) in maps.axis_iter(Axis(0)).zip(detectors) {
                let on = |(angle, value): (&f64, &f64)| covered(&detector, *angle) * value;
                let exact: f64 = angles.iter().zip(&pattern).map(on).sum();
                let model: f64 = probe.iter().zip(map).map(|(p, w)| p.norm_sqr() * w).sum();
                let error = model / exact - 1.0;
                assert!(error.abs() < bound, "{semiangle} mrad: {error}");
            }
        }
    }
}
