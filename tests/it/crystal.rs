//! The specimens against published coordinates, space-group symmetry and the formulas of their textures.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::Path;

use ferrostem::crystal::displacements::{DisplacementField, Displacements};
use ferrostem::crystal::polarization::Point;
use ferrostem::crystal::{External, Specimen, Structure, Sublattice, Truth, element};
use ferrostem::settings::Source;
use ndarray::{Array3, ArrayD};

/// D per axis of BiFeO₃ [pm], the sum of the recipe's shifts.
const D: f64 = (0.036_76 - 0.096_34) * 3.9643 * 100.0;

fn parse(text: &str) -> Specimen {
    let source = Source::from_text("specimen", text);
    let specimen: Specimen = source.parse().unwrap();
    specimen.validate(&source).unwrap();
    specimen
}

fn build(text: &str) -> (Structure, Truth) {
    parse(text).build(1, &External::default()).unwrap()
}

fn r3c(cells: &str, rest: &str) -> String {
    format!("cells = {cells}\nlattice_angstrom = 3.9643\n[r3c]\namplitude = 1.0\n{rest}")
}

fn uniform(direction: [i32; 3]) -> String {
    r3c(
        "[2, 2, 2]",
        &format!("texture = {{ uniform = {{ direction = {direction:?} }} }}"),
    )
}

/// The atoms in fractions of a cell, the quarter cell along the beam taken back.
fn fractional(structure: &Structure, lattice: f64) -> Vec<(u8, [f64; 3])> {
    structure
        .positions
        .iter()
        .zip(&structure.numbers)
        .map(|(p, &number)| {
            let p = p.map(|x| x / lattice);
            (number, [p[0], p[1], p[2] - 0.25])
        })
        .collect()
}

/// Greatest distance, over the atoms of `one`, of an atom to the nearest of its element in `other`; both repeat every 2 cells,
/// components are compared one by one [cells].
fn mismatch(one: &[(u8, [f64; 3])], other: &[(u8, [f64; 3])]) -> f64 {
    let apart = |p: &[f64; 3], q: &[f64; 3]| {
        (0..3)
            .map(|axis| {
                let d = p[axis] - q[axis];
                (d - (d / 2.0).round() * 2.0).abs()
            })
            .fold(0.0, f64::max)
    };
    one.iter()
        .map(|(number, p)| {
            other
                .iter()
                .filter(|(element, _)| element == number)
                .map(|(_, q)| apart(p, q))
                .fold(f64::INFINITY, f64::min)
        })
        .fold(0.0, f64::max)
}

/// BiFeO₃ at 298 K as published, hexagonal setting of R3c (Palewicz et al., Acta Cryst. B 63, 537 (2007), deposited CIF, data block
/// BiFeO3_298K: a = 5.57882 Å, c = 13.86932 Å), as fractions of the pseudocubic cell: a_h = [1 0 −1], b_h = [−1 1 0], c_h = 2 [1 1 1]
/// without the strain. Everything is moved along [111], the polar axis, so that the mean of the oxygens is on its ideal place.
fn published() -> Vec<(u8, [f64; 3])> {
    let sites = [
        (element::BI, [0.0, 0.0, 0.0]),
        (element::FE, [0.0, 0.0, 0.220_21]),
        (element::O, [0.4469, 0.0181, 0.951_83]),
    ];
    // R3c: the threefold axis, the c glide, and the rhombohedral centring.
    let operations = |[x, y, z]: [f64; 3]| {
        [
            [x, y, z],
            [-y, x - y, z],
            [y - x, -x, z],
            [-y, -x, z + 0.5],
            [y - x, y, z + 0.5],
            [x, x - y, z + 0.5],
        ]
    };
    // The last one is a whole step, so that all places of a block of 2 × 2 × 2 cells are there.
    let third = 1.0 / 3.0;
    let translations = [
        [0.0; 3],
        [2.0 * third, third, third],
        [third, 2.0 * third, 2.0 * third],
        [1.0, 1.0, 0.0],
    ];
    let cage = 2.0 * (1.0 - 0.951_83);
    let mut atoms = Vec::new();
    for (number, site) in sites {
        for place in operations(site) {
            for c in translations {
                let [x, y, z] = [place[0] + c[0], place[1] + c[1], place[2] + c[2]];
                let cubic = [x - y + 2.0 * z, y + 2.0 * z, 2.0 * z - x];
                atoms.push((number, cubic.map(|u| u + cage)));
            }
        }
    }
    atoms
}

