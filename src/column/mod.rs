//! The classical map: atom columns found and fitted in any [100] image of a perovskite, and from them the polar
//! displacement of every cell with its standard deviation. Nothing has to be tuned by hand.
//!
//! 1. [`lattice`]: the repeat of the A lattice, from the image's autocorrelation.
//! 2. `find`: peaks, claimed by the sites of this lattice in a growth that follows its distortions.
//! 3. `fit`, `normal`, `joint`: all columns at once, by maximum likelihood with the measured noise.
//! 4. `alone`: positions by the methods of other programs instead, if asked for; `misfit`: how well each column is modelled.
//! 5. [`map`]: sublattices, flags, polar vectors.
//! 6. [`analysis`]: which D differ from zero, P, strain, domains and walls, the tilt reference.
//!
//! Beside it stands [`fit_window`]: one column in a window of its own, the plain measurement that published biases refer to.
//!
//! Origin, axes and units as in the crate's [conventions](crate#conventions).

mod alone;
pub mod analysis;
mod background;
mod field;
mod filter;
mod find;
mod fit;
#[cfg(test)]
mod gates;
mod gaussian;
mod joint;
pub mod lattice;
pub mod map;
mod mask;
mod misfit;
mod moments;
mod noise;
mod normal;
mod rows;
mod settings;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
mod window_fit;

pub use lattice::Lattice;
pub use map::{AtomColumn, COLUMNS_HEADER, ColumnMap, Median, columns_csv};
pub use settings::{Brighter, ColumnSettings, Method, Weighting};
pub use window_fit::{WindowColumn, WindowFit, fit_window};

use field::Field;
use mask::Masked;

use crate::crystal::Sublattice;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::progress::Reporter;

/// What the measurement is called in messages.
const WHAT: &str = "column map";
/// Fewest cells along a side of the image that can be mapped.
const MIN_CELLS: f64 = 3.0;
/// Width up to which columns are told from their neighbours by the image [pitch]; beyond it, by the model.
const RESOLVED: f64 = 0.24;
/// Fewest A columns that make a map: 3×3.
const MIN_A_COLUMNS: usize = 9;

/// Finds and fits the columns of an image and measures D in every cell. Pixels that are not finite, and those of plateaus at
/// the highest value (a saturated detector), have no part in the fit.
///
/// # Errors
/// A setting is out of range; most pixels are not finite; the image shows no lattice, or fewer than 3×3 cells of one.
pub fn measure(image: &Image, settings: &ColumnSettings, reporter: &Reporter) -> Result<ColumnMap> {
    settings.validate()?;
    check(image)?;
    let masked = Masked::of(image)?;
    let image = &masked.image;
    let prior = find_lattice(image, settings)?;
    let lattice = prior.lattice;
    let pitch = lattice.pitch();
    reporter.detail(format!(
        "lattice with a pitch of {pitch:.3} Å, {:.0} standard errors above chance",
        prior.significance
    ));
    let found = find::sites(image, &lattice, settings.smoothing);
    let field = Field {
        image,
        usable: &masked.usable,
        ghosts: &found.ghosts,
        pitch,
    };
    let fitted = fit::fit_all(&field, &found, settings, reporter);
    let measured = judged(&field, &found, fitted, settings);
    let columns = map::assemble(image, &measured, &lattice, settings);
    let good = columns
        .iter()
        .filter(|c| c.sublattice == Sublattice::A && c.flags == 0)
        .count();
    let mean = map::mean_lattice(&columns).filter(|_| good >= MIN_A_COLUMNS);
    let Some(mean) = mean else {
        return Err(Error::unmeasurable(
            WHAT,
            format!("{good} A columns above the noise"),
            format!("at least {MIN_A_COLUMNS}, in 3×3 cells; a higher dose, or a larger field"),
        ));
    };
    let map = ColumnMap {
        vectors: map::polar_vectors(&columns),
        columns,
        lattice: mean,
        calibration_ratio: mean.pitch() / settings.nominal_pitch_angstrom,
        significance: prior.significance,
        method: settings.method.word(),
    };
    reporter.say(map.summary());
    let width = map.width_over_pitch();
    if width > RESOLVED {
        reporter.say(format!(
            "warning: columns are {width:.2} of the pitch wide (standard deviation), hardly resolved: sizes of D, and their \
             standard deviations, rest on the model of the columns' tails"
        ));
    }
    Ok(map)
}

/// What the fit says at every site, the position by the method asked for, and the misfit.
fn judged(
    field: &Field<'_>,
    found: &find::Found,
    fitted: fit::Fitted,
    settings: &ColumnSettings,
) -> Vec<map::Measured> {
    let radius = settings.window * field.pitch;
    let columns = alone::measured(field, &fitted, settings.method, radius);
    let misfits = misfit::of(field, &fitted, radius, settings.maximum_misfit);
    let sites = found.sites.iter().zip(&fitted.columns);
    sites
        .zip(columns)
        .zip(misfits)
        .map(|(((&site, &joint), column), misfit)| map::Measured {
            site,
            joint,
            column,
            misfit,
        })
        .collect()
}

/// Refuses images that cannot be measured at all.
fn check(image: &Image) -> Result<()> {
    let (rows, cols) = image.data.dim();
    if image.sampling.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
        return Err(Error::unmeasurable(
            WHAT,
            format!("pixels of {:?} Å", image.sampling),
            "a positive pixel size along both axes",
        ));
    }
    let first = image.data.first().copied().unwrap_or_default();
    if image.data.iter().all(|v| *v == first) {
        return Err(Error::unmeasurable(
            WHAT,
            format!("no atom columns: all {rows} × {cols} pixels are alike"),
            "an image with contrast",
        ));
    }
    Ok(())
}

fn find_lattice(image: &Image, settings: &ColumnSettings) -> Result<lattice::Evidence> {
    let (rows, cols) = image.data.dim();
    let enough = settings.minimum_significance;
    let found = lattice::find(image, settings.nominal_pitch_angstrom, enough);
    let needed = format!(
        "a square-like lattice of columns, 7 to 150 pixels apart and at least {MIN_CELLS} × {MIN_CELLS} cells, \
         {enough} standard errors above chance"
    );
    let Some(evidence) = found.filter(|e| e.significance >= enough) else {
        let got = found.map_or_else(
            || format!("no periodicity in {rows} × {cols} pixels"),
            |e| format!("a periodicity of {:.1} standard errors", e.significance),
        );
        return Err(Error::unmeasurable(
            WHAT,
            format!("no atom columns found: {got}"),
            needed,
        ));
    };
    let side = image.extent()[0].min(image.extent()[1]);
    let pitch = evidence.lattice.pitch();
    if side < MIN_CELLS * pitch {
        return Err(Error::unmeasurable(
            WHAT,
            format!(
                "{:.1} cells along the shorter side of the image",
                side / pitch
            ),
            format!("{MIN_CELLS} × {MIN_CELLS} cells"),
        ));
    }
    Ok(evidence)
}
