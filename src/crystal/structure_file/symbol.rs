//! Elements as files write them: `Bi3+`, `O2-`, `Fe1`, `83`.

use crate::crystal::element;

/// The element of a type symbol, a charge or an index behind it: `Bi3+`, `O2-`, `Fe`, `Ti1`.
pub(super) fn of_ion(text: &str) -> Option<u8> {
    let (letters, rest) = split(text);
    let charge = rest
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    if charge { exact(letters) } else { None }
}

/// The element of an atom's label: `Fe1`, `OW2`, `BI1A`.
pub(super) fn of_label(text: &str) -> Option<u8> {
    let (letters, _) = split(text);
    if letters.to_ascii_lowercase().starts_with("va") && letters.len() != 1 {
        return None; // a vacancy is not vanadium
    }
    let start = |length: usize| letters.get(..length).and_then(exact);
    exact(letters).or_else(|| start(2)).or_else(|| start(1))
}

/// The element of a symbol or of an atomic number.
pub(super) fn of_species(text: &str) -> Option<u8> {
    match text.parse::<u8>() {
        Ok(number) if element::symbol(number) != "?" => Some(number),
        Ok(_) => None,
        Err(_) => of_ion(text),
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// The element of letters in any case; deuterium and tritium are hydrogen.
fn exact(letters: &str) -> Option<u8> {
    let mut name = letters.to_ascii_lowercase();
    if matches!(name.as_str(), "d" | "t") {
        return Some(1);
    }
    name.get_mut(..1)?.make_ascii_uppercase();
    element::number(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_told_with_charge_index_and_in_any_case() {
        for (text, number) in [
            ("Bi3+", 83),
            ("O2-", 8),
            ("FE", 26),
            ("Ti+4", 22),
            ("D", 1),
            ("Fe1", 26),
        ] {
            assert_eq!(of_ion(text), Some(number), "{text}");
        }
        for text in ["", "Xx", "Va", "Bi/Sm", "3+", "é"] {
            assert_eq!(of_ion(text), None, "{text}");
        }
        for (text, number) in [("Fe1", 26), ("OW2", 8), ("BI1A", 83), ("O_3", 8)] {
            assert_eq!(of_label(text), Some(number), "{text}");
        }
        assert_eq!((of_label("Vac1"), of_label("1")), (None, None));
        assert_eq!(
            (of_species("83"), of_species("Bi"), of_species("0")),
            (Some(83), Some(83), None)
        );
    }
}
