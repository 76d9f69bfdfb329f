//! A page that holds text, tables, figures and where they came from.

use ferrostem::figure::Figure;
use ferrostem::figure::curve::curves_figure;
use ferrostem::figure::histogram::displacement_histograms;
use ferrostem::figure::map::{arrows_figure, columns_figure, field_figure};
use ferrostem::figure::report::{Report, Section, Table, Tile};

use super::curves::{tilt_curve, tilt_curves};
use super::{convention, folder, lattice, micrograph, positions, vortex};

fn tile(value: &str, label: &str, note: &str) -> Tile {
    Tile {
        value: value.to_owned(),
        label: label.to_owned(),
        note: note.to_owned(),
    }
}

fn shifts() -> Table {
    Table {
        caption: "Apparent shift at 8 mrad.".to_owned(),
        header: [
            "thickness [nm]",
            "fit [pm]",
            "network [pm]",
            "published [pm]",
            "source",
        ]
        .map(str::to_owned)
        .into(),
        rows: vec![
            ["5.15", "2.67 ± 0.04", "1.1 ± 0.2", "2.67", "this work"]
                .map(str::to_owned)
                .into(),
            ["9.91", "7.06 ± 0.05", "−1.4 ± 0.2", "7.06", "this work"]
                .map(str::to_owned)
                .into(),
            ["19.82", "4.70 ± 0.05", "1.2 ± 0.2", "–", "this work"]
                .map(str::to_owned)
                .into(),
        ],
    }
}

fn captioned(caption: &str, figure: Figure) -> (String, Figure) {
    (caption.to_owned(), figure)
}

fn sections() -> Vec<Section> {
    let (a, b) = lattice(30, 30, vortex);
    let image = micrograph((512, 512), [0.24, 0.24], &a, &b);
    let arrows = arrows_figure("", Some(&image), &b, &convention()).unwrap();
    let columns = columns_figure("", &image, &a, &positions(&b)).unwrap();
    let dense = field_figure("", &lattice(256, 256, vortex).1, &convention()).unwrap();
    let done = "Images of R3c BiFeO3 were simulated by multislice at eleven tilts. Columns were fitted, \
                and networks trained on two thirds of each image; what is shown comes from the last third.";
    let section = |heading: &str, paragraph: &str, figures| Section {
        heading: heading.to_owned(),
        paragraphs: vec![paragraph.to_owned()],
        figures,
        ..Section::default()
    };
    let bias = section(
        "Bias against tilt",
        "The apparent shift grows with tilt and is largest at 10 nm.",
        vec![
            captioned("By thickness.", curves_figure("", &tilt_curves(), 2)),
            captioned("At 10 nm.", tilt_curve("", 1.0).figure()),
        ],
    );
    vec![
        section(
            "What was done",
            done,
            vec![
                captioned("D as arrows. P points against D.", arrows),
                captioned("Columns found: 961 A and 900 B.", columns),
            ],
        ),
        Section {
            tables: vec![shifts()],
            ..bias
        },
        section(
            "Distribution",
            "",
            vec![
                captioned("Every cell of a dense grid.", dense),
                captioned("Components of D.", displacement_histograms("", &b)),
            ],
        ),
    ]
}

fn report(smoke: bool) -> Report {
    Report {
        title: "Tilt sensitivity of polarization maps in BiFeO3".to_owned(),
        subtitle: "Apparent shift of the B columns against specimen tilt, thickness and source \
                   size, measured by column fitting and by three networks; five seeds."
            .to_owned(),
        tiles: vec![
            tile("3.1 pm", "RMS error, network", "± 0.2 pm over 5 seeds"),
            tile("3.5 pm", "RMS error, column fit", "Cramér–Rao bound 3.7 pm"),
            tile("0.99", "slope, measured against true", "published 0.83"),
            tile("7.06 pm", "apparent shift at 8 mrad", "10 nm, source 0.8 Å"),
        ],
        sections: sections(),
        timings: vec![
            ("simulate".to_owned(), 724.0),
            ("columns".to_owned(), 3.21),
            ("train".to_owned(), 1290.0),
            ("predict".to_owned(), 8.4),
        ],
        provenance: "version = \"0.1.0\"\ncommit = \"unknown\"\nseed = 7\n".to_owned(),
        smoke,
    }
}

/// Nothing is fetched from elsewhere, and every tag that is opened is closed.
#[test]
fn a_report_holds_everything_it_shows() {
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
