//! Laws of the analysis, on lattices with known D, strain and walls, and positions with known errors.

use rand_distr::{Distribution, Normal};

use super::*;
use crate::column::AtomColumn;
use crate::crystal::Sublattice;
use crate::crystal::polarization::{Point, flags};
use crate::rng::stream;

const PITCH: f64 = 3.965;
/// Standard deviations of A and B positions per axis [pm].
const SIGMA: [f64; 2] = [1.0, 3.0];

/// A lattice of `n` × `n` A columns.
struct Crystal {
    n: usize,
    basis: [Point; 2],
    /// D = B − A at a site [pm].
    d: fn(Point) -> [f64; 2],
    /// Whether positions carry their errors.
    noisy: bool,
    seed: u64,
}

impl Default for Crystal {
    fn default() -> Self {
        Self {
            n: 24,
            basis: [[PITCH, 0.0], [0.0, PITCH]],
            d: |_| [0.0; 2],
            noisy: true,
            seed: 1,
        }
    }
}

impl Crystal {
    fn positions(&self) -> [Vec<Point>; 2] {
        let mut random = stream(self.seed, "positions", 0);
        let normal = Normal::new(0.0, 1.0).unwrap();
        let [u, v] = self.basis;
        let mut place = |i: f64, j: f64, sigma: f64, d: fn(Point) -> [f64; 2]| -> Point {
            let site: Point = [0, 1].map(|k| 10.0 + i * u[k] + j * v[k]);
            let shift = d(site);
            let sigma = if self.noisy { sigma } else { 0.0 };
            [0, 1].map(|k| site[k] + (shift[k] + sigma * normal.sample(&mut random)) / 100.0)
        };
        let n = self.n;
        let each = |m: usize| (0..m * m).map(move |k| ((k % m) as f64, (k / m) as f64));
        let a = each(n)
            .map(|(i, j)| place(i, j, SIGMA[0], |_| [0.0; 2]))
            .collect();
        let b = each(n - 1)
            .map(|(i, j)| place(i + 0.5, j + 0.5, SIGMA[1], self.d))
            .collect();
        [a, b]
    }

    fn map(&self) -> ColumnMap {
        let [a, b] = self.positions();
        map_of_positions(&a, &b, SIGMA.map(|s| s / 100.0), PITCH).unwrap()
    }

    fn analysis(&self, settings: &AnalysisSettings) -> Analysis {
        Analysis::new(&self.map(), settings, PITCH).unwrap()
    }
}

fn settings(text: &str) -> AnalysisSettings {
    toml::from_str(text).unwrap()
}

#[test]
fn positions_make_the_map_of_their_lattice() {
    let turned: [Point; 2] = [[3.8, 0.6], [-0.4, 4.05]];
    let crystal = Crystal {
        basis: turned,
        noisy: false,
        ..Crystal::default()
    };
    let map = crystal.map();
    assert_eq!(map.of(Sublattice::A).count(), 24 * 24);
    assert_eq!(map.vectors.len(), 23 * 23);
    let close = |p: Point, q: Point| (p[0] - q[0]).hypot(p[1] - q[1]) < 1e-9;
    assert!(close(map.lattice.a, turned[0]) && close(map.lattice.b, turned[1]));
    let at = |column: &AtomColumn| {
        let half = if column.sublattice == Sublattice::A {
            0.0
        } else {
            0.5
        };
        let [i, j] = column.index.map(|i| f64::from(i) + half);
        [0, 1].map(|k| 10.0 + i * turned[0][k] + j * turned[1][k])
    };
    assert!(map.columns.iter().all(|c| close(c.position, at(c))));
}

#[test]
fn positions_that_make_no_map_are_refused() {
    let square: Vec<Point> = vec![[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]];
    let map = |a: &[Point], b: &[Point]| map_of_positions(a, b, [f64::NAN; 2], 3.95);
    assert!(map(&square, &[[2.0, 2.0]]).is_ok());
    assert!(map(&[], &[]).is_err());
    assert!(map(&square, &[]).is_err());
    assert!(map(&square, &[[40.0, 2.0]]).is_err());
    assert!(map(&square, &[[f64::NAN, 2.0]]).is_err());
    assert!(map(&[[1.0, 1.0]; 9], &[[1.0, 1.0]]).is_err());
}

