//! JSON lines: finds the records of a stretch of bytes and the text within each record.
//!
//! JSON itself is read by serde_json, and only as far as needed: members other than the text are
//! skipped without being built, so their nesting and their numbers have no limit.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::document::size;
use crate::reject::Cause;
use crate::schema::FieldPath;
use crate::shard::{Rules, Scan};

/// A fault and the byte of the record where it is.
pub(crate) type Fault = (Cause, usize);

/// Finds the records of `content[range]`, which starts at a line's start and ends at a line's end.
pub(crate) fn scan(content: &[u8], range: Range<usize>, rules: &Rules) -> Scan {
    let mut scan = Scan::default();
    let mut start = range.start;
    while start < range.end {
        let newline = memchr::memchr(b'\n', &content[start..range.end]).map(|at| start + at);
        let next = newline.map_or(range.end, |at| at + 1);
        let end = match newline {
            Some(at) if at > start && content[at - 1] == b'\r' => at - 1,
            Some(at) => at,
            None => range.end,
        };
        let record = &content[start..end];
        if record.trim_ascii().is_empty() {
            scan.lines.push_skipped();
        } else {
            match check(record, newline.is_some(), rules) {
                Ok((text, n_text_bytes)) => scan.push(start, record, text, n_text_bytes),
                Err((cause, byte)) => scan.reject(&rules.path, start + byte, cause, record.len()),
            }
        }
        start = next;
    }
    scan
}

/// The range of the raw text within a record, and the decoded text's length.
fn check(record: &[u8], is_terminated: bool, rules: &Rules) -> Result<(Range<usize>, usize), Fault> {
    if size(record.len()) > rules.max_doc_bytes {
        return Err((Cause::TooLong { max_doc_bytes: rules.max_doc_bytes }, 0));
    }
    if let Some(at) = memchr::memchr(0, record)
        && record[at..].iter().all(|&b| b == 0)
    {
        return Err((Cause::NulPadding, at));
    }
    let json = std::str::from_utf8(record).map_err(|e| (Cause::InvalidUtf8, e.valid_up_to()))?;
    let raw = match find(json, &rules.text_field) {
        Err((Cause::Json(_), at)) if !is_terminated && is_cut(json) => return Err((Cause::Truncated, at)),
        found => found?,
    };
    let start = raw.as_ptr() as usize - json.as_ptr() as usize;
    let text = decode(raw).ok_or_else(|| (lone_surrogate(&rules.text_field), start))?;
    Ok((start..start + raw.len(), text.len()))
}

/// The inside of the quotes of the string at `path`.
fn find<'a>(json: &'a str, path: &FieldPath) -> Result<&'a str, Fault> {
    let value = member(json, path)?;
    let quoted = value.get();
    let at = quoted.as_ptr() as usize - json.as_ptr() as usize;
    let found = match quoted.as_bytes()[0] {
        b'"' => return Ok(&quoted[1..quoted.len() - 1]),
        b'n' => "null",
        b't' | b'f' => "true or false",
        b'[' => "an array",
        b'{' => "an object",
        _ => "a number",
    };
    Err((Cause::NotAString { field: path.to_string(), found }, at))
}

/// The value at `path`, unread. Every object on the way is read to its end, so that a second member
/// of the same name is noticed.
fn member<'a>(json: &'a str, path: &FieldPath) -> Result<&'a RawValue, Fault> {
    let mut object = json;
    let mut found = None;
    for depth in 0..path.names().len() {
        let at = object.as_ptr() as usize - json.as_ptr() as usize;
        let field = || path.names()[..=depth].join(".");
        if !object.trim_ascii_start().starts_with('{') {
            return Err(match depth {
                0 => not_an_object(json),
                _ => (Cause::Missing { field: field() }, at),
            });
        }
        let mut reader = serde_json::Deserializer::from_str(object);
        let members = Members { name: &path.names()[depth] }.deserialize(&mut reader);
        let members = members.and_then(|members| reader.end().map(|()| members));
        match members.map_err(|e| json_fault(&e, at))? {
            Found::Once(value) => {
                object = value.get();
                found = Some(value);
            }
            Found::Never => return Err((Cause::Missing { field: field() }, at)),
            Found::Twice => return Err((Cause::Duplicate { field: field() }, at)),
        }
    }
    Ok(found.expect("a field path has at least one name"))
}

/// The value at `path` of a record, if the record has it once.
pub(crate) fn field(record: &[u8], path: &FieldPath) -> Option<serde_json::Value> {
    let json = std::str::from_utf8(record).ok()?;
    serde_json::from_str(member(json, path).ok()?.get()).ok()
}

/// True if the outermost object has a member of this name, however often.
pub(crate) fn has_member(record: &[u8], name: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_slice(record);
    !matches!(Members { name }.deserialize(&mut reader), Ok(Found::Never))
}

/// The value that stands first at `path`, whatever stands after it, so that the rest of the record is not read.
/// Where the record has it once, this is [`field`].
pub(crate) fn first(record: &[u8], path: &FieldPath) -> Option<serde_json::Value> {
    let mut object = record;
    for name in path.names() {
        let mut found = None;
        let mut reader = serde_json::Deserializer::from_slice(object);
        // The reader objects to a visitor that leaves before the object's end; what it found stands.
        let _ = reader.deserialize_map(First { name, found: &mut found });
        object = found?.get().as_bytes();
    }
    serde_json::from_slice(object).ok()
}

/// The text of a raw JSON string without its quotes; `None` when an escape is half of a pair.
pub(crate) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Some(Cow::Borrowed(raw));
    }
    serde_json::from_str(&format!("\"{raw}\"")).ok().map(Cow::Owned)
}

fn lone_surrogate(path: &FieldPath) -> Cause {
    Cause::LoneSurrogate { field: path.to_string() }
}

/// A line that is JSON but no object, or no JSON at all.
fn not_an_object(json: &str) -> Fault {
    match serde_json::from_str::<IgnoredAny>(json) {
        Ok(_) => (Cause::NotAnObject, 0),
        Err(e) => json_fault(&e, 0),
    }
}

/// True when a record that is not JSON would need more bytes to become it.
fn is_cut(json: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(json).is_err_and(|e| e.is_eof())
}

fn json_fault(error: &serde_json::Error, base: usize) -> Fault {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    (Cause::Json(message), base + error.column().saturating_sub(1))
}

/// How often an object has a member.
enum Found<'a> {
    Never,
    Once(&'a RawValue),
    Twice,
}

/// Reads one object to its end, keeping the value of one member unread.
struct Members<'p> {
    name: &'p str,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::Never;
        while let Some(is_wanted) = members.next_key_seed(IsName { name: self.name })? {
            if !is_wanted {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = members.next_value()?;
            found = match found {
                Found::Never => Found::Once(value),
                Found::Once(_) | Found::Twice => Found::Twice,
            };
        }
        Ok(found)
    }
}

/// Reads an object up to one member, whose value it leaves unread.
struct First<'p, 'de> {
    name: &'p str,
    found: &'p mut Option<&'de RawValue>,
}

impl<'de> Visitor<'de> for First<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(is_wanted) = members.next_key_seed(IsName { name: self.name })? {
            if is_wanted {
                *self.found = Some(members.next_value()?);
                return Ok(());
            }
            members.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Compares a member's name without keeping it.
struct IsName<'p> {
    name: &'p str,
}

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.name)
    }
}
