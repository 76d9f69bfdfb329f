//! Every kind of figure, drawn from synthetic data. The pictures stay in `target/tmp/figure` to be looked at.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use ferrostem::Error;
use ferrostem::crystal::polarization::{Point, PolarVector, flags};
use ferrostem::figure::Figure;
use ferrostem::figure::colour::ColourScale;
use ferrostem::figure::curve::{Curve, Look, Reference, Series, Spread, curves_figure};
use ferrostem::figure::heat::HeatMap;
use ferrostem::figure::histogram::displacement_histograms;
use ferrostem::figure::map::{
    Layer, MapStyle, Panel, Split, arrows_figure, columns_figure, field_figure, panels_figure,
    scalar_figure,
};
use ferrostem::figure::report::{Report, Section, Table, Tile};
use ferrostem::figure::scatter::{Scatter, scatter_figure};
use ferrostem::image::Image;
use ferrostem::rng::{Rng, stream};
use ndarray::{Array2, array};

const CELL: f64 = 3.96;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("figure")
}

/// Saves a figure and checks what a reader relies on: both files, the size, and that something is drawn. The SVG is parsed
/// strictly on the way to the PNG.
fn publish(figure: &Figure, stem: &str) {
    figure.save(&folder(), stem, true).unwrap();
    let png = std::fs::read(folder().join(format!("{stem}.png"))).unwrap();
    let pixels = image::load_from_memory(&png).unwrap().to_rgb8();
    let size = [pixels.width(), pixels.height()].map(f64::from);
    assert_eq!(size, [figure.width * 3.0, figure.height * 3.0], "{stem}");
    let mut colours: Vec<[u8; 3]> = pixels.pixels().map(|pixel| pixel.0).collect();
    colours.sort_unstable();
    colours.dedup();
    assert!(colours.len() > 20, "{stem} is blank");
    let svg = std::fs::read_to_string(folder().join(format!("{stem}.svg"))).unwrap();
    assert!(
        svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"),
        "{stem}"
    );
}

/// A lattice of `columns` × `rows` cells: A at the corners, B displaced from the centres by `displacement` [pm].
fn lattice(
    columns: usize,
    rows: usize,
    displacement: impl Fn(f64, f64) -> [f64; 2],
) -> (Vec<Point>, Vec<PolarVector>) {
    let grid = |nx: usize, ny: usize, offset: f64| {
        (0..nx * ny).map(move |i| {
            [
                ((i % nx) as f64 + offset) * CELL,
                ((i / nx) as f64 + offset) * CELL,
            ]
        })
    };
    let vectors = grid(columns, rows, 0.5 + 0.4).map(|[x, y]| {
        let d = displacement(
            x / CELL / columns as f64 - 0.5,
            y / CELL / rows as f64 - 0.5,
        );
        PolarVector {
            position: [x + d[0] / 100.0, y + d[1] / 100.0],
            displacement: d,
            sigma: [3.0, f64::NAN],
            flags: 0,
        }
    });
    (
        grid(columns + 1, rows + 1, 0.4).collect(),
        vectors.collect(),
    )
}

/// A vortex of 30 pm that vanishes in its core.
fn vortex(x: f64, y: f64) -> [f64; 2] {
    let r = x.hypot(y);
    let magnitude = 33.0 * (r / 0.12).tanh() / r.max(1e-9);
    [-y * magnitude, x * magnitude]
}

/// Gaussians at the columns, with noise; pixels may be rectangular.
fn micrograph(shape: (usize, usize), sampling: [f64; 2], a: &[Point], b: &[PolarVector]) -> Image {
    let mut data = Array2::from_elem(shape, 0.1_f32);
    let mut add = |point: Point, height: f64| {
        let reach = [0, 1].map(|axis| (2.0 / sampling[axis]).ceil() as i64);
        let [col, row] = [
            (point[0] / sampling[1]) as i64,
            (point[1] / sampling[0]) as i64,
        ];
        for r in (row - reach[0]).max(0)..(row + reach[0]).min(shape.0 as i64) {
            for c in (col - reach[1]).max(0)..(col + reach[1]).min(shape.1 as i64) {
                let dx = c as f64 * sampling[1] - point[0];
                let dy = r as f64 * sampling[0] - point[1];
                let value = height * (-(dx * dx + dy * dy) / (2.0 * 0.25)).exp();
                data[(r as usize, c as usize)] += value as f32;
            }
        }
    };
    a.iter().for_each(|&point| add(point, 1.0));
    b.iter().for_each(|vector| add(vector.position, 0.4));
    let mut rng = stream(3, "noise", 0);
    data.mapv_inplace(|value| value + 0.15 * (rng.random::<f32>() - 0.5));
    Image { data, sampling }
}

