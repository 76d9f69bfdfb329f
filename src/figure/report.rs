//! `report.html`: one page that holds everything it shows and asks nothing of the network.
//!
//! Figures stand in it as SVG, or as PNG where that is smaller (tens of thousands of cells). The page follows the reader's
//! preference for a light or dark ground, fits a phone, and prints.

use std::fmt::Write;
use std::path::Path;

use base64::Engine;

use super::canvas::{escape, png_uri};
use super::colour::{FAINT, GRID, INK, PAPER};
use super::{Figure, font};
use crate::error::Result;
use crate::storage::output::{refuse_file, write_file};

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");
/// Figures with more bytes of SVG are tried as PNG.
const LARGE_SVG: usize = 1_000_000;
/// Pixels of such a PNG per CSS pixel.
const PNG_SCALE: f64 = 2.0;

/// Everything a report says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Heading of the page.
    pub title: String,
    /// What was done, in one or two sentences.
    pub subtitle: String,
    /// Key numbers, shown first.
    pub tiles: Vec<Tile>,
    /// The body.
    pub sections: Vec<Section>,
    /// Stages and how long they took [s].
    pub timings: Vec<(String, f64)>,
    /// Version, commit, settings, inputs: what is needed to make the results again.
    pub provenance: String,
    /// Made by a run that only tests the machinery.
    pub smoke: bool,
}

/// A key number.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tile {
    /// The number with its unit, such as `3.1 pm`.
    pub value: String,
    /// What it is.
    pub label: String,
    /// What it compares with, or how sure it is; may be empty.
    pub note: String,
}

/// A part of the body.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Section {
    /// Heading, also in the contents.
    pub heading: String,
    /// Paragraphs of plain text.
    pub paragraphs: Vec<String>,
    /// Captions and figures.
    pub figures: Vec<(String, Figure)>,
    /// Tables.
    pub tables: Vec<Table>,
}

/// A table of texts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Names of the columns, with units.
    pub header: Vec<String>,
    /// Cells, row by row; columns of numbers are set flush right.
    pub rows: Vec<Vec<String>>,
}

impl Report {
    /// The page.
    ///
    /// # Errors
    /// A large figure cannot be rasterised.
    pub fn to_html(&self) -> Result<String> {
        let mut page = Page::default();
        page.head(self);
        page.contents(self);
        page.line("<main>");
        page.opening(self);
        for (index, section) in self.sections.iter().enumerate() {
            page.section(section, index + 1, self.smoke)?;
        }
        page.timings(&self.timings);
        page.provenance(&self.provenance);
        page.line("</main>\n</div>\n<dialog id=\"zoom\" aria-label=\"Enlarged figure\"></dialog>");
        page.line(&format!("<script>\n{SCRIPT}</script>\n</body>\n</html>"));
        Ok(page.html)
    }

    /// Writes the page.
    ///
    /// # Errors
    /// The file exists and `force` is not set, or the system refuses.
    pub fn save(&self, path: &Path, force: bool) -> Result<()> {
        refuse_file(path, force)?;
        write_file(path, self.to_html()?.as_bytes())
    }
}