/// D, its covariance and the lattice turn with the map.
#[test]
fn everything_turns_with_the_map_by_90_degrees() {
    let crystal = Crystal {
        d: |p| [12.0 + 0.1 * p[1], -5.0 + 0.2 * p[0]],
        ..Crystal::default()
    };
    let [a, b] = crystal.positions();
    // Clockwise on screen: x to the right becomes y down.
    let turn = |points: &[Point]| points.iter().map(|p| [-p[1], p[0]]).collect::<Vec<_>>();
    let analyse = |a: &[Point], b: &[Point]| {
        let map = map_of_positions(a, b, SIGMA.map(|s| s / 100.0), PITCH).unwrap();
        Analysis::new(&map, &AnalysisSettings::default(), PITCH).unwrap()
    };
    let (before, after) = (analyse(&a, &b), analyse(&turn(&a), &turn(&b)));
    assert_eq!(before.cells.len(), after.cells.len());
    for (cell, local) in before.cells.iter().zip(&before.lattices) {
        let target = [-cell.position[1], cell.position[0]];
        let (number, twin) = (after.cells.iter().enumerate())
            .find(|(_, c)| (c.position[0] - target[0]).hypot(c.position[1] - target[1]) < 1e-9)
            .unwrap();
        let expected = [-cell.displacement[1], cell.displacement[0]];
        let other = &after.lattices[number];
        for (found, expected) in [
            (twin.displacement[0], expected[0]),
            (twin.displacement[1], expected[1]),
            (twin.covariance.xx, cell.covariance.yy),
            (other.a_length.value, local.b_length.value),
            (other.strain_xx.value, local.strain_yy.value),
            (other.strain_xy.value, -local.strain_xy.value),
            (other.rotation.value, local.rotation.value),
        ] {
            assert!((found - expected).abs() < 1e-7, "{found} {expected}");
        }
    }
}

/// A lattice that is deformed affinely, F = R U, within a larger one that is not: strain U − 1 and rotation R.
#[test]
fn strain_of_an_affinely_deformed_lattice_is_that_deformation() {
    let (sin, cos) = 0.05_f64.sin_cos();
    let stretch = [[1.02, 0.004], [0.004, 0.97]];
    let gradient = [
        [
            cos * stretch[0][0] - sin * stretch[1][0],
            cos * stretch[0][1] - sin * stretch[1][1],
        ],
        [
            sin * stretch[0][0] + cos * stretch[1][0],
            sin * stretch[0][1] + cos * stretch[1][1],
        ],
    ];
    // Rows up to the 12th are the reference; the cells from the 14th on are deformed.
    let n = 28;
    let place = |i: f64, j: f64| -> Point {
        let (x, y) = (i * PITCH, (j - 13.0).min(0.0) * PITCH);
        let below = (j - 13.0).max(0.0) * PITCH;
        if j <= 13.0 {
            [x, y]
        } else {
            [0, 1].map(|k| gradient[k][0] * x + gradient[k][1] * below)
        }
    };
    let each = |m: usize| (0..m * m).map(move |k| ((k % m) as f64, (k / m) as f64));
    let a: Vec<Point> = each(n).map(|(i, j)| place(i, j)).collect();
    let b: Vec<Point> = each(n - 1).map(|(i, j)| place(i + 0.5, j + 0.5)).collect();
    let map = map_of_positions(&a, &b, [0.001, 0.001], PITCH).unwrap();
    let fraction = "reference = { rectangle_fraction = [0, 0, 1, 0.4] }";
    let analysis = Analysis::new(&map, &settings(fraction), PITCH).unwrap();
    let mut deformed = 0;
    for (cell, local) in analysis.cells.iter().zip(&analysis.lattices) {
        let found = [
            local.strain_xx.value,
            local.strain_yy.value,
            local.strain_xy.value,
            local.rotation.value,
        ];
        let expected = match cell.index[1] {
            0..=11 => [0.0; 4],
            14.. => {
                deformed += 1;
                [0.02, -0.03, 0.004, 50.0]
            }
            _ => continue,
        };
        let close = found
            .iter()
            .zip(expected)
            .all(|(f, e)| (f - e).abs() < 1e-9);
        assert!(close, "{:?}: {found:?}", cell.index);
    }
    assert!(deformed > 200, "{deformed}");
}

