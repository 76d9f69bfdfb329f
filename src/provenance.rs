//! Where a result came from: enough to make it again.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Version of the file layouts that this program writes.
pub const SCHEMA_VERSION: u32 = 1;
/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Commit this program was built from, or `unknown` outside a checkout.
pub const COMMIT: &str = env!("FERROSTEM_COMMIT");

/// Hash of one input of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputHash {
    /// Path as the person gave it.
    pub path: String,
    /// BLAKE3 of the content, in hexadecimal.
    pub blake3: String,
}

/// Birth certificate of a result; stored beside the data, never mixed into it, since start, duration and thread count
/// differ between runs whose data are equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of the program.
    pub version: String,
    /// Commit of the program.
    pub commit: String,
    /// Version of the file layout.
    pub schema_version: u32,
    /// The command, such as `simulate`.
    pub command: String,
    /// Resolved settings, as TOML.
    pub settings: String,
    /// Master seed, if the command draws random numbers.
    pub seed: Option<u64>,
    /// The inputs and their hashes.
    pub inputs: Vec<InputHash>,
    /// Worker threads.
    pub threads: u32,
    /// Start, seconds since 1970-01-01 UTC.
    pub start_unix_seconds: u64,
    /// Duration [s], filled when the result is written.
    pub duration_seconds: f64,
}

impl Provenance {
    /// Starts the clock of a result of `command` with the resolved `settings` (TOML) and `seed`.
    #[must_use]
    pub fn start(command: &str, settings: String, seed: Option<u64>) -> Self {
        Self {
            version: VERSION.to_owned(),
            commit: COMMIT.to_owned(),
            schema_version: SCHEMA_VERSION,
            command: command.to_owned(),
            settings,
            seed,
            inputs: Vec::new(),
            threads: rayon::current_num_threads() as u32,
            start_unix_seconds: now().as_secs(),
            duration_seconds: 0.0,
        }
    }

    /// Adds the hash of an input file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn add_input(&mut self, path: &Path) -> Result<()> {
        let mut hasher = blake3::Hasher::new();
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        hasher
            .update_reader(file)
            .map_err(Error::io("read", path))?;
        self.inputs.push(InputHash {
            path: path.display().to_string(),
            blake3: hasher.finalize().to_hex().to_string(),
        });
        Ok(())
    }

    /// The certificate as of now, with the duration filled in.
    #[must_use]
    pub fn finished(&self) -> Self {
        let duration_seconds = now().as_secs_f64() - self.start_unix_seconds as f64;
        Self {
            duration_seconds: duration_seconds.max(0.0),
            ..self.clone()
        }
    }

    /// As TOML, for `model.toml`, `provenance.toml` and `info`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self)
            .unwrap_or_else(|error| format!("# provenance does not serialize: {error}\n"))
    }
}

fn now() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
