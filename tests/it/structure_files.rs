//! Structure files: the same crystal told in different ways is the same crystal, and bad files are refused with their line.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::fs;

use ferrostem::crystal::structure_file::{Loaded, StructureFile, write_extended_xyz};
use ferrostem::crystal::{External, Specimen, Structure, Sublattice};
use ferrostem::settings::Source;

/// BiFeO₃ in hexagonal axes, Bi at the origin: the coordinates of the project's recipe (Palewicz et al., Acta Cryst. B 63, 537 (2007))
/// carried over from pseudocubic axes, in the hexagonal cell.
const CELL: &str = "data_BiFeO3\n_cell_length_a 5.57882(5)\n_cell_length_b 5.57882(5)\n_cell_length_c 13.86932(16)\n\
    _cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 120\n";
const SITES: &str = "loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n\
    _atom_site_fract_z\n_atom_site_U_iso_or_equiv\n\
    Bi1 Bi3+ 0 0 0 0.0054(2)\nFe1 Fe3+ 0 0 0.22021(12) 0.0047\nO1 O2- 0.44690(2) 0.01810(3) 0.95183(2) 0.0081\n";
const SYMOPS: &str = "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-y,x-y,z\n-x+y,-x,z\n-y,-x,z+1/2\n-x+y,y,z+1/2\n'x, x-y, z+1/2'\n\
    x+2/3,y+1/3,z+1/3\n-y+2/3,x-y+1/3,z+1/3\n-x+y+2/3,-x+1/3,z+1/3\n-y+2/3,-x+1/3,z+5/6\n-x+y+2/3,y+1/3,z+5/6\n\
    x+2/3,x-y+1/3,z+5/6\nx+1/3,y+2/3,z+2/3\n-y+1/3,x-y+2/3,z+2/3\n-x+y+1/3,-x+2/3,z+2/3\n-y+1/3,-x+2/3,z+1/6\n\
    -x+y+1/3,y+2/3,z+1/6\nx+1/3,x-y+2/3,z+1/6\n";
const HM: &str = "_symmetry_space_group_name_H-M 'R 3 c'\n";
const NUMBER: &str = "_space_group_IT_number 161\n";
const HALL: &str = "_space_group_name_Hall 'R 3 -2\"c'\n";

/// Loads a file of this text and name with these settings.
fn load_named(name: &str, text: &str, settings: &str, seed: u64) -> ferrostem::Result<Loaded> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), text).unwrap();
    let toml = folder.path().join("s.toml");
    fs::write(&toml, format!("path = \"{name}\"\n{settings}\n")).unwrap();
    let source = Source::read(&toml)?;
    let file: StructureFile = source.parse()?;
    file.validate(&source)?;
    file.load(&source, seed)
}

fn load(text: &str, settings: &str) -> Loaded {
    load_named("crystal.cif", text, settings, 1).unwrap()
}

/// The largest distance from an atom of one structure to the nearest of the same element of the other [Å], periodic.
fn distance(one: &Structure, other: &Structure, cell: [f64; 3]) -> f64 {
    let nearest = |(position, number): (&[f64; 3], &u8)| {
        let same = other
            .positions
            .iter()
            .zip(&other.numbers)
            .filter(|(_, n)| *n == number);
        same.map(|(p, _)| {
            let square = |axis: usize| {
                let d = p[axis] - position[axis];
                (d - (d / cell[axis]).round() * cell[axis]).powi(2)
            };
            (square(0) + square(1) + square(2)).sqrt()
        })
        .fold(f64::INFINITY, f64::min)
    };
    one.positions
        .iter()
        .zip(&one.numbers)
        .map(nearest)
        .fold(0.0, f64::max)
}

/// The rectangular box of a hexagonal cell: a, a + 2b, c.
const RECTANGULAR: &str = "supercell = [[1, 0, 0], [1, 2, 0], [0, 0, 1]]";

