//! The tilt-sensitivity study as table and report; its figures are in `tilt_figures`.

use ndarray::s;
use rayon::prelude::*;

use super::bench::Bench;
use super::tilt_figures::{Cut, sublattices, tilt_thickness, trends};
use super::tilt_measurement::{Measured, Shifts};
use super::tilt_sensitivity::{Fit, Tilt, TiltSensitivity};
use crate::crystal::Truth;
use crate::error::Result;
use crate::figure::report::{Report, Section, Table};
use crate::neighbours::Point;
use crate::simulation::Plan;
use crate::storage::tables::{field, write_table};

pub(super) use super::tilt_figures::bias_law;

/// Thicknesses that are the same [nm].
const SAME_THICKNESS_NM: f64 = 0.05;

/// How far before the rim of the scanned period a column is still taken to lie on it [Å]; the rim at the other end moves along.
const RIM: f64 = 1e-6;

/// One line of the table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) specimen: String,
    pub(super) tilt: Tilt,
    pub(super) thickness_nm: f64,
    pub(super) measured: Measured,
    /// D less its value at zero tilt: what the tilt alone fakes, `[x, y]` [pm].
    pub(super) change: [f64; 2],
}

impl Row {
    /// False D along the tilt [pm].
    pub(super) fn along(&self) -> f64 {
        self.tilt.along(self.change)
    }

    /// False D across the tilt [pm].
    pub(super) fn across(&self) -> f64 {
        self.tilt.across(self.change)
    }
}

/// Columns of `tilt-sensitivity.csv`.
const HEADER: [&str; 18] = [
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
    "window_radius_angstrom",
    "d_error_across_tilt_pm",
    "d_change_along_tilt_pm",
    "d_change_across_tilt_pm",
];

/// Measures every image of the study; `prefix` is that of the simulations' names.
///
/// # Errors
/// An image of which no map can be made.
pub(super) fn measure(section: &TiltSensitivity, prefix: &str, bench: &Bench) -> Result<Vec<Row>> {
    let tilts = section.tilts();
    let untilted = tilts.iter().position(|tilt| tilt.magnitude == 0.0);
    let mut rows = Vec::new();
    for (name, settings) in section.simulations(bench.seed, &bench.simulation, prefix) {
        let (plan, file) = bench.images(&name, &settings)?;
        let truth = truth_of_period(&plan);
        let stack = &file.detectors[0].data;
        let depths = file.thicknesses_nm.len();
        let bar = bench
            .reporter
            .bar(&format!("fitting {name}"), (tilts.len() * depths) as u64);
        let frames: Vec<Vec<Measured>> = (0..tilts.len() * depths)
            .into_par_iter()
            .map(|frame| {
                let ideal = stack.slice(s![frame / depths, frame % depths, .., ..]);
                let measured = section.measure(ideal, file.sampling, &truth)?;
                bar.inc(1);
                Ok(measured)
            })
            .collect::<Result<_>>()?;
        bar.finish_and_clear();
        for (frame, measured) in frames.iter().enumerate() {
            let (tilt, depth) = (frame / depths, frame % depths);
            for (number, measured) in measured.iter().enumerate() {
                let still = untilted.map_or([0.0; 2], |zero| {
                    frames[zero * depths + depth][number].shifts.d
                });
                let d = measured.shifts.d;
                rows.push(Row {
                    specimen: name.trim_start_matches(prefix).to_owned(),
                    tilt: tilts[tilt],
                    thickness_nm: file.thicknesses_nm[depth],
                    measured: measured.clone(),
                    change: [d[0] - still[0], d[1] - still[1]],
                });
            }
        }
    }
    Ok(rows)
}

/// The truth of the scanned period, in coordinates of its image. A column on the rim counts once, whatever rounding makes of
/// the rim.
fn truth_of_period(plan: &Plan) -> Truth {
    let [x, y, _] = plan.structure.cell;
    let before = |point: Point| point.map(|coordinate| coordinate - RIM);
    let (start, end) = (before(plan.raster.start), before(plan.raster.end()));
    let mut truth = plan.truth.in_field(start, end, [x, y]);
    for column in truth.a_columns.iter_mut().chain(&mut truth.b_columns) {
        *column = before(*column);
    }
    truth
}

