//! Symmetry operations of a space group: written out, as `-y, x-y, z+1/3`, or looked up by symbol or number.
//!
//! The tables (530 settings of the 230 space groups; Hall, Acta Cryst. A 37, 517 (1981); International Tables B, A1.4) are those of
//! `moyo`. A symbol alone often leaves the setting open: hexagonal or rhombohedral axes and the unique axis are told by the
//! shape of the cell, since an operation must keep all lengths and angles; the choice of the origin cannot be told and must be said.

use moyo::data::{HallSymbol, HallSymbolEntry, Setting, hall_symbol_entry};

use super::lattice::{Matrix, product, transpose};

/// Number of settings in the tables.
const SETTINGS: i32 = 530;
/// An operation keeps the cell if no product of axes changes by more than this part of the mean squared axis.
const METRIC_TOLERANCE: f64 = 0.005;

/// x′ = R x + t in fractional coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Operation {
    /// R, rows.
    pub(super) rotation: Matrix,
    /// t.
    pub(super) translation: [f64; 3],
}

impl Operation {
    /// Reads `x,y,z` notation; nothing if it is not.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text: String = text.to_lowercase().split_whitespace().collect();
        let mut parts = text.split(',');
        let mut rotation = [[0.0; 3]; 3];
        let mut translation = [0.0; 3];
        for (row, shift) in rotation.iter_mut().zip(&mut translation) {
            component(parts.next()?, row, shift)?;
        }
        let determinant = super::lattice::determinant(&rotation).abs();
        (parts.next().is_none() && (determinant - 1.0).abs() < 1e-9).then_some(Self {
            rotation,
            translation,
        })
    }

    /// The image of a point, fractional.
    pub(super) fn apply(&self, point: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|i| {
            let turned: f64 = (0..3).map(|j| self.rotation[i][j] * point[j]).sum();
            turned + self.translation[i]
        })
    }

    /// Whether lengths and angles stay as they are in a cell with this metric a_i · a_j.
    pub(super) fn keeps(&self, metric: &Matrix) -> bool {
        let turned = product(&product(&transpose(&self.rotation), metric), &self.rotation);
        let scale = (metric[0][0] + metric[1][1] + metric[2][2]) / 3.0;
        let same =
            |i: usize, j: usize| (turned[i][j] - metric[i][j]).abs() <= METRIC_TOLERANCE * scale;
        (0..3).all(|i| (0..3).all(|j| same(i, j)))
    }
}

/// One of the three parts of an operation: a sum of ±x, ±y, ±z and numbers such as 1/2 or 0.25.
fn component(text: &str, row: &mut [f64; 3], shift: &mut f64) -> Option<()> {
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let sign = match rest.as_bytes()[0] {
            b'-' => -1.0,
            _ => 1.0,
        };
        rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        let end = rest.find(['+', '-']).unwrap_or(rest.len());
        let (term, after) = rest.split_at(end);
        match ["x", "y", "z"].iter().position(|axis| *axis == term) {
            Some(axis) => row[axis] += sign,
            None => *shift += sign * fraction(term)?,
        }
        rest = after;
    }
    Some(())
}

/// `1/2` or `0.5`.
fn fraction(text: &str) -> Option<f64> {
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let value = |text: &str| text.parse::<f64>().ok().filter(|_| plain(text));
    match text.split_once('/') {
        Some((above, below)) => Some(value(above)? / value(below).filter(|&below| below > 0.0)?),
        None => value(text),
    }
}

/// What a file, or a setting, says about its space group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Named<'a> {
    /// Hall symbol.
    pub(super) hall: Option<&'a str>,
    /// Hermann–Mauguin symbol, with or without a setting behind a colon.
    pub(super) hermann_mauguin: Option<&'a str>,
    /// Number in the International Tables.
    pub(super) number: Option<i32>,
    /// Code of the setting, `1`, `2`, `h`, `r`, `b1`, `cab`.
    pub(super) code: Option<&'a str>,
}

