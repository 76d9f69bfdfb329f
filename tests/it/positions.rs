//! Maps from positions that another program has fitted.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::Path;

use ferrostem::experiment::{MapSettings, map_positions};
use ferrostem::progress::Reporter;

/// The rows of a table of numbers, without a line of names and without words.
fn rows(path: &Path) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(path).unwrap();
    let numbers = |line: &str| -> Vec<f64> {
        line.split([',', ' '])
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    text.lines()
        .map(numbers)
        .filter(|row| row.len() > 3)
        .collect()
}

/// BiFeO3 with positions and D by another program (D = Fe − mean of Bi, pixels, y down): every row of its table comes out within
/// 1e-5 px, half of its last digit ten times.
#[test]
fn displacements_of_another_program_come_back() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/realdata/hetian-chen");
    if !data.exists() {
        println!("SKIPPED: no tables of positions beside this checkout");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("map");
    let settings: MapSettings = toml::from_str("figures = { draw = [\"polarization\"] }").unwrap();
    map_positions(
        [
            &data.join("Bi_positions_refined.txt"),
            &data.join("Fe_positions_refined.txt"),
        ],
        None,
        &settings,
        &output,
        false,
        &Reporter::quiet(),
    )
    .unwrap();
    let ours = rows(&output.join("displacements.csv"));
    let theirs = rows(&data.join("result_refined.txt"));
    assert_eq!(theirs.len(), 1056);
    for row in theirs {
        let same = |other: &&Vec<f64>| (other[0] - row[0]).hypot(other[1] - row[1]) < 1e-3;
        let found = ours.iter().find(same);
        let found = found.unwrap_or_else(|| panic!("no cell at {row:?}"));
        assert!((found[2] - row[4]).abs() < 1e-5, "{found:?} {row:?}");
        assert!((found[3] - row[5]).abs() < 1e-5, "{found:?} {row:?}");
    }
}
