//! Where responses come from: a file that is named, one that the program brings, one kept from before, or one made now.

use std::path::{Path, PathBuf};

use super::certification::{Plate, certify};
use super::emulation::microscope;
use super::learning::Curriculum;
use super::settings::SimulationSettings;
use crate::emulator::{Microscope, Response};
use crate::error::{Error, Result};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::settings::Source;
use crate::storage::claim::{Claim, Company};
use crate::storage::output::partial_path;
use crate::storage::responses::{read_response, read_response_bytes, response_key, write_response};

/// Responses that the program brings: BiFeO₃ at 200 kV, 30 mrad, 80–200 mrad.
const SHIPPED: [(&str, &[u8]); 1] = [(
    "bfo-200kv-30mrad-80-200mrad.h5",
    include_bytes!("../../simulations/responses/bfo-200kv-30mrad-80-200mrad.h5"),
)];
/// Environment variable with the folder in which responses are kept.
pub const FOLDER_VARIABLE: &str = "FERROSTEM_RESPONSES";

/// The responses that draw a simulation, one for each of its detectors, if all are there.
///
/// # Errors
/// What the emulator cannot do; a named file that is damaged or belongs to something else.
pub fn available_responses(
    settings: &SimulationSettings,
    source: &Source,
) -> Result<Option<Vec<Response>>> {
    let asked = asked(settings, source)?;
    asked.names().map(|name| asked.find(name)).collect()
}

/// The same; what is missing is learnt and certified, and kept for the next time.
///
/// # Errors
/// As [`available_responses`]; an engine that refuses; a folder that cannot be written.
pub fn responses(
    settings: &SimulationSettings,
    source: &Source,
    reporter: &Reporter,
) -> Result<Vec<Response>> {
    let asked = asked(settings, source)?;
    let mut found = Vec::new();
    for name in asked.names() {
        found.push(match asked.find(name)? {
            Some(response) => response,
            None => asked.make(name, &asked.kept(name)?, false, reporter)?.0,
        });
    }
    Ok(found)
}

/// Learns, certifies and writes the response for the only detector of `settings`; gives it with plates of its examination.
///
/// # Errors
/// As [`responses`]; several detectors; a finished `output` without `force`.
pub fn make_response(
    settings: &SimulationSettings,
    source: &Source,
    output: &Path,
    force: bool,
    reporter: &Reporter,
) -> Result<(Response, Vec<Plate>)> {
    settings.validate(source)?;
    let asked = asked(settings, source)?;
    let mut names = asked.names();
    let (Some(name), None) = (names.next(), names.next()) else {
        let got = format!("{} detectors", settings.detectors.len());
        return Err(source.wrong("detectors", got, "one: a response file is for one detector"));
    };
    crate::storage::output::refuse_file(output, force)?;
    crate::storage::output::refuse_inputs(output, &[source.path()])?;
    asked.make(name, output, force, reporter)
}

/// The response that the program brings: BiFeO₃ at 200 kV, 30 mrad, 80–200 mrad.
///
/// # Errors
/// None, if the program is whole.
pub fn shipped_response() -> Result<Response> {
    let [(name, bytes)] = SHIPPED;
    read_response_bytes(name, bytes)
}

/// What a simulation asks for.
struct Asked {
    microscope: Microscope,
    curriculum: Curriculum,
    named: Option<PathBuf>,
    seed: u64,
}

fn asked(settings: &SimulationSettings, source: &Source) -> Result<Asked> {
    let microscope = microscope(settings).map_err(|what| {
        source.wrong(
            "multislice.method",
            format!("`emulator` with {what}"),
            "another method",
        )
    })?;
    let given = settings.emulator.clone().unwrap_or_default();
    Ok(Asked {
        named: given.response.map(|path| source.find(&path)),
        curriculum: Curriculum {
            microscope: microscope.clone(),
            training: given.training,
            edge: given.lattice_angstrom,
            seed: given.seed,
        },
        microscope,
        seed: given.seed,
    })
}