/// The operations of a named space group in a cell of this metric, and the setting taken.
///
/// # Errors
/// In words, what was found and what is needed: an unknown symbol, a cell that does not fit, an open choice of the origin.
pub(super) fn look_up(
    named: &Named<'_>,
    metric: &Matrix,
) -> Result<(Vec<Operation>, String), (String, String)> {
    let (entries, said) = candidates(named)?;
    let fitting: Vec<&HallSymbolEntry> = entries
        .iter()
        .filter(|entry| {
            operations(entry)
                .iter()
                .all(|operation| operation.keeps(metric))
        })
        .collect();
    if fitting.is_empty() {
        let got = format!(
            "space group {said} in a cell whose lengths and angles do not have its symmetry"
        );
        return Err((got, "another cell, symbol or setting".to_owned()));
    }
    let entry = the_one(&fitting, &said)?;
    let colon = if entry.setting.is_empty() { "" } else { ":" };
    let name = format!(
        "{}{colon}{} (No. {}, Hall symbol {})",
        entry.hm_short, entry.setting, entry.number, entry.hall_symbol
    );
    Ok((operations(entry), name))
}

/// The settings that what is said allows, and what was gone by.
fn candidates(named: &Named<'_>) -> Result<(Vec<HallSymbolEntry>, String), (String, String)> {
    let all = || (1..=SETTINGS).filter_map(hall_symbol_entry);
    if let Some(hall) = named.hall {
        // moyo writes the double and single primes of Hall's axes as = and ^.
        let wanted = squeeze(&hall.replace('"', "=").replace('\'', "^"));
        let found: Vec<_> = all()
            .filter(|entry| squeeze(entry.hall_symbol) == wanted)
            .take(1)
            .collect();
        if !found.is_empty() {
            return Ok((found, format!("`{hall}`")));
        }
    }
    let (symbol, code) = split_code(named.hermann_mauguin.unwrap_or(""));
    let code = named.code.map(str::to_lowercase).or(code);
    let coded = |found: Vec<HallSymbolEntry>| -> Vec<HallSymbolEntry> {
        match code.as_deref().map(origin_code) {
            None | Some("") => found,
            Some(code) => found
                .into_iter()
                .filter(|entry| entry.setting.to_lowercase() == code || origin(entry) == Some(code))
                .collect(),
        }
    };
    let tests: [fn(&HallSymbolEntry, &str) -> bool; 3] = [is_full, is_short, is_old];
    for test in tests {
        let found: Vec<_> = all()
            .filter(|entry| !symbol.is_empty() && test(entry, &symbol))
            .collect();
        if !found.is_empty() {
            let said = format!("`{}`", named.hermann_mauguin.unwrap_or(""));
            let found = coded(found);
            return match (found.is_empty(), code) {
                (true, code) => Err((
                    format!(
                        "space group {said} in a setting `{}`",
                        code.unwrap_or_default()
                    ),
                    "a setting that the group has: h or r, 1 or 2, b1, cab, …".to_owned(),
                )),
                _ => Ok((found, said)),
            };
        }
    }
    let found: Vec<_> = coded(
        all()
            .filter(|entry| Some(entry.number) == named.number)
            .collect(),
    );
    if found.is_empty() {
        let got = match (named.hall, named.hermann_mauguin, named.number) {
            (None, None, None) => "no space group".to_owned(),
            (hall, symbol, number) => format!(
                "a space group that is not in the tables: {}",
                [
                    hall.map(str::to_owned),
                    symbol.map(str::to_owned),
                    number.map(|n| format!("No. {n}"))
                ]
                .into_iter()
                .flatten()
                .map(|said| format!("`{said}`"))
                .collect::<Vec<_>>()
                .join(", ")
            ),
        };
        let allowed = "the operations (_space_group_symop_operation_xyz), a Hall or Hermann-Mauguin symbol, or \
            `space_group` in the settings, such as \"R 3 c :H\" or \"P 1\"";
        return Err((got, allowed.to_owned()));
    }
    let number = named.number.unwrap_or_default();
    Ok((found, format!("No. {number}")))
}

