//! What lies beside the data in our HDF5 files: the specimen, the truth, the provenance.

use ndarray::{ArrayView2, aview1};

use super::hdf::Node;
use crate::crystal::Sublattice;
use crate::crystal::{Structure, Truth};
use crate::error::{Error, Result};
use crate::provenance::{InputHash, Provenance};

/// What the numbers of `/structure/sublattice` mean, as told in the file.
const SUBLATTICE_CODES: &str = "0 A, 1 B, 2 O";

fn code(sublattice: Sublattice) -> u8 {
    match sublattice {
        Sublattice::A => 0,
        Sublattice::B => 1,
        Sublattice::O => 2,
    }
}

fn sublattice(code: u8) -> Option<Sublattice> {
    [Sublattice::A, Sublattice::B, Sublattice::O]
        .get(usize::from(code))
        .copied()
}

/// Writes points or vectors as a data set `(n, N)` with its unit.
pub(super) fn write_rows<const N: usize>(
    node: &Node,
    name: &str,
    rows: &[[f64; N]],
    units: &str,
) -> Result<()> {
    let flat = rows.as_flattened();
    let array =
        ArrayView2::from_shape((rows.len(), N), flat).map_err(Error::compute("shaping rows"))?;
    let dataset = node.write(name, array)?;
    node.label(&dataset, "units", units)
}

/// Writes `/structure`.
pub(super) fn write_structure(root: &Node, structure: &Structure) -> Result<()> {
    let node = root.create_group("structure")?;
    write_rows(&node, "positions", &structure.positions, "Å")?;
    node.write("numbers", aview1(&structure.numbers))?;
    let cell = node.write("cell", aview1(&structure.cell))?;
    node.label(&cell, "units", "Å")?;
    let codes: Vec<u8> = structure.sublattices.iter().copied().map(code).collect();
    let sublattice = node.write("sublattice", aview1(&codes))?;
    node.label(&sublattice, "codes", SUBLATTICE_CODES)
}

/// Reads `/structure`.
pub(super) fn read_structure(root: &Node) -> Result<Structure> {
    let node = root.group("structure")?;
    let positions = node.read_rows("positions")?;
    let numbers = node.read::<u8>("numbers")?.1;
    let codes = node.read::<u8>("sublattice")?.1;
    let sublattices = codes
        .iter()
        .map(|&code| sublattice(code))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| node.wrong("sublattice", "an unknown code", SUBLATTICE_CODES))?;
    let cell = node.read::<f64>("cell")?.1;
    let cell = <[f64; 3]>::try_from(cell.as_slice())
        .map_err(|_| node.wrong("cell", format!("{} numbers", cell.len()), "3"))?;
    if numbers.len() != positions.len() || sublattices.len() != positions.len() {
        let got = format!(
            "{} numbers, {} sublattices for {} positions",
            numbers.len(),
            sublattices.len(),
            positions.len()
        );
        return Err(node.wrong("", got, "as many of each"));
    }
    Ok(Structure {
        positions,
        numbers,
        cell,
        sublattices,
    })
}

/// Writes `/truth`.
pub(super) fn write_truth(root: &Node, truth: &Truth) -> Result<()> {
    let node = root.create_group("truth")?;
    write_rows(&node, "a_columns", &truth.a_columns, "Å")?;
    write_rows(&node, "b_columns", &truth.b_columns, "Å")?;
    write_rows(&node, "b_displacements_pm", &truth.displacements, "pm")?;
    node.set_text(
        "axes",
        "x to the right, y down, from the centre of pixel (0, 0)",
    )
}

/// Reads `/truth`.
pub(super) fn read_truth(root: &Node) -> Result<Truth> {
    let node = root.group("truth")?;
    let truth = Truth {
        a_columns: node.read_rows("a_columns")?,
        b_columns: node.read_rows("b_columns")?,
        displacements: node.read_rows("b_displacements_pm")?,
    };
    if truth.b_columns.len() != truth.displacements.len() {
        let got = format!(
            "{} displacements for {} B columns",
            truth.displacements.len(),
            truth.b_columns.len()
        );
        return Err(node.wrong("b_displacements_pm", got, "one per B column"));
    }
    Ok(truth)
}

/// Writes `/provenance`: a text or number attribute per field, the inputs as two data sets.
pub(super) fn write_provenance(root: &Node, provenance: &Provenance) -> Result<()> {
    let node = root.create_group("provenance")?;
    node.set_text("version", &provenance.version)?;
    node.set_text("commit", &provenance.commit)?;
    node.set_number("schema_version", provenance.schema_version)?;
    node.set_text("command", &provenance.command)?;
    node.set_text("settings", &provenance.settings)?;
    if let Some(seed) = provenance.seed {
        node.set_number("seed", seed)?;
    }
    node.set_number("threads", provenance.threads)?;
    node.set_number("start_unix_seconds", provenance.start_unix_seconds)?;
    node.set_number("duration_seconds", provenance.duration_seconds)?;
    if !provenance.inputs.is_empty() {
        let column = |field: fn(&InputHash) -> &String| -> Vec<String> {
            provenance
                .inputs
                .iter()
                .map(|input| field(input).clone())
                .collect()
        };
        node.write_texts("input_path", &column(|input| &input.path))?;
        node.write_texts("input_blake3", &column(|input| &input.blake3))?;
    }
    Ok(())
}

/// Reads `/provenance`.
pub(super) fn read_provenance(root: &Node) -> Result<Provenance> {
    let node = root.group("provenance")?;
    let missing = |name: &str| node.wrong(&format!("@{name}"), "nothing", "an attribute");
    let text = |name: &str| node.text(name).ok_or_else(|| missing(name));
    let unsigned = |name: &str| node.unsigned(name).ok_or_else(|| missing(name));
    let inputs = if node.has("input_path") {
        let (paths, hashes) = (
            node.read_texts("input_path")?,
            node.read_texts("input_blake3")?,
        );
        paths
            .into_iter()
            .zip(hashes)
            .map(|(path, blake3)| InputHash { path, blake3 })
            .collect()
    } else {
        Vec::new()
    };
    Ok(Provenance {
        version: text("version")?,
        commit: text("commit")?,
        schema_version: unsigned("schema_version")? as u32,
        command: text("command")?,
        settings: text("settings")?,
        seed: node.unsigned("seed"),
        inputs,
        threads: unsigned("threads")? as u32,
        start_unix_seconds: unsigned("start_unix_seconds")?,
        duration_seconds: node
            .number("duration_seconds")
            .ok_or_else(|| missing("duration_seconds"))?,
    })
}
