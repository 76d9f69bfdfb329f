//! Training data drawn on the fly, from the small response of [`crate::emulator`].

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use ferrostem::experiment::{Stream, StreamSettings, make_dataset};
use ferrostem::network::SubimageSettings;
use ferrostem::progress::Reporter;
use ferrostem::provenance::Provenance;
use ferrostem::settings::Source;
use ferrostem::storage::dataset::Dataset;
use ferrostem::storage::responses::write_response;

use crate::emulator::lesson;

pub(crate) const EMULATED: &str = r#"seed = 5
count = 300
cells = [8, 6]
amplitude = { uniform = [0.2, 1.1] }
samarium_fraction = { uniform = [0.0, 0.1] }
tilt_mrad = { uniform = [0.0, 8.0] }
thickness_nm = { fixed = 2.37858 }
source_fwhm_angstrom = { normal = [0.8, 0.05] }
dose_per_angstrom2 = { log_uniform = [1e3, 1e6] }
row_jitter_pm = { uniform = [0.0, 5.0] }
drift_angstrom = { fixed = 0.1 }
step_angstrom = { uniform = [0.18, 0.3] }
[textures.domain]
weight = 1.0
texture.uniform.direction = [1.0, 1.0, 1.0]
[textures.random]
weight = 2.0
texture.random = { shortest_wavelength_angstrom = 12.0, amplitude = 0.7, along_beam = 1.0 }
[textures.never]
weight = 0.0
texture.vortex = { core_angstrom = 6.0, amplitude = 1.0, along_beam = 1.0 }
"#;

fn stream(mode: &str) -> Stream {
    let settings: StreamSettings = Source::from_text("emulated.toml", EMULATED)
        .parse()
        .unwrap();
    let text = format!("window_angstrom = 7.2\nsampling_angstrom = 0.3\n{mode}");
    let subimages: SubimageSettings = Source::from_text("subimages.toml", &text).parse().unwrap();
    Stream::new(&settings, &subimages, lesson().1.clone())
}

/// One image after the other, in batches, backwards, on one thread: always the same.
#[test]
fn an_image_is_a_function_of_its_index() {
    let stream = stream("mode = \"centred_b\"");
    let batches = stream.batches(0..6, 4).map(Result::unwrap);
    let all: Vec<_> = batches.flatten().collect();
    assert_eq!(all.len(), 6);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    for index in (0..6).rev() {
        let again = pool.install(|| stream.draw(index).unwrap());
        assert_eq!(again, all[index as usize]);
    }
    assert_ne!(all[0].labelled.subimages, all[1].labelled.subimages);
}

/// What is drawn stays inside the ends, is not always the same, and a texture without weight never comes.
#[test]
fn draws_stay_in_their_distributions() {
    let stream = stream("mode = \"centred_b\"");
    let drawn: Vec<_> = (0..24).map(|index| stream.draw(index).unwrap()).collect();
    let within = |of: &dyn Fn(usize) -> f64, [least, most]: [f64; 2]| {
        let all: Vec<f64> = (0..drawn.len()).map(of).collect();
        let low = all.iter().copied().fold(f64::INFINITY, f64::min);
        let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert!(low >= least && high <= most, "{low} {high}");
        assert!(high - low > 0.4 * (most - least), "{low} {high}");
    };
    within(
        &|n| drawn[n].tilt_mrad[0].hypot(drawn[n].tilt_mrad[1]),
        [0.0, 8.0],
    );
    within(&|n| drawn[n].source_fwhm_angstrom, [0.6, 1.0]);
    within(
        &|n| drawn[n].dose_per_angstrom2.ln(),
        [1e3_f64.ln(), 1e6_f64.ln()],
    );
    for name in ["domain", "random"] {
        assert!(drawn.iter().any(|d| d.texture == name), "{name}");
    }
    assert!(drawn.iter().all(|d| d.texture != "never"));
}

