//! The sections `[model]`, `[training]`, `[subimages]` of settings files.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::augmentation::Augmentation;
use super::pooling::{POOL, Pooling};
use crate::error::Result;
use crate::settings::Source;

/// Side of the convolution kernels in the blocks [px].
pub(super) const KERNEL: usize = 3;
/// Sizes of windows that are looked through for messages about allowed ones [px].
const WINDOWS: RangeInclusive<usize> = 4..=256;

/// `[model]`: blocks of 3 × 3 convolutions with 2 × 2 pooling between the blocks, then a hidden layer over all that is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Output channels of the convolutions, block by block.
    #[serde(default = "default_blocks")]
    pub blocks: Vec<Vec<usize>>,
    /// Width of the hidden layer.
    #[serde(default = "default_hidden")]
    pub hidden: usize,
    /// Whether the convolutions of a block after its first one stand in pairs with a shortcut around each pair.
    #[serde(default)]
    pub residual: bool,
    /// What is done to channels between convolution and rectifier.
    #[serde(default)]
    pub normalization: Normalization,
    /// What becomes of four pixels between blocks.
    #[serde(default)]
    pub pooling: Pooling,
    /// Whether the last block is pooled, too.
    #[serde(default)]
    pub pool_last: bool,
    /// Whether the network says how sure it is, sub-image by sub-image: it is then trained on the likelihood of its errors.
    #[serde(default)]
    pub variance: bool,
    /// What else the network is to say; labels for it stand beside those of D.
    #[serde(default)]
    pub auxiliary: Vec<Auxiliary>,
}

/// What is done to channels between convolution and rectifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// Nothing.
    #[default]
    None,
    /// Mean 0 and variance 1 over the images that go through the network together.
    Batch,
}

/// What a network can say beside D. It steers what the layers learn; maps do not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auxiliary {
    /// Specimen tilt `[x, y]` [mrad], a vector that turns with the image.
    Tilt,
    /// Thickness [nm].
    Thickness,
}

impl Auxiliary {
    /// Name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tilt => "tilt",
            Self::Thickness => "thickness",
        }
    }

    /// Numbers that it takes.
    #[must_use]
    pub fn components(self) -> usize {
        match self {
            Self::Tilt => 2,
            Self::Thickness => 1,
        }
    }
}

fn default_blocks() -> Vec<Vec<usize>> {
    vec![vec![16, 16], vec![32, 32], vec![64]]
}

fn default_hidden() -> usize {
    64
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            blocks: default_blocks(),
            hidden: default_hidden(),
            residual: false,
            normalization: Normalization::None,
            pooling: Pooling::Maximum,
            pool_last: false,
            variance: false,
            auxiliary: Vec::new(),
        }
    }
}

impl ModelSettings {
    /// Checks the section against the side `window` [px] of the sub-images.
    ///
    /// # Errors
    /// No blocks, a width of 0, blocks that make no residual units, something to be said twice, or a window that does not
    /// survive the convolutions and poolings; allowed windows are named.
    pub fn validate(&self, source: &Source, window: usize) -> Result<()> {
        let widths = || self.blocks.iter().flatten().chain([&self.hidden]);
        if self.blocks.iter().any(Vec::is_empty) || self.blocks.is_empty() {
            let got = format!("{:?}", self.blocks);
            return Err(source.wrong("model.blocks", got, "blocks such as [[16, 16], [32, 32]]"));
        }
        if let Some(width) = widths().find(|&&width| !(1..=4096).contains(&width)) {
            let key = if *width == self.hidden {
                "model.hidden"
            } else {
                "model.blocks"
            };
            return Err(source.wrong(key, width, "1 to 4096 channels"));
        }
        let unit = |block: &Vec<usize>| {
            block.len() % 2 == 1 && block.iter().all(|&width| width == block[0])
        };
        if self.residual && !self.blocks.iter().all(unit) {
            let got = format!("{:?}", self.blocks);
            let allowed = "with model.residual blocks of one convolution and pairs of the same width, such as [[16, 16, 16], [32]]";
            return Err(source.wrong("model.blocks", got, allowed));
        }
        let twice = |(index, extra)| self.auxiliary[..index].contains(extra);
        if self.auxiliary.iter().enumerate().any(twice) {
            let got = format!("{:?}", self.auxiliary).to_lowercase();
            return Err(source.wrong("model.auxiliary", got, "each of tilt, thickness once"));
        }
        if self.remaining(window).is_none() {
            return Err(source.wrong(
                "subimages.window_angstrom",
                format!("a window of {window} px"),
                format!("with these model.blocks {}", self.allowed_windows(window)),
            ));
        }
        Ok(())
    }

