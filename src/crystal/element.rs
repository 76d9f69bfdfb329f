//! Chemical symbols and atomic numbers.

/// Symbols of the elements from hydrogen (1) to oganesson (118).
const SYMBOLS: [&str; 118] = [
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl",
    "Ar", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As",
    "Se", "Br", "Kr", "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In",
    "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb",
    "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl",
    "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm", "Bk",
    "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh",
    "Fl", "Mc", "Lv", "Ts", "Og",
];

/// Oxygen.
pub const O: u8 = 8;
/// Titanium.
pub const TI: u8 = 22;
/// Iron.
pub const FE: u8 = 26;
/// Strontium.
pub const SR: u8 = 38;
/// Samarium.
pub const SM: u8 = 62;
/// Bismuth.
pub const BI: u8 = 83;

/// The atomic number of a symbol written as usual, `Fe`; nothing if there is no such element.
#[must_use]
pub fn number(symbol: &str) -> Option<u8> {
    let index = SYMBOLS.iter().position(|known| *known == symbol)?;
    u8::try_from(index + 1).ok()
}

/// The symbol of an atomic number; `?` if there is no such element.
#[must_use]
pub fn symbol(number: u8) -> &'static str {
    let index = usize::from(number).wrapping_sub(1);
    SYMBOLS.get(index).copied().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_and_numbers_belong_together() {
        for (name, expected) in [
            ("H", 1),
            ("O", 8),
            ("Fe", 26),
            ("Sm", 62),
            ("Bi", 83),
            ("Og", 118),
        ] {
            assert_eq!(number(name), Some(expected));
            assert_eq!(symbol(expected), name);
        }
        for (constant, name) in [
            (O, "O"),
            (TI, "Ti"),
            (FE, "Fe"),
            (SR, "Sr"),
            (SM, "Sm"),
            (BI, "Bi"),
        ] {
            assert_eq!(symbol(constant), name);
        }
        assert_eq!((number("fe"), number("Xx"), symbol(0)), (None, None, "?"));
    }
}
