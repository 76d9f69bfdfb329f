//! The demonstration: the whole chain on one small tilted specimen, ending in a report.

use std::time::Instant;

use ndarray::{Array2, s};
use serde::{Deserialize, Serialize};

use super::bench::{Bench, three_panels};
use super::comparison::Comparison;
use super::labelling::{Known, Labelled, join};
use super::template::SimulationTemplate;
use super::tilt_report;
use super::tilt_sensitivity::TiltSensitivity;
use crate::acquisition::Acquisition;
use crate::column::{self, ColumnMap, ColumnSettings};
use crate::crystal::polarization::PolarVector;
use crate::crystal::{Specimen, Sublattice, Truth};
use crate::error::Result;
use crate::figure::map::columns_figure;
use crate::figure::report::{Report, Section, Table, Tile};
use crate::figure::scatter::{Scatter, scatter_figure};
use crate::image::Image;
use crate::network::{
    ModelSettings, Recipe, Regressor, SplitSettings, SubimageSettings, TrainingSettings,
};
use crate::settings::Source;
use crate::simulation::{Plan, ScanSettings, SimulationSettings, acquire};
use crate::storage::dataset::Split;
use crate::storage::tables::write_polarization;

/// Name of the demonstration's image among its simulations.
const IMAGE: &str = "image";
/// Prefix of the names of its tilt series.
const TILTS: &str = "tilt-";

/// The `[demo]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    /// Mistilt of the specimen `[tx, ty]` [mrad].
    pub tilt_mrad: [f64; 2],
    /// Thickness of the specimen [nm].
    pub thickness_nm: f64,
    /// Part of the image that trains, on the left.
    pub train_fraction: f64,
    /// Part of the training part that validates, on top.
    pub validation_fraction: f64,
    /// Noise realisations of the training part.
    pub realisations: usize,
    /// The specimen.
    pub specimen: Specimen,
    /// The scan of the image; that of `[simulation]` is for the tilt series.
    pub scan: ScanSettings,
    /// What the microscope does.
    pub acquisition: Acquisition,
    /// Sub-images of the network with atom finding.
    pub centred: SubimageSettings,
    /// Sub-images of the network without.
    pub grid: SubimageSettings,
    /// What the networks look like.
    pub model: ModelSettings,
    /// How they are trained.
    pub training: TrainingSettings,
    /// The tilt series.
    pub tilts: TiltSensitivity,
}

impl Demo {
    /// Checks the section; `source` stands at it.
    ///
    /// # Errors
    /// File, line, key, what it got and what is allowed.
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
        source.in_range(
            "realisations",
            self.realisations as f64,
            1.0..=1000.0,
            "",
            "",
        )?;
        self.specimen.validate(&source.under("specimen"))?;
        self.acquisition.validate(source)?;
        for settings in [&self.centred, &self.grid] {
            settings.validate(source)?;
            self.model.validate(source, settings.window())?;
        }
        self.training.validate(source)?;
        self.tilts.validate(&source.under("tilts"))
    }

    /// The image and the tilt series.
    #[must_use]
    pub fn simulations(
        &self,
        seed: u64,
        template: &SimulationTemplate,
    ) -> Vec<(String, SimulationSettings)> {
        let mut all = vec![(IMAGE.to_owned(), self.simulation(seed, template))];
        all.extend(self.tilts.simulations(seed, template, TILTS));
        all
    }

    fn simulation(&self, seed: u64, template: &SimulationTemplate) -> SimulationSettings {
        let mut settings = template.with(
            seed,
            &self.specimen,
            vec![self.tilt_mrad],
            Some(self.acquisition.clone()),
        );
        settings.scan = self.scan.clone();
        settings.multislice.exit_thicknesses_nm = vec![self.thickness_nm];
        settings
    }

    fn split(&self) -> SplitSettings {
        SplitSettings {
            train_fraction: self.train_fraction,
            validation_fraction: self.validation_fraction,
            ..SplitSettings::default()
        }
    }
}

/// The image of the demonstration, in all its forms.
struct Acquired {
    plan: Plan,
    ideal: Array2<f32>,
    image: Image,
    truth: Truth,
}

/// A measurement of the image and how good it is in the part that no network saw.
struct Method {
    name: &'static str,
    stem: &'static str,
    all: Comparison,
    test: Comparison,
}

