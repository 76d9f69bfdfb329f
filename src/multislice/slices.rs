//! A specimen as a beam of one energy sees it: transmission functions, and what thermal motion scatters out of each slice.

use ndarray::{Array2, Axis, Zip};
use num_complex::Complex;
use rayon::prelude::*;

use super::fft::{Fft2, Real, narrow};
use super::grid::Grid;
use super::lanes::{Lanes, Strips};
use super::optics::Optics;
use super::potential::Potential;
use super::thermal::ThermalMaps;
use crate::error::Result;
use crate::units::{RAD_PER_MRAD, interaction};

/// The slices of a specimen: t = exp(iσv), band-limited (Kirkland, *Advanced Computing in Electron Microscopy*, 2nd ed., ch. 6).
/// Each different slice once; made once and shared by all waves.
pub(super) struct Slices<T> {
    grid: Grid,
    thickness: f64,
    wavelength: f64,
    aperture: f64,
    unique: Vec<Sheet<T>>,
    order: Vec<usize>,
}

/// A slice as waves take it.
pub(super) struct Sheet<T> {
    /// The complex conjugate of the transmission function: rows of waves are multiplied with real and imaginary parts swapped,
    /// i ψ*.
    pub(super) conjugate: Strips<T>,
    /// As in [`Slice`]; none for a channel that collects nothing.
    pub(super) diffuse: Vec<Option<Strips<T>>>,
}

impl<T: Lanes> Sheet<T> {
    fn new(slice: Slice<T>, cols: usize) -> Self {
        let conjugate: Vec<_> = slice.transmission.iter().map(Complex::conj).collect();
        let map = |map: &Vec<T>| (!map.is_empty()).then(|| Strips::from_real(map, cols));
        Self {
            conjugate: Strips::from_complex(&conjugate, cols),
            diffuse: slice.diffuse.iter().map(map).collect(),
        }
    }

    /// The diffuse maps, `(y, x)`; empty for a channel that collects nothing.
    pub(super) fn diffuse_maps(&self) -> Vec<Vec<T>> {
        let values = |map: &Option<Strips<T>>| map.as_ref().map_or_else(Vec::new, Strips::to_real);
        self.diffuse.iter().map(values).collect()
    }

    /// The transmission function, `(y, x)`.
    #[cfg(test)]
    pub(super) fn transmission(&self) -> Vec<Complex<T>> {
        let values = self.conjugate.to_complex();
        values.iter().map(Complex::conj).collect()
    }
}

/// One slice, `(y, x)` row by row on the specimen's grid.
pub(super) struct Slice<T> {
    /// Transmission function.
    pub(super) transmission: Vec<Complex<T>>,
    /// Per channel, the part of |ψ|² that thermal motion scatters into it; empty without the thermal-diffuse model, and a
    /// channel is empty if it collects nothing.
    pub(super) diffuse: Vec<Vec<T>>,
}

/// Makes the slices of a potential, one by one.
pub(super) struct SliceMaker<'a> {
    potential: &'a Potential,
    /// Plans for the grids of the potential and of the wave.
    fine: Fft2<f64>,
    coarse: Fft2<f64>,
    /// Interaction constant σ.
    sigma: f64,
    /// For every channel, the map of its diffuse signal.
    thermal: Option<(Vec<Option<usize>>, ThermalMaps<'a>)>,
}

impl<'a> SliceMaker<'a> {
    /// As the beam of `optics` sees them; with thermal motion, `potential` is [damped](Potential::damped) by it.
    ///
    /// # Errors
    /// The thermal-diffuse tables lack an element.
    pub(super) fn new(potential: &'a Potential, optics: &Optics) -> Result<Self> {
        let thermal = match &optics.thermal {
            None => None,
            Some(thermal) => {
                let maps = thermal.tables().maps(potential)?;
                Some((thermal.channels().to_vec(), maps))
            }
        };
        Ok(Self {
            potential,
            fine: Fft2::new(potential.fine_grid().shape()),
            coarse: Fft2::new(potential.grid().shape()),
            sigma: interaction(optics.probe.energy()),
            thermal,
        })
    }

    /// The different slice `index`.
    pub(super) fn slice<T: Real>(&self, index: usize) -> Slice<T> {
        let potential = self.potential;
        let phase = |v: f64| Complex::cis(self.sigma * v);
        let mut through = potential.projected(index).mapv(phase);
        let mut diffuse = Vec::new();
        if let Some((channels, maps)) = &self.thermal {
            Zip::from(&mut through)
                .and(&maps.absorption(index))
                .for_each(|t, w| *t *= (-0.5 * w).exp());
            let detected = maps.channels(index);
            let of_channel = |table: &Option<usize>| match table {
                None => Vec::new(),
                Some(table) => {
                    let map = detected.index_axis(Axis(0), *table);
                    map.iter().map(|&w| T::narrow(w)).collect()
                }
            };
            diffuse = channels.iter().map(of_channel).collect();
        }
        let limited = limit_band(through, potential.grid(), &self.fine, &self.coarse);
        Slice {
            transmission: limited.into_iter().map(narrow).collect(),
            diffuse,
        }
    }
}

