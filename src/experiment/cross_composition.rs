//! Networks trained on each composition and tested on every other (Nelson et al. 2021 move networks between Sm contents).
//!
//! Each composition is one image with a random polar texture. Its left part trains, its right part tests; no window crosses
//! the line. Replicates differ in noise, weights and shuffles.

use std::collections::BTreeMap;

use ndarray::{Array2, s};
use serde::{Deserialize, Serialize};

use super::bench::{Bench, three_panels};
use super::comparison::Comparison;
use super::labelling::{Known, Labelled, join};
use super::template::SimulationTemplate;
use crate::acquisition::Acquisition;
use crate::crystal::Specimen;
use crate::crystal::polarization::PolarVector;
use crate::error::Result;
use crate::figure::heat::HeatMap;
use crate::figure::report::{Report, Section, Table};
use crate::image::Image;
use crate::network::{
    ModelSettings, Recipe, Regressor, SplitSettings, SubimageSettings, TrainingSettings,
};
use crate::settings::Source;
use crate::simulation::{SimulationSettings, acquire};
use crate::storage::dataset::Split;
use crate::storage::tables::{field, write_table};

/// Name of the training set of all compositions together.
const POOLED: &str = "pooled";

/// The `[cross_composition]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossComposition {
    /// Part of each image that trains, on the left.
    pub train_fraction: f64,
    /// Part of the training part that validates, on top.
    pub validation_fraction: f64,
    /// How often everything is repeated with other noise, weights and shuffles.
    pub replicates: usize,
    /// What the microscope does to the ideal images.
    pub acquisition: Acquisition,
    /// What the networks look at.
    pub subimages: SubimageSettings,
    /// What the networks look like.
    pub model: ModelSettings,
    /// How they are trained.
    pub training: TrainingSettings,
    /// The compositions, by name.
    pub compositions: BTreeMap<String, Specimen>,
}

impl CrossComposition {
    /// Checks the section; `source` stands at it.
    ///
    /// # Errors
    /// A number out of range, a wrong specimen, fewer than two compositions.
    pub fn validate(&self, source: &Source) -> Result<()> {
        source.in_range(
            "train_fraction",
            self.train_fraction,
            0.1..=0.9,
            "of the image",
            "",
        )?;
        source.in_range(
            "validation_fraction",
            self.validation_fraction,
            0.01..=0.5,
            "of the image",
            "",
        )?;
        source.in_range("replicates", self.replicates as f64, 1.0..=1000.0, "", "")?;
        self.acquisition.validate(source)?;
        self.subimages.validate(source)?;
        self.model.validate(source, self.subimages.window())?;
        self.training.validate(source)?;
        if self.compositions.len() < 2 {
            let got = format!("{} compositions", self.compositions.len());
            return Err(source.wrong(
                "compositions",
                got,
                "at least two sections compositions.NAME",
            ));
        }
        let mut all = self.compositions.iter();
        all.try_for_each(|(name, specimen)| {
            specimen.validate(&source.under(&format!("compositions.{name}")))
        })
    }

    /// One simulation per composition, each with a texture of its own.
    #[must_use]
    pub fn simulations(
        &self,
        seed: u64,
        template: &SimulationTemplate,
    ) -> Vec<(String, SimulationSettings)> {
        let simulation = |(number, (name, specimen)): (usize, (&String, &Specimen))| {
            (
                name.clone(),
                template.with(seed + number as u64, specimen, vec![[0.0, 0.0]], None),
            )
        };
        self.compositions
            .iter()
            .enumerate()
            .map(simulation)
            .collect()
    }

    fn split(&self) -> SplitSettings {
        SplitSettings {
            train_fraction: self.train_fraction,
            validation_fraction: self.validation_fraction,
            ..SplitSettings::default()
        }
    }
}

/// One composition in one replicate.
struct Acquired {
    name: String,
    image: Image,
    known: Known,
    labelled: Labelled,
}

/// One entry of the matrix.
struct Transfer {
    train: String,
    test: String,
    replicate: usize,
    comparison: Comparison,
}

