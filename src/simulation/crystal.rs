//! The crystal of a simulation: built from its recipe or read from a file, with all that other files contribute.

use std::path::PathBuf;

use super::settings::SimulationSettings;
use crate::crystal::displacements::DisplacementField;
use crate::crystal::snapshots::Snapshots;
use crate::crystal::tilt_field::TiltField;
use crate::crystal::{External, Structure, Truth};
use crate::error::{Error, Result};
use crate::settings::Source;
use crate::storage::arrays::{read_array, read_snapshots};

/// What is in the microscope.
#[derive(Debug, Clone)]
pub(super) struct Crystal {
    pub(super) structure: Structure,
    /// The truth about the columns over one lateral period.
    pub(super) truth: Truth,
    pub(super) tilt_field: Option<TiltField>,
    pub(super) snapshots: Option<Snapshots>,
    /// What a person should know about how a file was read.
    pub(super) notes: Vec<String>,
    /// Files that were read.
    pub(super) inputs: Vec<PathBuf>,
}

impl Crystal {
    /// Builds or reads what validated `settings` from `source` ask for.
    ///
    /// # Errors
    /// A file that is not there or does not fit; atoms on top of each other.
    pub(super) fn new(settings: &SimulationSettings, source: &Source) -> Result<Self> {
        let mut inputs = Vec::new();
        let mut external = External::default();
        let mut notes = Vec::new();
        // A section that says both is refused later, without a look at the file.
        let given = settings.phonons.iter().filter(|p| p.rms_angstrom.is_none());
        if let Some(file) = given.filter_map(|p| p.snapshots.as_ref()).next() {
            let path = source.find(&file.file);
            let positions = read_snapshots(&path, &file.path)?.into_dyn();
            external.snapshots = Some(Snapshots::new(file, &path, positions)?);
            inputs.push(path);
        }
        let given = settings.specimen.as_ref();
        if let Some((specimen, arrays)) = given.and_then(|s| Some((s, s.displacements.as_ref()?))) {
            let path = source.find(&arrays.file);
            let (a, b) = (read_array(&path, &arrays.a)?, read_array(&path, &arrays.b)?);
            let o = arrays
                .o
                .as_ref()
                .map(|o| read_array(&path, o))
                .transpose()?;
            let field = DisplacementField::new(arrays, &path, [a, b], o, specimen.cells)?;
            external.displacements = Some(field);
            inputs.push(path);
        }
        let (structure, truth) = match (given, &settings.structure) {
            (Some(specimen), None) => specimen.build(settings.seed, &external)?,
            (None, Some(file)) => {
                let loaded = file.load(&source.under("structure"), settings.seed)?;
                inputs.push(source.find(&file.path));
                notes = loaded.notes;
                (loaded.structure, loaded.truth)
            }
            _ => return Err(one_crystal(settings, source)),
        };
        structure.check_overlaps("specimen")?;
        let field = settings.tilt_field.as_ref();
        Ok(Self {
            tilt_field: field.map(|field| TiltField::new(field, given, settings.seed)),
            structure,
            truth,
            snapshots: external.snapshots,
            notes,
            inputs,
        })
    }
}

/// What to say of settings that name no crystal, or two.
pub(super) fn one_crystal(settings: &SimulationSettings, source: &Source) -> Error {
    let got = settings.specimen.as_ref().map_or("neither", |_| "both");
    let allowed = "exactly one of [specimen] (a recipe) and [structure] (a file)";
    source.wrong("specimen", got, allowed)
}
