//! Registration against stacks whose shifts are known.

use super::*;
use crate::rng::{Rng, stream};

/// A square lattice of Gaussians with a pitch of 20 px and a width of 2.5 px, moved by `shift`; one column in five is weaker, so
/// that the cells are not all the same.
fn lattice(shape: [usize; 2], shift: [f64; 2]) -> Array2<f32> {
    let mut image = Array2::<f32>::from_elem((shape[0], shape[1]), 10.0);
    for i in -3i64..20 {
        for j in -3i64..20 {
            let centre = [
                20.0 * i as f64 + 7.3 + shift[0],
                20.0 * j as f64 + 4.1 + shift[1],
            ];
            let height = if (3 * i + 7 * j).rem_euclid(5) == 0 {
                60.0
            } else {
                100.0
            };
            let reach = |c: f64, size: usize| {
                let first = (c - 14.0).ceil().clamp(0.0, size as f64) as usize;
                first..(c + 14.0).clamp(0.0, size as f64) as usize
            };
            for row in reach(centre[0], shape[0]) {
                for col in reach(centre[1], shape[1]) {
                    let square =
                        (row as f64 - centre[0]).powi(2) + (col as f64 - centre[1]).powi(2);
                    image[(row, col)] += (height * (-square / 12.5).exp()) as f32;
                }
            }
        }
    }
    image
}

/// A drift by parts of pixels, 1.5 cells in all.
fn drift(count: usize) -> Vec<[f64; 2]> {
    (0..count)
        .map(|i| {
            let t = i as f64;
            [3.37 * t, -2.21 * t + 0.8 * (1.7 * t).sin()]
        })
        .collect()
}

fn largest_error(found: &[[f64; 2]], expected: &[[f64; 2]]) -> f64 {
    found
        .iter()
        .zip(expected)
        .map(|(f, e)| (f[0] - e[0]).hypot(f[1] - e[1]))
        .fold(0.0, f64::max)
}

#[test]
fn drift_over_cells_is_found_to_a_hundredth_of_a_pixel() {
    let truth = drift(9);
    let read = |index: usize| Ok(lattice([200, 180], truth[index]));
    let found = register(9, [200, 180], read, &RegistrationSettings::default()).unwrap();
    assert_eq!((found.pairs, found.contradicted), (36, 0));
    // What enters and leaves the field at its tapered border is all that differs between frames.
    let error = largest_error(&found.shifts, &truth);
    assert!(error < 0.01, "{error} px");
}

#[test]
fn noise_costs_little_more_than_the_bound() {
    let truth = drift(9);
    let read = |index: usize| {
        let mut rng = stream(3, "noise", index as u64);
        Ok(lattice([200, 180], truth[index]).mapv(|v| v + 200.0 * (rng.random::<f32>() - 0.5)))
    };
    let found = register(9, [200, 180], read, &RegistrationSettings::default()).unwrap();
    let square: f64 = found
        .shifts
        .iter()
        .zip(&truth)
        .skip(1)
        .map(|(f, t)| (f[0] - t[0]).powi(2) + (f[1] - t[1]).powi(2))
        .sum();
    let error = (square / 16.0).sqrt();
    // Noise of 58 a pixel under 90 columns of mean square height 8700 and width 2.5 px: Σ (∂f/∂x)² = 90 · 8700 · π/2, so the bound
    // of the difference of two frames is √2 · 58 / 1109 = 0.074 px. Less area after the drift, the taper and frame 0, whose error
    // all share, may double it.
    assert!(error < 0.15, "{error} px");
}

#[test]
fn a_pair_that_hops_by_a_cell_is_mended_by_the_others() {
    let truth = drift(6);
    let pairs: Vec<(usize, usize)> = (0..6)
        .flat_map(|i| (i + 1..6).map(move |j| (i, j)))
        .collect();
    let mut measured: Vec<Pair> = pairs
        .iter()
        .map(|&(i, j)| Some([0, 1].map(|axis| truth[j][axis] - truth[i][axis])))
        .collect();
    measured[3] = measured[3].map(|[y, x]| [y + 20.0, x]);
    measured[7] = None;
    let found = consistent(6, &pairs, &measured, &RegistrationSettings::default()).unwrap();
    assert_eq!(found.contradicted, 2);
    let error = largest_error(&found.shifts, &truth);
    assert!(error < 1e-12, "{error} px");
}

#[test]
fn the_average_of_moved_frames_is_the_frame() {
    let truth = drift(5);
    let read = |index: usize| Ok(lattice([120, 110], truth[index]));
    let (mean, corner) = average([120, 110], &truth, read).unwrap();
    // Frame 4 has moved by (13.48, −8.78): 14 rows are lost at the bottom, 9 columns on the left.
    assert_eq!((mean.dim(), corner[0]), ((106, 101), 0));
    assert_eq!(corner[1], 9);
    let first = lattice([120, 110], [0.0; 2]);
    let reach = 6;
    let mut largest: f32 = 0.0;
    for ((row, col), value) in mean.indexed_iter() {
        let inside = |i: usize, size: usize| i >= reach && i + reach < size;
        if inside(row, 106) && inside(col, 101) {
            largest = largest.max((value - first[(row + corner[0], col + corner[1])]).abs());
        }
    }
    // A thousandth of the columns' height, as the kernel promises.
    assert!(largest < 0.1, "{largest}");
}

#[test]
fn a_frame_that_does_not_move_is_not_touched() {
    let image = lattice([40, 50], [0.3, 0.2]);
    let same = shifted(&image, [0.0; 2], [[0, 40], [0, 50]]);
    assert_eq!(same.mapv(|v| v as f32), image);
    let whole = shifted(&image, [3.0, -2.0], [[0, 37], [2, 50]]);
    assert_eq!(whole[(5, 6)] as f32, image[(8, 6)]);
}

#[test]
fn an_empty_frame_is_named() {
    let read = |index: usize| {
        Ok(if index == 2 {
            Array2::from_elem((64, 64), 3.0)
        } else {
            lattice([64, 64], [0.0; 2])
        })
    };
    let error = register(4, [64, 64], read, &RegistrationSettings::default()).unwrap_err();
    assert!(error.to_string().contains("frame 2"), "{error}");
}

#[test]
fn frames_of_nothing_but_noise_are_refused() {
    let read = |index: usize| {
        let mut rng = stream(4, "nothing", index as u64);
        Ok(Array2::from_shape_fn((96, 96), |_| rng.random::<f32>()))
    };
    assert!(register(6, [96, 96], read, &RegistrationSettings::default()).is_err());
}

#[test]
fn threads_do_not_change_a_bit() {
    let truth = drift(5);
    let found = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let read = |index: usize| Ok(lattice([100, 90], truth[index]));
            register(5, [100, 90], read, &RegistrationSettings::default()).unwrap()
        })
    };
    assert_eq!(found(1), found(4));
}
