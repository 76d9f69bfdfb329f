//! Files of figures: the same bytes each time, never overwritten unasked.

use ferrostem::Error;
use ferrostem::figure::map::{arrows_figure, columns_figure};
use ferrostem::image::Image;
use ndarray::Array2;

use super::{convention, lattice, micrograph, vortex};

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
