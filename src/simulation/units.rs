//! Units of work: pieces of a simulation that are computed, kept and shared out by themselves.

use std::ops::Range;

use super::scan::Raster;
use crate::multislice::Method;

/// Probe positions of a unit that the full field is computed for: few enough to lose little when killed, enough to keep all
/// cores busy.
const PROBES_PER_UNIT: usize = 512;

/// Numbers of such a unit, 256 MiB in flight: patterns of a large camera are computed for fewer probes at a time.
const NUMBERS_PER_UNIT: usize = 1 << 24;
/// But not for fewer than would keep the cores busy. Their number must not matter: shards on several machines cut alike.
const LEAST_PROBES: usize = 16;

/// Rows and columns of the raster in a region of the specimen.
const SIDE_OF_A_REGION: usize = 128;

/// Part `index` of `count`, counting from 1: `--shard 2/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 1.
    pub index: usize,
    /// Of how many.
    pub count: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parse = || {
            let (index, count) = text.split_once('/')?;
            let shard = Self {
                index: index.parse().ok()?,
                count: count.parse().ok()?,
            };
            (1..=shard.count).contains(&shard.index).then_some(shard)
        };
        parse().ok_or_else(|| format!("got `{text}`; allowed: i/n with 1 ≤ i ≤ n, such as 2/8"))
    }
}

impl Shard {
    /// Whether unit number `unit` belongs to this part.
    #[must_use]
    pub fn has(&self, unit: usize) -> bool {
        unit % self.count == self.index - 1
    }
}

/// A unit of work: one phonon configuration, one tilt, one rectangle of the raster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Number of the phonon configuration.
    pub configuration: usize,
    /// Index into the tilts.
    pub tilt: usize,
    /// Rows of the raster.
    pub rows: Range<usize>,
    /// Columns of the raster.
    pub cols: Range<usize>,
}

impl Unit {
    /// Number of probe positions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() * self.cols.len()
    }

    /// Whether there are no probe positions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places in the raster `(row, col)`, row by row.
    pub fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let cols = self.cols.clone();
        self.rows
            .clone()
            .flat_map(move |row| cols.clone().map(move |col| (row, col)))
    }
}

/// How a raster is cut, `(rows, cols)` of a block at most, if every probe gives `numbers`.
#[must_use]
pub(super) fn block_of(method: Method, raster: &Raster, numbers: usize) -> (usize, usize) {
    let [cols, rows] = raster.points;
    match method {
        // The whole image comes at once from its Fourier coefficients.
        Method::Bloch => (rows, cols),
        // A region holds the block and a window around it: a square shares most.
        Method::Windowed => (SIDE_OF_A_REGION, SIDE_OF_A_REGION),
        // The scattering matrix may have to be made again for every unit.
        Method::Prism => (rows, cols),
        // Drawn in milliseconds.
        Method::Emulator => (rows, cols),
        _ => {
            let probes = (NUMBERS_PER_UNIT / numbers.max(1)).clamp(LEAST_PROBES, PROBES_PER_UNIT);
            let width = cols.clamp(1, probes);
            (probes / width, width)
        }
    }
}

/// All units, in an order in which one engine after the other is needed: configurations, then tilts, then blocks; if regions
/// of the specimen are what is costly, blocks before tilts.
#[must_use]
pub(super) fn cut(
    raster: &Raster,
    (rows, cols): (usize, usize),
    configurations: usize,
    tilts: usize,
    blocks_first: bool,
) -> Vec<Unit> {
    let [width, height] = raster.points;
    let ranges = |length: usize, step: usize| {
        (0..length)
            .step_by(step.max(1))
            .map(move |start| start..(start + step.max(1)).min(length))
    };
    let blocks: Vec<(Range<usize>, Range<usize>)> = ranges(height, rows)
        .flat_map(|rows| ranges(width, cols).map(move |cols| (rows.clone(), cols)))
        .collect();
    let unit = |configuration, tilt, (rows, cols): &(Range<usize>, Range<usize>)| Unit {
        configuration,
        tilt,
        rows: rows.clone(),
        cols: cols.clone(),
    };
    let mut units = Vec::with_capacity(configurations * tilts * blocks.len());
    for configuration in 0..configurations {
        if blocks_first {
            for block in &blocks {
                units.extend((0..tilts).map(|tilt| unit(configuration, tilt, block)));
            }
        } else {
            for tilt in 0..tilts {
                units.extend(blocks.iter().map(|block| unit(configuration, tilt, block)));
            }
        }
    }
    units
}

/// Numbers of the units that differ from unit `index` of the first phonon configuration in the configuration alone, itself the
/// first; there are `of_configuration` units in each.
pub(super) fn twins(
    index: usize,
    of_configuration: usize,
    configurations: usize,
) -> impl Iterator<Item = usize> {
    (0..configurations).map(move |configuration| index + configuration * of_configuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raster() -> Raster {
        Raster {
            start: [0.0; 2],
            step: [0.1; 2],
            points: [50, 31],
        }
    }

    #[test]
    fn twins_differ_in_the_configuration_alone() {
        for blocks_first in [false, true] {
            let units = cut(&raster(), (7, 13), 4, 3, blocks_first);
            let of_configuration = units.len() / 4;
            for (index, unit) in units.iter().take(of_configuration).enumerate() {
                let twins: Vec<&Unit> = twins(index, of_configuration, 4)
                    .map(|twin| &units[twin])
                    .collect();
                let expected = (0..4).map(|configuration| Unit {
                    configuration,
                    ..unit.clone()
                });
                assert!(expected.eq(twins.into_iter().cloned()));
            }
        }
    }

    /// 512 probes as ever, unless a camera has so many pixels that they are too many; 16 at least.
    #[test]
    fn the_numbers_of_a_unit_are_bounded() {
        let probes = |numbers: usize| {
            let (rows, cols) = block_of(Method::Multislice, &raster(), numbers);
            assert!(rows > 0 && cols > 0);
            rows * cols
        };
        assert_eq!((probes(1), probes(32 << 10)), (500, 500));
        for numbers in [64 << 10, 100_000, 1 << 20] {
            assert!(probes(numbers) * numbers <= NUMBERS_PER_UNIT, "{numbers}");
            assert!(
                2 * probes(numbers) * numbers > NUMBERS_PER_UNIT,
                "{numbers}"
            );
        }
        assert_eq!(probes(1 << 28), LEAST_PROBES);
    }

    #[test]
    fn units_cover_every_place_once() {
        for (block, blocks_first) in [((11, 50), false), ((7, 13), true), ((31, 50), false)] {
            let units = cut(&raster(), block, 2, 3, blocks_first);
            let mut seen = std::collections::BTreeSet::new();
            for unit in &units {
                for place in unit.places() {
                    assert!(seen.insert((unit.configuration, unit.tilt, place)));
                }
            }
            assert_eq!(seen.len(), 2 * 3 * 50 * 31);
            assert_eq!(units.iter().map(Unit::len).sum::<usize>(), seen.len());
        }
    }
}
