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

    use num_complex::Complex;
    use rand_distr::{Distribution, StandardNormal};

    use super::super::super::scattering::ScatteringTable;
    use super::super::settings::DiffuseDetector;
    use super::*;
    use crate::rng::stream;
    use crate::units::{RAD_PER_MRAD, interaction, kappa, wavelength};

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

    /// W_tot(r) = σ²(⟨v²⟩ − ⟨v⟩²) ≥ 0, point by point, if all k count. Here v has k below 8 1/Å only, so that v² is on the
    /// grid without aliases; the rest of W_tot, 4 % of W(0), is a peak on the atom. Compared where that is not: beyond 0.3 Å.
    /// The mean is over a lattice of displacements, which converges exponentially.
    #[test]
    fn absorption_is_the_variance_of_the_potential() {
        let (rms, pixels) = (0.1, 64);
        let (sigma, centre) = (interaction(ENERGY), SIDE / 2.0);
        let (mut mean, mut square) = (
            Array2::<f64>::zeros((pixels, pixels)),
            Array2::zeros((pixels, pixels)),
        );
        let mut total = 0.0;
        for i in -10..=10 {
            for j in -10..=10 {
                let (x, y) = (0.05 * f64::from(i), 0.05 * f64::from(j));
                let weight = (-(x * x + y * y) / (2.0 * rms * rms)).exp();
                let v =
                    potential(&[[centre + x, centre + y, 1.0]], 26, pixels).projected(0) * sigma;
                mean.scaled_add(weight, &v);
                square.scaled_add(weight, &(&v * &v));
                total += weight;
            }
        }
        mean /= total;
        let variance = square / total - &mean * &mean;
        let specimen = potential(&[[centre, centre, 1.0]], 26, pixels);
        let absorption = tables(26, rms, &[]).maps(&specimen).unwrap().absorption(0);
        let peak = absorption.fold(0.0_f64, |m, v| m.max(*v));
        for ((y, x), value) in absorption.indexed_iter() {
            let step = SIDE / pixels as f64;
            let distance = (step * x as f64 - centre).hypot(step * y as f64 - centre);
            let error = (value - variance[(y, x)]).abs() / peak;
            assert!(
                error < if distance < 0.3 { 0.1 } else { 5e-3 },
                "{distance} Å: {error}"
            );
        }
    }

    /// A probe on one atom, against the mean over displaced atoms of what the thin slice scatters into the detector, less
    /// what the mean amplitude scatters. 600 displacements leave 2 %; that the model places the centre of the detector in
    /// every part of the wave, and that a slice scatters to first order, 3 % together: the bound is 5 %.
    #[test]
    fn diffuse_signal_is_that_of_frozen_phonons() {
        let (rms, number, pixels) = (0.08, 26, 128);
        let detectors = [annulus(80.0, 200.0), annulus(120.0, 200.0)];
        let specimen = potential(&[[2.03, 1.97, 1.0]], number, pixels);
        let grid = *specimen.grid();
        let fft = Fft2::<f64>::new(grid.shape());
        let (ky, kx) = (grid.ky(), grid.kx());
        let angle = |i: usize| wavelength(ENERGY) * kx[i % pixels].hypot(ky[i / pixels]);
        let mut probe: Vec<Complex<f64>> = (0..pixels * pixels)
            .map(|i| {
                let phase = -TAU * (2.1 * kx[i % pixels] + 2.0 * ky[i / pixels]);
                Complex::cis(phase) * f64::from(u8::from(angle(i) < 25.0 * RAD_PER_MRAD))
            })
            .collect();
        fft.inverse(&mut probe, &mut fft.scratch());
        let norm: f64 = probe.iter().map(Complex::norm_sqr).sum();
        let factor = ScatteringTable::Lobato.factor(number).unwrap();
        let scale = interaction(ENERGY) / (kappa() * SIDE * SIDE);
        let mut rng = stream(4, "displacements", 0);
        let count = 600;
        let mut incoherent = vec![0.0; pixels * pixels];
        let mut coherent = vec![Complex::<f64>::default(); pixels * pixels];
        for _ in 0..count {
            let mut coordinate = |centre: f64| {
                let deviate: f64 = StandardNormal.sample(&mut rng);
                centre + rms * deviate
            };
            let (x, y) = (coordinate(2.03), coordinate(1.97));
            let spectrum = Array2::from_shape_fn(grid.shape(), |(j, i)| {
                let f = factor.at_squared(kx[i] * kx[i] + ky[j] * ky[j]);
                Complex::cis(-TAU * (kx[i] * x + ky[j] * y)) * f * scale
            });
            let phase = synthesis(spectrum, &fft);
            let mut wave: Vec<_> = probe.iter().zip(&phase).map(|(p, v)| p * v).collect();
            fft.forward(&mut wave, &mut fft.scratch());
            for (i, amplitude) in wave.iter().enumerate() {
                incoherent[i] += amplitude.norm_sqr() / f64::from(count);
                coherent[i] += amplitude / f64::from(count);
            }
        }
        let maps = tables(number, rms, &detectors)
            .maps(&specimen)
            .unwrap()
            .channels(0);
        for (map, detector) in maps.axis_iter(Axis(0)).zip(detectors) {
            let range = detector.inner_mrad * RAD_PER_MRAD..detector.outer_mrad * RAD_PER_MRAD;
            let seen = (0..pixels * pixels).filter(|&i| range.contains(&angle(i)));
            let diffuse: f64 = seen.map(|i| incoherent[i] - coherent[i].norm_sqr()).sum();
            // Parseval: Σ|F[ψ]|² = N Σ|ψ|².
            let sampled = diffuse / (norm * (pixels * pixels) as f64);
            let modelled: f64 = probe.iter().zip(map).map(|(p, w)| p.norm_sqr() * w).sum();
            let ratio = modelled / norm / sampled;
            assert!(
                (ratio - 1.0).abs() < 0.05,
                "{} mrad: {ratio}",
                detector.inner_mrad
            );
        }
    }
}
