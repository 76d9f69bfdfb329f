//! What each command does, in library calls.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use ferrostem::experiment::{self, Density, MapSettings, Reading};
use ferrostem::settings::Source;
use ferrostem::simulation::{self, Outcome, SimulationSettings};
use ferrostem::storage;
use ferrostem::storage::dataset::Split;
use ferrostem::storage::frames::Frames;

use super::{Command, Mapping, Shared, Variation};

/// Runs a command.
pub(crate) fn run(command: Command, shared: &Shared) -> Result<()> {
    let reporter = &shared.reporter();
    let force = shared.force;
    match command {
        Command::Demo { output, smoke } => {
            experiment::demonstrate(&output, smoke, force, reporter)?;
        }
        Command::Simulate {
            file,
            output,
            variation,
            shard,
        } => {
            let source = variation.read(&file)?;
            let settings: SimulationSettings = source.parse()?;
            let outcome =
                simulation::simulate(&settings, &source, &output, force, shard, reporter)?;
            reporter.say(match outcome {
                Outcome::Finished => format!("{} is there", output.display()),
                Outcome::ShardFinished { missing: 0 } => {
                    "all parts are there; the same command without --shard puts them together"
                        .to_owned()
                }
                Outcome::ShardFinished { missing } => {
                    format!("this shard is done; {missing} parts are still missing")
                }
            });
        }
        Command::Columns {
            image,
            output,
            reading,
            method,
            mut mapping,
        } => {
            let method = method.map(|word| format!("columns.method={word}"));
            mapping.overrides.extend(method);
            let settings = mapping.read()?;
            let reading = reading.into();
            experiment::map_columns(&image, &reading, &settings, &output, force, reporter)?;
        }
        Command::Positions {
            a,
            b,
            output,
            sampling,
            mapping,
        } => {
            let settings = mapping.read()?;
            experiment::map_positions([&a, &b], sampling, &settings, &output, force, reporter)?;
        }
        Command::Dataset {
            file,
            output,
            variation,
        } => {
            experiment::make_dataset(&variation.read(&file)?, &output, force, reporter)?;
        }
        Command::Response {
            file,
            output,
            variation,
        } => {
            let source = variation.read(&file)?;
            let settings: SimulationSettings = source.parse()?;
            experiment::make_response(&settings, &source, &output, force, reporter)?;
        }
        Command::Train {
            file,
            output,
            variation,
            resume,
        } => {
            experiment::train(&variation.read(&file)?, &output, force, resume, reporter)?;
        }
        Command::Predict {
            model,
            image,
            output,
            reading,
            dense,
            stride,
        } => {
            let density = match stride {
                Some(stride) => Density::Every(stride),
                None if dense => Density::Dense,
                None => Density::Columns,
            };
            experiment::predict(
                &model,
                &image,
                &reading.into(),
                density,
                &output,
                force,
                reporter,
            )?;
        }
        Command::Evaluate {
            model,
            dataset,
            output,
            part,
            resample,
        } => {
            let part = match part.as_str() {
                "train" => Split::Train,
                "validation" => Split::Validation,
                "calibration" => Split::Calibration,
                _ => Split::Test,
            };
            experiment::evaluate(&model, &dataset, part, resample, &output, force, reporter)?;
        }
        Command::Run {
            file,
            output,
            variation,
            shard,
        } => {
            let smoke = variation.smoke;
            let finished = experiment::run(
                &variation.read(&file)?,
                &output,
                smoke,
                force,
                shard,
                reporter,
            )?;
            if !finished {
                reporter.say("this shard is done; when all are, the same command without --shard writes the report");
            }
        }
        Command::Check { file, variation } => check(&file, &variation)?,
        Command::Info { file } => tell(&storage::info::describe(&file)?)?,
    }
    Ok(())
}

/// Validates a settings file of any kind and prints what it resolves to.
fn check(file: &Path, variation: &Variation) -> Result<()> {
    tell(&format!("{}\n", experiment::check(&variation.read(file)?)?))
}

/// Writes to standard output; a reader that has gone away is no error.
fn tell(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

impl Variation {
    fn read(&self, file: &Path) -> Result<Source> {
        let variant = self.smoke.then_some("smoke");
        Ok(Source::read(file)?
            .with_variant(variant)?
            .with_overrides(&self.overrides)?)
    }
}

impl Mapping {
    fn read(&self) -> Result<MapSettings> {
        let source = match &self.settings {
            Some(file) => Source::read(file)?,
            None => Source::from_text("--set", ""),
        };
        Ok(source.with_overrides(&self.overrides)?.parse()?)
    }
}

impl From<super::Reading> for Reading {
    fn from(reading: super::Reading) -> Self {
        Self {
            sampling: reading.sampling,
            signal: reading.signal,
            frames: match reading.frame {
                Some(frame) => Frames::One(frame),
                None if reading.average => Frames::Average {
                    align: reading.align,
                },
                None => Frames::Unsaid,
            },
        }
    }
}
