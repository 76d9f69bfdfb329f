//! What samarium does to BiFeO₃, as a model: amplitude η of the polar displacements, an antipolar shift Q of the A sites along
//! [110], and the lattice parameter (Vegard), each interpolated linearly between the rows of a table.
//!
//! The shipped table is an **assumption**, made to look like the sequence ferroelectric – antipolar – non-polar that Bi₁₋ₓSmₓFeO₃
//! runs through near x = 0.14; it is not a measurement. The settings can replace it row by row.
//!
//! The antipolar shift is modulated over planes of constant i + j: two rows up, two down (++−−, wave vector ¼(110)) below
//! x = 0.20, alternating (+−) from there.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::settings::Source;

/// From this fraction on the shipped model's antipolar shifts alternate from plane to plane.
const ALTERNATING_FROM: f64 = 0.20;

/// `[specimen.composition]`: what `samarium_fraction`, `lattice_angstrom` and `r3c.amplitude` would otherwise say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Composition {
    /// Fraction of A sites that hold Sm, within the table.
    pub samarium_fraction: f64,
    /// Planes of constant i + j after which the antipolar shifts repeat: 4 is ++−−, 2 is +−. Left out: 4 below x = 0.20, 2 from
    /// there.
    pub antipolar_period_cells: Option<usize>,
    /// The table, `[[specimen.composition.model]]`, by rising fraction.
    #[serde(default = "shipped")]
    pub model: Vec<Row>,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Fraction of A sites that hold Sm.
    pub samarium_fraction: f64,
    /// η.
    pub amplitude: f64,
    /// Q, the length of the A shift along [110] [Å].
    pub antipolar_angstrom: f64,
    /// Pseudocubic lattice parameter [Å].
    pub lattice_angstrom: f64,
}

/// Antipolar shifts of the A sites.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Antipolar {
    /// Length of the shift along ±[110] [Å].
    pub shift: f64,
    /// Planes of constant i + j after which it repeats.
    pub period: usize,
}

impl Antipolar {
    /// Shift of the A site of cell (i, j, k) [Å].
    #[must_use]
    pub fn at(&self, [i, j, _]: [usize; 3]) -> [f64; 3] {
        let up = (i + j) % self.period < self.period / 2;
        let along = self.shift / std::f64::consts::SQRT_2 * if up { 1.0 } else { -1.0 };
        [along, along, 0.0]
    }
}

fn shipped() -> Vec<Row> {
    [
        (0.0, 1.0, 0.0, 3.964),
        (0.07, 0.94, 0.0, 3.958),
        (0.10, 0.90, 0.05, 3.956),
        (0.13, 0.80, 0.15, 3.953),
        (0.20, 0.0, 0.30, 3.90),
    ]
    .map(|(samarium_fraction, amplitude, antipolar, lattice)| Row {
        samarium_fraction,
        amplitude,
        antipolar_angstrom: antipolar,
        lattice_angstrom: lattice,
    })
    .to_vec()
}

impl Composition {
    /// The shipped model at a fraction of Sm.
    #[must_use]
    pub fn shipped(samarium_fraction: f64) -> Self {
        Self {
            samarium_fraction,
            antipolar_period_cells: None,
            model: shipped(),
        }
    }

    /// Checks the numbers, and that the modulation fits `cells`; `key` is the section's name.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source, key: &str, cells: [usize; 3]) -> Result<()> {
        let name = |part: &str| format!("{key}.{part}");
        let rising = self
            .model
            .windows(2)
            .all(|pair| pair[0].samarium_fraction < pair[1].samarium_fraction);
        let (Some(first), Some(last), true) = (self.model.first(), self.model.last(), rising)
        else {
            let got = format!("{} rows", self.model.len());
            let allowed = "at least one row, samarium_fraction rising from row to row";
            return Err(source.wrong(&name("model"), got, allowed));
        };
        for row in &self.model {
            row.validate(source, &name("model"))?;
        }
        source.in_range(
            &name("samarium_fraction"),
            self.samarium_fraction,
            first.samarium_fraction..=last.samarium_fraction,
            "",
            "the model's table; 0.1 is 10 %",
        )?;
        let Some(antipolar) = self.antipolar() else {
            return Ok(());
        };
        let period = antipolar.period;
        if period < 2 || period % 2 == 1 {
            let allowed = "an even number, 4 for ++-- or 2 for +-";
            return Err(source.wrong(&name("antipolar_period_cells"), period, allowed));
        }
        if cells[..2].iter().any(|n| n % period != 0) {
            let allowed = format!(
                "multiples of {period} along x and y, the period of the antipolar shifts at {} Sm",
                self.samarium_fraction
            );
            return Err(source.wrong("cells", format!("{cells:?}"), allowed));
        }
        Ok(())
    }

    /// η, Q and the lattice parameter at the fraction of Sm.
    #[must_use]
    pub fn state(&self) -> Row {
        let x = self.samarium_fraction;
        let above = self
            .model
            .iter()
            .position(|row| row.samarium_fraction >= x)
            .unwrap_or(self.model.len().saturating_sub(1));
        let high = self.model[above];
        let low = self.model[above.saturating_sub(1)];
        let width = high.samarium_fraction - low.samarium_fraction;
        let part = if width > 0.0 {
            (x - low.samarium_fraction) / width
        } else {
            1.0
        };
        let between = |a: f64, b: f64| a + (b - a) * part;
        Row {
            samarium_fraction: x,
            amplitude: between(low.amplitude, high.amplitude),
            antipolar_angstrom: between(low.antipolar_angstrom, high.antipolar_angstrom),
            lattice_angstrom: between(low.lattice_angstrom, high.lattice_angstrom),
        }
    }

    /// The antipolar shifts; nothing where Q is zero.
    #[must_use]
    pub fn antipolar(&self) -> Option<Antipolar> {
        let shift = self.state().antipolar_angstrom;
        let alternating = self.samarium_fraction >= ALTERNATING_FROM;
        (shift != 0.0).then(|| Antipolar {
            shift,
            period: self
                .antipolar_period_cells
                .unwrap_or(if alternating { 2 } else { 4 }),
        })
    }
}