#[test]
fn symbol_number_operations_and_listed_atoms_give_the_same_crystal() {
    let reference = load(&format!("{CELL}{SYMOPS}{SITES}"), RECTANGULAR);
    // 30 atoms in the hexagonal cell: six formula units.
    assert_eq!(reference.structure.len(), 60);
    let listed = as_p1(&reference.structure);
    let rhombohedral = rhombohedral_cif();
    for (name, text, settings) in [
        (
            "symbol",
            format!("{CELL}{HM}{SITES}"),
            RECTANGULAR.to_owned(),
        ),
        (
            "number",
            format!("{CELL}{NUMBER}{SITES}"),
            RECTANGULAR.to_owned(),
        ),
        (
            "Hall symbol",
            format!("{CELL}{HALL}{SITES}"),
            RECTANGULAR.to_owned(),
        ),
        (
            "settings",
            format!("{CELL}{SITES}"),
            format!("{RECTANGULAR}\nspace_group = \"R 3 c :H\""),
        ),
        ("P 1", listed, String::new()),
        // The same box from rhombohedral axes: a − b, b − c and a + b + c are the hexagonal ones.
        (
            "rhombohedral axes",
            rhombohedral,
            "supercell = [[1, -1, 0], [1, 1, -2], [1, 1, 1]]".to_owned(),
        ),
    ] {
        let found = load(&text, &settings);
        assert_eq!(found.structure.len(), 60, "{name}: {:?}", found.notes);
        let apart = distance(
            &found.structure,
            &reference.structure,
            reference.structure.cell,
        );
        // Coordinates of five to six digits in cells of up to 14 Å.
        assert!(apart < 2e-4, "{name}: {apart} Å, {:?}", found.notes);
    }
}

/// The atoms of a box, each listed, without symmetry.
fn as_p1(structure: &Structure) -> String {
    let [a, b, c] = structure.cell;
    let mut text = format!(
        "data_p1\n_cell_length_a {a}\n_cell_length_b {b}\n_cell_length_c {c}\n_cell_angle_alpha 90.\n_cell_angle_beta 90.\n\
         _cell_angle_gamma 90.\n_space_group_name_H-M_alt 'P 1'\nloop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n\
         _atom_site_fract_z\n"
    );
    for (number, p) in structure.numbers.iter().zip(&structure.positions) {
        let symbol = ferrostem::crystal::element::symbol(*number);
        text += &format!("{symbol}1 {} {} {}\n", p[0] / a, p[1] / b, p[2] / c);
    }
    text
}

