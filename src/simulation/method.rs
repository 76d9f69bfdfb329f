//! Which engine a simulation uses, and what each of them asks for.

use super::emulation::microscope;
use super::settings::SimulationSettings;
use crate::error::Result;
use crate::multislice::checks::{check_probe, probe_room};
use crate::multislice::{BlochSettings, Detector, Grid, Method, MultisliceSettings, Prism};
use crate::settings::Source;

/// A field this many times wider than the probe needs is worth windows.
const WORTH_WINDOWS: f64 = 3.0;
const KEY: &str = "multislice.method";

/// Replaces `auto` by the engine that suits, with the reason; other methods stay. What the engine's own section leaves out is
/// filled in, so that it is kept with the results, and unfinished parts are those of these numbers.
///
/// A cell narrower than the probe is scanned by Bloch waves, a field much wider by windows, all else by full-field multislice.
/// PRISM is never chosen: where it is quicker it interpolates, and that is for a person to decide.
pub(super) fn resolve(
    settings: &SimulationSettings,
    [x, y, height]: [f64; 3],
) -> (SimulationSettings, Option<String>) {
    let mut resolved = settings.clone();
    let reason = (settings.multislice.method == Method::Auto)
        .then(|| choose(settings, [x, y, height], &mut resolved.multislice));
    let multislice = &mut resolved.multislice;
    if multislice.method == Method::Windowed {
        multislice.windowed.get_or_insert_default();
    }
    (resolved, reason)
}

/// Sets the engine that suits, and says why.
fn choose(
    settings: &SimulationSettings,
    [x, y, height]: [f64; 3],
    multislice: &mut MultisliceSettings,
) -> String {
    let side = x.min(y);
    let (room, _) = probe_room(&settings.probe, height);
    let camera = has_camera(settings);
    let (method, reason) = if side < room && !camera && settings.tilt_field.is_none() {
        let points = (room / side).ceil() as usize;
        let section = multislice.bloch.get_or_insert(BlochSettings {
            points: Some(points),
            field_angstrom: None,
        });
        let points = section.points(side);
        let reason = format!(
            "the cell is {side:.1} Å wide and the probe needs {room:.1} Å: {points} × {points} cells by Bloch waves"
        );
        (Method::Bloch, reason)
    } else if side > WORTH_WINDOWS * room && !camera {
        let reason = format!(
            "the field is {side:.1} Å wide and the probe needs {room:.1} Å: each probe has a window of the specimen"
        );
        (Method::Windowed, reason)
    } else {
        let reason = format!(
            "the field of {side:.1} Å is not much wider than the {room:.1} Å that the probe needs"
        );
        (Method::Multislice, reason)
    };
    multislice.method = method;
    reason
}

/// Checks that the engine of resolved settings can do what they ask for on `grid`.
///
/// # Errors
/// File, line, key, what it got and what is allowed.
pub(super) fn check(settings: &SimulationSettings, source: &Source, grid: &Grid) -> Result<()> {
    let multislice = &settings.multislice;
    let name = multislice.method;
    let refuse = |what: &str, allowed: &str| {
        Err(source.wrong(KEY, format!("`{name}` with {what}"), allowed.to_owned()))
    };
    if has_camera(settings) {
        if multislice.method != Method::Multislice {
            return refuse(
                "a pixelated detector",
                "`multislice`, which has whole diffraction patterns",
            );
        }
        if settings.thermal_diffuse.is_some() {
            let allowed = "[phonons] for patterns: the thermal-diffuse model knows how much is scattered, not where to";
            return Err(source.wrong("thermal_diffuse", "a pixelated detector", allowed));
        }
    }
    if multislice.method == Method::Emulator {
        return microscope(settings)
            .map(|_| ())
            .or_else(|what| refuse(&what, "an exact method, or `auto`"));
    }
    let tilts_locally = matches!(multislice.method, Method::Multislice | Method::Windowed);
    if settings.tilt_field.is_some() && !tilts_locally {
        return refuse(
            "[tilt_field]",
            "`multislice` or `windowed`, where every probe has its own tilt",
        );
    }
    check_probe(
        source,
        &settings.probe,
        &probe_field(settings, source, grid)?,
    )
}

/// The periodic field that a probe has for itself; the specimen's grid, but for Bloch waves and PRISM.
///
/// # Errors
/// PRISM's interpolation does not divide the pixels.
pub(super) fn probe_field(
    settings: &SimulationSettings,
    source: &Source,
    grid: &Grid,
) -> Result<Grid> {
    let multislice = &settings.multislice;
    match (multislice.method, &multislice.bloch, &multislice.prism) {
        (Method::Bloch, Some(bloch), _) => repeated(grid, bloch.points(smaller_side(grid))),
        (Method::Prism, _, Some(prism)) => Prism::window(grid, prism).map_err(|error| {
            let key = "multislice.prism.interpolation";
            source.wrong(key, prism.interpolation, error.to_string())
        }),
        _ => Ok(*grid),
    }
}

fn has_camera(settings: &SimulationSettings) -> bool {
    let mut detectors = settings.detectors.values();
    detectors.any(|detector| matches!(detector, Detector::Pixelated(_)))
}

/// The smaller side of a field [Å].
pub(super) fn smaller_side(grid: &Grid) -> f64 {
    let [y, x] = grid.extent();
    y.min(x)
}

/// The grid of `n` × `n` cells.
fn repeated(cell: &Grid, n: usize) -> Result<Grid> {
    let (rows, cols) = cell.shape();
    let extent = cell.extent().map(|side| side * n as f64);
    Grid::new((rows * n, cols * n), extent)
}