impl<T: Lanes> Slices<T> {
    /// As the beam of `optics` sees them; with thermal motion, `potential` is [damped](Potential::damped) by it.
    ///
    /// # Errors
    /// The thermal-diffuse tables lack an element.
    pub(super) fn new(potential: &Potential, optics: &Optics) -> Result<Self> {
        let maker = SliceMaker::new(potential, optics)?;
        let unique = (0..potential.unique_slices()).into_par_iter();
        let unique = unique.map(|index| maker.slice(index)).collect();
        Ok(Self::of(potential, optics, *potential.grid(), unique))
    }

    /// Given slices of `potential`, or of a part of it, on `grid`.
    pub(super) fn of(
        potential: &Potential,
        optics: &Optics,
        grid: Grid,
        unique: Vec<Slice<T>>,
    ) -> Self {
        let cols = grid.shape().1;
        let sheets = unique.into_par_iter();
        let unique = sheets.map(|slice| Sheet::new(slice, cols)).collect();
        Self {
            grid,
            thickness: potential.slice_thickness(),
            wavelength: optics.probe.wavelength(),
            aperture: optics.probe.semiangle_mrad * RAD_PER_MRAD / optics.probe.wavelength(),
            unique,
            order: potential.order().to_vec(),
        }
    }

    /// Pixels of the specimen; a wave may have fewer, but of the same size.
    pub(super) fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Thickness of a slice [Å].
    pub(super) fn thickness(&self) -> f64 {
        self.thickness
    }

    /// Wavelength of the beam [Å].
    pub(super) fn wavelength(&self) -> f64 {
        self.wavelength
    }

    /// Radius of the probe-forming aperture [1/Å].
    pub(super) fn aperture(&self) -> f64 {
        self.aperture
    }

    /// The different slices.
    pub(super) fn unique(&self) -> &[Sheet<T>] {
        &self.unique
    }

    /// For every slice, entrance first, its index among the different ones.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// The same with made-up diffuse scattering: maps per channel of the different slice `index`.
    #[cfg(test)]
    pub(super) fn scattering(mut self, maps: impl Fn(usize) -> Vec<Vec<f64>>) -> Self {
        let cols = self.grid.shape().1;
        let sheet = |map: Vec<f64>| {
            let narrow: Vec<T> = map.into_iter().map(T::narrow).collect();
            (!narrow.is_empty()).then(|| Strips::from_real(&narrow, cols))
        };
        for (index, slice) in self.unique.iter_mut().enumerate() {
            slice.diffuse = maps(index).into_iter().map(sheet).collect();
        }
        self
    }

    /// Whether any slice scatters diffusely.
    pub(super) fn scatter(&self) -> bool {
        let maps = self.unique.iter().flat_map(|slice| &slice.diffuse);
        maps.flatten().next().is_some()
    }

    /// Bytes of the different slices.
    pub(super) fn bytes(&self) -> u64 {
        let slices = self.unique.len() as u64;
        let maps = self
            .unique
            .first()
            .map_or(0, |s| s.diffuse.iter().flatten().count());
        slices * Strips::<T>::bytes(self.grid.shape(), 2 + maps)
    }

    /// The first `count` slices, entrance first.
    pub(super) fn first(&self, count: usize) -> impl Iterator<Item = &Sheet<T>> {
        self.order[..count].iter().map(|&index| &self.unique[index])
    }
}

/// A function on the fine grid, without what lies beyond the band limit of the wave's grid, on that grid.
fn limit_band(
    function: Array2<Complex<f64>>,
    grid: &Grid,
    fine: &Fft2<f64>,
    coarse: &Fft2<f64>,
) -> Vec<Complex<f64>> {
    let mut spectrum = function.into_raw_vec_and_offset().0;
    fine.forward(&mut spectrum, &mut fine.scratch());
    let (ky, kx) = (grid.ky(), grid.kx());
    // The same frequency on both grids: negative ones count from the end.
    let place =
        |i: usize, frequency: f64, extra: usize| i + if frequency < 0.0 { extra } else { 0 };
    let scale = (coarse.rows * coarse.cols) as f64 / (fine.rows * fine.cols) as f64;
    let mut limited = Vec::with_capacity(ky.len() * kx.len());
    for (row, &y) in ky.iter().enumerate() {
        let row = place(row, y, fine.rows - coarse.rows);
        for (col, &x) in kx.iter().enumerate() {
            let col = place(col, x, fine.cols - coarse.cols);
            let weight = grid.band_weight(x.hypot(y)) * scale;
            limited.push(spectrum[row * fine.cols + col] * weight);
        }
    }
    coarse.inverse(&mut limited, &mut coarse.scratch());
    limited
}
