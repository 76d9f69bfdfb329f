//! A specimen as a beam of one energy sees it: transmission functions, and what thermal motion scatters out of each slice.

use ndarray::{Array2, Axis, Zip};
use num_complex::Complex;
use rayon::prelude::*;

use super::band::Band;
use super::fft::{Fft2, Real, TILE, narrow};
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
    limit: BandLimit,
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
            limit: BandLimit::new(potential.fine_grid(), potential.grid()),
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
        let limited = self.limit.apply(through);
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

/// Takes from functions on a fine grid what lies beyond the band limit of the wave's grid, and brings them to that.
struct BandLimit {
    fine: Fft2<f64>,
    coarse: Fft2<f64>,
    band: Band,
    /// The band limit over the number of fine pixels, `(kept column, ky)`.
    weights: Vec<f64>,
}

impl BandLimit {
    fn new(fine: &Grid, coarse: &Grid) -> Self {
        let (rows, cols) = fine.shape();
        let scale = 1.0 / (rows * cols) as f64;
        let band = Band::new(coarse);
        Self {
            weights: band.spectrum(|kx, ky| band.weight(kx.hypot(ky)) * scale),
            fine: Fft2::new(fine.shape()),
            coarse: Fft2::new(coarse.shape()),
            band,
        }
    }

    /// The kept columns of the fine spectrum, some at a time, are cut to the frequencies of the coarse grid and go back.
    fn apply(&self, function: Array2<Complex<f64>>) -> Vec<Complex<f64>> {
        let Self { fine, coarse, .. } = self;
        let (mut scratch, mut coarse_scratch) = (fine.scratch(), coarse.scratch());
        let mut field = function.into_raw_vec_and_offset().0;
        fine.row_forward(&mut field, &mut scratch);
        let mut limited = vec![Complex::default(); coarse.rows * coarse.cols];
        let rows = coarse.rows;
        let mut weights = self.weights.chunks_exact(rows);
        let mut columns = vec![Complex::default(); TILE * rows];
        for (first, count) in self.band.tiles() {
            // The same frequency on both grids: negative ones count from the end.
            let behind = |i: usize, many: usize, few: usize| {
                if 2 * i < few { i } else { i + many - few }
            };
            let place = behind(first, fine.cols, coarse.cols);
            let mut cut = columns.chunks_exact_mut(rows);
            fine.read_columns(&field, (place, count), &mut scratch, |_, values| {
                let (Some(cut), Some(weights)) = (cut.next(), weights.next()) else {
                    return;
                };
                for (y, (value, weight)) in cut.iter_mut().zip(weights).enumerate() {
                    *value = values[behind(y, fine.rows, rows)] * weight;
                }
            });
            let mut cut = columns.chunks_exact(rows);
            coarse.fill_columns(
                &mut limited,
                (first, count),
                &mut coarse_scratch,
                |_, column| {
                    if let Some(cut) = cut.next() {
                        column.copy_from_slice(cut);
                    }
                },
            );
        }
        coarse.row_inverse(&mut limited, &mut coarse_scratch);
        limited
    }
}
