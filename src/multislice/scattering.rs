//! Electron scattering factors f_e(k) of neutral atoms, k = 2 sin θ/λ [1/Å].
//!
//! Two published parametrizations, both for Z = 1 to 103; the numbers stand in `tables/*.csv`:
//!
//! * Lobato & Van Dyck, Acta Cryst. A **70**, 636 (2014): f_e = Σᵢ aᵢ (2 + bᵢk²)/(1 + bᵢk²)², five terms;
//!   obeys the Mott–Bethe limit k² f_e → Z/(2π²a₀) exactly.
//! * Kirkland, *Advanced Computing in Electron Microscopy*, 2nd ed. (2010), app. C:
//!   f_e = Σᵢ aᵢ/(bᵢ + k²) + Σᵢ cᵢ exp(−dᵢk²), three terms each.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A published table of scattering factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScatteringTable {
    /// Lobato & Van Dyck (2014).
    Lobato,
    /// Kirkland (2010).
    Kirkland,
}

/// The scattering factor of one element.
#[derive(Debug, Clone, PartialEq)]
pub enum ScatteringFactor {
    /// Five pairs `(a [Å], b [Å²])`.
    Lobato([(f64, f64); 5]),
    /// Three Lorentzians `(a [1/Å], b [1/Å²])` and three Gaussians `(c [Å], d [Å²])`.
    Kirkland([(f64, f64); 3], [(f64, f64); 3]),
}

impl ScatteringTable {
    /// The scattering factor of the element with atomic number `number`.
    ///
    /// # Errors
    /// The table has no such element.
    pub fn factor(self, number: u8) -> Result<ScatteringFactor> {
        let rows = match self {
            Self::Lobato => &*LOBATO,
            Self::Kirkland => &*KIRKLAND,
        };
        let row = usize::from(number)
            .checked_sub(1)
            .and_then(|index| rows.get(index))
            .ok_or_else(|| {
                Error::unmeasurable(
                    format!("scattering factor from the table {self:?}"),
                    format!("atomic number {number}"),
                    format!("an element from 1 to {}", rows.len()),
                )
            })?;
        let pairs = |first: usize, second: usize| move |i: usize| (row[first + i], row[second + i]);
        Ok(match self {
            Self::Lobato => ScatteringFactor::Lobato(std::array::from_fn(pairs(0, 5))),
            Self::Kirkland => ScatteringFactor::Kirkland(
                std::array::from_fn(pairs(0, 3)),
                std::array::from_fn(pairs(6, 9)),
            ),
        })
    }
}

impl ScatteringFactor {
    /// f_e [Å] at k² [1/Å²].
    #[must_use]
    pub fn at_squared(&self, k2: f64) -> f64 {
        match self {
            Self::Lobato(terms) => terms
                .iter()
                .map(|(a, b)| a * (2.0 + b * k2) / (1.0 + b * k2).powi(2))
                .sum(),
            Self::Kirkland(lorentzians, gaussians) => {
                let lorentz: f64 = lorentzians.iter().map(|(a, b)| a / (b + k2)).sum();
                let gauss: f64 = gaussians.iter().map(|(c, d)| c * (-d * k2).exp()).sum();
                lorentz + gauss
            }
        }
    }
}

/// Coefficients of one element in the order of the table's columns; Lobato has ten, Kirkland twelve.
type Row = Vec<f64>;

static LOBATO: LazyLock<Vec<Row>> = LazyLock::new(|| parse(include_str!("tables/lobato.csv")));
static KIRKLAND: LazyLock<Vec<Row>> = LazyLock::new(|| parse(include_str!("tables/kirkland.csv")));

/// Reads a table that is part of the program: row i holds the element Z = i + 1.
fn parse(text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines
        .map(|line| {
            line.split(',')
                .skip(2)
                .map(|cell| {
                    cell.parse()
                        .expect("the tables of the program hold numbers")
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_list_every_element_once_in_order() {
        for (text, columns) in [
            (include_str!("tables/lobato.csv"), 12),
            (include_str!("tables/kirkland.csv"), 14),
        ] {
            let rows: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
            assert_eq!(rows.len(), 104);
            for (z, row) in rows.iter().enumerate().skip(1) {
                assert_eq!(row.split(',').next(), Some(z.to_string().as_str()));
                assert_eq!(row.split(',').count(), columns, "{row}");
            }
        }
    }

    /// k² f_e → Z/(2π²a₀): Lobato's constraint; Kirkland's fits end at k = 12 1/Å and are checked there to 10 %
    /// (bound electrons still screen 1 to 6 %).
    #[test]
    fn factors_reach_the_mott_bethe_limit() {
        const BOHR_RADIUS: f64 = 0.529_177_210_9;
        let limit = 1.0 / (2.0 * std::f64::consts::PI.powi(2) * BOHR_RADIUS);
        for z in 1..=103_u8 {
            let scaled = |table: ScatteringTable, k: f64| {
                k * k * table.factor(z).unwrap().at_squared(k * k) / (limit * f64::from(z))
            };
            let lobato = scaled(ScatteringTable::Lobato, 1e3);
            assert!((lobato - 1.0).abs() < 1e-3, "Z = {z}: {lobato}");
            let kirkland = scaled(ScatteringTable::Kirkland, 12.0);
            assert!((kirkland - 1.0).abs() < 0.1, "Z = {z}: {kirkland}");
        }
    }

    #[test]
    fn elements_outside_the_table_are_errors() {
        for z in [0, 104] {
            let message = ScatteringTable::Lobato.factor(z).unwrap_err().to_string();
            assert!(message.contains("1 to 103"), "{message}");
        }
    }
}
