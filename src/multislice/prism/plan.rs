//! How the work is cut so that it fits into the memory that is allowed.
//!
//! The matrix of all beams at one depth is what one wants to hold: beams are then sent on from depth to depth, once through the
//! specimen for a scan; if it fits as often as there are depths to be read, even once for all scans of a tilt. If it does not fit
//! once, beams are taken in blocks, and what they add to the waves of the probes is held instead: the beams go through the
//! specimen once for every depth and for as many probes as can be held. Nothing else changes but the order of sums.

use std::ops::Range;

/// Lines of probes that share a pass over the matrix.
const LINES: usize = 4;

/// Bytes of what is to be held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// A wave of the matrix.
    pub(super) wave: u64,
    /// For a line of probes, the sum over the beams of one column of the spectrum.
    pub(super) column: u64,
    /// The wave of one probe on its window.
    pub(super) probe: u64,
    /// Depths to be read.
    pub(super) planes: usize,
    /// What may be used.
    pub(super) memory: u64,
}

/// How the work is cut.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// Beams that are sent through together.
    pub(super) blocks: Vec<Range<usize>>,
    /// Depths at which the matrix is held.
    pub(super) depths: usize,
    /// Lines of probes that share a pass over the matrix.
    pub(super) lines: usize,
    /// Probes whose waves are held from block to block.
    pub(super) probes: usize,
    /// Bytes that are held.
    pub(super) bytes: u64,
}

impl Plan {
    /// For beams in the given columns of the spectrum, sorted by them.
    pub(super) fn new(columns: &[usize], needs: Needs) -> Self {
        let matrix = columns.len() as u64 * needs.wave;
        let line = count_columns(columns) * needs.column;
        for (depths, lines) in [(needs.planes, LINES), (1, LINES), (1, 1)] {
            let bytes = depths as u64 * matrix + lines as u64 * line;
            if bytes <= needs.memory {
                return Self {
                    blocks: std::iter::once(0..columns.len()).collect(),
                    depths,
                    lines,
                    probes: usize::MAX,
                    bytes,
                };
            }
        }
        Self::in_blocks(columns, needs)
    }

    /// An eighth for the beams, an eighth for a line, the rest for the probes: the more, the fewer passes. At least one of each.
    fn in_blocks(columns: &[usize], needs: Needs) -> Self {
        let most = |eighths: u64, each: u64| ((needs.memory / 8 * eighths / each) as usize).max(1);
        let (waves, wide) = (most(1, needs.wave), most(1, needs.column));
        let mut blocks: Vec<Range<usize>> = Vec::new();
        for beam in 0..columns.len() {
            match blocks.last_mut() {
                Some(block)
                    if block.len() < waves
                        && count_columns(&columns[block.start..=beam]) <= wide as u64 =>
                {
                    block.end += 1;
                }
                _ => blocks.push(beam..beam + 1),
            }
        }
        let probes = most(6, needs.probe);
        let block = |block: &Range<usize>| {
            block.len() as u64 * needs.wave + count_columns(&columns[block.clone()]) * needs.column
        };
        let bytes = blocks.iter().map(block).max().unwrap_or(0);
        Self {
            bytes: bytes + probes as u64 * needs.probe,
            blocks,
            depths: 1,
            lines: 1,
            probes,
        }
    }

    /// Slices that each beam passes in a scan of `probes` probes that reads behind `planes` slices.
    pub(super) fn slices(&self, planes: &[usize], probes: usize) -> u64 {
        if self.blocks.len() == 1 {
            return planes.last().map_or(0, |last| *last as u64);
        }
        let passes = probes.div_ceil(self.probes) as u64;
        passes * planes.iter().map(|plane| *plane as u64).sum::<u64>()
    }
}

/// Number of different columns in a sorted list.
fn count_columns(columns: &[usize]) -> u64 {
    columns.chunk_by(|a, b| a == b).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 30 beams in 6 columns.
    fn plan(memory: u64) -> Plan {
        let columns: Vec<usize> = (0..30).map(|beam| beam / 5).collect();
        let needs = Needs {
            wave: 100,
            column: 20,
            probe: 50,
            planes: 3,
            memory,
        };
        Plan::new(&columns, needs)
    }

    #[test]
    fn memory_decides_how_much_is_held() {
        // Thirty waves, and six columns for each of four lines.
        assert_eq!((plan(9480).depths, plan(9480).bytes), (3, 9480));
        assert_eq!((plan(9479).depths, plan(9479).lines), (1, 4));
        assert_eq!((plan(3479).depths, plan(3479).lines), (1, 1));
        assert_eq!(plan(3120).blocks.len(), 1);
        assert_eq!(plan(3120).slices(&[10, 20, 30], 100), 30);
    }

    #[test]
    fn what_does_not_fit_is_cut_into_blocks_and_passes() {
        let cut = plan(3119);
        assert_eq!(cut.blocks[..2], [0..3, 3..6]);
        assert_eq!((cut.blocks.len(), cut.probes), (10, 46));
        assert!(cut.bytes <= 3119);
        // 100 probes are three passes, each to three depths.
        assert_eq!(cut.slices(&[10, 20, 30], 100), 180);
    }

    #[test]
    fn next_to_no_memory_still_does() {
        let least = plan(1);
        assert_eq!(least.blocks.len(), 30);
        assert_eq!((least.lines, least.probes), (1, 1));
    }
}
