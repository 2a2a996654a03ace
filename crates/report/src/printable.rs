//! The one wrapper through which text that came from a corpus, a model or a file name reaches a reader.
//! It shows what would steer a terminal or mislead the eye as `\u{..}`; it does not escape HTML.

use std::fmt::{self, Write};

/// Displays text with its invisible and steering characters shown as `\u{..}`.
///
/// Shown so: C0 controls but line feed and tab, DEL, C1 controls (ESC and CSI sequences lose their power),
/// bidirectional controls, zero-width characters, and the separators U+2028 and U+2029.
///
/// ```
/// use verbatim_report::Printable;
/// assert_eq!(Printable("\u{1b}[2Jinvoice\u{202e}gpj").to_string(), r"\u{1b}[2Jinvoice\u{202e}gpj");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if is_hidden(character) {
                write!(formatter, "\\u{{{:x}}}", u32::from(character))?;
            } else {
                formatter.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// As [`Printable`], on one line: line feeds and tabs are shown as well.
#[derive(Clone, Copy, Debug)]
pub struct PrintableLine<'a>(pub &'a str);

impl fmt::Display for PrintableLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\n' => formatter.write_str("\\n")?,
                '\t' => formatter.write_str("\\t")?,
                other => write!(formatter, "{}", Printable(other.encode_utf8(&mut [0; 4])))?,
            }
        }
        Ok(())
    }
}

fn is_hidden(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        // C0, DEL and C1.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
        '\u{ad}' | '\u{61c}' | '\u{180e}' => true,
        // Zero-width space to right-to-left mark; separators and bidirectional embeddings and overrides.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        // Word joiner, invisible operators, bidirectional isolates, deprecated format characters.
        '\u{2060}'..='\u{206f}' => true,
        // Byte order mark and interlinear annotations.
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' => true,
        // Tags: invisible copies of ASCII.
        '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_or_hides_is_shown_and_the_rest_is_left() {
        let steering = [
            '\0', '\u{7}', '\u{8}', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{9d}', '\u{200b}',
            '\u{200d}', '\u{200e}', '\u{202a}', '\u{202e}', '\u{2028}', '\u{2029}', '\u{2060}', '\u{2066}',
            '\u{2069}', '\u{feff}',
        ];
        for character in steering {
            let shown = Printable(&format!("a{character}b")).to_string();
            assert_eq!(shown, format!("a\\u{{{:x}}}b", u32::from(character)));
            assert!(!shown.contains(character));
        }
        let plain = "Grüße, 你好, مرحبا, naïve 🙂\n\tend \\u{1b} \"<&>\"";
        assert_eq!(Printable(plain).to_string(), plain);
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(PrintableLine("a\nb\tc\r\u{2028}").to_string(), r"a\nb\tc\u{d}\u{2028}");
    }
}
