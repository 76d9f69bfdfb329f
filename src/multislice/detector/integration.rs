//! From a measured gradient to the field: least squares in Fourier space.
//!
//! The field u whose gradient is nearest to the measured (g_x, g_y) has the transform û = −i (k·ĝ)/(2π k²) (Frankot &
//! Chellappa, IEEE PAMI **10**, 439 (1988)), of a scan over whole periods. A scan over anything else is mirrored at its
//! borders first, the component across a border with the other sign: then it is periodic, and nothing jumps that did not jump
//! before (Bon, Monneret & Wattellier, Appl. Opt. **51**, 5698 (2012)). The mean gradient, a ramp, is integrated by itself.

use ndarray::{Array2, s};
use num_complex::Complex;

use super::super::fft::Fft2;

/// The field with the gradient `[x, y]` [1/Å] on a raster of `step` `[y, x]` [Å], `(y, x)`, with mean zero. A `periodic` one
/// has no ramp.
pub(super) fn integrate(
    gradient: [&Array2<f64>; 2],
    step: [f64; 2],
    periodic: bool,
) -> Array2<f64> {
    let mean = gradient.map(|component| component.mean().unwrap_or(0.0));
    let level = [0, 1].map(|axis| gradient[axis] - mean[axis]);
    let mut field = if periodic {
        integrate_period(&level, step)
    } else {
        let (rows, cols) = gradient[0].dim();
        let mirrored = [
            mirror(&level[0], [1.0, -1.0]),
            mirror(&level[1], [-1.0, 1.0]),
        ];
        let mut field = integrate_period(&mirrored, step)
            .slice(s![..rows, ..cols])
            .to_owned();
        for ((y, x), value) in field.indexed_iter_mut() {
            *value += mean[0] * x as f64 * step[1] + mean[1] * y as f64 * step[0];
        }
        field
    };
    field -= field.mean().unwrap_or(0.0);
    field
}

/// The array with its mirror images behind it, multiplied by `sign` of the axis `[y, x]` that they are mirrored along.
fn mirror(array: &Array2<f64>, sign: [f64; 2]) -> Array2<f64> {
    let (rows, cols) = array.dim();
    let fold = |index: usize, size: usize, sign: f64| {
        if index < size {
            (index, 1.0)
        } else {
            (2 * size - 1 - index, sign)
        }
    };
    Array2::from_shape_fn((2 * rows, 2 * cols), |(y, x)| {
        let ((y, along_y), (x, along_x)) = (fold(y, rows, sign[0]), fold(x, cols, sign[1]));
        along_y * along_x * array[(y, x)]
    })
}

/// The same for one period of a gradient without mean.
fn integrate_period(gradient: &[Array2<f64>; 2], step: [f64; 2]) -> Array2<f64> {
    let (rows, cols) = gradient[0].dim();
    let fft = Fft2::new((rows, cols));
    let mut scratch = fft.scratch();
    let spectra = [0, 1].map(|axis| {
        let values = gradient[axis].iter();
        let mut spectrum: Vec<Complex<f64>> = values.map(|&g| Complex::new(g, 0.0)).collect();
        fft.forward(&mut spectrum, &mut scratch);
        spectrum
    });
    let (ky, kx) = (waves(rows, step[0]), waves(cols, step[1]));
    let mut field: Vec<Complex<f64>> = Vec::with_capacity(rows * cols);
    for (index, (x, y)) in spectra[0].iter().zip(&spectra[1]).enumerate() {
        let (ky, kx) = (ky[index / cols], kx[index % cols]);
        let square = kx * kx + ky * ky;
        field.push(if square > 0.0 {
            (x * kx + y * ky) * Complex::new(0.0, -1.0 / square)
        } else {
            Complex::default()
        });
    }
    fft.inverse(&mut field, &mut scratch);
    Array2::from_shape_fn((rows, cols), |(y, x)| field[y * cols + x].re)
}

