//! Tables that screen readers and phones can read.

use crate::pages::{HtmlWriter, shortened};

/// Values are cut after so many characters.
const VALUE_CHARACTERS: usize = 300;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    /// Of texts, which may be long.
    Text(&'static str),
    /// Of words and times, each on one line.
    Word(&'static str),
    /// Of numbers, which stand on the right.
    Number(&'static str),
}

/// The value of a cell, and how it is to be taken.
#[derive(Debug, Clone)]
pub(super) struct TableCell {
    text: String,
    class: &'static str,
}

/// How a value is to be taken. The text says it too: nobody has to see colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    None,
    Good,
    Soon,
    Now,
}

impl TableCell {
    /// One that needs no attention.
    pub(super) fn plain(value: impl ToString) -> TableCell {
        TableCell::of(value, Concern::None)
    }

    /// One with this concern.
    pub(super) fn of(value: impl ToString, concern: Concern) -> TableCell {
        let class = match concern {
            Concern::None => "",
            Concern::Good => "good",
            Concern::Soon => "warn",
            Concern::Now => "bad",
        };
        TableCell { text: value.to_string(), class }
    }
}

/// A section with a heading, a note, which may be empty, and a table. The first column names the rows.
pub(super) fn section<const N: usize>(
    out: &mut HtmlWriter,
    (id, heading): (&'static str, &'static str),
    note: &str,
    columns: [Column; N],
    rows: impl IntoIterator<Item = [TableCell; N]>,
) {
    out.markup("<section>\n<h2 id=\"").markup(id);
    out.markup("\">").markup(heading).markup("</h2>\n");
    if !note.is_empty() {
        out.markup("<p class=\"note\">").text(note).markup("</p>\n");
    }
    // A table that is wider than a phone scrolls by itself, with the keyboard too.
    out.markup("<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-labelledby=\"").markup(id);
    out.markup("\">\n<table>\n<thead><tr>");
    for column in columns {
        match column {
            Column::Text(name) | Column::Word(name) => {
                out.markup("<th scope=\"col\">").markup(name)
            }
            Column::Number(name) => out.markup("<th scope=\"col\" class=\"n\">").markup(name),
        };
        out.markup("</th>");
    }
    out.markup("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.markup("<tr>");
        for (at, (cell, column)) in row.into_iter().zip(columns).enumerate() {
            write_cell(out, &cell, column, at == 0);
        }
        out.markup("</tr>\n");
    }
    out.markup("</tbody>\n</table>\n</div>\n</section>\n");
}

fn write_cell(out: &mut HtmlWriter, cell: &TableCell, column: Column, is_first: bool) {
    let tag = if is_first { "th scope=\"row\"" } else { "td" };
    let kind = match column {
        Column::Text(_) => "t",
        Column::Word(_) => "w",
        Column::Number(_) => "n",
    };
    out.markup("<").markup(tag);
    out.markup(" class=\"").markup(kind);
    if !cell.class.is_empty() {
        out.markup(" ").markup(cell.class);
    }
    out.markup("\"");
    out.markup(">").text(&shortened(&cell.text, VALUE_CHARACTERS));
    out.markup(if is_first { "</th>" } else { "</td>" });
}