/// The chain from the images on; times of the stages go into the report.
///
/// # Errors
/// An image in which no columns are found, a disk that refuses.
pub(super) fn report(demo: &Demo, bench: &Bench) -> Result<Report> {
    let mut timings = bench.timings.clone();
    let mut clock = Instant::now();
    let mut lap = |stage: &str, clock: &mut Instant| {
        timings.push((stage.to_owned(), clock.elapsed().as_secs_f64()));
        *clock = Instant::now();
    };
    let specimen = open(demo, bench)?;
    let map = column::measure(&specimen.image, &ColumnSettings::default(), &bench.reporter)?;
    lap("column map", &mut clock);
    let centred = train(demo, &demo.centred, &specimen, "centred", bench)?;
    lap("network, centred sub-images", &mut clock);
    let gridded = train(demo, &demo.grid, &specimen, "grid", bench)?;
    lap("network, grid sub-images", &mut clock);
    let methods = compare(demo, &specimen, &map, &centred, &gridded)?;
    let rows = tilt_report::measure(&demo.tilts, TILTS, bench)?;
    lap("prediction and tilt series", &mut clock);
    for method in &methods {
        write_polarization(
            &bench
                .folder
                .join(format!("polarization-{}.csv", method.stem)),
            &method.all.measured,
        )?;
    }
    tilt_report::write_csv(&rows, bench)?;
    let mut report = bench.report();
    report.tiles = methods.iter().map(tile).collect();
    report.sections.extend([
        image_section(&specimen, &map, bench)?,
        maps_section(demo, &specimen, &methods, bench)?,
        tilt_report::bias_law(&demo.tilts, &rows, bench)?,
    ]);
    lap("figures", &mut clock);
    report.timings = timings;
    Ok(report)
}

fn open(demo: &Demo, bench: &Bench) -> Result<Acquired> {
    let (plan, file) = bench.images(IMAGE, &demo.simulation(bench.seed, &bench.simulation))?;
    // The acquired image comes first, the ideal one after it.
    let frame = |detector: usize| {
        file.detectors[detector]
            .data
            .slice(s![0, 0, .., ..])
            .to_owned()
    };
    let image = Image {
        data: frame(0),
        sampling: file.sampling,
    };
    Ok(Acquired {
        plan,
        ideal: frame(1),
        image,
        truth: file.truth,
    })
}

/// A network trained on the left part of the image, in several noise realisations.
fn train(
    demo: &Demo,
    subimages: &SubimageSettings,
    specimen: &Acquired,
    name: &str,
    bench: &Bench,
) -> Result<Regressor> {
    let known = Known::from(&specimen.truth);
    let mut labelled = Vec::new();
    for realisation in 1..=demo.realisations {
        // Frame 0 is the image in the file; the training sees other noise.
        let image = acquire(
            &specimen.plan,
            &demo.acquisition,
            specimen.ideal.clone(),
            realisation as u64,
        )?;
        labelled.push(Labelled::cut(&image, &known, subimages, &demo.split())?);
    }
    let part = |part| {
        join(
            &labelled
                .iter()
                .map(|labelled| labelled.part(part))
                .collect::<Vec<_>>(),
        )
    };
    let recipe = Recipe {
        seed: bench.seed,
        model: &demo.model,
        training: &demo.training,
        subimages,
        start: None,
    };
    bench.network(
        name,
        &recipe,
        &part(Split::Train)?,
        &part(Split::Validation)?,
    )
}

/// Every method on the same image, at the true B columns or nearest to them.
fn compare(
    demo: &Demo,
    specimen: &Acquired,
    map: &ColumnMap,
    centred: &Regressor,
    gridded: &Regressor,
) -> Result<[Method; 3]> {
    let line = demo.train_fraction * specimen.image.extent()[1];
    let half = demo.centred.window_angstrom / 2.0;
    let found: Vec<_> = map
        .of(Sublattice::B)
        .filter(|b| b.flags == 0)
        .map(|b| b.position)
        .collect();
    let reach = map.lattice.pitch() / 3.0;
    let method = |name, stem, vectors: &[PolarVector]| {
        let all = Comparison::new(vectors, &specimen.truth, reach);
        let test = all.filtered(|vector| vector.position[0] - half > line);
        Method {
            name,
            stem,
            all,
            test,
        }
    };
    Ok([
        method("column fit", "columns", &map.vectors),
        method(
            "network, centred sub-images",
            "centred",
            &centred.predict_at(&specimen.image, &found)?,
        ),
        method(
            "network, grid sub-images",
            "grid",
            &at_cells(gridded, demo, specimen)?,
        ),
    ])
}

