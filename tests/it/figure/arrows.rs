//! D as arrows, and its components as histograms.

use ferrostem::crystal::polarization::{PolarVector, flags};
use ferrostem::figure::histogram::displacement_histograms;
use ferrostem::figure::map::{MapStyle, Split, arrows_figure};
use ferrostem::rng::{Rng, stream};

use super::{convention, lattice, micrograph, publish, vortex};

#[test]
fn arrows_are_drawn_for_a_hundred_cells_and_on_a_wide_scan() {
    let (a, b) = lattice(10, 10, vortex);
    let image = micrograph((240, 240), [0.18, 0.18], &a, &b);
    publish(
        &arrows_figure("Vortex, 100 cells", Some(&image), &b, &convention()).unwrap(),
        "arrows_100",
    );

    let (a, b) = lattice(65, 10, vortex);
    let image = micrograph((224, 1312), [0.2, 0.205], &a, &b);
    publish(
        &arrows_figure("A wide scan", Some(&image), &b, &convention()).unwrap(),
        "arrows_wide",
    );
}

#[test]
fn arrows_are_drawn_for_thousands_with_outliers_and_a_split() {
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
}

/// A displacement of 33 pm along a diagonal, with noise.
fn noisy() -> Vec<PolarVector> {
    let mut rng = stream(4, "field", 0);
    let mut vectors = lattice(24, 24, |_, _| [-23.6, -23.6]).1;
    for vector in &mut vectors {
        vector.displacement = vector
            .displacement
            .map(|d| d + 12.0 * (rng.random::<f64>() - 0.5));
    }
    vectors
}

#[test]
fn a_noisy_field_has_arrows_and_histograms() {
    let noisy = noisy();
    publish(
        &arrows_figure("Uniform and noisy", None, &noisy, &convention()).unwrap(),
        "arrows_uniform",
    );
    publish(
        &displacement_histograms("Uniform and noisy", &noisy),
        "histograms",
    );
}

#[test]
fn one_vector_none_and_no_number_are_drawn_too() {
    let noisy = noisy();
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
}