/// The setting to take out of those that fit.
fn the_one<'a>(
    fitting: &[&'a HallSymbolEntry],
    said: &str,
) -> Result<&'a HallSymbolEntry, (String, String)> {
    if let [only] = fitting {
        return Ok(only);
    }
    let origins: Vec<_> = fitting.iter().filter_map(|entry| origin(entry)).collect();
    if origins.contains(&"1") && origins.contains(&"2") {
        let got = format!("space group {said}, which has two choices of the origin");
        let allowed = "the choice: `space_group` in the settings with :1 or :2 behind the symbol, such as \"F d -3 m :2\"";
        return Err((got, allowed.to_owned()));
    }
    let standard = |entry: &&&HallSymbolEntry| {
        Setting::Standard.hall_number(entry.number) == Some(entry.hall_number)
    };
    if let Some(entry) = fitting.iter().find(standard) {
        return Ok(entry);
    }
    // A monoclinic cell whose angles are all right: the unique axis is b by convention.
    let mut along_b = fitting
        .iter()
        .filter(|entry| entry.setting.starts_with('b'));
    if let (Some(entry), None) = (along_b.next(), along_b.next()) {
        return Ok(entry);
    }
    let settings: Vec<&str> = fitting.iter().map(|entry| entry.setting).collect();
    let got = format!(
        "space group {said}, which has the settings {}",
        settings.join(", ")
    );
    Err((
        got,
        "the setting behind a colon: `space_group = \"symbol :setting\"`".to_owned(),
    ))
}

/// All operations of a setting, centring translations included.
fn operations(entry: &HallSymbolEntry) -> Vec<Operation> {
    let Some(symbol) = HallSymbol::from_hall_number(entry.hall_number) else {
        return Vec::new();
    };
    let mut centrings = vec![[0.0; 3]];
    centrings.extend(
        symbol
            .centering_translations
            .iter()
            .map(|t| [t[0], t[1], t[2]]),
    );
    let mut operations = Vec::new();
    for operation in symbol.traverse() {
        let rotation = operation.rotation_as_array().map(|row| row.map(f64::from));
        let translation = operation.translation_as_array();
        operations.extend(centrings.iter().map(|centring| Operation {
            rotation,
            translation: std::array::from_fn(|axis| translation[axis] + centring[axis]),
        }));
    }
    operations
}

/// The symbol without blanks and underscores, in lower case.
fn squeeze(symbol: &str) -> String {
    let kept = symbol.chars().filter(|c| !c.is_whitespace() && *c != '_');
    kept.collect::<String>().to_lowercase()
}

/// Parts a symbol from the code of its setting: `R 3 c :H`, `R 3 c H`, `F d -3 m Z`.
fn split_code(symbol: &str) -> (String, Option<String>) {
    if let Some((symbol, code)) = symbol.split_once(':') {
        return (squeeze(symbol), Some(squeeze(code)));
    }
    let words: Vec<&str> = symbol.split_whitespace().collect();
    match words.as_slice() {
        [front @ .., last] if front.len() > 1 && matches!(*last, "H" | "R" | "S" | "Z") => {
            (squeeze(&front.concat()), Some(last.to_lowercase()))
        }
        _ => (squeeze(symbol), None),
    }
}

/// ICSD writes S and Z for the first and the second origin.
fn origin_code(code: &str) -> &str {
    match code {
        "s" => "1",
        "z" => "2",
        other => other,
    }
}

/// Which origin a setting has, if there is a choice.
fn origin(entry: &HallSymbolEntry) -> Option<&'static str> {
    entry
        .setting
        .get(..1)
        .filter(|first| matches!(*first, "1" | "2"))
}

/// The full symbol, and for monoclinic groups the one without its two ones.
fn is_full(entry: &HallSymbolEntry, symbol: &str) -> bool {
    let monoclinic = (3..=15).contains(&entry.number);
    let without_ones = || entry.hm_full.replace(" 1", "");
    squeeze(entry.hm_full) == symbol || monoclinic && squeeze(&without_ones()) == symbol
}

fn is_short(entry: &HallSymbolEntry, symbol: &str) -> bool {
    squeeze(entry.hm_short) == symbol
}

