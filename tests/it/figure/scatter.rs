//! Measured against true.

use ferrostem::figure::scatter::{Scatter, scatter_figure};
use ferrostem::rng::{Rng, stream};

use super::publish;

#[test]
fn measured_is_drawn_against_true() {
    let mut rng = stream(6, "scatter", 0);
    let panels = ["dx", "dy"].map(|axis| Scatter {
        title: String::new(),
        x_label: format!("true {axis} [pm]"),
        y_label: format!("measured {axis} [pm]"),
        unit: "pm".to_owned(),
        points: (0..900)
            .map(|_| {
                let truth = 60.0 * (rng.random::<f64>() - 0.5);
                [truth, 0.83 * truth + 8.0 * (rng.random::<f64>() - 0.5)]
            })
            .collect(),
    });
    publish(
        &scatter_figure("Column fit at 1000 e/Å²", &panels, 2),
        "scatter",
    );
    publish(
        &scatter_figure("Nothing", &[Scatter::default()], 1),
        "scatter_none",
    );
}