#[test]
fn r3c_has_the_published_coordinates() {
    let (structure, _) = build(&uniform([1, 1, 1]));
    let built = fractional(&structure, 3.9643);
    let published = published();
    // 1e-4 a; the CIF's own uncertainties are 1e-4 (Fe) to 4e-4 (O) of the hexagonal axes.
    assert!(mismatch(&built, &published) < 1e-4);
    assert!(mismatch(&published, &built) < 1e-4);
    // The test sees a shift of 2e-4 a.
    let moved: Vec<_> = built
        .iter()
        .map(|&(number, [x, y, z])| (number, [x + 2e-4, y, z]))
        .collect();
    assert!(mismatch(&moved, &published) > 1e-4);
}

#[test]
fn every_variant_has_its_threefold_axis_and_its_glide() {
    for n in 0..8 {
        let sign: [i32; 3] = std::array::from_fn(|axis| if n >> axis & 1 == 0 { 1 } else { -1 });
        let (structure, truth) = build(&uniform(sign));
        let atoms = fractional(&structure, 3.9643);
        let s = sign.map(f64::from);
        // About the polar axis: x s_x → y s_y → z s_z → x s_x.
        let turned: Vec<_> = atoms
            .iter()
            .map(|&(number, [x, y, z])| {
                (number, [s[0] * s[2] * z, s[1] * s[0] * x, s[2] * s[1] * y])
            })
            .collect();
        assert!(mismatch(&turned, &atoms) < 1e-9, "{sign:?}");
        // The mirror that swaps x s_x and y s_y, then half of c_h: one cell along each axis.
        let mirror = |glide: f64| -> Vec<_> {
            atoms
                .iter()
                .map(|&(number, [x, y, z])| {
                    let swapped = [s[0] * s[1] * y, s[1] * s[0] * x, z];
                    (number, swapped.map(|u| u + glide))
                })
                .collect()
        };
        assert!(mismatch(&mirror(1.0), &atoms) < 1e-9, "{sign:?}");
        assert!(mismatch(&mirror(0.0), &atoms) > 0.01, "no mirror in R3c");
        for d in truth.displacements {
            assert!((d[0] - D * s[0]).abs() < 1e-9 && (d[1] - D * s[1]).abs() < 1e-9);
        }
    }
}

#[test]
fn rhombohedral_shear_leans_the_columns_by_half_the_angle() {
    for sign in [[1, 1, 1], [1, -1, -1], [-1, 1, -1]] {
        let text = |angle: &str| {
            let texture = format!("texture = {{ uniform = {{ direction = {sign:?} }} }}\n{angle}");
            r3c("[2, 2, 20]", &texture)
        };
        let (upright, truth) = build(&text(""));
        let (leaning, leaning_truth) = build(&text("rhombohedral_angle_degrees = 89.43"));
        let slope = 0.57_f64.to_radians() / 2.0;
        for (p, q) in upright.positions.iter().zip(&leaning.positions) {
            for axis in 0..2 {
                let lean = slope * f64::from(sign[axis] * sign[2]);
                let d = q[axis] - p[axis];
                let d = d - (d / upright.cell[axis]).round() * upright.cell[axis];
                // A and O are off their ideal depth by up to 0.4 Å, over which a column leans 2 mÅ.
                assert!((d - lean * p[2]).abs() < 5e-3, "{sign:?} {d} {}", p[2]);
            }
        }
        // B lies ½ a deeper than A; columns at rest, and averaged over depth, keep D but for that.
        for (d, e) in truth.displacements.iter().zip(&leaning_truth.displacements) {
            let expected = slope * f64::from(sign[0] * sign[2]) * 198.215;
            assert!((e[0] - d[0] - expected).abs() < 1e-3, "{} {}", e[0], d[0]);
        }
    }
}

/// (ideal B position, D [pm]) of every cell; the ideal lattice is cubic.
fn by_place(truth: &Truth, cells: [usize; 2], a: f64) -> Vec<(Point, [f64; 2])> {
    (0..cells[0] * cells[1])
        .map(|n| {
            let place = [n % cells[0], n / cells[0]].map(|i| (i as f64 + 0.5) * a);
            (place, truth.displacements[n])
        })
        .collect()
}

/// What D is where p, averaged over depth, is `p` at the B site and `corners` at the four A sites around it [pm].
fn expected(at: impl Fn(Point) -> f64, [x, y]: Point, a: f64) -> f64 {
    let corners = [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]];
    let mean = corners
        .map(|[i, j]| at([x + i * a, y + j * a]))
        .iter()
        .sum::<f64>()
        / 4.0;
    (0.036_76 * at([x, y]) - 0.096_34 * mean) * a * 100.0
}

