//! Frozen phonons in the Einstein model: every atom moves by itself, normally distributed, isotropic (Loane, Xu & Silcox, Acta
//! Cryst. A 47, 267 (1991)); or snapshots given from outside. Intensities are averaged over configurations.
//!
//! A configuration's displacements come from one stream, atom by atom, so that all tilts and thicknesses of a simulation see
//! the same ones: differences between tilts then carry little phonon noise. Antithetic pairs (configuration 2i + 1 has the
//! negative displacements of 2i) cancel what is odd in the displacements: columns stay where they are on average.

use std::collections::{BTreeMap, BTreeSet};

use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::element;
use super::snapshots::{SnapshotFile, Snapshots};
use super::structure::Structure;
use crate::error::{Error, Result};
use crate::rng::stream;
use crate::settings::Source;

/// The `[phonons]` section: either `configurations` and `rms_angstrom`, or `snapshots`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phonons {
    /// Number of configurations that are averaged.
    pub configurations: Option<usize>,
    /// Whether configurations come in pairs of opposite displacements.
    #[serde(default)]
    pub antithetic: bool,
    /// Root mean square displacement along one axis, by element [Å].
    pub rms_angstrom: Option<BTreeMap<String, f64>>,
    /// Positions given from outside, `[phonons.snapshots]`.
    pub snapshots: Option<SnapshotFile>,
}