/// Symbols of before 1992 (C m c a for C m c e) and cubic ones without the bar (F m 3 m for F m -3 m).
fn is_old(entry: &HallSymbolEntry, symbol: &str) -> bool {
    let short = squeeze(entry.hm_short);
    let centrosymmetric_cubic = matches!(entry.number, 200..=206 | 221..=230);
    let same_glide = |(new, old): (char, char)| new == old || new == 'e' && "abc".contains(old);
    centrosymmetric_cubic && short.replace('-', "") == symbol
        || short.contains('e')
            && short.len() == symbol.len()
            && short.chars().zip(symbol.chars()).all(same_glide)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUBIC: Matrix = [[16.0, 0.0, 0.0], [0.0, 16.0, 0.0], [0.0, 0.0, 16.0]];

    fn named(symbol: &str) -> Named<'_> {
        Named {
            hermann_mauguin: Some(symbol),
            ..Named::default()
        }
    }

    #[test]
    fn written_operations_are_read_and_nonsense_is_not() {
        let operation = Operation::parse(" -Y, x-y , Z+1/3").unwrap();
        let image = operation.apply([0.1, 0.3, 0.2]);
        for (found, expected) in image.iter().zip([-0.3, -0.2, 0.2 + 1.0 / 3.0]) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert_eq!(
            Operation::parse("1/2+x,0.5-y,z").unwrap().translation,
            [0.5, 0.5, 0.0]
        );
        for wrong in [
            "x,y",
            "x,y,z,x",
            "x,y,w",
            "x,x,z",
            "x,y,z+1/0",
            "x,,z",
            "",
            "x,y,z+",
        ] {
            assert_eq!(Operation::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn symbols_old_and_new_give_groups_of_the_right_order() {
        for (symbol, order) in [
            ("P m -3 m", 48),
            ("Pm3m", 48),
            ("F m -3 m", 192),
            ("F 4/m -3 2/m", 192),
            ("F d -3 m :2", 192),
            ("F d -3 m Z", 192),
            ("C m c a", 16),
            ("P b n m", 8),
            ("P 1 21/n 1", 4),
            ("P 21/n", 4),
            ("P 1", 1),
        ] {
            let (operations, name) = look_up(&named(symbol), &CUBIC).unwrap();
            assert_eq!(operations.len(), order, "{symbol}: {name}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_asked_for() {
        for (symbol, expected) in [
            ("F d -3 m", "two choices of the origin"),
            ("P 63 m c", "do not have its symmetry"),
            ("Q 7", "not in the tables"),
            ("P m -3 m :2", "in a setting `2`"),
        ] {
            let (got, _) = look_up(&named(symbol), &CUBIC).unwrap_err();
            assert!(got.contains(expected), "{symbol}: {got}");
        }
    }

    #[test]
    fn the_shape_of_the_cell_tells_hexagonal_from_rhombohedral_axes() {
        let hexagonal = [[31.0, -15.5, 0.0], [-15.5, 31.0, 0.0], [0.0, 0.0, 192.0]];
        let rhombohedral = [[31.0, 15.0, 15.0], [15.0, 31.0, 15.0], [15.0, 15.0, 31.0]];
        assert_eq!(look_up(&named("R 3 c"), &hexagonal).unwrap().0.len(), 18);
        assert_eq!(look_up(&named("R 3 c"), &rhombohedral).unwrap().0.len(), 6);
    }

    /// Every setting of the tables: the operations form a group, so the product of any two is again one of them.
    #[test]
    fn the_operations_of_every_setting_form_a_group() {
        for entry in (1..=SETTINGS).filter_map(hall_symbol_entry) {
            let all = operations(&entry);
            let key = |o: &Operation| {
                let wrapped = o
                    .translation
                    .map(|t| (t * 24.0).round().rem_euclid(24.0) as i32);
                (o.rotation.map(|row| row.map(|x| x as i32)), wrapped)
            };
            let set: std::collections::BTreeSet<_> = all.iter().map(key).collect();
            assert_eq!(set.len(), all.len(), "{}", entry.hall_symbol);
            for first in all.iter().take(12) {
                for second in &all {
                    let both = Operation {
                        rotation: product(&first.rotation, &second.rotation),
                        translation: first.apply(second.translation),
                    };
                    assert!(set.contains(&key(&both)), "{}", entry.hall_symbol);
                }
            }
        }
    }
}
