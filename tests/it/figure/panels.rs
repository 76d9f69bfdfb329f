//! Maps side by side, and fields of colour.

use ferrostem::crystal::polarization::PolarVector;
use ferrostem::figure::colour::ColourScale;
use ferrostem::figure::map::{
    Layer, MapStyle, Panel, Split, field_figure, panels_figure, scalar_figure,
};
use ferrostem::image::Image;
use ferrostem::rng::{Rng, stream};

use super::{convention, lattice, micrograph, positions, publish, vortex};

/// A vortex of 30 × 30 cells on its image.
fn truth() -> (Vec<PolarVector>, Image) {
    let (a, truth) = lattice(30, 30, vortex);
    let image = micrograph((512, 512), [0.24, 0.24], &a, &truth);
    (truth, image)
}

/// What a network might say of it, and how far off that is.
fn predicted(truth: &[PolarVector]) -> (Vec<PolarVector>, Vec<PolarVector>) {
    let mut rng = stream(5, "prediction", 0);
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
    (prediction, difference)
}

#[test]
fn truth_prediction_and_difference_share_one_scale() {
    let (truth, image) = truth();
    let (prediction, difference) = predicted(&truth);
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
}

#[test]
fn a_scalar_has_a_colour_at_each_cell() {
    let (truth, _) = truth();
    let (_, difference) = predicted(&truth);
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
}

#[test]
fn a_field_may_be_turned() {
    let (truth, _) = truth();
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
}

#[test]
fn activations_of_a_layer_stand_side_by_side() {
    let (_, image) = truth();
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
}

#[test]
fn tall_and_wide_maps_stand_side_by_side() {
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
