//! What an index says of strings: a line for each, for people or as JSON.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use crate::figure::{bytes_text, counted, grouped};
use crate::printable::PrintableLine;

/// What was found of one string.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LookupLine<'a> {
    /// The name of the string.
    pub query: &'a str,
    /// Its bytes.
    pub n_bytes: usize,
    /// What found it: `index`, `scan` or `suffix`.
    pub engine: &'static str,
    /// Documents that hold it.
    pub n_documents: u64,
    /// Occurrences, which may overlap.
    pub n_occurrences: u64,
    /// The first of them; none where places were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places: Option<Vec<LookupPlace>>,
}

/// A place of a string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LookupPlace {
    /// The id of the document, or its place.
    pub document: String,
    /// Where its record begins: file, line and byte.
    pub location: String,
    /// In an index of tokens: those of its text, from the first to after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<[u64; 2]>,
    /// Bytes of its text, likewise.
    pub bytes: [u64; 2],
    /// Characters of its text, likewise.
    pub chars: [u64; 2],
    /// The text before and after, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<[String; 2]>,
}

impl LookupLine<'_> {
    /// Writes it as a JSON object on a line, or for people.
    ///
    /// # Errors
    /// What the stream refuses.
    pub fn write(&self, out: &mut dyn Write, as_json: bool) -> io::Result<()> {
        if as_json {
            serde_json::to_writer(&mut *out, self)?;
            return out.write_all(b"\n");
        }
        writeln!(out, "{self}")
    }
}

impl fmt::Display for LookupLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let occurrences = counted(self.n_occurrences, "occurrence", "occurrences");
        let documents = counted(self.n_documents, "document", "documents");
        write!(formatter, "{}: {occurrences} in {documents}", PrintableLine(self.query))?;
        match self.engine {
            "index" => {}
            engine => write!(formatter, " (by {engine})")?,
        }
        let places = self.places.as_deref().unwrap_or_default();
        for LookupPlace { document, location, bytes, chars, context, .. } in places {
            let [document, location] = [document, location].map(|text| PrintableLine(text));
            write!(formatter, "\n  {document} ({location}): bytes {}-{}", bytes[0], bytes[1])?;
            write!(formatter, ", characters {}-{}", chars[0], chars[1])?;
            if let Some([before, after]) = context {
                write!(formatter, "\n    {}[…]{}", PrintableLine(before), PrintableLine(after))?;
            }
        }
        match self.n_occurrences.saturating_sub(places.len() as u64) {
            more if more > 0 && self.places.is_some() => write!(formatter, "\n  and {} more", grouped(more)),
            _ => Ok(()),
        }
    }
}

impl LookupPlace {
    /// The place of so many bytes of a text, with so many characters of it on either side.
    pub fn new(
        (document, location): (String, String),
        text: &[u8],
        bytes: [u64; 2],
        n_context: usize,
    ) -> Self {
        let [start, end] = bytes.map(|byte| (byte as usize).min(text.len()));
        let [before, found, after] =
            [&text[..start], &text[start..end], &text[end..]].map(String::from_utf8_lossy);
        let n_before = before.chars().count();
        let n_found = found.chars().count();
        let context = (n_context > 0).then(|| {
            [
                before.chars().skip(n_before.saturating_sub(n_context)).collect(),
                after.chars().take(n_context).collect(),
            ]
        });
        LookupPlace {
            document,
            location,
            tokens: None,
            bytes,
            chars: [n_before as u64, (n_before + n_found) as u64],
            context,
        }
    }
}

/// What an index of substrings is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IndexFacts {
    /// What strings are made of: `bytes` or `tokens`.
    pub unit: &'static str,
    /// How many of them the shortest strings have that it finds.
    pub min_length: u64,
    /// Documents of its corpus.
    pub n_documents: u64,
    /// Bytes or tokens of their texts.
    pub n_symbols: u64,
    /// Places that it holds.
    pub n_anchors: u64,
    /// Bytes of its files.
    pub index_bytes: u64,
}

impl IndexFacts {
    /// A line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers under string keys") + "\n"
    }
}

impl fmt::Display for IndexFacts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "An index of {} {} in {}: {}, {} places. It finds strings of {} {} and more.",
            grouped(self.n_symbols),
            self.unit,
            counted(self.n_documents, "document", "documents"),
            bytes_text(self.index_bytes),
            grouped(self.n_anchors),
            self.min_length,
            self.unit,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_in_bytes_and_in_characters_with_what_stands_around_it() {
        let text = "äöü: the sea, \u{1b}[2J".as_bytes();
        let place = LookupPlace::new(("d".to_owned(), "f:1".to_owned()), text, [12, 15], 5);
        assert_eq!((place.bytes, place.chars), ([12, 15], [9, 12]));
        assert_eq!(place.context, Some([" the ".to_owned(), ", \u{1b}[2".to_owned()]));
        let line = LookupLine {
            query: "1\n",
            n_bytes: 3,
            engine: "scan",
            n_documents: 1,
            n_occurrences: 1203,
            places: Some(vec![place]),
        };
        let expected = "1\\n: 1,203 occurrences in 1 document (by scan)\n  d (f:1): bytes 12-15, characters 9-12\n     the […], \\u{1b}[2\n  and 1,202 more";
        assert_eq!(line.to_string(), expected);
        let mut json = Vec::new();
        line.write(&mut json, true).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((&value["places"][0]["chars"][1], &value["engine"]), (&12.into(), &"scan".into()));
    }

    #[test]
    fn a_place_inside_a_character_is_told_all_the_same() {
        let place = LookupPlace::new((String::new(), String::new()), "äb".as_bytes(), [1, 2], 9);
        assert_eq!(place.bytes, [1, 2]);
        assert_eq!(place.context.unwrap()[1], "b");
    }
}