/// Trains, tests, and tells.
///
/// # Errors
/// Images too small to cut, a disk that refuses.
pub(super) fn report(section: &CrossComposition, bench: &Bench) -> Result<Report> {
    let mut transfers = Vec::new();
    let mut maps = Section {
        heading: "Maps".to_owned(),
        ..Section::default()
    };
    for replicate in 0..section.replicates {
        let specimens = acquire_all(section, bench, replicate)?;
        for train in specimens
            .iter()
            .map(|specimen| specimen.name.as_str())
            .chain([POOLED])
        {
            bench.reporter.say(format!(
                "replicate {} of {}: {train}",
                replicate + 1,
                section.replicates
            ));
            let network = train_on(section, bench, &specimens, train, replicate)?;
            for test in &specimens {
                let comparison = compare(&network, &test.labelled)?;
                transfers.push(Transfer {
                    train: train.to_owned(),
                    test: test.name.clone(),
                    replicate,
                    comparison,
                });
                if replicate == 0 && test.name == train {
                    let figure = map_figure(section, test, &network)?;
                    bench.save(&figure, &format!("map-{train}"))?;
                    let caption =
                        format!("{train}: truth, prediction, difference. Left of the line trains.");
                    maps.figures.push((caption, figure));
                }
            }
        }
    }
    write_csv(&transfers, bench)?;
    let mut report = bench.report();
    report
        .sections
        .extend([matrices(section, bench, &transfers)?, maps]);
    Ok(report)
}

/// The acquired and cut images of one replicate.
fn acquire_all(
    section: &CrossComposition,
    bench: &Bench,
    replicate: usize,
) -> Result<Vec<Acquired>> {
    section
        .simulations(bench.seed, &bench.simulation)
        .into_iter()
        .map(|(name, settings)| {
            let (plan, file) = bench.images(&name, &settings)?;
            let ideal = file.detectors[0].data.slice(s![0, -1, .., ..]).to_owned();
            let image = acquire(&plan, &section.acquisition, ideal, replicate as u64)?;
            let known = Known::from(&file.truth);
            let labelled = Labelled::cut(&image, &known, &section.subimages, &section.split())?;
            Ok(Acquired {
                name,
                image,
                known,
                labelled,
            })
        })
        .collect()
}

/// A network that saw the training parts of one composition, or of all.
fn train_on(
    section: &CrossComposition,
    bench: &Bench,
    specimens: &[Acquired],
    train: &str,
    replicate: usize,
) -> Result<Regressor> {
    let chosen = || {
        specimens
            .iter()
            .filter(|specimen| train == POOLED || specimen.name == train)
    };
    let part = |part| {
        join(
            &chosen()
                .map(|specimen| specimen.labelled.part(part))
                .collect::<Vec<_>>(),
        )
    };
    let recipe = Recipe {
        seed: bench.seed + replicate as u64,
        model: &section.model,
        training: &section.training,
        subimages: &section.subimages,
        start: None,
    };
    bench.network(
        &format!("{train}-{replicate}"),
        &recipe,
        &part(Split::Train)?,
        &part(Split::Validation)?,
    )
}

/// Predicted against true D over the test part.
fn compare(network: &Regressor, labelled: &Labelled) -> Result<Comparison> {
    let rows: Vec<usize> = (0..labelled.split.len())
        .filter(|&row| labelled.split[row] == Split::Test)
        .collect();
    let found = network.predict_patches(labelled.part(Split::Test).subimages.view())?;
    let measured = rows.iter().enumerate().map(|(i, &row)| PolarVector {
        position: labelled.centres[row],
        displacement: [found.mean[(i, 0)], found.mean[(i, 1)]],
        sigma: [found.sigma[(i, 0)], found.sigma[(i, 1)]],
        flags: 0,
    });
    let truth = rows
        .iter()
        .map(|&row| [0, 1].map(|axis| f64::from(labelled.targets[(row, axis)])));
    Ok(Comparison {
        measured: measured.collect(),
        truth: truth.collect(),
    })
}