impl Phonons {
    /// Checks the numbers; `source` stands at this section, `snapshots` are what was read where the settings name a file.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(
        &self,
        source: &Source,
        structure: &Structure,
        snapshots: Option<&Snapshots>,
    ) -> Result<()> {
        match (self.configurations, &self.rms_angstrom, &self.snapshots) {
            (Some(configurations), Some(rms), None) => {
                self.validate_model(source, structure, configurations, rms)
            }
            (None, None, Some(_)) if self.antithetic => {
                let allowed = "false with snapshots: they are what they are";
                Err(source.wrong("antithetic", "true", allowed))
            }
            (None, None, Some(_)) => snapshots
                .ok_or_else(|| source.wrong("snapshots", "nothing that was read", "snapshots"))?
                .check(structure),
            (configurations, rms, file) => {
                let given = [
                    ("configurations", configurations.is_some()),
                    ("rms_angstrom", rms.is_some()),
                    ("snapshots", file.is_some()),
                ];
                let names: Vec<&str> = given
                    .iter()
                    .filter(|(_, given)| *given)
                    .map(|(name, _)| *name)
                    .collect();
                let got = if names.is_empty() {
                    "nothing".to_owned()
                } else {
                    names.join(", ")
                };
                let allowed = "configurations and rms_angstrom, or snapshots, not both";
                Err(source.wrong("", got, allowed))
            }
        }
    }

    /// Checks the Einstein model's numbers.
    fn validate_model(
        &self,
        source: &Source,
        structure: &Structure,
        configurations: usize,
        rms_angstrom: &BTreeMap<String, f64>,
    ) -> Result<()> {
        source.in_range(
            "configurations",
            configurations as f64,
            1.0..=10_000.0,
            "",
            "",
        )?;
        if self.antithetic && configurations % 2 == 1 {
            let allowed = "an even number: antithetic configurations come in pairs";
            return Err(source.wrong("configurations", configurations, allowed));
        }
        for (symbol, &rms) in rms_angstrom {
            let key = format!("rms_angstrom.{symbol}");
            if element::number(symbol).is_none() {
                return Err(source.wrong(&key, format!("`{symbol}`"), "a chemical symbol"));
            }
            source.in_range(&key, rms, 0.0..=0.5, "Å", "u, not B or U; about 0.07")?;
        }
        let present: BTreeSet<u8> = structure.numbers.iter().copied().collect();
        for symbol in present.into_iter().map(element::symbol) {
            if !rms_angstrom.contains_key(symbol) {
                return Err(source.wrong(
                    &format!("rms_angstrom.{symbol}"),
                    "nothing",
                    "a number, since the specimen holds it",
                ));
            }
        }
        Ok(())
    }

    /// Number of configurations, drawn or given.
    #[must_use]
    pub fn count(&self, snapshots: Option<&Snapshots>) -> usize {
        match snapshots {
            Some(snapshots) if self.snapshots.is_some() => snapshots.len(),
            _ => self.configurations.unwrap_or(1),
        }
    }

    /// Positions of the atoms in a configuration [Å].
    ///
    /// # Errors
    /// The settings name snapshots, and `snapshots` does not hold this configuration of this structure.
    pub fn displaced(
        &self,
        structure: &Structure,
        seed: u64,
        configuration: usize,
        snapshots: Option<&Snapshots>,
    ) -> Result<Vec<[f64; 3]>> {
        if let Some(file) = &self.snapshots {
            let there = snapshots.filter(|snapshots| configuration < snapshots.len());
            return there
                .map(|snapshots| snapshots.positions(configuration))
                .ok_or_else(|| {
                    let got = format!("no configuration {configuration}");
                    Error::data(&file.file, file.path.clone(), got, "one that was read")
                });
        }
        let displacements = self.displacements(&structure.numbers, seed, configuration);
        let moved = |(position, shift): (&[f64; 3], [f64; 3])| {
            std::array::from_fn(|axis| position[axis] + shift[axis])
        };
        Ok(structure
            .positions
            .iter()
            .zip(displacements)
            .map(moved)
            .collect())
    }

    /// Displacements of atoms of these numbers in a configuration [Å].
    fn displacements(&self, numbers: &[u8], seed: u64, configuration: usize) -> Vec<[f64; 3]> {
        let second = self.antithetic && configuration % 2 == 1;
        let (drawn, sign) = if second {
            (configuration - 1, -1.0)
        } else {
            (configuration, 1.0)
        };
        let mut rng = stream(seed, "phonons", drawn as u64);
        let by_number: BTreeMap<u8, f64> = self
            .rms_angstrom
            .iter()
            .flatten()
            .filter_map(|(symbol, &rms)| Some((element::number(symbol)?, rms)))
            .collect();
        let displacement = |number: &u8| {
            let rms = sign * by_number.get(number).copied().unwrap_or(0.0);
            std::array::from_fn(|_| {
                let deviate: f64 = StandardNormal.sample(&mut rng);
                rms * deviate
            })
        };
        numbers.iter().map(displacement).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crystal::Sublattice;

    fn phonons(configurations: usize, symbol: &str, rms: f64) -> Phonons {
        Phonons {
            configurations: Some(configurations),
            antithetic: false,
            rms_angstrom: Some(BTreeMap::from([(symbol.to_owned(), rms)])),
            snapshots: None,
        }
    }

    fn bismuth() -> Structure {
        Structure {
            positions: vec![[0.0; 3]],
            numbers: vec![83],
            cell: [4.0; 3],
            sublattices: vec![Sublattice::A],
        }
    }

    fn error(phonons: &Phonons) -> String {
        let source = Source::from_text("s", "").under("phonons");
        phonons
            .validate(&source, &bismuth(), None)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn displacements_have_the_stated_rms_and_repeat() {
        let structure = Structure {
            positions: vec![[1.0, 2.0, 3.0]; 20_000],
            numbers: vec![26; 20_000],
            cell: [4.0; 3],
            sublattices: vec![Sublattice::B; 20_000],
        };
        let phonons = phonons(2, "Fe", 0.07);
        let draw = |configuration| {
            phonons
                .displaced(&structure, 1, configuration, None)
                .unwrap()
        };
        let first = draw(0);
        for axis in 0..3 {
            let square = first
                .iter()
                .map(|p| (p[axis] - structure.positions[0][axis]).powi(2))
                .sum::<f64>();
            // 20,000 draws: the standard error of the rms is 0.5 %.
            assert!(((square / 20_000.0).sqrt() / 0.07 - 1.0).abs() < 0.02);
        }
        assert_eq!(first, draw(0));
        assert_ne!(first, draw(1));
    }

    #[test]
    fn antithetic_pairs_have_no_mean_displacement() {
        let plain = phonons(4, "Fe", 0.07);
        let pairs = Phonons {
            antithetic: true,
            ..plain.clone()
        };
        let draw = |phonons: &Phonons, n| phonons.displacements(&[26; 50], 3, n);
        for pair in [0, 2] {
            let (one, other) = (draw(&pairs, pair), draw(&pairs, pair + 1));
            // Exactly: the second is the first with its sign changed.
            assert!(one.iter().zip(&other).all(|(d, e)| d.map(|x| -x) == *e));
            assert_eq!(one, draw(&plain, pair));
        }
        assert_ne!(draw(&pairs, 0), draw(&pairs, 2));
        let odd = Phonons {
            configurations: Some(3),
            ..pairs
        };
        assert!(error(&odd).contains("phonons.configurations: got 3; allowed: an even number"));
    }

    #[test]
    fn an_element_without_amplitude_is_an_error() {
        let source = Source::from_text("s", "").under("phonons");
        assert!(
            phonons(1, "Bi", 0.07)
                .validate(&source, &bismuth(), None)
                .is_ok()
        );
        let of = |symbol, rms| error(&phonons(1, symbol, rms));
        assert!(of("Fe", 0.07).contains("phonons.rms_angstrom.Bi: got nothing"));
        assert!(of("Xx", 0.07).contains("allowed: a chemical symbol"));
        assert!(of("Bi", 7.0).contains("0 to 0.5 Å"));
    }

    #[test]
    fn phonons_are_drawn_or_given_not_both() {
        let file = SnapshotFile {
            file: "md.h5".into(),
            path: "/positions".to_owned(),
        };
        let both = Phonons {
            snapshots: Some(file.clone()),
            ..phonons(2, "Bi", 0.07)
        };
        assert!(error(&both).contains("got configurations, rms_angstrom, snapshots"));
        let half = Phonons {
            rms_angstrom: None,
            ..phonons(2, "Bi", 0.07)
        };
        assert!(error(&half).contains("got configurations; allowed"));
        let given = Phonons {
            configurations: None,
            rms_angstrom: None,
            ..both
        };
        let positions = ndarray::ArrayD::from_elem([3, 1, 3].as_slice(), 0.1);
        let snapshots = Snapshots::new(&file, &file.file, positions).unwrap();
        let source = Source::from_text("s", "");
        given
            .validate(&source, &bismuth(), Some(&snapshots))
            .unwrap();
        assert_eq!(given.count(Some(&snapshots)), 3);
        let displaced = given.displaced(&bismuth(), 1, 2, Some(&snapshots)).unwrap();
        assert_eq!(displaced, [[0.1; 3]]);
        assert!(given.displaced(&bismuth(), 1, 3, Some(&snapshots)).is_err());
        assert!(given.displaced(&bismuth(), 1, 0, None).is_err());
    }
}
