//! Curves with errors, references and logarithms.

use ferrostem::figure::curve::{Curve, Look, Reference, Series, Spread, curves_figure};

use super::publish;

/// What a study of tilts might show, times `scale`.
pub(super) fn tilt_curve(title: &str, scale: f64) -> Curve {
    let x: Vec<f64> = (0..=10).map(|i| 2.0 * f64::from(i)).collect();
    let series = |label: &str, slope: f64, look, spread| Series {
        label: label.to_owned(),
        y: x.iter().map(|x| scale * slope * x).collect(),
        sigma: x
            .iter()
            .enumerate()
            .map(|(i, x)| if i == 3 { f64::NAN } else { 0.4 + 0.05 * x })
            .collect(),
        x: x.clone(),
        look,
        spread,
    };
    Curve {
        title: title.to_owned(),
        x_label: "tilt [mrad]".to_owned(),
        y_label: "apparent shift B − A [pm]".to_owned(),
        series: vec![
            series("column fit", 0.88, Look::LineAndMarkers, Spread::Bars),
            series(
                "network, zero tilt",
                0.55,
                Look::LineAndMarkers,
                Spread::Bars,
            ),
            series(
                "network, random tilt",
                0.12,
                Look::LineAndMarkers,
                Spread::Band,
            ),
            Series {
                sigma: Vec::new(),
                ..series("Cramér–Rao bound", 0.05, Look::Dashed, Spread::Bars)
            },
        ],
        references: vec![Reference {
            label: "published: 7.06 pm".to_owned(),
            y: 7.06,
        }],
        ..Curve::default()
    }
}

/// The same for four thicknesses.
pub(super) fn tilt_curves() -> Vec<Curve> {
    ["5 nm", "10 nm", "20 nm", "30 nm"]
        .iter()
        .zip([0.4, 1.0, 0.7, 0.6])
        .map(|(t, s)| tilt_curve(t, s))
        .collect()
}

#[test]
fn curves_show_errors_and_references() {
    publish(
        &tilt_curve("Bias of the polar displacement", 1.0).figure(),
        "curve",
    );
    publish(
        &curves_figure("Tilt sensitivity by thickness", &tilt_curves(), 2),
        "curve_multiples",
    );
}

#[test]
fn axes_may_be_logarithms() {
    let dose = vec![100.0, 300.0, 1000.0, 3000.0, 30_000.0];
    let logarithmic = Curve {
        title: "Precision".to_owned(),
        x_label: "dose [e/Å²]".to_owned(),
        y_label: "standard deviation of D [pm]".to_owned(),
        log_x: true,
        log_y: true,
        series: vec![
            Series {
                label: "bound".to_owned(),
                x: dose.clone(),
                y: vec![11.6, 6.7, 3.67, 2.12, 0.67],
                look: Look::Dashed,
                ..Series::default()
            },
            Series {
                label: "fit".to_owned(),
                x: dose,
                y: vec![12.4, 6.73, 3.5, 2.16, -1.0],
                sigma: vec![15.0, 0.7, 0.3, 0.2, 0.1],
                ..Series::default()
            },
        ],
        ..Curve::default()
    };
    publish(&logarithmic.figure(), "curve_log");
}

#[test]
fn a_history_has_hundreds_of_points() {
    let history: Vec<f64> = (0..400).map(f64::from).collect();
    let loss = history
        .iter()
        .map(|x| 100.0 * (-x / 60.0).exp() + 2.0 + (x * 7.3).sin().abs())
        .collect();
    let training = Curve {
        x_label: "epoch".to_owned(),
        y_label: "loss [pm²]".to_owned(),
        log_y: true,
        series: vec![Series {
            label: "training".to_owned(),
            x: history,
            y: loss,
            look: Look::Line,
            ..Series::default()
        }],
        ..Curve::default()
    };
    publish(&training.figure(), "curve_history");
}

#[test]
fn a_curve_without_points_is_drawn() {
    publish(
        &Curve {
            title: "Nothing".to_owned(),
            x_label: "x".to_owned(),
            y_label: "y".to_owned(),
            ..Curve::default()
        }
        .figure(),
        "curve_none",
    );
}