/// The dense map of a network without atom finding, read off at the true columns: for each the nearest grid point.
fn at_cells(network: &Regressor, demo: &Demo, specimen: &Acquired) -> Result<Vec<PolarVector>> {
    let stride = demo.grid.sampling_angstrom;
    let dense = network.predict_map(&specimen.image, stride)?;
    let points: Vec<_> = dense.iter().map(|vector| vector.position).collect();
    let tree = crate::neighbours::Neighbours::new(&points);
    let nearest = |b: &[f64; 2]| {
        tree.nearest(*b, 1)
            .first()
            .filter(|(_, d)| *d <= stride)
            .map(|(i, _)| dense[*i])
    };
    Ok(specimen
        .truth
        .b_columns
        .iter()
        .filter_map(nearest)
        .collect())
}

fn tile(method: &Method) -> Tile {
    Tile {
        value: format!("{:.2} pm", method.test.rms()),
        label: format!("error of the {}", method.name),
        note: format!(
            "rms per axis over {} unseen cells, slope {:.3}",
            method.test.len(),
            method.test.slope()
        ),
    }
}

fn image_section(specimen: &Acquired, map: &ColumnMap, bench: &Bench) -> Result<Section> {
    let of = |sublattice| {
        map.of(sublattice)
            .map(|column| column.position)
            .collect::<Vec<_>>()
    };
    let title = "Simulated image with its columns";
    let figure = columns_figure(
        title,
        &specimen.image,
        &of(Sublattice::A),
        &of(Sublattice::B),
    )?;
    bench.save(&figure, "columns")?;
    Ok(Section {
        heading: "Image and columns".to_owned(),
        paragraphs: map.summary().lines().map(str::to_owned).collect(),
        figures: vec![(
            "The image as acquired, with the columns that were found and fitted without options."
                .to_owned(),
            figure,
        )],
        ..Section::default()
    })
}

fn maps_section(
    demo: &Demo,
    specimen: &Acquired,
    methods: &[Method],
    bench: &Bench,
) -> Result<Section> {
    let line = demo.train_fraction * specimen.image.extent()[1];
    let mut figures = Vec::new();
    for method in methods {
        let drawn = (method.stem != "columns").then_some(line);
        let figure = three_panels(method.name, &specimen.image, &method.all, drawn)?;
        bench.save(&figure, &format!("map-{}", method.stem))?;
        figures.push((
            format!(
                "{}: truth, measurement, difference, on one scale.",
                method.name
            ),
            figure,
        ));
    }
    let panels: Vec<Scatter> = methods.iter().map(scatter).collect();
    let figure = scatter_figure("Measured against true D, unseen part", &panels, 3);
    bench.save(&figure, "measured-against-true")?;
    figures.push((
        "Both components, in the part right of the line.".to_owned(),
        figure,
    ));
    let rows = methods.iter().map(|method| {
        let test = &method.test;
        let [bx, by] = test.bias();
        vec![
            method.name.to_owned(),
            test.len().to_string(),
            format!("{:.2}", test.rms()),
            format!("{:.3}", test.slope()),
            format!("({bx:+.2}, {by:+.2})"),
        ]
    });
    let header = [
        "method",
        "cells",
        "rms error per axis (pm)",
        "slope",
        "mean error (pm)",
    ];
    Ok(Section {
        heading: "Polarization, three times".to_owned(),
        paragraphs: vec![format!(
            "The same image, tilted by ({}, {}) mrad, is mapped by column fits, by a network that looks at sub-images centred on \
             the B columns found, and by one that looks at every place without finding atoms. The networks learnt left of \
             the line, from other noise realisations with the true displacements as labels: they could learn what the tilt \
             does, the fit could not.",
            demo.tilt_mrad[0], demo.tilt_mrad[1]
        )],
        figures,
        tables: vec![Table {
            caption: "Against the truth, in the part that no network saw".to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: rows.collect(),
        }],
    })
}

fn scatter(method: &Method) -> Scatter {
    let pairs = method.test.truth.iter().zip(&method.test.measured);
    Scatter {
        title: method.name.to_owned(),
        x_label: "true D (pm)".to_owned(),
        y_label: "measured D (pm)".to_owned(),
        unit: "pm".to_owned(),
        points: pairs
            .flat_map(|(t, m)| [0, 1].map(|axis| [t[axis], m.displacement[axis]]))
            .collect(),
    }
}
