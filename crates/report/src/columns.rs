//! Two texts side by side, what differs marked: `[-only left-]`, `{+only right+}`.

use unicode_width::UnicodeWidthChar;

use crate::printable::Printable;

/// Words shown before and after a difference; what is equal beyond is left out and counted.
const N_CONTEXT_WORDS: usize = 16;
/// Equal words that are shown all the same, because a line that counts them is no shorter.
const N_SPARED_WORDS: usize = 8;
/// The narrowest column.
const MIN_COLUMN: usize = 20;
const GAP: &str = " | ";

/// A piece of both texts.
pub(crate) struct Cell<'a> {
    pub(crate) left: &'a str,
    pub(crate) right: &'a str,
    pub(crate) is_equal: bool,
}

/// Writes two columns under their heads. The lines of pieces that are equal stand beside each other again where
/// pieces of different length went before.
pub(crate) fn side_by_side<'a>(
    (left_head, right_head): (&str, &str),
    cells: impl Iterator<Item = Cell<'a>>,
    columns: usize,
    out: &mut String,
) {
    let width = ((columns.saturating_sub(GAP.len())) / 2).max(MIN_COLUMN);
    let (mut left, mut right) = (Column::new(width), Column::new(width));
    left.words(left_head, Mark::None);
    right.words(right_head, Mark::None);
    let cells: Vec<Cell<'_>> = cells.collect();
    for (i, cell) in cells.iter().enumerate() {
        if !cell.is_equal {
            left.words(cell.left, Mark::Left);
            right.words(cell.right, Mark::Right);
            continue;
        }
        if left.n_lines() != right.n_lines() || i == 0 {
            level(&mut left, &mut right);
        }
        let n_words = cell.left.split_whitespace().count();
        // At either end of the texts there is a difference on one side only.
        let before = if i == 0 { 0 } else { N_CONTEXT_WORDS };
        let after = if i + 1 == cells.len() { 0 } else { N_CONTEXT_WORDS };
        let (before, after) = if cells.len() == 1 { (2 * N_CONTEXT_WORDS, 0) } else { (before, after) };
        if n_words <= before + after + N_SPARED_WORDS {
            left.words(cell.left, Mark::None);
            right.words(cell.right, Mark::None);
            continue;
        }
        for (column, text) in [(&mut left, cell.left), (&mut right, cell.right)] {
            column.words(&head(text, before), Mark::None);
        }
        level(&mut left, &mut right);
        let hidden = format!("... {} equal words ...", n_words - before - after);
        for (column, text) in [(&mut left, cell.left), (&mut right, cell.right)] {
            column.words(&hidden, Mark::None);
            column.end_line();
            column.words(&tail(text, after), Mark::None);
        }
    }
    level(&mut left, &mut right);
    for (left, right) in left.lines.iter().zip(&right.lines) {
        let blanks = " ".repeat(width - left.width);
        out.push_str(format!("{}{blanks}{GAP}{}", left.text, right.text).trim_end());
        out.push('\n');
    }
}

/// The first words of a text.
fn head(text: &str, n_words: usize) -> String {
    text.split_whitespace().take(n_words).collect::<Vec<_>>().join(" ")
}

/// The last words of a text, with the white space at its end.
fn tail(text: &str, n_words: usize) -> String {
    let mut words: Vec<&str> = text.split_whitespace().rev().take(n_words).collect();
    words.reverse();
    let end = if text.ends_with(char::is_whitespace) { " " } else { "" };
    words.join(" ") + end
}

/// Ends the line under way on both sides, and brings the shorter side to the length of the other.
fn level(left: &mut Column, right: &mut Column) {
    left.end_line();
    right.end_line();
    let n_lines = left.lines.len().max(right.lines.len());
    left.lines.resize_with(n_lines, Line::default);
    right.lines.resize_with(n_lines, Line::default);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Left,
    Right,
}

#[derive(Default)]
struct Line {
    text: String,
    width: usize,
}

impl Line {
    fn push(&mut self, text: &str, width: usize) {
        self.text.push_str(text);
        self.width += width;
    }
}

