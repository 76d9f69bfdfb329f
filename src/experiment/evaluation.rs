//! How good the predictions and their uncertainties are: errors, slope and coverage, over all and against tilt.
//!
//! `evaluation.csv` has a row for all samples, then one for each bin of tilt. Coverage is how often the true D lies in the circle around the
//! predicted one: in the conformal circle of a level, and in the circle that a normal distribution of the same sigma would need,
//! σ̄ √(−2 ln(1 − p)).

use std::path::Path;

use super::training::{refuse_other_windows, same_windows, subimages_of};
use crate::crystal::polarization::flags;
use crate::error::{Error, Result};
use crate::figure::curve::{Curve, Look, Reference, Series};
use crate::network::{Conformal, Filed, Regressor, Resampled, Supply};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::storage::dataset::{Circumstance, Dataset, Split};
use crate::storage::output::{OutputFolder, refuse_inputs, write_file};
use crate::storage::tables::{field, write_table};

/// Width of the bins of tilt [mrad].
const TILT_BIN: f64 = 2.0;
/// Bins with fewer samples are left out of figures: their coverage says nothing.
const FEWEST: usize = 20;
/// Decimals of numbers in the table.
const DECIMALS: usize = 4;
/// Sub-images in memory at once [bytes].
const MEMORY: f64 = 1e9;

/// One prediction beside the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Predicted D `[x, y]` [pm].
    pub predicted: [f64; 2],
    /// True D `[x, y]` [pm].
    pub truth: [f64; 2],
    /// Standard deviation of the prediction `[x, y]` [pm].
    pub sigma: [f64; 2],
    /// Whether the window is flagged as unlike the training data.
    pub unlike: bool,
    /// Size of the mistilt [mrad]; NaN where not known.
    pub tilt_mrad: f64,
}

impl Judged {
    fn error(&self) -> [f64; 2] {
        [0, 1].map(|axis| self.predicted[axis] - self.truth[axis])
    }

    fn length(&self) -> f64 {
        self.error()[0].hypot(self.error()[1])
    }
}

/// Predictions beside the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    judged: Vec<Judged>,
    conformal: Conformal,
}

impl Evaluation {
    /// Of predictions whose circles are those of `conformal`.
    #[must_use]
    pub fn new(judged: Vec<Judged>, conformal: &Conformal) -> Self {
        Self {
            judged,
            conformal: conformal.clone(),
        }
    }

    /// Of a network on samples; `circumstances` as many as samples.
    ///
    /// # Errors
    /// Samples that do not fit the model.
    pub fn of_samples(
        regressor: &Regressor,
        samples: &dyn Supply,
        circumstances: &[Circumstance],
    ) -> Result<Self> {
        let (predicted, targets) = regressor.predict_supply(samples)?;
        let flagged = regressor.flags_of_supply(samples)?;
        let pair = |array: &ndarray::Array2<f64>, n: usize| [array[(n, 0)], array[(n, 1)]];
        let judged = (0..targets.nrows()).map(|n| Judged {
            predicted: pair(&predicted.mean, n),
            truth: [f64::from(targets[(n, 0)]), f64::from(targets[(n, 1)])],
            sigma: pair(&predicted.sigma, n),
            unlike: flagged[n] & flags::UNLIKE != 0,
            tilt_mrad: circumstances.get(n).map_or(f64::NAN, |c| {
                f64::from(c.tilt_mrad[0]).hypot(f64::from(c.tilt_mrad[1]))
            }),
        });
        Ok(Self::new(
            judged.collect(),
            &regressor.description().conformal,
        ))
    }

