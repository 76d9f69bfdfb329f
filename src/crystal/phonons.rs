//! Frozen phonons in the Einstein model: every atom moves by itself, normally distributed, isotropic (Loane, Xu & Silcox, Acta
//! Cryst. A 47, 267 (1991)). Intensities are averaged over configurations.
//!
//! A configuration's displacements come from one stream, atom by atom, so that all tilts and thicknesses of a simulation see
//! the same ones: differences between tilts then carry little phonon noise.

use std::collections::{BTreeMap, BTreeSet};

use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::element;
use super::structure::Structure;
use crate::error::Result;
use crate::rng::stream;
use crate::settings::Source;

/// The `[phonons]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phonons {
    /// Number of configurations that are averaged.
    pub configurations: usize,
    /// Root mean square displacement along one axis, by element [Å].
    pub rms_angstrom: BTreeMap<String, f64>,
}

impl Phonons {
    /// Checks the numbers; `source` stands at this section.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source, structure: &Structure) -> Result<()> {
        source.in_range(
            "configurations",
            self.configurations as f64,
            1.0..=10_000.0,
            "",
            "",
        )?;
        for (symbol, &rms) in &self.rms_angstrom {
            let key = format!("rms_angstrom.{symbol}");
            if element::number(symbol).is_none() {
                return Err(source.wrong(&key, format!("`{symbol}`"), "a chemical symbol"));
            }
            source.in_range(&key, rms, 0.0..=0.5, "Å", "u, not B or U; about 0.07")?;
        }
        let present: BTreeSet<u8> = structure.numbers.iter().copied().collect();
        for symbol in present.into_iter().map(element::symbol) {
            if !self.rms_angstrom.contains_key(symbol) {
                return Err(source.wrong(
                    &format!("rms_angstrom.{symbol}"),
                    "nothing",
                    "a number, since the specimen holds it",
                ));
            }
        }
        Ok(())
    }

    /// Positions of the atoms in a configuration [Å].
    #[must_use]
    pub fn displaced(
        &self,
        structure: &Structure,
        seed: u64,
        configuration: usize,
    ) -> Vec<[f64; 3]> {
        let mut rng = stream(seed, "phonons", configuration as u64);
        let by_number: BTreeMap<u8, f64> = self
            .rms_angstrom
            .iter()
            .filter_map(|(symbol, &rms)| Some((element::number(symbol)?, rms)))
            .collect();
        let rms = |number: u8| by_number.get(&number).copied().unwrap_or(0.0);
        let displaced = |(position, &number): (&[f64; 3], &u8)| {
            position.map(|x| {
                let deviate: f64 = StandardNormal.sample(&mut rng);
                x + rms(number) * deviate
            })
        };
        structure
            .positions
            .iter()
            .zip(&structure.numbers)
            .map(displaced)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crystal::Sublattice;

    #[test]
    fn displacements_have_the_stated_rms_and_repeat() {
        let structure = Structure {
            positions: vec![[1.0, 2.0, 3.0]; 20_000],
            numbers: vec![26; 20_000],
            cell: [4.0; 3],
            sublattices: vec![Sublattice::B; 20_000],
        };
        let phonons = Phonons {
            configurations: 2,
            rms_angstrom: BTreeMap::from([("Fe".to_owned(), 0.07)]),
        };
        let first = phonons.displaced(&structure, 1, 0);
        for axis in 0..3 {
            let square = first
                .iter()
                .map(|p| (p[axis] - structure.positions[0][axis]).powi(2))
                .sum::<f64>();
            // 20,000 draws: the standard error of the rms is 0.5 %.
            assert!(((square / 20_000.0).sqrt() / 0.07 - 1.0).abs() < 0.02);
        }
        assert_eq!(first, phonons.displaced(&structure, 1, 0));
        assert_ne!(first, phonons.displaced(&structure, 1, 1));
    }

    #[test]
    fn an_element_without_amplitude_is_an_error() {
        let structure = Structure {
            positions: vec![[0.0; 3]],
            numbers: vec![83],
            cell: [4.0; 3],
            sublattices: vec![Sublattice::A],
        };
        let source = Source::from_text("s", "").under("phonons");
        let error = |symbol: &str, rms| {
            let phonons = Phonons {
                configurations: 1,
                rms_angstrom: BTreeMap::from([(symbol.to_owned(), rms)]),
            };
            phonons
                .validate(&source, &structure)
                .map_err(|error| error.to_string())
        };
        assert!(error("Bi", 0.07).is_ok());
        assert!(
            error("Fe", 0.07)
                .unwrap_err()
                .contains("phonons.rms_angstrom.Bi: got nothing")
        );
        assert!(
            error("Xx", 0.07)
                .unwrap_err()
                .contains("allowed: a chemical symbol")
        );
        assert!(error("Bi", 7.0).unwrap_err().contains("0 to 0.5 Å"));
    }
}