/// Deviations in units of the reported standard deviations have a variance of 1 for all quantities of the local lattice.
#[test]
fn standard_deviations_of_the_local_lattice_are_honest() {
    let analysis = Crystal::default().analysis(&AnalysisSettings::default());
    let truth = [PITCH, PITCH, 90.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    let quantities = analysis.lattice_quantities();
    for (pair, truth) in quantities
        .chunks(2)
        .zip([0, 1, 3, 2, 4, 5, 6, 7].map(|k| truth[k]))
    {
        let scores = pair[0].values.iter().zip(&pair[1].values);
        let mean: f64 = scores.map(|(v, s)| ((v - truth) / s).powi(2)).sum::<f64>()
            / analysis.cells.len() as f64;
        // 529 cells of which neighbours correlate: the mean square is known to about 10 %.
        assert!((0.8..1.2).contains(&mean), "{}: {mean}", pair[0].name);
    }
    let distances = analysis.distances.iter();
    let scores: Vec<f64> = distances
        .map(|d| ((d.length.value - PITCH) / d.length.sigma).powi(2))
        .collect();
    assert_eq!(scores.len(), 2 * (24 * 23 + 23 * 22));
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    assert!((0.9..1.1).contains(&mean), "distances: {mean}");
}

/// Without polarization a part α of the cells is significant by chance, and almost none at a false discovery rate.
#[test]
fn significance_holds_its_level() {
    let [mut chance, mut discovered, mut cells] = [0.0; 3];
    for seed in 0..12 {
        let crystal = Crystal {
            seed,
            ..Crystal::default()
        };
        let count = |text: &str| {
            let judged = crystal.analysis(&settings(text)).significance;
            judged.iter().filter(|s| s.significant).count() as f64
        };
        chance += count("");
        discovered += f64::from(count("significance = { false_discovery_rate = true }") > 0.0);
        cells += 529.0;
    }
    // 6348 cells at 5 %: 317 ± 17, a little more as neighbours correlate.
    assert!((chance / cells - 0.05).abs() < 0.01, "{}", chance / cells);
    // At least one false discovery in at most 5 % of maps: 0.6 of 12 expected.
    assert!(discovered <= 3.0, "{discovered}");
}

/// A tilt shifts B against A everywhere; D is zero in the upper part only.
fn film_on_substrate(p: Point) -> [f64; 2] {
    let film = if p[1] > 55.0 { [0.0, 20.0] } else { [0.0, 0.0] };
    [film[0] + 7.0, film[1] - 4.0]
}

#[test]
fn a_reference_takes_the_tilt_off_with_an_honest_error() {
    let text = "reference = { rectangle_angstrom = [0, 0, 200, 30] }";
    let (mut squares, mut inside) = (0.0, 0.0);
    let maps = 60;
    for seed in 0..maps {
        let crystal = Crystal {
            d: film_on_substrate,
            seed,
            ..Crystal::default()
        };
        let analysis = crystal.analysis(&settings(text));
        let reference = analysis.reference.as_ref().unwrap();
        let error = [reference.mean[0] - 7.0, reference.mean[1] + 4.0];
        squares += reference.covariance.chi_square(error).unwrap() / 2.0;
        // A film cell far away: its own error and the common one.
        let cell = analysis
            .cells
            .iter()
            .rfind(|c| c.position[1] > 80.0)
            .unwrap();
        let off = [cell.displacement[0], cell.displacement[1] - 20.0];
        inside += cell.total.chi_square(off).unwrap() / 2.0;
    }
    let (mean, film) = (squares / maps as f64, inside / maps as f64);
    // The mean of 60 χ²₂/2 is 1 ± 0.13; the errors are enlarged in half of the maps by a few percent.
    assert!((0.6..1.4).contains(&mean), "reference: {mean}");
    assert!((0.6..1.4).contains(&film), "film: {film}");
}

/// The mean over a region counts its A columns once: (σ_B² + σ_A²)/n in the limit, not (σ_B² + σ_A²/4)/n.
#[test]
fn the_error_of_a_mean_counts_shared_columns() {
    let crystal = Crystal {
        n: 60,
        noisy: false,
        ..Crystal::default()
    };
    let map = crystal.map();
    let cells = cells::cells(&map, Convention::BMinusA);
    let all: Vec<&Cell> = cells.iter().collect();
    let variance = cells::Weights::mean(&all).covariance(&map).xx * all.len() as f64;
    let expected = SIGMA[1].powi(2) + SIGMA[0].powi(2);
    // The border's columns count with fewer cells: 2/60 of the A part.
    assert!(
        (variance - expected).abs() < 0.06 * SIGMA[0].powi(2),
        "{variance} {expected}"
    );
}

#[test]
fn a_non_polar_image_is_zero_within_its_error_after_subtraction() {
    let crystal = Crystal {
        d: |_| [31.0, -12.0],
        ..Crystal::default()
    };
    let plain = crystal.analysis(&AnalysisSettings::default());
    let polar = |analysis: &Analysis| {
        analysis
            .significance
            .iter()
            .filter(|s| s.significant)
            .count() as f64
            / 529.0
    };
    assert_eq!(polar(&plain), 1.0);
    assert!(
        plain.zero().contains("cannot be told apart"),
        "{}",
        plain.zero()
    );
    let text = "reference = { rectangle_fraction = [0, 0, 1, 0.3] }";
    let analysis = crystal.analysis(&settings(text));
    // 5 % ± 1 % of 529 by chance, plus what the common error adds.
    assert!(polar(&analysis) < 0.09, "{}", polar(&analysis));
    assert!(analysis.domains.list.is_empty());
    assert!(analysis.zero().contains("common to all cells"));
    // Cells of the region are surer than others: they are part of the mean.
    let reference = analysis.reference.as_ref().unwrap();
    let own = analysis.cells.iter().zip(&reference.member);
    let (inside, outside): (Vec<_>, Vec<_>) = own.partition(|(_, member)| **member);
    let mean = |cells: Vec<(&Cell, &bool)>| {
        cells.iter().map(|(c, _)| c.total.xx).sum::<f64>() / cells.len() as f64
    };
    assert!(mean(inside) < mean(outside));
}

#[test]
fn a_region_may_be_known_by_its_lattice() {
    // Two lattices on top of each other: b is 3.905 Å below row 10, 4.07 Å above.
    let n = 21;
    let y = |j: f64| 3.905 * j.min(10.0) + 4.07 * (j - 10.0).max(0.0);
    let each = |m: usize| (0..m * m).map(move |k| ((k % m) as f64, (k / m) as f64));
    let a: Vec<Point> = each(n).map(|(i, j)| [3.905 * i, y(j)]).collect();
    let b: Vec<Point> = each(n - 1)
        .map(|(i, j)| [3.905 * (i + 0.5), y(j + 0.5)])
        .collect();
    let map = map_of_positions(&a, &b, [0.005; 2], 3.95).unwrap();
    let text = "reference = { b_between_angstrom = [3.85, 3.95] }";
    let analysis = Analysis::new(&map, &settings(text), 3.95).unwrap();
    assert_eq!(analysis.reference.as_ref().unwrap().count(), 200);
    let film = analysis.lattices.last().unwrap();
    assert!((film.strain_yy.value - (4.07 / 3.905 - 1.0)).abs() < 1e-6);
    assert!((film.c_over_a.value - 4.07 / 3.905).abs() < 1e-6);
    let nothing = settings("reference = { b_between_angstrom = [5, 6] }");
    assert!(Analysis::new(&map, &nothing, 3.95).is_err());
}

#[test]
fn the_other_convention_turns_every_vector_and_not_the_polarization() {
    let crystal = Crystal {
        d: |_| [10.0, -20.0],
        ..Crystal::default()
    };
    let here = crystal.analysis(&settings("polarization = {}"));
    let there = crystal.analysis(&settings("convention = \"a_minus_b\"\npolarization = {}"));
    for (one, other) in here.cells.iter().zip(&there.cells) {
        assert_eq!(one.displacement, other.displacement.map(|d| -d));
        let p = |analysis: &Analysis, cell: &Cell| {
            cell.displacement.map(|d| analysis.kappa().unwrap() * d)
        };
        assert_eq!(p(&here, one), p(&there, other));
    }
    assert!((here.cells[0].displacement[0] * here.kappa().unwrap()) < 0.0);
    for analysis in [&here, &there] {
        let word = analysis.settings.convention.word();
        assert!(analysis.to_toml(&crystal.map()).contains(word));
        assert!(analysis.statements().iter().any(|(_, text)| text == word));
    }
}

/// A 180° wall at x = 55 Å, half width 6 Å.
fn wall(p: Point) -> [f64; 2] {
    [0.0, 20.0 * ((p[0] - 55.0) / 6.0).tanh()]
}

/// A 90° wall along the diagonal of the cells, half width 5 Å.
fn diagonal_wall(p: Point) -> [f64; 2] {
    let xi = (p[0] + p[1] - 110.0) / std::f64::consts::SQRT_2;
    [20.0, 20.0 * (xi / 5.0).tanh()]
}

/// Position along the normal, half width and direction lie within their standard deviations as often as they should.
#[test]
fn a_wall_of_known_position_and_width_is_found_within_its_error() {
    type Case = (fn(Point) -> [f64; 2], [f64; 2], f64, f64);
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let cases: [Case; 2] = [
        (wall, [1.0, 0.0], 55.0, 6.0),
        (diagonal_wall, [half, half], 110.0 * half, 5.0),
    ];
    for (d, normal, position, width) in cases {
        let (mut scores, mut inside, mut outside) = ([0.0; 3], [0; 3], 0);
        let mut count = 0;
        for seed in 0..40 {
            let crystal = Crystal {
                d,
                seed,
                n: 27,
                ..Crystal::default()
            };
            let analysis = crystal.analysis(&AnalysisSettings::default());
            assert_eq!(analysis.domains.list.len(), 2, "seed {seed}");
            for segment in &analysis.walls {
                let p = &segment.profile;
                let sign = if p.normal[0] * normal[0] + p.normal[1] * normal[1] < 0.0 {
                    -1.0
                } else {
                    1.0
                };
                let angle = (sign * (normal[0] * p.normal[1] - normal[1] * p.normal[0])).asin();
                let off = (p.centre[0] - 0.0) * normal[0] + p.centre[1] * normal[1] - position;
                let deviations = [
                    off / p.position_sigma,
                    (p.half_width.value - width) / p.half_width.sigma,
                    angle.to_degrees() / p.angle_sigma,
                ];
                for k in 0..3 {
                    scores[k] += deviations[k].powi(2);
                    inside[k] += usize::from(deviations[k].abs() < 1.0);
                }
                outside += usize::from(p.flags & profile_flags::NOT_CONVERGED != 0);
                count += 1;
            }
        }
        assert!(
            count >= 80 && outside == 0,
            "{count} segments, {outside} not converged"
        );
        for k in 0..3 {
            let (mean, part) = (
                scores[k] / f64::from(count),
                inside[k] as f64 / f64::from(count),
            );
            // 80 or more segments: the mean square is known to 16 %, the part within one σ to 5 %.
            assert!(
                (0.6..1.5).contains(&mean),
                "{position} quantity {k}: mean square {mean}"
            );
            assert!(
                (0.58..0.78).contains(&part),
                "{position} quantity {k}: {part} within one sigma"
            );
        }
    }
}

#[test]
fn a_wall_knows_its_plateaus_and_its_charge() {
    // Head to head along x: D points to the wall from both sides, so it falls along the normal.
    let crystal = Crystal {
        d: |p| [-20.0 * ((p[0] - 55.0) / 5.0).tanh(), 0.0],
        ..Crystal::default()
    };
    let analysis = crystal.analysis(&AnalysisSettings::default());
    assert!(!analysis.walls.is_empty());
    for segment in &analysis.walls {
        let p = &segment.profile;
        assert!((p.turn_degrees() - 180.0).abs() < 8.0);
        let jump = p.normal_jump;
        assert!((jump.value + 40.0).abs() < 4.0 * jump.sigma, "{jump:?}");
        let [start, end] = segment.ends();
        assert!((start[0] - end[0]).abs() < 6.0 && (start[1] - end[1]).abs() > 20.0);
    }
}

/// A vortex has four domains by quadrant and a wall between each pair of neighbours.
#[test]
fn a_vortex_parts_into_four_domains() {
    let crystal = Crystal {
        n: 30,
        d: |p| {
            let [x, y] = [p[0] - 68.0, p[1] - 67.0];
            let r = x.hypot(y).max(1.0);
            [-20.0 * y / r, 20.0 * x / r]
        },
        ..Crystal::default()
    };
    let analysis = crystal.analysis(&settings("domains = { first_direction_degrees = 45 }"));
    let domains = &analysis.domains;
    assert_eq!(domains.list.len(), 4);
    let mut directions: Vec<usize> = domains.list.iter().map(|d| d.direction).collect();
    directions.sort_unstable();
    assert_eq!(directions, [0, 1, 2, 3]);
    let assigned = domains.of_cell.iter().flatten().count() as f64 / 841.0;
    assert!(assigned > 0.9, "{assigned}");
    for (cell, domain) in analysis.cells.iter().zip(&domains.of_cell) {
        if let Some(domain) = domain {
            let [x, y] = [cell.position[0] - 68.0, cell.position[1] - 67.0];
            let truth = x.atan2(-y).to_degrees();
            let off =
                (truth - domains.list[*domain].direction_degrees + 540.0).rem_euclid(360.0) - 180.0;
            assert!(off.abs() < 75.0, "{off} at {:?}", cell.position);
        }
    }
}

#[test]
fn a_uniform_map_is_one_domain_without_walls() {
    let crystal = Crystal {
        d: |_| [15.0, 14.0],
        ..Crystal::default()
    };
    let analysis = crystal.analysis(&AnalysisSettings::default());
    assert_eq!((analysis.domains.list.len(), analysis.walls.len()), (1, 0));
    let domain = &analysis.domains.list[0];
    assert_eq!(domain.cells.len(), 529);
    let error = [domain.mean[0] - 15.0, domain.mean[1] - 14.0];
    // χ² of two degrees of freedom is above 13.8 in one of a thousand cases.
    assert!(domain.covariance.chi_square(error).unwrap() < 13.8);
    assert!((domain.area_nm2 - 529.0 * PITCH * PITCH / 100.0).abs() < 0.5);
}

#[test]
fn flagged_cells_take_no_part() {
    let crystal = Crystal {
        d: |_| [15.0, 14.0],
        ..Crystal::default()
    };
    let mut map = crystal.map();
    let b = map
        .columns
        .iter_mut()
        .find(|c| c.sublattice == Sublattice::B)
        .unwrap();
    b.flags = flags::NOT_FITTED;
    b.position_sigma = [f64::INFINITY; 2];
    let analysis = Analysis::new(&map, &AnalysisSettings::default(), PITCH).unwrap();
    let flagged = analysis.cells.iter().position(|c| c.flags != 0).unwrap();
    assert!(!analysis.significance[flagged].significant);
    assert_eq!(analysis.domains.of_cell[flagged], None);
    assert!(analysis.domains.list[0].covariance.is_known());
}

#[test]
fn a_map_without_standard_deviations_is_analysed_all_the_same() {
    let crystal = Crystal {
        d: wall,
        n: 27,
        ..Crystal::default()
    };
    let [a, b] = crystal.positions();
    let map = map_of_positions(&a, &b, [f64::NAN; 2], PITCH).unwrap();
    let text = "reference = { rectangle_fraction = [0, 0, 1, 1] }";
    let analysis = Analysis::new(&map, &settings(text), PITCH).unwrap();
    let plain = Analysis::new(&map, &AnalysisSettings::default(), PITCH).unwrap();
    assert!(analysis.significance.iter().all(|s| !s.significant));
    assert!(analysis.reference.unwrap().covariance.is_known());
    assert_eq!(plain.domains.list.len(), 2);
    for segment in &plain.walls {
        // The scatter of the cells gives the errors.
        let width = segment.profile.half_width;
        assert!(
            (width.value - 6.0).abs() < 4.0 * width.sigma && width.sigma < 3.0,
            "{width:?}"
        );
    }
}

#[test]
fn a_wrong_pixel_size_is_said_loudly() {
    let map = Crystal::default().map();
    let warned = |nominal: f64| {
        let analysis = Analysis::new(&map, &AnalysisSettings::default(), nominal);
        let mut map = map.clone();
        map.calibration_ratio = PITCH / nominal;
        let again = Analysis::new(&map, &AnalysisSettings::default(), nominal).unwrap();
        assert!(analysis.is_ok());
        again.calibration_warning.is_some()
    };
    assert!(!warned(3.95) && warned(4.35) && warned(3.6));
}
