//! Data of the Berkeley `.emd` layout (<https://emdatasets.com/format>): groups with the attribute `emd_group_type`, `data`,
//! and for each of its axes a data set `dim1`, `dim2`, … of values, with the attributes `name` and `units`.
//!
//! Units are written `[n_m]`. Version 1.0 of py4DSTEM counts from `dim0` and calls the type `array`.

use super::hdf::{self, Node};
use super::hdf_layout::{LaidOut, Order, axis_step, groups};
use super::hdf_signals::{MAX_DEPTH, MAX_SIGNALS, is_real};
use super::micrograph::SignalSummary;
use crate::error::Result;

/// The data of a file; none where it has another layout.
pub(super) fn signals(root: &Node) -> Result<Vec<LaidOut>> {
    let mut signals = Vec::new();
    for node in groups(root, MAX_DEPTH, MAX_SIGNALS)? {
        let is_array = node.number("emd_group_type") == Some(1.0)
            || node.text("emd_group_type").as_deref() == Some("array");
        if !is_array || !node.has("data") {
            continue;
        }
        let dataset = node.dataset("data")?;
        let shape = dataset.shape();
        let first = usize::from(!node.has("dim0"));
        let dim = |axis: usize| format!("dim{}", axis + first);
        let names: Vec<String> = (0..shape.len())
            .map(|axis| axis_name(&node, &dim(axis)))
            .collect();
        let order = Order::named(&names);
        let step = |axis: usize| match axis_step(&node, &dim(axis)) {
            Some((step, units)) => (step, plain_unit(&units)),
            None => Default::default(),
        };
        let steps = match order {
            Order::Axes { y, x } => [step(y), step(x)],
            Order::Positions { .. } => Default::default(),
        };
        let name = node.place("");
        let title = name.trim_end_matches('/').rsplit('/').next();
        signals.push(LaidOut {
            summary: SignalSummary {
                name: node.place("data"),
                title: title.unwrap_or_default().to_owned(),
                is_image: shape.len() >= 2 && !shape.contains(&0) && is_real(&dataset),
                shape,
            },
            order,
            steps,
        });
    }
    Ok(signals)
}

fn axis_name(node: &Node, dim: &str) -> String {
    let axis = node.dataset(dim).ok();
    axis.and_then(|axis| hdf::text_attribute(&axis, "name"))
        .unwrap_or_default()
}

/// `[n_m]` as `nm`.
fn plain_unit(unit: &str) -> String {
    unit.trim()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .replace('_', "")
}