/// Truth, prediction and difference over a whole image, on one scale.
fn map_figure(
    section: &CrossComposition,
    specimen: &Acquired,
    network: &Regressor,
) -> Result<crate::figure::Figure> {
    let points: Vec<_> = specimen
        .known
        .cells
        .iter()
        .map(|cell| cell.position)
        .collect();
    let predicted = network.predict_at(&specimen.image, &points)?;
    let truth = crate::crystal::Truth {
        a_columns: Vec::new(),
        b_columns: points,
        displacements: specimen
            .known
            .cells
            .iter()
            .map(|cell| cell.displacement)
            .collect(),
    };
    let comparison = Comparison::new(&predicted, &truth, f64::INFINITY);
    three_panels(
        &specimen.name,
        &specimen.image,
        &comparison,
        Some(section.train_fraction * specimen.image.extent()[1]),
    )
}

fn write_csv(transfers: &[Transfer], bench: &Bench) -> Result<()> {
    let header = [
        "train",
        "test",
        "replicate",
        "cells",
        "rms_pm",
        "slope",
        "bias_x_pm",
        "bias_y_pm",
    ];
    let rows = transfers.iter().map(|t| {
        let c = &t.comparison;
        let numbers = [c.rms(), c.slope(), c.bias()[0], c.bias()[1]].map(|x| field(x, 4));
        let mut row = vec![
            t.train.clone(),
            t.test.clone(),
            t.replicate.to_string(),
            c.len().to_string(),
        ];
        row.extend(numbers);
        row
    });
    write_table(&bench.folder.join("cross-composition.csv"), &header, rows)
}

/// Mean and standard deviation over replicates.
fn mean_and_spread(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance.sqrt())
}

/// Error and slope matrices, as heat maps and as a table.
fn matrices(section: &CrossComposition, bench: &Bench, transfers: &[Transfer]) -> Result<Section> {
    let columns: Vec<String> = section.compositions.keys().cloned().collect();
    let rows: Vec<String> = columns.iter().cloned().chain([POOLED.to_owned()]).collect();
    let matrix = |value: &dyn Fn(&Comparison) -> f64| {
        let mut mean = Array2::zeros((rows.len(), columns.len()));
        let mut spread = mean.clone();
        for ((i, j), entry) in mean.indexed_iter_mut() {
            let chosen = transfers
                .iter()
                .filter(|t| t.train == rows[i] && t.test == columns[j]);
            (*entry, spread[(i, j)]) =
                mean_and_spread(&chosen.map(|t| value(&t.comparison)).collect::<Vec<_>>());
        }
        (mean, spread)
    };
    let mut figures = Vec::new();
    let mut lines = Vec::new();
    for (stem, label, decimals, value) in [
        (
            "rms",
            "rms error per axis (pm)",
            2,
            &(|c: &Comparison| c.rms()) as &dyn Fn(&Comparison) -> f64,
        ),
        (
            "slope",
            "slope of measured against true D",
            3,
            &|c: &Comparison| c.slope(),
        ),
        (
            "bias",
            "length of the mean error (pm)",
            2,
            &|c: &Comparison| c.bias()[0].hypot(c.bias()[1]),
        ),
    ] {
        let (values, spread) = matrix(value);
        for ((i, j), entry) in values.indexed_iter() {
            let spread = spread[(i, j)];
            let spread = if spread.is_finite() {
                format!(" ± {spread:.decimals$}")
            } else {
                String::new()
            };
            lines.push(vec![
                label.to_owned(),
                rows[i].clone(),
                columns[j].clone(),
                format!("{entry:.decimals$}{spread}"),
            ]);
        }
        let heat = HeatMap {
            title: label.to_owned(),
            row_title: "trained on".to_owned(),
            column_title: "tested on".to_owned(),
            rows: rows.clone(),
            columns: columns.clone(),
            values,
            spread: (section.replicates > 1).then_some(spread),
            label: label.to_owned(),
            decimals,
            ..HeatMap::default()
        };
        let figure = heat.figure()?;
        bench.save(&figure, stem)?;
        figures.push((
            format!(
                "{label}, mean over replicates (here {})",
                section.replicates
            ),
            figure,
        ));
    }
    Ok(Section {
        heading: "Transfer".to_owned(),
        paragraphs: vec![
            "Rows: what a network was trained on. Columns: what it was tested on, in the right part of each image, which no \
             network saw."
                .to_owned(),
        ],
        figures,
        tables: vec![Table {
            caption: "All numbers, mean ± standard deviation over replicates".to_owned(),
            header: ["quantity", "train", "test", "value"].map(str::to_owned).to_vec(),
            rows: lines,
        }],
    })
}
