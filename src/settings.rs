//! Reading settings files: strict TOML in, typed structs out, and errors that name file, line, key, value and what is allowed.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Sections that hold variants of a file: smaller numbers for a quick look, or larger ones for publication.
const VARIANTS: [&str; 2] = ["smoke", "full"];

/// A settings file: its text, and the way back from a key to its line.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    text: String,
    /// Dotted name of the section that the keys of messages lie in; empty for the whole file.
    section: String,
}

impl Source {
    /// Reads a settings file.
    ///
    /// # Errors
    /// The file cannot be read or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        Ok(Self {
            path: path.to_owned(),
            text,
            section: String::new(),
        })
    }

    /// Settings from a text that is not on disk; `name` stands in messages where the path would.
    #[must_use]
    pub fn from_text(name: &str, text: impl Into<String>) -> Self {
        Self {
            path: PathBuf::from(name),
            text: text.into(),
            section: String::new(),
        }
    }

    /// The same file, for checks of one section: `key` in [`Source::wrong`] is then relative to it.
    #[must_use]
    pub fn under(&self, section: &str) -> Self {
        Self {
            section: self.key(section),
            ..self.clone()
        }
    }

    /// A key of this section, dotted from the top of the file.
    fn key(&self, key: &str) -> String {
        match (self.section.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (_, true) => self.section.clone(),
            _ => format!("{}.{key}", self.section),
        }
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Applies `key=value` overrides: dotted keys, TOML values (a bare word is taken as a string). Lines are kept.
    ///
    /// # Errors
    /// An override has no `=`, or its key does not name a place in a table.
    pub fn with_overrides(self, overrides: &[String]) -> Result<Self> {
        if overrides.is_empty() {
            return Ok(self);
        }
        let mut document: toml_edit::DocumentMut = self
            .text
            .parse()
            .map_err(|error: toml_edit::TomlError| self.syntax(error.to_string()))?;
        for text in overrides {
            let wrong = |allowed: &str| Error::Setting {
                place: "--set".to_owned(),
                got: format!("`{text}`"),
                allowed: allowed.to_owned(),
            };
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| wrong("key=value, such as probe.energy_kev=300"))?;
            let value = value.trim();
            let value: toml_edit::Value = value.parse().unwrap_or_else(|_| value.into());
            let keys: Vec<&str> = key.trim().split('.').collect();
            let (last, parents) = keys
                .split_last()
                .ok_or_else(|| wrong("a dotted key before the `=`"))?;
            let mut table = document.as_table_mut() as &mut dyn toml_edit::TableLike;
            for parent in parents {
                table = table
                    .entry(parent)
                    .or_insert_with(toml_edit::table)
                    .as_table_like_mut()
                    .ok_or_else(|| wrong("a key below a section, not below a value"))?;
            }
            table.insert(last, toml_edit::Item::Value(value));
        }
        Ok(Self {
            text: document.to_string(),
            ..self
        })
    }

    /// Removes the tables of variants (`[smoke]`: dotted keys and values) and, if `variant` names one, applies it first.
    ///
    /// # Errors
    /// The file does not parse, or `variant` is not in it.
    pub fn with_variant(self, variant: Option<&str>) -> Result<Self> {
        let mut document = self.document()?;
        let mut overrides = Vec::new();
        for name in VARIANTS {
            let table = document.remove(name);
            if variant == Some(name) {
                let table = table
                    .as_ref()
                    .and_then(toml_edit::Item::as_table_like)
                    .ok_or_else(|| {
                        self.wrong(
                            name,
                            "no such section",
                            format!("a section [{name}] of \"dotted.key\" = value"),
                        )
                    })?;
                overrides = table
                    .iter()
                    .map(|(key, item)| format!("{key}={}", item.to_string().trim()))
                    .collect();
            }
        }
        Self {
            text: document.to_string(),
            ..self
        }
        .with_overrides(&overrides)
    }

    fn document(&self) -> Result<toml_edit::DocumentMut> {
        self.text
            .parse()
            .map_err(|error: toml_edit::TomlError| self.syntax(error.to_string()))
    }

    /// The text, after variants and overrides.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where a path in a setting leads: beside the settings file if it is there, else from the working folder.
    #[must_use]
    pub fn find(&self, path: &Path) -> PathBuf {
        let beside = self
            .path
            .parent()
            .map_or_else(|| path.to_owned(), |folder| folder.join(path));
        if beside.exists() {
            beside
        } else {
            path.to_owned()
        }
    }

    /// Parses the text into a settings struct.
    ///
    /// # Errors
    /// The parser's own message: line, the offending text, and what was expected. A list with more numbers than are taken.
    pub fn parse<T: DeserializeOwned + Serialize>(&self) -> Result<T> {
        let syntax = |error: toml::de::Error| self.syntax(error.to_string());
        let settings: T = toml::from_str(&self.text).map_err(syntax)?;
        // `[x, y]` takes the first two of three numbers in silence: what was taken is compared with what is written.
        let written: toml::Value = toml::from_str(&self.text).map_err(syntax)?;
        if let Ok(taken) = toml::Value::try_from(&settings) {
            self.check_lengths("", &written, &taken)?;
        }
        Ok(settings)
    }

    /// Checks that every list is taken as long as it is written; `key` is dotted.
    fn check_lengths(&self, key: &str, written: &toml::Value, taken: &toml::Value) -> Result<()> {
        match (written, taken) {
            (toml::Value::Table(written), toml::Value::Table(taken)) => {
                for (name, value) in written {
                    let inner = if key.is_empty() {
                        name.clone()
                    } else {
                        format!("{key}.{name}")
                    };
                    if let Some(taken) = taken.get(name) {
                        self.check_lengths(&inner, value, taken)?;
                    }
                }
                Ok(())
            }
            (toml::Value::Array(written), toml::Value::Array(taken)) => {
                if written.len() != taken.len() {
                    let got = toml::Value::Array(written.clone()).to_string();
                    let allowed = format!("a list of {}", taken.len());
                    return Err(self.wrong(key, got, allowed));
                }
                let mut pairs = written.iter().zip(taken);
                pairs.try_for_each(|(written, taken)| self.check_lengths(key, written, taken))
            }
            _ => Ok(()),
        }
    }

    /// Top-level sections of the file, in order; empty where it does not parse.
    #[must_use]
    pub fn sections(&self) -> Vec<String> {
        toml::from_str::<toml::Table>(&self.text)
            .map(|table| table.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// The error for a value that parses but is not acceptable; `key` is dotted.
    #[must_use]
    pub fn wrong(&self, key: &str, got: impl Display, allowed: impl Into<String>) -> Error {
        let key = &self.key(key);
        let line = self
            .line_of(key)
            .map_or_else(String::new, |line| format!("{line}: "));
        Error::Setting {
            place: format!(
                "{}:{line}{}{key}",
                self.path.display(),
                if line.is_empty() { " " } else { "" }
            ),
            got: got.to_string(),
            allowed: allowed.into(),
        }
    }

    /// Checks that `value` lies in `range`; the message adds the `unit` and a `hint`.
    ///
    /// # Errors
    /// It does not, or is not a number.
    pub fn in_range(
        &self,
        key: &str,
        value: f64,
        range: RangeInclusive<f64>,
        unit: &str,
        hint: &str,
    ) -> Result<()> {
        if range.contains(&value) {
            return Ok(());
        }
        let hint = if hint.is_empty() {
            String::new()
        } else {
            format!(" ({hint})")
        };
        Err(self.wrong(
            key,
            value,
            format!("{} to {} {unit}{hint}", range.start(), range.end()),
        ))
    }

    fn syntax(&self, message: String) -> Error {
        Error::Syntax {
            path: self.path.clone(),
            message: message.trim_end().to_owned(),
        }
    }

    /// Line of a dotted key, or of its nearest ancestor that is in the file; lines count from 1.
    fn line_of(&self, key: &str) -> Option<usize> {
        let document = toml_edit::Document::parse(self.text.as_str()).ok()?;
        let mut item = document.as_item();
        let mut offset = None;
        for part in key.split('.') {
            let Some((name, next)) = item
                .as_table_like()
                .and_then(|table| table.get_key_value(part))
            else {
                break;
            };
            offset = name
                .span()
                .or_else(|| next.span())
                .map(|span| span.start)
                .or(offset);
            item = next;
        }
        offset.map(|offset| self.text[..offset].matches('\n').count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "seed = 1\n\n[probe]\nenergy_kev = 200000\n\n[detectors.haadf]\ninner_mrad = 80\n";

    #[test]
    fn a_wrong_value_is_reported_with_its_line() {
        let source = Source::from_text("sim.toml", TEXT);
        let error = source
            .in_range("probe.energy_kev", 200_000.0, 10.0..=1000.0, "kV", "not eV")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "sim.toml:4: probe.energy_kev: got 200000; allowed: 10 to 1000 kV (not eV)"
        );
        let missing = source.wrong("detectors.haadf.outer_mrad", "nothing", "a number");
        assert!(missing.to_string().starts_with("sim.toml:6: "), "{missing}");
    }

    #[test]
    fn a_variant_is_applied_and_removed() {
        let text = format!("{TEXT}\n[smoke]\n\"probe.energy_kev\" = 80\n");
        let plain: toml::Table = Source::from_text("s", text.clone())
            .with_variant(None)
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(plain["probe"]["energy_kev"].as_integer(), Some(200_000));
        assert!(!plain.contains_key("smoke"));
        let smoke: toml::Table = Source::from_text("s", text)
            .with_variant(Some("smoke"))
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(smoke["probe"]["energy_kev"].as_integer(), Some(80));
        assert!(
            Source::from_text("s", TEXT)
                .with_variant(Some("smoke"))
                .is_err()
        );
    }

    #[test]
    fn overrides_change_values_and_keep_lines() {
        let overrides = [
            "probe.energy_kev=80".to_owned(),
            "detectors.bf.inner_mrad=0".to_owned(),
            "name=bare".to_owned(),
        ];
        let source = Source::from_text("sim.toml", TEXT)
            .with_overrides(&overrides)
            .unwrap();
        let table: toml::Table = source.parse().unwrap();
        assert_eq!(table["probe"]["energy_kev"].as_integer(), Some(80));
        assert_eq!(table["detectors"]["bf"]["inner_mrad"].as_integer(), Some(0));
        assert_eq!(table["name"].as_str(), Some("bare"));
        let bad = Source::from_text("sim.toml", TEXT)
            .with_overrides(&["no equals".to_owned()])
            .unwrap_err();
        assert!(bad.to_string().contains("key=value"), "{bad}");
    }
}
