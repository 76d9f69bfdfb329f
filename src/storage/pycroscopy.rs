//! Data of the pycroscopy family: NSID (`pyNSID`), arrays with an axis for each dimension, and USID (`pyUSID`), all positions
//! along one axis and all else along the other.
//!
//! NSID: a data set with `main_data_name` and the labels of its axes, beside it a data set of values for each label. Images have
//! x before y. USID: the attributes `Position_Indices` and `Position_Values` refer to tables `(position, dimension)` with `labels`
//! and `units` (<https://pycroscopy.github.io/pyUSID/data_format.html>).

use hdf5::{Dataset, ObjectReference1, ReferencedObject};

use super::hdf::{self, Node};
use super::hdf_layout::{LaidOut, Order, axis_step, groups};
use super::hdf_signals::{MAX_DEPTH, MAX_SIGNALS, is_real};
use super::micrograph::SignalSummary;
use crate::error::Result;

/// The main data of a file, and the name of the layout; none where it has another one.
pub(super) fn signals(root: &Node) -> Result<(&'static str, Vec<LaidOut>)> {
    let mut signals = Vec::new();
    let mut format = "NSID";
    for node in groups(root, MAX_DEPTH, MAX_SIGNALS)? {
        for (name, is_group) in node.children()? {
            if is_group || signals.len() == MAX_SIGNALS {
                continue;
            }
            let dataset = node.dataset(&name)?;
            if dataset.attr("main_data_name").is_ok() {
                signals.push(nsid(&node, &name, &dataset));
            } else if dataset.attr("Position_Indices").is_ok() {
                format = "USID";
                signals.push(usid(&node, &name, &dataset));
            }
        }
    }
    Ok((format, signals))
}

fn summary(node: &Node, name: &str, dataset: &Dataset, is_image: bool) -> SignalSummary {
    let shape = dataset.shape();
    SignalSummary {
        name: node.place(name),
        title: name.to_owned(),
        is_image: is_image && shape.len() >= 2 && !shape.contains(&0) && is_real(dataset),
        shape,
    }
}

fn nsid(node: &Node, name: &str, dataset: &Dataset) -> LaidOut {
    let labels = hdf::text_attributes(dataset, "DIMENSION_LABELS");
    let spatial: Vec<usize> = (0..labels.len())
        .filter(|&axis| {
            let scale = node.dataset(&labels[axis]).ok();
            scale
                .and_then(|scale| hdf::text_attribute(&scale, "dimension_type"))
                .is_some_and(|kind| kind.eq_ignore_ascii_case("spatial"))
        })
        .collect();
    let order = match *spatial.as_slice() {
        [first, second] if Order::is_x(&labels[first]) => Order::Axes {
            y: second,
            x: first,
        },
        [first, second] => Order::Axes {
            y: first,
            x: second,
        },
        _ if labels.len() == dataset.ndim() => Order::named(&labels),
        _ => Order::last_two(dataset.ndim()),
    };
    let step = |axis: usize| {
        labels
            .get(axis)
            .and_then(|label| axis_step(node, label))
            .unwrap_or_default()
    };
    let steps = match order {
        Order::Axes { y, x } => [step(y), step(x)],
        Order::Positions { .. } => Default::default(),
    };
    LaidOut {
        summary: summary(node, name, dataset, true),
        order,
        steps,
    }
}

fn usid(node: &Node, name: &str, dataset: &Dataset) -> LaidOut {
    match raster(node, dataset) {
        Some((order, steps)) => LaidOut {
            summary: summary(node, name, dataset, true),
            order,
            steps,
        },
        None => LaidOut::plain(summary(node, name, dataset, false)),
    }
}

/// The raster of a data set's positions, if they are all of one in its order, and its steps along `[y, x]`.
fn raster(node: &Node, dataset: &Dataset) -> Option<(Order, [(f64, String); 2])> {
    let indices = referenced(node, dataset, "Position_Indices")?;
    let values = referenced(node, dataset, "Position_Values")?;
    let (table, axes) = columns::<u32>(node, &indices)?;
    let (places, _) = columns::<f64>(node, &values)?;
    let count = table.len() / axes;
    if count != *dataset.shape().first()? || places.len() != table.len() {
        return None;
    }
    let size = |axis: usize| table.iter().skip(axis).step_by(axes).max().copied();
    let running: Vec<usize> = (0..axes).filter(|&axis| size(axis) > Some(0)).collect();
    let &[first, second] = running.as_slice() else {
        return None;
    };
    // The axis that changes from the first position to the second is the fast one.
    let (slow, fast) = if table.get(axes + first) == table.get(first) {
        (first, second)
    } else {
        (second, first)
    };
    let lines = [slow, fast].map(|axis| size(axis).map_or(0, |last| last as usize + 1));
    let in_order = (0..count).all(|position| {
        table[position * axes + slow] as usize == position / lines[1]
            && table[position * axes + fast] as usize == position % lines[1]
    });
    if !in_order || lines[0].checked_mul(lines[1]) != Some(count) {
        return None;
    }
    let labels = hdf::text_attributes(&indices, "labels");
    let units = hdf::text_attributes(&indices, "units");
    let step = |axis: usize, next: usize| {
        let step = places[next * axes + axis] - places[axis];
        (step, units.get(axis).cloned().unwrap_or_default())
    };
    let transposed = labels.get(slow).is_some_and(|label| Order::is_x(label));
    let [along_slow, along_fast] = [step(slow, lines[1]), step(fast, 1)];
    Some((
        Order::Positions { lines, transposed },
        if transposed {
            [along_fast, along_slow]
        } else {
            [along_slow, along_fast]
        },
    ))
}

/// The data set that an attribute refers to.
fn referenced(node: &Node, dataset: &Dataset, attribute: &str) -> Option<Dataset> {
    let reference = dataset.attr(attribute).ok()?;
    let reference = *reference.read_raw::<ObjectReference1>().ok()?.first()?;
    match dataset.dereference(&reference).ok()? {
        ReferencedObject::Dataset(found) => {
            node.check_size(&found.name(), &found).ok()?;
            Some(found)
        }
        _ => None,
    }
}

/// A table `(row, column)`, flat, and its number of columns.
fn columns<T: hdf5::H5Type>(node: &Node, table: &Dataset) -> Option<(Vec<T>, usize)> {
    node.check_size(&table.name(), table).ok()?;
    match table.shape().as_slice() {
        &[rows, columns] if rows > 0 && columns > 0 => Some((table.read_raw().ok()?, columns)),
        _ => None,
    }
}