    /// All samples, then those of each bin of tilt that has any.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = vec![self.row(None, self.judged.iter().collect())];
        let tilts = self
            .judged
            .iter()
            .map(|j| j.tilt_mrad)
            .filter(|t| t.is_finite());
        let bins = tilts
            .map(|t| (t / TILT_BIN) as usize + 1)
            .max()
            .unwrap_or(0);
        for bin in 0..bins {
            let ends = [bin as f64 * TILT_BIN, (bin + 1) as f64 * TILT_BIN];
            let inside = |j: &&Judged| j.tilt_mrad >= ends[0] && j.tilt_mrad < ends[1];
            let some: Vec<&Judged> = self.judged.iter().filter(inside).collect();
            if !some.is_empty() {
                rows.push(self.row(Some(ends), some));
            }
        }
        rows
    }

    fn row(&self, tilt_mrad: Option<[f64; 2]>, judged: Vec<&Judged>) -> Row {
        let count = judged.len() as f64;
        let part =
            |yes: &dyn Fn(&Judged) -> bool| judged.iter().filter(|j| yes(j)).count() as f64 / count;
        let sigma = |j: &Judged| ((j.sigma[0].powi(2) + j.sigma[1].powi(2)) / 2.0).sqrt();
        let components = || judged.iter().flat_map(|j| [0, 1].map(|axis| (j, axis)));
        let mean = |of: &dyn Fn(&Judged, usize) -> f64| {
            components().map(|(j, axis)| of(j, axis)).sum::<f64>() / (2.0 * count)
        };
        let (m, t) = (
            mean(&|j, axis| j.predicted[axis]),
            mean(&|j, axis| j.truth[axis]),
        );
        let cross = mean(&|j, axis| (j.predicted[axis] - m) * (j.truth[axis] - t));
        let square = mean(&|j, axis| (j.truth[axis] - t).powi(2));
        let conformal = self
            .conformal
            .quantiles
            .iter()
            .map(|q| part(&|j| j.length() <= q * sigma(j)));
        let normal = self.conformal.levels.iter().map(|p| {
            let quantile = (-2.0 * (1.0 - p).ln()).sqrt();
            part(&|j| j.length() <= quantile * sigma(j))
        });
        Row {
            tilt_mrad,
            samples: judged.len(),
            unlike: part(&|j| j.unlike),
            rms_pm: mean(&|j, axis| j.error()[axis].powi(2)).sqrt(),
            slope: cross / square,
            error_over_sigma: mean(&|j, axis| (j.error()[axis] / j.sigma[axis]).powi(2)).sqrt(),
            conformal: conformal.collect(),
            normal: normal.collect(),
        }
    }

    /// The result in a line.
    #[must_use]
    pub fn line(&self) -> String {
        let Some(all) = self.rows().into_iter().next() else {
            return String::new();
        };
        let percent = |parts: &[f64]| {
            let parts: Vec<String> = parts.iter().map(|p| format!("{:.1}", 100.0 * p)).collect();
            parts.join(", ")
        };
        format!(
            "rms error {:.2} pm per axis over {} sub-images, slope {:.3}, error over sigma {:.2}, in circles of {} %: {} %, unlike the training data {:.1} %",
            all.rms_pm,
            all.samples,
            all.slope,
            all.error_over_sigma,
            percent(&self.conformal.levels),
            percent(&all.conformal),
            100.0 * all.unlike
        )
    }

    /// Writes `evaluation.csv` and, where tilts are known, the figure `coverage`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut header: Vec<String> = [
            "tilt_from_mrad",
            "tilt_to_mrad",
            "samples",
            "unlike",
            "rms_pm",
            "slope",
            "error_over_sigma",
        ]
        .map(str::to_owned)
        .to_vec();
        for kind in ["conformal", "normal"] {
            header.extend(
                self.conformal
                    .levels
                    .iter()
                    .map(|p| format!("{kind}_{:.0}", 100.0 * p)),
            );
        }
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let rows = self.rows();
        write_table(
            &folder.join("evaluation.csv"),
            &header,
            rows.iter().map(Row::fields),
        )?;
        if rows.len() > 1 {
            self.figure(&rows).save(folder, "coverage", true)?;
        }
        Ok(())
    }

    /// Coverage against tilt.
    fn figure(&self, rows: &[Row]) -> crate::figure::Figure {
        let bins = || rows.iter().filter(|row| row.samples >= FEWEST);
        let x: Vec<f64> = bins()
            .filter_map(|row| row.tilt_mrad.map(|[a, b]| 0.5 * (a + b)))
            .collect();
        let line = |label: String, look, of: &dyn Fn(&Row) -> f64| Series {
            label,
            x: x.clone(),
            y: bins()
                .filter(|row| row.tilt_mrad.is_some())
                .map(|row| 100.0 * of(row))
                .collect(),
            look,
            ..Series::default()
        };
        let mut series = Vec::new();
        let mut references = Vec::new();
        for (index, p) in self.conformal.levels.iter().enumerate() {
            let name = format!("{:.0} %", 100.0 * p);
            series.push(line(
                format!("conformal, {name}"),
                Look::LineAndMarkers,
                &|row| row.conformal[index],
            ));
            series.push(line(format!("normal, {name}"), Look::Dashed, &|row| {
                row.normal[index]
            }));
            references.push(Reference {
                label: name,
                y: 100.0 * p,
            });
        }
        let curve = Curve {
            title: "True D inside of the predicted circle".to_owned(),
            x_label: "tilt (mrad)".to_owned(),
            y_label: "of the sub-images (%)".to_owned(),
            series,
            references,
            ..Curve::default()
        };
        curve.figure()
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Ends of the bin of tilt [mrad]; nothing for all samples.
    pub tilt_mrad: Option<[f64; 2]>,
    /// Samples in it.
    pub samples: usize,
    /// Part of them flagged as unlike the training data.
    pub unlike: f64,
    /// Root mean square error per axis [pm].
    pub rms_pm: f64,
    /// Slope of predicted against true D.
    pub slope: f64,
    /// Root mean square of error over sigma.
    pub error_over_sigma: f64,
    /// Part of the true D inside the conformal circle, level by level.
    pub conformal: Vec<f64>,
    /// The same with the circle of a normal distribution.
    pub normal: Vec<f64>,
}

