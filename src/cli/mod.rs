//! The commands: arguments in, library calls, exit codes out. No physics here.
//!
//! Exit codes: 0 done; 2 it could not run; 130 interrupted. 1 is kept for work that ran but fell short of what was asked.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ferrostem::multislice::Vectors;
use ferrostem::progress::{Reporter, Verbosity};
use ferrostem::simulation::Shard;

/// Simulate atomic-resolution STEM images of ferroelectric perovskites, and measure polarization from images by fitting atom
/// columns and by deep networks.
#[derive(Debug, Parser)]
#[command(
    name = "ferrostem",
    version,
    about,
    max_term_width = 110,
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    shared: Shared,
}

/// Options of every command.
#[derive(Debug, Args)]
struct Shared {
    /// Worker threads [default: one per core]; results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Replace a finished result of the same name
    #[arg(long, global = true)]
    force: bool,
    /// Say nothing but errors
    #[arg(long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more: sizes, choices and their reasons
    #[arg(long, global = true)]
    verbose: bool,
}

/// How a settings file is read.
#[derive(Debug, Args)]
struct Variation {
    /// Change a setting: dotted key and TOML value; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Take the file's [smoke] numbers: seconds instead of minutes, for a look at whether all works
    #[arg(long)]
    smoke: bool,
}

/// How an image file is read.
#[derive(Debug, Args)]
struct Reading {
    /// Pixel size, in place of the file's own calibration
    #[arg(long, value_name = "Å/PX", allow_negative_numbers = true)]
    sampling: Option<f64>,
    /// Which signal of the file: an HDF5 path, a detector's name, or the number of a dm image
    #[arg(long, value_name = "PATH")]
    signal: Option<String>,
    /// Which frame of a stack, counting from 0
    #[arg(long, value_name = "N", conflicts_with = "average")]
    frame: Option<usize>,
    /// The average of all frames of a stack
    #[arg(long)]
    average: bool,
    /// Take the drift between the frames back before they are averaged
    #[arg(long, requires = "average")]
    align: bool,
}