/// Measures, writes the table and figures, and tells.
///
/// # Errors
/// An image of which no map can be made, a disk that refuses.
pub(super) fn report(section: &TiltSensitivity, bench: &Bench) -> Result<Report> {
    let rows = measure(section, "", bench)?;
    write_csv(&rows, bench)?;
    let cut = Cut::new(section, &rows);
    let mut report = bench.report();
    report.sections.push(method(section, &rows));
    report.sections.extend(known(section, &rows));
    report.sections.push(bias_law(section, &rows, bench)?);
    report.sections.extend(tilt_thickness(&cut, bench)?);
    report.sections.extend(trends(section, &cut, bench)?);
    report.sections.extend(azimuths(section, &cut));
    report.sections.push(sublattices(&cut, bench)?);
    report.sections.push(zero_tilt(&cut));
    Ok(report)
}

/// Writes `tilt-sensitivity.csv`.
///
/// # Errors
/// The disk refuses.
pub(super) fn write_csv(rows: &[Row], bench: &Bench) -> Result<()> {
    let lines = rows.iter().map(|row| {
        let Shifts { a, b, d, true_d } = row.measured.shifts;
        let numbers = [
            row.tilt.magnitude,
            row.tilt.azimuth,
            row.thickness_nm,
            row.measured.source_fwhm,
            a[0],
            a[1],
            b[0],
            b[1],
            d[0],
            d[1],
            row.tilt.along(d),
            true_d[0],
            true_d[1],
            row.measured.radius.unwrap_or(f64::NAN),
            row.tilt.across(d),
            row.along(),
            row.across(),
        ];
        let mut line = vec![row.specimen.clone()];
        line.extend(numbers.map(|x| field(x, 4)));
        line
    });
    write_table(&bench.folder.join("tilt-sensitivity.csv"), &HEADER, lines)
}

/// How columns were measured, and how often in vain.
fn method(section: &TiltSensitivity, rows: &[Row]) -> Section {
    let how = match section.fit() {
        Fit::Window(fits) => format!(
            "Each column is fitted by itself: an elliptical Gaussian and a constant, by unweighted least squares, in a circular \
             window (radius {:?} Å) that starts at the true position and is moved to the centre found {} times.",
            fits.radii_angstrom, fits.recentre
        ),
        Fit::Map(fit) => format!(
            "The image of a period is repeated {} × {} times and all its columns are fitted together, as in a column map.",
            fit.repeats[0], fit.repeats[1]
        ),
    };
    let meaning = "Shifts are measured minus true positions in the frame of the entrance face, averaged over the columns of the \
                   scanned period. D = B − mean A; false D is its change from zero tilt. The table tilt-sensitivity.csv \
                   holds everything; figures show a part."
        .to_owned();
    let mut paragraphs = vec![how, meaning];
    let failures: Vec<&String> = rows
        .iter()
        .filter_map(|row| row.measured.failure.as_ref())
        .collect();
    if let Some(first) = failures.first() {
        paragraphs.push(format!(
            "In {} of {} measurements a column was not found; their fields are empty. The first: {first}.",
            failures.len(),
            rows.len()
        ));
    }
    Section {
        heading: "How it is measured".to_owned(),
        paragraphs,
        ..Section::default()
    }
}