/// Labels of centred windows are the truth at their columns; on a grid they lie between those of the cells around.
#[test]
fn labels_are_the_truth_of_what_was_drawn() {
    let centred = stream("mode = \"centred_b\"");
    let (_, known, _) = centred.image(2).unwrap();
    let drawn = centred.draw(2).unwrap().labelled;
    assert!(drawn.centres.len() > 4);
    for (row, centre) in drawn.centres.iter().enumerate() {
        let near = |p: [f64; 2]| (p[0] - centre[0]).hypot(p[1] - centre[1]);
        let cell = known
            .cells
            .iter()
            .min_by(|a, b| near(a.position).total_cmp(&near(b.position)));
        let truth = cell.unwrap().displacement;
        for (axis, truth) in truth.into_iter().enumerate() {
            assert!((f64::from(drawn.targets[(row, axis)]) - truth).abs() < 1e-3);
        }
    }
    let grid = stream("mode = \"grid\"\nstride_angstrom = 1.5")
        .draw(2)
        .unwrap()
        .labelled;
    assert!(grid.centres.len() > drawn.centres.len());
    let largest = known
        .cells
        .iter()
        .map(|c| c.displacement[0].hypot(c.displacement[1]));
    let largest = largest.fold(0.0, f64::max) as f32;
    assert!(
        grid.targets
            .rows()
            .into_iter()
            .all(|d| d[0].hypot(d[1]) <= largest + 1e-3)
    );
}

/// A dataset file of settings in which `changes` are made.
fn write(changes: &[(&str, &str)]) -> ferrostem::Result<(tempfile::TempDir, std::path::PathBuf)> {
    let folder = tempfile::tempdir().unwrap();
    let provenance = Provenance::start("response", String::new(), Some(3)).finished();
    write_response(&folder.path().join("r.h5"), &lesson().1, &provenance, false)?;
    let emulated = EMULATED.replace("[textures", "[emulated.textures");
    let mut text = format!(
        "[subimages]\nmode = \"centred_b\"\nwindow_angstrom = 7.2\nsampling_angstrom = 0.3\n[labels.truth]\n\
         [split]\ntrain_fraction = 0.8\n[emulated]\nresponse = \"r.h5\"\n{emulated}"
    );
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let file = folder.path().join("data.toml");
    std::fs::write(&file, text).unwrap();
    let output = folder.path().join("data.h5");
    make_dataset(&Source::read(&file)?, &output, false, &Reporter::quiet())?;
    Ok((folder, output))
}

#[test]
fn a_dataset_has_the_size_asked_for() {
    let (_folder, path) = write(&[]).unwrap();
    let dataset = Dataset::open(&path).unwrap();
    assert_eq!(dataset.len(), 300);
}

#[test]
fn what_cannot_be_drawn_is_refused_by_name() {
    for (from, to, expected) in [
        (
            "tilt_mrad = { uniform = [0.0, 8.0] }",
            "tilt_mrad = { uniform = [0.0, 18.0] }",
            "emulated.tilt_mrad",
        ),
        (
            "{ fixed = 2.37858 }",
            "{ fixed = 20.0 }",
            "emulated.thickness_nm",
        ),
        (
            "{ fixed = 2.37858 }",
            "{ fixed = 2.0, uniform = [2.0, 2.1] }",
            "exactly one of",
        ),
        ("{ fixed = 2.37858 }", "{}", "exactly one of"),
        ("[1e3, 1e6]", "[1e6, 1e3]", "rising ends"),
        ("cells = [8, 6]", "cells = [5, 4]", "emulated.cells"),
        ("weight = 1.0", "weight = -1.0", "emulated.textures"),
        ("[labels.truth]", "[labels.columns]", "labels"),
        (
            "[subimages]",
            "images = [\"a.hspy\"]\n[subimages]",
            "beside [emulated]",
        ),
        ("\"r.h5\"", "\"data.toml\"", "data.toml"),
        ("drift_angstrom", "drift_angstroms", "drift_angstroms"),
    ] {
        let message = write(&[(from, to)]).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(expected), "{to}: {message}");
    }
}