impl Row {
    fn validate(&self, source: &Source, key: &str) -> Result<()> {
        let name = |part: &str| format!("{key}.{part}");
        let part = "a fraction, 0.1 is 10 %";
        source.in_range(
            &name("samarium_fraction"),
            self.samarium_fraction,
            0.0..=1.0,
            "",
            part,
        )?;
        source.in_range(
            &name("amplitude"),
            self.amplitude,
            0.0..=2.0,
            "(1 is BiFeO3)",
            "",
        )?;
        source.in_range(
            &name("antipolar_angstrom"),
            self.antipolar_angstrom,
            -0.98..=0.98,
            "Å",
            "not pm",
        )?;
        source.in_range(
            &name("lattice_angstrom"),
            self.lattice_angstrom,
            3.0..=6.0,
            "Å",
            "a perovskite cell",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_goes_through_its_rows_and_is_linear_between_them() {
        for row in shipped() {
            let state = Composition::shipped(row.samarium_fraction).state();
            assert!((state.amplitude - row.amplitude).abs() < 1e-12);
            assert!((state.antipolar_angstrom - row.antipolar_angstrom).abs() < 1e-12);
            assert!((state.lattice_angstrom - row.lattice_angstrom).abs() < 1e-12);
        }
        let state = Composition::shipped(0.115).state();
        assert!((state.amplitude - 0.85).abs() < 1e-12);
        assert!((state.antipolar_angstrom - 0.10).abs() < 1e-12);
        assert!((state.lattice_angstrom - 3.9545).abs() < 1e-12);
    }

    #[test]
    fn antipolar_shifts_go_up_up_down_down_and_at_a_fifth_up_down() {
        let signs = |x: f64| -> Vec<f64> {
            let antipolar = Composition::shipped(x).antipolar().unwrap();
            (0..4)
                .map(|i| antipolar.at([i, 0, 3])[1].signum())
                .collect()
        };
        assert_eq!(signs(0.13), [1.0, 1.0, -1.0, -1.0]);
        assert_eq!(signs(0.20), [1.0, -1.0, 1.0, -1.0]);
        assert!(Composition::shipped(0.07).antipolar().is_none());
        let shift = Composition::shipped(0.13).antipolar().unwrap().at([0; 3]);
        assert!((shift[0].hypot(shift[1]) - 0.15).abs() < 1e-12);
    }

    #[test]
    fn a_block_that_cuts_the_modulation_is_refused() {
        let source = Source::from_text("s", "");
        let error = |composition: Composition, cells| {
            composition
                .validate(&source, "composition", cells)
                .map_err(|error| error.to_string())
        };
        assert!(error(Composition::shipped(0.13), [8, 4, 2]).is_ok());
        assert!(
            error(Composition::shipped(0.13), [6, 4, 2])
                .unwrap_err()
                .contains("multiples of 4 along x and y")
        );
        assert!(error(Composition::shipped(0.20), [6, 4, 2]).is_ok());
        assert!(
            error(Composition::shipped(0.30), [4; 3])
                .unwrap_err()
                .contains("0 to 0.2")
        );
        let empty = Composition {
            model: Vec::new(),
            ..Composition::shipped(0.1)
        };
        assert!(error(empty, [4; 3]).unwrap_err().contains("got 0 rows"));
    }
}
