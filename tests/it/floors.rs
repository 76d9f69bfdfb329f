//! The floors of the house: a module uses only lower floors, and some crates live in one room only.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Floor of each top-level module; the binary stands above all.
const FLOORS: [(&str, u32); 20] = [
    ("units", 0),
    ("rng", 0),
    ("image", 0),
    ("neighbours", 0),
    ("settings", 0),
    ("progress", 0),
    ("provenance", 0),
    ("error", 0),
    ("crystal", 1),
    ("multislice", 2),
    ("acquisition", 2),
    ("emulator", 3),
    ("registration", 3),
    ("storage", 4),
    ("simulation", 6),
    ("column", 5),
    ("network", 5),
    ("figure", 7),
    ("experiment", 8),
    ("cli", 9),
];

/// Crates that only one module may use.
const ROOMS: [(&str, &str); 8] = [
    ("rustfft", "multislice"),
    ("hdf5", "storage"),
    ("tiff", "storage"),
    ("ndarray_npy", "storage"),
    ("candle_core", "network"),
    ("candle_nn", "network"),
    ("resvg", "figure"),
    ("clap", "cli"),
];

/// Every source file with the top-level module it belongs to.
fn sources() -> Vec<(String, PathBuf)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let first = path
                .strip_prefix(&root)
                .unwrap()
                .iter()
                .next()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let module = first.trim_end_matches(".rs").to_owned();
            (module, path)
        })
        .filter(|(module, _)| module != "lib")
        .map(|(module, path)| {
            (
                if module == "main" {
                    "cli".to_owned()
                } else {
                    module
                },
                path,
            )
        })
        .collect()
}

/// Code without comments, strings left in place (no path into a module hides in a string).
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or(""))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Top-level modules named after `prefix` in a text, both `prefix::name` and `prefix::{name, …}`.
fn named_after(text: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (position, _) in text.match_indices(prefix) {
        let before = text[..position].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &text[position + prefix.len()..];
        let identifier = |s: &str| {
            s.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect::<String>()
        };
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            for (offset, c) in list.char_indices() {
                if start && (c.is_alphabetic() || c == '_') && depth == 0 {
                    names.push(identifier(&list[offset..]));
                    start = false;
                }
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    _ => {}
                }
            }
        } else {
            names.push(identifier(rest));
        }
    }
    names
}

#[test]
fn a_module_uses_only_lower_floors() {
    let floors: BTreeMap<&str, u32> = FLOORS.into_iter().collect();
    let mut checked = 0;
    for (module, path) in sources() {
        let own = *floors
            .get(module.as_str())
            .unwrap_or_else(|| panic!("{} stands on no floor", path.display()));
        let text = code(&path);
        let crate_name = if module == "cli" {
            "ferrostem::"
        } else {
            "crate::"
        };
        for used in named_after(&text, crate_name) {
            if used == module || used.chars().next().is_none_or(char::is_uppercase) {
                continue; // itself, or a re-export of the error type
            }
            let Some(&other) = floors.get(used.as_str()) else {
                continue;
            };
            let ground = own == 0 && other == 0;
            assert!(
                other < own || ground,
                "{}: {module} (floor {own}) uses {used} (floor {other})",
                path.display()
            );
            checked += 1;
        }
    }
    assert!(
        checked > 20,
        "only {checked} uses were seen; does the test still read the sources?"
    );
}

#[test]
fn a_crate_with_a_room_stays_in_it() {
    for (module, path) in sources() {
        let text = code(&path);
        for (name, room) in ROOMS {
            let used = !named_after(&text, &format!("{name}::")).is_empty();
            assert!(
                !used || module == room,
                "{}: {name} belongs to {room}",
                path.display()
            );
        }
    }
}

#[test]
fn the_reader_of_uses_sees_lists_and_paths() {
    let text = "use crate::{error::Result, image::Image};\nlet x = crate::storage::open();";
    assert_eq!(named_after(text, "crate::"), ["error", "image", "storage"]);
}
