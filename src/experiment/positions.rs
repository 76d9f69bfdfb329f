//! The `positions` command: a map from the columns that another program has fitted.

use std::path::Path;

use super::map_settings::MapSettings;
use super::mapping::{AnalysedColumns, MapFiles};
use crate::column::ColumnMap;
use crate::column::analysis::{Analysis, calibration_warning, map_of_positions};
use crate::error::{Error, Result};
use crate::neighbours::Point;
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::storage::output::{OutputFolder, refuse_inputs};
use crate::storage::positions::{PositionUnit, read_positions};
use crate::storage::tables::write_table;
use crate::units::PM_PER_ANGSTROM;

/// Decimals of positions and displacements in the unit of the tables: a billionth of a pixel.
const DECIMALS: usize = 9;

/// Makes a map of the A and B positions in two tables and writes it to the folder `output`. `sampling` [Å/px] is the pixel size of positions in pixels;
/// without it, it is the one that gives the lattice the nominal pitch.
///
/// Beside the files of a map stands `displacements.csv`: D in the unit of the tables, as it is before any reference.
///
/// # Errors
/// A table that cannot be read, positions that make no cell, a finished `output` without `force`.
pub fn map_positions(
    [a, b]: [&Path; 2],
    sampling: Option<f64>,
    settings: &MapSettings,
    output: &Path,
    force: bool,
    reporter: &Reporter,
) -> Result<()> {
    settings.validate()?;
    let mut provenance = Provenance::start(
        "positions",
        toml::to_string(settings).unwrap_or_default(),
        None,
    );
    refuse_inputs(output, &[a, b])?;
    let folder = OutputFolder::create(output, force)?;
    let (positions, unit) = read(a, b)?;
    provenance.add_input(a)?;
    provenance.add_input(b)?;
    // As they are: whatever the unit, one of it counts as 1 Å here.
    let raw = map_of_positions(&positions[0], &positions[1], [f64::NAN; 2], 1.0);
    let raw = raw.map_err(|error| error.of_file(a))?;
    write_displacements(
        &folder.partial().join("displacements.csv"),
        &raw,
        settings,
        unit,
    )?;
    let nominal = settings.columns.nominal_pitch_angstrom;
    let scale = scale(unit, sampling, &raw, nominal, reporter)?;
    let map = scaled(&positions, scale, settings)?;
    reporter.say(map.summary());
    if let Some(warning) = calibration_warning(&map, nominal) {
        reporter.say(format!("warning: {warning}"));
    }
    let analysis = Analysis::new(&map, &settings.map, nominal).map_err(|e| e.of_file(a))?;
    reporter.say(analysis.summary());
    let files = MapFiles {
        title: "Polar displacement from given positions",
        image: None,
        vectors: &analysis.vectors(),
        truth: None,
        columns: Some(AnalysedColumns {
            map: &map,
            analysis: &analysis,
            figures: &settings.figures,
        }),
        conformal: None,
        provenance: &provenance,
    };
    files.write(folder, reporter)
}

/// Both tables, in one unit.
fn read(a: &Path, b: &Path) -> Result<([Vec<Point>; 2], PositionUnit)> {
    let (first, unit) = read_positions(a)?;
    let (second, other) = read_positions(b)?;
    if unit != other {
        let got = format!("positions in {other:?}");
        return Err(Error::data(
            b,
            "table",
            got,
            format!("{unit:?}, as in {}", a.display()),
        ));
    }
    Ok(([first, second], unit))
}

/// Å per unit of the tables.
fn scale(
    unit: PositionUnit,
    sampling: Option<f64>,
    raw: &ColumnMap,
    nominal: f64,
    reporter: &Reporter,
) -> Result<f64> {
    let wrong = |got: String, allowed: &str| Error::Setting {
        place: "--sampling".to_owned(),
        got,
        allowed: allowed.to_owned(),
    };
    match (unit, sampling) {
        (PositionUnit::Angstrom, None) => Ok(1.0),
        (PositionUnit::Angstrom, Some(sampling)) => Err(wrong(
            sampling.to_string(),
            "nothing: the positions are in Å",
        )),
        (PositionUnit::Pixel, Some(sampling)) if (0.001..=10.0).contains(&sampling) => Ok(sampling),
        (PositionUnit::Pixel, Some(sampling)) => Err(wrong(
            sampling.to_string(),
            "0.001 to 10 Å per pixel (Å, not nm or pm)",
        )),
        (PositionUnit::Pixel, None) => {
            let scale = nominal / raw.lattice.pitch();
            reporter.say(format!(
                "no --sampling: a pixel is taken as {scale:.6} Å, so that the lattice has the pitch of a perovskite, {nominal} Å"
            ));
            Ok(scale)
        }
    }
}

/// The map in Å.
fn scaled(positions: &[Vec<Point>; 2], scale: f64, settings: &MapSettings) -> Result<ColumnMap> {
    let [a, b] = [0, 1]
        .map(|k| -> Vec<Point> { positions[k].iter().map(|p| p.map(|x| scale * x)).collect() });
    let sigma = [
        settings.positions.sigma_a_angstrom,
        settings.positions.sigma_b_angstrom,
    ];
    let nominal = settings.columns.nominal_pitch_angstrom;
    map_of_positions(&a, &b, sigma.map(|s| s.unwrap_or(f64::NAN)), nominal)
}

/// `displacements.csv`: D, its length and its angle from x towards y, in the unit of the tables.
fn write_displacements(
    path: &Path,
    raw: &ColumnMap,
    settings: &MapSettings,
    unit: PositionUnit,
) -> Result<()> {
    let convention = settings.map.convention;
    let rows = raw.vectors.iter().map(|vector| {
        let [dx, dy] = vector
            .displacement
            .map(|d| convention.sign() * d / PM_PER_ANGSTROM);
        let [x, y] = vector.position;
        let mut row: Vec<String> = [x, y, dx, dy, dx.hypot(dy), dy.atan2(dx)]
            .iter()
            .map(|value| format!("{value:.DECIMALS$}"))
            .collect();
        row.push(convention.word().to_owned());
        row
    });
    let header = match unit {
        PositionUnit::Pixel => ["x_px", "y_px", "dx_px", "dy_px", "magnitude_px"],
        PositionUnit::Angstrom => [
            "x_angstrom",
            "y_angstrom",
            "dx_angstrom",
            "dy_angstrom",
            "magnitude_angstrom",
        ],
    };
    let mut names = header.to_vec();
    names.extend(["angle_rad", "convention"]);
    write_table(path, &names, rows)
}
