//! `polarization.hspy`: a polarization map that HyperSpy opens as four images, and the raw cells beside them.
//!
//! `/Experiments/{dx,dy,sigma_dx,sigma_dy}/data` [pm] are the map on a regular grid, NaN where it has no cell;
//! `/cells/{position,displacement,sigma,flags}` are the cells as measured; further [`Quantity`]s of each cell lie beside them, and
//! on the grid where they are asked for.

use std::path::Path;

use ndarray::{Array2, aview1};

use super::hdf::{self, Node, Sink};
use super::hspy::{self, AxisValues, SignalAxis};
use super::records;
use crate::crystal::polarization::PolarVector;
use crate::error::{Error, Result};
use crate::neighbours::{Neighbours, Point};
use crate::provenance::Provenance;

/// Most nodes of a resampled map: more is a pitch in the wrong unit.
const MAX_NODES: f64 = 1e8;

/// A regular grid over cells: which cell each node shows.
#[derive(Debug, Clone, PartialEq)]
pub struct MapGrid {
    /// Index of the cell at `(row, col)`, if it has one.
    pub cells: Array2<Option<usize>>,
    /// Position of node (0, 0), `[x, y]` [Å].
    pub origin: Point,
    /// Distance of nodes along `[x, y]` [Å].
    pub pitch: [f64; 2],
}

impl MapGrid {
    /// Nodes `pitch` [Å] apart over all cells; each shows its nearest cell within half the diagonal of a square of `pitch`.
    ///
    /// # Errors
    /// There are no cells with finite positions, or `pitch` is not positive or too fine.
    pub fn nearest(cells: &[PolarVector], pitch: f64) -> Result<Self> {
        let points: Vec<Point> = cells.iter().map(|cell| cell.position).collect();
        let bound = |axis: usize, pick: fn(f64, f64) -> f64, start: f64| {
            points.iter().map(|point| point[axis]).fold(start, pick)
        };
        let low = [0, 1].map(|axis| bound(axis, f64::min, f64::INFINITY));
        let high = [0, 1].map(|axis| bound(axis, f64::max, f64::NEG_INFINITY));
        let [width, height] = [0, 1].map(|axis| ((high[axis] - low[axis]) / pitch).round() + 1.0);
        // Written so that no cells, a pitch of zero and NaN all fail.
        if !(pitch > 0.0 && width >= 1.0 && height >= 1.0 && width * height <= MAX_NODES) {
            let got = format!("{} cells, a pitch of {pitch} Å", cells.len());
            return Err(Error::unmeasurable(
                "polarization map on a grid",
                got,
                "cells, and a pitch near their distance",
            ));
        }
        let tree = Neighbours::new(&points);
        let reach = pitch * std::f64::consts::FRAC_1_SQRT_2;
        let nodes = Array2::from_shape_fn((height as usize, width as usize), |(row, col)| {
            let node = [low[0] + col as f64 * pitch, low[1] + row as f64 * pitch];
            let nearest = tree.nearest(node, 1).first().copied();
            nearest
                .filter(|&(_, distance)| distance <= reach)
                .map(|(index, _)| index)
        });
        Ok(Self {
            cells: nodes,
            origin: low,
            pitch: [pitch, pitch],
        })
    }
}

/// One number for each cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantity {
    /// Name of the column and of the data set, with the unit.
    pub name: &'static str,
    /// Unit; empty for a pure number.
    pub units: &'static str,
    /// Decimals in tables.
    pub decimals: usize,
    /// One number a cell; NaN where it is not known.
    pub values: Vec<f64>,
}

impl Quantity {
    /// A quantity from its fields.
    #[must_use]
    pub fn new(name: &'static str, units: &'static str, decimals: usize, values: Vec<f64>) -> Self {
        Self {
            name,
            units,
            decimals,
            values,
        }
    }
}

/// What a file of a map holds beside D.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MapExtras {
    /// More numbers of each cell, `/cells/<name>`.
    pub quantities: Vec<Quantity>,
    /// Names of those that are on the grid too, `/Experiments/<name>`.
    pub on_grid: Vec<&'static str>,
    /// What the numbers rest on: attributes of `/cells`.
    pub statements: Vec<(&'static str, String)>,
}

/// Writes `polarization.hspy`; the file appears whole or not at all.
///
/// # Errors
/// The file exists and `force` is not set, the grid names a cell that is not there, or the system refuses.
pub fn write_polarization(
    path: &Path,
    cells: &[PolarVector],
    grid: &MapGrid,
    provenance: &Provenance,
    force: bool,
) -> Result<()> {
    write_map(path, cells, &MapExtras::default(), grid, provenance, force)
}

/// Writes `polarization.hspy` with more than D; the file appears whole or not at all.
///
/// # Errors
/// The file exists and `force` is not set, the grid names a cell that is not there, a quantity has not one number a cell, or the
/// system refuses.
pub fn write_map(
    path: &Path,
    cells: &[PolarVector],
    extras: &MapExtras,
    grid: &MapGrid,
    provenance: &Provenance,
    force: bool,
) -> Result<()> {
    let uneven = extras
        .quantities
        .iter()
        .find(|q| q.values.len() != cells.len());
    if let Some(uneven) = uneven {
        let got = format!("{} numbers for {} cells", uneven.values.len(), cells.len());
        return Err(Error::data(path, uneven.name, got, "one a cell"));
    }
    if let Some(index) = grid
        .cells
        .iter()
        .flatten()
        .find(|&&index| index >= cells.len())
    {
        return Err(Error::data(
            path,
            "map",
            format!("cell {index}"),
            format!("below {}", cells.len()),
        ));
    }
    let sink = Sink::create(path, force)?;
    let root = sink.root();
    hspy::start_layout(root)?;
    write_maps(&root.create_group("Experiments")?, cells, extras, grid)?;
    write_cells(&sink, cells, extras)?;
    records::write_provenance(root, provenance)?;
    sink.finish()
}

