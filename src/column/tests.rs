//! Laws of the whole measurement, on synthetic images.

use super::synthetic::{PITCH, Scene};
use super::*;
use crate::crystal::polarization::{Point, PolarVector};
use crate::neighbours::Neighbours;

fn map_of(scene: &Scene) -> ColumnMap {
    measure(
        &scene.image(),
        &ColumnSettings::default(),
        &Reporter::quiet(),
    )
    .unwrap()
}

/// Measured and true D with sigma of the unflagged vectors, flat over axes.
fn pairs(map: &ColumnMap, scene: &Scene) -> Vec<[f64; 3]> {
    map.good_vectors()
        .flat_map(|v| {
            let truth = true_displacement(scene, v);
            [0, 1].map(|k| [v.displacement[k], truth[k], v.sigma[k]])
        })
        .collect()
}

/// True D of the cell whose B column is nearest to a vector [pm].
fn true_displacement(scene: &Scene, vector: &PolarVector) -> [f64; 2] {
    let nearest = scene
        .ideal_b()
        .into_iter()
        .min_by(|p, q| distance(*p, vector.position).total_cmp(&distance(*q, vector.position)))
        .unwrap();
    (scene.displacement)(nearest)
}

fn distance(p: Point, q: Point) -> f64 {
    lattice::length([p[0] - q[0], p[1] - q[1]])
}

/// Slope of measured against true D, by least squares without an intercept.
fn slope(pairs: &[[f64; 3]]) -> f64 {
    let (up, down) = pairs
        .iter()
        .fold((0.0, 0.0), |(u, d), p| (u + p[0] * p[1], d + p[1] * p[1]));
    up / down
}

#[test]
#[ignore]
fn table() {
    let settings: ColumnSettings =
        toml::from_str(&std::env::var("OPT").unwrap_or_default()).unwrap();
    let waves: fn(Point) -> [f64; 2] = |p| [20.0 * (p[1] / 11.0).cos(), 20.0 * (p[0] / 14.0).sin()];
    for (dose, bound) in [
        (100.0, 11.6),
        (300.0, 6.70),
        (1000.0, 3.67),
        (30000.0, 0.67),
        (1e7, 0.67 * 0.0548),
    ] {
        let scene = Scene {
            dose,
            displacement: waves,
            ..Scene::default()
        };
        let map = measure(&scene.image(), &settings, &Reporter::quiet()).unwrap();
        let p = pairs(&map, &scene);
        let rms = (p.iter().map(|p| (p[0] - p[1]).powi(2)).sum::<f64>() / p.len() as f64).sqrt();
        let z = (p
            .iter()
            .map(|p| ((p[0] - p[1]) / p[2]).powi(2))
            .sum::<f64>()
            / p.len() as f64)
            .sqrt();
        eprintln!(
            "dose {dose}: n {} slope {:.3} rms/bound {:.3} z {:.3} sig {:.1}",
            p.len(),
            slope(&p),
            rms / bound,
            z,
            map.significance
        );
    }
    for width in [0.5, 0.7, 0.9, 1.0] {
        for dose in [1000.0, 1e7] {
            let scene = Scene {
                dose,
                width,
                b_height: 0.45,
                sampling: [0.356; 2],
                displacement: waves,
                ..Scene::default()
            };
            let map = measure(&scene.image(), &settings, &Reporter::quiet()).unwrap();
            let p = pairs(&map, &scene);
            let rms =
                (p.iter().map(|p| (p[0] - p[1]).powi(2)).sum::<f64>() / p.len() as f64).sqrt();
            let z = (p
                .iter()
                .map(|p| ((p[0] - p[1]) / p[2]).powi(2))
                .sum::<f64>()
                / p.len() as f64)
                .sqrt();
            let sa: Vec<f64> = map.of(Sublattice::A).map(|c| c.sigma[0]).collect();
            let sb: Vec<f64> = map.of(Sublattice::B).map(|c| c.sigma[0]).collect();
            eprintln!(
                "width {width} dose {dose}: n {} slope {:.3} rms {:.3} z {:.3} wA {:.3} wB {:.3}",
                p.len(),
                slope(&p),
                rms,
                z,
                map::median(sa.into_iter()).value,
                map::median(sb.into_iter()).value
            );
        }
    }
}
