//! The tilt-sensitivity study as table, figures and report.

use ndarray::s;
use rayon::prelude::*;

use super::bench::Bench;
use super::tilt_sensitivity::{Shifts, Tilt, TiltSensitivity};
use crate::error::Result;
use crate::figure::curve::{Curve, Series, curves_figure};
use crate::figure::report::{Report, Section, Table};
use crate::storage::tables::{field, write_table};

/// One line of the table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    specimen: String,
    tilt: Tilt,
    thickness_nm: f64,
    source_fwhm: f64,
    shifts: Shifts,
}

/// Columns of `tilt-sensitivity.csv`.
const HEADER: [&str; 14] = [
    "specimen",
    "tilt_mrad",
    "azimuth_degrees",
    "thickness_nm",
    "source_fwhm_angstrom",
    "a_shift_x_pm",
    "a_shift_y_pm",
    "b_shift_x_pm",
    "b_shift_y_pm",
    "d_error_x_pm",
    "d_error_y_pm",
    "d_error_along_tilt_pm",
    "true_dx_pm",
    "true_dy_pm",
];

/// Measures every image of the study; `prefix` is that of the simulations' names.
///
/// # Errors
/// An image in which no columns are found.
pub(super) fn measure(section: &TiltSensitivity, prefix: &str, bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, settings) in section.simulations(bench.seed, &bench.simulation, prefix) {
        let (_, file) = bench.images(&name, &settings)?;
        let stack = &file.detectors[0].data;
        let tilts = section.tilts();
        let frames: Vec<(usize, usize)> = (0..tilts.len())
            .flat_map(|t| (0..file.thicknesses_nm.len()).map(move |z| (t, z)))
            .collect();
        let bar = bench
            .reporter
            .bar(&format!("fitting {name}"), frames.len() as u64);
        let measured: Vec<Vec<Row>> = frames
            .par_iter()
            .map(|&(tilt, thickness)| {
                let ideal = stack.slice(s![tilt, thickness, .., ..]);
                let shifts = section.measure(ideal, file.sampling, &file.truth)?;
                bar.inc(1);
                let row = |(&source_fwhm, &shifts): (&f64, &Shifts)| Row {
                    specimen: name.trim_start_matches(prefix).to_owned(),
                    tilt: tilts[tilt],
                    thickness_nm: file.thicknesses_nm[thickness],
                    source_fwhm,
                    shifts,
                };
                Ok(section
                    .source_fwhm_angstrom
                    .iter()
                    .zip(&shifts)
                    .map(row)
                    .collect())
            })
            .collect::<Result<_>>()?;
        bar.finish_and_clear();
        rows.extend(measured.into_iter().flatten());
    }
    Ok(rows)
}

/// Measures, writes the table and figures, and tells.
///
/// # Errors
/// An image in which no columns are found, a disk that refuses.
pub(super) fn report(section: &TiltSensitivity, bench: &Bench) -> Result<Report> {
    let rows = measure(section, "", bench)?;
    write_csv(&rows, bench)?;
    let mut report = bench.report();
    report.sections.extend([
        bias_law(section, &rows, bench)?,
        sublattices(section, &rows, bench)?,
        zero_tilt(&rows),
    ]);
    Ok(report)
}

/// Writes `tilt-sensitivity.csv`.
///
/// # Errors
/// The disk refuses.
pub(super) fn write_csv(rows: &[Row], bench: &Bench) -> Result<()> {
    let lines = rows.iter().map(|row| {
        let Shifts { a, b, d, true_d } = row.shifts;
        let mut line = vec![row.specimen.clone()];
        line.extend(
            [
                row.tilt.magnitude,
                row.tilt.azimuth,
                row.thickness_nm,
                row.source_fwhm,
            ]
            .map(|x| field(x, 4)),
        );
        let along = row.tilt.along(d);
        line.extend(
            [
                a[0], a[1], b[0], b[1], d[0], d[1], along, true_d[0], true_d[1],
            ]
            .map(|x| field(x, 4)),
        );
        line
    });
    write_table(&bench.folder.join("tilt-sensitivity.csv"), &HEADER, lines)
}

/// A middle source size, at which figures are drawn.
fn shown_source(section: &TiltSensitivity) -> f64 {
    section.source_fwhm_angstrom[section.source_fwhm_angstrom.len() / 2]
}

/// The rows of the first azimuth (and zero tilt) of a specimen at one source size and thickness, by rising tilt.
fn selected<'a>(
    section: &TiltSensitivity,
    rows: &'a [Row],
    specimen: &str,
    thickness: f64,
) -> Vec<&'a Row> {
    let (azimuth, source) = (section.azimuths_degrees[0], shown_source(section));
    let mut chosen: Vec<&Row> = rows
        .iter()
        .filter(|row| {
            row.specimen == specimen && row.source_fwhm == source && row.thickness_nm == thickness
        })
        .filter(|row| row.tilt.magnitude == 0.0 || row.tilt.azimuth == azimuth)
        .collect();
    chosen.sort_by(|a, b| a.tilt.magnitude.total_cmp(&b.tilt.magnitude));
    chosen
}