fn write_maps(
    experiments: &Node,
    cells: &[PolarVector],
    extras: &MapExtras,
    grid: &MapGrid,
) -> Result<()> {
    let (rows, cols) = grid.cells.dim();
    let axis = |name, axis: usize, size| SignalAxis {
        name,
        units: "Å",
        values: AxisValues::Uniform(grid.origin[axis], grid.pitch[axis], size),
        navigate: false,
    };
    let axes = [&axis("y", 1, rows), &axis("x", 0, cols)];
    type Field = fn(&PolarVector) -> f64;
    let maps: [(&str, Field); 4] = [
        ("dx", |cell| cell.displacement[0]),
        ("dy", |cell| cell.displacement[1]),
        ("sigma_dx", |cell| cell.sigma[0]),
        ("sigma_dy", |cell| cell.sigma[1]),
    ];
    for (name, field) in maps {
        let map = grid
            .cells
            .mapv(|cell| cell.map_or(f32::NAN, |index| field(&cells[index]) as f32));
        hspy::write_signal(
            experiments,
            name,
            &format!("{name} (pm)"),
            map.view(),
            &axes,
        )?;
    }
    let more = extras.quantities.iter();
    for quantity in more.filter(|q| extras.on_grid.contains(&q.name)) {
        let value = |cell: Option<usize>| cell.map_or(f32::NAN, |i| quantity.values[i] as f32);
        let map = grid.cells.mapv(value);
        hspy::write_signal(experiments, quantity.name, quantity.name, map.view(), &axes)?;
    }
    Ok(())
}

fn write_cells(sink: &Sink, cells: &[PolarVector], extras: &MapExtras) -> Result<()> {
    let node = sink.root().create_group("cells")?;
    let column = |field: fn(&PolarVector) -> [f64; 2]| -> Vec<[f64; 2]> {
        cells.iter().map(field).collect()
    };
    records::write_rows(&node, "position", &column(|cell| cell.position), "Å")?;
    records::write_rows(
        &node,
        "displacement",
        &column(|cell| cell.displacement),
        "pm",
    )?;
    records::write_rows(&node, "sigma", &column(|cell| cell.sigma), "pm")?;
    let flags: Vec<u32> = cells.iter().map(|cell| cell.flags).collect();
    node.write("flags", aview1(&flags))?;
    for quantity in &extras.quantities {
        let dataset = node.write(quantity.name, aview1(&quantity.values))?;
        node.label(&dataset, "units", quantity.units)?;
    }
    for (name, text) in &extras.statements {
        node.set_text(name, text)?;
    }
    Ok(())
}

/// Reads the cells of `polarization.hspy`.
///
/// # Errors
/// The file cannot be read, is truncated or corrupt, or holds no cells.
pub fn read_cells(path: &Path) -> Result<Vec<PolarVector>> {
    let node = hdf::open(path)?.group("cells")?;
    let positions = node.read_rows::<f64, 2>("position")?;
    let displacements = node.read_rows::<f64, 2>("displacement")?;
    let sigmas = node.read_rows::<f64, 2>("sigma")?;
    let flags = node.read::<u32>("flags")?.1;
    let counts = [displacements.len(), sigmas.len(), flags.len()];
    if counts != [positions.len(); 3] {
        return Err(node.wrong(
            "",
            format!("{counts:?} values for {} cells", positions.len()),
            "as many of each",
        ));
    }
    Ok((0..positions.len())
        .map(|index| PolarVector {
            position: positions[index],
            displacement: displacements[index],
            sigma: sigmas[index],
            flags: flags[index],
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(position: Point) -> PolarVector {
        PolarVector {
            position,
            displacement: position,
            sigma: [f64::NAN; 2],
            flags: 0,
        }
    }

    #[test]
    fn a_lattice_on_its_own_pitch_fills_every_node_once() {
        let cells: Vec<PolarVector> = (0..30)
            .map(|i| cell([4.0 * f64::from(i % 6) + 1.0, 4.0 * f64::from(i / 6)]))
            .collect();
        let grid = MapGrid::nearest(&cells, 4.0).unwrap();
        assert_eq!(grid.cells.dim(), (5, 6));
        let indices: Vec<usize> = grid.cells.iter().flatten().copied().collect();
        assert_eq!(indices, (0..30).collect::<Vec<_>>());
        assert_eq!(grid.origin, [1.0, 0.0]);
    }

    #[test]
    fn a_hole_stays_empty() {
        let cells = [cell([0.0, 0.0]), cell([12.0, 0.0])];
        let grid = MapGrid::nearest(&cells, 4.0).unwrap();
        assert_eq!(
            grid.cells.iter().map(|c| c.is_some()).collect::<Vec<_>>(),
            [true, false, false, true]
        );
    }

    #[test]
    fn senseless_pitches_are_refused() {
        let cells = [cell([0.0, 0.0]), cell([1e6, 1e6])];
        for pitch in [0.0, -1.0, f64::NAN, 1e-3] {
            assert!(MapGrid::nearest(&cells, pitch).is_err(), "{pitch}");
        }
        assert!(MapGrid::nearest(&[], 4.0).is_err());
    }
}