/// What is made of columns.
#[derive(Debug, Args)]
struct Mapping {
    /// Settings of the map (TOML): convention, significance, polarization, reference, domains, walls, figures
    #[arg(long, value_name = "MAP.toml")]
    settings: Option<PathBuf>,
    /// Change a setting: dotted key and TOML value; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole chain, small: tilted BiFeO3 images, column map, trained network, report.html (at most 3 minutes on 4 cores)
    #[command(after_help = "Example:\n  ferrostem demo -o demo")]
    Demo {
        /// Folder of the results
        #[arg(short, long, default_value = "ferrostem-demo", value_name = "DIR")]
        output: PathBuf,
        /// Smaller still, for tests: everything runs, the numbers mean little
        #[arg(long)]
        smoke: bool,
    },
    /// Images of one specimen over tilts × thicknesses
    #[command(
        after_help = "Example:\n  ferrostem simulate simulations/r3c.toml -o r3c.hspy --set probe.energy_kev=300"
    )]
    Simulate {
        /// Settings of the simulation
        file: PathBuf,
        /// Image file to write
        #[arg(short, long, value_name = "F.hspy")]
        output: PathBuf,
        #[command(flatten)]
        variation: Variation,
        /// Compute one part of the work only; when all parts are there, run without it to put them together
        #[arg(long, value_name = "I/N")]
        shard: Option<Shard>,
    },
    /// Classical map of any image: find columns, fit them, polar displacement per cell
    #[command(
        after_help = "Example:\n  ferrostem columns micrograph.dm4 -o map\n  ferrostem columns scan.tif --sampling 0.2 -o map\n  ferrostem columns film.hspy -o map --set map.polarization={} --set map.reference.rectangle_fraction=[0,0.8,1,1]"
    )]
    Columns {
        /// Image: hspy, dm3, dm4, emd, ser, mrc, tif, npy, png, or HDF5 with --signal
        image: PathBuf,
        /// Folder of the results
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        reading: Reading,
        /// How positions are measured; `gaussian` (one in a window) and `centre_of_mass` are there to compare with other programs
        #[arg(long, value_parser = ["joint", "gaussian", "centre_of_mass"])]
        method: Option<String>,
        #[command(flatten)]
        mapping: Mapping,
    },
    /// The same map from positions that another program has fitted
    #[command(
        after_help = "Example:\n  ferrostem positions Bi.txt Fe.txt --sampling 0.0702 -o map\n\nTables of x and y, one column a line; the first two numbers, or those named x… and y… in a first line of names (x_angstrom: in Å)."
    )]
    Positions {
        /// Table of the A columns
        a: PathBuf,
        /// Table of the B columns
        b: PathBuf,
        /// Folder of the results
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        /// Pixel size; left out, the one that makes the lattice a perovskite's
        #[arg(long, value_name = "Å/PX", allow_negative_numbers = true)]
        sampling: Option<f64>,
        #[command(flatten)]
        mapping: Mapping,
    },
    /// Sub-images and labels for training
    #[command(
        after_help = "Example:\n  ferrostem dataset docs/tutorial/dataset.toml -o dataset.h5"
    )]
    Dataset {
        /// Settings of the dataset
        file: PathBuf,
        /// Dataset to write
        #[arg(short, long, value_name = "D.h5")]
        output: PathBuf,
        #[command(flatten)]
        variation: Variation,
    },
    /// Learn and certify the response that the emulator draws with
    #[command(
        after_help = "Example:\n  ferrostem response simulations/responses/bfo-200kv-30mrad-80-200mrad.toml -o response.h5\n\nFILE is a simulation with one detector; what counts is its microscope, its thermal motion and its section [emulator]. `simulate` with \
                      method = \"emulator\" makes what it lacks by itself."
    )]
    Response {
        /// Settings of a simulation
        file: PathBuf,
        /// Response file to write
        #[arg(short, long, value_name = "R.h5")]
        output: PathBuf,
        #[command(flatten)]
        variation: Variation,
    },
    /// Train a network, or an ensemble, on a dataset
    #[command(
        after_help = "Example:\n  ferrostem train docs/tutorial/train.toml -o model\n\nAn interrupted training goes on when the same command is given again."
    )]
    Train {
        /// Settings of the training
        file: PathBuf,
        /// Folder of the model
        #[arg(short, long, value_name = "MODEL")]
        output: PathBuf,
        #[command(flatten)]
        variation: Variation,
        /// Insist on going on with an interrupted training; an error where there is none
        #[arg(long)]
        resume: bool,
    },
    /// Map of an image from a trained network, at its columns or on a dense grid
    #[command(
        after_help = "Example:\n  ferrostem predict model image.hspy -o prediction\n  ferrostem predict model image.hspy --dense -o prediction\n  ferrostem predict model image.hspy --stride 0.6 -o prediction"
    )]
    Predict {
        /// Folder of the model
        model: PathBuf,
        /// Image: hspy, dm3, dm4, emd, ser, mrc, tif, npy, png, or HDF5 with --signal
        image: PathBuf,
        /// Folder of the results
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        reading: Reading,
        /// On a dense grid, without finding atoms (always so for a network trained on a grid)
        #[arg(long)]
        dense: bool,
        /// On a dense grid of this distance
        #[arg(long, value_name = "Å", allow_negative_numbers = true)]
        stride: Option<f64>,
    },
    /// Errors, slope and coverage of a trained network on a part of a dataset, over all and against tilt
    #[command(after_help = "Example:\n  ferrostem evaluate model dataset.h5 -o evaluation")]
    Evaluate {
        /// Folder of the model
        model: PathBuf,
        /// Dataset
        dataset: PathBuf,
        /// Folder of the results
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        /// Which part of the dataset
        #[arg(long, value_name = "PART", default_value = "test", value_parser = ["train", "validation", "test", "calibration"])]
        part: String,
        /// Bring sub-images of another window or pixel size to those of the model; refused otherwise
        #[arg(long)]
        resample: bool,
    },
    /// A whole study: tables, figures, report.html; goes on by itself where it was stopped
    #[command(
        after_help = "Example:\n  ferrostem run experiments/tilt-sensitivity.toml -o tilt\n  ferrostem run experiments/tilt-sensitivity.toml -o tilt-smoke --smoke"
    )]
    Run {
        /// The experiment
        file: PathBuf,
        /// Folder of the results
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        variation: Variation,
        /// Compute one part of the units only; when all parts are there, run without it to put them together
        #[arg(long, value_name = "I/N")]
        shard: Option<Shard>,
    },
    /// Validate a settings file; print the resolved settings, memory, work and a time estimate
    #[command(after_help = "Example:\n  ferrostem check simulations/r3c.toml")]
    Check {
        /// Any settings file
        file: PathBuf,
        #[command(flatten)]
        variation: Variation,
    },
    /// What is in a result or an image file, with units
    #[command(after_help = "Example:\n  ferrostem info image.hspy")]
    Info {
        /// File or folder
        file: PathBuf,
    },
}

/// Reads the command line, runs the command, returns its exit code.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(&cli).and_then(|()| commands::run(cli.command, &cli.shared)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Vector registers, threads and Ctrl-C.
fn start(cli: &Cli) -> anyhow::Result<()> {
    if let Ok(name) = std::env::var(Vectors::VARIABLE) {
        let variable = Vectors::VARIABLE;
        anyhow::ensure!(
            Vectors::named(&name).is_some(),
            "environment variable {variable}: got `{name}`; allowed: avx512, avx2, portable, or unset for what the processor has"
        );
    }
    let threads = cli.shared.threads.map_or(0, usize::from);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()?;
    ctrlc::set_handler(|| {
        eprintln!("\ninterrupted; finished parts are kept, the same command goes on from them");
        std::process::exit(130);
    })?;
    Ok(())
}

impl Shared {
    fn reporter(&self) -> Reporter {
        Reporter::new(match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        })
    }
}