impl Row {
    fn fields(&self) -> Vec<String> {
        let [from, to] = self.tilt_mrad.unwrap_or([f64::NAN; 2]);
        let mut fields = vec![field(from, 1), field(to, 1), self.samples.to_string()];
        let numbers = [self.unlike, self.rms_pm, self.slope, self.error_over_sigma];
        let numbers = numbers.iter().chain(&self.conformal).chain(&self.normal);
        fields.extend(numbers.map(|&value| field(value, DECIMALS)));
        fields
    }
}

/// The `evaluate` command: judges the network in `model` on the part `part` of the dataset `data` and writes the folder `output`. Sub-images of
/// another window or pixel size are refused, or resampled on request.
///
/// # Errors
/// A model or dataset that cannot be read or do not fit each other, a part without sub-images, a finished `output` without `force`.
pub fn evaluate(
    model: &Path,
    data: &Path,
    part: Split,
    resample: bool,
    output: &Path,
    force: bool,
    reporter: &Reporter,
) -> Result<()> {
    refuse_inputs(output, &[data, model])?;
    let folder = OutputFolder::create(output, force)?;
    let regressor = Regressor::load(model)?;
    let dataset = Dataset::open(data)?;
    let (own, wanted) = (subimages_of(&dataset)?, &regressor.description().subimages);
    refuse_other_windows(&own, wanted, data, resample)?;
    let rows = dataset.indices(part);
    if rows.is_empty() {
        let got = format!("no sub-image of the part {part:?}").to_lowercase();
        return Err(Error::data(data, "split", got, "at least one"));
    }
    let circumstances: Vec<Circumstance> = rows
        .iter()
        .map(|&row| dataset.circumstances()[row])
        .collect();
    let filed = Filed::new(&dataset, rows, MEMORY, &[])?;
    let resampled = Resampled::new(&filed, &own, wanted)?;
    let samples: &dyn Supply = if same_windows(&own, wanted) {
        &filed
    } else {
        &resampled
    };
    let evaluation = Evaluation::of_samples(&regressor, samples, &circumstances)?;
    reporter.say(evaluation.line());
    evaluation.write(folder.partial())?;
    let settings = format!("part = \"{part:?}\"\nresample = {resample}\n").to_lowercase();
    let mut provenance = Provenance::start("evaluate", settings, None);
    provenance.add_input(&model.join("model.toml"))?;
    provenance.add_input(data)?;
    let text = provenance.finished().to_toml();
    write_file(&folder.partial().join("provenance.toml"), text.as_bytes())?;
    folder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::LEVELS;

    #[test]
    fn coverage_is_counted_bin_by_bin() {
        let conformal = Conformal::new((1..=19).map(|n| f64::from(n) / 10.0).collect(), &LEVELS);
        // Errors of 0.05, 0.15, … 1.95 along x at a sigma of 1, alternately at 1 and 3 mrad.
        let judged = (0..20).map(|n| Judged {
            predicted: [f64::from(n) / 10.0 + 0.05, 4.0],
            truth: [0.0, 4.0],
            sigma: [1.0; 2],
            unlike: n == 7,
            tilt_mrad: if n % 2 == 0 { 1.0 } else { 3.0 },
        });
        let rows = Evaluation::new(judged.collect(), &conformal).rows();
        assert_eq!(rows.len(), 3);
        // Quantiles 1.0, 1.8, 1.9 hold 10, 18 and 19 of 20.
        assert_eq!(rows[0].conformal, [0.5, 0.9, 0.95]);
        assert_eq!((rows[1].samples, rows[2].samples), (10, 10));
        assert_eq!(
            (rows[0].unlike, rows[1].unlike, rows[2].unlike),
            (0.05, 0.0, 0.1)
        );
        // √(−2 ln 0.5) = 1.18 holds 0.05 … 1.15, twelve of 20.
        assert_eq!(rows[0].normal[0], 0.6);
        assert_eq!(rows[1].tilt_mrad, Some([0.0, 2.0]));
        let squares: f64 = (0..20).map(|n| (f64::from(n) / 10.0 + 0.05).powi(2)).sum();
        assert!((rows[0].rms_pm - (squares / 40.0).sqrt()).abs() < 1e-12);
    }
}
