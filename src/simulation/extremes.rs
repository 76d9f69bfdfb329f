//! How far a specimen goes: the largest tilt, displacement, bend and doping of the columns that are drawn, against the range
//! that a response of the emulator is certified for.

use crate::emulator::{Kind, Response, Sites, Strand};
use crate::error::{Error, Result};
use crate::neighbours::Point;
use crate::units::{PM_PER_ANGSTROM, RAD_PER_MRAD};

/// How far from the area columns are drawn, in cells: as far as a patch reaches.
const MARGIN_CELLS: f64 = 0.75;

/// The largest of everything that a response has a range for, of the columns that are drawn.
#[derive(Debug, Default)]
pub struct Extremes {
    /// Of a column's axis against the beam [mrad].
    tilt: f64,
    /// Of B against its four A [pm].
    displacement: f64,
    /// Of neighbours of a kind against each other [pm].
    gradient: f64,
    /// Of atoms off the straight line through their column [pm].
    bend: f64,
    /// Mean square of the atoms of an oxygen column off the straight line through it, along an axis [Å²].
    roughness: f64,
    /// Fraction of A atoms in a column.
    samarium: f64,
}

impl Extremes {
    /// Of the columns in `area`, `[from, to]` along x and y [Å]; `tilts` are all mistilts of the specimen at a point [mrad].
    pub fn of(sites: &Sites, area: [[f64; 2]; 2], tilts: &dyn Fn(Point) -> Vec<[f64; 2]>) -> Self {
        let mut most = Self::default();
        let span = |axis: usize| {
            let place = |at: f64| (2.0 * at / sites.edge).round() as i64;
            let margin = MARGIN_CELLS * sites.edge;
            let [from, to] = area[axis];
            let (first, end) = (place(from - margin), place(to + margin));
            // Once around is enough.
            first..end.min(first + 2 * sites.cells[axis] as i64)
        };
        for place in span(1).flat_map(|y| span(0).map(move |x| [x, y])) {
            most.take_in(sites, place, &tilts(sites.ideal(place)));
        }
        most
    }

    fn take_in(&mut self, sites: &Sites, place: [i64; 2], tilts: &[[f64; 2]]) {
        let length = |[x, y]: [f64; 2]| x.hypot(y);
        let (kind, own) = (Kind::at(place), sites.column(place));
        let apart = |off: [i64; 2]| -> [f64; 2] {
            let other = sites.column([place[0] + off[0], place[1] + off[1]]).shift;
            std::array::from_fn(|axis| (own.shift[axis] - other[axis]) * PM_PER_ANGSTROM)
        };
        self.bend = self.bend.max(own.bend * PM_PER_ANGSTROM);
        for tilt in tilts {
            let local = std::array::from_fn(|axis| tilt[axis] - own.lean[axis] / RAD_PER_MRAD);
            self.tilt = self.tilt.max(length(local));
        }
        let rough = |strand: &Strand| strand.spread[0].max(strand.spread[2]);
        match kind {
            Kind::O => self.roughness = self.roughness.max(rough(own)),
            Kind::B => self.roughness = self.roughness.max(rough(sites.apical(place))),
            Kind::A => {}
        }
        if kind == Kind::A {
            self.samarium = self.samarium.max(sites.doping(place)[0]);
        }
        if kind != Kind::O {
            for off in [[2, 0], [0, 2], [-2, 0], [0, -2]] {
                self.gradient = self.gradient.max(length(apart(off)));
            }
        }
        if kind == Kind::B {
            let corners = [[1, 1], [-1, 1], [1, -1], [-1, -1]].map(apart);
            let mean = [0, 1].map(|axis| corners.iter().map(|c| c[axis]).sum::<f64>() / 4.0);
            self.displacement = self.displacement.max(length(mean));
        }
    }

    /// Checks them, and the strain of the cell, against the range of a response.
    ///
    /// # Errors
    /// What is beyond its range, and the range.
    pub fn check(&self, sites: &Sites, response: &Response) -> Result<()> {
        let range = &response.certificate.range;
        let strain = 100.0 * (sites.edge / response.edge - 1.0).abs();
        for (what, got, allowed, unit) in [
            ("strain of the cell", strain, 100.0 * range.strain, " %"),
            ("local tilt", self.tilt, range.tilt_mrad, " mrad"),
            (
                "displacement |D|",
                self.displacement,
                range.displacement_pm,
                " pm",
            ),
            (
                "difference of the displacements of neighbours",
                self.gradient,
                range.gradient_pm,
                " pm",
            ),
            (
                "deviation of a column from a straight line",
                self.bend,
                range.bend_pm,
                " pm",
            ),
            (
                "mean square of an oxygen column off its line",
                self.roughness,
                range.roughness_angstrom2,
                " Å²",
            ),
            ("Sm in a column", self.samarium, range.samarium_fraction, ""),
        ] {
            // No number at all is beyond every range.
            if got.is_nan() || got > allowed * (1.0 + 1e-9) {
                return Err(Error::unmeasurable(
                    format!("emulator, {what}"),
                    format!("{got:.4}{unit}"),
                    format!("up to {allowed}{unit}, for which the response file is certified"),
                ));
            }
        }
        Ok(())
    }
}
