//! The syntax of CIF 1.1: data blocks of tags with one value, and loops of tags with many (Hall, Allen & Brown, Acta Cryst. A 47,
//! 655 (1991); International Tables for Crystallography G, ch. 2.2).
//!
//! Tags are compared in lower case and with `.` as `_`, so that `_atom_site.fract_x` of newer dictionaries is `_atom_site_fract_x`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};

/// A value as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    /// The text without its quotes.
    pub(super) text: String,
    /// Line of the file, counted from 1.
    pub(super) line: usize,
    /// Whether it stood in quotes or in a text field: then `?` and `.` are characters, not "unknown".
    quoted: bool,
}

impl Value {
    /// Whether the value says something: not `?` (unknown) and not `.` (does not apply).
    pub(super) fn known(&self) -> bool {
        self.quoted || !matches!(self.text.as_str(), "?" | ".")
    }

    /// The number, its standard uncertainty in parentheses left off: `0.2207(2)` is 0.2207.
    pub(super) fn number(&self) -> Option<f64> {
        number(&self.text)
    }
}

/// A number of a CIF file; nothing if the text is no finite number.
pub(super) fn number(text: &str) -> Option<f64> {
    let (digits, uncertainty) = text.split_once('(').unwrap_or((text, "0)"));
    let uncertain = uncertainty.strip_suffix(')')?;
    let whole = !uncertain.is_empty() && uncertain.bytes().all(|byte| byte.is_ascii_digit());
    // Rust would also read `inf` and `nan`.
    let plain = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value: f64 = digits.parse().ok()?;
    (whole && plain && value.is_finite()).then_some(value)
}

/// A data block: the values of each tag, one or, in a loop, many.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Block {
    /// The name behind `data_`.
    pub(super) name: String,
    tags: BTreeMap<String, Vec<Value>>,
}

impl Block {
    /// The values of the first of these tags that is there.
    pub(super) fn column(&self, tags: &[&str]) -> Option<&[Value]> {
        tags.iter()
            .find_map(|tag| self.tags.get(*tag))
            .map(Vec::as_slice)
    }

    /// The first known value of these tags.
    pub(super) fn value(&self, tags: &[&str]) -> Option<&Value> {
        tags.iter()
            .filter_map(|tag| self.tags.get(*tag))
            .flatten()
            .find(|value| value.known())
    }
}

/// A piece of the text.
struct Token {
    value: Value,
}

impl Token {
    /// The text in lower case if it is a word of the syntax: a tag, `loop_`, `data_…`.
    fn word(&self) -> Option<String> {
        let word = self.value.text.to_lowercase();
        let syntax = word.starts_with('_')
            || word.starts_with("data_")
            || matches!(word.as_str(), "loop_" | "stop_" | "global_")
            || word.starts_with("save_");
        (!self.value.quoted && syntax).then_some(word)
    }
}

/// All data blocks of a file.
///
/// # Errors
/// A tag without a value, a value without a tag, a loop with an incomplete row, an open quote or text field.
pub(super) fn blocks(path: &Path, text: &str) -> Result<Vec<Block>> {
    let wrong = |line: usize, got: String, allowed: &str| {
        Error::data(path, format!("line {line}"), got, allowed)
    };
    let tokens = tokens(path, text)?;
    let mut blocks: Vec<Block> = Vec::new();
    let mut next = 0;
    while let Some(token) = tokens.get(next) {
        let line = token.value.line;
        let Some(word) = token.word() else {
            let got = format!("`{}`, a value without a tag", token.value.text);
            return Err(wrong(line, got, "a tag such as _cell_length_a before it"));
        };
        next += 1;
        if word.starts_with("data_") {
            blocks.push(Block {
                name: token.value.text["data_".len()..].to_owned(),
                ..Block::default()
            });
            continue;
        }
        let Some(block) = blocks.last_mut() else {
            let got = format!("`{}` before any data block", token.value.text);
            return Err(wrong(line, got, "a line data_NAME first"));
        };
        let values = |from: usize| tokens[from..].iter().take_while(|t| t.word().is_none());
        if word == "loop_" {
            let tags: Vec<String> = tokens[next..]
                .iter()
                .map_while(|token| token.word().filter(|word| word.starts_with('_')))
                .collect();
            next += tags.len();
            let cells: Vec<Value> = values(next).map(|token| token.value.clone()).collect();
            next += cells.len();
            if tags.is_empty() || !cells.len().is_multiple_of(tags.len()) {
                let got = format!("a loop of {} tags and {} values", tags.len(), cells.len());
                return Err(wrong(line, got, "whole rows, one value for each tag"));
            }
            for (column, tag) in tags.iter().enumerate() {
                let column = cells.iter().skip(column).step_by(tags.len()).cloned();
                block.tags.insert(normal(tag), column.collect());
            }
        } else if word.starts_with('_') {
            let Some(value) = values(next).next() else {
                return Err(wrong(line, format!("`{word}` without a value"), "a value"));
            };
            block.tags.insert(normal(&word), vec![value.value.clone()]);
            next += 1;
        }
    }
    Ok(blocks)
}