/// Words filled into lines of a width.
struct Column {
    width: usize,
    lines: Vec<Line>,
    line: Line,
    word: Line,
    /// White space came after the last word.
    is_apart: bool,
}

impl Column {
    fn new(width: usize) -> Column {
        Column { width, lines: Vec::new(), line: Line::default(), word: Line::default(), is_apart: false }
    }

    fn n_lines(&self) -> usize {
        self.lines.len()
    }

    /// Adds a text; every run of white space is one blank, and what would steer a terminal is shown.
    fn words(&mut self, text: &str, mark: Mark) {
        let trimmed = text.trim_end();
        if mark != Mark::None && trimmed.is_empty() {
            return;
        }
        let (open, close) = match mark {
            Mark::None => ("", ""),
            Mark::Left => ("[-", "-]"),
            Mark::Right => ("{+", "+}"),
        };
        self.literal(open);
        for character in trimmed.chars() {
            self.character(character);
        }
        self.literal(close);
        if trimmed.len() < text.len() {
            self.end_word();
        }
    }

    fn literal(&mut self, text: &str) {
        text.chars().for_each(|character| self.character(character));
    }

    fn character(&mut self, character: char) {
        if character.is_whitespace() {
            return self.end_word();
        }
        let shown = Printable(character.encode_utf8(&mut [0; 4])).to_string();
        let width = shown.chars().map(|shown| shown.width().unwrap_or(0)).sum();
        if self.word.width + width > self.width {
            self.put_word();
            self.is_apart = false;
        }
        self.word.push(&shown, width);
    }

    fn end_word(&mut self) {
        self.put_word();
        self.is_apart = true;
    }

    fn put_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        if word.text.is_empty() {
            return;
        }
        let blank = usize::from(self.is_apart && self.line.width > 0);
        if self.line.width + blank + word.width > self.width {
            let line = std::mem::take(&mut self.line);
            self.lines.push(line);
        } else if blank == 1 {
            self.line.push(" ", 1);
        }
        self.line.push(&word.text, word.width);
    }

    fn end_line(&mut self) {
        self.put_word();
        self.is_apart = false;
        if !self.line.text.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.lines.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    fn shown(cells: &[(&str, &str, bool)], columns: usize) -> String {
        let mut out = String::new();
        let cells = cells.iter().map(|&(left, right, is_equal)| Cell { left, right, is_equal });
        side_by_side(("removed", "kept"), cells, columns, &mut out);
        out
    }

    #[test]
    fn what_differs_is_marked_and_what_follows_stands_beside_itself_again() {
        let told = shown(
            &[
                ("the ", "the ", true),
                ("quick ", "slow and very long-winded ", false),
                ("fox sat", "fox sat", true),
                (",", "", false),
                (" down", " down", true),
            ],
            43,
        );
        let expected = "\
removed              | kept
the [-quick-]        | the {+slow and very
                     | long-winded+}
fox sat[-,-] down    | fox sat down
";
        assert_eq!(told, expected);
    }

    #[test]
    fn long_equal_stretches_are_counted_and_left_out() {
        let long: String = (0..100).map(|n| format!("w{n} ")).collect();
        let told = shown(&[("a ", "b ", false), (&long, &long, true)], 80);
        assert!(told.contains("... 84 equal words ..."), "{told}");
        assert!(told.contains("w15") && !told.contains("w16") && !told.contains("w99"), "{told}");
        let equal = shown(&[(&long, &long, true)], 80);
        assert!(equal.contains("w31") && equal.contains("... 68 equal words ..."), "{equal}");
        assert_eq!(shown(&[], 80), "removed                                | kept\n");
    }

    #[test]
    fn columns_are_as_wide_as_they_look() {
        let wide = "床前明月光疑是地上霜舉頭望明月低頭思故鄉";
        let hostile = "\u{1b}]0;title\u{7}".repeat(9);
        for cells in [[(wide, wide, true)], [(&hostile, wide, false)], [("", &hostile, false)]] {
            for line in shown(&cells, 43).lines() {
                let (left, _) = line.split_once(" |").unwrap();
                assert_eq!(left.width(), 20, "{line}");
                assert!(line.width() <= 43 && !line.contains('\u{1b}'), "{line}");
            }
        }
    }
}
