//! The window fit against SciPy.

use ferrostem::column::{WindowFit, fit_window};
use ferrostem::image::Image;
use ndarray::Array2;

/// Centre of the peak, expected position, fitted centre [Å], height, constant, rms residual; made by
/// `tests/golden/window_fit.py` with NumPy 2.4.6 and SciPy 1.17.1.
#[expect(clippy::type_complexity, reason = "a table of numbers")]
const GOLDEN: [([f64; 2], [f64; 2], [f64; 2], f64, f64, f64); 3] = [
    (
        [1.9, 2.0],
        [2.0, 2.1],
        [1.914663741, 1.996603253],
        0.87742465,
        0.07474422,
        0.01837546,
    ),
    (
        [1.2, 1.0],
        [1.0, 1.1],
        [1.214666543, 0.996605105],
        0.87738808,
        0.05461914,
        0.01846984,
    ),
    (
        [0.4, 2.6],
        [0.5, 2.5],
        [0.420666793, 2.595799228],
        0.89550454,
        0.07569571,
        0.02694063,
    ),
];

/// As in the script: no Gaussian, on a ground that is not flat.
fn image(centre: [f64; 2]) -> Image {
    let sampling = [0.0991075, 0.11];
    let data = Array2::from_shape_fn((40, 36), |(row, col)| {
        let [x, y] = [col as f64 * sampling[1], row as f64 * sampling[0]];
        let (dx, dy) = (x - centre[0], y - centre[1]);
        let r2 = dx * dx + 1.3 * dy * dy + 0.4 * dx * dy;
        ((1.0 + 0.2 * dx - 0.1 * dy) / (1.0 + 6.0 * r2).powi(2) + 0.02 * y) as f32
    });
    Image { data, sampling }
}

#[test]
fn a_column_that_is_no_gaussian_is_fitted_as_scipy_fits_it() {
    let settings = WindowFit {
        radius_angstrom: 1.0,
        recentre: 1,
    };
    for (centre, expected, position, height, background, residual) in GOLDEN {
        let found = fit_window(&image(centre), true, expected, &settings).unwrap();
        for (found, golden) in found.position.iter().zip(position) {
            assert!((found - golden).abs() < 1e-7, "{found} {golden} Å");
        }
        for (value, golden) in [
            (found.height, height),
            (found.background, background),
            (found.residual, residual),
        ] {
            assert!((value - golden).abs() < 2e-7, "{value} {golden}");
        }
    }
}