fn normal(tag: &str) -> String {
    tag.replace('.', "_")
}

/// Cuts the text at blanks, quotes and text fields; comments are left out.
fn tokens(path: &Path, text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut push = |text: &str, line: usize, quoted: bool| {
        tokens.push(Token {
            value: Value {
                text: text.to_owned(),
                line,
                quoted,
            },
        });
    };
    let mut lines = text.lines().enumerate();
    while let Some((index, content)) = lines.next() {
        let line = index + 1;
        if let Some(first) = content.strip_prefix(';') {
            let mut field = first.to_owned();
            loop {
                let Some((_, content)) = lines.next() else {
                    let place = format!("line {line}");
                    let got = "a text field that does not end";
                    return Err(Error::data(path, place, got, "a line that starts with ;"));
                };
                if let Some(rest) = content.strip_prefix(';') {
                    push(field.trim(), line, true);
                    cut(path, rest, line, &mut push)?;
                    break;
                }
                field.push('\n');
                field.push_str(content);
            }
        } else {
            cut(path, content, line, &mut push)?;
        }
    }
    Ok(tokens)
}

/// Cuts what stands on one line.
fn cut(
    path: &Path,
    content: &str,
    line: usize,
    push: &mut impl FnMut(&str, usize, bool),
) -> Result<()> {
    let mut rest = content.trim_start();
    while let Some(first) = rest.chars().next() {
        let after = match first {
            '#' => return Ok(()),
            '\'' | '"' => {
                // A quote inside a word does not end it: 'a dog's life' is one value.
                let inside = &rest[1..];
                let end = inside.match_indices(first).find(|(at, _)| {
                    let next = inside[at + 1..].chars().next();
                    next.is_none_or(char::is_whitespace)
                });
                let Some((end, _)) = end else {
                    let got = format!("`{rest}`, a quote that does not end");
                    let place = format!("line {line}");
                    return Err(Error::data(path, place, got, "a closing quote"));
                };
                push(&inside[..end], line, true);
                &inside[end + 1..]
            }
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                push(&rest[..end], line, false);
                &rest[end..]
            }
        };
        rest = after.trim_start();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a comment\ndata_First\n_Cell_Length_A 3.905(1) # trailing\n_title\n;two\nlines;\n;\n\
        loop_\n_atom_site.label\n_atom_site.fract_x\n'O''s 1' ? Ti1 .5\n\ndata_second _x \"a 'b' c\"\n";

    #[test]
    fn quotes_loops_text_fields_and_comments_are_told_apart() {
        let blocks = blocks(Path::new("t.cif"), TEXT).unwrap();
        assert_eq!(blocks.len(), 2);
        let first = &blocks[0];
        assert_eq!(first.name, "First");
        let length = first.value(&["_cell_length_a"]).unwrap();
        assert_eq!((length.number(), length.line), (Some(3.905), 3));
        assert_eq!(first.value(&["_title"]).unwrap().text, "two\nlines;");
        let labels = first.column(&["_atom_site_label"]).unwrap();
        assert_eq!(labels[0].text, "O''s 1");
        let x = first.column(&["_atom_site_fract_x"]).unwrap();
        assert!(!x[0].known());
        assert_eq!((x[1].number(), x[1].line), (Some(0.5), 11));
        assert_eq!(blocks[1].value(&["_x"]).unwrap().text, "a 'b' c");
    }

    #[test]
    fn broken_syntax_is_refused_with_its_line() {
        for (text, expected) in [
            ("data_a\n_b 'open\n", "line 2: got `'open`"),
            ("data_a\n_b\n;open\n", "line 3: got a text field"),
            (
                "data_a\nloop_\n_b\n_c\n1 2 3\n",
                "line 2: got a loop of 2 tags and 3 values",
            ),
            ("data_a\n_b\n_c 1\n", "line 2: got `_b` without a value"),
            ("data_a\n5\n", "line 2: got `5`, a value without a tag"),
            ("_b 1\n", "line 1: got `_b` before any data block"),
        ] {
            let error = blocks(Path::new("t.cif"), text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_read_as_one() {
        for text in [
            "nan", "inf", "0.5(", "0.5()", "0.5(2)x", "0.5(a)", "", "1e999", "1/2",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    proptest::proptest! {
        /// Any number survives being written with any uncertainty.
        #[test]
        fn numbers_are_read_with_and_without_uncertainty(value in -1e6..1e6_f64, uncertainty in 0..1000_u32) {
            proptest::prop_assert_eq!(number(&value.to_string()), Some(value));
            proptest::prop_assert_eq!(number(&format!("{value:e}({uncertainty})")), Some(value));
        }

        /// No text makes the reader panic.
        #[test]
        fn no_text_breaks_the_reader(text in "[ -~\n;'\"#_]{0,60}") {
            let _ = blocks(Path::new("t.cif"), &format!("data_a\nloop_ _b\n{text}"));
        }
    }
}