    /// Whether a pooling stands before block `index`, or, beyond the last block, before the hidden layer.
    fn pooled(&self, index: usize) -> bool {
        index > 0 && (index < self.blocks.len() || self.pool_last)
    }

    /// Side [px] of what is left of a window before the hidden layer; `None` where nothing is, or a pooling would have to
    /// leave out a row.
    #[must_use]
    pub fn remaining(&self, window: usize) -> Option<usize> {
        let mut side = window;
        for index in 0..=self.blocks.len() {
            if self.pooled(index) {
                side = side.is_multiple_of(POOL).then_some(side / POOL)?;
            }
            let convolutions = self.blocks.get(index).map_or(0, Vec::len);
            side = side.checked_sub(convolutions * (KERNEL - 1))?;
        }
        (side > 0).then_some(side)
    }

    /// The windows near `window` that the model can take, in words.
    #[must_use]
    pub fn allowed_windows(&self, window: usize) -> String {
        let mut allowed: Vec<usize> = WINDOWS
            .filter(|&side| self.remaining(side).is_some())
            .collect();
        allowed.sort_by_key(|side| side.abs_diff(window));
        allowed.truncate(6);
        allowed.sort_unstable();
        if allowed.is_empty() {
            return "no window up to 256 px; use fewer blocks".to_owned();
        }
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        format!("windows of {} px (the nearest ones)", allowed.join(", "))
    }

    /// Distance between windows in one pass over a whole image: the product of the poolings [px].
    #[must_use]
    pub fn stride(&self) -> usize {
        let poolings = (0..=self.blocks.len()).filter(|&index| self.pooled(index));
        POOL.pow(poolings.count() as u32)
    }

    /// Components of the labels: those of D, then of what is said beside it.
    #[must_use]
    pub fn label_components(&self) -> usize {
        let extra = self.auxiliary.iter().map(|extra| extra.components());
        2 + extra.sum::<usize>()
    }

    /// Multiply-adds of one sub-image of side `window` [px], for estimates of time.
    #[must_use]
    pub fn multiply_adds(&self, window: usize) -> usize {
        let (mut side, mut inputs, mut sum) = (window, 1, 0);
        for (index, block) in self.blocks.iter().enumerate() {
            side /= if self.pooled(index) { POOL } else { 1 };
            for &outputs in block {
                side = side.saturating_sub(KERNEL - 1);
                sum += side * side * KERNEL * KERNEL * inputs * outputs;
                inputs = outputs;
            }
        }
        side /= if self.pool_last { POOL } else { 1 };
        sum + side * side * inputs * self.hidden + self.hidden * self.outputs()
    }

    /// Numbers that a network says: D, where asked for the logarithms of its variances, and what else there is.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.label_components() + if self.variance { 2 } else { 0 }
    }
}

/// `[training]`: how the weights are found. Everything has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSettings {
    /// Passes over the training samples.
    pub epochs: usize,
    /// Samples per step.
    pub batch: usize,
    /// Highest learning rate of the schedule.
    pub learning_rate: f64,
    /// Decoupled weight decay (AdamW), per unit of learning rate.
    pub weight_decay: f64,
    /// Epochs over which the learning rate rises from 0.
    pub warmup_epochs: f64,
    /// Networks trained from different seeds; their spread is part of the uncertainty.
    pub ensemble: usize,
    /// Whether samples are turned and mirrored, labels with them.
    pub augment: bool,
    /// Longest gradient, as a Euclidean norm over all weights.
    pub clip_norm: f64,
    /// Where weight decay enters: beside the step (`adamw`) or as part of the gradient (`adam`).
    pub optimizer: Method,
    /// How the learning rate goes on after the warm-up.
    pub schedule: Schedule,
    /// Epochs between the steps of `schedule = "step"`.
    pub step_epochs: usize,
    /// What the learning rate is multiplied by at each of these steps.
    pub step_factor: f64,
    /// Epochs without a lower validation error after which a training ends; 0 for never.
    pub patience: usize,
    /// Decay, per step, of a running average of the weights, which then stands in for them outside the training; 0 for none.
    pub averaging: f64,
    /// Weight of the squared errors of what is said beside D, in units of its own mean square.
    pub auxiliary_weight: f64,
    /// Samples that go through the network together on one core. Batch normalization takes its statistics from them; it also
    /// fixes the order of sums.
    pub shard: usize,
    /// What part of the running statistics of batch normalization each step replaces.
    pub statistics_momentum: f64,
    /// How samples are disturbed, anew in every epoch.
    #[serde(skip_serializing_if = "Augmentation::is_none")]
    pub augmentation: Augmentation,
}