fn thicknesses(rows: &[Row]) -> Vec<f64> {
    let mut all: Vec<f64> = rows.iter().map(|row| row.thickness_nm).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

/// The curve of one quantity along the tilt, for a list of rows.
fn series(label: String, rows: &[&Row], value: impl Fn(&Row) -> f64) -> Series {
    let x = rows.iter().map(|row| row.tilt.magnitude).collect();
    Series {
        label,
        x,
        y: rows.iter().map(|row| value(row)).collect(),
        ..Series::default()
    }
}

/// Apparent B − A shift along the tilt, relative to zero tilt, against tilt: a panel a specimen, a line a thickness.
///
/// # Errors
/// The disk refuses.
pub(super) fn bias_law(section: &TiltSensitivity, rows: &[Row], bench: &Bench) -> Result<Section> {
    let azimuth = section.azimuths_degrees[0];
    let panels: Vec<Curve> = section
        .specimens
        .keys()
        .map(|specimen| Curve {
            title: specimen.clone(),
            x_label: "tilt (mrad)".to_owned(),
            y_label: "false D along the tilt (pm)".to_owned(),
            series: thicknesses(rows)
                .into_iter()
                .map(|thickness| {
                    let chosen = selected(section, rows, specimen, thickness);
                    let start = chosen.first().map_or(0.0, |row| {
                        Tilt {
                            magnitude: 0.0,
                            azimuth,
                        }
                        .along(row.shifts.d)
                    });
                    series(format!("{thickness:.1} nm"), &chosen, |row| {
                        Tilt {
                            magnitude: 1.0,
                            azimuth,
                        }
                        .along(row.shifts.d)
                            - start
                    })
                })
                .collect(),
            ..Curve::default()
        })
        .collect();
    let source = shown_source(section);
    let title = &format!("Displacement faked by tilt (source {source} Å, azimuth {azimuth}°)");
    let figure = curves_figure(title, &panels, 3);
    bench.save(&figure, "bias-law")?;
    let caption = "Measured minus true D along the tilt, less its value at zero tilt.";
    Ok(Section {
        heading: "Bias law".to_owned(),
        figures: vec![(caption.to_owned(), figure)],
        ..Section::default()
    })
}

/// A, B and B − A shifts against tilt of the first specimen: a panel a thickness.
fn sublattices(section: &TiltSensitivity, rows: &[Row], bench: &Bench) -> Result<Section> {
    let Some(specimen) = section.specimens.keys().next() else {
        return Ok(Section::default());
    };
    let panels: Vec<Curve> = thicknesses(rows)
        .into_iter()
        .map(|thickness| {
            let chosen = selected(section, rows, specimen, thickness);
            let along = Tilt {
                magnitude: 1.0,
                azimuth: section.azimuths_degrees[0],
            };
            Curve {
                title: format!("{thickness:.1} nm"),
                x_label: "tilt (mrad)".to_owned(),
                y_label: "apparent shift along the tilt (pm)".to_owned(),
                series: vec![
                    series("A".to_owned(), &chosen, |row| along.along(row.shifts.a)),
                    series("B".to_owned(), &chosen, |row| along.along(row.shifts.b)),
                    series("B − A".to_owned(), &chosen, |row| {
                        along.along(row.shifts.d)
                    }),
                ],
                ..Curve::default()
            }
        })
        .collect();
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

/// What the fit makes of the true displacement without any tilt.
fn zero_tilt(rows: &[Row]) -> Section {
    let lines = rows
        .iter()
        .filter(|row| row.tilt.magnitude == 0.0)
        .map(|row| {
            let Shifts { d, true_d, .. } = row.shifts;
            let size = true_d[0].hypot(true_d[1]);
            let gain = (size > 1.0).then(|| {
                let along = (d[0] * true_d[0] + d[1] * true_d[1]) / size;
                format!("{:+.1} %", 100.0 * along / size)
            });
            vec![
                row.specimen.clone(),
                format!("{:.1}", row.thickness_nm),
                format!("{}", row.source_fwhm),
                format!("({:.2}, {:.2})", true_d[0], true_d[1]),
                format!("({:+.2}, {:+.2})", d[0], d[1]),
                gain.unwrap_or_default(),
            ]
        });
    let header = [
        "specimen",
        "thickness (nm)",
        "source (Å)",
        "true D (pm)",
        "error of D (pm)",
        "of |D|",
    ];
    Section {
        heading: "Zero tilt".to_owned(),
        paragraphs: vec!["Even without tilt a Gaussian fit does not return the true displacement: oxygen and channelling pull at \
                          the intensity."
            .to_owned()],
        tables: vec![Table {
            caption: "Error of the fitted displacement at zero tilt".to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: lines.collect(),
        }],
        ..Section::default()
    }
}
