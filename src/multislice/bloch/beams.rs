//! The beams of a probe that stands alone in N × N cells, sorted by their Bloch vectors.

use std::collections::BTreeMap;

use num_complex::Complex;

use crate::error::Result;
use crate::multislice::grid::Grid;
use crate::multislice::optics::Optics;

/// The beams K = g + q of one Bloch vector q.
#[derive(Default)]
pub(super) struct BlochBeams {
    /// q `[x, y]` [1/Å].
    pub(super) q: [f64; 2],
    /// g `[x, y]`, in whole steps of the cell's spectrum.
    pub(super) beams: Vec<[i64; 2]>,
    /// Of each probe of the focal series its weight and Ψ(K) of the beams.
    probes: Vec<(f64, Vec<Complex<f64>>)>,
}

impl BlochBeams {
    /// All beams of the probe of `optics` on `points` × `points` cells with pixels `cell`, by q. Such a field has the
    /// frequencies n/(N L), n = N g + m: g is a frequency of the cell, and q = m/(N L) the part of a step that is left,
    /// −N/2 ≤ m < N/2.
    ///
    /// # Errors
    /// The aperture reaches beyond the band limit; there are no cells.
    pub(super) fn of_probe(optics: &Optics, cell: &Grid, points: usize) -> Result<Vec<Self>> {
        let (rows, cols) = cell.shape();
        let [height, width] = cell.extent().map(|side| side * points as f64);
        let field = Grid::new((rows * points, cols * points), [height, width])?;
        let mut sorted = BTreeMap::<[i64; 2], Self>::new();
        let n = points as i64;
        for (number, (weight, probe)) in optics.focal_probes(&field)?.iter().enumerate() {
            for ([kx, ky], amplitude) in probe.beams() {
                let frequency = [(kx * width).round() as i64, (ky * height).round() as i64];
                let m = frequency.map(|frequency| (frequency + n / 2).rem_euclid(n) - n / 2);
                let beams = sorted.entry(m).or_default();
                if number == 0 {
                    beams.q = [m[0] as f64 / width, m[1] as f64 / height];
                    beams
                        .beams
                        .push([0, 1].map(|axis| (frequency[axis] - m[axis]) / n));
                }
                if beams.probes.len() == number {
                    beams.probes.push((*weight, Vec::new()));
                }
                beams.probes[number].1.push(amplitude);
            }
        }
        Ok(sorted.into_values().collect())
    }

    /// Ψ_g* Ψ_g', averaged over the focal series.
    pub(super) fn coherence(&self, left: usize, right: usize) -> Complex<f64> {
        let of_probe = |(weight, values): &(f64, Vec<Complex<f64>>)| {
            values[left].conj() * values[right] * weight
        };
        self.probes.iter().map(of_probe).sum()
    }
}
