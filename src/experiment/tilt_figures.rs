//! Figures of the tilt-sensitivity study: cuts through a table that is too large to show.

use ndarray::Array2;

use super::bench::Bench;
use super::tilt_report::{Row, table};
use super::tilt_sensitivity::{Tilt, TiltSensitivity};
use crate::error::Result;
use crate::figure::colour::ColourScale;
use crate::figure::curve::{Curve, Reference, Series, curves_figure};
use crate::figure::heat::HeatMap;
use crate::figure::report::Section;
use crate::storage::tables::field;

/// Most lines in a panel: as many as the eye can follow.
const MOST_LINES: usize = 6;
/// Most rows and columns of a matrix.
const MOST_CELLS: usize = 14;

/// The part of the table that figures show.
pub(super) struct Cut<'a> {
    pub(super) rows: &'a [Row],
    pub(super) specimens: Vec<String>,
    /// Size of the tilt [mrad].
    pub(super) magnitude: f64,
    /// Direction of the tilt [degrees]: the first of the study.
    azimuth: f64,
    /// Simulated thicknesses that are shown [nm].
    pub(super) thicknesses: Vec<f64>,
    /// Source size [Å].
    source: f64,
    /// Radius of the fit window [Å].
    pub(super) radius: Option<f64>,
}

impl<'a> Cut<'a> {
    /// What the settings ask to show; else the middle of each list.
    pub(super) fn new(section: &TiltSensitivity, rows: &'a [Row]) -> Self {
        let middle = |list: &[f64]| list.get(list.len() / 2).copied();
        let shown = section.shown.as_ref();
        let all = distinct(rows, |row| row.thickness_nm);
        let nearest = |wanted: f64| {
            let distance = |t: &&f64| (**t - wanted).abs();
            all.iter()
                .min_by(|a, b| distance(a).total_cmp(&distance(b)))
                .copied()
        };
        let mut thicknesses = shown.map_or_else(
            || spread(&all, MOST_LINES),
            |s| {
                s.thicknesses_nm
                    .iter()
                    .filter_map(|&t| nearest(t))
                    .collect()
            },
        );
        thicknesses.sort_by(f64::total_cmp);
        thicknesses.dedup();
        Self {
            rows,
            specimens: section.specimens.keys().cloned().collect(),
            magnitude: shown.map_or_else(
                || middle(&section.magnitudes_mrad).unwrap_or_default(),
                |s| s.magnitude_mrad,
            ),
            azimuth: section
                .azimuths_degrees
                .first()
                .copied()
                .unwrap_or_default(),
            thicknesses,
            source: shown.map_or_else(
                || middle(&section.source_fwhm_angstrom).unwrap_or_default(),
                |s| s.source_fwhm_angstrom,
            ),
            radius: shown
                .and_then(|s| s.radius_angstrom)
                .or_else(|| middle(&section.radii())),
        }
    }

    /// Whether a row is of the source and window shown.
    pub(super) fn same_fit(&self, row: &Row) -> bool {
        row.measured.source_fwhm == self.source && row.measured.radius == self.radius
    }

    /// Source and window in words.
    pub(super) fn fit_name(&self) -> String {
        let window = self.radius.map(|radius| format!(", window {radius} Å"));
        format!("source {} Å{}", self.source, window.unwrap_or_default())
    }

    /// Whether a row has the direction of tilt shown, as zero tilt has.
    fn same_azimuth(&self, row: &Row) -> bool {
        row.tilt.magnitude == 0.0 || row.tilt.azimuth == self.azimuth
    }

    /// A line through the rows of a specimen that fulfil a condition.
    fn line(
        &self,
        label: String,
        specimen: &str,
        chosen: impl Fn(&Row) -> bool,
        point: impl Fn(&Row) -> [f64; 2],
    ) -> Series {
        let mut points: Vec<[f64; 2]> = self
            .rows
            .iter()
            .filter(|row| row.specimen == specimen && self.same_azimuth(row) && chosen(row))
            .map(point)
            .collect();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        Series {
            label,
            x: points.iter().map(|p| p[0]).collect(),
            y: points.iter().map(|p| p[1]).collect(),
            ..Series::default()
        }
    }