/// The numbers known from elsewhere beside those measured here.
fn known(section: &TiltSensitivity, rows: &[Row]) -> Option<Section> {
    let mut lines = Vec::new();
    for expected in &section.expected {
        let here = |row: &&Row| {
            row.specimen == expected.specimen
                && row.tilt.magnitude == expected.magnitude_mrad
                && row.tilt.azimuth == expected.azimuth_degrees
                && row.measured.source_fwhm == expected.source_fwhm_angstrom
                && row.measured.radius == expected.radius_angstrom
        };
        let pairs = expected
            .thicknesses_nm
            .iter()
            .zip(&expected.d_along_tilt_pm);
        for (&thickness, &d) in pairs {
            let found = rows
                .iter()
                .filter(here)
                .find(|row| (row.thickness_nm - thickness).abs() < SAME_THICKNESS_NM);
            let number = |value: Option<f64>| value.map(|v| format!("{v:+.2}"));
            lines.push(vec![
                expected.reference.clone(),
                expected.specimen.clone(),
                format!("{}", expected.magnitude_mrad),
                format!("{thickness:.2}"),
                format!("{}", expected.source_fwhm_angstrom),
                format!("{d:+.2}"),
                number(found.map(Row::along)).unwrap_or_else(|| "not simulated".to_owned()),
                number(found.map(|row| row.along() - d)).unwrap_or_default(),
            ]);
        }
    }
    let header = [
        "reference",
        "specimen",
        "tilt (mrad)",
        "thickness (nm)",
        "source (Å)",
        "there (pm)",
        "here (pm)",
        "difference (pm)",
    ];
    (!lines.is_empty()).then(|| Section {
        heading: "Against known numbers".to_owned(),
        tables: vec![table("False D along the tilt", &header, lines)],
        ..Section::default()
    })
}

/// What the direction of the tilt does, at the tilt and thicknesses shown.
fn azimuths(section: &TiltSensitivity, cut: &Cut) -> Option<Section> {
    if section.azimuths_degrees.len() < 2 {
        return None;
    }
    let mut lines = Vec::new();
    for specimen in &cut.specimens {
        for &thickness in &cut.thicknesses {
            for &azimuth in &section.azimuths_degrees {
                let found = cut.rows.iter().find(|row| {
                    cut.same_fit(row)
                        && &row.specimen == specimen
                        && row.thickness_nm == thickness
                        && row.tilt.magnitude == cut.magnitude
                        && row.tilt.azimuth == azimuth
                });
                lines.extend(found.map(|row| {
                    vec![
                        specimen.clone(),
                        format!("{thickness:.2}"),
                        format!("{azimuth}"),
                        field(row.along(), 2),
                        field(row.across(), 2),
                    ]
                }));
            }
        }
    }
    let header = [
        "specimen",
        "thickness (nm)",
        "azimuth (°)",
        "along (pm)",
        "across (pm)",
    ];
    let caption = format!(
        "False D along and across a tilt of {} mrad, {}",
        cut.magnitude,
        cut.fit_name()
    );
    Some(Section {
        heading: "Direction of the tilt".to_owned(),
        tables: vec![table(&caption, &header, lines)],
        ..Section::default()
    })
}

/// What the fit makes of the true displacement without any tilt.
fn zero_tilt(cut: &Cut) -> Section {
    let lines = cut
        .rows
        .iter()
        .filter(|row| row.tilt.magnitude == 0.0 && row.measured.radius == cut.radius)
        .filter(|row| cut.thicknesses.contains(&row.thickness_nm))
        .map(|row| {
            let Shifts { d, true_d, .. } = row.measured.shifts;
            let size = true_d[0].hypot(true_d[1]);
            let gain = (size > 1.0 && d[0].is_finite()).then(|| {
                let along = (d[0] * true_d[0] + d[1] * true_d[1]) / size;
                format!("{:+.1} %", 100.0 * along / size)
            });
            vec![
                row.specimen.clone(),
                format!("{:.1}", row.thickness_nm),
                format!("{}", row.measured.source_fwhm),
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
        tables: vec![table(
            "Error of the fitted displacement at zero tilt",
            &header,
            lines.collect(),
        )],
        ..Section::default()
    }
}

/// A table of the report.
pub(super) fn table(caption: &str, header: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table {
        caption: caption.to_owned(),
        header: header.iter().map(|&name| name.to_owned()).collect(),
        rows,
    }
}