/// The same crystal in rhombohedral axes (obverse setting): a_r² = a²/3 + c²/9.
fn rhombohedral_cif() -> String {
    let (a, c) = (5.57882_f64, 13.86932_f64);
    let edge = (a * a / 3.0 + c * c / 9.0).sqrt();
    let alpha = (2.0 * (1.5 / (3.0 + (c / a).powi(2)).sqrt()).asin()).to_degrees();
    // International Tables A, 5.1: x_r = x_h + z_h, y_r = −x_h + y_h + z_h, z_r = −y_h + z_h.
    let turn = |[x, y, z]: [f64; 3]| [x + z, -x + y + z, -y + z];
    let mut text = format!(
        "data_r\n_cell_length_a {edge}\n_cell_length_b {edge}\n_cell_length_c {edge}\n_cell_angle_alpha {alpha}\n\
         _cell_angle_beta {alpha}\n_cell_angle_gamma {alpha}\n_space_group_name_H-M_alt 'R 3 c'\nloop_\n_atom_site_label\n\
         _atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    );
    for (label, position) in [
        ("Bi1", [0.0; 3]),
        ("Fe1", [0.0, 0.0, 0.22021]),
        ("O1", [0.4469, 0.0181, 0.95183]),
    ] {
        let [x, y, z] = turn(position);
        text += &format!("{label} {x:.6} {y:.6} {z:.6}\n");
    }
    text
}

/// Pseudocubic 2 × 2 × 2 axes of the hexagonal cell: −a+b+c, a−b+c, a+b−c of the rhombohedral vectors a, b, c.
const PSEUDOCUBIC: &str =
    "supercell = [[-1.3333, -0.6667, 0.3333], [0.6667, -0.6667, 0.3333], [0.6667, 1.3333, 0.3333]]";
const SUBLATTICES: &str = "a_elements = [\"Bi\"]\nb_elements = [\"Fe\"]";

#[test]
fn the_pseudocubic_box_of_a_hexagonal_file_is_the_recipe() {
    let text = format!("{CELL}{HM}{SITES}");
    let found = load(&text, &format!("{PSEUDOCUBIC}\n{SUBLATTICES}"));
    let lattice = found.structure.cell[0] / 2.0;
    // |−a+b+c| / 2 of this cell; the recipe has 3.9643 Å.
    assert!((lattice - 3.9643).abs() < 0.005, "{lattice}");
    let text = format!(
        "cells = [2, 2, 2]
lattice_angstrom = {lattice}
[r3c]
amplitude = 1.0
texture = {{ uniform = {{ direction = [1.0, 1.0, 1.0] }} }}
"
    );
    let crystal: Specimen = Source::from_text("recipe.toml", text).parse().unwrap();
    let (mut recipe, truth) = crystal.build(0, &External::default()).unwrap();
    let origin = recipe.positions[0];
    for position in &mut recipe.positions {
        *position = std::array::from_fn(|axis| position[axis] - origin[axis]);
    }
    assert_eq!(found.structure.len(), 40);
    let apart = distance(&found.structure, &recipe, found.structure.cell);
    // Five digits in a cell of 14 Å.
    assert!(apart < 3e-4, "{apart} Å");
    assert_eq!(found.truth.displacements.len(), 4);
    for (d, expected) in found.truth.displacements.iter().zip(&truth.displacements) {
        assert!(
            (0..2).all(|i| (d[i] - expected[i]).abs() < 0.05),
            "{d:?} {expected:?}"
        );
    }
    let note = found
        .notes
        .iter()
        .find(|note| note.contains("strain"))
        .unwrap();
    // 89.43° between the axes: cosines of 0.0099, so −0.98 % along the polar axis, (1 + 2 · 0.0099)^(−½) − 1.
    assert!(
        note.contains("89.431°") && note.contains("strain 0.0097"),
        "{note}"
    );
    assert!((found.rms[&83] - 0.0054_f64.sqrt()).abs() < 1e-12);
}

#[test]
fn a_strain_beyond_the_limit_and_foreign_translations_are_refused() {
    let text = format!("{CELL}{HM}{SITES}");
    for (settings, expected) in [
        (
            format!("{PSEUDOCUBIC}\nlargest_strain = 0.005"),
            "a box with angles 89.4",
        ),
        (String::new(), "a box with angles 90.00°, 90.00°, 120.00°"),
        (
            "supercell = [[0.5, 0, 0], [0, 1, 0], [0, 0, 1]]".to_owned(),
            "no translation of the crystal",
        ),
        (
            "supercell = [[1, 2, 0], [1, 0, 0], [0, 0, 1]]".to_owned(),
            "right-handed",
        ),
        (
            "beam = [0, 0, 1]\nright = [1, 0.1, 0]\nlargest_strain = 0.0".to_owned(),
            "s.toml:2: beam: got [0.0, 0.0, 1.0], along",
        ),
    ] {
        let error = load_named("crystal.cif", &text, &settings, 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

const STRONTIUM_TITANATE: &str = "data_STO\n_cell_length_a 3.905\n_cell_length_b 3.905\n_cell_length_c 3.905\n\
    _cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'P m -3 m'\nloop_\n\
    _atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n_atom_site_B_iso_or_equiv\n\
    Sr1 0 0 0 1 0.5\nTi1 .5 .5 .5 1 0.3\nO1 .5 .5 0 1 0.7\n";

#[test]
fn strontium_titanate_has_five_atoms_no_displacement_and_boxes_along_every_beam() {
    let settings = "a_elements = [\"Sr\"]\nb_elements = [\"Ti\"]\ncells = [2, 3, 4]\nshift_angstrom = [0, 0, 0.97625]";
    let found = load(STRONTIUM_TITANATE, settings);
    assert_eq!(found.structure.len(), 5 * 24);
    assert_eq!(
        (found.truth.a_columns.len(), found.truth.displacements.len()),
        (6, 6)
    );
    assert!(
        found
            .truth
            .displacements
            .iter()
            .flatten()
            .all(|d| d.abs() < 1e-9)
    );
    let strontium = found
        .structure
        .sublattices
        .iter()
        .filter(|kind| **kind == Sublattice::A);
    assert_eq!(strontium.count(), 24);
    // Planes in the middle of slices of half a cell.
    let middle = |p: &[f64; 3]| ((p[2] / 1.9525).rem_euclid(1.0) - 0.5).abs() < 1e-9;
    assert!(found.structure.positions.iter().all(middle));
    let u = (0.7 / (8.0 * std::f64::consts::PI.powi(2))).sqrt();
    assert!((found.rms[&8] - u).abs() < 1e-12);
    for (beam, cells) in [
        ("[1, 0, 0]", 1),
        ("[1, 1, 0]", 2),
        ("[1, 1, 1]", 6),
        ("[1, 2, 0]", 5),
    ] {
        let found = load(STRONTIUM_TITANATE, &format!("beam = {beam}"));
        assert_eq!(
            found.structure.len(),
            5 * cells,
            "{beam}: {:?}",
            found.notes
        );
    }
}

#[test]
fn partial_occupancy_is_drawn_the_same_in_boxes_of_any_size() {
    let mixed = STRONTIUM_TITANATE.replace(
        "Sr1 0 0 0 1 0.5\n",
        "Sr1 0 0 0 0.6 0.5\nBi1 0 0 0 0.3 0.5\n",
    );
    let small = load(&mixed, "cells = [8, 8, 8]").structure;
    let large = load(&mixed, "cells = [8, 8, 16]").structure;
    let at = |structure: &Structure| {
        let mut list: Vec<_> = structure
            .positions
            .iter()
            .zip(&structure.numbers)
            .filter(|(p, _)| p[2] < 31.0)
            .map(|(p, n)| (p.map(|x| (x * 1e3).round() as i64), *n))
            .collect();
        list.sort_unstable();
        list
    };
    assert_eq!(at(&small), at(&large));
    let count = |number: u8| large.numbers.iter().filter(|&&n| n == number).count() as f64 / 1024.0;
    // 1024 sites: the standard deviation of a fraction is at most 0.016.
    assert!((count(38) - 0.6).abs() < 0.05 && (count(83) - 0.3).abs() < 0.05 && count(22) == 1.0);
    let other = load_named("crystal.cif", &mixed, "cells = [8, 8, 8]", 2).unwrap();
    assert_ne!(other.structure, small);
    assert!(
        other
            .notes
            .iter()
            .any(|note| note.contains("1 of 5 sites are partly occupied")),
        "{:?}",
        other.notes
    );
}

#[test]
fn extended_xyz_comes_back_as_it_was_written() {
    let first = load(&format!("{CELL}{HM}{SITES}"), RECTANGULAR).structure;
    let text = write_extended_xyz(&first);
    let again = load_named("crystal.xyz", &text, "", 1).unwrap().structure;
    assert_eq!(again.numbers, first.numbers);
    let apart = distance(&again, &first, first.cell);
    // Positions are divided by the edges and multiplied again.
    assert!(apart < 1e-12, "{apart}");
    assert_eq!(again.cell, first.cell);
}

#[test]
fn the_xyz_of_multislice_programs_is_read_with_occupancy_and_motion() {
    let text = "one cell of SrTiO3\n 3.905 3.905 3.905\n38 0 0 0 1.0 0.08\n22 1.9525 1.9525 1.9525 1 0.06\n\
        8 1.9525 1.9525 0 1 0.1\n8 1.9525 0 1.9525 1 0.1\n8 0 1.9525 1.9525 1 0.1\n-1\n";
    let found = load_named("sto.xyz", text, "cells = [2, 2, 1]", 1).unwrap();
    let reference = load(STRONTIUM_TITANATE, "cells = [2, 2, 1]");
    assert_eq!(found.structure.len(), 20);
    assert!(
        distance(
            &found.structure,
            &reference.structure,
            reference.structure.cell
        ) < 1e-9
    );
    assert!((found.rms[&38] - 0.08).abs() < 1e-12);
}

#[test]
fn bad_structure_files_are_refused_with_file_and_line() {
    let sto = STRONTIUM_TITANATE;
    for (name, text, settings, expected) in [
        (
            "c.cif",
            sto.replace("Ti1 .5", "Xx1 .5"),
            "",
            "c.cif: line 17: _atom_site_label: got `Xx1`",
        ),
        (
            "c.cif",
            sto.replace("Ti1 .5", "Ti1 a.5"),
            "",
            "line 17: _atom_site_fract_x: got `a.5`; allowed: a number",
        ),
        (
            "c.cif",
            sto.replace("_cell_length_b 3.905\n", ""),
            "",
            "no _cell_length_b",
        ),
        (
            "c.cif",
            sto.replace("_cell_angle_beta 90", "_cell_angle_beta 0"),
            "",
            "line 6: _cell_angle_beta: got `0`",
        ),
        (
            "c.cif",
            sto.replace("P m -3 m", "P m 3 q"),
            "",
            "line 8: got a space group that is not in the tables: `P m 3 q`",
        ),
        (
            "c.cif",
            sto.replace("P m -3 m", "F d -3 m"),
            "",
            "two choices of the origin; allowed: the choice: `space_group`",
        ),
        (
            "c.cif",
            sto.replace("P m -3 m", "P 63 m c"),
            "",
            "do not have its symmetry",
        ),
        (
            "c.cif",
            sto.replace("_symmetry_space_group_name_H-M 'P m -3 m'", ""),
            "",
            "got no space group",
        ),
        (
            "c.cif",
            sto.replace("O1 .5 .5 0 1", "O1 .5 .5 .45 1"),
            "",
            "lines 17 and 18: got atoms on top of each other: Ti, O",
        ),
        (
            "c.cif",
            sto.replace("Ti1 .5 .5 .5 1", "Ti1 0 0 0 0.4")
                .replace("Sr1 0 0 0 1", "Sr1 0 0 0 .8"),
            "",
            "occupancies of Sr, Ti that sum to 1.2",
        ),
        (
            "c.cif",
            sto.replace("O1 .5 .5 0 1", "O1 .5 .5 0 1.2"),
            "",
            "line 18: got an occupancy of 1.2",
        ),
        ("c.cif", "data_a\n_b 1\n".to_owned(), "", "no atoms"),
        (
            "c.cif",
            sto.to_owned(),
            "block = \"other\"",
            "no block `other`, only STO",
        ),
        (
            "c.xyz",
            "2\n\nFe 0 0 0\nO 1 1 1\n".to_owned(),
            "",
            "line 2: got no cell",
        ),
        (
            "c.xyz",
            "2\nLattice=\"5 0 0 0 5 0 0 0 5\"\nFe 0 0 0\n".to_owned(),
            "",
            "line 1: got 2 atoms stated, 1 lines left",
        ),
        (
            "c.xyz",
            "1\nLattice=\"5 0 0 0 5 0\"\nFe 0 0 0\n".to_owned(),
            "",
            "line 2: got Lattice `5 0 0 0 5 0`",
        ),
        (
            "c.xyz",
            "1\nLattice=\"5 0 0 0 5 0 0 0 -5\"\nFe 0 0 0\n".to_owned(),
            "",
            "right-handed",
        ),
        (
            "c.xyz",
            "1\nLattice=\"5 0 0 0 5 0 0 0 5\" pbc=\"T T F\"\nFe 0 0 0\n".to_owned(),
            "cells = [1, 1, 2]",
            "not periodic (pbc)",
        ),
        (
            "c.xyz",
            "cell\n5 5 5\n26 0 0 0 1\n199 1 1 1 1\n-1\n".to_owned(),
            "",
            "line 4: got `199`",
        ),
        ("c.dat", "x".to_owned(), "", "got a file named .dat"),
    ] {
        let error = load_named(name, &text, settings, 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{expected}\n{error}");
    }
    for (settings, expected) in [
        ("beam = [0, 0, 0]", "s.toml:2: beam: got [0.0, 0.0, 0.0]"),
        ("right = [1, 0, 0]", "right without beam"),
        (
            "a_elements = [\"Sr\"]\nb_elements = [\"Sr\"]",
            "s.toml:3: b_elements: got `Sr`, which is an A element too",
        ),
        ("cells = [0, 1, 1]", "cells: got [0, 1, 1]"),
        ("path2 = 1", "unknown field"),
    ] {
        let error = load_named("c.cif", sto, settings, 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    let source = Source::from_text("s.toml", "path = \"absent.cif\"");
    let file: StructureFile = source.parse().unwrap();
    let error = file.load(&source, 1).unwrap_err().to_string();
    assert!(error.contains("absent.cif: cannot read"), "{error}");
}