    /// A panel a specimen of false D along the tilt.
    fn panels(&self, x_label: &str, lines: impl Fn(&str) -> Vec<Series>) -> Vec<Curve> {
        let panel = |specimen: &String| Curve {
            title: specimen.clone(),
            x_label: x_label.to_owned(),
            y_label: "false D along the tilt (pm)".to_owned(),
            series: lines(specimen),
            references: vec![Reference {
                label: "zero".to_owned(),
                y: 0.0,
            }],
            ..Curve::default()
        };
        self.specimens.iter().map(panel).collect()
    }
}

/// The distinct values of the rows, rising.
fn distinct(rows: &[Row], value: impl Fn(&Row) -> f64) -> Vec<f64> {
    let mut all: Vec<f64> = rows.iter().map(value).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

/// At most `most` values, evenly out of a list, with its first and last.
fn spread(all: &[f64], most: usize) -> Vec<f64> {
    if all.len() <= most {
        return all.to_vec();
    }
    (0..most)
        .map(|i| all[i * (all.len() - 1) / (most - 1)])
        .collect()
}

/// Apparent B − A shift along the tilt, relative to zero tilt, against tilt: a panel a specimen, a line a thickness.
///
/// # Errors
/// The disk refuses.
pub(super) fn bias_law(section: &TiltSensitivity, rows: &[Row], bench: &Bench) -> Result<Section> {
    let cut = Cut::new(section, rows);
    let panels = cut.panels("tilt (mrad)", |specimen| {
        let line = |&thickness: &f64| {
            cut.line(
                format!("{thickness:.1} nm"),
                specimen,
                |row| cut.same_fit(row) && row.thickness_nm == thickness,
                |row| [row.tilt.magnitude, row.along()],
            )
        };
        cut.thicknesses.iter().map(line).collect()
    });
    let title = format!(
        "Displacement faked by tilt ({}, azimuth {}°)",
        cut.fit_name(),
        cut.azimuth
    );
    let figure = curves_figure(&title, &panels, 3);
    bench.save(&figure, "bias-law")?;
    let caption = "Measured minus true D along the tilt, less its value at zero tilt.";
    Ok(Section {
        heading: "Bias law".to_owned(),
        figures: vec![(caption.to_owned(), figure)],
        tables: vec![bias_table(&cut)],
        ..Section::default()
    })
}

/// The numbers of the bias law.
fn bias_table(cut: &Cut) -> crate::figure::report::Table {
    let magnitudes = spread(&distinct(cut.rows, |row| row.tilt.magnitude), MOST_CELLS);
    let mut header = vec!["specimen".to_owned(), "thickness (nm)".to_owned()];
    header.extend(magnitudes.iter().map(|m| format!("{m} mrad")));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut lines = Vec::new();
    for specimen in &cut.specimens {
        for &thickness in &cut.thicknesses {
            let mut line = vec![specimen.clone(), format!("{thickness:.2}")];
            line.extend(
                magnitudes
                    .iter()
                    .map(|&m| field(false_d(cut, specimen, thickness, m), 2)),
            );
            lines.push(line);
        }
    }
    table(
        &format!("False D along the tilt (pm), {}", cut.fit_name()),
        &header,
        lines,
    )
}

/// False D along the tilt at one place of the cut [pm]; NaN where there is none.
fn false_d(cut: &Cut, specimen: &str, thickness: f64, magnitude: f64) -> f64 {
    cut.rows
        .iter()
        .filter(|row| row.specimen == specimen && row.thickness_nm == thickness)
        .filter(|row| row.tilt.magnitude == magnitude && cut.same_azimuth(row))
        .find(|row| cut.same_fit(row))
        .map_or(f64::NAN, Row::along)
}

/// False D against thickness, and as a matrix of tilt and thickness; `None` for a single thickness.
///
/// # Errors
/// The disk refuses.
pub(super) fn tilt_thickness(cut: &Cut, bench: &Bench) -> Result<Option<Section>> {
    let thicknesses = distinct(cut.rows, |row| row.thickness_nm);
    if thicknesses.len() < 2 {
        return Ok(None);
    }
    let mut magnitudes = distinct(cut.rows, |row| row.tilt.magnitude);
    magnitudes.retain(|&m| m > 0.0);
    let line = |specimen: &str, magnitude: f64| {
        cut.line(
            format!("{magnitude} mrad"),
            specimen,
            |row| cut.same_fit(row) && row.tilt.magnitude == magnitude,
            |row| [row.thickness_nm, row.along()],
        )
    };
    let panels = cut.panels("thickness (nm)", |specimen| {
        let shown = spread(&magnitudes, MOST_LINES);
        shown.iter().map(|&m| line(specimen, m)).collect()
    });
    let name = cut.fit_name();
    let title = format!("Displacement faked by tilt against thickness ({name})");
    let figure = curves_figure(&title, &panels, 3);
    bench.save(&figure, "thickness")?;
    let caption = "Less its value at zero tilt. Where a line crosses zero, films thinner than that fake the opposite sign.";
    let mut figures = vec![(caption.to_owned(), figure)];
    let mut films = Vec::new();
    for specimen in &cut.specimens {
        let figure = heat_map(cut, specimen, &thicknesses, &magnitudes)?;
        bench.save(&figure, &format!("tilt-thickness-{specimen}"))?;
        figures.push((format!("{specimen}: false D along the tilt."), figure));
        films.extend(
            magnitudes
                .iter()
                .map(|&m| film(specimen, m, &line(specimen, m))),
        );
    }
    let header = [
        "specimen",
        "tilt (mrad)",
        "sign changes at (nm)",
        "greatest (pm)",
        "at (nm)",
    ];
    Ok(Some(Section {
        heading: "Thickness".to_owned(),
        figures,
        tables: vec![table(
            &format!("Change of sign and maximum of false D along the tilt, {name}"),
            &header,
            films,
        )],
        ..Section::default()
    }))
}

/// Where a line of false D against thickness rises through zero, and its maximum.
fn film(specimen: &str, magnitude: f64, line: &Series) -> Vec<String> {
    let points: Vec<[f64; 2]> = line
        .x
        .iter()
        .zip(&line.y)
        .map(|(&x, &y)| [x, y])
        .filter(|p| p[1].is_finite())
        .collect();
    let change = points
        .windows(2)
        .find(|pair| pair[0][1] < 0.0 && pair[1][1] >= 0.0)
        .map(|pair| {
            let [[x0, y0], [x1, y1]] = [pair[0], pair[1]];
            x0 - y0 * (x1 - x0) / (y1 - y0)
        });
    let most = points.iter().max_by(|a, b| a[1].total_cmp(&b[1]));
    vec![
        specimen.to_owned(),
        format!("{magnitude}"),
        change.map_or_else(|| "nowhere".to_owned(), |x| format!("{x:.2}")),
        most.map_or_else(String::new, |p| format!("{:+.2}", p[1])),
        most.map_or_else(String::new, |p| format!("{:.2}", p[0])),
    ]
}

/// False D of a specimen over tilt and thickness.
fn heat_map(
    cut: &Cut,
    specimen: &str,
    thicknesses: &[f64],
    magnitudes: &[f64],
) -> Result<crate::figure::Figure> {
    let (down, across) = (
        spread(thicknesses, MOST_CELLS),
        spread(magnitudes, MOST_CELLS),
    );
    let values = Array2::from_shape_fn((down.len(), across.len()), |(row, col)| {
        false_d(cut, specimen, down[row], across[col])
    });
    let most = values
        .iter()
        .filter(|v| v.is_finite())
        .fold(0.0_f64, |most, v| most.max(v.abs()));
    let name = cut.fit_name();
    HeatMap {
        title: format!("False D along the tilt, {specimen} ({name})"),
        row_title: "thickness (nm)".to_owned(),
        column_title: "tilt (mrad)".to_owned(),
        rows: down.iter().map(|t| format!("{t:.2}")).collect(),
        columns: across.iter().map(|m| format!("{m}")).collect(),
        values,
        label: "false D (pm)".to_owned(),
        decimals: 1,
        scale: ColourScale::Difference,
        limits: (most > 0.0).then_some([-most, most]),
        ..HeatMap::default()
    }
    .figure()
}

/// False D against source size and against the radius of the window, where there is more than one.
///
/// # Errors
/// The disk refuses.
pub(super) fn trends(
    section: &TiltSensitivity,
    cut: &Cut,
    bench: &Bench,
) -> Result<Option<Section>> {
    let mut figures = Vec::new();
    let line = |specimen: &str,
                thickness: f64,
                chosen: &dyn Fn(&Row) -> bool,
                x: fn(&Row) -> f64| {
        cut.line(
            format!("{thickness:.1} nm"),
            specimen,
            |row| {
                row.thickness_nm == thickness && row.tilt.magnitude == cut.magnitude && chosen(row)
            },
            |row| [x(row), row.along()],
        )
    };
    let mut draw = |stem: &str, what: &str, chosen: &dyn Fn(&Row) -> bool, x: fn(&Row) -> f64| {
        let panels = cut.panels(&format!("{what} (Å)"), |specimen| {
            let thicknesses = cut.thicknesses.iter();
            thicknesses.map(|&t| line(specimen, t, chosen, x)).collect()
        });
        let title = format!(
            "Displacement faked by a tilt of {} mrad against {what}",
            cut.magnitude
        );
        let figure = curves_figure(&title, &panels, 3);
        bench.save(&figure, stem)?;
        figures.push((format!("The {what} changes what the tilt fakes."), figure));
        Ok(())
    };
    if section.source_fwhm_angstrom.len() > 1 {
        let chosen = |row: &Row| row.measured.radius == cut.radius;
        draw("source-size", "source size, FWHM", &chosen, |row| {
            row.measured.source_fwhm
        })?;
    }
    if section.radii().len() > 1 {
        let chosen = |row: &Row| row.measured.source_fwhm == cut.source;
        draw(
            "window-radius",
            "radius of the fit window",
            &chosen,
            |row| row.measured.radius.unwrap_or(f64::NAN),
        )?;
    }
    Ok((!figures.is_empty()).then(|| Section {
        heading: "Source and window".to_owned(),
        figures,
        ..Section::default()
    }))
}

/// A, B and B − A shifts against tilt of the first specimen: a panel a thickness.
///
/// # Errors
/// The disk refuses.
pub(super) fn sublattices(cut: &Cut, bench: &Bench) -> Result<Section> {
    let Some(specimen) = cut.specimens.first() else {
        return Ok(Section::default());
    };
    let direction = Tilt {
        magnitude: 1.0,
        azimuth: cut.azimuth,
    };
    let panel = |&thickness: &f64| {
        let line = |label: &str, shift: fn(&Row) -> [f64; 2]| {
            cut.line(
                label.to_owned(),
                specimen,
                |row| cut.same_fit(row) && row.thickness_nm == thickness,
                |row| [row.tilt.magnitude, direction.along(shift(row))],
            )
        };
        Curve {
            title: format!("{thickness:.1} nm"),
            x_label: "tilt (mrad)".to_owned(),
            y_label: "apparent shift along the tilt (pm)".to_owned(),
            series: vec![
                line("A", |row| row.measured.shifts.a),
                line("B", |row| row.measured.shifts.b),
                line("B − A", |row| row.measured.shifts.d),
            ],
            ..Curve::default()
        }
    };
    let panels: Vec<Curve> = cut.thicknesses.iter().map(panel).collect();
    let title = &format!("Apparent shifts of the sublattices, {specimen} cell");
    let figure = curves_figure(title, &panels, 2);
    bench.save(&figure, "sublattices")?;
    let caption = "Shifts from the column's place at the entrance face. Both sublattices move with the tilt; what fakes a \
                   polarization is their difference.";
    Ok(Section {
        heading: "Sublattices".to_owned(),
        figures: vec![(caption.to_owned(), figure)],
        ..Section::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_tells_where_its_sign_changes_and_where_it_is_greatest() {
        let line = Series {
            x: vec![1.0, 2.0, 4.0, 10.0, 20.0],
            y: vec![-1.0, -0.5, 0.5, 7.0, f64::NAN],
            ..Series::default()
        };
        assert_eq!(
            film("cubic", 8.0, &line),
            ["cubic", "8", "3.00", "+7.00", "10.00"]
        );
    }

    #[test]
    fn a_spread_keeps_both_ends() {
        let all: Vec<f64> = (0..40).map(f64::from).collect();
        let some = spread(&all, 6);
        assert_eq!((some.len(), some[0], some[5]), (6, 0.0, 39.0));
        assert_eq!(spread(&all[..3], 6), [0.0, 1.0, 2.0]);
    }
}