/// Where weight decay enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Weights shrink beside the step (Loshchilov and Hutter, ICLR 2019).
    #[default]
    AdamW,
    /// The decay is added to the gradient (Kingma and Ba, ICLR 2015).
    Adam,
}

/// How the learning rate goes on after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a period of a cosine, to zero at the last epoch.
    #[default]
    Cosine,
    /// Constant between steps down.
    Step,
    /// Constant.
    Constant,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            epochs: 30,
            batch: 64,
            learning_rate: 2e-3,
            weight_decay: 1e-4,
            warmup_epochs: 1.0,
            ensemble: 3,
            augment: true,
            clip_norm: 1.0,
            optimizer: Method::AdamW,
            schedule: Schedule::Cosine,
            step_epochs: 10,
            step_factor: 0.3,
            patience: 0,
            averaging: 0.0,
            auxiliary_weight: 0.1,
            shard: 8,
            statistics_momentum: 0.1,
            augmentation: Augmentation::default(),
        }
    }
}

impl TrainingSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A value out of range, with its line.
    pub fn validate(&self, source: &Source) -> Result<()> {
        let count = |key: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(source.wrong(&format!("training.{key}"), value, format!("1 to {most}")))
        };
        count("epochs", self.epochs, 1_000_000)?;
        count("batch", self.batch, 65_536)?;
        count("ensemble", self.ensemble, 100)?;
        count("shard", self.shard, 65_536)?;
        count("step_epochs", self.step_epochs, 1_000_000)?;
        let number = |key: &str, value: f64, range: RangeInclusive<f64>, hint: &str| {
            source.in_range(&format!("training.{key}"), value, range, "", hint)
        };
        number(
            "learning_rate",
            self.learning_rate,
            1e-8..=1.0,
            "0.002 is usual",
        )?;
        number("weight_decay", self.weight_decay, 0.0..=10.0, "0 for none")?;
        let most = self.epochs as f64;
        number(
            "warmup_epochs",
            self.warmup_epochs,
            0.0..=most,
            "at most epochs",
        )?;
        number(
            "clip_norm",
            self.clip_norm,
            1e-6..=1e9,
            "large for no clipping",
        )?;
        number("step_factor", self.step_factor, 1e-6..=1.0, "")?;
        let hint = "0 for none, 0.999 is usual";
        number("averaging", self.averaging, 0.0..=0.999_999, hint)?;
        number("auxiliary_weight", self.auxiliary_weight, 0.0..=1e3, "")?;
        let momentum = self.statistics_momentum;
        number("statistics_momentum", momentum, 1e-6..=1.0, "0.1 is usual")?;
        self.augmentation
            .validate(&source.under("training.augmentation"))
    }
}

/// Where sub-images are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One around each B column: with atom finding.
    CentredB,
    /// One around each A column: with atom finding.
    CentredA,
    /// On a regular grid over the image: without atom finding.
    Grid,
}

/// `[subimages]`: what a network looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubimageSettings {
    /// Where sub-images are cut: `centred_b`, `centred_a`, `grid`.
    pub mode: Mode,
    /// Side of a sub-image [Å].
    pub window_angstrom: f64,
    /// Pixel size of a sub-image [Å]; images are resampled to it.
    pub sampling_angstrom: f64,
    /// Distance between sub-images on the grid [Å]; only and always with `mode = "grid"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride_angstrom: Option<f64>,
    /// Largest distance, along either axis, that centres of labelled sub-images are moved by at random [Å]. Cut where B truly is, a
    /// sub-image would tell where B is by its centre alone: a network would learn to look at A only, and take over the errors of
    /// the column fit when it later looks at fitted columns.
    #[serde(default = "default_jitter")]
    pub jitter_angstrom: f64,
}

fn default_jitter() -> f64 {
    0.2
}

impl SubimageSettings {
    /// Side of a sub-image, to the nearest whole pixel [px].
    #[must_use]
    pub fn window(&self) -> usize {
        (self.window_angstrom / self.sampling_angstrom).round() as usize
    }

    /// Distance between sub-images on the grid [px], where there is one.
    #[must_use]
    pub fn stride(&self) -> Option<usize> {
        let stride = self.stride_angstrom?;
        Some(((stride / self.sampling_angstrom).round() as usize).max(1))
    }

