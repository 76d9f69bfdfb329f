//! The `response` command: a response of the emulator, and its certificate as a report beside it.

use std::path::Path;

use crate::emulator::{Kind, Order, Response};
use crate::error::Result;
use crate::figure::curve::{Curve, Series, curves_figure};
use crate::figure::map::{Layer, MapStyle, Panel, panels_figure};
use crate::figure::report::{Report, Section, Table, Tile};
use crate::image::Image;
use crate::progress::Reporter;
use crate::settings::Source;
use crate::simulation::{self, Plate, SimulationSettings};
use crate::storage::output::refuse_file;

/// Learns and certifies the response for the only detector of `settings`, and writes it to `output`, the report to `output` with the
/// ending `html`.
///
/// # Errors
/// As [`simulation::make_response`].
pub fn make_response(
    settings: &SimulationSettings,
    source: &Source,
    output: &Path,
    force: bool,
    reporter: &Reporter,
) -> Result<()> {
    let page = output.with_extension("html");
    refuse_file(&page, force)?;
    let (response, plates) = simulation::make_response(settings, source, output, force, reporter)?;
    report(&response, &plates)?.save(&page, force)?;
    reporter.say(format!(
        "{} and {} are there",
        output.display(),
        page.display()
    ));
    Ok(())
}

/// The certificate as a page.
///
/// # Errors
/// A picture that cannot be encoded.
pub fn report(response: &Response, plates: &[Plate]) -> Result<Report> {
    let [rms, worst, displacement] = response.certificate.worst();
    let [least, most] = response.thickness_nm();
    let tile = |value: String, label: &str| Tile {
        value,
        label: label.to_owned(),
        note: "largest of all comparisons".to_owned(),
    };
    Ok(Report {
        title: "Certificate of an emulator's response".to_owned(),
        subtitle: format!(
            "Detector {}, {least:.1} to {most:.1} nm, tilts up to {} mrad, |D| up to {} pm: textures that the response has not learnt \
             from, against the exact engine. Errors are in per cent of the contrast, the strongest less the weakest pixel.",
            response.detector,
            response.certificate.range.tilt_mrad,
            response.certificate.range.displacement_pm,
        ),
        tiles: vec![
            tile(format!("{rms:.2} %"), "rms error of the image"),
            tile(format!("{worst:.2} %"), "error of the worst pixel"),
            tile(format!("{displacement:.2} pm"), "rms error of D as fitted"),
        ],
        sections: vec![comparisons(response), pictures(plates)?, orders(response)],
        provenance: toml::to_string(&response.microscope).unwrap_or_default(),
        ..Report::default()
    })
}

fn comparisons(response: &Response) -> Section {
    let certificate = &response.certificate;
    let rows = certificate.comparisons.iter().map(|c| {
        vec![
            c.texture.clone(),
            format!("{}, {}", c.tilt_mrad[0], c.tilt_mrad[1]),
            format!("{:.2}", c.thickness_nm),
            format!("{:.3}", c.rms_percent),
            format!("{:.2}", c.worst_percent),
            format!("{:.3}", c.blurred_rms_percent),
            format!("{:.2}", c.blurred_worst_percent),
            format!("{:.2}", c.displacement_pm),
            c.cells.to_string(),
        ]
    });
    let fwhm = certificate.source_fwhm_angstrom;
    let header = [
        "texture",
        "tilt x, y [mrad]",
        "thickness [nm]",
        "rms [%]",
        "worst [%]",
        "rms, blurred [%]",
        "worst, blurred [%]",
        "D, rms [pm]",
        "cells",
    ];
    let mut curves: Vec<Curve> = Vec::new();
    let mut names: Vec<&str> = certificate
        .comparisons
        .iter()
        .map(|c| c.texture.as_str())
        .collect();
    names.dedup();
    for name in names {
        let of_texture = certificate.comparisons.iter().filter(|c| c.texture == name);
        let mut series: Vec<Series> = Vec::new();
        for c in of_texture {
            let label = format!("{:.0} mrad", c.tilt_mrad[0].hypot(c.tilt_mrad[1]));
            if series.last().is_none_or(|last| last.label != label) {
                series.push(Series {
                    label,
                    ..Series::default()
                });
            }
            if let Some(last) = series.last_mut() {
                last.x.push(c.thickness_nm);
                last.y.push(c.rms_percent);
            }
        }
        curves.push(Curve {
            title: name.to_owned(),
            x_label: "thickness [nm]".to_owned(),
            y_label: "rms error [% of contrast]".to_owned(),
            series,
            ..Curve::default()
        });
    }
    Section {
        heading: "Comparisons".to_owned(),
        paragraphs: vec![format!(
            "Blurred: with a source of {fwhm} Å. D is fitted in the blurred images, by single Gaussians in windows of 1 Å radius."
        )],
        figures: vec![(
            "Rms error of the ideal image against thickness, for each tilt.".to_owned(),
            curves_figure("Errors", &curves, 3),
        )],
        tables: vec![Table {
            caption: "All comparisons".to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: rows.collect(),
        }],
    }
}