/// The page as far as it is written; figures and tables are numbered through.
#[derive(Default)]
struct Page {
    html: String,
    figures: usize,
    tables: usize,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.html.push_str(text);
        self.html.push('\n');
    }

    /// `<tag class="class">text</tag>`, text escaped; nothing for an empty text.
    fn element(&mut self, tag: &str, class: &str, text: &str) {
        if !text.is_empty() {
            self.line(&format!(
                "<{tag} class=\"{class}\">{}</{tag}>",
                escape(text)
            ));
        }
    }

    fn head(&mut self, report: &Report) {
        let smoke = if report.smoke { "SMOKE · " } else { "" };
        let title = escape(&report.title);
        self.line("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">");
        self.line("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        self.line("<meta name=\"color-scheme\" content=\"light dark\">");
        self.line(&format!("<title>{smoke}{title}</title>\n<style>"));
        for (weight, bytes) in [("normal", font::REGULAR), ("bold", font::BOLD)] {
            let data = base64::engine::general_purpose::STANDARD.encode(bytes);
            let family = font::EMBEDDED_FAMILY;
            self.line(&format!(
                "@font-face {{ font-family: \"{family}\"; font-weight: {weight}; src: url(data:font/ttf;base64,{data}); }}"
            ));
        }
        self.line(STYLE);
        self.line(&dark_figures());
        self.line("</style>\n</head>\n<body>");
        if report.smoke {
            self.line("<p class=\"smoke\"><strong>SMOKE</strong> A run that only tests the machinery: its numbers mean nothing.</p>");
        }
    }

    fn contents(&mut self, report: &Report) {
        self.line("<div class=\"page\">\n<nav aria-label=\"Contents\">\n<p>Contents</p>\n<ol>");
        let named = report.sections.iter().enumerate();
        for (index, section) in named {
            let heading = escape(&section.heading);
            self.line(&format!(
                "<li><a href=\"#section-{}\">{heading}</a></li>",
                index + 1
            ));
        }
        for (id, name, is_there) in [
            ("time", "Time", !report.timings.is_empty()),
            ("provenance", "Provenance", !report.provenance.is_empty()),
        ] {
            if is_there {
                self.line(&format!("<li><a href=\"#{id}\">{name}</a></li>"));
            }
        }
        self.line("</ol>\n</nav>");
    }

    fn opening(&mut self, report: &Report) {
        self.line("<header>");
        self.element("h1", "title", &report.title);
        self.element("p", "subtitle", &report.subtitle);
        self.line("</header>");
        if report.tiles.is_empty() {
            return;
        }
        self.line("<div class=\"tiles\">");
        for tile in &report.tiles {
            self.line("<div class=\"tile\">");
            self.element("p", "label", &tile.label);
            self.element("p", "value", &tile.value);
            self.element("p", "note", &tile.note);
            self.line("</div>");
        }
        self.line("</div>");
    }

    fn section(&mut self, section: &Section, number: usize, smoke: bool) -> Result<()> {
        self.line(&format!("<section id=\"section-{number}\">"));
        self.element("h2", "heading", &section.heading);
        for paragraph in &section.paragraphs {
            self.element("p", "text", paragraph);
        }
        if !section.figures.is_empty() {
            self.line("<div class=\"figures\">");
            for (caption, figure) in &section.figures {
                self.figure(caption, figure, smoke)?;
            }
            self.line("</div>");
        }
        for table in &section.tables {
            self.table(table);
        }
        self.line("</section>");
        Ok(())
    }

    fn figure(&mut self, caption: &str, figure: &Figure, smoke: bool) -> Result<()> {
        self.figures += 1;
        let marked = smoke.then(|| figure.clone().marked_smoke());
        let figure = marked.as_ref().unwrap_or(figure);
        let (width, height) = (figure.width, figure.height);
        let number = self.figures;
        self.line(&format!("<figure style=\"--w:{width};--h:{height}\">"));
        self.line(&format!(
            "<div class=\"drawing\" title=\"Click to enlarge\">{}</div>",
            picture(figure)?
        ));
        let caption = escape(caption);
        self.line(&format!(
            "<figcaption><b>Figure {number}.</b> {caption}</figcaption>\n</figure>"
        ));
        Ok(())
    }

    fn table(&mut self, table: &Table) {
        self.tables += 1;
        let caption = escape(&table.caption);
        self.line("<div class=\"table\">\n<table>");
        self.line(&format!(
            "<caption><b>Table {}.</b> {caption}</caption>",
            self.tables
        ));
        let columns = table
            .rows
            .iter()
            .map(Vec::len)
            .chain([table.header.len()])
            .max();
        let classes: Vec<&str> = (0..columns.unwrap_or(0))
            .map(|column| {
                if is_numeric(table, column) {
                    "number"
                } else {
                    "word"
                }
            })
            .collect();
        self.row(
            "th",
            &table.header,
            &classes,
            ("<thead>", "</thead>\n<tbody>"),
        );
        for row in &table.rows {
            self.row("td", row, &classes, ("", ""));
        }
        self.line("</tbody>\n</table>\n</div>");
    }

    fn row(&mut self, tag: &str, cells: &[String], classes: &[&str], around: (&str, &str)) {
        let mut line = format!("{}<tr>", around.0);
        for (index, class) in classes.iter().enumerate() {
            let text = escape(cells.get(index).map_or("", String::as_str));
            let _ = write!(line, "<{tag} class=\"{class}\">{text}</{tag}>");
        }
        self.line(&format!("{line}</tr>{}", around.1));
    }

    fn timings(&mut self, timings: &[(String, f64)]) {
        if timings.is_empty() {
            return;
        }
        let total: f64 = timings.iter().map(|(_, seconds)| seconds).sum();
        self.line("<section id=\"time\">\n<h2 class=\"heading\">Time</h2>\n<div class=\"table\">\n<table class=\"timings\">\n<tbody>");
        for (stage, seconds) in timings {
            let share = if total > 0.0 {
                100.0 * seconds / total
            } else {
                0.0
            };
            self.line(&format!(
                "<tr><td class=\"word\">{}</td><td class=\"number\">{}</td>\
                 <td class=\"bar\"><i style=\"width:{share:.1}%\"></i></td></tr>",
                escape(stage),
                duration(*seconds)
            ));
        }
        self.line(&format!(
            "<tr class=\"total\"><td class=\"word\">Total</td><td class=\"number\">{}</td><td></td></tr>",
            duration(total)
        ));
        self.line("</tbody>\n</table>\n</div>\n</section>");
    }

    fn provenance(&mut self, provenance: &str) {
        if provenance.is_empty() {
            return;
        }
        self.line("<section id=\"provenance\">\n<h2 class=\"heading\">Provenance</h2>");
        self.line("<details open><summary>What is needed to make these results again</summary>");
        self.line(&format!(
            "<pre>{}</pre>\n</details>\n</section>",
            escape(provenance)
        ));
    }
}