/// 2πk of the samples of a transform [1/Å]. The highest of an even number stands for both signs, so that its derivative is
/// not known: it takes no part.
fn waves(count: usize, step: f64) -> Vec<f64> {
    (0..count)
        .map(|index| {
            let signed = match (2 * index).cmp(&count) {
                std::cmp::Ordering::Less => index as f64,
                std::cmp::Ordering::Equal => 0.0,
                std::cmp::Ordering::Greater => index as f64 - count as f64,
            };
            std::f64::consts::TAU * signed / (count as f64 * step)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: [f64; 2] = [0.2, 0.25];

    /// A field and its gradient `[x, y]` on the raster, the field with mean zero.
    fn sampled(
        (rows, cols): (usize, usize),
        field: impl Fn(f64, f64) -> [f64; 3],
    ) -> (Array2<f64>, [Array2<f64>; 2]) {
        let at = |part: usize| {
            Array2::from_shape_fn((rows, cols), |(y, x)| {
                field(x as f64 * STEP[1], y as f64 * STEP[0])[part]
            })
        };
        let field = at(0);
        let mean = field.mean().unwrap();
        (field - mean, [at(1), at(2)])
    }

    fn worst(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
        (a - b).iter().fold(0.0, |worst, d| d.abs().max(worst))
    }

    /// Band-limited and periodic: exact but for rounding, for even and odd numbers of samples.
    #[test]
    fn a_periodic_field_comes_back_from_its_gradient() {
        for shape in [(20, 24), (15, 21)] {
            let [ly, lx] = [shape.0 as f64 * STEP[0], shape.1 as f64 * STEP[1]];
            let (kx, ky) = (
                2.0 * std::f64::consts::TAU / lx,
                3.0 * std::f64::consts::TAU / ly,
            );
            let (field, [gx, gy]) = sampled(shape, |x, y| {
                let phase = kx * x + ky * y + 0.3;
                [
                    phase.sin() + 0.5 * (ky * y).cos(),
                    kx * phase.cos(),
                    ky * phase.cos() - 0.5 * ky * (ky * y).sin(),
                ]
            });
            assert!(worst(&integrate([&gx, &gy], STEP, true), &field) < 1e-12);
        }
    }

    /// Gaussian atoms (σ 0.4 Å), one of them cut by the border, on a ramp: exact but for the kink that the mirror makes of the
    /// cut atom; its error falls off with distance from the border.
    #[test]
    fn any_field_comes_back_from_its_gradient_by_mirrors() {
        let atoms = [[2.1, 3.0], [5.5, 4.4], [0.1, 1.0]];
        let (field, [gx, gy]) = sampled((40, 32), |x, y| {
            atoms
                .iter()
                .fold([0.3 * x - 0.2 * y, 0.3, -0.2], |sum, atom| {
                    let (dx, dy) = (x - atom[0], y - atom[1]);
                    let value = (-(dx * dx + dy * dy) / 0.32).exp();
                    [
                        sum[0] + value,
                        sum[1] - value * dx / 0.16,
                        sum[2] - value * dy / 0.16,
                    ]
                })
        });
        let found = integrate([&gx, &gy], STEP, false);
        let inside = s![8..32, 8..24];
        assert!(worst(&found, &field) < 0.05, "{}", worst(&found, &field));
        let error = worst(
            &found.slice(inside).to_owned(),
            &field.slice(inside).to_owned(),
        );
        assert!(error < 0.01, "{error}");
        let periodic = integrate([&gx, &gy], STEP, true);
        assert!(
            worst(&periodic, &field) > 0.5,
            "a ramp has no periodic field"
        );
    }

    /// A constant gradient is a plane, exactly; a line scan has no gradient across.
    #[test]
    fn planes_and_lines_are_exact() {
        let plane = |x: f64, y: f64| [1.5 * x - 0.7 * y, 1.5, -0.7];
        for shape in [(7, 9), (1, 12), (12, 1), (1, 1)] {
            let (field, [gx, gy]) = sampled(shape, plane);
            assert!(worst(&integrate([&gx, &gy], STEP, false), &field) < 1e-12);
        }
    }
}
