//! Columns marked on their image.

use ferrostem::figure::map::columns_figure;

use super::{lattice, micrograph, positions, publish, vortex};

#[test]
fn columns_are_marked_on_elongated_images() {
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
}

/// The field is 46.08 Å square although it has four times more columns than rows: so is its frame.
#[test]
fn pixels_that_are_rectangles_are_drawn_as_such() {
    let (a, b) = lattice(11, 11, vortex);
    let image = micrograph((128, 512), [0.36, 0.09], &a, &b);
    let square = columns_figure("Pixels of 0.36 × 0.09 Å", &image, &a, &positions(&b)).unwrap();
    publish(&square, "columns_rectangular_pixels");
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
