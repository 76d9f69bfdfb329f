//! The specimens of the tests: vacuum, and cubic BiFeO₃ with its atoms in their places or moved.

use ferrostem::multislice::{Potential, ScatteringTable};

/// Side of a cell [Å].
pub(super) const A: f64 = 3.9643;

/// Atomic numbers and places in a cell, in units of its side.
const BASIS: [(u8, [f64; 3]); 5] = [
    (83, [0.0, 0.0, 0.25]),
    (26, [0.5, 0.5, 0.75]),
    (8, [0.5, 0.5, 0.25]),
    (8, [0.5, 0.0, 0.75]),
    (8, [0.0, 0.5, 0.75]),
];

/// An atom in its place.
struct Atom {
    /// How many were placed before it.
    index: usize,
    /// Its element.
    number: u8,
    /// Its cell `[x, y]`.
    cell: [f64; 2],
}

/// BiFeO₃, `cells` wide and `layers` deep, in slices of half a cell, every atom moved by `shift` `[x, y]` [Å].
fn moved(
    cells: u32,
    layers: u32,
    shape: (usize, usize),
    mut shift: impl FnMut(&Atom) -> [f64; 2],
) -> Potential {
    let (mut positions, mut numbers) = (Vec::new(), Vec::new());
    for i in 0..cells * cells * layers {
        let corner = [i % cells, i / cells % cells, i / (cells * cells)].map(f64::from);
        for (number, site) in BASIS {
            let [dx, dy] = shift(&Atom {
                index: numbers.len(),
                number,
                cell: [corner[0], corner[1]],
            });
            let [x, y, z] = [0, 1, 2].map(|axis| A * (corner[axis] + site[axis]));
            positions.push([x + dx, y + dy, z]);
            numbers.push(number);
        }
    }
    let side = A * f64::from(cells);
    let cell = [side, side, A * f64::from(layers)];
    let table = ScatteringTable::Lobato;
    Potential::new(&positions, &numbers, cell, shape, table, A / 2.0).unwrap()
}

/// All atoms in their places.
pub(super) fn crystal(cells: u32, layers: u32, shape: (usize, usize)) -> Potential {
    moved(cells, layers, shape, |_| [0.0; 2])
}

/// Coordinate number n (x and y of each atom in turn) moved by `shift(n)` [Å].
pub(super) fn displaced(
    cells: u32,
    layers: u32,
    shape: (usize, usize),
    shift: impl Fn(usize) -> f64,
) -> Potential {
    moved(cells, layers, shape, |atom| {
        [0, 1].map(|axis| shift(2 * atom.index + axis))
    })
}

/// The Fe columns displaced by 0.25 Å, each to another side.
pub(super) fn texture(cells: u32, layers: u32, pixels: usize) -> Potential {
    moved(cells, layers, (pixels, pixels), |atom| {
        let azimuth = 1.3 * atom.cell[0] + 2.1 * atom.cell[1];
        let length = if atom.number == 26 { 0.25 } else { 0.0 };
        [length * azimuth.cos(), length * azimuth.sin()]
    })
}

/// Nothing, on 128 × 128 pixels.
pub(super) fn vacuum(side: f64, depth: f64, slice: f64) -> Potential {
    let cell = [side, side, depth];
    Potential::new(&[], &[], cell, (128, 128), ScatteringTable::Lobato, slice).unwrap()
}
