//! The column map on real micrographs, without options. They are under their own licences and not part of the project: a
//! checkout without them beside it skips these tests, and says so.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::Path;

use ferrostem::column::{ColumnMap, ColumnSettings, measure};
use ferrostem::crystal::Sublattice;
use ferrostem::progress::Reporter;
use ferrostem::storage::micrograph;

/// The map of a micrograph, or `None` where there are none.
fn map_of(name: &str) -> Option<ColumnMap> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if !shared.exists() {
        println!("SKIPPED: {name}: no micrographs beside this checkout");
        return None;
    }
    let file = micrograph::open(&shared.join("realdata").join(name), None).unwrap();
    let image = file.image(0, None).unwrap();
    let map = measure(&image, &ColumnSettings::default(), &Reporter::quiet()).unwrap();
    println!("{name}: {}", map.summary());
    Some(map)
}

/// Numbers of A and B columns within 2 %, and at least 95 % of the vectors without flags, none of them absurd.
fn assert_counts(map: &ColumnMap, a: usize, b: usize) {
    let count = |sublattice| map.of(sublattice).count();
    let near = |found: usize, expected: usize| found.abs_diff(expected) * 50 <= expected;
    assert!(
        near(count(Sublattice::A), a),
        "{} A columns",
        count(Sublattice::A)
    );
    assert!(
        near(count(Sublattice::B), b),
        "{} B columns",
        count(Sublattice::B)
    );
    let good = map.good_vectors().count() as f64 / map.vectors.len() as f64;
    assert!(good > 0.95, "{good} of the vectors are without flags");
    // Three quarters of an ångström are no displacement but a mistaken column.
    assert!(
        map.good_vectors()
            .all(|v| v.displacement[0].hypot(v.displacement[1]) < 75.0)
    );
}

#[test]
fn barium_titanate_is_mapped_without_options() {
    let Some(map) = map_of("BTO_crystal_2.dm4") else {
        return;
    };
    assert_counts(&map, 1831, 1824);
    assert!(
        (map.calibration_ratio - 0.985).abs() < 0.01,
        "{}",
        map.calibration_ratio
    );
}

#[test]
fn lead_titanate_is_polar_beside_strontium_ruthenate() {
    let Some(map) = map_of("Cropped_PTO-SRO_Aligned.hspy") else {
        return;
    };
    assert_counts(&map, 489, 484);
    // The header's pixel size is about 8 % smaller than what the lattice says.
    assert!(
        (map.calibration_ratio - 0.92).abs() < 0.02,
        "{}",
        map.calibration_ratio
    );
    let mean = |inside: fn(f64) -> bool| {
        let chosen = map
            .good_vectors()
            .filter(|v| v.position[0] > 135.0 && inside(v.position[1]));
        let sizes: Vec<f64> = chosen.map(|v| v.displacement[1]).collect();
        sizes.iter().sum::<f64>() / sizes.len() as f64
    };
    // In Å of the crystal, not of the header.
    let scale = map.calibration_ratio.recip();
    let [titanate, ruthenate] =
        [mean(|y| y > 25.0), mean(|y| (6.0..21.0).contains(&y))].map(|d| d * scale);
    // Ti lies 15.7 pm off the middle of its Pb cage (z = 0.5377, c = 4.156 Å: R. J. Nelmes and W. F. Kuhs, Solid State Commun. 54,
    // 721 (1985)); in a strained film somewhat more or less. SRO is not polar.
    assert!(
        (titanate - 15.7).abs() < 5.0 && ruthenate.abs() < 5.0,
        "PTO {titanate} pm, SRO {ruthenate} pm"
    );
}