#[test]
fn edge_on_walls_project_to_tanh() {
    let a = 3.9643;
    // (angle, normal, the components of p that flip, distance of a point from the first wall at 11 Å, period along the normal)
    let edge = 16.0 * a;
    let root = std::f64::consts::SQRT_2;
    /// Angle, settings, flipped components, ξ over w at a point, and a tolerance.
    type Case = (u32, &'static str, [bool; 2], fn(Point) -> f64, f64);
    let cases: [Case; 4] = [
        (109, "[1, 0, 0]", [false, true], |p| p[0], edge),
        (109, "[0, 1, 0]", [true, false], |p| p[1], edge),
        (
            180,
            "[1, -1, 0]",
            [true, true],
            |p| (p[0] - p[1]) / std::f64::consts::SQRT_2,
            edge / root,
        ),
        (
            71,
            "[1, 1, 0]",
            [false, false],
            |p| (p[0] + p[1]) / std::f64::consts::SQRT_2,
            edge / root,
        ),
    ];
    for (angle, normal, flips, along, period) in cases {
        let wall = format!(
            "[r3c.texture.wall]\nangle_degrees = {angle}\nnormal = {normal}\ndirection = [1, 1, 1]\nhalf_width_angstrom = 5.0\nposition_angstrom = 11.0\n"
        );
        let (_, truth) = build(&r3c("[16, 16, 2]", &wall));
        let profile = |p: Point| {
            let xi = along(p) - 11.0;
            // Both walls and their images, summed as the product of their signs at a distance.
            let nearest = (-3..=3)
                .flat_map(|n| {
                    [
                        (f64::from(n) * period, 1.0),
                        ((f64::from(n) + 0.5) * period, -1.0),
                    ]
                })
                .map(|(wall, sign)| (xi - wall, sign))
                .min_by(|p, q| p.0.abs().total_cmp(&q.0.abs()))
                .unwrap();
            nearest.1 * (nearest.0 / 5.0).tanh()
        };
        for (place, d) in by_place(&truth, [16, 16], a) {
            for axis in 0..2 {
                let p = |point| if flips[axis] { profile(point) } else { 1.0 };
                let e = expected(p, place, a);
                assert!(
                    (d[axis] - e).abs() < 1e-9,
                    "{angle}° {normal} {place:?}: {} {e}",
                    d[axis]
                );
            }
        }
    }
}

#[test]
fn an_inclined_71_degree_wall_projects_to_the_mean_over_its_depth() {
    // p_x flips across (y + z)/√2 = const; over a thickness T the wall crosses the length T of y.
    let (a, w, position) = (3.9643, 5.0, 110.0);
    let wall = format!(
        "[r3c.texture.wall]\nangle_degrees = 71\nnormal = [0, 1, 1]\ndirection = [1, 1, 1]\nhalf_width_angstrom = {w:?}\nposition_angstrom = {position:?}\n"
    );
    let (cells, layers) = ([2, 72], 20_usize);
    let (_, truth) = build(&r3c("[2, 72, 20]", &wall));
    let root = std::f64::consts::SQRT_2;
    let thickness = layers as f64 * a;
    // Analytic mean of tanh(((y + z)/√2 − position)/w) over 0 < z < T: the difference of √2 w ln cosh at both surfaces over T.
    let primitive = |y: f64, z: f64| root * w * (((y + z) / root - position) / w).cosh().ln();
    let mean = |y: f64| (primitive(y, thickness) - primitive(y, 0.0)) / thickness;
    let mut steepest = 0.0_f64;
    for (place, d) in by_place(&truth, cells, a) {
        // The second wall is half a period of y, 143 Å, away: look only where the first one is nearest.
        let [_, y] = place;
        if !(40.0..180.0).contains(&y) {
            continue;
        }
        // Planes are sampled once a cell, A at z = (k + ¼)a and B at (k + ¾)a; moving along z by a/4 is moving along y by a/4.
        let b = 0.036_76 * mean(y + a / 4.0);
        let corner = 0.096_34 * (mean(y - a / 2.0 - a / 4.0) + mean(y + a / 2.0 - a / 4.0)) / 2.0;
        let e = (b - corner) * a * 100.0;
        // A sum over 20 planes instead of an integral: of order (a/w)² /24 of the change within a plane.
        assert!((d[0] - e).abs() < 0.05, "{y} {} {e}", d[0]);
        assert!((d[1] - D).abs() < 1e-9);
        steepest = steepest.max((d[0] / D).abs());
    }
    assert!(steepest > 0.99);
    // The ramp is as wide as the specimen is thick: half of it is where the wall is in the middle.
    let y = |shift: f64| position * root - thickness / 2.0 + shift;
    assert!(mean(y(0.0)).abs() < 1e-9);
    assert!((mean(y(thickness / 4.0)) - 0.5).abs() < 1e-3);
}

#[test]
fn injected_shifts_change_the_truth_by_their_difference() {
    let plain = uniform([1, 1, 1]);
    let injected = "\n[injected]\na_shift_pm = [3.0, 0.0, 0.0]\nb_shift_pm = [-4.0, 5.0, 1.0]\n";
    let (_, before) = build(&plain);
    let (structure, after) = build(&format!("{plain}{injected}"));
    for (d, e) in before.displacements.iter().zip(&after.displacements) {
        assert!((e[0] - d[0] + 7.0).abs() < 1e-9 && (e[1] - d[1] - 5.0).abs() < 1e-9);
    }
    let oxygen = structure
        .sublattices
        .iter()
        .filter(|&&s| s == Sublattice::O);
    assert_eq!(oxygen.count(), 24);
}

#[test]
fn a_composition_sets_lattice_amplitude_and_antipolar_shifts() {
    let text = "cells = [4, 4, 2]\n[r3c.texture.uniform]\ndirection = [1, 1, 1]\n[composition]\nsamarium_fraction = 0.13\n";
    let specimen = parse(text);
    let edge = 4.0 * 3.953;
    assert!((specimen.extent()[0] - edge).abs() < 1e-9);
    let (_, truth) = specimen.build(1, &External::default()).unwrap();
    // ++−− along i + j = n: the mean of the four A around a B is (s(n) + 2 s(n+1) + s(n+2))/4 = ±½.
    let q = 0.15 / std::f64::consts::SQRT_2 * 100.0;
    let polar = (0.036_76 - 0.096_34) * 3.953 * 100.0 * 0.8;
    for (n, d) in truth.displacements.iter().enumerate() {
        let mean = [0.5, -0.5, -0.5, 0.5][(n % 4 + n / 4) % 4] * q;
        assert!((d[0] - polar + mean).abs() < 1e-9, "{n} {}", d[0]);
    }
    let table = format!(
        "{text}[[composition.model]]\nsamarium_fraction = 0.0\namplitude = 1.0\nantipolar_angstrom = 0.0\nlattice_angstrom = 3.96\n[[composition.model]]\nsamarium_fraction = 0.26\namplitude = 0.5\nantipolar_angstrom = 0.0\nlattice_angstrom = 3.94\n"
    );
    assert!((parse(&table).extent()[0] - 4.0 * 3.95).abs() < 1e-9);
}

#[test]
fn what_a_composition_says_may_not_be_said_twice() {
    let texture = "[r3c]\ntexture = { uniform = { direction = [1, 1, 1] } }\n";
    let composition = "[composition]\nsamarium_fraction = 0.07\n";
    let error = |text: String| {
        let source = Source::from_text("specimen", text);
        let specimen: Specimen = source.parse().unwrap();
        specimen.validate(&source).unwrap_err().to_string()
    };
    let twice = error(format!(
        "cells = [4, 4, 2]\nlattice_angstrom = 3.96\n{texture}{composition}"
    ));
    assert!(
        twice.contains("2: lattice_angstrom: got 3.96; allowed: either this key or"),
        "{twice}"
    );
    let twice = error(format!(
        "cells = [4, 4, 2]\n{texture}amplitude = 1.0\n{composition}"
    ));
    assert!(
        twice.contains("r3c.amplitude: got 1; allowed: either"),
        "{twice}"
    );
    let neither = error(format!("cells = [4, 4, 2]\n{texture}"));
    assert!(
        neither.contains("lattice_angstrom: got nothing"),
        "{neither}"
    );
    let cubic = error(format!("cells = [4, 4, 2]\n[cubic]\n{composition}"));
    assert!(cubic.contains("composition: got another kind"), "{cubic}");
}

#[test]
fn a_film_grows_polar_from_a_substrate_that_is_not() {
    let text = "cells = [2, 20, 2]\nlattice_angstrom = 3.905\n[film]\nsubstrate_cells = 6\nfilm_lattice_angstrom = 4.07\namplitude = 1.0\ndecay_length_angstrom = 8.0\na_intermixing_angstrom = 0.0\nb_intermixing_angstrom = 0.0\n[film.texture.uniform]\ndirection = [1, 1, 1]\n";
    let (structure, truth) = build(text);
    let start = 6.0 * 3.905;
    assert!((structure.cell[1] - start - 14.0 * 4.07).abs() < 1e-9);
    let scale = (3.905_f64 * 3.905 * 4.07).cbrt();
    let grown = |y: f64| {
        if y <= start {
            0.0
        } else {
            1.0 - (-(y - start) / 8.0).exp()
        }
    };
    for (n, d) in truth.displacements.iter().enumerate() {
        let j = n / 2;
        if j == 19 {
            continue; // meets the substrate of the next period
        }
        let height = if j < 6 { 3.905 } else { 4.07 };
        let low = if j < 6 {
            j as f64 * 3.905
        } else {
            start + (j - 6) as f64 * 4.07
        };
        let mean = f64::midpoint(grown(low), grown(low + height));
        let e = (0.036_76 * grown(low + height / 2.0) - 0.096_34 * mean) * scale * 100.0;
        assert!(
            (d[0] - e).abs() < 1e-9 && (d[1] - e).abs() < 1e-9,
            "row {j}"
        );
        assert!(j >= 6 || d[0].abs() < 1e-9, "the substrate is not polar");
    }
    let count = |number| structure.numbers.iter().filter(|&&z| z == number).count();
    assert_eq!((count(element::SR), count(element::TI)), (24, 24));
    assert_eq!((count(element::BI), count(element::FE)), (56, 56));
}

#[test]
fn intermixing_has_the_stated_profile() {
    let text = "cells = [40, 20, 40]\nlattice_angstrom = 3.905\n[film]\nsubstrate_cells = 10\nfilm_lattice_angstrom = 4.07\namplitude = 1.0\ndecay_length_angstrom = 8.0\na_intermixing_angstrom = 5.0\nb_intermixing_angstrom = 0.0\n[film.texture.uniform]\ndirection = [1, 1, 1]\n";
    let (structure, _) = build(text);
    for j in 8..12_usize {
        let atoms = &structure.numbers[j * 40 * 40 * 5..(j + 1) * 40 * 40 * 5];
        let bismuth = atoms.iter().filter(|&&z| z == element::BI).count() as f64 / 1600.0;
        let height = if j < 10 {
            (j as f64 - 9.5) * 3.905
        } else {
            3.905 / 2.0 + (j as f64 - 10.0) * 4.07
        };
        let expected = f64::midpoint(1.0, (height / 5.0).tanh());
        // 1600 draws: four standard errors are 0.05 at most.
        assert!(
            (bismuth - expected).abs() < 0.05,
            "row {j}: {bismuth} {expected}"
        );
        let titanium = atoms.iter().filter(|&&z| z == element::TI).count();
        assert_eq!(titanium, if j < 10 { 1600 } else { 0 });
    }
}

#[test]
fn a_given_displacement_field_is_the_truth() {
    let text = "cells = [3, 2, 4]\nlattice_angstrom = 4.0\n[displacements]\nfile = \"d.h5\"\na = \"/a\"\nb = \"/b\"\n";
    let specimen = parse(text);
    let b = Array3::from_shape_fn((2, 3, 3), |(j, i, axis)| match axis {
        0 => 10.0 * i as f64,
        1 => -5.0 * j as f64,
        _ => 1.0,
    });
    let settings = Displacements {
        file: "d.h5".into(),
        a: "/a".to_owned(),
        b: "/b".to_owned(),
        o: None,
    };
    let arrays = [ArrayD::zeros([4, 2, 3, 3].as_slice()), b.into_dyn()];
    let field =
        DisplacementField::new(&settings, Path::new("d.h5"), arrays, None, [3, 2, 4]).unwrap();
    let external = External {
        displacements: Some(field),
        ..External::default()
    };
    let (_, truth) = specimen.build(1, &external).unwrap();
    for (n, d) in truth.displacements.iter().enumerate() {
        let expected = [10.0 * (n % 3) as f64, -5.0 * (n / 3) as f64];
        assert!((0..2).all(|axis| (d[axis] - expected[axis]).abs() < 1e-9));
    }
    let missing = specimen.build(1, &External::default()).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("specimen.displacements: got no arrays"),
        "{missing}"
    );
}