fn positions(vectors: &[PolarVector]) -> Vec<Point> {
    vectors.iter().map(|vector| vector.position).collect()
}

fn convention() -> MapStyle {
    MapStyle {
        convention: "D = B − mean of 4 A; P points against D in BiFeO3".to_owned(),
        ..MapStyle::default()
    }
}

#[test]
fn columns_are_marked_on_elongated_images_with_rectangular_pixels() {
    let (a, b) = lattice(11, 11, vortex);
    let image = micrograph((256, 256), [0.18, 0.18], &a, &b);
    publish(
        &columns_figure("Columns of a vortex", &image, &a, &positions(&b)).unwrap(),
        "columns",
    );
    let (a, b) = lattice(65, 10, vortex);
    let image = micrograph((224, 1312), [0.2, 0.205], &a, &b);
    let wide = columns_figure("A wide scan", &image, &a, &positions(&b)).unwrap();
    publish(&wide, "columns_wide");
    let (a, b) = lattice(10, 65, vortex);
    let image = micrograph((1312, 224), [0.205, 0.2], &a, &b);
    let tall = columns_figure("A tall scan", &image, &a, &positions(&b)).unwrap();
    publish(&tall, "columns_tall");
    assert!(wide.width > 900.0 && tall.height > 900.0);
    let (a, b) = lattice(11, 11, vortex);
    let image = micrograph((128, 512), [0.36, 0.09], &a, &b);
    let square = columns_figure("Pixels of 0.36 × 0.09 Å", &image, &a, &positions(&b)).unwrap();
    publish(&square, "columns_rectangular_pixels");
    // The field is 46.08 Å square although it has four times more columns than rows: so is its frame.
    let frame = square.svg.split("<svg ").nth(2).unwrap();
    let length = |name: &str| {
        frame
            .split(&format!(" {name}=\""))
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    assert_eq!(length("width"), length("height"));
}

#[test]
fn arrows_are_drawn_for_one_for_a_hundred_and_for_thousands() {
    let (a, b) = lattice(10, 10, vortex);
    let image = micrograph((240, 240), [0.18, 0.18], &a, &b);
    publish(
        &arrows_figure("Vortex, 100 cells", Some(&image), &b, &convention()).unwrap(),
        "arrows_100",
    );

    let (a, mut b) = lattice(71, 71, vortex);
    for (index, vector) in b.iter_mut().enumerate() {
        vector.flags = if index % 97 == 0 { flags::OUTLIER } else { 0 };
    }
    b[300].displacement = [400.0, 100.0];
    let image = micrograph((1024, 1024), [0.28, 0.28], &a, &b);
    let style = MapStyle {
        split: Some(Split::Vertical {
            x: 190.0,
            names: ["training".to_owned(), "test".to_owned()],
        }),
        ..convention()
    };
    publish(
        &arrows_figure("Vortex, 5041 cells", Some(&image), &b, &style).unwrap(),
        "arrows_5000",
    );
    publish(
        &arrows_figure(
            "Dense grid, thinned",
            None,
            &lattice(220, 220, vortex).1,
            &convention(),
        )
        .unwrap(),
        "arrows_dense",
    );

    let mut rng = stream(4, "field", 0);
    let mut noisy = lattice(24, 24, |_, _| [-23.6, -23.6]).1;
    for vector in &mut noisy {
        vector.displacement = vector
            .displacement
            .map(|d| d + 12.0 * (rng.random::<f64>() - 0.5));
    }
    publish(
        &arrows_figure("Uniform and noisy", None, &noisy, &convention()).unwrap(),
        "arrows_uniform",
    );
    publish(
        &displacement_histograms("Uniform and noisy", &noisy),
        "histograms",
    );
    publish(
        &arrows_figure("One vector", None, &noisy[..1], &convention()).unwrap(),
        "arrows_one",
    );
    publish(
        &arrows_figure("No vectors", None, &[], &convention()).unwrap(),
        "arrows_none",
    );
    publish(
        &displacement_histograms("No vectors", &[]),
        "histograms_none",
    );
    let lost = [PolarVector {
        displacement: [f64::NAN; 2],
        ..noisy[0]
    }];
    publish(
        &arrows_figure("No number", None, &lost, &convention()).unwrap(),
        "arrows_nan",
    );

    let (a, b) = lattice(65, 10, vortex);
    let image = micrograph((224, 1312), [0.2, 0.205], &a, &b);
    publish(
        &arrows_figure("A wide scan", Some(&image), &b, &convention()).unwrap(),
        "arrows_wide",
    );
}

#[test]
fn truth_prediction_and_difference_share_one_scale() {
    let mut rng = stream(5, "prediction", 0);
    let (a, truth) = lattice(30, 30, vortex);
    let image = micrograph((512, 512), [0.24, 0.24], &a, &truth);
    let prediction: Vec<PolarVector> = truth
        .iter()
        .map(|vector| PolarVector {
            displacement: vector
                .displacement
                .map(|d| 0.9 * d + 6.0 * (rng.random::<f64>() - 0.5)),
            ..*vector
        })
        .collect();
    let difference: Vec<PolarVector> = truth
        .iter()
        .zip(&prediction)
        .map(|(t, p)| PolarVector {
            displacement: [0, 1].map(|axis| p.displacement[axis] - t.displacement[axis]),
            ..*t
        })
        .collect();
    let style = MapStyle {
        split: Some(Split::Horizontal {
            y: 80.0,
            names: ["training".to_owned(), "test".to_owned()],
        }),
        ..convention()
    };
    let sets = [
        ("truth", &truth),
        ("prediction", &prediction),
        ("prediction − truth", &difference),
    ];
    let fields = sets.map(|(title, vectors)| Panel {
        title: title.to_owned(),
        image: None,
        layer: Layer::Field(vectors),
    });
    publish(
        &panels_figure("7 % Sm", &fields, &style).unwrap(),
        "panels_fields",
    );
    let arrows = sets.map(|(title, vectors)| Panel {
        title: title.to_owned(),
        image: Some(&image),
        layer: Layer::Arrows(vectors),
    });
    publish(
        &panels_figure("7 % Sm", &arrows, &style).unwrap(),
        "panels_arrows",
    );

    let mut errors: Vec<f64> = difference
        .iter()
        .map(|v| v.displacement[0].hypot(v.displacement[1]))
        .collect();
    errors[40] = f64::NAN;
    let style = MapStyle {
        scalar_label: "|D error| [pm]".to_owned(),
        ..convention()
    };
    publish(
        &scalar_figure("Error", &positions(&truth), &errors, &style).unwrap(),
        "scalar",
    );
    publish(
        &field_figure("Field", &truth, &convention()).unwrap(),
        "field",
    );
    let turned: Vec<PolarVector> = truth
        .iter()
        .map(|v| {
            let [x, y] = v.position;
            PolarVector {
                position: [0.94 * x - 0.34 * y, 0.34 * x + 0.94 * y],
                ..*v
            }
        })
        .collect();
    publish(
        &field_figure("Turned by 20°", &turned, &convention()).unwrap(),
        "field_turned",
    );

    let activations: Vec<Image> = (0..8)
        .map(|i| Image {
            data: image.data.mapv(|v| (v * i as f32).sin()),
            ..image.clone()
        })
        .collect();
    let panels: Vec<Panel> = activations
        .iter()
        .enumerate()
        .map(|(i, image)| Panel {
            title: format!("filter {i}"),
            image: None,
            layer: Layer::Values(image),
        })
        .collect();
    let style = MapStyle {
        scalar_label: "activation".to_owned(),
        scalar_scale: ColourScale::Magma,
        ..MapStyle::default()
    };
    publish(
        &panels_figure("First layer", &panels, &style).unwrap(),
        "panels_values",
    );
    let tall: Vec<(String, Vec<PolarVector>)> = ["truth", "network", "fit"]
        .map(|name| (name.to_owned(), lattice(10, 50, vortex).1))
        .into();
    let panels: Vec<Panel> = tall
        .iter()
        .map(|(name, vectors)| Panel {
            title: name.clone(),
            image: None,
            layer: Layer::Arrows(vectors),
        })
        .collect();
    publish(
        &panels_figure("Tall maps", &panels, &convention()).unwrap(),
        "panels_tall",
    );
    let wide: Vec<(String, Vec<PolarVector>)> = ["truth", "network", "fit"]
        .map(|name| (name.to_owned(), lattice(60, 9, vortex).1))
        .into();
    let panels: Vec<Panel> = wide
        .iter()
        .map(|(name, vectors)| Panel {
            title: name.clone(),
            image: None,
            layer: Layer::Field(vectors),
        })
        .collect();
    publish(
        &panels_figure("Wide maps", &panels, &convention()).unwrap(),
        "panels_wide",
    );
}

fn tilt_curve(title: &str, scale: f64) -> Curve {
    let x: Vec<f64> = (0..=10).map(|i| 2.0 * f64::from(i)).collect();
    let series = |label: &str, slope: f64, look, spread| Series {
        label: label.to_owned(),
        y: x.iter().map(|x| scale * slope * x).collect(),
        sigma: x
            .iter()
            .enumerate()
            .map(|(i, x)| if i == 3 { f64::NAN } else { 0.4 + 0.05 * x })
            .collect(),
        x: x.clone(),
        look,
        spread,
    };
    Curve {
        title: title.to_owned(),
        x_label: "tilt [mrad]".to_owned(),
        y_label: "apparent shift B − A [pm]".to_owned(),
        series: vec![
            series("column fit", 0.88, Look::LineAndMarkers, Spread::Bars),
            series(
                "network, zero tilt",
                0.55,
                Look::LineAndMarkers,
                Spread::Bars,
            ),
            series(
                "network, random tilt",
                0.12,
                Look::LineAndMarkers,
                Spread::Band,
            ),
            Series {
                sigma: Vec::new(),
                ..series("Cramér–Rao bound", 0.05, Look::Dashed, Spread::Bars)
            },
        ],
        references: vec![Reference {
            label: "published: 7.06 pm".to_owned(),
            y: 7.06,
        }],
        ..Curve::default()
    }
}

#[test]
fn curves_show_errors_references_and_logarithms() {
    publish(
        &tilt_curve("Bias of the polar displacement", 1.0).figure(),
        "curve",
    );
    let panels: Vec<Curve> = ["5 nm", "10 nm", "20 nm", "30 nm"]
        .iter()
        .zip([0.4, 1.0, 0.7, 0.6])
        .map(|(t, s)| tilt_curve(t, s))
        .collect();
    publish(
        &curves_figure("Tilt sensitivity by thickness", &panels, 2),
        "curve_multiples",
    );
    let dose = vec![100.0, 300.0, 1000.0, 3000.0, 30_000.0];
    let logarithmic = Curve {
        title: "Precision".to_owned(),
        x_label: "dose [e/Å²]".to_owned(),
        y_label: "standard deviation of D [pm]".to_owned(),
        log_x: true,
        log_y: true,
        series: vec![
            Series {
                label: "bound".to_owned(),
                x: dose.clone(),
                y: vec![11.6, 6.7, 3.67, 2.12, 0.67],
                look: Look::Dashed,
                ..Series::default()
            },
            Series {
                label: "fit".to_owned(),
                x: dose,
                y: vec![12.4, 6.73, 3.5, 2.16, -1.0],
                sigma: vec![15.0, 0.7, 0.3, 0.2, 0.1],
                ..Series::default()
            },
        ],
        ..Curve::default()
    };
    publish(&logarithmic.figure(), "curve_log");
    let history: Vec<f64> = (0..400).map(f64::from).collect();
    let loss = history
        .iter()
        .map(|x| 100.0 * (-x / 60.0).exp() + 2.0 + (x * 7.3).sin().abs())
        .collect();
    let training = Curve {
        x_label: "epoch".to_owned(),
        y_label: "loss [pm²]".to_owned(),
        log_y: true,
        series: vec![Series {
            label: "training".to_owned(),
            x: history,
            y: loss,
            look: Look::Line,
            ..Series::default()
        }],
        ..Curve::default()
    };
    publish(&training.figure(), "curve_history");
    publish(
        &Curve {
            title: "Nothing".to_owned(),
            x_label: "x".to_owned(),
            y_label: "y".to_owned(),
            ..Curve::default()
        }
        .figure(),
        "curve_none",
    );
}

#[test]
fn measured_is_drawn_against_true() {
    let mut rng = stream(6, "scatter", 0);
    let panels = ["dx", "dy"].map(|axis| Scatter {
        title: String::new(),
        x_label: format!("true {axis} [pm]"),
        y_label: format!("measured {axis} [pm]"),
        unit: "pm".to_owned(),
        points: (0..900)
            .map(|_| {
                let truth = 60.0 * (rng.random::<f64>() - 0.5);
                [truth, 0.83 * truth + 8.0 * (rng.random::<f64>() - 0.5)]
            })
            .collect(),
    });
    publish(
        &scatter_figure("Column fit at 1000 e/Å²", &panels, 2),
        "scatter",
    );
    publish(
        &scatter_figure("Nothing", &[Scatter::default()], 1),
        "scatter_none",
    );
}

#[test]
fn matrices_carry_their_numbers() {
    let names: Vec<String> = ["0 % Sm", "7 %", "10 %", "13 %", "20 %"]
        .map(str::to_owned)
        .into();
    let values = Array2::from_shape_fn((5, 5), |(r, c)| {
        1.8 + 1.3 * (r as f64 - c as f64).abs() + 0.2 * c as f64
    });
    let map = HeatMap {
        title: "Every network on every composition".to_owned(),
        row_title: "trained on".to_owned(),
        column_title: "tested on".to_owned(),
        rows: names.clone(),
        columns: names,
        spread: Some(values.mapv(|v| 0.1 * v)),
        values,
        label: "RMS error of D [pm]".to_owned(),
        decimals: 1,
        ..HeatMap::default()
    };
    publish(&map.figure().unwrap(), "heat_5");
    let small = HeatMap {
        rows: map.rows[..2].to_vec(),
        columns: vec![
            "pooled over all other compositions".to_owned(),
            "7 %".to_owned(),
        ],
        values: array![[2.0, f64::NAN], [5.0, 1.5]],
        spread: None,
        scale: ColourScale::Cividis,
        ..map.clone()
    };
    publish(&small.figure().unwrap(), "heat_2");
    let wrong = HeatMap {
        rows: Vec::new(),
        ..map
    }
    .figure();
    assert!(matches!(wrong, Err(Error::Unmeasurable { .. })));
}

#[test]
fn the_same_input_gives_the_same_bytes_and_nothing_is_overwritten() {
    let draw = || {
        let (a, b) = lattice(12, 9, vortex);
        let image = micrograph((300, 300), [0.16, 0.16], &a, &b);
        arrows_figure("Again", Some(&image), &b, &convention()).unwrap()
    };
    let (one, two) = (draw(), draw());
    assert_eq!(one.svg, two.svg);
    assert_eq!(one.to_png(1.0).unwrap(), two.to_png(1.0).unwrap());
    let here = tempfile::tempdir().unwrap();
    one.save(here.path(), "map", false).unwrap();
    assert!(matches!(
        one.save(here.path(), "map", false),
        Err(Error::Exists { .. })
    ));
    let empty = Image {
        data: Array2::zeros((0, 4)),
        sampling: [0.1, 0.1],
    };
    assert!(columns_figure("Empty", &empty, &[], &[]).is_err());
}

#[test]
fn a_report_holds_everything_it_shows() {
    let (a, b) = lattice(30, 30, vortex);
    let image = micrograph((512, 512), [0.24, 0.24], &a, &b);
    let tile = |value: &str, label: &str, note: &str| Tile {
        value: value.to_owned(),
        label: label.to_owned(),
        note: note.to_owned(),
    };
    let panels: Vec<Curve> = ["5 nm", "10 nm", "20 nm", "30 nm"]
        .iter()
        .zip([0.4, 1.0, 0.7, 0.6])
        .map(|(t, s)| tilt_curve(t, s))
        .collect();
    let report = |smoke| {
        Report {
        title: "Tilt sensitivity of polarization maps in BiFeO3".to_owned(),
        subtitle: "Apparent shift of the B columns against specimen tilt, thickness and source size, measured by column fitting and by three networks; five seeds.".to_owned(),
        tiles: vec![
            tile("3.1 pm", "RMS error, network", "± 0.2 pm over 5 seeds"),
            tile("3.5 pm", "RMS error, column fit", "Cramér–Rao bound 3.7 pm"),
            tile("0.99", "slope, measured against true", "published 0.83"),
            tile("7.06 pm", "apparent shift at 8 mrad", "10 nm, source 0.8 Å"),
        ],
        sections: vec![
            Section {
                heading: "What was done".to_owned(),
                paragraphs: vec!["Images of R3c BiFeO3 were simulated by multislice at eleven tilts and four thicknesses. Columns were fitted, and networks trained on two thirds of each image; what is shown comes from the last third.".to_owned()],
                figures: vec![("D as arrows, over the simulated image. P points against D.".to_owned(), arrows_figure("", Some(&image), &b, &convention()).unwrap()),
                    ("Columns found: 961 A and 900 B.".to_owned(), columns_figure("", &image, &a, &positions(&b)).unwrap())],
                ..Section::default()
            },
            Section {
                heading: "Bias against tilt".to_owned(),
                paragraphs: vec!["The apparent shift grows with tilt and is largest at 10 nm.".to_owned()],
                figures: vec![("By thickness; bars are ±1 standard deviation over seeds.".to_owned(), curves_figure("", &panels, 2)), ("At 10 nm.".to_owned(), tilt_curve("", 1.0).figure())],
                tables: vec![Table {
                    caption: "Apparent shift at 8 mrad.".to_owned(),
                    header: ["thickness [nm]", "fit [pm]", "network [pm]", "published [pm]", "source"].map(str::to_owned).into(),
                    rows: vec![
                        ["5.15", "2.67 ± 0.04", "1.1 ± 0.2", "2.67", "this work"].map(str::to_owned).into(),
                        ["9.91", "7.06 ± 0.05", "−1.4 ± 0.2", "7.06", "this work"].map(str::to_owned).into(),
                        ["19.82", "4.70 ± 0.05", "1.2 ± 0.2", "–", "this work"].map(str::to_owned).into(),
                    ],
                }],
            },
            Section { heading: "Distribution".to_owned(), figures: vec![("Every cell of a dense grid.".to_owned(), field_figure("", &lattice(256, 256, vortex).1, &convention()).unwrap()), ("Components of D.".to_owned(), displacement_histograms("", &b))], ..Section::default() },
        ],
        timings: vec![("simulate".to_owned(), 724.0), ("columns".to_owned(), 3.21), ("train".to_owned(), 1290.0), ("predict".to_owned(), 8.4)],
        provenance: "version = \"0.1.0\"\ncommit = \"unknown\"\nseed = 7\n".to_owned(),
        smoke,
    }
    };
    let html = report(true).to_html().unwrap();
    assert!(html.contains("SMOKE"));
    assert!(
        html.contains("<img src=\"data:image/png"),
        "65,536 cells are smaller as PNG"
    );
    // The only addresses are those of XML name spaces: nothing is fetched.
    let addresses = html.matches("://").count();
    assert_eq!(
        addresses,
        html.matches("xmlns=\"http://www.w3.org/2000/svg\"").count()
    );
    assert!(!html.contains("src=\"/") && !html.contains("@import"));
    for tag in [
        "div", "section", "table", "figure", "ol", "svg", "tbody", "details",
    ] {
        let opened =
            html.matches(&format!("<{tag} ")).count() + html.matches(&format!("<{tag}>")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    report(true)
        .save(&folder().join("report_smoke.html"), true)
        .unwrap();
    let path = folder().join("report.html");
    report(false).save(&path, true).unwrap();
    assert!(
        !std::fs::read_to_string(&path)
            .unwrap()
            .contains("SMOKE</text>")
    );
    assert!(report(false).save(&path, false).is_err());
}