    /// Checks ranges and that the stride goes with the mode.
    ///
    /// # Errors
    /// A value out of range, a stride without a grid or a grid without a stride.
    pub fn validate(&self, source: &Source) -> Result<()> {
        let check = |key: &str, value: f64, range: RangeInclusive<f64>| {
            source.in_range(&format!("subimages.{key}"), value, range, "Å", "")
        };
        check("sampling_angstrom", self.sampling_angstrom, 0.01..=2.0)?;
        let side = 4.0 * self.sampling_angstrom..=256.0 * self.sampling_angstrom;
        check("window_angstrom", self.window_angstrom, side)?;
        check("jitter_angstrom", self.jitter_angstrom, 0.0..=2.0)?;
        match (self.mode, self.stride_angstrom) {
            (Mode::Grid, Some(stride)) => {
                let range = self.sampling_angstrom..=self.window_angstrom * 100.0;
                check("stride_angstrom", stride, range)
            }
            (Mode::Grid, None) => Err(source.wrong(
                "subimages.stride_angstrom",
                "nothing",
                "the distance between sub-images [Å], with mode = \"grid\"",
            )),
            (_, Some(stride)) => Err(source.wrong(
                "subimages.stride_angstrom",
                stride,
                "no stride, or mode = \"grid\"",
            )),
            (_, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_does_not_survive_the_poolings_is_refused_with_allowed_ones() {
        let model = ModelSettings::default();
        assert_eq!(model.remaining(32), Some(3));
        assert_eq!(model.stride(), 4);
        let source = Source::from_text("train.toml", "[subimages]\nwindow_angstrom = 8.2\n");
        assert!(model.validate(&source, 32).is_ok());
        let error = model.validate(&source, 34).unwrap_err().to_string();
        assert_eq!(
            error,
            "train.toml:2: subimages.window_angstrom: got a window of 34 px; allowed: with these model.blocks \
             windows of 24, 28, 32, 36, 40, 44 px (the nearest ones)"
        );
        for window in 1..=8 {
            assert!(model.remaining(window).is_none());
        }
    }

    #[test]
    fn residual_blocks_are_one_convolution_and_pairs() {
        let source = Source::from_text("train.toml", "[model]\nblocks = [[8, 8]]\n");
        let model = |blocks| ModelSettings {
            blocks,
            residual: true,
            ..ModelSettings::default()
        };
        assert!(
            model(vec![vec![8, 8, 8], vec![16]])
                .validate(&source, 16)
                .is_ok()
        );
        for blocks in [vec![vec![8, 8]], vec![vec![8, 8, 4]]] {
            let error = model(blocks).validate(&source, 16).unwrap_err().to_string();
            assert!(
                error.starts_with("train.toml:2: model.blocks: got [[8, 8"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_pooled_last_block_doubles_the_stride() {
        let model = ModelSettings {
            blocks: vec![vec![32, 32], vec![64, 64]],
            hidden: 128,
            pool_last: true,
            ..ModelSettings::default()
        };
        assert_eq!((model.stride(), model.remaining(32)), (4, Some(5)));
        assert_eq!(model.remaining(30), None);
        // 30²·9·32 + 28²·9·32² + 12²·9·32·64 + 10²·9·64² + 5²·64·128 + 128·2
        let by_hand = 259_200 + 7_225_344 + 2_654_208 + 3_686_400 + 204_800 + 256;
        assert_eq!(model.multiply_adds(32), by_hand);
    }

    #[test]
    fn multiply_adds_are_those_counted_by_hand() {
        // 30²·9·16 + 28²·9·16·16 + 12²·9·16·32 + 10²·9·32·32 + 3²·9·32·64 + 3²·64·64 + 64·2
        let by_hand = 129_600 + 1_806_336 + 663_552 + 921_600 + 165_888 + 36_864 + 128;
        assert_eq!(ModelSettings::default().multiply_adds(32), by_hand);
    }

    #[test]
    fn a_grid_needs_a_stride_and_centred_sub_images_refuse_one() {
        let text = "[subimages]\nmode = \"grid\"\nwindow_angstrom = 8\nsampling_angstrom = 0.25\n";
        let parse = |text: &str| {
            #[derive(Deserialize, Serialize)]
            struct File {
                subimages: SubimageSettings,
            }
            let source = Source::from_text("d.toml", text);
            let file: File = source.parse()?;
            file.subimages.validate(&source).map(|()| file.subimages)
        };
        assert!(parse(text).unwrap_err().to_string().contains("stride"));
        let with = parse(&format!("{text}stride_angstrom = 1.0\n")).unwrap();
        assert_eq!((with.window(), with.stride()), (32, Some(4)));
        let centred = format!("{text}stride_angstrom = 1.0\n").replace("grid", "centred_b");
        assert!(
            parse(&centred)
                .unwrap_err()
                .to_string()
                .starts_with("d.toml:5: ")
        );
    }
}
