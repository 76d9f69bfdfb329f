//! Studies and the commands that join measuring with learning: the only place where columns and networks meet.

mod bench;
mod check;
mod comparison;
mod cross_composition;
mod dataset;
mod demo;
mod drawn;
mod evaluation;
mod labelling;
mod map_figures;
mod map_settings;
mod mapping;
mod positions;
mod prediction;
mod response;
mod stream;
mod study;
mod template;
mod tilt_figures;
mod tilt_measurement;
mod tilt_report;
mod tilt_sensitivity;
mod training;

pub use bench::About;
pub use check::check;
pub use comparison::Comparison;
pub use cross_composition::CrossComposition;
pub use dataset::{DatasetSettings, LabelTable, Labels, make_dataset};
pub use demo::Demo;
pub use drawn::{Drawn as DrawnSamples, Part};
pub use evaluation::{Evaluation, Judged, evaluate};
pub use labelling::{Known, Labelled, join};
pub use map_settings::{FigureSettings, MapFigure, MapSettings, PositionSettings};
pub use mapping::{Reading, map_columns};
pub use positions::map_positions;
pub use prediction::{Density, predict};
pub use response::{make_response, report as response_report};
pub use stream::{Distribution, Drawn, Stream, StreamSettings, WeightedTexture};
pub use study::{Study, demonstrate, run};
pub use template::SimulationTemplate;
pub use tilt_measurement::{Measured, Shifts};
pub use tilt_sensitivity::{
    ExpectedShifts, Fit, MapFit, ShownSettings, Tilt, TiltSensitivity, WindowFits,
};
pub use training::{HeldOut, TrainSettings, train};