/// The figure as inline SVG, or as PNG if it is large and that is smaller.
fn picture(figure: &Figure) -> Result<String> {
    if figure.svg.len() > LARGE_SVG {
        let uri = png_uri(&figure.to_png(PNG_SCALE)?);
        if uri.len() < figure.svg.len() {
            let (width, height) = (figure.width, figure.height);
            return Ok(format!(
                "<img src=\"{uri}\" width=\"{width}\" height=\"{height}\" alt=\"\">"
            ));
        }
    }
    Ok(figure.svg.trim_end().to_owned())
}

/// Style rules that turn ink and paper of inline figures around on a dark screen; data keep their colours.
fn dark_figures() -> String {
    let mut rules = String::from("@media screen and (prefers-color-scheme: dark) {\n");
    for (colour, variable) in [
        (INK, "--figure-ink"),
        (FAINT, "--figure-faint"),
        (GRID, "--figure-grid"),
        (PAPER, "--figure-paper"),
    ] {
        for property in ["fill", "stroke"] {
            let hex = colour.hex();
            let _ = writeln!(
                rules,
                "  svg [{property}=\"{hex}\"] {{ {property}: var({variable}); }}"
            );
        }
    }
    rules + "}\n"
}

/// Whether every cell of a column is a number, perhaps with sign, uncertainty or unit.
fn is_numeric(table: &Table, column: usize) -> bool {
    let mut cells = table
        .rows
        .iter()
        .filter_map(|row| row.get(column))
        .filter(|cell| !cell.is_empty());
    let starts_as_number = |cell: &String| {
        let text = cell.trim_start_matches(['−', '-', '+', '±', '<', '>', '≤', '≥', '≈', ' ']);
        text.starts_with(|letter: char| letter.is_ascii_digit())
            || ["–", "NaN"].contains(&cell.as_str())
    };
    let mut is_any = false;
    cells.all(|cell| {
        is_any = true;
        starts_as_number(cell)
    }) && is_any
}

/// A duration as people say it.
fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.2} s");
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_said_is_escaped() {
        let bad = "<script>alert('x')</script>&\"".to_owned();
        let report = Report {
            title: bad.clone(),
            subtitle: bad.clone(),
            tiles: vec![Tile {
                value: bad.clone(),
                label: bad.clone(),
                note: bad.clone(),
            }],
            sections: vec![Section {
                heading: bad.clone(),
                paragraphs: vec![bad.clone()],
                figures: Vec::new(),
                tables: vec![Table {
                    caption: bad.clone(),
                    header: vec![bad.clone()],
                    rows: vec![vec![bad.clone()]],
                }],
            }],
            timings: vec![(bad.clone(), 1.0)],
            provenance: bad,
            smoke: true,
        };
        let html = report.to_html().unwrap();
        assert!(!html.contains("<script>alert"));
        // Title twice (tab and page), contents, heading, subtitle, three of the tile, paragraph, caption, header, cell, stage,
        // provenance.
        assert_eq!(html.matches("&lt;script&gt;alert").count(), 14);
        assert!(html.contains("SMOKE"));
    }

    #[test]
    fn durations_and_number_columns_read_well() {
        assert_eq!(duration(0.123), "0.12 s");
        assert_eq!(duration(59.7), "1 min 00 s");
        assert_eq!(duration(7384.0), "2 h 03 min");
        let table = Table {
            rows: vec![
                vec!["0 % Sm".into(), "−3.1 ± 0.2".into(), "fit".into()],
                vec!["7".into(), "–".into(), "net".into()],
            ],
            ..Table::default()
        };
        assert_eq!(
            [0, 1, 2, 3].map(|c| is_numeric(&table, c)),
            [true, true, false, false]
        );
    }
}