fn pictures(plates: &[Plate]) -> Result<Section> {
    let mut figures = Vec::new();
    for plate in plates {
        let c = &plate.comparison;
        let most = plate.exact.data.iter().fold(f32::MIN, |m, x| m.max(*x));
        let least = plate.exact.data.iter().fold(f32::MAX, |m, x| m.min(*x));
        let percent = 100.0 / (most - least);
        let scaled = |image: &Image| Image {
            data: image.data.mapv(|x| (x - least) * percent),
            sampling: image.sampling,
        };
        let (exact, drawn) = (scaled(&plate.exact), scaled(&plate.drawn));
        let difference = Image {
            data: &drawn.data - &exact.data,
            sampling: exact.sampling,
        };
        let panel = |title: &str, image| Panel {
            title: title.to_owned(),
            image: None,
            layer: Layer::Values(image),
        };
        let name = format!(
            "{}, {:.1} nm, tilt {}, {} mrad",
            c.texture, c.thickness_nm, c.tilt_mrad[0], c.tilt_mrad[1]
        );
        let style = |label: &str| MapStyle {
            scalar_label: label.to_owned(),
            ..MapStyle::default()
        };
        figures.push((
            format!("{name}: exact and drawn."),
            panels_figure(
                &name,
                &[panel("exact engine", &exact), panel("emulator", &drawn)],
                &style("intensity [% of contrast]"),
            )?,
        ));
        figures.push((
            format!(
                "{name}: drawn less exact; rms {:.3} %, worst {:.2} %.",
                c.rms_percent, c.worst_percent
            ),
            panels_figure(
                &name,
                &[panel("difference", &difference)],
                &style("difference [% of contrast]"),
            )?,
        ));
    }
    Ok(Section {
        heading: "Pictures".to_owned(),
        figures,
        ..Section::default()
    })
}

fn orders(response: &Response) -> Section {
    let series = Kind::ALL.iter().map(|&kind| Series {
        label: format!("{kind:?} columns"),
        x: (0..Order::LADDER.len()).map(|n| n as f64).collect(),
        y: response.errors_by_order[kind as usize]
            .iter()
            .map(|e| 100.0 * e)
            .collect(),
        ..Series::default()
    });
    let word = |power: Option<u8>| power.map_or("–".to_owned(), |p| p.to_string());
    let rows = Order::LADDER.iter().enumerate().map(|(n, order)| {
        let mut row = vec![
            n.to_string(),
            order.tilt.to_string(),
            word(order.linear),
            word(order.nearest),
            word(order.second),
            word(order.third),
        ];
        for errors in &response.errors_by_order {
            row.push(
                errors
                    .get(n)
                    .map_or(String::new(), |e| format!("{:.3}", 100.0 * e)),
            );
        }
        row
    });
    let curve = Curve {
        title: "Error by order".to_owned(),
        x_label: "order (row of the table)".to_owned(),
        y_label: "rms error of patches [% of contrast]".to_owned(),
        series: series.collect(),
        ..Curve::default()
    };
    let header = [
        "order",
        "tilt",
        "linear",
        "nearest × nearest",
        "collective × collective",
        "third",
        "A [%]",
        "B [%]",
        "O [%]",
    ];
    Section {
        heading: "Order of the expansion".to_owned(),
        paragraphs: vec![
            "Errors of single patches, out to 2.6 Å from their columns, on blocks that were not learnt from, by how far the expansion \
             goes. Numbers in the table are the powers of the tilt that each group of terms has. Where patches overlap their errors \
             average out: images are better."
                .to_owned(),
        ],
        figures: vec![("The order with the least error is used, kind by kind.".to_owned(), curve.figure())],
        tables: vec![Table {
            caption: "Orders".to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: rows.collect(),
        }],
    }
}