impl Asked {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.microscope.detectors.keys().map(String::as_str)
    }

    fn key(&self, detector: &str) -> String {
        response_key(&self.microscope, detector, self.curriculum.edge)
    }

    /// The response for a detector, if there is one.
    fn find(&self, detector: &str) -> Result<Option<Response>> {
        let key = self.key(detector);
        if let Some(path) = &self.named {
            let response = read_response(path)?;
            return self
                .fits(&response, detector, path)
                .map(|()| Some(response));
        }
        for (name, bytes) in SHIPPED {
            if bytes.is_empty() {
                continue;
            }
            let response = read_response_bytes(name, bytes)?;
            if response_key(&response.microscope, &response.detector, response.edge) == key {
                return Ok(Some(response));
            }
        }
        let path = self.kept(detector)?;
        path.exists().then(|| read_response(&path)).transpose()
    }

    /// Checks that a file is for this material and microscope.
    fn fits(&self, response: &Response, detector: &str, path: &Path) -> Result<()> {
        let theirs = response_key(&response.microscope, &response.detector, response.edge);
        if theirs == self.key(detector) {
            return Ok(());
        }
        let only = |microscope: &Microscope, name: &str, edge: f64| {
            let mut one = microscope.clone();
            one.detectors.retain(|other, _| other == name);
            let text = toml::to_string(&one).unwrap_or_default();
            let text = text.replace(&format!("[detectors.{name}]"), "[detector]");
            format!("lattice_angstrom = {edge}\n{text}")
        };
        let ours = only(&self.microscope, detector, self.curriculum.edge);
        let other = only(&response.microscope, &response.detector, response.edge);
        let differs = |a: &str, b: &str| {
            let lines = a
                .lines()
                .filter(|line| !line.is_empty() && !b.lines().any(|l| l == *line));
            lines.map(str::to_owned).collect::<Vec<_>>().join(", ")
        };
        Err(Error::data(
            path,
            "material and microscope",
            differs(&other, &ours),
            format!("what the settings say: {}", differs(&ours, &other)),
        ))
    }

    /// Where a response is kept.
    fn kept(&self, detector: &str) -> Result<PathBuf> {
        let folder = std::env::var_os(FOLDER_VARIABLE)
            .map(PathBuf::from)
            .or_else(|| {
                let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
                let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
                Some(cache.or_else(home)?.join("ferrostem").join("responses"))
            });
        let Some(folder) = folder else {
            return Err(Error::unmeasurable(
                "emulator",
                "no folder to keep responses in",
                format!("a home folder, or the environment variable {FOLDER_VARIABLE}"),
            ));
        };
        Ok(folder.join(format!("{}.h5", self.key(detector))))
    }

    fn make(
        &self,
        detector: &str,
        path: &Path,
        force: bool,
        reporter: &Reporter,
    ) -> Result<(Response, Vec<Plate>)> {
        let mut curriculum = self.curriculum.clone();
        curriculum
            .microscope
            .detectors
            .retain(|name, _| name == detector);
        reporter.say(format!(
            "no response for this material and microscope yet: learning it from the exact engine, once; it is kept in {}",
            path.display()
        ));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
        }
        let settings = toml::to_string(&curriculum.microscope).unwrap_or_default();
        let provenance = Provenance::start("response", settings, Some(self.seed));
        let partial = partial_path(path);
        let claim = Claim::new(&partial, &curriculum.key(), Company::None, force)?;
        let mut learnt = curriculum.learn(&partial, reporter)?;
        let Some(mut response) = learnt.pop() else {
            return Err(Error::unmeasurable(
                "learning a response",
                "no detector",
                "one",
            ));
        };
        let (certificate, plates) = certify(&response, &partial, reporter)?;
        response.certificate = certificate;
        let [rms, worst, displacement] = response.certificate.worst();
        reporter.say(format!(
            "certified: images within {rms:.2} % rms and {worst:.2} % at the worst pixel, D within {displacement:.2} pm rms"
        ));
        write_response(path, &response, &provenance.finished(), force)?;
        drop(claim);
        std::fs::remove_dir_all(&partial).ok();
        // What is used now is what is read later.
        Ok((read_response(path)?, plates))
    }
}
