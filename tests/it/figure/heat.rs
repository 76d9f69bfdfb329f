//! Matrices of numbers.

use ferrostem::Error;
use ferrostem::figure::colour::ColourScale;
use ferrostem::figure::heat::HeatMap;
use ndarray::{Array2, array};

use super::publish;

#[test]
fn matrices_carry_their_numbers() {
    let names: Vec<String> = ["0 % Sm", "7 %", "10 %", "13 %", "20 %"]
        .map(str::to_owned)
        .into();
    let values = Array2::from_shape_fn((5, 5), |(r, c)| {
        1.8 + 1.3 * (r as f64 - c as f64).abs() + 0.2 * c as f64
    });
    let map = HeatMap {
        title: "Every network on every composition".to_owned(),
        row_title: "trained on".to_owned(),
        column_title: "tested on".to_owned(),
        rows: names.clone(),
        columns: names,
        spread: Some(values.mapv(|v| 0.1 * v)),
        values,
        label: "RMS error of D [pm]".to_owned(),
        decimals: 1,
        ..HeatMap::default()
    };
    publish(&map.figure().unwrap(), "heat_5");
    let small = HeatMap {
        rows: map.rows[..2].to_vec(),
        columns: vec![
            "pooled over all other compositions".to_owned(),
            "7 %".to_owned(),
        ],
        values: array![[2.0, f64::NAN], [5.0, 1.5]],
        spread: None,
        scale: ColourScale::Cividis,
        ..map.clone()
    };
    publish(&small.figure().unwrap(), "heat_2");
    let wrong = HeatMap {
        rows: Vec::new(),
        ..map
    }
    .figure();
    assert!(matches!(wrong, Err(Error::Unmeasurable { .. })));
}
